/**
 * Events as plain JSON, for bridges, tools, and programs in other languages.
 *
 * **Details**
 *
 * `EventStore.readLogJson` and `EventStore.readStreamJson` read events with their stored payloads, without their aggregates, and
 * {@link fromEnvelope} turns them into JSON. {@link encoder} does the same with typed events, such as those of subscriptions and
 * reactions. `EventStore.appendJson` and `EventStore.importJson` write {@link NewEvent}s into a log. A {@link StoredEvent} is a
 * `NewEvent` too, so that an export can be imported unchanged.
 */
import { DateTime, Result, Schema, SchemaParser } from "effect"
import type * as Aggregate from "../domain/Aggregate.ts"
import * as Event from "../domain/Event.ts"
import type { TenantId } from "../domain/Tenant.ts"
import { codecOf, guarded, type Mismatch } from "../domain/codec/aggregateCodec.ts"
import { JsonEvent } from "../domain/jsonEvent.ts"
import { InvalidAggregateId, InvalidEvent, InvalidInput } from "../driver/StoreError.ts"
import type { ImportedEvents } from "./importChunks.ts"
import type { Refused } from "./importEvents.ts"

/** An event to append, as JSON. Other fields are ignored. */
export interface NewEvent {
  readonly aggregateType: string
  /** The aggregate's id, as it is stored. */
  readonly aggregateId: string
  /** The payload's `_tag`: a present or former event type of the aggregate. */
  readonly eventType: string
  /** The payload, encoded by its schema. `_tag` may be omitted. */
  readonly payload: Schema.Json
  /** The version of its schema. If the sender sets it, later programs understand the event too. Default: the newest version. */
  readonly schemaVersion?: number | undefined
  /** A UUID in canonical form, which makes the append idempotent. An import requires it. Default: a new one. */
  readonly eventId?: string | undefined
  /** Time in ISO 8601 with a time zone. Default: now. */
  readonly occurredAt?: string | undefined
  /** null for none. Default: that of the event context. */
  readonly actor?: string | null | undefined
  /** Default: that of the event context, or the id of the first event that is appended together. */
  readonly correlationId?: string | undefined
  /** null for none. Default: that of the event context. */
  readonly causationId?: string | null | undefined
  /** null for none. Default: that of the event context. */
  readonly traceparent?: string | null | undefined
  /** Merged over the metadata of the event context. */
  readonly metadata?: Schema.JsonObject | undefined
  /** Tags in addition to those that its aggregate derives. */
  readonly tags?: ReadonlyArray<string> | undefined
  /** If it is set, it must be the current tenant. */
  readonly tenantId?: string | undefined
}

const text = Schema.optional(Schema.String)
const textOrNull = Schema.optional(Schema.NullOr(Schema.String))

/** Schema of a {@link NewEvent}, for requests and messages. */
export const NewEvent: Schema.Codec<NewEvent> = Schema.Struct({
  aggregateType: Schema.String,
  aggregateId: Schema.String,
  eventType: Schema.String,
  payload: Schema.Json,
  schemaVersion: Schema.optional(Schema.Int),
  eventId: text,
  occurredAt: text,
  actor: textOrNull,
  correlationId: text,
  causationId: textOrNull,
  traceparent: textOrNull,
  metadata: Schema.optional(Schema.Record(Schema.String, Schema.Json)),
  tags: Schema.optional(Schema.Array(Schema.String)),
  tenantId: text
})

/** A stored event as JSON. */
export interface StoredEvent {
  readonly eventId: string
  readonly tenantId: string
  readonly position: number
  readonly aggregateType: string
  readonly aggregateId: string
  readonly version: number
  readonly eventType: string
  readonly schemaVersion: number
  /** Number of the part if an upcaster splits the stored event; see `Event.Envelope`. */
  readonly part?: number
  /** ISO 8601, in UTC. */
  readonly occurredAt: string
  /** ISO 8601, in UTC. */
  readonly recordedAt: string
  readonly actor: string | null
  readonly correlationId: string
  readonly causationId: string | null
  readonly traceparent: string | null
  readonly metadata: Schema.JsonObject
  readonly tags: ReadonlyArray<string>
  readonly payload: Schema.Json
}

