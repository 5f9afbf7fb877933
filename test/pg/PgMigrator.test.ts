import { PgClient } from "@effect/sql-pg"
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Fiber, type Scope } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import { randomUUID } from "node:crypto"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { recordFile, schemaOf } from "../../scripts/record-schema.ts"
import { migrate, type Target } from "../../src/pg/migrate.ts"
import * as PgEmbedded from "../../src/pg/PgEmbedded.ts"
import * as PgMigrator from "../../src/pg/PgMigrator.ts"
import { type Config, servers } from "../support/Databases.ts"

/** The given files, with those that every schema has. */
const target = (number: number, files: Readonly<Record<string, string>>): Target => ({
  number,
  files: [
    {
      path: "base.sql",
      sql: `
        create schema if not exists eventsourcing;
        create table if not exists eventsourcing.schema_files (
          path text primary key, sha256 text not null, applied_at timestamptz not null default now());
        create or replace function eventsourcing.schema_version() returns integer language sql as 'select ${number}';`
    },
    ...Object.entries(files).map(([path, sql]) => ({ path, sql }))
  ]
})

/** Everything in the database that migrations may have created, as text. */
const catalogue = Effect.flatMap(
  SqlClient.SqlClient,
  (sql) => sql<{ what: string; name: string }>`
    select 'relation' as what, oid::regclass::text as name from pg_class where relnamespace >= 16384
    union all select 'schema', nspname::text from pg_namespace where oid >= 16384 and nspname not like 'pg_temp%'
    union all select 'function', oid::regprocedure::text from pg_proc where oid >= 16384
    union all select 'type', oid::regtype::text from pg_type where typnamespace >= 16384
    union all select 'record', path || ' ' || sha256 from eventsourcing.schema_files
    order by 1, 2`
)

const bare = Effect.flatMap(
  SqlClient.SqlClient,
  (sql) =>
    sql<{ name: string }>`select nspname::text as name from pg_namespace where nspname = 'eventsourcing'`
)

/** An empty PGlite database for one test. */
const embedded = <A, E>(body: Effect.Effect<A, E, SqlClient.SqlClient | Scope.Scope>) =>
  Effect.provide(Effect.scoped(body), PgEmbedded.layerWith({ migrate: false }), { local: true })

const live = (
  name: string,
  body: () => Effect.Effect<void, unknown, SqlClient.SqlClient | Scope.Scope>
): void => it.live(name, () => embedded(body()), 60_000)

