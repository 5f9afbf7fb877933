/**
 * Decisions on what a tenant's log says, whichever streams it says it in: read by query, decide, and append under the
 * condition that nothing that matters has been appended since (a dynamic consistency boundary).
 */
import { isEventIdConflict } from "./decide.ts"
import { Cause, Context, Effect, Exit, Layer, Result, type Schedule, Stream } from "effect"
import { layerPer } from "../internal/layerPer.ts"
import type * as Aggregate from "../domain/Aggregate.ts"
import type * as DecisionModel from "../domain/DecisionModel.ts"
import type * as Event from "../domain/Event.ts"
import * as EventStore from "./EventStore.ts"
import { defaultRetry, type ErrorOf, type RequirementsOf } from "./decision.ts"
import { makeFinder } from "./priorDecision.ts"
import { CurrentDerivedIds, type Ids, isNamed, named } from "../domain/derivedIds.ts"
import { aggregateId as encodeId } from "./encode.ts"
import * as eventQuery from "./queryTerms.ts"
import {
  AppendConditionFailed,
  type PositionDiverged,
  type Undecodable,
  type InvalidInput,
  type ReadError,
  Conflict
} from "../driver/StoreError.ts"
import { CurrentTenant } from "../domain/Tenant.ts"

/** Events that were decided, and the stream they go to. See {@link to}. */
export interface Decided<Type extends string, Payload extends Event.Tagged> {
  readonly aggregate: Aggregate.Aggregate<Type, unknown, Payload, unknown>
  readonly id: unknown
  readonly events: ReadonlyArray<Event.Appendable<Payload>>
}

/** Events of any aggregate that were decided. */
export type AnyDecided = Decided<string, Event.Tagged>

/**
 * Events for a stream, as a decision yields them: to the end of it, whatever its version is. The condition is that of the
 * decision model.
 *
 * **Example**
 *
 * ```ts
 * Decisions.to(Course, courseId, StudentEnrolled.make({ studentId }))
 * ```
 */
export const to = <Type extends string, State, Payload extends Event.Tagged, Id>(
  aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
  id: NoInfer<Id>,
  ...events: ReadonlyArray<NoInfer<Event.Appendable<Payload>>>
): Decided<Type, Payload> => ({ aggregate, id, events })

/** What a decision comes to: events for one stream or for several. An empty list: nothing is appended. */
export type Outcome = AnyDecided | ReadonlyArray<AnyDecided>

/** What a decision may yield: its outcome as a plain value, a `Result`, or an `Effect`. */
export type Decision<E = never, R = never> =
  | Outcome
  | Result.Result<Outcome, E>
  | Effect.Effect<Outcome, E, R>

/** Envelopes of the events that a decision yields. */
export type EnvelopeOf<D> =
  D extends Result.Result<infer A, infer _E>
    ? EnvelopeOfOutcome<A>
    : D extends Effect.Effect<infer A, infer _E, infer _R>
      ? EnvelopeOfOutcome<A>
      : EnvelopeOfOutcome<D>

type EnvelopeOfOutcome<A> =
  A extends ReadonlyArray<infer Element> ? EnvelopeOfDecided<Element> : EnvelopeOfDecided<A>

type EnvelopeOfDecided<A> =
  A extends Decided<infer Type, infer Payload> ? Event.Envelope<Payload, Type> : never

/** What a decision is made on: a state, and up to which position everything that matters is in it. */
export interface Known<out State> {
  readonly state: State
  /** The last position of the tenant's log that was considered; 0: the log was empty. */
  readonly position: number
}

/** The outcome of a decision: what is known with it, and its events. */
export interface Executed<out State, out Envelope> extends Known<State> {
  /** The new events in the order of the log, as they are stored. Empty if nothing was decided. */
  readonly events: ReadonlyArray<Envelope>
  /** Whether the same events (by id) had been appended before: then nothing was written now. */
  readonly replayed: boolean
}

/** Everything that can go wrong while a decision model is read. */
export type KnowError = ReadError | Undecodable

/** Settings of one decision. */
export interface ExecuteOptions {
  /** When to read on and decide again after an event that matters came in between. Default: that of the layer. */
  readonly retry?: Schedule.Schedule<unknown> | undefined
}

/**
 * Decides on what the current tenant's log says.
 *
 * **When to use**
 *
 * Use it for rules that no single stream can keep: a limit on both sides of a relation, a name that is unique. Where the
 * state of one aggregate is enough, `Repository.execute` is simpler, and has snapshots.
 */
