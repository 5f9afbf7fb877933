/**
 * Applies the SQL files of `migrations/` to a PostgreSQL database.
 */
import { Cause, Effect, Layer, Result, Schedule, Schema } from "effect"
import { Migrator, SqlClient, SqlError } from "effect/sql"
import * as Fs from "node:fs"

/**
 * The table that records which migrations a database has, in the schema of the store.
 */
export const table: string = "eventsourcing.migrations"

/**
 * One file of `migrations/`.
 */
export interface Migration {
  /** The number the file name begins with. */
  readonly id: number
  /** The rest of the file name, without `.sql`. */
  readonly name: string
  /** The name of the file. */
  readonly file: string
  /** The content of the file. */
  readonly sql: string
}

/**
 * Raised when the migrations cannot be read or applied. Nothing has been changed then.
 *
 * **Details**
 *
 * `file` and `line` say where, `code` is the SQLSTATE, and the message contains what PostgreSQL said and what to do.
 */
export class MigrationError extends Schema.TaggedError<MigrationError>()("MigrationError", {
  message: Schema.String,
  file: Schema.optionalKey(Schema.String),
  line: Schema.optionalKey(Schema.Int),
  code: Schema.optionalKey(Schema.String),
  cause: Schema.optionalKey(Schema.Defect())
}) {}

/** What PostgreSQL says about an error, as far as the client passes it on. */
const ServerError = Schema.Struct({
  code: Schema.optional(Schema.String),
  message: Schema.String,
  detail: Schema.optional(Schema.String),
  hint: Schema.optional(Schema.String),
  internalPosition: Schema.optional(Schema.String),
  internalQuery: Schema.optional(Schema.String)
})
const decodeServerError = Schema.decodeUnknownResult(ServerError)

const serverError = (error: unknown): typeof ServerError.Type => {
  const cause = SqlError.isSqlError(error) ? error.reason.cause : error
  return Result.getOrElse(decodeServerError(cause), () => ({ message: String(cause) }))
}

const advice = (code: string | undefined): string => {
  if (code === "42501") {
    return (
      "Run the migrations as the owner of the database, or as a role that may create schemas in it and create roles " +
      "(CREATEROLE); the application itself needs neither."
    )
  }
  // Node's codes, such as ECONNREFUSED, are longer than a SQLSTATE.
  if (code === undefined || code.length !== 5 || /^(08|28|57P)/.test(code)) {
    return "Check that the database can be reached, and run the migrations again."
  }
  return "Nothing was changed. Remove the cause and run the migrations again."
}

/** `execute` takes a string of any number of statements, which the client's own protocol does not. */
const execute = (sql: string): Effect.Effect<void, SqlError.SqlError, SqlClient.SqlClient> => {
  const tag = (name: string): string => {
    let n = 0
    while (sql.includes(`$${name}${n}$`)) n++
    return `$${name}${n}$`
  }
  const body = tag("migration")
  const literal = tag("file")
  return Effect.flatMap(SqlClient.SqlClient, (client) =>
    Effect.asVoid(
      client.unsafe(`do ${body} begin execute ${literal}${sql}${literal}; end ${body}`).unprepared
    )
  )
}

class FileFailure {
  readonly _tag = "FileFailure"
  readonly migration: Migration
  readonly error: SqlError.SqlError
  constructor(migration: Migration, error: SqlError.SqlError) {
    this.migration = migration
    this.error = error
  }
}

type KnownError = SqlError.SqlError | Migrator.MigrationError | MigrationError

const isKnown = (error: unknown): error is KnownError =>
  SqlError.isSqlError(error) || error instanceof Migrator.MigrationError || error instanceof MigrationError

const isUnexpected = (reason: Cause.Reason<unknown>): reason is Cause.Die | Cause.Interrupt =>
  !Cause.isFailReason(reason)

const toMigrationError = (error: KnownError): MigrationError => {
  if (error._tag === "MigrationError") {
    if (error instanceof MigrationError) return error
    if (!(error.cause instanceof FileFailure))
      return new MigrationError({ message: error.message, cause: error })
    return describe(error.cause.error, error.cause.migration)
  }
  return describe(error)
}

