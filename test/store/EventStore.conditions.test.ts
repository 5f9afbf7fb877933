import { assert, describe, layer } from "@effect/vitest"
import { Effect, Stream } from "effect"
import * as Event from "../../src/domain/Event.ts"
import type * as EventStorage from "../../src/driver/EventStorage.ts"
import * as EventContext from "../../src/domain/EventContext.ts"
import * as EventQuery from "../../src/domain/EventQuery.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { backends } from "../support/backends.ts"
import { asNewTenant } from "../support/bank.ts"
import {
  Club,
  Course,
  enrolled,
  found,
  ofCourse,
  offered,
  ofStudent,
  onDriver,
  registered,
  Student,
  toCourse
} from "../support/enrolment.ts"
import { flipped } from "../../src/testing/failures.ts"

const ada = EventQuery.of(Course, { types: ["Enrolled"], tags: [ofStudent("ada")] })

const appendIf = (condition: EventStore.AppendCondition, id = "b") =>
  EventStore.EventStore.use((store) =>
    store.append({ aggregate: Course, id, events: [enrolled("ada")], expectedVersion: "any", condition })
  )

const head = EventStore.EventStore.use(({ position }) => position)

/** A command whose key is kept for an hour. */
const command = (key: string, fingerprint = "a", millis = 3_600_000) =>
  Effect.succeed<EventStorage.CommandKey>({
    key,
    fingerprint: fingerprint.repeat(64),
    expiresInMillis: millis
  })

const asCommand = (
  given: EventStorage.CommandKey,
  events: ReadonlyArray<Event.Appendable<(typeof Course.events)[number]["Type"]>>,
  options: {
    readonly id?: string
    readonly expectedVersion?: number
    readonly condition?: EventStore.AppendCondition
  } = {}
) =>
  EventStore.EventStore.use((store) =>
    store.append({
      aggregate: Course,
      id: options.id ?? "a",
      events,
      expectedVersion: options.expectedVersion ?? "any",
      command: given,
      condition: options.condition
    })
  )

