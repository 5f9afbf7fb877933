/** Isolation cases of the directory of tenants, for mutation tests. */
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { EventStorage } from "../../src/driver/EventStorage.ts"
import { type Case, test } from "../../src/testing/isolation/kit.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { type Store, TenantDatabase } from "./tenantDatabase.ts"

/** The cases. The placements are those of `tenantDatabase.ts`. */
export const directoryCases: ReadonlyArray<Case<Store | TenantDatabase>> = [
  test("1: the placements of two tenants are independent", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const storage = yield* EventStorage
      const accessId = yield* storage.recordAccess({ actor: "test", reason: "test", operation: "test" })
      const [here, there, unplaced] = yield* Effect.all([Tenant.generate, Tenant.generate, Tenant.generate])
      for (const [tenant, placement] of [
        [here, "here"],
        [there, "there"]
      ] as const)
        yield* sql`select eventsourcing.place_tenant(${accessId}::uuid, ${tenant}::uuid, ${placement})`
      for (const [tenant, expected] of [
        [here, "here"],
        [there, "there"],
        [unplaced, null]
      ] as const) {
        const rows = yield* sql`select eventsourcing.tenant_placement(${tenant}::uuid) as placement`
        assert.deepStrictEqual(rows, [{ placement: expected }])
      }
    })),
  test("1: a tenant that is excluded or admitted changes no other", () =>
    Effect.gen(function* () {
      const { outside } = yield* TenantDatabase
      const { provisionTenant, tenantStatus } = yield* EventStorage
      const [one, two, other] = yield* Effect.all([Tenant.generate, Tenant.generate, Tenant.generate])
      yield* provisionTenant(other)
      for (const tenant of [one, two]) yield* outside("select eventsourcing.exclude_tenant($1)", [tenant])
      yield* outside("select eventsourcing.admit_tenant($1)", [one])
      const found = yield* Effect.forEach([one, two, other], tenantStatus)
      assert.deepStrictEqual(found, ["active", "elsewhere", "active"])
    }))
]
