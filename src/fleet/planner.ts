/** The moves that a fleet needs: a pure function of its load. */
import { byCodePoints } from "../driver/codePoints.ts"
import type { TenantId } from "../domain/Tenant.ts"
import { fill, type FleetLoad, type PlacementLoad, scarcest, type TenantLoad } from "./FleetLoad.ts"
import type { LeftTenant, MoveReason, Options, Rate, Wanted } from "./planned.ts"

/** A move without its duration. */
export interface Decided {
  readonly tenant: TenantLoad
  readonly to: string
  readonly reason: MoveReason
}

/** The settings of a plan, complete. */
export interface Settings {
  readonly evacuated: ReadonlySet<string>
  readonly wanted: (tenantId: TenantId) => Wanted
  readonly high: number
  readonly low: number
  readonly maxMoves: number
  readonly balances: boolean
}

export const settingsOf = (options: Options): Settings => {
  const { balance = {}, evacuate = [], maxMoves = Infinity, wanted = () => ({}) } = options
  const { high = 0.9, low = 0.75 } = balance === false ? {} : balance
  if (!(low > 0 && low <= high && high <= 1)) throw new RangeError("0 < low <= high <= 1 is required")
  if (!(maxMoves >= 0)) throw new RangeError("maxMoves must be 0 or more")
  return { evacuated: new Set(evacuate), wanted, high, low, maxMoves, balances: balance !== false }
}

const byLoad = (one: TenantLoad, other: TenantLoad): number =>
  other.eventsPerDay - one.eventsPerDay ||
  other.events - one.events ||
  byCodePoints(one.tenantId, other.tenantId)

const adding = (place: PlacementLoad, tenant: TenantLoad, sign: 1 | -1): PlacementLoad => ({
  ...place,
  tenants: place.tenants + sign,
  events: place.events + sign * tenant.events,
  eventsPerDay: place.eventsPerDay + sign * tenant.eventsPerDay
})

/** The planner: it moves tenants in a copy of the fleet's load. */
export class Planner {
  readonly #settings: Settings
  readonly #places: Map<string, PlacementLoad>
  readonly #tenantsAt = new Map<string, Array<TenantLoad>>()
  readonly #moved = new Set<TenantId>()
  readonly moves: Array<Decided> = []

  constructor({ placements, tenants }: FleetLoad, settings: Settings) {
    this.#settings = settings
    this.#places = new Map(placements.map((place) => [place.placement, place]))
    for (const tenant of tenants.toSorted(byLoad)) {
      const there = this.#tenantsAt.get(tenant.placement)
      if (there === undefined) this.#tenantsAt.set(tenant.placement, [tenant])
      else there.push(tenant)
    }
  }

  /** The load once all moves are made. */
  get placements(): ReadonlyArray<PlacementLoad> {
    return [...this.#places.values()]
  }

  /** The reason for which a tenant must leave its placement; undefined if it may stay. */
  #mustLeave(tenant: TenantLoad, at: PlacementLoad): MoveReason | undefined {
    const { placement, region, tier } = this.#settings.wanted(tenant.tenantId)
    if (this.#settings.evacuated.has(tenant.placement)) return { kind: "evacuated" }
    if (placement !== undefined)
      return placement === tenant.placement ? undefined : { kind: "pinned", placement }
    if (region !== undefined && region !== at.region)
      return { kind: "region", found: at.region, wanted: region }
    return tier === undefined || tier === at.tier ? undefined : { kind: "tier", found: at.tier, wanted: tier }
  }

  /** The placement that is emptiest with a tenant, and not fuller than the limit. */
  #target(tenant: TenantLoad, from: PlacementLoad): PlacementLoad | undefined {
    const { evacuated, high, wanted } = this.#settings
    const { placement, region = from.region, tier = from.tier } = wanted(tenant.tenantId)
    const may = (place: PlacementLoad): boolean =>
      place.placement !== from.placement &&
      !evacuated.has(place.placement) &&
      (placement === undefined
        ? place.open && !place.own && place.region === region && place.tier === tier
        : place.placement === placement)
    let best: { readonly place: PlacementLoad; readonly after: number } | undefined
    for (const place of this.#places.values()) {
      if (!may(place)) continue
      const after = fill(adding(place, tenant, 1))
      const isBetter =
        best === undefined ||
        after < best.after ||
        (after === best.after && byCodePoints(place.placement, best.place.placement) < 0)
      // a pin is the decision of a person: a database of its own may be as full as its tenant makes it
      if (isBetter && (after <= high || placement !== undefined)) best = { place, after }
    }
    return best?.place
  }

