/**
 * A client of a PostgreSQL server with deadlines: `PgClient.layer` with settings that end hanging work.
 */
import { PgClient } from "@effect/sql-pg"
import type { Layer } from "effect"
import type { SqlClient, SqlError } from "effect/sql"

/** Settings of {@link layer}: those of `PgClient.layer`, and the pooler. */
export interface Options extends PgClient.PgPoolConfig {
  /**
   * True behind a pooler that lends a connection per transaction, such as PgBouncer with `pool_mode = transaction`. Statements are
   * not prepared then, and the deadlines must be set on the role (`alter role … set statement_timeout = …`). Default: false.
   */
  readonly pooled?: boolean | undefined
}

/** The server's own deadlines for sessions of {@link layer}. `startupParameters` can override each. */
export const deadlines = {
  /** Ends a statement, frees its locks, and says so. */
  statement_timeout: "30s",
  /** Ends a wait for a lock, such as the tenant's. */
  lock_timeout: "10s",
  /** Ends a transaction in which the program does nothing. */
  idle_in_transaction_session_timeout: "30s"
} as const

/** The given settings of a client, completed with deadlines. */
export const config = ({ pooled = false, ...given }: Options): PgClient.PgPoolConfig =>
  pooled
    ? { keepAlive: "15 seconds", ...given, prepare: false }
    : {
        keepAlive: "15 seconds",
        ...given,
        startupParameters: { ...deadlines, ...given.startupParameters }
      }

/**
 * A client of a PostgreSQL server.
 *
 * **When to use**
 *
 * Use it in place of `PgClient.layer`, whose sessions have no deadlines: a statement that waits for a lock, or a connection whose
 * other end is gone, keeps its place in the pool.
 *
 * **Details**
 *
 * The server ends a statement after 30 seconds, a wait for a lock after 10, and an idle transaction after 30. TCP probes an idle
 * connection after 15 seconds. These are shorter than `PgTenant.Silence`, so that the server reports the outcome of the work.
 *
 * Behind a pooler set `pooled`, and give the store the server's own address for its notifications
 * (`PgStorage.layerWith({ listen })`). `PgCheck.settings` reports missing settings.
 */
export const layer = (
  options: Options
): Layer.Layer<PgClient.PgClient | SqlClient.SqlClient, SqlError.SqlError> => PgClient.layer(config(options))
