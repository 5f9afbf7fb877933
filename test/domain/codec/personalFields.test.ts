import { assert, describe, it } from "@effect/vitest"
import { Option, Schema, SchemaTransformation } from "effect"
import * as Aggregate from "../../../src/domain/Aggregate.ts"
import { codecOf } from "../../../src/domain/codec/aggregateCodec.ts"
import type { EventSchema } from "../../../src/domain/Event.ts"
import * as Personal from "../../../src/domain/Personal.ts"
import * as Upcaster from "../../../src/domain/Upcaster.ts"

const aggregate = (...events: ReadonlyArray<EventSchema>) =>
  Aggregate.make("Customer", { state: Schema.Null, initial: null, events }, () => null)

/** The personal fields of an event's JSON. */
const fieldsOf = (schema: EventSchema, json: Schema.Json, order: "schema" | "keys" = "keys") => {
  const find = codecOf(aggregate(schema)).events.get("Noted")?.personal
  const found = find?.(json, "c-1", order)
  if (found === undefined) return undefined
  if ("reason" in found) return `${found.path.join(".")} ${found.reason}`
  return found.fields.map(({ path, subject }) => `${path.join(".")} of ${subject}`)
}

const name = Personal.make(Schema.String, "id")

/** Encodes a value with the codec of its schema, and finds the fields in the JSON. */
const fieldsOfEvent = (schema: EventSchema, event: { readonly _tag: "Noted" }) => {
  const encoded = codecOf(aggregate(schema)).events.get("Noted")?.encode(event)
  return encoded?._tag === "Success"
    ? fieldsOf(schema, encoded.success as Schema.Json)
    : encoded?.failure.reason
}

const note = <Fields extends Schema.Struct.Fields>(fields: Fields) => Schema.TaggedStruct("Noted", fields)

