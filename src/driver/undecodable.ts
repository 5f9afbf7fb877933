/** Errors of stored events that cannot be decoded. */
import { Schema } from "effect"
import { stream } from "./errorFields.ts"

const storedEvent = {
  ...stream,
  version: Schema.Int,
  position: Schema.Int,
  /** The type under which it is stored. */
  eventType: Schema.String,
  /** The schema version of that type under which it is stored. */
  schemaVersion: Schema.Int
}

/** Raised when a stored event does not fit the schema with which it is read, or cannot be upcast. */
export class EventDecodeError extends Schema.TaggedError<EventDecodeError>()("EventDecodeError", {
  ...storedEvent,
  /** The path in the payload, or in the value into which an upcaster turned it; the reason says which. */
  path: Schema.Array(Schema.Union([Schema.String, Schema.Int])),
  reason: Schema.String
}) {
  override get message(): string {
    return `${this.aggregateType} ${this.aggregateId} version ${this.version} (position ${this.position}): ${this.eventType} does not fit its schema at ${
      this.path.length === 0 ? "its root" : this.path.join(".")
    } (schema version ${this.schemaVersion}): ${this.reason}`
  }
}

/** Raised when a stored event has a type that is neither a present nor a former event of its aggregate. */
export class UnknownEventType extends Schema.TaggedError<UnknownEventType>()(
  "UnknownEventType",
  storedEvent
) {
  override get message(): string {
    return `${this.aggregateType} ${this.aggregateId} version ${this.version} (position ${this.position}): no event schema for ${this.eventType} (schema version ${this.schemaVersion})`
  }
}

/**
 * Raised when a stored event has a known type but an unknown version. If the version is newer, a newer program wrote it: deploy
 * that program to all readers first. If it is older, its upcaster is missing.
 */
export class UnknownSchemaVersion extends Schema.TaggedError<UnknownSchemaVersion>()("UnknownSchemaVersion", {
  ...storedEvent,
  /** The oldest version that is known. */
  oldest: Schema.Int,
  /** The newest version that is known. */
  newest: Schema.Int
}) {
  override get message(): string {
    return `${this.aggregateType} ${this.aggregateId} version ${this.version} (position ${this.position}): ${this.eventType} has schema version ${this.schemaVersion}, but only ${
      this.oldest === this.newest
        ? `version ${this.oldest} is`
        : `versions ${this.oldest} to ${this.newest} are`
    } known: ${
      this.schemaVersion > this.newest
        ? "it was written by a newer program"
        : "the upcaster from this version is missing"
    }`
  }
}

/** The reasons for which a stored event cannot be decoded. */
export type UndecodableReason = EventDecodeError | UnknownEventType | UnknownSchemaVersion

/** Raised when a stored event cannot be decoded: deploy a program that knows it, or answer 500. */
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
