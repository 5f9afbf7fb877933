/** The contract of drivers: reservations of streams among processes. A driver may have none. */
import { assert, type Vitest } from "@effect/vitest"
import { Effect, Exit, Fiber, Scope } from "effect"
import { EventStorage } from "../../driver/EventStorage.ts"
import type { TenantId } from "../../domain/Tenant.ts"
import { aggregateType, append, events, newTenant, stream } from "./eventKit.ts"

/** A reservation with the scope that ends it; undefined if the driver has none. */
const reserve = Effect.fnUntraced(function* (tenantId: TenantId, aggregateId: string) {
  const { reserveStream } = yield* EventStorage
  if (reserveStream === undefined) return undefined
  const scope = yield* Scope.make()
  const isReserved = yield* Scope.provide(reserveStream({ tenantId, aggregateType, aggregateId }), scope)
  return { isReserved, leave: Scope.close(scope, Exit.void) }
})

export const reservations = (it: Vitest.MethodsNonLive<EventStorage>): void => {
  it.effect("a stream is reserved by one at a time, and another one gets it when it is left", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      yield* append(tenant, stream("one", events(1)))
      const first = yield* reserve(tenant, "one")
      if (first === undefined) return
      assert.isTrue(first.isReserved)
      let isLeft = false
      const waiting = yield* Effect.forkChild(
        Effect.map(reserve(tenant, "one"), (second) => ({ ...second, isAfter: isLeft })),
        { startImmediately: true }
      )
      // An append needs no reservation, and does not wait for one.
      yield* append(tenant, stream("one", events(1)))
      isLeft = true
      yield* first.leave
      const second = yield* Fiber.join(waiting)
      assert.isTrue(second.isReserved)
      assert.isTrue(second.isAfter)
      yield* second.leave ?? Effect.void
    })
  )

  it.effect("a reservation is that of one tenant and stream", () =>
    Effect.gen(function* () {
      const [tenant, other] = [newTenant(), newTenant()]
      yield* append(tenant, stream("one", events(1)), stream("two", events(1)))
      yield* append(other, stream("one", events(1)))
      for (const [tenantId, id] of [
        [tenant, "two"],
        [other, "one"]
      ] as const) {
        const held = yield* reserve(tenant, "one")
        const free = yield* reserve(tenantId, id)
        if (held === undefined || free === undefined) return
        assert.isTrue(held.isReserved)
        assert.isTrue(free.isReserved)
        yield* Effect.andThen(held.leave, free.leave)
      }
    })
  )

  it.effect("a reservation that takes too long is none", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      yield* append(tenant, stream("one", events(1)))
      const held = yield* reserve(tenant, "one")
      if (held === undefined) return
      const late = yield* reserve(tenant, "one")
      assert.isTrue(held.isReserved)
      assert.isFalse(late?.isReserved)
      yield* Effect.andThen(held.leave, late?.leave ?? Effect.void)
      // Neither does it stand in the way of the next one.
      const next = yield* reserve(tenant, "one")
      assert.isTrue(next?.isReserved)
      yield* next?.leave ?? Effect.void
    })
  )

  it.effect("an interrupted wait leaves its place to others", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      yield* append(tenant, stream("one", events(1)))
      const held = yield* reserve(tenant, "one")
      if (held === undefined) return
      const scope = yield* Scope.make()
      const { reserveStream } = yield* EventStorage
      const request = { tenantId: tenant, aggregateType, aggregateId: "one" }
      const waiting = yield* Effect.forkChild(
        Scope.provide(reserveStream?.(request) ?? Effect.succeed(false), scope),
        { startImmediately: true }
      )
      yield* Fiber.interrupt(waiting)
      yield* Scope.close(scope, Exit.void)
      yield* held.leave
      const next = yield* reserve(tenant, "one")
      assert.isTrue(next?.isReserved)
      yield* next?.leave ?? Effect.void
    })
  )
}
