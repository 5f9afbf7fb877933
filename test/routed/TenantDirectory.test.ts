import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Option } from "effect"
import { TestClock } from "effect/testing"
import { StorageUnavailable, OtherFailure } from "../../src/driver/StoreError.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as TenantDirectory from "../../src/routed/TenantDirectory.ts"
import { flipped } from "../../src/testing/failures.ts"

const [one, two] = [
  Tenant.TenantId.make("00000000-0000-4000-8000-000000000001"),
  Tenant.TenantId.make("00000000-0000-4000-8000-000000000002")
]

/** A directory with changing entries, and a record of its look-ups. */
const changing = Effect.fnUntraced(function* (options: TenantDirectory.CacheOptions = {}) {
  const entries = new Map<string, string>()
  const placements = ["a", "b"]
  const asked: Array<string> = []
  const directory = yield* TenantDirectory.make({
    ...options,
    placements: Effect.succeed(placements),
    placementOf: (tenantId) =>
      Effect.sync(() => {
        asked.push(tenantId)
        return entries.get(tenantId)
      })
  })
  return { directory, entries, placements, asked }
})

describe("a directory", () => {
  it.effect("caches the placement of each tenant for a time, and then follows a tenant that has moved", () =>
    Effect.gen(function* () {
      const { directory, entries, asked } = yield* changing({ timeToLive: "1 minute" })
      entries.set(one, "a").set(two, "b")
      for (const _ of [1, 2]) {
        assert.strictEqual(yield* directory.placement(one), "a")
        assert.strictEqual(yield* directory.placement(two), "b")
      }
      assert.deepStrictEqual(asked, [one, two])
      entries.set(one, "b")
      yield* TestClock.adjust("59 seconds")
      assert.strictEqual(yield* directory.placement(one), "a")
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(yield* directory.placement(one), "b")
      assert.strictEqual(yield* directory.placement(two), "b")
    })
  )

  it.effect("asks again at once only for an invalidated tenant", () =>
    Effect.gen(function* () {
      const { directory, entries, asked } = yield* changing()
      entries.set(one, "a").set(two, "a")
      yield* Effect.all([directory.placement(one), directory.placement(two)])
      entries.set(one, "b").set(two, "b")
      yield* directory.invalidate(one)
      assert.strictEqual(yield* directory.placement(one), "b")
      assert.strictEqual(yield* directory.placement(two), "a")
      assert.deepStrictEqual(asked, [one, two, one])
    })
  )

  it.effect("knows a tenant as soon as it is added, because unknown tenants are not cached", () =>
    Effect.gen(function* () {
      const { directory, entries } = yield* changing()
      const error = yield* flipped(directory.placement(one))
      assert.deepInclude(error, { _tag: "UnknownTenant", tenantId: one })
      entries.set(one, "a")
      assert.strictEqual(yield* directory.placement(one), "a")
    })
  )

  it.effect("refuses a placement until it is in the list", () =>
    Effect.gen(function* () {
      const { directory, entries, placements } = yield* changing()
      entries.set(one, "c")
      const error = yield* flipped(directory.placement(one))
      assert.deepInclude(error, { _tag: "StorageUnavailable", retryable: false, code: "UnknownPlacement" })
      placements.push("c")
      assert.strictEqual(yield* directory.placement(one), "c")
      assert.deepStrictEqual(yield* directory.placements, ["a", "b", "c"])
    })
  )

  it.effect("is asked once by concurrent callers, and does not cache failures", () =>
    Effect.gen(function* () {
      const answer = yield* Deferred.make<string, StorageUnavailable>()
      let asked = 0
      const directory = yield* TenantDirectory.make({
        placements: ["a"],
        placementOf: () => (++asked === 1 ? Deferred.await(answer) : "a")
      })
      const waiting = yield* Effect.forEach([1, 2, 3], () =>
        Effect.forkChild(Effect.exit(directory.placement(one)), { startImmediately: true })
      )
      yield* Deferred.fail(
        answer,
        new StorageUnavailable({
          reason: new OtherFailure({ operation: "ask", retryable: true, code: null })
        })
      )
      for (const fiber of waiting) assert.strictEqual((yield* Fiber.join(fiber))._tag, "Failure")
      assert.strictEqual(asked, 1)
      assert.strictEqual(yield* directory.placement(one), "a")
    })
  )

  it.effect("asks for no tenant, so the first caller leaves nothing in the answers of others", () =>
    Effect.gen(function* () {
      const seen: Array<Option.Option<string>> = []
      const directory = yield* TenantDirectory.make({
        placements: ["a"],
        placementOf: () =>
          Effect.map(Effect.serviceOption(Tenant.CurrentTenant), (tenant) => {
            seen.push(tenant)
            return "a"
          })
      })
      yield* directory.placement(two).pipe(Tenant.provide(one))
      assert.deepStrictEqual(seen, [Option.none()])
    })
  )
})
