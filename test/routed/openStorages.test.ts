import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Option } from "effect"
import { TestClock } from "effect/testing"
import * as OpenStorages from "../../src/routed/openStorages.ts"
import { StorageUnavailable, OtherFailure } from "../../src/driver/StoreError.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { flipped } from "../../src/testing/failures.ts"

const limits: OpenStorages.Limits = { maxOpen: 2, idleTimeToLive: "1 minute", acquireTimeout: "5 seconds" }

const away = new StorageUnavailable({
  reason: new OtherFailure({ operation: "open", retryable: true, code: null })
})

interface Storage {
  readonly placement: string
  closed: boolean
}

/** Storages that record their openings and closings. */
const recorded = Effect.fnUntraced(function* (
  before: Effect.Effect<unknown, StorageUnavailable> = Effect.void
) {
  const log: Array<string> = []
  const storages = yield* OpenStorages.make(
    (placement) =>
      Effect.andThen(
        before,
        Effect.acquireRelease(
          Effect.sync((): Storage => {
            log.push(`+${placement}`)
            return { placement, closed: false }
          }),
          (storage) =>
            Effect.sync(() => {
              storage.closed = true
              log.push(`-${placement}`)
            })
        )
      ),
    limits
  )
  const touch = (placement: string) => storages.use(placement, (storage) => Effect.succeed(storage.closed))
  /** Uses a storage until it is told to end. Returns true if the storage was still open then. */
  const hold = Effect.fnUntraced(function* (placement: string) {
    const [began, end] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
    const fiber = yield* Effect.forkChild(
      storages.use(placement, (storage) =>
        Deferred.succeed(began, undefined).pipe(
          Effect.andThen(Deferred.await(end)),
          Effect.map(() => !storage.closed)
        )
      )
    )
    yield* Deferred.await(began)
    return { end: Effect.andThen(Deferred.succeed(end, undefined), Fiber.join(fiber)) }
  })
  return { log, storages, touch, hold }
})

describe("open storages", () => {
  it.effect("concurrent first callers get the same storage", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const { log, touch } = yield* recorded(Deferred.await(gate))
      const all = yield* Effect.forEach([1, 2, 3, 4], () => Effect.forkChild(touch("a")))
      yield* Deferred.succeed(gate, undefined)
      for (const fiber of all) assert.isFalse(yield* Fiber.join(fiber))
      assert.deepStrictEqual(log, ["+a"])
    })
  )

  it.effect("an unused storage is closed after its idle time, and not before", () =>
    Effect.gen(function* () {
      const { log, touch } = yield* recorded()
      yield* touch("a")
      yield* TestClock.adjust("50 seconds")
      yield* touch("a")
      yield* TestClock.adjust("50 seconds")
      assert.deepStrictEqual(log, ["+a"])
      yield* TestClock.adjust("11 seconds")
      assert.deepStrictEqual(log, ["+a", "-a"])
      yield* touch("a")
      assert.deepStrictEqual(log, ["+a", "-a", "+a"])
    })
  )

  it.effect("a storage stays open as long as it is used, even after it was closed for others", () =>
    Effect.gen(function* () {
      const { hold, log, storages, touch } = yield* recorded()
      const { end } = yield* hold("a")
      yield* TestClock.adjust("1 hour")
      yield* storages.close("a")
      yield* touch("a")
      assert.deepStrictEqual(log, ["+a", "+a"])
      assert.isTrue(yield* end)
      assert.deepStrictEqual(log, ["+a", "+a", "-a"])
    })
  )

  it.effect("at the limit, the storage that has been idle longest is closed", () =>
    Effect.gen(function* () {
      const { log, storages, touch } = yield* recorded()
      for (const placement of ["a", "b", "a"]) {
        yield* touch(placement)
        yield* TestClock.adjust("1 second")
      }
      yield* touch("c")
      assert.deepStrictEqual(log, ["+a", "+b", "-b", "+c"])
      assert.sameMembers([...(yield* storages.open)], ["a", "c"])
    })
  )

  it.effect("at the limit, with all in use, a caller waits for the first storage that becomes idle", () =>
    Effect.gen(function* () {
      const { hold, log, touch } = yield* recorded()
      const [{ end: endA }, { end: endB }] = [yield* hold("a"), yield* hold("b")]
      const waiting = yield* Effect.forkChild(touch("c"), { startImmediately: true })
      yield* TestClock.adjust("4 seconds")
      assert.deepStrictEqual([waiting.pollUnsafe(), log], [undefined, ["+a", "+b"]])
      assert.isTrue(yield* endB)
      assert.isFalse(yield* Fiber.join(waiting))
      assert.deepStrictEqual(log, ["+a", "+b", "-b", "+c"])
      assert.isTrue(yield* endA)
    })
  )

  it.effect("and fails with a retryable error after a timeout; the open ones continue", () =>
    Effect.gen(function* () {
      const { hold, log, touch } = yield* recorded()
      const [{ end: endA }, { end: endB }] = [yield* hold("a"), yield* hold("b")]
      const waiting = yield* Effect.forkChild(flipped(touch("c")), { startImmediately: true })
      yield* TestClock.adjust("5 seconds")
      const error = yield* Fiber.join(waiting)
      assert.deepInclude(error, { _tag: "StorageUnavailable", retryable: true, code: "TooManyOpen" })
      assert.isFalse(yield* touch("a"))
      assert.isTrue(yield* endA)
      assert.isTrue(yield* endB)
      yield* touch("c")
      assert.deepStrictEqual(log.slice(0, 2), ["+a", "+b"])
      assert.include(log, "+c")
    })
  )

  it.effect("a failed opening is tried again by the next caller", () =>
    Effect.gen(function* () {
      let attempts = 0
      const { log, touch } = yield* recorded(
        Effect.andThen(
          Effect.yieldNow,
          Effect.suspend(() => (++attempts <= 2 ? Effect.fail(away) : Effect.void))
        )
      )
      for (const attempt of [1, 2]) {
        const failed = yield* Effect.forEach([1, 2], () => flipped(touch("a")), {
          concurrency: "unbounded"
        })
        assert.deepStrictEqual([failed, attempts], [[away, away], attempt])
      }
      assert.isFalse(yield* touch("a"))
      assert.deepStrictEqual(log, ["+a"])
    })
  )

  it.effect("opening continues if the first caller is interrupted", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const { log, touch } = yield* recorded(Deferred.await(gate))
      const first = yield* Effect.forkChild(touch("a"), { startImmediately: true })
      const second = yield* Effect.forkChild(touch("a"), { startImmediately: true })
      yield* Fiber.interrupt(first)
      yield* Deferred.succeed(gate, undefined)
      assert.isFalse(yield* Fiber.join(second))
      assert.deepStrictEqual(log, ["+a"])
    })
  )

  it.effect("8: a storage keeps nothing of its first caller", () =>
    Effect.gen(function* () {
      const seen: Array<Option.Option<string>> = []
      const { touch } = yield* recorded(
        Effect.map(Effect.serviceOption(Tenant.CurrentTenant), (tenant) => seen.push(tenant))
      )
      yield* touch("a").pipe(Tenant.provide(yield* Tenant.generate))
      assert.deepStrictEqual(seen, [Option.none()])
    })
  )
})
