/**
 * The repository: loads aggregates, lets them decide, and appends what they decided. On request it keeps snapshots, so that
 * long streams load fast, and carries out commands once.
 */
import {
  Context,
  type Duration,
  Effect,
  Layer,
  type Metric,
  Result,
  type Schedule,
  type Schema
} from "effect"
import { layerPer } from "../internal/layerPer.ts"
import type * as Aggregate from "../domain/Aggregate.ts"
import type * as Event from "../domain/Event.ts"
import * as EventStore from "./EventStore.ts"
import * as commands from "./commandKey.ts"
import { aggregateId as encodeId } from "./encode.ts"
import * as loop from "./decide.ts"
import { makeStreamDecisions } from "./decideOnStream.ts"
import { makeLoader } from "./load.ts"
import * as internal from "./snapshots.ts"
import { make as makeSnapshots, none, type SnapshotOptions, type Snapshots } from "./snapshots.ts"
import * as SnapshotStorage from "../driver/SnapshotStorage.ts"
import {
  AggregateNotFound,
  type Undecodable,
  type ExpectedVersion,
  type InvalidId,
  type ReadError
} from "../driver/StoreError.ts"
import { CurrentTenant } from "../domain/Tenant.ts"

export type { SnapshotOptions }

/** An aggregate as it is: its state, and the version of its stream (0: no events yet). */
export interface Loaded<out State> {
  readonly state: State
  readonly version: number
}

/** What a decision may yield: events, as a plain value, a `Result`, or an `Effect`. No events: nothing is appended. */
export type Decision<Payload, E = never, R = never> =
  | ReadonlyArray<NoInfer<Event.Appendable<Payload>>>
  | Result.Result<ReadonlyArray<NoInfer<Event.Appendable<Payload>>>, E>
  | Effect.Effect<ReadonlyArray<NoInfer<Event.Appendable<Payload>>>, E, R>

/** What a decision may fail with. */
export type ErrorOf<D> = loop.ErrorOf<D>

/** What a decision requires. */
export type RequirementsOf<D> = loop.RequirementsOf<D>

/** The outcome of a command. */
export interface Executed<out State, out Payload, out Type extends string = string> extends Loaded<State> {
  /** The new events, as they are stored. Empty if nothing was decided. */
  readonly events: ReadonlyArray<Event.Envelope<Payload, Type>>
  /** Whether the same events (by id), or the command with the same key, were there before: nothing was written now. */
  readonly replayed: boolean
}

/** Events decided elsewhere, to be appended under the version they were decided at. */
export interface SaveOptions<Payload> {
  readonly events: ReadonlyArray<Event.Appendable<Payload>>
  readonly expectedVersion: ExpectedVersion
}

/**
 * A command that is carried out once, however often it is given.
 *
 * **Details**
 *
 * What comes of it is kept under its key, in one step with its events, also if there are none: who gives it again gets the
 * same events, with the state as it was then, and `decide` does not run. Of several who give it at the same time, all may
 * decide, but one appends, and the others get what that one has. A command that fails leaves nothing behind: given again,
 * it is decided anew.
 */
export interface Command {
  /** Unique within the tenant, 1 to 255 characters: the id of a message, or what a client sent as its idempotency key. */
  readonly key: string
  /**
   * What tells it apart from others to the same aggregate, usually its arguments. The same key with other content, or to
   * another aggregate, is refused with `CommandKeyConflict`. The order of keys does not matter.
   */
  readonly content?: Schema.Json | undefined
  /** How long the key is kept; then it is as one never used. At least a millisecond. Default: that of the layer. */
  readonly timeToLive?: Duration.Input | undefined
}

/** Settings of one {@link Repository} command. */
export interface ExecuteOptions<out C extends Command | undefined = Command | undefined> {
  /** Has it carried out once. Default: as often as it is given. */
  readonly command?: C | undefined
  /** When to load and decide again after a version conflict. Default: that of the layer. It should be bounded. */
  readonly retry?: Schedule.Schedule<unknown> | undefined
  /**
   * The version that the aggregate must have to be decided on, for example the one that a client has seen. Another version
   * is a `VersionConflict` with this expectation, and is not tried again. A command that was carried out before has its
   * first outcome, whatever the version is now. Default: `"any"`.
   */
  readonly expectedVersion?: ExpectedVersion | undefined
}

