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
import { aggregateId as encodeId, weightOf } from "./encode.ts"
import type { Subject } from "./decide.ts"
import type { Loader } from "./load.ts"
import type { Slot } from "./rememberedStates.ts"
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
    appended: Appended<Payload, Type>,
    weight: number,
    slot: Slot<State>
  ) {
    const { events, replayed } = appended
    const last = events.at(-1)
    if (appended.command !== undefined) {
      // Another caller carried out the same command. Its events may lie before or after the known state.
      return known.version > appended.command.version
        ? yield* firstOutcome(aggregate, id, appended.command)
        : {
            ...stateOf(
              yield* loader.readOnOrLoad(aggregate, id, known, slot, { toVersion: appended.command.version })
            ),
            events,
            replayed: true
          }
    }
    // Events of an earlier append may lie anywhere in the stream, so the newest state is read.
    if (replayed)
      return { ...stateOf(yield* loader.readOnOrLoad(aggregate, id, known, slot)), events, replayed }
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
            weight: known.weight + weight,
            place: {
              version: last.version,
              position: last.position,
              eventId: last.eventId,
              recordedAt: last.recordedAt.epochMilliseconds
            }
          }
    slot.keep(next)
    yield* loader.consider(aggregate, id, next, events.length, slot)
    return { ...stateOf(next), events, replayed }
  })

  /** The decision of one command. */
  const subject = <Type extends string, State, Payload extends Event.Tagged, Id>({
    aggregate,
    command,
    expectedEventId,
    expectedVersion,
    id,
    ids,
    slot
  }: StreamCommand<Type, State, Payload, Id>): Subject<
    State,
    ReadonlyArray<Event.Appendable<Payload>>,
    Written<Payload, Type>,
    Outcome<State, Payload, Type>,
    Failure,
    Conflict<VersionConflict>
  > => {
    /** The state that `decide` gets. */
    let basis: LoadedState<State> | undefined
    /** The version of the remembered state that the decision began with; 0: it began with a load. */
    let recalledVersion = 0
    let confirmed = false
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
    const restart = (): void => {
      done = []
      found = 0
      nextId = ids?.at(0)
      recalledVersion = 0
    }
    const mayBeHidden = (): boolean => recalledVersion > 0 || (basis?.snapshotVersion ?? 0) > 0
    const confirm = (read: LoadedState<State>): State => {
      if (recalledVersion > 0 && !confirmed && read.version > recalledVersion) slot.outdated()
      confirmed = true
      basis = known = read
      slot.keep(read)
      return read.state
    }

    /** Searches the whole stream for those events, also before the snapshot or remembered state that it began with. */
    const search = Effect.suspend(() => {
      const recalled = recalledVersion
      restart()
      recalledVersion = recalled
      return Effect.map(loader.load(aggregate, id, { inspectFrom: 1, inspect }), (all) => {
        known = all
        return done.length === 0 ? undefined : { ...stateOf(all), events: done, replayed: true }
      })
    })

    return {
      read: Effect.suspend(() => {
        if (basis !== undefined)
          return Effect.map(loader.readOnOrLoad(aggregate, id, known, slot, range, restart), confirm)
        const recalled = slot.recall()
        if (recalled === undefined) return Effect.map(loader.load(aggregate, id, range), confirm)
        basis = known = recalled
        recalledVersion = recalled.version
        return Effect.succeed(recalled.state)
      }),
      isConfirmed: () => confirmed,
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
                  store.append({ aggregate, id, events: encoded, command, ...expectedOf(basis) }),
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
      outcomeOf: ({ appended, weight }) => {
        const outcome = Effect.suspend(() => outcomeOf(aggregate, id, known, appended, weight, slot))
        // The earlier run may have decided other or more events, which lie before the state that this one began with.
        return ids !== undefined && mayBeHidden() && appended.replayed && appended.command === undefined
          ? Effect.flatMap(search, (before) => (before === undefined ? outcome : Effect.succeed(before)))
          : outcome
      },
      isOutdated
    }
  }

  return { subject, carriedOut }
}

/** The expectation of an append that was decided on a state: its version, and the event with that version. */
export const expectedOf = (
  basis: LoadedState<unknown> | undefined
): { readonly expectedVersion: number; readonly expectedEventId?: Event.EventId } =>
  basis?.place === undefined
    ? { expectedVersion: 0 }
    : {
        expectedVersion: basis.version,
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what is stored as the id of an event is one
        expectedEventId: basis.place.eventId as Event.EventId
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
