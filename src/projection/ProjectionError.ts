/**
 * What can go wrong around projections, one error per thing a caller would do differently. None of them carries a
 * payload.
 */
import { Schema } from "effect"
import type { PositionDiverged } from "../driver/StoreError.ts"

export { ProjectionRefused } from "../driver/ProjectionStorage.ts"

const projection = { tenantId: Schema.String, projection: Schema.String, version: Schema.Int }

/** How a read model stands to the log of its tenant. */
export type ReadModelState =
  /** It contains all of the log. */
  | "live"
  /** There are events it does not contain yet. */
  | "catchingUp"
  /** It does not go on: an event failed, and somebody must resume the projection, or rebuild the read model. */
  | "parked"
  /** It is being rebuilt; what is read meanwhile is the former one, which goes on as well. */
  | "rebuilding"

const ReadModelState: Schema.Codec<ReadModelState> = Schema.Literals([
  "live",
  "catchingUp",
  "parked",
  "rebuilding"
])

/** Raised when a read model does not contain a position in time. Try again later, or do without. */
export class ProjectionBehind extends Schema.TaggedError<ProjectionBehind>()("ProjectionBehind", {
  ...projection,
  /** The position that was waited for. */
  wanted: Schema.Int,
  /** The last position that is in the read model. */
  position: Schema.Int,
  /** The last position of the tenant's log. */
  head: Schema.Int,
  state: ReadModelState,
  /** What failed last, if anything did. */
  error: Schema.NullOr(Schema.String)
}) {
  override get message(): string {
    return `${this.projection} contains position ${this.position} of ${this.head}, not yet ${this.wanted} (${this.state}${
      this.error === null ? "" : `, ${this.error}`
    }): try again later`
  }
}

/** `PositionDiverged` for a position that comes with the id of its event: a number alone cannot tell. */
export type DivergedAt<At> = At extends number ? never : PositionDiverged

/** Raised when a read model will not get to a position on its own, because its projection is parked before it. */
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
    }): resume it once the cause is mended`
  }
}

/** Raised when there is no dead letter at a position. The same for one that another tenant has. */
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

/** Raised when a dead letter fails again. It and those behind it are still there. */
export class ReplayFailed extends Schema.TaggedError<ReplayFailed>()("ReplayFailed", {
  ...projection,
  /** The position of the event that failed. */
  position: Schema.Int,
  error: Schema.String,
  /** How many were replayed before it. */
  replayed: Schema.Int
}) {
  override get message(): string {
    return `${this.projection} failed again at position ${this.position}, after ${this.replayed} replayed dead letters: ${this.error}`
  }
}

/** Raised when a projection has nothing that could be rebuilt beside the live read model. */
export class CannotRebuild extends Schema.TaggedError<CannotRebuild>()("CannotRebuild", {
  projection: Schema.String,
  version: Schema.Int,
  reason: Schema.String
}) {
  override get message(): string {
    return `${this.projection} cannot be rebuilt: ${this.reason}`
  }
}

/** Raised when a rebuild does not go on because an event failed in it. The live read model is as it was. */
export class RebuildParked extends Schema.TaggedError<RebuildParked>()("RebuildParked", {
  ...projection,
  /** How far the rebuild is. */
  position: Schema.Int,
  failedPosition: Schema.NullOr(Schema.Int),
  error: Schema.NullOr(Schema.String),
  /** How many tenants are parked; `tenantId` is one of them. */
  tenants: Schema.Int
}) {
  override get message(): string {
    return `the rebuild of ${this.projection} is parked at position ${this.position} (${
      this.error ?? "no error"
    }), for ${this.tenants} tenants: mend the cause and rebuild again, or resume it`
  }
}
