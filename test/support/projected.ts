/** Helpers of the tests of the runner on databases: orders, and tables that projections fill with them. */
import { PgClient } from "@effect/sql-pg"
import { assert } from "@effect/vitest"
import { type Duration, Context, Effect, Layer, References, Schedule, Schema, Stream } from "effect"
import { SqlClient } from "effect/sql"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import type * as EventStorage from "../../src/driver/EventStorage.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import * as PgTenant from "../../src/pg/PgTenant.ts"
import * as Projection from "../../src/projection/Projection.ts"
import * as ProjectionRunner from "../../src/projection/ProjectionRunner.ts"
import { ProjectionStorage } from "../../src/driver/ProjectionStorage.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { type Config, servers } from "./Databases.ts"

const Placed = Schema.TaggedStruct("Placed", { total: Schema.Int })
const Changed = Schema.TaggedStruct("Changed", { by: Schema.Int })
const Noted = Schema.TaggedStruct("Noted", {})

export const Order = Aggregate.make(
  "Order",
  { id: Schema.String, state: Schema.Int, initial: 0, events: [Placed, Changed, Noted] },
  { Placed: (_, { total }) => total, Changed: (total, { by }) => total + by, Noted: (total) => total }
)

/** Statements of the database's owner: typical read models, with generated and default columns. */
export const tables: ReadonlyArray<string> = [
  `create table orders (
    tenant_id uuid not null, order_id text not null, total integer not null, version integer not null,
    label text generated always as (order_id || ': ' || total) stored, row_id bigint generated always as identity,
    primary key (tenant_id, order_id))`,
  "select eventsourcing.register_read_model('orders')",
  `create table journal (
    n bigint generated always as identity, tenant_id uuid not null, position bigint not null, worker text not null,
    primary key (tenant_id, position))`,
  "select eventsourcing.register_read_model('journal')"
]

const sql = SqlClient.SqlClient

/** The read model of orders. `before` runs before each event, in the same transaction. */
export const orders = (
  options: Partial<Projection.Options<readonly [typeof Order]>> & {
    readonly before?: (
      n: number,
      position: number
    ) => Effect.Effect<unknown, unknown, SqlClient.SqlClient | Tenant.CurrentTenant>
  } = {}
) => {
  const { before = () => Effect.void, ...rest } = options
  return Projection.make(
    "orders",
    { aggregates: [Order], tables: ["orders"], retry: Schedule.recurs(0), ...rest },
    {
      Placed: ({ total }, { tenantId, aggregateId, version, position }) =>
        sql
          .use(
            (client) => client`insert into orders (tenant_id, order_id, total, version)
              values (${tenantId}::uuid, ${aggregateId}, ${total}, ${version})`
          )
          .pipe(Effect.andThen(before(total, position))),
      Changed: ({ by }, { aggregateId, version, position }) =>
        sql
          .use(
            // Another tenant's row of the same key is unchanged, although the statement does not exclude it.
            (client) =>
              client`update orders set total = total + ${by}, version = ${version} where order_id = ${aggregateId}`
          )
          .pipe(Effect.andThen(before(by, position)))
    }
  )
}

/** Records every event with its worker. */
export const journal = (
  worker: string,
  options: Partial<Projection.Options<readonly [typeof Order]>> = {},
  pause: Duration.Input = 0
) => {
  const note = (
    _event: unknown,
    { tenantId, position }: { readonly tenantId: string; readonly position: number }
  ) =>
    sql
      .use(
        (client) => client`insert into journal (tenant_id, position, worker)
        values (${tenantId}::uuid, ${position}, ${worker})`
      )
      .pipe(Effect.delay(pause))
  return Projection.make(
    "journal",
    { aggregates: [Order], tables: ["journal"], retry: Schedule.recurs(0), ...options },
    { Placed: note, Changed: note, Noted: note }
  )
}

/** Appends events to an order; the ids of orders are the same in all tenants. */
export const append = (
  tenantId: Tenant.TenantId,
  id: string,
  ...events: ReadonlyArray<typeof Placed.Type | typeof Changed.Type | typeof Noted.Type>
) =>
  EventStore.EventStore.use((store) =>
    store.append({ aggregate: Order, id, expectedVersion: "any", events })
  ).pipe(Tenant.provide(tenantId))

export const placed = (total: number): typeof Placed.Type => Placed.make({ total })
export const changed = (by: number): typeof Changed.Type => Changed.make({ by })
export const noted: typeof Noted.Type = Noted.make({})

export const tenants = (count: number) => Effect.all(Array.from({ length: count }, () => Tenant.generate))

/** A row of `orders` without generated columns. */
export interface OrderRow {
  readonly order_id: string
  readonly total: number
  readonly version: number
  readonly label: string
}

/** The rows of `orders` that a tenant sees. */
export const rowsOf = (tenantId: Tenant.TenantId) =>
  PgTenant.transaction(
    sql.use(
      (client) =>
        client<OrderRow>`select order_id, total, version, label from orders order by order_id collate "C"`
    )
  ).pipe(Tenant.provide(tenantId))

