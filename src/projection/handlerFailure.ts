/** What is made of a handler that failed. */
import { Cause } from "effect"
import { SqlError } from "effect/sql"
import { FailedAt } from "./Projection.ts"
import { StorageUnavailable } from "../driver/StoreError.ts"
import * as pgError from "../pg/sqlErrors.ts"

const maxLength = 1000

/** What failed, in one line that can be stored. What a database says may quote values: it is told by its code. */
export const summary = (error: unknown): string => {
  const text = SqlError.isSqlError(error)
    ? `SqlError: ${error.reason._tag} (${pgError.sqlState(error) ?? "no code"})`
    : error instanceof Error
      ? `${error.name}: ${error.message}`
      : `a failure of type ${typeof error}`
  return text.replaceAll("\0", "").slice(0, maxLength)
}

/** Conflicts and timeouts: they may pass, but the storage is there, and they may come again with the same event. */
const ofStatement = new Set(["40001", "40P01", "55P03", "57014"])

/** A handler that fails because the storage is away has not failed at the event: why it is away then. */
export const unavailability = (error: unknown): StorageUnavailable | undefined => {
  if (error instanceof StorageUnavailable) {
    return error.retryable && !ofStatement.has(error.code ?? "") ? error : undefined
  }
  return SqlError.isSqlError(error) &&
    pgError.isTransient(error) &&
    !ofStatement.has(pgError.sqlState(error) ?? "")
    ? pgError.toUnavailable("handle an event", error)
    : undefined
}

/** Work that failed, at an event. */
export interface Failed {
  readonly position: number
  readonly error: string
  /** The storage is away: nothing is said about the event. */
  readonly storageDown: boolean
  /** Whether it is known to be this event, and not one behind it. */
  readonly blamed: boolean
}

/** What a failure says, of an event or of the first of several. */
export const failed = (position: number, cause: Cause.Cause<unknown>, blamed: boolean): Failed => {
  const error = Cause.squash(cause)
  if (error instanceof FailedAt) return failed(error.position, Cause.fail(error.error), true)
  return { position, error: summary(error), storageDown: unavailability(error) !== undefined, blamed }
}
