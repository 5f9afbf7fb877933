import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { isDeepStrictEqual } from "node:util"
import { jsonProblem, jsonText, nameProblem, sameJson, textProblem } from "../../src/internal/json.ts"

/** The shape of a value. Its numbers select the leaves and the keys. */
type Shape = number | ReadonlyArray<Shape> | { readonly members: ReadonlyArray<readonly [number, Shape]> }
const Choice = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 9999 }))
const Shape: Schema.Codec<Shape> = Schema.suspend(() =>
  Schema.Union([
    Choice,
    Schema.Array(Shape),
    Schema.Struct({ members: Schema.Array(Schema.Tuple([Choice, Shape])) })
  ])
)

const pick = <A>(from: ReadonlyArray<A>, choice: number): A => from[choice % from.length] as A

const fine: ReadonlyArray<unknown> = [
  null,
  true,
  false,
  0,
  1,
  -1,
  0.1,
  5e-324,
  1.7976931348623157e308,
  2 ** 53,
  2 ** 60,
  1e21,
  "",
  "a",
  "\u0001",
  "\uffff",
  "🎉",
  "e\u0301",
  "\\u0000",
  "\u2028",
  `"'`,
  "__proto__"
]
const odd: ReadonlyArray<unknown> = [
  undefined,
  -0,
  Number.NaN,
  Infinity,
  -Infinity,
  1n,
  Symbol("s"),
  () => 1,
  "\0",
  "a\0b",
  "\ud800",
  "\udfff",
  "🎉\ud83d",
  "\udf89\ud83d",
  new Date(0),
  new Map(),
  new Set([1]),
  /a/,
  new URL("https://example.com")
]
const keys = ["a", "b", "", "constructor", "toString", "0", "10", "ä.🎉"]
const oddKeys = ["__proto__", "\0", "\ud800", "a\udfff"]

const toValue = (shape: Shape, leaves: ReadonlyArray<unknown>, names: ReadonlyArray<string>): unknown => {
  if (typeof shape === "number") return pick(leaves, shape)
  if (!("members" in shape)) return shape.map((element) => toValue(element, leaves, names))
  const value = {}
  for (const [choice, member] of shape.members) {
    Object.defineProperty(value, pick(names, choice), {
      value: toValue(member, leaves, names),
      enumerable: true,
      configurable: true,
      writable: true
    })
  }
  return value
}

const shapes = Arbitrary.schema(Shape)
/** Values that can be stored. */
const json = Arbitrary.map(shapes, (shape) => toValue(shape, fine, keys))
/** Values of which about half cannot. */
const anything = Arbitrary.map(shapes, (shape) =>
  toValue(shape, [...fine, ...fine, ...fine, ...odd], [...keys, ...keys, ...keys, ...oddKeys])
)

const isPlain = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype

const own = (value: object): ReadonlyArray<readonly [string, unknown]> => Object.entries(value)

const isText = (text: string): boolean => {
  if (text.includes("\0")) return false
  try {
    encodeURIComponent(text)
    return true
  } catch {
    return false
  }
}

/** Removes undefined members, which JSON leaves out. */
const pruned = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(pruned)
  if (!isPlain(value)) return value
  const copy = {}
  for (const [key, member] of own(value)) {
    if (member !== undefined) Object.defineProperty(copy, key, { value: pruned(member), enumerable: true })
  }
  return copy
}

const textsAreFine = (value: unknown): boolean =>
  typeof value === "string"
    ? isText(value)
    : Array.isArray(value)
      ? value.every(textsAreFine)
      : !isPlain(value) ||
        own(value).every(
          ([key, member]) =>
            member === undefined || (key !== "__proto__" && isText(key) && textsAreFine(member))
        )

/** True if a value can be stored, found out slowly by trying it. */
const isStorable = (value: unknown): boolean => {
  try {
    const text = JSON.stringify(value) as string | undefined
    return text !== undefined && isDeepStrictEqual(JSON.parse(text), pruned(value)) && textsAreFine(value)
  } catch {
    return false
  }
}

const at = (value: unknown, path: ReadonlyArray<string | number>): unknown =>
  path.reduce<unknown>((inner, key) => Object.getOwnPropertyDescriptor(inner, key)?.value as unknown, value)

const reversedKeys = (value: unknown): unknown =>
  Array.isArray(value)
    ? value.map(reversedKeys)
    : isPlain(value)
      ? Object.fromEntries(
          own(value)
            .toReversed()
            .map(([key, member]) => [key, reversedKeys(member)])
        )
      : value

const runs = { arbitrary: { runs: 1500, size: 6 } }

