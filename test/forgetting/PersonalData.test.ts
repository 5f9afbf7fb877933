/** Shows the personal data of a person, and finds events by personal data. */
import { assert, describe, it, layer as withLayer } from "@effect/vitest"
import { Effect, Layer, Ref, Schema, Stream } from "effect"
import {
  Aggregate,
  BlindIndex,
  Event,
  EventJson,
  EventQuery,
  EventStore,
  Forgetting,
  KeyVault,
  Personal,
  PersonalData,
  StoreError,
  Tenant,
  Upcaster
} from "effect-eventsourcing"
import { backends } from "../support/backends.ts"

const personName = Personal.make(Schema.String, "id")
const RegisteredV1 = Schema.TaggedStruct("Registered", { id: Schema.String, name: personName })
const Registered = Schema.TaggedStruct("Registered", {
  id: Schema.String,
  full: personName,
  guests: Schema.Array(Schema.Struct({ id: Schema.String, name: personName }))
})
const Moved = Schema.TaggedStruct("Moved", {
  address: Personal.make(Schema.Struct({ town: Schema.String }), Personal.aggregateId)
})
const Customer = Aggregate.make(
  "Customer",
  {
    id: Schema.String,
    state: Schema.Null,
    initial: null,
    events: [Registered, Moved],
    upcasters: [
      Upcaster.from(RegisteredV1).to(Registered, ({ id, name }) =>
        Registered.make({ id, full: name, guests: [] })
      )
    ]
  },
  () => null
)
const Ordered = Schema.TaggedStruct("Ordered", {
  total: Schema.Int,
  note: Schema.optionalKey(Personal.make(Schema.String, Personal.aggregateId))
})
const Order = Aggregate.make(
  "Order",
  { id: Schema.String, state: Schema.Null, initial: null, events: [Ordered] },
  () => null
)
const aggregates = [Customer, Order]

const append = <Type extends string, State, Payload extends Event.Tagged>(
  aggregate: Aggregate.Aggregate<Type, State, Payload, string>,
  id: string,
  ...events: ReadonlyArray<Event.Appendable<Payload>>
) => EventStore.EventStore.use((store) => store.append({ aggregate, id, expectedVersion: "any", events }))

const known = (subject: string) =>
  Stream.runCollect(PersonalData.read({ aggregates, subject })).pipe(
    Effect.map((entries) => entries.map(({ path, position, value }) => [position, path.join("."), value]))
  )

