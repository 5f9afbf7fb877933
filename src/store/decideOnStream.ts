/** Decisions on one stream: the commands of a repository. */
import { Effect } from "effect"
import type * as Aggregate from "../domain/Aggregate.ts"
import type * as Event from "../domain/Event.ts"
import type { CommandKey, CommandRow, EventPlace } from "../driver/EventStorage.ts"
import type { Appended, AppendFailure, EventStore } from "./EventStore.ts"
import { type ExpectedVersion, VersionConflict, Conflict, CommandKeyConflict } from "../driver/StoreError.ts"
import { CurrentTenant } from "../domain/Tenant.ts"
import { assignIds, hasId, type Ids } from "../domain/derivedIds.ts"
import { isExpected } from "../driver/expectedVersion.ts"
import type { Contention } from "./contention.ts"
import { aggregateId as encodeId, weightOf } from "./encode.ts"
import { unknownIfUnavailable } from "./append.ts"
import type { Subject } from "./decide.ts"
import { isForgotten } from "./forgottenNumber.ts"
import type { Loader } from "./load.ts"
import { isKept, lostTooOften, maxLosses } from "./lostEnd.ts"
import type { Recalled, Slot } from "./rememberedStates.ts"
import { eventIdOf, initially, type LoadedState } from "./snapshots.ts"

/** The refusal of a number of forgotten subjects is not among the typed errors of an append. The state is loaded anew then. */
export const isOutdated = (error: unknown): error is Conflict<VersionConflict> =>
  error instanceof Conflict && (error.reason instanceof VersionConflict || isForgotten(error))

/** The outcome of a command. */
export interface Outcome<State, Payload, Type extends string> {
  readonly state: State
  readonly version: number
  readonly eventId: Event.EventId | undefined
  readonly events: ReadonlyArray<Event.Envelope<Payload, Type>>
  readonly replayed: boolean
}

/** Events that were appended. */
export interface Written<Payload, Type extends string> {
  readonly appended: Appended<Payload, Type>
  /** Their payloads, in characters of JSON. */
  readonly weight: number
}

/** A command to an aggregate. */
export interface StreamCommand<Type extends string, State, Payload extends Event.Tagged, Id> {
  readonly aggregate: Aggregate.Aggregate<Type, State, Payload, Id>
  readonly id: Id
  /** The ids for its events, if a seed is set to derive them from. */
  readonly ids: Ids | undefined
  /** The key under which it is carried out only once. */
  readonly command: CommandKey | undefined
  /** The version that the stream must have. */
  readonly expectedVersion: ExpectedVersion
  /** The event that the stream must have at that version. */
  readonly expectedEventId: Event.EventId | undefined
  /** The place of the aggregate's state in the memory. */
  readonly slot: Slot<State>
}

type Failure = AppendFailure<undefined, CommandKey>

