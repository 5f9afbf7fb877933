import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import type * as EventStorage from "../../src/driver/EventStorage.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import * as Subscription from "../../src/projection/Subscription.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as TenantRegistry from "../../src/store/TenantRegistry.ts"
import { append, first, followed, orders, untilFailure } from "../support/following.ts"
import { onDriver, Order, paid } from "../support/shop.ts"

const access = { actor: "test", reason: "to see that it works" }

/** Runs everything that is due now. */
const settle = TestClock.adjust("1 millis")

describe("a subscription to all logs", () => {
  const withRegistry = <R>(driver: Layer.Layer<R | EventStorage.EventStorage>) =>
    TenantRegistry.layer.pipe(Layer.provideMerge(driver))

  it.effect("is written to the audit trail, and omits the untenanted tenant", () =>
    Effect.gen(function* () {
      const registry = yield* TenantRegistry.TenantRegistry
      const tenant = yield* Tenant.generate
      yield* append("1").pipe(Tenant.provide(Tenant.untenanted))
      yield* append("1").pipe(Tenant.provide(tenant))
      const { seen } = yield* followed(Subscription.allLogs({ aggregates: [Order] })).pipe(
        Tenant.provideAll(access)
      )
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(
        seen.map(({ tenantId, position }) => [tenantId, position]),
        [[tenant, 1]]
      )
      const accesses = yield* registry.accesses.pipe(Stream.runCollect, Tenant.provideAll(access))
      assert.deepStrictEqual(
        accesses.map(({ operation, actor }) => [operation, actor]),
        [
          ["TenantRegistry.accesses", "test"],
          ["Subscription.allLogs", "test"]
        ]
      )
    }).pipe(Effect.provide(withRegistry(onDriver(MemoryStorage.layer))))
  )

  it.effect("can start at the end of every log", () =>
    Effect.gen(function* () {
      const [a, b] = [yield* Tenant.generate, yield* Tenant.generate]
      yield* append("1", orders(2)).pipe(Tenant.provide(a))
      const { seen } = yield* followed(Subscription.allLogs({ aggregates: [Order], after: "end" })).pipe(
        Tenant.provideAll(access)
      )
      yield* settle
      for (const tenant of [a, b]) yield* append("1").pipe(Tenant.provide(tenant))
      yield* TestClock.adjust("2 seconds")
      assert.sameDeepMembers(
        seen.map(({ tenantId, position }) => [tenantId, position]),
        [
          [a, 3],
          [b, 1]
        ]
      )
    }).pipe(Effect.provide(onDriver(MemoryStorage.layer)))
  )

  it.effect("emits the events of other tenants before a tenth of one tenant's backlog", () =>
    Effect.gen(function* () {
      const [busy, ...others] = yield* Effect.all(Array.from({ length: 20 }, () => Tenant.generate))
      yield* append("1", orders(1000)).pipe(Tenant.provide(busy ?? Tenant.untenanted))
      for (const tenant of others) yield* append("1").pipe(Tenant.provide(tenant))
      const seen = yield* first(1019, Subscription.allLogs({ aggregates: [Order], pageSize: 10 })).pipe(
        Tenant.provideAll(access)
      )
      const last = seen.findLastIndex(({ tenantId }) => tenantId !== busy)
      assert.isBelow(last, 100 + others.length)
    }).pipe(Effect.provide(onDriver(MemoryStorage.layer)))
  )

  it.effect("ends at an undecodable event, and can continue behind it with a cursor", () => {
    const Renamed = Aggregate.make(
      "Order",
      { id: Schema.String, state: Schema.Null, initial: null, events: [Schema.TaggedStruct("Placed", {})] },
      (state) => state
    )
    return Effect.gen(function* () {
      const [a, b] = [yield* Tenant.generate, yield* Tenant.generate]
      yield* append("1", [...orders(1), paid, ...orders(1)]).pipe(Tenant.provide(a))
      yield* append("1", orders(2)).pipe(Tenant.provide(b))
      const cursor = new Map<Tenant.TenantId, number>()
      const follow = Stream.suspend(() =>
        Subscription.allLogs({ aggregates: [Renamed], after: new Map(cursor) })
      ).pipe(
        Stream.tap(({ tenantId, position }) => Effect.sync(() => cursor.set(tenantId, position))),
        Stream.map(({ tenantId, position }) => `${tenantId === a ? "a" : "b"}${position}`)
      )
      const { seen, error } = yield* untilFailure(follow).pipe(Tenant.provideAll(access))
      assert.sameMembers(seen, ["a1", "b1", "b2"])
      if (error._tag !== "UnknownEventType") return assert.fail(error._tag)
      assert.deepStrictEqual([error.tenantId, error.position], [a, 2])
      cursor.set(a, error.position)
      assert.deepStrictEqual(yield* first(1, follow).pipe(Tenant.provideAll(access)), ["a3"])
    }).pipe(Effect.provide(onDriver(MemoryStorage.layer)))
  })
})
