/** Subjects and reasons that cannot be stored are refused before anything is asked of the vault or the storage. */
import { assert, layer as withLayer } from "@effect/vitest"
import { Effect, Layer, Schema, Stream } from "effect"
import {
  AdministrationStorage,
  Aggregate,
  EventStore,
  Forgetting,
  KeyVault,
  Personal,
  PersonalData,
  StoreError,
  Tenant
} from "effect-eventsourcing"
import { backends } from "../support/backends.ts"

const Registered = Schema.TaggedStruct("Registered", {
  person: Schema.String,
  name: Personal.make(Schema.String, "person")
})
const Customer = Aggregate.make(
  "Customer",
  { id: Schema.String, state: Schema.Null, initial: null, events: [Registered] },
  () => null
)

const long = "x".repeat(256)

/** Texts that are no subjects, with the tag of the error and a part of its message. */
const wrongSubjects: ReadonlyArray<readonly [subject: string, tag: string, message: string]> = [
  ["", "InvalidAggregateId", "is empty"],
  ["a\0b", "InvalidAggregateId", "U+0000"],
  ["\ud800", "InvalidAggregateId", "half of a surrogate pair"],
  [long, "LimitExceeded", "id of PersonalSubject: more than the limit idLength of 255"]
]

const wrongReasons: ReadonlyArray<readonly [reason: string, message: string]> = [
  ["", "reason: is blank"],
  [" \n", "reason: is blank"],
  ["a\0b", "U+0000"],
  ["x".repeat(1001), "has more than 1000 characters"]
]

const refusal = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(effect), (error) => {
    assert.instanceOf(error, StoreError.InvalidInput)
    return error
  })

/** A tenant with an event. */
const newTenant = Effect.gen(function* () {
  const tenantId = yield* Tenant.generate
  const store = yield* EventStore.EventStore
  yield* store
    .append({
      aggregate: Customer,
      id: "1",
      expectedVersion: "noStream",
      events: [Registered.make({ person: "bob", name: "Bob" })]
    })
    .pipe(Tenant.provide(tenantId))
  return tenantId
})

const administer = Tenant.provideAdministration({ actor: "officer", reason: "test" })

// The SQL is the same on PGlite, which takes long to start.
for (const { layer, name } of backends.filter((backend) => backend.name !== "PGlite")) {
  const services = EventStore.layer.pipe(
    Layer.provideMerge(Forgetting.layer),
    Layer.provideMerge(KeyVault.layerMemory),
    Layer.provideMerge(layer)
  )

  withLayer(services, { excludeTestServices: true })(`on ${name}`, (it) => {
    it.effect("a subject that cannot be stored is refused, however it is named", () =>
      Effect.gen(function* () {
        const forgetting = yield* Forgetting.Forgetting
        const vault = yield* KeyVault.KeyVault
        const tenantId = yield* newTenant
        for (const [subject, tag, message] of wrongSubjects) {
          for (const attempt of [
            forgetting.forget(subject, { reason: "request" }),
            forgetting.allowAgain(subject),
            forgetting.hold(subject, "lawsuit"),
            forgetting.release(subject)
          ]) {
            const error = yield* refusal(attempt.pipe(administer, Tenant.provide(tenantId)))
            assert.strictEqual(error.reason._tag, tag)
            assert.include(error.message, message)
          }
          const shown = yield* refusal(
            Stream.runCollect(PersonalData.read({ aggregates: [Customer], subject })).pipe(
              Tenant.provide(tenantId)
            )
          )
          assert.include(shown.message, message)
        }
        assert.deepStrictEqual(yield* vault.fences({ tenantId }), [])
      })
    )

    it.effect("a subject of 255 characters is forgotten", () =>
      Effect.gen(function* () {
        const forgetting = yield* Forgetting.Forgetting
        const subject = "\u{1f98a}".repeat(127)
        const row = yield* forgetting.forget(subject, { reason: "x".repeat(1000) })
        assert.strictEqual(row.subject, subject)
      }).pipe(administer, (effect) => Effect.flatMap(newTenant, (id) => Tenant.provide(id)(effect)))
    )

    it.effect("a reason that says nothing or cannot be stored is refused, and not recorded", () =>
      Effect.gen(function* () {
        const forgetting = yield* Forgetting.Forgetting
        const storage = yield* AdministrationStorage.AdministrationStorage
        const tenantId = yield* newTenant
        for (const [reason, message] of wrongReasons) {
          for (const attempt of [forgetting.forget("ada", { reason }), forgetting.hold("ada", reason)]) {
            const error = yield* refusal(attempt.pipe(administer, Tenant.provide(tenantId)))
            assert.include(error.message, message)
          }
        }
        const accessId = yield* storage.recordAccess({ actor: "officer", reason: "test", operation: "look" })
        const found = yield* storage.subjects({ accessId, tenantId, after: undefined, limit: 10 })
        assert.deepStrictEqual(found.rows, [])
      })
    )

    it.effect(
      "an event whose subject cannot be one is refused, by its type and field and without its data",
      () =>
        Effect.gen(function* () {
          const store = yield* EventStore.EventStore
          for (const [person, reason] of [
            ["", "is empty"],
            ["a\0b", "U+0000"],
            [`secret ${long}`, "has more than 255 characters"]
          ] as const) {
            const error = yield* refusal(
              store.append({
                aggregate: Customer,
                id: "1",
                expectedVersion: "any",
                events: [Registered.make({ person, name: "Ada" })]
              })
            )
            assert.include(error.message, "Registered cannot be stored: payload.person: ")
            assert.include(error.message, reason)
            for (const text of [error.message, JSON.stringify(error)]) {
              assert.notInclude(text, "secret")
              assert.notInclude(text, "Ada")
            }
          }
        }).pipe((effect) => Effect.flatMap(Tenant.generate, (id) => Tenant.provide(id)(effect)))
    )
  })
}
