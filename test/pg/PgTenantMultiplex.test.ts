/**
 * Connections that fibers share (`multiplex`): a transaction takes one exclusively, so no tenant is visible to users of
 * the other connections, or of the same one afterwards.
 */
import { assert, describe, layer } from "@effect/vitest"
import { Deferred, Effect, Fiber, References } from "effect"
import { SqlClient } from "effect/sql"
import * as PgTenant from "../../src/pg/PgTenant.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { as, log, texts, write } from "../../src/testing/isolation/kit.ts"
import { servers } from "../support/Databases.ts"
import { assertClean, layerOn, TenantDatabase } from "../support/tenantDatabase.ts"

const shared = (maxConnections: number) =>
  TenantDatabase.use(({ store }) => store({ multiplex: true, multiplexConcurrency: 64, maxConnections }))

/** The session state that a statement outside of transactions finds on its shared connection. */
const surroundings = SqlClient.SqlClient.use(
  (sql) => sql<{ tenant: string | null; own: boolean; pid: number }>`
    select nullif(current_setting('eventsourcing.tenant_id', true), '') as tenant, current_user = session_user as own,
      pg_backend_pid() as pid`
)

const insert = (tenant: Tenant.TenantId, id: string) =>
  SqlClient.SqlClient.use((sql) => sql`insert into public.read_model values (${tenant}, ${id}, 'value')`)

/** The tenants whose rows are visible. */
const visible = SqlClient.SqlClient.use((sql) =>
  Effect.map(sql<{ tenant: string }>`select distinct tenant_id as tenant from public.read_model`, (rows) =>
    rows.map(({ tenant }) => tenant)
  )
)

const raw = (...statements: ReadonlyArray<string>) =>
  SqlClient.SqlClient.use((sql) =>
    Effect.forEach(statements, (statement) => Effect.ignore(sql.unsafe(statement)), { discard: true })
  )

for (const server of servers) {
  layer(layerOn(server), { excludeTestServices: true })(`shared connections on ${server.name}`, (it) => {
    it.effect("7: users of shared connections never find the tenant of an open transaction", () =>
      Effect.gen(function* () {
        const [a, b] = [yield* Tenant.generate, yield* Tenant.generate]
        yield* Effect.gen(function* () {
          const [inside, leave] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
          const open = yield* insert(a, "open").pipe(
            Effect.andThen(Deferred.succeed(inside, undefined)),
            Effect.andThen(Deferred.await(leave)),
            Effect.andThen(visible),
            PgTenant.transaction,
            as(a),
            Effect.forkChild
          )
          yield* Deferred.await(inside)
          const found = yield* Effect.forEach(Array.from({ length: 64 }), () => surroundings, {
            concurrency: "unbounded"
          })
          assert.deepStrictEqual(
            found.flat().filter(({ own, tenant }) => tenant !== null || !own),
            []
          )
          assert.deepStrictEqual(yield* visible, [])
          yield* write("while it is open").pipe(as(b))
          assert.deepStrictEqual(texts(yield* log().pipe(as(b))), ["while it is open"])
          assert.deepStrictEqual(yield* PgTenant.transaction(visible).pipe(as(b)), [])
          yield* Deferred.succeed(leave, undefined)
          assert.deepStrictEqual(yield* Fiber.join(open), [a])
        }).pipe(Effect.provideContext(yield* shared(3)))
      }).pipe(Effect.scoped)
    )

    it.effect("5, 7: many concurrent tenants see only their own rows, and leave nothing behind", () =>
      Effect.gen(function* () {
        const tenants = yield* Effect.forEach(Array.from({ length: 64 }), () => Tenant.generate)
        yield* Effect.gen(function* () {
          yield* Effect.forEach(
            tenants,
            (tenant) => {
              const own = Effect.gen(function* () {
                yield* insert(tenant, "own")
                yield* write("in it")
                assert.deepStrictEqual(yield* visible, [tenant])
                assert.lengthOf(yield* log(), 1)
              })
              return Effect.all([PgTenant.transaction(own).pipe(as(tenant)), surroundings], {
                concurrency: "unbounded"
              })
            },
            { concurrency: "unbounded" }
          )
          const found = yield* Effect.forEach(Array.from({ length: 64 }), () => surroundings, {
            concurrency: "unbounded"
          })
          for (const { own, tenant } of found.flat()) assert.deepStrictEqual([tenant, own], [null, true])
        }).pipe(Effect.provideContext(yield* shared(4)))
      }).pipe(Effect.scoped)
    )

    describe("raw SQL on a shared connection", () => {
      for (const statements of [
        ["begin"],
        ["begin", "select 1/0"],
        ["select set_config('eventsourcing.tenant_id', '$tenant', false)"],
        ["set role eventsourcing_all_tenants"],
        ["begin", "select eventsourcing.begin_tenant('$tenant')"]
      ]) {
        it.effect(
          `7: ${statements.join("; ")}: later work is correct, committed, and of its own tenant`,
          () =>
            Effect.gen(function* () {
              const { outside } = yield* TenantDatabase
              const [a, b] = [yield* Tenant.generate, yield* Tenant.generate]
              yield* Effect.gen(function* () {
                yield* write("before").pipe(as(b))
                const left = statements.map((statement) => statement.replace("$tenant", b))
                yield* raw(...left)
                yield* write("appended").pipe(as(a))
                yield* raw(...left)
                assert.deepStrictEqual(texts(yield* log().pipe(as(a))), ["appended"])
                yield* raw(...left)
                const seen = yield* insert(a, "own").pipe(
                  Effect.andThen(visible),
                  PgTenant.transaction,
                  as(a)
                )
                assert.deepStrictEqual(seen, [a])
                for (const table of ["eventsourcing.events", "public.read_model"])
                  assert.lengthOf(yield* outside(`select from ${table} where tenant_id = $1`, [a]), 1, table)
                assert.lengthOf(
                  yield* outside("select from eventsourcing.events where tenant_id = $1", [b]),
                  1
                )
              }).pipe(
                Effect.provideContext(yield* shared(1)),
                // the warning about leftovers is logged
                Effect.provideService(References.CurrentLoggers, new Set())
              )
            }).pipe(Effect.scoped)
        )
      }
    })

    it.effect("6: a transaction that is interrupted in a query leaves a clean connection for others", () =>
      Effect.gen(function* () {
        const tenant = yield* Tenant.generate
        const { outside } = yield* TenantDatabase
        yield* Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const slow = yield* PgTenant.transaction(sql`select pg_sleep(60)`).pipe(
            as(tenant),
            Effect.forkChild
          )
          const asleep = outside("select from pg_stat_activity where wait_event = 'PgSleep'")
          yield* Effect.repeat(asleep, { until: (rows) => rows.length > 0 })
          yield* Fiber.interrupt(slow)
          yield* assertClean
        }).pipe(Effect.provideContext(yield* shared(1)))
      }).pipe(Effect.scoped)
    )
  })
}
