/** Nothing comes of what a process remembers of a person once the person was forgotten in another process. */
import { assert, layer as withLayer } from "@effect/vitest"
import { Context, Deferred, Effect, Fiber, Layer, Metric, Result, Schema, Stream } from "effect"
import {
  type AdministrationStorage,
  Aggregate,
  DecisionModel,
  Decisions,
  EventQuery,
  EventStorage,
  EventStore,
  Forgetting,
  InMemoryProjection,
  KeyVault,
  Personal,
  Repository,
  SnapshotPolicy,
  SnapshotStorage,
  Telemetry,
  Tenant
} from "effect-eventsourcing"
import { newTenant } from "../../src/testing/driver/eventKit.ts"
import { flipped } from "../../src/testing/failures.ts"
import { backends } from "../support/backends.ts"

const Registered = Schema.TaggedStruct("Registered", {
  name: Personal.make(Schema.String, Personal.aggregateId)
})
const Greeted = Schema.TaggedStruct("Greeted", { as: Schema.Literals(["known", "forgotten"]) })
const initial: { readonly name: string; readonly greeted: number } = { name: "", greeted: 0 }
const State = Schema.Struct({ name: Schema.String, greeted: Schema.Int })
type State = typeof initial

const shown = (name: string | Personal.Forgotten): string => Personal.getOrElse(name, () => "forgotten")

const Customer = Aggregate.make(
  "Customer",
  { id: Schema.String, state: State, initial, events: [Registered, Greeted] },
  {
    Registered: (state: State, { name }): State => ({ ...state, name: shown(name) }),
    Greeted: (state: State): State => ({ ...state, greeted: state.greeted + 1 })
  }
)

const names = DecisionModel.make({ query: EventQuery.of(Customer), initial: "" }, (state: string, event) =>
  event._tag === "Registered" ? shown(event.name) : state
)

const Names = InMemoryProjection.make(
  "names",
  { aggregates: [Customer], initial: () => "", forgotten: (state: string) => state },
  { Registered: (_state, { name }) => shown(name) }
)

type Storages =
  | AdministrationStorage.AdministrationStorage
  | EventStorage.EventStorage
  | SnapshotStorage.SnapshotStorage

const services = Layer.mergeAll(
  Repository.layerWith({ snapshots: { policy: SnapshotPolicy.every(1), taken: "atOnce" } }),
  Decisions.layer,
  Names.layer
).pipe(Layer.provideMerge(EventStore.layer), Layer.provideMerge(Forgetting.layer))

const greet = (name: string) => [Greeted.make({ as: name === "Ada" ? "known" : "forgotten" })]

const id = "ada"
const answered = Effect.map(
  Effect.all([
    Repository.Repository.use((repository) => repository.load(Customer, id)),
    Repository.Repository.use((repository) => repository.execute(Customer, id, () => []))
  ]),
  (all) => all.map(({ state }) => state.name)
)

/** The greetings of the customer. */
const greetings = Repository.Repository.use((repository) =>
  repository.load(Customer, id, { fresh: true })
).pipe(
  Effect.andThen(
    EventStore.EventStore.use((store) =>
      Stream.runCollect(store.readStream({ aggregate: Customer, id })).pipe(
        Effect.map((events) =>
          events.flatMap(({ payload }) => (payload._tag === "Greeted" ? [payload.as] : []))
        )
      )
    )
  )
)

const executeWith = <D extends Repository.Decision<typeof Registered.Type | typeof Greeted.Type, unknown>>(
  decide: (state: State) => D
) => Repository.Repository.use((repository) => repository.execute(Customer, id, decide))

type Deciding = Repository.Repository | Decisions.Decisions | Tenant.CurrentTenant

/** Commands with and without events, and the name in the state behind them. */
const deciders: Record<string, (greets: boolean) => Effect.Effect<string, unknown, Deciding>> = {
  commands: (greets) =>
    Effect.map(
      executeWith(({ name }) => (greets ? greet(name) : [])),
      ({ state }) => state.name
    ),
  decisions: (greets) =>
    Effect.map(
      Decisions.Decisions.use((decisions) =>
        decisions.execute(names, (name) => Decisions.to(Customer, id, ...(greets ? greet(name) : [])))
      ),
      ({ state }) => state
    )
}

