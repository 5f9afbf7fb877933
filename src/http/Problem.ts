/**
 * Problem details (RFC 9457, `application/problem+json`) for the errors of this library.
 *
 * **Details**
 *
 * A handler ends with {@link mapErrors}, and its endpoint lists the schemas in `error`: {@link commandErrors},
 * {@link queryErrors}, or single ones. A typed client catches problems by tag, which is the name here followed by `Problem`. In
 * a router without `HttpApi`, a failed handler responds with its problem as well.
 *
 * A problem tells the client about a possible remedy. It names no tenant, stream, event type or aggregate type, and nothing of
 * the database. If the client can correct nothing (statuses 500 and 503), the full error is logged.
 */
import { Duration, Effect, Schema } from "effect"
import { HttpServerRespondable, HttpServerResponse } from "effect/http"
import { HttpApiError, HttpApiSchema } from "effect/http-api"
import { SqlError } from "effect/sql"
import * as StoreError from "../driver/StoreError.ts"
import * as ProjectionError from "../projection/ProjectionError.ts"
import { ImportFailed } from "../store/EventStore.ts"
import { HashChainBroken, NoHashChain } from "../store/HashChain.ts"
import { problemType } from "./problemType.ts"
import { TenantNotActive, TenantNotKnown } from "./TenantAccessError.ts"

/** The reasons of a {@link Conflict}: those of the store's error. */
const ConflictReason = Schema.Literals([
  "VersionConflict",
  "EventIdConflict",
  "CommandKeyConflict",
  "AppendConditionFailed",
  "PositionDiverged",
  "SubjectsForgotten"
])

/**
 * Status 409: the request does not fit the stored data. Nothing was written. The client reads again and decides again, or uses
 * a new idempotency key if `reason` is `CommandKeyConflict`.
 */
export class Conflict extends HttpApiError.Problem<Conflict>()(
  "ConflictProblem",
  { type: problemType("conflict"), status: 409, title: "The request does not fit the stored data." },
  {
    reason: ConflictReason,
    /** The actual version, if `reason` is `VersionConflict`; 0 if there is nothing with this id. */
    version: Schema.optionalKey(Schema.Int)
  }
) {}

/** Status 412: the version is not the one that `If-Match` or `If-None-Match` expects. Nothing was written. */
export class PreconditionFailed extends HttpApiError.Problem<PreconditionFailed>()(
  "PreconditionFailedProblem",
  {
    type: problemType("precondition-failed"),
    status: 412,
    title: "The version is not the one that the request expects."
  },
  {
    /** The actual version; 0 if there is nothing with this id. */
    version: Schema.Int
  }
) {}

/** Status 400: the request is invalid. Nothing was written. The client corrects it. */
export class InvalidInput extends HttpApiError.Problem<InvalidInput>()(
  "InvalidInputProblem",
  { type: problemType("invalid-input"), status: 400, title: "The request is invalid." },
  {
    /** The path to the invalid value in the input, for example `["lines", 0, "product"]`; absent if it is not in the input. */
    path: Schema.optionalKey(Schema.Array(Schema.Union([Schema.String, Schema.Int]))),
    /** The exceeded limit and its value. */
    limit: Schema.optionalKey(Schema.Struct({ name: Schema.String, maximum: Schema.Int }))
  }
) {}

/** Status 404: there is nothing with this id. An id that another tenant uses has the same answer. */
export class NotFound extends HttpApiError.Problem<NotFound>()("NotFoundProblem", {
  type: problemType("not-found"),
  status: 404,
  title: "There is nothing with this id."
}) {}

/** Status 500: a mistake in this program, about which clients can do nothing. It contains no details. */
export const InternalServerError: typeof HttpApiError.InternalServerErrorProblem =
  HttpApiError.InternalServerErrorProblem
export type InternalServerError = HttpApiError.InternalServerErrorProblem

const retryAfter = {
  /** Seconds after which to try again, also in the header `retry-after`. Absent if the time is unknown. */
  retryAfter: Schema.optionalKey(Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)))
}

const retryAfterHeader = { "retry-after": Schema.optionalKey(Schema.String) }

const headersOf = ({ retryAfter: seconds }: { readonly retryAfter?: number }) =>
  seconds === undefined ? {} : { "retry-after": String(seconds) }

