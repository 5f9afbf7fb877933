/** Encodes typed events as rows, and refuses invalid ones before anything is written. */
import { Result, type Schema } from "effect"
import type * as Aggregate from "../domain/Aggregate.ts"
import * as Event from "../domain/Event.ts"
import type { EventContext } from "../domain/EventContext.ts"
import type { NewEventRow, StreamAppend } from "../driver/EventStorage.ts"
import { InvalidAggregateId, type InvalidId, InvalidInput, LimitExceeded } from "../driver/StoreError.ts"
import { type Content, JsonEvent, payloadsOf } from "../domain/jsonEvent.ts"
import { type AggregateCodec, codecOf, type EventCodec } from "../domain/codec/aggregateCodec.ts"
import { jsonText, maxNameLength, nameProblem, type Problem } from "../internal/json.ts"
import { contentProblem, contextProblem, invalid, textProblem, tooLong } from "./inputProblems.ts"
import { checkEventId, isCanonicalUuid } from "../internal/uuid.ts"
import { personalFields } from "./personal.ts"
import { noTags, tagsOf } from "./tags.ts"

/** Limits for appends, which are checked before anything is written. */
export interface Limits {
  /**
   * Maximum size of one event's payload and metadata as JSON, in UTF-8 bytes. Default: 1 MiB. At most 12 MiB: larger events
   * could be written but not read.
   */
  readonly eventBytes: number
  /** Maximum size of all events of one append, in UTF-8 bytes. Default: 16 MiB. At most 256 MiB. */
  readonly appendBytes: number
  /** Maximum number of events in one append. Default: 10,000. At most 1,000,000. */
  readonly appendEvents: number
  /** Maximum nesting of a payload or of metadata. Default: 64. At most 1,000. */
  readonly depth: number
}

/** Larger events could be written but not read. */
export const maxEventBytes = 12 << 20

const defaultLimits: Limits = { eventBytes: 1 << 20, appendBytes: 16 << 20, appendEvents: 10_000, depth: 64 }
const largestLimits: Limits = {
  eventBytes: maxEventBytes,
  appendBytes: 256 << 20,
  appendEvents: 1_000_000,
  depth: 1000
}

/** The highest version that a stream can have: the largest `integer` of PostgreSQL. */
export const maxVersion = 2_147_483_647

/** The years 1 to 9999, for which PostgreSQL and ISO 8601 agree. */
const minTime = -62_135_596_800_000
const maxTime = 253_402_300_799_999

/** Completes and checks limits. */
export const makeLimits = (given: Partial<Limits> | undefined): Limits => {
  const limits = { ...defaultLimits, ...given }
  for (const name of ["eventBytes", "appendBytes", "appendEvents", "depth"] as const) {
    if (!Number.isSafeInteger(limits[name]) || limits[name] < 1 || limits[name] > largestLimits[name]) {
      throw new RangeError(`limits.${name} must be an integer from 1 to ${largestLimits[name]}`)
    }
  }
  return limits
}

/** An aggregate's id in stored form. */
export const aggregateId = <Type extends string, State, Payload extends Event.Tagged, Id>(
  aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
  id: Id
): Result.Result<string, InvalidId> => {
  const stored = storedId(aggregate.type, codecOf(aggregate), id)
  return isRefused(stored) ? Result.fail(stored) : Result.succeed(stored)
}

/** A value, or the error that refuses it. Not a `Result`, because this runs for every event. */
type OrRefused<A> = A | InvalidInput

const isRefused = (outcome: unknown): outcome is InvalidInput => outcome instanceof Error

const storedId = <Id>(
  aggregateType: string,
  codec: Pick<AggregateCodec<never, Id>, "encodeId">,
  id: Id
): string | InvalidId => {
  const encoded = codec.encodeId(id)
  if (Result.isFailure(encoded))
    return new InvalidInput({
      reason: new InvalidAggregateId({ aggregateType, reason: encoded.failure.reason })
    })
  const text = encoded.success
  if (text.length > maxNameLength) return tooLong(`id of ${aggregateType}`)
  const reason = nameProblem(text)
  return reason === undefined
    ? text
    : new InvalidInput({ reason: new InvalidAggregateId({ aggregateType, reason }) })
}

