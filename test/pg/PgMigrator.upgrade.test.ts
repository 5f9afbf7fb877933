/** A database of an earlier version becomes what a new one is, and keeps its events. */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { randomUUID } from "node:crypto"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { pathToFileURL } from "node:url"
import {
  append,
  batch,
  events,
  newTenant,
  readLog,
  request,
  stream
} from "../../src/testing/driver/eventKit.ts"
import * as PgCheck from "../../src/pg/PgCheck.ts"
import * as PgEmbedded from "../../src/pg/PgEmbedded.ts"
import * as PgEventStorage from "../../src/pg/events.ts"
import * as PgMigrator from "../../src/pg/PgMigrator.ts"
import { TenantId } from "../../src/domain/Tenant.ts"
import { servers } from "../support/Databases.ts"

/** Makes a database of so many migrations, with events. */
const migratedTo = Effect.fnUntraced(function* (version: number) {
  const sql = yield* SqlClient.SqlClient
  const directory = yield* Effect.acquireRelease(
    Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "eventsourcing-"))),
    (path) => Effect.sync(() => Fs.rmSync(path, { recursive: true, force: true }))
  )
  Fs.copyFileSync(
    new URL(`../fixtures/schema-${version}.sql`, import.meta.url),
    Path.join(directory, "0001_schema.sql")
  )
  yield* PgMigrator.fromDirectory(pathToFileURL(`${directory}/`)).run
  yield* sql`insert into ${sql(PgMigrator.table)} (migration_id, name)
    select n, 'earlier' from generate_series(2, ${version}::integer) n`
})

/** All that a migrated database consists of, line by line. */
const catalogue = SqlClient.SqlClient.use((sql) =>
  sql<{ line: string }>`
    with ours as (select oid, nspname from pg_namespace where nspname ~ '^eventsourcing')
    select concat_ws(' | ', 'column', c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
      pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum)) as line
    from pg_class c join ours on ours.oid = c.relnamespace join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
      and not a.attisdropped left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
    union all select concat_ws(' | ', 'relation', nspname, relname, relkind, relowner::regrole, relrowsecurity,
      relforcerowsecurity, obj_description(c.oid, 'pg_class')) from pg_class c join ours on ours.oid = c.relnamespace
    union all select concat_ws(' | ', 'index', i.indexrelid::regclass, pg_get_indexdef(i.indexrelid))
      from pg_index i join pg_class c on c.oid = i.indrelid join ours on ours.oid = c.relnamespace
    union all select concat_ws(' | ', 'constraint', conrelid::regclass, conname, pg_get_constraintdef(k.oid))
      from pg_constraint k join ours on ours.oid = k.connamespace
    union all select concat_ws(' | ', 'policy', p.polrelid::regclass, polname, polpermissive, polcmd,
      (select string_agg(r::regrole::text, ',' order by r) from unnest(polroles) r),
      pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid))
      from pg_policy p join pg_class c on c.oid = p.polrelid join ours on ours.oid = c.relnamespace
    union all select concat_ws(' | ', 'function', p.proowner::regrole, pg_get_functiondef(p.oid),
      obj_description(p.oid, 'pg_proc')) from pg_proc p join ours on ours.oid = p.pronamespace
    union all select concat_ws(' | ', 'type', format_type(t.oid, null), t.typtype, obj_description(t.oid, 'pg_type'))
      from pg_type t join ours on ours.oid = t.typnamespace
    union all select concat_ws(' | ', 'right on', c.oid::regclass, '', g.grantee::regrole, g.privilege_type, g.is_grantable)
      from pg_class c join ours on ours.oid = c.relnamespace, aclexplode(c.relacl) g
    union all select concat_ws(' | ', 'right on', c.oid::regclass, a.attname, g.grantee::regrole, g.privilege_type)
      from pg_class c join ours on ours.oid = c.relnamespace join pg_attribute a on a.attrelid = c.oid,
      aclexplode(a.attacl) g
    union all select concat_ws(' | ', 'right on', p.oid::regprocedure, g.grantee::regrole, g.privilege_type)
      from pg_proc p join ours on ours.oid = p.pronamespace, aclexplode(p.proacl) g
    union all select concat_ws(' | ', 'right on', nspname, g.grantee::regrole, g.privilege_type)
      from pg_namespace n, aclexplode(n.nspacl) g where nspname ~ '^eventsourcing'
    order by 1`.pipe(Effect.map((rows) => rows.map(({ line }) => line)))
)

