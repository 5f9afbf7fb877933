import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema, SchemaGetter } from "effect"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import type * as Tenant from "../../src/domain/Tenant.ts"
import * as Arbitraries from "../../src/testing/Arbitraries.ts"
import * as Laws from "../../src/testing/Laws.ts"
import * as Upcaster from "../../src/domain/Upcaster.ts"
import { backends } from "../support/backends.ts"
import { changedDriver } from "../support/bank.ts"
import { flipped } from "../../src/testing/failures.ts"

const Added = Schema.TaggedStruct("Added", { amount: Schema.Int })
const Cleared = Schema.TaggedStruct("Cleared", {})

const State = Schema.Struct({ total: Schema.Int })
type State = typeof State.Type

const parts = {
  id: Schema.NonEmptyString,
  state: State,
  initial: { total: 0 },
  events: [Added, Cleared]
} as const

const handlers = {
  Added: ({ total }: State, { amount }: typeof Added.Type): State => ({ total: total + amount }),
  Cleared: (): State => ({ total: 0 })
}

/** An aggregate that keeps all laws. */
const Counter = Aggregate.make("Counter", parts, handlers)

const add = (amount: number) => (): ReadonlyArray<typeof Added.Type> => [Added.make({ amount })]
const clear = ({ total }: State): ReadonlyArray<typeof Cleared.Type> =>
  total === 0 ? [] : [Cleared.make({})]

const Digit = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 9 }))
const decisions = { add: Arbitraries.decision(Digit, add), clear }
const options = { decisions, seed: 1 }

/** A number that loses a part when it is stored. */
const stored = (left: (value: number) => number) =>
  Schema.Int.pipe(
    Schema.encodeTo(Schema.Int, {
      decode: SchemaGetter.transform((value: number) => value),
      encode: SchemaGetter.transform(left)
    })
  )

/** The counterexample to a law, without the last line, on how it was found. */
const counterexample = (law: Effect.Effect<void, Laws.LawBroken>): Effect.Effect<string> =>
  Effect.gen(function* () {
    const error = yield* flipped(law).pipe(Effect.catch(() => Effect.die(new Error("the law holds"))))
    assert.instanceOf(error, Laws.LawBroken)
    const [message = "", found = ""] = error.message.split(/\n\n(?=found in run)/)
    assert.match(
      found,
      /^found in run \d+, made smaller \d+ times; to run it again: \{ replay: "\w+ \[.*\]" \}$/
    )
    assert.isTrue(found.includes(JSON.stringify(error.replay)))
    return message
  })

Laws.aggregate(Counter, { decisions, idempotent: ["clear"] })
Laws.aggregate(Counter, { name: "laws of Counter, by its events alone", runs: 50 })

