import { assert, describe, it } from "@effect/vitest"
import { DateTime, Effect, Schema } from "effect"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import * as DecisionModel from "../../src/domain/DecisionModel.ts"
import * as Event from "../../src/domain/Event.ts"
import * as EventQuery from "../../src/domain/EventQuery.ts"
import { untenanted } from "../../src/domain/Tenant.ts"
import {
  Club,
  Course,
  coursesOf,
  enrolled,
  enrolment,
  left,
  offered,
  ofCourse,
  ofStudent,
  seatsOf
} from "../support/enrolment.ts"

/** The envelope of an event. */
const stored = (
  aggregate: Aggregate.Any,
  aggregateId: string,
  payload: Event.Tagged,
  position = 1
): Event.Envelope<Event.Tagged> => ({
  eventId: Event.generateId(),
  tenantId: untenanted,
  position,
  aggregateType: aggregate.type,
  aggregateId,
  version: 1,
  eventType: payload._tag,
  schemaVersion: 1,
  occurredAt: DateTime.makeUnsafe(0),
  recordedAt: DateTime.makeUnsafe(0),
  actor: null,
  correlationId: "",
  causationId: null,
  traceparent: null,
  metadata: {},
  tags: aggregate.tagsOf?.(payload, aggregateId) ?? [],
  payload
})

const log = [
  stored(Course, "a", offered(2)),
  stored(Course, "b", offered(3)),
  stored(Course, "a", enrolled("ada")),
  stored(Course, "b", enrolled("ada")),
  stored(Club, "a", enrolled("bob")),
  stored(Course, "a", enrolled("bob")),
  stored(Course, "a", left("ada"))
]

describe("a decision model", () => {
  it("folds only the events that match its query", () => {
    assert.deepStrictEqual(DecisionModel.fold(seatsOf("a"), log), { seats: 2, students: ["bob"] })
    assert.deepStrictEqual(DecisionModel.fold(seatsOf("b"), log), { seats: 3, students: ["ada"] })
    assert.deepStrictEqual(DecisionModel.fold(coursesOf("ada"), log), ["b"])
    assert.deepStrictEqual(DecisionModel.fold(coursesOf("eve"), log), [])
  })

  it("continues from a state", () => {
    const model = seatsOf("a")
    const half = DecisionModel.fold(model, log.slice(0, 3))
    assert.deepStrictEqual(DecisionModel.fold(model, log.slice(3), half), DecisionModel.fold(model, log))
  })

  it("combined from several has the state of each, which sees only its own events", () => {
    const model = enrolment("a", "ada")
    assert.deepStrictEqual(model.initial, { course: { seats: 0, students: [] }, student: [] })
    assert.deepStrictEqual(DecisionModel.fold(model, log), {
      course: { seats: 2, students: ["bob"] },
      student: ["b"]
    })
    assert.isTrue(model.query.matches(stored(Course, "b", enrolled("ada"))))
    assert.isTrue(model.query.matches(stored(Course, "a", enrolled("eve"))))
    assert.isFalse(model.query.matches(stored(Course, "b", enrolled("eve"))))
    assert.isFalse(model.query.matches(stored(Course, "b", offered(1))))
    assert.isFalse(model.query.matches(stored(Club, "a", enrolled("ada"))))
  })

  it("combined from none matches nothing", () => {
    const model = DecisionModel.combine({})
    assert.deepStrictEqual(DecisionModel.fold(model, log), {})
    assert.isFalse(log.some(model.query.matches))
  })

  it("accepts one function over all events, with their envelopes", () => {
    const places = DecisionModel.make(
      { query: EventQuery.of(Course, { tags: [ofStudent("ada")] }), initial: "" },
      (state, event, { aggregateId }) => `${state} ${event._tag} ${aggregateId}`
    )
    assert.strictEqual(DecisionModel.fold(places, log), " Enrolled a Enrolled b Left a")
  })

  it("refuses a missing handler that a cast let through, and a handler without a matching event", () => {
    const query = EventQuery.of(Course, { tags: [ofCourse("a")] })
    const handlers = { Offered: () => 1 } as unknown as DecisionModel.Handlers<
      number,
      EventQuery.EventOf<typeof query>
    >
    assert.throws(() => DecisionModel.make({ query, initial: 0 }, handlers), "no handler for Enrolled")
    const offers = EventQuery.of(Course, { types: ["Offered"] })
    const other = { Offered: () => 1, Enrolled: () => 2 } as unknown as { readonly Offered: () => number }
    assert.throws(() => DecisionModel.make({ query: offers, initial: 0 }, other), 'a handler for "Enrolled"')
  })

  it("accepts a name that JavaScript reserves", () => {
    const names = { constructor: seatsOf("a"), ["__proto__"]: coursesOf("ada") }
    const state = DecisionModel.fold(DecisionModel.combine(names), log)
    assert.deepStrictEqual(Object.keys(state).toSorted(), ["__proto__", "constructor"])
    assert.notProperty({}, "b")
  })

  it.effect("may have a state without a schema", () =>
    Effect.gen(function* () {
      const Counted = Schema.TaggedStruct("Counted", {})
      const Counter = Aggregate.make(
        "Counter",
        { id: Schema.String, state: Schema.Null, initial: null, events: [Counted] },
        (state) => state
      )
      const model = DecisionModel.make(
        { query: EventQuery.of(Counter), initial: new Map<string, number>() },
        { Counted: (state, _event, { aggregateId }) => new Map(state).set(aggregateId, 1) }
      )
      const state = DecisionModel.fold(model, [stored(Counter, "x", Counted.make({}))])
      assert.deepStrictEqual([...state], [["x", 1]])
    })
  )
})
