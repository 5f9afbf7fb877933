/**
 * Checks of a database: whether it is migrated, and whether its isolation of tenants is as it should be. The store runs
 * both when it starts; health checks may run them at any time.
 */
import { Effect, Schema } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import * as pgError from "./sqlErrors.ts"
import type { StorageUnavailable } from "../driver/StoreError.ts"
import * as PgMigrator from "./PgMigrator.ts"

/** Raised when the database has not the migrations of this version of the library, or those of a later one. */
export class SchemaOutdated extends Schema.TaggedError<SchemaOutdated>()("SchemaOutdated", {
  /** The number of the last migration of the database; 0 if it has none, or the role may not see them. */
  applied: Schema.Int,
  /** The number of the last migration of this version of the library. */
  latest: Schema.Int
}) {
  override get message(): string {
    if (this.applied > this.latest) {
      return `the database is at migration ${this.applied}, this version of the library knows ${this.latest}: upgrade the library`
    }
    return this.applied === 0
      ? "the database has no event store, or this role may not use it: run PgMigrator.layer as the owner of the database, and grant the role eventsourcing_tenant to this role"
      : `the database is at migration ${this.applied} of ${this.latest}: run PgMigrator.layer as the owner of the database`
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

/** No such schema, no such function, no right to use them. */
const missing = new Set(["3F000", "42883", "42501"])

/** Fails with `SchemaOutdated` unless the database has exactly the migrations of this version of the library. */
export const schema: Effect.Effect<void, SchemaOutdated | StorageUnavailable, SqlClient.SqlClient> =
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const latest = yield* Effect.orDie(PgMigrator.latest)
    const rows = yield* sql<{ version: number }>`select eventsourcing.schema_version() as version`.pipe(
      Effect.catchIf(
        (error) => missing.has(pgError.sqlState(error) ?? ""),
        () => Effect.succeed([])
      ),
      Effect.mapError(unavailable)
    )
    const applied = rows[0]?.version ?? 0
    if (applied !== latest) return yield* new SchemaOutdated({ applied, latest })
  })

/**
 * Fails with `IsolationImpaired` if row-level security, a policy, a role or a grant is not as the migrations made it, on
 * the store's tables or on any that `eventsourcing.protect_tenant_table` was called for.
 */
export const isolation: Effect.Effect<void, IsolationImpaired | StorageUnavailable, SqlClient.SqlClient> =
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const problems = yield* sql<{ problem: string; remedy: string }>`
      select problem, remedy from eventsourcing.isolation_problems()`.pipe(Effect.mapError(unavailable))
    if (problems.length > 0) return yield* new IsolationImpaired({ problems })
  })
