/** Inline projections and their tables, for tests. */
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import type * as Event from "../../src/domain/Event.ts"
import * as InlineProjections from "../../src/projection/InlineProjections.ts"
import * as PgTenant from "../../src/pg/PgTenant.ts"
import * as Projection from "../../src/projection/Projection.ts"
import * as Repository from "../../src/store/Repository.ts"
import { backendsWith } from "./readModels.ts"
import { Counter, Order, Placed, unique } from "./shop.ts"

/** Databases with the tables of these projections. */
export const backends = backendsWith([
  `create table order_list (
    tenant_id uuid not null, order_id text not null, total integer not null, primary key (tenant_id, order_id)
  )`,
  "select eventsourcing.register_read_model('order_list')",
  "create table counts (tenant_id uuid primary key, n integer not null)",
  "select eventsourcing.register_read_model('counts')"
])

export const insertOrder = (tenantId: string, orderId: string, total: number) =>
  SqlClient.SqlClient.use(
    (sql) =>
      sql`insert into order_list (tenant_id, order_id, total) values (${tenantId}::uuid, ${orderId}, ${total})`
  )

export const OrderList = Projection.make(
  "order-list",
  { aggregates: [Order], tables: ["order_list"] },
  { Placed: ({ total }, { tenantId, aggregateId }) => insertOrder(tenantId, aggregateId, total) }
)

export const Counts = Projection.make(
  "counts",
  { aggregates: [Counter], tables: ["counts"] },
  {
    Counted: (_event, { tenantId }) =>
      SqlClient.SqlClient.use(
        (sql) => sql`insert into counts (tenant_id, n) values (${tenantId}::uuid, 1)
          on conflict (tenant_id) do update set n = counts.n + 1`
      )
  }
)

/** The tenant's rows, as [order, total]. */
export const rows = PgTenant.transaction(
  SqlClient.SqlClient.use(
    (sql) => sql<{ orderId: string; total: number }>`
      select order_id as "orderId", total from order_list order by order_id`
  )
).pipe(Effect.map((found) => found.map(({ orderId, total }) => [orderId, total] as const)))

export const counted = PgTenant.transaction(
  SqlClient.SqlClient.use((sql) => sql<{ n: number }>`select n from counts`)
).pipe(Effect.map(([row]) => row?.n ?? 0))

/** Runs an effect with these projections inline. */
export const inline =
  <const Ps extends ReadonlyArray<Projection.Any>>(...projections: Ps) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.provide(
      effect,
      Repository.layer.pipe(Layer.provideMerge(InlineProjections.layer({ projections }))),
      { local: true }
    )

/** A projection that runs a given effect for each order. */
export const doing = <E, R>(
  handler: (event: typeof Placed.Type, envelope: Event.Envelope<Event.Tagged>) => Effect.Effect<unknown, E, R>
) => Projection.make(unique("doing"), { aggregates: [Order] }, { Placed: handler })