describe("foldIsTotal is broken", () => {
  it.effect("by a fold that throws", () =>
    Effect.gen(function* () {
      const Throwing = Aggregate.make("Counter", parts, {
        ...handlers,
        Cleared: ({ total }) => {
          if (total > 4) throw new RangeError("too much")
          return { total: 0 }
        }
      })
      assert.strictEqual(
        yield* counterexample(Laws.foldIsTotal(Throwing, options)),
        `Counter breaks the law foldIsTotal

after
  add(5) -> Added { amount: 5 }
  clear -> Cleared

folding Cleared threw an error

RangeError: too much`
      )
    })
  )

  it.effect("by a fold that depends on the clock or on chance", () =>
    Effect.gen(function* () {
      const folds = [() => Date.now(), () => new Date().getFullYear(), () => Math.floor(Math.random() * 1e9)]
      for (const read of folds) {
        const Impure = Aggregate.make("Counter", parts, { ...handlers, Added: () => ({ total: read() }) })
        const message = yield* counterexample(Laws.foldIsTotal(Impure, options))
        assert.match(
          message,
          /^after\n {2}add\(1\) -> Added \{ amount: 1 \}\n\nfolding Added \{ amount: 1 \} twice gives different states\n\n- once\n\+ again, at another time\n\n {2}\{\n- {3}total: \d+\n\+ {3}total: \d+\n {2}\}$/m
        )
      }
      assert.closeTo(new Date().getTime(), Date.now(), 1000)
    })
  )

  it.effect("by a fold that changes its state, frozen or not", () =>
    Effect.gen(function* () {
      const Frozen = Aggregate.make(
        "Counter",
        { ...parts, state: Schema.Struct({ total: Schema.mutableKey(Schema.Int) }) },
        {
          Added: (state, { amount }) => {
            state.total += amount
            return state
          },
          Cleared: (state) => state
        }
      )
      const message = yield* counterexample(Laws.foldIsTotal(Frozen, options))
      assert.include(message, "add(1) -> Added { amount: 1 }\n\nfolding Added { amount: 1 } threw an error")
      assert.include(message, "Cannot assign to read only property 'total'")
      assert.include(message, "are frozen: they must not change them")

      const Collecting = Aggregate.make(
        "Collector",
        { ...parts, state: Schema.ReadonlySet(Schema.Int), initial: new Set<number>() },
        {
          Added: (state, { amount }) => (state instanceof Set ? state.add(amount) : state),
          Cleared: (state) => state
        }
      )
      assert.strictEqual(
        yield* counterexample(Laws.foldIsTotal(Collecting, { ...options, decisions: { one: add(1) } })),
        `Collector breaks the law foldIsTotal

after
  one -> Added { amount: 1 }

folding Added { amount: 1 } changes its inputs

- before
+ after

- Set(0) {}
+ Set(1) { 1 }
  Added { amount: 1 }`
      )
    })
  )
})

describe("foldChangesNothing is broken", () => {
  const Mutable = { total: Schema.mutableKey(Schema.Int) }

  it.effect("37: by a fold that changes the state, frozen or not", () =>
    Effect.gen(function* () {
      const OfState = Aggregate.make(
        "Counter",
        { ...parts, state: Schema.Struct(Mutable) },
        {
          Added: (state, { amount }) => {
            state.total += amount
            return state
          },
          Cleared: (state) => state
        }
      )
      const message = yield* counterexample(Laws.foldChangesNothing(OfState, options))
      assert.include(
        message,
        "folding Added { amount: 1 } changes the state that it is given\n\nTypeError: Cannot assign"
      )
      const Collecting = Aggregate.make(
        "Collector",
        { ...parts, state: Schema.ReadonlySet(Schema.Int), initial: new Set<number>() },
        {
          Added: (state, { amount }) => (state instanceof Set ? state.add(amount) : state),
          Cleared: (state) => state
        }
      )
      assert.include(
        yield* counterexample(
          Laws.foldChangesNothing(Collecting, { ...options, decisions: { one: add(1) } })
        ),
        "folding Added { amount: 1 } changes the state that it is given\n\n- before\n+ after\n\n- Set(0) {}\n+ Set(1) { 1 }"
      )
    })
  )

  it.effect("37: by a fold that changes the event, frozen or not", () =>
    Effect.gen(function* () {
      const Listed = Schema.TaggedStruct("Listed", { items: Schema.mutable(Schema.Array(Schema.Int)) })
      const OfEvent = Aggregate.make(
        "List",
        { state: Schema.Array(Schema.Int), initial: [], events: [Listed] },
        { Listed: (_state, { items }) => items.splice(0) }
      )
      assert.include(
        yield* counterexample(Laws.foldChangesNothing(OfEvent, { size: 4 })),
        "changes the event that it is given\n\nTypeError: Cannot assign"
      )
      class Renamed extends Schema.TaggedClass<Renamed>()("Renamed", {
        name: Schema.mutableKey(Schema.String)
      }) {}
      const OfInstance = Aggregate.make(
        "Named",
        { state: Schema.String, initial: "", events: [Renamed] },
        {
          Renamed: (_state, event) => {
            event.name += "!"
            return event.name
          }
        }
      )
      assert.include(
        yield* counterexample(Laws.foldChangesNothing(OfInstance)),
        "changes the event that it is given\n\n- before\n+ after"
      )
    })
  )
})