layer(PgEmbedded.layerWith({ migrate: false }), { excludeTestServices: true })(
  "the migrations of the library",
  (it) => {
    it.effect("are exactly those in the list of install.sql, each once", () =>
      Effect.sync(() => {
        const folder = new URL("../../migrations/", import.meta.url)
        const found = Fs.readdirSync(folder, { recursive: true, encoding: "utf8" })
          .map((file) => file.split(Path.sep).join("/"))
          // The key vault is a database of its own: test/pg/PgKeyVault.test.ts.
          .filter((file) => /^(?!vault\/).*\.sql$/.test(file) && file !== "install.sql")
        const listed = PgMigrator.files.map(({ path }) => path)
        assert.deepStrictEqual(listed.toSorted(), found.toSorted())
        assert.strictEqual(listed[0], "roles.sql")
        assert.strictEqual(listed.at(-1), "privileges.sql")
        for (const { path, sql } of PgMigrator.files)
          assert.strictEqual(sql, Fs.readFileSync(new URL(path, folder), "utf8"))
      })
    )

    it.effect("hold one object each, named after it", () =>
      Effect.sync(() => {
        for (const { path, sql } of PgMigrator.files) {
          if (!path.includes("/") || path === "checks/schema_version.sql") continue
          const made = new Set(
            [
              ...sql.matchAll(
                /^ *create (?:or replace (?:function|procedure)|table if not exists|type) eventsourcing\.(\w+)|create_committing\('(\w+)'\)/gm
              )
            ].map(([, name, committing]) => name ?? `${committing}_committing`)
          )
          assert.deepStrictEqual([...made], [Path.posix.basename(path, ".sql")], path)
        }
      })
    )

    it.effect("create the schema number that the library states", () =>
      Effect.gen(function* () {
        assert.strictEqual(yield* PgMigrator.applied, 0)
        yield* PgMigrator.run
        assert.strictEqual(yield* PgMigrator.applied, PgMigrator.latest)
        const sql = yield* SqlClient.SqlClient
        const [row] = yield* sql<{ lowest: number }>`select eventsourcing.lowest_program() as lowest`
        assert.isAtMost(row?.lowest ?? 0, PgMigrator.latest)
      })
    )

    it.effect("do not change without their number", () =>
      Effect.sync(() => {
        const recorded: unknown = JSON.parse(Fs.readFileSync(recordFile, "utf8"))
        assert.deepStrictEqual(
          recorded,
          schemaOf(PgMigrator.latest, PgMigrator.files),
          "a shipped SQL file changed: see src/pg/schemaNumber.ts"
        )
      })
    )

    it.effect("are applied once, and again when their text changes", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        assert.deepStrictEqual(yield* PgMigrator.run, [])
        const after = yield* catalogue
        yield* Effect.provide(Effect.void, PgMigrator.layer, { local: true })
        assert.deepStrictEqual(yield* catalogue, after)
        const state = sql<{ path: string; xmin: string }>`
        select path, xmin::text as xmin from eventsourcing.schema_files where path not in ('roles.sql', 'privileges.sql', 'append/append.sql')
        order by path`
        const before = yield* state
        yield* sql`update eventsourcing.schema_files set sha256 = 'other' where path = 'append/append.sql'`
        assert.deepStrictEqual(yield* PgMigrator.run, ["append/append.sql"])
        assert.deepStrictEqual(yield* state, before)
        assert.deepStrictEqual(yield* catalogue, after)
      })
    )

    it.effect("can each be applied again, and then change nothing", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const before = yield* catalogue
        // a row that is written again has another xmin
        const rights = sql`
        select 'policy' as what, oid::int, xmin::text from pg_policy
        union all select 'table', oid::int, xmin::text from pg_class where relkind = 'r' and relnamespace >= 16384
        union all select 'column', attrelid::int * 100 + attnum, xmin::text from pg_attribute
          where attacl is not null and attrelid >= 16384
        order by 1, 2`
        const unchanged = yield* rights
        // not truncate, which changes the table's own row
        yield* sql`delete from eventsourcing.schema_files`
        assert.lengthOf(yield* PgMigrator.run, PgMigrator.files.length)
        assert.deepStrictEqual(yield* catalogue, before)
        assert.deepStrictEqual(yield* rights, unchanged)
      })
    )

    it.effect("leave nothing behind in the session", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* sql`truncate eventsourcing.schema_files`
        const settings = sql`select name, setting from pg_settings where source = 'session' order by name`
        const before = yield* settings
        yield* PgMigrator.run
        assert.deepStrictEqual(yield* settings, before)
        assert.deepStrictEqual(
          yield* sql`select current_user::text as who, pg_my_temp_schema()::int as temporary`,
          [{ who: "postgres", temporary: 0 }]
        )
      })
    )

    it.effect("can be run by a role that does not own the objects", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* sql`create role app nologin`
        yield* sql`grant usage on schema eventsourcing to app`
        const applied = sql.withTransaction(Effect.andThen(sql`set local role app`, PgMigrator.applied))
        assert.strictEqual(yield* applied, PgMigrator.latest)
      })
    )
  }
)

