import { assert, describe, it, layer } from "@effect/vitest"
import { Clock, Effect, Layer, Result, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as EventContext from "../../src/domain/EventContext.ts"
import { EventStorage } from "../../src/driver/EventStorage.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as Repository from "../../src/store/Repository.ts"
import * as SnapshotPolicy from "../../src/domain/SnapshotPolicy.ts"
import { StorageUnavailable, OtherFailure } from "../../src/driver/StoreError.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { asNewTenant, changedDriver, inMemory } from "../support/bank.ts"
import {
  enterAll,
  entered,
  kept,
  Ledger,
  snapshotBackends,
  stateAfter,
  stored,
  withRepository
} from "../support/snapshots.ts"
import { flipped } from "../../src/testing/failures.ts"

class Refused extends Schema.TaggedError<Refused>()("Refused", {}) {}

/** Enters an amount, and counts its decisions. */
const command = (
  amounts: ReadonlyArray<number>,
  { id = "1", ...given }: Repository.Command & { readonly id?: string }
) => {
  let decided = 0
  const run = Repository.Repository.use(({ execute }) =>
    execute(
      Ledger,
      id,
      () => {
        decided++
        return amounts.map(entered)
      },
      { command: given }
    )
  )
  return Object.assign(run, { decided: () => decided })
}

/** A clock that is wrong. */
const aheadBy =
  (millis: number) =>
  (clock: Clock.Clock): Clock.Clock => ({
    ...clock,
    currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe() + millis,
    currentTimeMillis: Effect.map(clock.currentTimeMillis, (now) => now + millis),
    monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
    sleep: (duration) => clock.sleep(duration)
  })

const everything = Effect.flatMap(EventStore.EventStore, (store) => Stream.runCollect(store.readLogJson({})))

describe.each(snapshotBackends)("a command with a key on $name", (backend) => {
  layer(stored(backend.layer), { excludeTestServices: true })((it) => {
    const plain = Effect.provide(Repository.layer, { local: true })

    it.effect(
      "is carried out once: repeated, it returns its first outcome, even if the stream has changed since",
      () =>
        Effect.gen(function* () {
          yield* enterAll([1, 2])
          const pay = command([3, 4], { key: "pay", content: { amount: 7, to: ["a", { b: 1 }] } })
          const first = yield* pay
          assert.deepInclude(first, { state: stateAfter([1, 2, 3, 4]), version: 4, replayed: false })
          assert.deepStrictEqual(
            first.events.map(({ version }) => version),
            [3, 4]
          )
          yield* enterAll([5, 6, 7, 8, 9])
          // the order of keys does not matter
          const again = command([0], { key: "pay", content: { to: ["a", { b: 1 }], amount: 7 } })
          assert.deepStrictEqual(yield* again, { ...first, replayed: true })
          assert.deepStrictEqual(yield* pay, { ...first, replayed: true })
          assert.deepStrictEqual([pay.decided(), again.decided()], [1, 0])
          assert.strictEqual((yield* everything).length, 9)
        }).pipe(plain, asNewTenant)
    )

    it.effect("is carried out once even if it decides nothing", () =>
      Effect.gen(function* () {
        const nothing = command([], { key: "nothing" })
        const first = yield* nothing
        assert.deepStrictEqual(first, {
          state: Ledger.initial,
          version: 0,
          eventId: undefined,
          events: [],
          replayed: false
        })
        yield* enterAll([1])
        const again = command([2], { key: "nothing" })
        assert.deepStrictEqual(yield* again, { ...first, replayed: true })
        assert.strictEqual(again.decided(), 0)
        const later = command([], { key: "later" })
        const second = yield* later
        assert.deepStrictEqual(second, {
          state: stateAfter([1]),
          version: 1,
          eventId: second.eventId,
          events: [],
          replayed: false
        })
        yield* enterAll([2])
        assert.deepStrictEqual(yield* later, { ...second, replayed: true })
        assert.strictEqual((yield* everything).length, 2)
      }).pipe(plain, asNewTenant)
    )

    it.effect("17: is refused if its key was used for another command, and writes nothing", () =>
      Effect.gen(function* () {
        const tenantId = yield* Tenant.CurrentTenant
        yield* command([1], { key: "k", content: { n: 1 } })
        yield* command([], { key: "bare" })
        const others = [
          command([2], { key: "k", content: { n: 2 } }),
          command([2], { key: "k" }),
          command([2], { key: "k", content: null }),
          command([2], { key: "k", content: { n: 1 }, id: "2" }),
          command([2], { key: "bare", id: "2" })
        ]
        for (const [index, other] of others.entries()) {
          const error = yield* flipped(other)
          const key = index === 4 ? "bare" : "k"
          assert.deepInclude(error, { _tag: "CommandKeyConflict", tenantId, key })
          assert.strictEqual(other.decided(), 0)
        }
        yield* command([2], { key: "K", content: { n: 2 } })
        assert.strictEqual((yield* everything).length, 2)
      }).pipe(plain, asNewTenant)
    )

    it.effect("17: is independent of another tenant's command with the same key, in both directions", () =>
      Effect.gen(function* () {
        const tenants = [yield* Tenant.generate, yield* Tenant.generate, yield* Tenant.generate]
        for (const [index, tenant] of tenants.entries()) {
          const mine = command([index], { key: "shared", content: index })
          const first = yield* mine.pipe(Tenant.provide(tenant))
          assert.deepInclude(first, { state: stateAfter([index]), version: 1, replayed: false })
        }
        for (const [index, tenant] of tenants.entries()) {
          const again = command([9], { key: "shared", content: index })
          const { replayed, state } = yield* again.pipe(Tenant.provide(tenant))
          assert.deepStrictEqual([replayed, state], [true, stateAfter([index])])
        }
      }).pipe(plain)
    )

    it.effect("is decided once and appended once for 32 concurrent callers", () =>
      Effect.gen(function* () {
        yield* enterAll([1])
        const outcomes = yield* Effect.forEach(
          Array.from({ length: 32 }),
          () =>
            Repository.Repository.use(({ execute }) =>
              execute(
                Ledger,
                "1",
                (state) => Effect.as(Effect.yieldNow, [entered(state.entries.length), entered(9)]),
                { command: { key: "once", content: "x" } }
              )
            ),
          { concurrency: "unbounded" }
        )
        const [first] = outcomes
        assert(first !== undefined)
        assert.deepStrictEqual(
          outcomes.map((outcome) => ({ ...outcome, replayed: true })),
          outcomes.map(() => ({ ...first, replayed: true }))
        )
        assert.deepInclude(first, { state: stateAfter([1, 1, 9]), version: 3 })
        assert.strictEqual(outcomes.filter(({ replayed }) => !replayed).length, 1)
        assert.strictEqual((yield* everything).length, 3)
      }).pipe(plain, asNewTenant)
    )

    it.effect(
      "is ordered with others: 32 commands with keys of their own on one aggregate, each given twice",
      () =>
        Effect.gen(function* () {
          const run = Effect.forEach(
            Array.from({ length: 32 }, (_, n) => n),
            (n) => command([n], { key: `k${n % 16}`, content: n % 16 }),
            { concurrency: "unbounded" }
          )
          yield* run
          const again = yield* run
          assert.isTrue(again.every(({ replayed }) => replayed))
          assert.strictEqual((yield* everything).length, 16)
        }).pipe(plain, asNewTenant)
    )

    it.effect("is decided anew after it failed, because a failure is not recorded", () =>
      Effect.gen(function* () {
        const { execute } = yield* Repository.Repository
        const open = { command: { key: "k" } }
        const refuse = execute(Ledger, "1", () => Result.fail(new Refused()), open)
        assert.strictEqual((yield* flipped(refuse))._tag, "Refused")
        const { replayed, version } = yield* execute(Ledger, "1", () => [entered(1)], open)
        assert.deepStrictEqual([replayed, version], [false, 1])
        assert.isTrue((yield* execute(Ledger, "1", () => Result.fail(new Refused()), open)).replayed)
      }).pipe(plain, asNewTenant)
    )

    it.effect("is decided anew once its key has expired", () =>
      Effect.gen(function* () {
        const storage = yield* EventStorage
        const tenantId = yield* Tenant.CurrentTenant
        yield* command([1], { key: "other" })
        const fingerprint = (yield* storage.commandOutcome({ tenantId, key: "other" }))?.fingerprint
        assert(fingerprint !== undefined)
        // A key that expired before the command was carried out.
        yield* storage.append({
          tenantId,
          streams: [{ aggregateType: "Ledger", aggregateId: "1", expectedVersion: 1, events: [] }],
          command: { key: "k", fingerprint, expiresInMillis: 0 }
        })
        const first = command([2], { key: "k" })
        assert.deepInclude(yield* first, { version: 2, replayed: false })
        assert.deepInclude(yield* first, { version: 2, replayed: true })
      }).pipe(plain, asNewTenant)
    )

    it.effect("is refused before the decision if its key or content cannot be stored", () =>
      Effect.gen(function* () {
        const wrong: ReadonlyArray<readonly [Repository.Command, string, ReadonlyArray<string | number>?]> = [
          [{ key: "" }, "InvalidEvent", ["key"]],
          [{ key: "a\0" }, "InvalidEvent", ["key"]],
          [{ key: "\ud800" }, "InvalidEvent", ["key"]],
          [{ key: "k".repeat(256) }, "LimitExceeded"],
          [{ key: "k", content: { a: [1, Number.NaN] } }, "InvalidEvent", ["content", "a", 1]],
          [{ key: "k", content: "\ud800" }, "InvalidEvent", ["content"]]
        ]
        for (const [given, tag, path] of wrong) {
          const refused = command([1], given)
          const error = yield* flipped(refused)
          assert.strictEqual(error._tag, tag)
          if (error._tag === "InvalidEvent") assert.deepStrictEqual(error.path, path)
          assert.strictEqual(refused.decided(), 0)
        }
        yield* command([1], { key: "ä\"'; drop table commands --".padEnd(255, "🦊") })
        const forever = command([2], { key: "forever", timeToLive: "100000000 days" })
        yield* forever
        assert.isTrue((yield* forever).replayed)
        assert.strictEqual((yield* everything).length, 2)
      }).pipe(plain, asNewTenant)
    )

    // In memory the clock of the program is the only one.
    it.effect.skipIf(backend.name === "memory")(
      "is carried out once, however wrong the clocks of its programs are",
      () =>
        Effect.gen(function* () {
          const pay = command([1], { key: "pay", timeToLive: "1 minute" })
          for (const [index, minutes] of [-5, 0, 5].entries()) {
            const { replayed } = yield* Effect.updateService(pay, Clock.Clock, aheadBy(minutes * 60_000))
            assert.strictEqual(replayed, index > 0)
          }
          assert.strictEqual((yield* everything).length, 1)
        }).pipe(plain, asNewTenant)
    )

    it.effect("returns its first outcome with a newer or an older snapshot", () =>
      Effect.gen(function* () {
        const pay = command([1, 2, 3, 4, 5], { key: "pay" })
        const first = yield* pay
        yield* enterAll([6, 7])
        assert.deepStrictEqual(yield* pay, { ...first, replayed: true })
        const { loadOrInitial } = yield* Repository.Repository
        yield* loadOrInitial(Ledger, "1")
        assert.strictEqual((yield* kept())?.version, 7)
        assert.deepStrictEqual(yield* pay, { ...first, replayed: true })
        const second = command([8, 9], { key: "second" })
        const expected = yield* second
        yield* enterAll([10])
        assert.deepStrictEqual(yield* second, { ...expected, replayed: true })
      }).pipe(withRepository({ policy: SnapshotPolicy.every(2), taken: "atOnce" }), asNewTenant)
    )

    it.effect("leaves derived ids unchanged: later commands get the same ids as in the first run", () =>
      Effect.gen(function* () {
        const { execute } = yield* Repository.Repository
        const keyed = command([1, 2], { key: "message" })
        const handle = Effect.gen(function* () {
          const first = yield* keyed
          const second = yield* execute(Ledger, "1", (state) => [entered(state.entries.length)])
          return [first, second] as const
        }).pipe(EventContext.derivingIds(["test", "message"]))
        const [first, second] = yield* handle
        const [firstAgain, secondAgain] = yield* handle
        assert.deepStrictEqual(firstAgain, { ...first, replayed: true })
        assert.deepStrictEqual(secondAgain, { ...second, replayed: true })
        assert.strictEqual(keyed.decided(), 1)
        // The ids work without the key, and the key without the ids.
        const withoutKey = execute(Ledger, "1", () => [entered(8)]).pipe(
          EventContext.derivingIds(["test", "message"])
        )
        assert.deepStrictEqual((yield* withoutKey).events, first.events)
        assert.deepStrictEqual(yield* keyed, { ...first, replayed: true })
        assert.strictEqual((yield* everything).length, 3)
      }).pipe(plain, asNewTenant)
    )
  })
})

describe("a command with a key", () => {
  it.effect("keeps its key for the time of the layer or of the command", () =>
    Effect.gen(function* () {
      const pay = command([1], { key: "k" })
      const long = command([2], { key: "long", timeToLive: "2 days" })
      yield* pay
      yield* long
      yield* TestClock.adjust("59 minutes")
      assert.isTrue((yield* pay).replayed)
      yield* TestClock.adjust("1 minute")
      assert.isFalse((yield* pay).replayed)
      assert.isTrue((yield* long).replayed)
      // Another command may use the key then.
      yield* TestClock.adjust("1 hour")
      assert.isFalse((yield* command([3], { key: "k", content: "other" })).replayed)
      yield* TestClock.adjust("2 days")
      assert.isFalse((yield* long).replayed)
    }).pipe(
      Effect.provide(Repository.layerWith({ commandTimeToLive: "1 hour" }), { local: true }),
      Effect.provide(inMemory()),
      asNewTenant
    )
  )

  it.effect("keeps its key for a day by default", () =>
    Effect.gen(function* () {
      const pay = command([1], { key: "k" })
      yield* pay
      yield* TestClock.adjust("23 hours")
      assert.isTrue((yield* pay).replayed)
      yield* TestClock.adjust("1 hour")
      assert.isFalse((yield* pay).replayed)
    }).pipe(Effect.provide(inMemory()), asNewTenant)
  )

  it.effect("returns its first outcome after the answer to the commit was lost", () => {
    let lose = true
    const lossy = changedDriver(({ append }) => ({
      append: (requests) =>
        Effect.flatMap(append(requests), (outcomes) => {
          if (!lose) return Effect.succeed(outcomes)
          lose = false
          return Effect.fail(
            new StorageUnavailable({
              reason: new OtherFailure({ operation: "append", retryable: true, code: null })
            })
          )
        })
    }))
    return Effect.gen(function* () {
      const pay = command([1, 2], { key: "k" })
      assert.strictEqual((yield* flipped(pay))._tag, "StorageUnavailable")
      const { events, replayed, state, version } = yield* pay
      assert.deepStrictEqual([replayed, state, version, events.length], [true, stateAfter([1, 2]), 2, 2])
      assert.strictEqual(pay.decided(), 1)
    }).pipe(
      Effect.provide(Repository.layer.pipe(Layer.provideMerge(EventStore.layer), Layer.provideMerge(lossy))),
      asNewTenant
    )
  })

  it.effect("returns the outcome of a faster caller, even if it has decided otherwise", () => {
    let faster: Effect.Effect<unknown, unknown, Repository.Repository | Tenant.CurrentTenant> = Effect.void
    return Effect.gen(function* () {
      const { execute } = yield* Repository.Repository
      yield* enterAll([0])
      // Between the decision and the append; other events follow.
      const others = Effect.andThen(command([5, 6], { key: "k" }), enterAll([7]))
      faster = Effect.orDie(
        Effect.provideService(others, EventStore.EventStore, yield* EventStore.EventStore)
      )
      const outcome = yield* execute(Ledger, "1", () => Effect.as(faster, [entered(1)]), {
        command: { key: "k" }
      })
      assert.deepInclude(outcome, { state: stateAfter([0, 5, 6]), version: 3, replayed: true })
      assert.deepStrictEqual(
        outcome.events.map(({ payload }) => payload),
        [entered(5), entered(6)]
      )
      const nothing = yield* execute(
        Ledger,
        "1",
        () => Effect.as(Effect.orDie(command([], { key: "n" })), [entered(1)]),
        { command: { key: "n" } }
      )
      assert.deepInclude(nothing, { version: 4, events: [], replayed: true })
      const conflict = yield* flipped(
        execute(
          Ledger,
          "1",
          () => Effect.as(Effect.orDie(command([1], { key: "c", content: 1 })), [entered(1)]),
          { command: { key: "c", content: 2 } }
        )
      )
      assert.strictEqual(conflict._tag, "CommandKeyConflict")
      assert.strictEqual((yield* everything).length, 5)
    }).pipe(Effect.provide(inMemory()), asNewTenant)
  })

  it("accepts a time to live of at least a millisecond", () => {
    for (const timeToLive of [0, -1, Number.NaN])
      assert.throws(
        () => Effect.runSync(Effect.scoped(Layer.build(layerWithTimeToLive(timeToLive)))),
        RangeError
      )
  })
})

const layerWithTimeToLive = (commandTimeToLive: number) =>
  Repository.layerWith({ commandTimeToLive }).pipe(Layer.provide(inMemory()))
