/**
 * The errors of the store, grouped by the reaction that they call for. None contains a payload or anything about a tenant other
 * than the caller's.
 */
import { Schema } from "effect"
import type { Conflict, PositionDiverged } from "./conflicts.ts"
import { stream } from "./errorFields.ts"
import type { InvalidEvent, InvalidInput, LimitExceeded } from "./invalidInput.ts"
import type { OutcomeUnknown, StorageUnavailable } from "./unavailable.ts"

export type { ConflictReason, ExpectedVersion } from "./conflicts.ts"
export {
  AppendConditionFailed,
  CommandKeyConflict,
  Conflict,
  EventIdConflict,
  PositionDiverged,
  SubjectsForgotten,
  VersionConflict
} from "./conflicts.ts"
export type { InvalidCommand, InvalidId, InvalidReason } from "./invalidInput.ts"
export { InvalidAggregateId, InvalidEvent, InvalidInput, LimitExceeded } from "./invalidInput.ts"
export type { UnavailableReason } from "./unavailable.ts"
export {
  ConnectionFailed,
  Contended,
  KeyMissing,
  KeyVaultFailed,
  OtherFailure,
  OutcomeUnknown,
  ReadOnly,
  SchemaMismatch,
  SealBroken,
  ShuttingDown,
  StorageFull,
  StorageUnavailable,
  TimedOut
} from "./unavailable.ts"
export type { UndecodableReason } from "./undecodable.ts"
export { EventDecodeError, Undecodable, UnknownEventType, UnknownSchemaVersion } from "./undecodable.ts"

/** Raised when the tenant is not registered and appends do not register tenants. Provision it first. */
export class UnknownTenant extends Schema.TaggedError<UnknownTenant>()("UnknownTenant", {
  tenantId: Schema.String
}) {
  override get message(): string {
    return `tenant ${this.tenantId} is unknown: provision it with TenantRegistry.provision`
  }
}

/** Raised when the tenant is suspended: its data can be read but not written. */
export class TenantSuspended extends Schema.TaggedError<TenantSuspended>()("TenantSuspended", {
  tenantId: Schema.String
}) {
  override get message(): string {
    return `tenant ${this.tenantId} is suspended: its data can be read but not written`
  }
}

/** Raised when the tenant is being imported: its log is incomplete, and no work can see or change it. Try again later. */
export class TenantImporting extends Schema.TaggedError<TenantImporting>()("TenantImporting", {
  tenantId: Schema.String
}) {
  override get message(): string {
    return `tenant ${this.tenantId} is being imported: try again when the import has ended`
  }
}

/** Raised when the tenant is moving to another storage: it can be read but not written for a moment. Try again soon. */
export class TenantMoving extends Schema.TaggedError<TenantMoving>()("TenantMoving", {
  tenantId: Schema.String
}) {
  override get message(): string {
    return `tenant ${this.tenantId} is moving to another database and cannot be written for a moment: try again`
  }
}

/** Raised when the tenant has moved to another storage. Look up its placement, and try again there. */
export class TenantMoved extends Schema.TaggedError<TenantMoved>()("TenantMoved", {
  tenantId: Schema.String
}) {
  override get message(): string {
    return `tenant ${this.tenantId} has moved to another database: correct the directory, or invalidate its cached placement`
  }
}

/** Raised when the tenant was erased. Its id cannot be used again. */
export class TenantErased extends Schema.TaggedError<TenantErased>()("TenantErased", {
  tenantId: Schema.String
}) {
  override get message(): string {
    return `tenant ${this.tenantId} was erased: use another id`
  }
}

/**
 * Raised when an append would exceed the quota of its tenant: the events in its log, or their rate. Nothing was written. An append
 * that the quota could never take raises `InvalidInput` (`LimitExceeded`) instead.
 */
