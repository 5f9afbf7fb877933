/**
 * Read models in memory: a pure fold over each tenant's log, kept up to date in the process.
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
import { mayBePersonal } from "../store/snapshotCodec.ts"
import { storedTypes } from "../domain/storedTypes.ts"
import type * as PersonalSubject from "../domain/PersonalSubject.ts"
import { checkForgotten, forgottenTag, withSubjects } from "./onForgotten.ts"
import type { EnvelopeWith } from "./Projection.ts"
import { confirm } from "./keptPosition.ts"
import { type DivergedAt, ProjectionBehind } from "./ProjectionError.ts"
import type { Undecodable, ReadError } from "../driver/StoreError.ts"
import type { CurrentTenant, TenantId } from "../domain/Tenant.ts"
import { messagingOf, spanned } from "../telemetry/spanned.ts"

export type { Current, Kept, StateKey, Stored } from "./tenantStates.ts"

/** One function per event type. Types without a function leave the state unchanged. */
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

/** The parts of a projection in memory besides its name and fold. */
export interface Options<As extends ReadonlyArray<Aggregate.Any>, State> {
  /** Part of the key of stored states: another version starts anew. Default: 1. */
  readonly version?: number | undefined
  /** The aggregates whose events are folded. */
  readonly aggregates: As
  /** Creates the state before the first event, separately for each tenant, so that tenants share nothing. */
  readonly initial: () => State
  /**
   * Removes the data of a forgotten subject from the state, or `"keepsNone"` if the state has no personal data. Required if a folded
   * event has personal fields (`Personal.make`).
   */
  readonly forgotten?:
    | "keepsNone"
    | ((
        state: NoInfer<State>,
        event: PersonalSubject.SubjectForgotten,
        envelope: PersonalSubject.Envelope
      ) => NoInfer<State>)
    | undefined
}

/** Settings of a projection's `layerWith`. */
export interface LayerOptions<State, R = never> {
  /** Time for which an unused state is kept up to date. Default: 5 minutes. */
  readonly idleTimeToLive?: Duration.Input | undefined
  /** Interval at which the log of a kept state is polled without a hint. Default: 1 second. */
  readonly pollInterval?: Duration.Input | undefined
  /** Schedule of retries after a transient failure of the storage. Default: endless, at most 5 seconds apart. */
  readonly retry?: Schedule.Schedule<unknown> | undefined
  /** Number of events per read. Default: 500. */
  readonly pageSize?: number | undefined
  /**
   * Storage of states, so that they need not be folded from the beginning of the log. It runs with the state's tenant as
   * `CurrentTenant`. If it fails, a warning is logged and the state is folded from the events. States belong to a fold: give
   * a changed fold another version.
   */
  readonly stored?: inMemory.Stored<State, R> | undefined
}

/** Settings of `awaitPosition`. */
export interface AwaitOptions {
  /** Default: 5 seconds. */
  readonly timeout?: Duration.Input | undefined
}

/** Reasons why there is no current state. */
export type Failure = ReadError | Undecodable

/** A running projection in memory. */
export interface Service<State> {
  /**
   * The current tenant's state. The first call waits until the log has been folded; later calls answer from memory, a moment
   * behind the log. During a transient failure of the storage the first call waits, and later ones return the known state.
   */
  readonly get: Effect.Effect<inMemory.Current<State>, Failure, CurrentTenant>
  /**
   * The current tenant's state, once it contains an event, to read one's own writes. Fails with `ProjectionBehind` after the
   * timeout, and with `PositionDiverged` if the position has another event or none, because the write was lost. A position
   * without the event's id cannot show that.
   */
  readonly awaitPosition: <At extends number | Event.Position>(
    position: At,
    options?: AwaitOptions
  ) => Effect.Effect<inMemory.Current<State>, ProjectionBehind | DivergedAt<At> | Failure, CurrentTenant>
  /**
   * The current tenant's state, and each later one. A slow consumer skips states but always receives the last one.
   */
  readonly changes: Stream.Stream<inMemory.Current<State>, Failure, CurrentTenant>
}

/** The requirement of programs for the running projection of that name. */
export interface Running<in out Name extends string> {
  readonly "~effect-eventsourcing/InMemoryProjection": (name: Name) => Name
}

/**
 * A projection in memory: a plain value, and the service that runs it.
 *
 * **Details**
 *
 * A state is kept from its first use, while it is used and some time longer. It may be discarded at any time and is then folded
 * from the log again. This also happens, with a warning, if its last event is no longer in the log, as after a failover that
 * lost the end of the log. A tenant whose log has an undecodable event, or one at which the fold throws, has no state: `get`
 * fails with the cause, and the fold continues from there after 1, 2, 4 … and at most 60 seconds. Other tenants are not
 * affected.
 */
