/** Applying SQL files to a database: only those whose text has changed, in one transaction, never to a newer schema. */
import { Cause, Duration, Effect, Result, Schedule, Schema } from "effect"
import { SqlClient, SqlError } from "effect/sql"
import { createHash } from "node:crypto"
import { guarded, Silence } from "./deadlines.ts"
import type { SqlFile } from "./sqlFiles.ts"
import { isLostCommit, withTransaction } from "./transactions.ts"

/**
 * Raised when the schema cannot be applied. Nothing has been changed then.
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

/** The schema to apply: the files in their order, and the number of the schema that they make. */
export interface Target {
  readonly files: ReadonlyArray<SqlFile>
  readonly number: number
}

/** Limits on waiting for locks. */
export interface MigrateOptions {
  /**
   * How long a statement waits for a lock: 200 ms unless given. Whoever waits for a table's lock holds up the appends that
   * come after it, so a wait is short, and all is undone and tried again.
   */
  readonly lockTimeout?: Duration.Input | undefined
  /** The time for which all is tried again while others hold locks: 5 minutes unless given. */
  readonly retryFor?: Duration.Input | undefined
  /**
   * The longest wait for the answer to a statement, after which the connection is closed: 10 minutes more than `retryFor`
   * unless given. Building an index has to be done by then.
   */
  readonly silence?: Duration.Input | undefined
}

/** The table of the files that have been applied. */
const table = "eventsourcing.schema_files"

/**
 * Applied whenever another file is: the first finds out whether this role has the rights to go on, the last gives rights on
 * what the files in between have made.
 */
const always = ["roles.sql", "privileges.sql"]

/** Changes of data are applied once. */
const once = /^changes\//

/** An error as the server reports it, as far as the client passes it on. */
const ServerError = Schema.Struct({
  code: Schema.optional(Schema.String),
  message: Schema.String,
  detail: Schema.optional(Schema.String),
  hint: Schema.optional(Schema.String),
  internalPosition: Schema.optional(Schema.String),
  internalQuery: Schema.optional(Schema.String)
})
const decodeServerError = Schema.decodeUnknownResult(ServerError)

const serverError = (error: SqlError.SqlError): typeof ServerError.Type =>
  Result.getOrElse(decodeServerError(error.reason.cause), () => ({ message: String(error.reason.cause) }))

const advice = (code: string | undefined, hint: string | undefined): string => {
  // roles.sql knows which right is missing, and gives the statement
  if (code === "42501" && hint !== undefined) return "Nothing was changed."
  if (code === "42501") {
    return (
      "Run the migrations as the owner of the database, or as a role that may create schemas in it and create roles " +
      "(CREATEROLE); the application itself needs neither."
    )
  }
  if (code === "55P03") {
    return "Others hold locks on the tables. End long-running statements and transactions, and run the migrations again."
  }
  // Node's codes, such as ECONNREFUSED, are longer than a SQLSTATE.
  if (code === undefined || code.length !== 5 || /^(08|28|57P)/.test(code)) {
    return "Check that the database can be reached, and run the migrations again."
  }
  return "Nothing was changed. Remove the cause and run the migrations again."
}

/** The SQLSTATE of a transaction that may have been committed. */
const unknownOutcome = "08007"

const describe = (error: SqlError.SqlError, file?: SqlFile): MigrationError => {
  const {
    code = isLostCommit(error) ? unknownOutcome : undefined,
    detail,
    hint,
    internalPosition,
    internalQuery,
    message
  } = serverError(error)
  const position = Number(internalPosition)
  const line =
    file !== undefined && internalQuery === file.sql && position > 0
      ? [...file.sql].slice(0, position).filter((character) => character === "\n").length + 1
      : undefined
  const where = file === undefined ? "The migrations failed" : `${file.path} failed`
  const at = line === undefined ? "" : ` at line ${line}`
  const said = [message, detail, hint].filter((text) => text !== undefined).join(". ")
  return new MigrationError({
    message: `${where}${at}: ${said}${code === undefined ? "" : ` (${code.length === 5 ? "SQLSTATE " : ""}${code})`}. ${advice(code, hint)}`,
    ...(file === undefined ? {} : { file: file.path }),
    ...(line === undefined ? {} : { line }),
    ...(code === undefined ? {} : { code }),
    cause: error
  })
}

const toMigrationError = (error: SqlError.SqlError | MigrationError): MigrationError =>
  error._tag === "MigrationError" ? error : describe(error)

/** `execute` takes a string of any number of statements, which the client's own protocol does not. */
const execute = (file: SqlFile): Effect.Effect<void, MigrationError, SqlClient.SqlClient> => {
  const { sql } = file
  const tag = (name: string): string => {
    let n = 0
    while (sql.includes(`$${name}${n}$`)) n++
    return `$${name}${n}$`
  }
  const body = tag("migration")
  const literal = tag("file")
  return SqlClient.SqlClient.use(
    (client) => client.unsafe(`do ${body} begin execute ${literal}${sql}${literal}; end ${body}`).unprepared
  ).pipe(
    Effect.mapError((error) => describe(error, file)),
    Effect.asVoid
  )
}

const sha256 = ({ sql }: SqlFile): string => createHash("sha256").update(sql).digest("hex")

/** The number of the database's schema; 0 if it has none. */
export const appliedNumber: Effect.Effect<number, MigrationError, SqlClient.SqlClient> =
  SqlClient.SqlClient.use((sql) =>
    guarded(
      sql,
      Effect.gen(function* () {
        const [found] = yield* sql<{ exists: boolean }>`
          select pg_catalog.to_regprocedure('eventsourcing.schema_version()') is not null as exists`
          .withoutTransform
        if (found?.exists !== true) return 0
        const [row] = yield* sql<{ number: number }>`
          select eventsourcing.schema_version() as number`.withoutTransform
        return row?.number ?? 0
      })
    )
  ).pipe(Effect.mapError(toMigrationError))

