/**
 * Decodes rows into typed events, a page at a time and without an Effect per event.
 *
 * One row is not always one event: upcasters split and drop events, and a tolerant aggregate (`Aggregate.tolerant`) skips
 * unreadable ones. So callers take the end of a page from its rows, never from its last event; to filter by event type they
 * pass `storedTypes` to the driver and `wanted` types to this module; and they report `skipped` events.
 */
import { DateTime, Effect, Metric, Option, Result, type Schema } from "effect"
import type * as Aggregate from "../domain/Aggregate.ts"
import type * as Event from "../domain/Event.ts"
import type {
  AppendReceipt,
  CrossTenantAccessRow,
  Direction,
  EventContent,
  EventRow,
  StreamAppend,
  StreamRow,
  TenantEventRow,
  TenantRow,
  UsageRow
} from "../driver/EventStorage.ts"
import {
  EventDecodeError,
  UnknownEventType,
  UnknownSchemaVersion,
  Undecodable
} from "../driver/StoreError.ts"
import type { TenantId } from "../domain/Tenant.ts"
import { type AggregateCodec, codecOf, type Mismatch } from "../domain/codec/aggregateCodec.ts"
import { skippedEvents, skippedSpanEvent } from "../telemetry/Telemetry.ts"
import type { PreparedEvent } from "./encode.ts"

/** The events of a page up to the first undecodable one, and the error of that one. */
export interface Decoded<A, E> {
  readonly events: ReadonlyArray<A>
  readonly failure: E | undefined
  /** Errors of the events that a tolerant aggregate skipped; see {@link reportSkipped}. */
  readonly skipped?: ReadonlyArray<Undecodable>
}

const all = <A>(events: ReadonlyArray<A>): Decoded<A, never> => ({ events, failure: undefined })

const envelope = <Payload, Type extends string>(
  tenantId: TenantId,
  aggregateType: Type,
  row: EventRow,
  eventType: string,
  payload: Payload,
  metadata: Schema.JsonObject
): Event.Envelope<Payload, Type> => ({
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- Only valid event ids are written.
  eventId: row.eventId as Event.EventId,
  tenantId,
  position: row.position,
  aggregateType,
  aggregateId: row.aggregateId,
  version: row.version,
  eventType,
  schemaVersion: row.schemaVersion,
  occurredAt: timeOf(row.occurredAt),
  recordedAt: timeOf(row.recordedAt),
  actor: row.actor,
  correlationId: row.correlationId,
  causationId: row.causationId,
  traceparent: row.traceparent,
  metadata,
  tags: row.tags,
  payload
})

/**
 * Recent times. Making one takes as long as the rest of an envelope. They are immutable, the events of an append share theirs, and
 * most times are a few milliseconds apart.
 */
const times: Array<DateTime.Utc> = Array.from({ length: 256 }, () => DateTime.makeUnsafe(0))

const timeOf = (milliseconds: number): DateTime.Utc => {
  const slot = milliseconds & 255
  const known = times[slot]
  return known?.epochMilliseconds === milliseconds ? known : (times[slot] = DateTime.makeUnsafe(milliseconds))
}

const noMetadata: Schema.JsonObject = Object.freeze({})

const parseMetadata = (row: EventRow): Schema.JsonObject =>
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- only texts made from JSON objects are stored
  row.metadata === "{}" ? noMetadata : (JSON.parse(row.metadata) as Schema.JsonObject)

/** The fields of a row that errors contain. */
const storedEvent = (tenantId: TenantId, row: EventRow) => {
  const { aggregateType, aggregateId, version, position, eventType, schemaVersion } = row
  return { tenantId, aggregateType, aggregateId, version, position, eventType, schemaVersion }
}

/** Receives an event of a row; `part` numbers the events of a split row. */
type Emit<Row, Payload> = (row: Row, payload: Payload, part: number) => unknown

/** The error of an unreadable row. */
type Refusal = (event: ReturnType<typeof storedEvent>) => Undecodable

