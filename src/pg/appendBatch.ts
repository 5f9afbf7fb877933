/** Encodes appends as the parameters of `append.sql` and `append_one.sql`. */
import { PgTypes } from "@effect/sql-pg"
import { Result, Struct } from "effect"
import type {
  AppendCondition,
  AppendRequest,
  CommandKey,
  EventQuery,
  StreamAppend
} from "../driver/EventStorage.ts"

/** The arrays of a batch and the types of their elements, in the order of the parameters of `append.sql`. */
const elements = {
  tenants: "text",
  roundLastSegments: "int4",
  segmentTenants: "int4",
  segmentLastStreams: "int4",
  streamAppends: "int4",
  streamTypes: "text",
  streamIds: "text",
  streamExpected: "int4",
  streamExpectedIds: "uuid",
  streamLastEvents: "int4",
  streamPrevious: "int4",
  streamEventsBefore: "int4",
  eventStreams: "int4",
  eventIds: "uuid",
  eventTypes: "text",
  eventSchemaVersions: "int4",
  eventOccurredAt: "timestamptz",
  eventActors: "text",
  eventCorrelationIds: "text",
  eventCausationIds: "text",
  eventTraceparents: "text",
  eventMetadata: "text",
  eventPayloads: "text",
  eventTags: "text",
  appendForgotten: "int4"
} as const
type ArrayName = keyof typeof elements

const arrayNames = Struct.keys(elements)
const placeholdersOf = (types: ReadonlyArray<string>): string =>
  // qualified: the tenant's SQL in the same transaction may have made a type of the same name in pg_temp
  types.map((type, index) => `$${index + 1}::pg_catalog.${type}`).join(", ")
const placeholders = placeholdersOf([
  "bool",
  "bool",
  ...arrayNames.map((name) => `${elements[name]}[]`),
  "jsonb"
])

/** For the open transaction of the program. */
export const selectSql = `select heads, versions, times, refusals from eventsourcing.append(${placeholders})`

/** For a transaction of its own. */
export const callSql = `call eventsourcing.append_committing(${placeholders}, null, null, null, null)`

const onePlaceholders = placeholdersOf([
  "uuid",
  "text",
  "text",
  "int4",
  "uuid",
  "uuid",
  "text",
  "int4",
  "timestamptz",
  "text",
  "text",
  "text",
  "text",
  "text",
  "text",
  "text[]",
  "int4"
])

/** For one event, in a transaction of its own. */
export const callOneSql = `call eventsourcing.append_one_committing(${onePlaceholders}, null)`

/** The parameters of `append_one.sql`; undefined unless the append is one event without command and condition. */
export const encodeOne = ({
  command,
  conditions,
  forgotten,
  streams,
  tenantId
}: AppendRequest): ReadonlyArray<unknown> | undefined => {
  const [stream] = streams
  const [event] = stream?.events ?? []
  if (stream === undefined || event === undefined || streams.length > 1 || stream.events.length > 1)
    return undefined
  if (command !== undefined || (conditions !== undefined && conditions.length > 0)) return undefined
  return [
    tenantId,
    stream.aggregateType,
    stream.aggregateId,
    expectedVersion(stream.expectedVersion),
    stream.expectedEventId ?? null,
    event.eventId,
    event.eventType,
    event.schemaVersion,
    PgTypes.timestamptz(event.occurredAt),
    event.actor,
    event.correlationId,
    event.causationId,
    event.traceparent ?? null,
    event.metadata,
    event.payload,
    event.tags.length === 0 ? null : event.tags,
    forgotten ?? null
  ]
}

/** An append with the indexes of its streams and events in the arrays. */
export interface Entry {
  readonly request: AppendRequest
  readonly index: number
  readonly round: number
}

/** A batch as the parameters of the function. */
export interface Batch {
  readonly parameters: ReadonlyArray<unknown>
  /** In the order of the arrays. */
  readonly entries: ReadonlyArray<Entry>
}

