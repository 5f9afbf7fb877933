/** From appends to what `eventsourcing.append` and `eventsourcing.append_one` take. */
import { PgTypes } from "@effect/sql-pg"
import { Result } from "effect"
import type { AppendRequest, CommandKey, EventQuery, StreamAppend } from "../driver/EventStorage.ts"
import { clampPosition } from "../driver/queryMatch.ts"

/** The types of parameters, as `migrations/0004_append.sql` has them. */
const parameterTypes = [
  "boolean",
  "boolean",
  "text[]",
  "integer[]",
  "integer[]",
  "integer[]",
  "integer[]",
  "integer[]",
  "text[]",
  "text[]",
  "integer[]",
  "integer[]",
  "integer[]",
  "integer[]",
  "integer[]",
  "uuid[]",
  "text[]",
  "integer[]",
  "timestamptz[]",
  "text[]",
  "text[]",
  "text[]",
  "text[]",
  "text[]",
  "text[]",
  "jsonb"
]
const placeholders = parameterTypes.map((type, index) => `$${index + 1}::${type}`).join(", ")

/** Within a transaction of the application. */
export const selectSql = `select results, commands from eventsourcing.append(${placeholders})`

/** As a transaction of its own. */
export const callSql = `call eventsourcing.append_alone(${placeholders}, null, null)`

const oneTypes = [
  "uuid",
  "text",
  "text",
  "integer",
  "uuid",
  "text",
  "integer",
  "timestamptz",
  "text",
  "text",
  "text",
  "text",
  "text",
  "text[]"
]
const onePlaceholders = oneTypes.map((type, index) => `$${index + 1}::${type}`).join(", ")

/** One event, as a transaction of its own. */
export const callOneSql = `call eventsourcing.append_one_alone(${onePlaceholders}, null, null, null)`

/** What `eventsourcing.append_one` takes; undefined if it does not take an append like this one. */
export const encodeOne = ({
  command,
  condition,
  streams,
  tenantId
}: AppendRequest): ReadonlyArray<unknown> | undefined => {
  const [stream] = streams
  const [event] = stream?.events ?? []
  if (stream === undefined || event === undefined || streams.length > 1 || stream.events.length > 1)
    return undefined
  if (command !== undefined || condition !== undefined) return undefined
  return [
    tenantId,
    stream.aggregateType,
    stream.aggregateId,
    expectedVersion(stream.expectedVersion),
    event.eventId,
    event.eventType,
    event.schemaVersion,
    PgTypes.timestamptz(event.occurredAt),
    event.actor,
    event.correlationId,
    event.causationId,
    event.metadata,
    event.payload,
    event.tags.length === 0 ? null : event.tags
  ]
}

/** One append, and where its streams and events are in the arrays. */
export interface Entry {
  readonly request: AppendRequest
  readonly index: number
  readonly round: number
}

/** A stream of an append, in the order of the arrays. */
export interface Placed {
  readonly entry: Entry
  readonly stream: StreamAppend
}

/** A batch as the function takes it. */
export interface Batch {
  readonly parameters: ReadonlyArray<unknown>
  /** In the order of the arrays. */
  readonly entries: ReadonlyArray<Entry>
  readonly streams: ReadonlyArray<Placed>
  /** The number of the last stream of each segment. */
  readonly lastStreams: ReadonlyArray<number>
}

const any = -1
const mustExist = -2
/** No stream has this version: what is expected in vain, like -1 or 1.5, meets a conflict. */
const impossible = -3
const maxVersion = 2_147_483_647

const expectedVersion = (expected: StreamAppend["expectedVersion"]): number => {
  switch (expected) {
    case "any":
      return any
    case "streamExists":
      return mustExist
    case "noStream":
      return 0
    default:
      return Number.isInteger(expected) && expected >= 0 && expected <= maxVersion ? expected : impossible
  }
}

/** The events and commands of a tenant in its current round. */
class Round {
  number = 0
  readonly #events = new Set<string>()
  readonly #commands = new Set<string>()

