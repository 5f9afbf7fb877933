import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema, SchemaGetter } from "effect"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import type { EventSchema } from "../../src/domain/Event.ts"
import * as EventCompatibility from "../../src/testing/EventCompatibility.ts"
import * as Upcaster from "../../src/domain/Upcaster.ts"

const Placed = Schema.TaggedStruct("Placed", {
  customer: Schema.String,
  status: Schema.Literals(["open", "paid", "sent"]),
  total: Schema.BigInt,
  note: Schema.NullOr(Schema.String)
})
const Viewed = Schema.TaggedStruct("Viewed", { by: Schema.optionalKey(Schema.String) })

const order = (events: ReadonlyArray<EventSchema>, upcasters: ReadonlyArray<Upcaster.Upcaster<never>> = []) =>
  Aggregate.make(
    "Order",
    { id: Schema.String, state: Schema.Null, initial: null, events, upcasters },
    () => null
  )

const released = order([Placed, Viewed])

// As in a user's project, with the samples that are committed beside this file.
EventCompatibility.suite({
  aggregates: [released],
  directory: new URL("../fixtures/events/", import.meta.url)
})

/** A directory with the samples of a release. */
const directory = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "event-samples-"))),
  (path) => Effect.sync(() => Fs.rmSync(path, { recursive: true }))
)

const afterRelease = Effect.tap(directory, (path) =>
  Effect.gen(function* () {
    assert.deepStrictEqual(
      yield* EventCompatibility.check({ aggregates: [released], directory: path, update: true }),
      []
    )
  })
)

const checked = (aggregate: Aggregate.Any, path: string, update = false) =>
  EventCompatibility.check({ aggregates: [aggregate], directory: path, update })

/** The only message about a change of the released schemas. */
const message = (aggregate: Aggregate.Any, eventType = "Placed") =>
  Effect.gen(function* () {
    const path = yield* afterRelease
    const before = snapshot(path)
    for (const update of [true, false]) {
      const found = yield* checked(aggregate, path, update)
      const [first] = found
      assert.strictEqual(found.length, 1, "one version is broken")
      assert(first !== undefined)
      assert.deepInclude(first, {
        _tag: "EventsIncompatible",
        aggregateType: "Order",
        eventType,
        schemaVersion: 1
      })
      assert.include(first.message, Path.join(path, "Order", `${eventType}.1.json`))
      if (!update) return first.message
      assert.deepStrictEqual(snapshot(path), before, "an update changes nothing about it")
    }
    return ""
  })

const snapshot = (path: string): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Fs.readdirSync(path, { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".json"))
      .map((name) => [name, Fs.readFileSync(Path.join(path, name), "utf8")])
  )

const { customer, status, total, note } = Placed.fields

describe("a compatible change", () => {
  it.effect.each([
    ["none", order([Placed, Viewed])],
    [
      "a field that may be absent",
      order([
        Schema.TaggedStruct("Placed", { ...Placed.fields, by: Schema.optionalKey(Schema.String) }),
        Viewed
      ])
    ],
    [
      "a field with a default",
      order([
        Schema.TaggedStruct("Placed", {
          ...Placed.fields,
          by: Schema.String.pipe(Schema.withDecodingDefaultKey(Effect.succeed("nobody")))
        }),
        Viewed
      ])
    ],
    [
      "one more literal",
      order([
        Schema.TaggedStruct("Placed", {
          ...Placed.fields,
          status: Schema.Literals(["open", "paid", "sent", "lost"])
        }),
        Viewed
      ])
    ]
  ] as const)("passes: %s", ([, aggregate]) =>
    Effect.gen(function* () {
      const path = yield* afterRelease
      assert.deepStrictEqual(yield* checked(aggregate, path), [])
    })
  )
})

