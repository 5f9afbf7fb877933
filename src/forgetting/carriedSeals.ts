/**
 * Sealed fields on their way to another tenant or another vault: the keys of an archive, and events that are sealed anew.
 *
 * An archive has a key of its own, under which the data keys are wrapped one by one. It is wrapped by a root key that the caller gives,
 * so a key management service is asked once for each archive.
 */
import { Config, Effect, Redacted, Result, Schema } from "effect"
import { Aead, SecureRandom } from "effect/crypto"
import * as Base64Url from "effect/encoding/Base64Url"
import { openWith, sealWith, textBytes } from "./boxes.ts"
import { layerCrypto } from "./cipher.ts"
import { type Envelope, envelopesOf, forgottenText, hasEnvelopes, replaceEnvelopes } from "./envelope.ts"
import type { CarriedKey, KeyVault } from "./keyVaultContract.ts"
import { rootFrom, type RootKey } from "./rootKey.ts"
import { fieldPlace, makeSealer, readyKey, type ReadyKey } from "./sealer.ts"
import type { TenantId } from "../domain/Tenant.ts"
import { KeyMissing, StorageUnavailable } from "../driver/StoreError.ts"
import { canonicalJson } from "../internal/canonicalJson.ts"
import { sha256 } from "../internal/sha256.ts"

export { hasEnvelopes, marker } from "./envelope.ts"

/** The key of the caller that wraps the keys of an archive: 32 bytes in Base64 or hexadecimal digits, or a key management service. */
export type ArchiveRoot = Redacted.Redacted | RootKey<unknown>

/** An archive, by which its keys are bound to it. */
export interface Archive {
  readonly archiveId: string
  readonly tenantId: TenantId
}

const KeyId = Schema.String.check(Schema.isPattern(/^[\w-]{22}$/))

/** A data key in an archive. */
export const WrappedKeyLine = Schema.Struct({
  keyId: KeyId,
  /** Null for a key of the tenant. */
  subject: Schema.NullOr(Schema.String),
  /** Null for a key of a subject. */
  purpose: Schema.NullOr(Schema.Literals(["index", "fingerprints"])),
  version: Schema.Int.check(Schema.isGreaterThan(0)),
  /** The key, wrapped by that of the archive, in Base64Url. */
  wrapped: Schema.String
})
export type WrappedKeyLine = typeof WrappedKeyLine.Type

const secretLength = 64

const rootOf = (given: ArchiveRoot) =>
  Effect.catchTag(
    rootFrom<unknown, never>(Redacted.isRedacted(given) ? Config.succeed(given) : given),
    "ConfigError",
    Effect.die
  )

const placeOf = (
  { archiveId, tenantId }: Archive,
  { keyId, purpose, subject }: Pick<WrappedKeyLine, "keyId" | "purpose" | "subject">
): Uint8Array => textBytes(canonicalJson(["archive", archiveId, tenantId, keyId, subject, purpose]))

/** Makes the key of a new archive. `wrapped` stands in the archive, in Base64Url. */
export const newArchiveKey = Effect.fnUntraced(function* (archive: Archive, root: ArchiveRoot) {
  const secret = SecureRandom.randomBytesUnsafe(32)
  const wrapping = yield* rootOf(root)
  const wrapped = yield* wrapping.wrap(Redacted.make(secret), { tenantId: archive.tenantId })
  const key = yield* Effect.orDie(Aead.key(Aead.aes256Gcm, secret))
  const aead = yield* Aead.Aead
  const wrap = (carried: CarriedKey): Effect.Effect<WrappedKeyLine> => {
    const { keyId, version } = carried
    const subject = carried.subject ?? null
    const purpose = carried.purpose === "snapshots" ? null : (carried.purpose ?? null)
    return Effect.map(
      Effect.orDie(
        sealWith(aead, key, Redacted.value(carried.secret), placeOf(archive, { keyId, purpose, subject }))
      ),
      (box) => ({ keyId, subject, purpose, version, wrapped: Base64Url.encode(box) })
    )
  }
  return { wrapped: Base64Url.encode(wrapped), wrap }
}, Effect.provide(layerCrypto))

