/** Decisions on what a tenant's log says: a decision model is read, and appended to under its own condition. */
import { Cause, Effect, Exit, Result, Stream } from "effect"
import type * as Aggregate from "../domain/Aggregate.ts"
import type * as DecisionModel from "../domain/DecisionModel.ts"
import type * as Event from "../domain/Event.ts"
import type * as EventStore from "./EventStore.ts"
import type { Subject } from "./decide.ts"
import { makeFinder } from "./priorDecision.ts"
import { type Ids, isNamed, named } from "../domain/derivedIds.ts"
import { aggregateId as encodeId } from "./encode.ts"
import * as eventQuery from "./queryTerms.ts"
import {
  AppendConditionFailed,
  type PositionDiverged,
  type InvalidInput,
  Conflict
} from "../driver/StoreError.ts"

/** Events that were decided, and the stream they go to. See `Decisions.to`. */
export interface Decided<Type extends string, Payload extends Event.Tagged> {
  readonly aggregate: Aggregate.Aggregate<Type, unknown, Payload, unknown>
  readonly id: unknown
  readonly events: ReadonlyArray<Event.Appendable<Payload>>
}

/** Events of any aggregate that were decided. */
export type AnyDecided = Decided<string, Event.Tagged>

/** What a decision comes to: events for one stream or for several. An empty list: nothing is appended. */
export type Outcome = AnyDecided | ReadonlyArray<AnyDecided>

/** What a decision is made on: a state, and up to which position everything that matters is in it. */
export interface Known<out State> {
  readonly state: State
  /** The last position of the tenant's log that was considered; 0: the log was empty. */
  readonly position: number
  /**
   * The same with the id of the event there: the `after` of a condition. An append is then refused where the log has become
   * another one since (restored, or rewritten after a failover).
   */
  readonly after: number | Event.Position
}

/** Nothing is known yet. */
export const nothingOf = <State>({ initial }: DecisionModel.DecisionModel<State>): Known<State> => ({
  state: initial,
  position: 0,
  after: 0
})

/** The log that was decided on is another one by now: it is read anew. */
export class LogReplaced {
  readonly error: PositionDiverged
  constructor(error: PositionDiverged) {
    this.error = error
  }
}

/** The outcome of a decision on a model. */
interface Executed<State> extends Known<State> {
  readonly events: ReadonlyArray<Event.Envelope<Event.Tagged>>
  readonly replayed: boolean
}

type Appended = ReadonlyArray<EventStore.Appended<Event.Tagged>>

/** The errors of an append under the condition of a model. A log that has become another one is read again. */
export type Failure = Exclude<EventStore.AppendFailure<EventStore.AppendCondition>, PositionDiverged>

type Outdating = Conflict<AppendConditionFailed> | LogReplaced

const isOutdated = (error: unknown): error is Outdating =>
  error instanceof LogReplaced || (error instanceof Conflict && error.reason instanceof AppendConditionFailed)

const listOf = (outcome: Outcome): ReadonlyArray<AnyDecided> => ("aggregate" in outcome ? [outcome] : outcome)

/** The events that were decided, stream by stream: a stream that was named twice is one. */
const byStream = (
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
    // One sequence of ids for all streams, so that the first event is found by the first of them.
    let n = 0
    const at = () => ids.at(n++)
    return all.map(({ events, ...stream }) => Object.assign(stream, { events: named(events, { at }) }))
  })

