import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, Result, Schema, SchemaParser } from "effect"
import { jsonReader } from "../../../src/domain/codec/plainReader.ts"
import { jsonWriter } from "../../../src/domain/codec/plainWriter.ts"

/** Simple schemas with all their special cases. */
const simple = Schema.TaggedStruct('Order"ed', {
  text: Schema.String,
  short: Schema.String.check(Schema.isMaxLength(3)),
  id: Schema.String.check(Schema.isMinLength(1)).pipe(Schema.brand("Id")),
  int: Schema.Int,
  positive: Schema.Int.check(Schema.isGreaterThan(0).and(Schema.isLessThan(9))),
  finite: Schema.Finite,
  flag: Schema.Boolean,
  nothing: Schema.Null,
  state: Schema.Literals(["open", "closed", 7, true]),
  maybe: Schema.NullOr(Schema.String),
  10: Schema.String,
  "": Schema.optionalKey(Schema.Int),
  either: Schema.Union([Schema.Int, Schema.Boolean, Schema.Literal("x")]),
  list: Schema.Array(Schema.String),
  last: Schema.optionalKey(
    Schema.Struct({ lines: Schema.Array(Schema.Struct({ sku: Schema.String, n: Schema.Int })) })
  )
})

const decode = (schema: Schema.ConstraintCodec<unknown, unknown>, value: unknown) =>
  SchemaParser.decodeUnknownResult(Schema.toCodecJson(schema))(value)
const readerOf = (schema: Schema.Constraint) => jsonReader(Schema.toCodecJson(schema).ast)

/** A value as it is read from the database. */
const parsed = (value: unknown): unknown => JSON.parse(JSON.stringify(value))

/** Checks that an accepted value is decoded to itself. Returns true if it was accepted. */
const assertSame = (
  schema: Schema.ConstraintCodec<unknown, unknown>,
  value: unknown,
  message?: string
): boolean => {
  if (readerOf(schema)?.(value) !== true) return false
  const decoded = decode(schema, value)
  assert.isTrue(Result.isSuccess(decoded), message)
  if (Result.isSuccess(decoded)) assert.deepStrictEqual(decoded.success, value, message)
  return true
}

const odd = [
  "null",
  "-0",
  "0.5",
  "1e999",
  "1e60",
  '""',
  '"\\u0000"',
  '"\\ud800"',
  '"four"',
  "7",
  "true",
  "[]",
  '["a",null]',
  "[1]",
  "{}",
  '{"lines":[]}',
  '{"lines":[],"more":1}',
  '{"lines":[{"sku":"a","n":1},{"sku":"a","n":1,"m":2}]}',
  '{"__proto__":{"lines":[]}}',
  '{"lines":[{"n":1.5,"sku":"a"}]}'
].map((text): unknown => JSON.parse(text))

