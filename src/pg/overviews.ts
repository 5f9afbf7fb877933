/** Tenants and the work of their projections on PostgreSQL, as `tenant_overviews.sql` and `read_tenant_rows.sql` return them. */
import { PgTypes } from "@effect/sql-pg"
import type { OverviewRequest, TenantOverviewRow, WorkRow } from "../driver/AdministrationStorage.ts"
import { array } from "./appendBatch.ts"
import { oneMore } from "./read.ts"

type WithNull<A> = {
  readonly [K in keyof A]: undefined extends A[K] ? Exclude<A[K], undefined> | null : A[K]
}

/** A tenant as JSON. */
export type StoredOverview = WithNull<TenantOverviewRow>

/** The work of a projection as JSON. */
export type StoredWork = Omit<WithNull<WorkRow>, "tables"> & { readonly tables: WorkRow["tables"] | null }

export const sql =
  "select eventsourcing.tenant_overviews($1::pg_catalog.uuid, $2::pg_catalog.text, $3::pg_catalog.text[], $4::pg_catalog.text, $5::double precision, $6::pg_catalog.uuid, $7::integer)"

export const parameters = ({
  accessId,
  after,
  limit,
  order,
  prefix,
  statuses
}: OverviewRequest): ReadonlyArray<unknown> => [
  accessId,
  order,
  statuses === undefined ? null : array(statuses, PgTypes.OID["text"]),
  prefix ?? null,
  after?.value ?? null,
  after?.tenantId ?? null,
  oneMore(limit)
]

export const toRow = ({
  hold,
  lastAppendAt,
  move,
  quota,
  slowest,
  ...row
}: StoredOverview): TenantOverviewRow => ({
  ...row,
  lastAppendAt: lastAppendAt ?? undefined,
  slowest: slowest ?? undefined,
  quota: quota ?? undefined,
  hold: hold ?? undefined,
  move: move ?? undefined
})

export const toWork = ({
  error,
  failedPosition,
  failureKind,
  retryInMillis,
  servedMillisAgo,
  tables,
  ...row
}: StoredWork): WorkRow => ({
  ...row,
  failedPosition: failedPosition ?? undefined,
  error: error ?? undefined,
  failureKind: failureKind ?? undefined,
  retryInMillis: retryInMillis ?? undefined,
  servedMillisAgo: servedMillisAgo ?? undefined,
  tables: tables ?? []
})