export const makeModelDecisions = (store: EventStore.EventStore["Service"]) => {
  const finder = makeFinder(store)

  /** Reads on from what is known, to the head or up to a position. */
  const readOn = Effect.fnUntraced(function* <State>(
    model: DecisionModel.DecisionModel<State>,
    known: Known<State>,
    {
      inspect,
      upTo
    }: {
      readonly inspect?: (envelope: Event.Envelope<Event.Tagged>) => void
      readonly upTo?: number
    } = {}
  ) {
    // The head first: what is appended from here on lies behind it, and nothing before it is left out.
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

  /** The model of one decision. `decide` is only asked, if need be, for the aggregates that it names. */
  const subject = <State, E, R>(
    model: DecisionModel.DecisionModel<State>,
    decide: (state: State) => Effect.Effect<Outcome, E, R>,
    ids: Ids | undefined
  ): Subject<State, Outcome, Appended, Executed<State>, Failure | LogReplaced | E, Outdating, R> => {
    const nothing = nothingOf(model)
    // Kept between attempts: what was read once is not read again.
    let known = nothing
    let found: number | undefined
    const inspect = ({ eventId, position }: Event.Envelope<Event.Tagged>): void => {
      if (found === undefined && ids?.indexOf(eventId) !== undefined) found = position
    }

    /** The events of the decision, made before, around the position of one. */
    const storedAround = Effect.fnUntraced(function* (at: Ids, position: number, now?: Outcome) {
      const { aggregateTypes, first, last } = yield* finder.around(at, position)
      const aggregates = new Map(eventQuery.aggregatesOf(model.query).map((one) => [one.type, one]))
      const learn = (outcome: Outcome): void => {
        for (const { aggregate } of listOf(outcome)) aggregates.set(aggregate.type, aggregate)
      }
      if (now !== undefined) learn(now)
      if (![...aggregateTypes].every((type) => aggregates.has(type))) {
        // Only the decision knows the others: it is made again on what was known then, and nothing comes of it.
        const then = yield* readOn(model, nothing, { upTo: first - 1 })
        const decided = yield* Effect.exit(decide(then.state))
        if (Exit.isSuccess(decided)) learn(decided.value)
        else if (Cause.hasInterrupts(decided.cause)) return yield* Effect.failCause(decided.cause)
      }
      return yield* Stream.runCollect(
        store.readLog({ aggregates: [...aggregates.values()], fromPosition: first, toPosition: last })
      )
    })

    /** The outcome of the decision with these ids, of which an event is at a position. */
    const outcomeAt = Effect.fnUntraced(function* (at: Ids, position: number, now?: Outcome) {
      const events = yield* storedAround(at, position, now)
      return { ...(yield* readOn(model, known)), events, replayed: true }
    })

    /** Events that had been appended before may lie anywhere in the log. */
    const replayed = Effect.fnUntraced(function* (
      events: ReadonlyArray<Event.Envelope<Event.Tagged>>,
      decided: Outcome
    ) {
      const position = events.find(({ eventId }) => ids?.indexOf(eventId) !== undefined)?.position
      const all =
        ids === undefined || position === undefined ? [] : yield* storedAround(ids, position, decided)
      const given = new Set(events.map(({ eventId }) => eventId))
      // It may have decided more then.
      const isAll = all.every(({ eventId }) => given.has(eventId))
      return { ...(yield* readOn(model, known)), events: isAll ? events : all, replayed: true }
    })

    return {
      read: Effect.suspend(() =>
        Effect.map(readOn(model, known, { inspect }), (read) => (known = read).state)
      ),
      found: () => {
        if (ids === undefined || found === undefined) return undefined
        return Effect.map(storedAround(ids, found), (events) => ({ ...known, events, replayed: true }))
      },
      check: undefined,
      mayBeHidden: () => true,
      search: Effect.fnUntraced(function* (decided) {
        const position = ids === undefined ? undefined : yield* finder.find(ids)
        return ids === undefined || position === undefined
          ? undefined
          : yield* outcomeAt(ids, position, decided)
      }),
      hasDerivedId: (decided) => listOf(decided).some(({ events }) => !events.every(isNamed)),
      append: (decided) => {
        const streams = byStream(decided, ids)
        if (Result.isFailure(streams)) return Effect.fail(streams.failure)
        if (streams.success.length === 0) return undefined
        return store
          .appendAll(streams.success, { condition: { query: model.query, after: known.after } })
          .pipe(
            Effect.catchTag("PositionDiverged", (error) => {
              known = nothing
              found = undefined
              return Effect.fail(new LogReplaced(error))
            })
          )
      },
      unchanged: () => Effect.succeed({ ...known, events: [], replayed: false }),
      settle: (appended, decided) => {
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
