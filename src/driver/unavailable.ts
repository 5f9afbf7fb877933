/** Failures of the storage itself: nothing was written, or the outcome is unknown. */
import { Schema } from "effect"

const operation = { operation: Schema.String }
const coded = {
  ...operation,
  /** The SQLSTATE or a similar code, for operators; null if there is none. */
  code: Schema.NullOr(Schema.String)
}

/** The connection to the storage was refused or lost, or none was available. */
export class ConnectionFailed extends Schema.TaggedError<ConnectionFailed>()("ConnectionFailed", {
  ...coded,
  retryable: Schema.Boolean
}) {
  override get message(): string {
    return `no connection for the attempt to ${this.operation} (${this.code ?? "no code"}): ${
      this.retryable
        ? "try again later"
        : "correct the address, the credentials or the certificate of the database"
    }`
  }
}

/** The storage, or the wait for a lock or a connection, exceeded its deadline. The work was cancelled. */
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
    return `the storage is starting or shutting down and cannot ${this.operation} (${this.code ?? "no code"}): try again later`
  }
}

/** Concurrent work came first, and this work was rolled back. */
export class Contended extends Schema.TaggedError<Contended>()("Contended", coded) {
  readonly retryable = true
  override get message(): string {
    return `concurrent work came first, and the attempt to ${this.operation} was rolled back (${this.code ?? "no code"}): try again`
  }
}

/** The database accepts no writes: it is a standby, or set to read-only. During a failover this is temporary. */
export class ReadOnly extends Schema.TaggedError<ReadOnly>()("ReadOnly", coded) {
  readonly retryable = true
  override get message(): string {
    return `the database accepts no writes and cannot ${this.operation} (${this.code ?? "no code"}): connect to the primary, or wait for the failover`
  }
}

/** The storage has no room or no connections left. */
export class StorageFull extends Schema.TaggedError<StorageFull>()("StorageFull", coded) {
  readonly retryable = true
  override get message(): string {
    return `the storage has no room left to ${this.operation} (${this.code ?? "no code"}): give it more room, then try again`
  }
}

/** The schema of the database does not fit this program, or the role lacks a right. */
export class SchemaMismatch extends Schema.TaggedError<SchemaMismatch>()("SchemaMismatch", coded) {
  readonly retryable = false
  override get message(): string {
    return `the schema or the rights of the database do not allow this program to ${this.operation} (${this.code ?? "no code"}): run PgMigrator.layer as the owner of the database, grant the role eventsourcing_tenant to this login, and see PgCheck`
  }
}

/** Any other failure of the storage. */
export class OtherFailure extends Schema.TaggedError<OtherFailure>()("OtherFailure", {
  ...coded,
  retryable: Schema.Boolean,
  /** A sentence that names the cause and its remedy, if the code tells them. */
  remedy: Schema.optional(Schema.String)
}) {
  override get message(): string {
    const advice = this.retryable
      ? "try again later"
      : this.remedy === undefined
        ? `a retry does not help, look for ${this.code ?? "the error"} in the log of the database`
        : undefined
    const sentence = [this.remedy, advice].filter((part) => part !== undefined).join("; ")
    return `the storage failed to ${this.operation} (${this.code ?? "no code"}): ${sentence}`
  }
}

/**
 * The vault that has the keys of personal fields did not answer, or failed. Nothing is known of these fields, and none of them is
 * taken for forgotten.
 */
export class KeyVaultFailed extends Schema.TaggedError<KeyVaultFailed>()("KeyVaultFailed", {
  ...coded,
  retryable: Schema.Boolean,
  /** A sentence that names the cause and its remedy, without keys and without data of tenants. */
  remedy: Schema.String
}) {
  override get message(): string {
    return `the key vault failed to ${this.operation} (${this.code ?? "no code"}): ${this.remedy}`
  }
}

/**
 * A personal field is sealed under a key that the vault has never had: the vault is another one, or was restored from a backup that
 * is older than the key.
 */
export class KeyMissing extends Schema.TaggedError<KeyMissing>()("KeyMissing", {
  ...operation,
  tenantId: Schema.String,
  keyId: Schema.String
}) {
  readonly retryable = false
  readonly code = "KeyMissing"
  override get message(): string {
    return `the key vault has no key ${this.keyId} of tenant ${this.tenantId}, which is needed to ${this.operation}: provide the vault with which the events were written, or restore its newest backup; nothing was overwritten`
  }
}

/** A sealed text does not open at its place: it was changed, or moved here from another event, field or tenant. */
export class SealBroken extends Schema.TaggedError<SealBroken>()("SealBroken", {
  ...operation,
  tenantId: Schema.String,
  /** The id of the event, or the stream of the snapshot. */
  subject: Schema.String
}) {
  readonly retryable = false
  readonly code = "SealBroken"
  override get message(): string {
    return `a sealed text of ${this.subject} of tenant ${this.tenantId} does not open, which is needed to ${this.operation}: it was changed or moved; compare it with a backup`
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
  | KeyVaultFailed
  | KeyMissing
  | SealBroken

/**
 * Raised when the storage does not answer, or answers with an error that the caller did not cause. Nothing was written. A
 * bounded number of retries has been made already.
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
    OtherFailure,
    KeyVaultFailed,
    KeyMissing,
    SealBroken
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
  /** The SQLSTATE or a similar code, for operators; null if there is none. */
  get code(): string | null {
    return this.reason.code
  }
}

/**
 * Raised when the answer to an append was lost, so that its events may or may not be stored. Repeat it with the same event ids
 * or the same command key: no event is stored twice, and the stored outcome is returned.
 */
export class OutcomeUnknown extends Schema.TaggedError<OutcomeUnknown>()("OutcomeUnknown", {
  tenantId: Schema.String,
  /** The ids of the events that may have been stored. */
  eventIds: Schema.Array(Schema.String)
}) {
  override get message(): string {
    return this.eventIds.length === 0
      ? "the answer to the commit of a transaction was lost: its changes may or may not be stored"
      : `the answer to an append of ${this.eventIds.length} events was lost, they may or may not be stored: repeat it with the same event ids or command key`
  }
}