for (const backend of backends.filter(({ name }) => name !== "PGlite")) {
  withLayer(backend.layer, { excludeTestServices: true })(`what is remembered, on ${backend.name}`, (it) => {
    /** Two processes on one storage and one vault. The second one remembers a customer, and may have to wait behind its appends. */
    const setUp = Effect.gen(function* () {
      const storages = yield* Effect.context<Storages>()
      const vault = yield* Layer.build(Layer.fresh(KeyVault.layerMemory))
      const raw = Context.get(storages, EventStorage.EventStorage)
      let ahead: Effect.Effect<unknown> = Effect.void
      let behind: Effect.Effect<unknown> = Effect.void
      const held: typeof raw = {
        ...raw,
        append: (request) =>
          Effect.suspend(() => Effect.andThen(ahead, raw.append(request))).pipe(Effect.tap(() => behind))
      }
      const processOn = (storage: typeof raw, keys = vault) =>
        Layer.build(
          Layer.fresh(services).pipe(
            Layer.provide(Layer.succeedContext(Context.add(storages, EventStorage.EventStorage, storage))),
            Layer.provide(Layer.succeedContext(keys))
          )
        )
      const here = yield* processOn(raw)
      const there = yield* processOn(held)
      const tenant = newTenant()
      const inHere = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
        effect.pipe(Tenant.provide(tenant), Effect.provideContext(here))
      const inThere = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
        effect.pipe(Tenant.provide(tenant), Effect.provideContext(there))
      const forget = Effect.andThen(
        Forgetting.Forgetting.use((forgetting) => forgetting.forget(id, { reason: "request" })).pipe(
          Tenant.provideAdministration({ actor: "officer", reason: "test" }),
          Tenant.provide(tenant),
          Effect.provideContext(here)
        ),
        Effect.void
      )
      yield* inThere(executeWith(() => [Registered.make({ name: "Ada" })]))
      yield* inThere(executeWith(({ name }) => greet(name)))
      assert.deepStrictEqual(yield* inThere(answered), ["Ada", "Ada"])
      const snapshots = Context.get(storages, SnapshotStorage.SnapshotStorage)
      const snapshot = yield* snapshots.load({ tenantId: tenant, aggregateType: "Customer", aggregateId: id })
      assert.strictEqual(snapshot?.version, 2)
      assert.notInclude(snapshot?.state, "Ada")
      return {
        forget,
        inHere,
        inThere,
        /** In a process that remembers nothing, whose keys come late. */
        inNew: (late: Effect.Effect<unknown>) => {
          const keys = Context.get(vault, KeyVault.KeyVault)
          const slow: typeof keys = {
            ...keys,
            keysOf: (request) => Effect.tap(keys.keysOf(request), () => late)
          }
          return Effect.map(
            processOn(raw, Context.make(KeyVault.KeyVault, slow)),
            (process) =>
              <A, E, R>(effect: Effect.Effect<A, E, R>) =>
                effect.pipe(Tenant.provide(tenant), Effect.provideContext(process))
          )
        },
        hold: (wait: Effect.Effect<unknown>, before: Effect.Effect<unknown> = Effect.void) => {
          behind = wait
          ahead = before
        }
      }
    })

    it.effect("a remembered state is loaded anew", () =>
      Effect.gen(function* () {
        const { forget, inThere } = yield* setUp
        yield* forget
        const loaded = yield* inThere(
          Repository.Repository.use((repository) => repository.load(Customer, id))
        )
        assert.deepStrictEqual(loaded.state, { name: "forgotten", greeted: 1 })
        assert.deepStrictEqual(yield* inThere(answered), ["forgotten", "forgotten"])
      }).pipe(Effect.scoped)
    )

    it.effect("a state of an earlier number is not remembered", () =>
      Effect.gen(function* () {
        const { forget, inThere } = yield* setUp
        const misses = Effect.map(
          Metric.value(
            Metric.withAttributes(Telemetry.rememberedMisses, { aggregate: "Customer", reason: "forgotten" })
          ),
          ({ count }) => count
        )
        yield* forget
        // reads sealed data, from which the process learns the number
        yield* inThere(Decisions.Decisions.use((decisions) => decisions.read(names)))
        const before = yield* misses
        assert.deepStrictEqual(yield* inThere(answered), ["forgotten", "forgotten"])
        assert.strictEqual((yield* misses) - before, 1)
      }).pipe(Effect.scoped)
    )

    it.effect("a command without events is decided anew", () =>
      Effect.gen(function* () {
        const { forget, inThere } = yield* setUp
        yield* forget
        assert.deepInclude(yield* inThere(executeWith(() => [])), {
          state: { name: "forgotten", greeted: 1 }
        })
      }).pipe(Effect.scoped)
    )

    it.effect("a command that joins others, whose load began before, is decided anew", () =>
      Effect.gen(function* () {
        const { forget, inNew } = yield* setUp
        const begun = yield* Deferred.make<void>()
        const opened = yield* Deferred.make<void>()
        const run = yield* inNew(Effect.andThen(Deferred.succeed(begun, undefined), Deferred.await(opened)))
        const first = yield* Effect.forkChild(run(executeWith(() => [])))
        yield* Deferred.await(begun)
        yield* forget
        const unchanged = Effect.map(
          executeWith(() => []),
          ({ state }) => state.name
        )
        const refused = Effect.flip(executeWith(({ name }) => Result.fail(name)))
        const later = yield* Effect.forEach([unchanged, refused], (command) =>
          Effect.forkChild(run<unknown, unknown, Repository.Repository | Tenant.CurrentTenant>(command), {
            startImmediately: true
          })
        )
        yield* Deferred.succeed(opened, undefined)
        yield* Fiber.join(first)
        assert.deepStrictEqual(yield* Effect.forEach(later, Fiber.join), ["forgotten", "forgotten"])
      }).pipe(Effect.scoped)
    )

    it.effect("a command that is refused is decided anew", () =>
      Effect.gen(function* () {
        const { forget, inThere } = yield* setUp
        yield* forget
        const error = yield* flipped(inThere(executeWith(({ name }) => Result.fail(`no ${name}`))))
        assert.deepStrictEqual<unknown>(error, "no forgotten")
      }).pipe(Effect.scoped)
    )

    it.effect("a command with an effect is decided anew", () =>
      Effect.gen(function* () {
        const { forget, inThere } = yield* setUp
        yield* forget
        yield* inThere(executeWith(({ name }) => Effect.sync(() => greet(name))))
        assert.deepStrictEqual(yield* inThere(greetings), ["known", "forgotten"])
      }).pipe(Effect.scoped)
    )

    it.effect("a command with events is decided anew", () =>
      Effect.gen(function* () {
        const { forget, inThere } = yield* setUp
        yield* forget
        const { state } = yield* inThere(executeWith(({ name }) => greet(name)))
        assert.deepStrictEqual(state, { name: "forgotten", greeted: 2 })
        assert.deepStrictEqual(yield* inThere(greetings), ["known", "forgotten"])
      }).pipe(Effect.scoped)
    )

    it.effect("a command is decided anew, if others have appended to the stream as well", () =>
      Effect.gen(function* () {
        const { forget, inHere, inThere } = yield* setUp
        yield* forget
        yield* inHere(executeWith(({ name }) => greet(name)))
        const { state } = yield* inThere(executeWith(({ name, greeted }) => (greeted > 1 ? [] : greet(name))))
        assert.deepStrictEqual(state, { name: "forgotten", greeted: 2 })
        assert.deepStrictEqual(yield* inThere(answered), ["forgotten", "forgotten"])
      }).pipe(Effect.scoped)
    )

    it.effect("decisions and a projection in memory see nothing of the person", () =>
      Effect.gen(function* () {
        const { forget, inThere } = yield* setUp
        assert.strictEqual((yield* inThere(Names.get)).state, "Ada")
        yield* forget
        assert.strictEqual((yield* inThere(Names.get)).state, "forgotten")
        const decided = yield* inThere(
          Decisions.Decisions.use((decisions) =>
            decisions.execute(names, (name) => Decisions.to(Customer, id, ...greet(name)))
          )
        )
        assert.strictEqual(decided.state, "forgotten")
        const read = yield* inThere(Names.awaitPosition(decided.position))
        assert.strictEqual(read.state, "forgotten")
      }).pipe(Effect.scoped)
    )

    for (const [kind, run] of Object.entries(deciders)) {
      it.effect(`${kind} that wait for another one see nothing of the person`, () =>
        Effect.gen(function* () {
          const { forget, hold, inThere } = yield* setUp
          const stored = yield* Deferred.make<void>()
          const answer = yield* Deferred.make<void>()
          hold(Effect.andThen(Deferred.succeed(stored, undefined), Deferred.await(answer)))
          const first = yield* Effect.forkChild(inThere(run(true)))
          yield* Deferred.await(stored)
          yield* forget
          hold(Effect.void)
          const others = yield* Effect.forEach(Array.from({ length: 32 }), (_, n) =>
            Effect.forkChild(inThere(run(n % 2 === 1)), { startImmediately: true })
          )
          yield* Deferred.succeed(answer, undefined)
          yield* Fiber.join(first)
          const seen = yield* Effect.forEach(others, Fiber.join)
          assert.deepStrictEqual(new Set(seen), new Set(["forgotten"]))
          assert.deepStrictEqual(yield* inThere(greetings), [
            "known",
            "known",
            ...Array.from({ length: 16 }, () => "forgotten" as const)
          ])
        }).pipe(Effect.scoped)
      )

      it.effect(`${kind} that are decided together are decided anew`, () =>
        Effect.gen(function* () {
          const { forget, hold, inThere } = yield* setUp
          const stored = yield* Deferred.make<void>()
          const answer = yield* Deferred.make<void>()
          const decided = yield* Deferred.make<void>()
          const send = yield* Deferred.make<void>()
          hold(Effect.andThen(Deferred.succeed(stored, undefined), Deferred.await(answer)))
          const first = yield* Effect.forkChild(inThere(run(true)))
          yield* Deferred.await(stored)
          const others = yield* Effect.forEach(Array.from({ length: 32 }), () =>
            Effect.forkChild(inThere(run(true)), { startImmediately: true })
          )
          hold(Effect.void, Effect.andThen(Deferred.succeed(decided, undefined), Deferred.await(send)))
          yield* Deferred.succeed(answer, undefined)
          yield* Fiber.join(first)
          yield* Deferred.await(decided)
          yield* forget
          yield* Deferred.succeed(send, undefined)
          const seen = yield* Effect.forEach(others, Fiber.join)
          assert.deepStrictEqual(new Set(seen), new Set(["forgotten"]))
          const all = yield* inThere(greetings)
          assert.deepStrictEqual(all.slice(0, 2), ["known", "known"])
          assert.deepStrictEqual(
            all.slice(2),
            Array.from({ length: 32 }, () => "forgotten" as const)
          )
        }).pipe(Effect.scoped)
      )
    }
  })
}
