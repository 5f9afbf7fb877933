/**
 * Snapshots in memory: for tests, examples, and long-lived processes.
 */
import { Clock, Effect } from "effect"
import * as SnapshotStorage from "../driver/SnapshotStorage.ts"
import type { TenantId } from "../domain/Tenant.ts"

/** Ids may contain any separator, so the parts are not concatenated. */
const keyOf = ({ tenantId, aggregateType, aggregateId }: SnapshotStorage.SnapshotKey): string =>
  JSON.stringify([tenantId, aggregateType, aggregateId])

const contentOf = (request: SnapshotStorage.SaveSnapshot): SnapshotStorage.NewSnapshot => ({
  version: request.version,
  position: request.position,
  eventId: request.eventId,
  recordedAt: request.recordedAt,
  stateVersion: request.stateVersion,
  fingerprint: request.fingerprint,
  checksum: request.checksum,
  state: request.state
})

/** A new, empty storage, and the removal of all snapshots of a tenant, which returns their number. */
export const make: Effect.Effect<{
  readonly snapshots: SnapshotStorage.SnapshotStorage["Service"]
  readonly forget: (tenantId: TenantId) => number
}> = Effect.sync(() => {
  const snapshots = new Map<string, SnapshotStorage.SnapshotRow>()
  const forget = (tenantId: TenantId): number => {
    const keys = [...snapshots.keys()].filter((key) => key.startsWith(`[${JSON.stringify(tenantId)},`))
    for (const key of keys) snapshots.delete(key)
    return keys.length
  }
  const service = SnapshotStorage.SnapshotStorage.of({
    load: (key) => Effect.sync(() => snapshots.get(keyOf(key))),
    save: ({ replaces, ...request }) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        const key = keyOf(request)
        const snapshot = contentOf(request)
        const kept = snapshots.get(key)
        const givesWay =
          kept === undefined ||
          kept.version <= snapshot.version ||
          (kept.version === replaces?.version && kept.checksum === replaces.checksum)
        if (givesWay) snapshots.set(key, { ...snapshot, takenAt: Math.floor(now) })
        return givesWay
      }),
    remove: (key) => Effect.sync(() => snapshots.delete(keyOf(key)))
  })
  return { snapshots: service, forget }
})
