/** Appends to a log in memory: repeated events and commands, expected versions, conditions, then the write. */
import { Exit } from "effect"
import type * as EventStorage from "../driver/EventStorage.ts"
import { isExpected } from "../driver/expectedVersion.ts"
import {
  AppendConditionFailed,
  type AppendError,
  CommandKeyConflict,
  Conflict,
  EventIdConflict,
  PositionDiverged,
  SubjectsForgotten,
  VersionConflict
} from "../driver/StoreError.ts"
import { writeRefusal } from "../driver/refusals.ts"
import { sameJson } from "../internal/json.ts"
import { type Plans, quotaRefusal } from "./quota.ts"
import type { TenantLog } from "./tenantLog.ts"

const sameTags = (left: ReadonlyArray<string>, right: ReadonlyArray<string>): boolean =>
  left.length === right.length && left.every((tag, index) => tag === right[index])

const sameContent = (
  stored: EventStorage.EventRow,
  stream: EventStorage.StreamAppend,
  event: EventStorage.NewEventRow
): boolean =>
  stored.aggregateType === stream.aggregateType &&
  stored.aggregateId === stream.aggregateId &&
  stored.eventType === event.eventType &&
  stored.schemaVersion === event.schemaVersion &&
  sameTags(stored.tags, event.tags) &&
  sameJson(stored.payload, event.payload) &&
  sameJson(stored.metadata, event.metadata)

/** Leaves out the fields that only this driver uses. */
export const commandRow = (stored: EventStorage.CommandRow): EventStorage.CommandRow => ({
  fingerprint: stored.fingerprint,
  aggregateType: stored.aggregateType,
  aggregateId: stored.aggregateId,
  version: stored.version,
  position: stored.position,
  events: stored.events
})

/** The outcome of a command that has run before; undefined if it has not. */
const commandBefore = (
  log: TenantLog,
  { fingerprint, key }: EventStorage.CommandKey,
  now: number
): Exit.Exit<EventStorage.AppendReceipt, AppendError> | undefined => {
  const stored = log.command(key, now)
  if (stored === undefined) return undefined
  if (stored.fingerprint !== fingerprint)
    return Exit.fail(new Conflict({ reason: new CommandKeyConflict({ tenantId: log.tenantId, key }) }))
  const places = Array.from({ length: stored.events }, (_, index) => index + 1 - stored.events)
  return Exit.succeed({
    replayed: true,
    positions: places.map((place) => stored.position + place),
    versions: places.map((place) => stored.version + place),
    recordedAt: places.map(() => stored.recordedAt),
    command: commandRow(stored)
  })
}

/** The outcome of an append of which some events are already stored; undefined if none is. */
const eventsBefore = (
  log: TenantLog,
  streams: ReadonlyArray<EventStorage.StreamAppend>
): Exit.Exit<EventStorage.AppendReceipt, AppendError> | undefined => {
  let known: Array<EventStorage.EventRow> | undefined
  let events = 0
  let conflict: string | undefined
  for (const stream of streams) {
    for (const event of stream.events) {
      events++
      const stored = log.byEventId(event.eventId)
      if (stored === undefined) continue
      known ??= []
      known.push(stored)
      if (conflict === undefined && !sameContent(stored, stream, event)) conflict = event.eventId
    }
  }
  if (known?.[0] === undefined) return undefined
  if (conflict !== undefined || known.length !== events) {
    return Exit.fail(
      new Conflict({
        reason: new EventIdConflict({ tenantId: log.tenantId, eventId: conflict ?? known[0].eventId })
      })
    )
  }
  return Exit.succeed(receiptOf(known, true))
}

const receiptOf = (
  rows: ReadonlyArray<EventStorage.EventRow>,
  replayed: boolean
): EventStorage.AppendReceipt => ({
  replayed,
  positions: rows.map(({ position }) => position),
  versions: rows.map(({ version }) => version),
  recordedAt: rows.map(({ recordedAt }) => recordedAt)
})

