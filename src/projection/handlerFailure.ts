/** Failures of handlers: their description, and the retry, wait or parking that follows. */
import { Cause, Duration, Effect, Metric } from "effect"
import type * as Aggregate from "../domain/Aggregate.ts"
import type * as Event from "../domain/Event.ts"
import { personalTags } from "../domain/handlers.ts"
import type * as ProjectionStorage from "../driver/ProjectionStorage.ts"
import type { ReadError, StorageUnavailable } from "../driver/StoreError.ts"
import { errorType } from "../telemetry/errorType.ts"
import { attribute, projectionFailures } from "../telemetry/Telemetry.ts"
import { noteFailure } from "./currentWork.ts"
import { maskedCause, maskedText, toError } from "./maskedCause.ts"
import { type Any, FailedAt } from "./Projection.ts"
import { retryDelay } from "./retryDelay.ts"

type Storage = ProjectionStorage.ProjectionStorage["Service"]

/** The failure of work at an event. */
export interface Failed {
  readonly position: number
  /** True if this event is known to have failed; false if it may have been one after it. */
  readonly blamed: boolean
  readonly kind: ProjectionStorage.FailureKind
  /** The `error.type` of spans. */
  readonly type: string
  /** One line that the tenant may see. The values of events with personal fields are masked. */
  readonly error: string
  readonly remedy: string | undefined
  /** The storage's own error, if the storage failed. */
  readonly unavailable: StorageUnavailable | undefined
  /** For operators. */
  readonly cause: ProjectionStorage.FailureCause
}

/** The handled events, and the aggregates of the projection. */
export interface HandledEvents {
  readonly events: ReadonlyArray<Event.Envelope<Event.Tagged>>
  readonly aggregates: ReadonlyArray<Aggregate.Any>
}

const nothingHandled: HandledEvents = { events: [], aggregates: [] }

/** Events with personal fields, which no line that is stored or logged may show. */
const personalOf = ({ aggregates, events }: HandledEvents) => {
  const tags = new Set(personalTags(aggregates))
  return events.filter(({ payload }) => tags.has(payload._tag))
}

/** Describes a failure at an event, or at the first of several. */
export const failed = (
  storage: Storage,
  position: number,
  cause: Cause.Cause<unknown>,
  blamed: boolean,
  handled: HandledEvents = nothingHandled
): Effect.Effect<Failed> =>
  Effect.suspend(() => {
    const error = Cause.squash(cause)
    if (error instanceof FailedAt)
      return failed(storage, error.position, Cause.fail(error.error), true, handled)
    return Effect.map(storage.describeFailure(error), (description) => ({
      position,
      blamed,
      kind: description.kind,
      type: errorType(error),
      error: maskedText(description.summary, personalOf(handled)),
      remedy: description.remedy,
      unavailable: description.unavailable,
      cause: maskedCause(cause, error, description, handled.events)
    }))
  })

/** Describes the failure of one of the library's own statements: no event is to blame, so the event waits. */
export const statementFailed = (
  storage: Storage,
  position: number,
  error: StorageUnavailable
): Effect.Effect<Failed> =>
  Effect.map(failed(storage, position, Cause.fail(error), false), (found) => ({ ...found, kind: "storage" }))

/** Bounds of the wait for the storage in milliseconds; each wait doubles the total. */
const wait = { shortest: 100, longest: 60_000 }

/** Interval in milliseconds at which a projection that is parked because of the schema is retried. */
const parkedRetry = 3_600_000

type Plan = Pick<ProjectionStorage.Failure, "attempts" | "waited" | "parked" | "retryIn">

/** A failure of the handler itself counts as an attempt and follows the projection's retry schedule. */
const planRetry = (
  projection: Any,
  claim: ProjectionStorage.Claim,
  { blamed, position }: Failed,
  before: number
): Effect.Effect<Plan> => {
  const attempts = before + (blamed ? 1 : 0)
  const parks = projection.onFailure === "park" && position === claim.position + 1
  return Effect.map(blamed ? retryDelay(projection.retry, attempts) : Effect.succeed(0), (delay) => {
    const retryIn = delay ?? (parks ? undefined : 0)
    return { attempts, waited: 0, parked: retryIn === undefined, retryIn }
  })
}

/** A wait does not count as an attempt, because the event has not been handled at all. */
const planWait = (
  claim: ProjectionStorage.Claim,
  { kind, position }: Failed,
  attempts: number,
  schemaWait: number
): Plan => {
  const waited = claim.failedPosition === position && claim.failureKind === kind ? claim.waited : 0
  const doubled = Math.min(Math.max(waited, wait.shortest), wait.longest)
  // An event that is not the next one parks nothing: those before it are handled first.
  if (kind === "schema" && position === claim.position + 1) {
    if (waited >= schemaWait) return { attempts, waited, parked: true, retryIn: parkedRetry }
    const retryIn = Math.min(doubled, schemaWait - waited)
    return { attempts, waited: waited + retryIn, parked: false, retryIn }
  }
  return { attempts, waited: waited + doubled, parked: false, retryIn: doubled }
}

const sentenceOf = ({ kind }: Failed, { parked, retryIn }: Plan): string => {
  if (kind === "storage") return "A projection waits for the storage"
  if (kind === "schema") {
    return parked
      ? "A projection is parked because the schema or the rights of the storage do not fit it: it is retried every hour, when a process starts, and when it is resumed"
      : "A projection waits for the schema or the rights of the storage"
  }
  return retryIn === undefined
    ? "A projection is parked until it is resumed: it failed to handle an event"
    : "A projection failed to handle an event"
}

/** Records and logs a failure: the event is retried later, or the projection is parked for the tenant. */
export const recordFailure: (
  storage: Storage,
  projection: Any,
  claim: ProjectionStorage.Claim,
  failure: Failed,
  schemaWait: Duration.Input
) => Effect.Effect<void, ReadError> = Effect.fnUntraced(
  function* (storage, projection, claim, failure, schemaWait) {
    const { cause, error, kind, position, remedy } = failure
    const before = claim.failedPosition === position ? claim.attempts : 0
    const plan =
      kind === "handler"
        ? yield* planRetry(projection, claim, failure, before)
        : planWait(claim, failure, before, Duration.toMillis(schemaWait))
    yield* noteFailure(failure)
    yield* Metric.update(
      Metric.withAttributes(projectionFailures, {
        projection: projection.name,
        version: String(projection.version),
        kind
      }),
      1
    )
    yield* (plan.parked ? Effect.logError : Effect.logWarning)(
      sentenceOf(failure, plan),
      Cause.die(toError(cause))
    ).pipe(
      Effect.annotateLogs({
        projection: claim.projection,
        version: claim.version,
        [attribute.tenantId]: claim.tenantId,
        rebuild: claim.rebuild,
        position,
        attempts: plan.attempts,
        kind,
        code: cause.code ?? "none",
        ...(remedy === undefined ? undefined : { remedy }),
        ...(plan.retryIn === undefined ? undefined : { retryInMillis: Math.round(plan.retryIn) })
      })
    )
    yield* storage.fail({ claim, position, error, kind, cause, ...plan })
  }
)
