/**
 * Decisions on what a tenant's log says, whichever streams it says it in: read by query, decide, and append under the
 * condition that nothing that matters has been appended since (a dynamic consistency boundary).
 */
import { Context, Effect, Layer, Result, type Schedule } from "effect"
import { layerPer } from "../internal/layerPer.ts"
import type * as Aggregate from "../domain/Aggregate.ts"
import type * as DecisionModel from "../domain/DecisionModel.ts"
import type * as Event from "../domain/Event.ts"
import * as EventStore from "./EventStore.ts"
import * as loop from "./decide.ts"
import type { ErrorOf, RequirementsOf } from "./decide.ts"
import { type Decided, type Failure, type Known, makeModelDecisions, type Outcome } from "./decideOnModel.ts"
import type { Undecodable, ReadError } from "../driver/StoreError.ts"
import type { CurrentTenant } from "../domain/Tenant.ts"

export type { AnyDecided, Decided, Known, Outcome } from "./decideOnModel.ts"

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
      ErrorOf<D> | Failure,
      RequirementsOf<D> | CurrentTenant
    >
  }
>()("effect-eventsourcing/Decisions") {}

/** Settings of {@link layerWith}. */
export interface Options {
  /** When a decision is made again after an event that matters came in between. Default: `Repository.defaultRetry`. */
  readonly retry?: Schedule.Schedule<unknown> | undefined
}

const make = (options: Options): Effect.Effect<Decisions["Service"], never, EventStore.EventStore> =>
  Effect.map(EventStore.EventStore, (store) => {
    const decisions = makeModelDecisions(store)

    return Decisions.of({
      read: Effect.fn("Decisions.read")((model) =>
        decisions.readOn(model, { state: model.initial, position: 0 })
      ),
      execute: <State, const D extends Decision<unknown, unknown>>(
        model: DecisionModel.DecisionModel<State>,
        decide: (state: State) => D,
        { retry = options.retry ?? loop.defaultRetry }: ExecuteOptions = {}
      ) => {
        const decideNow = (state: State) => Effect.suspend(() => loop.toEffect<Outcome, D>(decide(state)))
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- events that go to the streams of a decision are of those
        return loop
          .withIds(
            // Decisions on different models have ids that do not depend on each other.
            () => Result.succeed({ aggregateType: "decision model", aggregateId: nameOf(model) }),
            (derived) =>
              Effect.suspend(() =>
                loop.run(decisions.subject(model, decideNow, derived.ids), decideNow, derived, retry)
              )
          )
          .pipe(Effect.withSpan("Decisions.execute")) as Effect.Effect<
          Executed<State, EnvelopeOf<D>>,
          ErrorOf<D> | Failure,
          RequirementsOf<D> | CurrentTenant
        >
      }
    })
  })

/** A model by what it reads. */
const nameOf = ({ query }: DecisionModel.Any): string =>
  JSON.stringify(query.items.map(({ aggregate, types, tags }) => [aggregate.type, types, tags]))

/** Decisions on an event store. */
export const layer: Layer.Layer<Decisions, never, EventStore.EventStore> = layerPer(
  [EventStore.EventStore],
  () => Layer.effect(Decisions, make({}))
)

/** Decisions on an event store, with settings. */
export const layerWith = (options: Options): Layer.Layer<Decisions, never, EventStore.EventStore> =>
  layerPer([EventStore.EventStore], () => Layer.effect(Decisions, make(options)))