/** The files that the database lacks or has with another text. */
const pending = Effect.fnUntraced(function* ({ files }: Target) {
  const sql = yield* SqlClient.SqlClient
  const rows = yield* guarded(
    sql,
    Effect.gen(function* () {
      const [found] = yield* sql<{ exists: boolean }>`
        select pg_catalog.to_regclass(${table}) is not null as exists`.withoutTransform
      return found?.exists === true
        ? yield* sql<{ path: string; sha256: string }>`select path, sha256 from ${sql(table)}`
            .withoutTransform
        : []
    })
  )
  const recorded = new Map(rows.map((row) => [row.path, row.sha256]))
  return files.filter((file) => {
    const known = recorded.get(file.path)
    return once.test(file.path) ? known === undefined : known !== sha256(file)
  })
})

/** A number of our own for the lock that migrators of one database take. */
const lock = 7_305_214

/**
 * Applies the files that the database does not have as they are, and returns their paths. A database with a newer schema is
 * left as it is.
 */
export const migrate = (
  target: Target,
  options: MigrateOptions = {}
): Effect.Effect<ReadonlyArray<string>, MigrationError, SqlClient.SqlClient> => {
  const lockTimeout = Math.max(1, Math.round(Duration.toMillis(options.lockTimeout ?? "200 millis")))
  const retryFor = Duration.fromInputUnsafe(options.retryFor ?? "5 minutes")

  const silence = Duration.fromInputUnsafe(options.silence ?? Duration.sum(retryFor, Duration.minutes(10)))

  const inTransaction = Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const set = (name: string, millis: number) =>
      sql`select pg_catalog.set_config(${name}, ${`${millis}ms`}, true)`
    // The deadline that the client or the role has for statements is not meant for building an index.
    yield* set("statement_timeout", 0)
    // One migrator at a time; the others then find nothing to do. Nobody else takes this lock, so waiting for it holds
    // nobody up.
    yield* set("lock_timeout", Math.max(1, Math.round(Duration.toMillis(retryFor))))
    yield* sql`select pg_catalog.pg_advisory_xact_lock(${lock})`
    yield* set("lock_timeout", lockTimeout)
    if ((yield* appliedNumber) > target.number) return []
    const changed = yield* pending(target)
    if (changed.length === 0) return []
    const paths = new Set([...changed.map(({ path }) => path), ...always])
    const files = target.files.filter(({ path }) => paths.has(path))
    for (const file of files) yield* execute(file)
    yield* sql`
      insert into ${sql(table)} (path, sha256)
      select * from unnest(${files.map(({ path }) => path)}::text[], ${files.map(sha256)}::text[])
      on conflict (path) do update set sha256 = excluded.sha256, applied_at = pg_catalog.now()`
    return changed.map(({ path }) => path)
  })

  const attempt = SqlClient.SqlClient.use((sql) => withTransaction(sql)(inTransaction)).pipe(
    // Every statement must see what others have committed.
    Effect.provideService(SqlClient.BeginTransaction, "BEGIN ISOLATION LEVEL READ COMMITTED"),
    Effect.catchCause((cause): Effect.Effect<never, MigrationError> => {
      // With a connection lost, the roll back fails as well, and turns the errors before it into defects.
      const errors = cause.reasons.flatMap((reason) => {
        const error = Cause.isFailReason(reason)
          ? reason.error
          : Cause.isDieReason(reason)
            ? reason.defect
            : undefined
        return error instanceof MigrationError || SqlError.isSqlError(error) ? [toMigrationError(error)] : []
      })
      const error = errors.find(({ file }) => file !== undefined) ?? errors[0]
      // What is left are defects and interruption.
      return error === undefined || Cause.hasInterrupts(cause)
        ? Effect.failCause(Cause.fromReasons(cause.reasons.filter(isUnexpected)))
        : Effect.fail(error)
    })
  )

  return Effect.gen(function* () {
    // Nothing to do is found without a lock: that is the start of every process but the first.
    const applied = yield* appliedNumber
    if (applied > target.number) return []
    if (applied === target.number) {
      const changed = yield* Effect.mapError(pending(target), toMigrationError)
      if (changed.length === 0) return []
    }
    return yield* attempt.pipe(
      // Nobody answered the COMMIT: if it was done, there is nothing to do.
      Effect.retry({ while: ({ code }) => code === unknownOutcome, times: 1 }),
      Effect.retry({
        while: isRace,
        schedule: Schedule.jittered(Schedule.exponential("20 millis", 1.5)),
        times: 10
      }),
      Effect.retry({
        while: ({ code }) => code === "55P03",
        schedule: Schedule.jittered(Schedule.spaced("500 millis")).pipe(
          Schedule.while(({ elapsed }) => elapsed < Duration.toMillis(retryFor))
        )
      })
    )
  }).pipe(Effect.provideService(Silence, silence), Effect.withSpan("PgMigrator.run"))
}

const isUnexpected = (reason: Cause.Reason<unknown>): reason is Cause.Die | Cause.Interrupt =>
  !Cause.isFailReason(reason)

/**
 * Others make the same things at the same time: another process in this database, or one in another database of the
 * same cluster, as roles belong to the whole cluster. Once theirs are committed, ours are not needed.
 */
const isRace = (error: MigrationError): boolean =>
  error.code !== undefined &&
  (["23505", "42710", "42P06", "42P07", "42723", "40P01", "40001"].includes(error.code) ||
    (error.code === "XX000" && /concurrently/.test(error.message)))
