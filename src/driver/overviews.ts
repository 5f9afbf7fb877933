/** Tenants and the work of their projections, as operators see them. */
import type { TenantId } from "../domain/Tenant.ts"
import type { TenantStatus } from "./EventStorage.ts"
import type { FailureKind } from "./ProjectionStorage.ts"
import type { Quota } from "./quotas.ts"
import type { LegalHold } from "./subjects.ts"

/** The property by which tenants are ordered: by id ascending, or by one of the others descending, and equal ones by id. */
export type OverviewOrder = "id" | "head" | "lastAppend" | "deadLetters" | "distance"

/** A place in a list of tenants. */
export interface OverviewPlace {
  /** The value of the property by which they are ordered; 0 for `id`. */
  readonly value: number
  readonly tenantId: TenantId
}

/** A tenant as an operator sees it in a list. */
export interface TenantOverviewRow extends OverviewPlace {
  readonly status: TenantStatus
  /** Milliseconds since 1970. */
  readonly createdAt: number
  /** The last position of its log; 0 if it is empty. */
  readonly position: number
  /** Recorded time of the last event, in milliseconds since 1970; undefined without events. */
  readonly lastAppendAt: number | undefined
  /** Number of events that were recorded in the last 24 hours. */
  readonly lastDay: number
  /** Number of events that were recorded in the last 7 days. */
  readonly lastWeek: number
  /** Number of dead letters of live read models. */
  readonly deadLetters: number
  /** The projection with the largest distance to the head of the log; undefined if none has ever worked for the tenant. */
  readonly slowest:
    | { readonly projection: string; readonly version: number; readonly distance: number }
    | undefined
  readonly quota: Quota | undefined
  readonly hold: LegalHold | undefined
  /** The id of the move that has fenced the tenant or writes its log; undefined without one. */
  readonly move: string | undefined
}

/** A page of a list of tenants. Tenants that were excluded from this storage (`elsewhere`) are never in it. */
export interface OverviewRequest {
  /** The id of an access that was recorded by the same login. */
  readonly accessId: string
  readonly order: OverviewOrder
  /** Default: all. */
  readonly statuses: ReadonlyArray<TenantStatus> | undefined
  /** The beginning of the id. Default: any. */
  readonly prefix: string | undefined
  /** The last row of the page before. */
  readonly after: OverviewPlace | undefined
  /** Maximum number of rows, at least 1. */
  readonly limit: number
}

/** The work of a projection with a tenant, or that of a rebuild. */
export interface WorkRow {
  readonly projection: string
  readonly version: number
  readonly rebuild: boolean
  /** The last position that is in the read model. */
  readonly position: number
  readonly parked: boolean
  /** Number of times the event at `failedPosition` has failed. */
  readonly attempts: number
  readonly failedPosition: number | undefined
  /** Summary of the last failure, without any payload. */
  readonly error: string | undefined
  readonly failureKind: FailureKind | undefined
  /** Milliseconds until the next attempt, by the clock of the storage; undefined if no time is set. */
  readonly retryInMillis: number | undefined
  /**
   * Milliseconds since a worker last recorded progress or a failure, by the clock of the storage; undefined if none has, or if the
   * storage keeps no time.
   */
  readonly servedMillisAgo: number | undefined
  /** The read models that it fills. */
  readonly tables: ReadonlyArray<string>
}