const [a, b] = ["a", "b"].map((letter) => TenantId.make(`00000000-0000-7000-8000-00000000000${letter}`))

/** What the fixture has appended. */
const before = [
  ["one", 1, "Opened", '{"b":1, "a":2}', "{}", "somebody", null, Date.UTC(2020, 0, 1)],
  ["one", 2, "Closed", "{}", '{"m" : 1}', null, "c1", Date.UTC(2020, 0, 2)],
  ["two", 1, "Opened", '"é"', "{}", null, null, Date.UTC(2020, 0, 3, 0, 0, 0, 123)]
]

const empty = (
  name: string,
  layer: Layer.Layer<SqlClient.SqlClient | PgClient.PgClient, unknown>
): {
  readonly name: string
  readonly layer: Layer.Layer<SqlClient.SqlClient | PgClient.PgClient, unknown>
} => ({
  name,
  layer
})

const databases = [
  empty("PGlite", PgEmbedded.layer),
  ...servers.map((server) =>
    empty(
      server.name,
      Layer.unwrap(
        Effect.gen(function* () {
          const { owner } = yield* server.freshDatabase
          const name = `${String(owner.database)}_${randomUUID().slice(0, 8)}`
          const administer = (body: (sql: PgClient.PgClient) => Effect.Effect<unknown, unknown>) =>
            PgClient.PgClient.use(body).pipe(
              Effect.provide(PgClient.layer(owner), { local: true }),
              Effect.orDie
            )
          yield* Effect.acquireRelease(
            administer((sql) => sql`create database ${sql(name)} template template0`),
            () => administer((sql) => sql`drop database ${sql(name)} with (force)`)
          )
          return PgClient.layer({ ...owner, database: name })
        })
      )
    )
  )
]

const earlier = [
  ...databases.map(({ name, layer }) => ({ name, layer, version: 13 })),
  ...databases.slice(1).map(({ name, layer }) => ({ name, layer, version: 9 }))
]

describe.each(earlier)("a database of version $version on $name", ({ layer, version }) => {
  const database = <A, E>(body: Effect.Effect<A, E, SqlClient.SqlClient | PgClient.PgClient>) =>
    Effect.provide(body, layer, { local: true })

  it.live(
    "is migrated to the same as a new one",
    () =>
      Effect.gen(function* () {
        const fresh = yield* database(Effect.andThen(PgMigrator.run, catalogue))
        const migrated = yield* database(
          Effect.gen(function* () {
            yield* migratedTo(version)
            const added = yield* PgMigrator.run
            assert.deepStrictEqual(
              added.map(([id]) => id),
              (yield* PgMigrator.migrations).map(({ id }) => id).filter((id) => id > version)
            )
            yield* PgCheck.isolation
            return yield* catalogue
          }).pipe(Effect.scoped)
        )
        assert.isAbove(fresh.length, 300)
        assert.deepStrictEqual(migrated, fresh)
      }),
    60_000
  )

  it.live(
    "has the events that it had, and takes further ones",
    () =>
      database(
        Effect.gen(function* () {
          yield* migratedTo(version)
          yield* PgMigrator.run
          if (a === undefined || b === undefined) return assert.fail()
          yield* Effect.gen(function* () {
            const { rows } = yield* readLog(a)
            assert.deepStrictEqual(
              rows.map((row) => [
                row.aggregateId,
                row.version,
                row.eventType,
                row.payload,
                row.metadata,
                row.actor,
                row.causationId,
                row.occurredAt
              ]),
              before
            )
            assert.deepStrictEqual(
              rows.map(({ hash, position, tags }) => [position, tags, hash]),
              [1, 2, 3].map((position) => [position, [], null])
            )
            const more = yield* append(
              a,
              stream("one", events(2, { tags: ["t"] }), 2),
              stream("three", events(1))
            )
            assert.deepStrictEqual(
              [more.positions, more.versions],
              [
                [4, 5, 6],
                [3, 4, 1]
              ]
            )
            // what was appended before is known
            const again = rows.slice(0, 2)
            assert.deepStrictEqual(yield* batch(request(a, stream("one", again, 0))), [
              { _tag: "Appended", replayed: true, positions: [1, 2], versions: [1, 2] }
            ])
            assert.deepStrictEqual(yield* batch(request(b, stream("one", events(1)))), [
              { _tag: "TenantSuspended", tenantId: b }
            ])
            yield* append(newTenant(), stream("one", events(1)))
          }).pipe(Effect.provide(PgEventStorage.layer))
        }).pipe(Effect.scoped)
      ),
    60_000
  )
})
