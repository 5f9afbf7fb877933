import { Context, Effect, Layer, Result, Schema } from "effect"
import {
  DecisionModel,
  Decisions,
  type Event,
  EventQuery,
  type EventStorage,
  type EventStore,
  HashChain,
  type Repository,
  type StoreError,
  Tenant
} from "effect-eventsourcing"
import { describe, expectTypeOf, test } from "vitest"
import {
  Course,
  coursesOf,
  enrolled,
  Enrolled,
  Left,
  Offered,
  offered,
  registered,
  type Registered,
  type Seats,
  seatsOf,
  Student
} from "../support/enrolment.ts"

declare const eventId: Event.EventId
declare const stored: Event.Envelope<Event.Tagged>
declare const decisions: Decisions.Decisions["Service"]
declare const store: EventStore.EventStore["Service"]
declare const command: EventStorage.CommandKey

type CourseEvent = typeof Offered.Type | typeof Enrolled.Type | typeof Left.Type
type StudentEvent = typeof Registered.Type

describe("a query", () => {
  test("has the types of the events that it matches", () => {
    expectTypeOf(EventQuery.of(Course)).toEqualTypeOf<EventQuery.EventQuery<CourseEvent>>()
    const some = EventQuery.of(Course, { types: ["Enrolled", "Left"], tags: ["a"] })
    expectTypeOf<EventQuery.EventOf<typeof some>>().toEqualTypeOf<typeof Enrolled.Type | typeof Left.Type>()
    const both = EventQuery.or(some, EventQuery.of(Student))
    expectTypeOf<EventQuery.EventOf<typeof both>>().toEqualTypeOf<
      typeof Enrolled.Type | typeof Left.Type | StudentEvent
    >()
    expectTypeOf<EventQuery.EventOf<ReturnType<typeof EventQuery.or<[]>>>>().toEqualTypeOf<never>()
    const envelope = {} as Event.Envelope<Event.Tagged>
    if (some.matches(envelope)) {
      expectTypeOf(envelope.payload).toEqualTypeOf<typeof Enrolled.Type | typeof Left.Type>()
    }
  })

  test("accepts only types of the aggregate's events", () => {
    // @ts-expect-error Registered is not an event of a course.
    EventQuery.of(Course, { types: ["Registered"] })
    // @ts-expect-error One tag is not a list of tags.
    EventQuery.of(Course, { tags: "a" })
  })
})

describe("a decision model", () => {
  const query = EventQuery.of(Course, { types: ["Enrolled", "Left"] })

  test("has a handler for each event that its query matches", () => {
    const model = DecisionModel.make(
      { query, initial: 0 },
      {
        Enrolled: (state, event, { payload, position }) => {
          expectTypeOf(event).toEqualTypeOf<typeof Enrolled.Type>()
          expectTypeOf(payload).toEqualTypeOf<typeof Enrolled.Type>()
          return state + position
        },
        Left: (state) => state - 1
      }
    )
    expectTypeOf(model).toEqualTypeOf<DecisionModel.DecisionModel<number>>()
    const other = DecisionModel.make({ query, initial: "" }, (state, event) => {
      expectTypeOf(event).toEqualTypeOf<typeof Enrolled.Type | typeof Left.Type>()
      return state + event.student
    })
    expectTypeOf<DecisionModel.StateOf<typeof other>>().toEqualTypeOf<string>()
  })

  test("refuses missing handlers, further handlers, and handlers with another state", () => {
    // @ts-expect-error The handler for leaving is missing.
    DecisionModel.make({ query, initial: 0 }, { Enrolled: (state: number) => state })
    DecisionModel.make(
      { query, initial: 0 },
      {
        Enrolled: (state: number) => state,
        Left: (state: number) => state,
        // @ts-expect-error The query does not match the event of offering.
        Offered: (state: number) => state
      }
    )
    // @ts-expect-error A text is not a number.
    DecisionModel.make({ query, initial: 0 }, { Enrolled: () => "one", Left: () => 1 })
  })

  test("combined from several has the state of each under its name", () => {
    const model = DecisionModel.combine({ course: seatsOf("a"), student: coursesOf("1") })
    expectTypeOf<DecisionModel.StateOf<typeof model>>().toEqualTypeOf<{
      readonly course: Seats
      readonly student: ReadonlyArray<string>
    }>()
    // @ts-expect-error A query is not a model.
    DecisionModel.combine({ course: query })
  })
})