/** Everything that can go wrong while an aggregate is loaded. */
export type LoadError = ReadError | Undecodable | InvalidId

/**
 * Loads and changes aggregates of the current tenant.
 *
 * **Gotchas**
 *
 * An aggregate of another tenant is not found, exactly like one that nobody has.
 */
export class Repository extends Context.Service<
  Repository,
  {
    /** The aggregate; fails with `AggregateNotFound` if it has no events. */
    readonly load: <Type extends string, State, Payload extends Event.Tagged, Id>(
      aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
      id: NoInfer<Id>
    ) => Effect.Effect<Loaded<State>, LoadError | AggregateNotFound, CurrentTenant>
    /** The aggregate, or its initial state at version 0. */
    readonly loadOrInitial: <Type extends string, State, Payload extends Event.Tagged, Id>(
      aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
      id: NoInfer<Id>
    ) => Effect.Effect<Loaded<State>, LoadError, CurrentTenant>
    /** Whether the aggregate has events. */
    readonly exists: <Type extends string, State, Payload extends Event.Tagged, Id>(
      aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
      id: NoInfer<Id>
    ) => Effect.Effect<boolean, ReadError | InvalidId, CurrentTenant>
    /**
     * Loads the aggregate, lets `decide` look at its state, and appends the events it yields, provided that nobody
     * appended in between; if somebody did, it reads on and decides again, on a bounded schedule.
     *
     * **Gotchas**
     *
     * `decide` may run several times: effects in it should not be visible outside. Where ids are derived
     * (`EventContext.derivingIds`, reactions) its events are returned if they are in the stream already, with the state
     * as it is now; it does not run then, or, behind a snapshot, runs in vain.
     */
    readonly execute: <
      Type extends string,
      State,
      Payload extends Event.Tagged,
      Id,
      // What `decide` yields, whatever mix of values, results and effects with errors of their own.
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
  /** When a command reads on and decides again after a version conflict. Default: {@link defaultRetry}. */
  readonly retry?: Schedule.Schedule<unknown> | undefined
  /** How long the keys of commands are kept. At least a millisecond. Default: 24 hours. */
  readonly commandTimeToLive?: Duration.Input | undefined
  /** None are used and none are taken. */
  readonly snapshots?: undefined
}

/** Settings of {@link layerWith}, with snapshots. */
export interface OptionsWithSnapshots extends Omit<Options, "snapshots"> {
  /** Which snapshots are taken, and how. Those that are there are used, but for aggregates with `SnapshotPolicy.never`. */
  readonly snapshots: SnapshotOptions
}

/** Counts the loads that went on from a snapshot, by `aggregate`. */
export const snapshotHits: Metric.Counter<number> = internal.hits

/**
 * Counts the loads that found no snapshot of use, and folded all events, by `aggregate` and `reason`: `absent` (there is
 * none), `stateVersion` (of another one), `dependencies` (of another state schema, initial value or set of events),
 * `corrupt` (changed, or does not decode), `ahead` (the stream does not reach that far), `otherHistory` (the stream has
 * another event there), `unavailable` (the storage failed).
 */
export const snapshotMisses: Metric.Counter<number> = internal.misses

/** Counts the snapshots that were taken, by `aggregate`. */
export const snapshotsTaken: Metric.Counter<number> = internal.taken

/**
 * Counts the snapshots that were due and not taken, by `aggregate` and `reason`: `notStorable` (the state cannot be stored
 * as JSON), `tooLarge`, `overflow` (too many are waiting), `outdated` (there is a newer one), `unavailable` (the storage
 * failed), `policy` (the policy threw).
 */
export const snapshotsNotTaken: Metric.Counter<number> = internal.notTaken

