/** Applies SQL files to a database: those whose text has changed, in one transaction, never to a newer schema. */
import { Cause, Duration, Effect, Result, Schedule, Schema } from "effect"
import { SqlClient, SqlError } from "effect/sql"
import { createHash } from "node:crypto"
import { guarded, Silence } from "./deadlines.ts"
import type { SqlFile } from "./sqlFiles.ts"
import { isLostCommit, withTransaction } from "./transactions.ts"
import { spanned } from "../telemetry/spanned.ts"

/**
 * Raised when the schema cannot be applied. Nothing was changed.
 *
 * **Details**
 *
 * `file` and `line` give the place, `code` is the SQLSTATE, and the message contains PostgreSQL's message and the remedy.
 */
export class MigrationError extends Schema.TaggedError<MigrationError>()("MigrationError", {
  message: Schema.String,
  file: Schema.optionalKey(Schema.String),
  line: Schema.optionalKey(Schema.Int),
  code: Schema.optionalKey(Schema.String),
  cause: Schema.optionalKey(Schema.Defect())
}) {}

/** The schema to apply: the files in order, and their schema number. */
export interface Target {
  readonly files: ReadonlyArray<SqlFile>
  readonly number: number
  /** Default: `eventsourcing`. */
  readonly schema?: Schemas | undefined
}

/** Schemas with a table of applied files and a number. */
export type Schemas = "eventsourcing" | "eventsourcing_vault"

/** Limits on waiting for locks. */
export interface MigrateOptions {
  /**
   * Maximum wait of a statement for a lock. Default: 200 ms. A statement that waits for a table's lock holds up later appends,
   * so it gives up soon, and everything is rolled back and tried again.
   */
  readonly lockTimeout?: Duration.Input | undefined
  /** Time for which it tries again while others hold locks. Default: 5 minutes. */
  readonly retryFor?: Duration.Input | undefined
  /**
   * Maximum wait for the answer to a statement, after which the connection is closed. An index must be built within this time.
   * Default: 10 minutes more than `retryFor`.
   */
  readonly silence?: Duration.Input | undefined
}

/**
 * True for files that are applied together with any other: the first checks the rights of this role, the last grants rights on the
 * objects of the files in between.
 */
const always = /^(?:vault\/)?(?:roles|privileges)\.sql$/

/** Changes of data are applied once. */
const once = /^(?:vault\/)?changes\//

/** The part of a server error that the client passes on. */
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
  // roles.sql names the missing right and the statement that grants it
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
  const subject = file === undefined ? "The migrations failed" : `${file.path} failed`
  const at = line === undefined ? "" : ` at line ${line}`
  const texts = [message, detail, hint].filter((text) => text !== undefined).join(". ")
  return new MigrationError({
    message: `${subject}${at}: ${texts}${code === undefined ? "" : ` (${code.length === 5 ? "SQLSTATE " : ""}${code})`}. ${advice(code, hint)}`,
    ...(file === undefined ? {} : { file: file.path }),
    ...(line === undefined ? {} : { line }),
    ...(code === undefined ? {} : { code }),
    cause: error
  })
}

const toMigrationError = (error: SqlError.SqlError | MigrationError): MigrationError =>
  error._tag === "MigrationError" ? error : describe(error)

/** Runs a file inside `execute`, which accepts several statements in one string; the protocol of the client does not. */
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

/** The number of a schema in the database; 0 if it has none. */
export const appliedNumber = (
  schema: Schemas = "eventsourcing"
): Effect.Effect<number, MigrationError, SqlClient.SqlClient> =>
  SqlClient.SqlClient.use((sql) =>
    guarded(
      sql,
      Effect.gen(function* () {
        const [found] = yield* sql<{ exists: boolean }>`
          select pg_catalog.to_regprocedure(${`${schema}.schema_version()`}) is not null as exists`
          .withoutTransform
        if (found?.exists !== true) return 0
        const [row] = yield* sql<{ number: number }>`
          select ${sql(`${schema}.schema_version`)}() as number`.withoutTransform
        return row?.number ?? 0
      })
    )
  ).pipe(Effect.mapError(toMigrationError))

const tableOf = ({ schema = "eventsourcing" }: Target): string => `${schema}.schema_files`

