/** The errors of moves. */
import { Schema } from "effect"

/** Raised when a move cannot start, or cannot be carried on by this process. Nothing was changed by it. */
export class MoveRefused extends Schema.TaggedError<MoveRefused>()("MoveRefused", {
  tenantId: Schema.String,
  /**
   * - `notActive`: the tenant is suspended, importing, erased, or not registered at its placement.
   * - `samePlacement`: it is there already.
   * - `unknownPlacement`: the directory does not list the target.
   * - `fixedDirectory`: the directory cannot be changed, so that nobody would find the tenant.
   * - `underWay`: another move of the tenant is under way, or another process carries this one out.
   * - `occupied`: the target has a tenant with this id.
   * - `undeclaredTables`: it has rows in tables that are not declared, at the source or as carried at the target.
   * - `unknownPlan`: the plan of its quota is not defined at the target.
   * - `decided`: the move is decided, so it cannot be aborted; going back is another move.
   * - `noMove`: no move of the tenant is under way.
   */
  reason: Schema.Literals([
    "notActive",
    "samePlacement",
    "unknownPlacement",
    "fixedDirectory",
    "underWay",
    "occupied",
    "undeclaredTables",
    "unknownPlan",
    "decided",
    "noMove"
  ]),
  /** A sentence that describes the obstacle and its remedy. */
  problem: Schema.String
}) {
  override get message(): string {
    return `tenant ${this.tenantId} does not move: ${this.problem}`
  }
}

/** Raised when a move was called off. The tenant stays where it was and is in use there; the copy is removed. */
export class MoveCalledOff extends Schema.TaggedError<MoveCalledOff>()("MoveCalledOff", {
  tenantId: Schema.String,
  /** A sentence that describes the reason and its remedy. */
  problem: Schema.String
}) {
  override get message(): string {
    return `the move of tenant ${this.tenantId} was called off: ${this.problem}`
  }
}
