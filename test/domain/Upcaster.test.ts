import { assert, describe, it } from "@effect/vitest"
import { Effect, Result, Schema, SchemaGetter, SchemaIssue } from "effect"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import * as Upcaster from "../../src/domain/Upcaster.ts"
import * as StoredEvents from "../../src/domain/StoredEvents.ts"

// One event in three versions: a total in euros, then in cents, then with a currency and another name.

const CreatedV1 = Schema.TaggedStruct("Created", { customer: Schema.String, euros: Schema.Int })
const CreatedV2 = Schema.TaggedStruct("Created", { customer: Schema.String, cents: Schema.Int })
const PlacedV1 = Schema.TaggedStruct("Placed", {
  customer: Schema.String,
  cents: Schema.BigInt,
  currency: Schema.Literals(["EUR", "USD"])
})
class Placed extends Schema.TaggedClass<Placed>()("Placed", {
  customer: Schema.Struct({ name: Schema.NonEmptyString }),
  cents: Schema.BigInt,
  currency: Schema.Literals(["EUR", "USD"])
}) {}

const toV2 = ({ euros, ...rest }: typeof CreatedV1.Type): typeof CreatedV2.Type => ({
  ...rest,
  cents: euros * 100
})
const toPlacedV1 = ({ customer, cents }: typeof CreatedV2.Type): typeof PlacedV1.Type =>
  PlacedV1.make({ customer, cents: BigInt(cents), currency: "EUR" })
const toPlaced = ({ customer: name, ...rest }: typeof PlacedV1.Type): Placed =>
  new Placed({ ...rest, customer: { name } })

const placed = Upcaster.from(CreatedV1).to(CreatedV2, toV2).to(PlacedV1, toPlacedV1).to(Placed, toPlaced)

// An event that was split into two, one of which has a further version.

const ContactChanged = Schema.TaggedStruct("ContactChanged", {
  mail: Schema.NullOr(Schema.String),
  phone: Schema.NullOr(Schema.String)
})
const MailChangedV1 = Schema.TaggedStruct("MailChanged", { mail: Schema.String })
const MailChanged = Schema.TaggedStruct("MailChanged", { mail: Schema.String, verified: Schema.Boolean })
const PhoneChanged = Schema.TaggedStruct("PhoneChanged", { phone: Schema.String })

const mailChanged = Upcaster.from(MailChangedV1).to(MailChanged, (event) => ({ ...event, verified: false }))
const contactChanged = Upcaster.from(ContactChanged).into(
  [MailChangedV1, PhoneChanged],
  ({ mail, phone }) => [
    ...(mail === null ? [] : [MailChangedV1.make({ mail })]),
    ...(phone === null ? [] : [PhoneChanged.make({ phone })])
  ]
)

// Two events that were merged into one, and one that was dropped.

const ByPost = Schema.TaggedStruct("ByPost", { parcel: Schema.String })
const ByCourier = Schema.TaggedStruct("ByCourier", { rider: Schema.String })
const Shipped = Schema.TaggedStruct("Shipped", {
  by: Schema.Literals(["post", "courier"]),
  code: Schema.String
})

const parts = { id: Schema.String, state: Schema.Null, initial: null } as const
const fold = () => null

const Order = Aggregate.make(
  "Order",
  {
    ...parts,
    events: [Placed, MailChanged, PhoneChanged, Shipped],
    upcasters: [
      placed,
      mailChanged,
      contactChanged,
      Upcaster.from(ByPost).into([Shipped], ({ parcel }) => [Shipped.make({ by: "post", code: parcel })]),
      Upcaster.from(ByCourier).into([Shipped], ({ rider }) => [Shipped.make({ by: "courier", code: rider })]),
      Upcaster.dropped("Viewed", "Printed")
    ]
  },
  fold
)

const read = (eventType: string, schemaVersion: number, fields: object, aggregate: Aggregate.Any = Order) =>
  StoredEvents.read(aggregate, { eventType, schemaVersion, payload: { _tag: eventType, ...fields } })

const ada = new Placed({ customer: { name: "Ada" }, cents: 300n, currency: "EUR" })

