/** Concurrent decisions are linearizable: some sequential order explains their outcomes. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Layer, Result, Schedule, Schema } from "effect"
import * as Decisions from "../../src/store/Decisions.ts"
import * as EventQuery from "../../src/domain/EventQuery.ts"
import * as EventStorage from "../../src/driver/EventStorage.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import { backends } from "../support/backends.ts"
import { asNewTenant } from "../support/bank.ts"
import {
  Course,
  enrol,
  enrolled,
  enrolment,
  found,
  left,
  maxCourses,
  offer,
  offered,
  onDriver,
  Refused,
  register,
  seatsOf,
  Student
} from "../support/enrolment.ts"

/** Yields before each call, because the storage in memory would answer at once. */
const takingTurns = <E, R>(
  driver: Layer.Layer<EventStorage.EventStorage, E, R>
): Layer.Layer<EventStorage.EventStorage, E, R> =>
  Layer.effect(
    EventStorage.EventStorage,
    Effect.map(EventStorage.EventStorage, (storage) => ({
      ...storage,
      append: (request) => Effect.andThen(Effect.yieldNow, storage.append(request)),
      readLog: (request) => Effect.andThen(Effect.yieldNow, storage.readLog(request)),
      head: (request) => Effect.andThen(Effect.yieldNow, storage.head(request))
    }))
  ).pipe(Layer.provide(driver))

const course = Schema.Literals(["a", "b"])
const student = Schema.Literals(["1", "2", "3", "4"])
const Operation = Schema.Union([
  Schema.TaggedStruct("Offer", {
    course,
    seats: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 3 }))
  }),
  Schema.TaggedStruct("Enrol", { course, student }),
  Schema.TaggedStruct("Enrol", { course, student }),
  Schema.TaggedStruct("Leave", { course, student })
])
type Operation = typeof Operation.Type
const Operations = Schema.Array(Operation).check(Schema.isMinLength(8), Schema.isMaxLength(40))

/** The outcome of an operation: an event of a course, or the reason for its refusal. */
type Answer = string

/** The sequential model, without queries, positions and conditions. */
class School {
  readonly seats = new Map<string, number>()
  readonly seated = new Map<string, Set<string>>()

  answer(operation: Operation): Answer {
    const students = this.seated.get(operation.course) ?? new Set()
    switch (operation._tag) {
      case "Offer":
        return operation.seats < students.size ? "full" : `Offered ${operation.course} ${operation.seats}`
      case "Leave":
        return students.has(operation.student) ? `Left ${operation.course} ${operation.student}` : "absent"
      case "Enrol": {
        if (students.has(operation.student)) return "twice"
        if (students.size >= (this.seats.get(operation.course) ?? 0)) return "full"
        const courses = [...this.seated.values()].filter((others) => others.has(operation.student)).length
        return courses >= maxCourses - 1 ? "busy" : `Enrolled ${operation.course} ${operation.student}`
      }
    }
  }

  change(operation: Operation): void {
    if (operation._tag === "Offer") this.seats.set(operation.course, operation.seats)
    else {
      const students = this.seated.get(operation.course) ?? new Set()
      this.seated.set(operation.course, students)
      if (operation._tag === "Enrol") students.add(operation.student)
      else students.delete(operation.student)
    }
  }
}

const refuse = (reason: Refused["reason"]) => Result.fail(new Refused({ reason }))

/** The same operations with decision models; counts the decisions. */
const carryOut = (operation: Operation, count: () => void) =>
  Effect.gen(function* () {
    const decisions = yield* Decisions.Decisions
    const id = operation.course
    switch (operation._tag) {
      case "Offer":
        return yield* decisions.execute(seatsOf(id), ({ students }) => {
          count()
          return operation.seats < students.length
            ? refuse("full")
            : Result.succeed(Decisions.to(Course, id, offered(operation.seats)))
        })
      case "Leave":
        return yield* decisions.execute(seatsOf(id), ({ students }) => {
          count()
          return students.includes(operation.student)
            ? Result.succeed(Decisions.to(Course, id, left(operation.student)))
            : refuse("absent")
        })
      case "Enrol":
        return yield* decisions.execute(enrolment(id, operation.student), (known) => {
          count()
          if (known.course.students.includes(operation.student)) return refuse("twice")
          if (known.course.students.length >= known.course.seats) return refuse("full")
          if (known.student.length >= maxCourses - 1) return refuse("busy")
          return Result.succeed(Decisions.to(Course, id, enrolled(operation.student)))
        })
    }
  })

const describeEvent = (aggregateId: string, payload: (typeof Course.events)[number]["Type"]): Answer =>
  payload._tag === "Offered"
    ? `Offered ${aggregateId} ${payload.seats}`
    : `${payload._tag} ${aggregateId} ${payload.student}`

