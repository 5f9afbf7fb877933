/**
 * The repository: loads aggregates, decides, and appends the decided events. On request it keeps snapshots, so that long
 * streams load fast, and carries out repeated commands only once.
 */
import { Context, type Duration, Effect, Layer, Result, type Schedule, type Scope } from "effect"
import { layerPer } from "../internal/layerPer.ts"
import type * as Aggregate from "../domain/Aggregate.ts"
import type * as Event from "../domain/Event.ts"
import * as EventStore from "./EventStore.ts"
import { aggregateId as encodeId } from "./encode.ts"
import * as loop from "./decide.ts"
import { Contention } from "./contention.ts"
import { makeStreamDecisions, stateOf } from "./decideOnStream.ts"
import { type Command, type ExecuteOptions, makeExecute } from "./execute.ts"
import type { JoinOptions } from "./inLine.ts"
import { makeLoader } from "./load.ts"
import { measureMemory } from "./memoryMeasures.ts"
import { makeMemory, type RememberOptions } from "./rememberedStates.ts"
import { make as makeSnapshots, none, type SnapshotOptions, type Snapshots } from "./snapshots.ts"
import * as SnapshotStorage from "../driver/SnapshotStorage.ts"
import {
  AggregateNotFound,
  type Undecodable,
  type ExpectedVersion,
  type InvalidId,
  type ReadError
} from "../driver/StoreError.ts"
import { tenantOf } from "../domain/currentTenant.ts"
import type { CurrentTenant } from "../domain/Tenant.ts"
import { attempted } from "./attempted.ts"
import { timing } from "../telemetry/series.ts"
import { timed } from "../telemetry/spanned.ts"
import { executeDuration, loadDuration } from "../telemetry/Telemetry.ts"

export type { JoinOptions, RememberOptions, SnapshotOptions }
export type { Command, ExecuteOptions } from "./execute.ts"

/** A loaded aggregate: its state, and the version of its stream (0 without events). */
export interface Loaded<out State> {
  readonly state: State
  readonly version: number
  /**
   * The id of the event with that version; undefined without events. Together they name the state exactly: after a restore or
   * a failover another history may have the same version.
   */
  readonly eventId: Event.EventId | undefined
}

/** The result of a decision: events, as a plain value, a `Result`, or an `Effect`. Without events nothing is appended. */
export type Decision<Payload, E = never, R = never> =
  | ReadonlyArray<NoInfer<Event.Appendable<Payload>>>
  | Result.Result<ReadonlyArray<NoInfer<Event.Appendable<Payload>>>, E>
  | Effect.Effect<ReadonlyArray<NoInfer<Event.Appendable<Payload>>>, E, R>

/** The errors of a decision. */
export type ErrorOf<D> = loop.ErrorOf<D>

/** The requirements of a decision. */
export type RequirementsOf<D> = loop.RequirementsOf<D>

/** The outcome of a command. */
export interface Executed<out State, out Payload, out Type extends string = string> extends Loaded<State> {
  /** The new events, as stored. Empty if nothing was decided. */
  readonly events: ReadonlyArray<Event.Envelope<Payload, Type>>
  /** True if the same events (by id), or the command with the same key, existed before. Nothing was written this time. */
  readonly replayed: boolean
}

/** Events that were decided elsewhere, with the version on which they were decided. */
export interface SaveOptions<Payload> {
  readonly events: ReadonlyArray<Event.Appendable<Payload>>
  readonly expectedVersion: ExpectedVersion
  /** The id of the event with that version, for example {@link Loaded.eventId}; see {@link ExecuteOptions}. Default: any event. */
  readonly expectedEventId?: Event.EventId | undefined
}

/** Settings of a load. */
export interface LoadOptions {
  /**
   * Loads from the store, whatever is remembered, and remembers that. A load is exact without it too: it reads on from the
   * remembered state, after the store has confirmed the state's last event. Default: false.
   */
  readonly fresh?: boolean | undefined
}

/** Errors of loading an aggregate. */
export type LoadError = ReadError | Undecodable | InvalidId

/**
 * Loads and changes aggregates of the current tenant.
 *
 * **Gotchas**
 *
 * An aggregate of another tenant is not found, exactly like one that does not exist.
 */
