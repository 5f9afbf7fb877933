/**
 * Publishing events: a reaction sends a parcel for each paid order, and a relay publishes all events to a receiver outside.
 * The receiver refuses the first message once; the relay tries again, and loses or skips nothing.
 *
 *     npx tsx examples/outbox.ts
 */
import { Console, Effect, Layer, Ref, Schedule, Schema } from "effect"
import {
  Aggregate,
  EventSourcing,
  EventStore,
  OutboxRelay,
  ProjectionRunner,
  ProjectionManager,
  Reaction,
  Repository,
  Tenant
} from "effect-eventsourcing"
import { PgEmbedded, PgStorage } from "effect-eventsourcing/pg"

// Events

const OrderPaid = Schema.TaggedStruct("OrderPaid", { address: Schema.String })
const ParcelSent = Schema.TaggedStruct("ParcelSent", { address: Schema.String })

// Aggregates

const state = Schema.Literals(["none", "done"])
const Order = Aggregate.make(
  "Order",
  { id: Schema.String, state, initial: "none", events: [OrderPaid] },
  { OrderPaid: () => "done" }
)
const Parcel = Aggregate.make(
  "Parcel",
  { id: Schema.String, state, initial: "none", events: [ParcelSent] },
  { ParcelSent: () => "done" }
)

// Reaction

/** Sends one parcel for each paid order, in the order's tenant. */
const Shipping = Reaction.make(
  "shipping",
  { aggregates: [Order], startAt: "beginning" },
  {
    OrderPaid: ({ address }, { aggregateId }) =>
      Repository.Repository.use((repository) =>
        repository.execute(Parcel, aggregateId, (parcel) =>
          parcel === "none" ? [ParcelSent.make({ address })] : []
        )
      )
  }
)

// Publisher

/** Stands in for the client of a broker or an HTTP client. Its receiver is unavailable for the first message. */
const Printer = Layer.effect(
  OutboxRelay.Publisher,
  Effect.map(Ref.make(false), (present) =>
    OutboxRelay.Publisher.of({
      publish: ({ eventType, headers, key }) =>
        Effect.flatMap(Ref.getAndSet(present, true), (there) =>
          there
            ? Console.log(
                `${eventType} ${key} caused by ${headers["causation-id"] === undefined ? "nobody" : "an event"}`
              )
            : Effect.fail(new OutboxRelay.PublishFailed({ reason: "the receiver is unavailable" }))
        )
    })
  )
)

/** Publishes the events of orders and parcels at least once, in the order of each tenant's log. */
const Outside = OutboxRelay.make("outside", {
  aggregates: [Order, Parcel],
  startAt: "beginning",
  retry: Schedule.spaced("50 millis")
})

// Program

const program = Effect.gen(function* () {
  const repository = yield* Repository.Repository
  const store = yield* EventStore.EventStore
  const projections = yield* ProjectionManager.ProjectionManager
  for (const name of ["Teashop", "Bookshop"]) {
    const tenantId = yield* Tenant.generate
    yield* Effect.gen(function* () {
      // both shops use the same order number
      yield* repository.execute(Order, "1001", () => [OrderPaid.make({ address: `${name} Lane 1` })])
      yield* projections.awaitPosition(Shipping, yield* store.position)
      yield* projections.awaitPosition(Outside, yield* store.position)
      yield* Console.log(`${name}: ${yield* store.position} events, all of them published`)
    }).pipe(Tenant.provide(tenantId))
  }
})

const App = ProjectionRunner.layer({ projections: [Shipping, Outside] }).pipe(
  Layer.provide(Printer),
  Layer.provideMerge(EventSourcing.layer),
  Layer.provide(PgStorage.layer),
  Layer.provide(PgEmbedded.layer)
)

Effect.runPromise(Effect.provide(program, App))
