/** A state per tenant, kept up to date with the tenant's log while it is used. */
import { Cause, Context, Deferred, Duration, Effect, RcMap, type Scope } from "effect"
import type { EventStorage } from "../driver/EventStorage.ts"
import { PositionAhead, PositionDiverged, type ReadError } from "../driver/StoreError.ts"
import { CurrentTenant, type TenantId } from "../domain/Tenant.ts"
import * as Follow from "./follow.ts"
import * as Hints from "./hints.ts"
import type { Known } from "./keptPosition.ts"

/** A state with the position of the log that it contains. */
export interface Current<out State> {
  readonly state: State
  /** The position up to which the state contains everything; 0 for nothing. */
  readonly position: number
  /** The id of the event there; null if the state is empty, or if the id was not stored with it. */
  readonly eventId: string | null
  /**
   * The tenant's number of forgotten subjects at which the state was folded; undefined if the storage seals nothing, or no sealed
   * data was seen.
   */
  readonly forgotten?: number | undefined
}

/** A stored state. Over a storage that seals, it is used only with the present number of forgotten subjects. */
export interface Kept<out State> extends Omit<Current<State>, "eventId"> {
  /**
   * The id of the event at its position. If the position now has another event, or none, the state belongs to another log and
   * is not used. Default: not checked.
   */
  readonly eventId?: string | null | undefined
}

/** The tenant and projection of a state. */
export interface StateKey {
  readonly name: string
  readonly version: number
  readonly tenantId: TenantId
}

/** Storage of states, so that they need not be folded from the beginning of the log. */
export interface Stored<State, R> {
  /** The last saved state; undefined if there is none. */
  readonly load: (key: StateKey) => Effect.Effect<Kept<State> | undefined, unknown, R>
  readonly save: (key: StateKey, current: Current<State>) => Effect.Effect<void, unknown, R>
  /** Number of positions between two saves. A state is also saved when it is no longer used. Default: 1,000. */
  readonly every?: number | undefined
}

/** The place of an event in the log. */
interface Place {
  readonly position: number
  readonly eventId: string
}

/** The fold of the states, and the log that they follow. */
export interface Options<State, Envelope extends Place, E, R> {
  readonly storage: EventStorage["Service"]
  readonly name: string
  readonly version: number
  readonly initial: () => State
  /** True if a folded event may have personal fields. */
  readonly isPersonal: boolean
  readonly apply: (state: State, envelope: Envelope) => State
  readonly follow: Omit<
    Follow.Options<Envelope, E & { readonly reason: { readonly position: number } }>,
    "storage" | "wait"
  >
  readonly idleTimeToLive: Duration.Input
  readonly stored: Stored<State, R> | undefined
}

/** A state, and the number of forgotten subjects at which it was folded. Both are read in one step. */
export interface Seen<out State> {
  readonly current: Current<State>
  readonly forgotten: number | undefined
}

/** Marks a state that is to be folded anew, because a subject was forgotten. */
class Renewed {
  readonly _tag = "Renewed"
}
const renewed = new Renewed()

/** The state of one tenant. */
export class Entry<State, E> {
  current: Current<State>
  /** The last known position of the log. */
  head = 0
  /** True after the state has contained the whole log once. */
  ready = false
  /** The reason why it has stopped for now. */
  failure: Cause.Cause<E> | undefined
  /** The number of forgotten subjects at which it is folded. */
  forgotten: number | undefined
  #changed = Deferred.makeUnsafe<void>()
  /** Fails when the state was dropped, because it was folded at another number of forgotten subjects. */
  renewal = Deferred.makeUnsafe<never, Renewed>()

  constructor(current: Current<State>) {
    this.current = current
  }

  notify(): void {
    const changed = this.#changed
    this.#changed = Deferred.makeUnsafe<void>()
    Deferred.doneUnsafe(changed, Effect.void)
  }

  restart(current: Current<State>): void {
    this.current = current
    this.ready = false
    this.failure = undefined
    this.notify()
  }

