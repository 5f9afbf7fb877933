/** How a repository carries out commands: load, decide, append, and again if somebody was faster. */
import { Cause, Effect, Exit, Result } from "effect"
import type * as Aggregate from "../domain/Aggregate.ts"
import * as Event from "../domain/Event.ts"
import type { CommandKey, CommandRow } from "../driver/EventStorage.ts"
import type { Appended, EventStore } from "./EventStore.ts"
import {
  type AppendError,
  type ExpectedVersion,
  type Undecodable,
  type InvalidId,
  type InvalidInput,
  type ReadError,
  VersionConflict,
  Conflict,
  EventIdConflict,
  CommandKeyConflict
} from "../driver/StoreError.ts"
import { CurrentTenant } from "../domain/Tenant.ts"
import { CurrentDerivedIds, type Ids, named } from "../domain/derivedIds.ts"
import { isExpected } from "../driver/expectedVersion.ts"
import { aggregateId as encodeId } from "./encode.ts"
import type { Loader } from "./load.ts"
import type { LoadedState } from "./snapshots.ts"

/** A conflict on the stream that a command decides on, told apart from one that `decide` itself fails with. */
export class Outdated {
  readonly _tag = "Outdated"
  readonly conflict: Conflict<VersionConflict>
  constructor(conflict: Conflict<VersionConflict>) {
    this.conflict = conflict
  }
}

const isOutdated = (error: unknown): error is Conflict<VersionConflict> =>
  error instanceof Conflict && error.reason instanceof VersionConflict

/** Whether an append met an event id that is stored with other content, or in another append. */
export const isEventIdConflict = (error: unknown): boolean =>
  error instanceof Conflict && error.reason instanceof EventIdConflict

/** What came of a command. */
export interface Outcome<State, Payload, Type extends string> {
  readonly state: State
  readonly version: number
  readonly events: ReadonlyArray<Event.Envelope<Payload, Type>>
  readonly replayed: boolean
}

/** A command to an aggregate. */
export interface Execution<Type extends string, State, Payload extends Event.Tagged, Id, E, R> {
  readonly aggregate: Aggregate.Aggregate<Type, State, Payload, Id>
  readonly id: Id
  readonly decide: (state: State) => Effect.Effect<ReadonlyArray<Event.Appendable<Payload>>, E, R>
  /** The ids of its events, where ids are derived. */
  readonly ids: Ids | undefined
  /** Under which key it is carried out once. */
  readonly command: CommandKey | undefined
  /** The version that the stream must have to be decided on. */
  readonly expectedVersion: ExpectedVersion
}

/** Whether a decision yields an event that will have a derived id, by which the store knows it again. */
const hasUnnamed = (events: ReadonlyArray<Event.Appendable<Event.Tagged>>): boolean =>
  events.some((event) => !(event instanceof Event.NewEvent) || event.options.eventId === undefined)

/** The ids of the next command to an aggregate, where ids are derived. */
export const nextIds = Effect.fnUntraced(function* <
  Type extends string,
  State,
  Payload extends Event.Tagged,
  Id
>(aggregate: Aggregate.Aggregate<Type, State, Payload, Id>, id: Id) {
  const derivedIds = yield* CurrentDerivedIds
  if (derivedIds === undefined) return undefined
  const tenantId = yield* CurrentTenant
  const aggregateId = yield* Effect.fromResult(encodeId(aggregate, id))
  return yield* derivedIds.next({ tenantId, aggregateType: aggregate.type, aggregateId })
})

