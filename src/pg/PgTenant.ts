/**
 * Binds a tenant on PostgreSQL, for one transaction at a time: never for a session, because a pool passes sessions on with
 * their settings. No other file binds a tenant.
 */
import { Cause, type Context, type Duration, Effect, Option } from "effect"
import { SqlClient, type SqlConnection, SqlError } from "effect/sql"
import { leavingNothing } from "./sessionCleaning.ts"
import * as deadlines from "./deadlines.ts"
import * as sqlErrors from "./sqlErrors.ts"
import { isLostCommit, Lease, withTransaction } from "./transactions.ts"
import { boundTenant, BoundTenant, type BoundTo, openTransaction, refuse } from "./openTransaction.ts"
import { cleaning, cleanUp, retryTransient, run } from "./statement.ts"
import { OutcomeUnknown, type StorageUnavailable } from "../driver/StoreError.ts"
import { CurrentTenant, type TenantId } from "../domain/Tenant.ts"

/**
 * The longest wait for a connection, and for the answer to a statement of the store or of a transaction. Default: one minute.
 *
 * **Details**
 *
 * The server's `statement_timeout` should be shorter: it ends the work, releases its locks and reports an error. This
 * deadline is for a connection that does not answer: it is closed, and the statement is tried once more on another one.
 * After that the caller gets `StorageUnavailable`, or `OutcomeUnknown` for an append. Provide it to the layer of the store,
 * whose group commit sends appends, and to the program. The embedded database has no deadline.
 */
export const Silence: Context.Reference<Duration.Duration> = deadlines.Silence

/** Marks an error of the effect in a transaction, because the transaction itself can fail with the same error. */
class Inner<E> {
  readonly error: E
  constructor(error: E) {
    this.error = error
  }
}

/**
 * The error of a failed transaction. If the connection is lost, the ROLLBACK fails as well and turns all errors before it into
 * defects.
 */
const errorOf = <E, E2>(
  cause: Cause.Cause<Inner<E> | SqlError.SqlError>,
  toError: (error: SqlError.SqlError) => E2
): Effect.Effect<never, E | E2> => {
  const left: Array<Cause.Reason<never>> = []
  let own: SqlError.SqlError | undefined
  let inner: Inner<E> | undefined
  for (const reason of cause.reasons) {
    const error: unknown = Cause.isFailReason(reason)
      ? reason.error
      : Cause.isDieReason(reason)
        ? reason.defect
        : undefined
    if (error instanceof Inner) inner = error
    else if (SqlError.isSqlError(error)) own = error
    else if (!Cause.isFailReason(reason)) left.push(reason)
  }
  if (left.length > 0) return Effect.failCause(Cause.fromReasons(left))
  if (own !== undefined) return Effect.fail(toError(own))
  return inner === undefined ? Effect.failCause(Cause.empty) : Effect.fail(inner.error)
}

/** The first statement of a transaction, which binds its tenant. */
interface Begin {
  readonly text: string
  readonly parameters: ReadonlyArray<unknown>
}

/** Marks the open transaction of an effect as bound to a tenant. */
type Bound = (tenantId: TenantId) => <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/**
 * Runs a body in a transaction whose first statement binds a tenant. The body gets the row of that statement. A connection
 * with leftovers of another user is reset first.
 *
 * @internal
 */
