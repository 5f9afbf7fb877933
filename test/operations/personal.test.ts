/** Personal fields in the looks of operators, and the types of these. */
import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { Effect, Layer, Schema, Stream } from "effect"
import {
  Aggregate,
  EventStore,
  Forgetting,
  KeyVault,
  MemoryStorage,
  Personal,
  Tenant
} from "effect-eventsourcing"
import { Operations, PayloadGrant } from "effect-eventsourcing/operations"
import { Canary } from "effect-eventsourcing/testing"

const Registered = Schema.TaggedStruct("Registered", {
  plan: Schema.String,
  email: Personal.make(Schema.String, Personal.aggregateId)
})

const Customer = Aggregate.make(
  "Customer",
  {
    id: Schema.String,
    state: Schema.Struct({ plan: Schema.String, email: Personal.orForgotten(Schema.String) }),
    initial: { plan: "", email: "" },
    events: [Registered]
  },
  { Registered: (_, { email, plan }) => ({ plan, email }) }
)

const storage = Forgetting.layer.pipe(
  Layer.provide(KeyVault.layerMemory),
  Layer.provideMerge(MemoryStorage.layer)
)

const layer = Operations.layer({ aggregates: [Customer] }).pipe(
  Layer.provideMerge(EventStore.layer),
  Layer.provideMerge(storage)
)

const tenant = Tenant.fromName("0b7d1c7e-3c0e-4f4b-9d0a-6f3f4c1d2a5e", "shop")
const email = "ada@example.com"

const at = <A, E, R>(look: Effect.Effect<A, E, R>) =>
  look.pipe(Tenant.provide(tenant), Tenant.provideAdministration({ actor: "ada", reason: "test" }))

describe("personal fields", () => {
  it.effect("stay sealed without a grant of their own, also with full payloads and in folded states", () =>
    Effect.gen(function* () {
      const operations = yield* Operations.Operations
      yield* EventStore.EventStore.use((store) =>
        store.append({
          aggregate: Customer,
          id: "1",
          events: [Registered.make({ plan: "gold", email })],
          expectedVersion: "noStream"
        })
      ).pipe(Tenant.provide(tenant))
      const seen = Effect.gen(function* () {
        const { events } = yield* operations.stream({ aggregateType: "Customer", aggregateId: "1" })
        const { difference, state } = yield* operations.state({
          aggregateType: "Customer",
          aggregateId: "1"
        })
        const [event] = events
        return { stored: event?.stored, present: event?.present, sealed: event?.sealed, state, difference }
      })
      const without = yield* seen.pipe(PayloadGrant.provide("full"), at)
      Canary.assertAbsent(Canary.of(email), without)
      assert.deepStrictEqual(without, {
        stored: { _tag: "Registered", plan: "gold", email: { $sealed: true } },
        present: [{ _tag: "Registered", plan: "gold", email: { $forgotten: true } }],
        sealed: true,
        state: { plan: "gold", email: { $forgotten: true } },
        difference: [
          { op: "replace", path: "/email", value: { $forgotten: true } },
          { op: "replace", path: "/plan", value: "gold" }
        ]
      })
      Canary.assertAbsent(Canary.of(email), yield* seen.pipe(at))
      const granted = yield* seen.pipe(PayloadGrant.provide("full", { personal: true }), at)
      assert.deepStrictEqual(granted.stored, { _tag: "Registered", plan: "gold", email })
      assert.deepStrictEqual(granted.present, [{ _tag: "Registered", plan: "gold", email }])
      assert.deepStrictEqual(granted.state, { plan: "gold", email })
      assert.isFalse(granted.sealed)
      yield* Forgetting.Forgetting.use((forgetting) => forgetting.forget("1", { reason: "asked" })).pipe(at)
      const after = yield* seen.pipe(PayloadGrant.provide("full", { personal: true }), at)
      Canary.assertAbsent(Canary.of(email), after)
      assert.deepStrictEqual(after.state, { plan: "gold", email: { $forgotten: true } })
    }).pipe(Effect.provide(layer))
  )
})

describe("the looks of operators", () => {
  it("need the tenant and the operator, or all tenants, and their layer needs no tenant", () => {
    type Service = Operations.Operations["Service"]
    expectTypeOf<Effect.Services<Service["projections"]>>().toEqualTypeOf<
      Tenant.CurrentTenant | Tenant.TenantAdministration
    >()
    expectTypeOf<Stream.Services<ReturnType<Service["tail"]>>>().toEqualTypeOf<
      Tenant.CurrentTenant | Tenant.TenantAdministration
    >()
    expectTypeOf<Effect.Services<ReturnType<Service["tenants"]>>>().toEqualTypeOf<Tenant.AllTenants>()
    expectTypeOf<Effect.Services<ReturnType<Service["accesses"]>>>().toEqualTypeOf<Tenant.AllTenants>()
    Tenant.withoutTenant(Operations.layer())
  })

  it.effect("refuse limits out of their range as mistakes of the program", () =>
    Effect.gen(function* () {
      const operations = yield* Operations.Operations
      for (const look of [
        operations.log({ limit: 0 }),
        operations.log({ limit: 1001 }),
        operations.log({ scan: 0.5 }),
        operations.log({ from: Number.NaN }),
        operations.stream({ aggregateType: "Customer", aggregateId: "1", fromVersion: 0 }),
        operations.state({ aggregateType: "Customer", aggregateId: "1", version: -1 })
      ] as ReadonlyArray<Effect.Effect<unknown, unknown, Operations.Operator>>) {
        const defect = yield* look.pipe(
          at,
          Effect.as(undefined),
          Effect.catchDefect((thrown) => Effect.succeed(thrown)),
          Effect.orDie
        )
        assert.instanceOf(defect, RangeError)
      }
    }).pipe(Effect.provide(layer))
  )
})