describe("the personal fields of an encoded event", () => {
  it("are none without marks", () => {
    assert.isUndefined(fieldsOf(note({ id: Schema.String }), { _tag: "Noted", id: "1" }))
  })

  it("have the subject of a field beside them, or of the aggregate's id", () => {
    const schema = note({
      id: Schema.String,
      name,
      email: Personal.make(Schema.String, Personal.aggregateId),
      age: Personal.make(Schema.Struct({ years: Schema.Int }), "id")
    })
    const json = { _tag: "Noted", id: "1", name: "Ada", email: "a@b", age: { years: 3 } }
    assert.deepStrictEqual(fieldsOf(schema, json), ["name of 1", "email of c-1", "age of 1"])
  })

  it("are in the order of the text", () => {
    const schema = note({ id: Schema.String, name, last: Personal.make(Schema.String, "id") })
    const json = { last: "Lovelace", name: "Ada", id: "1", _tag: "Noted" }
    assert.deepStrictEqual(fieldsOf(schema, json), ["last of 1", "name of 1"])
    assert.deepStrictEqual(fieldsOf(schema, json, "schema"), ["name of 1", "last of 1"])
  })

  it("are found in objects, lists, tuples and records, with several subjects", () => {
    const person = Schema.Struct({ id: Schema.Int, name })
    const schema = note({
      id: Schema.String,
      guests: Schema.Array(person),
      pair: Schema.TupleWithRest(Schema.Tuple([Schema.String, person]), [Schema.String, person]),
      byRole: Schema.Record(Schema.String, name),
      mixed: Schema.StructWithRest(Schema.Struct({ open: Schema.String }), [
        Schema.Record(Schema.String, name)
      ]),
      nested: Schema.Struct({ deep: Schema.Struct({ name }) })
    })
    const json = {
      _tag: "Noted",
      id: "1",
      guests: [
        { id: 2, name: "a" },
        { id: 3, name: "b" }
      ],
      pair: ["x", { id: 4, name: "c" }, "y", "z", { id: 5, name: "d" }],
      byRole: { host: "e", cook: "f" },
      mixed: { open: "plain", more: "g" },
      nested: { deep: { name: "h" } }
    }
    assert.deepStrictEqual(fieldsOf(schema, json), [
      "guests.0.name of 2",
      "guests.1.name of 3",
      "pair.1.name of 4",
      "pair.4.name of 5",
      "byRole.host of 1",
      "byRole.cook of 1",
      "mixed.more of 1",
      "nested.deep.name of 1"
    ])
  })

  it("are found in optional fields, if these are present", () => {
    const schema = note({
      id: Schema.String,
      key: Schema.optionalKey(name),
      orUndefined: Schema.optional(name),
      orNull: Schema.NullOr(name),
      option: Schema.Option(name)
    })
    assert.deepStrictEqual(
      fieldsOfEvent(schema, schema.make({ id: "1", orNull: null, option: Option.none() })),
      []
    )
    assert.deepStrictEqual(
      fieldsOfEvent(
        schema,
        schema.make({ id: "1", key: "a", orUndefined: "b", orNull: "c", option: Option.some("d") })
      ),
      ["key of 1", "orUndefined of 1", "orNull of 1", "option.value of 1"]
    )
  })

  it("are those of the member of a union that fits, and of all of them if several do", () => {
    const contact = Schema.Union([
      Schema.Struct({ kind: Schema.Literal("mail"), address: name }),
      Schema.Struct({ kind: Schema.Literal("web"), address: Schema.String })
    ])
    const schema = note({ id: Schema.String, contact })
    assert.deepStrictEqual(
      fieldsOf(schema, { _tag: "Noted", id: "1", contact: { kind: "mail", address: "a" } }),
      ["contact.address of 1"]
    )
    assert.deepStrictEqual(
      fieldsOf(schema, { _tag: "Noted", id: "1", contact: { kind: "web", address: "a" } }),
      []
    )
    const unclear = Schema.Union([
      Schema.Struct({ first: name, last: Schema.String }),
      Schema.Struct({ first: Schema.String, last: name }),
      Schema.Struct({ first: name, last: name })
    ])
    assert.deepStrictEqual(
      fieldsOf(note({ id: Schema.String, unclear }), {
        _tag: "Noted",
        id: "1",
        unclear: { first: "a", last: "b" }
      }),
      ["unclear.first of 1", "unclear.last of 1"]
    )
  })

  it("are found in recursive schemas and in classes, and under the names of the stored form", () => {
    interface Tree {
      readonly id: string
      readonly name: string | Personal.Forgotten
      readonly children: ReadonlyArray<Tree>
    }
    const Tree: Schema.Codec<Tree, unknown> = Schema.Struct({
      id: Schema.String,
      name,
      children: Schema.Array(Schema.suspend((): Schema.Codec<Tree, unknown> => Tree))
    })
    const json = {
      _tag: "Noted",
      tree: {
        id: "1",
        name: "a",
        children: [{ id: "2", name: "b", children: [{ id: "3", name: "c", children: [] }] }]
      }
    }
    assert.deepStrictEqual(fieldsOf(note({ tree: Tree }), json), [
      "tree.name of 1",
      "tree.children.0.name of 2",
      "tree.children.0.children.0.name of 3"
    ])
    class Noted extends Schema.TaggedClass<Noted>()("Noted", { id: Schema.String, name }) {}
    assert.deepStrictEqual(fieldsOfEvent(Noted, new Noted({ id: "1", name: "a" })), ["name of 1"])
    const renamed = note({ id: Schema.String, name }).pipe(Schema.encodeKeys({ name: "n" }))
    assert.deepStrictEqual(fieldsOfEvent(renamed, { _tag: "Noted", id: "1", name: "a" } as never), ["n of 1"])
  })

  it("are not those that are forgotten already", () => {
    const schema = note({ id: Schema.String, names: Schema.Array(name) })
    const find = codecOf(aggregate(schema)).events.get("Noted")?.personal
    const json = { _tag: "Noted", id: "1", names: [{ $forgotten: true }, "a"] }
    assert.deepStrictEqual(fieldsOf(schema, json), ["names.1 of 1"])
    const found = find?.(json, "c-1", "keys")
    assert.deepStrictEqual(found !== undefined && "forgotten" in found && found.forgotten, [["names", 0]])
  })

  it("are refused without the id of their subject, with the place and without the value", () => {
    const schema = note({
      id: Schema.optionalKey(Schema.NullOr(Schema.String)),
      guests: Schema.Array(Schema.Struct({ name }))
    })
    const guests = [{ name: "secret" }]
    const refused = (reason: string) => `id ${reason}, but is the id of the subject of guests.0.name`
    assert.strictEqual(fieldsOf(schema, { _tag: "Noted", guests }), refused("is missing"))
    assert.strictEqual(
      fieldsOf(schema, { _tag: "Noted", id: null, guests }),
      refused("is no text and no number")
    )
    assert.strictEqual(fieldsOf(schema, { _tag: "Noted", id: "", guests }), refused("is empty"))
    assert.strictEqual(
      fieldsOf(schema, { _tag: "Noted", id: "x".repeat(256), guests }),
      refused("has more than 255 characters")
    )
  })

  it("do not get the subject of an outer object where the nearest one lacks its own", () => {
    const guest = Schema.Struct({ id: Schema.optionalKey(Schema.String), name })
    const schema = note({ id: Schema.String, guests: Schema.Array(guest) })
    assert.strictEqual(
      fieldsOf(schema, { _tag: "Noted", id: "1", guests: [{ name: "a" }] }),
      "guests.0.id is missing, but is the id of the subject of guests.0.name"
    )
  })

  it("are known for former versions too", () => {
    const first = note({ id: Schema.String, name })
    const second = note({ id: Schema.String, first: name })
    const of = Aggregate.make(
      "Customer",
      {
        state: Schema.Null,
        initial: null,
        events: [second],
        upcasters: [
          Upcaster.from(first).to(second, ({ name: given, ...others }) => ({ ...others, first: given }))
        ]
      },
      () => null
    )
    const stored = codecOf(of).stored.get("Noted")
    const found = [1, 2, 3].map((version) =>
      stored?.personal(version)?.({ _tag: "Noted", id: "1", name: "a", first: "b" }, "c-1", "keys")
    )
    assert.deepStrictEqual(
      found.map((one) => one && "fields" in one && one.fields.map(({ path }) => path.join("."))),
      [["name"], ["first"], undefined]
    )
  })
})

