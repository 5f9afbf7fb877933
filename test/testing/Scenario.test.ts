// @effect-diagnostics floatingEffect:off -- decisions that are no effects are checked at once
import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Effect, Exit, Result, Schema } from "effect"
import * as Event from "../../src/domain/Event.ts"
import * as Scenario from "../../src/testing/Scenario.ts"
import { Account, Closed, deposited, opened } from "../support/bank.ts"
import { flipped } from "../../src/testing/failures.ts"

class Refused extends Schema.TaggedError<Refused>()("Refused", { balance: Schema.Int }) {}

type State = typeof Account.initial

class Limit extends Context.Service<Limit, number>()("test/Limit") {}

const nothing = () => []
const deposit = (amount: number) => () => [deposited(amount)]
const refuse = (state: State) => Result.fail(new Refused({ balance: state.balance }))

/** An asynchronous decision with a requirement. */
const limited = (amount: number) => (state: State) =>
  Effect.gen(function* () {
    yield* Effect.yieldNow
    if (amount > (yield* Limit)) return yield* new Refused({ balance: state.balance })
    return [deposited(amount)]
  })

/** The message that a test fails with. */
const failure = (run: () => unknown): string => {
  try {
    run()
  } catch (error) {
    assert.instanceOf(error, Error)
    return error.message
  }
  return assert.fail("it did not fail")
}

describe("given, when, then", () => {
  it("holds for a decision that is a plain value or a Result", () => {
    Scenario.given(Account, opened()).when(deposit(1)).thenEvents(deposited(1))
    Scenario.given(Account)
      .when(() => Result.succeed([opened(), deposited(1)]))
      .thenEvents(opened(), deposited(1))
      .thenState({ status: "open", balance: 1 })
    Scenario.given(Account).when(nothing).thenNothing().thenEvents().thenState(Account.initial)
    Scenario.given(Account, deposited(5))
      .when(refuse)
      .thenError(new Refused({ balance: 5 }))
      .thenErrorTag("Refused")
  })

  it("reports the given, expected and decided events", () => {
    assert.strictEqual(
      failure(() =>
        Scenario.given(Account, opened(), Event.make(deposited(5), { actor: "Ada" }))
          .when(() => [deposited(1), deposited(2)])
          .thenEvents(deposited(1), deposited(3))
      ),
      `expected events, but this is different

given Account
  Opened { owner: "Ada" }
  Deposited { amount: 5 }

- expected
+ decided

  [
    Deposited { amount: 1 }
-   Deposited { amount: 3 }
+   Deposited { amount: 2 }
  ]`
    )
  })

  it("fails for more, fewer or other events, for none, and for an error", () => {
    const { when } = Scenario.given(Account)
    const one = when(deposit(1))
    assert.match(
      failure(() => one.thenEvents(deposited(1), deposited(1))),
      /^- {3}Deposited \{ amount: 1 \}$/m
    )
    assert.match(
      failure(() => one.thenEvents(opened(), deposited(1))),
      /^- {3}Opened \{ owner: "Ada" \}$/m
    )
    assert.match(
      failure(() => one.thenEvents(opened())),
      /^\+ {3}Deposited \{ amount: 1 \}$/m
    )
    assert.match(
      failure(() => one.thenNothing()),
      /^expected no events, [^]*^\+ {3}Deposited \{ amount: 1 \}$/m
    )
    assert.match(
      failure(() => when(nothing).thenEvents(opened())),
      /given Account without events/
    )
    assert.strictEqual(
      failure(() => when(refuse).thenEvents(opened())),
      `expected events, but it failed

given Account without events

- expected
+ decided

- [
-   Opened { owner: "Ada" }
- ]
+ Refused {
+   balance: 0
+ }`
    )
  })

  it("compares the options of expected events", () => {
    const decided = Scenario.given(Account).when(() => [
      Event.make(opened(), { actor: "Ada", metadata: { a: 1 } })
    ])
    decided.thenEvents(opened())
    decided.thenEvents(Event.make(opened(), { actor: "Ada" }))
    decided.thenEvents(Event.make(opened(), { metadata: { a: 1 } }))
    assert.match(
      failure(() => decided.thenEvents(Event.make(opened(), { actor: "Eve" }))),
      /^- {3}\{ event: Opened \{ owner: "Ada" \}, actor: "Eve" \}\n\+ {3}\{ event: Opened \{ owner: "Ada" \}, actor: "Ada" \}$/m
    )
    const plain = Scenario.given(Account).when(() => [opened()])
    assert.include(
      failure(() => plain.thenEvents(Event.make(opened(), { actor: "Eve" }))),
      `actor: "Eve"`
    )
  })

  it("compares events and states that are instances by their values", () => {
    const closed = new Closed(
      Schema.decodeSync(Schema.toCodecJson(Closed))({
        _tag: "Closed",
        at: "2020-01-01T00:00:00.000Z",
        balance: "1",
        reason: null
      })
    )
    const again = new Closed({ ...closed })
    Scenario.given(Account)
      .when(() => [closed])
      .thenEvents(again)
    const other = new Closed({ ...closed, balance: 2n })
    assert.match(
      failure(() =>
        Scenario.given(Account)
          .when(() => [closed])
          .thenEvents(other)
      ),
      /^- {5}balance: 2n$/m
    )
  })

  it("fails for another error, and for none", () => {
    const refused = Scenario.given(Account, deposited(5)).when(refuse)
    assert.strictEqual(
      failure(() => refused.thenError(new Refused({ balance: 6 }))),
      `expected an error, but it failed with another error

given Account
  Deposited { amount: 5 }

- expected
+ decided

  Refused {
-   balance: 6
+   balance: 5
  }`
    )
    const either = Scenario.given(Account).when((state) =>
      state.balance > 5 ? refuse(state) : Result.succeed([opened()])
    )
    assert.include(
      failure(() => either.thenError(new Refused({ balance: 0 }))),
      "but events were decided"
    )
    assert.include(
      failure(() => either.thenErrorTag("Refused")),
      "- Refused"
    )
  })

  it("fails for another state, by the equivalence of its schema, and for an error", () => {
    assert.strictEqual(
      failure(() =>
        Scenario.given(Account, opened()).when(deposit(1)).thenState({ status: "open", balance: 2 })
      ),
      `expected a state, but this is different

given Account
  Opened { owner: "Ada" }

- expected
+ decided

  {
    status: "open"
-   balance: 2
+   balance: 1
  }`
    )
    assert.include(
      failure(() => Scenario.given(Account).when(refuse).thenState(Account.initial)),
      "but it failed"
    )
  })

  it("continues from decision to decision", () => {
    Scenario.given(Account)
      .when(() => [opened()])
      .when(deposit(2))
      .thenEvents(deposited(2))
      .when(deposit(3))
      .thenState({ status: "open", balance: 5 })
      .when(refuse)
      .thenError(new Refused({ balance: 5 }))
      .when(deposit(1))
      .thenState({ status: "open", balance: 6 })
    assert.match(
      failure(() => Scenario.given(Account).when(deposit(2)).when(refuse).when(deposit(1))),
      /^expected a success, as another decision follows, but it failed\n\ngiven Account\n {2}Deposited \{ amount: 2 \}$/m
    )
  })

  it("passes on an error that a decision throws", () => {
    const throwing = () => {
      throw new RangeError("too much")
    }
    assert.strictEqual(
      failure(() => Scenario.given(Account).when(throwing)),
      "too much"
    )
  })
})

