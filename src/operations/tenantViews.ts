/** Shows tenants, and the moves that they make. */
import { Duration, Effect } from "effect"
import type { Administered, TenantOverviewRow, TenantRecord } from "../driver/AdministrationStorage.ts"
import type { StorageUnavailable } from "../driver/StoreError.ts"
import { type CrossTenantAccess, TenantAdministration } from "../domain/Tenant.ts"
import type { TenantMove } from "../lifecycle/TenantMove.ts"
import { timeOf, timeOrNull } from "./eventView.ts"
import type * as Looks from "./Looks.ts"

const quotaOf = (quota: TenantOverviewRow["quota"]): Looks.TenantSummary["quota"] => {
  if (quota === undefined) return null
  if ("plan" in quota) return { events: null, rate: null, eventBytes: null, plan: quota.plan }
  const { eventBytes, events, rate } = quota
  return { events: events ?? null, rate: rate ?? null, eventBytes: eventBytes ?? null, plan: null }
}

export const tenantSummary = (row: TenantOverviewRow): Looks.TenantSummary => ({
  tenantId: row.tenantId,
  status: row.status,
  createdAt: timeOf(row.createdAt),
  head: row.position,
  lastAppendAt: timeOrNull(row.lastAppendAt),
  lastDay: row.lastDay,
  lastWeek: row.lastWeek,
  deadLetters: row.deadLetters,
  slowest: row.slowest ?? null,
  quota: quotaOf(row.quota),
  hold: row.hold === undefined ? null : { ...row.hold, heldAt: timeOf(row.hold.heldAt) },
  move: row.move ?? null
})

/** The move that the row of a tenant tells of. The copy at the other end is not seen. */
const moveOfRow = ({ position, state }: TenantRecord): Looks.MoveView | undefined => {
  switch (state.status) {
    case "importing":
      return state.move === undefined
        ? undefined
        : {
            id: state.move.id,
            from: state.move.from,
            to: null,
            step: "copying",
            end: null,
            copied: position,
            leaseMillis: Math.max(0, state.move.leaseMillis)
          }
    case "moving":
      return state.move === undefined
        ? undefined
        : {
            id: state.move.id,
            from: null,
            to: state.move.to,
            step: "fenced",
            end: state.head,
            copied: null,
            leaseMillis: null
          }
    case "moved":
      return state.purged || state.move === undefined
        ? undefined
        : {
            id: state.move,
            from: null,
            to: state.to,
            step: "removing",
            end: state.head,
            copied: null,
            leaseMillis: null
          }
    default:
      return undefined
  }
}

/** The unfinished move of a tenant: of both ends, if the program moves tenants, and otherwise of the tenant's row. */
export const moveOf = (
  { tenantId }: Administered,
  access: CrossTenantAccess,
  moves: TenantMove["Service"] | undefined,
  record: Effect.Effect<TenantRecord | undefined, StorageUnavailable>
): Effect.Effect<Looks.MoveView | undefined, StorageUnavailable> =>
  moves === undefined
    ? Effect.map(record, (row) => (row === undefined ? undefined : moveOfRow(row)))
    : Effect.map(
        Effect.provideService(moves.status(tenantId), TenantAdministration, access),
        (status) =>
          status && {
            id: status.id,
            from: status.from,
            to: status.to,
            step: status.step,
            end: status.end ?? null,
            copied: status.copied ?? null,
            leaseMillis: Duration.toMillis(status.lease)
          }
      )
