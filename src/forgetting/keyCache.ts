/** Keys that a process keeps for a while, so that not every page and append asks the vault. */
import { Duration } from "effect"
import type { Purpose } from "./keyVaultContract.ts"
import type { ReadyKey } from "./sealer.ts"
import type { TenantId } from "../domain/Tenant.ts"

interface CacheLimits {
  readonly keys: number
  readonly ageMillis: number
  readonly uses: number
  readonly opened: number
}

/** Bounds of the keys that a process keeps. */
export interface CacheOptions {
  /** Maximum number of keys that are kept, of all tenants. Default: 10,000. */
  readonly keys?: number | undefined
  /** The time after which the vault is asked again. Default: 5 minutes. */
  readonly age?: Duration.Input | undefined
  /** The number of pages and appends that use a key before the vault is asked again. Default: 1,000,000. */
  readonly uses?: number | undefined
  /**
   * Characters of the events with opened fields that are kept, of all tenants, with the text as it is stored: so that several
   * readers of an event, such as the projections of a process, open it once. They are kept for the age of keys at most, and are
   * dropped as keys are when a person of their tenant is forgotten. 0 keeps none. Default: 16,000,000.
   */
  readonly opened?: number | undefined
}

/** Completes and checks bounds. */
export const cacheLimits = ({
  age = "5 minutes",
  keys = 10_000,
  opened = 16_000_000,
  uses = 1_000_000
}: CacheOptions = {}): CacheLimits => {
  if (!(opened >= 0)) throw new RangeError("opened of the cache of keys must be at least 0")
  const limits = { keys, uses, ageMillis: Duration.toMillis(age) }
  for (const [name, limit] of Object.entries(limits))
    if (!(limit >= 1)) throw new RangeError(`${name} of the cache of keys must be at least 1`)
  return { ...limits, opened }
}

interface Entry {
  readonly key: ReadyKey | "destroyed"
  readonly expiresAt: number
  uses: number
}

/** The keys of one tenant. */
interface TenantCache {
  readonly byId: Map<string, Entry>
  /** The ids of the current keys of subjects, and of the tenant for its purposes. */
  readonly current: Map<string, string>
  readonly purposes: Map<Purpose, string>
}

export class KeyCache {
  private readonly limits: CacheLimits
  /** The tenant that was used least recently comes first. */
  private readonly tenants = new Map<TenantId, TenantCache>()
  private count = 0

  constructor(limits: CacheLimits) {
    this.limits = limits
  }

  /** Number of keys. */
  get size(): number {
    return this.count
  }

  /** A key by its id; undefined if it is not kept. */
  get(tenantId: TenantId, keyId: string, now: number): ReadyKey | "destroyed" | undefined {
    const cache = this.tenants.get(tenantId)
    const entry = cache?.byId.get(keyId)
    if (cache === undefined || entry === undefined) return undefined
    if (entry.expiresAt <= now || entry.uses >= this.limits.uses) {
      this.drop(cache, keyId)
      return undefined
    }
    entry.uses++
    return entry.key
  }

  /** The current key of a subject; undefined if it is not kept. */
  getCurrent(tenantId: TenantId, subject: string, now: number): ReadyKey | undefined {
    const keyId = this.tenants.get(tenantId)?.current.get(subject)
    const key = keyId === undefined ? undefined : this.get(tenantId, keyId, now)
    return key === "destroyed" ? undefined : key
  }

  /** The current key of a tenant for a purpose; undefined if it is not kept. */
  getPurpose(tenantId: TenantId, purpose: Purpose, now: number): ReadyKey | undefined {
    const keyId = this.tenants.get(tenantId)?.purposes.get(purpose)
    const key = keyId === undefined ? undefined : this.get(tenantId, keyId, now)
    return key === "destroyed" ? undefined : key
  }

  /** Keeps a key, and removes others if there are too many. */
  set(
    tenantId: TenantId,
    keyId: string,
    key: ReadyKey | "destroyed",
    now: number,
    currentFor?: { readonly subject: string } | { readonly purpose: Purpose }
  ): void {
    const cache: TenantCache = this.tenants.get(tenantId) ?? {
      byId: new Map(),
      current: new Map(),
      purposes: new Map()
    }
    this.tenants.delete(tenantId)
    this.tenants.set(tenantId, cache)
    if (!cache.byId.delete(keyId)) this.count++
    cache.byId.set(keyId, { key, expiresAt: now + this.limits.ageMillis, uses: 0 })
    if (currentFor !== undefined) {
      if ("subject" in currentFor) cache.current.set(currentFor.subject, keyId)
      else cache.purposes.set(currentFor.purpose, keyId)
    }
    while (this.count > this.limits.keys) this.evict()
  }

  /** Forgets all keys of some subjects of a tenant, and its own keys; without subjects, all. */
  forget(tenantId: TenantId, subjects: ReadonlySet<string> | undefined): void {
    const cache = this.tenants.get(tenantId)
    if (cache === undefined) return
    for (const [keyId, { key }] of cache.byId)
      if (
        subjects === undefined ||
        (key !== "destroyed" && (key.subject === undefined || subjects.has(key.subject)))
      )
        this.drop(cache, keyId)
    if (cache.byId.size === 0) this.tenants.delete(tenantId)
  }

  private drop(cache: TenantCache, keyId: string): void {
    const entry = cache.byId.get(keyId)
    if (entry === undefined) return
    cache.byId.delete(keyId)
    this.count--
    const subject = entry.key === "destroyed" ? undefined : entry.key.subject
    if (subject !== undefined && cache.current.get(subject) === keyId) cache.current.delete(subject)
  }

  /** Removes the oldest key of the tenant whose keys were added least recently. */
  private evict(): void {
    for (const [tenantId, cache] of this.tenants) {
      for (const keyId of cache.byId.keys()) {
        this.drop(cache, keyId)
        return
      }
      this.tenants.delete(tenantId)
    }
  }
}
