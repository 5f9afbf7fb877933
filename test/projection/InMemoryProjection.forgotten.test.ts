/** States in memory of persons that are forgotten while they are read. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Fiber, Layer, Schema } from "effect"
import {
  Aggregate,
  EventStorage,
  EventStore,
  Forgetting,
  InMemoryProjection,
  KeyVault,
  MemoryStorage,
  Personal,
  Tenant
} from "effect-eventsourcing"

const Registered = Schema.TaggedStruct("Registered", {
  name: Personal.make(Schema.String, Personal.aggregateId)
})
const Customer = Aggregate.make(
  "Customer",
  { id: Schema.String, state: Schema.Null, initial: null, events: [Registered] },
  () => null
)
const Names = InMemoryProjection.make(
  "names",
  { aggregates: [Customer], initial: () => "", forgotten: () => "forgotten" },
  { Registered: (_state, { name }) => Personal.getOrElse(name, () => "forgotten") }
)

const services = Layer.merge(Names.layer, EventStore.layer).pipe(Layer.provideMerge(Forgetting.layer))

describe("a read of a state in memory", () => {
  it.live("does not show a person who is forgotten meanwhile, if another read has dropped the state", () =>
    Effect.gen(function* () {
      const below = yield* Layer.build(Layer.merge(MemoryStorage.layer, KeyVault.layerMemory))
      const raw = Context.get(below, EventStorage.EventStorage)
      let isHeld = false
      const asked = yield* Deferred.make<void>()
      const answer = yield* Deferred.make<void>()
      const held: typeof raw = {
        ...raw,
        forgottenSubjects: (request) => {
          if (!isHeld) return raw.forgottenSubjects(request)
          isHeld = false
          return Effect.andThen(
            Deferred.succeed(asked, undefined),
            Effect.andThen(Deferred.await(answer), raw.forgottenSubjects(request))
          )
        }
      }
      const processOn = (storage: typeof raw) =>
        Layer.build(
          Layer.fresh(services).pipe(
            Layer.provide(Layer.succeedContext(Context.add(below, EventStorage.EventStorage, storage)))
          )
        )
      const [here, there] = [yield* processOn(raw), yield* processOn(held)]
      const inTenant = Tenant.provide(yield* Tenant.generate)
      yield* EventStore.EventStore.use((store) =>
        store.append({
          aggregate: Customer,
          id: "ada",
          expectedVersion: "noStream",
          events: [Registered.make({ name: "Ada" })]
        })
      ).pipe(inTenant, Effect.provideContext(here))
      const read = Effect.map(Names.get, ({ state }) => state).pipe(inTenant, Effect.provideContext(there))
      assert.strictEqual(yield* read, "Ada")

      isHeld = true
      const first = yield* Effect.forkChild(read)
      yield* Deferred.await(asked)
      yield* Forgetting.Forgetting.use((forgetting) => forgetting.forget("ada", { reason: "request" })).pipe(
        Tenant.provideAdministration({ actor: "officer", reason: "test" }),
        inTenant,
        Effect.provideContext(here)
      )
      assert.strictEqual(yield* read, "forgotten")
      yield* Deferred.succeed(answer, undefined)
      assert.strictEqual(yield* Fiber.join(first), "forgotten")
    }).pipe(Effect.scoped)
  )
})
