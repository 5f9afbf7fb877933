/**
 * The directory of tenants as a table, in a database that all processes of the program can reach.
 */
import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { layerPer } from "../internal/layerPer.ts"
import { checkedTenant } from "../domain/currentTenant.ts"
import { guarded } from "./deadlines.ts"
import * as sqlErrors from "./sqlErrors.ts"
import type { StorageUnavailable } from "../driver/StoreError.ts"
import { AllTenants, type TenantId } from "../domain/Tenant.ts"
import * as TenantDirectory from "../routed/TenantDirectory.ts"
import * as PgStorage from "./PgStorage.ts"
import { EventStorage } from "../driver/EventStorage.ts"
import { statement } from "./statement.ts"

/** Raised when a tenant is placed in an unknown placement; see {@link add}. */
export class UnknownPlacement extends Schema.TaggedError<UnknownPlacement>()("UnknownPlacement", {
  placement: Schema.String
}) {
  override get message(): string {
    return `no placement ${this.placement}: add it with PgTenantDirectory.add, as the owner of the database with the directory`
  }
}

/** Places tenants in databases. */
export class PgTenantDirectory extends Context.Service<
  PgTenantDirectory,
  {
    /**
     * Sets the database of a tenant. This process follows at once, others when their cached placement expires. It copies no
     * data, and so is for new tenants: `TenantMove` moves a tenant with its data, and changes the directory. Every use is written
     * to the audit trail of the directory's database.
     */
    readonly place: (
      tenantId: TenantId,
      placement: string
    ) => Effect.Effect<void, UnknownPlacement | StorageUnavailable, AllTenants>
  }
>()("effect-eventsourcing/pg/PgTenantDirectory") {}

const make = (options: TenantDirectory.CacheOptions) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const events = yield* EventStorage
    const query = (operation: string, text: string, parameters: ReadonlyArray<unknown>, commits = false) =>
      statement(sql, (connection) => connection.executeValues(text, parameters), { commits }).pipe(
        Effect.mapError((error) => sqlErrors.toUnavailable(operation, error))
      )
    const directory = yield* TenantDirectory.make({
      ...options,
      placements: Effect.map(
        query("list placements", "select placement from eventsourcing.list_placements()", []),
        (rows) => rows.map(([placement]) => String(placement))
      ),
      placementOf: (tenantId) =>
        Effect.map(
          query(
            "find the database of a tenant",
            "select eventsourcing.tenant_placement($1::pg_catalog.uuid)",
            [tenantId]
          ),
          ([row]) => (typeof row?.[0] === "string" ? row[0] : undefined)
        ),
      replace: ({ access, from, tenantId, to }) =>
        Effect.flatMap(
          events.recordAccess({ ...access, operation: `PgTenantDirectory.replace ${tenantId}` }),
          (accessId) =>
            Effect.map(
              query(
                "place a tenant that has moved",
                "select eventsourcing.replace_placement($1::pg_catalog.uuid, $2::pg_catalog.uuid, $3::pg_catalog.text, $4::pg_catalog.text)",
                [accessId, tenantId, from, to],
                true
              ),
              ([row]) => row?.[0] === true
            )
        )
    })
    const place: PgTenantDirectory["Service"]["place"] = Effect.fnUntraced(function* (tenantId, placement) {
      const access = yield* AllTenants
      yield* checkedTenant(tenantId)
      const operation = `PgTenantDirectory.place ${tenantId}`
      const accessId = yield* events.recordAccess({ ...access, operation })
      yield* Effect.catchIf(
        query(
          "place a tenant",
          "select eventsourcing.place_tenant($1::pg_catalog.uuid, $2::pg_catalog.uuid, $3::pg_catalog.text)",
          [accessId, tenantId, placement],
          true
        ),
        ({ code }) => code === "ES005",
        () => Effect.fail(new UnknownPlacement({ placement }))
      )
      yield* directory.invalidate(tenantId)
    })
    return Context.make(TenantDirectory.TenantDirectory, directory).pipe(
      Context.add(PgTenantDirectory, PgTenantDirectory.of({ place }))
    )
  })

/**
 * The directory in a database, with settings. The database must be migrated (`PgMigrator.layer`).
 *
 * **Details**
 *
 * It may be one of the tenants' databases. While it cannot be reached, tenants are found as long as their placement is cached;
 * see `timeToLive`.
 */
export const layerWith = (
  options: TenantDirectory.CacheOptions
): Layer.Layer<
  TenantDirectory.TenantDirectory | PgTenantDirectory,
  PgStorage.PgStorageError,
  SqlClient.SqlClient
> =>
  layerPer([SqlClient.SqlClient], () =>
    Layer.effectContext(make(options)).pipe(
      // For the audit trail.
      Layer.provide(PgStorage.layerWith({ announce: false }))
    )
  )

/** The directory in a database. See {@link layerWith}. */
export const layer: Layer.Layer<
  TenantDirectory.TenantDirectory | PgTenantDirectory,
  PgStorage.PgStorageError,
  SqlClient.SqlClient
> = layerWith({})

/** Adds a placement for tenants, as the owner of the database with the directory. */
export const add = (placement: string): Effect.Effect<void, StorageUnavailable, SqlClient.SqlClient> =>
  Effect.flatMap(SqlClient.SqlClient, (sql) =>
    guarded(sql, sql`select eventsourcing.add_placement(${placement})`)
  ).pipe(
    Effect.mapError((error) => sqlErrors.toUnavailable("add a placement", error)),
    Effect.asVoid
  )