const any = -1
const mustExist = -2
/** A version that no stream has, for impossible expectations such as -1 or 1.5, which meet a conflict. */
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
  add({ command, conditions, streams }: AppendRequest): number {
    const first = this.#events.size + this.#commands.size === 0
    if (!first && (conditions !== undefined || this.#clash(streams, command))) {
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
 * Appends of one tenant that share an event id or a command key must run one after another: the later one starts a new round. So
 * does an append with a condition, which must see the events of earlier ones. Later appends go into that round or later ones, so
 * that positions follow the order of the batch.
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

/** The last index of a stream in a segment, and its number of events there. */
interface Seen {
  stream: number
  events: number
}

/** The streams of a segment, to find those that several appends share. */
class Streams {
  readonly #byType = new Map<string, Map<string, Seen>>()

  clear(): void {
    this.#byType.clear()
  }

  /** Adds a stream by its index. Returns its previous place. */
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

/** An array of texts in PostgreSQL syntax. */
export const arrayText = (texts: ReadonlyArray<string>): string =>
  texts.length === 0 ? "" : `{${texts.map((text) => `"${text.replaceAll(/["\\]/g, "\\$&")}"`).join()}}`

/** An array parameter with a given type, so that the client need not infer it from the elements. */
export const array = (values: ReadonlyArray<unknown>, elementOid: number): PgTypes.Parameter =>
  Result.getOrThrow(PgTypes.array(values, elementOid))

/** A query as `eventsourcing.matching_positions` takes it. */
export const queryJson = (query: EventQuery): ReadonlyArray<unknown> =>
  query.map(({ aggregateId, aggregateType, correlationId, eventTypes, tags }) => ({
    aggregate_type: aggregateType ?? null,
    types: eventTypes ?? null,
    tags,
    // JSON leaves out what is undefined
    aggregate_id: aggregateId,
    correlation_id: correlationId
  }))

const conditionJson = ({ after, afterEventId, query }: AppendCondition): object => ({
  query: queryJson(query),
  after,
  ...(afterEventId === undefined ? undefined : { afterId: afterEventId })
})

/** Some 8,000 years: PostgreSQL and JavaScript can represent a time that far from now. */
const maxExpiry = 250_000_000_000_000

const extraOf = (
  { command, conditions, exempt = false, knownVersions }: AppendRequest,
  append: number
): object | undefined =>
  command === undefined && !exempt && (conditions === undefined || conditions.length === 0)
    ? undefined
    : {
        append,
        ...(exempt ? { exempt } : undefined),
        ...(conditions === undefined ? undefined : { conditions: conditions.map(conditionJson) }),
        ...(knownVersions === undefined
          ? undefined
          : { versions: `{${knownVersions.map((version) => version ?? "null").join()}}` }),
        ...(command === undefined
          ? undefined
          : {
              key: command.key,
              fingerprint: command.fingerprint,
              expiresIn: Math.min(command.expiresInMillis, maxExpiry)
            })
      }

/**
 * Lays out a batch in arrays: by rounds, and in each round by tenant, so that all writers lock tenants in the same order. The first
 * round has a segment for every tenant.
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
  const tenantNumbers = new Map<string, number>()
  const arrays = {
    tenants: texts(),
    roundLastSegments: numbers(),
    segmentTenants: numbers(),
    segmentLastStreams: numbers(),
    streamAppends: numbers(),
    streamTypes: texts(),
    streamIds: texts(),
    streamExpected: numbers(),
    streamExpectedIds: new Array<string | null>(),
    streamLastEvents: numbers(),
    streamPrevious: numbers(),
    streamEventsBefore: numbers(),
    eventStreams: numbers(),
    eventIds: texts(),
    eventTypes: texts(),
    eventSchemaVersions: numbers(),
    eventOccurredAt: numbers(),
    eventActors: texts(),
    eventCorrelationIds: texts(),
    eventCausationIds: texts(),
    eventTraceparents: texts(),
    eventMetadata: texts(),
    eventPayloads: texts(),
    eventTags: texts(),
    appendForgotten: new Array<number | null>()
  } satisfies Record<ArrayName, ReadonlyArray<unknown>>
  const extras: Array<object> = []
  // A column without any value in the batch is sent as an empty array.
  let expectIds = false
  let tagged = false
  let traced = false
  let acted = false
  let caused = false
  let compared = false
  const streamsOfSegment = new Streams()
  let previous: Entry | undefined
  let append = 0
  for (const entry of entries) {
    const { request, round } = entry
    append++
    arrays.appendForgotten.push(entry.request.forgotten ?? null)
    compared ||= entry.request.forgotten !== undefined
    if (previous?.request.tenantId !== request.tenantId || previous.round !== round) {
      let tenant = tenantNumbers.get(request.tenantId)
      if (tenant === undefined)
        tenantNumbers.set(request.tenantId, (tenant = arrays.tenants.push(request.tenantId)))
      arrays.segmentTenants.push(tenant)
      arrays.roundLastSegments[round] = arrays.segmentTenants.length
      streamsOfSegment.clear()
    }
    previous = entry
    const segment = arrays.segmentTenants.length
    const extra = extraOf(request, append)
    if (extra !== undefined) extras.push(extra)
    for (const stream of request.streams) {
      const number = arrays.streamAppends.push(append)
      arrays.streamTypes.push(stream.aggregateType)
      arrays.streamIds.push(stream.aggregateId)
      arrays.streamExpected.push(expectedVersion(stream.expectedVersion))
      arrays.streamExpectedIds.push(stream.expectedEventId ?? null)
      expectIds ||= stream.expectedEventId !== undefined
      const before = streamsOfSegment.add(stream, number)
      arrays.streamPrevious.push(before.stream)
      arrays.streamEventsBefore.push(before.events)
      for (const event of stream.events) {
        arrays.eventStreams.push(number)
        arrays.eventIds.push(event.eventId)
        arrays.eventTypes.push(event.eventType)
        arrays.eventSchemaVersions.push(event.schemaVersion)
        arrays.eventOccurredAt.push(event.occurredAt)
        arrays.eventActors.push(event.actor ?? "")
        arrays.eventCorrelationIds.push(event.correlationId)
        arrays.eventCausationIds.push(event.causationId ?? "")
        arrays.eventTraceparents.push(event.traceparent ?? "")
        arrays.eventMetadata.push(event.metadata)
        arrays.eventPayloads.push(event.payload)
        arrays.eventTags.push(arrayText(event.tags))
        tagged ||= event.tags.length > 0
        traced ||= event.traceparent !== undefined
        acted ||= event.actor !== null
        caused ||= event.causationId !== null
      }
      arrays.streamLastEvents.push(arrays.eventIds.length)
    }
    arrays.segmentLastStreams[segment - 1] = arrays.streamAppends.length
  }
  if (!expectIds) arrays.streamExpectedIds.length = 0
  if (!tagged) arrays.eventTags.length = 0
  if (!traced) arrays.eventTraceparents.length = 0
  if (!acted) arrays.eventActors.length = 0
  if (!caused) arrays.eventCausationIds.length = 0
  if (!compared) arrays.appendForgotten.length = 0
  const parameters: Array<unknown> = [provision, wait]
  for (const name of arrayNames) parameters.push(array(arrays[name], PgTypes.OID[elements[name]]))
  parameters.push(extras.length === 0 ? null : JSON.stringify(extras))
  return { parameters, entries }
}

const texts = (): Array<string> => []
const numbers = (): Array<number> => []