export const makeExecutor = (store: EventStore["Service"], loader: Loader) => {
  /** The outcome of a command that was carried out before, whatever has happened since. */
  const firstOutcome = Effect.fnUntraced(function* <
    Type extends string,
    State,
    Payload extends Event.Tagged,
    Id
  >(aggregate: Aggregate.Aggregate<Type, State, Payload, Id>, id: Id, row: CommandRow) {
    const events: Array<Event.Envelope<Payload, Type>> = []
    const first = row.version - row.events + 1
    const { state, version } = yield* loader.load(aggregate, id, {
      toVersion: row.version,
      inspectFrom: first,
      inspect: (envelope) => void (envelope.version >= first && events.push(envelope))
    })
    return { state, version, events, replayed: true }
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

  /** What a command comes to that found the stream as it is known. */
  const settle = Effect.fnUntraced(function* <Type extends string, State, Payload extends Event.Tagged, Id>(
    aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
    id: Id,
    known: LoadedState<State>,
    appended: Appended<Payload, Type>
  ) {
    const { events, replayed } = appended
    const last = events.at(-1)
    if (appended.command !== undefined) {
      // Somebody else has just carried it out: no less is known than what that was decided on.
      return known.version > appended.command.version
        ? yield* firstOutcome(aggregate, id, appended.command)
        : {
            ...stateOf(yield* loader.readOn(aggregate, id, known, { toVersion: appended.command.version })),
            events,
            replayed: true
          }
    }
    // Events that had been appended before may lie anywhere in the stream.
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

  /**
   * An attempt at a time: each goes on from what the one before it has read, and fails with `Outdated` if somebody
   * appended in between.
   */
  const attempts = <Type extends string, State, Payload extends Event.Tagged, Id, E, R>({
    aggregate,
    command,
    decide,
    expectedVersion,
    id,
    ids
  }: Execution<Type, State, Payload, Id, E, R>): Effect.Effect<
    Outcome<State, Payload, Type>,
    E | Outdated | AppendError | ReadError | Undecodable | InvalidInput,
    R | CurrentTenant
  > => {
    let known: LoadedState<State> | undefined
    /** The events that this command appended when it was carried out before, by their derived ids. */
    let done: Array<Event.Envelope<Payload, Type>> = []
    let wanted = ids?.at(0)
    let found = 0
    const inspect = (envelope: Event.Envelope<Payload, Type>): void => {
      if (envelope.eventId === wanted) wanted = ids?.at(++found)
      // another part of the one before
      else if (done.at(-1)?.eventId !== envelope.eventId) return
      done.push(envelope)
    }

    /** Looks for those events before the snapshot that was begun with, too. */
    const search = Effect.suspend(() => {
      done = []
      found = 0
      wanted = ids?.at(0)
      return Effect.map(loader.load(aggregate, id, { inspectFrom: 1, inspect }), (all) => {
        known = all
        return done.length === 0 ? undefined : { ...stateOf(all), events: done, replayed: true }
      })
    })

    return Effect.gen(function* () {
      const extent = ids === undefined ? {} : { inspect }
      known =
        known === undefined
          ? yield* loader.load(aggregate, id, extent)
          : yield* loader.readOn(aggregate, id, known, extent)
      if (done.length > 0) return { ...stateOf(known), events: done, replayed: true }
      const { snapshotVersion, state, version } = known
      const isSearched = ids === undefined || snapshotVersion === 0
      const decision: Effect.Effect<
        ReadonlyArray<Event.Appendable<Payload>>,
        E | Conflict<VersionConflict> | InvalidId,
        R | CurrentTenant
      > = isExpected(expectedVersion, version)
        ? Effect.suspend(() => decide(state))
        : unexpected(aggregate, id, expectedVersion, version)
      const decided = yield* Effect.exit(decision)
      if (
        !isSearched &&
        (Exit.isFailure(decided) ? !Cause.hasInterrupts(decided.cause) : !hasUnnamed(decided.value))
      ) {
        // Only events with derived ids could tell that it was carried out before.
        const before = yield* search
        if (before !== undefined) return before
      }
      const events = yield* decided
      if (events.length === 0 && command === undefined) {
        yield* loader.consider(aggregate, id, known, 0)
        return { state, version, events: [], replayed: false }
      }
      const append = store
        .append({
          aggregate,
          id,
          events: ids === undefined ? events : named(events, ids),
          expectedVersion: version,
          command
        })
        .pipe(Effect.catchIf(isOutdated, (conflict) => Effect.fail(new Outdated(conflict))))
      if (isSearched) return yield* settle(aggregate, id, known, yield* append)
      const appended = yield* Effect.result(append)
      if (
        Result.isFailure(appended)
          ? isEventIdConflict(appended.failure)
          : appended.success.replayed && appended.success.command === undefined
      ) {
        // It was, and has decided otherwise now, or less.
        const before = yield* search
        if (before !== undefined) return before
      }
      return yield* settle(aggregate, id, known, yield* Effect.fromResult(appended))
    })
  }

  return { attempts, carriedOut }
}

/** Fails as an append with that expectation would. */
const unexpected = Effect.fnUntraced(function* <Type extends string, State, Payload extends Event.Tagged, Id>(
  aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
  id: Id,
  expected: ExpectedVersion,
  actual: number
) {
  return yield* new Conflict({
    reason: new VersionConflict({
      tenantId: yield* CurrentTenant,
      aggregateType: aggregate.type,
      aggregateId: yield* Effect.fromResult(encodeId(aggregate, id)),
      expected,
      actual
    })
  })
})

const stateOf = <State>({ state, version }: LoadedState<State>) => ({ state, version })