describe("the reader of simple JSON", () => {
  it.prop(
    "accepts values that decoding leaves unchanged, in any order of members",
    [Arbitrary.schema(simple)],
    ([value]) => {
      assert.isTrue(assertSame(simple, parsed(value)))
      assert.isTrue(assertSame(simple, parsed(Object.fromEntries(Object.entries(value).toReversed()))))
    },
    { arbitrary: { runs: 400, size: 8 } }
  )

  it.prop(
    "declines values that decoding refuses or changes",
    [Arbitrary.schema(simple)],
    ([value]) => {
      for (const name of Object.keys(simple.fields)) {
        for (const member of odd)
          assertSame(simple, { ...value, [name]: member }, `${name}: ${String(member)}`)
        const { [name as keyof typeof value]: _, ...without } = value
        assertSame(simple, without, `without ${name}`)
      }
      for (const name of ["more", "__proto__", "constructor", "last2"]) {
        const more: unknown = JSON.parse(`${JSON.stringify(value).slice(0, -1)},"${name}":1}`)
        assert.isFalse(assertSame(simple, more), name)
      }
      for (const other of [undefined, null, "a", [value], 1]) assert.isFalse(assertSame(simple, other))
    },
    { arbitrary: { runs: 50, size: 4 } }
  )

  it("ignores inherited properties", () => {
    const schema = Schema.TaggedStruct("Two", {
      text: Schema.String,
      more: Schema.optionalKey(Schema.String)
    })
    assert.isTrue(assertSame(schema, { _tag: "Two", text: "own" }))
    for (const prototype of [{ more: "inherited" }, { more: 1 }]) {
      const value: unknown = Object.assign(Object.create(prototype), { _tag: "Two", text: "own" })
      assert.isFalse(readerOf(schema)?.(value), JSON.stringify(prototype))
    }
    const compensated: unknown = Object.assign(Object.create({ more: "inherited" }), {
      _tag: "Two",
      text: "own",
      other: 1
    })
    assert.isFalse(readerOf(schema)?.(compensated))
    const without: unknown = Object.assign(Object.create({ text: "inherited" }), { _tag: "Two" })
    assert.isFalse(readerOf(schema)?.(without))
    const named = Schema.TaggedStruct("Three", { toString: Schema.optionalKey(Schema.String) })
    assert.isTrue(assertSame(named, { _tag: "Three", toString: "own" }))
    assert.isFalse(assertSame(named, { _tag: "Three" }))
    const empty = Schema.Struct({ a: Schema.optionalKey(Schema.String) })
    assert.deepStrictEqual(
      [{}, [], { a: undefined }].map((value) => readerOf(empty)?.(value)),
      [true, false, false]
    )
  })

  it("examines members before it runs checks, and every element of a list", () => {
    let checked = 0
    const text = Schema.String.check(
      Schema.makeFilter(() => {
        checked++
        return true
      })
    )
    const schema = Schema.TaggedStruct("Four", { text, list: Schema.Array(Schema.String) })
    const fits = readerOf(schema)
    assert.isFalse(fits?.({ _tag: "Four", text: "a", list: [], more: 1 }))
    assert.strictEqual(checked, 0)
    const sparse: Array<string> = []
    sparse[1] = "a"
    for (const list of [sparse, ["a", undefined], ["a", 1]])
      assert.isFalse(fits?.({ _tag: "Four", text: "a", list }))
    assert.isTrue(fits?.({ _tag: "Four", text: "a", list: ["a", "b"] }))
  })

  it("examines a repeated part of a schema once", () => {
    let part: Schema.Codec<unknown> = Schema.Struct({ text: Schema.String })
    for (let depth = 0; depth < 60; depth++)
      part = Schema.Struct({ one: part, two: Schema.optionalKey(part) })
    const { ast } = Schema.toCodecJson(part)
    assert.isDefined(jsonReader(ast))
    assert.isDefined(jsonWriter(ast))
  })

  it("declines schemas that change values or are not simple", () => {
    class Klass extends Schema.TaggedClass<Klass>()("Klass", { a: Schema.String }) {}
    interface Tree {
      readonly children: ReadonlyArray<Tree>
    }
    const Tree: Schema.Codec<Tree> = Schema.Struct({
      children: Schema.Array(Schema.suspend((): Schema.Codec<Tree> => Tree))
    })
    const others: ReadonlyArray<Schema.Constraint> = [
      // @effect-diagnostics-next-line schemaNumber:off
      Schema.Struct({ a: Schema.Number }),
      Schema.Struct({ a: Schema.DateTimeUtc }),
      // @effect-diagnostics-next-line schemaNumber:off
      Schema.Struct({ a: Schema.NumberFromString }),
      Schema.Struct({ a: Schema.optional(Schema.String) }),
      Schema.Struct({ a: Schema.BigInt }),
      Schema.Struct({ ["__proto__"]: Schema.String }),
      Schema.Struct({ a: Schema.String }).check(Schema.makeFilter(({ a }) => a !== "b")),
      Schema.Struct({ a: Schema.Array(Schema.String).check(Schema.isMinLength(2)) }),
      Schema.Struct({ a: Schema.NullOr(Schema.Struct({ b: Schema.String })) }),
      Schema.Struct({ a: Schema.Union([Schema.String, Schema.Literal("b")], { mode: "oneOf" }) }),
      Schema.Struct({ a: Schema.Tuple([Schema.String]) }),
      Schema.Struct({ a: Schema.String.pipe(Schema.withDecodingDefaultKey(Effect.succeed("b"))) }),
      Schema.Struct({}),
      Schema.Record(Schema.String, Schema.String),
      Schema.Struct({ a: Schema.Unknown }),
      Schema.Struct({ a: Schema.Json }),
      Schema.Struct({ first: Schema.String }).pipe(Schema.encodeKeys({ first: "second" })),
      Klass,
      Tree
    ]
    for (const [index, schema] of others.entries()) assert.isUndefined(readerOf(schema), `schema ${index}`)
  })
})