const describe = (error: SqlError.SqlError, migration?: Migration): MigrationError => {
  const { code, detail, hint, internalPosition, internalQuery, message } = serverError(error)
  const position = Number(internalPosition)
  const line =
    migration !== undefined && internalQuery === migration.sql && position > 0
      ? [...migration.sql].slice(0, position).filter((character) => character === "\n").length + 1
      : undefined
  const where = migration === undefined ? "The migrations failed" : `The migration ${migration.file} failed`
  const at = line === undefined ? "" : ` at line ${line}`
  const said = [message, detail, hint].filter((text) => text !== undefined).join(". ")
  return new MigrationError({
    message: `${where}${at}: ${said}${code === undefined ? "" : ` (${code.length === 5 ? "SQLSTATE " : ""}${code})`}. ${advice(code)}`,
    ...(migration === undefined ? {} : { file: migration.file }),
    ...(line === undefined ? {} : { line }),
    ...(code === undefined ? {} : { code }),
    cause: error
  })
}

/**
 * Others make the same things at the same time: another process in this database, or one in another database of the
 * same cluster, as roles belong to the whole cluster. Once theirs are committed, ours are not needed.
 */
const isRace = (error: MigrationError): boolean =>
  error.code !== undefined &&
  (["23505", "42710", "42P06", "42P07", "42723", "40P01", "40001"].includes(error.code) ||
    (error.code === "XX000" && /concurrently/.test(error.message)))

/** The bookkeeping, made here and not in a file, as it must exist before the first file runs. */
const bookkeeping = `
do $$
begin
  if pg_catalog.to_regnamespace('eventsourcing') is null then
    create schema eventsourcing;
  end if;
  if pg_catalog.to_regclass('${table}') is null then
    create table ${table} (
      migration_id integer primary key,
      created_at timestamptz not null default pg_catalog.now(),
      name text not null
    );
    comment on table ${table} is 'The migrations this database has.';
    grant select on ${table} to public;
  end if;
end
$$`

/** What {@link fromDirectory} makes of a directory. */
interface Migrations {
  readonly migrations: Effect.Effect<ReadonlyArray<Migration>, MigrationError>
  readonly latest: Effect.Effect<number, MigrationError>
  readonly run: Effect.Effect<
    ReadonlyArray<readonly [id: number, name: string]>,
    MigrationError,
    SqlClient.SqlClient
  >
}

/**
 * The migrations in a directory of files.
 *
 * @internal
 */