describe("an event that is read", () => {
  it("becomes a present event from every stored version and name", () => {
    assert.deepStrictEqual(read("Created", 1, { customer: "Ada", euros: 3 }), Result.succeed([ada]))
    assert.deepStrictEqual(read("Created", 2, { customer: "Ada", cents: 300 }), Result.succeed([ada]))
    const v1 = { customer: "Ada", cents: "300", currency: "EUR" }
    assert.deepStrictEqual(read("Placed", 1, v1), Result.succeed([ada]))
    assert.deepStrictEqual(read("Placed", 2, { ...v1, customer: { name: "Ada" } }), Result.succeed([ada]))
    const [event] = Result.getOrThrow(read("Created", 1, { customer: "Ada", euros: 3 }))
    assert.instanceOf(event, Placed)
  })

  it("becomes several events, in order, which are upcast further", () => {
    assert.deepStrictEqual(
      read("ContactChanged", 1, { mail: "a@b.c", phone: "1" }),
      Result.succeed([
        MailChanged.make({ mail: "a@b.c", verified: false }),
        PhoneChanged.make({ phone: "1" })
      ])
    )
    assert.deepStrictEqual(read("ContactChanged", 1, { mail: null, phone: null }), Result.succeed([]))
  })

  it("becomes the same event as others that were merged with it", () => {
    assert.deepStrictEqual(
      read("ByPost", 1, { parcel: "p" }),
      Result.succeed([Shipped.make({ by: "post", code: "p" })])
    )
    assert.deepStrictEqual(
      read("ByCourier", 1, { rider: "r" }),
      Result.succeed([Shipped.make({ by: "courier", code: "r" })])
    )
  })

  it("is dropped with its type, in any version and without reading its payload", () => {
    assert.deepStrictEqual(read("Viewed", 1, {}), Result.succeed([]))
    assert.deepStrictEqual(
      StoredEvents.read(Order, { eventType: "Printed", schemaVersion: 7, payload: null }),
      Result.succeed([])
    )
  })

  it("is refused if its type is unknown, or its version newer or older than the known ones", () => {
    const error = (...args: Parameters<typeof read>) => Result.getOrThrow(Result.flip(read(...args))).error
    assert.strictEqual(error("Cancelled", 1, {}), "UnknownEventType")
    assert.strictEqual(error("toString", 1, {}), "UnknownEventType")
    assert.strictEqual(error("Placed", 3, {}), "UnknownSchemaVersion")
    assert.strictEqual(error("Created", 3, {}), "UnknownSchemaVersion")
    assert.strictEqual(error("Created", 0, {}), "UnknownSchemaVersion")
    const Pruned = Aggregate.make(
      "Pruned",
      {
        ...parts,
        events: [Placed],
        upcasters: [Upcaster.from(PlacedV1, { version: 4 }).to(Placed, toPlaced)]
      },
      fold
    )
    assert.strictEqual(error("Placed", 3, {}, Pruned), "UnknownSchemaVersion")
    const v4 = { customer: "Ada", cents: "300", currency: "EUR" }
    assert.deepStrictEqual(read("Placed", 4, v4, Pruned), Result.succeed([ada]))
  })

  it("is refused if it does not fit its stored version", () => {
    assert.deepStrictEqual(
      Result.getOrThrow(Result.flip(read("Created", 1, { customer: "Ada", euros: "3" }))),
      {
        error: "EventDecodeError",
        path: ["euros"],
        reason: "Expected number"
      }
    )
  })

  it("is refused if the result of a step does not fit, with the name of the step", () => {
    const failure = Result.getOrThrow(
      Result.flip(read("Placed", 1, { customer: "", cents: "1", currency: "EUR" }))
    )
    assert.strictEqual(failure.error, "EventDecodeError")
    assert.match(failure.reason, /^upcast to version 2 of Placed: /)
  })

  it("is refused if a step throws or fails with an issue", () => {
    const Old = Schema.TaggedStruct("Moved", { to: Schema.String })
    const Moved = Schema.TaggedStruct("Moved", { to: Schema.Int })
    const moved = (history: Upcaster.Upcaster<typeof Moved.Type>) =>
      Result.flip(
        read(
          "Moved",
          1,
          { to: "x" },
          Aggregate.make("Thing", { ...parts, events: [Moved], upcasters: [history] }, fold)
        )
      )
    const throwing = Upcaster.from(Old).to(Moved, () => {
      throw new TypeError("no such unit")
    })
    const issue = new SchemaIssue.InvalidValue({ message: "not a number" })
    const failing = Upcaster.from(Old).to(Moved, {
      decode: SchemaGetter.transformEffect(() => Effect.fail(issue))
    })
    const wrong = Upcaster.from(Old).to(Moved, (event) => ({ ...event, to: 1.5 }))
    const error = "EventDecodeError" as const
    const step = "upcast to version 2 of Moved"
    assert.deepStrictEqual(
      moved(throwing),
      Result.succeed({
        error,
        path: [],
        reason: `${step}: the upcaster's step threw TypeError: no such unit`
      })
    )
    const getter = Upcaster.from(Old).to(Moved, {
      decode: SchemaGetter.transform(() => {
        throw new Error("no such place")
      })
    })
    assert.deepInclude(Result.getOrThrow(moved(getter)), {
      reason: `${step}: the upcaster's step threw Error: no such place`
    })
    const Picky = Schema.TaggedStruct("Moved", {
      to: Schema.Int.check(
        Schema.makeFilter(() => {
          throw new Error("secret")
        })
      )
    })
    const ThePicky = Aggregate.make(
      "Thing",
      {
        ...parts,
        events: [Picky],
        upcasters: [Upcaster.from(Old).to(Picky, () => ({ _tag: "Moved", to: 1 }))]
      },
      fold
    )
    assert.deepInclude(Result.getOrThrow(Result.flip(read("Moved", 1, { to: "x" }, ThePicky))), {
      reason: `${step}: its schema threw an error`
    })
    assert.deepStrictEqual(
      moved(failing),
      Result.succeed({ error, path: [], reason: `${step}: not a number` })
    )
    assert.deepInclude(Result.getOrThrow(moved(wrong)), { error, path: ["to"] })
  })

  it("yields new events, and neither returns nor changes its input", () => {
    const V1 = Schema.TaggedStruct("Counted", { list: Schema.mutable(Schema.Array(Schema.Int)) })
    const V2 = Schema.TaggedStruct("Counted", { list: Schema.Array(Schema.Int), sum: Schema.Int })
    const Count = Aggregate.make(
      "Count",
      {
        ...parts,
        events: [V2],
        upcasters: [Upcaster.from(V1).to(V2, (event) => ({ ...event, sum: event.list.push(9) }))]
      },
      (state) => state
    )
    for (const schemaVersion of [1, 2]) {
      const payload = { _tag: "Counted", list: [3, 1, 2], ...(schemaVersion === 1 ? {} : { sum: 6 }) }
      const before = structuredClone(payload)
      const first = StoredEvents.read(Count, { eventType: "Counted", schemaVersion, payload })
      assert.deepStrictEqual(payload, before)
      assert.deepStrictEqual(
        StoredEvents.read(Count, { eventType: "Counted", schemaVersion, payload }),
        first
      )
      assert.isTrue(Result.isSuccess(first) && first.success.length === 1)
      assert.isFalse(Result.isSuccess(first) && Object.is(first.success[0], payload))
    }
  })

  it.effect.prop("is upcast by its steps in order", [CreatedV1], ([event]) =>
    Effect.sync(() => {
      if (event.customer === "") return
      assert.deepStrictEqual(
        StoredEvents.read(Order, { eventType: "Created", schemaVersion: 1, payload: event }),
        Result.succeed([toPlaced(toPlacedV1(toV2(event)))])
      )
    })
  )
})

