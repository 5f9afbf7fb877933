/** The conditions under which a move starts. */
import { type Cause, Effect } from "effect"
import type { TenantId } from "../domain/Tenant.ts"
import type { TenantRecord } from "../driver/AdministrationStorage.ts"
import { UnknownTenant, type StorageUnavailable } from "../driver/StoreError.ts"
import type { Side } from "./content.ts"
import { MoveRefused } from "./moveErrors.ts"
import { afterwards, type Parts, sideOf } from "./moveSteps.ts"
import { movesOf } from "./moveState.ts"

type Records = ReadonlyMap<string, TenantRecord>
type Failures = ReadonlyMap<string, Cause.Cause<StorageUnavailable>>

/** The placement in which a tenant is in use. */
const homeOf = Effect.fnUntraced(function* (
  { directory }: Parts,
  tenantId: TenantId,
  records: Records,
  failures: Failures
): Effect.fn.Return<string, MoveRefused | StorageUnavailable> {
  const refuse = (problem: string) => new MoveRefused({ tenantId, reason: "notActive", problem })
  yield* directory.invalidate(tenantId)
  let placement = yield* Effect.catchTag(directory.placement(tenantId), "TenantRefused", () =>
    Effect.fail(refuse(new UnknownTenant({ tenantId }).message))
  )
  for (const visited = new Set<string>(); !visited.has(placement);) {
    visited.add(placement)
    const failure = failures.get(placement)
    if (failure !== undefined) return yield* Effect.failCause(failure)
    const state = records.get(placement)?.state
    if (state?.status === "moved") {
      // the directory follows later
      placement = state.to
      continue
    }
    if (state?.status === "active") return placement
    return yield* refuse(
      state === undefined
        ? `it is not registered at ${placement}`
        : `it is ${state.status} at ${placement}, and only an active tenant moves`
    )
  }
  return yield* refuse("each placement says that it has moved to another one: restore the newest")
})

/** The tables whose rows the target could not take, or that would be lost. */
const tableProblem = Effect.fnUntraced(function* (source: Side, target: Side) {
  const tables = (yield* source.storage.tables(source.at)).filter(({ hasRows }) => hasRows)
  const undeclared = tables.filter(({ handling }) => handling === undefined).map(({ table }) => table)
  if (undeclared.length > 0)
    return `it has rows in ${undeclared.join(", ")}, which no declaration covers: declare each table as derived, carried or kept out`
  const there = yield* target.storage.tables(target.at)
  const carried = new Set(there.flatMap(({ handling, table }) => (handling === "carried" ? [table] : [])))
  const missing = tables.flatMap(({ handling, table }) =>
    handling === "carried" && !carried.has(table) ? [table] : []
  )
  return missing.length === 0
    ? undefined
    : `the target has no carried table ${missing.join(", ")}: create and declare it there`
})

/** The plan of the tenant that the target does not have. */
const missingPlan = (quota: TenantRecord["quota"], { at, storage }: Side) =>
  quota === undefined || !("plan" in quota)
    ? Effect.undefined
    : Effect.map(storage.plans(at), (plans) =>
        plans.some(({ name }) => name === quota.plan) ? undefined : quota.plan
      )

/**
 * Checks that a tenant can move, and removes the rows that it left at the target when it moved away (unless `removesRest` is false).
 * Returns its placement.
 */
export const checked = Effect.fnUntraced(function* (
  parts: Parts,
  tenantId: TenantId,
  to: string,
  records: Records,
  failures: Failures,
  { removesRest = true }: { readonly removesRest?: boolean } = {}
): Effect.fn.Return<string, MoveRefused | StorageUnavailable> {
  const refuse = (reason: MoveRefused["reason"], problem: string) =>
    new MoveRefused({ tenantId, reason, problem })
  if (!(yield* parts.placements.all).includes(to))
    return yield* refuse("unknownPlacement", `the directory does not list ${to}: add the placement first`)
  if (parts.directory.replace === undefined)
    return yield* refuse(
      "fixedDirectory",
      "the directory cannot be changed: give it the function replace, or use PgTenantDirectory"
    )
  const unreachable = failures.get(to)
  if (unreachable !== undefined) return yield* Effect.failCause(unreachable)
  const moves = movesOf(tenantId, records, new Set(failures.keys()))
  const other = moves.find(({ step }) => step !== "removing")
  if (other !== undefined)
    return yield* refuse(
      "underWay",
      `its move from ${other.move.from} to ${other.move.to} is under way: resume or abort that one first`
    )
  const from = yield* homeOf(parts, tenantId, records, failures)
  if (from === to) return yield* refuse("samePlacement", `it is at ${to} already`)
  return yield* Effect.scoped(
    Effect.gen(function* () {
      const id = "start"
      const source = yield* sideOf(parts, { id, tenantId }, from)
      const target = yield* sideOf(parts, { id, tenantId }, to)
      const state = records.get(to)?.state
      if (state?.status === "moved" && !state.purged) {
        const left = moves.find(({ move, step }) => step === "removing" && move.from === to)
        const arrived = left === undefined ? undefined : yield* sideOf(parts, left.move, left.move.to)
        if (removesRest && left !== undefined && arrived !== undefined)
          yield* afterwards(
            { ...parts, settings: { ...parts.settings, grace: 0 } },
            left.move,
            target,
            arrived
          )
      } else if (state !== undefined && state.status !== "moved")
        return yield* refuse(
          "occupied",
          state.status === "elsewhere"
            ? `it is excluded from ${to}: a database that excludes a tenant cannot take it`
            : `${to} has a tenant with this id, which is ${state.status}: erase that one, or restore it under another id`
        )
      const plan = yield* missingPlan(records.get(from)?.quota, target)
      if (plan !== undefined)
        return yield* refuse(
          "unknownPlan",
          `the plan "${plan}" of its quota is not defined at ${to}: define it there`
        )
      const problem = yield* tableProblem(source, target)
      if (problem !== undefined) return yield* refuse("undeclaredTables", problem)
      return from
    })
  )
})
