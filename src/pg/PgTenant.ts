/**
 * Binding a tenant on PostgreSQL. This is the only file that does, and always for one transaction: never for a session,
 * because the pool hands sessions on as they are.
 */
import { Cause, Context, type Duration, Effect, Option, Schedule } from "effect"
import { SqlClient, type SqlConnection, SqlError } from "effect/sql"
import { leavingNothing } from "./sessionCleaning.ts"
import * as deadlines from "./deadlines.ts"
import * as pgError from "./sqlErrors.ts"
import { isLostCommit, Lease, withTransaction } from "./transactions.ts"
import { OutcomeUnknown, type StorageUnavailable, TenantMismatch } from "../driver/StoreError.ts"
import { CurrentTenant, type TenantId } from "../domain/Tenant.ts"

/**
 * The longest wait for a connection, and for the answer to a statement of the store or of a transaction. Default: one minute.
 *
 * **Details**
 *
 * The server's `statement_timeout` should be shorter: it ends the work, frees its locks and says so. This one is for a
 * connection that says nothing: it is closed, the statement is tried once more on another one, and then the caller is
 * answered: with `StorageUnavailable`, or an append with `OutcomeUnknown`. Provide it to the layer of the store, whose
 * group commit sends appends, and to the program. The embedded database has none.
 */
export const Silence: Context.Reference<Duration.Duration> = deadlines.Silence

/** The tenant that a transaction of this fiber is bound to, and the connection of that transaction. */
interface BoundTo {
  readonly connection: SqlConnection.Connection
  readonly tenantId: TenantId
  /** Set once work for another tenant was tried: the transaction must not commit any more. */
  mismatch: TenantMismatch | undefined
  /** The events that were appended. */
  readonly eventIds: Array<string>
  /** One that is stored if the transaction is, and only then: not appended in a savepoint. */
  witness: string | undefined
}

