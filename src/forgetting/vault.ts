/** The vault over its records: makes, wraps and unwraps keys. */
import { Cache, Duration, Effect, Exit, Redacted } from "effect"
import { Aead, type CryptoError, SecureRandom } from "effect/crypto"
import * as Base64Url from "effect/encoding/Base64Url"
import { openWith, sealWith, textBytes } from "./boxes.ts"
import type { CarriedKey, DataKey, KeyVault, Purpose } from "./keyVaultContract.ts"
import type { KeyRecords, Owner, WrappedKey, WrappingKey } from "./keyRecords.ts"
import type { RootKey } from "./rootKey.ts"
import { failed, notUnwrapped } from "./vaultFailures.ts"
import type { TenantId } from "../domain/Tenant.ts"
import type { StorageUnavailable } from "../driver/StoreError.ts"
import { canonicalJson } from "../internal/canonicalJson.ts"

const secretLength = 64

/** The number of times that keys are made again because the wrapping key was rotated meanwhile. */
const maxAttempts = 5

const newKeyId = (): string => Base64Url.encode(SecureRandom.randomBytesUnsafe(16))

/** Binds a wrapped key to its place, so that it does not unwrap as the key of another person. */
const placeOf = (tenantId: TenantId, { keyId, owner }: Pick<WrappedKey, "keyId" | "owner">): Uint8Array =>
  textBytes(canonicalJson([tenantId, owner.kind, owner.name, keyId]))

/** The purpose of a key of the tenant. */
const purposeOf = ({ kind, name }: Owner): Purpose | undefined =>
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- keys of a tenant are made for purposes only
  kind === "tenant" ? (name as Purpose) : undefined

const ownerOf = ({ purpose, subject = "" }: CarriedKey): Owner =>
  purpose === undefined ? { kind: "subject", name: subject } : { kind: "tenant", name: purpose }

/** Settings of a vault. */
export interface VaultOptions {
  /** Unwrapped wrapping keys of tenants that are kept. Default: 1,000. */
  readonly wrappingKeys?: number | undefined
  /** The time that they are kept. Default: 5 minutes. */
  readonly timeToLive?: Duration.Input | undefined
}

