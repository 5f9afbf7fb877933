/**
 * Checks that a database is migrated and isolates tenants. The store runs both checks when it starts; health checks may run them at
 * any time.
 */
import { Duration, Effect, Schedule, Schema, Stream } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import { guarded, Silence } from "./deadlines.ts"
import * as sqlErrors from "./sqlErrors.ts"
import type { AllTenants, TenantId } from "../domain/Tenant.ts"
import * as Tenant from "../domain/Tenant.ts"
import type { ReadError, StorageUnavailable } from "../driver/StoreError.ts"
import * as PersonalData from "../forgetting/PersonalData.ts"
import { EventStore } from "../store/EventStore.ts"
import { PrivilegedLogin, privilegedLogin } from "./login.ts"
import { listed, Problems } from "./problems.ts"
import { problemsOf, SettingsIncomplete } from "./settings.ts"
import { lowestSchema, schemaNumber } from "./schemaNumber.ts"

export { PrivilegedLogin } from "./login.ts"
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
  problems: Problems
}) {
  override get message(): string {
    return `the isolation of tenants is impaired: ${listed(this.problems)}`
  }
}

const unavailable = (error: SqlError.SqlError): StorageUnavailable =>
  sqlErrors.toUnavailable("check the database", error)

/** Retries while a database starts or fails over. Other problems are not retried. */
const patiently = <A, E extends SchemaOutdated | IsolationImpaired | PrivilegedLogin, R>(
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
 * Fails with `PrivilegedLogin` if the login of the client is a superuser, is exempt from row-level security, owns the schema, or
 * has the roles for the work of tenants, for projections, for looks across tenants and for the administration at once. Then a
 * defect of the program could reach every tenant. An embedded database has no logins.
 *
 * **When to use**
 *
 * When a program starts. `PgStorage` runs it in production (see its option `onPrivilegedLogin`).
 */
export const login: Effect.Effect<void, PrivilegedLogin | StorageUnavailable, SqlClient.SqlClient> =
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const found = yield* guarded(sql, privilegedLogin(sql)).pipe(Effect.mapError(unavailable))
    if (found !== undefined) return yield* found
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

/** A finding of {@link personalData}, with its tenant. */
export interface PersonalDataOutside extends PersonalData.Outside {
  readonly tenantId: TenantId
}

/**
 * Looks for personal data outside of payloads, where it cannot be sealed, in the newest events of every tenant. It logs a warning
 * for each kind of finding, with the event types, the fields and the places, and without the data, and returns all findings.
 *
 * **When to use**
 *
 * Now and then from an operator's tool, or in a test environment with real data. The store does not run it.
 *
 * **Details**
 *
 * It opens sealed events, so it needs `Forgetting.layer`. The look across tenants is written to the audit trail with its actor and
 * reason (`Tenant.provideAll`). See `PersonalData.outsideOfPayloads` for its limits: it finds copies of texts only.
 *
 * **Example**
 *
 * ```ts
 * const findings = PgCheck.personalData({ aggregates: [Customer, Order], events: 200 }).pipe(
 *   Tenant.provideAll({ actor: "privacy check", reason: "monthly" })
 * )
 * ```
 */
export const personalData = (
  request: PersonalData.OutsideRequest
): Effect.Effect<ReadonlyArray<PersonalDataOutside>, ReadError, EventStore | AllTenants> =>
  Effect.gen(function* () {
    const store = yield* EventStore
    const findings: Array<PersonalDataOutside> = []
    // The logs of others cannot be read.
    const readable = Stream.filter(
      store.tenants,
      ({ status }) => status === "active" || status === "suspended"
    )
    yield* Stream.runForEach(readable, ({ tenantId }) =>
      Stream.runForEach(PersonalData.outsideOfPayloads(request), (found) =>
        Effect.sync(() => void findings.push({ tenantId, ...found }))
      ).pipe(Tenant.provide(tenantId))
    )
    const kinds = new Map<string, { readonly finding: PersonalDataOutside; count: number }>()
    for (const finding of findings) {
      const field = finding.path.map((key) => (typeof key === "number" ? "…" : key)).join(".")
      const kind = JSON.stringify([finding.aggregateType, finding.eventType, field, finding.place])
      const known = kinds.get(kind)
      if (known === undefined) kinds.set(kind, { finding, count: 1 })
      else known.count++
    }
    for (const { count, finding } of kinds.values()) {
      const { aggregateType, eventId, eventType, path, place, tenantId } = finding
      yield* Effect.logWarning(
        `Personal data is in the ${place} of events, where it cannot be forgotten: put an id there that means nothing elsewhere`
      ).pipe(
        Effect.annotateLogs({
          aggregateType,
          eventType,
          field: path.join("."),
          place,
          count,
          tenantId,
          eventId
        })
      )
    }
    return findings
  })
