/** A tenant's SQL leaves nothing on a pooled session: tried on a pool with one connection, so that all share its session. */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it, layer } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, References } from "effect"
import { SqlClient } from "effect/sql"
import * as Tenant from "../../src/domain/Tenant.ts"
import { mayOutlive } from "../../src/pg/sessionEffects.ts"
import * as PgEmbedded from "../../src/pg/PgEmbedded.ts"
import * as PgMigrator from "../../src/pg/PgMigrator.ts"
import * as PgTenant from "../../src/pg/PgTenant.ts"
import { servers } from "../support/Databases.ts"

/** Possible leftovers of SQL, by name. */
const leftovers: Readonly<Record<string, ReadonlyArray<string>>> = {
  "a temporary table": ["create temp table if not exists staging as select 'secret' as v"],
  "a temporary table of a select": ["select 'secret' as v into temp staging"],
  "a temporary view": ["create temporary view shown as select 'secret' as v"],
  "a table in pg_temp": ["create table pg_temp.staging (v text)"],
  "a held cursor": ["declare held cursor with hold for select 'secret'"],
  "a prepared statement": ["prepare mine as select 'secret'"],
  "a search path": ["set search_path = pg_catalog"],
  "a time zone": ["set time zone 'Asia/Tokyo'"],
  "a setting of the application": ["select set_config('app.secret', 'secret', false)"],
  "a setting, quoted": [`select "set_config"('app.secret', 'secret', false)`],
  "a setting, behind a comment": ["select set_config/**/('app.secret', 'secret', false)"],
  "asynchronous commit": ["set synchronous_commit = off"],
  "a timeout": ["set session statement_timeout = '1 day'"],
  "an advisory lock": ["select pg_advisory_lock(4711)"],
  "a listen": ["listen secret"],
  "a role": ["set role none"],
  "all of it, in a block": [
    `do $$ begin
      create temp table staging (v text);
      execute 'declare held cursor with hold for select 1';
      execute 'prepare mine as select 1';
      set time zone 'Asia/Tokyo';
      perform set_config('app.secret', 'secret', false), pg_advisory_lock(4711);
      listen secret;
    end $$`
  ]
}

/** The leftovers on the session; all are false or empty on a clean one. */
const found = SqlClient.SqlClient.use(
  (sql) => sql<Record<string, unknown>>`
    select
      (select count(*)::int4 from pg_class where relnamespace = pg_my_temp_schema()) as temporary,
      (select count(*)::int4 from pg_cursors where is_holdable) as cursors,
      (select count(*)::int4 from pg_prepared_statements where from_sql) as prepared,
      (select count(*)::int4 from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) as locks,
      (select count(*)::int4 from pg_listening_channels()) as channels,
      coalesce(current_setting('app.secret', true), '') as secret,
      (select coalesce(string_agg(name, ' '), '') from pg_settings
        where source = 'session' and name in ('search_path', 'TimeZone', 'synchronous_commit', 'statement_timeout')
      ) as settings`
).pipe(Effect.map(([row]) => row))

const clean = { temporary: 0, cursors: 0, prepared: 0, locks: 0, channels: 0, secret: "", settings: "" }

const execute = (statements: ReadonlyArray<string>) =>
  SqlClient.SqlClient.use((sql) =>
    Effect.forEach(statements, (statement) => sql.unsafe(statement).unprepared, { discard: true })
  )

type Body = Effect.Effect<unknown, unknown, SqlClient.SqlClient | Tenant.CurrentTenant>