describe("a change that breaks stored events", () => {
  it.effect("fails: a renamed field, with the remedy", () =>
    Effect.gen(function* () {
      const text = yield* message(
        order([Schema.TaggedStruct("Placed", { buyer: customer, status, total, note }), Viewed])
      )
      assert.match(text, /^Order: version 1 of Placed: stored events can no longer be read$/m)
      assert.match(text, /^ {2}sample 1: \{"_tag":"Placed",/m)
      assert.match(text, /^ {4}at buyer: .*\(EventDecodeError\)$/m)
      assert.include(text, "upcasters: [Upcaster.from(PlacedV1).to(Placed, (event) => …)]")
      assert.include(text, "UPDATE_EVENT_SAMPLES=1, which writes samples of version 2")
    })
  )

  it.effect("fails: a removed field", () =>
    Effect.gen(function* () {
      const text = yield* message(order([Schema.TaggedStruct("Placed", { status, total, note }), Viewed]))
      assert.include(text, "stored events are read differently than before")
      assert.match(text, /^ {4}at customer: expected ".*", actual nothing$/m)
    })
  )

  it.effect.each([
    ["a narrowed text", { ...Placed.fields, customer: Schema.NonEmptyString }, "customer"],
    ["a value that must not be null any more", { ...Placed.fields, note: Schema.String }, "note"],
    ["a removed literal", { ...Placed.fields, status: Schema.Literals(["open", "paid"]) }, "status"],
    [
      "a changed literal",
      { ...Placed.fields, status: Schema.Literals(["open", "paid", "shipped"]) },
      "status"
    ],
    ["a changed encoding", { ...Placed.fields, total: Schema.Int }, "total"]
  ] as const)("fails: %s", ([, fields, path]) =>
    Effect.gen(function* () {
      const text = yield* message(order([Schema.TaggedStruct("Placed", fields), Viewed]))
      assert.match(text, new RegExp(`^ {4}at ${path}: `, "m"))
    })
  )

  it.effect("fails: a field with a changed meaning", () =>
    Effect.gen(function* () {
      const Doubled = Schema.BigInt.pipe(
        Schema.decodeTo(Schema.BigInt, {
          decode: SchemaGetter.transform((value) => value * 2n),
          encode: SchemaGetter.transform((value) => value)
        })
      )
      const text = yield* message(
        order([Schema.TaggedStruct("Placed", { ...Placed.fields, total: Doubled }), Viewed])
      )
      assert.match(text, /^ {4}at total: expected "-?\d+", actual "-?\d+"$/m)
    })
  )

  it.effect("fails: a removed type", () =>
    Effect.gen(function* () {
      const text = yield* message(order([Placed]), "Viewed")
      assert.match(text, /at its root: Order has no event Viewed \(UnknownEventType\)/)
      assert.include(text, `Upcaster.dropped("Viewed")`)
    })
  )

  it.effect("fails: a dropped type, until it is recorded", () =>
    Effect.gen(function* () {
      const path = yield* afterRelease
      const now = order([Placed], [Upcaster.dropped("Viewed")])
      const [found] = yield* checked(now, path)
      assert.include(found?.message, "It was read as Viewed 1, now as nothing.")
      assert.deepStrictEqual(yield* checked(now, path, true), [])
      assert.deepStrictEqual(yield* checked(now, path), [])
    })
  )

  it.effect("fails: a removed aggregate", () =>
    Effect.gen(function* () {
      const path = yield* afterRelease
      const found = yield* EventCompatibility.check({ aggregates: [], directory: path, update: false })
      assert.deepStrictEqual(
        found.map(({ eventType }) => eventType),
        ["Placed", "Viewed"]
      )
      assert.include(found[0]?.message, "its aggregate is not one of those that are checked")
    })
  )
})

describe("a new version", () => {
  const PlacedV2 = Schema.TaggedStruct("Placed", { ...Placed.fields, lines: Schema.Array(Schema.String) })
  const history = Upcaster.from(Placed).to(PlacedV2, (event) => ({ ...event, lines: [] }))
  const next = Aggregate.make(
    "Order",
    {
      id: Schema.String,
      state: Schema.Null,
      initial: null,
      events: [PlacedV2, Viewed],
      upcasters: [history]
    },
    () => null
  )

  it.effect("fails until it has samples, which do not change the old ones", () =>
    Effect.gen(function* () {
      const path = yield* afterRelease
      const before = snapshot(path)
      const [found, ...others] = yield* checked(next, path)
      assert.deepInclude(found, { eventType: "Placed", schemaVersion: 2 })
      assert.include(found?.message, "it has no samples yet")
      assert.deepStrictEqual(others, [])
      assert.deepStrictEqual(yield* checked(next, path, true), [])
      assert.deepStrictEqual(yield* checked(next, path), [])
      const after = snapshot(path)
      assert.deepStrictEqual(Object.keys(after).toSorted(), [
        "Order/Placed.1.json",
        "Order/Placed.2.json",
        "Order/Viewed.1.json"
      ])
      assert.strictEqual(after["Order/Viewed.1.json"], before["Order/Viewed.1.json"])
      const stored = (text: string | undefined) =>
        (JSON.parse(text ?? "") as { samples: ReadonlyArray<{ stored: unknown }> }).samples.map(
          (sample) => sample.stored
        )
      assert.deepStrictEqual(stored(after["Order/Placed.1.json"]), stored(before["Order/Placed.1.json"]))
      assert.include(after["Order/Placed.1.json"], '"lines": []')
    })
  )

  it.effect("fails if its upcaster reads old events differently", () =>
    Effect.gen(function* () {
      const path = yield* afterRelease
      assert.deepStrictEqual(yield* checked(next, path, true), [])
      const other = Aggregate.make(
        "Order",
        {
          id: Schema.String,
          state: Schema.Null,
          initial: null,
          events: [PlacedV2, Viewed],
          upcasters: [Upcaster.from(Placed).to(PlacedV2, (event) => ({ ...event, lines: ["?"] }))]
        },
        () => null
      )
      const [found] = yield* checked(other, path)
      assert.deepInclude(found, { eventType: "Placed", schemaVersion: 1 })
      assert.match(found?.message ?? "", /at lines: expected \[\], actual \["\?"\]/)
      assert.include(found?.message, "restore its schema and the step behind it")
    })
  )
})

describe("samples", () => {
  it.effect("are the same each time, and cover the schema", () =>
    Effect.gen(function* () {
      const [one, two] = [yield* afterRelease, yield* afterRelease]
      assert.deepStrictEqual(snapshot(one), snapshot(two))
      const text = snapshot(one)["Order/Placed.1.json"] ?? ""
      for (const part of ['"open"', '"paid"', '"sent"', '"customer": ""', '"note": null', '"note": ""'])
        assert.include(text, part)
      assert.isBelow((JSON.parse(text) as { samples: ReadonlyArray<unknown> }).samples.length, 21)
    })
  )

  it.effect("may be added by hand", () =>
    Effect.gen(function* () {
      const path = yield* afterRelease
      const file = Path.join(path, "Order", "Viewed.1.json")
      const samples = JSON.parse(Fs.readFileSync(file, "utf8")) as { samples: Array<unknown> }
      samples.samples.push({ stored: { _tag: "Viewed", by: "Ada" } })
      Fs.writeFileSync(file, JSON.stringify(samples))
      assert.include(
        (yield* checked(released, path))[0]?.message,
        "a sample does not record the events that it is read as"
      )
      assert.deepStrictEqual(yield* checked(released, path, true), [])
      assert.deepStrictEqual(yield* checked(released, path), [])
      Fs.writeFileSync(file, "{}")
      assert.include((yield* checked(released, path))[0]?.message, "its samples cannot be read")
    })
  )

  it.effect("are requested if none can be derived", () =>
    Effect.gen(function* () {
      const Odd = Schema.TaggedStruct("Odd", {
        never: Schema.String.check(Schema.makeFilter(() => false, { expected: "nothing" }))
      })
      const [found] = yield* checked(order([Odd]), yield* directory, true)
      assert.include(found?.message, "no samples can be derived from its schema")
    })
  )
})
