import { assert, describe, it, layer } from "@effect/vitest"
import { Context, Effect, Fiber, Result, Schedule, Schema } from "effect"
import { TestClock } from "effect/testing"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import * as DecisionModel from "../../src/domain/DecisionModel.ts"
import * as Decisions from "../../src/store/Decisions.ts"
import * as Event from "../../src/domain/Event.ts"
import * as EventContext from "../../src/domain/EventContext.ts"
import * as EventQuery from "../../src/domain/EventQuery.ts"
import * as EventStorage from "../../src/driver/EventStorage.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import { StorageUnavailable, OtherFailure } from "../../src/driver/StoreError.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { backends } from "../support/backends.ts"
import { asNewTenant, changedDriver } from "../support/bank.ts"
import {
  Course,
  coursesOf,
  enrol,
  enrolled,
  enrolment,
  found,
  offer,
  offered,
  onDriver,
  register,
  registered,
  seatsOf,
  Student,
  toCourse
} from "../support/enrolment.ts"
import { flipped } from "../../src/testing/failures.ts"

const read = <State>(model: DecisionModel.DecisionModel<State>) =>
  Decisions.Decisions.use((decisions) => decisions.read(model))

const positions = found(EventQuery.or(EventQuery.of(Course), EventQuery.of(Student)))

