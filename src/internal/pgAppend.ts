/** Between batches of appends and the arrays that `eventsourcing.append` takes and gives. */
import { Result } from "effect"
import type { AppendReceipt, AppendRequest, CommandRow, EventQuery, StreamAppend } from "../EventStorage.ts"
import {
  AppendConditionFailed,
  type AppendError,
  CommandKeyConflict,
  EventIdConflict,
  TenantSuspended,
  UnknownTenant,
  VersionConflict
} from "../StoreError.ts"
import { seenUpTo } from "./memoryLog.ts"

/** The outcome of one append. */
export type Outcome = Result.Result<AppendReceipt, AppendError>

/** What the function knows of a command that was carried out before. */
interface StoredCommand {
  readonly fingerprint: string
  readonly aggregate_type: string
  readonly aggregate_id: string
  readonly version: number
  readonly position: number
  readonly events: number
  readonly recorded_at: number
}

/** The columns of the one row that `eventsourcing.append` gives. */
export type ResultColumns = readonly [
  results: ReadonlyArray<number> | null,
  commands: ReadonlyArray<StoredCommand> | null
]

/** As the client sends them, but for those of which it leaves the type to the server: nothing is converted. */
const parameterTypes = [
  "boolean",
  "boolean",
  "text[]",
  "integer[]",
  "integer[]",
  "text[]",
  "text[]",
  "integer[]",
  "integer[]",
  "text[]",
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

/** The columns of the one row that `eventsourcing.append_one` gives: NULL if the append is not as usual. */
export type OneColumns = readonly [position: number | null, version: number | null, recordedAt: Date | null]

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
    new Date(event.occurredAt),
    event.actor,
    event.correlationId,
    event.causationId,
    event.metadata,
    event.payload,
    event.tags.length === 0 ? null : event.tags
  ]
}

/** What `eventsourcing.append_one` has done; undefined if nothing. */
export const decodeOne = ([position, version, recordedAt]: OneColumns): Outcome | undefined =>
  position === null || version === null || recordedAt === null
    ? undefined
    : Result.succeed({
        replayed: false,
        positions: [position],
        versions: [version],
        recordedAt: [recordedAt.getTime()]
      })

/** One append, and where its streams and events are in the arrays. */
interface Entry {
  readonly request: AppendRequest
  readonly index: number
  readonly round: number
}

/** A stream of an append, in the order of the arrays. */
interface Placed {
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

/**
 * Appends of one tenant that share a stream, an event id or a command key must be done one after the other: the later
 * one starts a new round. So does one with a condition, which must see what those before it have written. Those behind
 * it go into that round or later ones, so that positions follow the order of the batch.
 */
const inRounds = (requests: ReadonlyArray<AppendRequest>): Array<Entry> => {
  if (requests.length === 1) return requests.map((request, index) => ({ request, index, round: 0 }))
  const current = new Map<string, { round: number; readonly keys: Set<string> }>()
  return requests.map((request, index) => {
    let tenant = current.get(request.tenantId)
    if (tenant === undefined) current.set(request.tenantId, (tenant = { round: 0, keys: new Set() }))
    const { keys } = tenant
    const own: Array<string> = []
    let clashes = request.condition !== undefined && keys.size > 0
    const claim = (key: string): void => {
      own.push(key)
      clashes ||= keys.has(key)
    }
    if (request.command !== undefined) claim(`k${request.command.key}`)
    for (const { aggregateType, aggregateId, events } of request.streams) {
      claim(`s${aggregateType.length}:${aggregateType}${aggregateId}`)
      for (const { eventId } of events) claim(`e${eventId}`)
    }
    if (clashes) {
      tenant.round++
      keys.clear()
    }
    for (const key of own) keys.add(key)
    return { request, index, round: tenant.round }
  })
}

const compare = (left: string, right: string): number => (left < right ? -1 : left > right ? 1 : 0)

/** The text of an array of texts, as PostgreSQL reads it. */
const arrayText = (texts: ReadonlyArray<string>): string =>
  texts.length === 0 ? "" : `{${texts.map((text) => `"${text.replaceAll(/["\\]/g, "\\$&")}"`).join()}}`

/** A query as `eventsourcing.matching_positions` takes it. */
export const queryJson = (query: EventQuery): ReadonlyArray<unknown> =>
  query.map(({ eventTypes, tags }) => ({ types: eventTypes ?? null, tags }))

/** The last time that PostgreSQL and JavaScript both know. */
const maxTime = 253_402_300_799_999

const extraOf = ({ command, condition }: AppendRequest, append: number): object | undefined =>
  command === undefined && condition === undefined
    ? undefined
    : {
        append,
        ...(condition === undefined
          ? {}
          : { query: queryJson(condition.query), after: seenUpTo(condition.after) }),
        ...(command === undefined
          ? {}
          : {
              key: command.key,
              fingerprint: command.fingerprint,
              expires: Math.min(Math.max(command.expiresAt, 0), maxTime)
            })
      }

