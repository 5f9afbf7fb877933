/**
 * A fresh database with a table of the user, registered with `eventsourcing.register_read_model`.
 */
import { PgClient } from "@effect/sql-pg"
import { assert } from "@effect/vitest"
import { Context, Effect, Layer, type Scope } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import type { AdministrationStorage } from "../../src/driver/AdministrationStorage.ts"
import type { SnapshotStorage } from "../../src/driver/SnapshotStorage.ts"
import * as PgEmbedded from "../../src/pg/PgEmbedded.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import * as PgMigrator from "../../src/pg/PgMigrator.ts"
import * as TenantIsolationSuite from "../../src/testing/TenantIsolationSuite.ts"
import type { Config, Database, TestServer } from "./Databases.ts"

/** A client, and the store on it. */
export type Store =
  | TenantIsolationSuite.Services
  | AdministrationStorage
  | SnapshotStorage
  | SqlClient.SqlClient
  | PgClient.PgClient

/** A database, with access from outside. */
export class TenantDatabase extends Context.Service<
  TenantDatabase,
  Database & {
    /** Runs a statement as the superuser on a separate connection, as operators do. */
    readonly outside: <A extends object>(
      statement: string,
      parameters?: ReadonlyArray<unknown>
    ) => Effect.Effect<ReadonlyArray<A>, SqlError.SqlError>
    /** The store of the program, with its own pool. */
    readonly store: (config?: Partial<Config>) => Effect.Effect<Context.Context<Store>, never, Scope.Scope>
  }
>()("test/TenantDatabase") {}

const tables = `
  create table public.read_model (
    tenant_id uuid not null, id text not null, value text not null, primary key (tenant_id, id)
  );
  perform eventsourcing.register_read_model('public.read_model');
  perform eventsourcing.add_placement('here');
  perform eventsourcing.add_placement('there');
  create table public.scratch (value text not null);
  grant select, insert on public.scratch to public`

const prepare = (sql: SqlClient.SqlClient) => Effect.orDie(sql.unsafe(`do $do$ begin ${tables}; end $do$`))

/** A store with its own client. */
export const storeWith = (config: Config): Effect.Effect<Context.Context<Store>, never, Scope.Scope> =>
  Effect.flatMap(Effect.scope, (scope) =>
    Layer.buildWithMemoMap(
      TenantIsolationSuite.layer(
        // Announcements would tidy up connections in the background.
        PgStorage.layerWith({ announce: false }).pipe(Layer.provideMerge(PgClient.layer(config)), Layer.orDie)
      ),
      // built afresh, because within another store the layers of that one would be used
      Layer.makeMemoMapUnsafe(),
      scope
    )
  )

/** A fresh database on a server. */
export const layerOn = (server: TestServer): Layer.Layer<TenantDatabase> =>
  Layer.effect(
    TenantDatabase,
    Effect.gen(function* () {
      const database = yield* server.freshDatabase
      const services = yield* Effect.orDie(
        Layer.build(PgClient.layer({ ...database.owner, maxConnections: 2 }))
      )
      const sql = Context.get(services, PgClient.PgClient)
      yield* prepare(sql)
      return TenantDatabase.of({
        ...database,
        outside: (statement, parameters) => sql.unsafe(statement, parameters),
        store: (config) => storeWith({ ...database.app, ...config })
      })
    })
  )

/** A fresh embedded database, where all share the superuser's one connection. */
export const layerEmbedded: Layer.Layer<TenantDatabase> = Layer.effect(
  TenantDatabase,
  Effect.gen(function* () {
    const services = yield* Layer.build(
      TenantIsolationSuite.layer(
        PgStorage.layerWith({ announce: false }).pipe(
          Layer.provideMerge(PgMigrator.layer),
          Layer.provideMerge(PgEmbedded.layer),
          Layer.orDie
        )
      )
    )
    const sql = Context.get(services, PgClient.PgClient)
    yield* prepare(sql)
    const config = { username: "postgres", database: "postgres" }
    return TenantDatabase.of({
      name: "postgres",
      owner: config,
      app: config,
      outside: (statement, parameters) => sql.unsafe(statement, parameters),
      store: () => Effect.succeed(services)
    })
  })
)

/** Fails unless the pool of one connection is clean: the next user finds no tenant, role or open transaction. */
export const assertClean: Effect.Effect<void, SqlError.SqlError, TenantDatabase | SqlClient.SqlClient> =
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const { outside } = yield* TenantDatabase
    const found = yield* sql<{ pid: number; tenant: string | null; role: string; own: boolean }>`
      select pg_backend_pid() as pid, nullif(current_setting('eventsourcing.tenant_id', true), '') as tenant,
        current_setting('role') as role, current_user = session_user as own`
    const pid = found[0]?.pid ?? assert.fail("no answer")
    assert.deepStrictEqual(found, [{ pid, tenant: null, role: "none", own: true }])
    // Work that nobody waits for any more may be on it for a moment.
    const sessions = yield* outside<{ state: string }>("select state from pg_stat_activity where pid = $1", [
      pid
    ]).pipe(
      Effect.tap(([session]) => (session?.state === "active" ? Effect.sleep("5 millis") : Effect.void)),
      Effect.repeat({ until: ([session]) => session?.state !== "active", times: 1_000 })
    )
    assert.deepStrictEqual(sessions, [{ state: "idle" }])
  })
