/** Actions on a tenant as a whole: provision, suspension, legal hold, quota and erasure. */
import { Duration, Effect } from "effect"
import {
  type AdministrationStorage,
  TenantHeld,
  type TenantRecord,
  TenantStateConflict
} from "../driver/AdministrationStorage.ts"
import type { StorageUnavailable } from "../driver/StoreError.ts"
import { nameProblem } from "../internal/json.ts"
import { AllTenants, TenantAdministration } from "../domain/Tenant.ts"
import type { Certificate, Erasure, TenantErasure } from "../lifecycle/TenantErasure.ts"
import type { Quota, TenantQuota } from "../lifecycle/TenantQuota.ts"
import type { TenantRegistry } from "../store/TenantRegistry.ts"
import type { Erase, Plain, SetQuota } from "./Acts.ts"
import { type Recorder, required, type RunningAt, single, type Summary } from "./recorded.ts"

/** The parts of the program that the actions use. */
export interface Parts {
  readonly administration: AdministrationStorage["Service"]
  readonly registry: TenantRegistry["Service"]
  readonly quotas: TenantQuota["Service"]
  readonly erasure: TenantErasure["Service"] | undefined
}

/** An effect on tenants runs for the operator of the action. */
export const administering =
  ({ access }: Pick<RunningAt, "access">) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, Exclude<R, TenantAdministration>> =>
    Effect.provideService(effect, TenantAdministration, access)

const ofTenant = (changed: boolean, details: Summary["details"] = {}): Summary => ({
  changed,
  counts: { tenants: changed ? 1 : 0 },
  details
})

const quotaOf = ({ quota }: SetQuota): Quota => {
  if ("plan" in quota) return quota
  const { eventBytes, events, rate } = quota
  return {
    events,
    eventBytes,
    rate: rate && { events: rate.events, window: Duration.millis(rate.windowMillis) }
  }
}

const erased = ({ complete, delay, events, lastHash }: Erasure): Summary => ({
  changed: true,
  counts: { tenants: 1, events },
  details: { complete, delayMillis: Duration.toMillis(delay), lastHash }
})

const certified = ({ events, keys, lastHash, removed, residues }: Certificate): Summary => ({
  changed: true,
  counts: { tenants: 1, events, rows: removed },
  details: { complete: true, keys, lastHash, residues: [...residues] }
})

