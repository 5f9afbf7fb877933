/** The one loop of `Repository.execute` and `Decisions.execute`: read, decide, append, and again if somebody was faster. */
import { Cause, Effect, Exit, Result, Schedule } from "effect"
import { CurrentDerivedIds, type Ids } from "../domain/derivedIds.ts"
import { CurrentTenant } from "../domain/Tenant.ts"
import { Conflict, EventIdConflict } from "../driver/StoreError.ts"

/** What a decision may yield: a plain value, a `Result`, or an `Effect`. */
export type Decision<A, E = never, R = never> = A | Result.Result<A, E> | Effect.Effect<A, E, R>

/** What a decision may fail with. */
export type ErrorOf<D> =
  D extends Result.Result<infer _A, infer E>
    ? E
    : D extends Effect.Effect<infer _A, infer E, infer _R>
      ? E
      : never

/** What a decision requires. */
export type RequirementsOf<D> = D extends Effect.Effect<infer _A, infer _E, infer R> ? R : never

/** A decision as an effect, whatever it is. */
export const toEffect = <A, D extends Decision<A, unknown, unknown>>(
  decision: D
): Effect.Effect<A, ErrorOf<D>, RequirementsOf<D>> => {
  const yielded: Decision<A, unknown, unknown> = decision
  const effect = Effect.isEffect(yielded)
    ? yielded
    : Result.isResult(yielded)
      ? Effect.fromResult(yielded)
      : Effect.succeed(yielded)
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- D fails with and requires what its members do
  return effect as Effect.Effect<A, ErrorOf<D>, RequirementsOf<D>>
}

/** A few times at once, then after growing delays, bounded. */
export const defaultRetry: Schedule.Schedule<unknown> = Schedule.concat(
  Schedule.recurs(4),
  Schedule.min([Schedule.exponential("5 millis"), Schedule.spaced("250 millis")]).pipe(
    Schedule.jittered,
    Schedule.upTo({ times: 16 })
  )
)

/** The ids of a decision's events, where ids are derived. */
export interface Derived {
  readonly ids: Ids | undefined
  /** Set once it was decided against: then its ids are used up, though no event has them. */
  isRefused: boolean
}

/**
 * Runs a decision with the next derived ids of a stream, where ids are derived. If the store refuses it, it is tried again
 * under the same ids.
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

/** The stream or the model that one decision is made on, and what was read of it so far. */
export interface Subject<State, Decided, Appended, Outcome, E, Outdating extends E, R = never> {
  /** Reads, and from the second time on reads on. */
  readonly read: Effect.Effect<State, E, R | CurrentTenant>
  /** The outcome of this decision, if reading came upon its events: it was made before. */
  readonly found: () => Effect.Effect<Outcome, E, R | CurrentTenant> | undefined
  /** Fails if no decision is wanted on what was read. */
  readonly check: (() => Effect.Effect<void, E, R | CurrentTenant>) | undefined
  /** Whether its events may be where reading does not come. */
  readonly mayBeHidden: () => boolean
  /** Looks for its events there. `decided`: what is decided now. */
  readonly search: (decided: Decided | undefined) => Effect.Effect<Outcome | undefined, E, R | CurrentTenant>
  /** Whether an event of it will have a derived id, by which the store knows it again. */
  readonly hasDerivedId: (decided: Decided) => boolean
  /** Appends it; undefined if there is nothing to append. */
  readonly append: (decided: Decided) => Effect.Effect<Appended, E, R | CurrentTenant> | undefined
  /** The outcome without an append. */
  readonly unchanged: () => Effect.Effect<Outcome, E, R | CurrentTenant>
  /** The outcome of an append. */
  readonly settle: (appended: Appended, decided: Decided) => Effect.Effect<Outcome, E, R | CurrentTenant>
  /** Whether somebody appended in between, so that it is to be decided again. */
  readonly isOutdated: (error: E) => error is Outdating
}

/** An append that came too late, told apart from the same error of `decide` itself. */
class Outdated<E> {
  readonly error: E
  constructor(error: E) {
    this.error = error
  }
}

const isEventIdConflict = (error: unknown): boolean =>
  error instanceof Conflict && error.reason instanceof EventIdConflict

/** Decides on a subject, and again on the schedule while others append in between. */
export const run = <State, Decided, Appended, Outcome, E, Outdating extends E, E2, R>(
  subject: Subject<State, Decided, Appended, Outcome, E, Outdating, R>,
  decide: (state: State) => Effect.Effect<Decided, E2, R>,
  derived: Derived,
  retry: Schedule.Schedule<unknown>
): Effect.Effect<Outcome, E | E2, R | CurrentTenant> => {
  const refuse = Effect.sync(() => {
    derived.isRefused = true
  })

  const attempt = Effect.gen(function* () {
    // 1. Read, or read on from what the attempt before has read.
    const state = yield* subject.read
    // 2. A decision that was made before is not made again.
    const found = subject.found()
    if (found !== undefined) return yield* found
    // 3. Decide.
    const decision = Effect.tapError(
      Effect.suspend(() => decide(state)),
      () => refuse
    )
    const check = subject.check?.()
    const decided = yield* Effect.exit(check === undefined ? decision : Effect.andThen(check, decision))
    // 4. It may have been made before where nobody has looked yet: without a derived id, the store could not tell.
    const mayBeHidden = derived.ids !== undefined && subject.mayBeHidden()
    if (
      mayBeHidden &&
      (Exit.isFailure(decided) ? !Cause.hasInterrupts(decided.cause) : !subject.hasDerivedId(decided.value))
    ) {
      const before = yield* subject.search(undefined)
      if (before !== undefined) return before
    }
    const value = yield* decided
    // 5. Append under the condition that what was decided on is still so.
    const append = subject.append(value)
    if (append === undefined) return yield* subject.unchanged()
    const appended = yield* Effect.result(append)
    if (Result.isSuccess(appended)) return yield* subject.settle(appended.success, value)
    const error = appended.failure
    // 6. Decide again.
    if (subject.isOutdated(error)) return yield* Effect.fail(new Outdated(error))
    // 7. It was made before, and decided otherwise.
    const before = mayBeHidden && isEventIdConflict(error) ? yield* subject.search(value) : undefined
    return before ?? (yield* Effect.fail(error))
  })

  return attempt.pipe(
    Effect.retry({ while: (error) => error instanceof Outdated, schedule: retry }),
    Effect.mapError((error) => (error instanceof Outdated ? error.error : error))
  )
}
