/**
 * Keeps a pooled session free of leftovers of a tenant's SQL. The session is cleaned before a COMMIT if a statement may have
 * left something (`sessionEffects`), and after every failure. The first statement of the next bound transaction removes hidden
 * leftovers. A session that cannot be cleaned is ended, so that the pool opens another one.
 */
import { Effect, Exit } from "effect"
import { SqlClient, type SqlConnection, SqlError, Statement } from "effect/sql"
import { sqlState } from "./sqlErrors.ts"
import { loads, mayOutlive } from "./sessionEffects.ts"
import { Lease } from "./transactions.ts"

const clean = "select eventsourcing.clean_session(true)"

const run = (connection: SqlConnection.Connection, text: string): Effect.Effect<unknown, SqlError.SqlError> =>
  connection.executeUnprepared(text, [], undefined)

const noTransaction = "25P01"

/** Ends the session, except in the embedded database, which has only one. */
const retire = (sql: SqlClient.SqlClient, connection: SqlConnection.Connection): Effect.Effect<void> =>
  Effect.andThen(
    Effect.logWarning(
      sql.driver === "pglite"
        ? "The session of the embedded database could not be cleaned of a transaction's leftovers"
        : "A database connection could not be cleaned of a transaction's leftovers and was closed"
    ),
    sql.driver === "pglite"
      ? Effect.void
      : Effect.ignore(run(connection, "select pg_catalog.pg_terminate_backend(pg_catalog.pg_backend_pid())"))
  )

/**
 * Rolls back and cleans. The transaction is chained, so that behind a transaction pooler the statements reach the same session;
 * the caller rolls back the last one.
 */
const undo = (
  sql: SqlClient.SqlClient,
  connection: SqlConnection.Connection,
  loaded: boolean
): Effect.Effect<void> =>
  run(connection, "ROLLBACK AND CHAIN").pipe(
    Effect.andThen(run(connection, clean)),
    Effect.andThen(run(connection, "COMMIT AND CHAIN")),
    // The program ended the transaction itself.
    Effect.catchIf(
      (error) => sqlState(error) === noTransaction,
      () => run(connection, clean)
    ),
    Effect.andThen(loaded ? retire(sql, connection) : Effect.void),
    // Without a connection there is nothing to clean.
    Effect.catch((error) => (error.reason._tag === "ConnectionError" ? Effect.void : retire(sql, connection)))
  )

const loadRefused = new SqlError.SqlError({
  reason: new SqlError.AuthorizationError({
    cause: { code: "42501" },
    message:
      "a tenant's transaction must not LOAD a library, because the session keeps it: use session_preload_libraries"
  })
})

/** Runs the body of a transaction on a connection without leaving anything on the session. */
export const leavingNothing = <A, E, R, E2>(
  sql: SqlClient.SqlClient,
  connection: SqlConnection.Connection,
  body: Effect.Effect<A, E, R>,
  toError: (error: SqlError.SqlError) => E2
): Effect.Effect<A, E | E2, R> =>
  Effect.flatMap(Statement.CurrentTransformer, (transformer) => {
    let suspicious = false
    let loaded = false
    const watch: Statement.Transformer = (statement, constructor, fiber, span) =>
      Effect.map(transformer?.(statement, constructor, fiber, span) ?? Effect.succeed(statement), (sent) => {
        const [text] = sent.compile()
        suspicious ||= mayOutlive(text)
        loaded ||= loads(text)
        return sent
      })
    return Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(
        Effect.exit(restore(Effect.provideService(body, Statement.CurrentTransformer, watch))),
        (exit): Effect.Effect<A, E | E2> => {
          if (Exit.isFailure(exit)) {
            const undone = undo(sql, connection, loaded)
            if (!(connection instanceof Lease)) return Effect.andThen(undone, exit)
            connection.beforeRollback = undone
            return exit
          }
          if (!suspicious) return exit
          return (loaded ? Effect.fail(loadRefused) : run(connection, clean)).pipe(
            Effect.tapError(() => {
              const undone = undo(sql, connection, loaded)
              if (!(connection instanceof Lease)) return undone
              connection.beforeRollback = undone
              return Effect.void
            }),
            Effect.mapError(toError),
            Effect.andThen(exit)
          )
        }
      )
    )
  })
