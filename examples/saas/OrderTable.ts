/**
 * The orders of each shop as a table, which a projection fills and queries read.
 */
import { Effect, Layer } from "effect"
import { Projection, type StoreError, type Tenant } from "effect-eventsourcing"
import { PgTenant } from "effect-eventsourcing/pg"
import { SqlClient, type SqlError } from "effect/sql"
import { Order, totalOf } from "./Order.ts"

// Table

const migration = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  // Processes may start at the same time: one creates the table, the others wait for it.
  yield* sql`select pg_advisory_xact_lock(hashtext('examples/saas'))`
  const tables = yield* sql`select where to_regclass('saas_orders') is not null`
  if (tables.length > 0) return
  yield* sql`
    create table saas_orders (
      tenant_id uuid not null,
      order_id uuid not null,
      status text not null,
      lines integer not null,
      total bigint not null,
      parcel text,
      placed_by text,
      primary key (tenant_id, order_id)
    )`
  // From here on, the database shows and accepts only rows of one tenant at a time, whatever a statement says.
  yield* sql`select eventsourcing.register_read_model('saas_orders')`
})

/** Creates the table once, as the owner of the database. */
export const layer: Layer.Layer<never, SqlError.SqlError, SqlClient.SqlClient> = Layer.effectDiscard(
  SqlClient.SqlClient.use((sql) => sql.withTransaction(migration))
)

// Projection

/** A handler runs for the event's tenant, in the transaction that also moves the checkpoint. */
export const OrderTable = Projection.make(
  "saas-orders",
  { aggregates: [Order], tables: ["saas_orders"] },
  {
    OrderPlaced: ({ lines }, { tenantId, aggregateId, actor }) =>
      SqlClient.SqlClient.use(
        (sql) => sql`
          insert into saas_orders (tenant_id, order_id, status, lines, total, placed_by)
          values (${tenantId}::uuid, ${aggregateId}::uuid, 'placed', ${lines.length}, ${totalOf(lines)}, ${actor})`
      ),
    OrderShipped: ({ parcel }, { tenantId, aggregateId }) =>
      SqlClient.SqlClient.use(
        (sql) => sql`
          update saas_orders set status = 'shipped', parcel = ${parcel}
          where tenant_id = ${tenantId}::uuid and order_id = ${aggregateId}::uuid`
      ),
    OrderCancelled: (_event, { tenantId, aggregateId }) =>
      SqlClient.SqlClient.use(
        (sql) => sql`
          update saas_orders set status = 'cancelled'
          where tenant_id = ${tenantId}::uuid and order_id = ${aggregateId}::uuid`
      )
  }
)

// Query

/** A row of the table. */
export interface Row {
  readonly orderId: string
  readonly status: "placed" | "shipped" | "cancelled"
  readonly lines: number
  readonly total: number
  readonly parcel: string | null
  readonly placedBy: string | null
}

/** A page of the current tenant's orders, by id. */
export const list = (request: {
  /** Start after this order. */
  readonly after: string | undefined
  readonly limit: number
}): Effect.Effect<
  ReadonlyArray<Row>,
  SqlError.SqlError | StoreError.ReadError | StoreError.OutcomeUnknown,
  SqlClient.SqlClient | Tenant.CurrentTenant
> =>
  // Dependency injection of the tenant: `CurrentTenant` is in the type of the query and is not passed by hand.
  PgTenant.transaction(
    SqlClient.SqlClient.use(
      (sql) => sql<Row>`
        select order_id::text as "orderId", status, lines, total::float8 as total, parcel, placed_by as "placedBy"
        from saas_orders
        where ${request.after ?? null}::uuid is null or order_id > ${request.after ?? null}::uuid
        order by order_id
        limit ${request.limit}`
    )
  )
