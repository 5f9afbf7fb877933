/** From rows to typed events, a page at a time and without an Effect per event. */
import { DateTime, Result, type Schema } from "effect"
import type * as Aggregate from "../Aggregate.ts"
import type * as Event from "../Event.ts"
import type {
  AppendReceipt,
  CrossTenantAccessRow,
  EventRow,
  StreamAppend,
  TenantEventRow,
  TenantRow,
  UsageRow
} from "../EventStorage.ts"
import { type DecodeError, EventDecodeError, UnknownEventType } from "../StoreError.ts"
import type { TenantId } from "../Tenant.ts"
import { codecOf } from "./codec.ts"
import type { PreparedEvent } from "./encode.ts"

/** The events of a page up to the first that cannot be decoded, and why it cannot. */
export interface Decoded<A, E> {
  readonly events: ReadonlyArray<A>
  readonly failure: E | undefined
}

const all = <A>(events: ReadonlyArray<A>): Decoded<A, never> => ({ events, failure: undefined })

const envelope = <Payload, Type extends string>(
  tenantId: TenantId,
  aggregateType: Type,
  row: EventRow,
  payload: Payload,
  metadata: Schema.JsonObject
): Event.Envelope<Payload, Type> => ({
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- What is stored under an event id was one when it was written.
  eventId: row.eventId as Event.EventId,
  tenantId,
  position: row.position,
  aggregateType,
  aggregateId: row.aggregateId,
  version: row.version,
  eventType: row.eventType,
  schemaVersion: row.schemaVersion,
  occurredAt: DateTime.makeUnsafe(row.occurredAt),
  recordedAt: DateTime.makeUnsafe(row.recordedAt),
  actor: row.actor,
  correlationId: row.correlationId,
  causationId: row.causationId,
  metadata,
  tags: row.tags,
  payload
})

const parseMetadata = (row: EventRow): Schema.JsonObject =>
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- only texts made from JSON objects are stored
  row.metadata === "{}" ? {} : (JSON.parse(row.metadata) as Schema.JsonObject)

const decodeRow = <Type extends string, State, Payload extends Event.Tagged, Id>(
  tenantId: TenantId,
  aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
  row: EventRow
): Event.Envelope<Payload, Type> | DecodeError => {
  const codec = codecOf(aggregate).events.get(row.eventType)
  const { aggregateType, aggregateId, version, position, eventType } = row
  const stored = { tenantId, aggregateType, aggregateId, version, position, eventType }
  if (codec === undefined) return new UnknownEventType(stored)
  const payload = codec.decode(JSON.parse(row.payload))
  return Result.isSuccess(payload)
    ? envelope(tenantId, aggregate.type, row, payload.success, parseMetadata(row))
    : new EventDecodeError({ ...stored, path: payload.failure.path, reason: payload.failure.reason })
}

/** Envelopes of one aggregate's events. */
export const envelopes = <Type extends string, State, Payload extends Event.Tagged, Id>(
  tenantId: TenantId,
  aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
  rows: ReadonlyArray<EventRow>
): Decoded<Event.Envelope<Payload, Type>, DecodeError> => {
  const events: Array<Event.Envelope<Payload, Type>> = []
  for (const row of rows) {
    const decoded = decodeRow(tenantId, aggregate, row)
    if (decoded instanceof Error) return { events, failure: decoded }
    events.push(decoded)
  }
  return all(events)
}

/** Envelopes of several aggregates' events. */
export const mixedEnvelopes = (
  tenantId: TenantId,
  byType: ReadonlyMap<string, Aggregate.Any>,
  rows: ReadonlyArray<EventRow>
): Decoded<Event.Envelope<Event.Tagged>, DecodeError> => {
  const events: Array<Event.Envelope<Event.Tagged>> = []
  for (const row of rows) {
    const { aggregateType, aggregateId, version, position, eventType } = row
    const aggregate = byType.get(aggregateType)
    const decoded =
      aggregate === undefined
        ? new UnknownEventType({ tenantId, aggregateType, aggregateId, version, position, eventType })
        : decodeRow(tenantId, aggregate, row)
    if (decoded instanceof Error) return { events, failure: decoded }
    events.push(decoded)
  }
  return all(events)
}

const jsonEnvelope = (tenantId: TenantId, row: EventRow): Event.Envelope<Schema.Json> =>
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- only texts made from JSON values are stored
  envelope(tenantId, row.aggregateType, row, JSON.parse(row.payload) as Schema.Json, parseMetadata(row))

/** Envelopes with payloads as JSON. */
export const jsonEnvelopes = (
  tenantId: TenantId,
  rows: ReadonlyArray<EventRow>
): Decoded<Event.Envelope<Schema.Json>, never> => all(rows.map((row) => jsonEnvelope(tenantId, row)))

/** Envelopes of several tenants, with payloads as JSON. */
export const allLogsJson = (
  rows: ReadonlyArray<TenantEventRow>
): Decoded<Event.Envelope<Schema.Json>, never> => all(rows.map((row) => jsonEnvelope(row.tenantId, row)))

export const tenantHeads = (rows: ReadonlyArray<TenantRow>) =>
  all(rows.map((row) => ({ ...row, createdAt: DateTime.makeUnsafe(row.createdAt) })))

export const accesses = (rows: ReadonlyArray<CrossTenantAccessRow>) =>
  all(rows.map((row) => ({ ...row, accessedAt: DateTime.makeUnsafe(row.accessedAt) })))

export const usage = (rows: ReadonlyArray<UsageRow>) =>
  all(rows.map((row) => ({ ...row, day: DateTime.makeUnsafe(row.day) })))

/** The envelope of an event that was just appended, the `index`-th of its append. */
export const appended = (
  tenantId: TenantId,
  { aggregateType, aggregateId }: StreamAppend,
  { row, payload, metadata }: PreparedEvent,
  receipt: AppendReceipt,
  index: number
): Event.Envelope<Event.Tagged> =>
  envelope(
    tenantId,
    aggregateType,
    {
      ...row,
      aggregateType,
      aggregateId,
      version: receipt.versions[index] ?? 0,
      position: receipt.positions[index] ?? 0,
      recordedAt: receipt.recordedAt[index] ?? 0,
      hash: null
    },
    payload,
    metadata
  )
