/** The state of a move, which follows from the rows of the tenant at the source and at the target, and from nothing else. */
import type { TenantRecord } from "../driver/AdministrationStorage.ts"
import type { TenantId } from "../domain/Tenant.ts"

/** The step of a move. */
export type MoveStep =
  /** The log is copied; the tenant is in use at the source. */
  | "copying"
  /** The source is fenced for writes while the rest is copied and compared. */
  | "fenced"
  /** The target is the home. It is being made active. */
  | "decided"
  /** The tenant is in use at the target. Its rows at the source, and the directory, follow. */
  | "removing"
  /** The tenant is in use at the source. The copy is being removed. */
  | "calledOff"

/** A move. */
export interface Move {
  /** A UUID. */
  readonly id: string
  readonly tenantId: TenantId
  readonly from: string
  readonly to: string
}

/** A move and its step, with the rows that it follows from. */
export interface Found {
  readonly move: Move
  readonly step: MoveStep
  readonly source: TenantRecord | undefined
  readonly target: TenantRecord | undefined
}

/** The unfinished moves of a tenant in its rows, by placement. Some placements cannot be reached. */
export const movesOf = (
  tenantId: TenantId,
  records: ReadonlyMap<string, TenantRecord>,
  unreachable: ReadonlySet<string>
): ReadonlyArray<Found> => {
  const found = new Map<string, Found>()
  for (const [to, target] of records) {
    const { state } = target
    if (state.status !== "importing" || state.move === undefined) continue
    const { from, id } = state.move
    const source = records.get(from)
    found.set(id, { move: { id, tenantId, from, to }, step: stepOf(id, source), source, target })
  }
  for (const [from, source] of records) {
    const { state } = source
    const move =
      state.status === "moving"
        ? state.move
        : state.status === "moved" && !state.purged && state.move !== undefined
          ? { id: state.move, to: state.to }
          : undefined
    if (move === undefined || found.has(move.id)) continue
    const step = state.status === "moved" ? "removing" : unreachable.has(move.to) ? "fenced" : "calledOff"
    const target = records.get(move.to)
    found.set(move.id, { move: { ...move, tenantId, from }, step, source, target })
  }
  return [...found.values()]
}

/** The step of a move whose target is importing. */
const stepOf = (id: string, source: TenantRecord | undefined): MoveStep => {
  if (source === undefined) return "copying"
  const { calledOff, state } = source
  if (calledOff.includes(id)) return "calledOff"
  if (state.status === "moved" && state.move === id) return "decided"
  return state.status === "moving" && state.move?.id === id ? "fenced" : "copying"
}
