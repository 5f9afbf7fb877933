/** Decisions with derived ids while the log loses its end: a failover comes before any of the requests that find an earlier run. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as EventContext from "../../src/domain/EventContext.ts"
import type { CurrentTenant } from "../../src/domain/Tenant.ts"
import { EventStorage } from "../../src/driver/EventStorage.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import * as Decisions from "../../src/store/Decisions.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import { asNewTenant } from "../support/bank.ts"
import { Course, enrolled, offer, registered, seatsOf, Student, toCourse } from "../support/enrolment.ts"
import { failover, Failover } from "../support/failover.ts"

/** Two histories, and a switch to the other one before the request with a number. */
const makeStore = () => {
  let left = Infinity
  const driver = Layer.effect(
    EventStorage,
    Effect.gen(function* () {
      const storage = yield* EventStorage
      const { switchOver } = yield* Failover
      return new Proxy(storage, {
        get: (_, key): unknown => {
          if (key !== "inTransaction" && --left === 0) Effect.runSync(switchOver)
          return Reflect.get(storage, key)
        }
      })
    })
  ).pipe(Layer.provideMerge(failover(MemoryStorage.layer)))
  return {
    layer: Layer.provideMerge(Decisions.layer, Layer.provideMerge(EventStore.layer, driver)),
    switchBefore: (request: number): void => {
      left = request
    }
  }
}

type Decide = (student: string) => Decisions.AnyDecided

/** A decision whose events match its query, and ones whose do not. */
const decisions: Readonly<Record<string, Decide>> = {
  "a decision on its own events": (student) => Decisions.to(Course, "c", enrolled(student)),
  "a decision on other events": (student) => Decisions.to(Student, "s", registered(student)),
  "a decision on some of its events": (student) => Decisions.to(Course, "d", enrolled(student), enrolled("d"))
}

const carryOut = (decide: Decide, student: string, meanwhile: Effect.Effect<unknown> = Effect.void) => {
  let isFirst = true
  return Decisions.Decisions.use(({ execute }) =>
    execute(seatsOf("c"), () => {
      const before = isFirst ? meanwhile : Effect.void
      isFirst = false
      return Effect.as(before, decide(student))
    })
  ).pipe(EventContext.derivingIds(["decision"]))
}

const nameOf = (payload: unknown): unknown => {
  assert(typeof payload === "object" && payload !== null)
  return "student" in payload ? payload.student : "email" in payload ? payload.email : undefined
}

type Needs = Decisions.Decisions | EventStore.EventStore | CurrentTenant

describe.each(Object.entries(decisions))("%s", (_, decide) => {
  const toMany = (students: ReadonlyArray<string>) =>
    Effect.andThen(offer("c", 99), toCourse("c", ...students.map(enrolled)))
  const inCourse = (students: ReadonlyArray<string>, student: string): ReadonlyArray<string> =>
    decide(student).id === "c" ? [...students, student] : students

  it.effect.each([
    {
      history: "has not made it",
      others: toMany(["7", "8", "9"]) as Effect.Effect<unknown, unknown, Needs>,
      students: ["7", "8", "9"],
      first: "1",
      replayed: false
    },
    {
      history: "has made it otherwise",
      others: Effect.andThen(toMany(["7", "8"]), carryOut(decide, "4")),
      students: ["7", "8"],
      first: "4",
      replayed: true
    }
  ])(
    "has an outcome of one history if the log is replaced by one that $history",
    ({ first, others, replayed, students }) =>
      Effect.gen(function* () {
        const seen = new Set<string>()
        for (const isFaster of [false, true]) {
          for (let request = 1; request < 14; request++) {
            const store = makeStore()
            const { events, state, ...outcome } = yield* Effect.gen(function* () {
              const { switchOver } = yield* Failover
              yield* toMany(["0"])
              if (!isFaster) yield* carryOut(decide, "x")
              yield* switchOver
              yield* others
              yield* switchOver
              if (!isFaster) {
                store.switchBefore(request)
                return yield* carryOut(decide, "1")
              }
              const context = yield* Effect.context<Needs>()
              const faster = Effect.provide(Decisions.layer, { local: true })(carryOut(decide, "x")).pipe(
                Effect.andThen(Effect.sync(() => store.switchBefore(request))),
                Effect.provide(context),
                Effect.orDie
              )
              return yield* carryOut(decide, "1", faster)
            }).pipe(asNewTenant, Effect.provide(store.layer))
            const isOwn = nameOf(events[0]?.payload) === "x"
            seen.add(`${isFaster} ${isOwn}`)
            assert.deepStrictEqual(
              [state.students, nameOf(events[0]?.payload), outcome.replayed],
              isOwn ? [inCourse(["0"], "x"), "x", true] : [inCourse(students, first), first, replayed],
              `with the switch before request ${request}, ${isFaster}`
            )
          }
        }
        assert.lengthOf(seen, 4)
      })
  )
})
