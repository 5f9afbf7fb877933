/** From typed events to rows: everything that is refused is refused here, before anything is written. */
import { Result, type Schema } from "effect"
import type * as Aggregate from "../Aggregate.ts"
import * as Event from "../Event.ts"
import type { EventContext } from "../EventContext.ts"
import type { NewEventRow, StreamAppend } from "../EventStorage.ts"
import { InvalidAggregateId, InvalidEvent, type InvalidInput, LimitExceeded } from "../StoreError.ts"
import { type AggregateCodec, codecOf } from "./codec.ts"
import { jsonProblem, maxNameLength, nameProblem } from "./json.ts"
import { isCanonicalUuid } from "./uuid.ts"

/** What is refused before anything is written. */
export interface Limits {
  /** UTF-8 bytes of one event's payload and metadata as JSON. Default: 1 MiB. At most 12 MiB: more could be written, but not read back. */
  readonly eventBytes: number
  /** Bytes of all events of one append. Default: 16 MiB. */
  readonly appendBytes: number
  /** Events of one append. Default: 10,000. */
  readonly appendEvents: number
  /** Levels of nesting of a payload or of metadata. Default: 64. */
  readonly depth: number
}

const defaultLimits: Limits = { eventBytes: 1 << 20, appendBytes: 16 << 20, appendEvents: 10_000, depth: 64 }
const largestLimits: Limits = {
  eventBytes: 12 << 20,
  appendBytes: 256 << 20,
  appendEvents: 1_000_000,
  depth: 1000
}

/** The highest version a stream can have: PostgreSQL's `integer`. */
export const maxVersion = 2_147_483_647

/** Years 1 to 9999: PostgreSQL and ISO 8601 agree on them. */
const minTime = -62_135_596_800_000
const maxTime = 253_402_300_799_999

/** The limits, checked. */
export const makeLimits = (given: Partial<Limits> | undefined): Limits => {
  const limits = { ...defaultLimits, ...given }
  for (const name of ["eventBytes", "appendBytes", "appendEvents", "depth"] as const) {
    if (!Number.isSafeInteger(limits[name]) || limits[name] < 1 || limits[name] > largestLimits[name]) {
      throw new RangeError(`limits.${name} must be an integer from 1 to ${largestLimits[name]}`)
    }
  }
  return limits
}

/** An aggregate's id as it is stored. */
export const aggregateId = <Type extends string, State, Payload extends Event.Tagged, Id>(
  aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
  id: Id
): Result.Result<string, InvalidInput> => {
  const encoded = codecOf(aggregate).encodeId(id)
  if (Result.isFailure(encoded)) {
    return Result.fail(
      new InvalidAggregateId({ aggregateType: aggregate.type, reason: encoded.failure.reason })
    )
  }
  const text = encoded.success
  if (text.length > maxNameLength) return tooLong(`id of ${aggregate.type}`)
  const reason = nameProblem(text)
  return reason === undefined
    ? Result.succeed(text)
    : Result.fail(new InvalidAggregateId({ aggregateType: aggregate.type, reason }))
}

const tooLong = (subject: string): Result.Result<never, InvalidInput> =>
  Result.fail(new LimitExceeded({ limit: "idLength", subject, maximum: maxNameLength }))

/** Events for one stream, ready for the driver, with the payloads they were made from. */
export interface Prepared {
  readonly append: StreamAppend
  readonly events: ReadonlyArray<PreparedEvent>
}

/** An event as it goes to the driver, and as it came. */
export interface PreparedEvent {
  readonly row: NewEventRow
  readonly payload: Event.Tagged
  readonly metadata: Schema.JsonObject
}

/** What {@link streams} needs of events for one stream, whatever their aggregate. */
interface StreamOfEvents {
  readonly aggregate: Aggregate.Any
  readonly id: unknown
  readonly expectedVersion: StreamAppend["expectedVersion"]
  readonly events: ReadonlyArray<Event.Appendable<Event.Tagged>>
}

/** What all events of an append share. */
interface Shared {
  readonly context: EventContext
  readonly now: number
  readonly limits: Limits
}