/** Files that the database lacks or has with another text. */
export const pending = Effect.fnUntraced(function* (
  target: Target
): Effect.fn.Return<ReadonlyArray<SqlFile>, SqlError.SqlError, SqlClient.SqlClient> {
  const { files } = target
  const table = tableOf(target)
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

/** The paths of the files that {@link migrate} would apply. */
export const unapplied = (
  target: Target
): Effect.Effect<ReadonlyArray<string>, MigrationError, SqlClient.SqlClient> =>
  Effect.flatMap(appliedNumber(target.schema), (applied) =>
    applied > target.number
      ? Effect.succeed([])
      : Effect.mapBoth(pending(target), {
          onSuccess: (files) => files.map(({ path }) => path),
          onFailure: toMigrationError
        })
  )

/** The number of the lock that migrators of one database take. */
const lock = 7_305_214

/**
 * Applies the files that the database lacks or has with another text, and returns their paths. A database with a newer schema
 * is left unchanged.
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
    // The statement timeout of the client or the role is too short for building an index.
    yield* set("statement_timeout", 0)
    // One migrator works at a time; the others then find nothing to do. Only migrators take this lock, so no append waits for
    // it.
    yield* set("lock_timeout", Math.max(1, Math.round(Duration.toMillis(retryFor))))
    yield* sql`select pg_catalog.pg_advisory_xact_lock(${lock})`
    yield* set("lock_timeout", lockTimeout)
    if ((yield* appliedNumber(target.schema)) > target.number) return []
    const changed = yield* pending(target)
    if (changed.length === 0) return []
    const paths = new Set(changed.map(({ path }) => path))
    const files = target.files.filter(({ path }) => paths.has(path) || always.test(path))
    for (const file of files) yield* execute(file)
    yield* sql`
      insert into ${sql(tableOf(target))} (path, sha256)
      select * from unnest(${files.map(({ path }) => path)}::pg_catalog.text[], ${files.map(sha256)}::pg_catalog.text[])
      on conflict (path) do update set sha256 = excluded.sha256, applied_at = pg_catalog.now()`
    return changed.map(({ path }) => path)
  })

  const attempt = SqlClient.SqlClient.use((sql) => withTransaction(sql)(inTransaction)).pipe(
    // Every statement must see what others have committed.
    Effect.provideService(SqlClient.BeginTransaction, "BEGIN ISOLATION LEVEL READ COMMITTED"),
    Effect.catchCause((cause): Effect.Effect<never, MigrationError> => {
      // If the connection is lost, the rollback fails as well and turns earlier errors into defects.
      const errors = cause.reasons.flatMap((reason) => {
        const error = Cause.isFailReason(reason)
          ? reason.error
          : Cause.isDieReason(reason)
            ? reason.defect
            : undefined
        return error instanceof MigrationError || SqlError.isSqlError(error) ? [toMigrationError(error)] : []
      })
      const error = errors.find(({ file }) => file !== undefined) ?? errors[0]
      // Only defects and interruption are left.
      return error === undefined || Cause.hasInterrupts(cause)
        ? Effect.failCause(Cause.fromReasons(cause.reasons.filter(isUnexpected)))
        : Effect.fail(error)
    })
  )

  return Effect.gen(function* () {
    // Checked without a lock first, because most processes start with nothing to apply.
    const applied = yield* appliedNumber(target.schema)
    if (applied > target.number) return []
    if (applied === target.number) {
      const changed = yield* Effect.mapError(pending(target), toMigrationError)
      if (changed.length === 0) return []
    }
    return yield* attempt.pipe(
      // The COMMIT was not answered. If it succeeded, there is nothing left to apply.
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
  }).pipe(Effect.provideService(Silence, silence), (run) => spanned("migrate", undefined, () => run))
}

const isUnexpected = (reason: Cause.Reason<unknown>): reason is Cause.Die | Cause.Interrupt =>
  !Cause.isFailReason(reason)

/**
 * True if another process creates the same objects at the same time, in this database or (roles belong to the whole cluster) in
 * another one. After its commit they exist.
 */
const isRace = (error: MigrationError): boolean =>
  error.code !== undefined &&
  (["23505", "42710", "42P06", "42P07", "42723", "40P01", "40001"].includes(error.code) ||
    (error.code === "XX000" && /concurrently/.test(error.message)))
