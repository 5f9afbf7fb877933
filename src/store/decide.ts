/** The loop of `Repository.execute` and `Decisions.execute`: read, decide and append, again after each conflict. */
import { Cause, Effect, Exit, Result, Schedule } from "effect"
import { CurrentDerivedIds, type Ids } from "../domain/derivedIds.ts"
import { CurrentTenant } from "../domain/Tenant.ts"
import { Conflict, EventIdConflict, type StorageUnavailable } from "../driver/StoreError.ts"
import { lostTooOften, maxLosses } from "./lostEnd.ts"

/** The result of a decision: a plain value, a `Result`, or an `Effect`. */
export type Decision<A, E = never, R = never> = A | Result.Result<A, E> | Effect.Effect<A, E, R>

/** The errors of a decision. */
export type ErrorOf<D> =
  D extends Result.Result<infer _A, infer E>
    ? E
    : D extends Effect.Effect<infer _A, infer E, infer _R>
      ? E
      : never

/** The requirements of a decision. */
export type RequirementsOf<D> = D extends Effect.Effect<infer _A, infer _E, infer R> ? R : never

/** A decision as an effect. */
export const toEffect = <A, E, R>(decision: Decision<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.isEffect(decision)
    ? decision
    : Result.isResult(decision)
      ? Effect.fromResult(decision)
      : Effect.succeed(decision)

/** A few retries without delay, then a bounded number of them with growing delays. */
export const defaultRetry: Schedule.Schedule<unknown> = Schedule.concat(
  Schedule.recurs(4),
  Schedule.min([Schedule.exponential("5 millis"), Schedule.spaced("250 millis")]).pipe(
    Schedule.jittered,
    Schedule.upTo({ times: 16 })
  )
)

/** The ids for the events of one decision, if a seed is set to derive them from. */
export interface Derived {
  readonly ids: Ids | undefined
  /** Set when `decide` refuses. Its ids are not used again then, although no event has them. */
  isRefused: boolean
}

/**
 * Runs a decision with the next derived ids of a stream, if a seed is set. After a failure of the store the next decision gets
 * the same ids.
 */
export const withIds = <A, E, R, E2>(
  stream: () => Result.Result<{ readonly aggregateType: string; readonly aggregateId: string }, E2>,
  runWith: (derived: Derived) => Effect.Effect<A, E, R>
): Effect.Effect<A, E | E2, R | CurrentTenant> =>
  Effect.flatMap(CurrentDerivedIds, (derivedIds): Effect.Effect<A, E | E2, R | CurrentTenant> => {
    if (derivedIds === undefined) return runWith({ ids: undefined, isRefused: false })
    return Effect.gen(function* () {
      const tenantId = yield* CurrentTenant
      const ids = yield* derivedIds.next({ tenantId, ...(yield* Effect.fromResult(stream())) })
      const derived: Derived = { ids, isRefused: false }
      const release = Effect.sync(() => (derived.isRefused ? undefined : ids.release()))
      return yield* Effect.onError(runWith(derived), () => release)
    })
  })

/** One decision on a stream or a model, with everything that was read for it so far. */
export interface Subject<State, Decided, Appended, Outcome, E, Outdating extends E, R = never> {
  /** Recalls or reads the state. Later calls read only the events after it. */
  readonly read: Effect.Effect<State, E, R | CurrentTenant>
  /** False while the state is a remembered one: then nothing but an append may come of it. */
  readonly isConfirmed: () => boolean
  /** Asks the store if a remembered state is the present one, and confirms it then. Without it the state is read on from. */
  readonly isPresent?: Effect.Effect<boolean, E, R | CurrentTenant> | undefined
  /** The outcome of the command with the same key, if another caller has carried it out; undefined if it has no key. */
  readonly carriedOut: Effect.Effect<Outcome | undefined, E, R | CurrentTenant> | undefined
  /** False if the log has lost the end of the state that was read. */
  readonly isKept: Effect.Effect<boolean, E, R | CurrentTenant>
  /** The outcome of an earlier run of this decision, if its events were read. */
  readonly found: () => Effect.Effect<Outcome, E, R | CurrentTenant> | undefined
  /** Fails if the state is not the one that the caller expects. */
  readonly check: (() => Effect.Effect<void, E, R | CurrentTenant>) | undefined
  /** True if events of an earlier run may lie outside of the range that was read. */
  readonly mayBeHidden: () => boolean
  /** Searches outside of that range for an earlier run. `decided` is the present decision. */
  readonly search: (decided: Decided | undefined) => Effect.Effect<Outcome | undefined, E, R | CurrentTenant>
  /** True if one of the decided events gets a derived id, by which the store recognises a repetition. */
  readonly hasDerivedId: (decided: Decided) => boolean
  /** Appends the decided events; undefined if there is nothing to append. */
  readonly append: (decided: Decided) => Effect.Effect<Appended, E, R | CurrentTenant> | undefined
  /** The outcome of a decision that appends nothing. */
  readonly unchanged: () => Effect.Effect<Outcome, E, R | CurrentTenant>
  /** The outcome of a decision that was appended; undefined if the log has lost the earlier run that the append found. */
  readonly outcomeOf: (
    appended: Appended,
    decided: Decided
  ) => Effect.Effect<Outcome | undefined, E, R | CurrentTenant>
  /** True if the append failed because another one came first, so that the decision must be made again. */
  readonly isOutdated: (error: E) => error is Outdating
  /** Notes that another append came first since the state was read. */
  readonly lost?: (() => void) | undefined
}

/** Tells the conflict of an append from the same error raised by `decide` itself. */
class Outdated<E> {
  readonly error: E
  constructor(error: E) {
    this.error = error
  }
}

/** Marks a decision on a remembered state of which nothing may come. */
class Unconfirmed {
  readonly _tag = "Unconfirmed"
}
const unconfirmed = new Unconfirmed()
const isUnconfirmed = (error: unknown): error is Unconfirmed => error === unconfirmed

/** Marks a decision on an end of the log, or an append that found an earlier run there, which the log has lost since. */
class Lost {
  readonly _tag = "Lost"
}
const lost = new Lost()
const isLost = (error: unknown): error is Lost => error === lost

export const isEventIdConflict = (error: unknown): boolean =>
  error instanceof Conflict && error.reason instanceof EventIdConflict

/** Decides, and decides again on the schedule as long as another append comes first. */
export const run = <State, Decided, Appended, Outcome, E, Outdating extends E, E2, R>(
  subject: Subject<State, Decided, Appended, Outcome, E, Outdating, R>,
  decide: (state: State) => Decision<Decided, E2, R>,
  derived: Derived,
  retry: Schedule.Schedule<unknown>,
  /** Called before an effect runs that was decided. */
  onEffect: () => void = () => {}
): Effect.Effect<Outcome, E | E2 | StorageUnavailable, R | CurrentTenant> => {
  const isConfirmed = Effect.suspend(() =>
    subject.isConfirmed() ? Effect.succeed(true) : (subject.isPresent ?? Effect.succeed(false))
  )
  const noteRefusal = Effect.sync(() => {
    derived.isRefused = true
  })

  const decideOn = (state: State): Effect.Effect<Decided, E | E2 | Unconfirmed, R | CurrentTenant> => {
    const decision = Effect.suspend((): Effect.Effect<Decided, E | E2 | Unconfirmed, R | CurrentTenant> => {
      derived.isRefused = false
      const yielded = decide(state)
      const result = Effect.tapError(toEffect(yielded), () => noteRefusal)
      if (!Effect.isEffect(yielded)) return result
      onEffect()
      // It may do anything, so it is not run on a state that may be none.
      return Effect.flatMap(isConfirmed, (is): Effect.Effect<Decided, E2 | Unconfirmed, R> =>
        is ? result : Effect.fail(unconfirmed)
      )
    })
    const check = subject.check?.()
    return check === undefined ? decision : Effect.andThen(check, decision)
  }

  const attempt = Effect.gen(function* () {
    // 1. Recall the state or read it, on later attempts only the events after the state of the previous one.
    const state = yield* subject.read
    // 2. Return the outcome of an earlier run, if there was one.
    const found = subject.found()
    if (found !== undefined) return yield* found
    // 3. Decide.
    const decided = yield* Effect.exit(decideOn(state))
    // 4. Search for an earlier run outside of the range that was read. Only derived ids can identify one.
    const mayBeHidden = derived.ids !== undefined && subject.mayBeHidden()
    if (
      mayBeHidden &&
      (Exit.isFailure(decided) ? !Cause.hasInterrupts(decided.cause) : !subject.hasDerivedId(decided.value))
    ) {
      const before = yield* subject.search(undefined)
      if (before !== undefined) return before
    }
    // 5. Append on the condition that the state is still the same. Other outcomes than an append need a confirmed state.
    const append = Exit.isSuccess(decided) ? subject.append(decided.value) : undefined
    if (append === undefined && !(yield* isConfirmed)) return yield* Effect.fail(unconfirmed)
    const wasConfirmed = subject.isConfirmed()
    // A refusal counts unless another caller has carried out the same command, on whose state it was refused.
    if (Exit.isFailure(decided) && !Cause.hasInterrupts(decided.cause) && subject.carriedOut !== undefined) {
      const before = yield* subject.carriedOut
      if (before !== undefined) return before
      // The state may contain the command all the same, and the log may have lost both since.
      if (!(yield* subject.isKept)) return yield* Effect.fail(lost)
    }
    const value = yield* decided
    if (append === undefined) return yield* subject.unchanged()
    const appended = yield* Effect.result(append)
    if (Result.isSuccess(appended))
      return (yield* subject.outcomeOf(appended.success, value)) ?? (yield* Effect.fail(lost))
    const error = appended.failure
    // 6. Decide again if another append came first. The schedule counts losses against others, not outdated memory.
    if (subject.isOutdated(error)) {
      if (wasConfirmed) subject.lost?.()
      return yield* Effect.fail(wasConfirmed ? new Outdated(error) : unconfirmed)
    }
    // 7. If the ids exist already, an earlier run decided differently: return its outcome.
    const before = mayBeHidden && isEventIdConflict(error) ? yield* subject.search(value) : undefined
    return before ?? (yield* Effect.fail(error))
  })

  // The second time it has read.
  const confirmed = Effect.catchIf(attempt, isUnconfirmed, () =>
    Effect.catchIf(attempt, isUnconfirmed, Effect.die)
  )
  // Schedules are set up only after a failure, because that takes longer than a decision, and most succeed.
  return confirmed.pipe(
    Effect.catch((failure): Effect.Effect<Outcome, E | E2 | StorageUnavailable, R | CurrentTenant> => {
      if (!isLost(failure) && !(failure instanceof Outdated)) return Effect.fail(failure)
      let failed: typeof failure | undefined = failure
      const next = Effect.suspend((): typeof confirmed => {
        if (failed === undefined) return confirmed
        const first = failed
        failed = undefined
        return Effect.fail(first)
      })
      return next.pipe(
        Effect.retry({ while: isLost, times: maxLosses }),
        Effect.catchIf(isLost, () => Effect.fail(lostTooOften())),
        Effect.retry({ while: (error) => error instanceof Outdated, schedule: retry }),
        Effect.mapError((error) => (error instanceof Outdated ? error.error : error))
      )
    })
  )
}
