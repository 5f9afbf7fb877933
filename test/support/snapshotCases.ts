/**
 * Isolation cases of the SQL functions of snapshots: they go red if one predicate on the tenant is missing.
 */
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import { randomUUID } from "node:crypto"
import * as PgSnapshotStorage from "../../src/pg/PgSnapshotStorage.ts"
import { type SaveSnapshot, SnapshotStorage } from "../../src/SnapshotStorage.ts"
import { type Case, test } from "../../src/testing/TenantIsolationKit.ts"
import * as Tenant from "../../src/Tenant.ts"

const snapshotOf = (tenantId: Tenant.TenantId, version: number): SaveSnapshot => ({
  tenantId,
  aggregateType: "Case",
  aggregateId: "one",
  version,
  position: version,
  eventId: randomUUID(),
  recordedAt: 1_600_000_000_000,
  stateVersion: 1,
  fingerprint: "",
  checksum: "",
  state: JSON.stringify(tenantId)
})

/** Two tenants with the same names, each in the role of the other as well. */
const between = <E, R>(run: (mine: SaveSnapshot, theirs: SaveSnapshot) => Effect.Effect<void, E, R>) =>
  Effect.forEach(
    [false, true],
    (reversed) =>
      Effect.gen(function* () {
        const one = snapshotOf(yield* Tenant.generate, 1)
        const other = snapshotOf(yield* Tenant.generate, 2)
        yield* reversed ? run(other, one) : run(one, other)
      }),
    { discard: true }
  ).pipe(Effect.provide(PgSnapshotStorage.layer, { local: true }))

export const snapshotCases: ReadonlyArray<Case<SqlClient.SqlClient>> = [
  test("9: a tenant is given its own snapshot, never another's of the same name", () =>
    between((mine, theirs) =>
      Effect.gen(function* () {
        const storage = yield* SnapshotStorage
        yield* storage.save(theirs)
        assert.isUndefined(yield* storage.load(mine))
        yield* storage.save(mine)
        assert.strictEqual((yield* storage.load(mine))?.state, mine.state)
        assert.strictEqual((yield* storage.load(theirs))?.state, theirs.state)
      })
    )),
  test("9: a tenant forgets its own snapshot, never another's of the same name", () =>
    between((mine, theirs) =>
      Effect.gen(function* () {
        const storage = yield* SnapshotStorage
        yield* storage.save(theirs)
        assert.isFalse(yield* storage.remove(mine))
        yield* storage.save(mine)
        assert.isTrue(yield* storage.remove(mine))
        assert.strictEqual((yield* storage.load(theirs))?.state, theirs.state)
      })
    ))
]
