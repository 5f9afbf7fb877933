/**
 * Tests of projections without a runner: given events, when a projection handles them, then its read model contains this.
 * They need no more of a store than the handlers do. For the decisions of aggregates use `Scenario`.
 *
 * **Example**
 *
 * ```ts
 * import { ProjectionKit } from "effect-eventsourcing/testing"
 *
 * yield* ProjectionKit.given(acme, Order, "order-1", Placed.make({ total: 10 }), Paid.make({}))
 *   .and(globex, Order, "order-1", Placed.make({ total: 7 }))
 *   .when(OrderSummary)
 *   .thenReads(acme, summary, [{ id: "order-1", total: 10, paid: true }])
 *   .thenReads(globex, summary, [{ id: "order-1", total: 7, paid: false }])
 * ```
 */
import { assert } from "@effect/vitest"
import { Effect, Effectable, Equal, Layer, Option, Stream } from "effect"
import type * as Aggregate from "../domain/Aggregate.ts"
import type * as Event from "../domain/Event.ts"
import * as EventContext from "../domain/EventContext.ts"
import * as EventStore from "../store/EventStore.ts"
import { difference } from "./domain/show.ts"
import * as sealedMemory from "./sealedMemory.ts"
import type * as Projection from "../projection/Projection.ts"
import { ProjectionStorage } from "../driver/ProjectionStorage.ts"
import { repeatable } from "../driver/repeatable.ts"
import type { ReadError } from "../driver/StoreError.ts"
import * as Tenant from "../domain/Tenant.ts"

/** Adds events of one stream of a tenant. */
export interface Add {
  <Type extends string, State, Payload extends Event.Tagged, Id>(
    tenantId: Tenant.TenantId,
    aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
    id: NoInfer<Id>,
    ...events: ReadonlyArray<Event.Appendable<NoInfer<Payload>>>
  ): Given
}

/** The events of a scenario. */
export interface Given {
  /** Adds events after the earlier ones. */
  readonly and: Add
  /**
   * Handles the events as a runner does: tenant by tenant, each tenant's events in order and in its name. Fails with the
   * error of a handler; events that the store would refuse are a defect.
   *
   * **Details**
   *
   * If a `ProjectionStorage` is provided, each tenant's events are handled in one of its transactions, on PostgreSQL bound
   * to the tenant. A projection across tenants runs without one.
   */
  readonly when: <E, R>(
    projection: Projection.Projection<E, R>
  ) => Then<E | ReadError, Exclude<R, Tenant.CurrentTenant>>
}

/** Expectations after the events were handled: an effect that fails the test if one is not met. */
export interface Then<out E, out R> extends Effect.Effect<void, E, R> {
  /** Expects that an effect, run in the name of a tenant, reads this value. See {@link expect}. */
  readonly thenReads: <A, E2, R2>(
    tenantId: Tenant.TenantId,
    read: Effect.Effect<A, E2, R2>,
    expected: NoInfer<A>
  ) => Then<E | E2 | ReadError, R | Exclude<R2, Tenant.CurrentTenant>>
}

type Append = Effect.Effect<unknown, unknown, EventStore.EventStore>

const memory = EventStore.layer.pipe(Layer.provide(sealedMemory.layer))

/** Runs an effect in the name of a tenant, in a transaction if the storage has them. */
const inTenant = <A, E, R>(
  tenantId: Tenant.TenantId,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E | ReadError, Exclude<R, Tenant.CurrentTenant>> =>
  Effect.flatMap(
    Effect.serviceOption(ProjectionStorage),
    Option.match({
      onNone: (): Effect.Effect<A, E | ReadError, Exclude<R, Tenant.CurrentTenant>> =>
        Tenant.provide(tenantId)(effect),
      onSome: (storage) =>
        repeatable("test a projection", storage.transaction(tenantId, Tenant.provide(tenantId)(effect)))
    })
  )

class Handled<E, R> extends Effectable.Class<void, E, R> implements Then<E, R> {
  readonly #effect: Effect.Effect<void, E, R>

  constructor(effect: Effect.Effect<void, E, R>) {
    super()
    this.#effect = effect
  }

  override asEffect(): Effect.Effect<void, E, R> {
    return this.#effect
  }

  thenReads<A, E2, R2>(
    tenantId: Tenant.TenantId,
    read: Effect.Effect<A, E2, R2>,
    expected: NoInfer<A>
  ): Then<E | E2 | ReadError, R | Exclude<R2, Tenant.CurrentTenant>> {
    return new Handled(Effect.andThen(this.#effect, expect(tenantId, read, expected)))
  }
}

const make = (tenants: ReadonlySet<Tenant.TenantId>, appends: ReadonlyArray<Append>): Given => ({
  and: (tenantId, aggregate, id, ...events) =>
    make(new Set([...tenants, tenantId]), [
      ...appends,
      EventStore.EventStore.use((store) =>
        store.append({ aggregate, id, expectedVersion: "any", events })
      ).pipe(Tenant.provide(tenantId))
    ]),
  when: (projection) => new Handled(handle(tenants, appends, projection))
})

const handle = Effect.fnUntraced(function* <E, R>(
  tenants: ReadonlySet<Tenant.TenantId>,
  appends: ReadonlyArray<Append>,
  projection: Projection.Projection<E, R>
) {
  const logs = yield* Effect.gen(function* () {
    yield* Effect.forEach(appends, (append) => append, { discard: true })
    const store = yield* EventStore.EventStore
    const { aggregates, eventTypes } = projection
    return yield* Effect.forEach(tenants, (tenantId) =>
      Effect.map(
        Tenant.provide(tenantId)(Stream.runCollect(store.readLog({ aggregates, eventTypes }))),
        (events) => ({ tenantId, events })
      )
    )
  }).pipe(Effect.provide(memory, { local: true }), Effect.orDie)
  for (const { tenantId, events } of logs) {
    const [first] = events
    if (first === undefined) continue
    const handled =
      projection.handleAll === undefined
        ? Effect.forEach(
            events,
            (envelope) => EventContext.whileHandling(envelope)(projection.handle(envelope)),
            { discard: true }
          )
        : EventContext.whileHandling(first)(projection.handleAll(events))
    yield* projection.kind === "acrossTenants" ? handled : inTenant(tenantId, handled)
  }
})

/** Starts a scenario with events. */
export const given: Add = (tenantId, aggregate, id, ...events) =>
  make(new Set(), []).and(tenantId, aggregate, id, ...events)

/** Fails the test unless an effect, run in the name of a tenant, reads the expected value. */
export const expect = <A, E, R>(
  tenantId: Tenant.TenantId,
  read: Effect.Effect<A, E, R>,
  expected: NoInfer<A>
): Effect.Effect<void, E | ReadError, Exclude<R, Tenant.CurrentTenant>> =>
  Effect.map(inTenant(tenantId, read), (found) => {
    if (Equal.equals(found, expected)) return
    assert.fail(
      `the tenant ${tenantId} reads another value\n\n- expected\n+ read\n\n${difference(expected, found)}`
    )
  })
