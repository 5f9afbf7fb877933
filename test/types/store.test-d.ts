import { Context, Effect, Result, Schema, type Stream } from "effect"
import { type Aggregate, Event, type EventStore, type Repository } from "effect-eventsourcing"
import { describe, expectTypeOf, test } from "vitest"
import {
  Account,
  type Closed,
  deposited,
  type Deposited,
  Note,
  opened,
  type Opened,
  written
} from "../support/bank.ts"
import * as AggregateModule from "../../src/domain/Aggregate.ts"

declare const store: EventStore.EventStore["Service"]
declare const repository: Repository.Repository["Service"]

type AccountEvent = typeof Opened.Type | typeof Deposited.Type | Closed
type State = Aggregate.StateOf<typeof Account>
type Item<S> = S extends Stream.Stream<infer A, infer _E, infer _R> ? A : never

const Moved = Schema.TaggedStruct("Moved", { to: Schema.Union([Schema.String, Schema.Int]) })
const Left = Schema.TaggedStruct("Left", {})
const Guest = AggregateModule.make(
  "Guest",
  { id: Schema.String, state: Schema.Null, initial: null, events: [Moved, Left] },
  (s) => s
)

const stream = { aggregate: Account, id: "1", expectedVersion: "any" } as const
const event = Event.make(deposited(1), { actor: "ada" })

describe("an append", () => {
  test("accepts the aggregate's events, plain or with options, and returns them in envelopes", () => {
    const appended = store.append({ ...stream, events: [opened(), event, { _tag: "Deposited", amount: 1 }] })
    expectTypeOf<Effect.Success<typeof appended>>().toEqualTypeOf<
      EventStore.Appended<AccountEvent, "Account">
    >()
    void store.append({
      aggregate: Guest,
      id: "1",
      expectedVersion: 0,
      events: [{ _tag: "Moved", to: "left" }]
    })
    void store.append({
      aggregate: Guest,
      id: "1",
      expectedVersion: 0,
      events: [{ _tag: "Left" }, { _tag: "Moved", to: 1 }]
    })
  })

  test("accepts no event of another aggregate", () => {
    // @ts-expect-error A note is not an event of an account.
    void store.append({ ...stream, events: [written("x")] })
    // @ts-expect-error The same with options.
    void store.append({ ...stream, events: [Event.make(written("x"), {})] })
    // @ts-expect-error An event of another shape.
    void store.append({ ...stream, events: [{ _tag: "Deposited", amount: "1" }] })
    // @ts-expect-error An id of another type.
    void store.append({ ...stream, id: 1, events: [] })
    // @ts-expect-error Not the name of a version.
    void store.append({ ...stream, expectedVersion: "latest", events: [] })
    // @ts-expect-error The expected version is missing.
    void store.append({ aggregate: Account, id: "1", events: [] })
  })

  test("to several streams has a result for each, of its own type", () => {
    const appended = store.appendAll([
      { ...stream, events: [opened(), event] },
      { aggregate: Note, id: "1", expectedVersion: 0, events: [written("x")] },
      { aggregate: Guest, id: "1", expectedVersion: 0, events: [{ _tag: "Moved", to: "left" }] }
    ])
    const [accounts, notes, guests] = {} as Effect.Success<typeof appended>
    expectTypeOf(accounts).toEqualTypeOf<EventStore.AppendedOf<typeof Account>>()
    expectTypeOf(notes).toEqualTypeOf<EventStore.AppendedOf<typeof Note>>()
    expectTypeOf(guests).toEqualTypeOf<EventStore.AppendedOf<typeof Guest>>()
  })

  test("to several streams accepts no event of another stream", () => {
    void store.appendAll([
      // @ts-expect-error A note is not an event of an account.
      { ...stream, events: [written("x")] },
      { aggregate: Note, id: "1", expectedVersion: 0, events: [written("x")] }
    ])
    // @ts-expect-error An id of another type.
    void store.appendAll([{ ...stream, id: 1, events: [] }])
  })
})

describe("a decision", () => {
  test("may yield results and effects that fail with errors of their own", () => {
    const executed = repository.execute(Account, "1", (state) => {
      if (state.status === "none") return Result.fail("unknown" as const)
      if (state.status === "closed") return Effect.fail(404 as const)
      return state.balance > 0 ? [event] : Result.succeed([])
    })
    expectTypeOf<Extract<Effect.Error<typeof executed>, string | number>>().toEqualTypeOf<"unknown" | 404>()
  })
})

