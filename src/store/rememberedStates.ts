/**
 * States of aggregates that a repository remembers, so that it need not load them. A remembered state may be out of date, or
 * of a history that the log has lost: the store confirms it, or the append that was decided on it, before anything counts.
 */
import { type Context, Effect, Result } from "effect"
import type * as Aggregate from "../domain/Aggregate.ts"
import { tenantOf } from "../domain/currentTenant.ts"
import type * as Event from "../domain/Event.ts"
import type { CurrentTenant, TenantId } from "../domain/Tenant.ts"
import type { InvalidId } from "../driver/StoreError.ts"
import { type Place, Recency } from "./recency.ts"
import { counting } from "../telemetry/series.ts"
import {
  rememberedEvictions,
  rememberedHits,
  rememberedMisses,
  rememberedOutdated
} from "../telemetry/Telemetry.ts"
import { aggregateId as encodeId } from "./encode.ts"
import type { LineKey } from "./commandLine.ts"
import type { EventStore } from "./EventStore.ts"
import { type LoadedState, withSnapshot } from "./snapshots.ts"

/** Bounds of the states that a repository remembers. */
export interface RememberOptions {
  /** Maximum number of states. 0: none are remembered. Default: 10,000. */
  readonly entries?: number | undefined
  /**
   * Maximum weight of all states: the payloads that were folded into them, in characters of JSON. A state above a mebibyte is
   * not remembered. 0: none are remembered. Default: 64 Mi.
   */
  readonly bytes?: number | undefined
}

/**
 * The reason for a miss: there is no state; a person was forgotten since it was read; the caller wants a fresh one; the fiber is in
 * a transaction.
 */
export type Miss = "absent" | "forgotten" | "fresh" | "inTransaction"

/**
 * The reason for an eviction: too many states, or too much weight; the state is too large; the log has another history; another
 * process has stored a newer snapshot; a person was forgotten since the state was read.
 */
export type Eviction = "entries" | "bytes" | "tooLarge" | "otherHistory" | "snapshot" | "forgotten"

const largestWeight = 1 << 20

/** The remembered states of a tenant. Aggregates are told apart by identity: two of one type may fold differently. */
class TenantStates {
  readonly tenantId: TenantId
  readonly byAggregate = new Map<Aggregate.Any, Map<string, Entry>>()
  readonly order = new Recency<Entry>()
  weight = 0
  constructor(tenantId: TenantId) {
    this.tenantId = tenantId
  }
}

interface Entry {
  readonly tenant: TenantStates
  readonly aggregate: Aggregate.Any
  readonly id: string
  /** Of the type of the aggregate's states. */
  known: LoadedState<unknown>
  placeInTenant: Place<Entry> | undefined
  placeInAll: Place<Entry> | undefined
}

/**
 * The remembered states of all tenants.
 *
 * **Details**
 *
 * The least recently used state goes first; while a tenant holds more than half of the room, that tenant's. (The caches of
 * libraries know one bound, and keys that are texts; here a key has three parts, and a bound each tenant.)
 */
export class RememberedStates {
  readonly #maxEntries: number
  readonly #maxWeight: number
  readonly #tenants = new Map<TenantId, TenantStates>()
  readonly #order = new Recency<Entry>()
  #weight = 0
  /** The tenant with more than half of the entries, and that with more than half of the weight. */
  #largest: TenantStates | undefined
  #heaviest: TenantStates | undefined
  readonly #evicted = counting<Eviction>(rememberedEvictions)

  readonly #knownForgotten: EventStore["Service"]["knownForgotten"]

  constructor(
    maxEntries: number,
    maxWeight: number,
    knownForgotten?: EventStore["Service"]["knownForgotten"]
  ) {
    this.#maxEntries = maxEntries
    this.#maxWeight = maxWeight
    this.#knownForgotten = knownForgotten
  }

  get size(): number {
    return this.#order.size
  }

  get weight(): number {
    return this.#weight
  }

