import type { PgClient } from "@effect/sql-pg"
import { Effect, Layer } from "effect"
import {
  type AdministrationStorage,
  EventStorage,
  EventStore,
  type Placements,
  type ProjectionStorage,
  Repository,
  RoutedStorage,
  type SnapshotStorage,
  type StoreError,
  Tenant,
  TenantDirectory,
  TenantRegistry
} from "effect-eventsourcing"
import { PgSilo, PgTenant, PgTenantDirectory } from "effect-eventsourcing/pg"
import { SqlClient } from "effect/sql"
import { describe, expectTypeOf, test } from "vitest"

declare const client: Layer.Layer<PgClient.PgClient | SqlClient.SqlClient, "no connection">
declare const tenantId: Tenant.TenantId

const silo = PgSilo.layer({ database: () => ({ client }) })

describe("the layer over several databases", () => {
  test("provides the drivers and the client of one database, and requires only the directory", () => {
    expectTypeOf<Layer.Success<typeof silo>>().toEqualTypeOf<
      | AdministrationStorage.AdministrationStorage
      | EventStorage.EventStorage
      | Placements.Placements
      | ProjectionStorage.ProjectionStorage
      | SnapshotStorage.SnapshotStorage
      | SqlClient.SqlClient
      | PgSilo.PgSilo
    >()
    expectTypeOf<Layer.Services<typeof silo>>().toEqualTypeOf<TenantDirectory.TenantDirectory>()
  })

  test("cannot fail to be built, because databases are opened at their first use", () => {
    expectTypeOf<Layer.Error<typeof silo>>().toEqualTypeOf<never>()
    const routed = RoutedStorage.layerWith({
      storage: () =>
        Layer.empty as unknown as Layer.Layer<
          | AdministrationStorage.AdministrationStorage
          | EventStorage.EventStorage
          | ProjectionStorage.ProjectionStorage
          | SnapshotStorage.SnapshotStorage,
          "away"
        >
    })
    expectTypeOf<Layer.Error<typeof routed>>().toEqualTypeOf<never>()
  })

  test("serves the same program", () => {
    const Store = Layer.mergeAll(Repository.layer, TenantRegistry.layer).pipe(
      Layer.provideMerge(EventStore.layer),
      Layer.provideMerge(silo),
      Layer.provide(TenantDirectory.layerWith({ placements: ["a"], placementOf: () => "a" }))
    )
    expectTypeOf<Layer.Services<typeof Store>>().toEqualTypeOf<never>()
    const own = PgTenant.transaction(SqlClient.SqlClient.use((sql) => sql`select 1`))
    expectTypeOf<Effect.Services<typeof own>>().toEqualTypeOf<Tenant.CurrentTenant | SqlClient.SqlClient>()
    // @ts-expect-error the tenant is not provided
    const forgotten: Effect.Effect<unknown, unknown> = own.pipe(Effect.provide(Store))
    void forgotten
  })
})

describe("the directory", () => {
  test("accepts a tenant, not a text", () => {
    const ask = (directory: TenantDirectory.TenantDirectory["Service"]) => {
      // @ts-expect-error a text from a request is not a tenant
      void directory.placement("0190c5a0-0000-7000-8000-0000000000ad")
      return directory.placement(tenantId)
    }
    expectTypeOf(ask).returns.toEqualTypeOf<
      Effect.Effect<
        string,
        StoreError.TenantRefused<StoreError.UnknownTenant> | StoreError.StorageUnavailable
      >
    >()
  })

  test("can be changed only with access across tenants", () => {
    const place = PgTenantDirectory.PgTenantDirectory.use((directory) => directory.place(tenantId, "a"))
    expectTypeOf<Effect.Services<typeof place>>().toEqualTypeOf<
      PgTenantDirectory.PgTenantDirectory | Tenant.AllTenants
    >()
  })
})
