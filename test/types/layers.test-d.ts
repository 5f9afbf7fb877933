import { Layer } from "effect"
import type { SqlClient } from "effect/sql"
import * as Root from "effect-eventsourcing"
import * as Pg from "effect-eventsourcing/pg"
import * as Testing from "effect-eventsourcing/testing"
import { describe, expectTypeOf, test } from "vitest"

/** What the layers of a module need to be built, also those that a function makes. */
type NeedsOf<Module> = {
  [Name in keyof Module]: Module[Name] extends Layer.Layer<infer _A, infer _E, infer R>
    ? R
    : Module[Name] extends (...options: never) => Layer.Layer<infer _A, infer _E, infer R>
      ? R
      : never
}[keyof Module]

/** The same for all modules of an entry point. */
type NeedsOfAll<Entry> = { [Module in keyof Entry]: NeedsOf<Entry[Module]> }[keyof Entry]

type OfOneTenant = Root.Tenant.CurrentTenant | Root.Tenant.AllTenants

describe("a layer of the library", () => {
  test("never needs a tenant to be built, as it would keep it for the next one", () => {
    expectTypeOf<Extract<NeedsOfAll<typeof Root>, OfOneTenant>>().toEqualTypeOf<never>()
    expectTypeOf<Extract<NeedsOfAll<typeof Pg>, OfOneTenant>>().toEqualTypeOf<never>()
    expectTypeOf<Extract<NeedsOfAll<typeof Testing>, OfOneTenant>>().toEqualTypeOf<never>()
  })

  test("needs no more than the tier below it", () => {
    type Below = Root.EventStorage.EventStorage | Root.EventStore.EventStore
    expectTypeOf<NeedsOfAll<typeof Root>>().toEqualTypeOf<Below>()
    expectTypeOf<NeedsOfAll<typeof Pg>>().toEqualTypeOf<SqlClient.SqlClient>()
  })

  test("is found out if it does", () => {
    type Bad = {
      readonly layer: Layer.Layer<never, never, Root.Tenant.CurrentTenant>
      readonly layerWith: (options: { readonly a: 1 }) => Layer.Layer<never, string, Root.Tenant.AllTenants>
      readonly other: string
    }
    expectTypeOf<NeedsOf<Bad>>().toEqualTypeOf<OfOneTenant>()
    expectTypeOf<NeedsOf<typeof Root.Repository>>().toEqualTypeOf<Root.EventStore.EventStore>()
  })

  test("makes the whole store in memory with nothing else", () => {
    const Live = Layer.mergeAll(Root.Repository.layer, Root.TenantRegistry.layer).pipe(
      Layer.provideMerge(Root.EventStore.layer),
      Layer.provideMerge(Root.MemoryEventStorage.layer)
    )
    expectTypeOf<Layer.Services<typeof Live>>().toEqualTypeOf<never>()
    expectTypeOf<Layer.Error<typeof Live>>().toEqualTypeOf<never>()
  })
})
