/**
 * Tenants in several databases, alone or shared: each operation, and each statement of the program, goes to the database that
 * the directory names.
 */
import type { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer, Schema, type Scope } from "effect"
import { layer as reactivity } from "effect/reactivity/Reactivity"
import { SqlClient, SqlError } from "effect/sql"
import { layerPer } from "../internal/layerPer.ts"
import { AdministrationStorage } from "../driver/AdministrationStorage.ts"
import { EventStorage } from "../driver/EventStorage.ts"
import { guarded } from "./deadlines.ts"
import * as sqlErrors from "./sqlErrors.ts"
import * as routedClient from "./routedClient.ts"
import * as routedEvents from "../routed/events.ts"
import * as routedProjections from "../routed/projections.ts"
import * as routedAdministration from "../routed/administration.ts"
import * as routedSnapshots from "../routed/snapshots.ts"
import { Placements } from "../routed/Placements.ts"
import { ProjectionStorage } from "../driver/ProjectionStorage.ts"
import * as RoutedStorage from "../routed/RoutedStorage.ts"
import { SnapshotStorage } from "../driver/SnapshotStorage.ts"
import { StorageUnavailable, OtherFailure } from "../driver/StoreError.ts"
import type { TenantId } from "../domain/Tenant.ts"
import { TenantDirectory } from "../routed/TenantDirectory.ts"
import * as PgMigrator from "./PgMigrator.ts"
import * as PgStorage from "./PgStorage.ts"

/** A database and its use. */
export interface Database<E = never> {
  /** A client of the database: `PgClient.layer` or `PgEmbedded.layer`. It is built when the database is first used. */
  readonly client: Layer.Layer<PgClient.PgClient | SqlClient.SqlClient, E>
  /**
   * True for a silo: a database that accepts only tenants that its owner has admitted. The database itself refuses all others,
   * so a wrong directory cannot mix tenants up. A silo must have a name ({@link migrateAll}, {@link name}). Default: false.
   */
  readonly dedicated?: boolean | undefined
  /** Settings of the store in this database. In a dedicated one, appends never register tenants. */
  readonly store?: PgStorage.Options | undefined
}

/** Settings of {@link layer}. */
export interface Options<E> extends RoutedStorage.Limits {
  /** The database of a placement; undefined if the placement is unknown. */
  readonly database: (placement: string) => Database<E> | undefined
  /**
   * `"run"` migrates a database when it is opened, as its owner; `"check"` only checks it, as `PgStorage` does. Default:
   * `"check"`.
   */
  readonly migrations?: "check" | "run" | undefined
}

/** Raised when a database belongs to another placement, or is not closed to other tenants although it must be. */
export class PlacementMismatch extends Schema.TaggedError<PlacementMismatch>()("PlacementMismatch", {
  /** The placement that the database was opened for. */
  placement: Schema.String,
  /** The name that the database has; null if it has none. */
  found: Schema.NullOr(Schema.String),
  reason: Schema.String
}) {
  override get message(): string {
    return `the database that was opened as ${this.placement} ${this.reason}: check the connection settings, or name it with PgSilo.migrateAll`
  }
}

/** The databases behind the store. */
export class PgSilo extends Context.Service<
  PgSilo,
  {
    /**
     * Sends the statements of an effect to a database, without a tenant: for reports, health checks and work with `AllTenants`.
     * Work for a tenant of another database is refused inside it (in the store the defect `TenantMismatch`; a statement fails
     * with SQLSTATE ES001), and so is everything in an open transaction of another database. Reads across tenants and the runner
     * of projections still go to all databases.
     */
    readonly on: (placement: string) => <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
    /** The placements whose databases are open. */
    readonly open: Effect.Effect<ReadonlyArray<string>>
    /** Closes the connections to a database once they are unused. The next use opens it again. */
    readonly close: (placement: string) => Effect.Effect<void>
  }
>()("effect-eventsourcing/pg/PgSilo") {}

interface Identity {
  readonly placement: string
  readonly here: boolean
  readonly dedicated: boolean
  readonly closed: boolean
}

