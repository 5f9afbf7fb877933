/** The checker of linearizability is correct on known histories, and on all small ones. */
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { check, minimise, type Model, type Operation } from "../support/linearizability/checker.ts"

/** Writes a number, or reads the last one. */
type Input = { readonly write: number } | "read"

type Step = Operation<Input, number | "written">

/** One place for a number, 0 at first. */
const register: Model<number, Input, number | "written"> = {
  initial: 0,
  step: (state, input, output) =>
    input === "read" ? (output === undefined || output === state ? state : undefined) : input.write,
  keyOf: String,
  isRead: (input) => input === "read"
}

const write = (number: number, called: number, returned?: number): Step => ({
  called,
  returned,
  input: { write: number },
  output: returned === undefined ? undefined : "written"
})

const read = (number: number, called: number, returned: number): Step => ({
  called,
  returned,
  input: "read",
  output: number
})

const good: Readonly<Record<string, ReadonlyArray<Step>>> = {
  "nothing at all": [],
  "one operation after another": [write(1, 1, 2), read(1, 3, 4), write(2, 5, 6), read(2, 7, 8)],
  "a read beside a write that sees it": [write(1, 1, 4), read(1, 2, 3)],
  "a read beside a write that does not see it": [write(1, 1, 4), read(0, 2, 3)],
  "two reads beside a write, old and then new": [write(1, 1, 8), read(0, 2, 3), read(1, 4, 5)],
  "writes at once, read in the order against that of their calls": [
    write(1, 1, 5),
    write(2, 2, 6),
    read(2, 3, 4),
    read(1, 7, 8)
  ],
  "a return and a call at the same moment": [write(1, 1, 2), read(0, 2, 3)],
  "an unknown write that nobody sees": [write(1, 1), read(0, 2, 3), read(0, 4, 5)],
  "an unknown write that is seen at once": [write(1, 1), read(1, 2, 3)],
  "an unknown write that takes effect much later": [
    write(1, 1),
    write(2, 2, 3),
    read(2, 4, 5),
    read(2, 6, 7),
    read(1, 8, 9)
  ],
  "unknown writes only": [write(1, 1), write(2, 2)]
}

const bad: Readonly<Record<string, ReadonlyArray<Step>>> = {
  "a read that misses a write": [write(1, 1, 2), read(0, 3, 4)],
  "a read of a number that nobody wrote": [write(1, 1, 2), read(7, 1, 4)],
  "a read of a number before it is written": [read(1, 1, 2), write(1, 3, 4)],
  "two reads beside a write, new and then old": [write(1, 1, 8), read(1, 2, 3), read(0, 4, 5)],
  "two readers that see writes in different orders": [
    write(1, 1, 9),
    write(2, 1, 9),
    read(1, 2, 3),
    read(2, 4, 5),
    read(1, 6, 7),
    read(2, 8, 10)
  ],
  "an unknown write that is seen before its call": [read(1, 1, 2), write(1, 3)],
  "an unknown write that takes effect and is gone again": [write(1, 1), read(1, 2, 3), read(0, 4, 5)],
  "an unknown write that takes effect twice": [
    write(1, 1),
    read(1, 2, 3),
    write(2, 4, 5),
    read(2, 6, 7),
    read(1, 8, 9)
  ]
}

/** All orders that respect the real order: the definition, written down. */
const isLinearizable = (state: number, rest: ReadonlyArray<Step>): boolean =>
  rest.every(({ returned }) => returned === undefined) ||
  rest.some((operation) => {
    if (rest.some(({ returned = Infinity }) => returned < operation.called)) return false
    const next = register.step(state, operation.input, operation.output)
    return (
      next !== undefined &&
      isLinearizable(
        next,
        rest.filter((other) => other !== operation)
      )
    )
  })

const Small = Schema.Array(
  Schema.Struct({
    write: Schema.Boolean,
    number: Schema.Literals([0, 1, 2]),
    called: Schema.Literals([1, 2, 3, 4, 5, 6]),
    takes: Schema.Literals([0, 1, 2, 3, 9])
  })
)

const historyOf = (operations: typeof Small.Type): ReadonlyArray<Step> =>
  operations
    .slice(0, 6)
    .map(({ called, number, takes, write: isWrite }) =>
      isWrite
        ? write(number, called, takes === 9 ? undefined : called + takes)
        : read(number, called, called + takes)
    )

const forget = (operation: Step): Step => ({ ...operation, returned: undefined, output: undefined })

describe("the checker of linearizability", () => {
  it.each(Object.entries(good))("accepts %s", (_name, history) => {
    const { linearizable, order } = check(register, history)
    assert.isTrue(linearizable)
    let state = register.initial
    for (const { input, output } of order) state = register.step(state, input, output) ?? assert.fail("order")
    for (const operation of history)
      assert.isTrue(operation.returned === undefined || order.includes(operation))
  })

  it.each(Object.entries(bad))("refuses %s", (_name, history) => {
    const { linearizable, stuck } = check(register, history)
    assert.isFalse(linearizable)
    assert.isNotEmpty(stuck)
  })

  it.prop(
    "agrees with the definition on every small history, in any order of its operations",
    [Arbitrary.schema(Small)],
    ([operations]) => {
      const history = historyOf(operations)
      const expected = isLinearizable(0, history)
      assert.strictEqual(check(register, history).linearizable, expected)
      assert.strictEqual(check(register, history.toReversed()).linearizable, expected)
    },
    { arbitrary: { runs: 2000 } }
  )

  it("answers for 60 operations of 8 fibers, 15 of them with unknown outcomes", () => {
    const fibers = 8
    const history = Array.from({ length: 60 }, (_, n): Step => {
      const called = Math.floor(n / fibers) * 100 + (n % fibers)
      return n % 4 === 3 ? write(n, called) : write(n, called, called + 90)
    })
    const last = read(58, 10_000, 10_001)
    const never = read(1000, 10_002, 10_003)
    assert.isTrue(check(register, [...history, last]).linearizable)
    // No operation fits at the end, so all orders are tried. Without the memory of configurations this takes minutes.
    assert.isFalse(check(register, [...history.slice(0, 20), never]).linearizable)
  })

  it("reduces a wrong history to the operations that contradict each other", () => {
    const [first, ...others] = [write(1, 1, 2), write(2, 20, 21), read(1, 30, 31)] as const
    const history = [
      first,
      read(1, 3, 4),
      read(1, 5, 6),
      read(1, 7, 8),
      ...others,
      write(4, 40, 41),
      read(4, 42, 43)
    ]
    const least = minimise(register, history, forget)
    assert.isFalse(check(register, least).linearizable)
    assert.deepStrictEqual(
      least.filter(({ returned }) => returned !== undefined),
      [first, ...others]
    )
  })

  it.prop(
    "never reduces a history to a correct one",
    [Arbitrary.schema(Small)],
    ([operations]) => {
      const history = historyOf(operations)
      const least = minimise(register, history, forget)
      assert.strictEqual(check(register, least).linearizable, check(register, history).linearizable)
      assert.isAtMost(least.length, history.length)
    },
    { arbitrary: { runs: 300 } }
  )
})
