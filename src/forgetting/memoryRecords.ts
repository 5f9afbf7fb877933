/** Records of a key vault in memory. The records of a file are read into them. */
import { Effect } from "effect"
import { TenantKeys } from "./tenantKeys.ts"
import type { KeyRecords } from "./keyRecords.ts"
import type { TenantId } from "../domain/Tenant.ts"

/** New, empty records. */
export const memoryRecords = (): KeyRecords => {
  const tenants = new Map<TenantId, TenantKeys>()
  const of = (tenantId: TenantId): TenantKeys => {
    let keys = tenants.get(tenantId)
    if (keys === undefined) tenants.set(tenantId, (keys = new TenantKeys()))
    return keys
  }
  return {
    wrappingKeys: (tenantId) => Effect.sync(() => of(tenantId).wrappingKeys()),
    addWrappingKey: (tenantId, key, follows) => Effect.sync(() => of(tenantId).addWrappingKey(key, follows)),
    dropWrappingKeys: (tenantId) =>
      Effect.sync(() => {
        of(tenantId).dropWrappingKeys()
      }),
    current: (tenantId, owners) => Effect.sync(() => owners.map((owner) => of(tenantId).current(owner))),
    add: (tenantId, keys) => Effect.sync(() => keys.map((key) => of(tenantId).add(key))),
    addDestroyed: (tenantId, keyIds) => Effect.sync(() => of(tenantId).addDestroyed(keyIds)),
    find: (tenantId, keyIds) => Effect.sync(() => keyIds.map((keyId) => of(tenantId).find(keyId))),
    all: (tenantId) => Effect.sync(() => of(tenantId).all()),
    wrappedByOthers: (tenantId, keyId) => Effect.sync(() => of(tenantId).wrappedByOthers(keyId)),
    rewrap: (tenantId, keys) =>
      Effect.sync(() => {
        for (const key of keys) of(tenantId).rewrap(key)
      }),
    fence: (tenantId, fence) => Effect.sync(() => of(tenantId).fence(fence)),
    destroy: (tenantId, forgetting) =>
      Effect.sync(() => {
        of(tenantId).destroy(forgetting)
      }),
    fences: (tenantId, after) => Effect.sync(() => of(tenantId).fencesAfter(after)),
    allow: (tenantId, subject, allowedAt) => Effect.sync(() => of(tenantId).allow(subject, allowedAt)),
    erase: (tenantId) =>
      Effect.sync(() => {
        of(tenantId).erase()
      })
  }
}
