/** The write path of the typed store: events are encoded, appended under their conditions, and given back as stored. */
import { Clock, Effect, Result, Stream } from "effect"
import type * as Aggregate from "../Aggregate.ts"
import type * as Event from "../Event.ts"
import { CurrentEventContext } from "../EventContext.ts"
import type * as EventStorage from "../EventStorage.ts"
import type { Appended, AppendCondition, StreamEventsOf, StreamKey } from "../EventStore.ts"
import {
  AppendConditionFailed,
  type AppendError,
  CommandKeyConflict,
  type DecodeError,
  InvalidEvent,
  type InvalidInput,
  LimitExceeded,
  type ReadError,
  VersionConflict
} from "../StoreError.ts"
import type { CurrentTenant, TenantId } from "../Tenant.ts"
import { currentTenant } from "./currentTenant.ts"
import * as decode from "./decode.ts"
import { CurrentDerivedIds, deriveIds } from "./derivedIds.ts"
import * as encode from "./encode.ts"
import * as eventQuery from "./eventQuery.ts"
import { isExpected } from "./expectedVersion.ts"
import { maxNameLength, nameProblem } from "./json.ts"
import { checkIntegers, type Reader, type StoredStream } from "./storeRead.ts"

/** Under which condition events are appended, and as the outcome of which command (then to one stream). */
export interface Terms {
  readonly condition?: AppendCondition | undefined
  readonly command?: EventStorage.CommandKey | undefined
}

/** A stream as the driver names it. */
export const storedStream = <Type extends string, State, Payload extends Event.Tagged, Id>(
  tenantId: TenantId,
  { aggregate, id }: StreamKey<Type, State, Payload, Id>
): Result.Result<StoredStream, InvalidInput> =>
  Result.map(encode.aggregateId(aggregate, id), (aggregateId) => ({
    tenantId,
    aggregateType: aggregate.type,
    aggregateId
  }))