describe("a storable value", () => {
  it.prop(
    "survives a JSON round trip",
    [anything],
    ([value]) => {
      assert.strictEqual(jsonProblem(value, 1000) === undefined, isStorable(value))
    },
    runs
  )

  it.prop(
    "is any JSON without U+0000 and halves of surrogate pairs",
    [json],
    ([value]) => {
      assert.isUndefined(jsonProblem(value, 1000))
      assert.isUndefined(jsonProblem(JSON.parse(JSON.stringify(value)), 1000))
    },
    runs
  )

  it.prop(
    "has no problem; the path of any other value leads to its problem",
    [anything],
    ([value]) => {
      const found = jsonProblem(value, 1000)
      if (found === undefined) return
      assert.isFalse(found.path.some((key) => typeof key === "string" && !isText(key)))
      if (found.path.includes("?")) return
      if (found.path.at(-1) !== "__proto__") assert.isFalse(isStorable(at(value, found.path)))
    },
    runs
  )

  it.prop(
    "has at most the given depth",
    [json],
    ([value]) => {
      const depth = (inner: unknown): number =>
        typeof inner === "object" && inner !== null ? 1 + Math.max(0, ...Object.values(inner).map(depth)) : 0
      const levels = depth(value)
      assert.isUndefined(jsonProblem(value, levels))
      if (levels > 0) assert.strictEqual(jsonProblem(value, levels - 1)?.limit, "depth")
    },
    runs
  )

  it.prop(
    "is written as JSON writes it; another value is refused for its first problem",
    [anything],
    ([value]) => {
      const found = jsonProblem(value, 1000)
      assert.deepStrictEqual(jsonText(value, 1000), found ?? JSON.stringify(value))
    },
    runs
  )

  it("may contain text that looks like an escape, also in keys", () => {
    for (const value of [{ a: "\\u0000" }, { "\\ud800": 1 }, ["\u0001"]])
      assert.strictEqual(jsonText(value, 9), JSON.stringify(value))
    for (const value of [{ a: "\0" }, { a: { "\ud800": 1 } }, ["\\u0000", "\udfff"]])
      assert.deepStrictEqual(jsonText(value, 9), jsonProblem(value, 9))
    assert.deepInclude(jsonText(["\0", () => 1], 9), { path: [0] })
  })

  it("includes objects of another realm and without a prototype, and arrays without holes", () => {
    assert.isUndefined(jsonProblem(Object.assign(Object.create(null), { a: 1 }), 9))
    assert.deepInclude(jsonProblem({ a: Array.from({ length: 2 }) }, 9), { path: ["a", 0] })
    // eslint-disable-next-line no-sparse-arrays
    assert.deepInclude(jsonProblem([1, , 3], 9), { path: [1] })
    assert.deepInclude(jsonProblem({ a: { toJSON: () => 1 } }, 9), { path: ["a", "toJSON"] })
  })
})

describe("texts and names", () => {
  it.prop(
    "are stored unless UTF-8 or PostgreSQL refuses them",
    [Schema.String],
    ([text]) => {
      assert.strictEqual(textProblem(text) === undefined, isText(text))
      assert.strictEqual(
        nameProblem(text) === undefined,
        isText(text) && text.length > 0 && text.length <= 255
      )
    },
    { arbitrary: { runs: 3000, size: 20 } }
  )

  it("include every code unit but U+0000 and the surrogates", () => {
    for (let code = 0; code <= 0xffff; code++) {
      const text = String.fromCharCode(code)
      assert.strictEqual(textProblem(text) === undefined, isText(text), `U+${code.toString(16)}`)
    }
  })
})

describe("the same JSON", () => {
  it.prop(
    "is the same with its keys in any order",
    [json],
    ([value]) => {
      const [left, right] = [JSON.stringify(value), JSON.stringify(reversedKeys(value))]
      assert.isTrue(sameJson(left, right))
      assert.isTrue(sameJson(right, left))
      assert.isTrue(sameJson(left, JSON.stringify(value, null, 2)))
    },
    runs
  )

  it.prop(
    "is deep equality",
    [json, json, json],
    ([a, b, c]) => {
      // Random values are rarely equal, but small parts of them often are.
      const parts: Array<unknown> = [a, b, c]
      for (const value of [a, b, c]) if (isPlain(value)) parts.push(...Object.values(value))
      const texts = parts.slice(0, 12).map((part) => JSON.stringify(part))
      for (const left of texts) {
        assert.isTrue(sameJson(left, left))
        for (const right of texts) {
          const same = isDeepStrictEqual(JSON.parse(left), JSON.parse(right))
          assert.strictEqual(sameJson(left, right), same)
          assert.strictEqual(sameJson(right, left), same)
        }
      }
    },
    { arbitrary: { runs: 400, size: 5 } }
  )

  it.each([
    [`{"a":1}`, `{"a":1,"b":null}`],
    [`{"a":1}`, `{"b":1}`],
    [`{"0":1}`, `[1]`],
    [`[]`, `{}`],
    [`null`, `{}`],
    [`[1,2]`, `[2,1]`],
    [`[1]`, `[1,1]`],
    [`"1"`, `1`],
    [`0`, `false`],
    [`""`, `null`],
    [`{"__proto__":1}`, `{}`],
    [`{"__proto__":{"a":1}}`, `{"__proto__":{"a":2}}`],
    [`{"toString":1}`, `{}`]
  ])("is not %s and %s", (left, right) => {
    assert.isFalse(sameJson(left, right))
    assert.isFalse(sameJson(right, left))
  })
})