/** The encoded events for one stream. */
export interface Prepared {
  readonly aggregate: Aggregate.Any
  readonly append: StreamAppend
  readonly events: ReadonlyArray<PreparedEvent>
}

/** An encoded event with its payload. */
export interface PreparedEvent {
  readonly row: NewEventRow
  readonly payload: Event.Tagged
  /** Further payloads that it is read as. */
  readonly more: ReadonlyArray<Event.Tagged>
  readonly metadata: Schema.JsonObject
  /** UTF-8 bytes of payload and metadata. */
  readonly bytes: number
}

/**
 * An event that was checked and encoded in the event context of its writer: an append takes it as it is, whatever context that
 * runs in. For another stream it is encoded anew.
 */
export class EncodedEvent<out Payload extends Event.Tagged> extends Event.NewEvent<Payload> {
  readonly aggregate: Aggregate.Any
  readonly aggregateId: string
  readonly encoded: PreparedEvent
  constructor(
    event: Event.Appendable<Payload>,
    aggregate: Aggregate.Any,
    encodedId: string,
    encoded: PreparedEvent
  ) {
    const [payload, options] =
      event instanceof Event.NewEvent ? [event.payload, event.options] : [event, noOptions]
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- checked, or made, where it was encoded
    super(payload, { ...options, eventId: encoded.row.eventId as Event.EventId })
    this.aggregate = aggregate
    this.aggregateId = encodedId
    this.encoded = encoded
  }
}

/** The payloads of encoded events, in characters of JSON. */
export const weightOf = (events: ReadonlyArray<Event.Appendable<Event.Tagged>>): number => {
  let weight = 0
  for (const event of events) if (event instanceof EncodedEvent) weight += event.encoded.row.payload.length
  return weight
}

/** Events for one stream of any aggregate. */
interface StreamInput {
  readonly aggregate: Aggregate.Any
  readonly id: unknown
  readonly expectedVersion: StreamAppend["expectedVersion"]
  readonly expectedEventId?: Event.EventId | undefined
  readonly events: ReadonlyArray<Event.Appendable<Event.Tagged>>
}

/** Values that are the same for all events of an append. */
interface Shared {
  readonly context: EventContext
  readonly now: number
  readonly limits: Limits
  /** True if the storage seals personal fields. */
  readonly seals: boolean
}

/** Encodes and checks the events of one append, without generators, because it runs for every event that is written. */
export const streams = (
  given: ReadonlyArray<StreamInput>,
  shared: Shared
): Result.Result<Array<Prepared>, InvalidInput> => {
  const prepared = prepare(given, shared)
  return isRefused(prepared) ? Result.fail(prepared) : Result.succeed(prepared)
}

const prepare = (given: ReadonlyArray<StreamInput>, shared: Shared): OrRefused<Array<Prepared>> => {
  const { limits } = shared
  let count = 0
  for (const { events } of given) count += events.length
  if (count > limits.appendEvents) {
    return exceeded("appendEvents", "the number of events of an append", limits)
  }
  const problem = contextProblem(given[0]?.aggregate.type ?? "", shared.context)
  if (problem !== undefined) return problem
  // A single stream or event cannot occur twice.
  const seenStreams = given.length > 1 ? new Map<string, Map<string, number>>() : undefined
  const seenEvents = count > 1 ? new Set<string>() : undefined
  let bytes = 0
  let { correlationId } = shared.context
  const prepared: Array<Prepared> = []
  for (const { aggregate, id, expectedEventId, expectedVersion, events } of given) {
    if (expectedEventId !== undefined) checkEventId({ expectedEventId })
    const aggregateType = aggregate.type
    const codec = codecOf(aggregate)
    const encodedId = storedId(aggregateType, codec, id)
    if (isRefused(encodedId)) return encodedId
    if (seenStreams !== undefined) {
      const counts = seenStreams.get(aggregateType) ?? new Map<string, number>()
      const before = counts.get(encodedId)
      // The expected version of a stream without events is compared with the stored one, which other events here may change.
      if (before !== undefined && (before === 0 || events.length === 0)) {
        return new InvalidInput({
          reason: new InvalidAggregateId({
            aggregateType,
            reason: `${encodedId} occurs twice in one append, once without events: leave out the one without events`
          })
        })
      }
      seenStreams.set(aggregateType, counts.set(encodedId, events.length))
    }
    const ready: Array<PreparedEvent> = []
    for (const event of events) {
      const before =
        event instanceof EncodedEvent && event.aggregate === aggregate && event.aggregateId === encodedId
          ? event.encoded
          : undefined
      const encoded = before ?? encodeEvent(aggregate, id, encodedId, codec, event, correlationId, shared)
      if (isRefused(encoded)) return encoded
      const { row } = encoded
      const { eventId } = row
      // An event that came with a correlation of its own does not pass it on to those behind it.
      if (before === undefined && !(event instanceof JsonEvent && event.content.correlationId !== undefined))
        correlationId = row.correlationId
      if (seenEvents !== undefined) {
        if (seenEvents.has(eventId))
          return invalid(aggregateType, row.eventType, ["eventId"], `${eventId} occurs twice in one append`)
        seenEvents.add(eventId)
      }
      bytes += encoded.bytes
      if (bytes > limits.appendBytes) return exceeded("appendBytes", "the events of an append", limits)
      ready.push(encoded)
    }
    prepared.push({
      aggregate,
      append: {
        aggregateType,
        aggregateId: encodedId,
        expectedVersion,
        expectedEventId,
        events: ready.map(rowOf)
      },
      events: ready
    })
  }
  return prepared
}