  /** The round of a further append. */
  add({ command, condition, streams }: AppendRequest): number {
    const first = this.#events.size + this.#commands.size === 0
    if (!first && (condition !== undefined || this.#clash(streams, command))) {
      this.number++
      this.#events.clear()
      this.#commands.clear()
    }
    if (command !== undefined) this.#commands.add(command.key)
    for (const { events } of streams) for (const { eventId } of events) this.#events.add(eventId)
    return this.number
  }

  #clash(streams: ReadonlyArray<StreamAppend>, command: CommandKey | undefined): boolean {
    if (command !== undefined && this.#commands.has(command.key)) return true
    for (const { events } of streams) {
      for (const { eventId } of events) if (this.#events.has(eventId)) return true
    }
    return false
  }
}

/**
 * Appends of one tenant that share an event id or a command key must be done one after the other: the later one starts a
 * new round. So does one with a condition, which must see what those before it have written. Those behind it go into
 * that round or later ones, so that positions follow the order of the batch.
 */
const inRounds = (requests: ReadonlyArray<AppendRequest>): Array<Entry> => {
  if (requests.length === 1) return requests.map((request, index) => ({ request, index, round: 0 }))
  const rounds = new Map<string, Round>()
  return requests.map((request, index) => {
    let round = rounds.get(request.tenantId)
    if (round === undefined) rounds.set(request.tenantId, (round = new Round()))
    return { request, index, round: round.add(request) }
  })
}

/** Where a stream was last in a segment, and how many events it has there. */
interface Seen {
  stream: number
  events: number
}

/** The streams of a segment, to find those that several appends have. */
class Streams {
  readonly #byType = new Map<string, Map<string, Seen>>()

  clear(): void {
    this.#byType.clear()
  }

  /** Adds a stream by its number. Returns where it was before. */
  add({ aggregateId, aggregateType, events }: StreamAppend, stream: number): Readonly<Seen> {
    let byId = this.#byType.get(aggregateType)
    if (byId === undefined) this.#byType.set(aggregateType, (byId = new Map<string, Seen>()))
    const seen = byId.get(aggregateId)
    if (seen === undefined) {
      byId.set(aggregateId, { stream, events: events.length })
      return unseen
    }
    const before = { ...seen }
    seen.stream = stream
    seen.events += events.length
    return before
  }
}

const unseen: Readonly<Seen> = { stream: 0, events: 0 }

const compare = (left: string, right: string): number => (left < right ? -1 : left > right ? 1 : 0)

/** The text of an array of texts, as PostgreSQL reads it. */
const arrayText = (texts: ReadonlyArray<string>): string =>
  texts.length === 0 ? "" : `{${texts.map((text) => `"${text.replaceAll(/["\\]/g, "\\$&")}"`).join()}}`

/** An array as a parameter of a known type: the client need not look at each element to find one. */
export const array = (values: ReadonlyArray<unknown>, elementOid: number): PgTypes.Parameter =>
  Result.getOrThrow(PgTypes.array(values, elementOid))

/** A query as `eventsourcing.matching_positions` takes it. */
export const queryJson = (query: EventQuery): ReadonlyArray<unknown> =>
  query.map(({ aggregateType, eventTypes, tags }) => ({
    aggregate_type: aggregateType ?? null,
    types: eventTypes ?? null,
    tags
  }))

/** The last time that PostgreSQL and JavaScript both know. */
const maxTime = 253_402_300_799_999

const extraOf = ({ command, condition }: AppendRequest, append: number): object | undefined =>
  command === undefined && condition === undefined
    ? undefined
    : {
        append,
        ...(condition === undefined
          ? {}
          : { query: queryJson(condition.query), after: clampPosition(condition.after) }),
        ...(command === undefined
          ? {}
          : {
              key: command.key,
              fingerprint: command.fingerprint,
              expires: Math.min(Math.max(command.expiresAt, 0), maxTime)
            })
      }

/**
 * Lays a batch out in arrays: in rounds, and in each by tenant, so that all writers lock tenants in one order. The first
 * round has a segment of every tenant.
 */