/** An operation, its outcome, and the last positions of the log before and after it. */
interface Done {
  readonly operation: Operation
  readonly answer: Answer
  readonly position: number | undefined
  readonly before: number
  readonly after: number
}

const runConcurrently = (operations: ReadonlyArray<Operation>, count: () => void) =>
  Effect.forEach(
    operations,
    (operation) =>
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        const before = yield* store.position
        const outcome = yield* carryOut(operation, count).pipe(
          Effect.map(({ events: [event] }) => ({
            answer: event === undefined ? "nothing" : describeEvent(event.aggregateId, event.payload),
            position: event?.position
          })),
          Effect.catchTag("Refused", ({ reason }) => Effect.succeed({ answer: reason, position: undefined }))
        )
        return { operation, ...outcome, before, after: yield* store.position }
      }),
    { concurrency: 16 }
  )

/** Fails unless some order explains the answers in which each operation lies between its begin and its end. */
const assertSequential = (done: ReadonlyArray<Done>): void => {
  const byPosition = new Map(done.map((each) => [each.position, each]))
  const written = done.filter(({ position }) => position !== undefined).length
  const school = new School()
  const refused = done.filter(({ position }) => position === undefined)
  const explained = new Set<Done>()
  for (let position = 0; position <= written; position++) {
    if (position > 0) {
      const each = byPosition.get(position) ?? assert.fail(`nobody has written position ${position}`)
      assert.isAbove(position, each.before)
      assert.strictEqual(each.answer, school.answer(each.operation), `at position ${position}`)
      school.change(each.operation)
    }
    for (const each of refused) {
      if (position >= each.before && position <= each.after && each.answer === school.answer(each.operation))
        explained.add(each)
    }
    for (const [id, students] of school.seated) assert.isAtMost(students.size, school.seats.get(id) ?? 0)
  }
  assert.deepStrictEqual(
    refused.filter((each) => !explained.has(each)),
    [],
    "refused for a reason that there was at no time"
  )
}

describe.each(backends)("concurrent decisions on $name", (backend) => {
  // Each conflict means that another operation has succeeded, so there cannot be more conflicts than that.
  // Not joined, because decisions that are made together do not conflict.
  const patient: Decisions.Options = { retry: Schedule.recurs(100), join: false }
  layer(onDriver(takingTurns(backend.layer), patient), { excludeTestServices: true })((it) => {
    let decided = 0
    let given = 0

    it.effect.prop(
      "have the same outcomes as if they had been made one after another, in some order",
      [Operations],
      ([operations]) =>
        Effect.gen(function* () {
          given += operations.length
          // Both courses exist, so that students can enrol.
          const all: ReadonlyArray<Operation> = [
            { _tag: "Offer", course: "a", seats: 2 },
            { _tag: "Offer", course: "b", seats: 1 },
            ...operations
          ]
          assertSequential(yield* runConcurrently(all, () => decided++))
        }).pipe(asNewTenant),
      { arbitrary: { runs: backend.name === "memory" ? 60 : 6, size: 40 } }
    )

    it.effect("no decision was made again, so the test shows nothing", () =>
      Effect.sync(() => assert.isAbove(decided, given * 1.2))
    )

    it.effect("never exceed the limit of either side", () =>
      Effect.gen(function* () {
        const courses = ["a", "b", "c"]
        yield* Effect.forEach(courses, (id) => offer(id, 4))
        const students = Array.from({ length: 16 }, (_, n) => `student ${n}`)
        yield* Effect.forEach(
          students.flatMap((each) => courses.map((id) => ({ id, each }))),
          ({ each, id }) => Effect.result(enrol(id, each)),
          { concurrency: 32 }
        )
        const decisions = yield* Decisions.Decisions
        const seated = yield* Effect.forEach(courses, (id) => decisions.read(seatsOf(id)))
        // Each student asked for each course, so no course can have a free seat.
        assert.deepStrictEqual(
          seated.map(({ state }) => state.students.length),
          [4, 4, 4]
        )
        for (const each of students) {
          const attended = seated.filter(({ state }) => state.students.includes(each))
          assert.isAtMost(attended.length, maxCourses)
        }
      }).pipe(asNewTenant)
    )

    it.effect("give a name to only one of many that ask for it", () =>
      Effect.gen(function* () {
        const outcomes = yield* Effect.forEach(
          Array.from({ length: 32 }, (_, n) => `student ${n}`),
          (each) => Effect.result(register(each, "a@b")),
          { concurrency: 32 }
        )
        assert.strictEqual(outcomes.filter(Result.isSuccess).length, 1)
        assert.deepStrictEqual(yield* found(EventQuery.of(Student)), ["1 Registered"])
      }).pipe(asNewTenant)
    )
  })
})