/** Schema of a {@link StoredEvent}, for responses and readers of messages. */
export const StoredEvent: Schema.Codec<StoredEvent> = Schema.Struct({
  eventId: Schema.String,
  tenantId: Schema.String,
  position: Schema.Int,
  aggregateType: Schema.String,
  aggregateId: Schema.String,
  version: Schema.Int,
  eventType: Schema.String,
  schemaVersion: Schema.Int,
  part: Schema.optionalKey(Schema.Int),
  occurredAt: Schema.String,
  recordedAt: Schema.String,
  actor: Schema.NullOr(Schema.String),
  correlationId: Schema.String,
  causationId: Schema.NullOr(Schema.String),
  traceparent: Schema.NullOr(Schema.String),
  metadata: Schema.Record(Schema.String, Schema.Json),
  tags: Schema.Array(Schema.String),
  payload: Schema.Json
})

/** Converts an event with a JSON payload to JSON. */
export const fromEnvelope = (envelope: Event.Envelope<Schema.Json>): StoredEvent => ({
  ...envelope,
  occurredAt: DateTime.formatIso(envelope.occurredAt),
  recordedAt: DateTime.formatIso(envelope.recordedAt)
})

/** Raised when an event belongs to none of the aggregates, or does not fit its schema. */
export type EncodeError = InvalidInput<InvalidEvent>

/**
 * Makes a function that converts typed events of the aggregates to JSON, with their payloads encoded by the present schemas.
 *
 * **Details**
 *
 * `schemaVersion` is that of the payload: the present one, even if a former version is stored. Parts of a split event share their
 * event id. A bridge that needs an id for each part uses `eventId` and `part` together.
 */
export const encoder = <const As extends ReadonlyArray<Aggregate.Any>>(
  aggregates: As
): ((envelope: Event.Envelope<Aggregate.EventOf<As[number]>>) => Result.Result<StoredEvent, EncodeError>) => {
  const byType = aggregatesByType(aggregates)
  return (envelope) => {
    const { aggregateType, payload } = envelope
    const fail = (path: InvalidEvent["path"], reason: string): Result.Result<never, EncodeError> =>
      Result.fail(invalid(aggregateType, payload._tag, path, reason))
    const aggregate = byType.get(aggregateType)
    if (aggregate === undefined) return fail(["aggregateType"], noneOf(byType))
    const codec = codecOf(aggregate).events.get(payload._tag)
    if (codec === undefined) return fail(["payload", "_tag"], `is not an event of ${aggregateType}`)
    const encoded = codec.encode(payload)
    if (Result.isFailure(encoded)) return fail(["payload", ...encoded.failure.path], encoded.failure.reason)
    return Result.succeed(
      fromEnvelope({
        ...envelope,
        schemaVersion: codec.schemaVersion,
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a codec of JSON encodes as JSON
        payload: encoded.success as Schema.Json
      })
    )
  }
}

/** A decoded event with its stream. */
export interface Decoded {
  readonly aggregate: Aggregate.Any
  readonly id: unknown
  /** The event; undefined if its aggregate drops it. */
  readonly event: JsonEvent | undefined
}

const readShape = guarded(SchemaParser.decodeUnknownResult(NewEvent))

/**
 * Makes a function that decodes JSON events for the log of a tenant.
 *
 * @internal
 */
