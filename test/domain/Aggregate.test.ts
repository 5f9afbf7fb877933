import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import { Account, Closed, Deposited, deposited, Opened, opened } from "../support/bank.ts"

const state = Schema.Struct({ count: Schema.Int })

describe("an aggregate", () => {
  it("is a plain value that folds without a runtime", () => {
    assert.deepStrictEqual(Account.fold([]), { status: "none", balance: 0 })
    assert.deepStrictEqual(Account.fold([opened(), deposited(3), deposited(4)]), {
      status: "open",
      balance: 7
    })
    assert.deepStrictEqual(Account.apply({ status: "open", balance: 1 }, deposited(1)), {
      status: "open",
      balance: 2
    })
  })

  it("folds from a given state, over any iterable, and changes neither that state nor the initial one", () => {
    const from = Object.freeze({ status: "open", balance: 10 } as const)
    const events = function* () {
      yield deposited(1)
      yield deposited(2)
    }
    assert.deepStrictEqual(Account.fold(events(), from), { status: "open", balance: 13 })
    assert.deepStrictEqual(Account.fold(new Set([deposited(5)])), { status: "none", balance: 5 })
    assert.deepStrictEqual(Account.initial, { status: "none", balance: 0 })
  })

  it("accepts a fold as one function over all events", () => {
    const Counter = Aggregate.make(
      "Counter",
      { state, initial: { count: 0 }, events: [Opened, Deposited] },
      (s, e) => (e._tag === "Opened" ? s : { count: s.count + e.amount })
    )
    assert.deepStrictEqual(Counter.fold([opened(), deposited(2), deposited(3)]), { count: 5 })
  })

  it("distinguishes a state that is undefined or null from a missing one", () => {
    const Flag = Aggregate.make(
      "Flag",
      { state: Schema.NullOr(Schema.String), initial: "initial", events: [Opened] },
      { Opened: (before) => (before === null ? "was null" : null) }
    )
    assert.strictEqual(Flag.fold([opened()]), null)
    assert.strictEqual(Flag.fold([opened()], null), "was null")
    assert.strictEqual(Flag.fold([], null), null)
  })

  it("has UUIDs as ids by default, and turns upper-case letters into lower-case ones", () => {
    const Counter = Aggregate.make("Counter", { state, initial: { count: 0 }, events: [] }, {})
    const decode = Schema.decodeUnknownResult(Counter.id)
    const id = "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b"
    assert.deepStrictEqual(decode(id.toUpperCase()), Result.succeed(id))
    for (const wrong of ["", "1", `{${id}}`, `${id}\n`]) assert.isTrue(Result.isFailure(decode(wrong)))
  })

  it("finds handlers by their own tag only", () => {
    const Odd = Aggregate.make(
      "Odd",
      { state: Schema.String, initial: "", events: [Schema.TaggedStruct("constructor", {}), Opened] },
      { constructor: (s) => `${s}c`, Opened: (s) => `${s}o` }
    )
    assert.strictEqual(Odd.fold([{ _tag: "constructor" }, opened()]), "co")
    for (const tag of ["toString", "__proto__", "hasOwnProperty", "Deposited"]) {
      assert.throws(() => Odd.apply("", { _tag: tag } as unknown as typeof Opened.Type), /has no handler/)
    }
  })

  it("accepts class instances as events", () => {
    assert.deepInclude(Account.events, Closed)
  })

  it.each([
    ["an empty name", "", "is empty"],
    ["a name of 256 characters", "n".repeat(256), "more than 255"],
    ["U+0000 in its name", "a\0b", "U+0000"],
    ["half of a surrogate pair in its name", "a\ud800", "surrogate"]
  ])("cannot be made with %s, or with events of such a name", (_case, name, reason) => {
    const options = { state, initial: { count: 0 }, events: [] }
    assert.throws(() => Aggregate.make(name, options, {}), reason)
    const Named = Schema.TaggedStruct(name, {})
    assert.throws(() => Aggregate.make("Fine", { ...options, events: [Named] }, (s) => s), reason)
  })

  it("refuses two events with the same tag", () => {
    const Again = Schema.TaggedStruct("Opened", { other: Schema.Int })
    assert.throws(
      () =>
        Aggregate.make(
          "Twice",
          { state, initial: { count: 0 }, events: [Opened, Again] },
          { Opened: (s) => s }
        ),
      /Opened/
    )
  })

  it("freezes its initial state at every depth", () => {
    const lists = Schema.Struct({ lists: Schema.mutable(Schema.Array(Schema.String)) })
    const Pushing = Aggregate.make(
      "Pushing",
      { state: lists, initial: { lists: [] }, events: [Opened] },
      {
        Opened: (before) => {
          before.lists.push("seen by all")
          return before
        }
      }
    )
    assert.throws(() => Pushing.fold([opened()]), TypeError)
    assert.deepStrictEqual(Pushing.initial, { lists: [] })
  })

  it("refuses a handler without an event, and an event without a handler", () => {
    const options = { state, initial: { count: 0 }, events: [Opened] }
    const handle = (before: { readonly count: number }) => before
    const misspelt = { Opened: handle, Opend: handle }
    const correct: { readonly Opened: typeof handle } = misspelt
    assert.throws(
      () => Aggregate.make("Door", options, correct),
      'aggregate Door has a handler for "Opend", which none of its events is: there are Opened'
    )
    assert.throws(
      () => Aggregate.make("Door", options, {} as typeof correct),
      "aggregate Door has no handler for Opened"
    )
  })

  it("accepts a name of 255 characters", () => {
    const name = "🎉".repeat(127) + "!"
    assert.strictEqual(Aggregate.make(name, { state, initial: { count: 0 }, events: [] }, {}).type, name)
  })
})
