import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Layer, Result, Schedule } from "effect"
import { TestClock } from "effect/testing"
import * as Event from "../../src/domain/Event.ts"
import type * as EventStorage from "../../src/driver/EventStorage.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as Repository from "../../src/store/Repository.ts"
import { StorageUnavailable, VersionConflict, OtherFailure, Conflict } from "../../src/driver/StoreError.ts"
import { Account, asNewTenant, changedDriver, deposited, inMemory, opened } from "../support/bank.ts"
import { flipped } from "../../src/testing/failures.ts"

type Append = EventStorage.EventStorage["Service"]["append"]

const withAppend = (change: (append: Append) => Append, options?: Repository.Options) =>
  (options === undefined ? Repository.layer : Repository.layerWith(options)).pipe(
    Layer.provideMerge(EventStore.layer),
    Layer.provideMerge(changedDriver(({ append }) => ({ append: change(append) })))
  )

/** A driver on which somebody else appends one deposit of 100 just before each of the first `times` appends. */
const contended = (times: number, options?: Repository.Options) => {
  let [left, appends] = [times, 0]
  const other = { eventType: "Deposited", payload: JSON.stringify(deposited(100)) }
  const layer = withAppend(
    (append) => (request) => {
      appends++
      if (left-- <= 0) return append(request)
      const others = {
        tenantId: request.tenantId,
        streams: request.streams.map((stream) => ({
          ...stream,
          expectedVersion: "any" as const,
          events: stream.events
            .slice(0, 1)
            .map((event) => Object.assign({}, event, other, { eventId: Event.generateId() }))
        }))
      }
      return Effect.andThen(append(others), append(request))
    },
    options
  )
  return { layer, appends: () => appends }
}

