/** Decisions on one stream: the commands of a repository. */
import { Effect } from "effect"
import type * as Aggregate from "../domain/Aggregate.ts"
import type * as Event from "../domain/Event.ts"
import type { CommandKey, CommandRow } from "../driver/EventStorage.ts"
import type { Appended, AppendFailure, EventStore } from "./EventStore.ts"
import { type ExpectedVersion, VersionConflict, Conflict, CommandKeyConflict } from "../driver/StoreError.ts"
import { CurrentTenant } from "../domain/Tenant.ts"
import { assignIds, hasId, type Ids } from "../domain/derivedIds.ts"
import { isExpected } from "../driver/expectedVersion.ts"
import { aggregateId as encodeId } from "./encode.ts"
import type { Subject } from "./decide.ts"
import type { Loader } from "./load.ts"
import { initially, type LoadedState } from "./snapshots.ts"

const isOutdated = (error: unknown): error is Conflict<VersionConflict> =>
  error instanceof Conflict && error.reason instanceof VersionConflict

/** The outcome of a command. */
export interface Outcome<State, Payload, Type extends string> {
  readonly state: State
  readonly version: number
  readonly eventId: Event.EventId | undefined
  readonly events: ReadonlyArray<Event.Envelope<Payload, Type>>
  readonly replayed: boolean
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
}

type Failure = AppendFailure<undefined, CommandKey>