/** Ways in which a transaction ends. */
const endings: Readonly<Record<string, (leave: Body) => Body>> = {
  "and commits": PgTenant.transaction,
  "in a nested transaction, and commits": (leave) => PgTenant.transaction(PgTenant.transaction(leave)),
  "and fails": (leave) => PgTenant.transaction(Effect.andThen(leave, Effect.fail("no"))),
  "and a statement fails": (leave) => PgTenant.transaction(Effect.andThen(leave, execute(["select 1 / 0"]))),
  "and ignores a failed statement": (leave) =>
    PgTenant.transaction(Effect.andThen(leave, Effect.ignore(execute(["select 1 / 0"])))),
  "and dies": (leave) => PgTenant.transaction(Effect.andThen(leave, Effect.die("no"))),
  "in a nested transaction that fails": (leave) =>
    PgTenant.transaction(Effect.ignore(PgTenant.transaction(Effect.andThen(leave, Effect.fail("no"))))),
  "and is interrupted": (leave) =>
    Effect.gen(function* () {
      const done = yield* Deferred.make<void>()
      const fiber = yield* Effect.forkChild(
        PgTenant.transaction(
          Effect.andThen(leave, Effect.andThen(Deferred.succeed(done, undefined), Effect.never))
        )
      )
      yield* Effect.raceFirst(Deferred.await(done), Fiber.await(fiber))
      yield* Fiber.interrupt(fiber)
    }),
  "and commits by itself": (leave) => PgTenant.transaction(Effect.andThen(leave, execute(["commit"]))),
  "and commits by itself, and fails": (leave) =>
    PgTenant.transaction(
      Effect.andThen(leave, Effect.andThen(execute(["commit", "begin"]), Effect.fail("no")))
    )
}

const quietly = Effect.provideService(References.MinimumLogLevel, "None")

const attacks = (
  name: string,
  client: Layer.Layer<PgClient.PgClient | SqlClient.SqlClient>,
  setUp: Layer.Layer<never, unknown, SqlClient.SqlClient> = Layer.empty
) =>
  describe(`leftovers of a tenant's SQL on a session, on ${name}`, () => {
    layer(setUp.pipe(Layer.provideMerge(client), Layer.orDie), { excludeTestServices: true })((it) => {
      for (const [ending, end] of Object.entries(endings)) {
        it.effect(`35: are invisible to the next user if a transaction leaves them ${ending}`, () =>
          Effect.gen(function* () {
            const [mine, theirs] = [yield* Tenant.generate, yield* Tenant.generate]
            for (const [what, statements] of Object.entries(leftovers)) {
              yield* Effect.exit(end(execute(statements)).pipe(Tenant.provide(mine)))
              assert.deepStrictEqual(yield* found, clean, `${what}, without a tenant`)
              assert.deepStrictEqual(
                yield* PgTenant.transaction(found).pipe(Tenant.provide(theirs)),
                clean,
                what
              )
            }
          }).pipe(quietly)
        )
      }

      it.effect("35: of a function that no statement names are invisible to the next tenant", () =>
        Effect.gen(function* () {
          const [mine, theirs] = [yield* Tenant.generate, yield* Tenant.generate]
          for (const end of [
            PgTenant.transaction,
            (leave: Body) => PgTenant.transaction(Effect.andThen(leave, Effect.fail("no")))
          ]) {
            const leave = execute(["select v from leaves_everything"])
            assert.isFalse(mayOutlive("select v from leaves_everything"))
            yield* Effect.exit(end(leave).pipe(Tenant.provide(mine)))
            const { prepared: _prepared, ...rest } = {
              ...(yield* PgTenant.transaction(found).pipe(Tenant.provide(theirs)))
            }
            assert.deepStrictEqual(rest, {
              temporary: 0,
              cursors: 0,
              locks: 0,
              channels: 0,
              secret: "",
              settings: ""
            })
          }
        })
      )

      it.effect("35: do not include the values of sequences", () =>
        Effect.gen(function* () {
          const [mine, theirs] = [yield* Tenant.generate, yield* Tenant.generate]
          yield* PgTenant.transaction(execute(["select nextval('counted')"])).pipe(Tenant.provide(mine))
          assert.isTrue(
            Exit.isFailure(
              yield* Effect.exit(
                PgTenant.transaction(execute(["select lastval()"])).pipe(Tenant.provide(theirs))
              )
            )
          )
        })
      )

      it.effect("do not include the client's own prepared statements and settings of the transaction", () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const own = sql<{
            n: number
          }>`select count(*)::int4 as n from pg_prepared_statements where not from_sql`.pipe(
            Effect.map(([row]) => row?.n ?? 0)
          )
          yield* own
          const before = yield* own
          assert.isAbove(before, 0)
          const zone = yield* PgTenant.transaction(
            Effect.andThen(
              execute(["set local time zone 'Asia/Tokyo'", "select set_config('app.secret', 'mine', true)"]),
              sql<{ zone: string; secret: string }>`
                select current_setting('TimeZone') as zone, current_setting('app.secret') as secret`
            )
          ).pipe(Tenant.provide(yield* Tenant.generate))
          assert.deepStrictEqual(zone, [{ zone: "Asia/Tokyo", secret: "mine" }])
          assert.isAtLeast(yield* own, before)
          assert.deepStrictEqual(yield* found, clean)
        })
      )

      it.effect("are removed after deferred constraints were checked as the tenant, with its settings", () =>
        Effect.gen(function* () {
          const refused = yield* PgTenant.transaction(
            execute(["set local app.secret = 'x'", "insert into parts values (1, 2)"])
          ).pipe(Tenant.provide(yield* Tenant.generate), Effect.exit)
          assert.isTrue(Exit.isFailure(refused))
          yield* PgTenant.transaction(
            execute([
              "set local app.secret = 'x'",
              "insert into parts values (1, 2)",
              "insert into parts values (2, 2)"
            ])
          ).pipe(Tenant.provide(yield* Tenant.generate))
          assert.deepStrictEqual(yield* found, clean)
        })
      )

      it.effect("cannot be a loaded library: LOAD is refused, and another session is used", () =>
        Effect.gen(function* () {
          const refused = yield* PgTenant.transaction(
            Effect.ignore(execute(["savepoint s", "load 'nothing'"]))
          ).pipe(Tenant.provide(yield* Tenant.generate), Effect.exit)
          assert.isTrue(Exit.isFailure(refused))
          assert.deepStrictEqual(yield* found, clean)
        }).pipe(quietly)
      )
    })
  })

