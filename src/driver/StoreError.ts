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

/**
 * Raised when another event stands at a position than the one that was kept with it: the log lost its end in a failover
 * and was written anew, or the position is of another log. Read anew from the beginning.
 */
export class PositionDiverged extends Schema.TaggedError<PositionDiverged>()("PositionDiverged", {
  tenantId: Schema.String,
  position: Schema.Int,
  /** The id of the event that was expected there. */
  expected: Schema.String,
  /** The id of the event that is there; null if there is none. */
  actual: Schema.NullOr(Schema.String)
}) {
  override get message(): string {
    return `the log of tenant ${this.tenantId} has ${
      this.actual === null ? "no event" : `event ${this.actual}`
    } at position ${this.position}, where event ${this.expected} was: it is another log, read it anew from the beginning`
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

/**
 * The defect of a program that does work for one tenant inside a transaction that is bound to another, or to none. It
 * stands in nobody's error channel, and the transaction that it was met in rolls back, whoever catches it.
 */
export class TenantMismatch extends Schema.TaggedError<TenantMismatch>()("TenantMismatch", {
  /** The tenant that was refused. */
  tenantId: Schema.String
}) {
  override get message(): string {
    return `tenant ${this.tenantId} is not the tenant of the open transaction: one transaction serves one tenant, so end it and start another one`
  }
}

const operation = { operation: Schema.String }
const coded = {
  ...operation,
  /** The SQLSTATE or a like code, for the operator; null if there is none. */
  code: Schema.NullOr(Schema.String)
}

/** The connection to the storage was refused, lost, or none was to be had. */
export class ConnectionFailed extends Schema.TaggedError<ConnectionFailed>()("ConnectionFailed", {
  ...coded,
  retryable: Schema.Boolean
}) {
  override get message(): string {
    return `no connection to ${this.operation} (${this.code ?? "no code"}): ${
      this.retryable
        ? "try again later"
        : "correct the address, the credentials or the certificate of the database"
    }`
  }
}

/** The storage, or the wait for its lock or for a connection, took longer than its deadline. The work was ended. */
export class TimedOut extends Schema.TaggedError<TimedOut>()("TimedOut", coded) {
  readonly retryable = true
  override get message(): string {
    return `it took too long to ${this.operation} (${this.code ?? "no code"}): try again later`
  }
}

/** The storage or this program is starting or shutting down. */
export class ShuttingDown extends Schema.TaggedError<ShuttingDown>()("ShuttingDown", coded) {
  readonly retryable = true
  override get message(): string {
    return `the storage is starting or shutting down, it cannot ${this.operation} (${this.code ?? "no code"}): try again later`
  }
}

/** Others wrote at the same time, and this work was rolled back for them. */
export class Contended extends Schema.TaggedError<Contended>()("Contended", coded) {
  readonly retryable = true
  override get message(): string {
    return `others worked on the same at the same time, it was rolled back to ${this.operation} (${this.code ?? "no code"}): try again`
  }
}

/** The database takes no writes: it is a standby, or was told so. During a failover this passes. */
export class ReadOnly extends Schema.TaggedError<ReadOnly>()("ReadOnly", coded) {
  readonly retryable = true
  override get message(): string {
    return `the database takes no writes, it cannot ${this.operation} (${this.code ?? "no code"}): connect to the primary, or wait for the failover`
  }
}

/** The storage has no room or no connections left. */
export class StorageFull extends Schema.TaggedError<StorageFull>()("StorageFull", coded) {
  readonly retryable = true
  override get message(): string {
    return `the storage has no room left to ${this.operation} (${this.code ?? "no code"}): give it room, then try again`
  }
}

/** The schema of the database and this program do not fit, or the role lacks a right. */
export class SchemaMismatch extends Schema.TaggedError<SchemaMismatch>()("SchemaMismatch", coded) {
  readonly retryable = false
  override get message(): string {
    return `the schema or the rights of the database do not allow this program to ${this.operation} (${this.code ?? "no code"}): run PgMigrator.layer as the owner of the database, grant the role eventsourcing_tenant to this login, and see PgCheck`
  }
}

/** Any other failure of the storage. */
export class OtherFailure extends Schema.TaggedError<OtherFailure>()("OtherFailure", {
  ...coded,
  retryable: Schema.Boolean
}) {
  override get message(): string {
    return `the storage failed to ${this.operation} (${this.code ?? "no code"}): ${
      this.retryable ? "try again later" : "trying again does not help, the log of the database says more"
    }`
  }
}

/** The reasons for which the storage is not available. */
export type UnavailableReason =
  | ConnectionFailed
  | TimedOut
  | ShuttingDown
  | Contended
  | ReadOnly
  | StorageFull
  | SchemaMismatch
  | OtherFailure

/**
 * Raised when the storage does not answer or answers with an error that is not the caller's. Nothing was written. Bounded
 * retries have been made already.
 */
export class StorageUnavailable extends Schema.TaggedError<StorageUnavailable>()("StorageUnavailable", {
  reason: Schema.Union([
    ConnectionFailed,
    TimedOut,
    ShuttingDown,
    Contended,
    ReadOnly,
    StorageFull,
    SchemaMismatch,
    OtherFailure
  ])
}) {
  override get message(): string {
    return this.reason.message
  }
  /** The operation that failed. */
  get operation(): string {
    return this.reason.operation
  }
  /** True if trying again later can help. */
  get retryable(): boolean {
    return this.reason.retryable
  }
  /** The SQLSTATE or a like code, for the operator; null if there is none. */
  get code(): string | null {
    return this.reason.code
  }
}

/**
 * Raised when the answer to an append was lost: its events may be stored, or not. Repeat it with the same event ids or the
 * same command key: then what was stored is answered and nothing is stored twice.
 */
export class OutcomeUnknown extends Schema.TaggedError<OutcomeUnknown>()("OutcomeUnknown", {
  tenantId: Schema.String,
  /** The ids of the events that may have been stored. */
  eventIds: Schema.Array(Schema.String)
}) {
  override get message(): string {
    return `the answer to an append of ${this.eventIds.length} events was lost, they may be stored or not: repeat it with the same event ids or command key`
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

/** The reasons for which an append conflicts with stored events. */
export type ConflictReason =
  | VersionConflict
  | EventIdConflict
  | CommandKeyConflict
  | AppendConditionFailed
  | PositionDiverged

/**
 * Raised when an append does not fit the events that are stored. Nothing was written: load again and decide again, or
 * answer 409. `R` is what a method can meet.
 */
export class Conflict<R extends ConflictReason = ConflictReason> extends Schema.TaggedError<Conflict>()(
  "Conflict",
  {
    reason: Schema.Union([
      VersionConflict,
      EventIdConflict,
      CommandKeyConflict,
      AppendConditionFailed,
      PositionDiverged
    ])
  }
) {
  declare readonly reason: R
  // oxlint-disable-next-line no-useless-constructor -- infers R from the reason
  constructor(fields: { readonly reason: R }, options?: Schema.MakeOptions) {
    super(fields, options)
  }
  override get message(): string {
    return this.reason.message
  }
}

/** The reasons for which an input cannot be stored. */
export type InvalidReason = InvalidEvent | InvalidAggregateId | LimitExceeded

/** Raised when an input cannot be stored as it is. Nothing was written: correct it, or answer 400. */
export class InvalidInput<R extends InvalidReason = InvalidReason> extends Schema.TaggedError<InvalidInput>()(
  "InvalidInput",
  { reason: Schema.Union([InvalidEvent, InvalidAggregateId, LimitExceeded]) }
) {
  declare readonly reason: R
  // oxlint-disable-next-line no-useless-constructor -- infers R from the reason
  constructor(fields: { readonly reason: R }, options?: Schema.MakeOptions) {
    super(fields, options)
  }
  override get message(): string {
    return this.reason.message
  }
}

/** The reasons for which a tenant is refused. */
export type RefusalReason = UnknownTenant | TenantSuspended

/** Raised when the tenant may not do this. Nothing was written: answer 403. */
export class TenantRefused<
  R extends RefusalReason = RefusalReason
> extends Schema.TaggedError<TenantRefused>()("TenantRefused", {
  reason: Schema.Union([UnknownTenant, TenantSuspended])
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

/** The reasons for which a stored event cannot be decoded. */
export type UndecodableReason = EventDecodeError | UnknownEventType | UnknownSchemaVersion

/** Raised when a stored event cannot be given to the reader: deploy a program that knows it, or answer 500. */
export class Undecodable<
  R extends UndecodableReason = UndecodableReason
> extends Schema.TaggedError<Undecodable>()("Undecodable", {
  reason: Schema.Union([EventDecodeError, UnknownEventType, UnknownSchemaVersion])
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

/** Raised when an aggregate has no events. The same for an id that another tenant uses. */
export class AggregateNotFound extends Schema.TaggedError<AggregateNotFound>()("AggregateNotFound", stream) {
  override get message(): string {
    return `${this.aggregateType} ${this.aggregateId} not found`
  }
}

/**
 * The defect of an append whose inline projection fails at one of its events. Nothing was written: neither the events,
 * nor the rows of the projection. `InlineProjections.failures` moves it to the error channel.
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

/** Why a driver's append is refused or fails. */
export type AppendError = Conflict | TenantRefused | StorageUnavailable | OutcomeUnknown

/** Why a driver fails to read. */
export type ReadError = StorageUnavailable