describe("migrate", () => {
  const log = "create table if not exists log (n serial, text text);"

  live("applies the files in their order, then those whose text differs, and changes of data once", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const files = {
        "a.sql": `${log} insert into log (text) values ('a'), ('$1 $a$ $$');`,
        "changes/0001_x.sql": "insert into log (text) values ('x');",
        "b.sql": "insert into log (text) values ('b');"
      }
      assert.deepStrictEqual(yield* migrate(target(1, files)), [
        "base.sql",
        "a.sql",
        "changes/0001_x.sql",
        "b.sql"
      ])
      const changed = {
        ...files,
        "changes/0001_x.sql": "insert into log (text) values ('x again');",
        "b.sql": "do $x$ begin insert into log (text) values ('B'); end $x$; select 1"
      }
      assert.deepStrictEqual(yield* migrate(target(1, changed)), ["b.sql"])
      assert.deepStrictEqual(yield* migrate(target(1, changed)), [])
      const rows = yield* sql<{ text: string }>`select text from log order by n`
      assert.deepStrictEqual(
        rows.map(({ text }) => text),
        ["a", "$1 $a$ $$", "x", "b", "B"]
      )
    })
  )

  live("leaves nothing behind when a file fails, and says where and why", () =>
    Effect.gen(function* () {
      const fine = "create schema if not exists other; create table if not exists other.t (n int);"
      const error = yield* Effect.flip(
        migrate(
          target(1, {
            "fine.sql": fine,
            "wrong.sql": "-- äöü 🎉\ninsert into other.t values (1);\n\n  selec 2;\n"
          })
        )
      )
      assert.strictEqual(error._tag, "MigrationError")
      assert.deepInclude(error, { file: "wrong.sql", line: 4, code: "42601" })
      assert.match(error.message, /wrong\.sql failed at line 4: syntax error at or near "selec"/)
      assert.match(error.message, /run the migrations again/)
      assert.deepStrictEqual(yield* bare, [])
      assert.strictEqual(yield* PgMigrator.applied, 0)

      const good = target(1, { "fine.sql": fine, "wrong.sql": "insert into other.t values (1)" })
      assert.lengthOf(yield* migrate(good), 3)
      const before = yield* catalogue
      const late = yield* Effect.flip(
        migrate(
          target(2, {
            "fine.sql": fine,
            "late.sql": "create table other.u ();\nselect 1 / (n - 1) from other.t"
          })
        )
      )
      assert.deepInclude(late, { file: "late.sql", code: "22012" })
      assert.include(late.message, "division by zero")
      assert.deepStrictEqual(yield* catalogue, before)
    })
  )

  live("says what to do to somebody who lacks a right", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      yield* sql`create role visitor`
      yield* sql`grant create on database postgres to visitor`
      const as = (statement: string) =>
        Effect.flip(
          sql.withTransaction(
            Effect.andThen(sql`set local role visitor`, migrate(target(1, { "role.sql": statement })))
          )
        )
      const denied = yield* as("create role made")
      assert.deepInclude(denied, { _tag: "MigrationError", file: "role.sql", code: "42501" })
      assert.include(denied.message, "owner of the database")
    })
  )

  live("gives an owner who did not make the roles the statement that lets him go on, and upgrade", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      yield* sql`create role visitor createrole noinherit`
      yield* sql`grant create on database postgres to visitor`
      for (const role of [
        "tenant",
        "runner",
        "all_tenants",
        "administrator",
        "runner_owner",
        "all_tenants_owner",
        "administrator_owner"
      ])
        yield* sql.unsafe(`create role eventsourcing_${role}`)
      const run = sql.withTransaction(Effect.andThen(sql`set local role visitor`, PgMigrator.run))
      const refused = yield* Effect.flip(run)
      assert.deepInclude(refused, { _tag: "MigrationError", file: "roles.sql", code: "42501" })
      const [, remedy = ""] = /run: (grant .*;) then/.exec(refused.message) ?? assert.fail(refused.message)
      assert.deepStrictEqual(yield* bare, [])
      for (const statement of remedy.split(";")) if (statement.trim() !== "") yield* sql.unsafe(statement)
      assert.lengthOf(yield* run, PgMigrator.files.length)
      // replaces functions that now belong to the group roles
      yield* sql`update eventsourcing.schema_files set sha256 = ''`
      assert.lengthOf(yield* run, PgMigrator.files.length)
    })
  )

  live("retries what another process was making at the same time, but not for ever", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      yield* sql`create sequence attempts`
      const raise = (condition: string): string => `
        do $$ begin
          -- a sequence counts what is rolled back, too
          if ${condition} then raise exception 'tuple concurrently updated' using errcode = 'XX000'; end if;
        end $$`
      yield* migrate(target(1, { "race.sql": raise("nextval('attempts') < 4") }))
      assert.deepStrictEqual(yield* sql`select last_value::int as n from attempts`, [{ n: 4 }])
      const stuck = yield* Effect.flip(migrate(target(2, { "stuck.sql": raise("true") })))
      assert.strictEqual(stuck.code, "XX000")
    })
  )

  live("leaves a database alone that is ahead, also one in psql's hands", () =>
    Effect.gen(function* () {
      yield* PgMigrator.run
      const sql = yield* SqlClient.SqlClient
      yield* sql.unsafe(
        "create or replace function eventsourcing.schema_version() returns integer language sql as 'select 1000'"
      )
      const before = yield* catalogue
      assert.deepStrictEqual(yield* PgMigrator.run, [])
      yield* sql`truncate eventsourcing.schema_files`
      assert.deepStrictEqual(yield* PgMigrator.run, [])
      assert.strictEqual(yield* PgMigrator.applied, 1000)
      const first = PgMigrator.files.find(({ path }) => path === "checks/schema_version.sql")
      const refused = yield* Effect.flip(
        sql.unsafe(`do $x$ begin execute $y$${first?.sql ?? ""}$y$; end $x$`)
      )
      assert.include(String(refused.reason.cause), "newer than schema")
      assert.deepStrictEqual(
        yield* catalogue,
        before.filter(({ what }) => what !== "record")
      )
    })
  )
})

