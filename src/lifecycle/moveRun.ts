/**
 * One run of a move by one process. A run that is killed at any point leaves rows from which another run goes on; a run that wakes up
 * after another one has taken over can write nothing.
 */
import { Clock, Effect, Exit, Result } from "effect"
import { uuidV7Unsafe } from "effect/crypto/SecureRandom"
import type { TenantRecord, TenantStateConflict } from "../driver/AdministrationStorage.ts"
import type { StorageUnavailable } from "../driver/StoreError.ts"
import type { Side } from "./content.ts"
import { Copy, Difference } from "./moveContent.ts"
import { MoveCalledOff, MoveRefused } from "./moveErrors.ts"
import type { Move, MoveStep } from "./moveState.ts"
import { afterwards, change, type Parts, purge, recordOf, removeCopy, sideOf } from "./moveSteps.ts"

/** The outcome of a run. */
export interface Outcome {
  /** Number of events in the log. */
  readonly events: number
  /** The time from the fence until the tenant was active at the target; undefined if an earlier run set the fence or decided. */
  readonly pauseMillis: number | undefined
  /** True if no rows remain at the source. */
  readonly removed: boolean
}

export type RunError = MoveRefused | MoveCalledOff | StorageUnavailable

/** Attempts to fence and decide, each of which begins with copying. */
const attempts = 3

/** True if the move cannot succeed soon, so that its copy must not stay. */
const isHopeless = (error: StorageUnavailable): boolean =>
  !error.retryable || error.reason._tag === "StorageFull"

class Run {
  readonly #parts: Parts
  readonly #move: Move
  readonly #source: Side
  readonly #target: Side
  readonly #token = uuidV7Unsafe()
  /** True once the lease is not needed any more. */
  #ended = false
  #fencedAt: number | undefined
  #step: MoveStep = "copying"

  constructor(parts: Parts, move: Move, source: Side, target: Side) {
    this.#parts = parts
    this.#move = move
    this.#source = source
    this.#target = target
  }

