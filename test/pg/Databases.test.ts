import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import { type Config, configOf, freshDatabase, servers } from "../support/Databases.ts"
import { start } from "../support/PgServer.ts"

const query = <A extends object>(config: Config, statement: string) =>
  PgClient.PgClient.use((sql) => sql.unsafe<A>(statement)).pipe(Effect.provide(PgClient.layer(config)))

describe.each(servers)("a fresh database on $name", (server) => {
  it.live("is migrated and open to an ordinary role", () =>
    Effect.gen(function* () {
      const { app } = yield* server.freshDatabase
      const rows = yield* query(
        app,
        `select rolsuper, rolbypassrls, pg_has_role('eventsourcing_tenant', 'member') as tenant,
            pg_has_role('eventsourcing_all_tenants', 'member') as all_tenants,
            (select nspowner <> r.oid from pg_namespace where nspname = 'eventsourcing') as foreign_schema
          from pg_roles r where rolname = current_user`
      )
      assert.deepStrictEqual(rows, [
        { rolsuper: false, rolbypassrls: false, tenant: true, all_tenants: true, foreign_schema: true }
      ])
    }).pipe(Effect.scoped)
  )

  it.live("is used by no one else and removed when the scope closes", () =>
    Effect.gen(function* () {
      const [one, two] = yield* Effect.all([server.freshDatabase, server.freshDatabase], { concurrency: 2 })
      yield* query(one.owner, "create table mine ()")
      const left = yield* query(two.owner, "select to_regclass('mine')::text as mine")
      assert.deepStrictEqual(left, [{ mine: null }])
      return one
    }).pipe(
      Effect.scoped,
      Effect.flatMap(({ owner }) => Effect.option(query(owner, "select 1"))),
      Effect.map((answer) => assert.isTrue(Option.isNone(answer)))
    )
  )
})

describe("a private server", () => {
  it.live("keeps what was committed when it is killed", () =>
    Effect.gen(function* () {
      const server = yield* Effect.acquireRelease(
        Effect.promise(() => start({ settings: { work_mem: "5MB" } })),
        ({ stop }) => Effect.promise(stop)
      )
      const { owner } = yield* freshDatabase(configOf(server))
      yield* query(owner, "create table kept as select 1 as value")
      yield* Effect.promise(server.kill9)
      yield* Effect.promise(server.restart)
      const rows = yield* query(owner, "select value, current_setting('work_mem') as work_mem from kept")
      assert.deepStrictEqual(rows, [{ value: 1, work_mem: "5MB" }])
    }).pipe(Effect.scoped)
  )
})
