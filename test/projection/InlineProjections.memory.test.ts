/** Inline projections without a database: their appends are undone as well. */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, References, Stream } from "effect"
import * as EventStore from "../../src/store/EventStore.ts"
import { EventStorage } from "../../src/driver/EventStorage.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import * as InlineProjections from "../../src/projection/InlineProjections.ts"
import * as Projection from "../../src/projection/Projection.ts"
import { StorageFull, StorageUnavailable } from "../../src/driver/StoreError.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { flipped, mismatches } from "../../src/testing/failures.ts"
import { append, Sum } from "../support/sums.ts"

const inline = <const Ps extends ReadonlyArray<Projection.Any>>(...projections: Ps) =>
  InlineProjections.layer({ projections }).pipe(Layer.provide(MemoryStorage.layerWith({})))

const doing = <E, R>(handler: (n: number) => Effect.Effect<unknown, E, R>) =>
  Projection.make("doing", { aggregates: [Sum] }, { Added: ({ n }) => handler(n) })

const log = EventStore.EventStore.use((store) => Stream.runCollect(store.readLog({ aggregates: [Sum] })))
const lengthOf = (tenant: Tenant.TenantId) =>
  Effect.map(Tenant.provide(tenant)(log), (events) => events.length)

describe("inline projections in memory", () => {
  it.effect("handle an append once; if one fails, nothing is appended", () => {
    const seen: Array<number> = []
    const projection = doing((n) => (n === 666 ? Effect.fail("no") : Effect.sync(() => seen.push(n))))
    return Effect.gen(function* () {
      const tenant = yield* Tenant.generate
      yield* append(tenant, 1, 2)
      const error = yield* append(tenant, 3, 666).pipe(InlineProjections.failures, flipped)
      assert.deepInclude({ ...error }, { _tag: "InlineProjectionFailed", eventType: "Added" })
      assert.strictEqual(yield* lengthOf(tenant), 2)
      yield* append(tenant, 4)
      assert.deepStrictEqual(seen, [1, 2, 3, 4])
      assert.strictEqual(yield* lengthOf(tenant), 3)
      seen.length = 0
      yield* InlineProjections.rebuild(projection).pipe(Tenant.provide(tenant))
      assert.deepStrictEqual(seen, [1, 2, 4])
    }).pipe(
      Effect.provide(
        InlineProjections.layer({ projections: [projection] }).pipe(
          Layer.provideMerge(MemoryStorage.layerWith({}))
        )
      ),
      Effect.provideService(References.MinimumLogLevel, "None")
    )
  })

  it.effect(
    "are visible only after the transaction; other appends of the tenant wait for it, and no other tenant's",
    () => {
      const [reached, go] = [Deferred.makeUnsafe<void>(), Deferred.makeUnsafe<void>()]
      const projection = doing((n) =>
        n === 1 ? Effect.andThen(Deferred.succeed(reached, undefined), Deferred.await(go)) : Effect.void
      )
      return Effect.gen(function* () {
        const [tenant, other] = [yield* Tenant.generate, yield* Tenant.generate]
        const first = yield* Effect.forkChild(append(tenant, 1))
        yield* Deferred.await(reached)
        assert.strictEqual(yield* lengthOf(tenant), 0)
        const second = yield* Effect.forkChild(append(tenant, null))
        yield* append(other, 2)
        yield* Effect.yieldNow
        assert.isUndefined(second.pollUnsafe())
        yield* Deferred.succeed(go, undefined)
        const positions = yield* Effect.forEach([first, second], (fiber) =>
          Effect.map(Fiber.join(fiber), ({ events }) => events[0]?.position)
        )
        assert.deepStrictEqual(positions, [1, 2])
        assert.strictEqual(yield* lengthOf(tenant), 2)
      }).pipe(Effect.provide(inline(projection)))
    }
  )

  it.live(
    "refuse another tenant, even if that is caught, and are retried while the storage fails transiently",
    () => {
      let left = 2
      let other = Tenant.untenanted
      const projection = doing((n) =>
        n === 1
          ? Effect.exit(EventStorage.use((storage) => storage.head({ tenantId: other })))
          : Effect.suspend(() =>
              left-- > 0
                ? Effect.fail(
                    new StorageUnavailable({ reason: new StorageFull({ operation: "test", code: null }) })
                  )
                : Effect.void
            )
      )
      return Effect.gen(function* () {
        const tenant = yield* Tenant.generate
        other = yield* Tenant.generate
        assert.strictEqual((yield* mismatches(append(tenant, 1))).tenantId, other)
        assert.deepStrictEqual([yield* lengthOf(tenant), yield* lengthOf(other)], [0, 0])
        yield* append(tenant, 2).pipe(Effect.provideService(References.MinimumLogLevel, "None"))
        assert.deepStrictEqual([left, yield* lengthOf(tenant)], [-1, 1])
      }).pipe(Effect.provide(inline(projection)))
    }
  )
})