export const encode = (
  requests: ReadonlyArray<AppendRequest>,
  { provision, wait }: { readonly provision: boolean; readonly wait: boolean }
): Batch => {
  const entries = inRounds(requests)
  if (entries.length > 1) {
    entries.sort(
      (left, right) =>
        left.round - right.round ||
        compare(left.request.tenantId, right.request.tenantId) ||
        left.index - right.index
    )
  }
  const tenants: Array<string> = []
  const tenantNumbers = new Map<string, number>()
  const roundLastSegments: Array<number> = []
  const segmentTenants: Array<number> = []
  const lastStreams: Array<number> = []
  const streams: Array<Placed> = []
  const streamAppends: Array<number> = []
  const streamSegments: Array<number> = []
  const streamTypes: Array<string> = []
  const streamIds: Array<string> = []
  const streamExpected: Array<number> = []
  const streamLastEvents: Array<number> = []
  const streamPrevious: Array<number> = []
  const streamEventsBefore: Array<number> = []
  const eventStreams: Array<number> = []
  const eventIds: Array<string> = []
  const eventTypes: Array<string> = []
  const eventSchemaVersions: Array<number> = []
  const eventOccurredAt: Array<number> = []
  const eventActors: Array<string> = []
  const eventCorrelationIds: Array<string> = []
  const eventCausationIds: Array<string> = []
  const eventMetadata: Array<string> = []
  const eventPayloads: Array<string> = []
  const eventTags: Array<string> = []
  const extras: Array<object> = []
  let tagged = false
  const streamsOfSegment = new Streams()
  let previous: Entry | undefined
  let append = 0
  for (const entry of entries) {
    const { request, round } = entry
    append++
    if (previous?.request.tenantId !== request.tenantId || previous.round !== round) {
      let tenant = tenantNumbers.get(request.tenantId)
      if (tenant === undefined) tenantNumbers.set(request.tenantId, (tenant = tenants.push(request.tenantId)))
      segmentTenants.push(tenant)
      roundLastSegments[round] = segmentTenants.length
      streamsOfSegment.clear()
    }
    previous = entry
    const extra = extraOf(request, append)
    if (extra !== undefined) extras.push(extra)
    for (const stream of request.streams) {
      streams.push({ entry, stream })
      streamAppends.push(append)
      streamSegments.push(segmentTenants.length)
      streamTypes.push(stream.aggregateType)
      streamIds.push(stream.aggregateId)
      streamExpected.push(expectedVersion(stream.expectedVersion))
      const before = streamsOfSegment.add(stream, streams.length)
      streamPrevious.push(before.stream)
      streamEventsBefore.push(before.events)
      for (const event of stream.events) {
        eventStreams.push(streams.length)
        eventIds.push(event.eventId)
        eventTypes.push(event.eventType)
        eventSchemaVersions.push(event.schemaVersion)
        eventOccurredAt.push(event.occurredAt)
        eventActors.push(event.actor ?? "")
        eventCorrelationIds.push(event.correlationId)
        eventCausationIds.push(event.causationId ?? "")
        eventMetadata.push(event.metadata)
        eventPayloads.push(event.payload)
        eventTags.push(arrayText(event.tags))
        tagged ||= event.tags.length > 0
      }
      streamLastEvents.push(eventIds.length)
    }
    lastStreams[segmentTenants.length - 1] = streams.length
  }
  return {
    parameters: [
      provision,
      wait,
      array(tenants, PgTypes.OID.text),
      array(roundLastSegments, PgTypes.OID.int4),
      array(segmentTenants, PgTypes.OID.int4),
      array(lastStreams, PgTypes.OID.int4),
      array(streamAppends, PgTypes.OID.int4),
      array(streamSegments, PgTypes.OID.int4),
      array(streamTypes, PgTypes.OID.text),
      array(streamIds, PgTypes.OID.text),
      array(streamExpected, PgTypes.OID.int4),
      array(streamLastEvents, PgTypes.OID.int4),
      array(streamPrevious, PgTypes.OID.int4),
      array(streamEventsBefore, PgTypes.OID.int4),
      array(eventStreams, PgTypes.OID.int4),
      array(eventIds, PgTypes.OID.uuid),
      array(eventTypes, PgTypes.OID.text),
      array(eventSchemaVersions, PgTypes.OID.int4),
      array(eventOccurredAt, PgTypes.OID.timestamptz),
      array(eventActors, PgTypes.OID.text),
      array(eventCorrelationIds, PgTypes.OID.text),
      array(eventCausationIds, PgTypes.OID.text),
      array(eventMetadata, PgTypes.OID.text),
      array(eventPayloads, PgTypes.OID.text),
      array(tagged ? eventTags : [], PgTypes.OID.text),
      extras.length === 0 ? null : JSON.stringify(extras)
    ],
    entries,
    streams,
    lastStreams
  }
}
