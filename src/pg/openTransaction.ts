/** The open transaction of a fiber: its connection, and the tenant that it is bound to. */
import { Context, Effect, Option } from "effect"
import type { SqlClient, SqlConnection, SqlError } from "effect/sql"
import * as sqlErrors from "./sqlErrors.ts"
import { type StorageUnavailable, TenantMismatch } from "../driver/StoreError.ts"
import type { TenantId } from "../domain/Tenant.ts"

/** A transaction that is bound to a tenant. */
export interface BoundTo {
  readonly connection: SqlConnection.Connection
  readonly tenantId: TenantId
  /** Set when work for another tenant was attempted: the transaction must not commit any more. */
  mismatch: TenantMismatch | undefined
  /** The ids of the appended events. */
  readonly eventIds: Array<string>
  /** The id of an event that is stored if and only if the transaction is committed: it was not appended in a savepoint. */
  witness: string | undefined
}

/** The bound transaction of a fiber; undefined if it has none. Only `PgTenant` provides it. */
export const BoundTenant: Context.Reference<BoundTo | undefined> = Context.Reference<BoundTo | undefined>(
  "effect-eventsourcing/pg/BoundTenant",
  { defaultValue: () => undefined }
)

/** The connection of the transaction that is open in a fiber with this context; undefined if there is none. */
export const openIn = (
  context: Context.Context<never>,
  sql: SqlClient.SqlClient
): SqlConnection.Connection | undefined => Context.getOrUndefined(context, sql.transactionService)?.[0]

/** The connection of the open transaction, if there is one. */
export const openTransaction = (
  sql: SqlClient.SqlClient
): Effect.Effect<Option.Option<SqlConnection.Connection>> =>
  Effect.withFiber(({ context }) => Effect.succeed(Option.fromUndefinedOr(openIn(context, sql))))

/** True if a transaction of this client is open. */
export const inTransaction = (sql: SqlClient.SqlClient): Effect.Effect<boolean> =>
  Effect.withFiber(({ context }) => Effect.succeed(openIn(context, sql) !== undefined))

/**
 * The tenant that the open transaction of this client is bound to, if `PgTenant` started it. The transaction of another client
 * does not count.
 */
export const boundTenant = (sql: SqlClient.SqlClient): Effect.Effect<TenantId | undefined> =>
  Effect.withFiber(({ context }) => {
    const open = openIn(context, sql)
    const bound = Context.get(context, BoundTenant)
    return Effect.succeed(open !== undefined && bound?.connection === open ? bound.tenantId : undefined)
  })

/**
 * Dies because of work for another tenant in an open transaction, which cannot commit then, even if the defect is caught.
 */
export const refuse = (sql: SqlClient.SqlClient, tenantId: string): Effect.Effect<never> =>
  Effect.withFiber(({ context }) => {
    const mismatch = new TenantMismatch({ tenantId })
    const open = openIn(context, sql)
    const bound = Context.get(context, BoundTenant)
    if (bound !== undefined && bound.connection === open) bound.mismatch ??= mismatch
    const die = Effect.die(mismatch)
    // A transaction that the program began itself has no such flag, so it is aborted.
    return open === undefined
      ? die
      : Effect.andThen(Effect.ignore(open.executeUnprepared(abort, [], undefined)), die)
  })

const abort = "do $$ begin raise exception 'work for another tenant' using errcode = 'ES001'; end $$"

/** Refuses a tenant other than the one of the bound transaction. See {@link refuse}. */
export const refuseOthers = (sql: SqlClient.SqlClient, tenantId: TenantId): Effect.Effect<void> =>
  Effect.flatMap(boundTenant(sql), (bound) =>
    bound === undefined || bound === tenantId ? Effect.void : refuse(sql, tenantId)
  )

/** Maps the error of a tenant's statement to a failure, or to {@link refuse} if the transaction is bound to another tenant. */
export const failFor = (
  sql: SqlClient.SqlClient,
  operation: string,
  tenantId: TenantId,
  error: SqlError.SqlError
): Effect.Effect<never, StorageUnavailable> =>
  sqlErrors.isBoundToAnother(error)
    ? refuse(sql, tenantId)
    : Effect.fail(sqlErrors.toUnavailable(operation, error))

/** Records the events that were appended in the open transaction. */
export const recordAppended = (
  context: Context.Context<never>,
  sql: SqlClient.SqlClient,
  eventIds: ReadonlyArray<string>
): void => {
  const [connection, depth] = Context.getOrUndefined(context, sql.transactionService) ?? []
  const bound = Context.get(context, BoundTenant)
  if (bound === undefined || bound.connection !== connection) return
  bound.eventIds.push(...eventIds)
  if (depth === 0) bound.witness ??= eventIds[0]
}