/** Encodes the events of one stream, to be appended later. */
export const ahead = <Type extends string, State, Payload extends Event.Tagged, Id>(
  aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
  id: Id,
  events: ReadonlyArray<Event.Appendable<Payload>>,
  shared: Shared
): Result.Result<ReadonlyArray<EncodedEvent<Payload>>, InvalidInput> =>
  Result.map(streams([{ aggregate, id, expectedVersion: "any", events }], shared), ([prepared]) => {
    const encoded: Array<EncodedEvent<Payload>> = []
    for (const [index, event] of events.entries()) {
      const ready = prepared?.events[index]
      if (prepared !== undefined && ready !== undefined)
        encoded.push(new EncodedEvent(event, aggregate, prepared.append.aggregateId, ready))
    }
    return encoded
  })

const rowOf = ({ row }: PreparedEvent): NewEventRow => row

const encodeEvent = (
  aggregate: Aggregate.Any,
  id: unknown,
  encodedId: string,
  codec: AggregateCodec<Event.Tagged, unknown>,
  event: Event.Appendable<Event.Tagged>,
  correlationId: string | undefined,
  { context, now, limits, seals }: Shared
): OrRefused<PreparedEvent> => {
  const given = event instanceof Event.NewEvent
  const payload: Event.Tagged = given ? event.payload : event
  const options: Event.EventOptions = given ? event.options : noOptions
  const content = event instanceof JsonEvent ? event.content : noContent
  const aggregateType = aggregate.type
  const eventType = content.eventType ?? payload._tag
  const eventCodec = codec.events.get(payload._tag)
  if (eventCodec === undefined)
    return invalid(aggregateType, eventType, ["payload", "_tag"], `is not an event of ${aggregateType}`)
  const eventId = options.eventId ?? Event.generateId()
  if (options.eventId !== undefined && !isCanonicalUuid(eventId)) {
    const reason = "is not a UUID in its lower-case, hyphenated form"
    return invalid(aggregateType, eventType, ["eventId"], reason)
  }
  const occurredAt = options.occurredAt === undefined ? now : options.occurredAt.epochMilliseconds
  if (!Number.isInteger(occurredAt) || occurredAt < minTime || occurredAt > maxTime) {
    const reason = "is not a time in whole milliseconds of the years 1 to 9999"
    return invalid(aggregateType, eventType, ["occurredAt"], reason)
  }
  const actor = content.actor === undefined ? (options.actor ?? context.actor ?? null) : content.actor
  if (actor !== null) {
    const problem = textProblem(aggregateType, eventType, "actor", actor)
    if (problem !== undefined) return problem
  }
  const problem = content === noContent ? undefined : contentProblem(aggregateType, eventType, content)
  if (problem !== undefined) return problem
  const metadata: Schema.JsonObject =
    context.metadata === undefined || options.metadata === undefined
      ? (options.metadata ?? context.metadata ?? noMetadata)
      : { ...context.metadata, ...options.metadata }
  const schemaVersion = content.schemaVersion ?? eventCodec.schemaVersion
  const written = content.payload === undefined ? eventCodec.write(payload, limits.depth) : undefined
  // The fast path declines values that are not equal to their encoded form.
  const json =
    written !== undefined
      ? payload
      : content.payload === undefined
        ? encodedPayload(aggregateType, eventCodec, payload, limits)
        : content.payload
  if (isRefused(json)) return json
  const payloadText = written ?? textOf(aggregateType, eventType, json, limits)
  if (isRefused(payloadText)) return payloadText
  const find =
    content === noContent ? eventCodec.personal : codec.stored.get(eventType)?.personal(schemaVersion)
  const personal =
    find === undefined && written !== undefined
      ? undefined
      : personalFields(find, {
          json,
          text: payloadText,
          aggregateId: encodedId,
          written: written !== undefined,
          seals
        })
  if (personal !== undefined && "reason" in personal)
    return invalid(aggregateType, eventType, ["payload", ...personal.path], personal.reason)
  const metadataText = metadata === noMetadata ? "{}" : jsonText(metadata, limits.depth)
  if (typeof metadataText !== "string")
    return unstorable(aggregateType, eventType, "metadata", metadataText, limits)
  const tags =
    aggregate.tagsOf === undefined && options.tags === undefined
      ? noTags
      : tagsOf(aggregate, id, payloadsOf(event), options.tags)
  if (isRefused(tags)) return tags
  const bytes = Buffer.byteLength(payloadText) + Buffer.byteLength(metadataText)
  if (bytes > limits.eventBytes) return exceeded("eventBytes", `payload and metadata of ${eventType}`, limits)
  return {
    row: {
      eventId,
      eventType,
      schemaVersion,
      occurredAt,
      actor,
      correlationId: content.correlationId ?? correlationId ?? eventId,
      causationId: content.causationId === undefined ? (context.causationId ?? null) : content.causationId,
      metadata: metadataText,
      payload: payloadText,
      tags,
      traceparent:
        content.traceparent === undefined ? context.traceparent : (content.traceparent ?? undefined),
      personal
    },
    payload,
    more: event instanceof JsonEvent ? event.more : noPayloads,
    metadata,
    bytes
  }
}