export const boundTransaction = <A, E, R, E2>(
  sql: SqlClient.SqlClient,
  begin: Begin,
  body: (row: ReadonlyArray<unknown> | undefined, bound: Bound) => Effect.Effect<A, E, R>,
  describe: (error: SqlError.SqlError, eventIds: ReadonlyArray<string>) => E2
): Effect.Effect<A, E | E2, R> =>
  Effect.flatMap(SqlClient.BeginTransaction, (beginTransaction) => {
    type Row = ReadonlyArray<unknown> | undefined
    let eventIds: ReadonlyArray<string> = []
    const toError = (error: SqlError.SqlError): E2 => describe(error, eventIds)
    const started = (bind: (connection: SqlConnection.Connection) => Effect.Effect<Row, SqlError.SqlError>) =>
      withTransaction(sql)(
        Effect.flatMap(openTransaction(sql), (opened) => {
          if (Option.isNone(opened)) return Effect.die(new Error("no connection in a transaction"))
          const connection = opened.value
          return Effect.flatMap(bind(connection), (row) => {
            const bodyOf = body(row, (tenantId) => (effect) => {
              const bound: BoundTo = {
                connection,
                tenantId,
                mismatch: undefined,
                eventIds: [],
                witness: undefined
              }
              eventIds = bound.eventIds
              if (connection instanceof Lease)
                connection.onLostCommit = (error) => findOutcome(sql, bound, error)
              return Effect.provideService(effect, BoundTenant, bound).pipe(
                Effect.tap(() => (bound.mismatch === undefined ? Effect.void : Effect.die(bound.mismatch)))
              )
            }).pipe(
              Effect.mapError((error) => new Inner<E | E2>(error)),
              Effect.provideService(SqlClient.BeginTransaction, beginTransaction)
            )
            return leavingNothing(sql, connection, bodyOf, (error) => new Inner<E | E2>(toError(error)))
          })
        })
      )
    const bind = (connection: SqlConnection.Connection): Effect.Effect<Row, SqlError.SqlError> =>
      Effect.map(connection.executeValues(begin.text, begin.parameters), ([row]) => row)
    const bindAgain = (connection: SqlConnection.Connection) =>
      Effect.andThen(run(connection, beginTransaction ?? "BEGIN"), bind(connection))
    return started((connection) => cleaning(connection, bind(connection), bindAgain(connection))).pipe(
      Effect.catchIf(
        (error): error is SqlError.SqlError => !(error instanceof Inner) && sqlErrors.isAborted(error),
        // BEGIN failed because somebody left an aborted transaction. ROLLBACK works on any connection.
        () =>
          Effect.provideService(
            started((connection) => Effect.andThen(cleanUp(connection), bindAgain(connection))),
            SqlClient.BeginTransaction,
            "ROLLBACK"
          )
      ),
      followingMove,
      Effect.catchCause((cause) => errorOf(cause, toError))
    )
  })

/** Maximum number of new homes that a transaction tries. */
const maxHomes = 4

/**
 * Begins a transaction again whose first statement found that its tenant has moved: a client of several databases sends it to the
 * new one then.
 */
const followingMove = <A, E, R>(
  transaction: Effect.Effect<A, E | SqlError.SqlError, R>
): Effect.Effect<A, E | SqlError.SqlError, R> =>
  Effect.retry(transaction, {
    while: (error) => SqlError.isSqlError(error) && sqlErrors.hasMoved(error),
    times: maxHomes
  })

const beginTenant = (tenantId: string): Begin => ({
  text: "select eventsourcing.begin_tenant($1::pg_catalog.uuid)",
  parameters: [tenantId]
})

const notCommitted = ({ reason }: SqlError.SqlError): SqlError.SqlError =>
  new SqlError.SqlError({
    reason: new SqlError.ConnectionError({
      cause: reason.cause,
      message: "the transaction was not committed"
    })
  })

/**
 * Succeeds if a transaction whose COMMIT was not answered is committed. Asks for one of its events on another connection,
 * under the tenant's lock, which the transaction held to its end. Without events the outcome stays unknown.
 */
const findOutcome = (
  sql: SqlClient.SqlClient,
  { tenantId, witness }: BoundTo,
  lost: SqlError.SqlError
): Effect.Effect<void, SqlError.SqlError> => {
  if (witness === undefined) return Effect.fail(lost)
  const found = boundTransaction(
    sql,
    beginTenant(tenantId),
    () =>
      Effect.flatMap(openTransaction(sql), (opened) => {
        if (Option.isNone(opened)) return Effect.die(new Error("no connection in a transaction"))
        const connection = opened.value
        const tenant =
          "select 1 from eventsourcing.tenants where tenant_id = $1::pg_catalog.uuid for no key update"
        const event =
          "select exists (select from eventsourcing.events where tenant_id = $1::pg_catalog.uuid and event_id = $2::pg_catalog.uuid)"
        return Effect.andThen(
          connection.executeValues(tenant, [tenantId]),
          Effect.map(connection.executeValues(event, [tenantId, witness]), ([row]) => row?.[0] === true)
        )
      }),
    (error) => error
  )
  return Effect.retry(deadlines.afresh(found), {
    while: (error) => sqlErrors.isTransient(error) && !deadlines.isNoAnswer(error),
    schedule: retryTransient
  }).pipe(
    Effect.mapError(() => lost),
    Effect.flatMap((committed) => (committed ? Effect.void : Effect.fail(notCommitted(lost))))
  )
}