export const makeStreamDecisions = (store: EventStore["Service"], loader: Loader, contention: Contention) => {
  /** An outcome that was read for the row of a key; undefined if the log has lost the command meanwhile. */
  const ifKept = <A extends { readonly version: number }>(key: string, row: CommandRow, outcome: A) =>
    outcome.version === row.version
      ? Effect.map(store.commandOutcome(key), (now) => (isKept(row, now) ? outcome : undefined))
      : Effect.undefined

  /** The outcome of an earlier command, with the state right after it; undefined if the log has lost it meanwhile. */
  const firstOutcome = Effect.fnUntraced(function* <
    Type extends string,
    State,
    Payload extends Event.Tagged,
    Id
  >(aggregate: Aggregate.Aggregate<Type, State, Payload, Id>, id: Id, key: string, row: CommandRow) {
    const events: Array<Event.Envelope<Payload, Type>> = []
    const first = row.version - row.events + 1
    const known = yield* loader.load(aggregate, id, {
      toVersion: row.version,
      inspectFrom: first,
      inspect: (envelope) => void (envelope.version >= first && events.push(envelope))
    })
    return yield* ifKept(key, row, { ...stateOf(known), events, replayed: true })
  })

  const outcomeBefore = Effect.fnUntraced(function* <
    Type extends string,
    State,
    Payload extends Event.Tagged,
    Id
  >(
    aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
    id: Id,
    { fingerprint, key }: CommandKey,
    found: CommandRow
  ) {
    let row: CommandRow | undefined = found
    for (let losses = 0; losses <= maxLosses; losses++) {
      if (losses > 0) row = yield* store.commandOutcome(key)
      if (row === undefined) return undefined
      if (row.fingerprint !== fingerprint)
        return yield* new Conflict({
          reason: new CommandKeyConflict({ tenantId: yield* CurrentTenant, key })
        })
      const outcome = yield* firstOutcome(aggregate, id, key, row)
      if (outcome !== undefined) return outcome
    }
    return yield* lostTooOften()
  })

  /** The outcome of the command with the same key, if it was carried out before. */
  const carriedOut = <Type extends string, State, Payload extends Event.Tagged, Id>(
    aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
    id: Id,
    command: CommandKey
  ): Effect.Effect<Outcome<State, Payload, Type> | undefined, Failure, CurrentTenant> =>
    Effect.flatMap(store.commandOutcome(command.key), (row) =>
      row === undefined ? Effect.undefined : outcomeBefore(aggregate, id, command, row)
    )

  /** The outcome of a command whose append succeeded on the known state; undefined if the log has lost what the append found. */
  const outcomeOf = Effect.fnUntraced(function* <
    Type extends string,
    State,
    Payload extends Event.Tagged,
    Id
  >(
    { aggregate, command, id, slot }: StreamCommand<Type, State, Payload, Id>,
    known: LoadedState<State>,
    { appended, weight }: Written<Payload, Type>
  ) {
    const { command: row, events, replayed } = appended
    const last = events.at(-1)
    if (row !== undefined && command !== undefined) {
      // Another caller carried out the same command. Its events may lie before or after the known state.
      if (known.version > row.version) return yield* firstOutcome(aggregate, id, command.key, row)
      const read = yield* loader.readOnOrLoad(aggregate, id, known, slot, { toVersion: row.version })
      // Otherwise the log has lost its end in between, even if its other history has the same command at this place.
      return row.events === 0 || last?.eventId === read.place?.eventId
        ? yield* ifKept(command.key, row, { ...stateOf(read), events, replayed: true })
        : yield* firstOutcome(aggregate, id, command.key, row)
    }
    // Events of an earlier append may lie anywhere in the stream, so the newest state is read.
    if (replayed)
      return { ...stateOf(yield* loader.readOnOrLoad(aggregate, id, known, slot)), events, replayed }
    const next = advanced(aggregate, known, events, weight)
    slot.keep(next)
    yield* loader.consider(aggregate, id, next, events.length, slot)
    return { ...stateOf(next), events, replayed }
  })

  /** Searches the whole stream for the events of an earlier run with derived ids, also before a snapshot or remembered state. */
  const searchAll = <Type extends string, State, Payload extends Event.Tagged, Id>({
    aggregate,
    id,
    ids
  }: StreamCommand<Type, State, Payload, Id>): Effect.Effect<
    Outcome<State, Payload, Type> | undefined,
    Failure,
    CurrentTenant
  > =>
    Effect.suspend(() => {
      const { events, inspect } = makeFinder<Payload, Type>(ids)
      return Effect.map(loader.load(aggregate, id, { inspectFrom: 1, inspect }), (all) =>
        events.length === 0 ? undefined : { ...stateOf(all), events, replayed: true }
      )
    })

  /** The outcome of an append that found its events, or its command, in the store; undefined if the log has lost the command since. */
  const replayed = <Type extends string, State, Payload extends Event.Tagged, Id>(
    wanted: StreamCommand<Type, State, Payload, Id>,
    known: LoadedState<State>,
    written: Written<Payload, Type>,
    mayBeHidden = true
  ): Effect.Effect<Outcome<State, Payload, Type> | undefined, Failure, CurrentTenant> => {
    const { ids } = wanted
    const { appended } = written
    const outcome = Effect.suspend(() => outcomeOf(wanted, known, written))
    const read =
      // The earlier run may have decided other or more events, which lie before the state that this one began with.
      ids !== undefined && mayBeHidden && appended.command === undefined
        ? Effect.flatMap(searchAll(wanted), (before) =>
            before === undefined ? outcome : Effect.succeed(before)
          )
        : outcome
    return Effect.flatMap(CurrentTenant, (tenantId) =>
      unknownIfUnavailable(
        store.inTransaction,
        tenantId,
        appended.events.map(({ eventId }) => eventId),
        read
      )
    )
  }

  /** The decision of one command, on the recalled state if it is given. */
  const subject = <Type extends string, State, Payload extends Event.Tagged, Id>(
    wanted: StreamCommand<Type, State, Payload, Id>,
    recalled?: Recalled<State>
  ): Subject<
    State,
    ReadonlyArray<Event.Appendable<Payload>>,
    Written<Payload, Type>,
    Outcome<State, Payload, Type>,
    Failure,
    Conflict<VersionConflict>
  > => {
    const { aggregate, command, expectedEventId, expectedVersion, id, ids, slot } = wanted
    /** The state that `decide` gets. */
    let basis: LoadedState<State> | undefined
    /** The version of the remembered state that the decision began with; 0: it began with a load. */
    let recalledVersion = 0
    let confirmed = false
    let mayBePresent = recalled?.is !== "outdated"
    /** The newest state that was read. */
    let known = initially(aggregate.initial)
    /** Finds the events of an earlier run of this command by their derived ids. */
    let before = makeFinder<Payload, Type>(ids)
    const inspect = (envelope: Event.Envelope<Payload, Type>): void => before.inspect(envelope)
    const range = ids === undefined ? {} : { inspect }
    const restart = (): void => {
      before = makeFinder(ids)
      recalledVersion = 0
    }
    const mayBeHidden = (): boolean => recalledVersion > 0 || (basis?.snapshotVersion ?? 0) > 0
    const confirmAs = (read: LoadedState<State>): State => {
      if (recalledVersion > 0 && !confirmed && read.version > recalledVersion) slot.outdated()
      confirmed = true
      basis = known = read
      slot.keep(read)
      return read.state
    }

    const search = Effect.suspend(() => searchAll(wanted))

    return {
      read: Effect.suspend(() => {
        if (basis !== undefined)
          return Effect.map(loader.readOnOrLoad(aggregate, id, known, slot, range, restart), confirmAs)
        if (recalled?.is === "confirmed") return Effect.succeed(confirmAs(recalled.known))
        const found = recalled?.known ?? slot.recall()
        if (found === undefined) return Effect.map(loader.load(aggregate, id, range), confirmAs)
        basis = known = found
        recalledVersion = found.version
        return recalled?.is === "outdated"
          ? Effect.map(loader.readOnOrLoad(aggregate, id, known, slot, range, restart), confirmAs)
          : Effect.succeed(found.state)
      }),
      isConfirmed: () => confirmed,
      isPresent:
        // An earlier run would have to be searched for again.
        ids === undefined
          ? Effect.suspend(() =>
              mayBePresent
                ? Effect.map(loader.isPresent(aggregate, id, known), (isPresent) => {
                    mayBePresent = confirmed = isPresent
                    return isPresent
                  })
                : Effect.succeed(false)
            )
          : undefined,
      carriedOut: command === undefined ? undefined : carriedOut(aggregate, id, command),
      isKept: Effect.suspend(() => loader.isKept(aggregate, id, known)),
      found: () =>
        before.events.length === 0
          ? undefined
          : Effect.succeed({ ...stateOf(known), events: before.events, replayed: true }),
      check:
        expectedVersion === "any" && expectedEventId === undefined
          ? undefined
          : () =>
              isExpected(expectedVersion, known.version) &&
              (expectedEventId === undefined || known.place?.eventId === expectedEventId)
                ? Effect.void
                : unexpected(wanted, stateOf(known)),
      mayBeHidden,
      search: () => search,
      hasDerivedId: (events) => !events.every(hasId),
      append: (events) =>
        events.length === 0 && command === undefined
          ? undefined
          : Effect.flatMap(
              store.encode({ aggregate, id, events: ids === undefined ? events : assignIds(events, ids) }),
              (encoded) =>
                Effect.map(
                  store.append({
                    aggregate,
                    id,
                    events: encoded,
                    command,
                    forgotten: (basis ?? known).forgotten,
                    ...expectedOf(stateOf(basis ?? known))
                  }),
                  (appended) => ({ appended, weight: weightOf(encoded) })
                )
            ),
      unchanged: () => {
        return Effect.as(loader.consider(aggregate, id, known, 0, slot), {
          ...stateOf(basis ?? known),
          events: [],
          replayed: false
        })
      },
      outcomeOf: (written) =>
        Effect.suspend(() =>
          written.appended.replayed
            ? replayed(wanted, known, written, mayBeHidden())
            : outcomeOf(wanted, known, written)
        ),
      isOutdated,
      lost: () => {
        if (slot.line !== undefined) contention.lost(slot.line, true)
      }
    }
  }

  return { subject, carriedOut, replayed }
}

