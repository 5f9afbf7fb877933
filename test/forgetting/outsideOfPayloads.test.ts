/** Personal data that a program puts where it cannot be sealed is found: in ids, actors, tags, metadata and ids of correlation. */
import { assert, layer as withLayer } from "@effect/vitest"
import { Effect, Exit, Layer, Schema, Stream } from "effect"
import {
  Aggregate,
  Event,
  EventContext,
  EventStore,
  Forgetting,
  KeyVault,
  Personal,
  PersonalData,
  Tenant,
  TenantRegistry
} from "effect-eventsourcing"
import { PgCheck } from "effect-eventsourcing/pg"
import { Canary, Laws } from "effect-eventsourcing/testing"
import { newTenant } from "../../src/testing/driver/eventKit.ts"
import { flipped } from "../../src/testing/failures.ts"
import { backends } from "../support/backends.ts"

const Registered = Schema.TaggedStruct("Registered", {
  customerId: Schema.String,
  email: Personal.make(Schema.String, "customerId"),
  names: Schema.Array(
    Schema.Struct({
      personId: Schema.String,
      name: Personal.make(Schema.Struct({ first: Schema.String, last: Schema.String }), "personId")
    })
  )
})
const Moved = Schema.TaggedStruct("Moved", { to: Schema.String })

const Customer = Aggregate.make(
  "Customer",
  { id: Schema.String, state: Schema.Int, initial: 0, events: [Registered, Moved] },
  { Registered: (count) => count, Moved: (count) => count }
)

const email = "ada.lovelace@example.com"
const registered = Registered.make({
  customerId: "7d1e",
  email,
  names: [{ personId: "p1", name: { first: "Ada", last: "Byron" } }]
})

const services = Layer.mergeAll(TenantRegistry.layer).pipe(
  Layer.provideMerge(EventStore.layer),
  Layer.provideMerge(Forgetting.layer),
  Layer.provide(KeyVault.layerMemory)
)

const append = (
  id: string,
  options: Event.EventOptions = {},
  context: Parameters<typeof EventContext.provide>[0] = {}
) =>
  EventStore.EventStore.use((store) =>
    store.append({
      aggregate: Customer,
      id,
      expectedVersion: "any",
      events: [Event.make(registered, options), Moved.make({ to: email })]
    })
  ).pipe(EventContext.provide(context))

const found = Effect.map(
  Stream.runCollect(PersonalData.outsideOfPayloads({ aggregates: [Customer] })),
  (all) => all.map(({ path, place }) => [place, path.join(".")])
)

for (const backend of backends.filter(({ name }) => name !== "PGlite")) {
  withLayer(services.pipe(Layer.provide(backend.layer)), { excludeTestServices: true })(
    `personal data outside of payloads, on ${backend.name}`,
    (it) => {
      const cases: Readonly<
        Record<string, readonly [Parameters<typeof append>, ReadonlyArray<readonly [string, string]>]>
      > = {
        "an id that means nothing, and an actor of another name": [
          ["7d1e", { tags: ["customer:7d1e"], metadata: { source: "web" } }, { actor: "Grace Hopper" }],
          []
        ],
        "an aggregate's id": [["Ada.Lovelace@example.com"], [["aggregateId", "email"]]],
        "an actor, as a part": [["1", { actor: `user ${email}` }], [["actor", "email"]]],
        "the actor of the context": [["1", {}, { actor: "Byron" }], [["actor", "names.0.name"]]],
        "a tag, behind its name": [["1", { tags: ["first:ada"] }], [["tags", "names.0.name"]]],
        metadata: [["1", { metadata: { request: { from: [email] } } }], [["metadata", "email"]]],
        "the correlation id of the context": [
          ["1", {}, { correlationId: email }],
          [["correlationId", "email"]]
        ],
        "several places": [
          [email, { tags: [`email:${email}`] }],
          [
            ["aggregateId", "email"],
            ["tags", "email"]
          ]
        ]
      }
      for (const [name, [given, wanted]] of Object.entries(cases))
        it.effect(`${wanted.length === 0 ? "is not" : "is found"} in ${name}`, () =>
          Effect.gen(function* () {
            const expected: ReadonlyArray<ReadonlyArray<string>> = wanted
            yield* append(...given)
            assert.deepEqual<ReadonlyArray<ReadonlyArray<string>>>(yield* found, expected)
            const law = Laws.logKeepsPersonalData({ aggregates: [Customer] })
            if (expected.length === 0) return yield* law
            const broken = yield* flipped(law)
            assert.containSubset(broken, { law: "logKeepsPersonalData", aggregateType: "Customer" })
            assert.include(broken.message, `is also in its ${expected[0]?.[0]}, which cannot be forgotten`)
            assert.notInclude(broken.message.toLowerCase(), "lovelace")
          }).pipe(Tenant.provide(newTenant()))
        )

      it.effect("is looked for in the newest events only, and not in those of the forgotten", () =>
        Effect.gen(function* () {
          yield* append(email)
          yield* append("7d1e")
          const newest = PersonalData.outsideOfPayloads({ aggregates: [Customer], events: 2 })
          assert.deepStrictEqual(yield* Stream.runCollect(newest), [])
          assert.lengthOf(yield* found, 1)
          yield* Forgetting.Forgetting.use((forgetting) =>
            forgetting.forget("7d1e", { reason: "asked" })
          ).pipe(Tenant.provideAdministration({ actor: "dpo", reason: "test" }))
          assert.deepStrictEqual(yield* found, [])
        }).pipe(Tenant.provide(newTenant()))
      )
    }
  )

  withLayer(services.pipe(Layer.provide(Layer.fresh(backend.layer))), { excludeTestServices: true })(
    `the check of personal data, on ${backend.name}`,
    (it) => {
      it.effect("looks at every tenant under a recorded access, and warns without the data", () =>
        Effect.gen(function* () {
          const tenants = [newTenant(), newTenant(), newTenant()]
          const ids = [email, "7d1e", email]
          for (const [index, tenantId] of tenants.entries())
            yield* append(ids[index] ?? "").pipe(Tenant.provide(tenantId))
          const heard = yield* Canary.overhear(
            PgCheck.personalData({ aggregates: [Customer], events: 10 }).pipe(
              Tenant.provideAll({ actor: "privacy check", reason: "monthly" })
            )
          )
          const findings = Exit.isSuccess(heard.exit) ? heard.exit.value : []
          assert.sameMembers(
            findings.map(({ tenantId }) => tenantId),
            [tenants[0], tenants[2]]
          )
          const warnings = heard.logs.filter(({ level }) => level === "Warn")
          assert.lengthOf(warnings, 1)
          assert.include(JSON.stringify(warnings[0]), "Personal data is in the aggregateId of events")
          assert.containSubset(warnings[0]?.annotations, {
            count: 2,
            field: "email",
            eventType: "Registered"
          })
          assert.notInclude(JSON.stringify([findings, heard.logs, heard.spans]).toLowerCase(), "lovelace")
          const accesses = yield* TenantRegistry.TenantRegistry.use((registry) =>
            Stream.runCollect(registry.accesses)
          ).pipe(Tenant.provideAll({ actor: "auditor", reason: "test" }))
          assert.isTrue(
            accesses.some(({ actor, reason }) => actor === "privacy check" && reason === "monthly")
          )
        })
      )
    }
  )
}
