/** The keys and fences of one tenant in memory. */
import type { Fence } from "./keyVaultContract.ts"
import {
  type NewKey,
  type Owner,
  ownersFenced,
  type Rewrapped,
  type WrappedKey,
  type WrappingKey
} from "./keyRecords.ts"

/** A data key, and the forgetting that fenced it. */
interface Entry {
  key: WrappedKey
  fencedBy: string | undefined
  destroyed: boolean
}

/** Wrapped keys are replaced, so that the memory of a process does not keep a destroyed one. */
const nothing = new Uint8Array(0)

/** The owner of a destroyed key that came from another vault. */
const nobody: Owner = { kind: "subject", name: "" }

export class TenantKeys {
  private wrapping: Array<WrappingKey> = []
  private readonly entries = new Map<string, Entry>()
  private readonly versions: Readonly<Record<Owner["kind"], Map<string, Array<Entry>>>> = {
    subject: new Map(),
    tenant: new Map()
  }
  private fences: Array<Fence> = []
  private readonly fenced = new Set<string>()

  wrappingKeys(): ReadonlyArray<WrappingKey> {
    return [...this.wrapping]
  }

  addWrappingKey(key: WrappingKey, follows: string | undefined): WrappingKey {
    const current = this.wrapping.at(-1)
    if (current !== undefined && current.keyId !== follows) return current
    this.wrapping.push(key)
    return key
  }

  /** Returns the ids of the removed keys. `named` restricts them. */
  dropWrappingKeys(named?: ReadonlyArray<string>): ReadonlyArray<string> {
    const current = this.wrapping.at(-1)
    const used = new Set(
      [...this.entries.values()].flatMap(({ destroyed, fencedBy, key }) =>
        destroyed || fencedBy !== undefined ? [] : [key.wrappedBy]
      )
    )
    const dropped = this.wrapping.filter(
      (key) => key !== current && !used.has(key.keyId) && (named?.includes(key.keyId) ?? true)
    )
    this.wrapping = this.wrapping.filter((key) => !dropped.includes(key))
    return dropped.map(({ keyId }) => keyId)
  }

  current(owner: Owner): WrappedKey | "forgotten" | undefined {
    if (owner.kind === "subject" && this.fenced.has(owner.name)) return "forgotten"
    const last = this.versions[owner.kind].get(owner.name)?.at(-1)
    return last === undefined || last.fencedBy !== undefined || last.destroyed ? undefined : last.key
  }

  add({ follows, keyId, owner, wrapped, wrappedBy }: NewKey): WrappedKey | "forgotten" | undefined {
    const current = this.current(owner)
    if (current === "forgotten" || (current !== undefined && current.keyId !== follows)) return current
    if (!this.wrapping.some((key) => key.keyId === wrappedBy)) return undefined
    const versions = this.versions[owner.kind].get(owner.name) ?? []
    const key: WrappedKey = { keyId, owner, version: versions.length + 1, wrappedBy, wrapped }
    const entry: Entry = { key, fencedBy: undefined, destroyed: false }
    this.entries.set(keyId, entry)
    this.versions[owner.kind].set(owner.name, [...versions, entry])
    return key
  }

  addDestroyed(keyIds: ReadonlyArray<string>): void {
    for (const keyId of keyIds) {
      if (this.entries.has(keyId)) continue
      const key = { keyId, owner: nobody, version: 0, wrappedBy: "", wrapped: nothing }
      this.entries.set(keyId, { key, fencedBy: undefined, destroyed: true })
    }
  }

  find(keyId: string): WrappedKey | "destroyed" | undefined {
    const entry = this.entries.get(keyId)
    if (entry === undefined) return undefined
    return entry.fencedBy !== undefined || entry.destroyed ? "destroyed" : entry.key
  }

  all(): ReadonlyArray<WrappedKey> {
    return [...this.entries.values()].flatMap(({ destroyed, fencedBy, key }) =>
      destroyed || fencedBy !== undefined ? [] : [key]
    )
  }

  wrappedByOthers(wrappingKeyId: string): ReadonlyArray<WrappedKey> {
    return this.all().filter(({ wrappedBy }) => wrappedBy !== wrappingKeyId)
  }

  /**
   * Returns `destroyed` for a key that is, and undefined for one that is not known, and if the wrapping key is not the current one: it
   * may have been removed, and the key would be lost with it.
   */
  rewrap({ keyId, wrapped, wrappedBy }: Rewrapped): "rewrapped" | "destroyed" | undefined {
    const entry = this.entries.get(keyId)
    if (entry === undefined) return undefined
    if (entry.destroyed) return "destroyed"
    if (this.wrapping.at(-1)?.keyId !== wrappedBy) return undefined
    entry.key = { ...entry.key, wrapped, wrappedBy }
    return "rewrapped"
  }

  fence(given: Omit<Fence, "number" | "allowedAgainAt">): Fence {
    const known = this.fences.find(({ forgetting }) => forgetting === given.forgetting)
    if (known !== undefined) return known
    const fence: Fence = { ...given, number: this.fences.length + 1, allowedAgainAt: undefined }
    this.fences.push(fence)
    this.fenced.add(given.subject)
    for (const owner of ownersFenced(given.subject))
      for (const entry of this.versions[owner.kind].get(owner.name) ?? []) entry.fencedBy ??= given.forgetting
    return fence
  }

  /** Returns the ids of the destroyed keys. */
  destroy(forgetting: string): ReadonlyArray<string> {
    return this.destroyWhere(({ fencedBy }) => fencedBy === forgetting)
  }

  fencesAfter(number: number): ReadonlyArray<Fence> {
    return this.fences.slice(number)
  }

  allow(subject: string, allowedAt: number): void {
    this.fenced.delete(subject)
    this.fences = this.fences.map((fence) =>
      fence.subject === subject && fence.allowedAgainAt === undefined
        ? { ...fence, allowedAgainAt: allowedAt }
        : fence
    )
  }

  /** Returns the ids of the destroyed keys. */
  erase(): ReadonlyArray<string> {
    this.wrapping = []
    return this.destroyWhere(() => true)
  }

  private destroyWhere(holds: (entry: Entry) => boolean): ReadonlyArray<string> {
    return [...this.entries.values()].flatMap((entry) => {
      if (entry.destroyed || !holds(entry)) return []
      entry.destroyed = true
      entry.key = { ...entry.key, wrappedBy: "", wrapped: nothing }
      return [entry.key.keyId]
    })
  }
}