// The SQL is the same on PGlite, which takes long to start.
for (const { layer, name } of backends.filter((backend) => backend.name !== "PGlite")) {
  const services = Layer.mergeAll(EventStore.layer, BlindIndex.layer).pipe(
    Layer.provideMerge(Forgetting.layer),
    Layer.provideMerge(KeyVault.layerMemory),
    Layer.provideMerge(layer)
  )

  withLayer(services, { excludeTestServices: true })(`on ${name}`, (it) => {
    it.effect("everything that is known of a person is shown, and nothing of others", () =>
      Effect.gen(function* () {
        const ours = yield* Tenant.generate
        yield* Effect.gen(function* () {
          const store = yield* EventStore.EventStore
          const json: EventJson.NewEvent = {
            aggregateType: "Customer",
            aggregateId: "c-1",
            eventType: "Registered",
            schemaVersion: 1,
            payload: { id: "c-1", name: "Ada" }
          }
          yield* store.appendJson({ aggregates, events: [json] })
          const guests = [
            { id: "c-1", name: "Ada L." },
            { id: "c-3", name: "Cleo" }
          ]
          yield* append(Customer, "c-2", Registered.make({ id: "c-2", full: "Bo", guests }))
          yield* append(
            Order,
            "c-1",
            Ordered.make({ total: 1 }),
            Ordered.make({ total: 2, note: "ring twice" })
          )
          yield* append(Customer, "c-1", Moved.make({ address: { town: "Rome" } }))
          yield* append(Customer, "c-1", Moved.make({ address: Personal.forgotten }))
          assert.deepStrictEqual(yield* known("c-1"), [
            [1, "name", "Ada"],
            [2, "guests.0.name", "Ada L."],
            [4, "note", "ring twice"],
            [5, "address", { town: "Rome" }]
          ])
          assert.deepStrictEqual(yield* known("c-3"), [[2, "guests.1.name", "Cleo"]])
          assert.deepStrictEqual(yield* known("c-4"), [])
        }).pipe(Tenant.provide(ours))
        assert.deepStrictEqual(yield* known("c-1").pipe(Tenant.provide(yield* Tenant.generate)), [])
      })
    )

    it.effect("entries can be handed over as JSON", () =>
      Effect.gen(function* () {
        yield* append(Customer, "c-1", Moved.make({ address: { town: "Rome" } }))
        const entries = yield* Stream.runCollect(PersonalData.read({ aggregates, subject: "c-1" }))
        const [json] = yield* Effect.forEach(entries, (entry) =>
          Schema.encodeEffect(PersonalData.Entry)(entry)
        )
        assert.deepInclude(JSON.parse(JSON.stringify(json)), {
          aggregateType: "Customer",
          eventType: "Moved",
          path: ["address"],
          value: { town: "Rome" }
        })
        assert.match(json?.recordedAt ?? "", /^\d{4}-\d\d-\d\dT.*Z$/)
        assert.deepStrictEqual(yield* Schema.decodeEffect(PersonalData.Entry)(json as never), entries[0])
      }).pipe((effect) => Effect.flatMap(Tenant.generate, (id) => Tenant.provide(id)(effect)))
    )

    it.effect("a customer is found by an e-mail address, which the storage does not have", () =>
      Effect.gen(function* () {
        const { tag } = yield* BlindIndex.BlindIndex
        const [ours, theirs] = [yield* Tenant.generate, yield* Tenant.generate]
        const mine = yield* tag("email", "ada@example.org").pipe(Tenant.provide(ours))
        assert.match(mine, /^email:[\w-]{43}$/)
        const again = yield* tag("email", "ada@example.org").pipe(Tenant.provide(ours))
        assert.strictEqual(again, mine)
        const others = [
          yield* tag("email", "bo@example.org").pipe(Tenant.provide(ours)),
          yield* tag("login", "ada@example.org").pipe(Tenant.provide(ours)),
          yield* tag("email", "ada@example.org").pipe(Tenant.provide(theirs))
        ]
        assert.strictEqual(new Set([mine, ...others].map((text) => text.split(":")[1])).size, 4)

        yield* append(
          Customer,
          "c-1",
          Event.make(Registered.make({ id: "c-1", full: "Ada", guests: [] }), { tags: [mine] })
        ).pipe(Tenant.provide(ours))
        yield* append(Customer, "c-2", Registered.make({ id: "c-2", full: "Bo", guests: [] })).pipe(
          Tenant.provide(ours)
        )
        const store = yield* EventStore.EventStore
        const found = yield* Stream.runCollect(
          store.readLog({
            aggregates: [Customer],
            query: EventQuery.of(Customer, { tags: [mine] })
          })
        ).pipe(Tenant.provide(ours))
        assert.deepStrictEqual(
          found.map(({ aggregateId }) => aggregateId),
          ["c-1"]
        )
      })
    )
  })
}

describe("a blind index", () => {
  it.effect("asks a vault again that did not answer", () =>
    Effect.gen(function* () {
      const vault = yield* KeyVault.KeyVault
      const answers = yield* Ref.make(false)
      const failure = new StoreError.StorageUnavailable({
        reason: new StoreError.OtherFailure({ operation: "ask the vault", code: null, retryable: true })
      })
      const flaky = Layer.succeed(KeyVault.KeyVault, {
        ...vault,
        tenantKey: (request) =>
          Effect.flatMap(Ref.get(answers), (does) => (does ? vault.tenantKey(request) : Effect.fail(failure)))
      })
      yield* Effect.gen(function* () {
        const { tag } = yield* BlindIndex.BlindIndex
        const one = tag("email", "ada@example.org").pipe(Tenant.provide(yield* Tenant.generate))
        assert.strictEqual(yield* Effect.flip(one), failure)
        yield* Ref.set(answers, true)
        assert.isString(yield* one)
      }).pipe(Effect.provide(BlindIndex.layer.pipe(Layer.provide(flaky))))
    }).pipe(Effect.provide(KeyVault.layerMemory))
  )

  it.effect("has a name of 1 to 200 characters", () =>
    Effect.gen(function* () {
      const { tag } = yield* BlindIndex.BlindIndex
      for (const wrong of ["", "x".repeat(201)]) {
        const exit = yield* Effect.exit(tag(wrong, "x").pipe(Tenant.provide(yield* Tenant.generate)))
        assert.include(String(exit), "the name of a blind index must have 1 to 200 characters")
      }
    }).pipe(Effect.provide(BlindIndex.layer.pipe(Layer.provide(KeyVault.layerMemory))))
  )
})
