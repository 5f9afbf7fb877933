/** Taking snapshots, in memory, with storages that are slow or fail. */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Latch, Layer, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as EventStore from "../../src/store/EventStore.ts"
import * as Repository from "../../src/store/Repository.ts"
import * as SnapshotPolicy from "../../src/domain/SnapshotPolicy.ts"
import { asNewTenant } from "../support/bank.ts"
import {
  adds,
  away,
  counted,
  enter,
  inMemory,
  kept,
  load,
  quietly,
  stateAfter,
  withRepository
} from "../support/snapshots.ts"
import * as Telemetry from "../../src/telemetry/Telemetry.ts"

describe("taking a snapshot", () => {
  it.effect("in the background never delays a command, and is finished when the layer closes", () => {
    const gate = Latch.makeUnsafe(false)
    const started = Deferred.makeUnsafe<void>()
    return Effect.gen(function* () {
      yield* Effect.gen(function* () {
        yield* enter(1)
        yield* Deferred.await(started)
        yield* enter(2)
        yield* load()
        assert.isUndefined(yield* kept())
        yield* enter(3, "2")
        yield* Effect.forkChild(gate.open)
      }).pipe(withRepository({ policy: SnapshotPolicy.every(1), concurrency: 1 }))
      // Each stream has one pending snapshot: the first one that was due.
      assert.strictEqual((yield* kept())?.version, 1)
      assert.strictEqual((yield* kept("2"))?.version, 1)
    }).pipe(
      Effect.provide(
        inMemory((storage) => ({
          save: (snapshot) =>
            Deferred.succeed(started, undefined).pipe(
              Effect.andThen(gate.await),
              Effect.andThen(storage.save(snapshot))
            )
        }))
      ),
      asNewTenant
    )
  })

  it.effect("is skipped and counted when too many are waiting, and commands continue", () => {
    const gate = Latch.makeUnsafe(false)
    const started = Deferred.makeUnsafe<void>()
    return Effect.gen(function* () {
      yield* Effect.gen(function* () {
        yield* enter(0, "0")
        yield* Deferred.await(started)
        const many = Effect.forEach(
          Array.from({ length: 10 }, (_, n) => String(n + 1)),
          (id) => enter(1, id)
        )
        assert.strictEqual(yield* adds(counted(Telemetry.snapshotsNotTaken, "overflow"), many), 7)
        yield* gate.open
      }).pipe(withRepository({ policy: SnapshotPolicy.every(1), concurrency: 1, capacity: 3 }))
      const there = yield* Effect.forEach(["0", "1", "2", "3", "4"], (id) =>
        Effect.map(kept(id), (row) => row !== undefined)
      )
      assert.deepStrictEqual(there, [true, true, true, true, false])
    }).pipe(
      Effect.provide(
        inMemory((storage) => ({
          save: (snapshot) =>
            Deferred.succeed(started, undefined).pipe(
              Effect.andThen(gate.await),
              Effect.andThen(storage.save(snapshot))
            )
        }))
      ),
      asNewTenant
    )
  })

  it.effect("in a storage that hangs delays the closing of the layer only for the configured time", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const snapshots = { policy: SnapshotPolicy.every(1), drainFor: "3 seconds" } as const
      const services = yield* Layer.buildWithScope(Repository.layerWith({ snapshots }), scope)
      yield* Effect.provideContext(enter(1), services)
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
      yield* TestClock.adjust("2999 millis")
      assert.isUndefined(closing.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(closing)
    }).pipe(Effect.provide(inMemory(() => ({ save: () => Effect.never }))), asNewTenant)
  )

  it.effect.each(["atOnce", "inBackground"] as const)(
    "in a failing storage (%s) fails no command and no load, is counted, and succeeds the next time",
    (taken) => {
      const failed = counted(Telemetry.snapshotsNotTaken, "unavailable")
      const failures = [Effect.fail(away), Effect.die("broken"), Effect.interrupt]
      return Effect.gen(function* () {
        const work = Effect.gen(function* () {
          for (const [index] of failures.entries()) yield* enter(index, `of ${index}`)
          assert.deepInclude(yield* load("of 2"), { state: stateAfter([2]), version: 1 })
          yield* enter(9)
        }).pipe(withRepository({ policy: SnapshotPolicy.every(1), taken, concurrency: 1 }))
        assert.isAtLeast(yield* adds(failed, work), 3)
        assert.strictEqual((yield* kept())?.version, 1)
      }).pipe(
        Effect.provide(
          inMemory((storage) => ({
            save: (snapshot) =>
              failures[Number(/^of (\d)$/.exec(snapshot.aggregateId)?.[1])] ?? storage.save(snapshot)
          }))
        ),
        quietly,
        asNewTenant
      )
    }
  )

  it.effect(
    "at once does not happen if the command is interrupted meanwhile, but its events are stored",
    () => {
      const started = Deferred.makeUnsafe<void>()
      return Effect.gen(function* () {
        const command = yield* Effect.forkChild(enter(1))
        yield* Deferred.await(started)
        const failed = counted(Telemetry.snapshotsNotTaken, "unavailable")
        assert.strictEqual(yield* adds(failed, Fiber.interrupt(command)), 0)
        assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(command)))
        assert.isUndefined(yield* kept())
        const loaded = yield* Effect.provide(load(), Repository.layer, { local: true })
        assert.deepInclude(loaded, { state: stateAfter([1]), version: 1 })
      }).pipe(
        withRepository({ policy: SnapshotPolicy.every(1), taken: "atOnce" }),
        Effect.provide(
          inMemory(() => ({ save: () => Effect.andThen(Deferred.succeed(started, undefined), Effect.never) }))
        ),
        asNewTenant
      )
    }
  )

  it.effect("in two processes keeps the newer one, in any order of arrival", () => {
    const gate = Latch.makeUnsafe(false)
    let first = true
    return Effect.gen(function* () {
      const settings = { policy: SnapshotPolicy.every(1), taken: "atOnce" } as const
      const slow = yield* Effect.forkChild(withRepository(settings)(enter(1)))
      while ((yield* EventStore.EventStore.use((store) => store.position)) === 0) yield* Effect.yieldNow
      yield* withRepository(settings)(enter(2))
      assert.strictEqual((yield* kept())?.version, 2)
      yield* gate.open
      const outdated = counted(Telemetry.snapshotsNotTaken, "outdated")
      assert.strictEqual(yield* adds(outdated, Fiber.join(slow)), 1)
      assert.strictEqual((yield* kept())?.version, 2)
    }).pipe(
      Effect.provide(
        inMemory((storage) => ({
          save: (snapshot) => {
            const waits = first
            first = false
            return Effect.andThen(waits ? gate.await : Effect.void, storage.save(snapshot))
          }
        }))
      ),
      asNewTenant
    )
  })
})
