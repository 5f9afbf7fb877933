import { assert, layer } from "@effect/vitest"
import { Effect, Exit, Logger, References, Result } from "effect"
import { SqlClient, SqlError } from "effect/sql"
import * as Event from "../../src/domain/Event.ts"
import { type AppendRequest, EventStorage } from "../../src/driver/EventStorage.ts"
import { sqlState } from "../../src/pg/sqlErrors.ts"
import * as PgTenant from "../../src/pg/PgTenant.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { as, everythingIn, failsWith, log, texts, write } from "../../src/testing/isolation/kit.ts"
import { servers } from "../support/Databases.ts"
import { layerEmbedded, layerOn, type Store, storeWith, TenantDatabase } from "../support/tenantDatabase.ts"
import { flipped, mismatches } from "../../src/testing/failures.ts"

/** Runs an effect with a store on the test's database. */
const withStore = <A, E, R>(
  run: (mine: Tenant.TenantId, theirs: Tenant.TenantId) => Effect.Effect<A, E, R | Store>
) =>
  Effect.gen(function* () {
    const { store } = yield* TenantDatabase
    const [mine, theirs] = [yield* Tenant.generate, yield* Tenant.generate]
    return yield* run(mine, theirs).pipe(Effect.provideContext(yield* store()))
  }).pipe(Effect.scoped)

const sql = SqlClient.SqlClient

const insert = (tenant: Tenant.TenantId, id: string, value = "value") =>
  sql.use((client) => client`insert into public.read_model values (${tenant}, ${id}, ${value})`)

/** The rows that are visible, as `tenant id value`. */
const rows = sql.use((client) =>
  Effect.map(
    client<{
      row: string
    }>`select concat_ws(' ', tenant_id, id, value) as row from public.read_model order by row`,
    (all) => all.map(({ row }) => row)
  )
)

const committed = (tenant: Tenant.TenantId) =>
  TenantDatabase.use(({ outside }) =>
    Effect.map(
      outside<{ id: string }>("select id from public.read_model where tenant_id = $1 order by id", [tenant]),
      (all) => all.map(({ id }) => id)
    )
  )

/** The SQLSTATE with which an effect fails; undefined if it succeeds. It runs in a savepoint. */
const stateOf = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  sql.use((client) =>
    Effect.map(Effect.result(client.withTransaction(effect)), (result) =>
      Result.isFailure(result) && SqlError.isSqlError(result.failure) ? sqlState(result.failure) : undefined
    )
  )

const inBoth = PgTenant.transaction(
  Effect.flatMap(Tenant.CurrentTenant, (tenant) => insert(tenant, "shared"))
)

const backends = [
  ...servers.map((server) => ({ name: server.name, database: layerOn(server), embedded: false })),
  { name: "PGlite", database: layerEmbedded, embedded: true }
]

