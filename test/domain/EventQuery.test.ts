import { assert, describe, layer } from "@effect/vitest"
import { Effect, Schema, Stream } from "effect"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import * as Event from "../../src/domain/Event.ts"
import * as EventQuery from "../../src/domain/EventQuery.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as Upcaster from "../../src/domain/Upcaster.ts"
import { backends } from "../support/backends.ts"
import { asNewTenant } from "../support/bank.ts"
import {
  Club,
  Course,
  enrolled,
  found,
  left,
  ofCourse,
  offered,
  ofStudent,
  onDriver,
  registered,
  Student,
  toCourse
} from "../support/enrolment.ts"
import { flipped } from "../../src/testing/failures.ts"

/** Two courses, a club with members of the same names, and a student. */
const history = Effect.gen(function* () {
  const store = yield* EventStore.EventStore
  yield* toCourse("a", offered(2), enrolled("ada"), enrolled("bob"))
  yield* store.append({
    aggregate: Club,
    id: "a",
    events: [enrolled("ada"), enrolled("bob")],
    expectedVersion: "any"
  })
  yield* toCourse("b", offered(3), enrolled("ada"))
  yield* store.append({ aggregate: Student, id: "ada", events: [registered("a@b")], expectedVersion: "any" })
  yield* toCourse("a", left("bob"))
})

