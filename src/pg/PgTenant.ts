/**
 * Binding a tenant on PostgreSQL. This is the only file that does, and always for one transaction: never for a session,
 * because the pool hands sessions on as they are.
 */
import { Context, Effect, Option, Schedule } from "effect"
import { SqlClient, type SqlConnection, SqlError } from "effect/sql"
import * as pgError from "../internal/pgError.ts"
import { type StorageUnavailable, TenantMismatch } from "../StoreError.ts"
import { CurrentTenant, type TenantId } from "../Tenant.ts"

/** The tenant that the open transaction of this fiber is bound to. */
const BoundTenant = Context.Reference<TenantId | undefined>("effect-eventsourcing/pg/BoundTenant", {
  defaultValue: () => undefined
})

/**
 * About 20 milliseconds to 2.5 seconds apart, 8 times: long enough for a failover to a running standby.
 *
 * @internal
 */
export const retryTransient: Schedule.Schedule<unknown> = Schedule.exponential("20 millis").pipe(
  Schedule.jittered,
  Schedule.upTo({ times: 8 })
)

/** Ends what a previous borrower left on a connection: an open transaction, a role, a tenant, any other setting. */
const cleanUp = (connection: SqlConnection.Connection): Effect.Effect<void, SqlError.SqlError> =>
  Effect.logWarning(
    "A database connection was handed on with an open transaction or a tenant; it was reset"
  ).pipe(
    Effect.andThen(
      Effect.forEach(
        ["ROLLBACK", "RESET ROLE", "RESET ALL"],
        (text) => connection.executeUnprepared(text, [], undefined),
        {
          discard: true
        }
      )
    )
  )

/**
 * The connection of the open transaction, if there is one.
 *
 * @internal
 */
export const openTransaction = (
  sql: SqlClient.SqlClient
): Effect.Effect<Option.Option<SqlConnection.Connection>> =>
  Effect.map(
    Effect.serviceOption(sql.transactionService),
    Option.map(([connection]) => connection)
  )

/**
 * Runs one statement: on the open transaction if there is one, and else alone on a connection of its own. Alone, it is
 * retried while the failure is a passing one, so it must be safe to repeat.
 *
 * @internal
 */
export const statement = <A>(
  sql: SqlClient.SqlClient,
  run: (connection: SqlConnection.Connection, alone: boolean) => Effect.Effect<A, SqlError.SqlError>
): Effect.Effect<A, SqlError.SqlError> =>
  Effect.flatMap(
    openTransaction(sql),
    Option.match({
      onSome: (connection) => run(connection, false),
      onNone: () =>
        Effect.scoped(
          Effect.flatMap(sql.reserve, (connection) =>
            Effect.catchIf(run(connection, true), pgError.isLeftOver, () =>
              Effect.andThen(cleanUp(connection), run(connection, true))
            )
          )
        ).pipe(Effect.retry({ while: pgError.isTransient, schedule: retryTransient }))
    })
  )

/** Tells the errors of the effect in a transaction from those of the transaction itself. */
class Inner<E> {
  readonly error: E
  constructor(error: E) {
    this.error = error
  }
}

/** The first statement of a transaction, which binds its tenant. */
interface Begin {
  readonly text: string
  readonly parameters: ReadonlyArray<unknown>
}

/**
 * Runs a body in a transaction that begins with a statement that binds a tenant; the body gets the statement's row. A
 * connection on which somebody left something is reset first.
 *
 * @internal
 */
export const boundTransaction = <A, E, R, E2>(
  sql: SqlClient.SqlClient,
  begin: Begin,
  body: (row: ReadonlyArray<unknown> | undefined) => Effect.Effect<A, E, R>,
  toError: (error: SqlError.SqlError) => E2
): Effect.Effect<A, E | E2, R> =>
  Effect.flatMap(openTransaction(sql), (connection) => {
    if (Option.isNone(connection)) return Effect.die(new Error("begin outside of a transaction"))
    const bind = connection.value.executeValues(begin.text, begin.parameters)
    return Effect.catchIf(bind, pgError.isLeftOver, () =>
      cleanUp(connection.value).pipe(
        Effect.andThen(connection.value.executeUnprepared("BEGIN", [], undefined)),
        Effect.andThen(bind)
      )
    )
  }).pipe(
    Effect.flatMap(([row]) => Effect.mapError(body(row), (error) => new Inner(error))),
    sql.withTransaction,
    typedErrors(toError)
  )

/** The errors of the effect in a transaction as they are, those of the transaction itself as something else. */
const typedErrors =
  <E2>(toError: (error: SqlError.SqlError) => E2) =>
  <A, E, R>(transaction: Effect.Effect<A, Inner<E> | SqlError.SqlError, R>): Effect.Effect<A, E | E2, R> =>
    transaction.pipe(
      // When the connection is lost in a transaction, its failure surfaces as a defect, together with the ROLLBACK's.
      Effect.catchDefect((defect): Effect.Effect<never, Inner<E> | SqlError.SqlError> => {
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- every transaction unwraps its own
        if (defect instanceof Inner) return Effect.fail(defect as Inner<E>)
        const error = pgError.sqlErrorOf(defect)
        return error === undefined ? Effect.die(defect) : Effect.fail(error)
      }),
      Effect.mapError((error) => (error instanceof Inner ? error.error : toError(error)))
    )

/**
 * Runs an effect in a savepoint of the open transaction.
 *
 * @internal
 */
export const savepoint =
  <E2>(sql: SqlClient.SqlClient, toError: (error: SqlError.SqlError) => E2) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | E2, R> =>
    Effect.mapError(effect, (error) => new Inner(error)).pipe(sql.withTransaction, typedErrors(toError))

/** Says that the open transaction of an effect is bound to a tenant. @internal */
export const bound =
  (tenantId: TenantId) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.provideService(effect, BoundTenant, tenantId)

/**
 * Runs an effect in a transaction that is bound to the current tenant: row-level security shows and takes the rows of
 * that tenant alone, in the store's tables and in every table protected with `eventsourcing.protect_tenant_table`.
 *
 * **When to use**
 *
 * Use it for your own SQL on a tenant's data, with `SqlClient` as usual. Appends and reads of the event store inside it
 * join the transaction.
 *
 * **Details**
 *
 * Within the transaction the role is `eventsourcing_tenant`: grant it what your tables need. The tenant and the role
 * end with the transaction, also when the fiber is interrupted. Nested use for the same tenant is a savepoint.
 * Fails with `TenantMismatch` for another tenant, and inside a transaction that was started without a tenant: one
 * transaction serves one tenant. Fails with `StorageUnavailable` if the transaction cannot be started or committed;
 * after a lost connection the outcome of the commit is unknown.
 */
export const transaction = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E | TenantMismatch | StorageUnavailable, R | CurrentTenant | SqlClient.SqlClient> =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const tenantId = yield* CurrentTenant
    const boundTenant = yield* BoundTenant
    const toError = (error: SqlError.SqlError) => pgError.toReadError("run a transaction", tenantId, error)
    if (Option.isSome(yield* openTransaction(sql))) {
      if (boundTenant !== tenantId) return yield* new TenantMismatch({ tenantId })
      return yield* savepoint(sql, toError)(effect)
    }
    return yield* boundTransaction(
      sql,
      { text: "select eventsourcing.begin_tenant($1::uuid)", parameters: [tenantId] },
      () => bound(tenantId)(effect),
      toError
    )
  })