const Old = Schema.TaggedStruct("Opened", { by: Schema.String })
const Newer = Schema.TaggedStruct("Opened", { by: Schema.String, at: Schema.Int })
const Opened = Schema.TaggedStruct("Opened", { by: Schema.String, at: Schema.Int, in: Schema.String })
const Closed = Schema.TaggedStruct("Closed", {})

const at = (event: typeof Old.Type): typeof Newer.Type => ({ ...event, at: 0 })
const make = (
  events: ReadonlyArray<typeof Opened | typeof Closed>,
  ...upcasters: ReadonlyArray<Upcaster.Any>
) =>
  // Declarations that do not compile must be refused at run time too.
  Aggregate.make(
    "Door",
    { ...parts, events, upcasters: upcasters as ReadonlyArray<Upcaster.Upcaster<never>> },
    fold
  )

describe("the upcasters of an aggregate", () => {
  const step = (event: typeof Newer.Type): typeof Opened.Type => ({ ...event, in: "" })

  it("list the stored versions and types, and the present ones", () => {
    const stored = StoredEvents.versions(Order).map(
      ({ eventType, schemaVersion, present }) => `${eventType} ${schemaVersion}${present ? " today" : ""}`
    )
    assert.deepStrictEqual(stored, [
      "Created 1",
      "Created 2",
      "Placed 1",
      "Placed 2 today",
      "MailChanged 1",
      "MailChanged 2 today",
      "ContactChanged 1",
      "ByPost 1",
      "ByCourier 1",
      "PhoneChanged 1 today",
      "Shipped 1 today"
    ])
  })

  it("are refused if a history does not end in a present event", () => {
    assert.throws(
      () => make([Opened], Upcaster.from(Old).to(Newer, at)),
      "the upcasters of Door: the history ends with version 2 of Opened, which is not the schema of Opened in its events: add the step to it"
    )
    assert.throws(
      () => make([Closed], Upcaster.from(Old).to(Newer, at)),
      `which is none of its events: add a step to one, or drop it with Upcaster.dropped("Opened")`
    )
    assert.throws(
      () =>
        make(
          [Closed],
          Upcaster.from(Old).into([Newer], (event) => [at(event)])
        ),
      "version 1 of Opened goes into a schema of Opened that is in no event or history"
    )
  })

  it("are refused if they declare a version twice", () => {
    const twice = /version 1 of Opened is declared twice/
    assert.throws(
      () =>
        make(
          [Opened],
          Upcaster.from(Old).into([Closed], () => [])
        ),
      twice
    )
    const history = Upcaster.from(Old).to(Newer, at).to(Opened, step)
    assert.throws(() => make([Opened], history, history), twice)
    assert.throws(
      () =>
        make(
          [Opened],
          Upcaster.from(Old).into([Opened], () => []),
          history
        ),
      twice
    )
  })

  it("are refused if they leave out a version between others", () => {
    assert.throws(
      () =>
        make(
          [Opened, Closed],
          Upcaster.from(Old).into([Closed], () => []),
          Upcaster.from(Opened, { version: 3 })
        ),
      "Opened has versions 1 to 3, but only 1, 3 are declared"
    )
  })

  it("accept a reused name, after its former versions", () => {
    const Again = make(
      [Opened, Closed],
      Upcaster.from(Old).into([Closed], () => [Closed.make({})]),
      Upcaster.from(Opened, { version: 2 })
    )
    assert.deepStrictEqual(read("Opened", 1, { by: "Ada" }, Again), Result.succeed([{ _tag: "Closed" }]))
    const opened = Opened.make({ by: "Ada", at: 1, in: "" })
    assert.deepStrictEqual(read("Opened", 2, opened, Again), Result.succeed([opened]))
  })

  it("are refused if they drop a declared or present type", () => {
    assert.throws(() => make([Opened], Upcaster.dropped("Opened")), "Opened is both dropped and declared")
  })

  it("are refused if they form a cycle, or lead to two versions of one type", () => {
    const There = Schema.TaggedStruct("There", {})
    const Back = Schema.TaggedStruct("Back", {})
    assert.throws(
      () =>
        make(
          [Opened],
          Upcaster.from(There).into([Back], () => []),
          Upcaster.from(Back).into([There], () => [])
        ),
      "leads to itself"
    )
    assert.throws(
      () =>
        make(
          [Opened],
          Upcaster.from(Old).to(Newer, at).to(Opened, step),
          Upcaster.from(There).into([Newer, Opened], () => [])
        ),
      "version 1 of There goes into two versions of Opened"
    )
  })

  it("are refused with an invalid version, or a name that cannot be stored", () => {
    for (const version of [0, -1, 1.5, Number.NaN, 2 ** 31])
      assert.throws(() => Upcaster.from(Old, { version }), RangeError)
    const Nameless = Schema.TaggedStruct("", {})
    assert.throws(
      () =>
        make(
          [Opened],
          Upcaster.from(Nameless).into([Opened], () => [])
        ),
      /is empty/
    )
  })

  it("continue counting when a type returns to a former name", () => {
    const Ended = Schema.TaggedStruct("Ended", {})
    const history = Upcaster.from(Old)
      .to(Ended, () => Ended.make({}))
      .to(Opened, () => Opened.make({ by: "", at: 0, in: "" }))
    assert.deepStrictEqual(
      history.versions.map(({ eventType, schemaVersion }) => [eventType, schemaVersion]),
      [
        ["Opened", 1],
        ["Ended", 1],
        ["Opened", 2]
      ]
    )
  })
})
