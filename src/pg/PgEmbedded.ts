/**
 * PostgreSQL inside the process: PGlite behind the same client as a server.
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, Schema, type Scope } from "effect"
import type { Reactivity } from "effect/reactivity"
import { SqlClient } from "effect/sql"
import { createHash } from "node:crypto"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as PgMigrator from "./PgMigrator.ts"
import * as Pglite from "./pglite/start.ts"
import * as PgliteLock from "./pglite/lock.ts"
import { makeSession } from "./pglite/session.ts"

/**
 * Raised when the package `@electric-sql/pglite`, an optional peer dependency, is not installed.
 */
export class PgliteNotInstalled extends Schema.TaggedError<PgliteNotInstalled>()("PgliteNotInstalled", {}) {
  override get message(): string {
    return "The embedded database needs PGlite. Install it: npm install @electric-sql/pglite"
  }
}

/**
 * Raised when a data directory is already open, in this or in another process.
 *
 * **Details**
 *
 * `pid` and `host` name the process that has it, if `lockFile` can be read. The lock of a dead process does not block. On
 * another machine, in another container or with an unreadable lock file, a dead process cannot be recognised: make sure that
 * nobody uses the directory, then delete `lockFile`.
 */
export class DataDirectoryInUse extends Schema.TaggedError<DataDirectoryInUse>()("DataDirectoryInUse", {
  directory: Schema.String,
  lockFile: Schema.String,
  pid: Schema.optionalKey(Schema.Int),
  host: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    const holder = this.pid === undefined ? "another process" : `process ${this.pid} on ${this.host ?? "?"}`
    return (
      `The data directory ${this.directory} is in use by ${holder}. ` +
      `Stop it, or use another directory. If it is certain that nobody uses it, delete ${this.lockFile}`
    )
  }
}

/**
 * Raised when a data directory cannot be used: it is not a directory, is not accessible, contains files that are not a
 * database, or contains a database that PostgreSQL cannot open. `problem` says which.
 */
export class DataDirectoryUnusable extends Schema.TaggedError<DataDirectoryUnusable>()(
  "DataDirectoryUnusable",
  {
    directory: Schema.String,
    problem: Schema.String,
    cause: Schema.optionalKey(Schema.Defect())
  }
) {
  override get message(): string {
    return `The data directory ${this.directory} cannot be used: ${this.problem}`
  }
}

/**
 * Raised when PGlite is installed but does not start, for example for lack of memory.
 */
export class PgliteStartFailed extends Schema.TaggedError<PgliteStartFailed>()("PgliteStartFailed", {
  problem: Schema.String,
  cause: Schema.Defect()
}) {
  override get message(): string {
    return `PGlite did not start: ${this.problem}`
  }
}

/** Reasons why an embedded database does not start. */
export type PgEmbeddedError =
  | PgliteNotInstalled
  | DataDirectoryInUse
  | DataDirectoryUnusable
  | PgliteStartFailed
  | PgMigrator.MigrationError

/** Settings of {@link layerWith}. */
export interface Options {
  /**
   * The directory of the data, created if missing. It must hold nothing else. Default: none, and the data is in memory.
   */
  readonly dataDirectory?: string | undefined
  /** Apply the migrations of this library when the database starts. Default: true. */
  readonly migrate?: boolean | undefined
}

const problemOf = (error: unknown): string => {
  if (error instanceof Pglite.StartFailure) {
    return error.log === "" ? problemOf(error.cause) : error.log
  }
  return error instanceof Error ? error.message : String(error)
}

const unusable = (directory: string) => (cause: unknown) =>
  new DataDirectoryUnusable({ directory, problem: problemOf(cause), cause })

const checkContent = Effect.fnUntraced(function* (
  directory: string
): Effect.fn.Return<void, PgEmbeddedError> {
  const content = yield* Effect.try({ try: () => Pglite.inspect(directory), catch: unusable(directory) })
  if (content === "foreign") {
    return yield* new DataDirectoryUnusable({
      directory,
      problem: "it contains files that are not a database. Use a directory of its own"
    })
  }
})

const lockDirectory = Effect.fnUntraced(function* (
  directory: string
): Effect.fn.Return<void, PgEmbeddedError, Scope.Scope> {
  yield* Effect.try({
    try: () => Fs.mkdirSync(directory, { recursive: true, mode: 0o700 }),
    catch: unusable(directory)
  })
  // first, so that a foreign directory is left unchanged
  yield* checkContent(directory)
  const attempt = yield* Effect.acquireRelease(
    Effect.try({ try: () => PgliteLock.acquire(directory), catch: unusable(directory) }),
    (lock) => Effect.sync(() => (lock._tag === "Acquired" ? lock.release() : undefined))
  )
  if (attempt._tag === "Held") {
    return yield* new DataDirectoryInUse({
      directory,
      lockFile: Path.join(directory, PgliteLock.lockName),
      ...(attempt.holder === undefined ? {} : { pid: attempt.holder.pid, host: attempt.holder.host })
    })
  }
  yield* checkContent(directory)
})

