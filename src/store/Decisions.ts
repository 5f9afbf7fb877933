/**
 * Decisions on events of several streams of a tenant (a dynamic consistency boundary): read by query, decide, and append on
 * the condition that no further event matches the query.
 */
import { Context, Effect, Layer, Result, type Schedule } from "effect"
import { layerPer } from "../internal/layerPer.ts"
import type * as Aggregate from "../domain/Aggregate.ts"
import type * as DecisionModel from "../domain/DecisionModel.ts"
import type * as Event from "../domain/Event.ts"
import * as EventStore from "./EventStore.ts"
import * as loop from "./decide.ts"
import type { ErrorOf, RequirementsOf } from "./decide.ts"
import {
  type Decided,
  type Failure,
  initialOf,
  LogReplaced,
  Lost,
  makeModelDecisions,
  type ModelState,
  type Outcome
} from "./decideOnModel.ts"
import { type JoinOptions, makeInLine } from "./inLine.ts"
import { makeJoined } from "./joinedAppend.ts"
import { lostTooOften, maxLosses } from "./lostEnd.ts"
import { makeJoinedModels, type ModelCommand, type ModelTypes } from "./joinedModels.ts"
import { tenantOf } from "../domain/currentTenant.ts"
import { attempted } from "./attempted.ts"
import { typesOf } from "./storeMeasures.ts"
import { timing } from "../telemetry/series.ts"
import { timed } from "../telemetry/spanned.ts"
import { decideDuration, loadDuration } from "../telemetry/Telemetry.ts"
import type { Undecodable, ReadError } from "../driver/StoreError.ts"
import type { CurrentTenant } from "../domain/Tenant.ts"

export type { AnyDecided, Decided, ModelState, Outcome } from "./decideOnModel.ts"
export type { JoinOptions } from "./inLine.ts"

/**
 * Events to append to a stream at any version. The decision model is the only condition of the append.
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

/** The result of a decision: its outcome as a plain value, a `Result`, or an `Effect`. */
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

/** The result of a decision: the new state and position, and the events. */
export interface Executed<out State, out Envelope> extends ModelState<State> {
  /** The new events in the order of the log, as they are stored. Empty if nothing was decided. */
  readonly events: ReadonlyArray<Envelope>
  /** True if the same events (by id) had been appended before. Nothing was written this time. */
  readonly replayed: boolean
}

/** Errors of reading a decision model. */
export type ModelReadError = ReadError | Undecodable

/** Settings of one decision. */
export interface ExecuteOptions {
  /** Schedule for deciding again when a relevant event was appended meanwhile. Default: that of the layer. */
  readonly retry?: Schedule.Schedule<unknown> | undefined
}

/**
 * Decides on events of the current tenant's log.
 *
 * **When to use**
 *
 * Use it for rules that no single stream can enforce: a limit on both sides of a relation, a unique name. If the state of one
 * aggregate is enough, `Repository.execute` is simpler and has snapshots.
 */
export class Decisions extends Context.Service<
  Decisions,
  {
    /** The state of a decision model, with its position. */
    readonly read: <State>(
      model: DecisionModel.DecisionModel<State>
    ) => Effect.Effect<ModelState<State>, ModelReadError, CurrentTenant>
    /**
     * Reads the relevant events, calls `decide` with the state, and appends the decided events if no relevant event was
     * appended meanwhile. Otherwise it reads the new events and decides again, on a bounded schedule. All events are written,
     * or none.
     *
     * **Details**
     *
     * Two decisions whose queries match none of each other's events never make each other retry, even if they append to the
     * same streams. When the schedule ends, the last `AppendConditionFailed` is raised.
     *
     * Decisions on equal queries that wait for each other are made together, one after the other, and appended at once (see
     * {@link Options}). The state may then contain events of earlier ones that are appended together with the new ones. No
     * outcome is returned before the store has confirmed that state. If `decide` returns an `Effect`, it goes by itself.
     *
     * **Gotchas**
     *
     * A rule holds only among decisions whose models cover it: every event that could break the rule must match the query, so
     * give such events the tags of the query. `decide` may run several times, and on states that are never stored, so it must
     * have no effects outside.
     *
     * With derived ids (`EventContext.derivingIds`, reactions), a repeated decision returns the stored events of its first
     * run, in the order of the log, with the present state, even if `decide` would yield other events now. `decide` does not
     * run if some of these events match the query and all belong to its aggregates. Otherwise it may run once more, even on
     * the state before these events; its result then only names the aggregates to look for. Two kinds of events are missing
     * in the result: events with ids of their own before the first or after the last derived id, unless `decide` yields them
     * again, and events of an aggregate that neither the query nor `decide` names any more.
     */
    readonly execute: <
      State,
      // The type of the result of `decide`: any mix of values, results and effects with their errors.
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
  /** Schedule for deciding again when a relevant event was appended meanwhile. Default: `Repository.defaultRetry`. */
  readonly retry?: Schedule.Schedule<unknown> | undefined
  /**
   * Decisions that arrive while another one on an equal query is under way are made one after the other, and their events
   * appended at once. Those with a `retry` of their own, and those in a transaction of the program, go by themselves. `false`
   * turns this off. Default: up to 256 decisions together.
   */
  readonly join?: JoinOptions | false | undefined
}