class UnavailableProblem extends HttpApiError.Problem<UnavailableProblem>()(
  "UnavailableProblem",
  { type: problemType("unavailable"), status: 503, title: "The service cannot do this now." },
  {
    ...retryAfter,
    /**
     * `unknown` means that the request may or may not have been carried out. Repeated with the same idempotency key, it is
     * carried out once.
     */
    outcome: Schema.Literals(["notWritten", "unknown"])
  }
) {
  override [HttpServerRespondable.symbol](): Effect.Effect<HttpServerResponse.HttpServerResponse, unknown> {
    return Effect.map(super[HttpServerRespondable.symbol](), HttpServerResponse.setHeaders(headersOf(this)))
  }
}

/**
 * Status 503, with `Retry-After` if a time is known: the storage is unreachable, a read model is behind, or the outcome of a
 * command is unknown. {@link unavailable} makes one.
 *
 * **Gotchas**
 *
 * Because this schema has a header, Effect allows no second schema with this status and content type in an endpoint. For other
 * reasons, fail with this one and a `detail` of your own.
 */
export const Unavailable: HttpApiSchema.encodeToWithHeaders<
  typeof UnavailableProblem,
  typeof UnavailableProblem,
  typeof retryAfterHeader
> = UnavailableProblem.pipe(
  HttpApiSchema.encodeToWithHeaders(
    { body: UnavailableProblem, headers: retryAfterHeader },
    { decode: ({ body }) => body, encode: (problem) => ({ body: problem, headers: headersOf(problem) }) }
  )
)
export type Unavailable = UnavailableProblem

class TooManyRequestsProblem extends HttpApiError.Problem<TooManyRequestsProblem>()(
  "TooManyRequestsProblem",
  { type: problemType("too-many-requests"), status: 429, title: "There were too many requests." },
  retryAfter
) {
  override [HttpServerRespondable.symbol](): Effect.Effect<HttpServerResponse.HttpServerResponse, unknown> {
    return Effect.map(super[HttpServerRespondable.symbol](), HttpServerResponse.setHeaders(headersOf(this)))
  }
}

/**
 * Status 429, with `Retry-After` if a time is known: the tenant has reached its quota, or a limit of your own.
 * {@link tooManyRequests} makes one.
 */
export const TooManyRequests: HttpApiSchema.encodeToWithHeaders<
  typeof TooManyRequestsProblem,
  typeof TooManyRequestsProblem,
  typeof retryAfterHeader
> = TooManyRequestsProblem.pipe(
  HttpApiSchema.encodeToWithHeaders(
    { body: TooManyRequestsProblem, headers: retryAfterHeader },
    { decode: ({ body }) => body, encode: (problem) => ({ body: problem, headers: headersOf(problem) }) }
  )
)
export type TooManyRequests = TooManyRequestsProblem

/** Settings of {@link unavailable} and {@link tooManyRequests}. */
export interface RetryOptions {
  /** Time after which to try again, rounded up to whole seconds. Default: unknown. */
  readonly retryAfter?: Duration.Input | undefined
  /** A text for people about this case. Default: a general text. */
  readonly detail?: string | undefined
}

const retryFields = ({ retryAfter: after, detail }: RetryOptions, general: string) => {
  const seconds = after === undefined ? Infinity : Math.ceil(Duration.toSeconds(after))
  return { detail: detail ?? general, ...(Number.isSafeInteger(seconds) ? { retryAfter: seconds } : {}) }
}

/** A problem of status 503 for a request that wrote nothing. */
export const unavailable = (options: RetryOptions = {}): Unavailable =>
  new UnavailableProblem({ ...retryFields(options, "try again later"), outcome: "notWritten" })

/** A problem of status 429. */
export const tooManyRequests = (options: RetryOptions = {}): TooManyRequests =>
  new TooManyRequestsProblem(retryFields(options, "try again later"))

/** The problems of an endpoint that executes, saves or appends. */
export const commandErrors: readonly [
  typeof Conflict,
  typeof InvalidInput,
  typeof TenantNotKnown,
  typeof TenantNotActive,
  typeof Unavailable,
  typeof TooManyRequests,
  typeof InternalServerError
] = [
  Conflict,
  InvalidInput,
  TenantNotKnown,
  TenantNotActive,
  Unavailable,
  TooManyRequests,
  InternalServerError
]

