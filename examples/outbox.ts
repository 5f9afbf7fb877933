/**
 * Events on their way out: a reaction ships what is paid for, and a relay publishes everything that happened to a
 * receiver outside. The receiver refuses the first message once; the relay tries again, and nothing is lost or passed.
 *
 *     npx tsx examples/outbox.ts
 */
import { Console, Effect, Layer, Ref, Schedule, Schema } from "effect"
import {
  Aggregate,
  EventStore,
  OutboxRelay,
  ProjectionRunner,
  ProjectionManager,
  Reaction,
  Repository,
  Tenant
} from "effect-eventsourcing"
import { PgEmbedded, PgMigrator, PgStorage } from "effect-eventsourcing/pg"

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

/** Sends a parcel for each order that is paid: in the order's tenant, and once. */
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

/** Where a broker's client or an HTTP client would stand. Its receiver is away for the first message. */
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
            : Effect.fail(new OutboxRelay.PublishFailed({ reason: "the receiver is away" }))
        )
    })
  )
)

/** Publishes what happens to orders and parcels, in the order of each tenant's log, at least once. */
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
      // the same order number in both shops
      yield* repository.execute(Order, "1001", () => [OrderPaid.make({ address: `${name} Lane 1` })])
      yield* projections.awaitPosition(Shipping, yield* store.position)
      yield* projections.awaitPosition(Outside, yield* store.position)
      yield* Console.log(`${name}: ${yield* store.position} events, all of them published`)
    }).pipe(Tenant.provide(tenantId))
  }
})

const App = ProjectionRunner.layer({ projections: [Shipping, Outside] }).pipe(
  Layer.provide(Printer),
  Layer.provideMerge(ProjectionManager.layer),
  Layer.provideMerge(Repository.layer),
  Layer.provideMerge(EventStore.layer),
  Layer.provide(PgStorage.layer),
  Layer.provide(PgMigrator.layer),
  Layer.provide(PgEmbedded.layer)
)

Effect.runPromise(Effect.provide(program, App))
