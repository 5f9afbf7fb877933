/**
 * Examines a database for operators: its version, schema, logins, settings, clocks, and tables that grow. Each finding has its
 * severity, its meaning, and the command that repairs it.
 */
import { Effect } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import type { StorageUnavailable } from "../driver/StoreError.ts"
import { guarded } from "./deadlines.ts"
import { clocks } from "./doctor/clock.ts"
import { drift } from "./doctor/drift.ts"
import { type Finding, finder } from "./doctor/finding.ts"
import { bloat, growth } from "./doctor/growth.ts"
import { logins } from "./doctor/logins.ts"
import { versions } from "./doctor/versions.ts"
import * as PgCheck from "./PgCheck.ts"
import * as sqlErrors from "./sqlErrors.ts"

export { Finding, finder, Severity } from "./doctor/finding.ts"
export { leaksOf } from "./doctor/versions.ts"

const unexamined = finder("notExamined", "something may be wrong that this examination does not show")

/** The SQLSTATE for a missing right. */
const insufficientPrivilege = "42501"

/** Runs a check; one that the login may not run becomes a notice. */
const checked = <A>(
  name: string,
  sql: SqlClient.SqlClient,
  run: Effect.Effect<A, SqlError.SqlError>,
  otherwise: (notice: Finding) => A
): Effect.Effect<A, StorageUnavailable> =>
  guarded(sql, run).pipe(
    Effect.catchIf(
      (error) => sqlErrors.sqlState(error) === insufficientPrivilege,
      () =>
        Effect.succeed(
          otherwise(
            unexamined(
              "notice",
              `${name} could not be examined: this login lacks a right`,
              "run eventsourcing doctor as the owner of the database"
            )
          )
        )
    ),
    Effect.mapError((error) => sqlErrors.toUnavailable(`examine ${name}`, error))
  )

const isolated = finder("isolation", "tenants may see or change the rows of other tenants")
const set = finder("settings", "work hangs, or is not announced to other processes")

/**
 * All findings about a database, without those about the work of tenants. An empty list is a healthy database.
 *
 * **When to use**
 *
 * From an operator's tool, such as `eventsourcing doctor`, which adds findings about tenants and projections.
 *
 * **Details**
 *
 * It works on a database that the store refuses: one without a schema, with another schema, or with impaired isolation. A login that
 * may not look somewhere gets a `notice` about it. It reads and changes nothing but catalogues, statistics and the ages of rows;
 * behind a pooler it opens connections as `PgCheck.settings` does.
 */
export const examine: Effect.Effect<
  ReadonlyArray<Finding>,
  StorageUnavailable,
  SqlClient.SqlClient
> = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const many = (name: string, run: Effect.Effect<ReadonlyArray<Finding>, SqlError.SqlError>) =>
    checked(name, sql, run, (notice) => [notice])
  const version = yield* many("the version", versions(sql))
  const skew = yield* many("the clock", clocks(sql))
  const settings = yield* PgCheck.settings.pipe(
    Effect.as([]),
    Effect.catchTag("SettingsIncomplete", ({ problems }) =>
      Effect.succeed(problems.map(({ problem, remedy }) => set("warning", problem, remedy)))
    )
  )
  const schema = yield* checked("the schema", sql, drift(sql), (notice) => ({
    exists: false,
    findings: [notice]
  }))
  const ofLogins = yield* many("the logins", logins(sql))
  const general = [...version, ...schema.findings, ...ofLogins, ...settings, ...skew]
  if (!schema.exists) return general
  const isolation = yield* PgCheck.isolation.pipe(
    Effect.as([]),
    Effect.catchTags({
      IsolationImpaired: ({ problems }) =>
        Effect.succeed(problems.map(({ problem, remedy }) => isolated("critical", problem, remedy))),
      // A schema without this function is a finding already.
      StorageUnavailable: (error) => (schema.findings.length > 0 ? Effect.succeed([]) : Effect.fail(error))
    })
  )
  const rows = yield* many("the growth of tables", growth(sql))
  const dead = yield* many("dead rows", bloat(sql))
  return [...isolation, ...general, ...rows, ...dead]
})