export const makeStreamDecisions = (store: EventStore["Service"], loader: Loader) => {
  /** The outcome of an earlier command, with the state right after it. */
  const firstOutcome = Effect.fnUntraced(function* <
    Type extends string,
    State,
    Payload extends Event.Tagged,
    Id
  >(aggregate: Aggregate.Aggregate<Type, State, Payload, Id>, id: Id, row: CommandRow) {
    const events: Array<Event.Envelope<Payload, Type>> = []
    const first = row.version - row.events + 1
    const known = yield* loader.load(aggregate, id, {
      toVersion: row.version,
      inspectFrom: first,
      inspect: (envelope) => void (envelope.version >= first && events.push(envelope))
    })
    return { ...stateOf(known), events, replayed: true }
  })

  /** The outcome of the command with the same key, if it was carried out before. */
  const carriedOut = Effect.fnUntraced(function* <
    Type extends string,
    State,
    Payload extends Event.Tagged,
    Id
  >(aggregate: Aggregate.Aggregate<Type, State, Payload, Id>, id: Id, { fingerprint, key }: CommandKey) {
    const row = yield* store.commandOutcome(key)
    if (row === undefined) return undefined
    if (row.fingerprint === fingerprint) return yield* firstOutcome(aggregate, id, row)
    return yield* new Conflict({ reason: new CommandKeyConflict({ tenantId: yield* CurrentTenant, key }) })
  })

  /** The outcome of a command whose append succeeded on the known state. */
  const outcomeOf = Effect.fnUntraced(function* <
    Type extends string,
    State,
    Payload extends Event.Tagged,
    Id
  >(
    aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
    id: Id,
    known: LoadedState<State>,
    appended: Appended<Payload, Type>
  ) {
    const { events, replayed } = appended
    const last = events.at(-1)
    if (appended.command !== undefined) {
      // Another caller carried out the same command. Its events may lie before or after the known state.
      return known.version > appended.command.version
        ? yield* firstOutcome(aggregate, id, appended.command)
        : {
            ...stateOf(yield* loader.readOn(aggregate, id, known, { toVersion: appended.command.version })),
            events,
            replayed: true
          }
    }
    // Events of an earlier append may lie anywhere in the stream, so the newest state is read.
    if (replayed) return { ...stateOf(yield* loader.readOn(aggregate, id, known, {})), events, replayed }
    const next: LoadedState<State> =
      last === undefined
        ? known
        : {
            ...known,
            state: aggregate.fold(
              events.map(({ payload }) => payload),
              known.state
            ),
            version: last.version,
            place: {
              version: last.version,
              position: last.position,
              eventId: last.eventId,
              recordedAt: last.recordedAt.epochMilliseconds
            }
          }
    yield* loader.consider(aggregate, id, next, events.length)
    return { ...stateOf(next), events, replayed }
  })

  /** The decision of one command. */
  const subject = <Type extends string, State, Payload extends Event.Tagged, Id>({
    aggregate,
    command,
    expectedEventId,
    expectedVersion,
    id,
    ids
  }: StreamCommand<Type, State, Payload, Id>): Subject<
    State,
    ReadonlyArray<Event.Appendable<Payload>>,
    Appended<Payload, Type>,
    Outcome<State, Payload, Type>,
    Failure,
    Conflict<VersionConflict>
  > => {
    /** The state that `decide` gets. */
    let basis: LoadedState<State> | undefined
    /** The newest state that was read. */
    let known = initially(aggregate.initial)
    /** The events of an earlier run of this command, found by their derived ids. */
    let done: Array<Event.Envelope<Payload, Type>> = []
    let nextId = ids?.at(0)
    let found = 0
    const inspect = (envelope: Event.Envelope<Payload, Type>): void => {
      if (envelope.eventId === nextId) nextId = ids?.at(++found)
      // A part of the previous event, which an upcaster split, is kept too.
      else if (done.at(-1)?.eventId !== envelope.eventId) return
      done.push(envelope)
    }
    const range = ids === undefined ? {} : { inspect }
    const isBehindSnapshot = (): boolean => (basis?.snapshotVersion ?? 0) > 0

    /** Searches the whole stream for those events, also before the snapshot that the load started from. */
    const search = Effect.suspend(() => {
      done = []
      found = 0
      nextId = ids?.at(0)
      return Effect.map(loader.load(aggregate, id, { inspectFrom: 1, inspect }), (all) => {
        known = all
        return done.length === 0 ? undefined : { ...stateOf(all), events: done, replayed: true }
      })
    })

    return {
      read: Effect.suspend(() =>
        Effect.map(
          basis === undefined
            ? loader.load(aggregate, id, range)
            : loader.readOn(aggregate, id, known, range),
          (read) => {
            basis = known = read
            return read.state
          }
        )
      ),
      found: () =>
        done.length === 0 ? undefined : Effect.succeed({ ...stateOf(known), events: done, replayed: true }),
      check:
        expectedVersion === "any" && expectedEventId === undefined
          ? undefined
          : () =>
              isExpected(expectedVersion, known.version) &&
              (expectedEventId === undefined || known.place?.eventId === expectedEventId)
                ? Effect.void
                : unexpected(aggregate, id, { expectedEventId, expectedVersion }, known),
      mayBeHidden: isBehindSnapshot,
      search: () => search,
      hasDerivedId: (events) => !events.every(hasId),
      append: (events) =>
        events.length === 0 && command === undefined
          ? undefined
          : store.append({
              aggregate,
              id,
              events: ids === undefined ? events : assignIds(events, ids),
              expectedVersion: basis?.version ?? 0,
              expectedEventId,
              command
            }),
      unchanged: () => {
        return Effect.as(loader.consider(aggregate, id, known, 0), {
          ...stateOf(basis ?? known),
          events: [],
          replayed: false
        })
      },
      outcomeOf: (appended) => {
        const outcome = Effect.suspend(() => outcomeOf(aggregate, id, known, appended))
        // The earlier run may have decided other or more events, which lie before the snapshot.
        return ids !== undefined && isBehindSnapshot() && appended.replayed && appended.command === undefined
          ? Effect.flatMap(search, (before) => (before === undefined ? outcome : Effect.succeed(before)))
          : outcome
      },
      isOutdated
    }
  }

  return { subject, carriedOut }
}

/** The error that an append with that expected version would raise. */
const unexpected = Effect.fnUntraced(function* <Type extends string, State, Payload extends Event.Tagged, Id>(
  aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
  id: Id,
  {
    expectedEventId,
    expectedVersion
  }: Pick<StreamCommand<Type, State, Payload, Id>, "expectedEventId" | "expectedVersion">,
  { place, version }: LoadedState<State>
) {
  return yield* new Conflict({
    reason: new VersionConflict({
      tenantId: yield* CurrentTenant,
      aggregateType: aggregate.type,
      aggregateId: yield* Effect.fromResult(encodeId(aggregate, id)),
      expected: expectedVersion,
      actual: version,
      ...(expectedEventId === undefined ? {} : { expectedEventId, actualEventId: place?.eventId ?? null })
    })
  })
})

/** A loaded state for a caller. */
export const stateOf = <State>({
  place,
  state,
  version
}: LoadedState<State>): {
  readonly state: State
  readonly version: number
  readonly eventId: Event.EventId | undefined
} => ({
  state,
  version,
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what is stored as the id of an event is one
  eventId: place?.eventId as Event.EventId | undefined
})
