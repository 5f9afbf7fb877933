import { Effect, type Layer, Schema } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import { expectTypeOf, test } from "vitest"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import type { EventStorage } from "../../src/driver/EventStorage.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import * as Projection from "../../src/projection/Projection.ts"
import * as ProjectionRunner from "../../src/projection/ProjectionRunner.ts"
import type { ProjectionStorage } from "../../src/driver/ProjectionStorage.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as ProjectionKit from "../../src/testing/ProjectionKit.ts"

const Placed = Schema.TaggedStruct("Placed", { total: Schema.Int })
const Paid = Schema.TaggedStruct("Paid", {})
const Order = Aggregate.make(
  "Order",
  { id: Schema.String, state: Schema.Int, initial: 0, events: [Placed, Paid] },
  (state) => state
)
const Noted = Schema.TaggedStruct("Noted", { text: Schema.String })
const Note = Aggregate.make(
  "Note",
  { id: Schema.String, state: Schema.Int, initial: 0, events: [Noted] },
  (state) => state
)

type Driver = EventStorage | ProjectionStorage

const insert = SqlClient.SqlClient.use((sql) => sql`select 1`)

const ofTenant = Projection.make("of-tenant", { aggregates: [Order, Note] }, { Placed: () => insert })
const ofAll = Projection.makeAcrossTenants("of-all", { aggregates: [Order] }, { Placed: () => insert })

test("a handler gets the event of its tag, and an envelope of the aggregates that have it", () => {
  Projection.make(
    "typed",
    { aggregates: [Order, Note] },
    {
      Placed: (event, envelope) => {
        expectTypeOf(event).toEqualTypeOf<{ readonly _tag: "Placed"; readonly total: number }>()
        expectTypeOf(envelope.payload).toEqualTypeOf(event)
        expectTypeOf(envelope.aggregateType).toEqualTypeOf<"Order">()
        expectTypeOf(envelope.tenantId).toEqualTypeOf<Tenant.TenantId>()
        return Effect.void
      },
      Noted: (event, envelope) => {
        expectTypeOf(event.text).toEqualTypeOf<string>()
        expectTypeOf(envelope.aggregateType).toEqualTypeOf<"Note">()
        return Effect.void
      }
    }
  )
  // @ts-expect-error no event of these aggregates
  Projection.make("other", { aggregates: [Order] }, { Noted: () => Effect.void })
  Projection.make(
    "misspelt",
    { aggregates: [Order] },
    {
      Placed: () => Effect.void,
      // @ts-expect-error the same beside a valid handler
      Plced: () => Effect.void
    }
  )
})

test("a projection has the errors and requirements of its handlers", () => {
  expectTypeOf(ofTenant).toEqualTypeOf<Projection.Projection<SqlError.SqlError, SqlClient.SqlClient>>()
  const mixed = Projection.make(
    "mixed",
    { aggregates: [Order] },
    {
      Placed: () => insert,
      Paid: () => Effect.flatMap(Tenant.CurrentTenant, () => Effect.fail("no" as const))
    }
  )
  expectTypeOf(mixed).toEqualTypeOf<
    Projection.Projection<SqlError.SqlError | "no", SqlClient.SqlClient | Tenant.CurrentTenant>
  >()
})

test("a runner provides the tenant, and no layer requires one", () => {
  const needsTenant = Projection.make("t", { aggregates: [Order] }, { Paid: () => Tenant.CurrentTenant })
  const layer = ProjectionRunner.layer({ projections: [ofTenant, needsTenant] })
  expectTypeOf<Layer.Services<typeof layer>>().toEqualTypeOf<Driver | SqlClient.SqlClient>()
  expectTypeOf<Layer.Services<typeof MemoryStorage.layer>>().toEqualTypeOf<never>()
  expectTypeOf<Layer.Services<typeof PgStorage.layer>>().toEqualTypeOf<SqlClient.SqlClient>()
})

test("a projection across tenants runs only with access across tenants", () => {
  const layer = ProjectionRunner.layer({ projections: [ofTenant, ofAll] })
  expectTypeOf<Layer.Services<typeof layer>>().toEqualTypeOf<
    Driver | SqlClient.SqlClient | Tenant.AllTenants
  >()
  const program = ProjectionRunner.ProjectionRunner.use(({ drain }) => drain).pipe(Effect.provide(layer))
  type Needs<A> = A extends Effect.Effect<infer _A, infer _E, infer R> ? R : never
  expectTypeOf<Needs<typeof program>>().toEqualTypeOf<Driver | SqlClient.SqlClient | Tenant.AllTenants>()
  declare_(program.pipe(Tenant.provideAll({ actor: "test", reason: "test" })))
  // @ts-expect-error AllTenants is not provided
  declare_(program)
})

/** Accepts effects that require only the drivers. */
const declare_ = (_program: Effect.Effect<unknown, unknown, Driver | SqlClient.SqlClient>): void => {}

test("the kit accepts events of the aggregate, and runs handlers without a tenant", () => {
  const given = ProjectionKit.given(Tenant.untenanted, Order, "1", Placed.make({ total: 1 }), {
    _tag: "Paid"
  })
  const handled = given.when(ofTenant)
  expectTypeOf<Effect.Services<typeof handled>>().toEqualTypeOf<SqlClient.SqlClient>()
  // @ts-expect-error not an event of the aggregate
  given.and(Tenant.untenanted, Order, "1", Noted.make({ text: "" }))
  // @ts-expect-error a plain string is not a tenant
  given.and("tenant", Order, "1", Placed.make({ total: 1 }))
})

test("the handler of a forgotten subject gets its event, and its effects are those of the projection", () => {
  const forgetting = Projection.make(
    "forgetting",
    {
      aggregates: [Order],
      forgotten: (event, envelope) => {
        expectTypeOf(event.subject).toEqualTypeOf<string>()
        expectTypeOf(envelope.payload).toEqualTypeOf(event)
        return insert
      }
    },
    { Placed: () => Effect.void }
  )
  expectTypeOf(forgetting).toEqualTypeOf<Projection.Projection<SqlError.SqlError, SqlClient.SqlClient>>()
  const none = Projection.make(
    "none",
    { aggregates: [Order], forgotten: "keepsNone" },
    { Placed: () => Effect.void }
  )
  expectTypeOf(none).toEqualTypeOf<Projection.Projection<never, never>>()
  const batched = Projection.makeBatched(
    "batched",
    { aggregates: [Order], forgotten: () => insert },
    () => Effect.void
  )
  expectTypeOf(batched).toEqualTypeOf<Projection.Projection<SqlError.SqlError, SqlClient.SqlClient>>()
})
