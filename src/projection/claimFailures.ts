/** Failures in the work of a claim: what failed, and the record of it in the claim's transaction or after its end. */
import { Cause, type Duration, Effect, Result } from "effect"
import type * as EventStorage from "../driver/EventStorage.ts"
import * as ProjectionStorage from "../driver/ProjectionStorage.ts"
import { OtherFailure, type ReadError, StorageUnavailable } from "../driver/StoreError.ts"
import { wholeLog } from "./backlogReader.ts"
import { attribute } from "../telemetry/Telemetry.ts"
import * as handlerFailure from "./handlerFailure.ts"
import type * as Projection from "./Projection.ts"

/** A handler failed at an event, or the event could not be decoded. */
export class HandlerFailed {
  readonly failed: handlerFailure.Failed
  constructor(failure: handlerFailure.Failed) {
    this.failed = failure
  }
}

/** A statement of the runner itself failed: no event is to blame. */
export class StatementFailed {
  readonly error: StorageUnavailable
  constructor(error: StorageUnavailable) {
    this.error = error
  }
}

/** Marks a failure as the runner's own, because a handler can fail with the same error. */
export const own = <A, R>(statement: Effect.Effect<A, ReadError, R>): Effect.Effect<A, StatementFailed, R> =>
  Effect.mapError(statement, (error) => new StatementFailed(error))

/** Parked until somebody resumes it. */
const parkedForGood = {
  kind: "handler",
  waited: 0,
  parked: true,
  retryIn: undefined,
  cause: undefined
} as const

/** The error of a runner whose storage failed. */
export const unavailable = (error: unknown): StorageUnavailable =>
  error instanceof StorageUnavailable
    ? error
    : error instanceof StatementFailed
      ? error.error
      : new StorageUnavailable({
          reason: new OtherFailure({ operation: "work on a projection", retryable: true, code: null })
        })

export interface ClaimFailures {
  /** Runs an effect in a savepoint. Returns undefined after recording the failure of a handler. */
  readonly attemptOrRecord: <A, E extends StatementFailed | ReadError>(
    projection: Projection.Any,
    claim: ProjectionStorage.Claim,
    effect: Effect.Effect<A, HandlerFailed | ProjectionStorage.RebuildRefused | E>
  ) => Effect.Effect<A | undefined, E | StatementFailed | StorageUnavailable>
  /** After the last retry: puts the event aside as a dead letter, or parks the projection before it. */
  readonly giveUp: (
    projection: Projection.Any,
    claim: ProjectionStorage.Claim,
    position: number
  ) => Effect.Effect<void, ReadError>
  /**
   * The work of a claim failed as a whole and was rolled back, so the attempt is recorded here: otherwise it would be
   * repeated at once while other tenants wait. If recording fails too, the storage is unavailable.
   */
  readonly recordClaimFailure: (
    projection: Projection.Any,
    claim: ProjectionStorage.Claim,
    cause: Cause.Cause<unknown>
  ) => Effect.Effect<true, StorageUnavailable>
}

export const make = (
  events: EventStorage.EventStorage["Service"],
  storage: ProjectionStorage.ProjectionStorage["Service"],
  schemaWait: Duration.Input
): ClaimFailures => {
  const recordFailure = (
    projection: Projection.Any,
    claim: ProjectionStorage.Claim,
    failure: handlerFailure.Failed
  ) => handlerFailure.recordFailure(storage, projection, claim, failure, schemaWait)

  /** A handler that fits the live table may not fit a twin of before: the sentence about the twin says more. */
  const recordAttempt = Effect.fnUntraced(function* (
    projection: Projection.Any,
    claim: ProjectionStorage.Claim,
    failure: handlerFailure.Failed
  ) {
    const { kind, tables } = projection
    const problem =
      claim.rebuild && failure.kind === "schema"
        ? yield* storage.rebuildProblem(claim, { tables, shared: kind === "acrossTenants" })
        : undefined
    yield* recordFailure(projection, claim, problem === undefined ? failure : { ...failure, error: problem })
  })

  /**
   * Parks a rebuild that the storage refuses, also with `onFailure: "deadLetter"`, because no event is to blame. If its tables
   * can be changed, it waits for that first.
   */
  const refuseRebuild = Effect.fnUntraced(function* (
    projection: Projection.Any,
    claim: ProjectionStorage.Claim,
    { passing, problem }: ProjectionStorage.RebuildRefused
  ) {
    if (passing) {
      const cause = { code: null, message: problem, stack: "" }
      const failure = {
        kind: "schema",
        type: "RebuildRefused",
        error: problem,
        remedy: undefined,
        unavailable: undefined,
        cause
      } as const
      return yield* recordFailure(projection, claim, {
        ...failure,
        position: claim.position + 1,
        blamed: false
      })
    }
    yield* Effect.logError(`A rebuild cannot continue: ${problem}`).pipe(
      Effect.annotateLogs({ projection: claim.projection, [attribute.tenantId]: claim.tenantId })
    )
    const position = claim.position + 1
    yield* storage.fail({ claim, position, attempts: 1, error: problem, ...parkedForGood })
  })

  const attemptOrRecord: ClaimFailures["attemptOrRecord"] = Effect.fnUntraced(
    function* (projection, claim, effect) {
      const attempted = yield* Effect.result(storage.attempt(effect))
      if (Result.isSuccess(attempted)) return attempted.success
      const { failure } = attempted
      if (failure instanceof HandlerFailed) yield* own(recordAttempt(projection, claim, failure.failed))
      else if (failure instanceof ProjectionStorage.RebuildRefused)
        yield* own(refuseRebuild(projection, claim, failure))
      else return yield* Effect.fail(failure)
      return undefined
    }
  )

  const giveUp: ClaimFailures["giveUp"] = Effect.fnUntraced(function* (projection, claim, position) {
    const { attempts, error = "", tenantId } = claim
    const range = { fromPosition: position, toPosition: position, limit: 1 }
    const { rows } = yield* events.readLog({ ...wholeLog, ...range, tenantId })
    const eventId = rows[0]?.eventId
    // A position without an event is behind the log: the end of a rebuild has failed.
    if (projection.onFailure === "park" || eventId === undefined) {
      return yield* storage.fail({ claim, position, attempts, error, ...parkedForGood })
    }
    yield* Effect.logError("A projection put an event aside as a dead letter").pipe(
      Effect.annotateLogs({
        projection: claim.projection,
        [attribute.tenantId]: tenantId,
        position,
        attempts,
        error
      })
    )
    yield* storage.addDeadLetter(claim, { position, eventId, error, attempts })
    yield* storage.advance(claim, position)
  })

  const recordClaimFailure: ClaimFailures["recordClaimFailure"] = (projection, claim, cause) => {
    const next = claim.position + 1
    const error = Cause.squash(cause)
    // A handler can make the whole transaction fail, for example by a constraint that is checked at its end.
    const failure =
      error instanceof HandlerFailed
        ? Effect.succeed(error.failed)
        : error instanceof StatementFailed
          ? handlerFailure.statementFailed(storage, next, error.error)
          : handlerFailure.failed(storage, next, cause, claim.failedPosition === next)
    return Effect.flatMap(failure, (found) => recordFailure(projection, claim, found)).pipe(
      Effect.mapError(() => unavailable(error)),
      Effect.as(true)
    )
  }

  return { attemptOrRecord, giveUp, recordClaimFailure }
}
