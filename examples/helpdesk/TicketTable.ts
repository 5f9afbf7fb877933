/**
 * A table of each customer's tickets, filled by a projection.
 */
import { Duration, Effect, Layer } from "effect"
import {
  type Event,
  EventStore,
  Projection,
  type ProjectionError,
  ProjectionManager,
  type StoreError,
  Tenant
} from "effect-eventsourcing"
import { PgTenant } from "effect-eventsourcing/pg"
import { SqlClient, type SqlError } from "effect/sql"
import type { Customer } from "./DeskLog.ts"
import * as Ticket from "./Ticket.ts"

/** Number of customers that are queried at the same time. */
const concurrency = 16

// Table

const migration = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  // Imports may start at the same time: one creates the table, the others wait.
  yield* sql`select pg_advisory_xact_lock(hashtext('examples/helpdesk'))`
  const tables = yield* sql`select where to_regclass('helpdesk_tickets') is not null`
  if (tables.length > 0) return
  yield* sql`
    create table helpdesk_tickets (
      tenant_id uuid not null,
      ticket text not null,
      events integer not null,
      waits integer not null,
      closed boolean not null,
      primary key (tenant_id, ticket)
    )`
  yield* sql`select eventsourcing.register_read_model('helpdesk_tickets')`
})

/**
 * Creates the table once, as the owner of the database. As a registered read model it shows and accepts only the rows of the
 * bound tenant, whatever the SQL of a handler or a query says.
 */
export const layer: Layer.Layer<never, SqlError.SqlError, SqlClient.SqlClient> = Layer.effectDiscard(
  SqlClient.SqlClient.use((sql) => sql.withTransaction(migration))
)

// Projection

/** Counts an event in the row of its ticket. */
const count =
  ({ waits = 0, closed = false }) =>
  (
    _event: unknown,
    { tenantId, aggregateId }: Pick<Event.Envelope<Event.Tagged>, "tenantId" | "aggregateId">
  ) =>
    SqlClient.SqlClient.use(
      (sql) => sql`
        insert into helpdesk_tickets as known (tenant_id, ticket, events, waits, closed)
        values (${tenantId}::uuid, ${aggregateId}, 1, ${waits}, ${closed})
        on conflict (tenant_id, ticket) do update set
          events = known.events + 1,
          waits = known.waits + excluded.waits,
          closed = known.closed or excluded.closed`
    )

const entry = count({})

/**
 * Counts the desk's work on each ticket. A handler runs in the transaction that also moves the projection's checkpoint, so each
 * event counts once, even if the import is killed and started again.
 */
export const TicketTable = Projection.make(
  "helpdesk-tickets",
  { aggregates: [Ticket.Ticket], tables: ["helpdesk_tickets"], batchSize: 500 },
  {
    TicketInserted: entry,
    SeriousnessAssigned: entry,
    TicketTakenInCharge: entry,
    TicketPutOnWait: count({ waits: 1 }),
    UpgradeRequired: entry,
    AnomalyCreated: entry,
    AnomalyResolved: entry,
    InterventionScheduled: entry,
    TicketResolved: entry,
    TicketClosed: count({ closed: true }),
    MarkedResolved: entry,
    MarkedInvalid: entry,
    MarkedVerified: entry,
    MarkedDuplicate: entry
  }
)

// Queries

/** The numbers of a customer, or the sums of several. */
export interface Numbers {
  readonly tickets: number
  readonly events: number
  /** Tickets that have been closed, even if they have been taken in charge again since. */
  readonly closed: number
  readonly open: number
  /** Number of times a ticket was put on wait. */
  readonly waits: number
}

const selectNumbers = SqlClient.SqlClient.use(
  // The database shows only the rows of the current tenant.
  (sql) => sql<Numbers>`
    select count(*)::integer as tickets, coalesce(sum(events), 0)::integer as events,
      count(*) filter (where closed)::integer as closed, count(*) filter (where not closed)::integer as open,
      coalesce(sum(waits), 0)::integer as waits
    from helpdesk_tickets`
)

const nothing: Numbers = { tickets: 0, events: 0, closed: 0, open: 0, waits: 0 }

/** The numbers of the current tenant, from the events that are in the table. */
export const numbers: Effect.Effect<
  Numbers,
  SqlError.SqlError | StoreError.ReadError | StoreError.OutcomeUnknown,
  SqlClient.SqlClient | Tenant.CurrentTenant
> = Effect.map(PgTenant.transaction(selectNumbers), ([row = nothing]) => row)

// Lag

/** The lag of the table behind the logs. */
export interface Lag {
  /** Number of all events. */
  readonly total: number
  /** Number of events that are not in the table yet, by customer. */
  readonly behind: ReadonlyMap<Customer, number>
  /** Age of the oldest of them. */
  readonly time: Duration.Duration
}

/** The lag of the table behind the logs of customers. */
export const lag = (
  customers: ReadonlyArray<Customer>
): Effect.Effect<Lag, StoreError.ReadError, ProjectionManager.ProjectionManager> =>
  Effect.forEach(
    customers,
    (customer) =>
      Effect.map(
        ProjectionManager.ProjectionManager.use(({ status }) => status(TicketTable)).pipe(
          Tenant.provide(customer.tenantId)
        ),
        (status) => ({ ...status, customer })
      ),
    { concurrency }
  ).pipe(
    Effect.map((statuses) => ({
      total: statuses.reduce((sum, { head }) => sum + head, 0),
      behind: new Map(statuses.map(({ customer, lagEvents }) => [customer, lagEvents])),
      time: statuses.reduce((longest, { lagTime }) => Duration.max(longest, lagTime), Duration.zero)
    }))
  )

/** Waits until the table contains the logs of customers, and reports the number of events after each customer. */
export const catchUp = (
  { behind }: Lag,
  onProgress: (events: number) => Effect.Effect<void>
): Effect.Effect<
  void,
  ProjectionError.ProjectionBehind | ProjectionError.ProjectionParked | StoreError.ReadError,
  EventStore.EventStore | ProjectionManager.ProjectionManager
> =>
  Effect.forEach(
    behind,
    ([{ tenantId }, events]) =>
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        const projections = yield* ProjectionManager.ProjectionManager
        yield* projections.awaitPosition(TicketTable, yield* store.position, { timeout: "2 minutes" })
        yield* onProgress(events)
      }).pipe(Tenant.provide(tenantId)),
    { concurrency, discard: true }
  )
