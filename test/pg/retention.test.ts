/** Retention removes old rows that no other operation removes, and no others. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import * as PgTenant from "../../src/pg/PgTenant.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { eventually } from "../support/projected.ts"
import { backendsWith, Owner } from "../support/readModels.ts"

const key = (tenantId: Tenant.TenantId, name: string, expires: string) =>
  PgTenant.transaction(
    SqlClient.SqlClient.use(
      (
        sql
      ) => sql`insert into eventsourcing.command_keys (tenant_id, key, fingerprint, aggregate_type, aggregate_id,
          version, position, events, recorded_at, expires_at)
        values (${tenantId}::uuid, ${name}, 'f', 'a', 'b', 1, 1, 1, now(), now() + ${expires}::interval)`
    )
  ).pipe(Tenant.provide(tenantId))

const keysOf = (tenantId: Tenant.TenantId) =>
  PgTenant.transaction(
    SqlClient.SqlClient.use((sql) => sql<{ key: string }>`select key from eventsourcing.command_keys`)
  ).pipe(
    Tenant.provide(tenantId),
    Effect.map((rows) => rows.map((row) => row.key))
  )

const asAuditor = <A, E, R>(effect: (owner: SqlClient.SqlClient) => Effect.Effect<A, E, R>) =>
  Effect.flatMap(Owner, (owner) =>
    owner.withTransaction(
      Effect.andThen(owner`set local role eventsourcing_all_tenants_owner`, effect(owner))
    )
  )

const accesses = asAuditor(
  (owner) => owner<{ reason: string; operation: string }>`
    select reason, operation from eventsourcing.cross_tenant_accesses order by accessed_at`
)

describe.each(backendsWith([]))("on $name", (backend) => {
  layer(backend.layer, { excludeTestServices: true })((it) => {
    /** A tenant with two keys, one of which has expired, and two records, one of which is old. */
    const seed = Effect.gen(function* () {
      const tenantId = yield* Tenant.generate
      yield* SqlClient.SqlClient.use((sql) => sql`select eventsourcing.provision_tenant(${tenantId}::uuid)`)
      yield* key(tenantId, "expired", "-1 second")
      yield* key(tenantId, "valid", "1 hour")
      yield* asAuditor(
        (owner) => owner`insert into eventsourcing.cross_tenant_accesses
            (access_id, accessed_at, actor, reason, operation, login)
          select gen_random_uuid(), now() - age, 'test', age::text, 'look', 'test'
          from unnest(array['7 days 1 second', '6 days']::interval[]) age`
      )
      return tenantId
    })
    const keepers = <A, E, R>(retention: PgStorage.Retention, effect: Effect.Effect<A, E, R>) =>
      Effect.provide(effect, PgStorage.layerWith({ retention, announce: false }), { local: true })

    it.effect(
      "expired keys of idle tenants are removed; records of accesses stay unless a setting limits them",
      () =>
        Effect.gen(function* () {
          const tenantId = yield* seed
          yield* keepers(
            { every: "20 millis" },
            eventually(Effect.map(keysOf(tenantId), (keys) => assert.deepStrictEqual(keys, ["valid"])))
          )
          const kept = yield* accesses
          assert.deepStrictEqual(
            kept.map(({ reason }) => reason),
            ["7 days 00:00:01", "6 days"]
          )
          yield* keepers(
            { every: "20 millis", accesses: "7 days" },
            eventually(
              Effect.map(accesses, (found) =>
                assert.deepStrictEqual(Array.from(found), [
                  { reason: "6 days", operation: "look" },
                  { reason: "kept for 7.0 days", operation: "remove 1 accesses" }
                ])
              )
            )
          )
        })
    )

    it.effect("records of accesses are kept for at least seven days", () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(
          SqlClient.SqlClient.use((sql) => sql`select eventsourcing.remove_old_accesses(604799)`)
        )
        assert.include(String(error.reason.cause), "at least seven days")
        const refused = yield* Effect.scoped(
          Layer.build(PgStorage.layerWith({ retention: { accesses: "6 days" } }))
        ).pipe(Effect.catchDefect(Effect.fail), Effect.flip)
        assert.include(String(refused), "at least 7 days")
      })
    )
  })
})