export const fromDirectory = (directory: URL): Migrations => {
  const migrations: Migrations["migrations"] = Effect.suspend(() => {
    const found: Array<Migration> = []
    try {
      for (const file of Fs.readdirSync(directory)) {
        if (!file.endsWith(".sql")) continue
        const [, id, name] = /^(\d{4})_(\w+)\.sql$/.exec(file) ?? []
        if (id === undefined || name === undefined) {
          const message = `The name of the migration ${file} is not of the form 0001_name.sql`
          return Effect.fail(new MigrationError({ message, file }))
        }
        found.push({ id: Number(id), name, file, sql: Fs.readFileSync(new URL(file, directory), "utf8") })
      }
    } catch (cause) {
      const message = `The migrations in ${directory.href} cannot be read. They are part of the package: keep its folder "migrations" beside "dist"`
      return Effect.fail(new MigrationError({ message, cause }))
    }
    return Effect.succeed(found.toSorted((a, b) => a.id - b.id))
  })

  const latest = Effect.map(migrations, (all) => all.at(-1)?.id ?? 0)

  const once = Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const all = yield* migrations
    yield* sql.unsafe(bookkeeping).unprepared
    // the migrator takes this lock as well; here it keeps what is read next from changing
    yield* sql.unsafe(`lock table ${table} in access exclusive mode`).unprepared
    const rows = yield* sql<{ id: number }>`select migration_id as id from ${sql(table)}`.withoutTransform
    const applied = new Set(rows.map((row) => row.id))
    const highest = Math.max(0, ...applied)
    const skipped = all.find((migration) => migration.id < highest && !applied.has(migration.id))
    if (skipped !== undefined) {
      const message =
        `The database has migration ${highest} but not ${skipped.file}, which comes before it. ` +
        `Apply that file by hand and record it in ${table}, or give it a number above ${highest}.`
      return yield* new MigrationError({ message, file: skipped.file })
    }
    const run = (migration: Migration) =>
      Effect.mapError(execute(migration.sql), (error) => new FileFailure(migration, error))
    if (applied.size > 0 && all.some((migration) => migration.id > highest)) {
      // a file may have changed since it was applied, and the new ones go on from what all are now
      for (const migration of all) {
        if (!applied.has(migration.id)) continue
        yield* Effect.mapError(run(migration), (failure) => describe(failure.error, failure.migration))
      }
    }
    return yield* Migrator.make({})({
      table,
      loader: Effect.succeed(
        all.map((migration): Migrator.ResolvedMigration => {
          return [migration.id, migration.name, Effect.succeed(run(migration))]
        })
      )
    })
  })

  const run = Effect.flatMap(SqlClient.SqlClient, (sql) => sql.withTransaction(once)).pipe(
    // every statement must see what others have committed
    Effect.provideService(SqlClient.BeginTransaction, "BEGIN ISOLATION LEVEL READ COMMITTED"),
    Effect.catchCause((cause): Effect.Effect<never, MigrationError> => {
      // with a connection lost, the roll back fails as well, and turns the errors before it into defects
      const errors = cause.reasons.flatMap((reason) => {
        const error = Cause.isFailReason(reason)
          ? reason.error
          : Cause.isDieReason(reason)
            ? reason.defect
            : undefined
        return isKnown(error) ? [toMigrationError(error)] : []
      })
      const error = errors.find(({ file }) => file !== undefined) ?? errors[0]
      // what is left are defects and interruption
      return error === undefined || Cause.hasInterrupts(cause)
        ? Effect.failCause(Cause.fromReasons(cause.reasons.filter(isUnexpected)))
        : Effect.fail(error)
    }),
    Effect.retry({
      while: isRace,
      schedule: Schedule.jittered(Schedule.exponential("20 millis", 1.5)),
      times: 10
    }),
    Effect.withSpan("PgMigrator.run")
  )

  return { migrations, latest, run }
}

const shipped = fromDirectory(new URL("../../migrations/", import.meta.url))

/**
 * The migrations that come with this version of the library, in order.
 */
export const migrations: Effect.Effect<ReadonlyArray<Migration>, MigrationError> = shipped.migrations

/**
 * The number of the last migration that comes with this version of the library.
 */
export const latest: Effect.Effect<number, MigrationError> = shipped.latest

/**
 * The number of the last migration that the database has, 0 if it has none.
 *
 * **When to use**
 *
 * For a check when the program starts: less than {@link latest}, and the database has to be migrated first; more, and
 * it was migrated by a newer version of the library. Any role that may use the schema `eventsourcing` can ask.
 */
export const applied: Effect.Effect<number, MigrationError, SqlClient.SqlClient> = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const [found] = yield* sql<{ exists: boolean }>`
    select pg_catalog.to_regclass(${table}) is not null as exists`.withoutTransform
  if (found?.exists !== true) return 0
  const [row] = yield* sql<{ id: number | null }>`
    select max(migration_id) as id from ${sql(table)}`.withoutTransform
  return row?.id ?? 0
}).pipe(Effect.mapError(toMigrationError))

/**
 * Applies the migrations if the database does not have all of them yet, and returns those that it did not have.
 *
 * **When to use**
 *
 * In a program of its own or when the application starts, with a client that is connected as the owner of the
 * database. A database administrator can run the same files with `psql -1 -f` instead: each can be run again without
 * harm, so running them here afterwards only records them.
 *
 * **Details**
 *
 * Files are repeatable: when there is a new one, all of them are applied again, in order, so that a database follows
 * what has changed in the earlier ones, too.
 *
 * All in one transaction: either every migration is applied, or nothing has changed. Any number of processes
 * may do it at once; one does the work, the others wait for it and return an empty list. A database that was migrated
 * by a newer version is left as it is.
 *
 * Raised errors: {@link MigrationError}.
 */
export const run: Effect.Effect<
  ReadonlyArray<readonly [id: number, name: string]>,
  MigrationError,
  SqlClient.SqlClient
> = shipped.run

/**
 * Applies the migrations when the layer is built.
 *
 * See {@link run}.
 */
export const layer: Layer.Layer<never, MigrationError, SqlClient.SqlClient> = Layer.effectDiscard(run)
