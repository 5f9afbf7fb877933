import { PgClient } from "@effect/sql-pg"
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, type Scope } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import { randomUUID } from "node:crypto"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { pathToFileURL } from "node:url"
import * as PgEmbedded from "../../src/pg/PgEmbedded.ts"
import * as PgMigrator from "../../src/pg/PgMigrator.ts"
import { type Config, servers } from "../support/Databases.ts"

/** A directory with the given files, as the URL of a folder. */
const directoryOf = (files: Readonly<Record<string, string>>): Effect.Effect<URL, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const directory = Fs.mkdtempSync(Path.join(Os.tmpdir(), "eventsourcing-"))
      for (const [name, text] of Object.entries(files)) Fs.writeFileSync(Path.join(directory, name), text)
      return pathToFileURL(`${directory}/`)
    }),
    (directory) => Effect.sync(() => Fs.rmSync(directory, { recursive: true, force: true }))
  )

const add = (directory: URL, name: string, text: string): void =>
  Fs.writeFileSync(new URL(name, directory), text)

/** Everything in the database that migrations might have made, as text. */
const catalogue = Effect.flatMap(
  SqlClient.SqlClient,
  (sql) => sql<{ what: string; name: string }>`
    select 'relation' as what, oid::regclass::text as name from pg_class where relnamespace >= 16384
    union all select 'schema', nspname::text from pg_namespace where oid >= 16384 and nspname not like 'pg_temp%'
    union all select 'function', oid::regprocedure::text from pg_proc where oid >= 16384
    union all select 'type', oid::regtype::text from pg_type where typnamespace >= 16384
    union all select 'record', migration_id || ' ' || name from eventsourcing.migrations
    order by 1, 2`
)

const bare = Effect.flatMap(
  SqlClient.SqlClient,
  (sql) =>
    sql<{ name: string }>`select nspname::text as name from pg_namespace where nspname = 'eventsourcing'`
)

/** An empty PGlite database of the test's own. */
const embedded = <A, E>(body: Effect.Effect<A, E, SqlClient.SqlClient | Scope.Scope>) =>
  Effect.provide(Effect.scoped(body), PgEmbedded.layer, { local: true })

const live = (
  name: string,
  body: () => Effect.Effect<void, unknown, SqlClient.SqlClient | Scope.Scope>
): void => it.live(name, () => embedded(body()), 60_000)

layer(PgEmbedded.layer, { excludeTestServices: true })("the migrations of the library", (it) => {
  it.effect("are numbered from 1 without a gap", () =>
    Effect.gen(function* () {
      const migrations = yield* PgMigrator.migrations
      assert.isNotEmpty(migrations)
      assert.deepStrictEqual(
        migrations.map(({ id }) => id),
        migrations.map((_, index) => index + 1)
      )
      assert.strictEqual(yield* PgMigrator.latest, migrations.length)
      for (const { file, id, name, sql } of migrations) {
        assert.strictEqual(file, `${String(id).padStart(4, "0")}_${name}.sql`)
        assert.strictEqual(sql, Fs.readFileSync(new URL(`../../migrations/${file}`, import.meta.url), "utf8"))
      }
    })
  )

  it.effect("are applied once, and say so", () =>
    Effect.gen(function* () {
      const migrations = yield* PgMigrator.migrations
      assert.strictEqual(yield* PgMigrator.applied, 0)
      assert.deepStrictEqual(
        yield* PgMigrator.run,
        migrations.map(({ id, name }) => [id, name] as const)
      )
      assert.strictEqual(yield* PgMigrator.applied, yield* PgMigrator.latest)
      const after = yield* catalogue
      assert.deepStrictEqual(yield* PgMigrator.run, [])
      yield* Effect.provide(Effect.void, PgMigrator.layer, { local: true })
      assert.deepStrictEqual(yield* catalogue, after)
    })
  )

  it.effect("can each be run again", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const before = yield* catalogue
      yield* sql`truncate ${sql(PgMigrator.table)}`
      assert.lengthOf(yield* PgMigrator.run, yield* PgMigrator.latest)
      assert.deepStrictEqual(yield* catalogue, before)
    })
  )

  it.effect("leave nothing behind in the session", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      yield* sql`truncate ${sql(PgMigrator.table)}`
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

  it.effect("can be asked for by a role that does not own them", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      yield* sql`create role app nologin`
      yield* sql`grant usage on schema eventsourcing to app`
      const applied = sql.withTransaction(Effect.andThen(sql`set local role app`, PgMigrator.applied))
      assert.strictEqual(yield* applied, yield* PgMigrator.latest)
    })
  )
})

