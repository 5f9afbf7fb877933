/** Opens the sealed fields of rows, page by page. */
import { Clock, Effect, Metric } from "effect"
import { type Envelope, envelopesOf, forgottenText, hasEnvelopes, replaceEnvelopes } from "./envelope.ts"
import type { Keyring, Keys } from "./keyring.ts"
import type { OpenedEvent, OpenedEvents } from "./openedEvents.ts"
import { fieldPlace, type Sealer } from "./sealer.ts"
import type { TenantId } from "../domain/Tenant.ts"
import { SealBroken, StorageUnavailable } from "../driver/StoreError.ts"
import { forgottenOpened } from "../telemetry/Telemetry.ts"

/** The part of a row that opening needs. */
export interface SealedRow {
  readonly payload: string
  readonly eventId?: string | undefined
}

/** A row with sealed fields. */
interface Sealed {
  readonly index: number
  readonly eventId: string
  readonly payload: string
  readonly envelopes: ReadonlyArray<Envelope>
  /** The same event, opened before. Its envelopes are not read then. */
  readonly before: OpenedEvent | undefined
}

/** Opens rows of one tenant. Rows without sealed fields stay the same objects. */
export type OpenRows = <Row extends SealedRow>(
  operation: string,
  tenantId: TenantId,
  rows: ReadonlyArray<Row>
) => Effect.Effect<ReadonlyArray<Row & { readonly storedPayload?: string | undefined }>, StorageUnavailable>

/** True if one of the rows has sealed fields. */
export const anySealed = (rows: ReadonlyArray<SealedRow>): boolean => {
  for (const { payload } of rows) if (hasEnvelopes(payload)) return true
  return false
}

const none: ReadonlyArray<Envelope> = []

/** The rows with sealed fields, and the ids of their keys. The id of an event whose envelopes are damaged, as text. */
const sealedOf = (
  rows: ReadonlyArray<SealedRow>,
  keyIds: Set<string>,
  openedBefore: (eventId: string, stored: string) => OpenedEvent | undefined
): Array<Sealed> | string => {
  const found: Array<Sealed> = []
  let index = -1
  for (const { eventId = "", payload } of rows) {
    index++
    if (!hasEnvelopes(payload)) continue
    const before = openedBefore(eventId, payload)
    if (before !== undefined) {
      for (const keyId of before.keyIds) keyIds.add(keyId)
      found.push({ index, eventId, payload, envelopes: none, before })
      continue
    }
    const envelopes = envelopesOf(payload)
    if (envelopes === undefined) return eventId
    for (const { keyId } of envelopes) keyIds.add(keyId)
    found.push({ index, eventId, payload, envelopes, before })
  }
  return found
}

const hasAll = (keys: Keys, keyIds: ReadonlyArray<string>): boolean => {
  for (const keyId of keyIds) if (typeof keys.get(keyId) !== "object") return false
  return true
}

export const makeOpenRows = (keyring: Keyring, sealer: Sealer, openedEvents: OpenedEvents): OpenRows => {
  /** The texts of fields. Undefined if one of them does not open. */
  const textsOf = Effect.fnUntraced(function* (
    tenantId: TenantId,
    eventId: string,
    envelopes: ReadonlyArray<Envelope>,
    keys: Keys
  ) {
    const texts: Array<string> = []
    for (const envelope of envelopes) {
      const key = keys.get(envelope.keyId)
      const text =
        typeof key === "object"
          ? yield* sealer.open(key, fieldPlace(tenantId, eventId, envelope.path), envelope)
          : forgottenText
      if (text === undefined) return undefined
      texts.push(text)
    }
    return texts
  })

  /** Fast path: as {@link textsOf}. Also undefined where cryptography takes a promise. */
  const textsNow = (
    tenantId: TenantId,
    eventId: string,
    envelopes: ReadonlyArray<Envelope>,
    keys: Keys
  ): Array<string> | undefined => {
    const { now } = sealer
    if (now === undefined) return undefined
    const texts: Array<string> = []
    for (const envelope of envelopes) {
      const key = keys.get(envelope.keyId)
      const text =
        typeof key === "object"
          ? now.open(key, fieldPlace(tenantId, eventId, envelope.path), envelope)
          : forgottenText
      if (text === undefined) return undefined
      texts.push(text)
    }
    return texts
  }

  const open = Effect.fnUntraced(function* <Row extends SealedRow>(
    operation: string,
    tenantId: TenantId,
    rows: ReadonlyArray<Row>
  ) {
    const broken = (eventId: string): StorageUnavailable =>
      new StorageUnavailable({
        reason: new SealBroken({ operation, tenantId, subject: `event ${eventId}` })
      })
    const now = yield* Clock.currentTimeMillis
    const keyIds = new Set<string>()
    const sealed = sealedOf(rows, keyIds, (eventId, stored) =>
      openedEvents.get(tenantId, eventId, stored, now)
    )
    if (typeof sealed === "string") return yield* broken(sealed)
    // Behind the page: a subject that was forgotten before the page was asked for is known from here on.
    const number = yield* keyring.confirm(tenantId)
    const keys = yield* keyring.byId(operation, tenantId, keyIds)
    const opened: Array<Row & { readonly storedPayload?: string | undefined }> = [...rows]
    let forgotten = 0
    for (const { before, envelopes, eventId, index, payload: stored } of sealed) {
      const row = rows[index]
      if (row === undefined) continue
      if (before !== undefined && hasAll(keys, before.keyIds)) {
        opened[index] = { ...row, payload: before.payload, storedPayload: stored }
        continue
      }
      const fields = before === undefined ? envelopes : (envelopesOf(stored) ?? none)
      const texts =
        textsNow(tenantId, eventId, fields, keys) ?? (yield* textsOf(tenantId, eventId, fields, keys))
      if (texts === undefined) return yield* broken(eventId)
      const payload = replaceEnvelopes(stored, fields, texts)
      opened[index] = { ...row, payload, storedPayload: stored }
      const ofRow = fields.map(({ keyId }) => keyId)
      if (!hasAll(keys, ofRow)) for (const keyId of ofRow) forgotten += hasAll(keys, [keyId]) ? 0 : 1
      // An answer of before a forgetting is not kept.
      else if (keyring.knownForgotten(tenantId) === number)
        openedEvents.set(tenantId, eventId, { stored, payload, keyIds: ofRow }, now)
    }
    if (forgotten > 0) yield* Metric.update(forgottenOpened, forgotten)
    return opened
  })
  return (operation, tenantId, rows) =>
    anySealed(rows) ? open(operation, tenantId, rows) : Effect.succeed(rows)
}
