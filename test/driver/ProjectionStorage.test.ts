/** The contract of storages of projections on every backend, and what the database itself sees to. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import {
  append,
  failNext,
  newProjection,
  newTenant,
  putNextAside,
  withNeighbour
} from "../../src/testing/driver/projectionKit.ts"
import * as PgTenant from "../../src/pg/PgTenant.ts"
import { ProjectionStorage } from "../../src/driver/ProjectionStorage.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as ProjectionStorageSuite from "../../src/testing/ProjectionStorageSuite.ts"
import { backends, sqlBackends } from "../support/backends.ts"

for (const { name, layer: driver } of backends) {
  ProjectionStorageSuite.suite({ name, layer: driver, concurrent: name !== "PGlite" })
}

const tables = ["projections", "dead_letters", "discarded_dead_letters"]

/** The SQLSTATE with which the database refuses. */
const refusal = <E extends { readonly _tag: string }, R>(
  effect: Effect.Effect<unknown, E | SqlError.SqlError, R>
) => Effect.map(Effect.flip(effect), (error) => ("reason" in error ? error.reason._tag : error._tag))

describe.each(sqlBackends)("in the database on $name", (backend) => {
  layer(backend.layer, { excludeTestServices: true })((it) => {
    it.effect("15: a tenant's transaction sees the tenant's own progress and dead letters", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const storage = yield* ProjectionStorage
        const projected = yield* newProjection()
        yield* withNeighbour(
          Effect.fnUntraced(function* (mine, theirs) {
            for (const tenant of [mine, theirs]) {
              yield* projected.on(tenant, putNextAside())
              yield* projected.on(tenant, putNextAside())
              yield* projected.on(tenant, failNext(undefined))
              yield* storage.removeDeadLetter({ ...projected.of(tenant), position: 1, reason: "because" })
            }
            for (const table of tables) {
              const rows = yield* PgTenant.transaction(
                sql.unsafe<{ tenant_id: string }>(`select tenant_id::text from eventsourcing.${table}`)
              ).pipe(Tenant.provide(mine))
              assert.deepStrictEqual([...new Set(rows.map((row) => row.tenant_id))], [mine], table)
              const foreign = PgTenant.transaction(
                sql.unsafe(`delete from eventsourcing.${table} where tenant_id = $1::uuid returning 1`, [
                  theirs
                ])
              ).pipe(Tenant.provide(mine))
              if (table === "discarded_dead_letters") {
                assert.strictEqual(yield* refusal(foreign), "AuthorizationError")
              } else assert.isEmpty(yield* foreign)
            }
            assert.deepStrictEqual(yield* projected.letters(theirs), [2])
          })
        )
      })
    )

    it.effect("without a tenant there is nothing to see, and nothing is taken", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const projected = yield* newProjection()
        const tenant = newTenant()
        yield* append(tenant, 1)
        yield* projected.on(tenant, putNextAside())
        const unbound = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
          sql.withTransaction(Effect.andThen(sql`set local role eventsourcing_tenant`, effect))
        for (const table of tables) {
          const rows = yield* unbound(sql.unsafe(`select tenant_id from eventsourcing.${table}`))
          assert.isEmpty(rows, table)
        }
        const insert = sql`insert into eventsourcing.projections (tenant_id, projection, version, rebuild)
          values (${tenant}::uuid, 'forged', 1, false)`
        assert.strictEqual(yield* refusal(unbound(insert)), "AuthorizationError")
      })
    )

    it.effect("the role that looks for work sees who has how many events, and none of what is in them", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const projected = yield* newProjection()
        const tenant = newTenant()
        yield* append(tenant, 2)
        yield* projected.on(tenant, putNextAside())
        const asRunner = <A extends object = object>(text: string) =>
          sql.withTransaction(Effect.andThen(sql`set local role eventsourcing_runner`, sql.unsafe<A>(text)))
        const [row] = yield* asRunner<{ n: number }>(
          "select count(position)::int as n from eventsourcing.events"
        )
        assert.isAtLeast(row?.n ?? 0, 2)
        for (const text of [
          "select payload from eventsourcing.events",
          "select metadata from eventsourcing.events",
          "select event_type from eventsourcing.events",
          "select * from eventsourcing.events",
          "select status from eventsourcing.tenants",
          "select * from eventsourcing.dead_letters",
          "select * from eventsourcing.discarded_dead_letters",
          "select * from eventsourcing.cross_tenant_accesses",
          "delete from eventsourcing.projections",
          "delete from eventsourcing.events",
          "insert into eventsourcing.tenants (tenant_id) values (gen_random_uuid())",
          "update eventsourcing.projection_versions set version = 7",
          `select * from eventsourcing.read_log('${tenant}', 1, 9, null, null, null, null, null, false, 9, 999)`
        ]) {
          assert.strictEqual(yield* refusal(asRunner(text)), "AuthorizationError", text)
        }
      })
    )
  })
})
