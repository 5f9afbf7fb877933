/** Shows stored events under a grant. */
import { DateTime, Result, type Schema } from "effect"
import type * as Aggregate from "../domain/Aggregate.ts"
import type { Tagged } from "../domain/Event.ts"
import * as StoredEvents from "../domain/StoredEvents.ts"
import { codecOf, type FindPersonal, type Path } from "../domain/codec/aggregateCodec.ts"
import type { EventRow } from "../driver/EventStorage.ts"
import { envelopesOf, forgottenText, hasEnvelopes, replaceEnvelopes } from "../forgetting/envelope.ts"
import type { EventView } from "./Looks.ts"
import { type Grant, shown } from "./PayloadGrant.ts"

/** The aggregates of the program by type. */
export type Aggregates = ReadonlyMap<string, Aggregate.Any>

/** Stands in a shown payload for a personal field. */
const sealed: Schema.Json = { $sealed: true }

/** Stands for it where an event is read, because schemas accept it. */
const forgotten: Schema.Json = { $forgotten: true }

const parse = (text: string): Schema.Json =>
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- only JSON is stored
  JSON.parse(text) as Schema.Json

/** A value with another one at some paths. */
const replaced = (json: Schema.Json, paths: ReadonlyArray<Path>, by: Schema.Json, depth = 0): Schema.Json => {
  if (paths.length === 0) return json
  if (paths.some((path) => path.length === depth)) return by
  const inside = (key: string | number) => paths.filter((path) => String(path[depth]) === String(key))
  if (Array.isArray(json))
    return json.map((member: Schema.Json, index) => replaced(member, inside(index), by, depth + 1))
  if (typeof json !== "object" || json === null) return json
  return Object.fromEntries(
    Object.entries(json).map(([key, member]) => [key, replaced(member, inside(key), by, depth + 1)])
  )
}

/** The places of marked fields that were stored before they were marked, or that the storage has opened. */
const markedPaths = (
  find: FindPersonal | undefined,
  json: Schema.Json,
  aggregateId: string
): ReadonlyArray<Path> | undefined => {
  if (find === undefined) return []
  const found = find(json, aggregateId, "keys")
  return "reason" in found ? undefined : found.fields.map(({ path }) => path)
}

/** A payload under a grant: as it is shown, and as it is read. */
interface Payload {
  readonly shown: Schema.Json
  readonly read: Schema.Json
  readonly sealed: boolean
}

const payloadOf = (
  { personal }: Grant,
  { aggregateId, eventType, payload, schemaVersion, storedPayload }: EventRow,
  aggregate: Aggregate.Any | undefined
): Payload => {
  if (personal) {
    const json = parse(payload)
    return { shown: json, read: json, sealed: false }
  }
  const text = storedPayload ?? payload
  const whole: Payload = { shown: sealed, read: forgotten, sealed: true }
  const envelopes = hasEnvelopes(text) ? envelopesOf(text) : []
  // A damaged envelope has no known end.
  if (envelopes === undefined) return whole
  const without = (replacement: string) =>
    parse(
      replaceEnvelopes(
        text,
        envelopes,
        envelopes.map(() => replacement)
      )
    )
  const read = without(forgottenText)
  const find = aggregate && codecOf(aggregate).stored.get(eventType)?.personal(schemaVersion)
  const paths = markedPaths(find, read, aggregateId)
  if (paths === undefined) return whole
  return {
    shown: replaced(without(JSON.stringify(sealed)), paths, sealed),
    read: replaced(read, paths, forgotten),
    sealed: envelopes.length + paths.length > 0
  }
}

/** The present events as which an event is read, or the tag of the error. */
export const readPresent = (
  aggregate: Aggregate.Any,
  row: EventRow,
  grant: Grant
): Result.Result<ReadonlyArray<Tagged>, Aggregate.Unreadable> => {
  const { eventType, schemaVersion } = row
  const payload = payloadOf(grant, row, aggregate).read
  return Result.mapError(
    StoredEvents.read(aggregate, { eventType, schemaVersion, payload }),
    ({ error }) => error
  )
}

const encoded = (
  aggregate: Aggregate.Any,
  events: ReadonlyArray<Tagged>,
  { personal }: Grant,
  aggregateId: string
): ReadonlyArray<Schema.Json> =>
  events.map((event) => {
    const codec = codecOf(aggregate).events.get(event._tag)
    const written = codec?.encode(event)
    if (codec === undefined || written === undefined || Result.isFailure(written)) return null
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- events are encoded to JSON
    const json = written.success as Schema.Json
    if (personal) return json
    const paths = markedPaths(codec.personal, json, aggregateId)
    return paths === undefined ? sealed : replaced(json, paths, sealed)
  })

/** A time of a row. */
export const timeOf = (time: number): DateTime.Utc => DateTime.makeUnsafe(time)

/** A time of a row that may be missing. */
export const timeOrNull = (time: number | undefined): DateTime.Utc | null =>
  time === undefined ? null : timeOf(time)

/** Shows events. */
export const eventView =
  (aggregates: Aggregates, grant: Grant) =>
  (row: EventRow): EventView => {
    const aggregate = aggregates.get(row.aggregateType)
    const payload = payloadOf(grant, row, aggregate)
    const read =
      aggregate === undefined
        ? undefined
        : StoredEvents.read(aggregate, {
            eventType: row.eventType,
            schemaVersion: row.schemaVersion,
            payload: payload.read
          })
    return {
      position: row.position,
      eventId: row.eventId,
      aggregateType: row.aggregateType,
      aggregateId: row.aggregateId,
      version: row.version,
      eventType: row.eventType,
      schemaVersion: row.schemaVersion,
      occurredAt: timeOf(row.occurredAt),
      recordedAt: timeOf(row.recordedAt),
      actor: row.actor,
      correlationId: row.correlationId,
      causationId: row.causationId,
      traceparent: row.traceparent,
      tags: row.tags,
      characters: (row.storedPayload ?? row.payload).length,
      sealed: payload.sealed,
      stored: shown(grant, payload.shown),
      metadata: shown(grant, parse(row.metadata)),
      present:
        aggregate === undefined || read === undefined || Result.isFailure(read) || grant.payloads === "none"
          ? null
          : encoded(aggregate, read.success, grant, row.aggregateId).map((json) => shown(grant, json)),
      unreadable: read !== undefined && Result.isFailure(read) ? read.failure.error : null
    }
  }
