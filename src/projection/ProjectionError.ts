/**
 * The errors of projections, one for each thing that a caller does differently. None carries a payload.
 */
import { Schema } from "effect"
import type { PositionDiverged } from "../driver/StoreError.ts"

export { ProjectionRefused } from "../driver/ProjectionStorage.ts"

const projection = { tenantId: Schema.String, projection: Schema.String, version: Schema.Int }

/** The state of a read model relative to the log of its tenant. */
export type ReadModelState =
  /** It contains the whole log. */
  | "live"
  /** It lacks some events. */
  | "catchingUp"
  /** It has stopped because an event failed. Resume the projection or rebuild the read model. */
  | "parked"
  /** It is being rebuilt. The former read model is used and updated meanwhile. */
  | "rebuilding"

const ReadModelState: Schema.Codec<ReadModelState> = Schema.Literals([
  "live",
  "catchingUp",
  "parked",
  "rebuilding"
])

/** Raised when a read model does not contain a position within the timeout. Try again later, or proceed without. */
export class ProjectionBehind extends Schema.TaggedError<ProjectionBehind>()("ProjectionBehind", {
  ...projection,
  /** The position that was waited for. */
  wanted: Schema.Int,
  /** The last position that is in the read model. */
  position: Schema.Int,
  /** The last position of the tenant's log. */
  head: Schema.Int,
  state: ReadModelState,
  /** The last failure, if any. */
  error: Schema.NullOr(Schema.String)
}) {
  override get message(): string {
    return `${this.projection} contains position ${this.position} of ${this.head}, not yet ${this.wanted} (${this.state}${
      this.error === null ? "" : `, ${this.error}`
    }): try again later`
  }
}

/** `PositionDiverged` for a position with the id of its event, because a number alone cannot show it. */
export type DivergedAt<At> = At extends number ? never : PositionDiverged

/** Raised when a read model cannot reach a position because its projection is parked before it. */
export class ProjectionParked extends Schema.TaggedError<ProjectionParked>()("ProjectionParked", {
  ...projection,
  wanted: Schema.Int,
  position: Schema.Int,
  head: Schema.Int,
  /** The position of the event that failed. */
  failedPosition: Schema.NullOr(Schema.Int),
  error: Schema.NullOr(Schema.String)
}) {
  override get message(): string {
    return `${this.projection} is parked at position ${this.position}, before ${this.wanted} (${
      this.error ?? "no error"
    }): resume it after you have removed the cause`
  }
}

/** Raised when a position has no dead letter of the tenant, also if another tenant has one there. */
export class DeadLetterNotFound extends Schema.TaggedError<DeadLetterNotFound>()("DeadLetterNotFound", {
  ...projection,
  position: Schema.Int
}) {
  override get message(): string {
    return `${this.projection} has no dead letter at position ${this.position}`
  }
}

/** Raised when the reason for discarding a dead letter is blank, too long, or cannot be stored. */
export class InvalidReason extends Schema.TaggedError<InvalidReason>()("InvalidReason", {
  reason: Schema.String
}) {
  override get message(): string {
    return `not a reason to discard a dead letter: it ${this.reason}`
  }
}

/** Raised when a dead letter fails again. It and later ones remain. */
export class ReplayFailed extends Schema.TaggedError<ReplayFailed>()("ReplayFailed", {
  ...projection,
  /** The position of the event that failed. */
  position: Schema.Int,
  error: Schema.String,
  /** Number of dead letters that were replayed before it. */
  replayed: Schema.Int
}) {
  override get message(): string {
    return `${this.projection} failed again at position ${this.position}, after ${this.replayed} replayed dead letters: ${this.error}`
  }
}

/** Raised when a projection has no read model that could be rebuilt. */
export class CannotRebuild extends Schema.TaggedError<CannotRebuild>()("CannotRebuild", {
  projection: Schema.String,
  version: Schema.Int,
  reason: Schema.String
}) {
  override get message(): string {
    return `${this.projection} cannot be rebuilt: ${this.reason}`
  }
}

/** Raised when a rebuild has been cancelled. The live read model is unchanged. */
export class RebuildCancelled extends Schema.TaggedError<RebuildCancelled>()("RebuildCancelled", {
  ...projection,
  /** Number of tenants whose rebuild was cancelled; `tenantId` is one of them. */
  tenants: Schema.Int
}) {
  override get message(): string {
    return `the rebuild of ${this.projection} was cancelled, for ${this.tenants} tenants: the read model is as before`
  }
}

/** Raised when a rebuild has stopped because an event failed in it. The live read model is unchanged. */
export class RebuildParked extends Schema.TaggedError<RebuildParked>()("RebuildParked", {
  ...projection,
  /** The position of the rebuild. */
  position: Schema.Int,
  failedPosition: Schema.NullOr(Schema.Int),
  error: Schema.NullOr(Schema.String),
  /** Number of parked tenants; `tenantId` is one of them. */
  tenants: Schema.Int
}) {
  override get message(): string {
    return `the rebuild of ${this.projection} is parked at position ${this.position} (${
      this.error ?? "no error"
    }), for ${this.tenants} tenants: remove the cause, then rebuild again or resume it`
  }
}