/** The receipt of the events behind a head of the log. One event is the common case. */
const receiptFrom = (
  events: ReadonlyArray<EventStorage.EventRow>,
  head: number
): EventStorage.AppendReceipt => {
  const only = events.length === head + 1 ? events[head] : undefined
  return only === undefined
    ? receiptOf(events.slice(head), false)
    : {
        replayed: false,
        positions: [only.position],
        versions: [only.version],
        recordedAt: [only.recordedAt]
      }
}

/** The events of a stream in the entries of an append before one. */
interface StreamBefore {
  readonly events: number
  readonly lastId: string | undefined
}

/** The streams of an append, to find those that it contains several times. */
class EventsBefore {
  readonly #byType = new Map<string, Map<string, StreamBefore>>()

  /** Adds an entry. Returns the events of its stream before it. */
  add({ aggregateId, aggregateType, events }: EventStorage.StreamAppend): StreamBefore | undefined {
    let byId = this.#byType.get(aggregateType)
    if (byId === undefined) this.#byType.set(aggregateType, (byId = new Map<string, StreamBefore>()))
    const before = byId.get(aggregateId)
    byId.set(aggregateId, {
      events: (before?.events ?? 0) + events.length,
      lastId: events.at(-1)?.eventId ?? before?.lastId
    })
    return before
  }
}

const noConditions: ReadonlyArray<EventStorage.AppendCondition> = []

/** Appends to a log if nothing in it stands against the request. */
export const appendTo = (
  log: TenantLog,
  request: EventStorage.AppendRequest,
  now: number,
  plans: Plans
): Exit.Exit<EventStorage.AppendReceipt, AppendError> => {
  const { command, conditions = noConditions, streams, tenantId } = request
  const refused = writeRefusal(tenantId, log.status)
  if (refused !== undefined) return Exit.fail(refused)
  // A repeated append gets its first outcome, even if the version has changed since.
  const before =
    (command === undefined ? undefined : commandBefore(log, command, now)) ?? eventsBefore(log, streams)
  if (before !== undefined) return before
  const { forgotten } = log.administered.subjects
  if (request.forgotten !== undefined && request.forgotten !== forgotten)
    return Exit.fail(new Conflict({ reason: new SubjectsForgotten({ tenantId, forgotten }) }))
  const earlier = streams.length > 1 ? new EventsBefore() : undefined
  for (const stream of streams) {
    const { aggregateType, aggregateId, expectedEventId, expectedVersion } = stream
    const entries = earlier?.add(stream)
    const actual = log.version(aggregateType, aggregateId) + (entries?.events ?? 0)
    const last =
      expectedEventId === undefined
        ? undefined
        : (entries?.lastId ?? log.stream(aggregateType, aggregateId).at(-1)?.eventId)
    if (!isExpected(expectedVersion, actual) || last !== expectedEventId) {
      return Exit.fail(
        new Conflict({
          reason: new VersionConflict({
            tenantId,
            aggregateType,
            aggregateId,
            expected: expectedVersion,
            actual,
            ...(expectedEventId === undefined ? undefined : { expectedEventId, actualEventId: last ?? null })
          })
        })
      )
    }
  }
  let index = 0
  for (const condition of conditions) {
    const { after, afterEventId } = condition
    const actual = afterEventId === undefined ? undefined : (log.events[after - 1]?.eventId ?? null)
    if (actual !== afterEventId && afterEventId !== undefined)
      return Exit.fail(
        new PositionDiverged({ tenantId, position: after, expected: afterEventId, actual: actual ?? null })
      )
    const met = log.conflicting(condition)
    if (met !== undefined)
      return Exit.fail(
        new Conflict({ reason: new AppendConditionFailed({ tenantId, after, condition: index, ...met }) })
      )
    index++
  }
  const overQuota = quotaRefusal(log, request, now, plans)
  if (overQuota !== undefined) return Exit.fail(overQuota)
  const head = log.events.length
  for (const stream of streams) {
    log.write(stream, now)
    if (command !== undefined) log.keepCommand(command, stream, now)
  }
  const receipt = receiptFrom(log.events, head)
  const [stream] = streams
  return Exit.succeed(
    command === undefined || stream === undefined || stream.events.length > 0
      ? receipt
      : {
          ...receipt,
          unchanged: { version: log.version(stream.aggregateType, stream.aggregateId), position: head }
        }
  )
}