describe("a directory of migrations", () => {
  live("applies all in the order of the numbers, and all again when there is a new one", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const directory = yield* directoryOf({
        "0002_b.sql": "insert into log (text) values ('b');",
        "0001_a.sql":
          "create table if not exists log (n serial, text text); insert into log (text) values ('a'), ('$1 $a$ $$');",
        "README.md": "not a migration"
      })
      const { run } = PgMigrator.fromDirectory(directory)
      assert.deepStrictEqual(yield* run, [
        [1, "a"],
        [2, "b"]
      ])
      add(directory, "0010_c.sql", "do $x$ begin insert into log (text) values ('c'); end $x$; select 1")
      add(directory, "0002_b.sql", "insert into log (text) values ('B');")
      assert.deepStrictEqual(yield* run, [[10, "c"]])
      assert.deepStrictEqual(yield* run, [])
      const rows = yield* sql<{ text: string }>`select text from log order by n`
      assert.deepStrictEqual(
        rows.map(({ text }) => text),
        ["a", "$1 $a$ $$", "b", "a", "$1 $a$ $$", "B", "c"]
      )
    })
  )

  live("leaves nothing behind when a file fails, and says where and why", () =>
    Effect.gen(function* () {
      const directory = yield* directoryOf({
        "0001_fine.sql": "create schema eventsourcing_other; create table eventsourcing_other.t (n int);",
        "0002_wrong.sql": "-- äöü 🎉\ninsert into eventsourcing_other.t values (1);\n\n  selec 2;\n"
      })
      const { run } = PgMigrator.fromDirectory(directory)
      const error = yield* Effect.flip(run)
      assert.strictEqual(error._tag, "MigrationError")
      assert.deepInclude(error, { file: "0002_wrong.sql", line: 4, code: "42601" })
      assert.match(error.message, /0002_wrong\.sql failed at line 4: syntax error at or near "selec"/)
      assert.match(error.message, /run the migrations again/)
      assert.deepStrictEqual(yield* bare, [])
      assert.strictEqual(yield* PgMigrator.applied, 0)

      add(
        directory,
        "0001_fine.sql",
        "create schema if not exists eventsourcing_other; create table if not exists eventsourcing_other.t (n int);"
      )
      add(directory, "0002_wrong.sql", "insert into eventsourcing_other.t values (1)")
      assert.lengthOf(yield* run, 2)
      add(directory, "0004_new.sql", "select 1")
      add(directory, "0002_wrong.sql", "insert into eventsourcing_other.t values ('changed for the worse')")
      assert.deepInclude(yield* Effect.flip(run), { file: "0002_wrong.sql", code: "22P02" })
      add(directory, "0002_wrong.sql", "insert into eventsourcing_other.t values (1)")
      add(
        directory,
        "0003_late.sql",
        "create table eventsourcing_other.u ();\nselect 1 / (n - 1) from eventsourcing_other.t"
      )
      const before = yield* catalogue
      const late = yield* Effect.flip(run)
      assert.deepInclude(late, { file: "0003_late.sql", code: "22012" })
      assert.include(late.message, "division by zero")
      assert.deepStrictEqual(yield* catalogue, before)
    })
  )

  live("tells who lacks which right what to do", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      yield* sql`create role visitor`
      yield* sql`grant create on database postgres to visitor`
      const { run } = PgMigrator.fromDirectory(yield* directoryOf({ "0001_role.sql": "create role made" }))
      const denied = yield* Effect.flip(sql.withTransaction(Effect.andThen(sql`set local role visitor`, run)))
      assert.deepInclude(denied, { _tag: "MigrationError", file: "0001_role.sql", code: "42501" })
      assert.include(denied.message, "owner of the database")
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
      const { run } = PgMigrator.fromDirectory(
        yield* directoryOf({ "0001_race.sql": raise("nextval('attempts') < 4") })
      )
      assert.lengthOf(yield* run, 1)
      assert.deepStrictEqual(yield* sql`select last_value::int as n from attempts`, [{ n: 4 }])
      const stuck = PgMigrator.fromDirectory(yield* directoryOf({ "0002_stuck.sql": raise("true") }))
      assert.strictEqual((yield* Effect.flip(stuck.run)).code, "XX000")
    })
  )

  live("refuses a number below one that the database has", () =>
    Effect.gen(function* () {
      const directory = yield* directoryOf({ "0001_a.sql": "select 1", "0003_c.sql": "select 1" })
      const { latest, run } = PgMigrator.fromDirectory(directory)
      yield* run
      assert.strictEqual(yield* latest, 3)
      add(directory, "0002_b.sql", "create table b ()")
      const error = yield* Effect.flip(run)
      assert.strictEqual(error.file, "0002_b.sql")
      assert.include(error.message, "above 3")
    })
  )

  live("leaves a database alone that is ahead", () =>
    Effect.gen(function* () {
      const newer = PgMigrator.fromDirectory(
        yield* directoryOf({ "0001_a.sql": "", "0002_b.sql": "select 1;" })
      )
      const older = PgMigrator.fromDirectory(yield* directoryOf({ "0001_a.sql": "" }))
      yield* newer.run
      assert.deepStrictEqual(yield* older.run, [])
      assert.isAbove(yield* PgMigrator.applied, yield* older.latest)
    })
  )

  live("refuses files it cannot number, and says so when there are none to read", () =>
    Effect.gen(function* () {
      const misnamed = PgMigrator.fromDirectory(yield* directoryOf({ "1_short.sql": "" }))
      assert.strictEqual((yield* Effect.flip(misnamed.run)).file, "1_short.sql")
      const twice = PgMigrator.fromDirectory(yield* directoryOf({ "0001_a.sql": "", "0001_b.sql": "" }))
      assert.match((yield* Effect.flip(twice.run)).message, /[Dd]uplicate/)
      const absent = PgMigrator.fromDirectory(new URL("file:///nowhere/at/all/"))
      assert.include((yield* Effect.flip(absent.latest)).message, "file:///nowhere/at/all/")
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
        assert.deepStrictEqual(lengths, [0, 0, 0, 0, 0, yield* PgMigrator.latest])
        assert.strictEqual(yield* asOneProcess(config, PgMigrator.applied), yield* PgMigrator.latest)
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
          const { run } = PgMigrator.fromDirectory(
            yield* directoryOf({
              [`000${round + 1}_role.sql`]: `
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
          assert.lengthOf(results.flat(), configs.length)
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
        const { run } = PgMigrator.fromDirectory(
          yield* directoryOf({
            "0001_end.sql": "create table t (); select pg_terminate_backend(pg_backend_pid())"
          })
        )
        const error = yield* Effect.flip(asOneProcess(config, run))
        assert.strictEqual(error._tag, "MigrationError")
        assert.include(error.message, "can be reached")
        assert.deepStrictEqual(yield* asOneProcess(config, bare), [])
      }),
    60_000
  )
})