  /** Drops the state if it was folded at another number of forgotten subjects. It is folded anew then. */
  confirm(forgotten: number, nothing: () => Current<State>): void {
    if (this.forgotten === undefined || this.forgotten === forgotten) return
    this.forgotten = forgotten
    const { renewal } = this
    this.renewal = Deferred.makeUnsafe<never, Renewed>()
    this.restart(nothing())
    Deferred.doneUnsafe(renewal, Effect.fail(renewed))
  }

  fail(cause: Cause.Cause<E>): void {
    this.failure = cause
    this.notify()
  }

  /** The state as soon as a condition holds. Fails while the entry fails, unless the condition holds anyway. */
  when(there: (entry: Entry<State, E>) => boolean): Effect.Effect<Seen<State>, E> {
    return Effect.suspend((): Effect.Effect<Seen<State>, E> => {
      const { current, forgotten } = this
      if (there(this)) return Effect.succeed({ current, forgotten })
      if (this.failure !== undefined) return Effect.failCause(this.failure)
      return Effect.flatMap(Deferred.await(this.#changed), () => this.when(there))
    })
  }
}

const defaultSaveEvery = 1000

/** Maximum number of seconds before a failed state is tried again. */
const longestPause = 60

/**
 * States by tenant, each started at its first use. A look-up never fails, because the map would keep the failure; an error is part of
 * the entry, which tries again by itself.
 */
export const make = <State, Envelope extends Place, E, R>(
  options: Options<State, Envelope, E, R>
): Effect.Effect<
  RcMap.RcMap<TenantId, Entry<State, E | ReadError>>,
  never,
  Scope.Scope | Exclude<R, CurrentTenant>
> =>
  Effect.gen(function* () {
    const { storage, name, version, initial, isPersonal, apply, stored } = options
    const { knownForgotten } = storage
    /** The number of forgotten subjects of a tenant. It is read where personal data may come and it is not known. */
    const numberOf = (tenantId: TenantId): Effect.Effect<number | undefined, ReadError> =>
      Effect.suspend(() => {
        const known = knownForgotten?.(tenantId)
        return known !== undefined || knownForgotten === undefined || !isPersonal
          ? Effect.succeed(known)
          : Effect.map(storage.forgottenSubjects({ tenantId }), ({ forgotten }) => forgotten)
      })
    // The follower must not inherit services of the first caller: an open transaction, a span, a tenant.
    const services = yield* Effect.context<Exclude<R, CurrentTenant>>()

    const ofLayer =
      (tenantId: TenantId) =>
      <A, E2>(effect: Effect.Effect<A, E2, R>): Effect.Effect<A, E2> =>
        Effect.updateContext(effect, () => {
          const context: Context.Context<never> = Context.add(services, CurrentTenant, tenantId)
          // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- with the tenant, it is all that the hooks require
          return context as Context.Context<R>
        })

    /** Loads a stored state. A failure is only logged, because the state can be folded from the log. */
    const load = Effect.fnUntraced(function* (key: StateKey, hook: Stored<State, R>) {
      const found = yield* hook
        .load(key)
        .pipe(
          Effect.catchCause((cause) =>
            Effect.as(Effect.logWarning("A stored state could not be loaded", cause), undefined)
          )
        )
      return found && { ...found, eventId: found.eventId ?? null }
    })

    const lookup = Effect.fnUntraced(function* (tenantId: TenantId) {
      const key = { name, version, tenantId }
      const nothing = (): Current<State> => ({ state: initial(), position: 0, eventId: null })
      const entry = new Entry<State, E | ReadError>(nothing())
      let saved = 0

      const save = Effect.suspend(() => {
        const { current } = entry
        if (stored === undefined || current.position <= saved) return Effect.void
        saved = current.position
        return stored
          .save(key, entry.forgotten === undefined ? current : { ...current, forgotten: entry.forgotten })
          .pipe(Effect.catchCause((cause) => Effect.logWarning("A state could not be saved", cause)))
      })

      /** Folds the events of a page. The state before a failing event stays. */
      const fold = (envelopes: ReadonlyArray<Envelope>, upTo: Known | undefined, head: number) => {
        let { state, position, eventId } = entry.current
        let folded = state
        try {
          for (const [index, envelope] of envelopes.entries()) {
            folded = apply(folded, envelope)
            // A split event counts once all of its parts are folded.
            if (envelopes[index + 1]?.position === envelope.position) continue
            state = folded
            position = envelope.position
            eventId = envelope.eventId
          }
          if (upTo !== undefined) {
            position = upTo.position
            eventId = upTo.eventId ?? null
          }
        } finally {
          const advanced = position > entry.current.position
          if (advanced) entry.current = { state, position, eventId }
          // A poll without progress does not end a failure.
          if (advanced || position >= head) entry.failure = undefined
          entry.head = head
          if (position >= head) entry.ready = true
          entry.notify()
        }
      }

      const follow = Effect.gen(function* () {
        const wait = yield* Hints.listen(storage.changes)
        const step = Follow.follow(tenantId, { ...options.follow, storage, wait })
        const forgotten = yield* numberOf(tenantId)
        if (forgotten !== entry.forgotten && entry.current.position > 0) entry.restart(nothing())
        entry.forgotten = forgotten
        const { renewal } = entry
        const { position, eventId } = entry.current
        let place = Follow.start<E & { readonly reason: { readonly position: number } }>({
          position,
          eventId: eventId ?? undefined
        })
        while (true) {
          const { events, state: next } =
            knownForgotten === undefined
              ? yield* step(place)
              : yield* Effect.raceFirst(step(place), Deferred.await(renewal))
          if (entry.forgotten !== knownForgotten?.(tenantId) || renewal !== entry.renewal)
            return yield* Effect.fail(renewed)
          fold(events, next.known, next.head.position)
          place = next
          if (entry.current.position - saved >= (stored?.every ?? defaultSaveEvery)) yield* save
        }
      }).pipe(Effect.scoped)

      /** Folds the state anew if its events are no longer in the log, or never were, and if a subject was forgotten. */
      const followSameLog: Effect.Effect<never, E | ReadError, R> = Effect.catchIf(
        follow,
        (error) =>
          error instanceof PositionDiverged || error instanceof PositionAhead || error instanceof Renewed,
        (error) =>
          (error instanceof Renewed
            ? Effect.void
            : Effect.logWarning(
                `The state of ${name} belongs to another log and is folded anew: ${error.message}`
              )
          ).pipe(
            Effect.andThen(Effect.sync(() => entry.restart(nothing()))),
            Effect.andThen(Effect.suspend(() => ((saved = 0), followSameLog)))
          )
      )

      const run = Effect.gen(function* () {
        const found = stored && (yield* load(key, stored))
        const isUsable = knownForgotten === undefined || !isPersonal || found?.forgotten !== undefined
        if (found !== undefined && isUsable) {
          const { eventId, forgotten, position, state } = found
          entry.current = { state, position, eventId }
          // compared with the present one before the state is used
          entry.forgotten = forgotten
          saved = found.position
        }
        let failures = 0
        while (true) {
          const { position } = entry.current
          const cause = yield* Effect.flip(Effect.sandbox(followSameLog))
          entry.fail(cause)
          failures = entry.current.position > position ? 1 : failures + 1
          yield* Effect.sleep(Duration.seconds(Math.min(2 ** (failures - 1), longestPause)))
        }
      })

      yield* Effect.addFinalizer(() =>
        Effect.andThen(
          Effect.sync(() => entry.fail(Cause.interrupt())),
          ofLayer(tenantId)(save)
        )
      )
      yield* Effect.forkScoped(ofLayer(tenantId)(run))
      return entry
    })

    return yield* RcMap.make({ lookup, idleTimeToLive: options.idleTimeToLive })
  })
