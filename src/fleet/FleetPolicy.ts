/** Policies that choose the placement of a new tenant. */
import { Effect, Schema } from "effect"
import { byCodePoints } from "../driver/codePoints.ts"
import type { StorageUnavailable } from "../driver/StoreError.ts"
import type { TenantId } from "../domain/Tenant.ts"
import { fill, type PlacementLoad } from "./FleetLoad.ts"

/** A tenant that is to get a placement. */
export interface NewTenant {
  readonly tenantId: TenantId
  /** Undefined if any tier will do. */
  readonly tier: string | undefined
  /** Undefined if any region will do. */
  readonly region: string | undefined
}

/** Raised when no placement can take a new tenant. Nothing was changed. */
export class NoPlace extends Schema.TaggedError<NoPlace>()("NoPlace", {
  tenantId: Schema.String,
  /** A sentence that describes the obstacle and its remedy. */
  problem: Schema.String
}) {
  override get message(): string {
    return `tenant ${this.tenantId} has no placement: ${this.problem}`
  }
}

/**
 * Chooses the placement of a new tenant among all declared placements that answered, with their use. A policy of your own is a function like
 * this. It is called once for a tenant, and its answer is final, also if the placement is full.
 */
export type FleetPolicy = (
  tenant: NewTenant,
  placements: ReadonlyArray<PlacementLoad>
) => Effect.Effect<string, NoPlace | StorageUnavailable>

const described = (name: string, value: string | undefined): string =>
  value === undefined ? "" : ` of the ${name} "${value}"`

const emptiest = (
  { region, tenantId, tier }: NewTenant,
  placements: ReadonlyArray<PlacementLoad>
): Effect.Effect<string, NoPlace> => {
  const [best] = placements
    .filter((place) => place.open && !place.own)
    .filter((place) => region === undefined || place.region === region)
    .filter((place) => tier === undefined || place.tier === tier)
    .map((place) => ({ place, after: fill({ ...place, tenants: place.tenants + 1 }) }))
    .filter(({ after, place }) => after <= 1 && fill(place) < 1)
    .toSorted(
      (one, other) => one.after - other.after || byCodePoints(one.place.placement, other.place.placement)
    )
  return best === undefined
    ? Effect.fail(
        new NoPlace({
          tenantId,
          problem: `no open placement${described("tier", tier)}${described("region", region)} has room: add a database, or raise a capacity`
        })
      )
    : Effect.succeed(best.place.placement)
}

/**
 * The placement with the smallest share of its capacity in use, of the tier and the region of the tenant if these are stated. A full
 * placement, a closed one and one of a single tenant take none.
 */
export const leastLoaded: FleetPolicy = emptiest

/**
 * The least loaded placement of the tier that a function names for the tenant.
 *
 * **Example**
 *
 * ```ts
 * const policy = FleetPolicy.byTier(({ tenantId }) => (isPaying(tenantId) ? "paid" : "free"))
 * ```
 */
export const byTier =
  (tierOf: (tenant: NewTenant) => string): FleetPolicy =>
  (tenant, placements) =>
    Effect.suspend(() => emptiest({ ...tenant, tier: tierOf(tenant) }, placements))

/**
 * The placement that a function names for some tenants, such as a database of their own, also if it is full or closed. All others are
 * placed by another policy.
 *
 * **Example**
 *
 * ```ts
 * const policy = FleetPolicy.pinned(
 *   (tenantId) => (tenantId === acme ? "acme" : undefined),
 *   FleetPolicy.leastLoaded
 * )
 * ```
 */
export const pinned =
  (pinOf: (tenantId: TenantId) => string | undefined, otherwise: FleetPolicy): FleetPolicy =>
  (tenant, placements) =>
    Effect.suspend(() => {
      const pin = pinOf(tenant.tenantId)
      return pin === undefined ? otherwise(tenant, placements) : Effect.succeed(pin)
    })