/** Checks that a database is named for its placement and its use. */
const checkIdentity = (
  placement: string,
  dedicated: boolean
): Effect.Effect<void, PlacementMismatch | StorageUnavailable, SqlClient.SqlClient> =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const rows = yield* guarded(
      sql,
      sql<Identity>`
        select placement, here, dedicated, closed from eventsourcing.list_placements()`.withoutTransform
    ).pipe(Effect.mapError((error) => sqlErrors.toUnavailable("check the database", error)))
    const own = rows.find(({ here }) => here)
    const found = own?.placement ?? null
    const refuse = (reason: string) => new PlacementMismatch({ placement, found, reason })
    if (own === undefined) {
      if (dedicated) return yield* refuse("has no name, so it is not a silo")
      return
    }
    if (own.placement !== placement) return yield* refuse(`is the placement ${own.placement}`)
    if (own.dedicated !== dedicated)
      return yield* refuse(own.dedicated ? "is a silo but used as a pool" : "is a pool but used as a silo")
    if (own.dedicated && !own.closed)
      return yield* refuse("lets tenants register themselves although it is a silo")
  })

const stores = <E>(
  placement: string,
  { client, dedicated = false, store = {} }: Database<E>,
  migrations: "check" | "run"
): Layer.Layer<
  AdministrationStorage | EventStorage | ProjectionStorage | SnapshotStorage | SqlClient.SqlClient,
  E | PgStorage.PgStorageError | PlacementMismatch | PgMigrator.MigrationError
> =>
  PgStorage.layerWith(dedicated ? { ...store, provisionOnAppend: false } : store).pipe(
    Layer.provide(Layer.effectDiscard(Effect.suspend(() => checkIdentity(placement, dedicated)))),
    Layer.provide(migrations === "run" ? PgMigrator.layer : Layer.empty),
    Layer.provideMerge(client)
  )

const isRetryable = (error: unknown): boolean => SqlError.isSqlError(error) && sqlErrors.isTransient(error)

/**
 * The store over the databases of a directory.
 *
 * **When to use**
 *
 * Use it in place of `PgStorage.layer` and the program's client. The rest of the program stays the same.
 *
 * **Details**
 *
 * - Each database has one pool of connections, opened at its first use and closed when idle; see `RoutedStorage.Limits`. A
 *   running statement or transaction keeps its pool open.
 * - `SqlClient` goes to the current tenant's database, in `PgTenant.transaction`, in handlers of projections and everywhere
 *   else. Without a current tenant a statement is refused (SQLSTATE 08003), unless a database was chosen with `PgSilo.on`. A
 *   transaction stays in its database: work for a tenant of another one is refused (the defect `TenantMismatch`; a statement,
 *   or a transaction within, fails with SQLSTATE ES001).
 * - Cross-tenant reads and projections: see `RoutedStorage.layerWith`.
 *
 * **Gotchas**
 *
 * The client has no name transforms, and there is no `PgClient` (`listen`, `notify`), because there are several databases.
 * `SqlResolver` outside of transactions answers a batch from the database of the first caller: use it inside a transaction, or
 * not at all.
 */
export const layer = <E>(
  options: Options<E>
): Layer.Layer<
  | PgSilo
  | AdministrationStorage
  | EventStorage
  | Placements
  | ProjectionStorage
  | SnapshotStorage
  | SqlClient.SqlClient,
  never,
  TenantDirectory
> =>
  layerPer([TenantDirectory], () =>
    Layer.effectContext(
      Effect.gen(function* () {
        const open = (
          placement: string
        ): Effect.Effect<routedClient.PgBackend, StorageUnavailable, Scope.Scope> =>
          Effect.suspend(() => {
            const database = options.database(placement)
            if (database === undefined) {
              const operation = "open a database"
              return Effect.fail(
                new StorageUnavailable({
                  reason: new OtherFailure({
                    operation,
                    retryable: false,
                    code: "UnknownPlacement",
                    remedy:
                      "no database is configured for the placement: add its client, or correct the directory"
                  })
                })
              )
            }
            const layers = stores(placement, database, options.migrations ?? "check")
            return Effect.map(RoutedStorage.build(placement, layers, isRetryable), (services) => ({
              placement,
              events: Context.get(services, EventStorage),
              projections: Context.get(services, ProjectionStorage),
              snapshots: Context.get(services, SnapshotStorage),
              administration: Context.get(services, AdministrationStorage),
              sql: Context.get(services, SqlClient.SqlClient),
              dedicated: database.dedicated ?? false
            }))
          })
        const { hints, router } = yield* RoutedStorage.makeRouter(open, options)
        const client = yield* routedClient.make(router)
        return Context.make(EventStorage, routedEvents.make(router, hints)).pipe(
          Context.add(ProjectionStorage, routedProjections.make(router, client.inTransactionOf)),
          Context.add(SnapshotStorage, routedSnapshots.make(router)),
          Context.add(AdministrationStorage, routedAdministration.make(router)),
          Context.add(Placements, RoutedStorage.placementsOf(router)),
          Context.add(SqlClient.SqlClient, client.sql),
          Context.add(
            PgSilo,
            PgSilo.of({ on: client.on, open: router.storages.open, close: router.storages.close })
          )
        )
      })
    ).pipe(Layer.provide(reactivity))
  )

