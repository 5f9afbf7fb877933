/** Helpers of the tests of queries, conditions and decision models: courses and their students. */
import { Effect, Layer, Result, Schema, Stream } from "effect"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import * as DecisionModel from "../../src/domain/DecisionModel.ts"
import * as Decisions from "../../src/store/Decisions.ts"
import * as EventQuery from "../../src/domain/EventQuery.ts"
import type * as EventStorage from "../../src/driver/EventStorage.ts"
import * as EventStore from "../../src/store/EventStore.ts"

export const Offered = Schema.TaggedStruct("Offered", { seats: Schema.Int })
export const Enrolled = Schema.TaggedStruct("Enrolled", { student: Schema.String })
export const Left = Schema.TaggedStruct("Left", { student: Schema.String })
export const Registered = Schema.TaggedStruct("Registered", { email: Schema.String })

export const ofCourse = (course: string): string => `course:${course}`
export const ofStudent = (student: string): string => `student:${student}`
const ofEmail = (email: string): string => `email:${email}`

const both = ({ student }: { readonly student: string }, course: string) => [
  ofCourse(course),
  ofStudent(student)
]

const parts = { id: Schema.String, state: Schema.Null, initial: null } as const

export const Course = Aggregate.make(
  "Course",
  {
    ...parts,
    events: [Offered, Enrolled, Left],
    tags: { Offered: (_event, course) => [ofCourse(course)], Enrolled: both, Left: both }
  },
  (state) => state
)

export const Student = Aggregate.make(
  "Student",
  {
    ...parts,
    events: [Registered],
    tags: ({ email }, student) => [ofStudent(student), ofEmail(email)]
  },
  (state) => state
)

/** Has an event of the same type and with the same tags as a course. */
export const Club = Aggregate.make("Club", { ...parts, events: [Enrolled], tags: both }, (state) => state)

export const offered = (seats: number): typeof Offered.Type => Offered.make({ seats })
export const enrolled = (student: string): typeof Enrolled.Type => Enrolled.make({ student })
export const left = (student: string): typeof Left.Type => Left.make({ student })
export const registered = (email: string): typeof Registered.Type => Registered.make({ email })

/** The seats and students of a course. */
export interface Seats {
  readonly seats: number
  readonly students: ReadonlyArray<string>
}

const nobody: Seats = { seats: 0, students: [] }

export const seatsOf = (course: string): DecisionModel.DecisionModel<Seats> =>
  DecisionModel.make(
    {
      query: EventQuery.of(Course, { tags: [ofCourse(course)] }),
      initial: nobody
    },
    {
      Offered: (state, { seats }) => ({ ...state, seats }),
      Enrolled: (state, { student }) => ({ ...state, students: [...state.students, student] }),
      Left: (state, { student }) => ({
        ...state,
        students: state.students.filter((other) => other !== student)
      })
    }
  )

const none: ReadonlyArray<string> = []

/** The courses of a student. */
export const coursesOf = (student: string): DecisionModel.DecisionModel<ReadonlyArray<string>> =>
  DecisionModel.make(
    {
      query: EventQuery.of(Course, { types: ["Enrolled", "Left"], tags: [ofStudent(student)] }),
      initial: none
    },
    {
      Enrolled: (courses, _event, { aggregateId }) => [...courses, aggregateId],
      Left: (courses, _event, { aggregateId }) => courses.filter((course) => course !== aggregateId)
    }
  )

const isTaken = (email: string): DecisionModel.DecisionModel<boolean> =>
  DecisionModel.make(
    { query: EventQuery.of(Student, { tags: [ofEmail(email)] }), initial: false },
    { Registered: () => true }
  )

export const maxCourses = 2

export class Refused extends Schema.TaggedError<Refused>()("Refused", {
  reason: Schema.Literals(["full", "busy", "twice", "absent", "taken"])
}) {}

/** The state that an enrolment needs. */
export const enrolment = (course: string, student: string) =>
  DecisionModel.combine({ course: seatsOf(course), student: coursesOf(student) })

/** Decides if a student may enrol. */
const mayEnrol = (
  student: string,
  known: { readonly course: Seats; readonly student: ReadonlyArray<string> }
): Refused["reason"] | undefined => {
  if (known.course.students.includes(student)) return "twice"
  if (known.course.students.length >= known.course.seats) return "full"
  return known.student.length >= maxCourses ? "busy" : undefined
}

export const offer = (course: string, seats: number) =>
  Decisions.Decisions.use((decisions) =>
    decisions.execute(seatsOf(course), () => Decisions.to(Course, course, offered(seats)))
  )

export const enrol = (course: string, student: string, options?: Decisions.ExecuteOptions) =>
  Decisions.Decisions.use((decisions) =>
    decisions.execute(
      enrolment(course, student),
      (known) => {
        const reason = mayEnrol(student, known)
        return reason === undefined
          ? Result.succeed(Decisions.to(Course, course, enrolled(student)))
          : Result.fail(new Refused({ reason }))
      },
      options
    )
  )

export const register = (student: string, email: string) =>
  Decisions.Decisions.use((decisions) =>
    decisions.execute(isTaken(email), (taken) =>
      taken
        ? Effect.fail(new Refused({ reason: "taken" }))
        : Effect.succeed(Decisions.to(Student, student, registered(email)))
    )
  )

/** Decisions and the store, on a driver. */
export const onDriver = <E, R>(
  driver: Layer.Layer<EventStorage.EventStorage, E, R>,
  options: Decisions.Options = {}
): Layer.Layer<Decisions.Decisions | EventStore.EventStore | EventStorage.EventStorage, E, R> =>
  Decisions.layerWith(options).pipe(Layer.provideMerge(EventStore.layer), Layer.provideMerge(driver))

/** Appends to a course. */
export const toCourse = (
  course: string,
  ...events: ReadonlyArray<typeof Offered.Type | typeof Enrolled.Type | typeof Left.Type>
) =>
  EventStore.EventStore.use((store) =>
    store.append({ aggregate: Course, id: course, events, expectedVersion: "any" })
  )

/** The types and positions of the events that a query finds. */
export const found = (query: EventQuery.Any, options: EventStore.ReadOptions = {}) =>
  EventStore.EventStore.use((store) =>
    store.readLog({ aggregates: [Course, Student, Club], query, ...options }).pipe(
      Stream.map(({ eventType, position }) => `${position} ${eventType}`),
      Stream.runCollect
    )
  )
