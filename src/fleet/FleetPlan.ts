/**
 * Plans of moves: the tenants that should be in another database, with the reason and the time that each move takes.
 */
import { Duration } from "effect"
import { byCodePoints } from "../driver/codePoints.ts"
import { fill, type FleetLoad, type TenantLoad } from "./FleetLoad.ts"
import type { FleetPlan, MoveReason, NoisyTenant, Options, PlannedMove, Rate } from "./planned.ts"
import { Planner, secondsOf, settingsOf, totalSeconds } from "./planner.ts"

export { FleetPlan, LeftTenant, MoveReason, NoisyTenant, PlannedMove, Rate } from "./planned.ts"
export type { Options, Wanted } from "./planned.ts"

/** The speed that is assumed as long as no move was measured. */
export const assumedRate: Rate = { eventsPerSecond: 10_000, secondsPerMove: 1, measured: 0 }

const noisyTenants = (
  { placements, tenants }: FleetLoad,
  limit: number,
  evacuated: ReadonlySet<string>
): ReadonlyArray<NoisyTenant> => {
  const places = new Map(placements.map((place) => [place.placement, place]))
  const shares = (tenant: TenantLoad) => {
    const at = places.get(tenant.placement)
    return at === undefined || at.own
      ? []
      : (["eventsPerDay", "events"] as const).flatMap((resource) => {
          const whole = at.capacity[resource] ?? (at.tenants > 1 ? at[resource] : 0)
          const share = whole > 0 ? tenant[resource] / whole : 0
          return share > limit ? [{ resource, share, region: at.region }] : []
        })
  }
  const free = placements
    .filter(
      ({ open, own, placement, tenants: count }) => open && own && count === 0 && !evacuated.has(placement)
    )
    .toSorted((one, other) => byCodePoints(one.placement, other.placement))
  const taken = new Set<string>()
  return tenants
    .flatMap((tenant) => {
      const [worst] = shares(tenant).toSorted((one, other) => other.share - one.share)
      return worst === undefined ? [] : [{ ...worst, tenant }]
    })
    .toSorted(
      (one, other) => other.share - one.share || byCodePoints(one.tenant.tenantId, other.tenant.tenantId)
    )
    .map(({ region, resource, share, tenant }) => {
      const to =
        free.find((place) => place.region === region && !taken.has(place.placement))?.placement ?? null
      if (to !== null) taken.add(to)
      return { tenantId: tenant.tenantId, placement: tenant.placement, resource, share, to }
    })
}

/**
 * Plans the moves that a load calls for. Pure: the same load gives the same plan.
 *
 * **Details**
 *
 * Tenants move because their placement is evacuated, because they are pinned to another one or want another tier or region, or
 * because their placement is too full. Otherwise a tenant stays. It goes to the emptiest open placement of its tier and region, and
 * moves at most once. The load after the plan calls for no further moves.
 *
 * @throws RangeError if a setting is out of its range
 */
export const make = (load: FleetLoad, options: Options = {}): FleetPlan => {
  const { concurrency = 2, noisy = 0.5, rate = assumedRate } = options
  if (!(Number.isInteger(concurrency) && concurrency >= 1))
    throw new RangeError("concurrency must be an integer from 1")
  const settings = settingsOf(options)
  const planner = new Planner(load, settings)
  planner.run()
  const moves = planner.moves.map(({ reason, tenant, to }): PlannedMove => {
    const { events, eventsPerDay, placement, tenantId } = tenant
    return { tenantId, from: placement, to, reason, events, eventsPerDay, seconds: secondsOf(events, rate) }
  })
  return {
    moves,
    left: planner.left(),
    noisy: noisyTenants(load, noisy, settings.evacuated),
    missing: load.missing,
    before: load.placements,
    after: planner.placements,
    rate,
    seconds: totalSeconds(
      moves.map(({ seconds }) => seconds),
      concurrency
    )
  }
}

const percent = (share: number): string => `${Math.round(share * 100)} %`

const shown = (seconds: number): string => Duration.format(Duration.seconds(Math.ceil(seconds)))

/** A reason in words. */
export const describe = (reason: MoveReason): string => {
  switch (reason.kind) {
    case "evacuated":
      return "its database is evacuated"
    case "pinned":
      return `it belongs to ${reason.placement}`
    case "tier":
      return `it wants the tier "${reason.wanted}" instead of "${reason.found}"`
    case "region":
      return `it wants the region "${reason.wanted}" instead of "${reason.found}"`
    case "full":
      return `its database is ${percent(reason.fill)} full (${reason.resource})`
  }
}

/** A plan as text for people, line by line. */
export const print = ({ after, before, left, missing, moves, noisy, rate, seconds }: FleetPlan): string => {
  const later = new Map(after.map((place) => [place.placement, fill(place)]))
  const source = rate.measured === 0 ? "assumed" : `measured in ${rate.measured} moves`
  return [
    `${moves.length} moves, about ${shown(seconds)} (${Math.round(rate.eventsPerSecond)} events per second, ${source})`,
    ...moves.map(
      ({ events, from, reason, seconds: one, tenantId, to }) =>
        `  ${tenantId}  ${from} -> ${to}  ${events} events, ${shown(one)}: ${describe(reason)}`
    ),
    ...left.map(
      ({ obstacle, placement, reason, tenantId }) =>
        `  ${tenantId}  stays at ${placement} (${obstacle}), although ${describe(reason)}`
    ),
    ...noisy.map(
      ({ placement, resource, share, tenantId, to }) =>
        `  ${tenantId}  has ${percent(share)} of ${placement} (${resource}): give it a database of its own${to === null ? "" : `, ${to}`}`
    ),
    ...before.map(
      (place) =>
        `  ${place.placement}  ${percent(fill(place))} full, then ${percent(later.get(place.placement) ?? 0)}`
    ),
    ...missing.map((placement) => `  ${placement}  did not answer`)
  ].join("\n")
}
