import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, DateTime, Schema } from "effect"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import { codecOf } from "../../src/domain/codec/aggregateCodec.ts"
import * as Personal from "../../src/domain/Personal.ts"
import * as StoredEvents from "../../src/domain/StoredEvents.ts"
import * as Upcaster from "../../src/domain/Upcaster.ts"

const name = Personal.make(Schema.NonEmptyString, "id")

const Registered = Schema.TaggedStruct("Registered", {
  id: Schema.String,
  name,
  born: Schema.optionalKey(Personal.make(Schema.DateTimeUtcFromString, "id"))
})
class Renamed extends Schema.TaggedClass<Renamed>()("Renamed", { id: Schema.String, name }) {}

const Customer = Aggregate.make(
  "Customer",
  { state: Schema.Null, initial: null, events: [Registered, Renamed] },
  () => null
)

const read = (
  of: Aggregate.Any,
  payload: Schema.JsonObject & { readonly _tag: string },
  schemaVersion = 1
) => {
  const found = StoredEvents.read(of, { eventType: payload._tag, schemaVersion, payload })
  return found._tag === "Success" ? found.success : `${found.failure.path.join(".")} ${found.failure.reason}`
}

describe("a personal field", () => {
  it("is read as its data, or as forgotten", () => {
    assert.deepStrictEqual(
      read(Customer, { _tag: "Registered", id: "1", name: "Ada", born: "1815-12-10T00:00:00Z" }),
      [Registered.make({ id: "1", name: "Ada", born: DateTime.makeUnsafe("1815-12-10") })]
    )
    assert.deepStrictEqual(
      read(Customer, { _tag: "Registered", id: "1", name: { $forgotten: true }, born: { $forgotten: true } }),
      [Registered.make({ id: "1", name: Personal.forgotten, born: Personal.forgotten })]
    )
    assert.deepStrictEqual(read(Customer, { _tag: "Renamed", id: "1", name: { $forgotten: true } }), [
      new Renamed({ id: "1", name: Personal.forgotten })
    ])
  })

  it("is refused if it is neither", () => {
    for (const wrong of ["", 1, null, {}, { $forgotten: false }, { _tag: "Forgotten" }])
      assert.isString(read(Customer, { _tag: "Registered", id: "1", name: wrong }))
  })

  it("stays data if it is an object, where an event is made and where it is encoded", () => {
    const Moved = Schema.TaggedStruct("Moved", {
      address: Personal.make(Schema.Struct({ town: Schema.optionalKey(Schema.String) }), Personal.aggregateId)
    })
    class Left extends Schema.TaggedClass<Left>()("Left", { address: Moved.fields.address }) {}
    const of = Aggregate.make(
      "Customer",
      { state: Schema.Null, initial: null, events: [Moved, Left] },
      () => null
    )
    for (const address of [{ town: "Rome" }, {}]) {
      for (const event of [Moved.make({ address }), new Left({ address })]) {
        assert.deepStrictEqual(event.address, address)
        const encoded = codecOf(of).events.get(event._tag)?.encode(event)
        assert.deepStrictEqual(encoded?._tag === "Success" && encoded.success, { _tag: event._tag, address })
      }
    }
  })

  it("is forgotten in its encoded form too", () => {
    const codec = codecOf(Customer).events.get("Registered")
    const encoded = codec?.encode(Registered.make({ id: "1", name: Personal.forgotten }))
    assert.deepStrictEqual(encoded?._tag === "Success" && encoded.success, {
      _tag: "Registered",
      id: "1",
      name: { $forgotten: true }
    })
  })

  it("goes through upcasters, with data and forgotten", () => {
    const second = Schema.TaggedStruct("Registered", {
      id: Schema.String,
      person: Schema.Struct({ first: name, last: name })
    })
    const of = Aggregate.make(
      "Customer",
      {
        state: Schema.Null,
        initial: null,
        events: [second],
        upcasters: [
          Upcaster.from(Registered).to(second, ({ id, name: given }) => ({
            _tag: "Registered",
            id,
            person: {
              first: Personal.map(given, (text) => text.split(" ")[0] ?? ""),
              last: Personal.map(given, (text) => text.split(" ")[1] ?? "?")
            }
          }))
        ]
      },
      () => null
    )
    assert.deepStrictEqual(read(of, { _tag: "Registered", id: "1", name: "Ada Lovelace" }), [
      second.make({ id: "1", person: { first: "Ada", last: "Lovelace" } })
    ])
    assert.deepStrictEqual(read(of, { _tag: "Registered", id: "1", name: { $forgotten: true } }), [
      second.make({ id: "1", person: { first: Personal.forgotten, last: Personal.forgotten } })
    ])
  })

  it("costs no general decoding and encoding while it has its data", () => {
    const Simple = Schema.TaggedStruct("Simple", {
      id: Schema.String,
      name,
      maybe: Schema.optionalKey(name),
      guests: Schema.Array(Schema.Struct({ id: Schema.String, name }))
    })
    const codec = codecOf(
      Aggregate.make("Customer", { state: Schema.Null, initial: null, events: [Simple] }, () => null)
    ).events.get("Simple")
    const event = Simple.make({ id: "1", name: "Ada", guests: [{ id: "2", name: "Bo" }] })
    assert.isTrue(codec?.isDecoded(event))
    assert.strictEqual(codec?.write(event, 64), JSON.stringify(event))
    assert.isFalse(codec?.isDecoded({ ...event, name: { $forgotten: true } }))
    assert.isFalse(codec?.isDecoded({ ...event, guests: [{ id: "2", name: { $forgotten: true } }] }))
    assert.isUndefined(codec?.write({ ...event, name: Personal.forgotten }, 64))
    assert.isFalse(codec?.isDecoded({ ...event, name: "" }), "checks of the data hold")
    assert.isUndefined(codec?.write({ ...event, name: "" }, 64))
  })

  it("is forgotten even if its data could look like that", () => {
    const Tagged = Schema.TaggedStruct("Tagged", {
      id: Schema.String,
      any: Personal.make(Schema.Struct({ _tag: Schema.String }), "id")
    })
    const of = Aggregate.make("Customer", { state: Schema.Null, initial: null, events: [Tagged] }, () => null)
    const codec = codecOf(of).events.get("Tagged")
    const event = Tagged.make({ id: "1", any: Personal.forgotten })
    const encoded = codec?.encode(event)
    assert.deepStrictEqual(encoded?._tag === "Success" && encoded.success, {
      _tag: "Tagged",
      id: "1",
      any: { $forgotten: true }
    })
    assert.isUndefined(codec?.write(event, 64))
  })
})