/** Objects of the owner: a view on a function, a sequence, and a key that is checked at the end. */
const objects = Layer.effectDiscard(
  execute([
    `create function leave_everything() returns text language plpgsql as $$ begin
      create temp table if not exists staging (v text);
      set time zone 'Asia/Tokyo';
      perform set_config('app.secret', 'secret', false), pg_advisory_lock(4711);
      return 'done';
    end $$`,
    "create view leaves_everything as select leave_everything() as v",
    "create sequence counted",
    "create table parts (id int primary key, whole int references parts deferrable initially deferred)",
    "grant select on leaves_everything to eventsourcing_tenant",
    "grant usage, select on counted to eventsourcing_tenant",
    "grant select, insert on parts to eventsourcing_tenant"
  ])
)

attacks("PGlite", PgMigrator.layer.pipe(Layer.provideMerge(PgEmbedded.layer), Layer.orDie), objects)

for (const { freshDatabase, name } of servers) {
  attacks(
    name,
    Layer.unwrap(
      Effect.map(freshDatabase, ({ app, owner }) =>
        Layer.merge(
          PgClient.layer({ ...app, maxConnections: 1 }),
          objects.pipe(Layer.provide(PgClient.layer({ ...owner, maxConnections: 1 })))
        )
      )
    ).pipe(Layer.orDie)
  )
}

describe("the text of a statement", () => {
  it("is called harmless only if that is certain", () => {
    for (const text of [
      "select 1",
      "insert into orders (tenant_id, n) values ($1, coalesce($2, now()))",
      "update t set n = greatest(n, 1) where id in ($1) and exists (select 1 from x)",
      "select eventsourcing.log_head($1, null)",
      "SAVEPOINT effect_sql_1",
      "ROLLBACK TO SAVEPOINT effect_sql_1"
    ])
      assert.isFalse(mayOutlive(text), text)
    for (const statements of Object.values(leftovers))
      for (const text of statements) assert.isTrue(mayOutlive(text), text)
    for (const text of [
      "select app.f(1)",
      'select "F" (1)',
      "select é(1)",
      "commit",
      "reset all",
      "/* */ select 1"
    ])
      assert.isTrue(mayOutlive(text), text)
  })
})
