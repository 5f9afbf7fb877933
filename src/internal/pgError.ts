/** What an error of the PostgreSQL client means. Its text stays inside: it may quote rows, keys and parameters. */
import { Predicate } from "effect"
import { SqlError } from "effect/sql"
import { StorageUnavailable, TenantMismatch } from "../StoreError.ts"

/** Raised by the functions in `migrations/`. */
export const code = {
  boundToAnother: "ES001",
  leftOver: "ES003",
  openTransaction: "2D000",
  abortedTransaction: "25P02"
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

/** Whether somebody left a transaction or a tenant on the connection. */
export const isLeftOver = (error: SqlError.SqlError): boolean => {
  const state = sqlState(error)
  return (
    state === code.boundToAnother ||
    state === code.leftOver ||
    state === code.openTransaction ||
    state === code.abortedTransaction
  )
}

export const toUnavailable = (operation: string, error: SqlError.SqlError): StorageUnavailable =>
  new StorageUnavailable({ operation, retryable: isTransient(error), code: sqlState(error) ?? null })

export const toReadError = (
  operation: string,
  tenantId: string,
  error: SqlError.SqlError
): TenantMismatch | StorageUnavailable =>
  sqlState(error) === code.boundToAnother ? new TenantMismatch({ tenantId }) : toUnavailable(operation, error)

/** The error behind a defect: a connection that is lost in a transaction surfaces as one. */
export const sqlErrorOf = (defect: unknown): SqlError.SqlError | undefined =>
  SqlError.isSqlError(defect) ? defect : undefined
