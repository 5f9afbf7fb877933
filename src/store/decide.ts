/** The loop of `Repository.execute` and `Decisions.execute`: read, decide, append, and again after a conflict. */
import { Cause, Effect, Exit, Result, Schedule } from "effect"
import { CurrentDerivedIds, type Ids } from "../domain/derivedIds.ts"
import { CurrentTenant } from "../domain/Tenant.ts"
import { Conflict, EventIdConflict } from "../driver/StoreError.ts"

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

/** The derived ids of a decision's events, if there is a seed. */
export interface Derived {
  readonly ids: Ids | undefined
  /** Set when `decide` refuses: its ids are then used up, although no event has them. */
  isRefused: boolean
}

/**
 * Runs a decision with the next derived ids of a stream, if there is a seed. After a failure of the store the same ids are used
 * again.
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

/** The stream or the model of one decision, with everything read of it so far. */
export interface Subject<State, Decided, Appended, Outcome, E, Outdating extends E, R = never> {
  /** Reads, and on later calls reads on. */
  readonly read: Effect.Effect<State, E, R | CurrentTenant>
  /** The outcome of an earlier run of this decision, if its events were read. */
  readonly found: () => Effect.Effect<Outcome, E, R | CurrentTenant> | undefined
  /** Fails if the state that was read must not be decided on. */
  readonly check: (() => Effect.Effect<void, E, R | CurrentTenant>) | undefined
  /** True if its events may be outside of the range that is read. */
  readonly mayBeHidden: () => boolean
  /** Searches for its events there. `decided` is the present decision. */
  readonly search: (decided: Decided | undefined) => Effect.Effect<Outcome | undefined, E, R | CurrentTenant>
  /** True if one of its events has a derived id, by which the store recognises it later. */
  readonly hasDerivedId: (decided: Decided) => boolean
  /** Appends it; undefined if there is nothing to append. */
  readonly append: (decided: Decided) => Effect.Effect<Appended, E, R | CurrentTenant> | undefined
  /** The outcome without an append. */
  readonly unchanged: () => Effect.Effect<Outcome, E, R | CurrentTenant>
  /** The outcome of an append. */
  readonly settle: (appended: Appended, decided: Decided) => Effect.Effect<Outcome, E, R | CurrentTenant>
  /** True if others appended meanwhile, so that it must decide again. */
  readonly isOutdated: (error: E) => error is Outdating
}

/** Marks an append that came too late, as distinct from the same error of `decide` itself. */
class Outdated<E> {
  readonly error: E
  constructor(error: E) {
    this.error = error
  }
}

const isEventIdConflict = (error: unknown): boolean =>
  error instanceof Conflict && error.reason instanceof EventIdConflict

/** Decides on a subject, and again on the schedule while others append meanwhile. */
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
    // 1. Read, or read on from the state of the previous attempt.
    const state = yield* subject.read
    // 2. Return the outcome of an earlier run.
    const found = subject.found()
    if (found !== undefined) return yield* found
    // 3. Decide.
    const decision = Effect.tapError(
      Effect.suspend(() => decide(state)),
      () => refuse
    )
    const check = subject.check?.()
    const decided = yield* Effect.exit(check === undefined ? decision : Effect.andThen(check, decision))
    // 4. Search for an earlier run outside of the range that was read. Only a derived id can show one.
    const mayBeHidden = derived.ids !== undefined && subject.mayBeHidden()
    if (
      mayBeHidden &&
      (Exit.isFailure(decided) ? !Cause.hasInterrupts(decided.cause) : !subject.hasDerivedId(decided.value))
    ) {
      const before = yield* subject.search(undefined)
      if (before !== undefined) return before
    }
    const value = yield* decided
    // 5. Append on the condition that the state is still the same.
    const append = subject.append(value)
    if (append === undefined) return yield* subject.unchanged()
    const appended = yield* Effect.result(append)
    if (Result.isSuccess(appended)) return yield* subject.settle(appended.success, value)
    const error = appended.failure
    // 6. Decide again.
    if (subject.isOutdated(error)) return yield* Effect.fail(new Outdated(error))
    // 7. An earlier run decided otherwise.
    const before = mayBeHidden && isEventIdConflict(error) ? yield* subject.search(value) : undefined
    return before ?? (yield* Effect.fail(error))
  })

  return attempt.pipe(
    Effect.retry({ while: (error) => error instanceof Outdated, schedule: retry }),
    Effect.mapError((error) => (error instanceof Outdated ? error.error : error))
  )
}