/** The problems of an endpoint that loads, reads, or waits for a read model. */
export const queryErrors: readonly [
  typeof NotFound,
  typeof InvalidInput,
  typeof Unavailable,
  typeof InternalServerError
] = [NotFound, InvalidInput, Unavailable, InternalServerError]

/** The errors that have a problem: those of this library, and the `SqlError` of statements in a tenant's transaction. */
const mapped = [
  StoreError.Conflict,
  StoreError.InvalidInput,
  StoreError.TenantRefused,
  StoreError.Undecodable,
  StoreError.StorageUnavailable,
  StoreError.OutcomeUnknown,
  StoreError.AggregateNotFound,
  StoreError.PositionAhead,
  StoreError.PositionDiverged,
  StoreError.InlineProjectionFailed,
  ImportFailed,
  HashChainBroken,
  NoHashChain,
  ProjectionError.ProjectionBehind,
  ProjectionError.ProjectionParked,
  ProjectionError.DeadLetterNotFound,
  ProjectionError.InvalidReason,
  ProjectionError.ReplayFailed,
  ProjectionError.CannotRebuild,
  ProjectionError.RebuildCancelled,
  ProjectionError.RebuildParked,
  SqlError.SqlError
] as const

type Mapped = InstanceType<(typeof mapped)[number]>

const isMapped = (error: unknown): error is Mapped => mapped.some((type) => error instanceof type)

/** The problem of an error of this library; other errors are unchanged. */
export type ProblemOf<E> = E extends StoreError.Conflict | StoreError.PositionDiverged
  ? Conflict
  : E extends StoreError.InvalidInput | StoreError.PositionAhead | ProjectionError.InvalidReason
    ? InvalidInput
    : E extends ImportFailed
      ? Conflict | InvalidInput
      : E extends StoreError.TenantRefused<infer R>
        ? R extends StoreError.UnknownTenant
          ? TenantNotKnown
          : R extends StoreError.TenantImporting | StoreError.TenantMoving | StoreError.TenantMoved
            ? Unavailable
            : R extends StoreError.QuotaExceeded
              ? TooManyRequests
              : TenantNotActive
        : E extends StoreError.AggregateNotFound | ProjectionError.DeadLetterNotFound | NoHashChain
          ? NotFound
          : E extends
                | StoreError.StorageUnavailable
                | StoreError.OutcomeUnknown
                | ProjectionError.ProjectionBehind
                | ProjectionError.ProjectionParked
            ? Unavailable
            : E extends SqlError.SqlError
              ? Unavailable | InternalServerError
              : E extends Mapped
                ? InternalServerError
                : E

const conflictDetails: { readonly [Reason in StoreError.ConflictReason["_tag"]]: string } = {
  VersionConflict: "it was changed meanwhile: read it again and decide again",
  EventIdConflict: "an event with the same id is stored already: use a new id",
  CommandKeyConflict: "the idempotency key was used before for another request: use a new key",
  AppendConditionFailed:
    "something that matters for this decision happened meanwhile: read again and decide again",
  PositionDiverged: "the position belongs to another log: read from the beginning",
  SubjectsForgotten: "a person was forgotten meanwhile: read again and decide again"
}

const conflict = (reason: StoreError.ConflictReason) =>
  new Conflict({
    reason: reason._tag,
    detail: conflictDetails[reason._tag],
    ...(reason._tag === "VersionConflict" ? { version: reason.actual } : {})
  })

const invalid = (reason: StoreError.InvalidReason) => {
  switch (reason._tag) {
    case "InvalidEvent": {
      const [part, ...path] = reason.path
      return new InvalidInput({ detail: reason.reason, ...(part === "payload" ? { path } : {}) })
    }
    case "InvalidAggregateId":
      return new InvalidInput({ detail: `the id is invalid: ${reason.reason}` })
    case "LimitExceeded":
      return new InvalidInput({
        detail: "it exceeds a limit",
        limit: { name: reason.limit, maximum: reason.maximum }
      })
  }
}

