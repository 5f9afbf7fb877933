/**
 * Checks that a database is migrated and isolates tenants. The store runs both checks when it starts; health checks may run them at
 * any time.
 */
import { Duration, Effect, Schedule, Schema } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import { guarded, Silence } from "./deadlines.ts"
import * as sqlErrors from "./sqlErrors.ts"
import type { StorageUnavailable } from "../driver/StoreError.ts"
import { problemsOf, SettingsIncomplete } from "./settings.ts"
import { lowestSchema, schemaNumber } from "./schemaNumber.ts"

export { SettingsIncomplete } from "./settings.ts"

/**
 * Raised when this version of the library and the schema of the database are too far apart. Nothing was read or written.
 */
export class SchemaOutdated extends Schema.TaggedError<SchemaOutdated>()("SchemaOutdated", {
  /** The number of the database's schema; 0 if it has none, or if the role may not see it. */
  applied: Schema.Int,
  /** The lowest schema number of a program that may use the database. */
  lowestProgram: Schema.Int,
  /** The schema number of this version of the library. */
  latest: Schema.Int
}) {
  override get message(): string {
    if (this.lowestProgram > this.latest) {
      return `the database has schema ${this.applied} and accepts programs of schema ${this.lowestProgram} or later, but this one is of schema ${this.latest}: upgrade the library`
    }
    return this.applied === 0
      ? "the database has no event store, or this role may not use it: run PgMigrator.layer as the owner of the database, and grant the role eventsourcing_tenant to this role"
      : `the database has schema ${this.applied}, but this version of the library needs at least ${lowestSchema}: run PgMigrator.layer as the owner of the database`
  }
}

/** Raised when something in the database impairs the isolation of tenants. Lists each problem with its remedy. */
export class IsolationImpaired extends Schema.TaggedError<IsolationImpaired>()("IsolationImpaired", {
  problems: Schema.Array(Schema.Struct({ problem: Schema.String, remedy: Schema.String }))
}) {
  override get message(): string {
    return `the isolation of tenants is impaired: ${this.problems
      .map(({ problem, remedy }) => `${problem} (${remedy})`)
      .join("; ")}`
  }
}

const unavailable = (error: SqlError.SqlError): StorageUnavailable =>
  sqlErrors.toUnavailable("check the database", error)

/** Retries while a database starts or fails over. Other problems are not retried. */
const patiently = <A, E extends SchemaOutdated | IsolationImpaired, R>(
  check: Effect.Effect<A, E | StorageUnavailable, R>
): Effect.Effect<A, E | StorageUnavailable, R> =>
  Effect.retry(check, {
    while: (error) => error._tag === "StorageUnavailable" && error.retryable,
    schedule: Schedule.jittered(Schedule.exponential("100 millis")),
    times: 5
  })

/** The schema or function is missing, or the role may not use it. */
const missing = new Set(["3F000", "42883", "42501"])

/**
 * Fails with `SchemaOutdated` unless this version of the library works on the database's schema. A newer schema is accepted as long
 * as it allows this version: during a deployment, processes of the previous version keep running.
 */
export const schema: Effect.Effect<void, SchemaOutdated | StorageUnavailable, SqlClient.SqlClient> =
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const rows = yield* guarded(
      sql,
      sql<{ applied: number; lowestProgram: number }>`
        select eventsourcing.schema_version() as applied, eventsourcing.lowest_program() as "lowestProgram"`
    ).pipe(
      Effect.catchIf(
        (error) => missing.has(sqlErrors.sqlState(error) ?? ""),
        () => Effect.succeed([])
      ),
      Effect.mapError(unavailable)
    )
    const { applied, lowestProgram } = rows[0] ?? { applied: 0, lowestProgram: 0 }
    if (applied < lowestSchema || lowestProgram > schemaNumber)
      return yield* new SchemaOutdated({ applied, lowestProgram, latest: schemaNumber })
  }).pipe(patiently)

/** The shortest deadline of the check of isolation, which reads much of the catalogue. */
const shortest = Duration.seconds(10)

/**
 * Fails with `IsolationImpaired` if row-level security, a policy, a role or a grant differs from that of the migrations, on the
 * store's tables or on any table protected with `eventsourcing.protect_tenant_table`.
 *
 * **Details**
 *
 * It waits at least 10 seconds for the answer, also if `PgTenant.Silence` is shorter.
 */
export const isolation: Effect.Effect<void, IsolationImpaired | StorageUnavailable, SqlClient.SqlClient> =
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const problems = yield* guarded(
      sql,
      sql<{ problem: string; remedy: string }>`
        select problem, remedy from eventsourcing.isolation_problems()`
    ).pipe(
      Effect.updateService(Silence, (silence) => Duration.max(silence, shortest)),
      Effect.mapError(unavailable)
    )
    if (problems.length > 0) return yield* new IsolationImpaired({ problems })
  }).pipe(patiently)

/**
 * Fails with `SettingsIncomplete` if a setting lets a program hang on a connection, or keeps the announcements of other
 * processes from it: deadlines of the server, `keepAlive`, `multiplex`, and settings for a pooler such as PgBouncer.
 *
 * **When to use**
 *
 * When a program starts, or from an operator's tool. The store does not run it. `PgServer.layer` has the right settings.
 *
 * **Details**
 *
 * A pooler is recognised by its sessions. Behind one, the check briefly opens as many connections as the client may have, to see if
 * all reach the server at once: programs that run meanwhile may wait up to 3 seconds.
 */
export const settings: Effect.Effect<void, SettingsIncomplete | StorageUnavailable, SqlClient.SqlClient> =
  Effect.gen(function* () {
    const problems = yield* Effect.mapError(problemsOf(yield* SqlClient.SqlClient), unavailable)
    if (problems.length > 0) return yield* new SettingsIncomplete({ problems })
  })