/** Opens the keys of an archive. Fails with `undefined` for a key that was wrapped otherwise. */
export const openArchiveKey = Effect.fnUntraced(function* (
  archive: Archive,
  root: ArchiveRoot,
  wrapped: string
): Effect.fn.Return<
  (line: WrappedKeyLine) => Effect.Effect<CarriedKey, "damaged">,
  "wrongKey" | StorageUnavailable,
  Aead.Aead
> {
  const bytes = Base64Url.decode(wrapped)
  if (Result.isFailure(bytes)) return yield* Effect.fail("wrongKey" as const)
  const wrapping = yield* rootOf(root)
  const secret = yield* Effect.mapError(
    wrapping.unwrap(bytes.success, { tenantId: archive.tenantId }),
    (error) => (error.retryable ? error : ("wrongKey" as const))
  )
  const key = yield* Effect.mapError(
    Aead.key(Aead.aes256Gcm, Redacted.value(secret)),
    () => "wrongKey" as const
  )
  const aead = yield* Aead.Aead
  return (line) =>
    Effect.gen(function* () {
      const box = yield* Effect.mapError(
        Effect.fromResult(Base64Url.decode(line.wrapped)),
        () => "damaged" as const
      )
      const opened = yield* Effect.mapError(
        openWith(aead, key, box, placeOf(archive, line)),
        () => "damaged" as const
      )
      if (opened.length !== secretLength) return yield* Effect.fail("damaged" as const)
      return {
        keyId: line.keyId,
        subject: line.subject ?? undefined,
        purpose: line.purpose ?? undefined,
        version: line.version,
        secret: Redacted.make(opened)
      }
    })
}, Effect.provide(layerCrypto))

/** A key of the tenant as that of another tenant. The id is the same each time, so that an import may be repeated. */
export const ofAnotherTenant = (tenantId: TenantId, key: CarriedKey): CarriedKey => ({
  ...key,
  keyId: Base64Url.encode(sha256(textBytes(canonicalJson([tenantId, key.keyId])))).slice(0, 22)
})

/** The part of an event that sealing needs. */
interface Row {
  readonly eventId: string
  readonly payload: string
}

/** Adds the ids of the keys of sealed fields. Returns false for a damaged envelope. */
const addKeyIds = (payload: string, keyIds: Set<string>): boolean => {
  const envelopes = envelopesOf(payload)
  for (const { keyId } of envelopes ?? []) keyIds.add(keyId)
  return envelopes !== undefined
}

/**
 * Looks up keys of sealed fields that a vault has never had, page by page, so that an archive or an import is not found
 * worthless afterwards. Keys that were destroyed are in order: their subjects were forgotten.
 */
export const makeKeyCheck = (
  vault: KeyVault["Service"],
  tenantId: TenantId,
  known: Iterable<string>,
  onUnknown: (keyIds: readonly [string, ...ReadonlyArray<string>]) => Effect.Effect<void, StorageUnavailable>
) => {
  const checked = new Set(known)
  const noted = new Set<string>()
  return {
    /** Notes the keys of the sealed fields of an event. */
    note: (payload: string): void => {
      if (hasEnvelopes(payload)) addKeyIds(payload, noted)
    },
    /** Looks up the noted keys. */
    check: Effect.suspend((): Effect.Effect<void, StorageUnavailable> => {
      const keyIds = [...noted].filter((keyId) => !checked.has(keyId))
      noted.clear()
      if (keyIds.length === 0) return Effect.void
      return Effect.gen(function* () {
        const answers = yield* vault.keysOf({ tenantId, keyIds })
        const [first, ...others] = keyIds.filter((_, index) => answers[index] === "unknown")
        if (first !== undefined) yield* onUnknown([first, ...others])
        for (const keyId of keyIds) checked.add(keyId)
      })
    })
  }
}