/** The decisions on streams of a repository. */
export type StreamDecisions = ReturnType<typeof makeStreamDecisions>

/** Collects the events with derived ids, which are consecutive. */
const makeFinder = <Payload, Type extends string>(ids: Ids | undefined) => {
  const events: Array<Event.Envelope<Payload, Type>> = []
  let nextId = ids?.at(0)
  let found = 0
  return {
    events,
    inspect: (envelope: Event.Envelope<Payload, Type>): void => {
      if (envelope.eventId === nextId) nextId = ids?.at(++found)
      // A part of the previous event, which an upcaster split, is kept too.
      else if (events.at(-1)?.eventId !== envelope.eventId) return
      events.push(envelope)
    }
  }
}

/** A place in a stream: its version, and the event with that version. */
interface Reached {
  readonly version: number
  readonly eventId: Event.EventId | undefined
}

/** The expectation of an append that was decided on a state. */
export const expectedOf = ({
  eventId,
  version
}: Reached): { readonly expectedVersion: number; readonly expectedEventId?: Event.EventId } =>
  eventId === undefined
    ? { expectedVersion: version }
    : { expectedVersion: version, expectedEventId: eventId }

/** The error that an append with the expectation of a command would raise. */
export const unexpected = Effect.fnUntraced(function* <
  Type extends string,
  State,
  Payload extends Event.Tagged,
  Id
>(
  { aggregate, expectedEventId, expectedVersion, id }: StreamCommand<Type, State, Payload, Id>,
  { eventId, version }: Reached
) {
  return yield* new Conflict({
    reason: new VersionConflict({
      tenantId: yield* CurrentTenant,
      aggregateType: aggregate.type,
      aggregateId: yield* Effect.fromResult(encodeId(aggregate, id)),
      expected: expectedVersion,
      actual: version,
      ...(expectedEventId === undefined ? {} : { expectedEventId, actualEventId: eventId ?? null })
    })
  })
})

/** The place of an appended event. */
export const placeOf = ({ eventId, position, recordedAt, version }: Event.Envelope<unknown>): EventPlace => ({
  version,
  position,
  eventId,
  recordedAt: recordedAt.epochMilliseconds
})

/** A loaded state for a caller. */
export const stateOf = <State>(
  known: LoadedState<State>
): {
  readonly state: State
  readonly version: number
  readonly eventId: Event.EventId | undefined
} => ({ state: known.state, version: known.version, eventId: eventIdOf(known) })

/** The state after events that were appended to it. */
export const advanced = <Type extends string, State, Payload extends Event.Tagged, Id>(
  aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
  known: LoadedState<State>,
  events: ReadonlyArray<Event.Envelope<Payload, Type>>,
  /** Their payloads, in characters of JSON. */
  weight: number
): LoadedState<State> => {
  const last = events.at(-1)
  if (last === undefined) return known
  let { state } = known
  for (const { payload } of events) state = aggregate.apply(state, payload)
  return {
    state,
    version: last.version,
    place: placeOf(last),
    snapshotVersion: known.snapshotVersion,
    weight: known.weight + weight,
    unusable: known.unusable,
    forgotten: known.forgotten
  }
}