describe.each(backends)("a query on $name", (backend) => {
  layer(onDriver(backend.layer), { excludeTestServices: true })((it) => {
    it.effect("finds events of the aggregate, of any of the types and with all of the tags", () =>
      Effect.gen(function* () {
        yield* history
        const of = EventQuery.of
        assert.deepStrictEqual(yield* found(of(Course, { tags: [ofCourse("a")] })), [
          "1 Offered",
          "2 Enrolled",
          "3 Enrolled",
          "9 Left"
        ])
        assert.deepStrictEqual(yield* found(of(Course, { types: ["Enrolled"] })), [
          "2 Enrolled",
          "3 Enrolled",
          "7 Enrolled"
        ])
        assert.deepStrictEqual(
          yield* found(of(Course, { types: ["Enrolled", "Left"], tags: [ofCourse("a"), ofStudent("bob")] })),
          ["3 Enrolled", "9 Left"]
        )
        assert.deepStrictEqual(yield* found(of(Student)), ["8 Registered"])
        assert.deepStrictEqual(yield* found(of(Course, { tags: [ofCourse("a"), ofCourse("b")] })), [])
        assert.deepStrictEqual(yield* found(of(Course, { tags: [ofCourse("A")] })), [])
      }).pipe(asNewTenant)
    )

    it.effect("combines several queries, and finds each event once", () =>
      Effect.gen(function* () {
        yield* history
        const query = EventQuery.or(
          EventQuery.of(Course, { types: ["Offered"], tags: [ofCourse("b")] }),
          EventQuery.of(Student, { tags: [ofStudent("ada")] }),
          EventQuery.of(Course, { types: ["Enrolled"], tags: [ofStudent("ada")] }),
          EventQuery.of(Course, { types: ["Enrolled"], tags: [ofCourse("b")] })
        )
        const expected = ["2 Enrolled", "6 Offered", "7 Enrolled", "8 Registered"]
        assert.deepStrictEqual(yield* found(query), expected)
        assert.deepStrictEqual(yield* found(query, { direction: "backwards" }), expected.toReversed())
      }).pipe(asNewTenant)
    )

    it.effect("finds nothing without items, without types, or with tags that no event can have", () =>
      Effect.gen(function* () {
        yield* history
        for (const query of [
          EventQuery.or(),
          EventQuery.of(Course, { types: [] }),
          EventQuery.of(Course, { types: [], tags: [ofCourse("a")] }),
          ...["", "\0", "\uD800", "x".repeat(256), "*", "%"].map((tag) =>
            EventQuery.of(Course, { tags: [ofCourse("a"), tag] })
          )
        ]) {
          assert.deepStrictEqual(yield* found(query), [])
          const store = yield* EventStore.EventStore
          const json = yield* Stream.runCollect(store.readLogJson({ query }))
          assert.deepStrictEqual(json, [])
        }
      }).pipe(asNewTenant)
    )

    it.effect("returns the requested number of events among similar events of other aggregates", () =>
      Effect.gen(function* () {
        yield* history
        const query = EventQuery.of(Course, { types: ["Enrolled"], tags: [ofStudent("ada")] })
        assert.deepStrictEqual(yield* found(query, { limit: 2 }), ["2 Enrolled", "7 Enrolled"])
        assert.deepStrictEqual(yield* found(query, { limit: 1, direction: "backwards" }), ["7 Enrolled"])
        assert.deepStrictEqual(yield* found(query, { limit: 0 }), [])
        const store = yield* EventStore.EventStore
        const json = yield* Stream.runCollect(store.readLogJson({ query, limit: 2 }))
        assert.deepStrictEqual(
          json.map(({ aggregateType, position }) => [aggregateType, position]),
          [
            ["Course", 2],
            ["Course", 7]
          ]
        )
      }).pipe(asNewTenant)
    )

    it.effect(
      "fails at an event of a type that the program does not know, also as a condition, unless it names types",
      () =>
        Effect.gen(function* () {
          const Cancelled = Schema.TaggedStruct("Cancelled", {})
          const Newer = Aggregate.make(
            "Course",
            {
              id: Schema.String,
              state: Schema.Null,
              initial: null,
              events: [Cancelled],
              tags: (_event, id) => [ofCourse(id)]
            },
            (state) => state
          )
          const store = yield* EventStore.EventStore
          yield* toCourse("a", offered(1))
          yield* store.append({ aggregate: Newer, id: "a", events: [Cancelled.make({})], expectedVersion: 1 })
          yield* toCourse("b", offered(1))
          for (const query of [EventQuery.of(Course), EventQuery.of(Course, { tags: [ofCourse("a")] })]) {
            assert.deepInclude(yield* flipped(found(query)), {
              _tag: "UnknownEventType",
              eventType: "Cancelled",
              position: 2
            })
          }
          const known = EventQuery.of(Course, { types: ["Offered"], tags: [ofCourse("a")] })
          assert.deepStrictEqual(yield* found(known), ["1 Offered"])
          assert.deepStrictEqual(yield* found(EventQuery.of(Course, { tags: [ofCourse("b")] })), [
            "3 Offered"
          ])
          // An unknown type of one item does not affect another item.
          const either = EventQuery.or(known, EventQuery.of(Club, { tags: [ofCourse("a")] }))
          assert.deepStrictEqual(yield* found(either), ["1 Offered"])
          // Such an event fails a condition, by a tag or by its aggregate alone.
          const appendIf = (condition: EventStore.AppendCondition) =>
            store.append({
              aggregate: Course,
              id: "c",
              events: [offered(1)],
              expectedVersion: 0,
              condition
            })
          for (const query of [EventQuery.of(Course), EventQuery.of(Course, { tags: [ofCourse("a")] })]) {
            assert.deepInclude(yield* flipped(appendIf({ query, after: 1 })), {
              _tag: "AppendConditionFailed",
              position: 2
            })
          }
          assert.deepInclude(yield* flipped(appendIf({ query: EventQuery.of(Course), after: 2 })), {
            position: 3
          })
          // Events of other aggregates do not matter.
          yield* store.append({
            aggregate: Club,
            id: "a",
            events: [enrolled("ada")],
            expectedVersion: 0
          })
          const appended = yield* appendIf({ query: EventQuery.of(Course), after: 3 })
          assert.strictEqual(appended.position, 5)
        }).pipe(asNewTenant)
    )

    it.effect("finds events by tags that were given with them", () =>
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        yield* store.append({
          aggregate: Course,
          id: "a",
          events: [offered(1), Event.make(offered(2), { tags: ["summer"] })],
          expectedVersion: 0
        })
        assert.deepStrictEqual(yield* found(EventQuery.of(Course, { tags: ["summer", ofCourse("a")] })), [
          "2 Offered"
        ])
      }).pipe(asNewTenant)
    )

    it.effect("finds events stored under a former name, and the requested part of a split one", () =>
      Effect.gen(function* () {
        const V1 = Schema.TaggedStruct("Started", { by: Schema.String })
        const Opened = Schema.TaggedStruct("Opened", {})
        const Staffed = Schema.TaggedStruct("Staffed", { by: Schema.String })
        const parts = { id: Schema.String, state: Schema.Null, initial: null } as const
        const tags = () => ["t"]
        const Before = Aggregate.make("Shop", { ...parts, events: [V1], tags }, (state) => state)
        const After = Aggregate.make(
          "Shop",
          {
            ...parts,
            events: [Opened, Staffed],
            tags,
            upcasters: [
              Upcaster.from(V1).into([Opened, Staffed], ({ by }) => [Opened.make({}), Staffed.make({ by })])
            ]
          },
          (state) => state
        )
        const store = yield* EventStore.EventStore
        yield* store.append({
          aggregate: Before,
          id: "1",
          events: [{ _tag: "Started", by: "ada" }],
          expectedVersion: 0
        })
        yield* store.append({
          aggregate: After,
          id: "1",
          events: [Staffed.make({ by: "bob" })],
          expectedVersion: 1
        })
        const query = EventQuery.of(After, { types: ["Staffed"], tags: ["t"] })
        const read = yield* Stream.runCollect(store.readLog({ aggregates: [After], query }))
        assert.deepStrictEqual(
          read.map(({ payload, position }) => [position, payload._tag === "Staffed" && payload.by]),
          [
            [1, "ada"],
            [2, "bob"]
          ]
        )
        const json = yield* Stream.runCollect(store.readLogJson({ query }))
        assert.deepStrictEqual(
          json.map(({ eventType }) => eventType),
          ["Started", "Staffed"]
        )
        const failed = yield* store
          .append({
            aggregate: After,
            id: "2",
            events: [Opened.make({})],
            expectedVersion: 0,
            condition: { query }
          })
          .pipe(flipped)
        assert.deepInclude(failed, { _tag: "AppendConditionFailed", position: 1 })
      }).pipe(asNewTenant)
    )

    it.effect("finds nothing of another tenant that uses the same tags", () =>
      Effect.gen(function* () {
        const [a, b] = [yield* Tenant.generate, yield* Tenant.generate]
        yield* history.pipe(Tenant.provide(a))
        const query = EventQuery.of(Course, { tags: [ofCourse("a")] })
        assert.deepStrictEqual(yield* found(query).pipe(Tenant.provide(b)), [])
        yield* toCourse("a", offered(1)).pipe(Tenant.provide(b))
        assert.deepStrictEqual(yield* found(query).pipe(Tenant.provide(b)), ["1 Offered"])
        assert.strictEqual((yield* found(query).pipe(Tenant.provide(a))).length, 4)
      })
    )
  })
})