export class Decisions extends Context.Service<
  Decisions,
  {
    /** The state of a decision model, and the position that it is of. */
    readonly read: <State>(
      model: DecisionModel.DecisionModel<State>
    ) => Effect.Effect<Known<State>, KnowError, CurrentTenant>
    /**
     * Reads what matters, lets `decide` look at it, and appends the events it yields, provided that nothing that matters
     * was appended in between; if it was, it reads on and decides again, on a bounded schedule. All events are written, or
     * none.
     *
     * **Details**
     *
     * Decisions on models whose queries match none of each other's events never wait for a retry because of each other,
     * also if they append to the same streams. When the schedule ends, the last `AppendConditionFailed` is given on.
     *
     * **Gotchas**
     *
     * A rule holds among those who decide with a model that covers it: events that make it broken must match the query,
     * so give them the tags that it asks for. `decide` may run several times: effects in it should not be visible
     * outside. Where ids are derived (`EventContext.derivingIds`, reactions) and its events are in the log already, all of
     * them are returned as they are stored, in the order of the log, with the state as it is now, whatever `decide` comes to
     * now. It does not run then if some of them match the query, and all are of the query's aggregates; else it may run in
     * vain, also on the state from before its events, for the aggregates that it names. Events with ids of their own, before
     * the first and behind the last of the others, are only known if it yields them again; those of an aggregate that
     * neither the query nor `decide` names any more are left out.
     */
    readonly execute: <
      State,
      // What `decide` yields, whatever mix of values, results and effects with errors of their own.
      const D extends Decision<unknown, unknown>
    >(
      model: DecisionModel.DecisionModel<State>,
      decide: (state: State) => D,
      options?: ExecuteOptions
    ) => Effect.Effect<
      Executed<State, EnvelopeOf<D>>,
      ErrorOf<D> | Exclude<EventStore.AppendFailure<EventStore.AppendCondition>, PositionDiverged>,
      RequirementsOf<D> | CurrentTenant
    >
  }
>()("effect-eventsourcing/Decisions") {}

/** Settings of {@link layerWith}. */
export interface Options {
  /** When a decision is made again after an event that matters came in between. Default: `Repository.defaultRetry`. */
  readonly retry?: Schedule.Schedule<unknown> | undefined
}

/** An append whose condition failed, told apart from one that `decide` itself fails with. */
class Outdated {
  readonly _tag = "Outdated"
  readonly failure: Conflict<AppendConditionFailed>
  constructor(failure: Conflict<AppendConditionFailed>) {
    this.failure = failure
  }
}

/** Whether an event that others appended calls for another decision. */
const isOutdated = (error: unknown): error is Conflict<AppendConditionFailed> =>
  error instanceof Conflict && error.reason instanceof AppendConditionFailed

const toEffect = <D extends Decision<unknown, unknown>>(
  decision: D
): Effect.Effect<Outcome, ErrorOf<D>, RequirementsOf<D>> => {
  const yielded: Decision<unknown, unknown> = decision
  const effect = Effect.isEffect(yielded)
    ? yielded
    : Result.isResult(yielded)
      ? Effect.fromResult(yielded)
      : Effect.succeed(yielded)
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- D fails with and requires what its members do
  return effect as Effect.Effect<Outcome, ErrorOf<D>, RequirementsOf<D>>
}

const listOf = (outcome: Outcome): ReadonlyArray<AnyDecided> => ("aggregate" in outcome ? [outcome] : outcome)

/** Whether an outcome has an event that will have a derived id, by which it is known again. */
const hasUnnamed = (outcome: Outcome): boolean => listOf(outcome).some(({ events }) => !events.every(isNamed))

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