const owner = (
  operation: string,
  run: (sql: SqlClient.SqlClient) => Effect.Effect<unknown, SqlError.SqlError>
): Effect.Effect<void, StorageUnavailable, SqlClient.SqlClient> =>
  Effect.flatMap(SqlClient.SqlClient, (sql) => guarded(sql, run(sql))).pipe(
    Effect.mapError((error) => sqlErrors.toUnavailable(operation, error)),
    Effect.asVoid
  )

/**
 * Names a database after its placement, as its owner. From then on, a program that opens it for another placement by mistake is
 * refused. A dedicated database is closed to every tenant that was not admitted ({@link admit}).
 */
export const name = (
  placement: string,
  { dedicated }: { readonly dedicated: boolean }
): Effect.Effect<void, StorageUnavailable, SqlClient.SqlClient> =>
  owner("name a database", (sql) => sql`select eventsourcing.name_database(${placement}, ${dedicated})`)

/** Registers a tenant in a dedicated database, as the owner of that database. Does nothing if it is registered. */
export const admit = (tenantId: TenantId): Effect.Effect<void, StorageUnavailable, SqlClient.SqlClient> =>
  owner("admit a tenant", (sql) => sql`select eventsourcing.admit_tenant(${tenantId}::pg_catalog.uuid)`)

/**
 * Excludes a tenant with its own database from a pool, as the owner of the pool: the pool then refuses it, even if the
 * directory sends it there by mistake. {@link admit} in the pool admits it again.
 *
 * **When to use**
 *
 * Use it for each pool when a tenant gets a silo; a pool cannot know otherwise, because tenants register there on their first
 * append. The refusal is as for a tenant that is sent to another tenant's silo: appends fail with `UnknownTenant`, and
 * everything else with `StorageUnavailable` (code `UnknownTenant`). A process that has served the tenant from the pool refuses
 * reads after a minute at most, and appends at once. The tenant's rows in the pool stay.
 */
export const exclude = (tenantId: TenantId): Effect.Effect<void, StorageUnavailable, SqlClient.SqlClient> =>
  owner("exclude a tenant", (sql) => sql`select eventsourcing.exclude_tenant(${tenantId}::pg_catalog.uuid)`)

/** The result for one database. */
export interface Migrated<E> {
  readonly placement: string
  /** The paths of the applied files, or the error; other databases are migrated all the same. */
  readonly result: Effect.Effect<ReadonlyArray<string>, E | PgMigrator.MigrationError | StorageUnavailable>
}

/**
 * Migrates and names all databases of the directory, one after another, as their owners. A failure does not stop the
 * others.
 */
export const migrateAll = <E>({
  database
}: Pick<Options<E>, "database">): Effect.Effect<
  ReadonlyArray<Migrated<E>>,
  StorageUnavailable,
  TenantDirectory
> =>
  Effect.gen(function* () {
    const directory = yield* TenantDirectory
    return yield* Effect.forEach(yield* directory.placements, (placement) => {
      const found = database(placement)
      const result =
        found === undefined
          ? Effect.fail(
              new StorageUnavailable({
                reason: new OtherFailure({
                  operation: "migrate a database",
                  retryable: false,
                  code: "UnknownPlacement",
                  remedy:
                    "no database is configured for the placement: add its client, or correct the directory"
                })
              })
            )
          : PgMigrator.run.pipe(
              Effect.tap(name(placement, { dedicated: found.dedicated ?? false })),
              Effect.provide(found.client, { local: true })
            )
      return Effect.map(Effect.exit(result), (exit) => ({ placement, result: exit }))
    })
  })
