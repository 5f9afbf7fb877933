import { Context, Effect, Layer } from "effect"
import * as Root from "effect-eventsourcing"
import * as Http from "effect-eventsourcing/http"
import * as Pg from "effect-eventsourcing/pg"
import { describe, expectTypeOf, test } from "vitest"

const { Tenant } = Root
type TenantId = Root.Tenant.TenantId

class Clean extends Context.Service<
  Clean,
  {
    readonly mine: Effect.Effect<string, never, Root.Tenant.CurrentTenant>
    readonly of: (tenantId: TenantId) => string
    readonly anything: unknown
    readonly nothing: never
    readonly optional?: string
  }
>()("app/Clean") {}

class Pool extends Context.Service<Pool, { readonly tenant: TenantId; readonly size: number }>()(
  "app/Pool"
) {}
class Perhaps extends Context.Service<Perhaps, { readonly tenant?: TenantId | null }>()("app/Perhaps") {}
class Mine extends Context.Service<Mine, TenantId>()("app/Mine") {}

declare const tenantId: TenantId
declare const clean: Clean["Service"]

/** The compiler's message about a layer. */
type Said<L> =
  L extends Layer.Layer<infer Provides, infer _E, infer Needs>
    ? Root.Tenant.WithoutTenant<Provides, Needs> extends Root.Tenant.TenantInLayer<infer Message>
      ? Message
      : "nothing"
    : never

describe("a layer without a tenant", () => {
  test("is returned with its type", () => {
    const layer = Layer.succeed(Clean, clean)
    expectTypeOf(Tenant.withoutTenant(layer)).toEqualTypeOf<Layer.Layer<Clean>>()
    const needing = Layer.effect(Clean, Effect.as(Root.EventStore.EventStore, clean))
    expectTypeOf(Tenant.withoutTenant(needing)).toEqualTypeOf<
      Layer.Layer<Clean, never, Root.EventStore.EventStore>
    >()
    const failing = Layer.effect(Clean, Effect.fail("no"))
    expectTypeOf(Tenant.withoutTenant(failing)).toEqualTypeOf<Layer.Layer<Clean, string>>()
    expectTypeOf(Tenant.withoutTenant(Layer.empty)).toEqualTypeOf<Layer.Layer<never>>()
    expectTypeOf(Tenant.withoutTenant(Layer.merge(layer, needing))).toEqualTypeOf<
      Layer.Layer<Clean, never, Root.EventStore.EventStore>
    >()
  })

  test("8: is every layer of the library", () => {
    Tenant.withoutTenant(Root.EventStore.layer)
    Tenant.withoutTenant(Root.EventStore.layerWith({}))
    Tenant.withoutTenant(Root.Repository.layer)
    Tenant.withoutTenant(Root.Repository.layerWith({}))
    Tenant.withoutTenant(Root.TenantRegistry.layer)
    Tenant.withoutTenant(Root.ProjectionManager.layer)
    Tenant.withoutTenant(Root.ProjectionRunner.layer({ projections: [] }))
    Tenant.withoutTenant(Root.MemoryStorage.layer)
    Tenant.withoutTenant(Pg.PgStorage.layer)
    Tenant.withoutTenant(Pg.PgEmbedded.layer)
    Tenant.withoutTenant(Pg.PgMigrator.layer)

    type SaidOf<Module> = {
      [Name in keyof Module]: Module[Name] extends Layer.Any
        ? Said<Module[Name]>
        : Module[Name] extends (...options: never) => infer Result
          ? Result extends Layer.Any
            ? Said<Result>
            : "nothing"
          : "nothing"
    }[keyof Module]
    type SaidOfAll<Entry> = { [Module in keyof Entry]: SaidOf<Entry[Module]> }[keyof Entry]
    expectTypeOf<SaidOfAll<typeof Root>>().toEqualTypeOf<"nothing">()
    expectTypeOf<SaidOfAll<typeof Pg>>().toEqualTypeOf<"nothing">()
    expectTypeOf<SaidOfAll<typeof Http>>().toEqualTypeOf<"nothing">()
  })
})

describe("a layer with a tenant does not compile", () => {
  test("8: if it requires one to be built", () => {
    const layer = Layer.effect(Clean, Effect.as(Root.Tenant.CurrentTenant, clean))
    // @ts-expect-error … this one needs a tenant to be built: let the methods of the service ask for CurrentTenant.
    Tenant.withoutTenant(layer)
    expectTypeOf<
      Said<typeof layer>
    >().toEqualTypeOf<"A layer is built once and serves every tenant, and this one needs a tenant to be built: let the methods of the service ask for CurrentTenant.">()
    // @ts-expect-error The same for AllTenants.
    Tenant.withoutTenant(Layer.effect(Clean, Effect.as(Root.Tenant.AllTenants, clean)))
    // @ts-expect-error One of several layers is enough.
    Tenant.withoutTenant(Layer.merge(Root.MemoryStorage.layer, layer))
    // @ts-expect-error The same with further requirements.
    Tenant.withoutTenant(Layer.provideMerge(layer, Root.EventStore.layer))
  })

  test("8: if it provides one", () => {
    const layer = Layer.succeed(Root.Tenant.CurrentTenant, tenantId)
    // @ts-expect-error … this one provides a tenant: provide it to each request, with Tenant.provide.
    Tenant.withoutTenant(layer)
    expectTypeOf<
      Said<typeof layer>
    >().toEqualTypeOf<"A layer is built once and serves every tenant, and this one provides a tenant: provide it to each request, with Tenant.provide.">()
    // @ts-expect-error AllTenants must also be provided to each use.
    Tenant.withoutTenant(Layer.succeed(Root.Tenant.AllTenants, { actor: "ada", reason: "audit" }))
  })

  test("8: if a service of it is a tenant's id, or has one as a member", () => {
    const layer = Layer.succeed(Pool, { tenant: tenantId, size: 1 })
    // @ts-expect-error … this one keeps a tenant in app/Pool.tenant: let the methods ask for CurrentTenant.
    Tenant.withoutTenant(layer)
    expectTypeOf<
      Said<typeof layer>
    >().toEqualTypeOf<"A layer is built once and serves every tenant, and this one keeps a tenant in app/Pool.tenant: let the methods ask for CurrentTenant.">()
    // @ts-expect-error … in app/Perhaps.tenant …
    Tenant.withoutTenant(Layer.succeed(Perhaps, {}))
    // @ts-expect-error … in app/Mine …
    Tenant.withoutTenant(Layer.succeed(Mine, tenantId))
    // @ts-expect-error … in app/Pool.tenant …
    Tenant.withoutTenant(Layer.merge(Layer.succeed(Clean, clean), layer))
  })
})