describe.each(backends)("decisions on $name", (backend) => {
  layer(onDriver(backend.layer), { excludeTestServices: true })((it) => {
    it.effect("read a state, and the position up to which it contains all relevant events", () =>
      Effect.gen(function* () {
        assert.deepInclude(yield* read(coursesOf("ada")), { state: [], position: 0 })
        yield* toCourse("a", offered(2), enrolled("ada"))
        yield* toCourse("b", offered(2), enrolled("ada"), enrolled("bob"))
        assert.deepInclude(yield* read(coursesOf("ada")), { state: ["a", "b"], position: 5 })
        assert.deepInclude(yield* read(enrolment("a", "bob")), {
          state: { course: { seats: 2, students: ["ada"] }, student: ["b"] },
          position: 5
        })
      }).pipe(asNewTenant)
    )

    it.effect("append the decided events, and return the state with them", () =>
      Effect.gen(function* () {
        yield* offer("a", 1)
        const executed = yield* enrol("a", "ada")
        assert.deepInclude(executed, {
          state: { course: { seats: 1, students: ["ada"] }, student: ["a"] },
          position: 2,
          replayed: false
        })
        const [event] = executed.events
        assert.deepInclude(event, {
          aggregateType: "Course",
          aggregateId: "a",
          version: 2,
          position: 2,
          tags: ["course:a", "student:ada"]
        })
        assert.deepInclude(yield* read(enrolment("a", "ada")), {
          state: executed.state,
          position: executed.position
        })
      }).pipe(asNewTenant)
    )

    it.effect("fail with the error of the decision, and write nothing", () =>
      Effect.gen(function* () {
        yield* offer("a", 1)
        yield* enrol("a", "ada")
        assert.deepInclude(yield* flipped(enrol("a", "bob")), { _tag: "Refused", reason: "full" })
        assert.deepInclude(yield* flipped(enrol("a", "ada")), { _tag: "Refused", reason: "twice" })
        yield* register("ada", "a@b")
        assert.deepInclude(yield* flipped(register("bob", "a@b")), { reason: "taken" })
        assert.deepStrictEqual(yield* positions, ["1 Offered", "2 Enrolled", "3 Registered"])
      }).pipe(asNewTenant)
    )

    it.effect("append to several streams at once, even if a stream occurs several times", () =>
      Effect.gen(function* () {
        const decisions = yield* Decisions.Decisions
        const executed = yield* decisions.execute(coursesOf("ada"), () => [
          Decisions.to(Course, "a", offered(1)),
          Decisions.to(Student, "ada", registered("a@b")),
          Decisions.to(Course, "a", enrolled("ada"), enrolled("bob")),
          Decisions.to(Course, "b"),
          Decisions.to(Course, "c", enrolled("ada"))
        ])
        assert.deepStrictEqual(
          executed.events.map(({ aggregateId, position, version }) => [position, aggregateId, version]),
          [
            [1, "a", 1],
            [2, "a", 2],
            [3, "a", 3],
            [4, "ada", 1],
            [5, "c", 1]
          ]
        )
        assert.deepStrictEqual(executed.state, ["a", "c"])
        assert.strictEqual(executed.position, 5)
      }).pipe(asNewTenant)
    )

    it.effect("append nothing if nothing is decided", () =>
      Effect.gen(function* () {
        yield* offer("a", 1)
        const decisions = yield* Decisions.Decisions
        for (const nothing of [[], Result.succeed([]), Effect.succeed(Decisions.to(Course, "a"))]) {
          const executed = yield* decisions.execute(seatsOf("a"), () => nothing)
          assert.deepInclude(executed, {
            state: { seats: 1, students: [] },
            position: 1,
            events: [],
            replayed: false
          })
        }
      }).pipe(asNewTenant)
    )

    it.effect("refuse an id that the aggregate does not allow", () =>
      Effect.gen(function* () {
        const decisions = yield* Decisions.Decisions
        const failed = yield* flipped(
          decisions.execute(seatsOf("a"), () => Decisions.to(Course, "", offered(1)))
        )
        assert.strictEqual(failed._tag, "InvalidAggregateId")
      }).pipe(asNewTenant)
    )

    it.effect("keep two tenants with the same ids and tags apart, in both directions", () =>
      Effect.gen(function* () {
        const [a, b] = [yield* Tenant.generate, yield* Tenant.generate]
        yield* Effect.andThen(offer("x", 1), enrol("x", "ada")).pipe(Tenant.provide(a))
        const empty = { state: { seats: 0, students: [] }, position: 0 }
        assert.deepInclude(yield* read(seatsOf("x")).pipe(Tenant.provide(b)), empty)
        yield* Effect.andThen(offer("x", 2), register("ada", "a@b")).pipe(Tenant.provide(b))
        yield* register("bob", "a@b").pipe(Tenant.provide(a))
        yield* enrol("x", "ada").pipe(Tenant.provide(b))
        assert.deepStrictEqual((yield* read(seatsOf("x")).pipe(Tenant.provide(a))).state, {
          seats: 1,
          students: ["ada"]
        })
        assert.strictEqual((yield* read(seatsOf("x")).pipe(Tenant.provide(b))).state.seats, 2)
      })
    )

    it.effect("are not made again if ids are derived and the events exist", () =>
      Effect.gen(function* () {
        yield* offer("a", 1)
        const run = enrol("a", "ada").pipe(EventContext.derivingIds(["message", "1"]))
        const first = yield* run
        yield* toCourse("a", offered(5))
        const again = yield* run
        assert.isTrue(again.replayed)
        assert.deepStrictEqual(again.events, first.events)
        assert.deepStrictEqual(again.state.course, { seats: 5, students: ["ada"] })
        assert.strictEqual(again.position, 3)
        // Another seed is another decision.
        const other = enrol("a", "ada").pipe(EventContext.derivingIds(["message", "2"]))
        assert.deepInclude(yield* flipped(other), { reason: "twice" })
      }).pipe(asNewTenant)
    )

    it.effect("have derived ids of their own, for each decision and each model", () =>
      Effect.gen(function* () {
        const both = Effect.gen(function* () {
          const decisions = yield* Decisions.Decisions
          const change = (seats: number, course = "a") =>
            decisions.execute(seatsOf(course), () => Decisions.to(Course, course, offered(seats)))
          return [yield* change(1), yield* change(2), yield* change(3, "b")]
        }).pipe(EventContext.derivingIds(["message"]))
        const ids = (executed: Effect.Success<typeof both>) =>
          executed.map(({ events, replayed }) => [events[0]?.eventId, replayed])
        const first = ids(yield* both)
        const again = ids(yield* both)
        assert.deepStrictEqual(
          again,
          first.map(([id]) => [id, true])
        )
        assert.strictEqual(new Set(first.map(([id]) => id)).size, 3)
        assert.strictEqual((yield* positions).length, 3)
      }).pipe(asNewTenant)
    )
  })
})

/** A driver in memory that runs an effect before or after a call. */
const disturbed = (
  change: (driver: EventStorage.EventStorage["Service"]) => Partial<EventStorage.EventStorage["Service"]>,
  options?: Decisions.Options
) => onDriver(changedDriver(change), options)

/** An append that no model matches. */
const toAnother = (stream: EventStorage.StreamAppend): EventStorage.StreamAppend => ({
  ...stream,
  aggregateId: "b",
  events: stream.events.map((event) =>
    Object.assign({}, event, { eventId: Event.generateId(), tags: ["course:b", "student:bob"] })
  )
})

/** An append by somebody else, through the driver. */
const byAnother = (
  driver: EventStorage.EventStorage["Service"],
  tenantId: Tenant.TenantId,
  student: string
): Effect.Effect<unknown> =>
  Effect.provide(toCourse("a", enrolled(student)), EventStore.layer, { local: true }).pipe(
    Effect.provideService(EventStorage.EventStorage, driver),
    Tenant.provide(tenantId),
    Effect.orDie
  )