export const makeWriter = (
  storage: EventStorage.EventStorage["Service"],
  { readStream }: Reader,
  limits: encode.Limits
) => {
  /** Events that had been appended before, as they were stored then. */
  const storedBefore = (
    { tenantId, aggregateId }: StoredStream,
    aggregate: Aggregate.Any,
    versions: ReadonlySet<number>
  ): Effect.Effect<ReadonlyArray<Event.Envelope<Event.Tagged>>, ReadError | DecodeError> => {
    if (versions.size === 0) return Effect.succeed([])
    let fromVersion = Infinity
    let toVersion = 0
    for (const version of versions) {
      fromVersion = Math.min(fromVersion, version)
      toVersion = Math.max(toVersion, version)
    }
    return readStream(
      { tenantId, aggregateType: aggregate.type, aggregateId },
      { fromVersion, toVersion },
      (rows) => decode.envelopes(tenantId, aggregate, rows)
    ).pipe(
      Stream.filter((envelope) => versions.has(envelope.version)),
      Stream.runCollect
    )
  }

  /** The outcome of a command that had been carried out before. */
  const firstOutcome = Effect.fnUntraced(function* (
    stream: StoredStream,
    aggregate: Aggregate.Any,
    key: string,
    command: EventStorage.CommandRow
  ) {
    const { aggregateType, aggregateId, version, position, events } = command
    if (aggregateType !== stream.aggregateType || aggregateId !== stream.aggregateId)
      return yield* new CommandKeyConflict({ tenantId: stream.tenantId, key })
    const versions = new Set(Array.from({ length: events }, (_, index) => version - index))
    const appended: Appended<Event.Tagged> = {
      version,
      position,
      events: yield* storedBefore(stream, aggregate, versions),
      replayed: true,
      command
    }
    return [appended]
  })

  /** What a stream without events is refused for. Nothing is written to it, so no lock is needed. */
  const checkOnly = Effect.fnUntraced(function* (
    tenantId: TenantId,
    { aggregateType, aggregateId, expectedVersion: expected }: EventStorage.StreamAppend
  ) {
    const actual = yield* storage.streamVersion({ tenantId, aggregateType, aggregateId })
    if (isExpected(expected, actual)) return actual
    return yield* new VersionConflict({ tenantId, aggregateType, aggregateId, expected, actual })
  })

  /** The same for the condition of an append without events. */
  const checkCondition = Effect.fnUntraced(function* (
    tenantId: TenantId,
    { query, after }: EventStorage.AppendCondition
  ) {
    const { rows } = yield* storage.readLog({
      tenantId,
      fromPosition: after + 1,
      toPosition: Number.MAX_SAFE_INTEGER,
      recordedFrom: undefined,
      recordedBefore: undefined,
      aggregateTypes: undefined,
      eventTypes: undefined,
      query,
      direction: "forwards",
      limit: 1
    })
    const [first] = rows
    if (first !== undefined)
      return yield* new AppendConditionFailed({ tenantId, after, position: first.position })
  })

  const write = Effect.fnUntraced(function* (
    tenantId: TenantId,
    streams: ReadonlyArray<StreamEventsOf<Aggregate.Any>>,
    { command, condition: given }: Terms
  ) {
    // A test clock stands between milliseconds after a jittered delay.
    const now = Math.floor(yield* Clock.currentTimeMillis)
    const context = yield* CurrentEventContext
    const prepared = yield* Effect.fromResult(encode.streams(streams, { context, now, limits }))
    if (command !== undefined) yield* Effect.fromResult(checkCommandKey(command.key))
    const condition = given === undefined ? undefined : storageCondition(given)
    // Streams without events are checked, not written; but a command is recorded, whatever it led to.
    const versions: Array<number> = []
    const written: Array<EventStorage.StreamAppend> = []
    for (const { append } of prepared) {
      if (command !== undefined || append.events.length > 0) {
        versions.push(0)
        written.push(append)
      } else {
        versions.push(yield* checkOnly(tenantId, append))
      }
    }
    if (written.length === 0) {
      if (condition !== undefined) yield* checkCondition(tenantId, condition)
      const position = yield* storage.position(tenantId)
      return versions.map((version): Appended<Event.Tagged> => ({
        version,
        position,
        events: [],
        replayed: false
      }))
    }
    const [outcome] = yield* storage.append([{ tenantId, streams: written, condition, command }])
    if (outcome === undefined) return yield* Effect.die(new Error("the driver gave no outcome for an append"))
    const receipt = yield* Effect.fromResult(outcome)
    const [only] = written
    const aggregate = streams[0]?.aggregate
    if (command !== undefined && only !== undefined && aggregate !== undefined) {
      if (receipt.command !== undefined) {
        return yield* firstOutcome({ tenantId, ...only }, aggregate, command.key, receipt.command)
      }
      if (only.events.length === 0) {
        // A receipt tells of events only; where the stream was is in the record of the command, unless that is over.
        const recorded = yield* storage.commandOutcome({ tenantId, key: command.key })
        const { version, position } = recorded ?? {
          version: yield* storage.streamVersion({ tenantId, ...only }),
          position: yield* storage.position(tenantId)
        }
        return [{ version, position, events: [], replayed: false }]
      }
    }
    const results: Array<Appended<Event.Tagged>> = []
    let first = 0
    for (const [index, { append, events }] of prepared.entries()) {
      const end = first + events.length
      const aggregateOf = streams[index]?.aggregate
      let envelopes: ReadonlyArray<Event.Envelope<Event.Tagged>>
      if (receipt.replayed && aggregateOf !== undefined) {
        const before = new Set(receipt.versions.slice(first, end))
        envelopes = yield* storedBefore({ tenantId, ...append }, aggregateOf, before)
      } else {
        envelopes = envelopesOf(tenantId, append, events, receipt, first)
      }
      results.push({
        // The highest: events that had been appended before may be given in another order now.
        version: highest(receipt.versions, first, end, versions[index] ?? 0),
        // without events: that of the whole append
        position:
          events.length === 0
            ? highest(receipt.positions, 0, receipt.positions.length, 0)
            : highest(receipt.positions, first, end, 0),
        events: envelopes,
        replayed: receipt.replayed
      })
      first = end
    }
    return results
  })

  /** Appends to streams of the current tenant; events without an id get theirs here, where ids are derived. */
  return (
    streams: ReadonlyArray<StreamEventsOf<Aggregate.Any>>,
    terms: Terms
  ): Effect.Effect<
    ReadonlyArray<Appended<Event.Tagged>>,
    AppendError | InvalidInput | DecodeError,
    CurrentTenant
  > =>
    Effect.gen(function* () {
      const tenantId = yield* currentTenant
      return yield* deriveIds(
        yield* CurrentDerivedIds,
        streams,
        // An id that is not one is refused further on.
        (stream) => Result.getOrUndefined(storedStream(tenantId, stream)),
        (named) => write(tenantId, named, terms)
      )
    })
}

const storageCondition = ({ query, after = 0 }: AppendCondition): EventStorage.AppendCondition => {
  checkIntegers({ after })
  return { query: eventQuery.ofCondition(query), after }
}

/** Refuses a key that cannot be stored; the type is that of the aggregate the command is for, if it is known. */
export const checkCommandKey = (key: string, aggregateType = ""): Result.Result<void, InvalidInput> => {
  if (key.length > maxNameLength)
    return Result.fail(
      new LimitExceeded({ limit: "idLength", subject: "the key of a command", maximum: maxNameLength })
    )
  const reason = nameProblem(key)
  return reason === undefined
    ? Result.void
    : Result.fail(new InvalidEvent({ aggregateType, eventType: "command", path: ["key"], reason }))
}

/** The highest number from one place to another, or `least`. */
const highest = (numbers: ReadonlyArray<number>, from: number, to: number, least: number): number => {
  let found = least
  for (let at = from; at < to; at++) found = Math.max(found, numbers[at] ?? found)
  return found
}

/** What was appended of one stream, as stored: its first event is the `first`-th of the receipt. */
const envelopesOf = (
  tenantId: TenantId,
  append: EventStorage.StreamAppend,
  events: ReadonlyArray<encode.PreparedEvent>,
  receipt: EventStorage.AppendReceipt,
  first: number
): ReadonlyArray<Event.Envelope<Event.Tagged>> => {
  const envelopes: Array<Event.Envelope<Event.Tagged>> = []
  for (const event of events) {
    envelopes.push(decode.appended(tenantId, append, event, receipt, first + envelopes.length))
  }
  return envelopes
}
