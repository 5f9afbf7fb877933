/** Between batches of appends and the arrays that `eventsourcing.append` takes and gives. */
import { Result } from "effect"
import type { AppendReceipt, AppendRequest, StreamAppend } from "../EventStorage.ts"
import {
  type AppendError,
  EventIdConflict,
  TenantSuspended,
  UnknownTenant,
  VersionConflict
} from "../StoreError.ts"

/** The outcome of one append. */
export type Outcome = Result.Result<AppendReceipt, AppendError>

/** The columns of the one row that `eventsourcing.append` gives. */
export type ResultColumns = readonly [
  item: ReadonlyArray<number> | null,
  outcome: ReadonlyArray<string> | null,
  version: ReadonlyArray<number | null> | null,
  position: ReadonlyArray<number | null> | null,
  recordedAt: ReadonlyArray<Date | null> | null
]

const parameterTypes = [
  "boolean",
  "boolean",
  "integer",
  "uuid[]",
  "integer[]",
  "integer[]",
  "integer[]",
  "text[]",
  "text[]",
  "bigint[]",
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
  "text[]"
]
const placeholders = parameterTypes.map((type, index) => `$${index + 1}::${type}`).join(", ")

/** Within a transaction of the application. */
export const selectSql = `select item, outcome, version, "position", recorded_at from eventsourcing.append(${placeholders})`

/** As a transaction of its own. */
export const callSql = `call eventsourcing.append_alone(${placeholders}, null, null, null, null, null)`

/** One append, and where its streams and events are in the arrays. */
interface Entry {
  readonly request: AppendRequest
  readonly index: number
  readonly round: number
}

/** A batch as the function takes it. */
export interface Batch {
  readonly parameters: ReadonlyArray<unknown>
  /** In the order of the arrays. */
  readonly streams: ReadonlyArray<{
    readonly entry: Entry
    readonly stream: StreamAppend
    readonly segment: number
  }>
  readonly events: ReadonlyArray<{ readonly entry: Entry; readonly eventId: string }>
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
      // The client refuses arrays of small and large numbers: all of them fit an integer.
      return Number.isInteger(expected) && expected >= 0 && expected <= maxVersion ? expected : impossible
  }
}

/**
 * Appends of one tenant that share a stream or an event id must be done one after the other: the later one starts a new
 * round. Those behind it go into that round or later ones, so that positions follow the order of the batch.
 */
const inRounds = (requests: ReadonlyArray<AppendRequest>): Array<Entry> => {
  if (requests.length === 1) return requests.map((request, index) => ({ request, index, round: 0 }))
  const current = new Map<string, { round: number; readonly keys: Set<string> }>()
  return requests.map((request, index) => {
    let tenant = current.get(request.tenantId)
    if (tenant === undefined) current.set(request.tenantId, (tenant = { round: 0, keys: new Set() }))
    const keys: Array<string> = []
    for (const { aggregateType, aggregateId, events } of request.streams) {
      keys.push(JSON.stringify([aggregateType, aggregateId]))
      for (const { eventId } of events) keys.push(eventId)
    }
    if (keys.some((key) => tenant.keys.has(key))) {
      tenant.round++
      tenant.keys.clear()
    }
    for (const key of keys) tenant.keys.add(key)
    return { request, index, round: tenant.round }
  })
}

const compare = (left: string, right: string): number => (left < right ? -1 : left > right ? 1 : 0)

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
  const segmentLastStreams: Array<number> = []
  const segmentLastEvents: Array<number> = []
  const streams: Array<Batch["streams"][number]> = []
  const events: Array<Batch["events"][number]> = []
  const streamAppends: Array<number> = []
  const streamTypes: Array<string> = []
  const streamIds: Array<string> = []
  const streamExpected: Array<number> = []
  const eventAppends: Array<number> = []
  const eventStreams: Array<number> = []
  const eventPlaces: Array<number> = []
  const eventIds: Array<string> = []
  const eventTypes: Array<string> = []
  const eventSchemaVersions: Array<number> = []
  const eventOccurredAt: Array<Date> = []
  const eventActors: Array<string> = []
  const eventCorrelationIds: Array<string> = []
  const eventCausationIds: Array<string> = []
  const eventMetadata: Array<string> = []
  const eventPayloads: Array<string> = []
  let previous: Entry | undefined
  for (const [place, entry] of entries.entries()) {
    const { request } = entry
    if (previous?.request.tenantId !== request.tenantId || previous.round !== entry.round) {
      segmentTenants.push(request.tenantId)
    }
    previous = entry
    for (const stream of request.streams) {
      streams.push({ entry, stream, segment: segmentTenants.length })
      streamAppends.push(place + 1)
      streamTypes.push(stream.aggregateType)
      streamIds.push(stream.aggregateId)
      streamExpected.push(expectedVersion(stream.expectedVersion))
      for (const [index, event] of stream.events.entries()) {
        events.push({ entry, eventId: event.eventId })
        eventAppends.push(place + 1)
        eventStreams.push(streams.length)
        eventPlaces.push(index + 1)
        eventIds.push(event.eventId)
        eventTypes.push(event.eventType)
        eventSchemaVersions.push(event.schemaVersion)
        eventOccurredAt.push(new Date(event.occurredAt))
        eventActors.push(event.actor ?? "")
        eventCorrelationIds.push(event.correlationId)
        eventCausationIds.push(event.causationId ?? "")
        eventMetadata.push(event.metadata)
        eventPayloads.push(event.payload)
      }
    }
    segmentLastStreams[segmentTenants.length - 1] = streams.length
    segmentLastEvents[segmentTenants.length - 1] = events.length
  }
  return {
    parameters: [
      provision,
      wait,
      requests.length,
      segmentTenants,
      segmentLastStreams,
      segmentLastEvents,
      streamAppends,
      streamTypes,
      streamIds,
      streamExpected,
      eventAppends,
      eventStreams,
      eventPlaces,
      eventIds,
      eventTypes,
      eventSchemaVersions,
      eventOccurredAt,
      eventActors,
      eventCorrelationIds,
      eventCausationIds,
      eventMetadata,
      eventPayloads
    ],
    streams,
    events
  }
}

