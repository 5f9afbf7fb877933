/**
 * Everything that can go wrong with the store, one error per thing a caller would do differently. None of them carries
 * a payload, and none says anything about a tenant other than the caller's.
 */
import { Schema } from "effect"

/** The version a stream must have for an append: exactly `n` (0 = no events yet), or one of the named conditions. */
export type ExpectedVersion = "any" | "noStream" | "streamExists" | number

const ExpectedVersion: Schema.Codec<ExpectedVersion> = Schema.Union([
  Schema.Literals(["any", "noStream", "streamExists"]),
  // Also of numbers that no stream can have, such as NaN: they meet a conflict.
  // @effect-diagnostics-next-line schemaNumber:off
  Schema.Number
])

const stream = { tenantId: Schema.String, aggregateType: Schema.String, aggregateId: Schema.String }

/** Raised when a stream is not at the version an append expects. Nothing was written: load again and decide again. */
export class VersionConflict extends Schema.TaggedError<VersionConflict>()("VersionConflict", {
  ...stream,
  expected: ExpectedVersion,
  /** The stream's version now; 0 if it has no events. */
  actual: Schema.Int
}) {
  override get message(): string {
    return `${this.aggregateType} ${this.aggregateId} is at version ${this.actual}, expected ${this.expected}: load it again and decide again`
  }
}

/**
 * Raised when an event id was used before for other content, or for a part of the append only. Nothing was written:
 * use a new id for a new event.
 */
export class EventIdConflict extends Schema.TaggedError<EventIdConflict>()("EventIdConflict", {
  tenantId: Schema.String,
  eventId: Schema.String
}) {
  override get message(): string {
    return `event id ${this.eventId} was used before for another event or append: use a new id for a new event`
  }
}

/**
 * Raised when an event that an append's condition rules out is in the tenant's log. Nothing was written: read again and
 * decide again.
 */
export class AppendConditionFailed extends Schema.TaggedError<AppendConditionFailed>()(
  "AppendConditionFailed",
  {
    tenantId: Schema.String,
    /** The position behind which no such event was expected. */
    after: Schema.Int,
    /** The position of the first such event. */
    position: Schema.Int
  }
) {
  override get message(): string {
    return `an event at position ${this.position} matches the condition of the append, which was decided at ${this.after}: read again and decide again`
  }
}

/** Raised when a command key was used before for another command. Nothing was written: use a new key. */
export class CommandKeyConflict extends Schema.TaggedError<CommandKeyConflict>()("CommandKeyConflict", {
  tenantId: Schema.String,
  key: Schema.String
}) {
  override get message(): string {
    return `command key ${this.key} was used before for another command: use a new key for a new command`
  }
}

/** Raised when the tenant is not registered and appends do not register tenants. Provision it first. */
export class UnknownTenant extends Schema.TaggedError<UnknownTenant>()("UnknownTenant", {
  tenantId: Schema.String
}) {
  override get message(): string {
    return `tenant ${this.tenantId} is unknown: provision it with TenantRegistry.provision`
  }
}

/** Raised when the tenant is suspended: it can be read, not written. */
export class TenantSuspended extends Schema.TaggedError<TenantSuspended>()("TenantSuspended", {
  tenantId: Schema.String
}) {
  override get message(): string {
    return `tenant ${this.tenantId} is suspended: it can be read, not written`
  }
}

/** Raised when work for one tenant is tried inside a transaction that is bound to another, or to none. */
export class TenantMismatch extends Schema.TaggedError<TenantMismatch>()("TenantMismatch", {
  /** The tenant that was refused. */
  tenantId: Schema.String
}) {
  override get message(): string {
    return `tenant ${this.tenantId} is not the tenant of the open transaction: one transaction serves one tenant, start another one`
  }
}

/** Raised when the storage does not answer or answers with an error that is not the caller's. */
export class StorageUnavailable extends Schema.TaggedError<StorageUnavailable>()("StorageUnavailable", {
  /** What was tried. */
  operation: Schema.String,
  /** Whether trying again later can help. Bounded retries have been made already. */
  retryable: Schema.Boolean,
  /** SQLSTATE or a like code, if there is one. */
  code: Schema.NullOr(Schema.String)
}) {
  override get message(): string {
    return `storage failed to ${this.operation} (${this.code ?? "no code"}): ${
      this.retryable ? "try again later" : "trying again will not help, see the log of the database"
    }`
  }
}

/** Raised when an event, its metadata or what is stated about it cannot be stored exactly as it is. */
export class InvalidEvent extends Schema.TaggedError<InvalidEvent>()("InvalidEvent", {
  aggregateType: Schema.String,
  eventType: Schema.String,
  /** Where in the event, for example `["payload", "lines", 0, "amount"]`. */
  path: Schema.Array(Schema.Union([Schema.String, Schema.Int])),
  reason: Schema.String
}) {
  override get message(): string {
    return `${this.aggregateType} event ${this.eventType} cannot be stored: ${this.path.join(".")}: ${this.reason}`
  }
}

/** Raised when an aggregate id does not fit the aggregate's id schema. */
export class InvalidAggregateId extends Schema.TaggedError<InvalidAggregateId>()("InvalidAggregateId", {
  aggregateType: Schema.String,
  reason: Schema.String
}) {
  override get message(): string {
    return `not an id of ${this.aggregateType}: ${this.reason}`
  }
}