const make = (options: Options): Effect.Effect<Decisions["Service"], never, EventStore.EventStore> =>
  Effect.map(EventStore.EventStore, (store) => {
    const decisions = makeModelDecisions(store)
    const { inLine } = makeInLine<ModelTypes>(
      options.join,
      makeJoined(makeJoinedModels(store), options.retry ?? loop.defaultRetry)
    )

    return Decisions.of({
      read: (model) =>
        timed("load", typesOf(model.query.items), timeRead, () => decisions.readOn(model, initialOf(model))),
      execute: <State, const D extends Decision<unknown, unknown>>(
        model: DecisionModel.DecisionModel<State>,
        decide: (state: State) => D,
        { retry }: ExecuteOptions = {}
      ) => {
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- D fails with and requires what its members do
        const decideGiven = decide as (state: State) => loop.Decision<Outcome, ErrorOf<D>, RequirementsOf<D>>
        const types = typesOf(model.query.items)
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the appended events are those that the decision named
        return timed("decide", types, timeDecide, (services, span) =>
          attempted(services, span, types, decideGiven, (decideAny) => {
            const decideNow = (state: State) => Effect.suspend(() => loop.toEffect(decideAny(state)))
            return loop
              .withIds(
                // Each model has a sequence of ids of its own.
                () => Result.succeed({ aggregateType: "decision model", aggregateId: nameOf(model) }),
                (derived) => {
                  const alone = (onEffect?: () => void) =>
                    Effect.suspend(() =>
                      loop.run(
                        decisions.subject(model, decideNow, derived.ids),
                        decideAny,
                        derived,
                        retry ?? options.retry ?? loop.defaultRetry,
                        onEffect
                      )
                    ).pipe(
                      // Everything is read anew.
                      Effect.retry({ while: (error) => error instanceof Lost, times: maxLosses }),
                      Effect.catchIf(
                        (error) => error instanceof Lost,
                        () => Effect.fail(lostTooOften())
                      )
                    )
                  if (retry !== undefined) return alone()
                  return Effect.flatMap(store.inTransaction, (inTransaction) =>
                    inTransaction
                      ? alone()
                      : Effect.withFiber(({ context }) =>
                          inLine(
                            { tenantId: tenantOf(context), subject: joined, id: lineOf(model) },
                            { model, decide: decideAny, ids: derived.ids } satisfies Record<
                              keyof ModelCommand,
                              unknown
                            >,
                            alone,
                            // Few go beside their line, and making this takes as long as to decide.
                            Effect.suspend(() => alone())
                          )
                        )
                  )
                }
              )
              .pipe(
                // No caller could handle a log that is replaced again and again.
                Effect.catchIf(
                  (error) => error instanceof LogReplaced,
                  ({ error }) => Effect.die(error)
                )
              )
          })
        ) as Effect.Effect<
          Executed<State, EnvelopeOf<D>>,
          ErrorOf<D> | Failure,
          RequirementsOf<D> | CurrentTenant
        >
      }
    })
  })

const timeRead = timing(loadDuration)
const timeDecide = timing(decideDuration)

/** Models with equal queries have the same name. */
const nameOf = ({ query }: DecisionModel.Any): string =>
  JSON.stringify(query.items.map(({ aggregate, types, tags }) => [aggregate.type, types, tags]))

/** The subject of lines of decisions. */
const joined = {}

const numbers = new WeakMap<Aggregate.Any, number>()
let aggregates = 0

/** The number of an aggregate, which is told apart by identity: two of one type may decode differently. */
const numberOf = (aggregate: Aggregate.Any): number => {
  const found = numbers.get(aggregate)
  if (found !== undefined) return found
  numbers.set(aggregate, ++aggregates)
  return aggregates
}

const lines = new WeakMap<DecisionModel.Any, string>()

/** Models with equal queries on the same aggregates are in one line. */
const lineOf = (model: DecisionModel.Any): string => {
  const known = lines.get(model)
  if (known !== undefined) return known
  const { items } = model.query
  const line = JSON.stringify(items.map(({ aggregate, types, tags }) => [numberOf(aggregate), types, tags]))
  lines.set(model, line)
  return line
}

/** Decisions on an event store. */
export const layer: Layer.Layer<Decisions, never, EventStore.EventStore> = layerPer(
  [EventStore.EventStore],
  () => Layer.effect(Decisions, make({}))
)

/** Decisions on an event store, with settings. */
export const layerWith = (options: Options): Layer.Layer<Decisions, never, EventStore.EventStore> =>
  layerPer([EventStore.EventStore], () => Layer.effect(Decisions, make(options)))