export const make = ({ administration, erasure, quotas, registry }: Parts, recorder: Recorder) => {
  const conflict = (
    { action, tenantId }: RunningAt,
    record: TenantRecord | undefined,
    problem: string
  ): TenantStateConflict =>
    new TenantStateConflict({
      tenantId,
      operation: action,
      status: record?.state.status ?? null,
      position: record?.position ?? 0,
      problem
    })

  /** The tenant, which must be registered. */
  const registered = (
    running: RunningAt
  ): Effect.Effect<TenantRecord, TenantStateConflict | StorageUnavailable> =>
    Effect.flatMap(administration.tenant(running), (record) =>
      record === undefined
        ? Effect.fail(conflict(running, undefined, "the tenant is not registered here"))
        : Effect.succeed(record)
    )

  const setStatus =
    (action: "suspendTenant" | "resumeTenant", status: "active" | "suspended") =>
    (request: Plain = {}) =>
      Effect.flatMap(AllTenants, (everything) =>
        recorder.at({ action, request }, (running) =>
          Effect.gen(function* () {
            const { tenantId } = running
            if (running.dryRun) {
              const record = yield* registered(running)
              const former = record.state.status
              if (former !== "active" && former !== "suspended")
                return yield* conflict(running, record, `the tenant is ${former}`)
              return ofTenant(former !== status, { formerStatus: former })
            }
            const change = status === "active" ? registry.resume(tenantId) : registry.suspend(tenantId)
            const former = yield* Effect.provideService(change, AllTenants, everything)
            return ofTenant(former !== status, { formerStatus: former })
          })
        )
      )

  /** The tenant that is to be erased, and may be. */
  const erasable = Effect.fnUntraced(function* (running: RunningAt) {
    const record = yield* registered(running)
    const { hold, state, tenantId } = record
    if (hold !== undefined) return yield* new TenantHeld({ tenantId, actor: hold.actor, reason: hold.reason })
    if (state.status === "importing" || state.status === "moving" || state.status === "elsewhere")
      return yield* conflict(running, record, `the tenant is ${state.status}`)
    return record
  })

  const erase = Effect.fnUntraced(function* (running: RunningAt, { delayMillis = 0 }: Erase) {
    const erasures = yield* required(running, "TenantErasure", erasure)
    const { tenantId } = running
    if (running.dryRun) {
      const { position, state } = yield* erasable(running)
      return {
        changed: state.status !== "erased" || !state.purged,
        counts: { tenants: 1, events: position },
        details: { delayMillis }
      }
    }
    return delayMillis > 0
      ? erased(yield* erasures.schedule(tenantId, { delay: Duration.millis(delayMillis) }))
      : certified(yield* erasures.erase(tenantId))
  })

  const finish = Effect.fnUntraced(function* (running: RunningAt) {
    const erasures = yield* required(running, "TenantErasure", erasure)
    if (!running.dryRun) return certified(yield* erasures.finish(running.tenantId))
    const { hold, position, state, ...record } = yield* registered(running)
    if (state.status !== "erased")
      return yield* conflict(running, { hold, position, state, ...record }, "the tenant is not erased")
    return { changed: !state.purged, counts: { tenants: 1, events: position } }
  })

  const rows = <E, R>(running: RunningAt, run: Effect.Effect<Summary, E, R>) =>
    single("rows", "removing", administering(running)(run))

  const holding =
    (action: "holdTenant" | "releaseTenant") =>
    (request: Plain = {}) =>
      recorder.at({ action, request }, (running) =>
        Effect.gen(function* () {
          const erasures = yield* required(running, "TenantErasure", erasure)
          const { hold } = yield* registered(running)
          const changes = action === "holdTenant" || hold !== undefined
          if (!running.dryRun)
            yield* action === "holdTenant"
              ? erasures.hold(running.tenantId, running.access.reason)
              : erasures.release(running.tenantId)
          return ofTenant(changes, { formerHold: hold === undefined ? null : { ...hold } })
        }).pipe(administering(running))
      )

  /** Fails for a plan that is not defined. */
  const checkPlan = Effect.fnUntraced(function* (
    running: RunningAt,
    record: TenantRecord,
    given: Quota | undefined
  ) {
    if (given === undefined || !("plan" in given)) return
    const { plan } = given
    const problem = nameProblem(plan)
    if (problem !== undefined) return yield* conflict(running, record, `the name of the plan ${problem}`)
    const plans = yield* administration.plans(running)
    if (!plans.some(({ name }) => name === plan))
      return yield* conflict(running, record, `its plan "${plan}" is not defined: define it first`)
  })

  const quota = (action: "setQuota" | "clearQuota", request: Plain | SetQuota, given: Quota | undefined) =>
    recorder.at({ action, request }, (running) =>
      Effect.gen(function* () {
        const record = yield* registered(running)
        const changes = given !== undefined || record.quota !== undefined
        yield* checkPlan(running, record, given)
        if (!running.dryRun)
          yield* given === undefined ? quotas.remove(running.tenantId) : quotas.set(running.tenantId, given)
        return ofTenant(changes)
      }).pipe(administering(running))
    )

  return {
    provisionTenant: (request: Plain = {}) =>
      recorder.at({ action: "provisionTenant", request }, (running) =>
        Effect.gen(function* () {
          const record = yield* administration.tenant(running)
          const status = running.dryRun
            ? (record?.state.status ?? "active")
            : yield* registry.provision(running.tenantId)
          return ofTenant(record === undefined, { status })
        })
      ),
    suspendTenant: setStatus("suspendTenant", "suspended"),
    resumeTenant: setStatus("resumeTenant", "active"),
    holdTenant: holding("holdTenant"),
    releaseTenant: holding("releaseTenant"),
    setQuota: (request: SetQuota) => quota("setQuota", request, quotaOf(request)),
    clearQuota: (request: Plain = {}) => quota("clearQuota", request, undefined),
    erase: (request: Erase = {}) =>
      recorder.stepsAt({ action: "erase", request }, (running) => rows(running, erase(running, request))),
    finishErasure: (request: Plain = {}) =>
      recorder.stepsAt({ action: "finishErasure", request }, (running) => rows(running, finish(running))),
    undoErasure: (request: Plain = {}) =>
      recorder.at({ action: "undoErasure", request }, (running) =>
        Effect.gen(function* () {
          const erasures = yield* required(running, "TenantErasure", erasure)
          const record = yield* registered(running)
          if (record.state.status !== "erased")
            return yield* conflict(running, record, "the tenant is not erased")
          if (record.state.purging)
            return yield* conflict(running, record, "rows of the tenant are removed already")
          if (!running.dryRun) yield* erasures.undo(running.tenantId)
          return { changed: true, counts: { tenants: 1, events: record.position } }
        }).pipe(administering(running))
      )
  }
}
