/** The contract of drivers: erasure, legal hold and purge. */
import { assert, type Vitest } from "@effect/vitest"
import { Effect } from "effect"
import { AdministrationStorage } from "../../driver/AdministrationStorage.ts"
import { EventStorage } from "../../driver/EventStorage.ts"
import type { SnapshotStorage } from "../../driver/SnapshotStorage.ts"
import {
  administered,
  begun,
  change,
  newToken,
  purge,
  rawEvents,
  record
} from "../driver/administrationKit.ts"
import { append, events, newTenant, stream } from "../driver/eventKit.ts"
import { load, save, snapshot } from "../driver/snapshotKit.ts"
import { flipped } from "../failures.ts"
import { conflictOf, filled } from "./kit.ts"

type Services = AdministrationStorage | EventStorage | SnapshotStorage

export const erasure = (it: Vitest.MethodsNonLive<Services>): void => {
  it.effect("42: erases a tenant, its record excepted, and no row of another", () =>
    Effect.gen(function* () {
      const storage = yield* AdministrationStorage
      const store = yield* EventStorage
      const [erased, other, token] = [newTenant(), newTenant(), newToken()]
      const key = { aggregateType: "Case", aggregateId: "one" }
      for (const tenantId of [erased, other]) {
        yield* filled(tenantId)
        yield* store.append({
          tenantId,
          streams: [stream("three", events(1))],
          command: { key: "k", fingerprint: "f".repeat(64), expiresInMillis: 60_000 }
        })
        yield* save({ tenantId, ...key }, snapshot(3))
      }
      const before = yield* rawEvents(other)
      const at = yield* administered(erased)
      assert.strictEqual(
        (yield* flipped(storage.purge({ ...at, token, limit: 10 })))._tag,
        "TenantStateConflict"
      )
      const last = (yield* rawEvents(erased)).at(-1)
      const { state } = yield* change(erased, { change: "erase", token, purgeInMillis: 0 })
      assert.containSubset(state, {
        status: "erased",
        actor: "suite",
        reason: "contract",
        events: 6,
        lastHash: last?.hash ?? "",
        purging: false
      })
      assert.strictEqual(
        (yield* flipped(storage.purge({ ...at, token: newToken(), limit: 10 })))._tag,
        "TenantStateConflict"
      )
      assert.isAtLeast(yield* purge(erased, token, 3), 8)
      assert.containSubset(yield* record(erased), {
        state: { status: "erased", purged: true },
        position: 0
      })
      assert.deepStrictEqual(yield* storage.purge({ ...at, token, limit: 10 }), {
        removed: 0,
        complete: true
      })
      assert.deepStrictEqual(yield* rawEvents(erased), [])
      for (const wanted of [
        { change: "restore", token },
        { change: "beginImport", token },
        { change: "erase", token: newToken(), purgeInMillis: 0 }
      ] as const)
        assert.strictEqual(yield* conflictOf(erased, wanted), "erased", wanted.change)
      assert.deepStrictEqual(yield* rawEvents(other), before)
      assert.isDefined(yield* load({ tenantId: other, ...key }))
      assert.isDefined(yield* store.commandOutcome({ tenantId: other, key: "k" }))
    })
  )

  it.effect("erases after a delay, in which the tenant can be restored, and not under a legal hold", () =>
    Effect.gen(function* () {
      const storage = yield* AdministrationStorage
      const [tenant, token] = [newTenant(), newToken()]
      yield* append(tenant, stream("one", events(2)))
      const at = yield* administered(tenant)
      const erase = { change: "erase", token, purgeInMillis: 3_600_000 } as const
      yield* storage.setHold({ ...at, reason: "lawsuit" })
      assert.containSubset(yield* record(tenant), { hold: { actor: "suite", reason: "lawsuit" } })
      assert.strictEqual(yield* conflictOf(tenant, erase), "TenantHeld")
      yield* storage.setHold({ ...at, reason: undefined })
      assert.isUndefined((yield* record(tenant))?.hold)
      yield* change(tenant, erase)
      assert.strictEqual(
        (yield* flipped(storage.purge({ ...at, token, limit: 10 })))._tag,
        "TenantStateConflict"
      )
      assert.strictEqual(yield* conflictOf(tenant, { change: "restore", token: newToken() }), "erased")
      assert.strictEqual((yield* change(tenant, { change: "restore", token })).state.status, "active")
      assert.strictEqual((yield* change(tenant, { change: "restore", token })).state.status, "active")
      yield* append(tenant, stream("one", events(1), 2))
      // a hold that comes during the delay keeps the rows
      yield* change(tenant, { ...erase, purgeInMillis: 0 })
      yield* storage.setHold({ ...at, reason: "lawsuit" })
      assert.strictEqual((yield* flipped(storage.purge({ ...at, token, limit: 10 })))._tag, "TenantHeld")
      assert.strictEqual((yield* rawEvents(tenant)).length, 3)
      yield* storage.setHold({ ...at, reason: undefined })
      yield* change(tenant, { change: "restore", token })
      // an import that is given up frees the id
      const imported = newTenant()
      const rows = yield* rawEvents(tenant)
      yield* purge(imported, yield* begun(imported, rows), 1)
      assert.isUndefined(yield* record(imported))
      assert.deepStrictEqual((yield* append(imported, stream("one", events(1)))).positions, [1])
    })
  )
}
