/** Classifies SQL errors of handlers, with remedies. */
import { Predicate } from "effect"
import { SqlError } from "effect/sql"
import { byPrefix, handlerRemedy } from "./remedies.ts"
import * as sqlErrors from "./sqlErrors.ts"
import type { FailureDescription, FailureKind } from "../driver/ProjectionStorage.ts"
import { describeFailure, describeUnavailable, summaryOf } from "../driver/storageFailure.ts"
import { StorageUnavailable } from "../driver/StoreError.ts"

/** Prefixes of the SQLSTATEs for which an event waits. All others are failures of the handler. */
const kinds: ReadonlyArray<readonly [beginning: string, kind: FailureKind]> = [
  ["08", "storage"],
  ["25006", "storage"],
  ["25P03", "storage"],
  ["40", "storage"],
  ["53", "storage"],
  ["55P03", "storage"],
  ["57", "storage"],
  ["58", "storage"],
  ["XX", "storage"],
  // a plan from before a change of the schema
  ["0A000", "schema"],
  ["26000", "schema"],
  ["3F000", "schema"],
  ["42", "schema"]
]

/** True for SQLSTATEs, which have five characters; other codes are of the operating system. */
const isSqlState = (code: string): boolean => /^[0-9A-Z]{5}$/.test(code)

/** The kind of failure of a SQLSTATE. */
const kindOf = (error: SqlError.SqlError, code: string | undefined): FailureKind => {
  if (code !== undefined && isSqlState(code)) return byPrefix(kinds, code) ?? "handler"
  return sqlErrors.isTransient(error) ? "storage" : "handler"
}

/** Class 22 quotes invalid values; other classes quote names only. */
const withoutValues = (code: string, text: string): string =>
  code.startsWith("22") ? text.replaceAll(/"[^"]*"/g, '"…"') : text

/** The server's own text with the names of the objects, and without the details, which quote rows. */
const textOf = (error: SqlError.SqlError, code: string): string => {
  const { cause } = error.reason
  if (!Predicate.isObject(cause)) return error.message
  const message =
    Predicate.hasProperty(cause, "message") && Predicate.isString(cause.message)
      ? cause.message
      : error.message
  const names = ["schema", "table", "column", "constraint"].flatMap((field) => {
    const value = Predicate.hasProperty(cause, field) ? cause[field] : undefined
    return Predicate.isString(value) ? [`${field} ${value}`] : []
  })
  return withoutValues(code, message) + (names.length === 0 ? "" : ` (${names.join(", ")})`)
}

/** Classifies every failure of a handler on PostgreSQL. */
export const describe = (error: unknown): FailureDescription => {
  if (error instanceof StorageUnavailable) {
    const described = describeUnavailable(error)
    return { ...described, remedy: handlerRemedy(error.code ?? "") }
  }
  if (!SqlError.isSqlError(error)) return describeFailure(error)
  const state = sqlErrors.sqlState(error)
  const kind = kindOf(error, state)
  const remedy = handlerRemedy(state ?? "")
  return {
    kind,
    summary: summaryOf(
      `SqlError: ${error.reason._tag} (${state ?? "no code"})${remedy === undefined ? "" : `: ${remedy}`}`
    ),
    code: state ?? null,
    message: textOf(error, state ?? ""),
    remedy,
    unavailable: kind === "handler" ? undefined : sqlErrors.toUnavailable("handle an event", error)
  }
}
