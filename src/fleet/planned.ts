/** The data of plans. */
import { Schema } from "effect"
import { TenantId } from "../domain/Tenant.ts"
import { PlacementLoad, Resource } from "./FleetLoad.ts"

/** The demands of a tenant. A demand that is left out is met by its present placement. */
export interface Wanted {
  /** The one placement for it. */
  readonly placement?: string | undefined
  readonly tier?: string | undefined
  readonly region?: string | undefined
}

/** The reason of a move. */
export type MoveReason = typeof MoveReason.Type
/** Schema of the reason of a move. */
export const MoveReason = Schema.Union([
  /** The placement is to be empty. */
  Schema.Struct({ kind: Schema.Literal("evacuated") }),
  /** The tenant belongs to one placement. */
  Schema.Struct({ kind: Schema.Literal("pinned"), placement: Schema.String }),
  /** The placement is of another tier. */
  Schema.Struct({ kind: Schema.Literal("tier"), found: Schema.String, wanted: Schema.String }),
  /** The placement is of another region. */
  Schema.Struct({ kind: Schema.Literal("region"), found: Schema.String, wanted: Schema.String }),
  /** The placement is too full: the resource of which the largest share is used, and that share. */
  Schema.Struct({ kind: Schema.Literal("full"), resource: Resource, fill: Schema.Number })
])

/** A move of a plan. */
export type PlannedMove = typeof PlannedMove.Type
/** Schema of a move of a plan. */
export const PlannedMove = Schema.Struct({
  tenantId: TenantId,
  from: Schema.String,
  to: Schema.String,
  reason: MoveReason,
  /** Number of events in its log. */
  events: Schema.Int,
  eventsPerDay: Schema.Number,
  /** Expected seconds for the move. */
  seconds: Schema.Number
})

/** A tenant that should leave its placement and stays. */
export type LeftTenant = typeof LeftTenant.Type
/** Schema of a tenant that should leave its placement and stays. */
export const LeftTenant = Schema.Struct({
  tenantId: TenantId,
  placement: Schema.String,
  reason: MoveReason,
  /**
   * - `noRoom`: no placement that it may go to is open and has room.
   * - `notActive`: it is suspended, and only an active tenant moves.
   * - `underWay`: it is moving already.
   * - `later`: the plan has its greatest number of moves.
   */
  obstacle: Schema.Literals(["noRoom", "notActive", "underWay", "later"])
})

/** A tenant that should have a database of its own. */
export type NoisyTenant = typeof NoisyTenant.Type
/** Schema of a tenant that should have a database of its own. */
export const NoisyTenant = Schema.Struct({
  tenantId: TenantId,
  placement: Schema.String,
  /** The resource of which it uses too much. */
  resource: Schema.Literals(["events", "eventsPerDay"]),
  /** Its share of the capacity of its placement, or of the use if the resource has no limit. */
  share: Schema.Number,
  /** An empty placement for a single tenant in its region; null if none is declared. Pin the tenant to it. */
  to: Schema.NullOr(Schema.String)
})

/** The speed of moves. */
export type Rate = typeof Rate.Type
/** Schema of the speed of moves. */
export const Rate = Schema.Struct({
  /** Events that a move copies in a second, above 0. */
  eventsPerSecond: Schema.Number,
  /** Seconds that a move takes beside. */
  secondsPerMove: Schema.Number,
  /** Number of moves from which it was measured; 0 if it is assumed. */
  measured: Schema.Int
})

/** A plan. It is plain data: print it, store it, and carry out its moves in their order with `TenantMove.start`. */
export type FleetPlan = typeof FleetPlan.Type
/** Schema of a plan. */
export const FleetPlan = Schema.Struct({
  /** In this order. After each of them, every target has room for its tenants. */
  moves: Schema.Array(PlannedMove),
  /** The tenants that should move and stay, ordered by id. */
  left: Schema.Array(LeftTenant),
  /** The tenants that should have a database of their own, the noisiest first. They are not moved. */
  noisy: Schema.Array(NoisyTenant),
  /** The placements that did not answer. The plan leaves their tenants alone, and moves none there. */
  missing: Schema.Array(Schema.String),
  /** The placements before the moves. */
  before: Schema.Array(PlacementLoad),
  /** The placements after them. */
  after: Schema.Array(PlacementLoad),
  rate: Rate,
  /** Expected seconds for all moves, as many at the same time as the plan was made for. */
  seconds: Schema.Number
})

/** Settings of a plan. */
export interface Options {
  /** Placements that are to be empty. They take no tenants. Default: none. */
  readonly evacuate?: ReadonlyArray<string> | undefined
  /** The demands of a tenant, which may be called several times for one. Default: none. */
  readonly wanted?: ((tenantId: TenantId) => Wanted) | undefined
  /**
   * Tenants leave a placement of which a share of more than `high` is used, until at most `low` is. No move fills a placement
   * beyond `high`, except for a pin. `false` balances nothing. Default: 0.9 and 0.75.
   */
  readonly balance?: { readonly high?: number; readonly low?: number } | false | undefined
  /** The greatest number of moves. Default: no limit. */
  readonly maxMoves?: number | undefined
  /**
   * A tenant is noisy if it uses more than this share of its placement's capacity for events or events per day; without such a
   * limit, of the use by two tenants or more. Default: 0.5.
   */
  readonly noisy?: number | undefined
  /** The speed of moves. Default: `FleetPlan.assumedRate`. */
  readonly rate?: Rate | undefined
  /** Number of moves at the same time, an integer from 1, for the expected duration. Default: 2. */
  readonly concurrency?: number | undefined
}
