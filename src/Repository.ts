/**
 * The repository: loads aggregates, lets them decide, and appends what they decided.
 */
import { Context, Effect, Layer, Result, Schedule, Stream } from "effect"
import type * as Aggregate from "./Aggregate.ts"
import type * as Event from "./Event.ts"
import * as EventStore from "./EventStore.ts"
import { CurrentDerivedIds, type Ids, named } from "./internal/derivedIds.ts"
import { aggregateId as encodeId } from "./internal/encode.ts"
import {
  AggregateNotFound,
  type AppendError,
  type DecodeError,
  type ExpectedVersion,
  type InvalidInput,
  type ReadError,
  type VersionConflict
} from "./StoreError.ts"
import { CurrentTenant } from "./Tenant.ts"

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
export type ErrorOf<D> =
  D extends Result.Result<infer _A, infer E>
    ? E
    : D extends Effect.Effect<infer _A, infer E, infer _R>
      ? E
      : never

/** What a decision requires. */
export type RequirementsOf<D> = D extends Effect.Effect<infer _A, infer _E, infer R> ? R : never

/** The outcome of a command. */
export interface Executed<out State, out Payload, out Type extends string = string> extends Loaded<State> {
  /** The new events, as they are stored. Empty if nothing was decided. */
  readonly events: ReadonlyArray<Event.Envelope<Payload, Type>>
  /** Whether the same events (by id) had been appended before: then nothing was written now. */
  readonly replayed: boolean
}

/** Events decided elsewhere, to be appended under the version they were decided at. */
export interface SaveOptions<Payload> {
  readonly events: ReadonlyArray<Event.Appendable<Payload>>
  readonly expectedVersion: ExpectedVersion
}

/** Settings of one {@link Repository} command. */
export interface ExecuteOptions {
  /** When to load and decide again after a version conflict. Default: that of the layer. It should be bounded. */
  readonly retry?: Schedule.Schedule<unknown> | undefined
}

/** Everything that can go wrong while an aggregate is loaded. */
export type LoadError = ReadError | DecodeError | InvalidInput

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
      id: Id
    ) => Effect.Effect<Loaded<State>, LoadError | AggregateNotFound, CurrentTenant>
    /** The aggregate, or its initial state at version 0. */
    readonly loadOrInitial: <Type extends string, State, Payload extends Event.Tagged, Id>(
      aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
      id: Id
    ) => Effect.Effect<Loaded<State>, LoadError, CurrentTenant>
    /** Whether the aggregate has events. */
    readonly exists: <Type extends string, State, Payload extends Event.Tagged, Id>(
      aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
      id: Id
    ) => Effect.Effect<boolean, ReadError | InvalidInput, CurrentTenant>
    /**
     * Loads the aggregate, lets `decide` look at its state, and appends the events it yields, provided that nobody
     * appended in between; if somebody did, it loads and decides again, on a bounded schedule.
     *
     * **Gotchas**
     *
     * `decide` may run several times: effects in it should not be visible outside. Where ids are derived
     * (`EventContext.derivingIds`, reactions) it does not run if its events are in the stream already; then they are
     * returned, with the state as it is now.
     */
    readonly execute: <
      Type extends string,
      State,
      Payload extends Event.Tagged,
      Id,
      // What `decide` yields, whatever mix of values, results and effects with errors of their own.
      const D extends Decision<Payload, unknown, unknown>
    >(
      aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
      id: Id,
      decide: (state: State) => D,
      options?: ExecuteOptions
    ) => Effect.Effect<
      Executed<State, Payload, Type>,
      ErrorOf<D> | LoadError | AppendError,
      RequirementsOf<D> | CurrentTenant
    >
    /** Appends events that were decided elsewhere. */
    readonly save: <Type extends string, State, Payload extends Event.Tagged, Id>(
      aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
      id: Id,
      options: NoInfer<SaveOptions<Payload>>
    ) => Effect.Effect<
      EventStore.Appended<Payload, Type>,
      AppendError | InvalidInput | DecodeError,
      CurrentTenant
    >
  }
>()("effect-eventsourcing/Repository") {}

/** Settings of {@link layerWith}. */
export interface Options {
  /** When a command loads and decides again after a version conflict. Default: {@link defaultRetry}. */
  readonly retry?: Schedule.Schedule<unknown> | undefined
}

/**
 * Four times at once, then up to 16 times after 5, 10, 20 … milliseconds, jittered and at most a quarter of a second
 * apart.
 */
export const defaultRetry: Schedule.Schedule<unknown> = Schedule.concat(
  Schedule.recurs(4),
  Schedule.min([Schedule.exponential("5 millis"), Schedule.spaced("250 millis")]).pipe(
    Schedule.jittered,
    Schedule.upTo({ times: 16 })
  )
)

