/** A program that does everything that the library measures and traces, well and badly. */
import { Effect, Layer, Metric, References, Schedule, Schema, Stream } from "effect"
import { PrometheusMetrics } from "effect/observability"
import {
  Aggregate,
  DecisionModel,
  Decisions,
  Event,
  EventQuery,
  EventStorage,
  EventStore,
  Forgetting,
  HashChain,
  InMemoryProjection,
  KeyVault,
  OutboxRelay,
  Personal,
  Projection,
  ProjectionManager,
  ProjectionRunner,
  Reaction,
  Repository,
  SnapshotPolicy,
  Telemetry,
  Tenant,
  TenantArchive,
  TenantErasure,
  TenantMove,
  TenantQuota,
  TenantRegistry
} from "effect-eventsourcing"
import * as Canary from "../../src/testing/Canary.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import { makeWorld, program } from "./moving.ts"

const Placed = Schema.TaggedStruct("Placed", { total: Schema.Int })
const Gone = Schema.TaggedStruct("Gone", {})
const state = Schema.Struct({ total: Schema.Int })
const initial = { total: 0 }

export const Order = Aggregate.make(
  "Order",
  { id: Schema.String, state, initial, events: [Placed] },
  { Placed: ({ total }, event) => ({ total: total + event.total }) }
)

/** The same type as of a former release, with an event that the present one does not know. */
const Former = Aggregate.make(
  "Order",
  { id: Schema.String, state, initial, events: [Gone] },
  { Gone: (same) => same }
)

/** An aggregate whose snapshots fail: its policy throws. */
const Draft = Aggregate.make(
  "Draft",
  { id: Schema.String, state, initial, events: [Placed] },
  { Placed: ({ total }, event) => ({ total: total + event.total }) }
)

const Registered = Schema.TaggedStruct("Registered", {
  name: Personal.make(Schema.String, Personal.aggregateId)
})

const Customer = Aggregate.make(
  "Customer",
  { id: Schema.String, state: Schema.Int, initial: 0, events: [Registered] },
  { Registered: (count) => count + 1 }
)

const placed = (total: number) => Placed.make({ total })

/** Is in the id of an aggregate, which is a subject, and in personal data. */
export const person = Canary.make()

class Refused extends Schema.TaggedError<Refused>()("Refused", {}) {}

const totals = DecisionModel.make(
  { query: EventQuery.of(Order), initial: 0 },
  (sum: number, event) => sum + event.total
)

const store = EventStore.EventStore
const repository = Repository.Repository

const place = (id: string, total = 1) =>
  store.use((s) => s.append({ aggregate: Order, id, events: [placed(total)], expectedVersion: "any" }))

const order = (id: string, decide: () => ReadonlyArray<typeof Placed.Type> = () => [placed(1)]) =>
  repository.use((r) => r.execute(Order, id, decide))

const commands = Effect.gen(function* () {
  yield* order("1")
  yield* order("1")
  yield* Effect.ignore(repository.use((r) => r.execute(Order, "1", () => Effect.fail(new Refused()))))
  // Another append comes between a decision and its own append.
  let raced = false
  yield* repository.use((r) =>
    r.execute(Order, "1", () => {
      if (raced) return Effect.succeed([placed(2)])
      raced = true
      return Effect.as(place("1"), [placed(2)])
    })
  )
  const { eventId } = yield* repository.use((r) => r.load(Order, "1"))
  yield* repository
    .use((r) =>
      r.execute(Order, "7", () => [Event.make(placed(3), { eventId: eventId ?? Event.generateId() })])
    )
    .pipe(Effect.ignore)
  const twice = [Event.make(placed(3), { eventId: Event.generateId() })]
  const again = () => repository.use((r) => r.execute(Order, "8", () => twice))
  yield* again()
  yield* again()
  yield* store.use((s) => s.append({ aggregate: Order, id: "8", events: twice, expectedVersion: "any" }))
  yield* Effect.ignore(
    store.use((s) =>
      s.append({ aggregate: Order, id: "1", events: [placed(1)], expectedVersion: "noStream" })
    )
  )
  yield* Effect.all(
    Array.from({ length: 5 }, () => order("joined")),
    { concurrency: "unbounded" }
  )
  yield* repository.use((r) => r.execute(Order, "1", () => [placed(1)], { fresh: true }))
  yield* place("1")
  yield* order("1")
  yield* repository.use((r) => r.execute(Draft, "1", () => [placed(1)]))
  yield* repository.use((r) => r.execute(Draft, "2", () => [placed(1)]))
})

