/**
 * The keys of tenants in this process, and the numbers of forgotten subjects at which they are valid.
 *
 * A key is used only after the tenant's number of forgotten subjects was read, later than the page that it opens, or is compared under
 * the tenant's lock, in an append. A person is fenced in the vault before the number grows. So nothing that begins after the number
 * has grown uses a key of that person, in any process.
 */
import { Clock, Effect } from "effect"
import type { KeyVault, Purpose } from "./keyVaultContract.ts"
import type { KeyCache } from "./keyCache.ts"
import type { OpenedEvents } from "./openedEvents.ts"
import { readyKey, type ReadyKey } from "./sealer.ts"
import type { TenantId } from "../domain/Tenant.ts"
import { KeyMissing, StorageUnavailable } from "../driver/StoreError.ts"

/** The subjects that were forgotten after a number, and the present number. */
export interface ForgottenSince {
  readonly forgotten: number
  readonly subjects: ReadonlyArray<string>
}

/** Reads the tenant's number of forgotten subjects, and those after the given number (undefined: not known yet). */
export type ReadForgotten = (
  tenantId: TenantId,
  after: number | undefined
) => Effect.Effect<ForgottenSince, StorageUnavailable>

/** Keys that open a page, by their ids. */
export type Keys = ReadonlyMap<string, ReadyKey | "destroyed">

/** Keys that seal an append, by their subjects. */
export type CurrentKeys = ReadonlyMap<string, ReadyKey | "forgotten">

export class Keyring {
  private readonly vault: KeyVault["Service"]
  private readonly cache: KeyCache
  private readonly readForgotten: ReadForgotten
  private readonly openedEvents: OpenedEvents
  private readonly known = new Map<TenantId, number>()

  constructor(
    vault: KeyVault["Service"],
    cache: KeyCache,
    openedEvents: OpenedEvents,
    readForgotten: ReadForgotten
  ) {
    this.vault = vault
    this.cache = cache
    this.openedEvents = openedEvents
    this.readForgotten = readForgotten
  }

  /** The number of forgotten subjects that this process last saw. */
  knownForgotten(tenantId: TenantId): number | undefined {
    return this.known.get(tenantId)
  }

  /** Reads the number of forgotten subjects, and drops the keys of those that are new. */
  confirm(tenantId: TenantId): Effect.Effect<number, StorageUnavailable> {
    const before = this.known.get(tenantId)
    return Effect.map(this.readForgotten(tenantId, before), ({ forgotten, subjects }) => {
      const known = this.known.get(tenantId)
      if (known === forgotten) return forgotten
      // A later answer has come first.
      if (known !== undefined && known !== before && known > forgotten) return known
      const areAll = known !== undefined && known === before && forgotten > known
      this.cache.forget(tenantId, areAll ? new Set(subjects) : undefined)
      this.openedEvents.forget(tenantId)
      this.known.set(tenantId, forgotten)
      return forgotten
    })
  }

  /** The number that this process knows. It is read if there is none. */
  number(tenantId: TenantId): Effect.Effect<number, StorageUnavailable> {
    const known = this.known.get(tenantId)
    return known === undefined ? this.confirm(tenantId) : Effect.succeed(known)
  }

  /** Keys by their ids. Fails if the vault has never had one. */
  byId(
    operation: string,
    tenantId: TenantId,
    keyIds: Iterable<string>
  ): Effect.Effect<Keys, StorageUnavailable> {
    return Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const keys = new Map<string, ReadyKey | "destroyed">()
      const missing = new Set<string>()
      for (const keyId of keyIds) {
        const key = this.cache.get(tenantId, keyId, now)
        if (key === undefined) missing.add(keyId)
        else keys.set(keyId, key)
      }
      return missing.size === 0
        ? Effect.succeed(keys)
        : this.fetch(operation, tenantId, [...missing], keys, now)
    })
  }

  /** The current keys of subjects. Those of forgotten ones are asked for each time, because they may be allowed again. */
  current(tenantId: TenantId, subjects: ReadonlySet<string>): Effect.Effect<CurrentKeys, StorageUnavailable> {
    return Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const keys = new Map<string, ReadyKey | "forgotten">()
      const missing: Array<string> = []
      for (const subject of subjects) {
        const key = this.cache.getCurrent(tenantId, subject, now)
        if (key === undefined) missing.push(subject)
        else keys.set(subject, key)
      }
      return missing.length === 0 ? Effect.succeed(keys) : this.fetchCurrent(tenantId, missing, keys, now)
    })
  }

  /** The current key of a tenant for a purpose. */
  readonly ofTenant = Effect.fnUntraced(function* (this: Keyring, tenantId: TenantId, purpose: Purpose) {
    const now = yield* Clock.currentTimeMillis
    const kept = this.cache.getPurpose(tenantId, purpose, now)
    if (kept !== undefined) return kept
    const known = this.known.get(tenantId)
    const key = yield* Effect.orDie(readyKey(yield* this.vault.tenantKey({ tenantId, purpose })))
    this.keep(tenantId, key.keyId, key, known, now, { purpose })
    return key
  })

  private readonly fetch = Effect.fnUntraced(function* (
    this: Keyring,
    operation: string,
    tenantId: TenantId,
    keyIds: ReadonlyArray<string>,
    keys: Map<string, ReadyKey | "destroyed">,
    now: number
  ) {
    const known = this.known.get(tenantId)
    const found = yield* this.vault.keysOf({ tenantId, keyIds })
    for (const [index, keyId] of keyIds.entries()) {
      const answer = found[index] ?? "unknown"
      if (answer === "unknown")
        return yield* new StorageUnavailable({ reason: new KeyMissing({ operation, tenantId, keyId }) })
      const key = answer === "destroyed" ? answer : yield* Effect.orDie(readyKey(answer))
      keys.set(keyId, key)
      this.keep(tenantId, keyId, key, known, now)
    }
    return keys
  })

  private readonly fetchCurrent = Effect.fnUntraced(function* (
    this: Keyring,
    tenantId: TenantId,
    subjects: ReadonlyArray<string>,
    keys: Map<string, ReadyKey | "forgotten">,
    now: number
  ) {
    const known = this.known.get(tenantId)
    const found = yield* this.vault.currentKeys({ tenantId, subjects })
    for (const [index, subject] of subjects.entries()) {
      const answer = found[index] ?? "forgotten"
      const key = answer === "forgotten" ? answer : yield* Effect.orDie(readyKey(answer))
      keys.set(subject, key)
      if (key !== "forgotten") this.keep(tenantId, key.keyId, key, known, now, { subject })
    }
    return keys
  })

  /** Keeps a key, unless the number has changed since the vault was asked: the key may be of a subject that was forgotten meanwhile. */
  private keep(
    tenantId: TenantId,
    keyId: string,
    key: ReadyKey | "destroyed",
    known: number | undefined,
    now: number,
    currentFor?: { readonly subject: string } | { readonly purpose: Purpose }
  ): void {
    if (known !== undefined && this.known.get(tenantId) === known)
      this.cache.set(tenantId, keyId, key, now, currentFor)
  }
}