export interface InMemoryProjection<Name extends string, State, Envelope> {
  readonly name: Name
  readonly version: number
  readonly initial: () => State
  /** The state after one more event. */
  apply(state: State, envelope: Envelope): State
  /** The state after events, from the initial state or a given one. */
  fold(envelopes: Iterable<Envelope>, from?: State): State
  /** The key of the service. The properties below use the provided service. */
  readonly Service: Context.Service<Running<Name>, Service<State>>
  /** Runs the projection for every requested tenant. */
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
 * Throws if a handler has no event, and if a folded event has personal fields but the option `forgotten` is not given.
 *
 * Two projections of the same name and version are the same service: give each its own name. A fold that changes a state in
 * place also changes the states that were returned before.
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
  // As a type parameter and a separate argument, so that literals in the returned states are inferred as literals.
  Fold extends Handlers<As, State> | Apply<As, State>
>(
  name: Name,
  options: Options<As, State>,
  fold: Fold & Aggregate.NoOthers<Fold, Aggregate.EventOf<As[number]>["_tag"]>
): InMemoryProjection<Name, State, EnvelopeOf<As[number]>> => {
  type Envelope = EnvelopeOf<As[number]>
  const { version = 1, initial, forgotten } = options
  if (name === "") throw new RangeError("the name of a projection in memory must not be empty")
  if (!Number.isSafeInteger(version) || version < 1)
    throw new RangeError(`version of projection ${name} must be a positive integer`)
  const either: Handlers<As, State> | Apply<As, State> = fold
  if (typeof either === "object")
    checkHandlers(`projection ${name}`, either, eventTags(options.aggregates), "some events")
  const declared = typeof either === "function" ? applyAll(either) : applyByTag<As, State>(either)
  checkForgotten(`projection ${name}`, options.aggregates, declared.eventTypes, forgotten)
  const aggregates =
    typeof forgotten === "function"
      ? withSubjects(`projection ${name}`, options.aggregates)
      : options.aggregates
  const folding = typeof forgotten === "function" ? forgetting(declared, forgotten) : declared
  const { apply } = folding
  const byType = new Map(aggregates.map((aggregate) => [aggregate.type, aggregate]))
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
        isPersonal: aggregates.some((one) => mayBePersonal(one)),
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
      /** The state once a condition holds, at the present number of forgotten subjects. */
      const present = (
        found: inMemory.Entry<State, Failure>,
        tenantId: TenantId,
        there: (entry: inMemory.Entry<State, Failure>) => boolean
      ): Effect.Effect<inMemory.Current<State>, Failure> =>
        Effect.flatMap(found.when(there), ({ current, forgotten: before }) =>
          storage.knownForgotten === undefined || before === undefined
            ? Effect.succeed(current)
            : Effect.flatMap(storage.forgottenSubjects({ tenantId }), ({ forgotten: now }) => {
                found.confirm(now, nothing)
                // Not the entry's number: another reader may have dropped this state meanwhile.
                return before === now ? Effect.succeed(current) : present(found, tenantId, there)
              })
        )
      const nothing = (): inMemory.Current<State> => ({ state: initial(), position: 0, eventId: null })
      const isCurrent = ({ ready, failure }: inMemory.Entry<State, Failure>) => ready && failure === undefined

      return key.of({
        get: Effect.scoped(
          Effect.flatMap(currentTenant, (tenantId) =>
            Effect.flatMap(RcMap.get(states, tenantId), (found) => present(found, tenantId, isCurrent))
          )
        ),
        awaitPosition: Effect.fnUntraced(
          function* <At extends number | Event.Position>(
            position: At,
            { timeout = defaultTimeout }: AwaitOptions = {}
          ) {
            const found = yield* entry
            const tenantId = yield* currentTenant
            const wanted = yield* confirm(storage, tenantId, position)
            return yield* present(found, tenantId, ({ current }) => current.position >= wanted).pipe(
              Effect.timeoutOrElse({ duration: timeout, orElse: () => behind(found, tenantId, wanted) })
            )
          },
          Effect.scoped,
          (run) => spanned("await", name, () => run, { attributes: messagingOf("await", { name, version }) })
        ),
        changes: Stream.unwrap(
          Effect.flatMap(currentTenant, (tenantId) =>
            Effect.map(RcMap.get(states, tenantId), (found) =>
              Stream.paginate(undefined as inMemory.Current<State> | undefined, (seen) =>
                Effect.map(
                  present(found, tenantId, (now) => isCurrent(now) && now.current !== seen),
                  (current) => [[current], Option.some(current)] as const
                )
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

/** A fold with its event types. */
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

/** Also folds forgotten subjects. */
const forgetting = <As extends ReadonlyArray<Aggregate.Any>, State>(
  { apply, eventTypes }: Folding<As, State>,
  forget: (state: State, event: PersonalSubject.SubjectForgotten, envelope: PersonalSubject.Envelope) => State
): Folding<As, State> => ({
  apply: (state, envelope) => {
    const one: Event.Envelope<Event.Tagged> = envelope
    if (one.eventType !== forgottenTag) return apply(state, envelope)
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- no other aggregate has an event of this tag
    const forgotten = one as PersonalSubject.Envelope
    return forget(state, forgotten.payload, forgotten)
  },
  eventTypes: eventTypes && [...eventTypes, forgottenTag]
})

const payloadOf = (envelope: Event.Envelope<Event.Tagged>): Event.Tagged => envelope.payload