/** Encodes and checks the events of one append. Without generators: this runs for every event that is written. */
export const streams = (
  given: ReadonlyArray<StreamOfEvents>,
  shared: Shared
): Result.Result<Array<Prepared>, InvalidInput> => {
  const { limits } = shared
  let count = 0
  for (const { events } of given) count += events.length
  if (count > limits.appendEvents) {
    return exceeded("appendEvents", "the number of events of an append", limits)
  }
  const problem = contextProblem(given[0]?.aggregate.type ?? "", shared.context)
  if (Result.isFailure(problem)) return Result.fail(problem.failure)
  const prepared: Array<Prepared> = []
  // what occurs twice can only do so where there are several
  const seenStreams = given.length > 1 ? new Map<string, Set<string>>() : undefined
  const seenEvents = count > 1 ? new Set<string>() : undefined
  let bytes = 0
  let correlationId = shared.context.correlationId
  for (const { aggregate, id, expectedVersion, events } of given) {
    const aggregateType = aggregate.type
    const stored = aggregateId(aggregate, id)
    if (Result.isFailure(stored)) return Result.fail(stored.failure)
    const encodedId = stored.success
    if (seenStreams !== undefined) {
      const ids = seenStreams.get(aggregateType) ?? new Set()
      if (ids.has(encodedId)) {
        return Result.fail(
          new InvalidAggregateId({
            aggregateType,
            reason: `${encodedId} occurs twice in one append: give all its events at once`
          })
        )
      }
      seenStreams.set(aggregateType, ids.add(encodedId))
    }
    const codec = codecOf(aggregate)
    const ready: Array<PreparedEvent> = []
    const rows: Array<NewEventRow> = []
    for (const event of events) {
      const eventId =
        event instanceof Event.NewEvent ? (event.options.eventId ?? Event.generateId()) : Event.generateId()
      correlationId ??= eventId
      const result = encodeEvent(aggregate, id, codec, event, eventId, correlationId, shared)
      if (Result.isFailure(result)) return Result.fail(result.failure)
      const encoded = result.success
      if (seenEvents !== undefined) {
        if (seenEvents.has(eventId)) {
          return invalid(
            aggregateType,
            encoded.row.eventType,
            ["eventId"],
            `${eventId} occurs twice in one append`
          )
        }
        seenEvents.add(eventId)
      }
      bytes += encoded.bytes
      if (bytes > limits.appendBytes) return exceeded("appendBytes", "the events of an append", limits)
      ready.push(encoded)
      rows.push(encoded.row)
    }
    prepared.push({
      append: { aggregateType, aggregateId: encodedId, expectedVersion, events: rows },
      events: ready
    })
  }
  return Result.succeed(prepared)
}

const encodeEvent = (
  aggregate: Aggregate.Any,
  id: unknown,
  codec: AggregateCodec<Event.Tagged, unknown>,
  event: Event.Appendable<Event.Tagged>,
  eventId: string,
  correlationId: string,
  { context, now, limits }: Shared
): Result.Result<PreparedEvent & { readonly bytes: number }, InvalidInput> => {
  const given = event instanceof Event.NewEvent
  const payload: Event.Tagged = given ? event.payload : event
  const options: Event.EventOptions = given ? event.options : noOptions
  const aggregateType = aggregate.type
  const eventType = payload._tag
  const fail = (path: ReadonlyArray<string | number>, reason: string) =>
    invalid(aggregateType, eventType, path, reason)
  const eventCodec = codec.events.get(eventType)
  if (eventCodec === undefined) return fail(["payload", "_tag"], `is not an event of ${aggregateType}`)
  if (!isCanonicalUuid(eventId)) return fail(["eventId"], "is not a UUID in its lower-case, hyphenated form")
  const occurredAt = options.occurredAt === undefined ? now : options.occurredAt.epochMilliseconds
  if (!Number.isInteger(occurredAt) || occurredAt < minTime || occurredAt > maxTime) {
    return fail(["occurredAt"], "is not a time in whole milliseconds of the years 1 to 9999")
  }
  const actor = options.actor ?? context.actor ?? null
  if (actor !== null) {
    const checked = named(aggregateType, eventType, "actor", actor)
    if (Result.isFailure(checked)) return Result.fail(checked.failure)
  }
  const encoded = eventCodec.encode(payload)
  if (Result.isFailure(encoded)) {
    const { limit, path, reason } = encoded.failure
    return limit === undefined
      ? fail(["payload", ...path], reason)
      : exceeded(limit, `nesting of the payload of ${eventType}`, limits)
  }
  const metadata: Schema.JsonObject =
    context.metadata === undefined || options.metadata === undefined
      ? (options.metadata ?? context.metadata ?? noMetadata)
      : { ...context.metadata, ...options.metadata }
  const payloadText = storable(aggregateType, eventType, "payload", encoded.success, limits)
  if (Result.isFailure(payloadText)) return Result.fail(payloadText.failure)
  const metadataText =
    metadata === noMetadata ? emptyObject : storable(aggregateType, eventType, "metadata", metadata, limits)
  if (Result.isFailure(metadataText)) return Result.fail(metadataText.failure)
  const tags = tagsOf(aggregate, id, payload, options.tags)
  if (Result.isFailure(tags)) return Result.fail(tags.failure)
  const bytes = utf8Bytes(payloadText.success) + utf8Bytes(metadataText.success)
  if (bytes > limits.eventBytes) return exceeded("eventBytes", `payload and metadata of ${eventType}`, limits)
  return Result.succeed({
    row: {
      eventId,
      eventType,
      schemaVersion: eventCodec.schemaVersion,
      occurredAt,
      actor,
      correlationId,
      causationId: context.causationId ?? null,
      metadata: metadataText.success,
      payload: payloadText.success,
      tags: tags.success
    },
    payload,
    metadata,
    bytes
  })
}

