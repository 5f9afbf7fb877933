/**
 * Three releases of a shop's program over several years, each on the log of the earlier ones. One event gets new fields, one
 * is renamed, one is split in two, and one is dropped. Stored events never change.
 *
 *     npx tsx examples/evolution.ts
 */
import { Console, Effect, Layer, Schema, Stream } from "effect"
import {
  Aggregate,
  EventStore,
  InMemoryProjection,
  MemoryStorage,
  Repository,
  Tenant,
  Upcaster
} from "effect-eventsourcing"

const id = { id: Schema.String } as const

// The first release: prices in euros, as whole numbers.

const PlacedV1 = Schema.TaggedStruct("OrderPlaced", { customer: Schema.String, euros: Schema.Int })
const Sent = Schema.TaggedStruct("OrderSent", { parcel: Schema.String })
const Viewed = Schema.TaggedStruct("OrderViewed", {})
const ContactChanged = Schema.TaggedStruct("ContactChanged", { street: Schema.String, phone: Schema.String })

const OrderOf2024 = Aggregate.make(
  "Order",
  {
    ...id,
    state: Schema.Struct({ euros: Schema.Int }),
    initial: { euros: 0 },
    events: [PlacedV1, Sent, Viewed, ContactChanged]
  },
  (state, event) => (event._tag === "OrderPlaced" ? { euros: event.euros } : state)
)

// The second release: prices in cents. The former schema stays, with a step to the new one.

const PlacedV2 = Schema.TaggedStruct("OrderPlaced", { customer: Schema.String, cents: Schema.Int })

const placedOf2025 = Upcaster.from(PlacedV1).to(PlacedV2, ({ euros, ...placed }) => ({
  ...placed,
  cents: euros * 100
}))

const OrderOf2025 = Aggregate.make(
  "Order",
  {
    ...id,
    state: Schema.Struct({ cents: Schema.Int }),
    initial: { cents: 0 },
    events: [PlacedV2, Sent, Viewed, ContactChanged],
    upcasters: [placedOf2025]
  },
  (state, event) => (event._tag === "OrderPlaced" ? { cents: event.cents } : state)
)

// Today: amounts have a currency, "sent" is called "shipped", address and phone change separately, and views of an order no
// longer matter.

const Placed = Schema.TaggedStruct("OrderPlaced", {
  customer: Schema.String,
  total: Schema.Struct({ cents: Schema.Int, currency: Schema.Literals(["EUR", "USD"]) })
})
const Shipped = Schema.TaggedStruct("OrderShipped", { parcel: Schema.String })
const AddressChanged = Schema.TaggedStruct("AddressChanged", { street: Schema.String })
const PhoneChanged = Schema.TaggedStruct("PhoneChanged", { phone: Schema.String })

const placed = placedOf2025.to(Placed, ({ cents, ...order }) => ({
  ...order,
  total: { cents, currency: "EUR" }
}))

const shipped = Upcaster.from(Sent).to(Shipped, ({ parcel }) => Shipped.make({ parcel }))

const contactChanged = Upcaster.from(ContactChanged).into(
  [AddressChanged, PhoneChanged],
  ({ street, phone }) => [AddressChanged.make({ street }), PhoneChanged.make({ phone })]
)

const OrderState = Schema.Struct({
  status: Schema.Literals(["none", "placed", "shipped"]),
  total: Schema.String,
  contact: Schema.Array(Schema.String)
})

const Order = Aggregate.make(
  "Order",
  {
    ...id,
    state: OrderState,
    initial: { status: "none", total: "", contact: [] },
    events: [Placed, Shipped, AddressChanged, PhoneChanged],
    upcasters: [placed, shipped, contactChanged, Upcaster.dropped("OrderViewed")]
  },
  {
    OrderPlaced: (state, { total: { cents, currency } }) => ({
      ...state,
      status: "placed",
      total: `${cents / 100} ${currency}`
    }),
    OrderShipped: (state) => ({ ...state, status: "shipped" }),
    AddressChanged: (state, { street }) => ({ ...state, contact: [...state.contact, street] }),
    PhoneChanged: (state, { phone }) => ({ ...state, contact: [...state.contact, phone] })
  }
)

/** A present read model of all events ever stored. Its handlers know only present events. */
const Revenue = InMemoryProjection.make(
  "revenue",
  { aggregates: [Order], initial: (): Record<string, number> => ({}) },
  {
    OrderPlaced: (revenue, { total: { cents, currency } }) => ({
      ...revenue,
      [currency]: (revenue[currency] ?? 0) + cents
    })
  }
)

// Program

const in2024 = Effect.gen(function* () {
  const repository = yield* Repository.Repository
  yield* repository.execute(OrderOf2024, "1", () => [
    PlacedV1.make({ customer: "Ada", euros: 12 }),
    Viewed.make({}),
    ContactChanged.make({ street: "Main Street 1", phone: "555-0100" })
  ])
  yield* Console.log("2024: Ada's order is placed in euros and viewed, and her contact changes")
})

const in2025 = Effect.gen(function* () {
  const repository = yield* Repository.Repository
  const { state } = yield* repository.load(OrderOf2025, "1")
  yield* Console.log(`2025: Ada's order is read as ${state.cents} cents`)
  yield* repository.execute(OrderOf2025, "1", () => [Sent.make({ parcel: "p1" }), Viewed.make({})])
  yield* repository.execute(OrderOf2025, "2", () => [PlacedV2.make({ customer: "Bob", cents: 995 })])
  yield* Console.log("2025: her order is sent, and Bob's is placed in cents")
})

const today = Effect.gen(function* () {
  const [repository, store] = [yield* Repository.Repository, yield* EventStore.EventStore]
  yield* repository.execute(Order, "2", () => [PhoneChanged.make({ phone: "555-0199" })])
  yield* repository.execute(Order, "3", () => [
    Placed.make({ customer: "Ada", total: { cents: 2000, currency: "USD" } })
  ])

  yield* Console.log("Today: the stored events …")
  yield* Stream.runForEach(store.readLogJson({}), ({ position, schemaVersion, payload }) =>
    Console.log(`  ${position}. version ${schemaVersion} of ${JSON.stringify(payload)}`)
  )
  yield* Console.log("… and the events that they are read as:")
  yield* Stream.runForEach(store.readLog({ aggregates: [Order] }), ({ position, payload }) =>
    Console.log(`  ${position}. ${JSON.stringify(payload)}`)
  )

  // The last event of Ada's order is dropped, but counts as a version.
  const { state, version } = yield* repository.load(Order, "1")
  yield* Console.log(
    `Ada's order, version ${version}: ${state.status}, ${state.total}, ${state.contact.join(", ")}`
  )
  const revenue = yield* Revenue.get
  yield* Console.log(`Revenue in cents: ${JSON.stringify(revenue.state)}`)

  // An older program does not guess at newer events: it names the event that it does not know.
  const error = yield* Effect.flip(repository.load(OrderOf2025, "3"))
  yield* Console.log(`The release of 2025 stops: ${error.message}`)
})

const Store = Repository.layer.pipe(
  Layer.provideMerge(EventStore.layer),
  Layer.merge(Revenue.layer),
  Layer.provide(MemoryStorage.layer)
)

const program = Effect.gen(function* () {
  const shop = yield* Tenant.generate
  yield* Effect.all([in2024, in2025, today]).pipe(Tenant.provide(shop))
})

Effect.runPromise(program.pipe(Effect.provide(Store)))
