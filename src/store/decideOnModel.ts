/** Decisions on a model of a tenant's log: the append is refused if another event of the model was appended meanwhile. */
import { Cause, Effect, Exit, Result, Stream } from "effect"
import type * as Aggregate from "../domain/Aggregate.ts"
import type * as DecisionModel from "../domain/DecisionModel.ts"
import type * as Event from "../domain/Event.ts"
import type * as EventStore from "./EventStore.ts"
import type { Subject } from "./decide.ts"
import { makeFinder } from "./priorDecision.ts"
import { isForgotten, isStillAt, numbered } from "./forgottenNumber.ts"
import { mayBePersonal } from "./snapshotCodec.ts"
import { assignIds, hasId, type Ids } from "../domain/derivedIds.ts"
import { aggregateId as encodeId } from "./encode.ts"
import * as eventQuery from "./queryTerms.ts"
import {
  AppendConditionFailed,
  EventIdConflict,
  type PositionDiverged,
  type InvalidInput,
  Conflict
} from "../driver/StoreError.ts"

/** Decided events and the stream that they are for. See `Decisions.to`. */
export interface Decided<Type extends string, Payload extends Event.Tagged> {
  readonly aggregate: Aggregate.Aggregate<Type, unknown, Payload, unknown>
  readonly id: unknown
  readonly events: ReadonlyArray<Event.Appendable<Payload>>
}

/** Decided events of any aggregate. */
export type AnyDecided = Decided<string, Event.Tagged>

/** The outcome of a decision: events for one stream or for several. Nothing is appended for an empty list. */
export type Outcome = AnyDecided | ReadonlyArray<AnyDecided>

/** The state of a decision model, which contains all matching events up to a position. */
export interface ModelState<out State> {
  readonly state: State
  /** The last position of the tenant's log that was considered; 0 if the log was empty. */
  readonly position: number
  /**
   * The same position with the id of its event, for the `after` of a condition. An append is then refused if the log was
   * replaced since (restored, or rewritten after a failover).
   */
  readonly after: number | Event.Position
}

/** A state that was read, with the number of forgotten subjects on which it relies. */
interface Read<out State> extends ModelState<State> {
  readonly forgotten?: number | undefined
}

/** The state of a model before the first event. */
export const initialOf = <State>({ initial }: DecisionModel.DecisionModel<State>): ModelState<State> => ({
  state: initial,
  position: 0,
  after: 0
})

/** The log was replaced after it had been read, so the model must be read from the beginning. */
export class LogReplaced {
  readonly error: PositionDiverged
  constructor(error: PositionDiverged) {
    this.error = error
  }
}

/** Marks the outcome of an earlier run that the log has lost while it was read. */
export class Lost {
  readonly _tag = "Lost"
}
const lost = new Lost()

/** The outcome of a decision on a model. */
export interface Executed<State> extends ModelState<State> {
  readonly events: ReadonlyArray<Event.Envelope<Event.Tagged>>
  readonly replayed: boolean
}

type Appended = ReadonlyArray<EventStore.Appended<Event.Tagged>>

/** The errors of an append under the condition of a model. `PositionDiverged` is left out: the model is read again then. */
export type Failure = Exclude<EventStore.AppendFailure<EventStore.AppendCondition>, PositionDiverged>

type Outdating = Conflict<AppendConditionFailed> | LogReplaced

export const isOutdated = (error: unknown): error is Outdating =>
  error instanceof LogReplaced ||
  (error instanceof Conflict && (error.reason instanceof AppendConditionFailed || isForgotten(error)))

export const listOf = (outcome: Outcome): ReadonlyArray<AnyDecided> =>
  "aggregate" in outcome ? [outcome] : outcome

/** The decided events, stream by stream. Events for a stream that occurs twice are put together. */
export const byStream = (
  outcome: Outcome,
  ids: Ids | undefined
): Result.Result<ReadonlyArray<EventStore.StreamEventsOf<Aggregate.Any>>, InvalidInput> =>
  Result.gen(function* () {
    const streams = new Map<string, EventStore.StreamEventsOf<Aggregate.Any>>()
    for (const { aggregate, id, events } of listOf(outcome)) {
      if (events.length === 0) continue
      const key = JSON.stringify([aggregate.type, yield* encodeId(aggregate, id)])
      const former = streams.get(key)?.events ?? []
      streams.set(key, { aggregate, id, expectedVersion: "any", events: [...former, ...events] })
    }
    const all = [...streams.values()]
    if (ids === undefined) return all
    // One sequence of ids for all streams, so that the first id leads to the first event.
    let n = 0
    const at = () => ids.at(n++)
    return all.map(({ events, ...stream }) => Object.assign(stream, { events: assignIds(events, { at }) }))
  })

