/**
 * Applies the SQL files of `migrations/` to a PostgreSQL database.
 */
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { layerPer } from "../internal/layerPer.ts"
import * as Migrate from "./migrate.ts"
import { schemaNumber } from "./schemaNumber.ts"
import { type SqlFile, sqlFiles } from "./sqlFiles.ts"

export { MigrationError } from "./migrate.ts"

/** A file of `migrations/`: its path below that folder, and its text. */
export type File = SqlFile

/** Limits on waiting for locks. */
export type Options = Migrate.MigrateOptions

/** The files that come with this version of the library, in the order in which they are applied. */
export const files: ReadonlyArray<File> = sqlFiles

/** The schema number of these files. */
export const latest: number = schemaNumber

/**
 * The number of the database's schema; 0 if it has none.
 *
 * **When to use**
 *
 * For a check when the program starts. If it is less than {@link latest}, migrate the database; if it is more, a newer
 * version of the library has migrated it. Any role that may use the schema `eventsourcing` can ask.
 */
export const applied: Effect.Effect<number, Migrate.MigrationError, SqlClient.SqlClient> =
  Migrate.appliedNumber()

/**
 * The paths of the files that {@link run} would apply; empty if the database is up to date or newer. Changes nothing.
 *
 * **When to use**
 *
 * Before a deployment, or in a pipeline that must fail until somebody has migrated. Only the owner of the database may look.
 */
export const pending: Effect.Effect<
  ReadonlyArray<string>,
  Migrate.MigrationError,
  SqlClient.SqlClient
> = Migrate.unapplied({ files, number: latest })

/**
 * Applies the files that the database lacks or has with another text. Returns their paths, such as `append/append.sql`.
 *
 * **When to use**
 *
 * In a separate program or when the application starts, with a client that is connected as the owner of the database. A
 * database administrator can run `psql -1 -v ON_ERROR_STOP=1 -f migrations/install.sql` instead; running this afterwards only
 * records it.
 *
 * **Details**
 *
 * Everything is applied in one transaction, or nothing is. Any number of processes may run it at once: one does the work, the
 * others wait and return an empty list. A database with a newer schema is left unchanged. No statement waits for a lock longer
 * than `lockTimeout`: it then rolls back and tries again, for `retryFor`, so that appends never wait long behind a slow report.
 *
 * Raised errors: {@link Migrate.MigrationError}.
 */
export const runWith = (
  options: Options
): Effect.Effect<ReadonlyArray<string>, Migrate.MigrationError, SqlClient.SqlClient> =>
  Migrate.migrate({ files, number: latest }, options)

/** {@link runWith} with the default options. */
export const run: Effect.Effect<ReadonlyArray<string>, Migrate.MigrationError, SqlClient.SqlClient> = runWith(
  {}
)

/** Applies the files when the layer is built. See {@link run}. */
export const layer: Layer.Layer<never, Migrate.MigrationError, SqlClient.SqlClient> = layerPer(
  [SqlClient.SqlClient],
  () => Layer.effectDiscard(run)
)

/** Like {@link layer}, with options. */
export const layerWith = (
  options: Options
): Layer.Layer<never, Migrate.MigrationError, SqlClient.SqlClient> =>
  layerPer([SqlClient.SqlClient], () => Layer.effectDiscard(runWith(options)))
