/**
 * An operator's evening: an alert says that a projection of one tenant stands still. The looks lead from the list of tenants to the
 * failed event and its cause, without the right to see any payload. When the cause is removed, an action lets the projection try
 * again. Everything is recorded with the operator and the reason, and the action with its outcome.
 *
 *     npx tsx examples/operations.ts
 */
import { Console, Effect, Layer, Schedule, Schema, Stream } from "effect"
import {
  Aggregate,
  EventContext,
  EventSourcing,
  MemoryStorage,
  Projection,
  ProjectionManager,
  ProjectionRunner,
  Repository,
  Tenant
} from "effect-eventsourcing"
import { Actions, Looks, Operations, PayloadGrant } from "effect-eventsourcing/operations"

const Opened = Schema.TaggedStruct("Opened", { owner: Schema.String })
const Deposited = Schema.TaggedStruct("Deposited", { amount: Schema.Int })

const Account = Aggregate.make(
  "Account",
  {
    id: Schema.String,
    state: Schema.Struct({ owner: Schema.String, balance: Schema.Int }),
    initial: { owner: "", balance: 0 },
    events: [Opened, Deposited]
  },
  {
    Opened: (state, { owner }) => ({ ...state, owner }),
    Deposited: (state, { amount }) => ({ ...state, balance: state.balance + amount })
  }
)

class UnknownCurrency extends Schema.TaggedError<UnknownCurrency>()("UnknownCurrency", {}) {}

let limit = 100

/** It fails at deposits of more than the limit. */
const Reports = Projection.make(
  "reports",
  { aggregates: [Account], retry: Schedule.recurs(0) },
  { Deposited: ({ amount }) => (amount > limit ? Effect.fail(new UnknownCurrency()) : Effect.void) }
)

const App = Layer.mergeAll(
  Operations.layer({ aggregates: [Account], projections: [Reports] }),
  Actions.layer({ projections: [Reports] })
).pipe(
  Layer.provideMerge(ProjectionRunner.layer({ projections: [Reports] })),
  Layer.provideMerge(EventSourcing.layer),
  Layer.provideMerge(MemoryStorage.layer)
)

const asOperator = Tenant.provideAdministration({ actor: "ada", reason: "alert: a projection is parked" })

const onCall = Effect.gen(function* () {
  const operations = yield* Operations.Operations
  const { tenants } = yield* operations
    .tenants({ order: "distance", limit: 10 })
    .pipe(Tenant.provideAll({ actor: "ada", reason: "alert: a projection is parked" }))
  const [worst] = tenants
  if (worst === undefined) return
  yield* Console.log(`${worst.slowest?.projection} is ${worst.slowest?.distance} events behind`)

  yield* Effect.gen(function* () {
    const [projection] = yield* operations.projections
    yield* Console.log(
      `${projection?.projection} is ${projection?.state} at ${projection?.failedPosition}: ${projection?.error}`
    )
    const { events } = yield* operations.log({ direction: "backwards", limit: 1 })
    yield* Console.log("the last event, masked:", JSON.stringify(events[0]?.stored))
    const graph = yield* operations.trace({ correlationId: "request-17" })
    yield* Console.log(`the request has ${graph.nodes.length} events`)
    const masked = yield* operations.state({ aggregateType: "Account", aggregateId: "1" })
    yield* Console.log("its state, masked:", JSON.stringify(masked.state))
    const full = yield* operations
      .state({ aggregateType: "Account", aggregateId: "1", version: 2 })
      .pipe(PayloadGrant.provide("full"))
    yield* Console.log("the step to version 2:", JSON.stringify(full.difference))
    // as an HTTP API sends it
    const json = yield* Schema.encodeEffect(Looks.StateView)(full)
    yield* Console.log(JSON.stringify(json.state))
    const live = operations.tail({ after: 0 }).pipe(Stream.take(2), Stream.runCollect)
    yield* Console.log(`live: ${(yield* live).map(({ eventType }) => eventType).join()}`)
  }).pipe(Tenant.provide(worst.tenantId), asOperator)

  // the cause is removed
  limit = 1000
  yield* Effect.gen(function* () {
    const actions = yield* Actions.Actions
    const { counts } = yield* actions.resumeProjections({ projection: "reports", dryRun: true })
    yield* Console.log(`${counts.projections} projection would try again`)
    yield* actions.resumeProjections({ projection: "reports" })
    yield* ProjectionManager.ProjectionManager.use((projections) => projections.awaitPosition(Reports, 3))
    const [projection] = yield* operations.projections
    yield* Console.log(`${projection?.projection} is ${projection?.state}`)
  }).pipe(Tenant.provide(worst.tenantId), asOperator)

  const { accesses } = yield* operations
    .accesses({ actor: "ada" })
    .pipe(Tenant.provideAll({ actor: "auditor", reason: "review" }))
  for (const { operation, outcome, parameters } of accesses)
    yield* outcome === null
      ? Console.log(operation.split(" ")[0])
      : Console.log(operation.split(" ")[0], JSON.stringify(parameters), outcome.status)
})

const shop = Tenant.fromName("0b7d1c7e-3c0e-4f4b-9d0a-6f3f4c1d2a5e", "shop")

const program = Effect.gen(function* () {
  const repository = yield* Repository.Repository
  yield* repository
    .execute(Account, "1", () => [
      Opened.make({ owner: "Zoë" }),
      Deposited.make({ amount: 20 }),
      Deposited.make({ amount: 200 })
    ])
    .pipe(EventContext.provide({ actor: "web", correlationId: "request-17" }), Tenant.provide(shop))
  const projections = yield* ProjectionManager.ProjectionManager
  yield* Effect.flip(projections.awaitPosition(Reports, 3)).pipe(Tenant.provide(shop))
  yield* onCall
})

await Effect.runPromise(Effect.provide(program, App))
