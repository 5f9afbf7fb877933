/**
 * Checks of a database: whether it is migrated, and whether its isolation of tenants is as it should be. The store runs
 * both when it starts; health checks may run them at any time.
 */
import { Effect, Schedule, Schema } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import { guarded } from "./deadlines.ts"
import * as pgError from "./sqlErrors.ts"
import type { StorageUnavailable } from "../driver/StoreError.ts"
import { problemsOf, SettingsIncomplete } from "./settings.ts"
import { lowestSchema, schemaNumber } from "./schemaNumber.ts"

export { SettingsIncomplete } from "./settings.ts"

/**
 * Raised when this version of the library and the schema of the database are too far apart. Nothing has been read or
 * written then.
 */
export class SchemaOutdated extends Schema.TaggedError<SchemaOutdated>()("SchemaOutdated", {
  /** The number of the database's schema; 0 if it has none, or the role may not see it. */
  applied: Schema.Int,
  /** The lowest schema number of a program that may use the database. */
  lowestProgram: Schema.Int,
  /** The schema number of this version of the library. */
  latest: Schema.Int
}) {
  override get message(): string {
    if (this.lowestProgram > this.latest) {
      return `the database has schema ${this.applied}, which programs from schema ${this.lowestProgram} on may use, and this one is of schema ${this.latest}: upgrade the library`
    }
    return this.applied === 0
      ? "the database has no event store, or this role may not use it: run PgMigrator.layer as the owner of the database, and grant the role eventsourcing_tenant to this role"
      : `the database has schema ${this.applied}, and this version of the library needs ${lowestSchema} at least: run PgMigrator.layer as the owner of the database`
  }
}

/** Raised when something in the database impairs the isolation of tenants: what it is, and how to repair it. */
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
  pgError.toUnavailable("check the database", error)

/** A database that is starting or fails over answers a little later; what is wrong with it does not pass. */
const patiently = <A, E extends SchemaOutdated | IsolationImpaired, R>(
  check: Effect.Effect<A, E | StorageUnavailable, R>
): Effect.Effect<A, E | StorageUnavailable, R> =>
  Effect.retry(check, {
    while: (error) => error._tag === "StorageUnavailable" && error.retryable,
    schedule: Schedule.jittered(Schedule.exponential("100 millis")),
    times: 5
  })

/** No such schema, no such function, no right to use them. */
const missing = new Set(["3F000", "42883", "42501"])

/**
 * Fails with `SchemaOutdated` unless the database's schema is one that this version of the library works on. A newer one
 * is, as long as it says so: during a deployment, processes of the version before go on.
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
        (error) => missing.has(pgError.sqlState(error) ?? ""),
        () => Effect.succeed([])
      ),
      Effect.mapError(unavailable)
    )
    const { applied, lowestProgram } = rows[0] ?? { applied: 0, lowestProgram: 0 }
    if (applied < lowestSchema || lowestProgram > schemaNumber)
      return yield* new SchemaOutdated({ applied, lowestProgram, latest: schemaNumber })
  }).pipe(patiently)

/**
 * Fails with `IsolationImpaired` if row-level security, a policy, a role or a grant is not as the migrations made it, on
 * the store's tables or on any that `eventsourcing.protect_tenant_table` was called for.
 */
export const isolation: Effect.Effect<void, IsolationImpaired | StorageUnavailable, SqlClient.SqlClient> =
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const problems = yield* guarded(
      sql,
      sql<{ problem: string; remedy: string }>`
        select problem, remedy from eventsourcing.isolation_problems()`
    ).pipe(Effect.mapError(unavailable))
    if (problems.length > 0) return yield* new IsolationImpaired({ problems })
  }).pipe(patiently)

/**
 * Fails with `SettingsIncomplete` if a setting lets a program hang on a connection, or keeps the announcements of other
 * processes from it: deadlines of the server, `keepAlive`, `multiplex`, and settings for a pooler such as PgBouncer.
 *
 * **When to use**
 *
 * When a program starts, or from an operator's tool. The store does not ask by itself. `PgServer.layer` has the settings.
 *
 * **Details**
 *
 * A pooler is found by its sessions. Behind one, as many connections as the client may have are opened for a moment, to
 * see if all get to the server at once: programs that run meanwhile may wait up to 3 seconds.
 */
export const settings: Effect.Effect<void, SettingsIncomplete | StorageUnavailable, SqlClient.SqlClient> =
  Effect.gen(function* () {
    const problems = yield* Effect.mapError(problemsOf(yield* SqlClient.SqlClient), unavailable)
    if (problems.length > 0) return yield* new SettingsIncomplete({ problems })
  })