describe("foldIsConcatenative is broken", () => {
  it.effect("by a fold that does not start at the given state", () =>
    Effect.gen(function* () {
      const Forgetful: typeof Counter = { ...Counter, fold: (events) => Counter.fold(events) }
      assert.strictEqual(
        yield* counterexample(Laws.foldIsConcatenative(Forgetful, options)),
        `Counter breaks the law foldIsConcatenative

after
  add(1) -> Added { amount: 1 }

folding the first 1 of 1 events and then the rest gives another state

- all at once
+ in two parts

  {
-   total: 1
+   total: 0
  }`
      )
    })
  )
})

describe("snapshotsAreEquivalent is broken", () => {
  it.effect("by a state with a part that is not stored but matters later", () =>
    Effect.gen(function* () {
      const last = stored(() => 0)
      const Doubling = Aggregate.make(
        "Counter",
        {
          ...parts,
          // The state's schema defines equality: here only by the total.
          state: Schema.Struct({ total: Schema.Int, last }).annotate({
            toEquivalence: () => (left: State, right: State) => left.total === right.total
          }),
          initial: { total: 0, last: 0 }
        },
        {
          Added: ({ last: before, total }, { amount }) => ({ total: total + amount + before, last: amount }),
          Cleared: () => ({ total: 0, last: 0 })
        }
      )
      assert.strictEqual(
        yield* counterexample(Laws.snapshotsAreEquivalent(Doubling, options)),
        `Counter breaks the law snapshotsAreEquivalent

after
  add(1) -> Added { amount: 1 }
  add(1) -> Added { amount: 1 }

with a snapshot at version 1 of 2, the state is different

- all events
+ snapshot and the rest

  {
-   total: 3
+   total: 2
    last: 1
  }`
      )
    })
  )
})

describe("eventsRoundTrip is broken", () => {
  it.effect("by an event that loses something when it is stored", () =>
    Effect.gen(function* () {
      const Rounded = Schema.TaggedStruct("Rounded", { value: stored((value) => value - (value % 100)) })
      const Lossy = Aggregate.make("Lossy", { ...parts, events: [Rounded] }, (state) => state)
      assert.strictEqual(
        yield* counterexample(Laws.eventsRoundTrip(Lossy, { seed: 1 })),
        `Lossy breaks the law eventsRoundTrip

with Rounded { value: -1 }

an event has changed after storage

- before
+ after

  Rounded {
-   value: -1
+   value: 0
  }`
      )
    })
  )

  it.effect("by an event that cannot be encoded", () =>
    Effect.gen(function* () {
      const Secret = Schema.TaggedStruct("Secret", {
        value: Schema.Int.pipe(
          Schema.encodeTo(Schema.Int, {
            decode: SchemaGetter.transform((value: number) => value),
            encode: SchemaGetter.forbiddenEncoding
          })
        )
      })
      const ReadOnly = Aggregate.make("ReadOnly", { ...parts, events: [Secret] }, (state) => state)
      const message = yield* counterexample(Laws.eventsRoundTrip(ReadOnly, { seed: 1 }))
      assert.include(message, "Secret { value: 0 } cannot be encoded\n\nvalue ")
    })
  )
})

describe("statesRoundTrip is broken", () => {
  it.effect("by a state that its schema does not allow", () =>
    Effect.gen(function* () {
      const Positive = Aggregate.make(
        "Counter",
        { ...parts, state: Schema.Struct({ total: Schema.Natural }) },
        handlers
      )
      assert.strictEqual(
        yield* counterexample(Laws.statesRoundTrip(Positive, { seed: 1 })),
        `Counter breaks the law statesRoundTrip

after
  Added { amount: -1 }

the state { total: -1 } does not survive storage

it cannot be encoded: Expected a value greater than or equal to 0
  at ["total"]`
      )
      // Its decisions never lead to such a state.
      yield* Laws.statesRoundTrip(Positive, options)
    })
  )

  it.effect("by a state that is different after storage", () =>
    Effect.gen(function* () {
      const Lossy = Aggregate.make(
        "Counter",
        { ...parts, state: Schema.Struct({ total: stored((total) => total % 10) }) },
        handlers
      )
      const message = yield* counterexample(
        Laws.statesRoundTrip(Lossy, { ...options, decisions: { add: add(9) } })
      )
      assert.include(
        message,
        `after
  add -> Added { amount: 9 }
  add -> Added { amount: 9 }

a state has changed after storage

- before
+ after

  {
-   total: 18
+   total: 8
  }`
      )
    })
  )
})

