// @effect-diagnostics floatingEffect:off -- types alone are tested here
import { type Arbitrary, Context, Effect, Layer, Result, Schema } from "effect"
import { Aggregate, MemoryStorage, Repository, Tenant } from "effect-eventsourcing"
import { Arbitraries, Laws, ProjectionKit, Scenario, TenantScenario } from "effect-eventsourcing/testing"
import { describe, expectTypeOf, test } from "vitest"

const Opened = Schema.TaggedStruct("Opened", { owner: Schema.String })
const Closed = Schema.TaggedStruct("Closed", {})
const State = Schema.Struct({ status: Schema.Literals(["none", "open", "closed"]) })
const Door = Aggregate.make(
  "Door",
  { state: State, initial: { status: "none" }, events: [Opened, Closed] },
  { Opened: () => ({ status: "open" }), Closed: () => ({ status: "closed" }) }
)
type State = typeof State.Type

class Locked extends Schema.TaggedError<Locked>()("Locked", { key: Schema.String }) {}
class Stuck extends Schema.TaggedError<Stuck>()("Stuck", {}) {}
class Key extends Context.Service<Key, string>()("Key") {}

const open = (owner: string) => (state: State) =>
  state.status === "none" ? Result.succeed([Opened.make({ owner })]) : Result.fail(new Locked({ key: "a" }))
const close = () => Effect.flatMap(Key, () => Effect.fail(new Stuck())).pipe(Effect.as([Closed.make({})]))
const done = () => [Closed.make({})]

describe("a scenario", () => {
  const given = Scenario.given(Door, Opened.make({ owner: "Ada" }))

  test("accepts only events, states and errors of the aggregate and its decision", () => {
    given.when(open("Ada")).thenEvents(Opened.make({ owner: "Ada" }), { _tag: "Closed" })
    given
      .when(open("Ada"))
      .thenError(new Locked({ key: "a" }))
      .thenErrorTag("Locked")
    given.when(open("Ada")).thenState({ status: "closed" })
    // @ts-expect-error not an event of the aggregate
    given.when(open("Ada")).thenEvents({ _tag: "Painted" })
    // @ts-expect-error not an error of the decision
    given.when(open("Ada")).thenError(new Stuck())
    // @ts-expect-error not an error of the decision
    given.when(open("Ada")).thenErrorTag("Stuck")
    // @ts-expect-error the decision does not fail
    given.when(done).thenError(new Stuck())
    // @ts-expect-error not a state of the aggregate
    given.when(open("Ada")).thenState({ status: "painted" })
    // @ts-expect-error not an event of the aggregate
    Scenario.given(Door, { _tag: "Painted" })
    // @ts-expect-error not a decision on the aggregate's state
    given.when((state: string) => [{ _tag: "Opened", owner: state }])
    // @ts-expect-error not a decision for the aggregate's events
    given.when(() => [{ _tag: "Painted" }])
  })

  test("has the requirements of its decisions", () => {
    expectTypeOf<
      Effect.Services<ReturnType<typeof given.when<ReturnType<typeof close>>>>
    >().toEqualTypeOf<Key>()
    const then = given.when(done).when(close).when(done).thenState({ status: "closed" })
    expectTypeOf<Effect.Services<typeof then>>().toEqualTypeOf<Key>()
    expectTypeOf<Effect.Error<typeof then>>().toEqualTypeOf<never>()
    const outcome = given.when(open("Ada")).outcome
    expectTypeOf(outcome).toEqualTypeOf<
      Effect.Effect<Scenario.Outcome<State, typeof Opened.Type | typeof Closed.Type>, Locked>
    >()
  })
})

describe("laws and arbitraries", () => {
  test("accept only decisions of the aggregate without requirements", () => {
    const decisions = { open: Arbitraries.decision(Schema.String, open), done }
    void (() => Laws.aggregate(Door, { decisions, idempotent: ["open"] }))
    // @ts-expect-error not one of the decisions
    void (() => Laws.aggregate(Door, { decisions, idempotent: ["shut"] }))
    // @ts-expect-error requires a key
    void (() => Laws.aggregate(Door, { decisions: { close } }))
    // @ts-expect-error without decisions, none can be idempotent
    void (() => Laws.aggregate(Door, { idempotent: ["open"] }))
    // @ts-expect-error not events of the aggregate
    void (() => Laws.aggregate(Door, { decisions: { paint: () => [{ _tag: "Painted" }] } }))
    // @ts-expect-error not the input of the decision
    Arbitraries.decision(Schema.Int, open)
    expectTypeOf(Laws.foldIsTotal(Door)).toEqualTypeOf<Effect.Effect<void, Laws.LawBroken>>()
    expectTypeOf(Arbitraries.history(Door, decisions)).toEqualTypeOf<
      Arbitrary.Arbitrary<Arbitraries.History<State, typeof Opened.Type | typeof Closed.Type>>
    >()
  })
})

describe("a scenario of two tenants", () => {
  const command = Repository.Repository.use((repository) =>
    repository.loadOrInitial(Door, crypto.randomUUID())
  )
  const withKey = Effect.andThen(command, Key)

  test("requires no tenant and no store, and shows all other requirements", () => {
    const alone = TenantScenario.isolated({ commands: { command }, observe: { command } })
    expectTypeOf(alone).toEqualTypeOf<Effect.Effect<void>>()
    const missing = TenantScenario.isolated({ commands: { withKey } })
    expectTypeOf<Effect.Services<typeof missing>>().toEqualTypeOf<Key>()
    const layer = Layer.merge(TenantScenario.layer(MemoryStorage.layer), Layer.succeed(Key, "a"))
    expectTypeOf(TenantScenario.isolated({ commands: { withKey }, layer })).toEqualTypeOf<
      Effect.Effect<void>
    >()
    const storeless = TenantScenario.isolated({ commands: { command }, layer: Layer.succeed(Key, "a") })
    expectTypeOf<Effect.Services<typeof storeless>>().toEqualTypeOf<Repository.Repository>()
  })
})

describe("a scenario of a projection", () => {
  test("reads without a tenant", () => {
    const read = Effect.map(Tenant.CurrentTenant, (tenant) => tenant.length)
    const expected = ProjectionKit.expect(Tenant.untenanted, read, 36)
    expectTypeOf<Effect.Services<typeof expected>>().toEqualTypeOf<never>()
    // @ts-expect-error not the type of the read rows
    ProjectionKit.expect(Tenant.untenanted, read, "36")
  })
})
