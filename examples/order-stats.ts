/**
 * Orders of two shops with two read models: a table of each shop's orders, and the numbers of all shops, of which each shop
 * sees its own.
 *
 *     npx tsx examples/order-stats.ts
 *
 * The database is a PostgreSQL inside this process. With DATABASE_URL it is that server; its user must own the database,
 * because the program applies the migrations.
 */
import type { PgClient } from "@effect/sql-pg"
import { Console, Effect, Layer, Redacted, Schema } from "effect"
import {
  Aggregate,
  EventSourcing,
  EventStore,
  Projection,
  ProjectionRunner,
  ProjectionManager,
  Repository,
  Tenant
} from "effect-eventsourcing"
import { PgEmbedded, PgMigrator, PgServer, PgStorage, PgTenant } from "effect-eventsourcing/pg"
import { SqlClient, type SqlError } from "effect/sql"

// Events

const OrderPlaced = Schema.TaggedStruct("OrderPlaced", {
  customer: Schema.NonEmptyString,
  /** In cents. */
  total: Schema.Int
})
const OrderShipped = Schema.TaggedStruct("OrderShipped", {})

// Aggregate

const OrderState = Schema.Struct({ status: Schema.Literals(["none", "placed", "shipped"]) })
type OrderState = typeof OrderState.Type

const Order = Aggregate.make(
  "Order",
  {
    id: Schema.NonEmptyString,
    state: OrderState,
    initial: { status: "none" },
    events: [OrderPlaced, OrderShipped]
  },
  {
    OrderPlaced: () => ({ status: "placed" }),
    OrderShipped: () => ({ status: "shipped" })
  }
)

const placeOrder = (id: string, customer: string, total: number) =>
  Repository.Repository.use((repository) =>
    repository.execute(Order, id, ({ status }) =>
      status === "none" ? [OrderPlaced.make({ customer, total })] : []
    )
  )

const shipOrder = (id: string) =>
  Repository.Repository.use((repository) =>
    repository.execute(Order, id, ({ status }) => (status === "placed" ? [OrderShipped.make({})] : []))
  )

// Projections

/** Statements for a migration of the application, which the owner of the database runs once. */
const tables = [
  `create table if not exists order_summary (
    tenant_id uuid not null,
    order_id text not null,
    customer text not null,
    total bigint not null,
    status text not null,
    primary key (tenant_id, order_id)
  )`,
  // Each tenant sees and changes only its own rows, whatever the SQL of a handler says.
  "select eventsourcing.register_read_model('order_summary')",

  `create table if not exists order_stats (
    tenant_id uuid primary key,
    orders bigint not null default 0,
    revenue bigint not null default 0,
    shipped bigint not null default 0
  )`,
  // Work across tenants sees and changes all rows, and each tenant sees its own.
  "select eventsourcing.register_shared_read_model('order_stats')",
  "grant select on order_stats to eventsourcing_tenant"
]

/**
 * The orders of a shop. A handler runs in the transaction that also moves the projection's checkpoint, so each event counts
 * exactly once, even if the process is killed in between.
 */
const OrderSummary = Projection.make(
  "order-summary",
  { aggregates: [Order], tables: ["order_summary"] },
  {
    OrderPlaced: ({ customer, total }, { tenantId, aggregateId }) =>
      SqlClient.SqlClient.use(
        (sql) => sql`
          insert into order_summary (tenant_id, order_id, customer, total, status)
          values (${tenantId}::uuid, ${aggregateId}, ${customer}, ${total}, 'placed')`
      ),
    OrderShipped: (_event, { tenantId, aggregateId }) =>
      SqlClient.SqlClient.use(
        (sql) => sql`
          update order_summary set status = 'shipped'
          where tenant_id = ${tenantId}::uuid and order_id = ${aggregateId}`
      )
  }
)

const count = (tenantId: Tenant.TenantId, { orders = 0, revenue = 0, shipped = 0 }) =>
  SqlClient.SqlClient.use(
    (sql) => sql`
      insert into order_stats as known ${sql.insert({ tenant_id: tenantId, orders, revenue, shipped })}
      on conflict (tenant_id) do update set
        orders = known.orders + excluded.orders,
        revenue = known.revenue + excluded.revenue,
        shipped = known.shipped + excluded.shipped`
  )

/**
 * The numbers of all shops. It works across tenants, so the program does not compile unless it states an actor and a reason
 * (`AllTenants`).
 */
const OrderStats = Projection.makeAcrossTenants(
  "order-stats",
  { aggregates: [Order], tables: ["order_stats"] },
  {
    OrderPlaced: ({ total }, { tenantId }) => count(tenantId, { orders: 1, revenue: total }),
    OrderShipped: (_event, { tenantId }) => count(tenantId, { shipped: 1 })
  }
)