export class Repository extends Context.Service<
  Repository,
  {
    /** Loads an aggregate; fails with `AggregateNotFound` if it has no events. */
    readonly load: <Type extends string, State, Payload extends Event.Tagged, Id>(
      aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
      id: NoInfer<Id>,
      options?: LoadOptions
    ) => Effect.Effect<Loaded<State>, LoadError | AggregateNotFound, CurrentTenant>
    /** Loads an aggregate; returns its initial state at version 0 if it has no events. */
    readonly loadOrInitial: <Type extends string, State, Payload extends Event.Tagged, Id>(
      aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
      id: NoInfer<Id>,
      options?: LoadOptions
    ) => Effect.Effect<Loaded<State>, LoadError, CurrentTenant>
    /** True if the aggregate has events. */
    readonly exists: <Type extends string, State, Payload extends Event.Tagged, Id>(
      aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
      id: NoInfer<Id>
    ) => Effect.Effect<boolean, ReadError | InvalidId, CurrentTenant>
    /**
     * Loads the aggregate, calls `decide` with its state, and appends the decided events if no other event was appended to the
     * stream meanwhile. Otherwise it reads the new events and decides again, on a bounded schedule.
     *
     * **Details**
     *
     * The state may be a remembered one, or may contain events of earlier commands that are appended together with the new
     * ones. No outcome is returned before the store has confirmed that state. If `decide` returns an `Effect`, it only runs on
     * a confirmed state.
     *
     * **Gotchas**
     *
     * `decide` may run several times, and on states that are never stored, so it must have no effects outside, and must not
     * change the state. With derived ids (`EventContext.derivingIds`, reactions), a repeated command returns the events of its
     * first run with the present state. `decide` does not run then; if those events lie before a snapshot or a remembered
     * state, it may run, but its result is not used.
     *
     * After `OutcomeUnknown`, and after an interruption, the events may be stored. Repeat the command with a command key, with
     * derived ids, or with events to which `decide` gives the same ids: then it is carried out once. Without any of these,
     * `decide` gets the newest state, and a command that it does not recognise as done is carried out twice.
     */
    readonly execute: <
      Type extends string,
      State,
      Payload extends Event.Tagged,
      Id,
      // The type of the result of `decide`: any mix of values, results and effects with their errors.
      const D extends Decision<Payload, unknown, unknown>,
      C extends Command | undefined = undefined
    >(
      aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
      id: NoInfer<Id>,
      decide: (state: State) => D,
      options?: ExecuteOptions<C>
    ) => Effect.Effect<
      Executed<State, Payload, Type>,
      ErrorOf<D> | EventStore.AppendFailure<undefined, C>,
      RequirementsOf<D> | CurrentTenant
    >
    /** Appends events that were decided elsewhere. */
    readonly save: <Type extends string, State, Payload extends Event.Tagged, Id>(
      aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
      id: NoInfer<Id>,
      options: NoInfer<SaveOptions<Payload>>
    ) => Effect.Effect<EventStore.Appended<Payload, Type>, EventStore.AppendFailure, CurrentTenant>
  }
>()("effect-eventsourcing/Repository") {}

/** Settings of {@link layerWith}. */
export interface Options {
  /** Schedule for deciding again after a version conflict. Default: {@link defaultRetry}. */
  readonly retry?: Schedule.Schedule<unknown> | undefined
  /** Time for which the keys of commands are kept. At least a millisecond. Default: 24 hours. */
  readonly commandTimeToLive?: Duration.Input | undefined
  /**
   * Bounds of the states that are remembered in this process, so that commands and loads need not read all events. They are a
   * matter of speed alone, never of outcome. `{ entries: 0 }` turns it off. Default: 10,000 states, 64 Mi characters.
   */
  readonly remember?: RememberOptions | undefined
  /**
   * Commands that arrive while another command to the same aggregate is being carried out are decided together, one after the
   * other, and appended at once. `false` turns this off. Default: up to 256 commands together.
   */
  readonly join?: JoinOptions | false | undefined
  /** Without this option, snapshots are neither used nor taken. */
  readonly snapshots?: undefined
}

/** Settings of {@link layerWith}, with snapshots. */
export interface OptionsWithSnapshots extends Omit<Options, "snapshots"> {
  /** Settings for snapshots. Existing snapshots are used, except for aggregates with `SnapshotPolicy.never`. */
  readonly snapshots: SnapshotOptions
}

const timeLoad = timing(loadDuration)
const timeExecute = timing(executeDuration)

/**
 * Retries four times without delay, then up to 16 times after 5, 10, 20 … milliseconds, at most a quarter of a second apart
 * and jittered.
 */
export const defaultRetry: Schedule.Schedule<unknown> = loop.defaultRetry

