/** Helpers of the tests of reactions, of the relay and of inline projections: orders and shipments. */
import { Effect, Layer, Schema, Stream } from "effect"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import * as Event from "../../src/domain/Event.ts"
import type * as EventStorage from "../../src/driver/EventStorage.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as Projection from "../../src/projection/Projection.ts"
import * as ProjectionRunner from "../../src/projection/ProjectionRunner.ts"
import type * as ProjectionStorage from "../../src/driver/ProjectionStorage.ts"
import * as Reaction from "../../src/projection/Reaction.ts"
import * as Repository from "../../src/store/Repository.ts"
import type { StorageUnavailable } from "../../src/driver/StoreError.ts"
import * as Tenant from "../../src/domain/Tenant.ts"

let names = 0

/** A name that no other test of the file uses. */
export const unique = (name: string): string => `${name}-${++names}`

export const Placed = Schema.TaggedStruct("Placed", { total: Schema.Int })
export const Paid = Schema.TaggedStruct("Paid", {})

export const Order = Aggregate.make(
  "Order",
  {
    id: Schema.String,
    state: Schema.Struct({ total: Schema.Int, paid: Schema.Boolean }),
    initial: { total: 0, paid: false },
    events: [Placed, Paid]
  },
  {
    Placed: (state, { total }) => ({ ...state, total: state.total + total }),
    Paid: (state) => ({ ...state, paid: true })
  }
)

export const Requested = Schema.TaggedStruct("Requested", { order: Schema.String })

/** The requested parcels. */
export const Shipment = Aggregate.make(
  "Shipment",
  { id: Schema.String, state: Schema.Array(Schema.String), initial: [], events: [Requested] },
  { Requested: (state, { order }) => [...state, order] }
)

export const Counted = Schema.TaggedStruct("Counted", { before: Schema.Int })

/** A counter; each decision depends on the state. */
export const Counter = Aggregate.make(
  "Counter",
  { id: Schema.String, state: Schema.Int, initial: 0, events: [Counted] },
  { Counted: (state) => state + 1 }
)

export const placed = (total = 1): typeof Placed.Type => Placed.make({ total })
export const paid: typeof Paid.Type = Paid.make({})

/** Increments the counter. */
export const count = (id: string) =>
  Repository.Repository.use((repository) =>
    repository.execute(Counter, id, (before) => [Counted.make({ before })])
  )

export const place = (id: string, events: ReadonlyArray<Event.Appendable<typeof Placed.Type>> = [placed()]) =>
  EventStore.EventStore.use((store) => store.append({ aggregate: Order, id, events, expectedVersion: "any" }))

const request = (id: string) =>
  Repository.Repository.use((repository) =>
    repository.execute(Shipment, id, () => [Requested.make({ order: id })])
  )

/** A reaction that requests a shipment for every order that is placed. */
export const shipping = (options?: Partial<Reaction.Options<[typeof Order]>>) =>
  Reaction.make(
    unique("shipping"),
    { aggregates: [Order], ...options },
    { Placed: (_event, { aggregateId }) => request(aggregateId) }
  )

/** The tenant's log. */
export const log = EventStore.EventStore.use((store) => Stream.runCollect(store.readLogJson({})))

/** The types of the events in the tenant's log. */
export const logTypes = Effect.map(log, (events) => events.map(({ eventType }) => eventType))

/** The events of some type in the tenant's log. */
export const logOf = (type: string) =>
  Effect.map(log, (events) => events.filter(({ eventType }) => eventType === type))

/** Runs an effect for a new tenant. */
export const asNewTenant = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E, Exclude<R, Tenant.CurrentTenant>> =>
  Effect.flatMap(Tenant.generate, (tenant) => Tenant.provide(tenant)(effect))

/** The typed tier on a driver. */
export const onDriver = <A, E, R>(
  driver: Layer.Layer<A | EventStorage.EventStorage, E, R>
): Layer.Layer<A | EventStorage.EventStorage | EventStore.EventStore | Repository.Repository, E, R> =>
  Repository.layer.pipe(Layer.provideMerge(EventStore.layer), Layer.provideMerge(driver))

/** Runs an effect with a runner that works only on request (`drain`). */
export const withRunner =
  <const Ps extends ReadonlyArray<Projection.Any>>(...projections: Ps) =>
  <A, E, R>(
    effect: Effect.Effect<A, E, R>
  ): Effect.Effect<
    A,
    E | ProjectionStorage.ProjectionRefused | StorageUnavailable,
    | Exclude<R, ProjectionRunner.ProjectionRunner>
    | EventStorage.EventStorage
    | ProjectionStorage.ProjectionStorage
    | Exclude<Projection.Requirements<Ps[number]>, Tenant.CurrentTenant>
  > =>
    Effect.provide(
      effect,
      ProjectionRunner.layer({ projections, concurrency: 0, sweepInterval: "1 hour" }),
      // Every test has its own runner.
      { local: true }
    )

export const drain = ProjectionRunner.ProjectionRunner.use(({ drain: work }) => work)