describe("an aggregate refuses", () => {
  const refusal = (schema: EventSchema): string => {
    try {
      aggregate(schema)
      return "nothing"
    } catch (error) {
      return String(error)
    }
  }

  it("a personal field whose subject is no field around it", () => {
    assert.strictEqual(
      refusal(note({ customerId: Schema.String, nested: Schema.Struct({ name }) })),
      'TypeError: the personal field nested.name of version 1 of Noted of Customer has the subject "id", but neither the object with the field nor one around it has such a field in its stored form'
    )
    assert.include(
      refusal(note({ other: Schema.Struct({ id: Schema.String }), name })),
      'has the subject "id"'
    )
  })

  it("a personal field whose subject is personal itself", () => {
    assert.include(
      refusal(note({ id: Personal.make(Schema.String, Personal.aggregateId), name })),
      'has the subject "id", which is personal itself'
    )
  })

  it("a personal field inside of another one, and an event that is marked as a whole", () => {
    assert.include(
      refusal(
        note({ id: Schema.String, person: Personal.make(Schema.Struct({ id: Schema.String, name }), "id") })
      ),
      "person of version 1 of Noted of Customer contains another personal field"
    )
    assert.include(
      refusal(Personal.make(note({ id: Schema.String }), Personal.aggregateId) as never),
      "is marked as a whole"
    )
  })

  it("a mark that would not be in the stored form", () => {
    const inText = Schema.String.pipe(
      Schema.decodeTo(
        Schema.Struct({ id: Schema.String, name }),
        SchemaTransformation.transform<
          { readonly id: string; readonly name: string | Personal.ForgottenJson },
          string
        >({
          decode: (text) => ({ id: "1", name: text }),
          encode: ({ name: text }) => (typeof text === "string" ? text : "")
        })
      )
    )
    assert.include(refusal(note({ inText })), "would be stored without the mark of a personal field")
  })

  it("wrong marks of former versions", () => {
    const second = note({ id: Schema.String })
    const upcasters = [Upcaster.from(note({ name })).to(second, () => second.make({ id: "1" }))]
    assert.throws(
      () =>
        Aggregate.make(
          "Customer",
          { state: Schema.Null, initial: null, events: [second], upcasters },
          () => null
        ),
      "the personal field name of version 1 of Noted"
    )
  })
})