describe("a decision after a concurrent append", () => {
  it.effect("is made again with the appended events, wherever they came in between", () =>
    Effect.gen(function* () {
      for (const moment of ["before the log is read", "after it was read", "after the head was read"]) {
        let done = false
        const once = (
          driver: EventStorage.EventStorage["Service"],
          tenantId: Tenant.TenantId,
          at: string
        ): Effect.Effect<unknown> =>
          Effect.suspend(() => {
            if (done || at !== moment) return Effect.void
            done = true
            return byAnother(driver, tenantId, "bob")
          })
        const Disturbed = disturbed((driver) => ({
          head: (request) =>
            Effect.tap(driver.head(request), ({ position }) =>
              position === 0 ? Effect.void : once(driver, request.tenantId, "after the head was read")
            ),
          readLog: (request) =>
            once(driver, request.tenantId, "before the log is read").pipe(
              Effect.andThen(driver.readLog(request)),
              Effect.tap(() => once(driver, request.tenantId, "after it was read"))
            )
        }))
        yield* Effect.gen(function* () {
          yield* toCourse("a", offered(1))
          assert.deepInclude(yield* flipped(enrol("a", "ada")), { reason: "full" }, moment)
          assert.deepStrictEqual(yield* positions, ["1 Offered", "2 Enrolled"], moment)
        }).pipe(asNewTenant, Effect.provide(Disturbed))
      }
    })
  )

  it.effect("reads only the new events, and none twice", () =>
    Effect.suspend(() => {
      const reads: Array<readonly [number, number]> = []
      let others = 3
      const Disturbed = disturbed((driver) => ({
        readLog: (request) => {
          reads.push([request.fromPosition, request.toPosition])
          return driver.readLog(request)
        },
        append: (request) =>
          Effect.suspend(() => {
            if (others === 0 || request.conditions === undefined) return driver.append(request)
            others--
            return Effect.andThen(
              byAnother(driver, request.tenantId, `other ${others}`),
              driver.append(request)
            )
          })
      }))
      return Effect.gen(function* () {
        yield* toCourse("a", offered(9))
        const { state } = yield* enrol("a", "ada")
        assert.deepStrictEqual(state.course.students, ["other 2", "other 1", "other 0", "ada"])
        assert.deepStrictEqual(reads, [
          [1, 1],
          [2, 2],
          [3, 3],
          [4, 4]
        ])
      }).pipe(asNewTenant, Effect.provide(Disturbed))
    })
  )

  it.effect("ignores events that do not match its query", () =>
    Effect.suspend(() => {
      let appends = 0
      const Disturbed = disturbed((driver) => ({
        append: (request) =>
          Effect.suspend(() => {
            if (request.conditions === undefined) return driver.append(request)
            appends++
            const other = { ...request, conditions: undefined, streams: request.streams.map(toAnother) }
            return Effect.andThen(driver.append(other), driver.append(request))
          })
      }))
      return Effect.gen(function* () {
        yield* toCourse("a", offered(9))
        yield* enrol("a", "ada")
        assert.strictEqual(appends, 1)
      }).pipe(asNewTenant, Effect.provide(Disturbed))
    })
  )

  const alwaysOutdated = disturbed((driver) => ({
    append: (request) =>
      Effect.suspend(() => {
        return request.conditions === undefined
          ? driver.append(request)
          : Effect.andThen(byAnother(driver, request.tenantId, "bob"), driver.append(request))
      })
  }))

  it.effect("fails with the last conflict when its schedule ends", () =>
    Effect.gen(function* () {
      yield* toCourse("a", offered(99))
      const failed = yield* flipped(enrol("a", "ada", { retry: Schedule.recurs(2) }))
      assert.deepInclude(failed, { _tag: "AppendConditionFailed", after: 3, position: 4 })
      assert.strictEqual((yield* positions).length, 4)
    }).pipe(asNewTenant, Effect.provide(alwaysOutdated))
  )

  it.effect("is tried 21 times by default", () =>
    Effect.gen(function* () {
      yield* toCourse("a", offered(99))
      const fiber = yield* Effect.forkChild(flipped(enrol("a", "ada")))
      yield* TestClock.adjust("10 seconds")
      assert.deepInclude(yield* Fiber.join(fiber), { _tag: "AppendConditionFailed" })
      assert.strictEqual((yield* positions).length, 22)
    }).pipe(asNewTenant, Effect.provide(alwaysOutdated))
  )

  it.effect("follows the schedule of the layer", () =>
    Effect.gen(function* () {
      yield* toCourse("a", offered(99))
      yield* flipped(enrol("a", "ada"))
      assert.strictEqual((yield* positions).length, 2)
    }).pipe(
      asNewTenant,
      Effect.provide(
        disturbed(
          (driver) => ({
            append: (request) =>
              Effect.suspend(() => {
                return request.conditions === undefined
                  ? driver.append(request)
                  : Effect.andThen(byAnother(driver, request.tenantId, "bob"), driver.append(request))
              })
          }),
          { retry: Schedule.recurs(0) }
        )
      )
    )
  )

  it.effect("is not tried again if it fails by itself with a conflict", () =>
    Effect.gen(function* () {
      yield* toCourse("a", offered(9), enrolled("ada"))
      const decisions = yield* Decisions.Decisions
      const store = yield* EventStore.EventStore
      let attempts = 0
      const failed = yield* flipped(
        decisions.execute(seatsOf("a"), () => {
          attempts++
          return store
            .append({
              aggregate: Course,
              id: "b",
              events: [offered(1)],
              expectedVersion: "any",
              condition: { query: seatsOf("a").query }
            })
            .pipe(Effect.as([]))
        })
      )
      assert.deepInclude(failed, { _tag: "AppendConditionFailed", after: 0, position: 1 })
      assert.strictEqual(attempts, 1)
    }).pipe(asNewTenant, Effect.provide(disturbed(() => ({}))))
  )

  it.effect("has the same derived ids after a failure of the store", () =>
    Effect.suspend(() => {
      let failing = true
      const Lost = disturbed((driver) => ({
        append: (request) =>
          Effect.suspend(() => {
            const isLost = failing && request.conditions !== undefined
            if (isLost) failing = false
            return isLost
              ? Effect.andThen(
                  driver.append(request),
                  Effect.fail(
                    new StorageUnavailable({
                      reason: new OtherFailure({ operation: "append", retryable: true, code: null })
                    })
                  )
                )
              : driver.append(request)
          })
      }))
      return Effect.gen(function* () {
        yield* toCourse("a", offered(9))
        const executed = yield* Effect.retry(enrol("a", "ada"), {
          times: 1,
          while: (error) => error._tag === "StorageUnavailable"
        }).pipe(EventContext.derivingIds(["message"]))
        assert.isTrue(executed.replayed)
        assert.strictEqual((yield* positions).length, 2)
      }).pipe(asNewTenant, Effect.provide(Lost))
    })
  )
})

