/**
 * Read models in memory: a pure fold over a tenant's log, kept per tenant in the process and up to date with the log.
 */
import { Context, type Duration, Effect, Layer, Option, RcMap, type Schedule, Stream } from "effect"
import { layerPer } from "../internal/layerPer.ts"
import type * as Aggregate from "../domain/Aggregate.ts"
import type * as Event from "../domain/Event.ts"
import * as EventStorage from "../driver/EventStorage.ts"
import type { EnvelopeOf } from "../store/EventStore.ts"
import { currentTenant } from "../domain/currentTenant.ts"
import * as decode from "../store/decode.ts"
import * as inMemory from "./tenantStates.ts"
import { checkHandlers, eventTags } from "../domain/handlers.ts"
import { storedTypes } from "../domain/storedTypes.ts"
import type { EnvelopeWith } from "./Projection.ts"
import { confirm } from "./keptPosition.ts"
import { type DivergedAt, ProjectionBehind } from "./ProjectionError.ts"
import type { Undecodable, ReadError } from "../driver/StoreError.ts"
import type { CurrentTenant, TenantId } from "../domain/Tenant.ts"

export type { Current, Kept, StateKey, Stored } from "./tenantStates.ts"

/** One function per event type; types without one leave the state as it is. */
export type Handlers<As extends ReadonlyArray<Aggregate.Any>, State> = {
  readonly [Tag in Aggregate.EventOf<As[number]>["_tag"]]?: (
    state: State,
    event: Extract<Aggregate.EventOf<As[number]>, { readonly _tag: Tag }>,
    envelope: EnvelopeWith<EnvelopeOf<As[number]>, Tag>
  ) => State
}

/** A fold as one function over all events of the aggregates. */
export type Apply<As extends ReadonlyArray<Aggregate.Any>, State> = (
  state: State,
  event: Aggregate.EventOf<As[number]>,
  envelope: EnvelopeOf<As[number]>
) => State

/** What a projection in memory consists of, besides its name and fold. */
export interface Options<As extends ReadonlyArray<Aggregate.Any>, State> {
  /** Part of the key of stored states: another version begins anew. Default: 1. */
  readonly version?: number | undefined
  /** Whose events are folded. */
  readonly aggregates: As
  /** Makes the state before the first event, anew for every tenant: nothing is shared between tenants. */
  readonly initial: () => State
}

/** Settings of a projection's `layerWith`. */
export interface LayerOptions<State, R = never> {
  /** How long a tenant's state is kept, and kept up to date, when nobody uses it. Default: 5 minutes. */
  readonly idleTimeToLive?: Duration.Input | undefined
  /** How often the log of a tenant whose state is kept is looked at without a hint. Default: 1 second. */
  readonly pollInterval?: Duration.Input | undefined
  /** When a storage that fails in a passing way is asked again. Default: without end, at most 5 seconds apart. */
  readonly retry?: Schedule.Schedule<unknown> | undefined
  /** Events that are read at once. Default: 500. */
  readonly pageSize?: number | undefined
  /**
   * Where states are kept, so that they need not be folded from the beginning of the log. It works in the name of the
   * tenant; when it fails, there is a warning in the log, and the state is folded from the events. States belong to a
   * fold: give a changed one another version.
   */
  readonly stored?: inMemory.Stored<State, R> | undefined
}

/** Settings of `awaitPosition`. */
export interface AwaitOptions {
  /** Default: 5 seconds. */
  readonly timeout?: Duration.Input | undefined
}

/** Why there is no current state. */
export type Failure = ReadError | Undecodable

/** A projection in memory, as it runs. */
export interface Service<State> {
  /**
   * The current tenant's state. The first time, it waits until the log has been folded; from then on it answers from
   * memory, a moment behind the log. While the storage is away in a passing way, the first `get` waits, and later ones
   * answer with what there is.
   */
  readonly get: Effect.Effect<inMemory.Current<State>, Failure, CurrentTenant>
  /**
   * The current tenant's state, once it contains an event: for reading what one has written. Fails with
   * `ProjectionBehind` after the timeout, and with `PositionDiverged` if another event is at the position, or none: what
   * was written is lost. With a position alone nobody can tell.
   */
  readonly awaitPosition: <At extends number | Event.Position>(
    position: At,
    options?: AwaitOptions
  ) => Effect.Effect<inMemory.Current<State>, ProjectionBehind | DivergedAt<At> | Failure, CurrentTenant>
  /**
   * The current tenant's state, and each that follows. A slow consumer skips states, and always gets to the last one.
   */
  readonly changes: Stream.Stream<inMemory.Current<State>, Failure, CurrentTenant>
}