const loads = Effect.gen(function* () {
  yield* place("1")
  yield* repository.use((r) => r.load(Order, "1"))
  yield* repository.use((r) => r.load(Order, "1", { fresh: true }))
  yield* Effect.ignore(repository.use((r) => r.load(Order, "none")))
})

/** For a tenant of its own, because others cannot read its log. */
const former = Effect.gen(function* () {
  yield* store.use((s) =>
    s.append({ aggregate: Former, id: "former", events: [Gone.make({})], expectedVersion: "any" })
  )
  yield* repository.use((r) => r.load(Aggregate.tolerant(Order), "former"))
  yield* Effect.ignore(repository.use((r) => r.load(Order, "former")))
})

const decisions = Effect.gen(function* () {
  const { execute, read } = yield* Decisions.Decisions
  yield* read(totals)
  const twice = [Event.make(placed(3), { eventId: Event.generateId() })]
  for (let run = 0; run < 2; run++) yield* execute(totals, () => Decisions.to(Order, "9", ...twice))
  yield* Effect.ignore(execute(totals, () => Effect.fail(new Refused())))
})

const Totals = Projection.make(
  "totals",
  { aggregates: [Order], tables: ["totals"] },
  { Placed: () => Effect.void }
)

/** Fails at one total, and puts the event aside. */
const Picky = Projection.make(
  "picky",
  { aggregates: [Order], retry: Schedule.recurs(0), onFailure: "deadLetter" },
  { Placed: ({ total }) => (total === 13 ? Effect.fail(new Refused()) : Effect.void) }
)

const Parking = Projection.make(
  "parking",
  { aggregates: [Order], retry: Schedule.recurs(0) },
  { Placed: ({ total }) => (total === 13 ? Effect.fail(new Refused()) : Effect.void) }
)

const Notify = Reaction.make(
  "notify",
  { aggregates: [Order], startAt: "beginning", retry: Schedule.recurs(0), onFailure: "deadLetter" },
  { Placed: ({ total }) => (total === 13 ? Effect.fail(new Refused()) : Effect.void) }
)

const Relay = OutboxRelay.make("outbox", {
  aggregates: [Order],
  startAt: "beginning",
  retry: Schedule.recurs(0),
  onFailure: "deadLetter"
})

const Live = InMemoryProjection.make(
  "live",
  { aggregates: [Order], initial: () => 0 },
  { Placed: (sum) => sum + 1 }
)

const publisher = Layer.succeed(OutboxRelay.Publisher, {
  publish: ({ body }) =>
    body.includes('"total":13')
      ? Effect.fail(new OutboxRelay.PublishFailed({ reason: "refused" }))
      : Effect.void
})

const runner = ProjectionRunner.layer({
  projections: [Totals, Picky, Parking, Notify, Relay],
  concurrency: 0
}).pipe(Layer.provide(publisher))

const across = Tenant.provideAll({ actor: "operator", reason: "test" })
const administering = Tenant.provideAdministration({ actor: "operator", reason: "test" })

const projections = Effect.gen(function* () {
  const manager = yield* ProjectionManager.ProjectionManager
  const { drain } = yield* ProjectionRunner.ProjectionRunner
  yield* place("13", 13)
  yield* place("14", 14)
  for (let round = 0; round < 3; round++) yield* drain
  const position = yield* store.use((s) => s.position)
  yield* manager.awaitPosition(Totals, position)
  yield* Effect.ignore(manager.awaitPosition(Parking, position, { timeout: 1 }))
  yield* Effect.ignore(manager.replayDeadLetters(Picky))
  yield* manager.replayDeadLetters(Totals)
  const rebuilding = yield* Effect.forkChild(Stream.runDrain(manager.rebuild(Totals)))
  while (rebuilding.pollUnsafe() === undefined) {
    yield* Effect.yieldNow
    yield* drain
  }
  yield* Effect.ignore(Stream.runDrain(manager.rebuild(Parking)))
  yield* Live.awaitPosition(position)
})