/** A vault over records and a root key. */
export const makeVault = <R1, E2, R2>({
  options = {},
  records,
  root: givenRoot
}: {
  readonly records: KeyRecords
  readonly root: Effect.Effect<RootKey<StorageUnavailable, R1>, E2, R2>
  readonly options?: VaultOptions
}): Effect.Effect<KeyVault["Service"], E2, Aead.Aead | R1 | R2> =>
  Effect.gen(function* () {
    const aead = yield* Aead.Aead
    const services = yield* Effect.context<R1>()
    const root = yield* givenRoot

    const ofRoot = <A>(
      work: Effect.Effect<A, StorageUnavailable, R1>
    ): Effect.Effect<A, StorageUnavailable> => Effect.provide(work, services)

    const ofCrypto = <A>(
      operation: string,
      work: Effect.Effect<A, CryptoError.CryptoError>
    ): Effect.Effect<A, StorageUnavailable> => Effect.mapError(work, () => notUnwrapped(operation))

    /** Unwrapped wrapping keys, by tenant and id. */
    const unwrapped = yield* Cache.makeWith(
      ({ tenantId, wrapped }: { tenantId: TenantId; keyId: string; wrapped: string }) => {
        const operation = "unwrap a key of the tenant"
        return Effect.fromResult(Base64Url.decode(wrapped)).pipe(
          Effect.orDie,
          Effect.flatMap((bytes) => ofRoot(root.unwrap(bytes, { tenantId }))),
          Effect.flatMap((secret) => ofCrypto(operation, Aead.key(Aead.aes256Gcm, Redacted.value(secret))))
        )
      },
      {
        capacity: options.wrappingKeys ?? 1000,
        timeToLive: (exit) => (Exit.isSuccess(exit) ? (options.timeToLive ?? "5 minutes") : 0)
      }
    )
    const unwrap = (tenantId: TenantId, { keyId, wrapped }: WrappingKey) =>
      Cache.get(unwrapped, { tenantId, keyId, wrapped: Base64Url.encode(wrapped) })

    const addWrappingKey = Effect.fnUntraced(function* (tenantId: TenantId, follows: string | undefined) {
      const secret = Redacted.make(SecureRandom.randomBytesUnsafe(32))
      const wrapped = yield* ofRoot(root.wrap(secret, { tenantId }))
      return yield* records.addWrappingKey(tenantId, { keyId: newKeyId(), wrapped }, follows)
    })

    const currentWrappingKey = Effect.fnUntraced(function* (tenantId: TenantId) {
      const found =
        (yield* records.wrappingKeys(tenantId)).at(-1) ?? (yield* addWrappingKey(tenantId, undefined))
      return { keyId: found.keyId, key: yield* unwrap(tenantId, found) }
    })

    /** Unwraps data keys, in the given order. Undefined if a wrapping key was removed by a rotation since they were read. */
    const open = Effect.fnUntraced(function* (tenantId: TenantId, keys: ReadonlyArray<WrappedKey>) {
      if (keys.length === 0) return []
      const wrappingKeys = new Map<string, Aead.Key<Aead.AesGcm>>()
      const needed = new Set(keys.map(({ wrappedBy }) => wrappedBy))
      for (const key of yield* records.wrappingKeys(tenantId))
        if (needed.has(key.keyId)) wrappingKeys.set(key.keyId, yield* unwrap(tenantId, key))
      const opened: Array<DataKey> = []
      for (const wrapped of keys) {
        const wrappingKey = wrappingKeys.get(wrapped.wrappedBy)
        if (wrappingKey === undefined) return undefined
        const secret = yield* ofCrypto(
          "unwrap a data key",
          openWith(aead, wrappingKey, wrapped.wrapped, placeOf(tenantId, wrapped))
        )
        opened.push({
          keyId: wrapped.keyId,
          subject: wrapped.owner.kind === "subject" ? wrapped.owner.name : undefined,
          version: wrapped.version,
          secret: Redacted.make(secret)
        })
      }
      return opened
    })

    const make = Effect.fnUntraced(function* (
      tenantId: TenantId,
      owners: ReadonlyArray<{ readonly owner: Owner; readonly follows: string | undefined }>
    ) {
      for (let attempt = 0; attempt < maxAttempts; attempt++) {
        const wrappingKey = yield* currentWrappingKey(tenantId)
        const added = yield* records.add(
          tenantId,
          yield* Effect.forEach(owners, ({ follows, owner }) => {
            const keyId = newKeyId()
            return Effect.map(
              ofCrypto(
                "wrap a data key",
                sealWith(
                  aead,
                  wrappingKey.key,
                  SecureRandom.randomBytesUnsafe(secretLength),
                  placeOf(tenantId, { keyId, owner })
                )
              ),
              (wrapped) => ({ keyId, owner, follows, wrappedBy: wrappingKey.keyId, wrapped })
            )
          })
        )
        const made = added.filter((key) => key !== undefined)
        if (made.length === added.length) return made
      }
      return yield* failed(
        "make a data key",
        "Rotation",
        true,
        "the wrapping key of the tenant was rotated again and again: try again later"
      )
    })

    /** Wrapped current keys of owners without duplicates. Those that are missing are made. */
    const currentOf = Effect.fnUntraced(function* (tenantId: TenantId, owners: ReadonlyArray<Owner>) {
      const found = yield* records.current(tenantId, owners)
      const missing = owners.filter((_, index) => found[index] === undefined)
      const made =
        missing.length === 0
          ? []
          : yield* make(
              tenantId,
              missing.map((owner) => ({ owner, follows: undefined }))
            )
      let next = 0
      return found.map((key) => key ?? made[next++] ?? "forgotten")
    })

    /** Reads keys, unwraps those that are, and leaves the others. They are read again if they were wrapped again meanwhile. */
    const openAll = Effect.fnUntraced(function* <Other extends string>(
      tenantId: TenantId,
      read: Effect.Effect<ReadonlyArray<WrappedKey | Other>, StorageUnavailable>
    ) {
      for (let attempt = 0; attempt < maxAttempts; attempt++) {
        const found = yield* read
        const opened = yield* open(
          tenantId,
          found.filter((key): key is WrappedKey => typeof key === "object")
        )
        if (opened === undefined) continue
        const byId = new Map(opened.map((key) => [key.keyId, key]))
        return found.map((key): DataKey | Other => {
          if (typeof key !== "object") return key
          // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- all of them were opened
          return byId.get(key.keyId) as DataKey
        })
      }
      return yield* notUnwrapped("unwrap a data key")
    })

    return {
      currentKeys: Effect.fnUntraced(function* ({ subjects, tenantId }) {
        const distinct = [...new Set(subjects)]
        const keys = yield* openAll(
          tenantId,
          currentOf(
            tenantId,
            distinct.map((name) => ({ kind: "subject", name }))
          )
        )
        const bySubject = new Map(distinct.map((subject, index) => [subject, keys[index] ?? "forgotten"]))
        return subjects.map((subject) => bySubject.get(subject) ?? "forgotten")
      }),
      tenantKey: Effect.fnUntraced(function* ({ purpose, tenantId }) {
        const [key] = yield* openAll(tenantId, currentOf(tenantId, [{ kind: "tenant", name: purpose }]))
        return key === undefined || key === "forgotten"
          ? yield* failed("make a key of the tenant", "Erased", false, "the keys of the tenant were erased")
          : key
      }),
      keysOf: Effect.fnUntraced(function* ({ keyIds, tenantId }) {
        return yield* openAll(
          tenantId,
          Effect.map(records.find(tenantId, keyIds), (found) => found.map((key) => key ?? "unknown"))
        )
      }),
      fence: ({ tenantId, ...fence }) => records.fence(tenantId, fence),
      destroy: ({ forgetting, tenantId }) => records.destroy(tenantId, forgetting),
      fences: ({ after = 0, tenantId }) => records.fences(tenantId, after),
      allow: ({ allowedAt, subject, tenantId }) => records.allow(tenantId, subject, allowedAt),
      rotateTenant: Effect.fnUntraced(function* ({ tenantId }) {
        const keys = yield* records.wrappingKeys(tenantId)
        const last = keys.at(-1)
        if (last === undefined) return 0
        // Several keys: an earlier rotation was interrupted, and goes on.
        let current = keys.length > 1 ? last : yield* addWrappingKey(tenantId, last.keyId)
        let count = 0
        for (;;) {
          const others = yield* records.wrappedByOthers(tenantId, current.keyId)
          if (others.length === 0) break
          const secrets = yield* open(tenantId, others)
          const key = yield* unwrap(tenantId, current)
          const rewrapped = yield* Effect.forEach(secrets ?? [], (opened, index) => {
            const other = others[index]
            if (other === undefined) return Effect.die(new Error("a data key was not unwrapped"))
            return Effect.map(
              ofCrypto(
                "wrap a data key",
                sealWith(aead, key, Redacted.value(opened.secret), placeOf(tenantId, other))
              ),
              (wrapped) => ({ keyId: other.keyId, wrappedBy: current.keyId, wrapped })
            )
          })
          if (rewrapped.length > 0) yield* records.rewrap(tenantId, rewrapped)
          count += rewrapped.length
          // Another rotation may have begun meanwhile. This one goes on with its key, since keys are wrapped only by the newest one.
          current = (yield* records.wrappingKeys(tenantId)).at(-1) ?? current
        }
        yield* records.dropWrappingKeys(tenantId)
        return count
      }),
      rotateSubject: Effect.fnUntraced(function* ({ subject, tenantId }) {
        const owner: Owner = { kind: "subject", name: subject }
        const [current] = yield* records.current(tenantId, [owner])
        if (typeof current === "object") yield* make(tenantId, [{ owner, follows: current.keyId }])
      }),
      exportKeys: Effect.fnUntraced(function* ({ tenantId }) {
        const purposes = new Map<string, Purpose | undefined>()
        const opened = yield* openAll<never>(
          tenantId,
          Effect.map(records.all(tenantId), (all) => {
            for (const { keyId, owner } of all) purposes.set(keyId, purposeOf(owner))
            return all.filter(({ keyId }) => purposes.get(keyId) !== "snapshots")
          })
        )
        return opened.map((key): CarriedKey => Object.assign(key, { purpose: purposes.get(key.keyId) }))
      }),
      importKeys: Effect.fnUntraced(function* ({ destroyed = [], keys, tenantId }) {
        if (destroyed.length > 0) yield* records.addDestroyed(tenantId, destroyed)
        if (keys.length === 0) return
        const inOrder = keys.toSorted((one, other) => one.version - other.version)
        // The versions of an owner follow one another.
        for (let attempt = 0; attempt < keys.length + maxAttempts; attempt++) {
          const known = yield* records.find(
            tenantId,
            inOrder.map(({ keyId }) => keyId)
          )
          const next = new Map<string, CarriedKey>()
          for (const [index, key] of inOrder.entries()) {
            const name = canonicalJson(ownerOf(key))
            if (known[index] === undefined && !next.has(name)) next.set(name, key)
          }
          const missing = [...next.values()]
          const current = yield* records.current(tenantId, missing.map(ownerOf))
          const added = missing.filter((_, index) => current[index] !== "forgotten")
          if (added.length === 0) return
          const follows = current.filter((key) => key !== "forgotten")
          const wrappingKey = yield* currentWrappingKey(tenantId)
          yield* records.add(
            tenantId,
            yield* Effect.forEach(added, (key, index) => {
              const { keyId } = key
              const owner = ownerOf(key)
              return Effect.map(
                ofCrypto(
                  "wrap a data key",
                  sealWith(
                    aead,
                    wrappingKey.key,
                    Redacted.value(key.secret),
                    placeOf(tenantId, { keyId, owner })
                  )
                ),
                (wrapped) => ({
                  keyId,
                  owner,
                  follows: follows[index]?.keyId,
                  wrappedBy: wrappingKey.keyId,
                  wrapped
                })
              )
            })
          )
        }
        return yield* failed(
          "import keys",
          "Rotation",
          true,
          "keys were added again and again: try again later"
        )
      }),
      eraseTenant: ({ tenantId }) => records.erase(tenantId)
    }
  })
