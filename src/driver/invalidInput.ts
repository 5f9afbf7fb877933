/** Errors of inputs that cannot be stored. */
import { Schema } from "effect"

/** Raised when an event, its metadata or its options cannot be stored exactly. */
export class InvalidEvent extends Schema.TaggedError<InvalidEvent>()("InvalidEvent", {
  aggregateType: Schema.String,
  eventType: Schema.String,
  /** The path in the event, for example `["payload", "lines", 0, "amount"]`. */
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

/** Raised when an input exceeds a limit of the store. Nothing was written. */
export class LimitExceeded extends Schema.TaggedError<LimitExceeded>()("LimitExceeded", {
  limit: Schema.Literals(["eventBytes", "appendBytes", "appendEvents", "idLength", "depth"]),
  /** The part that is too large, for example `payload of OrderPlaced`. */
  subject: Schema.String,
  maximum: Schema.Int
}) {
  override get message(): string {
    return `${this.subject}: more than the limit ${this.limit} of ${this.maximum}`
  }
}

/** The reasons for which an input cannot be stored. */
export type InvalidReason = InvalidEvent | InvalidAggregateId | LimitExceeded

/** Raised when an input cannot be stored. Nothing was written: correct it, or answer 400. */
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

/** The invalid input of a method that takes only an aggregate's id. */
export type InvalidId = InvalidInput<InvalidAggregateId | LimitExceeded>

/** The invalid input of a method that takes a command key. */
export type InvalidCommand = InvalidInput<InvalidEvent | LimitExceeded>