export class QuotaExceeded extends Schema.TaggedError<QuotaExceeded>()("QuotaExceeded", {
  tenantId: Schema.String,
  /** The exceeded limit: `events` in the log, or their `rate`. */
  quota: Schema.Literals(["events", "rate"]),
  /** The maximum number of events in the log, or in any window of time. */
  maximum: Schema.Int,
  /** The length of the window; null if the limit is not a rate. */
  windowMillis: Schema.NullOr(Schema.Int),
  /** Milliseconds after which the append can succeed, at least 1; null if time alone does not help. */
  retryAfterMillis: Schema.NullOr(Schema.Int)
}) {
  override get message(): string {
    const { maximum, retryAfterMillis, tenantId, windowMillis } = this
    const limit = windowMillis === null ? "" : ` in ${windowMillis} milliseconds`
    const remedy =
      retryAfterMillis === null
        ? "raise its quota (TenantQuota)"
        : `try again after ${retryAfterMillis} milliseconds`
    return `tenant ${tenantId} has reached its quota of ${maximum} events${limit}: ${remedy}`
  }
}

/** The reasons for which a tenant is refused. */
export type RefusalReason =
  | UnknownTenant
  | TenantSuspended
  | TenantImporting
  | TenantMoving
  | TenantMoved
  | TenantErased
  | QuotaExceeded

/**
 * Raised when the tenant may not write. Nothing was written: answer 403, or 503 for a tenant that is importing, moving or moved, or
 * 429 for one whose quota is exceeded.
 */
export class TenantRefused<
  R extends RefusalReason = RefusalReason
> extends Schema.TaggedError<TenantRefused>()("TenantRefused", {
  reason: Schema.Union([
    UnknownTenant,
    TenantSuspended,
    TenantImporting,
    TenantMoving,
    TenantMoved,
    TenantErased,
    QuotaExceeded
  ])
}) {
  declare readonly reason: R
  // oxlint-disable-next-line no-useless-constructor -- infers R from the reason
  constructor(fields: { readonly reason: R }, options?: Schema.MakeOptions) {
    super(fields, options)
  }
  override get message(): string {
    return this.reason.message
  }
}

/**
 * The defect of a program that works for one tenant inside a transaction that is bound to another tenant, or to none. It is in
 * no error channel, and the transaction is rolled back even if the defect is caught.
 */
export class TenantMismatch extends Schema.TaggedError<TenantMismatch>()("TenantMismatch", {
  /** The tenant that was refused. */
  tenantId: Schema.String
}) {
  override get message(): string {
    return `tenant ${this.tenantId} is not the tenant of the open transaction: one transaction serves one tenant, so end it and start another one`
  }
}

/**
 * Raised when a subscription is to start after a position that the tenant's log has not reached. The position belongs to
 * another tenant or database, or was made up.
 */
export class PositionAhead extends Schema.TaggedError<PositionAhead>()("PositionAhead", {
  tenantId: Schema.String,
  /** The given position. */
  // @effect-diagnostics-next-line schemaNumber:off
  position: Schema.Number,
  /** The last position of the tenant's log. */
  head: Schema.Int
}) {
  override get message(): string {
    return `the log of tenant ${this.tenantId} ends at ${this.head} and cannot be read from ${this.position}: use the position that was kept for this tenant and database`
  }
}

/** Raised when an aggregate has no events. An id that only another tenant uses raises it too. */
export class AggregateNotFound extends Schema.TaggedError<AggregateNotFound>()("AggregateNotFound", stream) {
  override get message(): string {
    return `${this.aggregateType} ${this.aggregateId} not found`
  }
}

/**
 * The defect of an append with an inline projection that fails at one of its events. Neither the events nor rows of the
 * projection were written. `InlineProjections.failures` moves it to the error channel.
 */
export class InlineProjectionFailed extends Schema.TaggedError<InlineProjectionFailed>()(
  "InlineProjectionFailed",
  {
    projection: Schema.String,
    ...stream,
    eventType: Schema.String,
    /** The kind of the handler's error, without its text, which may quote the event. */
    reason: Schema.String
  }
) {
  override get message(): string {
    return `inline projection ${this.projection} failed at ${this.eventType} of ${this.aggregateType} ${this.aggregateId} (${this.reason}): nothing was appended`
  }
}

/** Errors of a driver's append. */
export type AppendError =
  | Conflict
  | PositionDiverged
  | InvalidInput<InvalidEvent | LimitExceeded>
  | TenantRefused
  | StorageUnavailable
  | OutcomeUnknown

/** Errors of a driver's reads. */
export type ReadError = StorageUnavailable
