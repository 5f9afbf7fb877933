/** The administration of tenants on PostgreSQL: rights, and the traces of an erased tenant. */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { uuidV4Unsafe } from "effect/crypto/SecureRandom"
import { EventStorage } from "../../src/driver/EventStorage.ts"
import * as TenantErasure from "../../src/lifecycle/TenantErasure.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { append, event, newTenant, stream } from "../../src/testing/driver/eventKit.ts"
import { administered, begun, purge, rawEvents } from "../../src/testing/driver/administrationKit.ts"
import { AdministrationStorage } from "../../src/driver/AdministrationStorage.ts"
import { save, snapshot } from "../../src/testing/driver/snapshotKit.ts"
import { administrationCases, administrationSqlCases } from "../support/administrationCases.ts"
import { servers } from "../support/Databases.ts"
import { layerOn, TenantDatabase } from "../support/tenantDatabase.ts"

const by = Tenant.provideAdministration({ actor: "ada", reason: "contract ended" })

for (const server of servers) {
  layer(layerOn(server), { excludeTestServices: true })(
    `the administration of tenants on ${server.name}`,
    (it) => {
      for (const { name, run } of [...administrationCases, ...administrationSqlCases])
        it.effect(name, () =>
          Effect.gen(function* () {
            const { store } = yield* TenantDatabase
            yield* Effect.provideContext(run, yield* store())
          }).pipe(Effect.scoped)
        )

      it.effect("leaves of an erased tenant its record alone, in all tables", () =>
        Effect.gen(function* () {
          const { outside, store } = yield* TenantDatabase
          const services = yield* store()
          const [tenant, other] = [newTenant(), newTenant()]
          const canary = `canary-${uuidV4Unsafe()}`
          const traces = Effect.gen(function* () {
            const tables = yield* outside<{ name: string }>(
              `select c.oid::regclass::text as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
              where c.relkind in ('r', 'p', 'm') and n.nspname !~ '^pg_|^information_schema$' order by 1`
            )
            const found: Array<string> = []
            for (const { name } of tables) {
              const rows = yield* outside(
                `select 1 from ${name} t where t::text like $1 or t::text like $2`,
                [`%${tenant}%`, `%${canary}%`]
              )
              if (rows.length > 0) found.push(name)
            }
            return found
          })
          const certificate = yield* Effect.gen(function* () {
            const storage = yield* EventStorage
            const rows = [
              event({ payload: `{"text":"${canary}"}`, metadata: `{"text":"${canary}"}`, tags: [canary] })
            ]
            for (const tenantId of [tenant, other])
              yield* storage.append({
                tenantId,
                streams: [stream("one", tenantId === tenant ? rows : [event()])],
                command: {
                  key: tenantId === tenant ? canary : "key",
                  fingerprint: "f".repeat(64),
                  expiresInMillis: 60_000
                }
              })
            yield* save(
              { tenantId: tenant, aggregateType: "Case", aggregateId: "one" },
              snapshot(1, { state: JSON.stringify(canary) })
            )
            const { accessId } = yield* administered(tenant)
            const sql = yield* SqlClient.SqlClient
            yield* sql`select eventsourcing.place_tenant(${accessId}::uuid, ${tenant}::uuid, 'here')`
            yield* outside("insert into public.read_model values ($1, $2, $2)", [tenant, canary])
            yield* outside("insert into eventsourcing_rebuild.read_model values ($1, $2, $2)", [
              tenant,
              canary
            ])
            for (const statement of [
              "insert into eventsourcing.projections (tenant_id, projection, version, rebuild) values ($1, $2, 1, false)",
              `insert into eventsourcing.dead_letters values ($1, $2, 1, false, 1, $1, $2, 1, now())`,
              `insert into eventsourcing.discarded_dead_letters values ($1, $2, 1, 1, $1, $2, 1, now(), now(), $2)`,
              `insert into eventsourcing.projection_failures values ($1, $2, 1, false, 1, 'handler', null, $2, $2, 1, now(), now())`
            ])
              yield* outside(statement, [tenant, canary])
            assert.isAbove((yield* traces).length, 10)
            const erasure = yield* TenantErasure.TenantErasure
            return yield* by(erasure.erase(tenant))
          }).pipe(
            Effect.provide(TenantErasure.layerWith({ rowsPerStep: 2, pause: 0 })),
            Effect.provideContext(services)
          )
          assert.containSubset(certificate, { actor: "ada", reason: "contract ended", events: 1 })
          assert.isAtLeast(certificate.removed, 10)
          assert.match(certificate.residues.join(), /VACUUM.*write-ahead log.*[Bb]ackups/)
          assert.deepStrictEqual(yield* traces, ["eventsourcing.tenants"])
          const [left] = yield* outside<{ text: string }>(
            "select t::text as text from eventsourcing.tenants t where t.tenant_id = $1",
            [tenant]
          )
          assert.notInclude(left?.text ?? "", canary)
          assert.lengthOf(yield* Effect.provideContext(rawEvents(other), services), 1)
        }).pipe(Effect.scoped)
      )

      it.effect("no role may remove events, and purging asks for status and token", () =>
        Effect.gen(function* () {
          const { outside, store } = yield* TenantDatabase
          const services = yield* store()
          const deleting = yield* outside(
            `select rolname from pg_roles r where not r.rolsuper and rolname !~ '^pg_'
            and has_table_privilege(r.oid, 'eventsourcing.events', 'delete')`
          )
          assert.deepStrictEqual(deleting, [])
          const tenant = newTenant()
          yield* Effect.gen(function* () {
            const sql = yield* SqlClient.SqlClient
            yield* append(tenant, stream("one", [event(), event()]))
            const { accessId } = yield* administered(tenant)
            const answer = yield* sql<{ answer: { problem: string } }>`
            select eventsourcing.purge_tenant(${accessId}::uuid, ${tenant}::uuid, ${uuidV4Unsafe()}::uuid, 10) as answer`
            assert.include(answer[0]?.answer.problem, "is active")
            assert.lengthOf(yield* rawEvents(tenant), 2)
          }).pipe(Effect.provideContext(services))
        }).pipe(Effect.scoped)
      )

      it.effect("work for tenants, projections, and across tenants, can call none of it", () =>
        Effect.gen(function* () {
          const { outside } = yield* TenantDatabase
          const callable = yield* outside(
            `select p.proname, r.rolname from pg_proc p, pg_roles r
            where p.pronamespace = 'eventsourcing'::regnamespace and (p.proname = 'purge_tenant'
              or p.proowner = 'eventsourcing_administrator_owner'::regrole and p.proname <> 'end_expired_move')
            and r.rolname in ('eventsourcing_tenant', 'eventsourcing_runner', 'eventsourcing_all_tenants')
            and has_function_privilege(r.oid, p.oid, 'execute')`
          )
          assert.deepStrictEqual(callable, [])
        }).pipe(Effect.scoped)
      )

      it.effect("a setting of the session alone does not show a tenant that is hidden", () =>
        Effect.gen(function* () {
          const { app, store } = yield* TenantDatabase
          const services = yield* store()
          const [source, hidden] = [newTenant(), newTenant()]
          yield* Effect.gen(function* () {
            yield* append(source, stream("one", [event()]))
            const token = yield* begun(hidden, yield* rawEvents(source))
            yield* Effect.provide(
              SqlClient.SqlClient.use((sql) =>
                sql.withTransaction(
                  Effect.gen(function* () {
                    yield* sql`select set_config('eventsourcing.administered', ${uuidV4Unsafe()}, true)`
                    const failed = yield* Effect.flip(
                      sql`select eventsourcing.log_head(${hidden}::uuid, null)`
                    )
                    assert.include(JSON.stringify(failed.reason.cause), "ES011")
                    return yield* Effect.fail("undone")
                  })
                )
              ).pipe(Effect.ignore),
              Layer.orDie(PgClient.layer({ ...app, maxConnections: 1 })),
              { local: true }
            )
            const storage = yield* AdministrationStorage
            assert.strictEqual((yield* storage.tenant(yield* administered(hidden)))?.position, 1)
            yield* purge(hidden, token, 10)
          }).pipe(Effect.provideContext(services))
        }).pipe(Effect.scoped)
      )
    }
  )
}
