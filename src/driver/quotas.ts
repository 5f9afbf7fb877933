/** Limits of what a tenant may append. */
import type { AppendRequest, NewEventRow } from "./EventStorage.ts"
import { InvalidInput, LimitExceeded, QuotaExceeded, TenantRefused } from "./StoreError.ts"

/** Limits of a tenant, each an integer of at least 1. A limit that is left out does not apply. */
export interface Limits {
  /** Maximum number of events in its log. */
  readonly events?: number | undefined
  /** Maximum number of events in any window of time of this length. */
  readonly rate?: { readonly events: number; readonly windowMillis: number } | undefined
  /** Maximum UTF-8 bytes of the payload and metadata of one event. */
  readonly eventBytes?: number | undefined
}

/** The quota of a tenant: limits of its own, or those of a plan. */
export type Quota = Limits | { readonly plan: string }

/** Limits with a name, which are kept once and apply to each tenant that has the plan. */
export interface Plan {
  /** 1 to 255 characters. */
  readonly name: string
  readonly limits: Limits
}

/** UTF-8 bytes of the payload and metadata of an event. */
export const bytesOf = ({ metadata, payload }: NewEventRow): number =>
  Buffer.byteLength(payload) + Buffer.byteLength(metadata)

/** The refusal of an append that a quota can never take. */
export const tooLarge = (
  { streams }: AppendRequest,
  limit: "eventBytes" | "appendEvents",
  maximum: number
): InvalidInput<LimitExceeded> => {
  const events = streams.flatMap((stream) => stream.events)
  const subject =
    limit === "appendEvents"
      ? `an append of ${events.length} events, under the quota of the tenant`
      : `event ${events.find((event) => bytesOf(event) > maximum)?.eventType ?? ""}, under the quota of the tenant`
  return new InvalidInput({ reason: new LimitExceeded({ limit, subject, maximum }) })
}

/** The refusal of an append that a quota does not take now. */
export const quotaExceeded = (
  tenantId: string,
  quota: "events" | "rate",
  maximum: number,
  windowMillis: number | null,
  retryAfterMillis: number | null
): TenantRefused<QuotaExceeded> =>
  new TenantRefused({
    reason: new QuotaExceeded({ tenantId, quota, maximum, windowMillis, retryAfterMillis })
  })