const emptyObject: Result.Result<string, InvalidInput> = Result.succeed("{}")
const noOptions: Event.EventOptions = {}
const noMetadata: Schema.JsonObject = {}
const noTags: ReadonlyArray<string> = []

/** Tags of one event: more cost more in the index than they can be worth. */
const maxTags = 32

/** The tags that an aggregate derives from an event, and those its writer states: sorted, each once. */
const tagsOf = (
  aggregate: Aggregate.Any,
  id: unknown,
  payload: Event.Tagged,
  stated: ReadonlyArray<string> | undefined
): Result.Result<ReadonlyArray<string>, InvalidInput> => {
  if (aggregate.tagsOf === undefined && stated === undefined) return untagged
  const fail = (path: ReadonlyArray<string | number>, reason: string) =>
    invalid(aggregate.type, payload._tag, path, reason)
  let given: ReadonlyArray<string>
  try {
    given = [...(aggregate.tagsOf?.(payload, id) ?? noTags), ...(stated ?? noTags)]
  } catch {
    return fail(["tags"], "the aggregate's function for tags threw an error")
  }
  for (const [index, tag] of given.entries()) {
    const reason = nameProblem(tag)
    if (reason !== undefined) return fail(["tags", index], reason)
  }
  const tags = given.length > 1 ? [...new Set(given)].toSorted() : given
  return tags.length > maxTags
    ? fail(["tags"], `are ${tags.length}, more than ${maxTags}`)
    : Result.succeed(tags)
}

const untagged: Result.Result<ReadonlyArray<string>> = Result.succeed(noTags)

const storable = (
  aggregateType: string,
  eventType: string,
  part: "payload" | "metadata",
  value: unknown,
  limits: Limits
): Result.Result<string, InvalidInput> => {
  const problem = jsonProblem(value, limits.depth)
  if (problem === undefined) return Result.succeed(JSON.stringify(value))
  return problem.limit === undefined
    ? invalid(aggregateType, eventType, [part, ...problem.path], problem.reason)
    : exceeded(problem.limit, `nesting of the ${part} of ${eventType}`, limits)
}

/** Checks a text of at most 255 characters. */
const named = (
  aggregateType: string,
  eventType: string,
  name: string,
  text: string
): Result.Result<void, InvalidInput> => {
  if (text.length > maxNameLength) return tooLong(`${name} of ${eventType}`)
  const reason = nameProblem(text)
  return reason === undefined ? Result.void : invalid(aggregateType, eventType, [name], reason)
}

const contextProblem = (aggregateType: string, context: EventContext): Result.Result<void, InvalidInput> => {
  for (const name of contextNames) {
    const text = context[name]
    if (text === undefined) continue
    const checked = named(aggregateType, "event context", name, text)
    if (Result.isFailure(checked)) return checked
  }
  return Result.void
}

const contextNames = ["actor", "correlationId", "causationId"] as const

const invalid = (
  aggregateType: string,
  eventType: string,
  path: ReadonlyArray<string | number>,
  reason: string
): Result.Result<never, InvalidInput> =>
  Result.fail(new InvalidEvent({ aggregateType, eventType, path: [...path], reason }))

const exceeded = (limit: keyof Limits, subject: string, limits: Limits): Result.Result<never, InvalidInput> =>
  Result.fail(new LimitExceeded({ limit, subject, maximum: limits[limit] }))

const utf8Bytes = (text: string): number => Buffer.byteLength(text)