/** Failures that usually pass within moments have a short time. */
const retryAfterOf = (reason: StoreError.UnavailableReason): Duration.Input | undefined => {
  if (!reason.retryable) return undefined
  switch (reason._tag) {
    case "Contended":
    case "TimedOut":
      return "1 second"
    case "StorageFull":
      return "30 seconds"
    default:
      return "5 seconds"
  }
}

const refused = (
  reason: StoreError.RefusalReason
): TenantNotKnown | TenantNotActive | Unavailable | TooManyRequests => {
  switch (reason._tag) {
    case "UnknownTenant":
      return new TenantNotKnown()
    case "TenantSuspended":
    case "TenantErased":
      return new TenantNotActive()
    case "TenantImporting":
    case "TenantMoving":
    case "TenantMoved":
      return unavailable({ retryAfter: "1 second" })
    case "QuotaExceeded":
      return tooManyRequests(
        reason.retryAfterMillis === null
          ? { detail: "the tenant has as many events as its quota allows" }
          : { retryAfter: reason.retryAfterMillis }
      )
  }
}

const problemOf = (
  error: Mapped
):
  | Conflict
  | InvalidInput
  | TenantNotKnown
  | TenantNotActive
  | NotFound
  | Unavailable
  | TooManyRequests
  | InternalServerError => {
  switch (error._tag) {
    case "Conflict":
      return conflict(error.reason)
    case "PositionDiverged":
      return conflict(error)
    case "InvalidInput":
      return invalid(error.reason)
    case "PositionAhead":
      return new InvalidInput({ detail: "the log does not reach that position" })
    case "InvalidReason":
      return new InvalidInput({ detail: `the reason is invalid: it ${error.reason}` })
    case "ImportFailed": {
      const { reason } = error
      return reason._tag === "VersionConflict" || reason._tag === "EventIdConflict"
        ? conflict(reason)
        : invalid(reason)
    }
    case "TenantRefused":
      return refused(error.reason)
    case "AggregateNotFound":
    case "DeadLetterNotFound":
    case "NoHashChain":
      return new NotFound()
    case "StorageUnavailable":
      return unavailable({ retryAfter: retryAfterOf(error.reason) })
    case "OutcomeUnknown":
      return new UnavailableProblem({
        outcome: "unknown",
        retryAfter: 1,
        detail: "it may or may not have been carried out: repeat it with the same idempotency key"
      })
    case "ProjectionBehind":
      return unavailable({ retryAfter: "1 second" })
    case "ProjectionParked":
      return unavailable()
    case "SqlError":
      return error.isRetryable ? unavailable({ retryAfter: "1 second" }) : new InternalServerError()
    case "Undecodable":
    case "InlineProjectionFailed":
    case "HashChainBroken":
    case "ReplayFailed":
    case "CannotRebuild":
    case "RebuildCancelled":
    case "RebuildParked":
      return new InternalServerError()
  }
}

/** Converts an error of this library to its problem, and returns any other error unchanged. */
export const fromError = <E>(error: E): ProblemOf<E> =>
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the type describes the same mapping
  (isMapped(error) ? problemOf(error) : error) as ProblemOf<E>

/** Logs errors for operators, but not a read model that is behind, which is common. */
const report = (error: unknown, problem: unknown): Effect.Effect<void> => {
  if (error === problem || error instanceof ProjectionError.ProjectionBehind) return Effect.void
  if (problem instanceof InternalServerError)
    return Effect.logError("A request failed because of a mistake in this program", error)
  return problem instanceof UnavailableProblem
    ? Effect.logWarning("A request could not be carried out now", error)
    : Effect.void
}

/**
 * Fails with problems instead of the errors of this library. Other errors are unchanged.
 *
 * **Example** (The end of a handler)
 *
 * ```ts
 * handlers.handle("get", ({ params }) =>
 *   Repository.Repository.use(({ load }) => load(Order, params.orderId)).pipe(Problem.mapErrors)
 * )
 * ```
 */
export const mapErrors = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, ProblemOf<E>, R> =>
  effect.pipe(
    Effect.catch((error) => {
      const problem = fromError(error)
      return Effect.andThen(report(error, problem), Effect.fail(problem))
    })
  )