  #move(tenant: TenantLoad, from: PlacementLoad, to: PlacementLoad, reason: MoveReason): void {
    this.#places.set(from.placement, adding(from, tenant, -1))
    this.#places.set(to.placement, adding(to, tenant, 1))
    this.#moved.add(tenant.tenantId)
    this.moves.push({ tenant, to: to.placement, reason })
  }

  get #isDone(): boolean {
    return this.moves.length >= this.#settings.maxMoves
  }

  #canMove(tenant: TenantLoad): boolean {
    return tenant.status === "active" && !tenant.isMoving && !this.#moved.has(tenant.tenantId)
  }

  /** Moves the tenants that must leave, as far as there is room. */
  #place(): void {
    for (const [name, tenants] of this.#tenantsAt)
      for (const tenant of tenants) {
        const from = this.#places.get(name)
        if (from === undefined || this.#isDone || !this.#canMove(tenant)) continue
        const reason = this.#mustLeave(tenant, from)
        if (reason === undefined) continue
        const to = this.#target(tenant, from)
        if (to !== undefined) this.#move(tenant, from, to, reason)
      }
  }

  /** Empties placements that are too full, each down to the lower limit. */
  #balance(): void {
    const { high, low } = this.#settings
    for (const [name, tenants] of this.#tenantsAt) {
      const full = this.#places.get(name)
      if (full === undefined || full.own || fill(full) <= high) continue
      const reason: MoveReason = { kind: "full", resource: scarcest(full), fill: fill(full) }
      for (;;) {
        const from = this.#places.get(name)
        if (from === undefined || fill(from) <= low || this.#isDone) break
        const next = this.#bestToLeave(tenants, from)
        if (next === undefined) break
        this.#move(next.tenant, from, next.to, reason)
      }
    }
  }

  /** The tenant whose move relieves a placement most: the largest that is not more than the surplus, or else the smallest. */
  #bestToLeave(tenants: ReadonlyArray<TenantLoad>, from: PlacementLoad) {
    const resource = scarcest(from)
    const surplus = from[resource] - (from.capacity[resource] ?? 0) * this.#settings.low
    const weight = (tenant: TenantLoad): number => (resource === "tenants" ? 1 : tenant[resource])
    const relieving = tenants.filter((tenant) => this.#canMove(tenant) && weight(tenant) > 0)
    const fitting = relieving.filter((tenant) => weight(tenant) <= surplus)
    const order = [
      ...fitting.toSorted((one, other) => weight(other) - weight(one) || byLoad(other, one)),
      ...relieving
        .filter((tenant) => weight(tenant) > surplus)
        .toSorted((one, other) => weight(one) - weight(other) || byLoad(other, one))
    ]
    for (const tenant of order) {
      const to = this.#target(tenant, from)
      if (to !== undefined) return { tenant, to }
    }
    return undefined
  }

  /** Moves until nothing more can be improved: a move may make room for another one. */
  run(): void {
    for (;;) {
      const before = this.moves.length
      this.#place()
      if (this.#settings.balances) this.#balance()
      if (this.moves.length === before || this.#isDone) return
    }
  }

  /** The tenants that must leave their placement and have no move. */
  left(): ReadonlyArray<LeftTenant> {
    const left: Array<LeftTenant> = []
    for (const [name, tenants] of this.#tenantsAt)
      for (const tenant of tenants) {
        const from = this.#places.get(name)
        if (from === undefined || this.#moved.has(tenant.tenantId)) continue
        const reason = this.#mustLeave(tenant, from)
        if (reason === undefined) continue
        const obstacle = tenant.isMoving
          ? "underWay"
          : tenant.status === "active"
            ? this.#isDone && this.#target(tenant, from) !== undefined
              ? "later"
              : "noRoom"
            : "notActive"
        left.push({ tenantId: tenant.tenantId, placement: name, reason, obstacle })
      }
    return left.toSorted((one, other) => byCodePoints(one.tenantId, other.tenantId))
  }
}

/** Seconds that a move takes at a rate. */
export const secondsOf = (events: number, { eventsPerSecond, secondsPerMove }: Rate): number =>
  secondsPerMove + events / eventsPerSecond

/** Seconds that moves take if a number of them run at the same time, each beginning as soon as another ends. */
export const totalSeconds = (seconds: ReadonlyArray<number>, concurrency: number): number => {
  const ends = Array.from({ length: concurrency }, () => 0)
  for (const one of seconds) {
    const first = ends.indexOf(Math.min(...ends))
    ends[first] = (ends[first] ?? 0) + one
  }
  return Math.max(0, ...ends)
}