describe("a read", () => {
  test("returns the aggregate's events, distinguished by their tags", () => {
    const read = store.readStream({ aggregate: Account, id: "1" })
    expectTypeOf<Item<typeof read>>().toEqualTypeOf<Event.Envelope<AccountEvent, "Account">>()
    const { payload } = {} as Item<typeof read>
    if (payload._tag === "Deposited") expectTypeOf(payload.amount).toEqualTypeOf<number>()
  })

  test("of several aggregates returns the events of each, distinguished by the type of the aggregate", () => {
    const log = store.readLog({ aggregates: [Account, Note] })
    type Expected =
      | Event.Envelope<AccountEvent, "Account">
      | Event.Envelope<ReturnType<typeof written>, "Note">
    expectTypeOf<Item<typeof log>>().toEqualTypeOf<Expected>()
    const envelope = {} as Item<typeof log>
    if (envelope.aggregateType === "Note") {
      expectTypeOf(envelope.payload).toEqualTypeOf<ReturnType<typeof written>>()
    } else {
      expectTypeOf(envelope.payload).toEqualTypeOf<AccountEvent>()
    }
  })

  test("as JSON returns JSON", () => {
    const json = store.readLogJson({})
    expectTypeOf<Item<typeof json>["payload"]>().toEqualTypeOf<Schema.Json>()
  })
})

describe("a command", () => {
  class Clerk extends Context.Service<Clerk, string>()("test/Clerk") {}
  class Refused extends Schema.TaggedError<Refused>()("Refused", {}) {}
  type StoreFailure = EventStore.AppendFailure

  test("returns the state and the events of the aggregate", () => {
    const executed = repository.execute(Account, "1", (state) => {
      expectTypeOf(state).toEqualTypeOf<State>()
      return [deposited(state.balance)]
    })
    expectTypeOf<Effect.Success<typeof executed>>().toEqualTypeOf<
      Repository.Executed<State, AccountEvent, "Account">
    >()
    expectTypeOf<Effect.Error<typeof executed>>().toEqualTypeOf<StoreFailure>()
  })

  test("has the errors and requirements of its decision", () => {
    const byResult = repository.execute(Account, "1", ({ status }) =>
      status === "open" ? Result.fail(new Refused()) : Result.succeed([opened()])
    )
    expectTypeOf<Effect.Error<typeof byResult>>().toEqualTypeOf<Refused | StoreFailure>()
    const byEffect = repository.execute(Account, "1", ({ status }) =>
      Effect.gen(function* () {
        const owner = yield* Clerk
        if (status === "open") return yield* new Refused()
        return [opened(owner)]
      })
    )
    expectTypeOf<Effect.Error<typeof byEffect>>().toEqualTypeOf<Refused | StoreFailure>()
    expectTypeOf<Clerk>().toExtend<Effect.Services<typeof byEffect>>()
    const provided = Effect.provideService(byEffect, Clerk, "Bob")
    expectTypeOf<Effect.Services<typeof provided>>().not.toEqualTypeOf<Effect.Services<typeof byEffect>>()
    expectTypeOf<Effect.Services<typeof provided>>().toEqualTypeOf<
      Effect.Services<ReturnType<typeof store.version>>
    >()
  })

  test("accepts literals as events in any form of decision, without a cast", () => {
    void repository.execute(Guest, "1", () => [{ _tag: "Moved", to: "left" }])
    void repository.execute(Guest, "1", () => [{ _tag: "Moved", to: 1 }, { _tag: "Left" }])
    void repository.execute(Guest, "1", (state) => (state === null ? [{ _tag: "Moved", to: "left" }] : []))
    void repository.execute(Guest, "1", () => Result.succeed([{ _tag: "Moved", to: "left" }]))
    void repository.execute(Guest, "1", () => Effect.succeed([{ _tag: "Moved", to: "left" }]))
    void repository.execute(Guest, "1", () => [Event.make({ _tag: "Moved", to: "left" }, {})])
    void repository.save(Guest, "1", { expectedVersion: 0, events: [{ _tag: "Moved", to: "left" }] })
  })

  test("accepts no event of another aggregate", () => {
    // @ts-expect-error A note is not an event of an account.
    void repository.execute(Account, "1", () => [written("x")])
    // @ts-expect-error The same in a Result.
    void repository.execute(Account, "1", () => Result.succeed([written("x")]))
    // @ts-expect-error The same in an Effect.
    void repository.execute(Account, "1", () => Effect.succeed([written("x")]))
    // @ts-expect-error One event instead of a list.
    void repository.execute(Account, "1", () => opened())
    // @ts-expect-error Not an event at all.
    void repository.execute(Guest, "1", () => [{ _tag: "Vanished" }])
    // @ts-expect-error An id of another type.
    void repository.execute(Account, 1, () => [])
    // @ts-expect-error The same in save.
    void repository.save(Account, "1", { events: [written("x")], expectedVersion: 0 })
  })
})
