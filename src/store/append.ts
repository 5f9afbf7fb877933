/** Encodes events, appends them under their conditions, and returns them as stored. */
import { Context, Effect, Result, Stream } from "effect"
import type * as Aggregate from "../domain/Aggregate.ts"
import type * as Event from "../domain/Event.ts"
import type * as EventStorage from "../driver/EventStorage.ts"
import {
  AppendConditionFailed,
  type AppendError,
  CommandKeyConflict,
  type EventIdConflict,
  type Undecodable,
  InvalidEvent,
  type InvalidCommand,
  type InvalidId,
  InvalidInput,
  LimitExceeded,
  type ReadError,
  VersionConflict,
  Conflict,
  type ExpectedVersion,
  OutcomeUnknown,
  PositionDiverged,
  StorageUnavailable
} from "../driver/StoreError.ts"
import type { TenantId } from "../domain/Tenant.ts"
import { tenantOf } from "../domain/currentTenant.ts"
import { makeChecks } from "./appendChecks.ts"
import * as decode from "./decode.ts"
import { CurrentDerivedIds, deriveIds } from "../domain/derivedIds.ts"
import { eventContextOf } from "./eventContext.ts"
import { CurrentExemption } from "./exemption.ts"
import * as encode from "./encode.ts"
import * as eventQuery from "./queryTerms.ts"
import { isKept, lostTooOften, maxLosses } from "./lostEnd.ts"
import { clampPosition } from "../driver/queryMatch.ts"
import { maxNameLength, nameProblem } from "../internal/json.ts"
import { checkIntegers, type Reader, type StoredStream } from "./read.ts"
import { wholeMillis } from "../internal/clock.ts"
import { checkEventId } from "../internal/uuid.ts"
import type * as EventQuery from "../domain/EventQuery.ts"

/** Events for one stream. */
export interface StreamEvents<Type extends string, State, Payload extends Event.Tagged, Id> {
  readonly aggregate: Aggregate.Aggregate<Type, State, Payload, Id>
  readonly id: NoInfer<Id>
  /** The version that the stream must have; `"any"` to append at any version. */
  readonly expectedVersion: ExpectedVersion
  /**
   * The id of the event with the expected version, which must then be a number from 1. Another event there raises
   * `VersionConflict`: the stream has another history (restored, or rewritten after a failover). Default: any id.
   */
  readonly expectedEventId?: Event.EventId | undefined
  // NoInfer around the whole union: inside it would refuse literals with a field of several types.
  readonly events: ReadonlyArray<NoInfer<Event.Appendable<Payload>>>
}

export interface StreamEventsOf<A extends Aggregate.Any> {
  readonly aggregate: A
  readonly id: Aggregate.IdOf<A>
  readonly expectedVersion: ExpectedVersion
  readonly expectedEventId?: Event.EventId | undefined
  readonly events: ReadonlyArray<Event.Appendable<Aggregate.EventOf<A>>>
}

/** Conflicts of an append: with stored events, and with its condition and its command key if it has them. */
export type AppendConflict<Condition = undefined, Command = undefined> =
  | VersionConflict
  | EventIdConflict
  | (Condition extends undefined ? never : AppendConditionFailed)
  | (Command extends undefined ? never : CommandKeyConflict)

/** Errors of a typed append. Those of conditions and of command keys are included only if the append has them. */
export type AppendFailure<Condition = undefined, Command = undefined> =
  | Conflict<AppendConflict<Condition, Command>>
  | Exclude<AppendError, Conflict | PositionDiverged>
  | (Condition extends undefined ? never : PositionDiverged)
  | InvalidInput
  | Undecodable

