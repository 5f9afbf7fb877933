/** Tenants and the work of their projections in memory, as operators see them. */
import { byCodePoints } from "../driver/codePoints.ts"
import type { OverviewRequest, TenantOverviewRow, WorkRow } from "../driver/AdministrationStorage.ts"
import type { Page } from "../driver/EventStorage.ts"
import { type Row, type Store, versionKey } from "./progressTable.ts"
import type { Registration } from "./registrations.ts"
import type { TenantLog } from "./tenantLog.ts"

const day = 86_400_000

const slowestOf = (rows: ReadonlyArray<Row>, head: number): TenantOverviewRow["slowest"] =>
  rows
    .filter(({ rebuild }) => !rebuild)
    .map(({ position, projection, version }) => ({
      projection,
      version,
      distance: Math.max(0, head - position)
    }))
    .toSorted(
      (one, other) =>
        other.distance - one.distance ||
        byCodePoints(one.projection, other.projection) ||
        one.version - other.version
    )[0]

/** Recorded times never decrease within a log. */
const recordedSince = ({ events }: TenantLog, time: number): number =>
  events.length - events.filter(({ recordedAt }) => recordedAt < time).length

const overviewOf = (
  log: TenantLog,
  progress: Store,
  order: OverviewRequest["order"],
  at: number
): TenantOverviewRow => {
  const { createdAt, events, status, tenantId } = log
  const { hold, quota, state } = log.administered
  const lastAppendAt = events.at(-1)?.recordedAt
  const deadLetters = progress.lettersOfTenant(tenantId).filter(({ rebuild }) => !rebuild).length
  const slowest = slowestOf(progress.rowsOfTenant(tenantId), events.length)
  const values = {
    id: 0,
    head: events.length,
    lastAppend: lastAppendAt ?? 0,
    deadLetters,
    distance: slowest?.distance ?? 0
  }
  return {
    tenantId,
    value: values[order],
    status,
    createdAt,
    position: events.length,
    lastAppendAt,
    lastDay: recordedSince(log, at - day),
    lastWeek: recordedSince(log, at - 7 * day),
    deadLetters,
    slowest,
    quota,
    hold,
    move: state.status === "moving" || state.status === "importing" ? state.move?.id : undefined
  }
}

/** A page of the tenants. */
export const page = (
  logs: Iterable<TenantLog>,
  progress: Store,
  { after, limit, order, prefix, statuses }: OverviewRequest,
  at: number
): Page<TenantOverviewRow> => {
  const compare = (
    one: Pick<TenantOverviewRow, "tenantId" | "value">,
    other: Pick<TenantOverviewRow, "tenantId" | "value">
  ) => other.value - one.value || byCodePoints(one.tenantId, other.tenantId)
  const rows = Array.from(logs, (log) => overviewOf(log, progress, order, at))
    .filter(
      (row) =>
        (statuses === undefined || statuses.includes(row.status)) &&
        (prefix === undefined || row.tenantId.startsWith(prefix)) &&
        (after === undefined || compare(row, after) > 0)
    )
    .toSorted(compare)
  return { rows: rows.slice(0, limit), complete: rows.length <= limit }
}

/** The work of projections. It has no times of progress, only those of failures. */
export const work = (
  rows: ReadonlyArray<Row>,
  registrations: ReadonlyMap<string, Registration>,
  at: number
): ReadonlyArray<WorkRow> =>
  rows
    .map((row) => ({
      projection: row.projection,
      version: row.version,
      rebuild: row.rebuild,
      position: row.position,
      parked: row.parked,
      attempts: row.attempts,
      failedPosition: row.failedPosition,
      error: row.error,
      failureKind: row.failureKind,
      retryInMillis: row.retryAt === 0 || row.retryAt === Infinity ? undefined : row.retryAt - at,
      servedMillisAgo: undefined,
      tables: registrations.get(versionKey(row))?.tables ?? []
    }))
    .toSorted(
      (one, other) =>
        byCodePoints(one.projection, other.projection) ||
        one.version - other.version ||
        Number(one.rebuild) - Number(other.rebuild)
    )
