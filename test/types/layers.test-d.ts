import { Layer } from "effect"
import type { SqlClient } from "effect/sql"
import * as Root from "effect-eventsourcing"
import * as Pg from "effect-eventsourcing/pg"
import * as Testing from "effect-eventsourcing/testing"
import { describe, expectTypeOf, test } from "vitest"

/**
 * The requirements of the layers of a module, including those that functions return. Only functions named `layer…` count: a
 * generic function may return anything, so its result could not be inspected.
 */
type NeedsOf<Module> = {
  [Name in keyof Module]: Module[Name] extends Layer.Layer<infer _A, infer _E, infer R>
    ? R
    : Name extends `layer${string}`
      ? Module[Name] extends (...options: never) => Layer.Layer<infer _A, infer _E, infer R>
        ? R
        : never
      : never
}[keyof Module]

/** The requirements of the layers of all modules of an entry point. */
type NeedsOfAll<Entry> = { [Module in keyof Entry]: NeedsOf<Entry[Module]> }[keyof Entry]

type OfOneTenant = Root.Tenant.CurrentTenant | Root.Tenant.AllTenants | Root.Tenant.TenantAdministration

/** Their layers have the requirements of given handlers or layers: see below, and withoutTenant.test-d.ts. */
type General = "ProjectionRunner" | "InlineProjections" | "KeyVault" | "PgKeyVault" | "Tenant"
type OfRoot = NeedsOfAll<Omit<typeof Root, General>>
type OfPg = NeedsOfAll<Omit<typeof Pg, General>>

describe("a layer of the library", () => {
  test("8: never requires a tenant to be built, because it would keep that tenant for others", () => {
    // A layer with unknown requirements would hide those of the others.
    expectTypeOf<OfRoot>().not.toBeUnknown()
    expectTypeOf<OfPg>().not.toBeUnknown()
    expectTypeOf<Extract<OfRoot, OfOneTenant>>().toEqualTypeOf<never>()
    expectTypeOf<Extract<OfPg, OfOneTenant>>().toEqualTypeOf<never>()
    expectTypeOf<Extract<NeedsOfAll<typeof Testing>, OfOneTenant>>().toEqualTypeOf<never>()
  })

  test("requires only the tier below it", () => {
    type Below =
      | Root.AdministrationStorage.AdministrationStorage
      | Root.EventStorage.EventStorage
      | Root.EventStore.EventStore
      | Root.ProjectionStorage.ProjectionStorage
      | Root.KeyVault.KeyVault
      | Root.OutboxRelay.Publisher
      | Root.Placements.Placements
      | Root.SnapshotStorage.SnapshotStorage
      | Root.TenantDirectory.TenantDirectory
    expectTypeOf<OfRoot>().toEqualTypeOf<Below>()
    expectTypeOf<OfPg>().toEqualTypeOf<SqlClient.SqlClient | Root.TenantDirectory.TenantDirectory>()
  })

  test("that runs handlers has their requirements, except the tenant, which it provides", () => {
    type Handled = readonly [
      Root.Projection.Projection<never, Root.Tenant.CurrentTenant | Root.Repository.Repository>
    ]
    type Runner = ReturnType<typeof Root.ProjectionRunner.layer<Handled>>
    expectTypeOf<Layer.Services<Runner>>().toEqualTypeOf<
      Root.EventStorage.EventStorage | Root.ProjectionStorage.ProjectionStorage | Root.Repository.Repository
    >()
    type Inline = ReturnType<typeof Root.InlineProjections.layer<Handled>>
    expectTypeOf<Layer.Services<Inline>>().toEqualTypeOf<
      Root.EventStorage.EventStorage | Root.ProjectionStorage.ProjectionStorage | Root.Repository.Repository
    >()
  })

  test("is reported if it requires a tenant", () => {
    type Bad = {
      readonly layer: Layer.Layer<never, never, Root.Tenant.CurrentTenant | Root.Tenant.TenantAdministration>
      readonly layerWith: (options: { readonly a: 1 }) => Layer.Layer<never, string, Root.Tenant.AllTenants>
      readonly other: string
    }
    expectTypeOf<NeedsOf<Bad>>().toEqualTypeOf<OfOneTenant>()
    expectTypeOf<NeedsOf<typeof Root.Repository>>().toEqualTypeOf<
      Root.EventStore.EventStore | Root.SnapshotStorage.SnapshotStorage
    >()
  })

  test("builds the whole store in memory without any other layer", () => {
    const Live = Layer.mergeAll(Root.Repository.layer, Root.TenantRegistry.layer).pipe(
      Layer.provideMerge(Root.EventStore.layer),
      Layer.provideMerge(Root.MemoryStorage.layer)
    )
    expectTypeOf<Layer.Services<typeof Live>>().toEqualTypeOf<never>()
    expectTypeOf<Layer.Error<typeof Live>>().toEqualTypeOf<never>()
  })
})