  readonly #refuse = (reason: MoveRefused["reason"], problem: string) =>
    new MoveRefused({ tenantId: this.#move.tenantId, reason, problem })

  /** Takes the lease: from now on a former run can write nothing at the target. */
  #begin() {
    return change(this.#target, {
      change: "beginImport",
      token: this.#token,
      move: { id: this.#move.id, from: this.#move.from, leaseMillis: this.#parts.settings.lease }
    }).pipe(
      Effect.catchTag("TenantStateConflict", ({ problem, status }) =>
        Effect.fail(
          status === "importing"
            ? this.#refuse("underWay", problem)
            : this.#refuse("occupied", `at ${this.#move.to} ${problem}`)
        )
      )
    )
  }

  readonly #keepLease: Effect.Effect<never, TenantStateConflict> = Effect.gen({ self: this }, function* () {
    const { lease } = this.#parts.settings
    for (;;) {
      yield* Effect.sleep(Math.max(lease / 3, 10))
      if (this.#ended) continue
      yield* change(this.#target, { change: "renewLease", token: this.#token, leaseMillis: lease }).pipe(
        Effect.catchTag("TenantStateConflict", (error) => (this.#ended ? Effect.void : Effect.fail(error))),
        Effect.catchTag("StorageUnavailable", () => Effect.void)
      )
    }
  })

  /** Gives the lease and the fence back, as far as the storages can be reached, so that nobody waits for them to expire. */
  readonly #release = Effect.suspend(() =>
    this.#ended
      ? Effect.void
      : Effect.all(
          [
            Effect.ignore(change(this.#source, { change: "reopen", token: this.#token })),
            Effect.ignore(change(this.#target, { change: "renewLease", token: this.#token, leaseMillis: 0 }))
          ],
          { concurrency: 2, discard: true }
        ).pipe(Effect.interruptible, Effect.timeoutOption("2 seconds"), Effect.asVoid)
  )

  /** Calls the move off, unless it is decided, and removes the copy. */
  readonly #callOff = Effect.fnUntraced({ self: this }, function* (problem: string): Effect.fn.Return<
    never,
    MoveCalledOff | StorageUnavailable | TenantStateConflict
  > {
    const { id, tenantId } = this.#move
    yield* change(this.#source, { change: "callOff", move: id, token: this.#token })
    this.#ended = true
    const calledOff = new MoveCalledOff({ tenantId, problem })
    // a copy that cannot be removed now is removed by the runner
    yield* Effect.ignore(removeCopy(this.#target, this.#move, this.#parts.settings))
    return yield* calledOff
  })

  readonly #say = (position: number, end: number) =>
    this.#parts.onProgress({ step: this.#step, position, end })

  /** Fences the tenant; undefined if handlers of projections did not end in time, or the tenant is not active any more. */
  #fence() {
    const { fence, handlerWait } = this.#parts.settings
    return change(this.#source, {
      change: "fence",
      token: this.#token,
      expiresInMillis: fence,
      waitMillis: handlerWait,
      move: { id: this.#move.id, to: this.#move.to }
    }).pipe(
      Effect.catchTag("StorageUnavailable", (error) =>
        error.reason._tag === "TimedOut" || error.reason._tag === "Contended"
          ? Effect.undefined
          : Effect.fail(error)
      ),
      Effect.catchTag("TenantStateConflict", () => Effect.undefined)
    )
  }

  /** Copies, fences, compares and decides; again if the fence has expired meanwhile. */
  readonly #decided = Effect.fnUntraced({ self: this }, function* (position: number): Effect.fn.Return<
    { readonly record: TenantRecord; readonly head: number },
    RunError | TenantStateConflict | Difference
  > {
    const { from, id, to } = this.#move
    const copy = new Copy(this.#source, this.#target, this.#token, position, this.#say)
    for (let attempt = 1; ; attempt++) {
      const record = yield* recordOf(this.#source)
      if (record === undefined)
        return yield* this.#refuse("notActive", `it is not registered at ${from} any more`)
      const { calledOff, run, state } = record
      if (calledOff.includes(id)) return yield* this.#callOff("it was aborted")
      if (state.status === "moved" && state.move === id) {
        yield* copy.rest(state.head)
        yield* copy.lateRows(this.#parts.settings.handlerWait)
        return { record, head: state.head }
      }
      const isFenced = state.status === "moving" && state.token === this.#token
      if (state.status !== "active" && !isFenced)
        return yield* this.#callOff(`it is ${state.status} at ${from}`)
      if (run?.token !== this.#token)
        return yield* run?.move === id
          ? this.#refuse("underWay", "another process carries out the move")
          : this.#callOff("another move of it is under way")
      if (attempt > attempts)
        return yield* this.#callOff(
          this.#fencedAt === undefined
            ? `handlers of its projections did not end within ${this.#parts.settings.handlerWait} ms: move it when they are idle, or raise handlerWait`
            : `its rows could not be copied within ${this.#parts.settings.fence} ms: raise fence`
        )
      if (isFenced) yield* change(this.#source, { change: "reopen", token: this.#token })
      this.#step = "copying"
      yield* copy.ahead
      const fenced = yield* this.#fence()
      if (fenced === undefined || fenced.state.status !== "moving") continue
      this.#fencedAt = yield* Clock.currentTimeMillis
      const { head } = fenced.state
      this.#step = "fenced"
      yield* this.#say(copy.position, head)
      const compared = yield* Effect.result(copy.rest(head))
      if (Result.isFailure(compared)) {
        const { failure } = compared
        if (!(failure instanceof Difference)) return yield* failure
        const now = (yield* recordOf(this.#source))?.state
        if (now?.status === "moving" && now.token === this.#token) return yield* Effect.fail(failure)
        // the fence has expired, and the source has changed since
        continue
      }
      const decision = change(this.#source, { change: "decide", token: this.#token, head, to })
      const decided = yield* Effect.result(decision)
      if (Result.isSuccess(decided)) {
        yield* copy.lateRows(this.#parts.settings.handlerWait)
        return { record: decided.success, head }
      }
      if (decided.failure._tag === "StorageUnavailable") return yield* decided.failure
    }
  })

  readonly #finish = Effect.fnUntraced(
    { self: this },
    function* (record: TenantRecord, head: number, token: string) {
      this.#ended = true
      this.#step = "decided"
      yield* this.#say(head, head)
      yield* finish(this.#target, record, head, token)
    }
  )

  /**
   * Takes the tenant over: from now on a former run can change nothing at the source. `former` was read before the lease was taken.
   * If it is refused, the row has the reason, and is read next.
   */
  readonly #takeOver = (former: TenantRecord | undefined) =>
    change(this.#source, {
      change: "takeOver",
      token: this.#token,
      move: this.#move.id,
      former: former?.run?.token
    }).pipe(
      Effect.asVoid,
      Effect.catchTag("TenantStateConflict", () => Effect.void)
    )

  /** Carries the move out until the tenant is active at the target. */
  readonly carryOut = Effect.gen({ self: this }, function* () {
    const former = yield* recordOf(this.#source)
    const { position } = yield* this.#begin()
    return yield* Effect.raceFirst(this.#underLease(former, position), this.#keepLease)
  }).pipe(
    Effect.catchTag("TenantStateConflict", ({ problem }) => Effect.fail(this.#refuse("underWay", problem))),
    Effect.onExit((exit) => (Exit.isFailure(exit) ? this.#release : Effect.void))
  )

  readonly #underLease = Effect.fnUntraced(
    { self: this },
    function* (former: TenantRecord | undefined, position: number) {
      yield* this.#takeOver(former)
      const { head, record } = yield* this.#decided(position).pipe(
        Effect.catchIf(
          (error): error is Difference => error instanceof Difference,
          ({ problem }) => this.#differs(problem)
        ),
        Effect.catchIf(
          (error): error is StorageUnavailable => error._tag === "StorageUnavailable" && isHopeless(error),
          (error) =>
            Effect.catchTag(this.#callOff(error.message), ["StorageUnavailable", "TenantStateConflict"], () =>
              Effect.fail(error)
            )
        )
      )
      yield* this.#finish(record, head, this.#token)
      const now = yield* Clock.currentTimeMillis
      return { events: head, pauseMillis: this.#fencedAt === undefined ? undefined : now - this.#fencedAt }
    }
  )

  /** Before the decision the move is called off. After it, the copy is made anew: the source still has everything. */
  readonly #differs = Effect.fnUntraced({ self: this }, function* (problem: string) {
    const called = yield* Effect.result(this.#callOff(problem))
    if (Result.isFailure(called) && called.failure._tag !== "TenantStateConflict")
      return yield* called.failure
    // with its own token, so that it cannot remove the copy of a run that has replaced it
    yield* purge(this.#target, this.#token, this.#parts.settings)
    yield* this.#begin()
    return yield* this.#decided(0).pipe(
      Effect.catchIf(
        (error): error is Difference => error instanceof Difference,
        (again) =>
          Effect.die(new Error(`the copy of tenant ${this.#move.tenantId} differs twice: ${again.problem}`))
      )
    )
  })
}

/** Makes the tenant active at the target. Every process that finds it verified under the token of the decision may do so. */
const finish = (
  target: Side,
  { chainedFrom, hold, origin, quota }: TenantRecord,
  head: number,
  token: string
) =>
  change(target, { change: "finishImport", token, head, chainedFrom, status: "active", origin, hold, quota })

/** Carries a move out from any point, up to the removal of the rows at the source. */
export const carryOut = (parts: Parts, move: Move): Effect.Effect<Outcome, RunError> =>
  Effect.scoped(
    Effect.gen(function* () {
      const source = yield* sideOf(parts, move, move.from)
      const target = yield* sideOf(parts, move, move.to)
      const left = yield* recordOf(source)
      const arriving = yield* recordOf(target)
      const isDecided = left?.state.status === "moved" && left.state.move === move.id
      const isArriving = arriving?.state.status === "importing" && arriving.state.move?.id === move.id
      if (left !== undefined && left.calledOff.includes(move.id)) {
        yield* removeCopy(target, move, parts.settings)
        return yield* new MoveCalledOff({ tenantId: move.tenantId, problem: "it was aborted" })
      }
      let outcome: Omit<Outcome, "removed">
      if (isDecided && left.state.status === "moved" && !isArriving) {
        outcome = { events: left.state.head, pauseMillis: undefined }
      } else if (
        isDecided &&
        left.state.status === "moved" &&
        arriving?.state.status === "importing" &&
        arriving.state.token === left.state.token
      ) {
        // verified by the run that decided
        const { head, token } = left.state
        const copy = new Copy(source, target, token, head, () => Effect.void)
        yield* Effect.andThen(
          copy.lateRows(parts.settings.handlerWait),
          finish(target, left, head, token)
        ).pipe(
          Effect.catchIf(
            (error) => error instanceof Difference || error._tag === "TenantStateConflict",
            ({ problem }) =>
              Effect.fail(new MoveRefused({ tenantId: move.tenantId, reason: "underWay", problem }))
          )
        )
        outcome = { events: head, pauseMillis: undefined }
      } else {
        outcome = yield* new Run(parts, move, source, target).carryOut
      }
      return { ...outcome, ...(yield* afterwards(parts, move, source, target)) }
    })
  )
