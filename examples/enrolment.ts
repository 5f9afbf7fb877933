/**
 * Students enrol in courses, 32 at a time. A course has a limited number of seats, a student limited time, and an e-mail
 * address belongs to one student. No single stream holds all of that, but the tenant's log does.
 *
 *     npx tsx examples/enrolment.ts
 *
 * The database is a PostgreSQL inside this process. With DATABASE_URL it is that server; its user must own the database,
 * because the program applies the migrations.
 */
import type { PgClient } from "@effect/sql-pg"
import { Array as Arr, Console, Effect, Layer, Redacted, Result, Schema } from "effect"
import { Aggregate, DecisionModel, Decisions, EventQuery, EventStore, Tenant } from "effect-eventsourcing"
import { PgEmbedded, PgMigrator, PgServer, PgStorage } from "effect-eventsourcing/pg"
import type { SqlClient, SqlError } from "effect/sql"

// Events, with the tags by which decisions find them: an enrolment concerns a course and a student.

const CourseOffered = Schema.TaggedStruct("CourseOffered", { seats: Schema.Int })
const StudentEnrolled = Schema.TaggedStruct("StudentEnrolled", { studentId: Schema.String })
const StudentRegistered = Schema.TaggedStruct("StudentRegistered", { email: Schema.String })

const ofCourse = (courseId: string) => `course:${courseId}`
const ofStudent = (studentId: string) => `student:${studentId}`
const ofEmail = (email: string) => `email:${email.toLowerCase()}`

const Course = Aggregate.make(
  "Course",
  {
    id: Schema.NonEmptyString,
    state: Schema.Null,
    initial: null,
    events: [CourseOffered, StudentEnrolled],
    tags: {
      CourseOffered: (_event, courseId) => [ofCourse(courseId)],
      StudentEnrolled: ({ studentId }, courseId) => [ofCourse(courseId), ofStudent(studentId)]
    }
  },
  (state) => state
)

const Student = Aggregate.make(
  "Student",
  {
    id: Schema.NonEmptyString,
    state: Schema.Null,
    initial: null,
    events: [StudentRegistered],
    tags: ({ email }, studentId) => [ofStudent(studentId), ofEmail(email)]
  },
  (state) => state
)

// Decision models: the events that matter for a decision, and the state that they amount to.

const seatsOf = (courseId: string) =>
  DecisionModel.make(
    {
      query: EventQuery.of(Course, { tags: [ofCourse(courseId)] }),
      initial: { seats: 0, students: Arr.empty<string>() }
    },
    {
      CourseOffered: (_state, { seats }) => ({ seats, students: [] }),
      StudentEnrolled: (state, { studentId }) => ({ ...state, students: [...state.students, studentId] })
    }
  )

const timetableOf = (studentId: string) =>
  DecisionModel.make(
    {
      query: EventQuery.or(
        EventQuery.of(Student, { tags: [ofStudent(studentId)] }),
        EventQuery.of(Course, { types: ["StudentEnrolled"], tags: [ofStudent(studentId)] })
      ),
      initial: { registered: false, courses: 0 }
    },
    {
      StudentRegistered: (state) => ({ ...state, registered: true }),
      StudentEnrolled: (state) => ({ ...state, courses: state.courses + 1 })
    }
  )

const isTaken = (email: string) =>
  DecisionModel.make(
    { query: EventQuery.of(Student, { tags: [ofEmail(email)] }), initial: false },
    { StudentRegistered: () => true }
  )

// Decisions

const coursesPerStudent = 2

class CourseFull extends Schema.TaggedError<CourseFull>()("CourseFull", {}) {}
class NoMoreTime extends Schema.TaggedError<NoMoreTime>()("NoMoreTime", {}) {}
class NotRegistered extends Schema.TaggedError<NotRegistered>()("NotRegistered", {}) {}
class EmailTaken extends Schema.TaggedError<EmailTaken>()("EmailTaken", {}) {}

const offer = (courseId: string, seats: number) =>
  Decisions.Decisions.use((decisions) =>
    decisions.execute(seatsOf(courseId), (course) =>
      course.seats > 0 ? [] : Decisions.to(Course, courseId, CourseOffered.make({ seats }))
    )
  )

