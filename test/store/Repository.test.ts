import { assert, describe, layer } from "@effect/vitest"
import { Context, Effect, Exit, Option, Result, Schema, SchemaGetter, Stream } from "effect"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import * as Event from "../../src/domain/Event.ts"
import * as EventContext from "../../src/domain/EventContext.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as Repository from "../../src/store/Repository.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { backends } from "../support/backends.ts"
import { Account, append, asNewTenant, deposited, deposits, onDriver, opened } from "../support/bank.ts"
import { flipped, reasonOf } from "../../src/testing/failures.ts"
import type * as StoreError from "../../src/driver/StoreError.ts"

class Refused extends Schema.TaggedError<Refused>()("Refused", { why: Schema.String }) {}

class Clerk extends Context.Service<Clerk, { readonly name: string }>()("test/Clerk") {}

type State = typeof Account.initial

const open = (state: State) =>
  state.status === "none" ? Result.succeed([opened()]) : Result.fail(new Refused({ why: state.status }))

describe.each(backends)("the repository on $name", (backend) => {
  layer(onDriver(backend.layer, { pageSize: 4 }), { excludeTestServices: true })((it) => {
    it.effect("loads appended events, over several pages", () =>
      Effect.gen(function* () {
        const repository = yield* Repository.Repository
        yield* append("1", [opened(), ...deposits(9)])
        const expected = { state: { status: "open", balance: 45 }, version: 10 } as const
        assert.deepInclude(yield* repository.load(Account, "1"), expected)
        assert.deepInclude(yield* repository.loadOrInitial(Account, "1"), expected)
        assert.isTrue(yield* repository.exists(Account, "1"))
      }).pipe(asNewTenant)
    )

    it.effect(
      "does not find an aggregate without events, with the same message for an id of another tenant",
      () =>
        Effect.gen(function* () {
          const repository = yield* Repository.Repository
          const [mine, theirs] = [yield* Tenant.generate, yield* Tenant.generate]
          yield* append("theirs", [opened()]).pipe(Tenant.provide(theirs))
          const answers = (id: string) =>
            Effect.gen(function* () {
              const error = yield* flipped(repository.load(Account, id))
              assert.deepInclude(error, { _tag: "AggregateNotFound", tenantId: mine, aggregateId: id })
              assert.deepStrictEqual(yield* repository.loadOrInitial(Account, id), {
                state: Account.initial,
                version: 0,
                eventId: undefined
              })
              assert.isFalse(yield* repository.exists(Account, id))
              return error.message.replace(id, "…")
            }).pipe(Tenant.provide(mine))
          assert.strictEqual(yield* answers("theirs"), yield* answers("nobody's"))
        })
    )

    it.effect("names an aggregate that is not found by its stored id", () =>
      Effect.gen(function* () {
        const Seat = Schema.Struct({ row: Schema.Int, seat: Schema.Int })
        const Booking = Aggregate.make(
          "Booking",
          {
            id: Schema.String.pipe(
              Schema.decodeTo(Seat, {
                decode: SchemaGetter.transform((text: string) => {
                  const [row = 0, seat = 0] = text.split("-").map(Number)
                  return { row, seat }
                }),
                encode: SchemaGetter.transform(({ row, seat }) => `${row}-${seat}`)
              })
            ),
            state: Schema.Int,
            initial: 0,
            events: [Schema.TaggedStruct("Booked", {})]
          },
          (count) => count + 1
        )
        const repository = yield* Repository.Repository
        const id = { row: 3, seat: 14 }
        const error = yield* flipped(repository.load(Booking, id))
        assert.deepInclude(error, { _tag: "AggregateNotFound", aggregateId: "3-14" })
        yield* repository.execute(Booking, id, () => [{ _tag: "Booked" }])
        assert.deepInclude(yield* repository.load(Booking, { ...id }), { state: 1, version: 1 })
        assert.isFalse(yield* repository.exists(Booking, { row: 31, seat: 4 }))
        const wrong = yield* flipped(repository.load(Booking, { row: 0.5, seat: 1 }))
        assert.strictEqual(wrong._tag, "InvalidAggregateId")
      }).pipe(asNewTenant)
    )

    it.effect("appends a decision that is a value, a Result or an Effect, and returns the new state", () =>
      Effect.gen(function* () {
        const { execute, load } = yield* Repository.Repository
        const first = yield* execute(Account, "1", (state) =>
          state.status === "none" ? [opened(), deposited(1)] : []
        )
        assert.deepInclude(first, { state: { status: "open", balance: 1 }, version: 2 })
        const second = yield* execute(Account, "1", ({ balance }) => Result.succeed([deposited(balance + 1)]))
        assert.deepInclude(second, { state: { status: "open", balance: 3 }, version: 3 })
        const third = yield* execute(Account, "1", (state) =>
          Effect.gen(function* () {
            const { name } = yield* Clerk
            yield* Effect.yieldNow
            return [Event.make(deposited(state.balance), { actor: name })]
          })
        ).pipe(Effect.provideService(Clerk, { name: "Bob" }))
        assert.deepInclude(third, { state: { status: "open", balance: 6 }, version: 4 })
        assert.deepStrictEqual(
          third.events.map(({ actor, payload }) => ({ actor, payload })),
          [{ actor: "Bob", payload: deposited(3) }]
        )
        const store = yield* EventStore.EventStore
        const read = yield* Stream.runCollect(store.readStream({ aggregate: Account, id: "1" }))
        assert.deepStrictEqual(read, [...first.events, ...second.events, ...third.events])
        assert.deepInclude(yield* load(Account, "1"), { state: third.state, version: 4 })
      }).pipe(asNewTenant)
    )

    it.effect("appends nothing when nothing is decided", () =>
      Effect.gen(function* () {
        const { execute } = yield* Repository.Repository
        const nothing = {
          state: Account.initial,
          version: 0,
          eventId: undefined,
          events: [],
          replayed: false
        }
        assert.deepStrictEqual(yield* execute(Account, "1", () => []), nothing)
        assert.deepStrictEqual(yield* execute(Account, "1", () => Result.succeed([])), nothing)
        yield* append("1", [opened(), deposited(2)])
        const unchanged = {
          state: { status: "open", balance: 2 },
          version: 2,
          events: [],
          replayed: false
        } as const
        assert.deepInclude(yield* execute(Account, "1", () => Effect.succeed([])), unchanged)
        const store = yield* EventStore.EventStore
        assert.strictEqual(yield* store.position, 2)
      }).pipe(asNewTenant)
    )

    it.effect("fails with the error of a decision, and appends nothing", () =>
      Effect.gen(function* () {
        const { execute } = yield* Repository.Repository
        yield* execute(Account, "1", open)
        assert.deepStrictEqual(yield* flipped(execute(Account, "1", open)), new Refused({ why: "open" }))
        const failing = execute(Account, "1", () => Effect.fail(new Refused({ why: "effect" })))
        assert.deepStrictEqual(yield* flipped(failing), new Refused({ why: "effect" }))
        const defect = new Error("a mistake")
        const throwing = execute(Account, "1", () => {
          throw defect
        })
        assert.deepStrictEqual(Exit.findDefect(yield* Effect.exit(throwing)), Result.succeed(defect))
        const caught = yield* execute(Account, "1", open).pipe(
          Effect.catchTag("Refused", ({ why }) => Effect.succeed(why))
        )
        assert.strictEqual(caught, "open")
        const store = yield* EventStore.EventStore
        assert.strictEqual(yield* store.position, 1)
      }).pipe(asNewTenant)
    )

    it.effect("refuses values that cannot be stored or loaded, like the store", () =>
      Effect.gen(function* () {
        const { execute, load, save } = yield* Repository.Repository
        const tag = <A, E extends EventStore.AppendFailure, R>(
          effect: Effect.Effect<A, E | StoreError.AggregateNotFound, R>
        ) => Effect.map(Effect.flip(effect), (error) => reasonOf<typeof error>(error)._tag)
        assert.strictEqual(yield* tag(execute(Account, "1", () => [opened("\0")])), "InvalidEvent")
        assert.strictEqual(yield* tag(execute(Account, "", () => [opened()])), "InvalidAggregateId")
        assert.strictEqual(yield* tag(load(Account, "1".repeat(256))), "LimitExceeded")
        const Other = Aggregate.make(
          "Account",
          {
            id: Schema.String,
            state: Schema.Null,
            initial: null,
            events: [Schema.TaggedStruct("Audited", {})]
          },
          (state) => state
        )
        yield* save(Other, "1", { events: [{ _tag: "Audited" }], expectedVersion: 0 })
        assert.strictEqual(yield* tag(load(Account, "1")), "UnknownEventType")
        assert.strictEqual(yield* tag(execute(Account, "1", () => [opened()])), "UnknownEventType")
      }).pipe(asNewTenant)
    )

    it.effect("decides only on the expected version, if there is one", () =>
      Effect.gen(function* () {
        const { execute } = yield* Repository.Repository
        const attempt = (expectedVersion: StoreError.ExpectedVersion | undefined) =>
          execute(Account, "1", () => [deposited(1)], { expectedVersion }).pipe(
            Effect.map(({ version }) => version),
            Effect.catchReason("Conflict", "VersionConflict", ({ actual, expected }) =>
              Effect.succeed({ actual, expected })
            )
          )
        let decided = 0
        const never = execute(Account, "1", () => [deposited(++decided)], { expectedVersion: 1 })
        assert.deepInclude(yield* flipped(never), { _tag: "VersionConflict", expected: 1, actual: 0 })
        assert.strictEqual(decided, 0)
        assert.deepStrictEqual(yield* attempt("streamExists"), { actual: 0, expected: "streamExists" })
        assert.strictEqual(yield* attempt("noStream"), 1)
        assert.deepStrictEqual(yield* attempt("noStream"), { actual: 1, expected: "noStream" })
        assert.strictEqual(yield* attempt(1), 2)
        assert.deepStrictEqual(yield* attempt(1), { actual: 2, expected: 1 })
        assert.deepStrictEqual(yield* attempt(3), { actual: 2, expected: 3 })
        assert.deepStrictEqual(yield* attempt(Number.NaN), { actual: 2, expected: Number.NaN })
        assert.strictEqual(yield* attempt("streamExists"), 3)
        assert.strictEqual(yield* attempt("any"), 4)
        assert.strictEqual(yield* attempt(undefined), 5)
        // Even if nothing is to be appended.
        const stale = execute(Account, "1", () => [], { expectedVersion: 4 })
        assert.deepInclude(yield* flipped(stale), { expected: 4, actual: 5 })
      }).pipe(asNewTenant)
    )

    it.effect("lets one of many commands with the same expected version succeed, and tries none again", () =>
      Effect.gen(function* () {
        const { execute, load } = yield* Repository.Repository
        yield* execute(Account, "1", open)
        const outcomes = yield* Effect.forEach(
          [1, 2, 3, 4, 5],
          (amount) =>
            Effect.exit(
              flipped(
                execute(Account, "1", () => Effect.as(Effect.yieldNow, [deposited(amount)]), {
                  expectedVersion: 1
                })
              )
            ),
          { concurrency: "unbounded" }
        )
        const refused = outcomes.filter(Exit.isSuccess)
        assert.lengthOf(refused, 4)
        for (const { value } of refused)
          assert.deepInclude(value, { _tag: "VersionConflict", expected: 1, actual: 2 })
        assert.strictEqual((yield* load(Account, "1")).version, 2)
      }).pipe(asNewTenant)
    )

    it.effect("returns the first outcome of a command with any expected version", () =>
      Effect.gen(function* () {
        const { execute } = yield* Repository.Repository
        const pay = execute(Account, "1", () => [deposited(1)], {
          command: { key: "pay" },
          expectedVersion: 0
        })
        const derived = execute(Account, "2", () => [deposited(1)], { expectedVersion: 0 }).pipe(
          EventContext.derivingIds(["message", "1"])
        )
        for (const command of [pay, derived]) {
          const first = yield* command
          assert.deepInclude(first, { version: 1, replayed: false })
          assert.deepStrictEqual(yield* command, { ...first, replayed: true })
        }
      }).pipe(asNewTenant)
    )

    it.effect("saves events that were decided elsewhere, at the version on which they were decided", () =>
      Effect.gen(function* () {
        const { load, save } = yield* Repository.Repository
        const saved = yield* save(Account, "1", { events: [opened()], expectedVersion: 0 })
        assert.deepInclude(saved, { version: 1, position: 1 })
        const { version } = yield* load(Account, "1")
        yield* save(Account, "1", { events: [deposited(1)], expectedVersion: version })
        const late = yield* flipped(save(Account, "1", { events: [deposited(2)], expectedVersion: version }))
        assert.deepInclude(late, { _tag: "VersionConflict", expected: 1, actual: 2 })
        yield* save(Account, "1", { events: [deposited(2)], expectedVersion: "any" })
        assert.deepInclude(yield* load(Account, "1"), {
          state: { status: "open", balance: 3 },
          version: 3
        })
      }).pipe(asNewTenant)
    )

    it.effect("executes a command once that is given twice with the same event ids", () =>
      Effect.gen(function* () {
        const { execute } = yield* Repository.Repository
        const eventId = Event.generateId()
        const command = execute(Account, "1", () => [Event.make(deposited(5), { eventId })])
        const first = yield* command
        yield* execute(Account, "1", () => [deposited(1), deposited(2)])
        const second = yield* command
        assert.deepStrictEqual(second.events, first.events)
        assert.deepStrictEqual([first.replayed, second.replayed], [false, true])
        assert.deepInclude(second, { state: { status: "none", balance: 8 }, version: 3 })
      }).pipe(asNewTenant)
    )

    it.effect("lets many callers decide on one aggregate at once, each on the events of the others", () =>
      Effect.gen(function* () {
        const { execute, load } = yield* Repository.Repository
        const commands = 12
        const balances = yield* Effect.forEach(
          Array.from({ length: commands }),
          () =>
            execute(Account, "1", () => Effect.as(Effect.yieldNow, [deposited(1)])).pipe(
              Effect.map(({ state }) => state.balance)
            ),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(
          balances.toSorted((a, b) => a - b),
          Array.from({ length: commands }, (_, index) => index + 1)
        )
        assert.deepInclude(yield* load(Account, "1"), { version: commands })
      }).pipe(asNewTenant)
    )

    it.effect("appends nothing for a command that is interrupted while it decides", () =>
      Effect.gen(function* () {
        const { execute, exists } = yield* Repository.Repository
        const slow = execute(Account, "1", () => Effect.as(Effect.sleep("1 minute"), [opened()]))
        assert.isTrue(Option.isNone(yield* Effect.timeoutOption(slow, "5 millis")))
        assert.isFalse(yield* exists(Account, "1"))
        yield* execute(Account, "1", () => [opened()])
      }).pipe(asNewTenant)
    )
  })
})