/** Emits the events of a row in the direction of reading. Emits none of an unreadable row and returns its error. */
const decodeRow = <Row extends EventContent, Payload extends Event.Tagged>(
  codec: Pick<AggregateCodec<Payload, never>, "stored" | "dropped">,
  row: Row,
  wanted: ReadonlySet<string> | undefined,
  direction: Direction,
  emit: Emit<Row, Payload>
): Refusal | undefined => {
  const type = codec.stored.get(row.eventType)
  if (type === undefined) {
    return codec.dropped.has(row.eventType)
      ? undefined
      : (event) => new Undecodable({ reason: new UnknownEventType(event) })
  }
  const { present } = type
  if (present?.schemaVersion === row.schemaVersion) {
    if (wanted !== undefined && !wanted.has(row.eventType)) return undefined
    const json = parsePayload(row)
    if (present.isDecoded(json)) {
      emit(row, json, 0)
      return undefined
    }
    const decoded = present.decode(json)
    if (Result.isFailure(decoded)) return unfit(decoded.failure)
    emit(row, decoded.success, 0)
    return undefined
  }
  const upcast = type.former.get(row.schemaVersion)
  if (upcast === undefined) {
    const { oldest, newest } = type
    return (event) => new Undecodable({ reason: new UnknownSchemaVersion({ ...event, oldest, newest }) })
  }
  const decoded = upcast(parsePayload(row))
  if (Result.isFailure(decoded)) return unfit(decoded.failure)
  const parts = [...decoded.success.entries()]
  for (const [part, payload] of direction === "forwards" ? parts : parts.toReversed())
    if (wanted === undefined || wanted.has(payload._tag)) emit(row, payload, part)
  return undefined
}

const envelopeOf = <Type extends string, Payload extends Event.Tagged>(
  tenantId: TenantId,
  aggregateType: Type,
  row: EventRow,
  payload: Payload,
  part: number
): Event.Envelope<Payload, Type> => {
  const one = envelope(tenantId, aggregateType, row, payload._tag, payload, parseMetadata(row))
  return part === 0 ? one : { ...one, part }
}

const unfit =
  ({ path, reason }: Mismatch): Refusal =>
  (event) =>
    new Undecodable({ reason: new EventDecodeError({ ...event, path, reason }) })

/** Decodes rows of one aggregate and emits their events. */
const decodeRows = <State, Payload extends Event.Tagged, Id>(
  tenantId: TenantId,
  aggregate: Aggregate.Aggregate<string, State, Payload, Id>,
  rows: ReadonlyArray<EventRow>,
  direction: Direction,
  emit: Emit<EventRow, Payload>
): Pick<Decoded<never, Undecodable>, "failure" | "skipped"> => {
  const codec = codecOf(aggregate)
  const skipped: Array<Undecodable> = []
  for (const row of rows) {
    const refusal = decodeRow(codec, row, undefined, direction, emit)
    if (refusal === undefined) continue
    const failure = refusal(storedEvent(tenantId, row))
    if (!aggregate.skips.has(failure.reason._tag)) return { failure, skipped }
    skipped.push(failure)
  }
  return { failure: undefined, skipped }
}

/** Envelopes of one aggregate's events. */
export const envelopes = <Type extends string, State, Payload extends Event.Tagged, Id>(
  tenantId: TenantId,
  aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
  rows: ReadonlyArray<EventRow>,
  direction: Direction = "forwards"
): Decoded<Event.Envelope<Payload, Type>, Undecodable> => {
  const events: Array<Event.Envelope<Payload, Type>> = []
  const decoded = decodeRows(tenantId, aggregate, rows, direction, (row, payload, part) =>
    events.push(envelopeOf(tenantId, aggregate.type, row, payload, part))
  )
  return { events, ...decoded }
}

/** Decodes the payloads of one aggregate's events, without envelopes. */
export const eachPayload = <State, Payload extends Event.Tagged, Id>(
  tenantId: TenantId,
  aggregate: Aggregate.Aggregate<string, State, Payload, Id>,
  rows: ReadonlyArray<EventRow>,
  each: (row: EventRow, payload: Payload) => void
): Decoded<never, Undecodable> => ({
  events: [],
  ...decodeRows(tenantId, aggregate, rows, "forwards", each)
})

/**
 * The state after some events; undefined if one of them cannot be decoded or must be skipped, because both need full rows to
 * be reported.
 */
export const foldContents = <State, Payload extends Event.Tagged, Id>(
  aggregate: Aggregate.Aggregate<string, State, Payload, Id>,
  rows: ReadonlyArray<EventContent>,
  state: State
): { readonly state: State } | undefined => {
  const codec = codecOf(aggregate)
  const folded = { state }
  const apply = (_: EventContent, payload: Payload): void => {
    folded.state = aggregate.apply(folded.state, payload)
  }
  for (const row of rows)
    if (decodeRow(codec, row, undefined, "forwards", apply) !== undefined) return undefined
  return folded
}