describe("a command with a version conflict", () => {
  it.effect("loads and decides again, with the events appended in between", () => {
    const { appends, layer } = contended(3)
    const seen: Array<number> = []
    return Effect.gen(function* () {
      const { execute } = yield* Repository.Repository
      const { events, state, version } = yield* execute(Account, "1", ({ balance }) => {
        seen.push(balance)
        return [deposited(1)]
      })
      assert.deepStrictEqual(seen, [0, 100, 200, 300])
      assert.deepStrictEqual([state.balance, version, events.length, appends()], [301, 4, 1, 4])
    }).pipe(asNewTenant, Effect.provide(layer))
  })

  it.effect.each([0, 1, 5])(
    "is tried again as often as requested (%i times), and then fails with the conflict",
    (times) => {
      const { appends, layer } = contended(Infinity, { retry: Schedule.recurs(times) })
      return Effect.gen(function* () {
        const { execute } = yield* Repository.Repository
        let decided = 0
        const error = yield* flipped(
          execute(Account, "1", () => {
            decided++
            return Result.succeed([opened()])
          })
        )
        assert.deepInclude(error, { _tag: "VersionConflict", expected: times, actual: times + 1 })
        assert.deepStrictEqual([decided, appends()], [times + 1, times + 1])
      }).pipe(asNewTenant, Effect.provide(layer))
    }
  )

  it.effect("follows the schedule of the call rather than that of the layer", () => {
    const { appends, layer } = contended(Infinity, { retry: Schedule.recurs(7) })
    return Effect.gen(function* () {
      const { execute } = yield* Repository.Repository
      yield* flipped(execute(Account, "1", () => [opened()], { retry: Schedule.recurs(2) }))
      assert.strictEqual(appends(), 3)
      yield* flipped(execute(Account, "2", () => [opened()], { retry: undefined }))
      assert.strictEqual(appends(), 3 + 8)
    }).pipe(asNewTenant, Effect.provide(layer))
  })

  it.effect("is by default tried again four times at once and 16 times within four seconds", () => {
    const { appends, layer } = contended(Infinity)
    return Effect.gen(function* () {
      const { execute } = yield* Repository.Repository
      const fiber = yield* Effect.forkChild(flipped(execute(Account, "1", () => [opened()])))
      yield* Effect.yieldNow
      yield* TestClock.adjust(0)
      assert.strictEqual(appends(), 5)
      yield* TestClock.adjust("3 millis")
      assert.strictEqual(appends(), 5)
      yield* TestClock.adjust("4 millis")
      assert.strictEqual(appends(), 6)
      yield* TestClock.adjust(Duration.seconds(4))
      assert.deepInclude(yield* Fiber.join(fiber), { _tag: "VersionConflict", expected: 20, actual: 21 })
      assert.strictEqual(appends(), 21)
    }).pipe(asNewTenant, Effect.provide(layer))
  })

  it.effect("is not tried again if its decision fails with a conflict", () =>
    Effect.gen(function* () {
      const { execute } = yield* Repository.Repository
      const stream = { tenantId: "t", aggregateType: "Other", aggregateId: "2" }
      const own = new Conflict({ reason: new VersionConflict({ ...stream, expected: 1, actual: 2 }) })
      for (const failure of [Effect.fail(own), Result.fail(own)]) {
        let decided = 0
        const error = yield* Effect.flip(
          execute(Account, "1", () => {
            decided++
            return failure
          })
        )
        assert.strictEqual(error, own)
        assert.strictEqual(decided, 1)
      }
      // Nor after the conflict of a command inside of it, which was tried again by itself.
      let outer = 0
      const inner = execute(Account, "1", () => {
        outer++
        return execute(Account, "2", () => Effect.fail(own)).pipe(Effect.as([opened()]))
      })
      assert.strictEqual(yield* Effect.flip(inner), own)
      assert.strictEqual(outer, 1)
    }).pipe(asNewTenant, Effect.provide(inMemory()))
  )

  it.effect("is not tried again after any other failure of the append", () => {
    let appends = 0
    const error = new StorageUnavailable({
      reason: new OtherFailure({ operation: "append", retryable: true, code: null })
    })
    const layer = withAppend(() => () => {
      appends++
      return Effect.fail(error)
    })
    return Effect.gen(function* () {
      const { execute } = yield* Repository.Repository
      assert.strictEqual(yield* flipped(execute(Account, "1", () => [opened()])), error)
      assert.strictEqual(appends, 1)
    }).pipe(asNewTenant, Effect.provide(layer))
  })

  it.effect("can be interrupted while it waits, and is not tried again then", () => {
    const { appends, layer } = contended(Infinity, { retry: Schedule.spaced("1 minute") })
    return Effect.gen(function* () {
      const { execute } = yield* Repository.Repository
      const fiber = yield* Effect.forkChild(execute(Account, "1", () => [opened()]))
      yield* TestClock.adjust("90 seconds")
      assert.strictEqual(appends(), 2)
      yield* Fiber.interrupt(fiber)
      assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(fiber)))
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(appends(), 2)
    }).pipe(asNewTenant, Effect.provide(layer))
  })
})

describe("32 concurrent commands on one aggregate, in memory and with a stopped clock,", () => {
  const commands = 32
  const together = (pause: Effect.Effect<void>, options?: Repository.ExecuteOptions) =>
    Effect.gen(function* () {
      const { execute } = yield* Repository.Repository
      const decide = () => Effect.as(pause, [deposited(1)])
      yield* Effect.replicateEffect(execute(Account, "1", decide, options), commands, {
        concurrency: "unbounded",
        discard: true
      })
    })
  const allDone = Effect.gen(function* () {
    const { load } = yield* Repository.Repository
    assert.deepInclude(yield* load(Account, "1"), { version: commands })
  })

  it.effect("all succeed without a delay if their decisions do not wait", () =>
    Effect.andThen(together(Effect.void), allDone).pipe(asNewTenant, Effect.provide(inMemory()))
  )

  it.effect("all succeed without a delay if they are tried again often enough", () =>
    together(Effect.yieldNow, { retry: Schedule.recurs(commands) }).pipe(
      Effect.andThen(allDone),
      asNewTenant,
      Effect.provide(inMemory())
    )
  )

  it.effect("all succeed on the default schedule when the clock advances", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(together(Effect.yieldNow))
      while (fiber.pollUnsafe() === undefined) yield* TestClock.adjust("100 millis")
      yield* Fiber.join(fiber)
      yield* allDone
    }).pipe(asNewTenant, Effect.provide(inMemory()))
  )
})
