/** Runs single statements, in the open transaction or alone. */
import { Effect, Schedule } from "effect"
import type { SqlClient, SqlConnection, SqlError } from "effect/sql"
import * as deadlines from "./deadlines.ts"
import { openIn } from "./openTransaction.ts"
import * as sqlErrors from "./sqlErrors.ts"

/** About 20 milliseconds to 2.5 seconds apart, 8 times: long enough for a failover to a running standby. */
export const retryTransient: Schedule.Schedule<unknown> = Schedule.exponential("20 millis").pipe(
  Schedule.jittered,
  Schedule.upTo({ times: 8 })
)

export const run = (
  connection: SqlConnection.Connection,
  text: string
): Effect.Effect<void, SqlError.SqlError> => Effect.asVoid(connection.executeUnprepared(text, [], undefined))

/** Removes the leftovers of a previous user of a connection: an open transaction, a role, a tenant, other settings. */
export const cleanUp = (connection: SqlConnection.Connection): Effect.Effect<void, SqlError.SqlError> =>
  Effect.forEach(
    ["ROLLBACK", "RESET SESSION AUTHORIZATION", "RESET ROLE", "RESET ALL"],
    (text) => run(connection, text),
    { discard: true }
  )

/**
 * Runs an effect again on the cleaned connection if leftovers may have made it fail. A failure with another cause repeats and
 * is passed on.
 */
export const cleaning = <A, E extends SqlError.SqlError>(
  connection: SqlConnection.Connection,
  first: Effect.Effect<A, E>,
  again: Effect.Effect<A, E> = first
): Effect.Effect<A, E | SqlError.SqlError> =>
  Effect.catchIf(first, sqlErrors.isLeftOver, () =>
    cleanUp(connection).pipe(
      Effect.andThen(again),
      Effect.tap(() =>
        Effect.logWarning(
          "A database connection was passed on with an open transaction, a tenant, a role or other settings; it was reset"
        )
      )
    )
  )

/** Fails (SQLSTATE 2D000) if a transaction is open. */
const refuseOpenTransaction = "do $$ begin rollback; end $$"

/** Options of {@link statement}. */
export interface StatementOptions {
  /**
   * Refuses a connection on which somebody left a transaction open. For statements that write and do not check that
   * themselves: their writes would be acknowledged and then lost. Default: false.
   */
  readonly commits?: boolean
}

/** The rows of one statement (see {@link statement}). `Row` is the type of its decoded columns. */
export const decodedRows = <Row>(
  sql: SqlClient.SqlClient,
  text: string,
  parameters: ReadonlyArray<unknown>,
  options?: StatementOptions
): Effect.Effect<ReadonlyArray<Row>, SqlError.SqlError> =>
  statement(
    sql,
    (connection) =>
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- Row is the type of the decoded columns
      connection.executeValues(text, parameters) as Effect.Effect<ReadonlyArray<Row>, SqlError.SqlError>,
    options
  )

/** A transient failure while the store is open. */
const isRepeatable = (error: SqlError.SqlError): boolean =>
  !deadlines.isStoreClosed(error) && sqlErrors.isTransient(error)

/**
 * Runs one statement in the open transaction, or without one alone on a connection of its own. Alone it is retried after
 * transient failures, so it must be safe to repeat.
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
    // The schedule is set up only after a failure, because that takes time and most statements succeed.
    return Effect.catchIf(once, isRepeatable, (error) => {
      let failed: SqlError.SqlError | undefined = error
      let unanswered: SqlError.SqlError | undefined
      let waits = 0
      let attempt = once
      const again = (found: SqlError.SqlError): boolean => {
        if (deadlines.isUnanswered(found)) unanswered = found
        // Retried once after a timeout, because each timeout makes the caller wait for its full length.
        const timedOut =
          found.reason._tag === "LockTimeoutError" || found.reason._tag === "StatementTimeoutError"
        if (deadlines.isNoAnswer(found) || timedOut) waits++
        if (deadlines.isSilence(found)) attempt = deadlines.afresh(once)
        return waits < 2 && isRepeatable(found)
      }
      const next = Effect.suspend(() => {
        if (failed === undefined) return attempt
        const first = Effect.fail(failed)
        failed = undefined
        return first
      })
      return Effect.retry(next, { while: again, schedule: retryTransient }).pipe(
        // The failure of a later attempt says nothing about an earlier one that was sent.
        Effect.mapError((last) =>
          unanswered !== undefined && sqlErrors.isTransient(last) ? unanswered : last
        )
      )
    })
  })