/** The rows that `orders` must have: the fold of the tenant's log up to a position. */
const expectedRows = (tenantId: Tenant.TenantId, toPosition?: number) =>
  EventStore.EventStore.use((store) =>
    Stream.runCollect(store.readLog({ aggregates: [Order], toPosition }))
  ).pipe(
    Tenant.provide(tenantId),
    Effect.map((events) => {
      const byId = new Map<string, OrderRow>()
      for (const { aggregateId, version, payload } of events) {
        if (payload._tag === "Noted") continue
        const before = byId.get(aggregateId)?.total ?? 0
        const total = payload._tag === "Placed" ? payload.total : before + payload.by
        byId.set(aggregateId, { order_id: aggregateId, total, version, label: `${aggregateId}: ${total}` })
      }
      return [...byId.values()].toSorted((a, b) => (a.order_id < b.order_id ? -1 : 1))
    })
  )

/** Fails unless `orders` is the fold of the tenant's log. */
export const equalsFold = Effect.fnUntraced(function* (tenantId: Tenant.TenantId, toPosition?: number) {
  assert.deepStrictEqual(Array.from(yield* rowsOf(tenantId)), yield* expectedRows(tenantId, toPosition))
})

/** The progress of a projection for a tenant, live and of a rebuild. */
export const progressOf = (tenantId: Tenant.TenantId, projection: string = "orders", version = 1) =>
  ProjectionStorage.use((storage) => storage.progress({ projection, version, tenantId })).pipe(
    Effect.map((rows) => ({
      live: rows.find(({ rebuild }) => !rebuild),
      rebuild: rows.find(({ rebuild }) => rebuild)
    }))
  )

/** Runs an effect with a runner that works on request, unless the options set intervals. */
export const beside =
  <const Ps extends ReadonlyArray<Projection.Any>>(
    projections: Ps,
    options: Partial<ProjectionRunner.Options<Ps>> = {}
  ) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.provide(
      effect,
      ProjectionRunner.layer({ projections, concurrency: 0, sweepInterval: "1 hour", ...options }),
      { local: true }
    ).pipe(Effect.provideService(References.MinimumLogLevel, "None"))

export const drain = ProjectionRunner.ProjectionRunner.use(({ drain: work }) => work)

/** Repeats an effect until it succeeds. */
export const eventually = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  effect.pipe(
    Effect.catchDefect(Effect.fail),
    Effect.retry(Schedule.spaced("10 millis").pipe(Schedule.upTo({ times: 1000 })))
  )

/** Fails unless the live read model is at a position and no rebuild is in progress. */
export const isLive = (tenantId: Tenant.TenantId, position: number, projection?: string, version?: number) =>
  Effect.map(progressOf(tenantId, projection, version), ({ live, rebuild }) =>
    assert.deepStrictEqual([live?.position, live?.parked, rebuild], [position, false, undefined])
  )

/** Works until that succeeds, because an announcement in progress may hide a tenant for a moment. */
export const drainUntilLive = (
  tenantId: Tenant.TenantId,
  position: number,
  projection?: string,
  version?: number
) => eventually(Effect.andThen(drain, isLive(tenantId, position, projection, version)))

/** Starts a rebuild. */
export const startRebuild = (tenantId: Tenant.TenantId, projection: "orders" | "journal" = "orders") =>
  ProjectionStorage.use((storage) =>
    storage.startRebuild({ tenantId, projection, version: 1, tables: [projection] })
  )

/** A database with {@link tables} on a server, where more than one process can connect. */
export class Database extends Context.Service<
  Database,
  { readonly owner: SqlClient.SqlClient; readonly app: Config }
>()("test/Database") {}

export const serverDatabases: ReadonlyArray<{
  readonly name: string
  readonly layer: Layer.Layer<Database>
}> = servers.map(({ name, freshDatabase }) => ({
  name,
  layer: Layer.effect(
    Database,
    Effect.gen(function* () {
      const { owner, app } = yield* freshDatabase
      const context = yield* Layer.build(PgClient.layer({ ...owner, maxConnections: 4 }))
      const client = Context.get(context, SqlClient.SqlClient)
      for (const statement of tables) yield* client.unsafe(statement)
      return { owner: client, app }
    })
  ).pipe(Layer.orDie)
}))

/** The services of one process of a program, with its own connections. */
export const newProcess: Layer.Layer<
  | EventStorage.EventStorage
  | ProjectionStorage
  | EventStore.EventStore
  | SqlClient.SqlClient
  | PgClient.PgClient,
  never,
  Database
> = Layer.unwrap(
  Database.useSync(({ app }) =>
    EventStore.layer.pipe(
      Layer.provideMerge(PgStorage.layer),
      Layer.provideMerge(PgClient.layer(app)),
      Layer.orDie
    )
  )
).pipe(Layer.fresh)