describe.each(backends)("an append on $name", (backend) => {
  layer(onDriver(backend.layer), { excludeTestServices: true })("with a condition", (it) => {
    it.effect(
      "succeeds if no event after the position matches, and otherwise reports the matching event",
      () =>
        Effect.gen(function* () {
          yield* toCourse("a", offered(2), enrolled("bob"), enrolled("ada"), enrolled("ada"))
          const failed = yield* flipped(appendIf({ query: ada, after: 2 }))
          assert.deepInclude(failed, { _tag: "AppendConditionFailed", after: 2, position: 3 })
          assert.deepInclude(yield* flipped(appendIf({ query: ada, after: 3 })), { after: 3, position: 4 })
          // Without a position, no event of the log may match.
          assert.deepInclude(yield* flipped(appendIf({ query: ada })), { after: 0, position: 3 })
          assert.strictEqual(yield* head, 4)
          assert.deepInclude(yield* appendIf({ query: ada, after: 4 }), { version: 1, position: 5 })
          assert.deepInclude(yield* flipped(appendIf({ query: ada, after: 4 })), { position: 5 })
          const nothing = EventQuery.or()
          assert.deepInclude(yield* appendIf({ query: nothing }), { position: 6 })
        }).pipe(asNewTenant)
    )

    it.effect("to several streams is written whole or not at all", () =>
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        const both = (student: string) =>
          store.appendAll(
            [
              { aggregate: Course, id: "a", expectedVersion: "any", events: [enrolled(student)] },
              { aggregate: Student, id: student, expectedVersion: "any", events: [registered("a@b")] }
            ],
            { condition: { query: EventQuery.of(Student, { tags: ["email:a@b"] }) } }
          )
        const [course, student] = yield* both("ada")
        assert.deepStrictEqual([course.position, student.position], [1, 2])
        const failed = yield* flipped(both("bob"))
        assert.deepInclude(failed, { _tag: "AppendConditionFailed", after: 0, position: 2 })
        assert.strictEqual(yield* head, 2)
      }).pipe(asNewTenant)
    )

    it.effect("without events is checked too", () =>
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        const check = (after: number) =>
          store.append({
            aggregate: Course,
            id: "a",
            events: [],
            expectedVersion: "any",
            condition: { query: ada, after }
          })
        assert.deepInclude(yield* check(0), { version: 0, position: 0 })
        yield* toCourse("a", offered(2), enrolled("ada"))
        assert.deepInclude(yield* flipped(check(1)), {
          _tag: "AppendConditionFailed",
          after: 1,
          position: 2
        })
        assert.deepInclude(yield* check(2), { version: 2, position: 2 })
        assert.strictEqual(yield* head, 2)
      }).pipe(asNewTenant)
    )

    it.effect(
      "is checked for its version first, and can be repeated with the same events even if others match by then",
      () =>
        Effect.gen(function* () {
          const store = yield* EventStore.EventStore
          yield* toCourse("a", enrolled("ada"))
          const event = Event.make(enrolled("bob"), { eventId: Event.generateId() })
          const append = (expectedVersion: number, after: number) =>
            store.append({
              aggregate: Course,
              id: "a",
              events: [event],
              expectedVersion,
              condition: { query: EventQuery.of(Course), after }
            })
          assert.deepInclude(yield* flipped(append(0, 0)), { _tag: "VersionConflict", actual: 1 })
          const first = yield* append(1, 1)
          const again = yield* append(1, 1)
          assert.deepStrictEqual(again, { ...first, replayed: true })
        }).pipe(asNewTenant)
    )

    it.effect("does not match events of another tenant", () =>
      Effect.gen(function* () {
        const [a, b] = [yield* Tenant.generate, yield* Tenant.generate]
        yield* toCourse("a", enrolled("ada")).pipe(Tenant.provide(a))
        assert.deepInclude(yield* appendIf({ query: ada }).pipe(Tenant.provide(b)), { position: 1 })
        const failed = yield* flipped(appendIf({ query: ada }).pipe(Tenant.provide(a)))
        assert.deepInclude(failed, { tenantId: a, position: 1 })
      })
    )

    it.effect("succeeds for exactly one of many writers with the same position", () =>
      Effect.gen(function* () {
        const outcomes = yield* Effect.forEach(
          Array.from({ length: 16 }, (_, n) => n),
          (n) =>
            appendIf({ query: ada, after: 0 }, `course ${n}`).pipe(
              Effect.as("written"),
              Effect.catchReason("Conflict", "AppendConditionFailed", ({ position }) =>
                Effect.succeed(`met ${position}`)
              )
            ),
          { concurrency: 16 }
        )
        assert.deepStrictEqual(outcomes.toSorted(), [...Array.from({ length: 15 }, () => "met 1"), "written"])
        assert.deepStrictEqual(yield* found(ada), ["1 Enrolled"])
      }).pipe(asNewTenant)
    )
  })

  layer(onDriver(backend.layer), { excludeTestServices: true })("with a command", (it) => {
    it.effect(
      "is carried out once, and returns its first outcome again, even with other events or none",
      () =>
        Effect.gen(function* () {
          const store = yield* EventStore.EventStore
          const given = yield* command("1")
          yield* toCourse("a", offered(2))
          const first = yield* asCommand(given, [enrolled("ada"), enrolled("bob")], { expectedVersion: 1 })
          assert.deepInclude(first, { version: 3, position: 3, replayed: false })
          assert.notProperty(first, "command")
          yield* toCourse("b", offered(2))
          yield* toCourse("a", offered(4))
          const recorded = {
            fingerprint: given.fingerprint,
            aggregateType: "Course",
            aggregateId: "a",
            version: 3,
            position: 3,
            events: 2
          }
          for (const events of [[enrolled("eve")], []]) {
            const again = yield* asCommand(given, events, { expectedVersion: 1 })
            assert.deepStrictEqual(again, { ...first, replayed: true, command: recorded })
          }
          assert.deepStrictEqual(yield* store.commandOutcome("1"), recorded)
          assert.strictEqual(yield* head, 5)
        }).pipe(asNewTenant)
    )

    it.effect("is recorded without events, with the version and position of that time", () =>
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        const given = yield* command("1")
        yield* toCourse("b", offered(1))
        yield* toCourse("a", offered(2))
        const nothing = yield* asCommand(given, [], { expectedVersion: 1 })
        assert.deepStrictEqual(nothing, { version: 1, position: 2, events: [], replayed: false })
        yield* toCourse("a", enrolled("ada"))
        const again = yield* asCommand(given, [enrolled("eve")])
        assert.deepInclude(again, { version: 1, position: 2, events: [], replayed: true })
        assert.deepInclude(again.command, { version: 1, position: 2, events: 0 })
        assert.strictEqual(yield* store.position, 3)
        const stale = yield* flipped(asCommand(yield* command("2"), [], { expectedVersion: 1 }))
        assert.deepInclude(stale, { _tag: "VersionConflict", actual: 2 })
        assert.isUndefined(yield* store.commandOutcome("2"))
      }).pipe(asNewTenant)
    )

    it.effect("is refused with the key of another command, and writes nothing", () =>
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        yield* asCommand(yield* command("1"), [enrolled("ada")])
        const other = yield* flipped(asCommand(yield* command("1", "b"), [enrolled("bob")]))
        assert.deepInclude(other, { _tag: "CommandKeyConflict", key: "1" })
        // The same fingerprint with another stream is refused too.
        const elsewhere = yield* flipped(asCommand(yield* command("1"), [enrolled("bob")], { id: "b" }))
        assert.deepInclude(elsewhere, { _tag: "CommandKeyConflict", key: "1" })
        assert.strictEqual(yield* store.position, 1)
      }).pipe(asNewTenant)
    )

    it.effect("is not recorded if it fails", () =>
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        const given = yield* command("1")
        yield* toCourse("a", enrolled("ada"))
        const failed = yield* flipped(asCommand(given, [enrolled("bob")], { condition: { query: ada } }))
        assert.strictEqual(failed._tag, "AppendConditionFailed")
        assert.isUndefined(yield* store.commandOutcome("1"))
        assert.deepInclude(yield* asCommand(given, [enrolled("bob")]), { version: 2, replayed: false })
      }).pipe(asNewTenant)
    )

    it.effect("is refused with a key that cannot be stored", () =>
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        for (const key of ["", "\0", "\uD800"]) {
          const failed = yield* flipped(asCommand(yield* command(key), [enrolled("ada")]))
          assert.deepInclude(failed, { _tag: "InvalidEvent", path: ["key"] })
          assert.deepInclude(yield* flipped(store.commandOutcome(key)), { _tag: "InvalidEvent" })
        }
        const long = yield* flipped(asCommand(yield* command("x".repeat(256)), [enrolled("ada")]))
        assert.deepInclude(long, { _tag: "LimitExceeded", limit: "idLength" })
        assert.strictEqual(yield* store.position, 0)
      }).pipe(asNewTenant)
    )

    it.effect("of another tenant with the same key is independent", () =>
      Effect.gen(function* () {
        const [a, b] = [yield* Tenant.generate, yield* Tenant.generate]
        const store = yield* EventStore.EventStore
        yield* asCommand(yield* command("1"), [enrolled("ada")]).pipe(Tenant.provide(a))
        assert.isUndefined(yield* store.commandOutcome("1").pipe(Tenant.provide(b)))
        const other = yield* asCommand(yield* command("1", "b"), [offered(1), offered(2)]).pipe(
          Tenant.provide(b)
        )
        assert.deepInclude(other, { version: 2, replayed: false })
        assert.deepInclude(yield* store.commandOutcome("1").pipe(Tenant.provide(a)), { version: 1 })
      })
    )

    it.effect("is carried out once for many concurrent callers", () =>
      Effect.gen(function* () {
        const given = yield* command("1")
        const outcomes = yield* Effect.forEach(
          Array.from({ length: 16 }, (_, n) => `student ${n}`),
          (student) => asCommand(given, [enrolled(student)]),
          { concurrency: 16 }
        )
        assert.strictEqual(outcomes.filter(({ replayed }) => !replayed).length, 1)
        assert.strictEqual(new Set(outcomes.map(({ events }) => events[0]?.eventId)).size, 1)
        assert.strictEqual(yield* head, 1)
      }).pipe(asNewTenant)
    )

    it.effect("with derived ids returns its first outcome", () =>
      Effect.gen(function* () {
        const run = Effect.gen(function* () {
          return yield* asCommand(yield* command("1"), [enrolled("ada")])
        }).pipe(EventContext.derivingIds(["message", "1"]))
        const first = yield* run
        const again = yield* run
        assert.deepStrictEqual(again.events, first.events)
        assert.isTrue(again.replayed)
      }).pipe(asNewTenant)
    )
  })

  layer(onDriver(backend.layer), { excludeTestServices: true })("of a club", (it) => {
    it.effect("meets a condition on events of another aggregate with the same type and tags", () =>
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        yield* store.append({ aggregate: Club, id: "a", events: [enrolled("ada")], expectedVersion: 0 })
        assert.deepStrictEqual(yield* found(ada), [])
        assert.deepInclude(yield* appendIf({ query: ada }), { position: 2 })
        const all = EventQuery.of(Course, { tags: [ofStudent("ada")] })
        assert.deepInclude(yield* flipped(appendIf({ query: all })), { position: 2 })
        assert.deepStrictEqual(
          yield* Stream.runCollect(
            store.readLog({ aggregates: [Club], query: EventQuery.of(Club, { tags: [ofCourse("a")] }) })
          ).pipe(Effect.map((events) => events.map(({ position }) => position))),
          [1]
        )
      }).pipe(asNewTenant)
    )
  })
})