const make = (
  options: Pick<Options, "retry" | "commandTimeToLive" | "remember" | "join">,
  snapshots: Snapshots
): Effect.Effect<Repository["Service"], never, EventStore.EventStore | Scope.Scope> =>
  Effect.gen(function* () {
    const store = yield* EventStore.EventStore
    const memory = makeMemory(store, options.remember)
    yield* measureMemory(memory.states)
    const contention = new Contention()
    const loader = makeLoader(store, snapshots)
    const decisions = makeStreamDecisions(store, loader, contention)
    const execute = makeExecute({ store, loader, decisions, memory, contention }, options)

    const loadOrInitial = <Type extends string, State, Payload extends Event.Tagged, Id>(
      aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
      id: Id,
      { fresh = false }: LoadOptions = {}
    ): Effect.Effect<Loaded<State>, LoadError, CurrentTenant> =>
      Effect.flatMap(memory.slotOf(aggregate, id, fresh), (slot) =>
        Effect.flatMap(loader.present(aggregate, id, slot), (known) =>
          loader.areSnapshotsUsed(aggregate.type)
            ? Effect.as(loader.consider(aggregate, id, known, 0, slot), stateOf(known))
            : Effect.succeed(stateOf(known))
        )
      )

    return Repository.of({
      loadOrInitial: (aggregate, id, loadOptions) =>
        timed("load", aggregate.type, timeLoad, () => loadOrInitial(aggregate, id, loadOptions)),
      load: (aggregate, id, loadOptions) =>
        timed("load", aggregate.type, timeLoad, (services) =>
          Effect.flatMap(loadOrInitial(aggregate, id, loadOptions), (loaded) =>
            loaded.version > 0
              ? Effect.succeed(loaded)
              : Effect.fail(
                  new AggregateNotFound({
                    tenantId: tenantOf(services),
                    aggregateType: aggregate.type,
                    aggregateId: Result.getOrElse(encodeId(aggregate, id), () => String(id))
                  })
                )
          )
        ),
      exists: (aggregate, id) => store.exists({ aggregate, id }),
      execute: <
        Type extends string,
        State,
        Payload extends Event.Tagged,
        Id,
        const D extends Decision<Payload, unknown, unknown>,
        C extends Command | undefined = undefined
      >(
        aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
        id: Id,
        decide: (state: State) => D,
        given: ExecuteOptions<C> = {}
      ) =>
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- Without a command key, no CommandKeyConflict is raised.
        timed("execute", aggregate.type, timeExecute, (services, span) => {
          // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- D fails with and requires what its members do
          const decideAs = decide as (state: State) => Decision<Payload, ErrorOf<D>, RequirementsOf<D>>
          return attempted(services, span, aggregate.type, decideAs, (counted) =>
            execute(services, { aggregate, id, decide: counted }, given)
          )
        }) as Effect.Effect<
          Executed<State, Payload, Type>,
          ErrorOf<D> | EventStore.AppendFailure<undefined, C>,
          RequirementsOf<D> | CurrentTenant
        >,
      save: (aggregate, id, { events, expectedEventId, expectedVersion }) =>
        store.append({ aggregate, id, events, expectedVersion, expectedEventId })
    })
  })

/** The repository on an event store. */
export const layer: Layer.Layer<Repository, never, EventStore.EventStore> = layerPer(
  [EventStore.EventStore],
  () => Layer.effect(Repository, make({}, none))
)

/** The repository on an event store, with settings. With snapshots it also requires a `SnapshotStorage`. */
export function layerWith(options: Options): Layer.Layer<Repository, never, EventStore.EventStore>
export function layerWith(
  options: OptionsWithSnapshots
): Layer.Layer<Repository, never, EventStore.EventStore | SnapshotStorage.SnapshotStorage>
export function layerWith(
  options: Options | OptionsWithSnapshots
): Layer.Layer<Repository, never, EventStore.EventStore | SnapshotStorage.SnapshotStorage> {
  const { snapshots } = options
  return snapshots === undefined
    ? layerPer([EventStore.EventStore], () => Layer.effect(Repository, make(options, none)))
    : layerPer([EventStore.EventStore, SnapshotStorage.SnapshotStorage], () =>
        Layer.effect(
          Repository,
          Effect.flatMap(SnapshotStorage.SnapshotStorage, (storage) =>
            Effect.flatMap(makeSnapshots(snapshots, storage), (made) => make(options, made))
          )
        )
      )
}
