/** The load of a fleet: its placements, the tenants in them, and their numbers of events. */
import { Schema } from "effect"
import { TenantId } from "../domain/Tenant.ts"

/** The limits of a placement. At least one is given; a limit that is left out does not apply. */
export type Capacity = typeof Capacity.Type
/** Schema of the limits of a placement: numbers above 0. */
export const Capacity = Schema.Struct({
  /** Number of tenants. */
  tenants: Schema.optionalKey(Schema.Number.check(Schema.isGreaterThan(0))),
  /** Number of events in all of its logs. */
  events: Schema.optionalKey(Schema.Number.check(Schema.isGreaterThan(0))),
  /** Number of events that are appended in a day. */
  eventsPerDay: Schema.optionalKey(Schema.Number.check(Schema.isGreaterThan(0)))
})

/** A resource that has a limit. */
export type Resource = keyof Capacity
/** Schema of a resource that has a limit. */
export const Resource = Schema.Literals(["tenants", "events", "eventsPerDay"])

/** All resources. */
export const resources: ReadonlyArray<Resource> = ["tenants", "events", "eventsPerDay"]

/** A placement as its owner declares it. */
export interface Placement {
  readonly capacity: Capacity
  /** A class of tenants, such as `"standard"`. Tenants stay in placements of their tier. Default: `"standard"`. */
  readonly tier?: string | undefined
  /** The location of the data, such as `"eu"`. Tenants stay in placements of their region. Default: `""`, one region for all. */
  readonly region?: string | undefined
  /** False if no tenant may be added, for example before the database is retired. Default: true. */
  readonly open?: boolean | undefined
  /** True for a database of one tenant, which gets there by a pin alone. Default: false. */
  readonly own?: boolean | undefined
}

/** A placement with its use. */
export type PlacementLoad = typeof PlacementLoad.Type
/** Schema of a placement with its use. */
export const PlacementLoad = Schema.Struct({
  placement: Schema.String,
  tier: Schema.String,
  region: Schema.String,
  open: Schema.Boolean,
  own: Schema.Boolean,
  capacity: Capacity,
  /** Number of tenants with rows here, those that are arriving included. */
  tenants: Schema.Int,
  /** Number of events in their logs. */
  events: Schema.Int,
  /** Number of events that they append in a day. */
  eventsPerDay: Schema.Number
})

/** A tenant at its placement. */
export type TenantLoad = typeof TenantLoad.Type
/** Schema of a tenant at its placement. */
export const TenantLoad = Schema.Struct({
  tenantId: TenantId,
  placement: Schema.String,
  /** An active tenant can move. */
  status: Schema.Literals(["active", "suspended", "moving"]),
  /** True if it is on its way to another placement. */
  isMoving: Schema.Boolean,
  /** Number of events in its log. */
  events: Schema.Int,
  /** Events of the last day, or of an average day of the last week if those are more. */
  eventsPerDay: Schema.Number
})

/** The load of a fleet as of one moment. */
export type FleetLoad = typeof FleetLoad.Type
/** Schema of the load of a fleet. */
export const FleetLoad = Schema.Struct({
  /** The placements that answered, ordered by name. */
  placements: Schema.Array(PlacementLoad),
  /** The tenants in use there, ordered by id. */
  tenants: Schema.Array(TenantLoad),
  /** The placements that did not answer, ordered by name. Nothing is known of their tenants. */
  missing: Schema.Array(Schema.String)
})

/** The use of a placement. */
export type Use = Pick<PlacementLoad, Resource>

/**
 * The use of a placement as a share of its capacity: that of the resource of which the largest share is used. 1 is full, and more is
 * possible.
 */
export const fill = ({ capacity, ...use }: Use & Pick<PlacementLoad, "capacity">): number =>
  Math.max(
    0,
    ...resources.map((resource) => {
      const limit = capacity[resource]
      return limit === undefined ? 0 : use[resource] / limit
    })
  )

/** The resource of a placement of which the largest share is used. */
export const scarcest = (place: Use & Pick<PlacementLoad, "capacity">): Resource => {
  const share = fill(place)
  return (
    resources.find((resource) => {
      const limit = place.capacity[resource]
      return limit !== undefined && place[resource] / limit === share
    }) ?? "tenants"
  )
}

/** A declared placement without tenants. A capacity without any limit is a defect. */
export const emptyPlacement = (placement: string, declared: Placement): PlacementLoad => {
  const { capacity, open = true, own = false, region = "", tier = "standard" } = declared
  const limits = resources.flatMap((resource) => {
    const limit = capacity[resource]
    return limit === undefined ? [] : [limit]
  })
  if (limits.length === 0 || limits.some((limit) => !(limit > 0)))
    throw new RangeError(`the capacity of ${placement} needs one limit or more, each above 0`)
  return { placement, tier, region, open, own, capacity, tenants: 0, events: 0, eventsPerDay: 0 }
}