/**
 * Runs an effect in a savepoint of the open transaction.
 *
 * @internal
 */
export const savepoint =
  <E2>(sql: SqlClient.SqlClient, toError: (error: SqlError.SqlError) => E2) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | E2, R> =>
    Effect.mapError(effect, (error) => new Inner(error)).pipe(
      sql.withTransaction,
      Effect.catchCause((cause) => errorOf(cause, toError))
    )

/**
 * The error of a transaction that was not committed, or may have been.
 *
 * @internal
 */
export const failedTransaction = (
  tenantId: string,
  error: SqlError.SqlError,
  eventIds: ReadonlyArray<string> = []
): StorageUnavailable | OutcomeUnknown =>
  isLostCommit(error)
    ? new OutcomeUnknown({ tenantId, eventIds })
    : sqlErrors.toUnavailable("run a transaction", error)

/**
 * Runs an effect in a transaction that is bound to the current tenant: row-level security shows and accepts only rows of that
 * tenant, in the store's tables and in every table protected with `eventsourcing.protect_tenant_table`.
 *
 * **When to use**
 *
 * Use it for your own SQL on a tenant's data, with `SqlClient` as usual. Appends and reads of the event store inside it
 * join the transaction.
 *
 * **Details**
 *
 * Within the transaction the role is `eventsourcing_tenant`: grant it what your tables need. The tenant and the role
 * end with the transaction, also when the fiber is interrupted. Nothing else of its SQL stays on the session either:
 * temporary objects, held cursors, prepared statements, settings (`SET`, not only `SET LOCAL`), advisory locks, listens.
 * A statement that may leave such things costs one more round trip at the end; `LOAD` is refused. Nested use for the same
 * tenant is a savepoint. Another tenant inside it, and a tenant inside a transaction that was started without one, are
 * mistakes of the program: defects (`TenantMismatch`), after which the outer transaction rolls back even if they are caught.
 *
 * An append inside it locks the tenant to its end, and the tenant's other appends wait for 10 seconds (or `lock_timeout` of the
 * session), twice, before they fail with `TimedOut`: append last. The wait of this transaction for that lock has the same bound.
 *
 * Each statement, including BEGIN and COMMIT, has the deadline {@link Silence}, after which its connection is closed. If a
 * COMMIT was not answered, the transaction's events are looked up on another connection.
 *
 * Fails with `StorageUnavailable` if the transaction cannot be started or was not committed, and with `OutcomeUnknown` if it
 * may have been committed: repeat it only if that is harmless, such as appends with the same event ids or command key. An
 * interruption returns at once; the rollback may still be running then, and an interrupted COMMIT may have succeeded.
 */
export const transaction = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E | StorageUnavailable | OutcomeUnknown, R | CurrentTenant | SqlClient.SqlClient> =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const tenantId = yield* CurrentTenant
    const toError = (error: SqlError.SqlError, eventIds?: ReadonlyArray<string>) =>
      failedTransaction(tenantId, error, eventIds)
    if (Option.isSome(yield* openTransaction(sql))) {
      if ((yield* boundTenant(sql)) !== tenantId) return yield* refuse(sql, tenantId)
      return yield* savepoint(sql, toError)(effect)
    }
    return yield* boundTransaction(
      sql,
      beginTenant(tenantId),
      (_row, bound) => bound(tenantId)(effect),
      toError
    )
  })
