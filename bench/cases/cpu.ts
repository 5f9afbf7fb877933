/** Folding and decoding, which cost only CPU time. */
import { Schema, SchemaParser } from "effect"
import { codecOf } from "../../src/domain/codec/aggregateCodec.ts"
import { apply, Cart, type CartEvent, initial, itemAdded } from "../internal/domain.ts"
import { type Contender, interleave } from "../internal/measure.ts"
import { table } from "../internal/report.ts"
import { type Case, ratioOf } from "./Case.ts"

const count = 1_000_000

/** Repeats work on a number of items. Returns items per second. */
const repeated =
  (things: number, work: () => void) =>
  (seconds: number): Promise<number> => {
    const began = performance.now()
    let done = 0
    do {
      work()
      done += things
    } while (performance.now() - began < seconds * 1000)
    return Promise.resolve((done * 1000) / (performance.now() - began))
  }

const fold: Case = {
  name: "pure fold",
  run: async ({ rounds, seconds }) => {
    const events: ReadonlyArray<CartEvent> = Array.from({ length: count }, (_, n) =>
      n % 10 === 0 ? { _tag: "ItemRemoved", sku: "sku", quantity: 1 } : itemAdded(n)
    )
    const expected = events.reduce(apply, initial)
    const check = (items: number): void => {
      if (items !== expected.items) throw new Error(`folded ${items} items of ${expected.items}`)
    }
    const measured = await interleave(
      [
        {
          name: "a bare switch in a reduce",
          run: repeated(count, () => check(events.reduce(apply, initial).items))
        },
        { name: "this store: Cart.fold", run: repeated(count, () => check(Cart.fold(events).items)) }
      ],
      { rounds, seconds }
    )
    const result = table("Fold 1,000,000 events", "events/s", measured, "a bare")
    const ratio = 1 / ratioOf(result, "this store: Cart.fold", (name) => name.startsWith("a bare"))
    return {
      tables: [result],
      targets: [
        {
          subject: "pure fold of 1,000,000 events",
          wanted: "under 1.2 x a bare switch reduce",
          figure: `${ratio.toFixed(2)} x`,
          reached: ratio < 1.2
        }
      ]
    }
  }
}

const decode: Case = {
  name: "decode",
  run: async ({ rounds, seconds }) => {
    const texts = Array.from({ length: 10_000 }, (_, n) => JSON.stringify(itemAdded(n)))
    const decoder = () => SchemaParser.decodeUnknownResult(Schema.toCodecJson(Schema.Union(Cart.events)))
    const contender = (name: string, work: (text: string) => unknown): Contender => ({
      name,
      run: repeated(texts.length, () => {
        for (const text of texts) work(text)
      })
    })
    const interpreted = decoder()
    const stored = codecOf(Cart).events.get("ItemAdded")
    if (stored === undefined) throw new Error("no codec")
    const first = await interleave(
      [
        contender("JSON.parse", (text): unknown => JSON.parse(text)),
        contender("JSON.parse, and decode as this store does", (text) => {
          const json: unknown = JSON.parse(text)
          return stored.isDecoded(json) ? json : stored.decode(json)
        }),
        contender("JSON.parse, and decode with Schema", (text) => interpreted(JSON.parse(text)))
      ],
      { rounds, seconds }
    )
    // Last, because it cannot be turned off again.
    await import("effect/schema/SchemaJITCompiler/enable")
    const compiled = decoder()
    const second = await interleave(
      [contender("the same, with the schema compiler on", (text) => compiled(JSON.parse(text)))],
      { rounds, seconds }
    )
    return {
      tables: [table("Decode events of 200 bytes", "events/s", [...first, ...second], "JSON.parse")],
      targets: []
    }
  }
}

export const cpuCases: ReadonlyArray<Case> = [fold, decode]
