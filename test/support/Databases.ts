/**
 * Databases for tests: each one fresh, a copy of a template that is migrated once per server and run.
 */
import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer, Redacted, Schema, Scope } from "effect"
import type { SqlClient, SqlError } from "effect/sql"
import { createHash, randomUUID } from "node:crypto"
import * as PgMigrator from "../../src/pg/PgMigrator.ts"
import { type Connection, environment } from "./PgServer.ts"

/** Settings of a connection to a server or one of its databases. */
export type Config = PgClient.PgPoolConfig

/** A migrated database. */
export interface Database {
  readonly name: string
  /** For the superuser, who owns the schema. */
  readonly owner: Config
  /** For the program: `eventsourcing_app_test` owns nothing and is a member of the migrations' group roles. */
  readonly app: Config
}

/** A server that tests run on. */
export interface TestServer {
  readonly name: string
  /** Creates a migrated database, which is dropped when the scope closes. */
  readonly freshDatabase: Effect.Effect<Database, never, Scope.Scope>
}

const run = process.env[environment.run] ?? randomUUID()
const derive = (purpose: string): string => createHash("sha256").update(`${run} ${purpose}`).digest("hex")

const prefix = `eventsourcing_test_${derive("prefix").slice(0, 8)}`
const appRole = "eventsourcing_app_test"
const appPassword = derive("password")

/** Runs statements on one connection as the server's superuser. A failure is a defect of the test environment. */
const administer = <A, E>(
  server: Config,
  body: (
    sql: PgClient.PgClient
  ) => Effect.Effect<A, E | SqlError.SqlError, PgClient.PgClient | SqlClient.SqlClient>
): Effect.Effect<A> =>
  PgClient.PgClient.use(body).pipe(
    Effect.provide(PgClient.layer({ ...server, maxConnections: 1 })),
    Effect.orDie
  )

/**
 * Creates the template, unless another worker of the run has done so, and returns its name. The name changes with the
 * migrations, so a server that outlives one of them (watch mode) gets a new template.
 */
const migratedTemplate = (server: Config): Effect.Effect<string> =>
  administer(
    server,
    Effect.fnUntraced(function* (sql) {
      const template = `${prefix}_template_${derive(PgMigrator.files.map(({ sql: text }) => text).join()).slice(0, 8)}`
      // The lock belongs to the session, which ends with this client, also when the worker dies.
      yield* sql`select pg_advisory_lock(7305213)`
      const existing = yield* sql`select from pg_database where datname = ${template}`
      if (existing.length > 0) return template
      const draft = `${template}_draft`
      yield* sql`drop database if exists ${sql(draft)} with (force)`
      yield* sql`create database ${sql(draft)} template template0`
      yield* administer({ ...server, database: draft }, () => PgMigrator.run)
      yield* sql.unsafe(`
        do $$
        begin
          if not exists (select from pg_roles where rolname = '${appRole}') then create role ${appRole}; end if;
          alter role ${appRole} login nosuperuser nobypassrls nocreatedb nocreaterole password '${appPassword}';
          grant eventsourcing_tenant, eventsourcing_runner, eventsourcing_all_tenants, eventsourcing_administrator to ${appRole};
        end
        $$`)
      yield* sql`alter database ${sql(draft)} rename to ${sql(template)}`
      return template
    })
  )

/** The superuser's connection to a server, and the name of the template there. */
interface Administration {
  readonly sql: PgClient.PgClient
  readonly template: string
}

const administrate = (server: Config): Effect.Effect<Administration, never, Scope.Scope> =>
  Effect.gen(function* () {
    const template = yield* migratedTemplate(server)
    const services = yield* Layer.build(
      PgClient.layer({ ...server, maxConnections: 1, idleTimeout: "1 hour" })
    )
    return { sql: Context.get(services, PgClient.PgClient), template }
  }).pipe(Effect.orDie)

const administrations = new WeakMap<Config, Effect.Effect<Administration>>()

/**
 * Connects once for each worker and server, because a connection takes the server longer than a database. The connection ends with
 * the worker; other processes than vitest's have one for each database, which does not keep them from ending.
 */
const administrationOf = (server: Config): Effect.Effect<Administration, never, Scope.Scope> => {
  if (process.env["VITEST"] === undefined) return administrate(server)
  let found = administrations.get(server)
  if (found === undefined) {
    const made = Scope.provide(administrate(server), Scope.makeUnsafe())
    administrations.set(server, (found = Effect.runSync(Effect.cached(made))))
  }
  return found
}

/** A migrated database on the given server, dropped when the scope closes. The server's role must be a superuser. */
export const freshDatabase = (server: Config): Effect.Effect<Database, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { sql, template } = yield* administrationOf(server)
    const name = `${prefix}_${randomUUID().slice(-12)}`
    yield* Effect.acquireRelease(sql`create database ${sql(name)} template ${sql(template)}`, () =>
      Effect.orDie(sql`drop database ${sql(name)} with (force)`)
    )
    const owner = { ...server, database: name }
    return { name, owner, app: { ...owner, username: appRole, password: Redacted.make(appPassword) } }
  }).pipe(Effect.orDie)

/** The settings of the superuser's connection to a private server (`PgServer.start`). */
export const configOf = ({ host, password, port, user }: Connection): Config => ({
  host,
  port,
  username: user,
  password: Redacted.make(password),
  database: "postgres"
})

const Answer = Schema.fromJsonString(
  Schema.Struct({ host: Schema.String, port: Schema.Int, user: Schema.String, password: Schema.String })
)

/** The server of the test run: the first request starts it. */
const serverOfTheRun = Effect.gen(function* () {
  const url = process.env[environment.server]
  if (url === undefined)
    return yield* Effect.die(new Error("Outside of vitest, start a server with PgServer.start"))
  const response = yield* Effect.promise(() => fetch(url))
  const body = yield* Effect.promise(() => response.text())
  if (!response.ok) return yield* Effect.die(new Error(body))
  return configOf(yield* Schema.decodeEffect(Answer)(body))
}).pipe(Effect.orDie, Effect.cached, Effect.runSync)

const databaseUrl = process.env["DATABASE_URL"]
const external: Config | undefined =
  databaseUrl === undefined ? undefined : { url: Redacted.make(databaseUrl) }

/** All servers for tests: PostgreSQL 18 from a package and, if set, the one in DATABASE_URL. */
export const servers: ReadonlyArray<TestServer> = [
  { name: "PostgreSQL 18", freshDatabase: Effect.flatMap(serverOfTheRun, freshDatabase) },
  ...(external === undefined ? [] : [{ name: "DATABASE_URL", freshDatabase: freshDatabase(external) }])
]

/** Removes the objects of this run from the server in DATABASE_URL. */
export const cleanUp: Effect.Effect<void> =
  external === undefined
    ? Effect.void
    : administer(
        external,
        Effect.fnUntraced(function* (sql) {
          const left = yield* sql<{ name: string }>`
            select datname::text as name from pg_database where starts_with(datname::text, ${prefix})`
          for (const { name } of left) yield* sql`drop database ${sql(name)} with (force)`
          yield* sql`drop role if exists ${sql(appRole)}`
        })
      )