/** A condition of an append: no event after a position of the tenant's log matches a query. */
export interface AppendCondition {
  /**
   * The tenant's other appends wait while it is checked. A query with tags reads the events with its rarest tag; one without
   * tags reads every event after the position, some milliseconds per thousand, so state a recent position with it.
   */
  readonly query: EventQuery.Any
  /**
   * The last position that was considered, alone or with the id of its event. With the id, another event there raises
   * `PositionDiverged`; a number alone cannot show that the log was replaced (restored, or rewritten after a failover).
   * Default: 0, so that no event of the log may match.
   */
  readonly after?: number | Event.Position | undefined
}

/** Conditions of an append: one, or several that must all hold, each with its own position. */
export type AppendConditions = AppendCondition | ReadonlyArray<AppendCondition>

/** Conditions of an append to several streams, besides their versions. */
export interface AppendOptions<
  out Condition extends AppendConditions | undefined = AppendConditions | undefined
> {
  /** Checked together with the versions. If it does not hold, nothing is written and `AppendConditionFailed` is raised. */
  readonly condition?: Condition | undefined
  /**
   * The number of forgotten subjects of the tenant on which the events were decided. At another number nothing is written, and the
   * append fails with a `Conflict` of `SubjectsForgotten`. Default: any.
   */
  readonly forgotten?: number | undefined
}

/** Conditions of an append to one stream, and its command. */
export interface CommandOptions<
  out Condition extends AppendConditions | undefined = AppendConditions | undefined,
  out Command extends EventStorage.CommandKey | undefined = EventStorage.CommandKey | undefined
> extends AppendOptions<Condition> {
  /**
   * Carries out the append only once per key. A second append with the same key and fingerprint writes nothing and returns the
   * first outcome; with another fingerprint it fails with `CommandKeyConflict`. A command without events is recorded too.
   */
  readonly command?: Command | undefined
}

/** The outcome of an append. */
export interface Appended<out Payload, out Type extends string = string> {
  /** The stream's version after the append. */
  readonly version: number
  /** The position of the last event; the head of the tenant's log if nothing was appended. */
  readonly position: number
  /** The events, as stored. */
  readonly events: ReadonlyArray<Event.Envelope<Payload, Type>>
  /** True if the same events had been appended before. This is the first outcome then, and nothing was written. */
  readonly replayed: boolean
  /**
   * Set if the command had been carried out before, even if it had other events. Version, position and events are those of
   * that time, and nothing was written.
   */
  readonly command?: EventStorage.CommandRow | undefined
}

/** The outcome of an append to a stream of an aggregate. */
export type AppendedOf<A> =
  A extends Aggregate.Aggregate<infer Type, infer _State, infer Payload, infer _Id>
    ? Appended<Payload, Type>
    : never

/** Identifies a stream. */
export interface StreamKey<Type extends string, State, Payload extends Event.Tagged, Id> {
  readonly aggregate: Aggregate.Aggregate<Type, State, Payload, Id>
  readonly id: NoInfer<Id>
}

/** Events for a stream that are encoded before they are appended. */
export interface EventsToEncode<
  Type extends string,
  State,
  Payload extends Event.Tagged,
  Id
> extends StreamKey<Type, State, Payload, Id> {
  readonly events: ReadonlyArray<NoInfer<Event.Appendable<Payload>>>
}

/** The conditions of an append, and its command. A command has one stream. */
export interface Terms {
  readonly condition?: AppendConditions | undefined
  readonly forgotten?: number | undefined
  readonly command?: EventStorage.CommandKey | undefined
}

/** An encoded append. */
interface Plan {
  readonly tenantId: TenantId
  readonly prepared: ReadonlyArray<encode.Prepared>
  /** The present versions of streams without events, by the index of the stream. */
  readonly versions: ReadonlyArray<number>
  readonly conditions: ReadonlyArray<EventStorage.AppendCondition> | undefined
  readonly command: EventStorage.CommandKey | undefined
  readonly exempt: boolean
  readonly forgotten: number | undefined
}

const noVersions: ReadonlyArray<number> = []

