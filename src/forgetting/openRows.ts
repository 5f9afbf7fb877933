/** Opens the sealed fields of rows, page by page. */
import { Effect, Metric } from "effect"
import { type Envelope, envelopesOf, forgottenText, hasEnvelopes, replaceEnvelopes } from "./envelope.ts"
import type { Keyring } from "./keyring.ts"
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

export const makeOpenRows = (keyring: Keyring, sealer: Sealer): OpenRows => {
  const open = Effect.fnUntraced(function* <Row extends SealedRow>(
    operation: string,
    tenantId: TenantId,
    rows: ReadonlyArray<Row>
  ) {
    const broken = (eventId: string): StorageUnavailable =>
      new StorageUnavailable({
        reason: new SealBroken({ operation, tenantId, subject: `event ${eventId}` })
      })
    const sealed: Array<Sealed> = []
    const keyIds = new Set<string>()
    for (const [index, { eventId = "", payload }] of rows.entries()) {
      if (!hasEnvelopes(payload)) continue
      const envelopes = envelopesOf(payload)
      if (envelopes === undefined) return yield* broken(eventId)
      for (const { keyId } of envelopes) keyIds.add(keyId)
      sealed.push({ index, eventId, payload, envelopes })
    }
    // Behind the page: a subject that was forgotten before the page was asked for is known from here on.
    yield* keyring.confirm(tenantId)
    const keys = yield* keyring.byId(operation, tenantId, keyIds)
    const opened: Array<Row & { readonly storedPayload?: string | undefined }> = [...rows]
    for (const { envelopes, eventId, index, payload } of sealed) {
      const texts: Array<string> = []
      let forgotten = 0
      for (const envelope of envelopes) {
        const key = keys.get(envelope.keyId)
        const isForgotten = key === undefined || key === "destroyed"
        if (isForgotten) forgotten++
        texts.push(
          isForgotten
            ? forgottenText
            : yield* Effect.mapError(
                sealer.open(key, fieldPlace(tenantId, eventId, envelope.path), envelope),
                () => broken(eventId)
              )
        )
      }
      if (forgotten > 0) yield* Metric.update(forgottenOpened, forgotten)
      const row = rows[index]
      if (row !== undefined)
        opened[index] = {
          ...row,
          payload: replaceEnvelopes(payload, envelopes, texts),
          storedPayload: payload
        }
    }
    return opened
  })
  return (operation, tenantId, rows) =>
    anySealed(rows) ? open(operation, tenantId, rows) : Effect.succeed(rows)
}
