import { assert, describe, it } from "@effect/vitest"
import { Option, Result, Schema, SchemaParser } from "effect"
import * as Aggregate from "../../../src/domain/Aggregate.ts"
import { codecOf } from "../../../src/domain/codec/aggregateCodec.ts"
import { jsonProblem } from "../../../src/internal/json.ts"

class Money extends Schema.Class<Money>("Money")({
  currency: Schema.Literals(["EUR", "USD"]),
  cents: Schema.BigInt
}) {}

class Shipped extends Schema.TaggedClass<Shipped>()("Shipped", {
  at: Schema.DateTimeUtc,
  // @effect-diagnostics-next-line schemaNumber:off
  weights: Schema.NonEmptyArray(Schema.Number),
  to: Schema.Option(Schema.String)
}) {}

const Placed = Schema.TaggedStruct("Placed", {
  total: Money,
  lines: Schema.Array(
    Schema.Struct({ sku: Schema.String, count: Schema.Int, note: Schema.optionalKey(Schema.String) })
  ),
  tags: Schema.ReadonlySet(Schema.String),
  prices: Schema.ReadonlyMap(Schema.String, Schema.BigInt),
  by: Schema.Union([
    Schema.Tuple([Schema.String, Schema.Boolean]),
    Schema.Null,
    Schema.Struct({ id: Schema.Int })
  ]),
  on: Schema.Date,
  every: Schema.Duration,
  extra: Schema.Record(Schema.String, Schema.Unknown),
  // @effect-diagnostics-next-line schemaNumber:off
  left: Schema.optional(Schema.Number)
})

const Order = Aggregate.make(
  "Order",
  { id: Schema.String, state: Schema.Null, initial: null, events: [Placed, Shipped] },
  (state) => state
)

type OrderEvent = Aggregate.EventOf<typeof Order>

const codec = codecOf(Order)
const of = (tag: string) => {
  const found = codec.events.get(tag)
  assert(found !== undefined)
  return found
}

/** Encodes to the stored text and decodes it again; undefined if it is refused. */
const roundTrip = (event: OrderEvent): void => {
  const encoded = Result.getOrThrow(of(event._tag).encode(event))
  if (jsonProblem(encoded, 64) !== undefined) return
  const decoded = Result.getOrThrow(of(event._tag).decode(JSON.parse(JSON.stringify(encoded))))
  assert.deepStrictEqual(decoded, event)
  assert.deepStrictEqual(Result.getOrThrow(of(event._tag).encode(decoded)), encoded)
}

const runs = { arbitrary: { runs: 500 } }

describe("the codec of an aggregate", () => {
  it.prop("returns every struct that it accepts", [Placed], ([event]) => roundTrip(event), runs)
  it.prop("returns every instance that it accepts", [Shipped], ([event]) => roundTrip(event), runs)

  it("returns an instance as an instance", () => {
    const encoded = {
      _tag: "Shipped",
      at: "2026-01-02T03:04:05.006Z",
      weights: [1, "NaN"],
      to: { _tag: "None" }
    }
    const event = Result.getOrThrow(of("Shipped").decode(encoded))
    assert.instanceOf(event, Shipped)
    assert.deepStrictEqual(Result.getOrThrow(of("Shipped").encode(event)), encoded)
  })

  it("is compiled once", () => {
    assert.strictEqual(codecOf(Order), codec)
    assert.notStrictEqual(codecOf({ ...Order }), codec)
  })

  it("recognises events by their own tags only", () => {
    assert.deepStrictEqual([...codec.events.keys()], ["Placed", "Shipped"])
    for (const tag of ["__proto__", "constructor", "placed", ""]) assert.isUndefined(codec.events.get(tag))
  })

  it("reports the place at which an event does not fit, without the value", () => {
    const line = { sku: "canary", count: "canary" }
    for (const [json, path] of [
      [{ _tag: "Placed", total: { currency: "canary", cents: "1" } }, ["total", "currency"]],
      [{ _tag: "Placed", total: { currency: "EUR", cents: "canary" } }, ["total", "cents"]],
      [{ _tag: "Placed", total: { currency: "EUR", cents: "1" }, lines: [line] }, ["lines", 0, "count"]],
      [{ _tag: "canary" }, ["_tag"]],
      ["canary", []],
      [null, []],
      [["canary"], []]
    ] as const) {
      const failure = Result.getOrThrow(Result.flip(of("Placed").decode(json)))
      assert.deepStrictEqual<ReadonlyArray<unknown>>(failure.path, path)
      assert.notInclude(JSON.stringify(failure), "canary")
    }
  })

  it("hides errors that a schema throws, which may quote the value", () => {
    const Picky = Schema.TaggedStruct("Picky", {
      text: Schema.String.check(
        Schema.makeFilter((text: string) => {
          throw new Error(`cannot read ${text}`)
        })
      )
    })
    const Throwing = Aggregate.make(
      "Throwing",
      { state: Schema.Null, initial: null, events: [Picky] },
      (s) => s
    )
    const picky = codecOf(Throwing).events.get("Picky")
    assert(picky !== undefined)
    const event = { _tag: "Picky", text: "canary" } as const
    const expected = { path: [], reason: "its schema threw an error", limit: undefined }
    assert.deepStrictEqual(Result.getOrThrow(Result.flip(picky.encode(event))), expected)
    assert.deepStrictEqual(Result.getOrThrow(Result.flip(picky.decode(event))), expected)
  })

  it("encodes ids as their schema does, also those that it takes as they are", () => {
    const uuid = "0198c0de-0000-7000-8000-00000000000a"
    const short = Schema.String.check(Schema.isMaxLength(3))
    const throwing = Schema.String.check(
      Schema.makeFilter(() => {
        throw new Error("no")
      })
    )
    const schemas = [
      undefined,
      Schema.String,
      short,
      short.pipe(Schema.brand("Short")),
      Schema.Trim,
      throwing
    ]
    for (const id of schemas) {
      const aggregate = Aggregate.make(
        "Any",
        { id, state: Schema.Null, initial: null, events: [Placed] },
        (state) => state
      )
      const encode = SchemaParser.encodeUnknownResult(aggregate.id)
      for (const given of [
        "",
        "abc",
        "abcd",
        " a ",
        uuid,
        uuid.toUpperCase(),
        1,
        null,
        ["abc"],
        { id: "abc" }
      ]) {
        const encoded = codecOf(aggregate).encodeId(given as never)
        const expected = id === throwing ? Option.none() : Result.getSuccess(encode(given))
        assert.deepStrictEqual(Result.getSuccess(encoded), expected, JSON.stringify(given))
      }
    }
  })
})