describe("a decision", () => {
  it.effect("skips no events, even if one part of its model reads tolerantly", () =>
    Effect.gen(function* () {
      const Renamed = Schema.TaggedStruct("Renamed", { name: Schema.String })
      const parts = { id: Schema.String, state: Schema.Null, initial: null } as const
      const Newer = Aggregate.make("Course", { ...parts, events: [Renamed] }, (state) => state)
      const store = yield* EventStore.EventStore
      const events = [Renamed.make({ name: "b" })]
      yield* store.append({ aggregate: Newer, id: "a", events, expectedVersion: 0 })
      const counting = (aggregate: typeof Course) =>
        DecisionModel.make({ query: EventQuery.of(aggregate), initial: 0 }, (count) => count + 1)
      const strict = counting(Course)
      const tolerant = counting(Aggregate.tolerant(Course))
      assert.deepInclude(yield* read(tolerant), { state: 0, position: 1 })
      for (const model of [
        DecisionModel.combine({ tolerant, strict }),
        DecisionModel.combine({ strict, tolerant })
      ]) {
        assert.deepInclude(yield* flipped(read(model)), { _tag: "UnknownEventType", position: 1 })
      }
    }).pipe(asNewTenant, Effect.provide(disturbed(() => ({}))))
  )

  class Clerk extends Context.Service<Clerk, string>()("test/Clerk") {}
  class Nobody extends Schema.TaggedError<Nobody>()("Nobody", {}) {}

  it.effect("may require services and fail with errors of its own", () =>
    Effect.gen(function* () {
      const decisions = yield* Decisions.Decisions
      const decide = (name: string) =>
        decisions
          .execute(seatsOf("a"), () =>
            Effect.gen(function* () {
              const clerk = yield* Clerk
              if (clerk === "") return yield* new Nobody()
              return [Decisions.to(Course, "a", enrolled(clerk))]
            })
          )
          .pipe(Effect.provideService(Clerk, name))
      assert.strictEqual((yield* flipped(decide("")))._tag, "Nobody")
      assert.deepStrictEqual((yield* decide("ada")).state.students, ["ada"])
    }).pipe(asNewTenant, Effect.provide(disturbed(() => ({}))))
  )
})