/** Stands in the requirements of programs for the projection of that name that runs. */
export interface Running<in out Name extends string> {
  readonly "~effect-eventsourcing/InMemoryProjection": (name: Name) => Name
}

/**
 * A projection in memory: a plain value, and the service that runs it.
 *
 * **Details**
 *
 * A state is kept from its first use on, as long as it is used and a while longer. It may be discarded at any time and
 * is then folded from the log again: so is one, with a warning, whose last event is not in the log any more, as after a
 * failover that lost the end of the log. A tenant whose log has an event that cannot be decoded, or that the fold throws at,
 * has no state: `get` fails with the cause, and it is tried again after 1, 2, 4 … and at most 60 seconds, from where it
 * stopped. Other tenants do not notice.
 */
export interface InMemoryProjection<Name extends string, State, Envelope> {
  readonly name: Name
  readonly version: number
  readonly initial: () => State
  /** The state after one more event. */
  apply(state: State, envelope: Envelope): State
  /** The state after events, from the initial state or a given one. */
  fold(envelopes: Iterable<Envelope>, from?: State): State
  /** The key of the service. The properties below use the service that is provided. */
  readonly Service: Context.Service<Running<Name>, Service<State>>
  /** Runs the projection, for every tenant that is asked for. */
  readonly layer: Layer.Layer<Running<Name>, never, EventStorage.EventStorage>
  /** Runs the projection, with settings. */
  layerWith<R = never>(
    options: LayerOptions<State, R>
  ): Layer.Layer<Running<Name>, never, EventStorage.EventStorage | Exclude<R, CurrentTenant>>
  /** See {@link Service}. */
  readonly get: Effect.Effect<inMemory.Current<State>, Failure, Running<Name> | CurrentTenant>
  /** See {@link Service}. */
  awaitPosition<At extends number | Event.Position>(
    position: At,
    options?: AwaitOptions
  ): Effect.Effect<
    inMemory.Current<State>,
    ProjectionBehind | DivergedAt<At> | Failure,
    Running<Name> | CurrentTenant
  >
  /** See {@link Service}. */
  readonly changes: Stream.Stream<inMemory.Current<State>, Failure, Running<Name> | CurrentTenant>
}

const defaultTimeout = "5 seconds"

/**
 * Makes a projection in memory from its name, its parts, and either one function per event type or one over all events.
 *
 * **Gotchas**
 *
 * Throws on a handler for a tag that no event of the aggregates has.
 *
 * Two projections of the same name and version are the same service: give each a name of its own. A fold that changes a
 * state in place shows the change to those who got the state before.
 *
 * **Example**
 *
 * ```ts
 * const Revenue = InMemoryProjection.make(
 *   "revenue",
 *   { aggregates: [Order], initial: () => ({ orders: 0, total: 0 }) },
 *   { OrderPlaced: (state, { total }) => ({ orders: state.orders + 1, total: state.total + total }) }
 * )
 *
 * const total = Revenue.get.pipe(Effect.map(({ state }) => state.total), Tenant.provide(tenantId))
 * ```
 */
export const make = <
  const Name extends string,
  State,
  const As extends ReadonlyArray<Aggregate.Any>,
  // A parameter of its own, and an argument of its own: so the literals in the returned states are inferred as such.
  Fold extends Handlers<As, State> | Apply<As, State>
