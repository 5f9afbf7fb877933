/** Quotas in memory. `quota_refusal.sql` has the same rules. */
import type { AppendRequest } from "../driver/EventStorage.ts"
import { bytesOf, type Limits, quotaExceeded, tooLarge } from "../driver/quotas.ts"
import type { InvalidInput, LimitExceeded, QuotaExceeded, TenantRefused } from "../driver/StoreError.ts"
import type { TenantLog } from "./tenantLog.ts"

/** The limits of the plans, by their names. */
export type Plans = Map<string, Limits>

const rateRefusal = (
  log: TenantLog,
  { events: maximum, windowMillis }: NonNullable<Limits["rate"]>,
  count: number,
  now: number
): TenantRefused<QuotaExceeded> | undefined => {
  const head = log.events.length
  if (head + count <= maximum) return undefined
  const recordedAt = Math.max(now, log.events[head - 1]?.recordedAt ?? now)
  // the last event that must be outside of the window
  const oldest = log.events[head + count - maximum - 1]?.recordedAt ?? recordedAt
  return recordedAt - oldest < windowMillis
    ? quotaExceeded(log.tenantId, "rate", maximum, windowMillis, Math.max(windowMillis - (now - oldest), 1))
    : undefined
}

/** The refusal of an append by the quota of its tenant; undefined if the quota allows it. */
export const quotaRefusal = (
  log: TenantLog,
  request: AppendRequest,
  now: number,
  plans: Plans
): TenantRefused<QuotaExceeded> | InvalidInput<LimitExceeded> | undefined => {
  const { quota } = log.administered
  if (quota === undefined || request.exempt === true) return undefined
  const limits = "plan" in quota ? plans.get(quota.plan) : quota
  if (limits === undefined) throw new Error("a tenant has a plan that is not defined")
  let count = 0
  let bytes = 0
  for (const { events } of request.streams) {
    for (const event of events) {
      count++
      bytes = Math.max(bytes, bytesOf(event))
    }
  }
  if (count === 0) return undefined
  const { eventBytes = Infinity, events: total = Infinity, rate } = limits
  const most = Math.min(total, rate?.events ?? Infinity)
  if (bytes > eventBytes) return tooLarge(request, "eventBytes", eventBytes)
  if (count > most) return tooLarge(request, "appendEvents", most)
  if (log.events.length + count > total) return quotaExceeded(log.tenantId, "events", total, null, null)
  return rate === undefined ? undefined : rateRefusal(log, rate, count, now)
}
