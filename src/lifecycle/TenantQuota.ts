/**
 * Quotas: limits of what a tenant may append. They are exact in any number of processes and need no counter.
 */
import { Context, Duration, Effect, Layer } from "effect"
import { nameProblem } from "../internal/json.ts"
import { layerPer } from "../internal/layerPer.ts"
import {
  AdministrationStorage,
  type Limits as StoredLimits,
  type Quota as StoredQuota,
  TenantStateConflict
} from "../driver/AdministrationStorage.ts"
import type { StorageUnavailable } from "../driver/StoreError.ts"
import { TenantAdministration, type TenantId } from "../domain/Tenant.ts"
import { recordAdministration } from "./administer.ts"

/** Limits of a tenant. A limit that is left out does not apply. Numbers are integers of at least 1. */
export interface Limits {
  /** Maximum number of events in its log. */
  readonly events?: number | undefined
  /** Maximum number of events in any window of time of this length, at least 1 millisecond. */
  readonly rate?: { readonly events: number; readonly window: Duration.Input } | undefined
  /** Maximum UTF-8 bytes of the payload and metadata of one event. */
  readonly eventBytes?: number | undefined
}

/** The quota of a tenant: limits of its own, or those of a plan. */
export type Quota = Limits | { readonly plan: string }

/** Limits with a name, which are kept once and apply to each tenant that has the plan. */
export interface Plan {
  readonly name: string
  readonly limits: Limits
}

/** The quota of a tenant and its use. */
export interface QuotaStatus {
  /** The plan that has the limits; undefined for limits of its own. */
  readonly plan: string | undefined
  readonly limits: Limits
  /** Number of events in its log. */
  readonly events: number
}

/** Errors of a change. */
export type QuotaError = TenantStateConflict | StorageUnavailable

/**
 * Quotas of tenants, and plans.
 *
 * **Details**
 *
 * Each append is judged under the lock that it takes anyway: the last position is the number of events, and the rate follows from the
 * age of the event that many positions ago, at the later of now and the time of the last event. An append beyond the quota writes
 * nothing and fails with `TenantRefused` (`QuotaExceeded`), which has the time after which to try again; over HTTP that is status 429
 * with `Retry-After`. An append that the quota could never take fails with `InvalidInput` (`LimitExceeded`).
 *
 * A retry of an append or command that is stored is answered with its first outcome. Imports are counted and not refused. A
 * tenant without a quota pays nothing for it; the appends of one with a quota do not take the fast path for single events.
 *
 * Every change is recorded in the audit trail and holds from the next append on, in every process.
 */
export class TenantQuota extends Context.Service<
  TenantQuota,
  {
    /** Sets the quota of a tenant, which must be registered. A plan must be defined. */
    readonly set: (tenantId: TenantId, quota: Quota) => Effect.Effect<void, QuotaError, TenantAdministration>
    /** Removes the quota of a tenant. */
    readonly remove: (tenantId: TenantId) => Effect.Effect<void, QuotaError, TenantAdministration>
    /** The quota of a tenant and its use; undefined for a tenant without a quota. */
    readonly status: (
      tenantId: TenantId
    ) => Effect.Effect<QuotaStatus | undefined, QuotaError, TenantAdministration>
    /** Defines a plan (its name has 1 to 255 characters), or changes its limits for each tenant that has it. */
    readonly definePlan: (
      name: string,
      limits: Limits
    ) => Effect.Effect<void, StorageUnavailable, TenantAdministration>
    /** All plans, ordered by name. */
    readonly plans: Effect.Effect<ReadonlyArray<Plan>, StorageUnavailable, TenantAdministration>
  }
>()("effect-eventsourcing/TenantQuota") {}

/** A limit of the storage. A wrong number is a mistake in the program. */
const whole = (name: string, value: number): number => {
  if (!Number.isSafeInteger(value) || value < 1) throw new RangeError(`${name} must be an integer, 1 or more`)
  return value
}

const toStorage = ({ eventBytes, events, rate }: Limits): StoredLimits => ({
  ...(events === undefined ? undefined : { events: whole("events", events) }),
  ...(rate === undefined
    ? undefined
    : {
        rate: {
          events: whole("rate.events", rate.events),
          windowMillis: whole("rate.window in milliseconds", Math.ceil(Duration.toMillis(rate.window)))
        }
      }),
  ...(eventBytes === undefined ? undefined : { eventBytes: whole("eventBytes", eventBytes) })
})

const fromStorage = ({ eventBytes, events, rate }: StoredLimits): Limits => ({
  ...(events === undefined ? undefined : { events }),
  ...(rate === undefined
    ? undefined
    : { rate: { events: rate.events, window: Duration.millis(rate.windowMillis) } }),
  ...(eventBytes === undefined ? undefined : { eventBytes })
})

const checkedName = (name: string): string => {
  const problem = nameProblem(name)
  if (problem !== undefined) throw new RangeError(`the name of a plan ${problem}`)
  return name
}

const quotaToStorage = (quota: Quota): StoredQuota =>
  "plan" in quota ? { plan: checkedName(quota.plan) } : toStorage(quota)

const make = Effect.map(AdministrationStorage, (storage) => {
  const recordPlans = (operation: string) =>
    Effect.flatMap(TenantAdministration, (access) => storage.recordAccess({ ...access, operation }))

  return TenantQuota.of({
    set: Effect.fnUntraced(function* (tenantId, given) {
      const quota = quotaToStorage(given)
      const accessId = yield* recordAdministration(storage, "TenantQuota.set", tenantId)
      yield* storage.setQuota({ accessId, tenantId, quota })
    }),
    remove: Effect.fnUntraced(function* (tenantId) {
      const accessId = yield* recordAdministration(storage, "TenantQuota.remove", tenantId)
      yield* storage.setQuota({ accessId, tenantId, quota: undefined })
    }),
    status: Effect.fnUntraced(function* (tenantId) {
      const accessId = yield* recordAdministration(storage, "TenantQuota.status", tenantId)
      const record = yield* storage.tenant({ accessId, tenantId })
      if (record === undefined)
        return yield* new TenantStateConflict({
          tenantId,
          operation: "TenantQuota.status",
          status: null,
          position: 0,
          problem: "the tenant is not registered here"
        })
      const { position: events, quota } = record
      if (quota === undefined) return undefined
      if (!("plan" in quota)) return { plan: undefined, limits: fromStorage(quota), events }
      const plans = yield* storage.plans({ accessId })
      const limits = plans.find(({ name }) => name === quota.plan)?.limits ?? {}
      return { plan: quota.plan, limits: fromStorage(limits), events }
    }),
    definePlan: Effect.fnUntraced(function* (name, limits) {
      const plan = { name: checkedName(name), limits: toStorage(limits) }
      const accessId = yield* recordPlans(`TenantQuota.definePlan ${name}`)
      yield* storage.definePlan({ accessId, ...plan })
    }),
    plans: Effect.gen(function* () {
      const accessId = yield* recordPlans("TenantQuota.plans")
      const plans = yield* storage.plans({ accessId })
      return plans.map(({ limits, name }) => ({ name, limits: fromStorage(limits) }))
    })
  })
})

/** Quotas on a driver. */
export const layer: Layer.Layer<TenantQuota, never, AdministrationStorage> = layerPer(
  [AdministrationStorage],
  () => Layer.effect(TenantQuota, make)
)