describe("decisionsAreTotal is broken", () => {
  it.effect("by a decision that yields an event that cannot be stored", () =>
    Effect.gen(function* () {
      const half = ({ total }: State) => [{ _tag: "Added", amount: total === 0 ? 1 : total / 2 } as const]
      assert.strictEqual(
        yield* counterexample(Laws.decisionsAreTotal(Counter, { seed: 1, decisions: { half } })),
        `Counter breaks the law decisionsAreTotal

after
  half -> Added { amount: 1 }
  half -> Added { amount: 0.5 }

Added { amount: 0.5 } cannot be encoded

amount Expected an integer`
      )
    })
  )

  it.effect("by a decision that throws, and by an asynchronous one", () =>
    Effect.gen(function* () {
      const throwing = ({ total }: State) => {
        if (total > 0) throw new RangeError("too much")
        return [Added.make({ amount: 1 })]
      }
      const thrown = yield* counterexample(Laws.decisionsAreTotal(Counter, { decisions: { throwing } }))
      assert.include(
        thrown,
        "after\n  throwing -> Added { amount: 1 }\n\ndeciding throwing threw an error\n\nRangeError"
      )

      const slow = () => Effect.as(Effect.sleep(1), [Added.make({ amount: 1 })])
      const waited = yield* counterexample(Laws.decisionsAreTotal(Counter, { decisions: { slow } }))
      assert.include(waited, "with no events\n\ndeciding slow threw an error\n\nAsyncFiberError")
    })
  )
})

describe("decisionsAreIdempotent is broken", () => {
  it.effect("by a decision that yields the same events again", () =>
    Effect.gen(function* () {
      assert.strictEqual(
        yield* counterexample(Laws.decisionsAreIdempotent(Counter, options)),
        `Counter breaks the law decisionsAreIdempotent

after
  add(1) -> Added { amount: 1 }

add(1) yields events when it is repeated

- expected
+ decided

- []
+ [
+   Added { amount: 1 }
+ ]`
      )
      yield* Laws.decisionsAreIdempotent(Counter, { ...options, idempotent: ["clear"] })
    })
  )

  it.effect("by a decision that fails the second time", () =>
    Effect.gen(function* () {
      const once = ({ total }: State) =>
        total === 0 ? Effect.succeed([Added.make({ amount: 1 })]) : Effect.fail("done" as const)
      const message = yield* counterexample(Laws.decisionsAreIdempotent(Counter, { decisions: { once } }))
      assert.include(
        message,
        `once yields events when it is repeated\n\n- expected\n+ failed\n\n- []\n+ "done"`
      )
    })
  )
})

describe("upcastersAreTotal is broken", () => {
  const AddedV1 = Schema.TaggedStruct("Added", { cents: Schema.Int })
  const upcast = Upcaster.from(AddedV1).to(Added, ({ cents }) => ({ _tag: "Added", amount: cents / 100 }))
  const Upcast = Aggregate.make("Counter", { ...parts, upcasters: [upcast] }, handlers)

  it.effect("by an upcaster that fails for values that its schema allows", () =>
    Effect.gen(function* () {
      assert.match(
        yield* counterexample(Laws.upcastersAreTotal(Upcast, { seed: 1 })),
        /^Counter breaks the law upcastersAreTotal\n\nwith Added \{ cents: -?1 \}, stored in version 1\n\nversion 1 of Added cannot be read: EventDecodeError\n\namount upcast to version 2 of Added: Expected an integer$/
      )
    })
  )

  it.effect("by a sample that cannot be read", () =>
    Effect.gen(function* () {
      const sample = (cents: number) => ({
        eventType: "Added",
        schemaVersion: 1,
        payload: { _tag: "Added", cents }
      })
      const { message } = yield* flipped(
        Laws.upcastersAreTotal(Upcast, { samples: [sample(100), sample(150)] })
      )
      assert.include(
        message,
        'with the sample { eventType: "Added", schemaVersion: 1, payload: Added { cents: 150 } }'
      )
      const unknown = { eventType: "Removed", schemaVersion: 1, payload: {} }
      const { message: other } = yield* flipped(Laws.upcastersAreTotal(Counter, { samples: [unknown] }))
      assert.include(other, "version 1 of Removed cannot be read: UnknownEventType")
    })
  )

  const whole = Upcaster.from(AddedV1).to(Added, ({ cents }) => ({
    _tag: "Added",
    amount: Math.round(cents / 100)
  }))
  Laws.aggregate(Aggregate.make("Counter", { ...parts, upcasters: [whole] }, handlers), {
    name: "not by one that does",
    runs: 50
  })
})

