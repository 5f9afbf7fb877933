/**
 * Upgrades while processes run: every kept release on the schema of the next one, and the next program on the
 * schema of the release. One step apart both work; further apart they refuse before anything is written.
 */
import { PgClient } from "@effect/sql-pg"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { SqlClient } from "effect/sql"
import { randomUUID } from "node:crypto"
import * as Migrate from "../../src/pg/migrate.ts"
import * as PgMigrator from "../../src/pg/PgMigrator.ts"
import { lowestSchema, schemaNumber } from "../../src/pg/schemaNumber.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { type CatalogueObject, catalogueObjects } from "../support/catalogueObjects.ts"
import { type Config, configOf } from "../support/Databases.ts"
import { type PgServer, start } from "../support/PgServer.ts"
import { bundled } from "../support/programs.ts"
import { execute, numbers, type Release, type Running, started, unpacked } from "../support/released.ts"

/** The files of this version with another number and changed texts, so that all of them are applied. */
const filesOf = (number: number, lowestProgram: number): Migrate.Target => ({
  number,
  files: PgMigrator.files.map(({ path, sql }) => ({
    path,
    sql:
      path === "checks/schema_version.sql"
        ? sql
            .replace(/recorded > \d+/, `recorded > ${number}`)
            .replace(/(schema_version\(\)[^']*'select) \d+/, `$1 ${number}`)
            .replace(/(lowest_program\(\)[^']*'select) \d+/, `$1 ${lowestProgram}`)
        : `${sql}\n-- schema ${number}\n`
  }))
})

/** The program of the sources, with another number. */
const programOf = (number: number, lowest: number) =>
  Effect.promise(() =>
    bundled("test/support/rollingProgram.ts", {
      replaced: {
        "src/pg/schemaNumber.ts": `export const schemaNumber = ${number}\nexport const lowestSchema = ${lowest}\n`
      }
    })
  )

const on = <A, E>(config: Config, effect: Effect.Effect<A, E, SqlClient.SqlClient>) =>
  Effect.provide(effect, PgClient.layer({ ...config, maxConnections: 2 }), { local: true })

const readModel = `
  create table rolling_sums (tenant_id uuid primary key, events integer not null, total bigint not null);
  perform eventsourcing.register_read_model('rolling_sums');`

describe.each(numbers)("released schema %i", (number) => {
  let server: PgServer
  beforeAll(async () => {
    server = await start({ settings: { fsync: "off" } })
  })
  afterAll(() => server.stop())

  /** A database with the schema of the release from its dump, and a login for programs. */
  const database = Effect.fnUntraced(function* (release: Release) {
    const superuser = configOf(server)
    const name = `rolling_${randomUUID().slice(0, 8)}`
    const role = `${name}_app`
    yield* on(
      superuser,
      SqlClient.SqlClient.use((sql) => sql`create database ${sql(name)}`)
    )
    const owner = { ...superuser, database: name }
    // It also creates the schemas, which are in the dump.
    yield* execute(owner, `${release.roles}\ndrop schema eventsourcing, eventsourcing_rebuild;`)
    yield* execute(owner, release.schema)
    yield* execute(
      owner,
      `do $$ begin ${readModel} end $$;
      create role ${role} login password '${role}';
      grant eventsourcing_tenant, eventsourcing_runner, eventsourcing_all_tenants to ${role}`
    )
    return { owner, app: { ...owner, username: role, password: Redacted.make(role) } }
  })

  /** Checks that the logs have exactly the acknowledged events, in their places, and that the read model has them. */
  const check = Effect.fnUntraced(function* (owner: Config, running: ReadonlyArray<Running>) {
    for (const program of running) {
      yield* program.stop
      const { done, failed } = Object.assign({}, ...program.lines()) as { done?: boolean; failed?: string }
      assert.isUndefined(failed)
      assert.isTrue(done)
    }
    const acknowledged = running.flatMap((program) => program.acknowledged())
    const stored = yield* on(
      owner,
      SqlClient.SqlClient.use(
        (sql) => sql<{ event: string; place: string }>`
          select event_id::text as event, concat_ws(' ', tenant_id, aggregate_id, version, position) as place
          from eventsourcing.events`
      )
    )
    const places = new Map(stored.map(({ event, place }) => [event, place]))
    for (const { aggregateId, eventId, position, tenantId, version } of acknowledged)
      assert.strictEqual(places.get(eventId), `${tenantId} ${aggregateId} ${version} ${position}`)
    assert.strictEqual(new Set(acknowledged.map(({ eventId }) => eventId)).size, stored.length)
    return acknowledged
  })

  /** Waits until the read model of a running program has as many events as the logs. */
  const projected = Effect.fnUntraced(function* (owner: Config) {
    const [behind] = yield* on(
      owner,
      SqlClient.SqlClient.use(
        (sql) => sql<{ behind: number }>`
          select (select count(*) from eventsourcing.events)::int - coalesce(sum(events), 0)::int as behind
          from rolling_sums`
      )
    )
    return behind?.behind ?? 0
  })

  const next = Math.max(schemaNumber, number + 1)
  const tenants = Effect.all([Tenant.generate, Tenant.generate])

  if (schemaNumber <= number + 1) {
    it.live("the release continues under load while the next schema is applied, and starts on it", () =>
      Effect.gen(function* () {
        const release = yield* unpacked(number)
        const { app, owner } = yield* database(release)
        const shops = yield* tenants
        const before = yield* Effect.forEach(["one", "two"], (name) =>
          started(release.program, name, app, shops)
        )
        yield* Effect.forEach(before, (program) => program.goesOn(100), { concurrency: 2 })
        const target = filesOf(next, number)
        const applied = yield* on(owner, Migrate.migrate(target))
        assert.isAtLeast(applied.length, PgMigrator.files.length - 1)
        yield* Effect.forEach(before, (program) => program.goesOn(100), { concurrency: 2 })
        const restarted = yield* started(release.program, "restarted", app, shops)
        const newer = yield* started(yield* programOf(next, number), "newer", app, shops)
        const all = [...before, restarted, newer]
        yield* Effect.forEach(all, (program) => program.goesOn(100), { concurrency: 4 })
        yield* check(owner, all)
        // the last program fills the rest
        const last = yield* started(release.program, "last", app, [])
        for (let tries = 0; tries < 400 && (yield* projected(owner)) > 0; tries++)
          yield* Effect.sleep("50 millis")
        yield* last.stop
        assert.strictEqual(yield* projected(owner), 0)
      }).pipe(Effect.scoped)
    )

    it.live("the next program runs on the schema of the release, beside the release", () =>
      Effect.gen(function* () {
        assert.isAtMost(lowestSchema, number, "the sources no longer work on the schema of the last release")
        const release = yield* unpacked(number)
        const { app, owner } = yield* database(release)
        const shops = yield* tenants
        const newer = yield* started(yield* programOf(next, number), "newer", app, shops)
        const older = yield* started(release.program, "older", app, shops)
        yield* Effect.forEach([newer, older], (program) => program.goesOn(200), { concurrency: 2 })
        yield* check(owner, [newer, older])
      }).pipe(Effect.scoped)
    )
  }

  it.live("two steps apart, programs refuse with a sentence before they write anything", () =>
    Effect.gen(function* () {
      const release = yield* unpacked(number)
      const shops = yield* tenants
      const refused = Effect.fnUntraced(function* (
        program: string,
        { app, owner }: { app: Config; owner: Config }
      ) {
        const running = yield* started(program, "refused", app, shops)
        yield* running.ended
        const rows = yield* on(
          owner,
          SqlClient.SqlClient.use(
            (sql) => sql`
              select from eventsourcing.events union all select from eventsourcing.tenants
              union all select from eventsourcing.projections
              union all select from eventsourcing.projection_versions`
          )
        )
        assert.lengthOf(rows, 0)
        return running
          .lines()
          .map((line) => line.refused ?? "not refused")
          .join("\n")
      })
      const far = number + 2
      const newest = yield* database(release)
      yield* on(newest.owner, Migrate.migrate(filesOf(far, number + 1)))
      assert.match(
        yield* refused(release.program, newest),
        new RegExp(`the database has schema ${far}\\b.* schema ${number + 1}\\b.*: upgrade the library`)
      )
      assert.include(
        yield* refused(yield* programOf(far, number + 1), yield* database(release)),
        `the database has schema ${number}, but this version of the library needs at least ${number + 1}`
      )
    }).pipe(Effect.scoped)
  )

  it.live(
    "upgraded from the dump of the release, a database is the same as a new one, object by object",
    () =>
      Effect.gen(function* () {
        const release = yield* unpacked(number)
        const { owner } = yield* database(release)
        yield* on(owner, PgMigrator.run)
        const fresh = `fresh_${randomUUID().slice(0, 8)}`
        yield* on(
          configOf(server),
          SqlClient.SqlClient.use((sql) => sql`create database ${sql(fresh)}`)
        )
        const objects = SqlClient.SqlClient.use((sql) => sql.unsafe<CatalogueObject>(catalogueObjects))
        const byName = (rows: ReadonlyArray<CatalogueObject>) =>
          Object.fromEntries(rows.map(({ definition, object }) => [object, definition]))
        const made = yield* on({ ...owner, database: fresh }, Effect.andThen(PgMigrator.run, objects))
        // the twin of the read model belongs to the test
        const upgraded = (yield* on(owner, objects)).filter(({ object }) => !object.includes("rolling_sums"))
        assert.deepStrictEqual(byName(upgraded), byName(made))
      }).pipe(Effect.scoped)
  )
})

it("there is a release to go by", () => assert.isNotEmpty(numbers))
