/** The contract of key vaults. */
import { Context, type Effect, type Redacted } from "effect"
import type { TenantId } from "../domain/Tenant.ts"
import type { StorageUnavailable } from "../driver/StoreError.ts"

/** A data key: of one person (a subject), or of the tenant for one purpose. */
export interface DataKey {
  /** Random, unique among all tenants: 22 characters of Base64Url. */
  readonly keyId: string
  /** The person; undefined for a key of the tenant. */
  readonly subject: string | undefined
  /** 1, 2, 3 … for each subject and purpose. */
  readonly version: number
  /** 64 bytes: 32 that encrypt, and 32 for nonces. */
  readonly secret: Redacted.Redacted<Uint8Array>
}

/**
 * The purposes of a tenant's own keys: `snapshots` seals states that contain personal data, `index` makes blind indexes, and
 * `fingerprints` hashes of commands. Only the keys of snapshots are destroyed when a person is forgotten, because a state may contain
 * anybody's data; snapshots are taken anew.
 */
export type Purpose = "snapshots" | "index" | "fingerprints"

/** A data key on its way to another vault, with its owner: a subject, or the tenant for a purpose. */
export interface CarriedKey extends DataKey {
  /** The purpose of a key of the tenant; undefined for one of a subject. */
  readonly purpose: Purpose | undefined
}

/** A record of one time that a person was forgotten. It is never removed, and changes only when the person is allowed again. */
export interface Fence {
  /** 1, 2, 3 … in the vault for each tenant. */
  readonly number: number
  readonly subject: string
  /** A UUID that identifies this forgetting, in the vault and in the storage. */
  readonly forgetting: string
  /** Milliseconds since 1970. */
  readonly forgottenAt: number
  readonly actor: string
  readonly reason: string
  /** Milliseconds since 1970; undefined while the person is forgotten. */
  readonly allowedAgainAt: number | undefined
}

/**
 * A vault of keys.
 *
 * **Details**
 *
 * Every method is one request for any number of keys. Its outcome depends only on the tenant that is named. A vault that does not
 * answer fails with `StorageUnavailable` (`KeyVaultFailed`), and never says that a person was forgotten. Implementations are
 * tested with `KeyVaultSuite` of `effect-eventsourcing/testing`.
 */
export class KeyVault extends Context.Service<
  KeyVault,
  {
    /**
     * The current key of each subject, in the given order. A missing one is created. `forgotten` for a subject with a fence that was
     * not allowed again: it gets no key.
     */
    readonly currentKeys: (request: {
      readonly tenantId: TenantId
      readonly subjects: ReadonlyArray<string>
    }) => Effect.Effect<ReadonlyArray<DataKey | "forgotten">, StorageUnavailable>
    /** The current key of the tenant for a purpose. It is created if it is missing. */
    readonly tenantKey: (request: {
      readonly tenantId: TenantId
      readonly purpose: Purpose
    }) => Effect.Effect<DataKey, StorageUnavailable>
    /**
     * Keys of a tenant by their ids, in the given order. `destroyed` from the moment of the fence on, even if the key is not yet
     * destroyed; `unknown` if the tenant has never had this key in this vault.
     */
    readonly keysOf: (request: {
      readonly tenantId: TenantId
      readonly keyIds: ReadonlyArray<string>
    }) => Effect.Effect<ReadonlyArray<DataKey | "destroyed" | "unknown">, StorageUnavailable>
    /**
     * Records that a subject is forgotten. From now on it gets no key, and none of its keys and of the tenant's keys for snapshots is
     * handed out. Returns the record. A forgetting that is recorded already changes nothing.
     */
    readonly fence: (request: {
      readonly tenantId: TenantId
      readonly subject: string
      readonly forgetting: string
      readonly forgottenAt: number
      readonly actor: string
      readonly reason: string
    }) => Effect.Effect<Fence, StorageUnavailable>
    /**
     * Destroys the keys that a subject, and the tenant for snapshots, had at the time of a fence, for good. Keys made after it was allowed again stay. Does nothing
     * if they are destroyed, or if there is no such fence.
     */
    readonly destroy: (request: {
      readonly tenantId: TenantId
      readonly forgetting: string
    }) => Effect.Effect<void, StorageUnavailable>
    /** The fences of a tenant with higher numbers than `after` (default: 0), in the order of their numbers. */
    readonly fences: (request: {
      readonly tenantId: TenantId
      readonly after?: number | undefined
    }) => Effect.Effect<ReadonlyArray<Fence>, StorageUnavailable>
    /** Allows a subject again: from now on it gets new keys. Events from before stay forgotten. */
    readonly allow: (request: {
      readonly tenantId: TenantId
      readonly subject: string
      readonly allowedAt: number
    }) => Effect.Effect<void, StorageUnavailable>
    /**
     * Gives the tenant a new wrapping key, and wraps all of its data keys again. Sealed fields do not change. If it is interrupted,
     * all keys remain usable, and calling it again continues. Returns the number of data keys that were wrapped again.
     */
    readonly rotateTenant: (request: {
      readonly tenantId: TenantId
    }) => Effect.Effect<number, StorageUnavailable>
    /**
     * Gives a subject a new data key for events from now on. Earlier events keep theirs. Does nothing for a subject that has no key,
     * or is forgotten.
     */
    readonly rotateSubject: (request: {
      readonly tenantId: TenantId
      readonly subject: string
    }) => Effect.Effect<void, StorageUnavailable>
    /**
     * The keys of a tenant that are not destroyed, those of an owner by their versions, so that another vault can have them too.
     * Keys for snapshots are left out, because snapshots are taken anew.
     */
    readonly exportKeys: (request: {
      readonly tenantId: TenantId
    }) => Effect.Effect<ReadonlyArray<CarriedKey>, StorageUnavailable>
    /**
     * Adds keys with the given ids, as the newest of their owners. An id that this tenant has here already, destroyed or not, stays as
     * it is, and a subject with a fence that was not allowed again gets none: nobody who was forgotten comes back by an old copy. If
     * it is interrupted, calling it again continues. `destroyed` has ids of keys that were destroyed where they come from: from now on
     * they are destroyed here, too, if they are not known.
     */
    readonly importKeys: (request: {
      readonly tenantId: TenantId
      readonly keys: ReadonlyArray<CarriedKey>
      readonly destroyed?: ReadonlyArray<string> | undefined
    }) => Effect.Effect<void, StorageUnavailable>
    /** Destroys all keys of a tenant, which is erased. Its fences stay. */
    readonly eraseTenant: (request: {
      readonly tenantId: TenantId
    }) => Effect.Effect<void, StorageUnavailable>
  }
>()("effect-eventsourcing/KeyVault") {}