const register = (studentId: string, email: string) =>
  Decisions.Decisions.use((decisions) =>
    decisions.execute(isTaken(email), (taken) =>
      taken
        ? Result.fail(new EmailTaken())
        : Result.succeed(Decisions.to(Student, studentId, StudentRegistered.make({ email })))
    )
  )

const enrol = (studentId: string, courseId: string) =>
  Decisions.Decisions.use((decisions) =>
    decisions.execute(
      DecisionModel.combine({ course: seatsOf(courseId), student: timetableOf(studentId) }),
      ({ course, student }) => {
        if (!student.registered) return Result.fail(new NotRegistered())
        if (course.students.includes(studentId)) return []
        if (course.students.length >= course.seats) return Result.fail(new CourseFull())
        if (student.courses >= coursesPerStudent) return Result.fail(new NoMoreTime())
        return Decisions.to(Course, courseId, StudentEnrolled.make({ studentId }))
      }
    )
  )

// Program

const courses = ["algebra", "botany", "chemistry", "dancing"]
const students = Arr.makeBy(32, (n) => `student-${n + 1}`)

/** A term at a school: all students register, and all ask for every course at the same time. */
const term = Effect.fnUntraced(function* (school: string, seats: number) {
  const decisions = yield* Decisions.Decisions
  yield* Effect.forEach(courses, (course) => offer(course, seats), { discard: true })

  const registered = yield* Effect.forEach(
    students,
    (student, n) =>
      // The last two try to use the address of the first.
      register(student, n < 30 ? `${student}@${school}.example` : `Student-1@${school}.example`).pipe(
        Effect.as("registered"),
        Effect.catchTag("EmailTaken", () => Effect.succeed("refused"))
      ),
    { concurrency: 32 }
  )
  yield* Console.log(`${school}: ${count(registered)}`)

  const requests = courses.flatMap((course) => students.map((student) => ({ course, student })))
  const asked = yield* Effect.forEach(
    requests,
    ({ course, student }) =>
      enrol(student, course).pipe(
        Effect.as("enrolled"),
        Effect.catchTag(["CourseFull", "NoMoreTime", "NotRegistered"], () => Effect.succeed("refused"))
      ),
    { concurrency: 32 }
  )
  yield* Console.log(`  requests: ${count(asked)}`)

  for (const course of courses) {
    const { state } = yield* decisions.read(seatsOf(course))
    yield* Console.log(`  ${course}: ${state.students.length} of ${state.seats} seats are taken`)
  }
  const timetables = yield* Effect.forEach(students, (student) => decisions.read(timetableOf(student)))
  const overdone = timetables.filter(({ state }) => state.courses > coursesPerStudent)
  yield* Console.log(`  ${overdone.length} students have more than ${coursesPerStudent} courses`)
})

/** Counts equal answers. */
const count = (answers: ReadonlyArray<string>): string =>
  Object.entries(Arr.groupBy(answers, (answer) => answer))
    .map(([answer, { length }]) => `${length} ${answer}`)
    .toSorted()
    .join(", ")

const program = Effect.gen(function* () {
  const [north, south] = [yield* Tenant.generate, yield* Tenant.generate]
  // Both schools have courses and students of the same names.
  yield* term("north-school", 5).pipe(Tenant.provide(north))
  yield* term("south-school", 3).pipe(Tenant.provide(south))
})

const url = process.env["DATABASE_URL"]
const Client: Layer.Layer<
  PgClient.PgClient | SqlClient.SqlClient,
  PgEmbedded.PgEmbeddedError | SqlError.SqlError
> = url === undefined ? PgEmbedded.layer : PgServer.layer({ url: Redacted.make(url) })

const App = Decisions.layer.pipe(
  Layer.provide(EventStore.layer),
  Layer.provide(PgStorage.layer),
  Layer.provide(PgMigrator.layer),
  Layer.provide(Client)
)

Effect.runPromise(program.pipe(Effect.provide(App)))
