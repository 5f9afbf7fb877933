import { assert, describe, layer } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import * as PgTenant from "../../src/pg/PgTenant.ts"
import * as Repository from "../../src/store/Repository.ts"
import * as SnapshotPolicy from "../../src/domain/SnapshotPolicy.ts"
import { SnapshotStorage } from "../../src/driver/SnapshotStorage.ts"
import type { ReadError } from "../../src/driver/StoreError.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as SnapshotStorageSuite from "../../src/testing/SnapshotStorageSuite.ts"
import { everySqlBackend } from "../support/backends.ts"
import { asNewTenant } from "../support/bank.ts"
import {
  adds,
  counted,
  enterAll,
  entered,
  kept,
  keyOf,
  Ledger,
  plant,
  snapshotAt,
  stateAfter,
  stored,
  withRepository
} from "../support/snapshots.ts"
import { flipped, mismatches } from "../../src/testing/failures.ts"
import * as Telemetry from "../../src/telemetry/Telemetry.ts"

for (const { layer: driver, name } of everySqlBackend) SnapshotStorageSuite.suite({ name, layer: driver })

describe.each(everySqlBackend)("snapshots in PostgreSQL, on $name", (backend) => {
  layer(stored(backend.layer), { excludeTestServices: true })((it) => {
    const load = Repository.Repository.use(({ loadOrInitial }) => loadOrInitial(Ledger, "1"))
    const enter = (amount: number) =>
      Repository.Repository.use(({ execute }) => execute(Ledger, "1", () => [entered(amount)]))

    it.effect("never belong to a history that was undone, taken in the background or at once", () =>
      Effect.gen(function* () {
        yield* enterAll([1])
        for (const taken of ["inBackground", "atOnce"] as const) {
          // when the repository ends, its background snapshots are stored
          yield* enter(2).pipe(
            Effect.andThen(Effect.fail("undone")),
            PgTenant.transaction,
            Effect.ignore,
            withRepository({ policy: SnapshotPolicy.every(1), taken })
          )
          assert.strictEqual((yield* kept())?.version, taken === "atOnce" ? 1 : 2)
          yield* Effect.gen(function* () {
            const { state, version } = yield* load
            assert.deepStrictEqual([state, version], [stateAfter([1]), 1])
          }).pipe(withRepository({ policy: SnapshotPolicy.every(1), taken: "atOnce" }))
        }
        // another event at the same place in stream and log
        const undone = yield* Effect.gen(function* () {
          yield* enterAll([2])
          return yield* Effect.fail({ snapshot: yield* snapshotAt(2) })
        }).pipe(PgTenant.transaction, flipped)
        assert(typeof undone === "object" && "snapshot" in undone)
        yield* enterAll([3])
        yield* plant(undone.snapshot)
        const other = counted(Telemetry.snapshotMisses, "otherHistory")
        const look = load.pipe(withRepository({ policy: () => false }))
        assert.strictEqual(yield* adds(other, look), 1)
        assert.deepStrictEqual((yield* look).state, stateAfter([1, 3]))
      }).pipe(asNewTenant)
    )

    it.effect("take part in the transaction of the program, which does not fail if they do", () =>
      Effect.gen(function* () {
        const tenantId = yield* Tenant.CurrentTenant
        const storage = yield* SnapshotStorage
        const wrong = { ...(yield* keyOf()), ...nothing, eventId: "no UUID" }
        yield* Effect.gen(function* () {
          yield* enter(1)
          assert.strictEqual((yield* kept())?.version, 1)
          assert.strictEqual((yield* flipped(storage.save(wrong)))._tag, "StorageUnavailable")
          yield* enter(2)
        }).pipe(withRepository({ policy: SnapshotPolicy.every(1), taken: "atOnce" }), PgTenant.transaction)
        assert.strictEqual((yield* kept())?.version, 2)
        const other = yield* Tenant.generate
        const refused: ReadonlyArray<Effect.Effect<unknown, ReadError>> = [
          storage.load({ ...wrong, tenantId: other }),
          storage.save({ ...wrong, tenantId: other, eventId: tenantId }),
          storage.remove({ ...wrong, tenantId: other })
        ]
        for (const effect of refused) {
          const { tenantId: found } = yield* mismatches(PgTenant.transaction(Effect.exit(effect)))
          assert.strictEqual(found, other)
        }
      }).pipe(asNewTenant)
    )

    it.effect(
      "9: are visible only to their own tenant by row-level security, and never without a tenant",
      () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const tenants = [yield* Tenant.generate, yield* Tenant.generate]
          for (const tenantId of tenants) {
            yield* enterAll([1]).pipe(Tenant.provide(tenantId))
            yield* load.pipe(
              withRepository({ policy: SnapshotPolicy.every(1), taken: "atOnce" }),
              Tenant.provide(tenantId)
            )
          }
          const seen = sql<{
            tenantId: string
          }>`select tenant_id::text as "tenantId" from eventsourcing.snapshots`
          for (const tenantId of tenants) {
            assert.deepStrictEqual(yield* seen.pipe(PgTenant.transaction, Tenant.provide(tenantId)), [
              { tenantId }
            ])
          }
          const [mine, theirs] = tenants
          assert(mine !== undefined && theirs !== undefined)
          const stolen = sql`insert into eventsourcing.snapshots
          select ${theirs}, aggregate_type, 'two', version, position, event_id, recorded_at, state_version, fingerprint,
            checksum, state, taken_at from eventsourcing.snapshots`
          const error = yield* flipped(stolen.pipe(PgTenant.transaction, Tenant.provide(mine)))
          assert.strictEqual(error._tag, "SqlError")
          const unbound = sql.withTransaction(Effect.andThen(sql`set local role eventsourcing_tenant`, seen))
          assert.deepStrictEqual(yield* unbound, [])
        })
    )
  })
})

const nothing = {
  version: 9,
  position: 9,
  recordedAt: 0,
  stateVersion: 1,
  fingerprint: "",
  checksum: "",
  state: ""
}
