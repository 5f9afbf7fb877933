/** Versions and positions that a program keeps together with the ids of their events. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Stream } from "effect"
import * as Event from "../../src/domain/Event.ts"
import * as EventContext from "../../src/domain/EventContext.ts"
import * as EventQuery from "../../src/domain/EventQuery.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import { flipped } from "../../src/testing/failures.ts"
import { backends } from "../support/backends.ts"
import { asNewTenant } from "../support/bank.ts"
import { Course, enrolled, ofStudent, offered, onDriver, toCourse } from "../support/enrolment.ts"

const of = (student: string) => EventQuery.of(Course, { tags: [ofStudent(student)] })

describe.each(backends)("on $name", ({ layer: driver }) => {
  layer(onDriver(driver), { excludeTestServices: true })("what is kept outside of the store", (it) => {
    it.effect(
      "an expected version with an event id detects another history, even in an append without events",
      () =>
        Effect.gen(function* () {
          const store = yield* EventStore.EventStore
          const { events } = yield* toCourse("a", offered(2), enrolled("ada"))
          const last = events[1]?.eventId
          const another = Event.generateId()
          const append = (expectedEventId: Event.EventId | undefined, given = [enrolled("bob")]) =>
            store.append({ aggregate: Course, id: "a", events: given, expectedVersion: 2, expectedEventId })
          for (const given of [[enrolled("bob")], []]) {
            const error = yield* flipped(append(another, given))
            assert.deepStrictEqual(
              error._tag === "VersionConflict" && [error.actual, error.expectedEventId, error.actualEventId],
              [2, another, last]
            )
            assert.include(error.message, "history was replaced")
          }
          assert.strictEqual((yield* append(last, [])).version, 2)
          assert.strictEqual((yield* append(last)).version, 3)
        }).pipe(asNewTenant)
    )

    it.effect("a condition with an event id detects another log, even in an append without events", () =>
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        const { events } = yield* toCourse("a", offered(2), enrolled("ada"))
        const [first] = events
        if (first === undefined) return assert.fail()
        const another = { position: 1, eventId: Event.generateId() }
        const append = (after: Event.Position, given = [enrolled("bob")]) =>
          store.append({
            aggregate: Course,
            id: "a",
            events: given,
            expectedVersion: "any",
            condition: { query: of("bob"), after }
          })
        for (const given of [[enrolled("bob")], []]) {
          const error = yield* flipped(append(another, given))
          assert.deepInclude(error, {
            _tag: "PositionDiverged",
            position: 1,
            expected: another.eventId,
            actual: first.eventId
          })
        }
        assert.strictEqual((yield* append(first, [])).version, 2)
        assert.strictEqual((yield* append(first)).version, 3)
        assert.deepInclude(yield* flipped(append(first)), { _tag: "AppendConditionFailed", position: 3 })
      }).pipe(asNewTenant)
    )

    it.effect(
      "several conditions have a position each, and the error names the failed one and its item",
      () =>
        Effect.gen(function* () {
          const store = yield* EventStore.EventStore
          yield* toCourse("a", enrolled("ada"), enrolled("bob"))
          const condition = [
            { query: of("ada"), after: 1 },
            { query: EventQuery.or(of("nobody \u0000"), of("carl"), of("bob")), after: 1 }
          ]
          for (const events of [[enrolled("carl")], []]) {
            assert.deepInclude(
              yield* flipped(
                store.appendAll([{ aggregate: Course, id: "a", events, expectedVersion: "any" }], {
                  condition
                })
              ),
              { _tag: "AppendConditionFailed", condition: 1, item: 2, position: 2, after: 1 }
            )
          }
        }).pipe(asNewTenant)
    )

    it.effect("finds the position of an event by its id", () =>
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        const { events } = yield* toCourse("a", offered(2), enrolled("ada"))
        for (const { eventId, position } of events)
          assert.strictEqual(yield* store.eventPosition(eventId), position)
        assert.isUndefined(yield* store.eventPosition(Event.generateId()))
      }).pipe(asNewTenant)
    )

    it.effect("refuses an invalid traceparent", () =>
      Effect.gen(function* () {
        const traced = (traceparent: string) =>
          toCourse("a", enrolled("ada")).pipe(EventContext.provide({ traceparent }))
        for (const none of ["", "00-1-2-3", `00-${"A".repeat(32)}-${"1".repeat(16)}-01`])
          assert.deepInclude(yield* flipped(traced(none)), { _tag: "InvalidEvent", path: ["traceparent"] })
        yield* traced(`00-${"a".repeat(32)}-${"1".repeat(16)}-01`)
        assert.strictEqual(yield* EventStore.EventStore.use((store) => store.position), 1)
      }).pipe(asNewTenant)
    )

    it.effect("an event shows the trace in which it was appended, separate from its metadata", () =>
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        const traceparent = `00-${"a".repeat(32)}-${"1".repeat(16)}-01`
        const { events } = yield* toCourse("a", enrolled("ada")).pipe(EventContext.provide({ traceparent }))
        yield* toCourse("a", enrolled("grace"))
        const stream = { aggregate: Course, id: "a" }
        for (const read of [
          store.readStream(stream),
          store.readLog({ aggregates: [Course] }),
          store.readLogJson({}),
          store.readLogJson({ direction: "backwards" })
        ]) {
          const found = (yield* Stream.runCollect(read)).toSorted(
            (one, other) => one.position - other.position
          )
          assert.deepStrictEqual(
            found.map((event) => event.traceparent),
            [traceparent, null]
          )
        }
        assert.deepStrictEqual(
          events.map((event) => [event.traceparent, event.metadata]),
          [[traceparent, {}]]
        )
      }).pipe(asNewTenant)
    )
  })
})
