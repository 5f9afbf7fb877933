/** Databases of key vaults for tests: apart from the events, and migrated. */
import { PgClient } from "@effect/sql-pg"
import { Config, Effect, Layer, Redacted, type Scope } from "effect"
import { SqlClient } from "effect/sql"
import { randomUUID } from "node:crypto"
import type { KeyVault } from "../../src/forgetting/KeyVault.ts"
import * as PgEmbedded from "../../src/pg/PgEmbedded.ts"
import * as PgKeyVault from "../../src/pg/PgKeyVault.ts"
import { type Database, servers, type TestServer } from "./Databases.ts"

/** A new root key, as a configuration has it. */
export const newRootKey = (): string =>
  Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("base64")

/** The setting of a vault with a root key. */
export const keyOf = (key: string): Config.Config<Redacted.Redacted> => Config.succeed(Redacted.make(key))

/** Runs an effect with a client of its own. */
export const withClient = <A, E, R>(
  config: Database["owner"],
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, unknown, Exclude<R, SqlClient.SqlClient | PgClient.PgClient>> =>
  Effect.provide(effect, PgClient.layer({ ...config, maxConnections: 1 }), { local: true })

/** An empty database on a server, dropped when the scope closes. */
export const emptyDatabase = (server: TestServer): Effect.Effect<Database, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { app, owner } = yield* server.freshDatabase
    const name = `${String(owner.database)}_${randomUUID().slice(0, 8)}`
    const run = (text: (sql: SqlClient.SqlClient) => Effect.Effect<unknown, unknown>) =>
      withClient(owner, SqlClient.SqlClient.use(text))
    yield* Effect.acquireRelease(
      run((sql) => sql`create database ${sql(name)} template template0`),
      () => Effect.orDie(run((sql) => sql`drop database ${sql(name)} with (force)`))
    )
    return { name, owner: { ...owner, database: name }, app: { ...app, database: name } }
  }).pipe(Effect.orDie)

/** A migrated database for a vault, without a vault yet. */
export const vaultDatabase = (server: TestServer): Effect.Effect<Database, never, Scope.Scope> =>
  Effect.gen(function* () {
    const database = yield* emptyDatabase(server)
    yield* withClient(
      database.owner,
      Effect.gen(function* () {
        yield* PgKeyVault.migrate
        const sql = yield* SqlClient.SqlClient
        yield* sql`grant eventsourcing_vault to ${sql(String(database.app.username))}`
      })
    )
    return database
  }).pipe(Effect.orDie)

/** A database without events, embedded, migrated for a vault. */
const embeddedVault: Layer.Layer<SqlClient.SqlClient> = PgKeyVault.layerMigrations.pipe(
  Layer.provideMerge(PgEmbedded.layerWith({ migrate: false })),
  Layer.orDie
)

/** A new vault in a database, with its own client: a process. */
export const vaultOn = (
  config: Database["app"],
  key: string,
  createIfMissing = false
): Layer.Layer<KeyVault, unknown> =>
  Layer.fresh(PgKeyVault.layer({ key: keyOf(key), createIfMissing })).pipe(
    Layer.provide(PgClient.layer({ ...config, maxConnections: 3 }))
  )

/** New vaults in databases, embedded and on every server. */
export const vaultBackends: ReadonlyArray<{ readonly name: string; readonly layer: Layer.Layer<KeyVault> }> =
  [
    {
      name: "PGlite",
      layer: Layer.suspend(() =>
        PgKeyVault.layer({ key: keyOf(newRootKey()), createIfMissing: true }).pipe(
          Layer.provide(embeddedVault),
          Layer.orDie
        )
      )
    },
    ...servers.map((server) => ({
      name: server.name,
      layer: Layer.unwrap(
        Effect.map(vaultDatabase(server), ({ app }) => vaultOn(app, newRootKey(), true))
      ).pipe(Layer.orDie)
    }))
  ]