export const decoder = (
  aggregates: ReadonlyArray<Aggregate.Any>,
  tenantId: TenantId
): ((json: unknown) => Result.Result<Decoded, Refused>) => {
  const byType = aggregatesByType(aggregates)
  return (json) => {
    const stated = (name: keyof NewEvent): string => statedText(json, name) ?? ""
    const refuse = (error: Refused["error"]): Result.Result<never, Refused> =>
      Result.fail({
        aggregateType: stated("aggregateType"),
        aggregateId: stated("aggregateId"),
        eventId: statedText(json, "eventId") ?? null,
        error
      })
    const fail = (path: InvalidEvent["path"], reason: string): Result.Result<never, Refused> =>
      refuse(invalid(stated("aggregateType"), stated("eventType"), path, reason))
    const unfit = ({ path, reason }: Mismatch): Result.Result<never, Refused> =>
      fail(["payload", ...path], reason)

    const shape = readShape(json)
    if (Result.isFailure(shape)) return fail(shape.failure.path, shape.failure.reason)
    const given = shape.success
    const { aggregateId, aggregateType, eventType } = given
    if (given.tenantId !== undefined && given.tenantId !== tenantId)
      return fail(["tenantId"], "is not the current tenant")
    const aggregate = byType.get(aggregateType)
    if (aggregate === undefined) return fail(["aggregateType"], noneOf(byType))
    const codec = codecOf(aggregate)
    const id = codec.decodeId(aggregateId)
    if (Result.isFailure(id))
      return refuse(
        new InvalidInput({ reason: new InvalidAggregateId({ aggregateType, reason: id.failure.reason }) })
      )
    const encodedId = codec.encodeId(id.success)
    if (Result.isFailure(encodedId) || encodedId.success !== aggregateId)
      return refuse(
        new InvalidInput({
          reason: new InvalidAggregateId({ aggregateType, reason: "is not in stored form" })
        })
      )

    const type = codec.stored.get(eventType)
    if (type === undefined)
      return codec.dropped.has(eventType)
        ? Result.succeed({ aggregate, id: id.success, event: undefined })
        : fail(["eventType"], `is not an event of ${aggregateType}`)
    const schemaVersion = given.schemaVersion ?? type.newest
    const payload = tagged(given.payload, eventType)
    let payloads: ReadonlyArray<Event.Tagged>
    if (type.present?.schemaVersion === schemaVersion) {
      const decoded = type.present.decode(payload)
      if (Result.isFailure(decoded)) return unfit(decoded.failure)
      payloads = [decoded.success]
    } else {
      const decoded = type.former.get(schemaVersion)?.(payload)
      if (decoded === undefined)
        return fail(["schemaVersion"], `is unknown: the known versions are ${type.oldest} to ${type.newest}`)
      if (Result.isFailure(decoded)) return unfit(decoded.failure)
      payloads = decoded.success
    }
    const [first, ...more] = payloads
    if (first === undefined) return Result.succeed({ aggregate, id: id.success, event: undefined })

    const { eventId, metadata, occurredAt, tags } = given
    if (eventId !== undefined && !isEventId(eventId))
      return fail(["eventId"], "is not a UUID in its lower-case, hyphenated form")
    const time = occurredAt === undefined ? undefined : readTime(occurredAt)
    if (occurredAt !== undefined && time === undefined)
      return fail(["occurredAt"], "is not a time of ISO 8601 with a time zone")
    return Result.succeed({
      aggregate,
      id: id.success,
      event: new JsonEvent({ ...given, schemaVersion, payload }, [first, ...more], {
        eventId,
        occurredAt: time,
        metadata,
        tags
      })
    })
  }
}

/**
 * Makes a function that decodes the items of an import.
 *
 * @internal
 */
export const itemReader = (
  aggregates: ReadonlyArray<Aggregate.Any>,
  tenantId: TenantId
): ((json: unknown) => Result.Result<ImportedEvents<Aggregate.Any>, Refused>) => {
  const decode = decoder(aggregates, tenantId)
  return (json) =>
    Result.map(decode(json), ({ aggregate, event, id }) => ({
      aggregate,
      id,
      events: event === undefined ? [] : [event]
    }))
}

const aggregatesByType = (aggregates: ReadonlyArray<Aggregate.Any>): ReadonlyMap<string, Aggregate.Any> =>
  new Map(aggregates.map((aggregate) => [aggregate.type, aggregate]))

const noneOf = (byType: ReadonlyMap<string, unknown>): string => `is none of ${[...byType.keys()].join(", ")}`

const invalid = (
  aggregateType: string,
  eventType: string,
  path: InvalidEvent["path"],
  reason: string
): InvalidInput<InvalidEvent> =>
  new InvalidInput({ reason: new InvalidEvent({ aggregateType, eventType, path: [...path], reason }) })

/** The text of a member of JSON that may not be an event. */
const statedText = (json: unknown, name: string): string | undefined => {
  if (typeof json !== "object" || json === null || !(name in json)) return undefined
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the key exists
  const value = (json as Readonly<Record<string, unknown>>)[name]
  return typeof value === "string" ? value : undefined
}

const isEventId = Schema.is(Event.EventId)

const withTimeZone = /(?:[zZ]|[+-]\d\d:?\d\d)$/

const readTime = (given: string): DateTime.Utc | undefined => {
  const millis = withTimeZone.test(given) ? Date.parse(given) : Number.NaN
  return Number.isNaN(millis) ? undefined : DateTime.makeUnsafe(millis)
}

/** Adds the type to a payload, which a program in another language may have omitted. */
const tagged = (payload: Schema.Json, eventType: string): Schema.Json =>
  isObject(payload) && !Object.hasOwn(payload, "_tag") ? { _tag: eventType, ...payload } : payload

const isObject = (json: Schema.Json): json is Schema.JsonObject =>
  typeof json === "object" && json !== null && !Array.isArray(json)
