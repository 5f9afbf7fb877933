import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Result, Schema, SchemaParser } from "effect"
import { jsonText } from "../../../src/internal/json.ts"
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
  state: Schema.Literals(["open", "closed"]),
  maybe: Schema.NullOr(Schema.String),
  'a "key" with ä🎉': Schema.optionalKey(Schema.String),
  either: Schema.Union([Schema.Int, Schema.Boolean, Schema.Literal("x")]),
  list: Schema.Array(Schema.String),
  last: Schema.optionalKey(
    Schema.Struct({ lines: Schema.Array(Schema.Struct({ sku: Schema.String, n: Schema.Int })) })
  )
})

const encodeText = (schema: Schema.ConstraintCodec<unknown, unknown>, value: unknown): string | undefined => {
  const encoded = SchemaParser.encodeUnknownResult(Schema.toCodecJson(schema))(value)
  const text = Result.isSuccess(encoded) ? jsonText(encoded.success, 64) : undefined
  return typeof text === "string" ? text : undefined
}
const writerOf = (schema: Schema.Constraint) => jsonWriter(Schema.toCodecJson(schema).ast)
const write = (schema: Schema.Constraint, value: unknown) => writerOf(schema)?.write(value)

const odd: ReadonlyArray<unknown> = [
  undefined,
  null,
  -0,
  Number.NaN,
  Infinity,
  0.5,
  2 ** 60,
  1n,
  "",
  "\0",
  "\ud800",
  "\udf89\ud83d",
  "four",
  '\u2028"\\\n',
  "🎉",
  [],
  ["a", undefined],
  [1],
  {},
  { lines: [{ sku: "\0", n: 1 }] },
  { lines: [{ n: 1, sku: "b", more: true }] },
  new Date(0),
  () => 1
]

describe("the writer of simple JSON", () => {
  const runs = { arbitrary: { runs: 800, size: 8 } }

  it.prop(
    "writes the same text as encoding and JSON.stringify",
    [Arbitrary.schema(simple)],
    ([value]) => {
      const text = encodeText(simple, value)
      assert.strictEqual(write(simple, value), text)
      // A value in the memory of a program may have more members, in another order.
      const other = Object.fromEntries(Object.entries({ more: 1, ...value }).toReversed())
      assert.strictEqual(write(simple, other), text)
    },
    runs
  )

  it.prop(
    "declines all other values",
    [Arbitrary.schema(simple)],
    ([value]) => {
      for (const name of Object.keys(simple.fields)) {
        for (const member of odd) {
          const changed = { ...value, [name]: member }
          assert.strictEqual(
            write(simple, changed),
            encodeText(simple, changed),
            `${name}: ${String(member)}`
          )
        }
        const { [name as keyof typeof value]: _, ...without } = value
        assert.strictEqual(write(simple, without), encodeText(simple, without), `without ${name}`)
      }
    },
    { arbitrary: { runs: 50, size: 4 } }
  )

  it("reads the properties of instances, inherited or not", () => {
    class Base {
      get text() {
        return "inherited"
      }
    }
    class Two extends Base {
      _tag = "Two"
    }
    const schema = Schema.TaggedStruct("Two", { text: Schema.String })
    assert.strictEqual(write(schema, new Two()), '{"_tag":"Two","text":"inherited"}')
    assert.strictEqual(write(schema, new Two()), encodeText(schema, new Two()))
    for (const value of [undefined, null, "Two", ["Two"], Object.assign([], { _tag: "Two", text: "a" })])
      assert.isUndefined(write(schema, value))
  })

  it("states the depth of its values", () => {
    assert.strictEqual(writerOf(simple)?.depth, 4)
    assert.strictEqual(writerOf(Schema.TaggedStruct("A", {}))?.depth, 1)
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
      Schema.Struct({ a: Schema.Literal(1) }),
      Schema.Struct({ 1: Schema.String }),
      Schema.Struct({ b: Schema.String, 10: Schema.String }),
      Schema.Struct({ ["__proto__"]: Schema.String }),
      Schema.Struct({ "\0": Schema.String }),
      Schema.Struct({ a: Schema.Literal("\ud800") }),
      Schema.Struct({ a: Schema.optionalKey(Schema.String) }),
      Schema.Struct({ a: Schema.String }).check(Schema.makeFilter(({ a }) => a !== "b")),
      Schema.Struct({ a: Schema.Array(Schema.String).check(Schema.isMinLength(2)) }),
      Schema.Struct({ a: Schema.NullOr(Schema.Struct({ b: Schema.String })) }),
      Schema.Struct({ a: Schema.Union([Schema.String, Schema.Literal("b")], { mode: "oneOf" }) }),
      Schema.Struct({ a: Schema.Tuple([Schema.String]) }),
      Schema.Struct({}),
      Schema.Record(Schema.String, Schema.String),
      Schema.Struct({ a: Schema.Unknown }),
      Schema.Struct({ a: Schema.Json }),
      Schema.Struct({ first: Schema.String }).pipe(Schema.encodeKeys({ first: "second" })),
      Klass,
      Tree
    ]
    for (const [index, schema] of others.entries()) assert.isUndefined(writerOf(schema), `schema ${index}`)
  })
})
