/** What an error of the PostgreSQL client means. Its text stays inside: it may quote rows, keys and parameters. */
import { Predicate } from "effect"
import { SqlError } from "effect/sql"
import { StorageUnavailable, TenantMismatch } from "../driver/StoreError.ts"

/** Raised by the functions in `migrations/`. */
const code = {
  boundToAnother: "ES001",
  leftOver: "ES003",
  openTransaction: "2D000",
  abortedTransaction: "25P02",
  positionTaken: "23505"
} as const

/** The SQLSTATE, if the server sent one. */
export const sqlState = (error: SqlError.SqlError): string | undefined => {
  const { cause } = error.reason
  return Predicate.hasProperty(cause, "code") && Predicate.isString(cause.code) ? cause.code : undefined
}

/**
 * Shutting down, starting up, too many connections, idle too long in a transaction, a plan outdated by a migration: all
 * of them pass, and the client does not count them as retryable.
 */
const passing = new Set(["57P01", "57P02", "57P03", "53300", "25P03", "0A000"])

/** Whether the same statement may succeed later. */
export const isTransient = (error: SqlError.SqlError): boolean =>
  error.isRetryable || passing.has(sqlState(error) ?? "")

/**
 * What fails if somebody left something on the connection: a tenant, an open or aborted transaction, or (the last two,
 * which may have other reasons) a role, read-only transactions, row security switched off.
 */
const leftOver = new Set<string>([
  code.boundToAnother,
  code.leftOver,
  code.openTransaction,
  code.abortedTransaction,
  "42501",
  "25006"
])

/** Whether it may help to clean the connection. */
export const isLeftOver = (error: SqlError.SqlError): boolean => leftOver.has(sqlState(error) ?? "")

/** Whether the transaction of the connection had failed before. */
export const isAborted = (error: SqlError.SqlError): boolean => sqlState(error) === code.abortedTransaction

export const toUnavailable = (operation: string, error: SqlError.SqlError): StorageUnavailable =>
  new StorageUnavailable({ operation, retryable: isTransient(error), code: sqlState(error) ?? null })

export const toReadError = (
  operation: string,
  tenantId: string,
  error: SqlError.SqlError
): TenantMismatch | StorageUnavailable =>
  sqlState(error) === code.boundToAnother ? new TenantMismatch({ tenantId }) : toUnavailable(operation, error)

/**
 * An append in a transaction of the application that is not READ COMMITTED does not see what was appended after the
 * transaction began, so its positions are taken: the transaction has to be tried again, as after any serialization
 * failure.
 */
export const toAppendError = (
  tenantId: string,
  error: SqlError.SqlError
): TenantMismatch | StorageUnavailable =>
  sqlState(error) === code.positionTaken
    ? new StorageUnavailable({ operation: "append", retryable: true, code: code.positionTaken })
    : toReadError("append", tenantId, error)