type Receipt = EventStorage.AppendReceipt
type Results = ReadonlyArray<Appended<Event.Tagged>>
type Select<A> = (results: Results) => A
type WriteError = AppendError | InvalidInput | Undecodable

/** The key of a stream for the driver. */
export const storedStream = <Type extends string, State, Payload extends Event.Tagged, Id>(
  tenantId: TenantId,
  { aggregate, id }: StreamKey<Type, State, Payload, Id>
): Result.Result<StoredStream, InvalidId> =>
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
  const checks = makeChecks(storage)
  const seals = storage.seals === true

  /** The stored events of an earlier append. */
  const storedBefore = (
    { tenantId, aggregateId }: StoredStream,
    aggregate: Aggregate.Any,
    versions: ReadonlySet<number>
  ): Effect.Effect<ReadonlyArray<Event.Envelope<Event.Tagged>>, ReadError | Undecodable> => {
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

  /** The outcome of an earlier command; undefined if the log has lost it while its events were read. */
  const firstOutcome = Effect.fnUntraced(function* (
    stream: StoredStream,
    aggregate: Aggregate.Any,
    key: string,
    command: EventStorage.CommandRow
  ) {
    const { aggregateType, aggregateId, version, position, events } = command
    if (aggregateType !== stream.aggregateType || aggregateId !== stream.aggregateId)
      return yield* new Conflict({ reason: new CommandKeyConflict({ tenantId: stream.tenantId, key }) })
    const versions = new Set(Array.from({ length: events }, (_, index) => version - index))
    const stored = yield* storedBefore(stream, aggregate, versions)
    const appended: Appended<Event.Tagged> = { version, position, events: stored, replayed: true, command }
    const { tenantId } = stream
    if (events > 0 && !isKept(command, yield* storage.commandOutcome({ tenantId, key }))) return undefined
    return [appended]
  })

  /** The first outcome of an earlier append; undefined if the log has lost it while its events were read. */
  const replayed = Effect.fnUntraced(function* (
    { prepared, tenantId, versions }: Plan,
    receipt: EventStorage.AppendReceipt
  ) {
    const results: Array<Appended<Event.Tagged>> = []
    let first = 0
    for (const { aggregate, append } of prepared) {
      const end = first + append.events.length
      const before = new Set(receipt.versions.slice(first, end))
      const events = yield* storedBefore({ tenantId, ...append }, aggregate, before)
      results.push(appendedOf(events, receipt, first, end, versions[results.length]))
      first = end
    }
    // An event that is still at its place has all events before it with it.
    const position = highest(receipt.positions, 0, receipt.positions.length, 0)
    const eventId = prepared.flatMap(({ append }) => append.events)[receipt.positions.indexOf(position)]
      ?.eventId
    return eventId === undefined || (yield* storage.eventPosition({ tenantId, eventId })) === position
      ? results
      : undefined
  })

  /** Reads behind an append. If they fail, it is stored all the same, and its outcome is what is unknown. */
  const behindAppend = <A>(
    { prepared, tenantId }: Plan,
    read: Effect.Effect<A, WriteError>
  ): Effect.Effect<A, WriteError> =>
    unknownIfUnavailable(
      storage.inTransaction,
      tenantId,
      prepared.flatMap(({ events }) => events.map(({ row }) => row.eventId)),
      read
    )

  /** The outcome of an append. `again` sends it again, for an earlier command that the log has lost since. */
  const outcomeOf = <A>(
    plan: Plan,
    receipt: Receipt,
    select: Select<A>,
    again: () => Effect.Effect<A, WriteError>
  ): Effect.Effect<A, WriteError> => {
    const { command, prepared, tenantId, versions } = plan
    const [only] = prepared
    if (command !== undefined && only !== undefined) {
      const stream = { tenantId, ...only.append }
      if (receipt.command !== undefined)
        return Effect.flatMap(
          behindAppend(plan, firstOutcome(stream, only.aggregate, command.key, receipt.command)),
          (results) => (results === undefined ? again() : Effect.succeed(select(results)))
        )
      // Not read again: a log that has lost its end since could have another version.
      if (receipt.unchanged !== undefined)
        return Effect.succeed(select([{ ...receipt.unchanged, events: [], replayed: false }]))
    }
    if (receipt.replayed)
      return Effect.flatMap(behindAppend(plan, replayed(plan, receipt)), (results) =>
        results === undefined ? again() : Effect.succeed(select(results))
      )
    const results: Array<Appended<Event.Tagged>> = []
    let first = 0
    for (const { append, events } of prepared) {
      const envelopes: Array<Event.Envelope<Event.Tagged>> = []
      let index = first
      for (const event of events) {
        const envelope = decode.appended(tenantId, append, event, receipt, index++)
        envelopes.push(envelope)
        for (const payload of event.more)
          envelopes.push({
            ...envelope,
            part: event.more.indexOf(payload) + 1,
            eventType: payload._tag,
            payload
          })
      }
      const end = first + events.length
      results.push(appendedOf(envelopes, receipt, first, end, versions[results.length]))
      first = end
    }
    return Effect.succeed(select(results))
  }

  const send = <A>(
    plan: Plan,
    streams: ReadonlyArray<EventStorage.StreamAppend>,
    select: Select<A>,
    losses = 0
  ): Effect.Effect<A, WriteError> => {
    const { command, conditions, exempt, forgotten, tenantId } = plan
    const request = { tenantId, streams, conditions, command, exempt, forgotten }
    return Effect.flatMap(storage.append(request), (receipt) =>
      outcomeOf(plan, receipt, select, () =>
        losses < maxLosses ? send(plan, streams, select, losses + 1) : Effect.fail(lostTooOften())
      )
    )
  }

  /** Only streams with events are written. The expected versions of the others are checked by reading. */
  const sendSome = Effect.fnUntraced(function* <A>(plan: Plan, select: Select<A>) {
    const { conditions = [], prepared, tenantId } = plan
    const versions: Array<number> = []
    const written: Array<EventStorage.StreamAppend> = []
    for (const { append } of prepared) {
      if (append.events.length > 0) written.push(append)
      versions.push(append.events.length > 0 ? 0 : yield* checks.stream(tenantId, append))
    }
    if (written.length > 0) return yield* send({ ...plan, versions }, written, select)
    yield* Effect.forEach(conditions, (condition, index) => checks.condition(tenantId, condition, index), {
      discard: true
    })
    const { position } = yield* storage.head({ tenantId })
    return select(versions.map((version) => ({ version, position, events: [], replayed: false })))
  })

  const write = <A>(
    tenantId: TenantId,
    services: Context.Context<never>,
    streams: ReadonlyArray<StreamEventsOf<Aggregate.Any>>,
    { command, condition: given, forgotten }: Terms,
    select: Select<A>
  ): Effect.Effect<A, WriteError> => {
    const now = wholeMillis(services)
    const context = eventContextOf(services)
    const encoded = encode.streams(streams, { context, now, limits, seals })
    if (Result.isFailure(encoded)) return Effect.fail(encoded.failure)
    const key = command === undefined ? Result.void : checkCommandKey(command.key)
    if (Result.isFailure(key)) return Effect.fail(key.failure)
    const prepared = encoded.success
    const conditions = given === undefined ? undefined : storageConditions(given)
    const exempt = Context.get(services, CurrentExemption)
    const plan: Plan = { tenantId, prepared, versions: noVersions, conditions, command, exempt, forgotten }
    const written = prepared.map(appendOf)
    // A command is recorded even if it has no events.
    return command !== undefined || (written.length > 0 && written.every(hasEvents))
      ? send(plan, written, select)
      : sendSome(plan, select)
  }

  /**
   * Appends to streams of the current tenant. Events without an id get derived ones if a seed is set. No generators here: a
   * small append would spend most of its time in them.
   */
  return <A>(
    services: Context.Context<never>,
    streams: ReadonlyArray<StreamEventsOf<Aggregate.Any>>,
    terms: Terms,
    select: Select<A>
  ): Effect.Effect<A, WriteError> => {
    const tenantId = tenantOf(services)
    const derivedIds = Context.get(services, CurrentDerivedIds)
    if (derivedIds === undefined) return write(tenantId, services, streams, terms, select)
    return deriveIds(
      derivedIds,
      streams,
      // An invalid id is refused when the stream is encoded.
      (stream) => Result.getOrUndefined(storedStream(tenantId, stream)),
      (withIds) => write(tenantId, services, withIds, terms, select)
    )
  }
}

