/** From what `eventsourcing.append` and `eventsourcing.append_one` give to the outcomes of appends. */
import { Exit } from "effect"
import type { AppendReceipt, AppendRequest, CommandRow } from "../driver/EventStorage.ts"
import {
  AppendConditionFailed,
  type AppendError,
  CommandKeyConflict,
  EventIdConflict,
  TenantSuspended,
  UnknownTenant,
  VersionConflict,
  Conflict,
  TenantRefused
} from "../driver/StoreError.ts"
import { clampPosition } from "../driver/queryMatch.ts"
import type { Batch, Entry, Placed } from "./appendBatch.ts"

/** The outcome of one append. */
export type Outcome = Exit.Exit<AppendReceipt, AppendError>

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

/** The columns of the one row that `eventsourcing.append_one` gives: NULL if the append is not as usual. */
export type OneColumns = readonly [position: number | null, version: number | null, recordedAt: Date | null]

/** What `eventsourcing.append_one` has done; undefined if nothing. */
export const decodeOne = ([position, version, recordedAt]: OneColumns): Outcome | undefined =>
  position === null || version === null || recordedAt === null
    ? undefined
    : Exit.succeed({
        replayed: false,
        positions: [position],
        versions: [version],
        recordedAt: [recordedAt.getTime()]
      })

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
          answerOf(event?.entry).failure ??= new Conflict({
            reason: new EventIdConflict({ tenantId, eventId: event?.eventId ?? "" })
          })
          break
        }
        case kind.versionConflict: {
          const placed = streams[next() - 1]
          const actual = next()
          const answer = answerOf(placed?.entry)
          if (placed === undefined) break
          const { aggregateId, aggregateType, expectedVersion: expected } = placed.stream
          const { tenantId } = placed.entry.request
          answer.failure ??= new Conflict({
            reason: new VersionConflict({ tenantId, aggregateType, aggregateId, expected, actual })
          })
          break
        }
        case kind.conditionFailed: {
          const entry = entries[next() - 1]
          const { condition, tenantId } = entry?.request ?? {}
          const [after, position] = [clampPosition(condition?.after ?? 0), next()]
          answerOf(entry).failure ??= new Conflict({
            reason: new AppendConditionFailed({ tenantId: tenantId ?? "", after, position })
          })
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
          answerOf(entry).failure ??= new Conflict({
            reason: new CommandKeyConflict({
              tenantId: tenantId ?? "",
              key: command?.key ?? ""
            })
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
        else if (what === kind.suspended)
          answer.failure ??= new TenantRefused({ reason: new TenantSuspended({ tenantId }) })
        else if (what === kind.unknownTenant)
          answer.failure ??= new TenantRefused({ reason: new UnknownTenant({ tenantId }) })
        else throw new Error(`eventsourcing.append gave the unknown result ${what}`)
      }
    }
    first = last
  }
  return answers.map((answer, index): Outcome | undefined => {
    if (answer.held) return undefined
    if (answer.failure !== undefined) return Exit.fail(answer.failure)
    const { command, known, positions, recordedAt, versions } = answer
    if (command !== undefined) {
      return Exit.succeed({ replayed: true, positions, versions, recordedAt, command })
    }
    const request = requests[index]
    if (known !== undefined) {
      const events = request?.streams.reduce((sum, stream) => sum + stream.events.length, 0)
      if (versions.length !== events) {
        // Some of the events are stored, others not: this is not the append that stored them.
        return Exit.fail(
          new Conflict({ reason: new EventIdConflict({ tenantId: request?.tenantId ?? "", eventId: known }) })
        )
      }
    }
    return Exit.succeed({ replayed: known !== undefined, positions, versions, recordedAt })
  })
}
