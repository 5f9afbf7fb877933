/** Finds settings of a client, a server or a pooler that let a program hang or miss announcements. */
import { PgClient, PgConnection } from "@effect/sql-pg"
import { Deferred, Effect, Exit, Schema, Scope } from "effect"
import type { SqlClient, SqlError } from "effect/sql"
import { deadlineOf, guarded, within } from "./deadlines.ts"
import { listensElsewhere } from "./listener.ts"
import { listed, Problems } from "./problems.ts"

/** Raised when a setting lets a program hang or miss announcements. Each problem has its remedy. */
export class SettingsIncomplete extends Schema.TaggedError<SettingsIncomplete>()("SettingsIncomplete", {
  problems: Problems
}) {
  override get message(): string {
    return `settings of the database or its client are incomplete: ${listed(this.problems)}`
  }
}

type Problem = SettingsIncomplete["problems"][number]

type Found = Effect.Effect<ReadonlyArray<Problem>, SqlError.SqlError>

const ofServer = (sql: SqlClient.SqlClient): Found =>
  Effect.withFiber(({ context }) => {
    const silence = deadlineOf(context, sql)
    const timeouts = sql<{ name: string; millis: number }>`
      select name, setting::pg_catalog.float8 as millis from pg_catalog.pg_settings
      where name in ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout')
      order by name`
    return Effect.map(guarded(sql, timeouts.withoutTransform), (rows) =>
      rows.flatMap(({ name, millis }): ReadonlyArray<Problem> => {
        if (millis === 0)
          return [
            {
              problem: `${name} is not set: hanging work holds its connection and its locks`,
              remedy: `use PgServer.layer, or run: alter role … set ${name} = '30s'`
            }
          ]
        return name !== "idle_in_transaction_session_timeout" && millis >= silence
          ? [
              {
                problem: `${name} is ${millis} ms, and PgTenant.Silence ${silence} ms: the connection is closed before the server reports the outcome of the work`,
                remedy: `set ${name} lower than PgTenant.Silence`
              }
            ]
          : []
      })
    )
  })

const ofClient = ({
  host,
  keepAlive,
  multiplex,
  path,
  stream
}: PgClient.PgClientConfig): ReadonlyArray<Problem> => {
  const problems: Array<Problem> = []
  const tcp = stream === undefined && path === undefined && host?.startsWith("/") !== true
  if (tcp && keepAlive === undefined)
    problems.push({
      problem: "keepAlive is not set: the loss of an idle connection goes unnoticed",
      remedy: 'use PgServer.layer, or set keepAlive: "15 seconds"'
    })
  if (multiplex === true)
    problems.push({
      problem:
        "multiplex is set: statements of your own outside of transactions cannot be interrupted, and never end on a silent connection",
      remedy: "set multiplex: false, or run them in PgTenant.transaction"
    })
  return problems
}

/** Opens connections beside the pool for the duration of an effect. */
const beside = <A>(
  config: PgClient.PgClientConfig,
  use: (
    connect: Effect.Effect<PgConnection.PgConnection, SqlError.SqlError>
  ) => Effect.Effect<A, SqlError.SqlError>
): Effect.Effect<A, SqlError.SqlError> =>
  Effect.acquireUseRelease(
    Effect.sync(() => Scope.makeUnsafe()),
    (scope) => use(Scope.provide(PgConnection.make({ ...config, multiplex: false, prepare: false }), scope)),
    (scope) => Scope.close(scope, Exit.void)
  )

const pidOf = (connection: PgConnection.PgConnection): Effect.Effect<number, SqlError.SqlError> =>
  Effect.map(connection.queryValues("select pg_catalog.pg_backend_pid()"), ([row]) => Number(row?.[0]))

/** Time for a pooler to start transactions on the server. */
const patience = 3_000

/** Recognises a pooler, which reports other session ids than the server. */
const poolerOf = (
  config: PgClient.PgClientConfig
): Effect.Effect<"none" | "session" | "transaction", SqlError.SqlError> =>
  beside(config, (connect) =>
    Effect.gen(function* () {
      const first = yield* connect
      const before = yield* pidOf(first)
      if (before === first.processId) return "none"
      const second = yield* connect
      // If the second transaction gets the first one's server connection, the first must take another.
      yield* second.query("begin")
      yield* pidOf(second)
      const after = yield* Effect.option(within(patience, pidOf(first)))
      return after._tag === "Some" && after.value === before ? "session" : "transaction"
    })
  )

/** Counts the transactions that a pooler runs on the server at once, up to a number. */
const transactionsAtOnce = (
  config: PgClient.PgClientConfig,
  wanted: number
): Effect.Effect<number, SqlError.SqlError> => {
  let open = 0
  const all = Deferred.makeUnsafe<void>()
  return beside(config, (connect) => {
    const one = Effect.gen(function* () {
      const connection = yield* connect
      yield* connection.query("begin")
      yield* pidOf(connection)
      if (++open === wanted) yield* Deferred.succeed(all, undefined)
      yield* Deferred.await(all)
    })
    const ones = Effect.forEach(Array.from({ length: wanted }), () => one, {
      concurrency: "unbounded",
      discard: true
    })
    return Effect.map(Effect.exit(within(patience, ones)), () => open)
  })
}

const ofPooler = (sql: SqlClient.SqlClient, config: PgClient.PgPoolConfig): Found =>
  Effect.gen(function* () {
    if (config.stream !== undefined) return []
    const pooler = yield* poolerOf(config)
    if (pooler === "none") return []
    const problems: Array<Problem> = []
    if (pooler === "transaction" && config.prepare !== false)
      problems.push({
        problem:
          "a pooler lends a connection per transaction, but statements are prepared, which other connections do not have",
        remedy: "use PgServer.layer with pooled: true, or set prepare: false"
      })
    if (pooler === "transaction" && !listensElsewhere(sql))
      problems.push({
        problem:
          "a pooler lends a connection per transaction: announcements of other processes do not pass through it, and projections wait for their next poll",
        remedy: "set the server's own address: PgStorage.layerWith({ listen: { host, port } })"
      })
    const wanted = config.maxConnections ?? 10
    const open = yield* transactionsAtOnce(config, wanted)
    if (open < wanted)
      problems.push({
        problem: `the client may open ${wanted} connections, but the pooler ran only ${open} on the server at once: the others wait for these`,
        remedy: "set maxConnections of the client no higher than the pool of the pooler"
      })
    return problems
  })

const isPgClient = (sql: SqlClient.SqlClient): sql is PgClient.PgClient => PgClient.TypeId in sql

/** Finds missing settings. The embedded database needs none. */
export const problemsOf = (sql: SqlClient.SqlClient): Found =>
  sql.driver === "pglite"
    ? Effect.succeed([])
    : Effect.gen(function* () {
        const server = yield* ofServer(sql)
        if (!isPgClient(sql)) return server
        return [...server, ...ofClient(sql.config), ...(yield* ofPooler(sql, sql.config))]
      })