const history = Effect.gen(function* () {
  const tenantId = yield* Tenant.CurrentTenant
  const { importEvents } = yield* store
  const event = () => Event.make(placed(1), { eventId: Event.generateId() })
  yield* importEvents(Stream.make({ aggregate: Order, id: "imported", events: [event()] }))
  yield* Effect.ignore(
    importEvents(
      Stream.make({ aggregate: Order, id: "imported", events: [event()], expectedVersion: "noStream" })
    )
  )
  yield* Effect.ignore(HashChain.verify())
  yield* HashChain.start
  yield* place("1")
  yield* HashChain.verify()
  const tar = yield* Stream.runCollect(TenantArchive.exportTar({ tenantId }))
  const copy = yield* Tenant.generate
  yield* TenantArchive.importTar(Stream.fromIterable(tar), { into: copy })
  yield* Effect.ignore(TenantArchive.importTar(Stream.make(new Uint8Array(3)), { into: copy }))
  yield* Effect.ignore(Stream.runDrain(TenantArchive.exportTar({ tenantId: yield* Tenant.generate })))
  const erasure = yield* TenantErasure.TenantErasure
  yield* Effect.ignore(erasure.finish(copy))
  yield* erasure.erase(copy)
}).pipe(administering)

const people = Effect.gen(function* () {
  const forgetting = yield* Forgetting.Forgetting
  yield* store.use((s) =>
    s.append({
      aggregate: Customer,
      id: person.in("subject"),
      events: [Registered.make({ name: person.in("name") })],
      expectedVersion: "any"
    })
  )
  yield* forgetting.forget(person.in("subject"), { reason: "test" })
  yield* Effect.ignore(forgetting.forget(person.in("subject"), { reason: "" }))
  yield* store.use((s) => Stream.runDrain(s.readStream({ aggregate: Customer, id: person.in("subject") })))
}).pipe(administering)

const quotas = Effect.gen(function* () {
  const tenantId = yield* Tenant.CurrentTenant
  const quota = yield* TenantQuota.TenantQuota
  yield* quota.set(tenantId, { events: 1 }).pipe(administering)
  yield* Effect.ignore(place("1"))
})

const moves = Effect.gen(function* () {
  const world = yield* makeWorld({ a: MemoryStorage.layer, b: MemoryStorage.layer })
  const tenantId = yield* Tenant.generate
  world.entries.set(tenantId, "a")
  yield* Effect.gen(function* () {
    yield* Effect.provide(place("1").pipe(Tenant.provide(tenantId)), Layer.fresh(EventStore.layer))
    const { resume, start } = yield* TenantMove.TenantMove
    yield* start(tenantId, { to: "b" })
    yield* Effect.ignore(resume(yield* Tenant.generate))
  }).pipe(administering, Effect.provide(Layer.fresh(program(world))))
})

const services = Layer.mergeAll(
  Repository.layerWith({
    remember: { entries: 2 },
    snapshots: {
      policy: SnapshotPolicy.every(1),
      taken: "atOnce",
      aggregates: [
        [
          Draft,
          () => {
            throw new Error("no policy")
          }
        ]
      ]
    }
  }),
  Decisions.layer,
  ProjectionManager.layer,
  TenantRegistry.layer,
  TenantQuota.layer,
  TenantErasure.layer,
  Live.layer
).pipe(Layer.provideMerge(EventStore.layer))

const sealed = Forgetting.layer.pipe(
  Layer.provide(KeyVault.layerMemory),
  Layer.provideMerge(MemoryStorage.layer)
)

/** Appends that take a turn of the event loop, so that commands wait for each other. */
const slow = Layer.effect(
  EventStorage.EventStorage,
  Effect.map(EventStorage.EventStorage, (driver) => ({
    ...driver,
    append: (request: EventStorage.AppendRequest) => Effect.andThen(Effect.yieldNow, driver.append(request))
  }))
)

/** Does everything on a storage in memory. Returns the metrics, which those of states in memory leave when the layers close. */
export const everything = (tenantId: Tenant.TenantId) =>
  Effect.gen(function* () {
    yield* TenantRegistry.TenantRegistry.use((registry) => registry.provision(tenantId))
    yield* commands
    yield* loads
    yield* former.pipe(Tenant.provide(yield* Tenant.generate))
    yield* decisions
    yield* projections
    yield* history
    yield* people
    yield* moves
    yield* quotas
    return {
      metrics: yield* Metric.snapshot,
      exposition: yield* PrometheusMetrics.format({ metricNameMapper: Telemetry.prometheusName })
    }
  }).pipe(
    Tenant.provide(tenantId),
    across,
    Effect.provide(
      Layer.fresh(
        runner.pipe(Layer.provideMerge(services), Layer.provideMerge(slow.pipe(Layer.provideMerge(sealed))))
      ),
      { local: true }
    ),
    Effect.provideService(Telemetry.MeasuredTenants, new Set([tenantId])),
    Effect.provide(Telemetry.layerMeasured, { local: true }),
    Effect.provideService(References.CurrentLoggers, new Set()),
    Effect.scoped
  )
