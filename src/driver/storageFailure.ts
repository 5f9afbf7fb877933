/** Describes the failures of handlers for drivers: their origin, and a summary that may be shown. */
import { QuotaExceeded, StorageUnavailable, TenantRefused, type UnavailableReason } from "./StoreError.ts"
import type { FailureDescription, FailureKind } from "./ProjectionStorage.ts"

/** Reasons that no event is to blame for, even if trying again does not help: an operator removes them. */
const ofStorage: ReadonlySet<string> = new Set(["ConnectionFailed", "KeyVaultFailed", "KeyMissing"])

const kindOf = (reason: UnavailableReason): FailureKind => {
  if (reason._tag === "SchemaMismatch") return "schema"
  return reason.retryable || ofStorage.has(reason._tag) ? "storage" : "handler"
}

const maxSummary = 1000

/** Shortens a text and removes U+0000, so that it can be stored. */
export const summaryOf = (text: string): string => text.replaceAll("\0", "").slice(0, maxSummary)

/** Describes a failure of the storage that a handler met in a call of the store. */
export const describeUnavailable = (error: StorageUnavailable): FailureDescription => ({
  kind: kindOf(error.reason),
  summary: summaryOf(`${error.name}: ${error.message}`),
  code: error.code,
  message: error.message,
  remedy: undefined,
  unavailable: kindOf(error.reason) === "handler" ? undefined : error
})

/** Describes any failure, for a storage without errors of its own besides those of the contracts. */
export const describeFailure = (error: unknown): FailureDescription => {
  if (error instanceof StorageUnavailable) return describeUnavailable(error)
  // No event is to blame for a quota: its appends wait until there is room.
  const isOverQuota = error instanceof TenantRefused && error.reason instanceof QuotaExceeded
  const message =
    error instanceof Error ? `${error.name}: ${error.message}` : `a failure of type ${typeof error}`
  return {
    kind: isOverQuota ? "storage" : "handler",
    summary: summaryOf(message),
    code: isOverQuota ? error.reason._tag : null,
    message: error instanceof Error ? error.message : message,
    remedy: undefined,
    unavailable: undefined
  }
}
