/** Classifies errors of the PostgreSQL client. Their texts are not passed on, because they may quote rows, keys and parameters. */
import { Predicate } from "effect"
import { SqlError } from "effect/sql"
import { isNoAnswer } from "./deadlines.ts"
import { unseenReason } from "../driver/refusals.ts"
import { statementRemedy } from "./remedies.ts"
import {
  ConnectionFailed,
  Contended,
  OtherFailure,
  ReadOnly,
  SchemaMismatch,
  ShuttingDown,
  StorageFull,
  StorageUnavailable,
  TimedOut,
  type UnavailableReason
} from "../driver/StoreError.ts"

/** Raised by the functions in `migrations/`. */
const code = {
  boundToAnother: "ES001",
  leftOver: "ES003",
  openTransaction: "2D000",
  abortedTransaction: "25P02",
  positionTaken: "23505",
  lockTimeout: "55P03"
} as const

/** The SQLSTATE, if the server sent one. */
export const sqlState = (error: SqlError.SqlError): string | undefined => {
  const { cause } = error.reason
  return Predicate.hasProperty(cause, "code") && Predicate.isString(cause.code) ? cause.code : undefined
}

/** Kinds of failure by class or code of SQLSTATE; the longest matching prefix counts. */
const kinds: Readonly<Record<string, (fields: Coded) => UnavailableReason>> = {
  "08": (fields) => new ConnectionFailed({ ...fields, retryable: true }),
  "28": (fields) => new ConnectionFailed({ ...fields, retryable: false }),
  "0A000": (fields) => new Contended(fields),
  "25006": (fields) => new ReadOnly(fields),
  "25P03": (fields) => new TimedOut(fields),
  "26000": (fields) => new SchemaMismatch(fields),
  "3F000": (fields) => new SchemaMismatch(fields),
  "40": (fields) => new Contended(fields),
  "42": (fields) => new SchemaMismatch(fields),
  "53": (fields) => new StorageFull(fields),
  "55P03": (fields) => new TimedOut(fields),
  "57014": (fields) => new TimedOut(fields),
  "57P": (fields) => new ShuttingDown(fields),
  ES011: ({ operation }) => unseenReason(operation, "importing"),
  ES012: ({ operation }) => unseenReason(operation, "moved"),
  ES013: ({ operation }) => unseenReason(operation, "erased"),
  "58": (fields) => otherFailure(fields, true),
  XX: (fields) => otherFailure(fields, true)
}

interface Coded {
  readonly operation: string
  readonly code: string | null
}

const otherFailure = (fields: Coded, retryable: boolean): OtherFailure =>
  new OtherFailure({ ...fields, retryable, remedy: statementRemedy(fields.code ?? "") })

const beginnings = Object.keys(kinds).toSorted((one, other) => other.length - one.length)

/** Node's codes for certificates that are untrusted, revoked, expired or of another host. A handshake may only be slow. */
const certificate =
  /CERT|CRL|ALTNAME|HOSTNAME_MISMATCH|UNABLE_TO_VERIFY|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH|UNKNOWN_CA|ERR_TLS_(?!HANDSHAKE_TIMEOUT)/

const reasonOf = (operation: string, error: SqlError.SqlError): UnavailableReason => {
  const found = sqlState(error) ?? null
  const fields = { operation, code: found }
  if (found !== null && found.length === 5) {
    const beginning = beginnings.find((start) => found.startsWith(start))
    const reason = beginning === undefined ? undefined : kinds[beginning]?.(fields)
    if (reason !== undefined) return reason
  }
  if (isNoAnswer(error)) return new TimedOut(fields)
  switch (error.reason._tag) {
    case "ConnectionError":
      return new ConnectionFailed({ ...fields, retryable: !certificate.test(found ?? "") })
    case "AuthenticationError":
      return new ConnectionFailed({ ...fields, retryable: false })
    case "LockTimeoutError":
    case "StatementTimeoutError":
      return new TimedOut(fields)
    default:
      return otherFailure(fields, error.isRetryable)
  }
}

/** True if the same statement may succeed later. */
export const isTransient = (error: SqlError.SqlError): boolean => reasonOf("", error).retryable

/** True if the server or the connection is at fault, so that any other statement would have failed as well. */
export const isOfConnection = (error: SqlError.SqlError): boolean => {
  const reason = reasonOf("", error)
  return (
    isNoAnswer(error) ||
    reason._tag === "ConnectionFailed" ||
    reason._tag === "ShuttingDown" ||
    reason._tag === "ReadOnly"
  )
}

/**
 * Codes of failures caused by leftovers on the connection: a tenant, an open or aborted transaction, or (the last two codes,
 * which may have other causes) a role, read-only transactions, row security switched off.
 */
const leftOver = new Set<string>([
  code.boundToAnother,
  code.leftOver,
  code.openTransaction,
  code.abortedTransaction,
  "42501",
  "25006"
])

/** True if cleaning the connection may help. */
export const isLeftOver = (error: SqlError.SqlError): boolean => leftOver.has(sqlState(error) ?? "")

/** True if the tenant has another database now. */
export const hasMoved = (error: SqlError.SqlError): boolean => sqlState(error) === "ES012"

/** True if the log of the tenant is being written. */
export const isImporting = (error: SqlError.SqlError): boolean => sqlState(error) === "ES011"

/** True if the transaction of the connection had failed before. */
export const isAborted = (error: SqlError.SqlError): boolean => sqlState(error) === code.abortedTransaction

export const toUnavailable = (operation: string, error: SqlError.SqlError): StorageUnavailable =>
  new StorageUnavailable({ reason: reasonOf(operation, error) })

/** True if the transaction is bound to another tenant. */
export const isBoundToAnother = (error: SqlError.SqlError): boolean => sqlState(error) === code.boundToAnother

/**
 * The error of an append. A transaction that is not READ COMMITTED does not see newer events and may take their positions; it
 * must run again, as after any serialization failure.
 */
export const toAppendError = (error: SqlError.SqlError): StorageUnavailable =>
  sqlState(error) === code.positionTaken
    ? new StorageUnavailable({ reason: new Contended({ operation: "append", code: code.positionTaken }) })
    : toUnavailable("append", error)

/** The error of an append that has waited for its tenant's lock outside of the database, as the server reports such a wait. */
export const lockTimeout = (): StorageUnavailable =>
  new StorageUnavailable({ reason: new TimedOut({ operation: "append", code: code.lockTimeout }) })