describe("a decision", () => {
  class Clerk extends Context.Service<Clerk, string>()("test/Clerk") {}
  class Refused extends Schema.TaggedError<Refused>()("Refused", {}) {}
  type Failure = Exclude<EventStore.AppendFailure<EventStore.AppendCondition>, StoreError.PositionDiverged>

  test("requires the tenant, and nothing else", () => {
    const read = decisions.read(seatsOf("a"))
    const executed = decisions.execute(seatsOf("a"), () => [])
    expectTypeOf<Effect.Services<typeof read>>().toEqualTypeOf<Tenant.CurrentTenant>()
    expectTypeOf<Effect.Services<typeof executed>>().toEqualTypeOf<Tenant.CurrentTenant>()
    expectTypeOf<Effect.Success<typeof read>>().toEqualTypeOf<Decisions.ModelState<Seats>>()
    expectTypeOf<Effect.Error<typeof executed>>().toEqualTypeOf<Failure>()
    expectTypeOf<Layer.Services<typeof Decisions.layer>>().toEqualTypeOf<EventStore.EventStore>()
    // @ts-expect-error Type 'CurrentTenant' is not assignable to type 'never'.
    void (() => Effect.runPromise(executed))
  })

  test("returns the events of the aggregates to which it appends", () => {
    const executed = decisions.execute(seatsOf("a"), (state) => {
      expectTypeOf(state).toEqualTypeOf<Seats>()
      return [Decisions.to(Course, "a", offered(1)), Decisions.to(Student, "1", registered("a@b"))]
    })
    expectTypeOf<Effect.Success<typeof executed>>().toEqualTypeOf<
      Decisions.Executed<
        Seats,
        Event.Envelope<CourseEvent, "Course"> | Event.Envelope<StudentEvent, "Student">
      >
    >()
    const one = decisions.execute(seatsOf("a"), () => Decisions.to(Course, "a", offered(1)))
    expectTypeOf<Effect.Success<typeof one>["events"]>().toEqualTypeOf<
      ReadonlyArray<Event.Envelope<CourseEvent, "Course">>
    >()
    const none = decisions.execute(seatsOf("a"), () => [])
    expectTypeOf<Effect.Success<typeof none>["events"]>().toEqualTypeOf<ReadonlyArray<never>>()
  })

  test("may yield values, results and effects, with their errors and requirements", () => {
    const executed = decisions.execute(seatsOf("a"), ({ seats }) => {
      if (seats === 0) return Result.fail(new Refused())
      if (seats === 1) return Effect.fail(404 as const)
      if (seats === 2) return []
      return Effect.map(Clerk, (clerk) => Decisions.to(Course, "a", enrolled(clerk)))
    })
    expectTypeOf<Effect.Error<typeof executed>>().toEqualTypeOf<Failure | Refused | 404>()
    expectTypeOf<Effect.Services<typeof executed>>().toEqualTypeOf<Tenant.CurrentTenant | Clerk>()
    expectTypeOf<Effect.Success<typeof executed>["events"]>().toEqualTypeOf<
      ReadonlyArray<Event.Envelope<CourseEvent, "Course">>
    >()
  })

  test("fails like a command of the repository", () => {
    type Refusals = Repository.ErrorOf<Result.Result<never, Refused>>
    expectTypeOf<Refusals>().toEqualTypeOf<Refused>()
  })

  test("accepts literals as events, and no event of another aggregate", () => {
    Decisions.to(Course, "a", { _tag: "Offered", seats: 1 }, { _tag: "Left", student: "1" })
    // @ts-expect-error Registered is not an event of a course.
    Decisions.to(Course, "a", registered("a@b"))
    // @ts-expect-error The id has another type.
    Decisions.to(Course, 1, offered(1))
    // @ts-expect-error An event without a stream.
    void decisions.execute(seatsOf("a"), () => [offered(1)])
  })
})

describe("a conditional append", () => {
  test("requires the tenant, and accepts a query", () => {
    const appended = store.append({
      aggregate: Course,
      id: "a",
      events: [offered(1)],
      expectedVersion: "any",
      condition: { query: EventQuery.of(Course), after: 3 },
      command
    })
    expectTypeOf<Effect.Services<typeof appended>>().toEqualTypeOf<Tenant.CurrentTenant>()
    expectTypeOf<
      Effect.Services<ReturnType<typeof store.commandOutcome>>
    >().toEqualTypeOf<Tenant.CurrentTenant>()
    const stream = { aggregate: Course, id: "a", events: [offered(1)], expectedVersion: "any" } as const
    void store.appendAll([stream], { condition: { query: EventQuery.of(Course) } })
    void store.appendAll([stream], {
      condition: [
        { query: EventQuery.of(Course), after: { position: 3, eventId } },
        { query: EventQuery.of(Course), after: stored }
      ]
    })
    // @ts-expect-error A command has one stream.
    void store.appendAll([stream], { command })
    // @ts-expect-error A position alone is not a condition.
    void store.appendAll([stream], { condition: { after: 1 } })
  })
})

describe("a hash chain", () => {
  type Needs = EventStorage.EventStorage | Tenant.CurrentTenant

  test("requires the tenant", () => {
    const verify = HashChain.verify()
    expectTypeOf<Effect.Services<typeof HashChain.start>>().toEqualTypeOf<Needs>()
    expectTypeOf<Effect.Services<typeof HashChain.head>>().toEqualTypeOf<Needs>()
    expectTypeOf<Effect.Services<typeof verify>>().toEqualTypeOf<Needs>()
    expectTypeOf<Effect.Error<typeof verify>>().toEqualTypeOf<
      HashChain.HashChainBroken | HashChain.NoHashChain | StoreError.PositionDiverged | StoreError.ReadError
    >()
  })
})