describe("Forgotten", () => {
  it("is told from data", () => {
    assert.isTrue(Personal.isForgotten(Personal.forgotten))
    assert.isTrue(Personal.isForgotten(structuredClone(Personal.forgotten)))
    for (const data of [undefined, null, "Forgotten", {}, { _tag: "Other" }])
      assert.isFalse(Personal.isForgotten(data))
  })

  it("is replaced by a default, and left alone by a change", () => {
    assert.strictEqual(
      Personal.getOrElse<string, string>("Ada", () => "-"),
      "Ada"
    )
    assert.strictEqual(
      Personal.getOrElse<string, string>(Personal.forgotten, () => "-"),
      "-"
    )
    assert.strictEqual(
      Personal.map<string, number>("Ada", (text) => text.length),
      3
    )
    assert.strictEqual(
      Personal.map<string, number>(Personal.forgotten, (text) => text.length),
      Personal.forgotten
    )
  })

  it.prop(
    "is an arbitrary value of a personal field, as data is",
    [Arbitrary.schema(name)],
    ([value]) => Personal.isForgotten(value) || value.length > 0
  )

  it("can be a part of a state", () => {
    const codec = Schema.toCodecJson(Schema.Struct({ name: Personal.orForgotten(Schema.String) }))
    const state = { name: Personal.forgotten }
    assert.deepStrictEqual(Schema.decodeSync(codec)(Schema.encodeSync(codec)(state)), state)
  })
})