const storageConditions = (given: AppendConditions): ReadonlyArray<EventStorage.AppendCondition> =>
  isList(given) ? given.map(storageCondition) : [storageCondition(given)]

const isList = (given: AppendConditions): given is ReadonlyArray<AppendCondition> => Array.isArray(given)

const storageCondition = ({ query, after = 0 }: AppendCondition): EventStorage.AppendCondition => {
  const { eventId, position } = typeof after === "number" ? { position: after, eventId: undefined } : after
  checkIntegers({ after: position })
  checkEventId({ after: eventId })
  return { query: eventQuery.toStorage(query), after: clampPosition(position), afterEventId: eventId }
}

/**
 * Fails with `OutcomeUnknown` instead of `StorageUnavailable`, for reads behind an append that is stored. In a transaction
 * of the program nothing is stored yet.
 */
export const unknownIfUnavailable = <A, E, R>(
  inTransaction: Effect.Effect<boolean>,
  tenantId: TenantId,
  eventIds: ReadonlyArray<string>,
  read: Effect.Effect<A, E, R>
): Effect.Effect<A, E | OutcomeUnknown, R> =>
  Effect.catchIf(
    read,
    (error) => error instanceof StorageUnavailable,
    (error) =>
      Effect.flatMap(inTransaction, (isOpen) =>
        Effect.fail<E | OutcomeUnknown>(isOpen ? error : new OutcomeUnknown({ tenantId, eventIds }))
      )
  )

