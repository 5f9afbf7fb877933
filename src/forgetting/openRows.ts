/** Opens the sealed fields of rows, page by page. */
import { Clock, Effect, Metric } from "effect"
import { type Envelope, envelopesOf, forgottenText, hasEnvelopes, replaceEnvelopes } from "./envelope.ts"
import type { Keyring, Keys } from "./keyring.ts"
import type { OpenedEvents } from "./openedEvents.ts"
import { fieldPlace, type Sealer } from "./sealer.ts"
import type { TenantId } from "../domain/Tenant.ts"
import { SealBroken, StorageUnavailable } from "../driver/StoreError.ts"
import { forgottenOpened } from "../telemetry/Telemetry.ts"

/** The part of a row that opening needs. */
export interface SealedRow {
  readonly payload: string
  readonly eventId?: string | undefined
}

/** A row whose sealed fields are to be opened. */
interface Sealed {
  readonly index: number
  readonly eventId: string
  readonly payload: string
  readonly envelopes: ReadonlyArray<Envelope>
}

/** A row with an opened payload, and with the stored one if its readers need that. */
export type WithPayload<Row> = (row: Row, payload: string, stored: string) => Row

/** Opens rows of one tenant. Rows without sealed fields stay the same objects. */
export type OpenRows = <Row extends SealedRow>(
  operation: string,
  tenantId: TenantId,
  rows: ReadonlyArray<Row>,
  withPayload: WithPayload<Row>
) => Effect.Effect<ReadonlyArray<Row>, StorageUnavailable>

/** True if one of the rows has sealed fields. */
export const anySealed = (rows: ReadonlyArray<SealedRow>): boolean => {
  for (const { payload } of rows) if (hasEnvelopes(payload)) return true
  return false
}

/** A row with its sealed fields. Undefined if its envelopes are damaged. */
const sealedAt = (index: number, { eventId = "", payload }: SealedRow): Sealed | undefined => {
  const envelopes = envelopesOf(payload)
  return envelopes && { index, eventId, payload, envelopes }
}

const hasAll = (keys: Keys, keyIds: Iterable<string>): boolean => {
  for (const keyId of keyIds) if (typeof keys.get(keyId) !== "object") return false
  return true
}

const sameIds = (left: ReadonlyArray<string>, right: ReadonlyArray<string>): boolean =>
  left.length === right.length && left.every((id, index) => id === right[index])

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
    rows: ReadonlyArray<Row>,
    withPayload: WithPayload<Row>
  ) {
    const broken = (eventId = ""): StorageUnavailable =>
      new StorageUnavailable({
        reason: new SealBroken({ operation, tenantId, subject: `event ${eventId}` })
      })
    const now = yield* Clock.currentTimeMillis
    const opened = rows.slice()
    const sealed: Array<Sealed> = []
    const keyIds = new Set<string>()
    // Events that were opened before get their texts while they are looked at, which are used only with valid keys.
    const before = openedEvents.of(tenantId, now)
    const openedBefore: Array<number> = []
    const keysBefore = new Set<string>()
    let lastKeys: ReadonlyArray<string> | undefined
    for (let index = 0; index < rows.length; index++) {
      const row = rows[index]
      if (row === undefined || !hasEnvelopes(row.payload)) continue
      const event = before(row.eventId ?? "", row.payload)
      if (event === undefined) {
        const found = sealedAt(index, row)
        if (found === undefined) return yield* broken(row.eventId)
        for (const { keyId } of found.envelopes) keyIds.add(keyId)
        sealed.push(found)
        continue
      }
      openedBefore.push(index)
      opened[index] = withPayload(row, event.payload, row.payload)
      // Events in succession often have the same list.
      if (event.keyIds === lastKeys) continue
      lastKeys = event.keyIds
      for (const keyId of lastKeys) keysBefore.add(keyId)
    }
    for (const keyId of keysBefore) keyIds.add(keyId)
    // Behind the page: a subject that was forgotten before the page was asked for is known from here on.
    const number = yield* keyring.confirm(tenantId)
    const keys = yield* keyring.byId(operation, tenantId, keyIds)
    if (!hasAll(keys, keysBefore))
      for (const index of openedBefore) {
        const row = rows[index]
        const found = row && sealedAt(index, row)
        if (found === undefined) return yield* broken(row?.eventId)
        sealed.push(found)
      }
    let forgotten = 0
    let kept: ReadonlyArray<string> = []
    for (const { envelopes, eventId, index, payload: stored } of sealed) {
      const row = rows[index]
      if (row === undefined) continue
      const texts =
        textsNow(tenantId, eventId, envelopes, keys) ?? (yield* textsOf(tenantId, eventId, envelopes, keys))
      if (texts === undefined) return yield* broken(eventId)
      const payload = replaceEnvelopes(stored, envelopes, texts)
      opened[index] = withPayload(row, payload, stored)
      const ofRow = envelopes.map(({ keyId }) => keyId)
      if (!hasAll(keys, ofRow)) for (const keyId of ofRow) forgotten += hasAll(keys, [keyId]) ? 0 : 1
      // An answer of before a forgetting is not kept.
      else if (keyring.knownForgotten(tenantId) === number) {
        if (!sameIds(kept, ofRow)) kept = ofRow
        openedEvents.set(tenantId, eventId, { stored, payload, keyIds: kept }, now)
      }
    }
    if (forgotten > 0) yield* Metric.update(forgottenOpened, forgotten)
    return opened
  })
  return (operation, tenantId, rows, withPayload) =>
    anySealed(rows) ? open(operation, tenantId, rows, withPayload) : Effect.succeed(rows)
}