/**
 * Four times at once, then up to 16 times after 5, 10, 20 … milliseconds, jittered and at most a quarter of a second
 * apart.
 */
export const defaultRetry: Schedule.Schedule<unknown> = loop.defaultRetry

const make = (
  options: Pick<Options, "retry" | "commandTimeToLive">,
  snapshots: Snapshots
): Effect.Effect<Repository["Service"], never, EventStore.EventStore> =>
  Effect.map(EventStore.EventStore, (store) => {
    const loader = makeLoader(store, snapshots)
    const decisions = makeStreamDecisions(store, loader)
    const commandTimeToLive = commands.makeTimeToLive(options.commandTimeToLive ?? "24 hours")

    const loadOrInitial = <Type extends string, State, Payload extends Event.Tagged, Id>(
      aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
      id: Id
    ): Effect.Effect<Loaded<State>, LoadError, CurrentTenant> =>
      Effect.gen(function* () {
        const known = yield* loader.load(aggregate, id)
        yield* loader.consider(aggregate, id, known, 0)
        return { state: known.state, version: known.version }
      })

    const commandOf = Effect.fnUntraced(function* <
      Type extends string,
      State,
      Payload extends Event.Tagged,
      Id
    >(aggregate: Aggregate.Aggregate<Type, State, Payload, Id>, id: Id, command: Command | undefined) {
      if (command === undefined) return undefined
      const { timeToLive } = command
      return yield* commands.make(
        command,
        aggregate.type,
        yield* Effect.fromResult(encodeId(aggregate, id)),
        timeToLive === undefined ? commandTimeToLive : commands.makeTimeToLive(timeToLive)
      )
    })

    return Repository.of({
      loadOrInitial: Effect.fn("Repository.loadOrInitial")(loadOrInitial),
      load: Effect.fn("Repository.load")(function* (aggregate, id) {
        const loaded = yield* loadOrInitial(aggregate, id)
        if (loaded.version > 0) return loaded
        return yield* new AggregateNotFound({
          tenantId: yield* CurrentTenant,
          aggregateType: aggregate.type,
          aggregateId: Result.getOrElse(encodeId(aggregate, id), () => String(id))
        })
      }),
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
        {
          command: given,
          expectedVersion = "any",
          retry = options.retry ?? defaultRetry
        }: ExecuteOptions<C> = {}
      ) =>
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- Without a command key, none is in conflict.
        loop
          .withIds(
            // Also of a command that was carried out before: what comes after it has the ids it had then.
            () =>
              Result.map(encodeId(aggregate, id), (aggregateId) => ({
                aggregateType: aggregate.type,
                aggregateId
              })),
            (derived) =>
              Effect.flatMap(commandOf(aggregate, id, given), (command) => {
                const attempts = Effect.suspend(() =>
                  loop.run(
                    decisions.subject({ aggregate, id, ids: derived.ids, command, expectedVersion }),
                    (state) => loop.toEffect<ReadonlyArray<Event.Appendable<Payload>>, D>(decide(state)),
                    derived,
                    retry
                  )
                )
                return command === undefined
                  ? attempts
                  : Effect.flatMap(decisions.carriedOut(aggregate, id, command), (before) =>
                      before === undefined ? attempts : Effect.succeed(before)
                    )
              })
          )
          .pipe(
            Effect.withSpan("Repository.execute", { attributes: { "aggregate.type": aggregate.type } })
          ) as Effect.Effect<
          Executed<State, Payload, Type>,
          ErrorOf<D> | EventStore.AppendFailure<undefined, C>,
          RequirementsOf<D> | CurrentTenant
        >,
      save: (aggregate, id, { events, expectedVersion }) =>
        store.append({ aggregate, id, events, expectedVersion })
    })
  })

/** The repository on an event store. */
export const layer: Layer.Layer<Repository, never, EventStore.EventStore> = layerPer(
  [EventStore.EventStore],
  () => Layer.effect(Repository, make({}, none))
)

/** The repository on an event store, with settings; with snapshots, on a storage of those as well. */
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