const BoundTenant = Context.Reference<BoundTo | undefined>("effect-eventsourcing/pg/BoundTenant", {
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

const run = (connection: SqlConnection.Connection, text: string): Effect.Effect<void, SqlError.SqlError> =>
  Effect.asVoid(connection.executeUnprepared(text, [], undefined))

/** Ends what a previous borrower left on a connection: an open transaction, a role, a tenant, any other setting. */
const cleanUp = (connection: SqlConnection.Connection): Effect.Effect<void, SqlError.SqlError> =>
  Effect.forEach(
    ["ROLLBACK", "RESET SESSION AUTHORIZATION", "RESET ROLE", "RESET ALL"],
    (text) => run(connection, text),
    { discard: true }
  )

/**
 * Runs something again on a clean connection if it failed for what somebody may have left there. A failure that has
 * nothing to do with that comes again, and is passed on.
 */
const cleaning = <A, E extends SqlError.SqlError>(
  connection: SqlConnection.Connection,
  first: Effect.Effect<A, E>,
  again: Effect.Effect<A, E> = first
): Effect.Effect<A, E | SqlError.SqlError> =>
  Effect.catchIf(first, pgError.isLeftOver, () =>
    cleanUp(connection).pipe(
      Effect.andThen(again),
      Effect.tap(() =>
        Effect.logWarning(
          "A database connection was handed on with an open transaction, a tenant, a role or other settings; it was reset"
        )
      )
    )
  )

/**
 * The connection of the transaction that is open in a fiber with this context; undefined if there is none.
 *
 * @internal
 */
export const openIn = (
  context: Context.Context<never>,
  sql: SqlClient.SqlClient
): SqlConnection.Connection | undefined => Context.getOrUndefined(context, sql.transactionService)?.[0]

/**
 * The connection of the open transaction, if there is one.
 *
 * @internal
 */
export const openTransaction = (
  sql: SqlClient.SqlClient
): Effect.Effect<Option.Option<SqlConnection.Connection>> =>
  Effect.withFiber(({ context }) => Effect.succeed(Option.fromUndefinedOr(openIn(context, sql))))

/**
 * Whether a transaction of this client is open.
 *
 * @internal
 */
export const inTransaction = (sql: SqlClient.SqlClient): Effect.Effect<boolean> =>
  Effect.map(openTransaction(sql), Option.isSome)

/**
 * The tenant that the open transaction of this client is bound to, if it was started by {@link transaction}. Another
 * client's transaction does not count.
 *
 * @internal
 */
export const boundTenant = (sql: SqlClient.SqlClient): Effect.Effect<TenantId | undefined> =>
  Effect.withFiber(({ context }) => {
    const open = openIn(context, sql)
    const bound = Context.get(context, BoundTenant)
    return Effect.succeed(open !== undefined && bound?.connection === open ? bound.tenantId : undefined)
  })

/**
 * Ends the work for another tenant in an open transaction: a defect, after which the transaction cannot commit, whoever
 * catches it.
 *
 * @internal
 */
export const refuse = (sql: SqlClient.SqlClient, tenantId: string): Effect.Effect<never> =>
  Effect.withFiber(({ context }) => {
    const mismatch = new TenantMismatch({ tenantId })
    const open = openIn(context, sql)
    const bound = Context.get(context, BoundTenant)
    if (bound !== undefined && bound.connection === open) bound.mismatch ??= mismatch
    const die = Effect.die(mismatch)
    // A transaction of the program's own takes no flag of ours: it is aborted.
    return open === undefined ? die : Effect.andThen(Effect.ignore(run(open, abort)), die)
  })

const abort = "do $$ begin raise exception 'work for another tenant' using errcode = 'ES001'; end $$"

/**
 * {@link refuse}s a tenant that the open transaction is not bound to.
 *
 * @internal
 */
export const refuseOthers = (sql: SqlClient.SqlClient, tenantId: TenantId): Effect.Effect<void> =>
  Effect.flatMap(boundTenant(sql), (bound) =>
    bound === undefined || bound === tenantId ? Effect.void : refuse(sql, tenantId)
  )

/**
 * Fails for a statement of a tenant; {@link refuse}s the tenant if the transaction is bound to another.
 *
 * @internal
 */
export const failFor = (
  sql: SqlClient.SqlClient,
  operation: string,
  tenantId: TenantId,
  error: SqlError.SqlError
): Effect.Effect<never, StorageUnavailable> =>
  pgError.isBoundToAnother(error)
    ? refuse(sql, tenantId)
    : Effect.fail(pgError.toUnavailable(operation, error))

/** Fails (SQLSTATE 2D000) if a transaction is open. */
const refuseOpenTransaction = "do $$ begin rollback; end $$"

/**
 * How a statement is run.
 *
 * @internal
 */
export interface StatementOptions {
  /**
   * For statements that write, and cannot see for themselves whether somebody left a transaction open on the
   * connection: what they did there would be acknowledged now and lost later. Default: false.
   */
  readonly commits?: boolean
}

/**
 * Runs one statement: on the open transaction if there is one, and else alone on a connection of its own. Alone, it is
 * retried while the failure is a passing one, so it must be safe to repeat.
 *
 * @internal
 */
export const statement = <A>(
  sql: SqlClient.SqlClient,
  execute: (connection: SqlConnection.Connection, alone: boolean) => Effect.Effect<A, SqlError.SqlError>,
  { commits = false }: StatementOptions = {}
): Effect.Effect<A, SqlError.SqlError> =>
  Effect.withFiber(({ context }) => {
    const open = openIn(context, sql)
    if (open !== undefined) return execute(open, false)
    const once = deadlines.onConnection(sql, (connection) => {
      const alone = execute(connection, true)
      return cleaning(
        connection,
        commits ? Effect.andThen(run(connection, refuseOpenTransaction), alone) : alone
      )
    })
    // The schedule is for those that need it: setting it up takes a while, and most statements succeed.
    return Effect.catchIf(once, pgError.isTransient, (error) => {
      let failed: SqlError.SqlError | undefined = error
      let unanswered: SqlError.SqlError | undefined
      let waits = 0
      let attempt = once
      const again = (found: SqlError.SqlError): boolean => {
        if (deadlines.isUnanswered(found)) unanswered = found
        // A second deadline that passes, of the library or of a lock, would not be the caller's last.
        const timedOut =
          found.reason._tag === "LockTimeoutError" || found.reason._tag === "StatementTimeoutError"
        if (deadlines.isNoAnswer(found) || timedOut) waits++
        if (deadlines.isSilence(found)) attempt = deadlines.afresh(once)
        return waits < 2 && pgError.isTransient(found)
      }
      const next = Effect.suspend(() => {
        if (failed === undefined) return attempt
        const first = Effect.fail(failed)
        failed = undefined
        return first
      })
      return Effect.retry(next, { while: again, schedule: retryTransient }).pipe(
        // A later attempt that was refused says nothing of an earlier one that was sent.
        Effect.mapError((last) => (unanswered !== undefined && pgError.isTransient(last) ? unanswered : last))
      )
    })
  })

/**
 * Notes what was appended in the open transaction.
 *
 * @internal
 */
export const appended = (
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

/** Tells the errors of the effect in a transaction from those of the transaction itself. */
class Inner<E> {
  readonly error: E
  constructor(error: E) {
    this.error = error
  }
}

/**
 * What a failed transaction amounts to. If the connection is lost, the ROLLBACK fails as well, which makes defects of
 * all the errors before it.
 */
const settle = <E, E2>(
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

/** Says that the open transaction of an effect is bound to a tenant. */
type Bound = (tenantId: TenantId) => <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/**
 * Runs a body in a transaction that begins with a statement that binds a tenant; the body gets the statement's row. A
 * connection on which somebody left something is reset first.
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
        (error): error is SqlError.SqlError => !(error instanceof Inner) && pgError.isAborted(error),
        // The BEGIN failed: somebody left an aborted transaction. A ROLLBACK is right on any connection.
        () =>
          Effect.provideService(
            started((connection) => Effect.andThen(cleanUp(connection), bindAgain(connection))),
            SqlClient.BeginTransaction,
            "ROLLBACK"
          )
      ),
      Effect.catchCause((cause) => settle(cause, toError))
    )
  })

const beginTenant = (tenantId: string): Begin => ({
  text: "select eventsourcing.begin_tenant($1::uuid)",
  parameters: [tenantId]
})

/** What nobody confirmed was not committed. */
const notCommitted = ({ reason }: SqlError.SqlError): SqlError.SqlError =>
  new SqlError.SqlError({
    reason: new SqlError.ConnectionError({
      cause: reason.cause,
      message: "the transaction was not committed"
    })
  })

/**
 * Succeeds if a transaction whose COMMIT was not answered is committed. Asks for one of its events on another connection,
 * under the tenant's lock, which the transaction held to its end. Without events there is nothing to ask for.
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
        const tenant = "select 1 from eventsourcing.tenants where tenant_id = $1::uuid for no key update"
        const event =
          "select exists (select from eventsourcing.events where tenant_id = $1::uuid and event_id = $2::uuid)"
        return Effect.andThen(
          connection.executeValues(tenant, [tenantId]),
          Effect.map(connection.executeValues(event, [tenantId, witness]), ([row]) => row?.[0] === true)
        )
      }),
    (error) => error
  )
  return Effect.retry(deadlines.afresh(found), {
    while: (error) => pgError.isTransient(error) && !deadlines.isNoAnswer(error),
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
      Effect.catchCause((cause) => settle(cause, toError))
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
    : pgError.toUnavailable("run a transaction", error)

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
 * end with the transaction, also when the fiber is interrupted. Nothing else of its SQL stays on the session either:
 * temporary objects, held cursors, prepared statements, settings (`SET`, not only `SET LOCAL`), advisory locks, listens.
 * A statement that may leave some costs one more round trip at the end; `LOAD` is refused. Nested use for the same tenant is a savepoint.
 * Another tenant inside it, and a tenant inside a transaction that was started without one, are mistakes of the program:
 * defects (`TenantMismatch`), after which the outer transaction rolls back even if they are caught.
 *
 * An append inside it locks the tenant to its end, and the tenant's other appends wait for 10 seconds (or `lock_timeout` of the
 * session), twice, before they fail with `TimedOut`: append last. The wait of this transaction for that lock has the same bound.
 *
 * Each statement, BEGIN and COMMIT among them, is answered within {@link Silence}: after that its connection is closed. If
 * a COMMIT was not answered, the transaction's events are looked for on another connection.
 *
 * Fails with `StorageUnavailable` if the transaction cannot be started or was not committed, and with `OutcomeUnknown` if
 * nobody can say so: repeat it only if that is harmless, such as appends with the same event ids or command key. An
 * interruption returns at once; the rollback may end behind it, and an interrupted COMMIT may have been done.
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