/** Refuses a key that cannot be stored. */
export const checkCommandKey = (key: string, aggregateType = ""): Result.Result<void, InvalidCommand> => {
  if (key.length > maxNameLength)
    return Result.fail(
      new InvalidInput({
        reason: new LimitExceeded({
          limit: "idLength",
          subject: "the key of a command",
          maximum: maxNameLength
        })
      })
    )
  const reason = nameProblem(key)
  return reason === undefined
    ? Result.void
    : Result.fail(
        new InvalidInput({
          reason: new InvalidEvent({ aggregateType, eventType: "command", path: ["key"], reason })
        })
      )
}

/** The highest number of a slice, at least `least`. */
const highest = (numbers: ReadonlyArray<number>, from: number, to: number, least: number): number => {
  let found = least
  for (let at = from; at < to; at++) found = Math.max(found, numbers[at] ?? found)
  return found
}

// Defined once, because creating closures for every append would take time.
const appendOf = ({ append }: encode.Prepared): EventStorage.StreamAppend => append
const hasEvents = ({ events }: EventStorage.StreamAppend): boolean => events.length > 0

/** The outcome for one stream. Its events are those from `first` up to `end` (exclusive) in the receipt. */
const appendedOf = (
  events: ReadonlyArray<Event.Envelope<Event.Tagged>>,
  { positions, replayed, versions }: Receipt,
  first: number,
  end: number,
  /** The version of a stream without events. */
  version = 0
): Appended<Event.Tagged> => ({
  // The last version is not always the highest: events of an earlier append may have another order now.
  version: highest(versions, first, end, version),
  // A stream without events has the position of the whole append.
  position: first === end ? highest(positions, 0, positions.length, 0) : highest(positions, first, end, 0),
  events,
  replayed
})
