/** Classifies SQL errors of handlers, with remedies. */
import { Predicate } from "effect"
import { SqlError } from "effect/sql"
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

const migrate =
  "run the migrations of the application, or correct the handler: the schema of the database is not the one that it uses"

/** Remedies by prefix of SQLSTATE, the longest first. */
const remedies: ReadonlyArray<readonly [beginning: string, remedy: string]> = [
  ["25006", "the database accepts no writes: connect to the primary, or wait for the failover"],
  ["25P03", "the transaction was idle for longer than idle_in_transaction_session_timeout"],
  [
    "26000",
    "the pooler loses prepared statements: set prepare: false for the client, or have the pooler keep them"
  ],
  [
    "42501",
    "as the owner of the table or function, grant the right to eventsourcing_tenant (a projection across tenants: eventsourcing_all_tenants), and see PgCheck; a row of another tenant is refused as well"
  ],
  ["42883", "create the function, or correct its arguments: run the migrations of the application"],
  ["42P01", "create the table, or correct its name: run the migrations of the application"],
  ["53100", "the disk of the database is full: give it room"],
  [
    "53300",
    "the database has no connection left: raise max_connections, or lower maxConnections of the clients"
  ],
  ["55P03", "a lock was held for too long: look for the blocking transaction in pg_stat_activity"],
  [
    "57014",
    "the statement took longer than statement_timeout, or was cancelled: make it faster, or allow it more time"
  ],
  ["0A000", migrate],
  ["08", "the connection was lost: look at the network, the pooler and the server"],
  ["3F000", migrate],
  ["40", "concurrent work changed the same rows: it is tried again"],
  ["42", migrate],
  ["53", "the database has no resources left: give it more memory, disk or connections"],
  ["57", "the database is starting, stopping or was told to stop the work"],
  ["58", "the files of the database cannot be used: look at its disk and at its log"],
  [
    "XX",
    "the database reports damage in itself: look at its log, check it (amcheck), and restore a backup if need be"
  ]
]

const by = <A>(list: ReadonlyArray<readonly [string, A]>, code: string): A | undefined =>
  list.find(([beginning]) => code.startsWith(beginning))?.[1]

/** True for SQLSTATEs, which have five characters; other codes are of the operating system. */
const isSqlState = (code: string): boolean => /^[0-9A-Z]{5}$/.test(code)

/** The kind of failure of a SQLSTATE. */
const kindOf = (error: SqlError.SqlError, code: string | undefined): FailureKind => {
  if (code !== undefined && isSqlState(code)) return by(kinds, code) ?? "handler"
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
    return { ...described, remedy: by(remedies, error.code ?? "") }
  }
  if (!SqlError.isSqlError(error)) return describeFailure(error)
  const state = sqlErrors.sqlState(error)
  const kind = kindOf(error, state)
  const remedy = by(remedies, state ?? "")
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