describe("with decisions that are effects", () => {
  it.effect("it is an effect with their requirements", () =>
    Effect.gen(function* () {
      const { when } = Scenario.given(Account, opened())
      yield* when(limited(1)).thenEvents(deposited(1))
      yield* when(limited(11)).thenError(new Refused({ balance: 0 }))
      yield* when(limited(1)).when(limited(2)).when(deposit(3)).thenState({ status: "open", balance: 6 })
      const exit = yield* Effect.exit(when(limited(1)).thenEvents(deposited(2)))
      assert.isTrue(Exit.isFailure(exit))
      assert.match(
        String(Exit.isFailure(exit) && Cause.squash(exit.cause)),
        /^- {3}Deposited \{ amount: 2 \}$/m
      )
    }).pipe(Effect.provideService(Limit, 10))
  )

  it.effect("nothing is decided before it is run", () =>
    Effect.gen(function* () {
      let decided = 0
      const counting = () => Effect.sync(() => [deposited(++decided)])
      const then = Scenario.given(Account).when(counting).thenEvents(deposited(1))
      assert.strictEqual(decided, 0)
      yield* then
      assert.strictEqual(decided, 1)
    })
  )

  it.effect("the outcome is available for other checks", () =>
    Effect.gen(function* () {
      const { when } = Scenario.given(Account, opened())
      assert.deepStrictEqual(yield* when(limited(1)).outcome, {
        events: [deposited(1)],
        state: { status: "open", balance: 1 }
      })
      assert.deepStrictEqual(yield* flipped(when(limited(11)).outcome), new Refused({ balance: 0 }))
    }).pipe(Effect.provideService(Limit, 10))
  )

  it.effect("a plain value may be yielded as well", () =>
    Effect.gen(function* () {
      yield* Scenario.given(Account).when(deposit(1)).thenEvents(deposited(1))
      assert.strictEqual((yield* Scenario.given(Account).when(deposit(1)).outcome).state.balance, 1)
    })
  )
})
