/** Fleets of placements and tenants, as numbers. */
import { TenantId } from "../../src/domain/Tenant.ts"
import { FleetLoad, type FleetPlan } from "effect-eventsourcing/fleet"

export const tenantIds = (index: number): TenantId =>
  TenantId.make(`0190c5a0-0000-7000-8000-${index.toString(16).padStart(12, "0")}`)

export const place = (capacity: FleetLoad.Capacity): FleetLoad.Placement => ({ capacity })

/** The capacity for a number of middling tenants. */
export const limits = (kind: FleetLoad.Resource | "all", size: number): FleetLoad.Capacity => {
  const all = { tenants: size, events: size * 200, eventsPerDay: size * 200 }
  return kind === "all" ? all : { [kind]: all[kind] }
}

export const tenant = (
  index: number,
  given: Partial<Omit<FleetLoad.TenantLoad, "tenantId">>
): FleetLoad.TenantLoad => ({
  tenantId: tenantIds(index),
  placement: "db-0",
  status: "active",
  isMoving: false,
  events: 0,
  eventsPerDay: 0,
  ...given
})

const change = (
  placement: FleetLoad.PlacementLoad,
  { events, eventsPerDay }: Pick<FleetLoad.TenantLoad, "events" | "eventsPerDay">,
  sign: 1 | -1
): FleetLoad.PlacementLoad => ({
  ...placement,
  tenants: placement.tenants + sign,
  events: placement.events + sign * events,
  eventsPerDay: placement.eventsPerDay + sign * eventsPerDay
})

/** Declared placements with these tenants. */
export const fleet = (
  declared: ReadonlyArray<readonly [name: string, placement: FleetLoad.Placement]>,
  tenants: ReadonlyArray<FleetLoad.TenantLoad>
): FleetLoad.FleetLoad => ({
  placements: declared.map(([name, placement]) =>
    tenants
      .filter((one) => one.placement === name)
      .reduce((load, one) => change(load, one, 1), FleetLoad.emptyPlacement(name, placement))
  ),
  tenants,
  missing: []
})

/** The fleet after some moves. */
export const applied = (
  load: FleetLoad.FleetLoad,
  moves: ReadonlyArray<FleetPlan.PlannedMove>
): FleetLoad.FleetLoad => {
  const targets = new Map(moves.map(({ tenantId, to }) => [tenantId, to]))
  return {
    ...load,
    placements: load.placements.map((placement) => {
      let next = placement
      for (const move of moves) {
        if (move.from === placement.placement) next = change(next, move, -1)
        if (move.to === placement.placement) next = change(next, move, 1)
      }
      return next
    }),
    tenants: load.tenants.map((one) => ({ ...one, placement: targets.get(one.tenantId) ?? one.placement }))
  }
}
