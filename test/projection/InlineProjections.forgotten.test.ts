/** Inline projections of personal data forget a person in the transaction of the event that says so. */
import { assert, layer } from "@effect/vitest"
import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import * as Personal from "../../src/domain/Personal.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as Forgetting from "../../src/forgetting/Forgetting.ts"
import * as KeyVault from "../../src/forgetting/KeyVault.ts"
import * as PgTenant from "../../src/pg/PgTenant.ts"
import * as InlineProjections from "../../src/projection/InlineProjections.ts"
import * as Projection from "../../src/projection/Projection.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import { rawEvents } from "../../src/testing/driver/administrationKit.ts"
import { newTenant } from "../../src/testing/driver/eventKit.ts"
import { by, newVault } from "../support/persons.ts"
import { backendsWith } from "../support/readModels.ts"

const Registered = Schema.TaggedStruct("Registered", {
  name: Personal.make(Schema.String, Personal.aggregateId)
})
const Customer = Aggregate.make(
  "Customer",
  { id: Schema.String, state: Schema.Null, initial: null, events: [Registered] },
  () => null
)

let isBroken = false

const Names = Projection.make(
  "names",
  {
    aggregates: [Customer],
    tables: ["names"],
    forgotten: ({ subject }, { tenantId, position }) =>
      SqlClient.SqlClient.use((sql) =>
        isBroken
          ? Effect.die(new Error("broken"))
          : sql`update names set name = ${`forgotten at ${position}`} where tenant_id = ${tenantId}::uuid and id = ${subject}`
      )
  },
  {
    Registered: ({ name }, { aggregateId, tenantId }) =>
      SqlClient.SqlClient.use(
        (sql) =>
          sql`insert into names ${sql.insert({
            tenant_id: tenantId,
            id: aggregateId,
            name: Personal.getOrElse(name, () => "forgotten")
          })}`
      )
  }
)

const names = PgTenant.transaction(
  SqlClient.SqlClient.use((sql) => sql<{ name: string }>`select name from names order by id`)
).pipe(Effect.map((found) => found.map(({ name }) => name)))

const register = (id: string) =>
  EventStore.EventStore.use((store) =>
    store.append({
      aggregate: Customer,
      id,
      expectedVersion: "noStream",
      events: [Registered.make({ name: id })]
    })
  )

for (const backend of backendsWith([
  "create table names (tenant_id uuid not null, id text not null, name text not null, primary key (tenant_id, id))",
  "select eventsourcing.register_read_model('names')"
])) {
  layer(backend.layer, { excludeTestServices: true })(`a forgotten person, on ${backend.name}`, (it) => {
    it.effect("vanishes from inline projections with the event that says so, or the event is not there", () =>
      Effect.gen(function* () {
        const vault = yield* newVault
        const program = yield* Layer.build(
          Layer.fresh(InlineProjections.layer({ projections: [Names] })).pipe(
            Layer.provideMerge(Layer.fresh(Forgetting.layer)),
            Layer.provide(Layer.succeed(KeyVault.KeyVault, vault))
          )
        )
        const tenantId = newTenant()
        const run = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
          effect.pipe(Tenant.provide(tenantId), Effect.provideContext(program))
        const forget = (subject: string) =>
          by(tenantId)(Context.get(program, Forgetting.Forgetting).forget(subject, { reason: "request" }))
        const types = Effect.map(rawEvents(tenantId), (rows) => rows.map(({ eventType }) => eventType))
        for (const id of ["ada", "bob"]) yield* run(register(id))
        assert.deepStrictEqual(yield* run(names), ["ada", "bob"])
        yield* forget("ada")
        assert.deepStrictEqual(yield* run(names), ["forgotten at 3", "bob"])
        // again: the event is there already, and is not handled a second time
        yield* run(
          PgTenant.transaction(
            SqlClient.SqlClient.use((sql) => sql`update names set name = 'x' where id = 'ada'`)
          )
        )
        yield* forget("ada")
        assert.deepStrictEqual(yield* run(names), ["x", "bob"])
        // a handler that fails takes the event back; run again, it ends
        isBroken = true
        const exit = yield* Effect.exit(InlineProjections.failures(forget("bob")))
        isBroken = false
        assert.include(String(exit), "InlineProjectionFailed")
        assert.deepStrictEqual(yield* types, ["Registered", "Registered", "SubjectForgotten"])
        yield* forget("bob")
        assert.deepStrictEqual(yield* run(names), ["x", "forgotten at 4"])
        assert.deepStrictEqual(yield* types, [
          "Registered",
          "Registered",
          "SubjectForgotten",
          "SubjectForgotten"
        ])
      }).pipe(Effect.scoped)
    )
  })
}