// Program

/** For the current tenant: row-level security shows only its rows, so the statement need not filter. */
const myOrders = PgTenant.transaction(
  SqlClient.SqlClient.use(
    (sql) => sql<{ order: string; customer: string; total: bigint; status: string }>`
      select order_id as "order", customer, total, status from order_summary order by order_id`
  )
)

const stats = SqlClient.SqlClient.use(
  (sql) => sql<{ tenantId: Tenant.TenantId; orders: bigint; revenue: bigint; shipped: bigint }>`
    select tenant_id as "tenantId", orders, revenue, shipped from order_stats order by orders desc`
)

/** The same statement for the current tenant, and with access across tenants. */
const myStats = PgTenant.transaction(stats)
const allStats = Effect.gen(function* () {
  yield* Tenant.AllTenants
  const sql = yield* SqlClient.SqlClient
  return yield* sql.withTransaction(Effect.andThen(sql`set local role eventsourcing_all_tenants`, stats))
})

/** Waits until the read models contain the current tenant's events, to read one's own writes. */
const caughtUp = Effect.gen(function* () {
  const store = yield* EventStore.EventStore
  const projections = yield* ProjectionManager.ProjectionManager
  const position = yield* store.position
  for (const projection of [OrderSummary, OrderStats]) yield* projections.awaitPosition(projection, position)
})

interface Numbers {
  readonly orders: bigint
  readonly revenue: bigint
  readonly shipped: bigint
}

const euros = (cents: bigint): string => `${cents / 100n}.${String(cents % 100n).padStart(2, "0")}`

const readable = ({ orders, revenue, shipped }: Numbers) => ({
  orders: Number(orders),
  revenue: euros(revenue),
  shipped: Number(shipped)
})

const sum = (lines: ReadonlyArray<Numbers>): Numbers => ({
  orders: lines.reduce((so, line) => so + line.orders, 0n),
  revenue: lines.reduce((so, line) => so + line.revenue, 0n),
  shipped: lines.reduce((so, line) => so + line.shipped, 0n)
})

const program = Effect.gen(function* () {
  const teashop = { name: "Teashop", tenantId: yield* Tenant.generate }
  const bookshop = { name: "Bookshop", tenantId: yield* Tenant.generate }
  const shops = [teashop, bookshop]

  yield* Effect.gen(function* () {
    yield* placeOrder("1001", "Ada", 5690)
    yield* placeOrder("1002", "Grace", 1250)
    yield* placeOrder("1003", "Ada", 300)
    yield* shipOrder("1001")
    yield* shipOrder("1003")
  }).pipe(Tenant.provide(teashop.tenantId))
  // The same number in another shop is another order.
  yield* placeOrder("1001", "Edsger", 3499).pipe(Tenant.provide(bookshop.tenantId))

  for (const { name, tenantId } of shops) {
    yield* Effect.gen(function* () {
      yield* caughtUp
      yield* Console.log(`\n${name}: orders`)
      const orders = yield* myOrders
      yield* Console.table(
        Object.fromEntries(orders.map(({ order, ...row }) => [order, { ...row, total: euros(row.total) }]))
      )
      yield* Console.log(`${name}: its numbers`)
      yield* Console.table((yield* myStats).map(readable))
    }).pipe(Tenant.provide(tenantId))
  }

  yield* Console.log("\nAll shops")
  const lines = yield* allStats
  const nameOf = new Map(shops.map(({ name, tenantId }) => [tenantId, name]))
  yield* Console.table({
    ...Object.fromEntries(lines.map((line) => [nameOf.get(line.tenantId) ?? line.tenantId, readable(line)])),
    Total: readable(sum(lines))
  })
})

const url = process.env["DATABASE_URL"]
const Client: Layer.Layer<
  PgClient.PgClient | SqlClient.SqlClient,
  PgEmbedded.PgEmbeddedError | SqlError.SqlError
> = url === undefined ? PgEmbedded.layer : PgServer.layer({ url: Redacted.make(url) })
const Database = PgMigrator.layer.pipe(Layer.provideMerge(Client))

const Tables = Layer.effectDiscard(
  SqlClient.SqlClient.use((sql) => Effect.forEach(tables, (statement) => sql.unsafe(statement)))
)

/** Runs the projections while the program runs. Any number of processes may do so and share the work. */
const Runner = ProjectionRunner.layer({ projections: [OrderSummary, OrderStats] })

const App = Runner.pipe(
  Layer.provide(Tables),
  Layer.provideMerge(EventSourcing.layer),
  Layer.provide(PgStorage.layer),
  Layer.provideMerge(Database)
)

Effect.runPromise(
  program.pipe(
    Effect.provide(App),
    Tenant.provideAll({ actor: "examples/order-stats.ts", reason: "count the orders of all shops" })
  )
)