describe("tenantsAreIsolated is broken", () => {
  it.effect("by a store that reads the log of another tenant", () =>
    Effect.gen(function* () {
      let last: Tenant.TenantId | undefined
      const storage = changedDriver((driver) => ({
        append: (request) => {
          last = request.tenantId
          return driver.append(request)
        },
        head: (request) => driver.head({ ...request, tenantId: last ?? request.tenantId })
      }))
      assert.match(
        yield* counterexample(Laws.tenantsAreIsolated(Counter, { ...options, storage })),
        /^Counter breaks the law tenantsAreIsolated\n\nwith\n {2}add\((\d)\)\nto the id "0"\n\nanother tenant notices "1. add\(\1\)": the head of its log\n\n- before\n\+ after\n\n- \d\n\+ \d$/
      )
    })
  )

  it.effect("by a fold that remembers what it has seen", () =>
    Effect.gen(function* () {
      let seen = 0
      const Remembering = Aggregate.make("Counter", parts, {
        ...handlers,
        Added: () => ({ total: ++seen })
      })
      const message = yield* counterexample(Laws.tenantsAreIsolated(Remembering, options))
      assert.match(
        message,
        /with\n {2}add\(1\)\nto the id "0"\n\n"1. add\(1\)" has another outcome for a second tenant: outcome\n\n- the first tenant\n\+ the second\n\n {2}\{\n- {3}state: \{ total: \d+ \}\n\+ {3}state: \{ total: \d+ \}\n/
      )
    })
  )
})

describe("laws on a given store", () => {
  for (const { layer: storage, name } of backends) {
    it.live(`hold on ${name}`, () => Laws.tenantsAreIsolated(Counter, { decisions, storage, runs: 3 }))
  }
})

describe("a counterexample", () => {
  it.effect("runs again with its replay, in its own law only", () =>
    Effect.gen(function* () {
      const first = yield* flipped(Laws.decisionsAreIdempotent(Counter, { decisions }))
      const { replay } = first
      const again = yield* flipped(Laws.decisionsAreIdempotent(Counter, { decisions, replay }))
      const counterexampleOf = ({ message }: Laws.LawBroken) =>
        message.slice(0, message.indexOf("found in run"))
      assert.strictEqual(counterexampleOf(again), counterexampleOf(first))
      assert.include(again.message, "found in run 1,")
      yield* Laws.foldIsTotal(Counter, { decisions, replay })

      const mended = {
        add: Arbitraries.decision(
          Digit,
          (amount: number) =>
            ({ total }: State) =>
              total > 0 ? [] : add(amount)()
        )
      }
      const gone = yield* flipped(
        Laws.decisionsAreIdempotent(Counter, {
          decisions: mended,
          replay: `decisionsAreIdempotent [0,"1",5,1,[1],"PropertyError"]`
        })
      )
      assert.include(gone.message, "Counter no longer breaks the law decisionsAreIdempotent")
    })
  )

  it.effect("is the same for the same seed", () =>
    Effect.gen(function* () {
      const law = Laws.decisionsAreIdempotent(Counter, options)
      assert.strictEqual((yield* flipped(law)).message, (yield* flipped(law)).message)
    })
  )
})