/** Fails because a vault lacks a key. */
export const failMissing =
  (operation: string, tenantId: TenantId) =>
  ([keyId]: readonly [string, ...ReadonlyArray<string>]): Effect.Effect<never, StorageUnavailable> =>
    Effect.fail(new StorageUnavailable({ reason: new KeyMissing({ operation, tenantId, keyId }) }))

/** A sealed field that does not open. */
export interface Broken {
  readonly _tag: "Broken"
  readonly eventId: string
}

/**
 * Seals the fields of events of one tenant anew, as those of another tenant, under the keys of that one. A field whose key is not
 * given is of a subject who was forgotten, and remains a field of a forgotten one.
 */
export const makeReseal = Effect.fnUntraced(function* ({
  from,
  into,
  keys,
  vault
}: {
  readonly from: TenantId
  readonly into: TenantId
  readonly keys: ReadonlyMap<string, CarriedKey>
  readonly vault: KeyVault["Service"]
}) {
  const sealer = yield* makeSealer
  const opening = new Map<string, ReadyKey>()
  const sealing = new Map<string, ReadyKey | "forgotten">()

  /** The keys that open a page. */
  const openingKeys = Effect.fnUntraced(function* (keyIds: ReadonlySet<string>) {
    for (const keyId of keyIds) {
      const key = keys.get(keyId)
      if (key !== undefined && !opening.has(keyId)) opening.set(keyId, yield* Effect.orDie(readyKey(key)))
    }
  })

  const sealingKeys = Effect.fnUntraced(function* (keyIds: ReadonlySet<string>) {
    const subjects = new Set<string>()
    for (const keyId of keyIds) {
      const subject = keys.get(keyId)?.subject
      if (subject !== undefined && !sealing.has(subject)) subjects.add(subject)
    }
    if (subjects.size === 0) return
    const asked = [...subjects]
    const found = yield* vault.currentKeys({ tenantId: into, subjects: asked })
    for (const [index, subject] of asked.entries()) {
      const key = found[index] ?? "forgotten"
      sealing.set(subject, key === "forgotten" ? key : yield* Effect.orDie(readyKey(key)))
    }
  })

  const resealed = Effect.fnUntraced(function* (eventId: string, envelope: Envelope) {
    const broken: Broken = { _tag: "Broken", eventId }
    const key = opening.get(envelope.keyId)
    const next = key?.subject === undefined ? undefined : sealing.get(key.subject)
    if (key === undefined || next === "forgotten") return forgottenText
    if (next === undefined) return yield* Effect.fail(broken)
    const text = yield* sealer.open(key, fieldPlace(from, eventId, envelope.path), envelope)
    return text === undefined
      ? yield* Effect.fail(broken)
      : yield* sealer.seal(next, fieldPlace(into, eventId, envelope.path), envelope.path, text)
  })

  return Effect.fnUntraced(function* <R extends Row>(
    rows: ReadonlyArray<R>
  ): Effect.fn.Return<ReadonlyArray<R>, Broken | StorageUnavailable> {
    const keyIds = new Set<string>()
    for (const { eventId, payload } of rows)
      if (hasEnvelopes(payload) && !addKeyIds(payload, keyIds))
        return yield* Effect.fail({ _tag: "Broken", eventId } satisfies Broken)
    if (keyIds.size === 0) return rows
    // bounded by the subjects of few pages
    if (opening.size > maxReadyKeys) opening.clear()
    if (sealing.size > maxReadyKeys) sealing.clear()
    yield* openingKeys(keyIds)
    yield* sealingKeys(keyIds)
    const result: Array<R> = []
    for (const row of rows) {
      const { eventId, payload } = row
      const envelopes = hasEnvelopes(payload) ? (envelopesOf(payload) ?? []) : []
      if (envelopes.length === 0) {
        result.push(row)
        continue
      }
      const texts = yield* Effect.forEach(envelopes, (envelope) => resealed(eventId, envelope))
      result.push({ ...row, payload: replaceEnvelopes(payload, envelopes, texts) })
    }
    return result
  })
}, Effect.provide(layerCrypto))

const maxReadyKeys = 10_000