describe.each(servers)("several at once on $name", (server) => {
  /** Empty databases of one cluster, and a client factory: each client is a process of its own to the server. */
  const emptyDatabases = (
    count: number
  ): Effect.Effect<ReadonlyArray<Config>, SqlError.SqlError, Scope.Scope> =>
    Effect.gen(function* () {
      const { owner } = yield* server.freshDatabase
      const administer = <A, E>(body: (sql: PgClient.PgClient) => Effect.Effect<A, E>) =>
        PgClient.PgClient.use(body).pipe(Effect.provide(PgClient.layer(owner), { local: true }))
      return yield* Effect.forEach(Array.from({ length: count }), () => {
        const name = `${String(owner.database)}_${randomUUID().slice(0, 8)}`
        return Effect.acquireRelease(
          Effect.as(
            administer((sql) => sql`create database ${sql(name)} template template0`),
            {
              ...owner,
              database: name
            }
          ),
          () => Effect.orDie(administer((sql) => sql`drop database ${sql(name)} with (force)`))
        )
      })
    })

  const asOneProcess = <A, E>(config: Config, body: Effect.Effect<A, E, SqlClient.SqlClient>) =>
    Effect.provide(body, PgClient.layer({ ...config, maxConnections: 1 }), { local: true })

  const concurrently = <A, E>(effects: ReadonlyArray<Effect.Effect<A, E>>) =>
    Effect.all(effects, { concurrency: "unbounded" })

  it.live(
    "one migrates an empty database, the others wait for it",
    () =>
      Effect.gen(function* () {
        const [config = assert.fail()] = yield* emptyDatabases(1)
        const results = yield* concurrently(
          Array.from({ length: 6 }, () => asOneProcess(config, PgMigrator.run))
        )
        const lengths = results.map((done) => done.length).toSorted((a, b) => a - b)
        assert.deepStrictEqual(lengths, [0, 0, 0, 0, 0, PgMigrator.files.length])
        assert.strictEqual(yield* asOneProcess(config, PgMigrator.applied), PgMigrator.latest)
      }),
    60_000
  )

  it.live(
    "databases of one cluster make the same role",
    () =>
      Effect.gen(function* () {
        const configs = yield* emptyDatabases(4)
        const [first = assert.fail()] = configs
        for (let round = 0; round < 5; round++) {
          const role = `eventsourcing_race_${randomUUID().slice(0, 8)}`
          const run = migrate(
            target(round + 1, {
              "role.sql": `
                do $$ begin
                  if not exists (select from pg_roles where rolname = '${role}') then
                    perform pg_sleep(0.02);
                    create role ${role};
                  end if;
                end $$;
                alter role ${role} nologin;
                comment on role ${role} is 'made by a test';`
            })
          )
          const results = yield* concurrently(
            [...configs, ...configs].map((config) => asOneProcess(config, run))
          ).pipe(Effect.ensuring(Effect.orDie(asOneProcess(first, dropRole(role)))))
          assert.lengthOf(results.flat(), configs.length * 2)
        }
      }),
    60_000
  )

  const dropRole = (role: string) =>
    Effect.flatMap(SqlClient.SqlClient, (sql) => sql`drop role if exists ${sql(role)}`)

  it.live(
    "a connection lost on the way is a typed error, and nothing has changed",
    () =>
      Effect.gen(function* () {
        const [config = assert.fail()] = yield* emptyDatabases(1)
        const run = migrate(
          target(1, { "end.sql": "create table t (); select pg_terminate_backend(pg_backend_pid())" })
        )
        const error = yield* Effect.flip(asOneProcess(config, run))
        assert.strictEqual(error._tag, "MigrationError")
        assert.include(error.message, "can be reached")
        assert.deepStrictEqual(yield* asOneProcess(config, bare), [])
      }),
    60_000
  )

  it.live(
    "an upgrade behind a slow reader delays appends by no more than its lock timeout",
    () =>
      Effect.gen(function* () {
        const [config = assert.fail()] = yield* emptyDatabases(1)
        const upgrade = (n: number) =>
          target(n, {
            "t.sql": `create table if not exists t (n int); alter table t add column if not exists m${n} int`
          })
        yield* asOneProcess(config, migrate(upgrade(1)))
        const longest = yield* Effect.scoped(
          Effect.gen(function* () {
            const reader = yield* SqlClient.SqlClient
            const reading = yield* Effect.forkScoped(
              reader.withTransaction(
                Effect.andThen(reader`select count(*) from t`, Effect.sleep("3 seconds"))
              )
            )
            yield* Effect.sleep("200 millis")
            const migrating = yield* Effect.forkScoped(
              asOneProcess(config, migrate(upgrade(2), { lockTimeout: "100 millis" }))
            )
            let worst = 0
            const writer = Effect.gen(function* () {
              while (migrating.pollUnsafe() === undefined) {
                const began = performance.now()
                yield* reader`insert into t (n) values (1)`
                worst = Math.max(worst, performance.now() - began)
                yield* Effect.sleep("5 millis")
              }
            })
            yield* writer
            assert.deepStrictEqual(yield* Fiber.join(migrating), ["base.sql", "t.sql"])
            yield* Fiber.join(reading)
            return worst
          })
        ).pipe(Effect.provide(PgClient.layer({ ...config, maxConnections: 3 }), { local: true }))
        // far less than the reader's 3 s: one wait for the lock, and the load of the machine
        assert.isBelow(longest, 1500)
      }),
    60_000
  )
})
