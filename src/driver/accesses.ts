/** The record of accesses across tenants, of administrative ones, and of operations with their outcomes. */
import type { Schema } from "effect"
import type { CrossTenantAccess } from "../domain/Tenant.ts"

/** An access to record. */
export interface NewAccess extends CrossTenantAccess {
  /** The operation, for example `EventStore.tenants`. */
  readonly operation: string
  /** A UUID of version 7, if the access is also recorded in another storage. Default: a new one, greater than those before. */
  readonly accessId?: string | undefined
  /**
   * The parameters of an operation, which then may get an outcome (`completeAccess`). They must contain neither secrets nor payloads.
   * Default: none, for a look.
   */
  readonly parameters?: Schema.Json | undefined
}

/** The outcome of an operation. */
export interface AccessOutcome {
  /** Milliseconds since 1970, by the clock of the storage. */
  readonly completedAt: number
  readonly outcome: Schema.Json
}

/** A recorded access across tenants. */
export interface CrossTenantAccessRow extends CrossTenantAccess {
  readonly accessId: string
  /** Milliseconds since 1970. */
  readonly accessedAt: number
  readonly operation: string
  /** The parameters of an operation; undefined for a look. */
  readonly parameters?: Schema.Json | undefined
  /** Undefined while an operation runs, after its process was killed, and for a look. */
  readonly completed?: AccessOutcome | undefined
}

/** The outcome to record. */
export interface AccessCompletion {
  /** The id of an access that the same login recorded with parameters. */
  readonly accessId: string
  readonly outcome: Schema.Json
}

/** A page of recorded accesses. */
export interface AccessesRequest {
  readonly accessId: string
  /** Only accesses before this one, newest first. */
  readonly before: string | undefined
  /** Only operations with parameters and exactly this name, which are found without a scan. Default: all accesses. */
  readonly operation?: string | undefined
  readonly limit: number
}