/** Starts a database; `keep` keeps a copy of it for later starts. */
const open = Effect.fnUntraced(function* (
  { dataDirectory }: Pick<Options, "dataDirectory">,
  schema?: string
): Effect.fn.Return<
  { readonly client: PgClient.PgClient; readonly keep: Effect.Effect<void> },
  PgEmbeddedError,
  Scope.Scope | Reactivity.Reactivity
> {
  const failed = (cause: unknown) => new PgliteStartFailed({ problem: problemOf(cause), cause })
  const pglite = yield* Effect.tryPromise({ try: () => Pglite.load(), catch: failed })
  if (pglite === undefined) return yield* new PgliteNotInstalled()

  const directory = dataDirectory === undefined ? undefined : Path.resolve(dataDirectory)
  if (directory !== undefined) yield* lockDirectory(directory)

  const start = async () => {
    if (directory !== undefined) return { database: await Pglite.startInDirectory(pglite, directory) }
    if (schema !== undefined) return Pglite.startWithSchema(pglite, schema)
    return { database: await Pglite.startInMemory(pglite) }
  }
  let keep: (() => Promise<void>) | undefined
  const session = yield* Effect.acquireRelease(
    Effect.tryPromise({
      try: async () => {
        const started = await start()
        if ("keep" in started) keep = started.keep
        return makeSession(started.database)
      },
      catch: (cause): PgEmbeddedError => (directory === undefined ? failed : unusable(directory))(cause)
    }),
    (running) =>
      Effect.tryPromise(() => running.close()).pipe(
        Effect.catch((error) => Effect.logWarning("The embedded database did not close cleanly", error))
      )
  )

  const client = yield* PgClient.make({
    username: "postgres",
    database: "postgres",
    stream: session.connect,
    // there is one backend: a second connection would share its transactions
    maxConnections: 1,
    // It waits for no network: a slow start is no reason to fail.
    connectTimeout: "2 minutes",
    minConnections: 1,
    idleTimeout: "1 day"
  }).pipe(Effect.mapError(failed))
  Pglite.registerSession(client, session)
  return {
    // marks a client with one session, so that no code waits for a second connection
    client: Object.assign(client, { driver: "pglite" }),
    keep: Effect.ignore(
      Effect.tryPromise(async () => {
        if (keep === undefined) return
        await session.run("checkpoint")
        await keep()
      })
    )
  }
})

/**
 * Starts an embedded database without migrations. It ends with the scope.
 *
 * **When to use**
 *
 * For programs that need the client as a value; others use {@link layer} or {@link layerWith}.
 */
export const make = (
  options: Pick<Options, "dataDirectory">
): Effect.Effect<PgClient.PgClient, PgEmbeddedError, Scope.Scope | Reactivity.Reactivity> =>
  Effect.map(open(options), ({ client }) => client)

/** Changes with the files of the migrations. */
const schema = PgMigrator.files
  .reduce((hash, { path, sql }) => hash.update(`${path}\0${sql}\0`), createHash("sha256"))
  .digest("hex")
  .slice(0, 16)

/** A database with the schema: a copy of an earlier one, as long as the files are the same. */
const makeMigrated = Effect.fnUntraced(function* (options: Pick<Options, "dataDirectory">) {
  const { client, keep } = yield* open(options, schema)
  yield* Effect.andThen(PgMigrator.run, keep).pipe(Effect.provideService(SqlClient.SqlClient, client))
  return client
})

/**
 * An embedded database, in memory or in a directory, as the client of the program.
 *
 * **When to use**
 *
 * For development, tests, demonstrations and programs for one machine. For anything else use a PostgreSQL server and
 * `PgClient.layer`: the client, the SQL and the migrations are the same.
 *
 * **Details**
 *
 * Provides what `PgClient.layer` provides, with the migrations of this library applied. There is one connection:
 * transactions wait for one another, and other statements wait for the transaction. Closing the scope ends with a
 * checkpoint. A checkpoint is also made whenever the write-ahead log has grown by 16 MB.
 *
 * With `dataDirectory`, a committed transaction survives the end of the process, `SIGKILL` included; the start after a
 * kill takes up to half a second longer. Commits reach the operating system at once, but are not forced to the disk: a
 * crash of the *machine* may lose the newest of them and may damage the database. PGlite cannot do better.
 *
 * The first start creates a database, which takes seconds, and keeps a copy in `node_modules/.cache/effect-eventsourcing`: of an
 * empty database for directories (5 MB), of one with the migrations for memory (30 MB). New databases start from the copy in a
 * fraction of a second. If that directory cannot be written, each new database takes seconds.
 *
 * **Gotchas**
 *
 * - Statements run on the thread of the program. While one runs, nothing else does, and it cannot be cancelled: a timeout
 *   takes effect after its end.
 * - `PgClient.listen` keeps the only connection, so everything else waits; `PgClient.notify` inside a transaction
 *   waits for ever. Use `select pg_notify(…)`.
 * - A data directory has one user at a time; see {@link DataDirectoryInUse}.
 * - There is no autovacuum. Run `vacuum analyze` now and then if rows are updated or deleted a lot.
 * - Every client is the superuser `postgres`, to whom row-level security does not apply until the role is changed.
 */
export const layerWith = ({
  dataDirectory,
  migrate = true
}: Options): Layer.Layer<PgClient.PgClient | SqlClient.SqlClient, PgEmbeddedError> =>
  PgClient.layerFrom((migrate ? makeMigrated : make)({ dataDirectory }))

/**
 * An embedded database in memory, gone with the scope.
 *
 * See {@link layerWith}.
 */
export const layer: Layer.Layer<PgClient.PgClient | SqlClient.SqlClient, PgEmbeddedError> = layerWith({})
