/**
 * Orders of two shops, on a PostgreSQL inside this process: creating, shipping, refusals, the view of another tenant, and the
 * audit log of a tenant.
 *
 *     npx tsx examples/orders.ts
 */
import { Console, DateTime, Effect, Layer, Result, Schema, Stream } from "effect"
import { Aggregate, EventContext, EventSourcing, EventStore, Repository, Tenant } from "effect-eventsourcing"
import { PgEmbedded, PgStorage } from "effect-eventsourcing/pg"

// Events

const Line = Schema.Struct({
  product: Schema.NonEmptyString,
  quantity: Schema.Int.check(Schema.isGreaterThan(0)),
  /** In cents. */
  price: Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))
})
type Line = typeof Line.Type

const OrderCreated = Schema.TaggedStruct("OrderCreated", { lines: Schema.NonEmptyArray(Line) })
const OrderShipped = Schema.TaggedStruct("OrderShipped", { parcel: Schema.NonEmptyString })

// Fold: the state cannot be inconsistent, because only a shipped order has a parcel.

const OrderState = Schema.TaggedUnion({
  Unknown: {},
  Open: { lines: Schema.Array(Line) },
  Shipped: { lines: Schema.Array(Line), parcel: Schema.String }
})
type OrderState = typeof OrderState.Type

const Order = Aggregate.make(
  "Order",
  { state: OrderState, initial: { _tag: "Unknown" }, events: [OrderCreated, OrderShipped] },
  {
    OrderCreated: (_state, { lines }) => ({ _tag: "Open", lines }),
    OrderShipped: (state, { parcel }) =>
      state._tag === "Unknown" ? state : { ...state, _tag: "Shipped", parcel }
  }
)

// Decisions

/** The events that a command leads to, or the reason why it is refused. */
type Decision<Refusal> = Result.Result<ReadonlyArray<Aggregate.EventOf<typeof Order>>, Refusal>

class EmptyOrder extends Schema.TaggedError<EmptyOrder>()("EmptyOrder", {}) {
  override get message(): string {
    return "an order needs at least one line"
  }
}

class OrderExists extends Schema.TaggedError<OrderExists>()("OrderExists", {}) {
  override get message(): string {
    return "there is another order with this id"
  }
}

class OrderUnknown extends Schema.TaggedError<OrderUnknown>()("OrderUnknown", {}) {
  override get message(): string {
    return "there is no such order"
  }
}

class AlreadyShipped extends Schema.TaggedError<AlreadyShipped>()("AlreadyShipped", {
  parcel: Schema.String
}) {
  override get message(): string {
    return `the order has been shipped as ${this.parcel}`
  }
}

const sameLines = Schema.toEquivalence(Schema.Array(Line))

const create =
  ([first, ...others]: ReadonlyArray<Line>) =>
  (order: OrderState): Decision<EmptyOrder | OrderExists> => {
    if (first === undefined) return Result.fail(new EmptyOrder())
    const lines = [first, ...others] as const
    if (order._tag === "Unknown") return Result.succeed([OrderCreated.make({ lines })])
    // A repeated command, as from a client that lost the answer, yields no event.
    return sameLines(order.lines, lines) ? Result.succeed([]) : Result.fail(new OrderExists())
  }

const ship =
  (parcel: string) =>
  (order: OrderState): Decision<OrderUnknown | AlreadyShipped> => {
    switch (order._tag) {
      case "Unknown":
        return Result.fail(new OrderUnknown())
      case "Open":
        return Result.succeed([OrderShipped.make({ parcel })])
      case "Shipped":
        return order.parcel === parcel
          ? Result.succeed([])
          : Result.fail(new AlreadyShipped({ parcel: order.parcel }))
    }
  }

// Program

const createOrder = (id: string, lines: ReadonlyArray<Line>) =>
  Repository.Repository.use((repository) => repository.execute(Order, id, create(lines)))

const shipOrder = (id: string, parcel: string) =>
  Repository.Repository.use((repository) => repository.execute(Order, id, ship(parcel)))

const loadOrder = (id: string) => Repository.Repository.use((repository) => repository.load(Order, id))

/** Prints everything that happened in the current tenant, with actor, time and cause. */
const printAuditLog = EventStore.EventStore.use((store) =>
  Stream.runForEach(store.readLogJson({}), (event) =>
    Console.log(
      `  ${event.position}. ${DateTime.formatIso(event.occurredAt)} ${event.actor}: ${JSON.stringify(event.payload)}\n` +
        `     event ${event.eventId}, correlation ${event.correlationId}, causation ${event.causationId}`
    )
  )
)

/** Runs an effect that must be refused, and prints the reason. */
const printRefusal = <A, E extends { readonly message: string }, R>(
  what: string,
  effect: Effect.Effect<A, E, R>
) => Effect.flatMap(Effect.flip(effect), ({ message }) => Console.log(`${what}: ${message}`))

const program = Effect.gen(function* () {
  const [teashop, bookshop] = [yield* Tenant.generate, yield* Tenant.generate]
  const id = crypto.randomUUID()

  yield* Effect.gen(function* () {
    const { events } = yield* createOrder(id, [
      { product: "Teapot", quantity: 1, price: 2990 },
      { product: "Cup", quantity: 6, price: 450 }
    ]).pipe(EventContext.provide({ actor: "alice" }))
    yield* Console.log("Created an order")

    // The warehouse reacts to each new order. Its events carry the order's correlation id and name their cause.
    for (const created of events) {
      yield* shipOrder(id, "parcel 1").pipe(
        EventContext.provide({ actor: "warehouse" }),
        EventContext.whileHandling(created)
      )
    }
    yield* Console.log("Shipped it as parcel 1")
    const again = yield* shipOrder(id, "parcel 1")
    yield* Console.log(`Shipped it as parcel 1 again: ${again.events.length} new events`)

    yield* printRefusal("Shipping it as parcel 2", shipOrder(id, "parcel 2"))
    yield* printRefusal("Shipping an unknown order", shipOrder(crypto.randomUUID(), "parcel 3"))
    yield* printRefusal("Creating an empty order", createOrder(crypto.randomUUID(), []))
    const { state, version } = yield* loadOrder(id)
    yield* Console.log(`The order is ${state._tag}, version ${version}`)
  }).pipe(Tenant.provide(teashop))

  // The bookshop gets the same answer as for an order that does not exist.
  yield* printRefusal("Loading it as the bookshop", loadOrder(id)).pipe(Tenant.provide(bookshop))

  yield* Console.log("Audit log of the teashop:")
  yield* printAuditLog.pipe(Tenant.provide(teashop))
})

const Storage = PgStorage.layer.pipe(Layer.provide(PgEmbedded.layer))

Effect.runPromise(program.pipe(Effect.provide(EventSourcing.layer.pipe(Layer.provide(Storage)))))
