/** The directory as a table, and the rights to change it. */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import * as PgTenant from "../../src/pg/PgTenant.ts"
import * as PgTenantDirectory from "../../src/pg/PgTenantDirectory.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { TenantDirectory } from "../../src/routed/TenantDirectory.ts"
import { failsWith } from "../../src/testing/isolation/kit.ts"
import { servers } from "../support/Databases.ts"
import { flipped } from "../../src/testing/failures.ts"

const acrossTenants = Tenant.provideAll({ actor: "operator", reason: "a new customer" })
const place = (tenantId: Tenant.TenantId, placement: string) =>
  PgTenantDirectory.PgTenantDirectory.use((directory) => directory.place(tenantId, placement)).pipe(
    acrossTenants
  )
const placement = (tenantId: Tenant.TenantId) =>
  TenantDirectory.use((directory) => directory.placement(tenantId))

for (const server of servers) {
  const fresh = Effect.gen(function* () {
    const { app, owner } = yield* server.freshDatabase
    const asOwner = <A, E>(effect: Effect.Effect<A, E, SqlClient.SqlClient>) =>
      Effect.provide(effect, PgClient.layer({ ...owner, maxConnections: 1 }), { local: true })
    for (const name of ["pool", "silo"]) yield* asOwner(PgTenantDirectory.add(name))
    const client = PgClient.layer(app)
    return { asOwner, directory: PgTenantDirectory.layer.pipe(Layer.provideMerge(client)) }
  })

  describe(`a directory on ${server.name}`, () => {
    it.live(
      "has the placement of each placed tenant, follows a move at once, and knows no other tenant",
      () =>
        Effect.gen(function* () {
          const { asOwner, directory } = yield* fresh
          const [one, two] = [yield* Tenant.generate, yield* Tenant.generate]
          yield* Effect.gen(function* () {
            const { placements } = yield* TenantDirectory
            assert.deepStrictEqual(yield* placements, ["pool", "silo"])
            yield* placement(one).pipe(failsWith("UnknownTenant"))
            yield* place(one, "pool")
            yield* place(two, "silo")
            assert.strictEqual(yield* placement(one), "pool")
            assert.strictEqual(yield* placement(two), "silo")
            yield* place(one, "silo")
            assert.strictEqual(yield* placement(one), "silo")
            const error = yield* place(two, "nowhere").pipe(failsWith("UnknownPlacement"))
            assert.strictEqual(error.placement, "nowhere")
            assert.strictEqual(yield* placement(two), "silo")
            yield* asOwner(PgTenantDirectory.add("third"))
            yield* place(two, "third")
            assert.strictEqual(yield* placement(two), "third")
          }).pipe(Effect.provide(directory))
        }).pipe(Effect.scoped)
    )

    it.live("records the actor and the reason of a placement", () =>
      Effect.gen(function* () {
        const { asOwner, directory } = yield* fresh
        const tenant = yield* Tenant.generate
        yield* place(tenant, "pool").pipe(Effect.provide(directory))
        const rows = yield* asOwner(
          SqlClient.SqlClient.use(
            (sql) => sql`select actor, reason, operation from eventsourcing.cross_tenant_accesses`
          )
        )
        assert.deepStrictEqual(rows, [
          { actor: "operator", reason: "a new customer", operation: `PgTenantDirectory.place ${tenant}` }
        ])
      }).pipe(Effect.scoped)
    )

    it.live("1: a tenant sees only its own entry, and no entry changes without a recorded access", () =>
      Effect.gen(function* () {
        const { directory } = yield* fresh
        const [one, two] = [yield* Tenant.generate, yield* Tenant.generate]
        yield* Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          yield* place(one, "pool")
          yield* place(two, "silo")
          const seen = yield* PgTenant.transaction(
            sql`select tenant_id::text as id from eventsourcing.tenant_directory`
          ).pipe(Tenant.provide(one))
          assert.deepStrictEqual(seen, [{ id: one }])
          for (const change of [
            sql`update eventsourcing.tenant_directory set placement = 'silo'`,
            sql`insert into eventsourcing.tenant_directory values (${one}::uuid, 'silo')`,
            sql`select eventsourcing.place_tenant(gen_random_uuid(), ${one}::uuid, 'silo')`
          ]) {
            const error = yield* PgTenant.transaction(change).pipe(Tenant.provide(one), flipped)
            assert.strictEqual(error._tag, "SqlError")
          }
          for (const change of [
            sql`select eventsourcing.place_tenant(gen_random_uuid(), ${one}::uuid, 'silo')`,
            sql`select eventsourcing.add_placement('other')`,
            sql`insert into eventsourcing.placements (placement) values ('other')`
          ]) {
            assert.strictEqual((yield* flipped(change))._tag, "SqlError")
          }
          assert.strictEqual(yield* placement(one), "pool")
        }).pipe(Effect.provide(directory))
      }).pipe(Effect.scoped)
    )
  })
}