const make = (options: Options): Effect.Effect<Decisions["Service"], never, EventStore.EventStore> =>
  Effect.map(EventStore.EventStore, (store) => {
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
      const position = upTo ?? (yield* store.position)
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
      return { state, position }
    })

    /** The ids of the next decision on a model, where ids are derived: those on different ones are independent. */
    const nextIds = Effect.fnUntraced(function* (model: DecisionModel.Any) {
      const derivedIds = yield* CurrentDerivedIds
      if (derivedIds === undefined) return undefined
      const tenantId = yield* CurrentTenant
      const items = model.query.items.map(({ aggregate, types, tags }) => [aggregate.type, types, tags])
      return yield* derivedIds.next({
        tenantId,
        aggregateType: "decision model",
        aggregateId: JSON.stringify(items)
      })
    })

    const execute = Effect.fnUntraced(function* <State, Envelope extends Event.Envelope<Event.Tagged>, E, R>(
      model: DecisionModel.DecisionModel<State>,
      decide: (state: State) => Effect.Effect<Outcome, E, R>,
      retry: Schedule.Schedule<unknown>,
      ids: Ids | undefined,
      refused: () => void
    ) {
      const nothing: Known<State> = { state: model.initial, position: 0 }
      // Kept between attempts: what was read once is not read again.
      let known = nothing
      const own = (envelopes: ReadonlyArray<Event.Envelope<Event.Tagged>>) =>
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what goes to the streams of a decision are events of those
        envelopes as ReadonlyArray<Envelope>

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

      let found: number | undefined
      const inspect = ({ eventId, position }: Event.Envelope<Event.Tagged>): void => {
        if (found === undefined && ids?.indexOf(eventId) !== undefined) found = position
      }

      const attempt = Effect.gen(function* () {
        known = yield* readOn(model, known, { inspect })
        // The decision was made before.
        if (ids !== undefined && found !== undefined)
          return { ...known, events: own(yield* storedAround(ids, found)), replayed: true }
        const decided = yield* Effect.exit(decide(known.state))
        const isInterrupted = Exit.isFailure(decided) && Cause.hasInterrupts(decided.cause)
        if (ids !== undefined && !isInterrupted && !(Exit.isSuccess(decided) && hasUnnamed(decided.value))) {
          // Only events with derived ids could tell that it was made before.
          const position = yield* finder.find(ids)
          if (position !== undefined) {
            const events = own(yield* storedAround(ids, position))
            return { ...(yield* readOn(model, known)), events, replayed: true }
          }
        }
        if (Exit.isFailure(decided) && Cause.hasFails(decided.cause)) refused()
        const outcome = yield* decided
        const streams = yield* Effect.fromResult(byStream(outcome, ids))
        if (streams.length === 0) return { ...known, events: own([]), replayed: false }
        const appended = yield* store
          .appendAll(streams, { condition: { query: model.query, after: known.position } })
          .pipe(
            Effect.catchIf(isOutdated, (failure) => Effect.fail(new Outdated(failure))),
            // only a condition with an event id raises it
            Effect.catchTag("PositionDiverged", Effect.die),
            Effect.result
          )
        if (Result.isFailure(appended)) {
          const isKnown = isEventIdConflict(appended.failure)
          const position = ids !== undefined && isKnown ? yield* finder.find(ids) : undefined
          if (ids === undefined || position === undefined) return yield* Effect.fail(appended.failure)
          // It was made before, and decided otherwise.
          const events = own(yield* storedAround(ids, position, outcome))
          return { ...(yield* readOn(model, known)), events, replayed: true }
        }
        const events = appended.success
          .flatMap((stream) => stream.events)
          .toSorted((left, right) => left.position - right.position)
        // Events that had been appended before may lie anywhere in the log.
        if (appended.success.some(({ replayed }) => replayed)) {
          const position = events.find(({ eventId }) => ids?.indexOf(eventId) !== undefined)?.position
          const all =
            ids === undefined || position === undefined ? [] : yield* storedAround(ids, position, outcome)
          const given = new Set(events.map(({ eventId }) => eventId))
          // It may have decided more then.
          const isAll = all.every(({ eventId }) => given.has(eventId))
          return {
            ...(yield* readOn(model, known)),
            events: own(isAll ? events : all),
            replayed: true
          }
        }
        let { position, state } = known
        for (const envelope of events) {
          state = model.apply(state, envelope)
          position = envelope.position
        }
        return { state, position, events: own(events), replayed: false }
      })
      return yield* attempt.pipe(
        Effect.retry({ while: (error) => error instanceof Outdated, schedule: retry }),
        Effect.mapError((error) => (error instanceof Outdated ? error.failure : error))
      )
    })

    return Decisions.of({
      read: Effect.fn("Decisions.read")((model) => readOn(model, { state: model.initial, position: 0 })),
      execute: <State, const D extends Decision<unknown, unknown>>(
        model: DecisionModel.DecisionModel<State>,
        decide: (state: State) => D,
        { retry = options.retry ?? defaultRetry }: ExecuteOptions = {}
      ) =>
        Effect.flatMap(nextIds(model), (ids) => {
          // What the store refused is tried again under the same ids, what was decided against is settled.
          let isSettled = false
          return execute<State, EnvelopeOf<D>, ErrorOf<D>, RequirementsOf<D>>(
            model,
            (state) => Effect.suspend(() => toEffect<D>(decide(state))),
            retry,
            ids,
            () => void (isSettled = true)
          ).pipe(Effect.onError(() => Effect.sync(() => (isSettled ? undefined : ids?.release()))))
        }).pipe(Effect.withSpan("Decisions.execute"))
    })
  })

/** Decisions on an event store. */
export const layer: Layer.Layer<Decisions, never, EventStore.EventStore> = layerPer(
  [EventStore.EventStore],
  () => Layer.effect(Decisions, make({}))
)

/** Decisions on an event store, with settings. */
export const layerWith = (options: Options): Layer.Layer<Decisions, never, EventStore.EventStore> =>
  layerPer([EventStore.EventStore], () => Layer.effect(Decisions, make(options)))