/** True if an append was refused because an event with a derived id is stored. */
const isDerivedConflict = (error: unknown, ids: Ids | undefined): boolean =>
  error instanceof Conflict &&
  error.reason instanceof EventIdConflict &&
  ids?.indexOf(error.reason.eventId) !== undefined

export const makeModelDecisions = (store: EventStore.EventStore["Service"]) => {
  const finder = makeFinder(store)

  /** Applies the events after a known state, up to a position or to the head of the log. */
  const readOn = Effect.fnUntraced(function* <State>(
    model: DecisionModel.DecisionModel<State>,
    known: ModelState<State>,
    {
      inspect,
      upTo
    }: {
      readonly inspect?: (envelope: Event.Envelope<Event.Tagged>) => void
      readonly upTo?: number
    } = {}
  ) {
    // The head is read first, so that every event up to it is seen and every later append fails the condition.
    const head = upTo === undefined ? yield* store.head : undefined
    const after = head ?? upTo ?? 0
    const position = upTo ?? head?.position ?? 0
    if (position <= known.position) return known
    let state = known.state
    yield* store
      .readLog({
        aggregates: eventQuery.aggregatesOf(model.query),
        query: model.query,
        fromPosition: known.position + 1,
        toPosition: position
      })
      .pipe(
        Stream.runForEachArray((page) =>
          Effect.sync(() => {
            for (const envelope of page) {
              state = model.apply(state, envelope)
              inspect?.(envelope)
            }
          })
        )
      )
    return { state, position, after }
  })

  /** True if the log has an event at its position. All before it is of its history then. */
  const isKept = ({ eventId, position }: Event.Position) =>
    Effect.map(store.eventPosition(eventId), (now) => now === position)

  /** Reads on from a known state; undefined if the log has another history at its position by now. */
  const readOnKept = Effect.fnUntraced(function* <State>(
    model: DecisionModel.DecisionModel<State>,
    known: ModelState<State>,
    inspect?: (envelope: Event.Envelope<Event.Tagged>) => void
  ) {
    const next = yield* readOn(model, known, inspect === undefined ? {} : { inspect })
    // Asked last: then all that was read belongs to the history of the known state.
    return typeof known.after === "number" || (yield* isKept(known.after)) ? next : undefined
  })

  /** One decision on a model. `decide` runs here only to find out for which aggregates an earlier run decided. */
  const subject = <State, E, R>(
    model: DecisionModel.DecisionModel<State>,
    decide: (state: State) => Effect.Effect<Outcome, E, R>,
    ids: Ids | undefined
  ): Subject<State, Outcome, Appended, Executed<State>, Failure | LogReplaced | Lost | E, Outdating, R> => {
    const initial = initialOf(model)
    // Kept between attempts, so that no event is read twice.
    let known: Read<State> = initial
    let found: number | undefined
    /** True if the store has refused the derived ids, because an earlier run has them. */
    let isStored = false
    const forget = (): void => {
      known = initial
      found = undefined
    }
    const inspect = ({ eventId, position }: Event.Envelope<Event.Tagged>): void => {
      if (found === undefined && ids?.indexOf(eventId) !== undefined) found = position
    }

    /** The events of an earlier run of this decision, one of which is at `position`. */
    const storedAround = Effect.fnUntraced(function* (at: Ids, position: number, present?: Outcome) {
      const { aggregateTypes, first, last, lastId } = yield* finder.around(at, position)
      const aggregates = new Map(eventQuery.aggregatesOf(model.query).map((one) => [one.type, one]))
      const addAggregates = (outcome: Outcome): void => {
        for (const { aggregate } of listOf(outcome)) aggregates.set(aggregate.type, aggregate)
      }
      if (present !== undefined) addAggregates(present)
      if (![...aggregateTypes].every((type) => aggregates.has(type))) {
        // Only `decide` knows the other aggregates. It runs on the state before these events, and its events are dropped.
        const before = yield* readOn(model, initial, { upTo: first - 1 })
        const decided = yield* Effect.exit(decide(before.state))
        if (Exit.isSuccess(decided)) addAggregates(decided.value)
        else if (Cause.hasInterrupts(decided.cause)) return yield* Effect.failCause(decided.cause)
      }
      const events = yield* Stream.runCollect(
        store.readLog({ aggregates: [...aggregates.values()], fromPosition: first, toPosition: last })
      )
      return { events, last: lastId === undefined ? undefined : { position: last, eventId: lastId } }
    })

    /** An outcome whose events and state are of one history; undefined if the log has lost the end of either meanwhile. */
    const ifKept = Effect.fnUntraced(function* (outcome: Executed<State>, last: Event.Position | undefined) {
      const { after } = outcome
      if (last === undefined || !(yield* isKept(last))) return undefined
      return typeof after === "number" || (yield* isKept(after)) ? outcome : undefined
    })

    /** The outcome of an earlier run with these ids, one of whose events is at `position`; undefined if it is lost. */
    const outcomeAt = Effect.fnUntraced(function* (at: Ids, position: number, present?: Outcome) {
      const { events, last } = yield* storedAround(at, position, present)
      const now = yield* readOnKept(model, known)
      return now === undefined ? undefined : yield* ifKept({ ...now, events, replayed: true }, last)
    })

    /** The outcome of an append whose events were appended by an earlier run, anywhere in the log; undefined if it is lost. */
    const replayed = Effect.fnUntraced(function* (
      events: ReadonlyArray<Event.Envelope<Event.Tagged>>,
      decided: Outcome
    ) {
      const one = events.find(({ eventId }) => ids?.indexOf(eventId) !== undefined)
      const at = one ?? events.at(-1)
      const { events: all, last } =
        ids === undefined || one === undefined
          ? { events: [], last: at }
          : yield* storedAround(ids, one.position, decided)
      const given = new Set(events.map(({ eventId }) => eventId))
      // The earlier run may have decided more events.
      const isAll = all.every(({ eventId }) => given.has(eventId))
      const now = yield* readOnKept(model, known)
      return now === undefined
        ? undefined
        : yield* ifKept({ ...now, events: isAll ? events : all, replayed: true }, last)
    })

    return {
      read: Effect.gen(function* () {
        const { forgotten } = known
        if (known !== initial) {
          const next = yield* readOnKept(model, known, inspect)
          if (next !== undefined && (yield* isStillAt(store, forgotten))) {
            known = { ...next, forgotten }
            return known.state
          }
          forget()
        }
        known = yield* numbered(
          store,
          () => eventQuery.aggregatesOf(model.query).some((aggregate) => mayBePersonal(aggregate)),
          readOn(model, known, { inspect }),
          (state, number): Read<State> => ({ ...state, forgotten: number })
        )
        return known.state
      }),
      isConfirmed: () => true,
      carriedOut: undefined,
      isKept: Effect.succeed(true),
      found: () => {
        if (ids === undefined || found === undefined) return undefined
        return Effect.flatMap(
          Effect.flatMap(storedAround(ids, found), ({ events, last }) =>
            ifKept({ ...known, events, replayed: true }, last)
          ),
          (outcome) => (outcome === undefined ? Effect.fail(lost) : Effect.succeed(outcome))
        )
      },
      check: undefined,
      mayBeHidden: () => true,
      search: Effect.fnUntraced(function* (decided) {
        const position = ids === undefined ? undefined : yield* finder.find(ids)
        if (ids === undefined || position === undefined)
          return isStored ? yield* Effect.fail(lost) : undefined
        return (yield* outcomeAt(ids, position, decided)) ?? (yield* Effect.fail(lost))
      }),
      hasDerivedId: (decided) => listOf(decided).some(({ events }) => !events.every(hasId)),
      append: (decided) => {
        const streams = byStream(decided, ids)
        if (Result.isFailure(streams)) return Effect.fail(streams.failure)
        if (streams.success.length === 0) return undefined
        return store
          .appendAll(streams.success, {
            condition: { query: model.query, after: known.after },
            forgotten: known.forgotten
          })
          .pipe(
            Effect.catchTag("PositionDiverged", (error) => {
              forget()
              return Effect.fail(new LogReplaced(error))
            }),
            Effect.tapError((error) =>
              Effect.sync(() => {
                if (isForgotten(error)) forget()
                isStored = isDerivedConflict(error, ids)
              })
            )
          )
      },
      unchanged: () => Effect.succeed({ ...known, events: [], replayed: false }),
      outcomeOf: (appended, decided) => {
        const events = appended
          .flatMap((stream) => stream.events)
          .toSorted((left, right) => left.position - right.position)
        if (appended.some((stream) => stream.replayed)) return replayed(events, decided)
        let { position, state, after } = known
        for (const envelope of events) {
          state = model.apply(state, envelope)
          position = envelope.position
          after = { position, eventId: envelope.eventId }
        }
        return Effect.succeed({ state, position, after, events, replayed: false })
      },
      isOutdated
    }
  }

  return { readOn, subject }
}