>(
  name: Name,
  options: Options<As, State>,
  fold: Fold & Aggregate.NoOthers<Fold, Aggregate.EventOf<As[number]>["_tag"]>
): InMemoryProjection<Name, State, EnvelopeOf<As[number]>> => {
  type Envelope = EnvelopeOf<As[number]>
  const { version = 1, aggregates, initial } = options
  if (name === "") throw new RangeError("a projection in memory has a name")
  if (!Number.isSafeInteger(version) || version < 1)
    throw new RangeError(`version of projection ${name} must be a positive integer`)
  const byType = new Map(aggregates.map((aggregate) => [aggregate.type, aggregate]))
  const either: Handlers<As, State> | Apply<As, State> = fold
  if (typeof either === "object")
    checkHandlers(`projection ${name}`, either, eventTags(aggregates), "some events")
  const folding = typeof either === "function" ? applyAll(either) : applyByTag<As, State>(either)
  const { apply } = folding
  const key = Context.Service<Running<Name>, Service<State>>(
    `effect-eventsourcing/InMemoryProjection/${JSON.stringify([name, version])}`
  )

  const build = <R>(settings: LayerOptions<State, R>) =>
    Effect.gen(function* () {
      const storage = yield* EventStorage.EventStorage
      const states = yield* inMemory.make<State, Envelope & Event.Position, Undecodable, R>({
        storage,
        name,
        version,
        initial,
        apply,
        follow: {
          aggregateTypes: [...byType.keys()],
          eventTypes: folding.eventTypes && storedTypes(aggregates, folding.eventTypes),
          pageSize: settings.pageSize,
          pollInterval: settings.pollInterval,
          retry: settings.retry,
          decode: (tenantId: TenantId, rows: ReadonlyArray<EventStorage.EventRow>) =>
            // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- each event is decoded by the aggregate whose type it has
            decode.mixedEnvelopes(tenantId, byType, rows) as decode.Decoded<
              Envelope & Event.Position,
              Undecodable
            >
        },
        idleTimeToLive: settings.idleTimeToLive ?? "5 minutes",
        stored: settings.stored
      })
      const entry = Effect.flatMap(currentTenant, (tenantId) => RcMap.get(states, tenantId))
      const isCurrent = ({ ready, failure }: inMemory.Entry<State, Failure>) => ready && failure === undefined

      return key.of({
        get: Effect.scoped(Effect.flatMap(entry, (found) => found.when(isCurrent))),
        awaitPosition: Effect.fn("InMemoryProjection.awaitPosition")(function* <
          At extends number | Event.Position
        >(position: At, { timeout = defaultTimeout }: AwaitOptions = {}) {
          const found = yield* entry
          const wanted = yield* confirm(storage, yield* currentTenant, position)
          return yield* found
            .when(({ current }) => current.position >= wanted)
            .pipe(
              Effect.timeoutOrElse({
                duration: timeout,
                orElse: () => Effect.flatMap(currentTenant, (tenantId) => behind(found, tenantId, wanted))
              })
            )
        }, Effect.scoped),
        changes: Stream.unwrap(
          Effect.map(entry, (found) =>
            Stream.paginate(undefined as inMemory.Current<State> | undefined, (seen) =>
              Effect.map(
                found.when((now) => isCurrent(now) && now.current !== seen),
                (current) => [[current], Option.some(current)] as const
              )
            )
          )
        )
      })
    })

  const behind = (
    { current, head }: inMemory.Entry<State, Failure>,
    tenantId: TenantId,
    wanted: number
  ): Effect.Effect<never, ProjectionBehind> =>
    Effect.fail(
      new ProjectionBehind({
        tenantId,
        projection: name,
        version,
        wanted,
        position: current.position,
        head,
        state: current.position < head ? "catchingUp" : "live",
        error: null
      })
    )

  return {
    name,
    version,
    initial,
    apply,
    fold(envelopes, from) {
      let state = from === undefined ? initial() : from
      for (const envelope of envelopes) state = apply(state, envelope)
      return state
    },
    Service: key,
    layer: layerPer([EventStorage.EventStorage], () => Layer.effect(key, build({}))),
    layerWith: (settings) => layerPer([EventStorage.EventStorage], () => Layer.effect(key, build(settings))),
    get: key.use(({ get }) => get),
    awaitPosition: (position, settings) => key.use((service) => service.awaitPosition(position, settings)),
    changes: Stream.unwrap(Effect.map(key, ({ changes }) => changes))
  }
}

/** A fold, and of which events. */
interface Folding<As extends ReadonlyArray<Aggregate.Any>, State> {
  readonly apply: (state: State, envelope: EnvelopeOf<As[number]>) => State
  readonly eventTypes: ReadonlyArray<string> | undefined
}

const applyAll = <As extends ReadonlyArray<Aggregate.Any>, State>(
  apply: Apply<As, State>
): Folding<As, State> => ({
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- an envelope of the aggregates has one of their events
  apply: (state, envelope) => apply(state, payloadOf(envelope) as Aggregate.EventOf<As[number]>, envelope),
  eventTypes: undefined
})

const applyByTag = <As extends ReadonlyArray<Aggregate.Any>, State>(
  handlers: Handlers<As, State>
): Folding<As, State> => {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- Each handler takes its own event only, and is looked up by that event's tag.
  const byTag = new Map(Object.entries(handlers) as Array<[string, Apply<As, State>]>)
  return {
    apply: (state, envelope) => {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- an envelope of the aggregates has one of their events
      const event = payloadOf(envelope) as Aggregate.EventOf<As[number]>
      const handler = byTag.get(event._tag)
      return handler === undefined ? state : handler(state, event, envelope)
    },
    eventTypes: [...byTag.keys()]
  }
}

const payloadOf = (envelope: Event.Envelope<Event.Tagged>): Event.Tagged => envelope.payload
