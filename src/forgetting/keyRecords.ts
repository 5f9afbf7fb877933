/** The records of a key vault: wrapped keys and fences, kept by a storage that cannot read the keys. */
import type { Effect } from "effect"
import type { Fence, Purpose } from "./keyVaultContract.ts"
import type { TenantId } from "../domain/Tenant.ts"
import type { StorageUnavailable } from "../driver/StoreError.ts"

/** The owner of a data key: a person, or the tenant for a purpose. */
export interface Owner {
  readonly kind: "subject" | "tenant"
  /** The id of the subject, or the purpose. */
  readonly name: string
}

/** The owners whose keys a fence of a subject ends. Snapshots may contain anybody's data. */
export const ownersFenced = (subject: string): ReadonlyArray<Owner> => [
  { kind: "subject", name: subject },
  { kind: "tenant", name: "snapshots" satisfies Purpose }
]

/** A wrapping key of a tenant, wrapped by the root key. */
export interface WrappingKey {
  readonly keyId: string
  readonly wrapped: Uint8Array
}

/** A data key, wrapped by a wrapping key of the tenant. */
export interface WrappedKey {
  readonly keyId: string
  readonly owner: Owner
  readonly version: number
  /** The id of the wrapping key. */
  readonly wrappedBy: string
  readonly wrapped: Uint8Array
}

/** A data key to add, with the next version, if the current key of its owner is still the one that it follows. */
export interface NewKey extends Omit<WrappedKey, "version"> {
  /** The id of the current key; undefined if the owner has none. */
  readonly follows: string | undefined
}

/** A data key that is wrapped by another wrapping key. */
export interface Rewrapped extends Pick<WrappedKey, "keyId" | "wrappedBy" | "wrapped"> {}

type Done<A> = Effect.Effect<A, StorageUnavailable>

/**
 * Records of a key vault. Each method is one atomic step, and durable when it returns. Several processes may use the same records.
 */
export interface KeyRecords {
  /** The wrapping keys of a tenant, the current one last. */
  readonly wrappingKeys: (tenantId: TenantId) => Done<ReadonlyArray<WrappingKey>>
  /** Adds a wrapping key if the current one is still `follows` (undefined: none). Returns the current one. */
  readonly addWrappingKey: (
    tenantId: TenantId,
    key: WrappingKey,
    follows: string | undefined
  ) => Done<WrappingKey>
  /** Removes the wrapping keys that wrap no data key, except the current one. */
  readonly dropWrappingKeys: (tenantId: TenantId) => Done<void>
  /** The current key of each owner; undefined if it has none, `forgotten` for a fenced subject. */
  readonly current: (
    tenantId: TenantId,
    owners: ReadonlyArray<Owner>
  ) => Done<ReadonlyArray<WrappedKey | "forgotten" | undefined>>
  /**
   * Adds data keys. Returns the current key of each owner, which another process may have added first; undefined if the wrapping key
   * was removed meanwhile.
   */
  readonly add: (
    tenantId: TenantId,
    keys: ReadonlyArray<NewKey>
  ) => Done<ReadonlyArray<WrappedKey | "forgotten" | undefined>>
  /** Records keys as destroyed, of which only the ids are known. Those that the tenant has had here stay as they are. */
  readonly addDestroyed: (tenantId: TenantId, keyIds: ReadonlyArray<string>) => Done<void>
  /** Data keys by their ids. Keys of before a fence are destroyed. */
  readonly find: (
    tenantId: TenantId,
    keyIds: ReadonlyArray<string>
  ) => Done<ReadonlyArray<WrappedKey | "destroyed" | undefined>>
  /** All data keys, without those of before a fence and destroyed ones. Those of an owner are ordered by version. */
  readonly all: (tenantId: TenantId) => Done<ReadonlyArray<WrappedKey>>
  /** Some data keys that another wrapping key than this one wraps, without those of before a fence. Empty if there are none. */
  readonly wrappedByOthers: (tenantId: TenantId, wrappingKeyId: string) => Done<ReadonlyArray<WrappedKey>>
  /**
   * Replaces the wrapped form of keys that are not destroyed, if their new wrapping key is the current one: an older one may have been
   * removed, and they would be lost with it.
   */
  readonly rewrap: (tenantId: TenantId, keys: ReadonlyArray<Rewrapped>) => Done<void>
  /** Adds a fence with the next number, unless its forgetting has one. Returns the fence of this forgetting. */
  readonly fence: (tenantId: TenantId, fence: Omit<Fence, "number" | "allowedAgainAt">) => Done<Fence>
  /** Destroys the keys of before the fence of a forgetting. */
  readonly destroy: (tenantId: TenantId, forgetting: string) => Done<void>
  /** Fences with higher numbers, in order. */
  readonly fences: (tenantId: TenantId, after: number) => Done<ReadonlyArray<Fence>>
  /** Marks all fences of a subject that have no such mark. */
  readonly allow: (tenantId: TenantId, subject: string, allowedAt: number) => Done<void>
  /** Destroys all keys of a tenant. */
  readonly erase: (tenantId: TenantId) => Done<void>
}