/** What was said about one append. */
interface Answer {
  held: boolean
  failure: AppendError | undefined
  /** The id of the first event that is stored already. */
  known: string | undefined
  readonly versions: Array<number>
  readonly positions: Array<number>
  readonly recordedAt: Array<number>
}

/** The outcomes of a batch, in the order of its requests; undefined where somebody else had locked the tenant. */
export const decode = (
  requests: ReadonlyArray<AppendRequest>,
  batch: Batch,
  [items, outcomes, versions, positions, recordedAt]: ResultColumns
): ReadonlyArray<Outcome | undefined> => {
  const answers = requests.map((): Answer => ({
    held: false,
    failure: undefined,
    known: undefined,
    versions: [],
    positions: [],
    recordedAt: []
  }))
  // Within a segment, events get positions in the order of the arrays.
  let segment = 0
  let written = 0
  for (const [at, item] of (items ?? []).entries()) {
    const outcome = outcomes?.[at]
    const version = versions?.[at] ?? 0
    const position = positions?.[at] ?? 0
    const time = recordedAt?.[at]?.getTime() ?? 0
    if (outcome === "replayed" || outcome === "event_id_conflict") {
      const event = batch.events[item - 1]
      const answer = event === undefined ? undefined : answers[event.entry.index]
      if (event === undefined || answer === undefined) continue
      if (outcome === "event_id_conflict") {
        answer.failure ??= new EventIdConflict({
          tenantId: event.entry.request.tenantId,
          eventId: event.eventId
        })
      }
      answer.known ??= event.eventId
      answer.versions.push(version)
      answer.positions.push(position)
      answer.recordedAt.push(time)
      continue
    }
    const streamOf = batch.streams[item - 1]
    const answer = streamOf === undefined ? undefined : answers[streamOf.entry.index]
    if (streamOf === undefined || answer === undefined) continue
    const { stream, entry } = streamOf
    const { tenantId } = entry.request
    switch (outcome) {
      case "appended": {
        if (streamOf.segment !== segment) {
          segment = streamOf.segment
          written = 0
        }
        for (let place = 1; place <= stream.events.length; place++) {
          answer.versions.push(version + place)
          answer.positions.push(position + ++written)
          answer.recordedAt.push(time)
        }
        break
      }
      case "version_conflict": {
        const { aggregateType, aggregateId, expectedVersion: expected } = stream
        answer.failure ??= new VersionConflict({
          tenantId,
          aggregateType,
          aggregateId,
          expected,
          actual: version
        })
        break
      }
      case "tenant_held":
        answer.held = true
        break
      case "unknown_tenant":
        answer.failure ??= new UnknownTenant({ tenantId })
        break
      case "tenant_suspended":
        answer.failure ??= new TenantSuspended({ tenantId })
        break
      default:
        throw new Error(`eventsourcing.append gave the unknown outcome ${outcome}`)
    }
  }
  return answers.map((answer, index): Outcome | undefined => {
    if (answer.held) return undefined
    if (answer.failure !== undefined) return Result.fail(answer.failure)
    const request = requests[index]
    const events = request?.streams.reduce((sum, stream) => sum + stream.events.length, 0) ?? 0
    if (request === undefined || answer.versions.length !== events) {
      // Some of the events are stored, others not: this is not the append that stored them.
      return Result.fail(
        new EventIdConflict({ tenantId: request?.tenantId ?? "", eventId: answer.known ?? "" })
      )
    }
    return Result.succeed({
      replayed: answer.known !== undefined,
      versions: answer.versions,
      positions: answer.positions,
      recordedAt: answer.recordedAt
    })
  })
}