/** Lays a batch out in arrays: by tenant, so that all writers lock tenants in one order, then by round. */
export const encode = (
  requests: ReadonlyArray<AppendRequest>,
  { provision, wait }: { readonly provision: boolean; readonly wait: boolean }
): Batch => {
  const entries = inRounds(requests)
  if (entries.length > 1) {
    entries.sort(
      (left, right) =>
        compare(left.request.tenantId, right.request.tenantId) ||
        left.round - right.round ||
        left.index - right.index
    )
  }
  const segmentTenants: Array<string> = []
  const lastStreams: Array<number> = []
  const streams: Array<Placed> = []
  const streamAppends: Array<number> = []
  const streamTypes: Array<string> = []
  const streamIds: Array<string> = []
  const streamExpected: Array<number> = []
  const streamLastEvents: Array<number> = []
  const eventIds: Array<string> = []
  const eventTypes: Array<string> = []
  const eventSchemaVersions: Array<number> = []
  const eventOccurredAt: Array<Date> = []
  const eventActors: Array<string> = []
  const eventCorrelationIds: Array<string> = []
  const eventCausationIds: Array<string> = []
  const eventMetadata: Array<string> = []
  const eventPayloads: Array<string> = []
  const eventTags: Array<string> = []
  const extras: Array<object> = []
  let tagged = false
  let previous: Entry | undefined
  for (const [place, entry] of entries.entries()) {
    const { request } = entry
    if (previous?.request.tenantId !== request.tenantId || previous.round !== entry.round) {
      segmentTenants.push(request.tenantId)
    }
    previous = entry
    const extra = extraOf(request, place + 1)
    if (extra !== undefined) extras.push(extra)
    for (const stream of request.streams) {
      streams.push({ entry, stream })
      streamAppends.push(place + 1)
      streamTypes.push(stream.aggregateType)
      streamIds.push(stream.aggregateId)
      streamExpected.push(expectedVersion(stream.expectedVersion))
      for (const event of stream.events) {
        eventIds.push(event.eventId)
        eventTypes.push(event.eventType)
        eventSchemaVersions.push(event.schemaVersion)
        eventOccurredAt.push(new Date(event.occurredAt))
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
      segmentTenants,
      lastStreams,
      streamAppends,
      streamTypes,
      streamIds,
      streamExpected,
      streamLastEvents,
      eventIds,
      eventTypes,
      eventSchemaVersions,
      eventOccurredAt,
      eventActors,
      eventCorrelationIds,
      eventCausationIds,
      eventMetadata,
      eventPayloads,
      tagged ? eventTags : [],
      extras.length === 0 ? null : JSON.stringify(extras)
    ],
    entries,
    streams,
    lastStreams
  }
}

/** The kinds of results, as in `migrations/0004_append.sql`. */
const kind = {
  end: 0,
  allAppended: 1,
  unknownTenant: 2,
  suspended: 3,
  held: 4,
  each: 5,
  appended: 6,
  replayed: 7,
  eventIdConflict: 8,
  versionConflict: 9,
  conditionFailed: 10,
  commandBefore: 11,
  commandConflict: 12
} as const

/** What was said about one append. */
interface Answer {
  held: boolean
  failure: AppendError | undefined
  /** The id of the first event that is stored already. */
  known: string | undefined
  command: CommandRow | undefined
  readonly versions: Array<number>
  readonly positions: Array<number>
  readonly recordedAt: Array<number>
}

/** Where an event is, by its number in the arrays. */
const eventAt = (
  streams: ReadonlyArray<Placed>,
  number: number
): { readonly entry: Entry; readonly eventId: string } | undefined => {
  let before = 0
  for (const { entry, stream } of streams) {
    const event = stream.events[number - before - 1]
    if (event !== undefined) return { entry, eventId: event.eventId }
    before += stream.events.length
  }
  return undefined
}

const addEvents = (answer: Answer, count: number, version: number, position: number, time: number): void => {
  for (let place = 1; place <= count; place++) {
    answer.versions.push(version + place)
    answer.positions.push(position + place)
    answer.recordedAt.push(time)
  }
}

/** The outcomes of a batch, in the order of its requests; undefined where somebody else had locked the tenant. */
export const decode = (
  requests: ReadonlyArray<AppendRequest>,
  batch: Batch,
  [numbers, commands]: ResultColumns
): ReadonlyArray<Outcome | undefined> => {
  const { entries, lastStreams, streams } = batch
  const answers = requests.map((): Answer => ({
    held: false,
    failure: undefined,
    known: undefined,
    command: undefined,
    versions: [],
    positions: [],
    recordedAt: []
  }))
  const answerOf = (entry: Entry | undefined): Answer => {
    const answer = entry === undefined ? undefined : answers[entry.index]
    if (answer === undefined) throw new Error("eventsourcing.append gave a result of no append")
    return answer
  }
  let at = 0
  const next = (): number => {
    const number = numbers?.[at++]
    if (number === undefined) throw new Error("eventsourcing.append gave too few results")
    return number
  }
  let commandsBefore = 0

  /** The results of a segment of which not all was appended, one after the other. */
  const each = (): void => {
    for (let what = next(); what !== kind.end; what = next()) {
      switch (what) {
        case kind.appended: {
          const placed = streams[next() - 1]
          const [version, position, time] = [next(), next(), next()]
          addEvents(answerOf(placed?.entry), placed?.stream.events.length ?? 0, version, position, time)
          break
        }
        case kind.replayed: {
          const event = eventAt(streams, next())
          const answer = answerOf(event?.entry)
          answer.known ??= event?.eventId
          addEvents(answer, 1, next() - 1, next() - 1, next())
          break
        }
        case kind.eventIdConflict: {
          const event = eventAt(streams, next())
          const tenantId = event?.entry.request.tenantId ?? ""
          answerOf(event?.entry).failure ??= new EventIdConflict({ tenantId, eventId: event?.eventId ?? "" })
          break
        }
        case kind.versionConflict: {
          const placed = streams[next() - 1]
          const actual = next()
          const answer = answerOf(placed?.entry)
          if (placed === undefined) break
          const { aggregateId, aggregateType, expectedVersion: expected } = placed.stream
          const { tenantId } = placed.entry.request
          answer.failure ??= new VersionConflict({ tenantId, aggregateType, aggregateId, expected, actual })
          break
        }
        case kind.conditionFailed: {
          const entry = entries[next() - 1]
          const { condition, tenantId } = entry?.request ?? {}
          const [after, position] = [seenUpTo(condition?.after ?? 0), next()]
          answerOf(entry).failure ??= new AppendConditionFailed({ tenantId: tenantId ?? "", after, position })
          break
        }
        case kind.commandBefore: {
          const answer = answerOf(entries[next() - 1])
          const stored = commands?.[commandsBefore++]
          if (stored === undefined) throw new Error("eventsourcing.append gave no command")
          const { events, fingerprint, position, version } = stored
          answer.command = {
            fingerprint,
            aggregateType: stored.aggregate_type,
            aggregateId: stored.aggregate_id,
            version,
            position,
            events
          }
          addEvents(answer, events, version - events, position - events, stored.recorded_at)
          break
        }
        case kind.commandConflict: {
          const entry = entries[next() - 1]
          const { command, tenantId } = entry?.request ?? {}
          answerOf(entry).failure ??= new CommandKeyConflict({
            tenantId: tenantId ?? "",
            key: command?.key ?? ""
          })
          break
        }
        default:
          throw new Error(`eventsourcing.append gave the unknown result ${what}`)
      }
    }
  }

  let first = 0
  for (const last of lastStreams) {
    const what = next()
    if (what === kind.allAppended) {
      let position = next()
      const time = next()
      for (let place = first; place < last; place++) {
        const placed = streams[place]
        const count = placed?.stream.events.length ?? 0
        addEvents(answerOf(placed?.entry), count, next(), position, time)
        position += count
      }
    } else if (what === kind.each) {
      each()
    } else {
      for (let place = first; place < last; place++) {
        const entry = streams[place]?.entry
        const answer = answerOf(entry)
        const tenantId = entry?.request.tenantId ?? ""
        if (what === kind.held) answer.held = true
        else if (what === kind.suspended) answer.failure ??= new TenantSuspended({ tenantId })
        else if (what === kind.unknownTenant) answer.failure ??= new UnknownTenant({ tenantId })
        else throw new Error(`eventsourcing.append gave the unknown result ${what}`)
      }
    }
    first = last
  }
  return answers.map((answer, index): Outcome | undefined => {
    if (answer.held) return undefined
    if (answer.failure !== undefined) return Result.fail(answer.failure)
    const { command, known, positions, recordedAt, versions } = answer
    if (command !== undefined) {
      return Result.succeed({ replayed: true, positions, versions, recordedAt, command })
    }
    const request = requests[index]
    if (known !== undefined) {
      const events = request?.streams.reduce((sum, stream) => sum + stream.events.length, 0)
      if (versions.length !== events) {
        // Some of the events are stored, others not: this is not the append that stored them.
        return Result.fail(new EventIdConflict({ tenantId: request?.tenantId ?? "", eventId: known }))
      }
    }
    return Result.succeed({ replayed: known !== undefined, positions, versions, recordedAt })
  })
}