const noOptions: Event.EventOptions = {}
const noContent: Partial<Content> = {}
const noPayloads: ReadonlyArray<Event.Tagged> = []
const noMetadata: Schema.JsonObject = Object.freeze({})

/** The JSON value of a payload, for every event that the fast path declines. */
const encodedPayload = (
  aggregateType: string,
  codec: EventCodec<Event.Tagged>,
  payload: Event.Tagged,
  limits: Limits
): unknown => {
  const eventType = payload._tag
  const encoded = codec.encode(payload)
  if (Result.isSuccess(encoded)) return encoded.success
  const { limit, path, reason } = encoded.failure
  return limit === undefined
    ? invalid(aggregateType, eventType, ["payload", ...path], reason)
    : exceeded(limit, `nesting of the payload of ${eventType}`, limits)
}

/** The JSON text of an encoded payload. */
const textOf = (
  aggregateType: string,
  eventType: string,
  encoded: unknown,
  limits: Limits
): OrRefused<string> => {
  const text = jsonText(encoded, limits.depth)
  return typeof text === "string" ? text : unstorable(aggregateType, eventType, "payload", text, limits)
}

const unstorable = (
  aggregateType: string,
  eventType: string,
  part: "payload" | "metadata",
  { limit, path, reason }: Problem,
  limits: Limits
): InvalidInput =>
  limit === undefined
    ? invalid(aggregateType, eventType, [part, ...path], reason)
    : exceeded(limit, `nesting of the ${part} of ${eventType}`, limits)

const exceeded = (limit: keyof Limits, subject: string, limits: Limits): InvalidInput<LimitExceeded> =>
  new InvalidInput({ reason: new LimitExceeded({ limit, subject, maximum: limits[limit] }) })
