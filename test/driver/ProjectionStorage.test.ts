/** The contract of projection storages on every backend, and the guarantees of the database itself. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import { randomUUID } from "node:crypto"
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
import { everyBackend, everySqlBackend } from "../support/backends.ts"
import { flipped } from "../../src/testing/failures.ts"
import type { OutcomeUnknown, StorageUnavailable } from "../../src/driver/StoreError.ts"

for (const { name, layer: driver } of everyBackend) {
  ProjectionStorageSuite.suite({ name, layer: driver, concurrent: name !== "PGlite" })
}

const tables = ["projections", "dead_letters", "discarded_dead_letters"]

/** The SQLSTATE of a refusal by the database. */
const refusal = <R>(
  effect: Effect.Effect<unknown, SqlError.SqlError | StorageUnavailable | OutcomeUnknown, R>
) => Effect.map(Effect.flip(effect), (error) => ("reason" in error ? error.reason._tag : error._tag))

describe.each(everySqlBackend)("in the database on $name", (backend) => {
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

    it.effect("without a tenant the database shows nothing and accepts nothing", () =>
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

    it.effect("an access across tenants is recorded with the login, the time and an id of its own", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const record = (id: string, actor: string) =>
          sql`select eventsourcing.record_cross_tenant_access(${id}::uuid, ${actor}, 'why', 'look')`
        const said = (effect: Effect.Effect<unknown, SqlError.SqlError>) =>
          Effect.map(flipped(effect), ({ reason }) => String(reason.cause))
        const at = (time: number) =>
          `${time
            .toString(16)
            .padStart(12, "0")
            .replace(/^(.{8})/, "$1-")}-7000-8000-${randomUUID().slice(-12)}`
        const id = at(Date.now())
        yield* record(id, "one")
        // After a lost answer.
        yield* record(id, "one")
        assert.include(yield* said(record(id, "another")), "recorded for another access")
        assert.include(yield* said(record(randomUUID(), "one")), "not a UUID of version 7")
        assert.include(yield* said(record(at(Date.now() - 86_400_000), "one")), "within an hour")
      })
    )

    it.effect("the roles of programs cannot read across tenants by themselves", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const projected = yield* newProjection()
        const tenant = newTenant()
        yield* append(tenant, 2)
        yield* projected.on(tenant, putNextAside())
        const as = (role: string, text: string) =>
          sql.withTransaction(Effect.andThen(sql`set local role ${sql(role)}`, sql.unsafe(text)))
        for (const text of [
          "select position from eventsourcing.events",
          "select * from eventsourcing.events",
          "select error from eventsourcing.projections",
          "update eventsourcing.projections set position = 0",
          "insert into eventsourcing.cross_tenant_accesses (access_id) values (gen_random_uuid())",
          "select status from eventsourcing.tenants",
          "select * from eventsourcing.dead_letters",
          "select * from eventsourcing.discarded_dead_letters",
          "select * from eventsourcing.cross_tenant_accesses",
          "delete from eventsourcing.projections",
          "delete from eventsourcing.events",
          "insert into eventsourcing.tenants (tenant_id) values (gen_random_uuid())",
          "update eventsourcing.projection_versions set version = 7",
          "select eventsourcing.usage_position(gen_random_uuid(), 1, now())"
        ]) {
          for (const role of ["eventsourcing_runner", "eventsourcing_all_tenants"])
            assert.strictEqual(yield* refusal(as(role, text)), "AuthorizationError", `${role}: ${text}`)
        }
        assert.strictEqual(
          yield* refusal(
            as(
              "eventsourcing_runner",
              `select * from eventsourcing.read_log('${tenant}', 1, 9, null, null, null, null, null, false, 9, 999)`
            )
          ),
          "AuthorizationError"
        )
      })
    )
  })
})
