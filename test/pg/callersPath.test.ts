import { PgClient } from "@effect/sql-pg"
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { randomUUID } from "node:crypto"
import { readdirSync, readFileSync } from "node:fs"
import * as EventQuery from "../../src/domain/EventQuery.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import * as PgTenant from "../../src/pg/PgTenant.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as Repository from "../../src/store/Repository.ts"
import { Account, asNewTenant, deposited, deposits, opened } from "../support/bank.ts"
import { servers } from "../support/Databases.ts"
import { layerOn, TenantDatabase } from "../support/tenantDatabase.ts"

/** Routines that run with the search path of their caller, with their bodies without comments and strings. */
const callersPath = SqlClient.SqlClient.use(
  (sql) => sql<{ name: string; body: string }>`
    select p.proname::text as name,
      regexp_replace(regexp_replace(p.prosrc, '--[^\n]*', '', 'g'), '''[^'']*''', '''''', 'g') as body
    from pg_proc p
    where p.pronamespace = 'eventsourcing'::regnamespace
      and not exists (select from unnest(p.proconfig) c where c = 'search_path=pg_catalog, pg_temp')
    order by 1`
)

/** Names of types that are no keywords of the grammar, so that a type of that name in pg_temp is found first. */
const shadowable = `(?:text|uuid|jsonb?|record|reg\\w+|timestamptz|date|name|bytea|oid|interval|int[248]|float[48]|bool|numeric)`

/** A cast or a declaration that names a type without its schema, or an operator that the search path chooses. */
const unqualified: ReadonlyArray<RegExp> = [
  new RegExp(`::\\s*${shadowable}\\b`, "g"),
  new RegExp(`^\\s*\\w+\\s+(?:constant\\s+)?${shadowable}\\b(?:\\[\\])?\\s*(?:;|:=|default)`, "gim"),
  /(?<!errcode|hint) (?:=|<>|<|>|<=|>=|\|\||\+|-) /g,
  /\bnullif\b/g
]

/** Types in pg_temp with the names of PostgreSQL's own. Any use of one of them fails. */
const shadowTypes = `
  do $attack$
  declare
    t pg_catalog.text;
    names constant pg_catalog.text[] := array(select typname from pg_catalog.pg_type
      where typnamespace = 'pg_catalog'::regnamespace and typtype = 'b' and typelem = 0 and typname !~ '^pg_');
  begin
    foreach t in array names loop
      execute pg_catalog.format('create domain pg_temp.%I as pg_catalog.%I check (false)', t, t);
    end loop;
    create domain pg_temp.record as pg_catalog.int4 check (false);
  end
  $attack$`

const sources = readdirSync(new URL("../../src/pg", import.meta.url), { recursive: true, encoding: "utf8" })

describe("the statements of the client", () => {
  it("qualify every type that a type in pg_temp could stand in for", () => {
    const found = sources
      .filter((file) => file.endsWith(".ts"))
      .flatMap((file) =>
        [
          ...readFileSync(new URL(`../../src/pg/${file}`, import.meta.url), "utf8").matchAll(
            new RegExp(`::${shadowable}\\b`, "g")
          )
        ].map(([cast]) => `${file} ${cast}`)
      )
    assert.deepStrictEqual(found, [])
  })
})