  #entry(tenantId: TenantId, aggregate: Aggregate.Any, id: string): Entry | undefined {
    return this.#tenants.get(tenantId)?.byAggregate.get(aggregate)?.get(id)
  }

  /** True if a person was forgotten since a state was read: the state may contain data of that person. */
  #isForgotten({ known, tenant }: Entry): boolean {
    const now = this.#knownForgotten?.(tenant.tenantId)
    return now !== undefined && now !== known.forgotten
  }

  /** Drops a state if a person was forgotten since it was read. */
  dropForgotten(
    tenantId: TenantId,
    aggregate: Aggregate.Any,
    id: string,
    services: Context.Context<never>
  ): boolean {
    const entry = this.#entry(tenantId, aggregate, id)
    if (entry === undefined || !this.#isForgotten(entry)) return false
    this.#remove(entry, "forgotten", services)
    return true
  }

  find<State, Payload extends Event.Tagged, Id>(
    tenantId: TenantId,
    aggregate: Aggregate.Aggregate<string, State, Payload, Id>,
    id: string
  ): LoadedState<State> | undefined {
    const entry = this.#entry(tenantId, aggregate, id)
    if (entry === undefined || this.#isForgotten(entry)) return undefined
    this.#use(entry)
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- under an aggregate stand its own states
    return entry.known as LoadedState<State>
  }

  /** Remembers a state, unless a newer one is remembered and not to be replaced. */
  keep<State, Payload extends Event.Tagged, Id>(
    tenantId: TenantId,
    aggregate: Aggregate.Aggregate<string, State, Payload, Id>,
    id: string,
    known: LoadedState<State>,
    services: Context.Context<never>,
    replace: boolean
  ): void {
    const found = this.#entry(tenantId, aggregate, id)
    if (found !== undefined && found.known.version > known.version && !replace && !this.#isForgotten(found))
      return
    if (known.place === undefined) return
    if (known.weight > largestWeight) {
      if (found !== undefined) this.#remove(found, "tooLarge", services)
      return
    }
    if (found === undefined) {
      this.#add(tenantId, aggregate, id, known)
    } else {
      this.#grow(found.tenant, known.weight - found.known.weight)
      const { snapshotVersion, unusable } = found.known
      // A snapshot may have been stored while a command was under way.
      found.known =
        !replace && snapshotVersion > known.snapshotVersion ? { ...known, snapshotVersion, unusable } : known
      this.#use(found)
    }
    while (this.#order.size > this.#maxEntries) this.#removeOldest(this.#largest, "entries", services)
    while (this.#weight > this.#maxWeight) this.#removeOldest(this.#heaviest, "bytes", services)
  }

  /** Drops a state, if it is that of an event, or whatever it is. */
  drop(
    tenantId: TenantId,
    aggregate: Aggregate.Any,
    id: string,
    place: LoadedState<unknown>["place"],
    services: Context.Context<never>,
    reason: Eviction = place === undefined ? "snapshot" : "otherHistory"
  ): void {
    const entry = this.#entry(tenantId, aggregate, id)
    if (entry !== undefined && (place === undefined || entry.known.place?.eventId === place.eventId))
      this.#remove(entry, reason, services)
  }

  /** Notes a snapshot that was stored. */
  noteSnapshot(tenantId: TenantId, aggregate: Aggregate.Any, id: string, version: number): void {
    const entry = this.#entry(tenantId, aggregate, id)
    if (entry !== undefined && entry.known.snapshotVersion < version)
      entry.known = withSnapshot(entry.known, version)
  }

  #add(tenantId: TenantId, aggregate: Aggregate.Any, id: string, known: LoadedState<unknown>): void {
    let tenant = this.#tenants.get(tenantId)
    if (tenant === undefined) this.#tenants.set(tenantId, (tenant = new TenantStates(tenantId)))
    let byId = tenant.byAggregate.get(aggregate)
    if (byId === undefined) tenant.byAggregate.set(aggregate, (byId = new Map<string, Entry>()))
    const entry: Entry = { tenant, aggregate, id, known, placeInTenant: undefined, placeInAll: undefined }
    byId.set(id, entry)
    entry.placeInTenant = tenant.order.add(entry)
    entry.placeInAll = this.#order.add(entry)
    this.#grow(tenant, known.weight)
  }

  #use({ placeInAll, placeInTenant, tenant }: Entry): void {
    if (placeInTenant !== undefined) tenant.order.use(placeInTenant)
    if (placeInAll !== undefined) this.#order.use(placeInAll)
  }

  #removeOldest(
    crowding: TenantStates | undefined,
    reason: Eviction,
    services: Context.Context<never>
  ): void {
    const oldest = crowding?.order.oldest ?? this.#order.oldest
    if (oldest !== undefined) this.#remove(oldest, reason, services)
  }

  #remove(entry: Entry, reason: Eviction, services: Context.Context<never>): void {
    const { aggregate, id, known, placeInAll, placeInTenant, tenant } = entry
    const byId = tenant.byAggregate.get(aggregate)
    byId?.delete(id)
    if (byId?.size === 0) tenant.byAggregate.delete(aggregate)
    if (placeInTenant !== undefined) tenant.order.remove(placeInTenant)
    if (placeInAll !== undefined) this.#order.remove(placeInAll)
    if (tenant.order.size === 0) this.#tenants.delete(tenant.tenantId)
    this.#grow(tenant, -known.weight)
    this.#evicted(services, aggregate.type, reason)
  }

  /** Notes a changed weight and number of entries of a tenant. */
  #grow(tenant: TenantStates, weight: number): void {
    tenant.weight += weight
    this.#weight += weight
    if (tenant.order.size * 2 > this.#maxEntries + 1) this.#largest = tenant
    else if (this.#largest === tenant) this.#largest = undefined
    if (tenant.weight * 2 > this.#maxWeight) this.#heaviest = tenant
    else if (this.#heaviest === tenant) this.#heaviest = undefined
  }
}

/** The place of one aggregate's state in the memory, for one command or load. */
export interface Slot<State> {
  /** The line of commands to the aggregate; undefined if they must not wait for each other. */
  readonly line: LineKey | undefined
  /** The remembered state; undefined if there is none. */
  recall(): LoadedState<State> | undefined
  /** Remembers a state that the store has confirmed. */
  keep(known: LoadedState<State>): void
  /** Drops a state, because the log has another history, or because a person was forgotten since it was read. */
  drop(known: LoadedState<State>, reason?: "forgotten"): void
  /** Notes that the store had more than a recalled state. */
  outdated(): void
  /** Notes that a snapshot of a version was stored, or was not because a newer one of another process exists. */
  snapshot(version: number, stored: boolean): void
}

/** No place: nothing is remembered. */
class Nowhere<State> implements Slot<State> {
  readonly line: LineKey | undefined
  constructor(line?: LineKey) {
    this.line = line
  }
  recall(): undefined {}
  keep(): void {}
  drop(): void {}
  outdated(): void {}
  snapshot(): void {}
}

/** The counters of a memory. */
interface Counters {
  readonly hit: Count
  readonly miss: Count<Miss>
  readonly newer: Count
}

type Count<Reason extends string = never> = ReturnType<typeof counting<Reason>>

/** A class, because closures for each command would take time. */
class Somewhere<State, Payload extends Event.Tagged, Id> implements Slot<State> {
  readonly line: LineKey | undefined
  readonly #states: RememberedStates
  readonly #counters: Counters
  readonly #tenantId: TenantId
  readonly #aggregate: Aggregate.Aggregate<string, State, Payload, Id>
  readonly #id: string
  readonly #fresh: boolean
  readonly #services: Context.Context<never>

  constructor(
    states: RememberedStates,
    counters: Counters,
    aggregate: Aggregate.Aggregate<string, State, Payload, Id>,
    id: string,
    fresh: boolean,
    services: Context.Context<never>
  ) {
    const tenantId = tenantOf(services)
    this.line = fresh ? undefined : { tenantId, subject: aggregate, id }
    this.#states = states
    this.#counters = counters
    this.#tenantId = tenantId
    this.#aggregate = aggregate
    this.#id = id
    this.#fresh = fresh
    this.#services = services
  }

  recall(): LoadedState<State> | undefined {
    const { hit, miss } = this.#counters
    if (this.#states.dropForgotten(this.#tenantId, this.#aggregate, this.#id, this.#services)) {
      miss(this.#services, this.#aggregate.type, "forgotten")
      return undefined
    }
    const found = this.#fresh ? undefined : this.#states.find(this.#tenantId, this.#aggregate, this.#id)
    if (found === undefined) miss(this.#services, this.#aggregate.type, this.#fresh ? "fresh" : "absent")
    else hit(this.#services, this.#aggregate.type)
    return found
  }

  keep(known: LoadedState<State>): void {
    this.#states.keep(this.#tenantId, this.#aggregate, this.#id, known, this.#services, this.#fresh)
  }

  drop({ place }: LoadedState<State>, reason?: "forgotten"): void {
    this.outdated()
    this.#states.drop(this.#tenantId, this.#aggregate, this.#id, place, this.#services, reason)
  }

  outdated(): void {
    this.#counters.newer(this.#services, this.#aggregate.type)
  }

  snapshot(version: number, stored: boolean): void {
    if (stored) this.#states.noteSnapshot(this.#tenantId, this.#aggregate, this.#id, version)
    // The next load starts from the newer one.
    else this.#states.drop(this.#tenantId, this.#aggregate, this.#id, undefined, this.#services)
  }
}

const bound = (name: string, value: number): number => {
  if (!Number.isSafeInteger(value) || value < 0)
    throw new RangeError(`remember.${name} must be an integer from 0`)
  return value
}

/** A remembered state, and what is known of it. */
export interface Recalled<out State> {
  readonly known: LoadedState<State>
  /** `outdated`: the store has shown that it is not the present state. `confirmed`: it was read just now. */
  readonly is: "unconfirmed" | "outdated" | "confirmed"
}

/** The memory of a repository. */
export const makeMemory = (
  store: EventStore["Service"],
  { bytes = 64 << 20, entries = 10_000 }: RememberOptions = {}
) => {
  const states = new RememberedStates(bound("entries", entries), bound("bytes", bytes), store.knownForgotten)
  const counters: Counters = {
    hit: counting(rememberedHits),
    miss: counting<Miss>(rememberedMisses),
    newer: counting(rememberedOutdated)
  }
  const { hit, miss } = counters
  const isOff = entries === 0 || bytes === 0

  const slot = <State, Payload extends Event.Tagged, Id>(
    aggregate: Aggregate.Aggregate<string, State, Payload, Id>,
    id: string,
    fresh: boolean,
    services: Context.Context<never>
  ): Slot<State> =>
    isOff
      ? new Nowhere(fresh ? undefined : { tenantId: tenantOf(services), subject: aggregate, id })
      : new Somewhere(states, counters, aggregate, id, fresh, services)

  /**
   * The place of an aggregate's state. In a transaction of the program there is none: a rollback would leave a state there
   * that never was, and the transaction sees other states than everybody else.
   */
  const slotOf = <State, Payload extends Event.Tagged, Id>(
    aggregate: Aggregate.Aggregate<string, State, Payload, Id>,
    id: Id,
    fresh: boolean
  ): Effect.Effect<Slot<State>, InvalidId, CurrentTenant> =>
    Effect.flatMap(store.inTransaction, (inTransaction) =>
      Effect.withFiber(({ context }): Effect.Effect<Slot<State>, InvalidId> => {
        if (inTransaction) {
          if (!isOff) miss(context, aggregate.type, "inTransaction")
          return Effect.succeed(new Nowhere())
        }
        const encoded = encodeId(aggregate, id)
        return Result.isFailure(encoded)
          ? Effect.fail(encoded.failure)
          : Effect.succeed(slot(aggregate, encoded.success, fresh, context))
      })
    )

  return { states, slot, slotOf, hit }
}

/** The memory of a repository. */
export type Memory = ReturnType<typeof makeMemory>