/** Envelopes of several aggregates' events: all of them, or those of the `wanted` types. */
export const mixedEnvelopes = (
  tenantId: TenantId,
  byType: ReadonlyMap<string, Aggregate.Any>,
  rows: ReadonlyArray<EventRow>,
  wanted?: ReadonlySet<string>,
  direction: Direction = "forwards"
): Decoded<Event.Envelope<Event.Tagged>, Undecodable> => {
  const events: Array<Event.Envelope<Event.Tagged>> = []
  const emit: Emit<EventRow, Event.Tagged> = (row, payload, part) =>
    events.push(envelopeOf(tenantId, row.aggregateType, row, payload, part))
  const skipped: Array<Undecodable> = []
  let type: string | undefined
  let aggregate: Aggregate.Any | undefined
  let codec: AggregateCodec<Event.Tagged, unknown> | undefined
  for (const row of rows) {
    if (row.aggregateType !== type) {
      type = row.aggregateType
      aggregate = byType.get(type)
      codec = aggregate && codecOf(aggregate)
    }
    const refusal: Refusal | undefined =
      codec === undefined
        ? (event) => new Undecodable({ reason: new UnknownEventType(event) })
        : decodeRow(codec, row, wanted, direction, emit)
    if (refusal === undefined) continue
    const failure = refusal(storedEvent(tenantId, row))
    if (aggregate?.skips.has(failure.reason._tag) !== true) return { events, failure, skipped }
    skipped.push(failure)
  }
  return { events, failure: undefined, skipped }
}

/** Reports skipped events in a metric, in the current span, and in the log at debug level. */
export const reportSkipped = ({ skipped }: Decoded<unknown, unknown>): Effect.Effect<void> =>
  skipped === undefined || skipped.length === 0 ? Effect.void : report(skipped)

const report = (skipped: ReadonlyArray<Undecodable>): Effect.Effect<void> =>
  Effect.gen(function* () {
    const span = Option.getOrUndefined(yield* Effect.option(Effect.currentSpan))
    const now = yield* Effect.clockWith((clock) => clock.currentTimeNanos)
    for (const error of skipped) {
      const { aggregateType, version, position, eventType, schemaVersion, _tag: reason } = error.reason
      const attributes = { aggregate: aggregateType, event: eventType, reason }
      yield* Metric.update(Metric.withAttributes(skippedEvents, attributes), 1)
      span?.event(skippedSpanEvent, now, {
        ...attributes,
        version,
        position,
        schemaVersion
      })
      yield* Effect.logDebug(`Skipped an event: ${error.message}`)
    }
  })

const parsePayload = (row: EventContent): Schema.Json =>
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- only texts made from JSON values are stored
  JSON.parse(row.payload) as Schema.Json

const jsonEnvelope = (tenantId: TenantId, row: EventRow): Event.Envelope<Schema.Json> =>
  envelope(tenantId, row.aggregateType, row, row.eventType, parsePayload(row), parseMetadata(row))

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

export const streams = (rows: ReadonlyArray<StreamRow>): Decoded<StreamRow, never> => all(rows)

export const usage = (rows: ReadonlyArray<UsageRow>) =>
  all(rows.map((row) => ({ ...row, day: DateTime.makeUnsafe(row.day) })))

/** The envelope of an event that was just appended, the `index`-th of its append. */
export const appended = (
  tenantId: TenantId,
  { aggregateType, aggregateId }: StreamAppend,
  { row, payload, metadata }: PreparedEvent,
  receipt: AppendReceipt,
  index: number
  // built directly, without a row in between, because this runs for every event that is written
): Event.Envelope<Event.Tagged> => ({
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the encoder checked or generated it
  eventId: row.eventId as Event.EventId,
  tenantId,
  position: receipt.positions[index] ?? 0,
  aggregateType,
  aggregateId,
  version: receipt.versions[index] ?? 0,
  eventType: payload._tag,
  schemaVersion: row.schemaVersion,
  occurredAt: timeOf(row.occurredAt),
  recordedAt: timeOf(receipt.recordedAt[index] ?? 0),
  actor: row.actor,
  correlationId: row.correlationId,
  causationId: row.causationId,
  traceparent: row.traceparent ?? null,
  metadata,
  tags: row.tags,
  payload
})
