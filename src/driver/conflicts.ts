/** The conflicts of an append with stored events. */
import { Schema } from "effect"
import { stream } from "./errorFields.ts"

/** The version that a stream must have for an append: a number (0 without events), or one of the named conditions. */
export type ExpectedVersion = "any" | "noStream" | "streamExists" | number

const ExpectedVersion: Schema.Codec<ExpectedVersion> = Schema.Union([
  Schema.Literals(["any", "noStream", "streamExists"]),
  // Numbers that no stream can have, such as NaN, are allowed and always lead to a conflict.
  // @effect-diagnostics-next-line schemaNumber:off
  Schema.Number
])

/** Raised when a stream does not have the expected version. Nothing was written: load it again and decide again. */
export class VersionConflict extends Schema.TaggedError<VersionConflict>()("VersionConflict", {
  ...stream,
  expected: ExpectedVersion,
  /** The actual version of the stream; 0 if it has no events. */
  actual: Schema.Int,
  /** The expected id of the event with the expected version, if one was given. */
  expectedEventId: Schema.optionalKey(Schema.String),
  /** The id of the stream's last event, if an id was expected; null if the stream has no events. */
  actualEventId: Schema.optionalKey(Schema.NullOr(Schema.String))
}) {
  override get message(): string {
    if (this.actual === this.expected)
      return `${this.aggregateType} ${this.aggregateId} has event ${this.actualEventId} instead of event ${this.expectedEventId} at version ${this.actual}: its history was replaced, load it from the beginning and decide again`
    return `${this.aggregateType} ${this.aggregateId} is at version ${this.actual}, but ${this.expected} was expected: load it again and decide again`
  }
}

/**
 * Raised when an event id was used before for other content, or when only some events of the append are stored. Nothing was
 * written: use a new id for a new event.
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
 * Raised when the tenant's log contains an event that the condition of an append excludes. Nothing was written: read again and
 * decide again.
 */
export class AppendConditionFailed extends Schema.TaggedError<AppendConditionFailed>()(
  "AppendConditionFailed",
  {
    tenantId: Schema.String,
    /** The position after which no such event was expected. */
    after: Schema.Int,
    /** The position of the first such event. */
    position: Schema.Int,
    /** The index (from 0) of the condition that does not hold. */
    condition: Schema.Int,
    /** The index (from 0) of the first item of its query that the event matches. */
    item: Schema.Int
  }
) {
  override get message(): string {
    return `the event at position ${this.position} matches item ${this.item} of condition ${this.condition} of the append, which was decided at ${this.after}: read again and decide again`
  }
}

/**
 * Raised when a position has another event than the one that was kept with it: the log lost its end in a failover and was
 * rewritten, or the position belongs to another log. Read from the beginning.
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
    } instead of event ${this.expected} at position ${this.position}: the log was replaced, read it from the beginning`
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

/**
 * Raised when a subject of the tenant was forgotten after the state was read on which an append was decided. Nothing was written:
 * load it again and decide again.
 */
export class SubjectsForgotten extends Schema.TaggedError<SubjectsForgotten>()("SubjectsForgotten", {
  tenantId: Schema.String,
  /** The tenant's present number of forgotten subjects. */
  forgotten: Schema.Int
}) {
  override get message(): string {
    return `a subject of tenant ${this.tenantId} was forgotten meanwhile: load again and decide again`
  }
}

/** The reasons for which an append conflicts with stored events. */
export type ConflictReason =
  | VersionConflict
  | EventIdConflict
  | CommandKeyConflict
  | AppendConditionFailed
  | PositionDiverged
  | SubjectsForgotten

/**
 * Raised when an append does not fit the stored events. Nothing was written: load again and decide again, or answer 409. `R` lists
 * the reasons that a method can have.
 */
export class Conflict<R extends ConflictReason = ConflictReason> extends Schema.TaggedError<Conflict>()(
  "Conflict",
  {
    reason: Schema.Union([
      VersionConflict,
      EventIdConflict,
      CommandKeyConflict,
      AppendConditionFailed,
      PositionDiverged,
      SubjectsForgotten
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
