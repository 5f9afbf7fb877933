import { Effect, type Layer, Schema, Stream } from "effect"
import { Tenant } from "effect-eventsourcing"
import { TenantEntity } from "effect-eventsourcing/cluster"
import type { Sharding } from "effect/cluster"
import { Rpc, RpcSchema } from "effect/rpc"
import { describe, expectTypeOf, test } from "vitest"

const Orders = TenantEntity.make("Orders", [
  Rpc.make("place", { payload: { id: Schema.String }, success: Schema.Int, error: Schema.Literal("full") }),
  Rpc.make("items", { payload: {}, success: RpcSchema.Stream(Schema.String, Schema.Never) })
])

declare const client: Effect.Success<typeof Orders.client>

describe("a call of an entity", () => {
  test("needs the tenant", () => {
    const placed = client.place({ id: "1" })
    expectTypeOf<Effect.Services<typeof placed>>().toEqualTypeOf<Tenant.CurrentTenant>()
    expectTypeOf<Effect.Success<typeof placed>>().toEqualTypeOf<number>()
    expectTypeOf<Effect.Error<typeof placed>>().toEqualTypeOf<"full" | TenantEntity.CallError>()
    expectTypeOf<Stream.Services<ReturnType<typeof client.items>>>().toEqualTypeOf<Tenant.CurrentTenant>()
    // @ts-expect-error: without a tenant
    void Effect.runPromise(placed)
    void Effect.runPromise(Tenant.provide(Tenant.untenanted)(placed))
  })

  test("has no place for another tenant", () => {
    // @ts-expect-error: an address cannot be given
    void client.place({ id: "1" }, { entityId: "other" })
  })
})

describe("a handler", () => {
  test("has the tenant of the address", () => {
    const layer = Orders.toLayer({
      place: () => Effect.as(Tenant.CurrentTenant, 1),
      items: () => Stream.empty
    })
    expectTypeOf(layer).toExtend<Layer.Layer<never, TenantEntity.PublicTransport, Sharding.Sharding>>()
  })
})
