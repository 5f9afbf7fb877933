// @effect-diagnostics floatingEffect:off -- decisions that are no effects are checked at once
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result, Schema } from "effect"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import * as DecisionModel from "../../src/domain/DecisionModel.ts"
import * as Decisions from "../../src/store/Decisions.ts"
import * as Event from "../../src/domain/Event.ts"
import * as EventQuery from "../../src/domain/EventQuery.ts"
import * as DecisionScenario from "../../src/testing/DecisionScenario.ts"

const Offered = Schema.TaggedStruct("Offered", { seats: Schema.Int })
const Enrolled = Schema.TaggedStruct("Enrolled", { student: Schema.String })

const Course = Aggregate.make(
  "Course",
  {
    id: Schema.String,
    state: Schema.Null,
    initial: null,
    events: [Offered, Enrolled],
    tags: (event, id) => [`course:${id}`, ...(event._tag === "Enrolled" ? [`student:${event.student}`] : [])]
  },
  () => null
)

class Full extends Schema.TaggedError<Full>()("Full", { seats: Schema.Int }) {}

const seats = (course: string) =>
  DecisionModel.make(
    { query: EventQuery.of(Course, { tags: [`course:${course}`] }), initial: { seats: 0, taken: 0 } },
    {
      Offered: (state, event) => ({ ...state, seats: event.seats }),
      Enrolled: (state) => ({ ...state, taken: state.taken + 1 })
    }
  )

type Seats = DecisionModel.StateOf<ReturnType<typeof seats>>

const enrol = (course: string, student: string) => (state: Seats) =>
  state.taken < state.seats
    ? Result.succeed(Decisions.to(Course, course, Enrolled.make({ student })))
    : Result.fail(new Full({ seats: state.seats }))

const offered = (count: number) => Offered.make({ seats: count })
const enrolled = (student: string) => Enrolled.make({ student })

/** The message that a test fails with. */
const failure = (run: () => unknown): string => {
  try {
    run()
  } catch (error) {
    assert.instanceOf(error, Error)
    return error.message
  }
  return assert.fail("it did not fail")
}

describe("given a log, when a decision is made, then", () => {
  it("these events or this error follow", () => {
    const log = DecisionScenario.given(Course, "maths", offered(1)).and(
      Course,
      "arts",
      offered(5),
      enrolled("ada")
    )
    log
      .when(seats("maths"), enrol("maths", "ada"))
      .thenEvents(Decisions.to(Course, "maths", enrolled("ada")))
      .thenState({ seats: 1, taken: 1 })
      .when(seats("maths"), enrol("maths", "eve"))
      .thenError(new Full({ seats: 1 }))
      .thenErrorTag("Full")
      .when(seats("arts"), enrol("arts", "eve"))
      .thenState({ seats: 5, taken: 2 })
    DecisionScenario.empty.when(seats("maths"), () => []).thenNothing()
  })

  it("tags stated by a writer count as well", () => {
    DecisionScenario.given(Course, "arts", Event.make(offered(5), { tags: ["course:maths"] }))
      .when(seats("maths"), () => [])
      .thenState({ seats: 5, taken: 0 })
  })

  it("an unmet expectation is reported", () => {
    assert.strictEqual(
      failure(() =>
        DecisionScenario.given(Course, "maths", offered(1))
          .when(seats("maths"), enrol("maths", "ada"))
          .thenEvents(Decisions.to(Course, "arts", enrolled("ada")))
      ),
      `expected events, but this is different

given a log
  { stream: "Course \\"maths\\"", event: Offered { seats: 1 } }

- expected
+ decided

  [
-   { stream: "Course \\"arts\\"", event: Enrolled { student: "ada" } }
+   { stream: "Course \\"maths\\"", event: Enrolled { student: "ada" } }
  ]`
    )
    const full = DecisionScenario.empty.when(seats("maths"), enrol("maths", "ada"))
    assert.include(
      failure(() => full.thenNothing()),
      "expected no events, but it failed"
    )
    assert.include(
      failure(() => full.thenError(new Full({ seats: 1 }))),
      "but it failed with another error"
    )
    assert.include(
      failure(() => full.thenState({ seats: 0, taken: 0 })),
      "expected a state, but it failed"
    )
    assert.include(
      failure(() => full.when(seats("maths"), () => [])),
      "expected a success, as another decision"
    )
    const given = DecisionScenario.given(Course, "maths", offered(1)).when(
      seats("maths"),
      enrol("maths", "ada")
    )
    assert.include(
      failure(() => given.thenErrorTag("Full")),
      "but events were decided"
    )
    assert.match(
      failure(() => given.thenState({ seats: 1, taken: 0 })),
      /^- {3}taken: 0\n\+ {3}taken: 1$/m
    )
    assert.include(
      failure(() => given.thenNothing()),
      "expected no events"
    )
  })

  it.effect("a decision that is an effect runs with the scenario", () =>
    Effect.gen(function* () {
      const later = DecisionScenario.given(Course, "maths", offered(1))
        .when(seats("maths"), (state) =>
          Effect.andThen(Effect.yieldNow, Effect.fromResult(enrol("maths", "ada")(state)))
        )
        .thenNothing()
      assert.isTrue((yield* Effect.exit(later))._tag === "Failure")
    })
  )
})
