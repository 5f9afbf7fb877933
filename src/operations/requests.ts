/** The requests of looks. */
import type { DateTime } from "effect"
import type { TenantId } from "../domain/Tenant.ts"
import type { OverviewOrder } from "../driver/AdministrationStorage.ts"
import type { EventQueryItem, TenantStatus } from "../driver/EventStorage.ts"
import type * as Looks from "./Looks.ts"
import type { Filter } from "./search.ts"

/** A page of tenants. */
export interface TenantsRequest {
  /** `id` ascending, any other descending, and equal ones by id. Default: `id`. */
  readonly order?: OverviewOrder | undefined
  /** Default: all. */
  readonly statuses?: ReadonlyArray<TenantStatus> | undefined
  /** The beginning of the id, of lower-case hexadecimal digits and hyphens. Default: any. */
  readonly prefix?: string | undefined
  /** The `next` of the page before. */
  readonly after?: Looks.TenantCursor | undefined
  /** An integer from 1 to 1,000. Default: 100. */
  readonly limit?: number | undefined
}

/** A bounded part of an answer. */
export interface Bounds {
  /** Maximum number of events in a page, an integer from 1 to 1,000. Default: 50. */
  readonly limit?: number | undefined
  /** Maximum number of positions that a page searches, an integer from 1 to 1,000,000. Default: 10,000. */
  readonly scan?: number | undefined
}

/** A page of a log. */
export interface LogRequest extends Filter, Bounds {
  /** Recorded at this time or later. */
  readonly recordedFrom?: DateTime.Utc | undefined
  /** Recorded before this time. */
  readonly recordedBefore?: DateTime.Utc | undefined
  /** Default: `"backwards"`, from the newest event. */
  readonly direction?: "forwards" | "backwards" | undefined
  /** The `next` of the page before, or any position, inclusive. Default: the end of the log, or its beginning. */
  readonly from?: number | undefined
}

/** A live log. */
export interface TailRequest extends Filter {
  /** The position after which it begins. Default: the end of the log. */
  readonly after?: number | undefined
}

/** A page of a stream. */
export interface StreamRequest {
  /** The stored name of the aggregate. */
  readonly aggregateType: string
  /** The stored id of the aggregate. */
  readonly aggregateId: string
  /** The first version, an integer from 1: the `next` of the page before. Default: 1. */
  readonly fromVersion?: number | undefined
  /** An integer from 1 to 1,000. Default: 50. */
  readonly limit?: number | undefined
}

/** A search for the events of a correlation id. */
export interface TraceRequest extends Bounds {
  readonly correlationId: string
  /** The `next` of the page before. Default: the event with this id, if it is one of the tenant's, or else the beginning. */
  readonly from?: number | undefined
}

/** A search for the events that a decision has read. */
export interface DecisionRequest extends Bounds {
  /** An event matches if it matches one of the items: its type is one of them, and it has all of the tags. */
  readonly items: ReadonlyArray<Pick<EventQueryItem, "aggregateType"> & Pick<Filter, "eventTypes" | "tags">>
  /** The `next` of the page before. Default: the beginning. */
  readonly from?: number | undefined
}

/** A page of the record of accesses. */
export interface AccessesRequest {
  readonly actor?: string | undefined
  /** The tenant that the operation names. */
  readonly tenantId?: TenantId | undefined
  /** The beginning of the operation, such as `Operations.log`. */
  readonly operation?: string | undefined
  /** The `next` of the page before. */
  readonly before?: string | undefined
  /** An integer from 1 to 1,000. Default: 100. */
  readonly limit?: number | undefined
}