for (const { database, embedded, name } of backends) {
  layer(database, { excludeTestServices: true })(`a transaction of a tenant on ${name}`, (it) => {
    it.effect("2: without a tenant no row is visible, and none can be written", () =>
      withStore(
        Effect.fnUntraced(function* (mine) {
          const client = yield* sql
          yield* inBoth.pipe(as(mine))
          yield* write("an event").pipe(as(mine))
          const unbound = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
            client.withTransaction(
              Effect.andThen(client`select set_config('role', 'eventsourcing_tenant', true)`, effect)
            )
          assert.deepStrictEqual(yield* unbound(rows), [])
          for (const table of ["events", "tenants"]) {
            const seen = yield* unbound(client.unsafe(`select * from eventsourcing.${table}`))
            assert.deepStrictEqual(seen, [], table)
          }
          assert.strictEqual(yield* unbound(stateOf(insert(mine, "new"))), "42501")
          const provision = client`insert into eventsourcing.tenants (tenant_id) values (gen_random_uuid())`
          assert.strictEqual(yield* unbound(stateOf(provision)), "42501")
          // the application's role is a member of that role and sees as little
          if (!embedded) assert.deepStrictEqual(yield* rows, [])
        })
      )
    )

    it.effect("shows and accepts only the rows of its tenant", () =>
      withStore(
        Effect.fnUntraced(function* (mine, theirs) {
          const client = yield* sql
          yield* inBoth.pipe(as(theirs))
          yield* inBoth.pipe(as(mine))
          yield* PgTenant.transaction(
            Effect.gen(function* () {
              assert.deepStrictEqual(yield* rows, [`${mine} shared value`])
              const other = yield* client`select * from public.read_model where tenant_id = ${theirs}`
              assert.deepStrictEqual(other, [])
              assert.strictEqual(yield* stateOf(insert(theirs, "across")), "42501")
              const moved = client`update public.read_model set tenant_id = ${theirs}, id = 'moved'`
              assert.strictEqual(yield* stateOf(moved), "42501")
              const upsert = client`insert into public.read_model values (${theirs}, 'shared', 'x')
                on conflict (tenant_id, id) do update set value = excluded.value`
              assert.strictEqual(yield* stateOf(upsert), "42501")
              const touched = [
                yield* client`update public.read_model set value = 'x' where tenant_id = ${theirs} returning id`,
                yield* client`delete from public.read_model where tenant_id = ${theirs} returning id`,
                yield* client`update public.read_model set value = 'mine' returning tenant_id::text as id`,
                yield* client`delete from public.read_model returning tenant_id::text as id`
              ]
              assert.deepStrictEqual(touched, [[], [], [{ id: mine }], [{ id: mine }]])
            })
          ).pipe(as(mine))
          assert.deepStrictEqual([yield* committed(mine), yield* committed(theirs)], [[], ["shared"]])
        })
      )
    )

    it.effect("has only the rights of a tenant", () =>
      withStore(
        Effect.fnUntraced(function* (mine) {
          const client = yield* sql
          yield* write("an event").pipe(as(mine))
          yield* PgTenant.transaction(
            Effect.gen(function* () {
              assert.deepStrictEqual(yield* client`select current_user::text as role`, [
                { role: "eventsourcing_tenant" }
              ])
              for (const statement of [
                "update eventsourcing.events set payload = '{}'",
                "delete from eventsourcing.events",
                "truncate eventsourcing.events",
                "update eventsourcing.tenants set status = 'suspended'",
                "delete from eventsourcing.tenants",
                "select * from eventsourcing.cross_tenant_accesses",
                "select * from eventsourcing.list_tenants(gen_random_uuid(), null, 1)",
                "select eventsourcing.protect_tenant_table('public.read_model')",
                "truncate public.read_model",
                "alter table public.read_model disable row level security",
                "drop policy tenant_isolation on public.read_model",
                "create table eventsourcing.mine ()"
              ]) {
                assert.strictEqual(yield* stateOf(client.unsafe(statement)), "42501", statement)
              }
            })
          ).pipe(as(mine))
        })
      )
    )

    it.effect("5: is a savepoint for the same tenant, whether it succeeds or fails", () =>
      withStore(
        Effect.fnUntraced(function* (mine) {
          yield* PgTenant.transaction(
            Effect.gen(function* () {
              yield* insert(mine, "1 outer")
              yield* PgTenant.transaction(insert(mine, "2 inner"))
              yield* PgTenant.transaction(
                Effect.andThen(insert(mine, "3 undone"), Effect.fail("inner" as const))
              ).pipe(flipped)
              assert.deepStrictEqual(
                yield* rows,
                ["1 outer", "2 inner"].map((id) => `${mine} ${id} value`)
              )
              yield* insert(mine, "4 outer")
            })
          ).pipe(as(mine))
          assert.deepStrictEqual(yield* committed(mine), ["1 outer", "2 inner", "4 outer"])
        })
      )
    )

    it.effect("5: fails after work for another tenant in it, also if the defect is caught", () =>
      withStore(
        Effect.fnUntraced(function* (mine, theirs) {
          const storage = yield* EventStorage
          const client = yield* sql
          yield* write("theirs").pipe(as(theirs))
          for (const refused of [
            PgTenant.transaction(insert(theirs, "across")),
            client.withTransaction(PgTenant.transaction(insert(theirs, "across"))),
            write("across"),
            log(),
            storage.head({ tenantId: theirs }),
            storage.tenantStatus(theirs),
            storage.provisionTenant(theirs)
          ] as ReadonlyArray<Effect.Effect<unknown, unknown, Store | Tenant.CurrentTenant>>) {
            const caught = refused.pipe(as(theirs), Effect.exit)
            for (const attempt of [caught, Effect.exit(client.withTransaction(caught))]) {
              const { tenantId } = yield* PgTenant.transaction(
                Effect.andThen(insert(mine, "1"), attempt)
              ).pipe(as(mine), mismatches)
              assert.strictEqual(tenantId, theirs)
            }
          }
          yield* PgTenant.transaction(
            Effect.andThen(insert(mine, "1"), PgTenant.transaction(write("mine")))
          ).pipe(as(mine))
          assert.deepStrictEqual(texts(yield* log().pipe(as(mine))), ["mine"])
          assert.deepStrictEqual([yield* committed(mine), yield* committed(theirs)], [["1"], []])
          assert.deepStrictEqual(texts(yield* log().pipe(as(theirs))), ["theirs"])
        })
      )
    )

    it.effect("5: refuses a transaction that was started without a tenant", () =>
      withStore(
        Effect.fnUntraced(function* (mine) {
          const client = yield* sql
          yield* client.withTransaction(PgTenant.transaction(rows)).pipe(as(mine), mismatches)
          yield* client
            .withTransaction(Effect.andThen(write("binds it"), PgTenant.transaction(rows)))
            .pipe(as(mine), mismatches)
          assert.deepStrictEqual(yield* log().pipe(as(mine)), [])
        })
      )
    )

    it.effect("5: serves one tenant, also if the program began it without a tenant", () =>
      withStore(
        Effect.fnUntraced(function* (mine, theirs) {
          const client = yield* sql
          yield* client
            .withTransaction(Effect.andThen(write("first").pipe(as(mine)), write("second").pipe(as(theirs))))
            .pipe(mismatches)
          for (const tenant of [mine, theirs]) assert.deepStrictEqual(yield* log().pipe(as(tenant)), [])
          yield* client.withTransaction(Effect.andThen(write("one"), write("two"))).pipe(as(mine))
          assert.deepStrictEqual(texts(yield* log().pipe(as(mine))), ["one", "two"])
        })
      )
    )

    it.effect("commits or rolls back appends together with its other statements", () =>
      withStore(
        Effect.fnUntraced(function* (mine) {
          const both = Effect.andThen(write("event"), insert(mine, "row"))
          yield* PgTenant.transaction(Effect.andThen(both, Effect.fail("undone" as const))).pipe(
            as(mine),
            flipped
          )
          assert.deepStrictEqual([yield* log().pipe(as(mine)), yield* committed(mine)], [[], []])
          yield* PgTenant.transaction(
            Effect.gen(function* () {
              yield* both
              // a refused append leaves the transaction unchanged
              yield* write("stale", { expected: 0 }).pipe(failsWith("VersionConflict"))
              assert.strictEqual((yield* write("next", { expected: 1 })).position, 2)
            })
          ).pipe(as(mine))
          assert.deepStrictEqual(texts(yield* log().pipe(as(mine))), ["event", "next"])
          assert.deepStrictEqual(yield* committed(mine), ["row"])
        })
      )
    )

    it.effect("passes on errors and defects of the effect, and rolls back", () =>
      withStore(
        Effect.fnUntraced(function* (mine) {
          const failing = <E>(exit: Exit.Exit<never, E>) =>
            PgTenant.transaction(Effect.andThen(insert(mine, "undone"), exit)).pipe(as(mine), Effect.exit)
          assert.deepStrictEqual(yield* failing(Exit.fail("error")), Exit.fail("error"))
          const defect = new Error("defect")
          assert.deepStrictEqual(yield* failing(Exit.die(defect)), Exit.die(defect))
          const twice = PgTenant.transaction(Effect.andThen(insert(mine, "same"), insert(mine, "same")))
          const error = yield* twice.pipe(as(mine), flipped)
          assert.isTrue(SqlError.isSqlError(error) && sqlState(error) === "23505")
          // after a caught error it cannot commit, and reports that
          const swallowed = PgTenant.transaction(
            Effect.ignore(insert(mine, "same").pipe(Effect.andThen(insert(mine, "same"))))
          )
          yield* swallowed.pipe(as(mine), failsWith("StorageUnavailable"))
          assert.deepStrictEqual(yield* committed(mine), [])
        })
      )
    )

    it.effect("begins with the configured statement, and runs callbacks after its commit", () =>
      withStore(
        Effect.fnUntraced(function* (mine) {
          const client = yield* sql
          const seen: Array<unknown> = []
          const settings = client`select current_setting('transaction_isolation') as isolation,
            nullif(current_setting('eventsourcing.tenant_id', true), '') as tenant`
          yield* PgTenant.transaction(
            Effect.gen(function* () {
              yield* client.afterCommit(Effect.map(Effect.orDie(settings), (row) => seen.push(...row)))
              seen.push(...(yield* settings))
            })
          ).pipe(
            as(mine),
            Effect.provideService(SqlClient.BeginTransaction, "BEGIN ISOLATION LEVEL SERIALIZABLE")
          )
          assert.deepStrictEqual(seen, [
            { isolation: "serializable", tenant: mine },
            { isolation: "read committed", tenant: null }
          ])
        })
      )
    )

    it.effect("is separate for each of many concurrent callers", () =>
      withStore(() =>
        Effect.forEach(
          Array.from({ length: 24 }),
          Effect.fnUntraced(function* () {
            const tenant = yield* Tenant.generate
            yield* PgTenant.transaction(
              Effect.gen(function* () {
                yield* insert(tenant, "row")
                yield* Effect.yieldNow
                yield* write("event")
                assert.deepStrictEqual(yield* rows, [`${tenant} row value`])
                assert.lengthOf(yield* log(), 1)
              })
            ).pipe(as(tenant))
          }),
          { concurrency: "unbounded" }
        )
      )
    )

    it.effect("14: a value that one tenant cannot store fails no other tenant, and is not quoted", () =>
      withStore(
        Effect.fnUntraced(function* (mine, theirs) {
          const storage = yield* EventStorage
          const logged: Array<unknown> = []
          const request = (tenantId: Tenant.TenantId, payload: string): AppendRequest => ({
            tenantId,
            streams: [
              {
                aggregateType: "Note",
                aggregateId: "1",
                expectedVersion: "any",
                events: [
                  {
                    eventId: Event.generateId(),
                    eventType: "Noted",
                    schemaVersion: 1,
                    occurredAt: 0,
                    actor: null,
                    correlationId: "1",
                    causationId: null,
                    metadata: "{}",
                    tags: [],
                    payload
                  }
                ]
              }
            ]
          })
          // directly on the driver, because the typed store writes no such text
          const [bad, good] = yield* Effect.all(
            [request(theirs, '{"canary": '), request(mine, '"fine"')].map((sent) =>
              Effect.result(storage.append(sent))
            ),
            { concurrency: "unbounded" }
          ).pipe(
            Effect.provideService(References.MinimumLogLevel, "All"),
            Effect.provideService(
              References.CurrentLoggers,
              new Set([Logger.make((entry) => logged.push(entry.message, entry.cause))])
            )
          )
          assert.isTrue(good !== undefined && Result.isSuccess(good))
          assert.isTrue(
            bad !== undefined && Result.isFailure(bad) && bad.failure._tag === "StorageUnavailable"
          )
          assert.notInclude(everythingIn([bad, good, logged]), "canary")
          assert.strictEqual((yield* storage.head({ tenantId: theirs })).position, 0)
        })
      )
    )

    if (embedded) return

    it.effect("of one client does not count as one of another client, even of a superuser", () =>
      withStore(
        Effect.fnUntraced(function* (mine, theirs) {
          yield* inBoth.pipe(as(theirs))
          const { owner } = yield* TenantDatabase
          const superuser = yield* storeWith(owner)
          yield* PgTenant.transaction(
            sql
              .use((other) => other.withTransaction(PgTenant.transaction(rows)))
              .pipe(Effect.provideContext(superuser), mismatches)
          ).pipe(as(mine))
          const own = PgTenant.transaction(rows).pipe(Effect.provideContext(superuser))
          assert.deepStrictEqual(yield* PgTenant.transaction(own).pipe(as(mine)), [])
          assert.deepStrictEqual(yield* own.pipe(as(theirs)), [`${theirs} shared value`])
        })
      )
    )
  })
}
