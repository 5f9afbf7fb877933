/** The server for all measurements, and its databases. */
import { PgClient } from "@effect/sql-pg"
import { Effect, Exit, type Layer, Redacted, Scope } from "effect"
import type { SqlClient } from "effect/sql"
import type { Config } from "../../test/support/Databases.ts"
import { configOf, freshDatabase } from "../../test/support/Databases.ts"
import { start } from "../../test/support/PgServer.ts"
import { serverTime } from "./cpu.ts"

/** A fresh database, dropped by `close`. */
export interface Database {
  /** For the program. */
  readonly app: Config
  /** For the owner. */
  readonly owner: Config
  /** For drivers that take a URL. */
  readonly url: string
  readonly close: () => Promise<void>
}

/** A running server. */
export interface Server {
  readonly newDatabase: () => Promise<Database>
  readonly describe: () => Promise<string>
  /** CPU seconds of its processes; Linux only. */
  readonly cpuTime: () => Promise<number>
  readonly stop: () => Promise<void>
}

const urlOf = ({ database, host, password, port, username }: Config): string => {
  const url = new URL("postgres://localhost")
  url.hostname = host ?? "localhost"
  url.port = String(port ?? 5432)
  url.username = username ?? "postgres"
  url.password = Redacted.isRedacted(password) ? Redacted.value(password) : ""
  url.pathname = database ?? ""
  return url.href
}

/** Runs statements as the owner of a database. */
export const execute = (config: Config, ...statements: ReadonlyArray<string>): Promise<void> =>
  Effect.runPromise(
    PgClient.PgClient.use((sql) =>
      Effect.forEach(statements, (statement) => sql.unsafe(statement).unprepared, { discard: true })
    ).pipe(Effect.provide(PgClient.layer({ ...config, maxConnections: 1 })))
  )

/** The rows of a query as the owner of a database. */
export const query = <Row extends object>(config: Config, text: string): Promise<ReadonlyArray<Row>> =>
  Effect.runPromise(
    PgClient.PgClient.use((sql) => sql.unsafe<Row>(text)).pipe(
      Effect.provide(PgClient.layer({ ...config, maxConnections: 1 }))
    )
  )

const settings = ["server_version", "fsync", "synchronous_commit", "shared_buffers", "max_wal_size", "jit"]

/** Starts the embedded server with default settings, fsync included, but for the number of connections. */
export const startServer = async (): Promise<Server> => {
  const server = await start({ settings: { max_connections: "400", synchronous_commit: "on" } })
  const config = configOf(server)
  return {
    newDatabase: async () => {
      const scope = await Effect.runPromise(Scope.make())
      const { app, owner } = await Effect.runPromise(Scope.provide(freshDatabase(config), scope))
      return {
        app,
        owner,
        url: urlOf(owner),
        close: () => Effect.runPromise(Scope.close(scope, Exit.void))
      }
    },
    describe: async () => {
      const values = await Promise.all(
        settings.map(async (name) => {
          const [row] = await query<Record<string, string>>(config, `show ${name}`)
          return `${name} ${Object.values(row ?? {})[0]}`
        })
      )
      return values.join(", ")
    },
    cpuTime: () => serverTime(server),
    stop: () => server.stop()
  }
}

/** A client with the store's settings. */
export const client = (
  config: Config,
  maxConnections = 10
): Layer.Layer<PgClient.PgClient | SqlClient.SqlClient, unknown> =>
  PgClient.layer({ ...config, maxConnections })