for (const server of servers) {
  layer(layerOn(server), { excludeTestServices: true })(
    `the caller's search path on ${server.name}`,
    (it) => {
      const on = <A, E>(
        user: "owner" | "app",
        body: (sql: SqlClient.SqlClient) => Effect.Effect<A, E, SqlClient.SqlClient>
      ) =>
        TenantDatabase.use((database) =>
          SqlClient.SqlClient.use(body).pipe(
            Effect.provide(Layer.orDie(PgClient.layer({ ...database[user], maxConnections: 1 })), {
              local: true
            })
          )
        )

      it.effect("is used for no name in the routines that run with it", () =>
        on("owner", () =>
          Effect.map(callersPath, (found) => {
            assert.isAbove(found.length, 5)
            assert.deepStrictEqual(
              found.flatMap(({ body, name }) =>
                unqualified.flatMap((pattern) =>
                  (body.match(pattern) ?? []).map((at) => `${name}: ${at.trim()}`)
                )
              ),
              []
            )
          })
        )
      )

      it.effect("does not make the start of a transaction use types that somebody left in the session", () =>
        on("app", (sql) =>
          Effect.gen(function* () {
            const tenant = randomUUID()
            yield* sql.unsafe(shadowTypes)
            const [shadowed] = yield* sql.unsafe<{ shadowed: boolean }>(
              "select 'text'::pg_catalog.regtype operator(pg_catalog.=) 'pg_temp.text'::pg_catalog.regtype as shadowed"
            )
            assert.isTrue(shadowed?.shadowed)
            const id = `'${tenant}'::pg_catalog.uuid`
            const calls = [
              `select eventsourcing.begin_tenant(${id})`,
              `select eventsourcing.bind_tenant(${id})`,
              "select * from eventsourcing.begin_projection('{p}', '{1}', '{false}', null)",
              `select eventsourcing.clear_rebuild(${id}, '{}')`
            ]
            for (const call of calls) yield* sql.withTransaction(sql.unsafe(call))
            const rebuild = `select eventsourcing.switch_rebuild(${id}, 'none', 1, '{}', 0)`
            yield* Effect.ignore(sql.withTransaction(sql.unsafe(rebuild)))
            yield* sql.unsafe(`call eventsourcing.announce_committing(array[${id}], null)`)
            const append = `call eventsourcing.append_one_committing(${id}, 'A', '1', 0, null, '${randomUUID()}'::pg_catalog.uuid,
            'E', 1, pg_catalog.now(), null, 'c', null, null, '{}', '{}', '{}', null, null)`
            yield* sql.unsafe(append)
            // last, because it removes them
            yield* sql.unsafe("select eventsourcing.clean_session(true)")
          })
        )
      )

      it.effect("does not make the client's statements use types that a tenant made in its transaction", () =>
        TenantDatabase.use((database) =>
          Effect.gen(function* () {
            const sql = yield* SqlClient.SqlClient
            const store = yield* EventStore.EventStore
            const repository = yield* Repository.Repository
            const work = Effect.gen(function* () {
              const { version } = yield* repository.execute(Account, "1", () => [opened(), deposited(1)])
              yield* store.append({
                aggregate: Account,
                id: "1",
                expectedVersion: version,
                events: deposits(2)
              })
              yield* store.append({
                aggregate: Account,
                id: "2",
                expectedVersion: "any",
                events: deposits(1),
                condition: { query: EventQuery.of(Account, { tags: ["x"] }) },
                command: { key: "k", fingerprint: "0".repeat(64), expiresInMillis: 60_000 }
              })
              assert.deepInclude(yield* repository.load(Account, "1"), { version: 4 })
              assert.lengthOf(yield* Stream.runCollect(store.readLog({ aggregates: [Account] })), 5)
              assert.lengthOf(
                yield* Stream.runCollect(store.readLogJson({ query: EventQuery.of(Account), limit: 3 })),
                3
              )
              assert.lengthOf(yield* Stream.runCollect(store.streams()), 2)
              assert.strictEqual((yield* store.head)?.position, 5)
              assert.isDefined(yield* store.commandOutcome("k"))
            })
            // The only connection then serves another tenant, with the statements that were prepared beside those types.
            yield* PgTenant.transaction(Effect.andThen(sql.unsafe(shadowTypes), work)).pipe(asNewTenant)
            yield* work.pipe(asNewTenant)
            yield* PgTenant.transaction(work).pipe(asNewTenant)
          }).pipe(
            Effect.provide(
              Layer.mergeAll(Repository.layer).pipe(
                Layer.provideMerge(EventStore.layer),
                Layer.provideMerge(PgStorage.layerWith({ announce: false })),
                Layer.provideMerge(PgClient.layer({ ...database.app, maxConnections: 1 })),
                Layer.orDie
              ),
              { local: true }
            )
          )
        )
      )
    }
  )
}