/** Raised when something is larger than the store takes. Nothing was written. */
export class LimitExceeded extends Schema.TaggedError<LimitExceeded>()("LimitExceeded", {
  limit: Schema.Literals(["eventBytes", "appendBytes", "appendEvents", "idLength", "depth"]),
  /** What is too large, for example `payload of OrderPlaced`. */
  subject: Schema.String,
  maximum: Schema.Int
}) {
  override get message(): string {
    return `${this.subject} is over the limit ${this.limit} of ${this.maximum}`
  }
}

const storedEvent = {
  ...stream,
  version: Schema.Int,
  position: Schema.Int,
  /** The type it is stored under. */
  eventType: Schema.String,
  /** The version of that type's schema it was written with. */
  schemaVersion: Schema.Int
}

/** Raised when a stored event does not fit the schema it is read with, or an upcaster cannot make it one of today. */
export class EventDecodeError extends Schema.TaggedError<EventDecodeError>()("EventDecodeError", {
  ...storedEvent,
  /** Where in the payload, or in what an upcaster made of it: the reason says so. */
  path: Schema.Array(Schema.Union([Schema.String, Schema.Int])),
  reason: Schema.String
}) {
  override get message(): string {
    return `${this.aggregateType} ${this.aggregateId} version ${this.version} (position ${this.position}): ${this.eventType} does not fit its schema at ${
      this.path.length === 0 ? "its root" : this.path.join(".")
    } (schema version ${this.schemaVersion}): ${this.reason}`
  }
}

/** Raised when a stored event has a type that the aggregate it is read with does not have, and never had. */
export class UnknownEventType extends Schema.TaggedError<UnknownEventType>()(
  "UnknownEventType",
  storedEvent
) {
  override get message(): string {
    return `${this.aggregateType} ${this.aggregateId} version ${this.version} (position ${this.position}): no event schema for ${this.eventType} (schema version ${this.schemaVersion})`
  }
}

/**
 * Raised when a stored event is of a type that the aggregate has, but of another version than those it knows. A newer one
 * was written by a newer program: deploy that first where events are read. An older one needs its upcaster back.
 */
export class UnknownSchemaVersion extends Schema.TaggedError<UnknownSchemaVersion>()("UnknownSchemaVersion", {
  ...storedEvent,
  /** The oldest version that is known. */
  oldest: Schema.Int,
  /** The newest version that is known. */
  newest: Schema.Int
}) {
  override get message(): string {
    return `${this.aggregateType} ${this.aggregateId} version ${this.version} (position ${this.position}): ${this.eventType} is of schema version ${this.schemaVersion}, known are ${
      this.oldest === this.newest ? "only" : `${this.oldest} to`
    } ${this.newest}: ${
      this.schemaVersion > this.newest
        ? "it was written by a newer program"
        : "the upcaster from this version is missing"
    }`
  }
}

/**
 * Raised when a subscription is to go on behind a position that the tenant's log has not reached: it was kept for another
 * tenant or another database, or made up.
 */
export class PositionAhead extends Schema.TaggedError<PositionAhead>()("PositionAhead", {
  tenantId: Schema.String,
  /** The position that was given, whatever it is. */
  // @effect-diagnostics-next-line schemaNumber:off
  position: Schema.Number,
  /** The last position of the tenant's log. */
  head: Schema.Int
}) {
  override get message(): string {
    return `the log of tenant ${this.tenantId} ends at ${this.head}, it cannot be read on from ${this.position}: use the position that was kept for this tenant and database`
  }
}

/** Raised when an aggregate has no events. The same for an id that another tenant uses. */
export class AggregateNotFound extends Schema.TaggedError<AggregateNotFound>()("AggregateNotFound", stream) {
  override get message(): string {
    return `${this.aggregateType} ${this.aggregateId} not found`
  }
}

/**
 * Raised when an inline projection fails at an event of the append. Nothing was written: neither the events, nor what
 * the projection made of them.
 */
export class InlineProjectionFailed extends Schema.TaggedError<InlineProjectionFailed>()(
  "InlineProjectionFailed",
  {
    projection: Schema.String,
    ...stream,
    eventType: Schema.String,
    /** The kind of error that the handler failed with; never its text, which may quote the event. */
    reason: Schema.String
  }
) {
  override get message(): string {
    return `inline projection ${this.projection} failed at ${this.eventType} of ${this.aggregateType} ${this.aggregateId} (${this.reason}): nothing was appended`
  }
}

/** Why an append is refused or fails. */
export type AppendError =
  | InlineProjectionFailed
  | VersionConflict
  | EventIdConflict
  | AppendConditionFailed
  | CommandKeyConflict
  | UnknownTenant
  | TenantSuspended
  | TenantMismatch
  | StorageUnavailable

/** Why a driver fails to read. */
export type ReadError = TenantMismatch | StorageUnavailable

/** Why an event that was given cannot be appended. */
export type InvalidInput = InvalidEvent | InvalidAggregateId | LimitExceeded

/** Why a stored event cannot be given to the reader. */
export type DecodeError = EventDecodeError | UnknownEventType | UnknownSchemaVersion