/** A conflict on the stream that a command decides on, told apart from one that `decide` itself fails with. */
class Outdated {
  readonly conflict: VersionConflict
  constructor(conflict: VersionConflict) {
    this.conflict = conflict
  }
}

const toEffect = <Payload, D extends Decision<Payload, unknown, unknown>>(
  decision: D
): Effect.Effect<ReadonlyArray<Event.Appendable<Payload>>, ErrorOf<D>, RequirementsOf<D>> => {
  const yielded: Decision<Payload, unknown, unknown> = decision
  const effect = Effect.isEffect(yielded)
    ? yielded
    : Result.isResult(yielded)
      ? Effect.fromResult(yielded)
      : Effect.succeed(yielded)
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- D fails with and requires what its members do
  return effect as Effect.Effect<ReadonlyArray<Event.Appendable<Payload>>, ErrorOf<D>, RequirementsOf<D>>
}

const make = (options: Options): Effect.Effect<Repository["Service"], never, EventStore.EventStore> =>
  Effect.map(EventStore.EventStore, (store) => {
    const loadOrInitial = <Type extends string, State, Payload extends Event.Tagged, Id>(
      aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
      id: Id,
      inspect?: (envelope: Event.Envelope<Payload, Type>) => void
    ): Effect.Effect<Loaded<State>, LoadError, CurrentTenant> =>
      Effect.suspend(() => {
        let state = aggregate.initial
        let version = 0
        return store.readStream({ aggregate, id }).pipe(
          Stream.runForEachArray((page) =>
            Effect.sync(() => {
              for (const envelope of page) {
                state = aggregate.apply(state, envelope.payload)
                version = envelope.version
                inspect?.(envelope)
              }
            })
          ),
          Effect.map(() => ({ state, version }))
        )
      })

    /** The ids of the next command to an aggregate, where ids are derived. */
    const nextIds = Effect.fnUntraced(function* <
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

    const decideOnce = Effect.fnUntraced(function* <
      Type extends string,
      State,
      Payload extends Event.Tagged,
      Id,
      E,
      R
    >(
      aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
      id: Id,
      decide: (state: State) => Effect.Effect<ReadonlyArray<Event.Appendable<Payload>>, E, R>,
      ids?: Ids
    ) {
      const done: Array<Event.Envelope<Payload, Type>> = []
      let wanted = ids?.at(0)
      const { state, version } = yield* loadOrInitial(aggregate, id, (envelope) => {
        if (envelope.eventId === wanted) wanted = ids?.at(done.push(envelope))
      })
      // The command was executed before.
      if (done.length > 0) return { state, version, events: done, replayed: true }
      const events = yield* Effect.suspend(() => decide(state))
      if (events.length === 0) return { state, version, events: [], replayed: false }
      const appended = yield* store
        .append({
          aggregate,
          id,
          events: ids === undefined ? events : named(events, ids),
          expectedVersion: version
        })
        .pipe(Effect.catchTag("VersionConflict", (conflict) => Effect.fail(new Outdated(conflict))))
      // Events that had been appended before may lie anywhere in the stream.
      return appended.replayed
        ? { ...(yield* loadOrInitial(aggregate, id)), events: appended.events, replayed: true }
        : {
            state: aggregate.fold(
              appended.events.map(({ payload }) => payload),
              state
            ),
            version: appended.version,
            events: appended.events,
            replayed: false
          }
    })

    return Repository.of({
      loadOrInitial: (aggregate, id) => loadOrInitial(aggregate, id),
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
        const D extends Decision<Payload, unknown, unknown>
      >(
        aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
        id: Id,
        decide: (state: State) => D,
        { retry = options.retry ?? defaultRetry }: ExecuteOptions = {}
      ) =>
        Effect.flatMap(nextIds(aggregate, id), (ids) => {
          // What the store refused is tried again under the same ids, what was decided against is settled.
          let refused = false
          const decideAndTell = (state: State) =>
            Effect.tapError(toEffect<Payload, D>(decide(state)), () =>
              Effect.sync(() => void (refused = true))
            )
          return decideOnce(aggregate, id, decideAndTell, ids).pipe(
            Effect.retry({ while: (error) => error instanceof Outdated, schedule: retry }),
            Effect.mapError((error) => (error instanceof Outdated ? error.conflict : error)),
            Effect.onError(() => Effect.sync(() => (refused ? undefined : ids?.release())))
          )
        }).pipe(Effect.withSpan("Repository.execute", { attributes: { "aggregate.type": aggregate.type } })),
      save: (aggregate, id, { events, expectedVersion }) =>
        store.append({ aggregate, id, events, expectedVersion })
    })
  })

/** The repository on an event store. */
export const layer: Layer.Layer<Repository, never, EventStore.EventStore> = Layer.effect(Repository, make({}))

/** The repository on an event store, with settings. */
export const layerWith = (options: Options): Layer.Layer<Repository, never, EventStore.EventStore> =>
  Layer.effect(Repository, make(options))
