import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Result, Schema } from "effect"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import * as DecisionModel from "../../src/domain/DecisionModel.ts"
import * as Decisions from "../../src/store/Decisions.ts"
import * as Event from "../../src/domain/Event.ts"
import * as EventContext from "../../src/domain/EventContext.ts"
import * as EventQuery from "../../src/domain/EventQuery.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import { StorageUnavailable, OtherFailure } from "../../src/driver/StoreError.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as Upcaster from "../../src/domain/Upcaster.ts"
import { backends } from "../support/backends.ts"
import { asNewTenant, changedDriver } from "../support/bank.ts"
import {
  Club,
  Course,
  enrolled,
  found,
  offered,
  onDriver,
  registered,
  seatsOf,
  Student,
  toCourse
} from "../support/enrolment.ts"
import { flipped } from "../../src/testing/failures.ts"

const everything = found(
  EventQuery.or(EventQuery.or(EventQuery.of(Course), EventQuery.of(Student)), EventQuery.of(Club))
)

const toA = Decisions.to(Course, "a", enrolled("ada"))
const toStudent = Decisions.to(Student, "ada", registered("a@b"))
const toClub = Decisions.to(Club, "chess", enrolled("ada"), enrolled("eve"))

/** Can be decided only once: it fails as soon as anybody is in the course. */
const once = (...decided: ReadonlyArray<Decisions.AnyDecided>) =>
  Decisions.Decisions.use((decisions) =>
    decisions.execute(seatsOf("a"), ({ students }) =>
      students.length === 0 ? Result.succeed(decided) : Result.fail("taken" as const)
    )
  )

const delivered = EventContext.derivingIds(["message", "1"])

const some = [
  ["the first of which matters", [toA, toStudent]],
  ["the last of which matters", [toStudent, toClub, toA]],
  ["one of which matters", [toClub, toA, toStudent]],
  ["none of which matters", [toStudent, toClub]]
] as const

describe.each(backends)("a repeated decision on $name", (backend) => {
  layer(onDriver(backend.layer), { excludeTestServices: true })((test) => {
    for (const [what, decided] of some) {
      test.effect(`returns all of its events, ${what}, in their order and with the present state`, () =>
        Effect.gen(function* () {
          yield* toCourse("a", offered(1))
          yield* toCourse("b", offered(1))
          const first = yield* once(...decided).pipe(delivered)
          assert.isFalse(first.replayed)
          yield* toCourse("a", enrolled("bob"), offered(7))
          const before = yield* everything
          const again = yield* once(...decided).pipe(delivered)
          assert.isTrue(again.replayed)
          assert.deepStrictEqual(again.events, first.events)
          assert.deepInclude(again.state, { seats: 7 })
          assert.strictEqual(again.position, before.length)
          assert.deepStrictEqual(yield* everything, before)
        }).pipe(asNewTenant)
      )
    }

    test.effect("returns them even if it would now decide other events, fewer, or none", () =>
      Effect.gen(function* () {
        yield* toCourse("a", offered(1))
        const execute = (...decided: ReadonlyArray<Decisions.AnyDecided>) =>
          Decisions.Decisions.use((decisions) => decisions.execute(seatsOf("a"), () => decided)).pipe(
            delivered
          )
        const first = yield* execute(toStudent, toClub)
        const before = yield* everything
        const named = Event.make(enrolled("dan"), { eventId: Event.generateId() })
        const others = [
          [toStudent],
          [toClub],
          [],
          [toStudent, toClub, toA],
          [Decisions.to(Club, "chess", named)],
          [Decisions.to(Student, "eve", registered("e@f"))]
        ]
        for (const other of others) {
          const again = yield* execute(...other)
          assert.isTrue(again.replayed)
          // The model contains neither students nor clubs, so the aggregates that `decide` no longer names cannot be read.
          const types = new Set<string>(other.map(({ aggregate }) => aggregate.type))
          assert.deepStrictEqual(
            again.events,
            first.events.filter(({ aggregateType }) => types.has(aggregateType))
          )
        }
        assert.deepStrictEqual(yield* everything, before)
      }).pipe(asNewTenant)
    )

    test.effect("returns events with ids of their own too, if they lie between the others", () =>
      Effect.gen(function* () {
        const named = Event.make(enrolled("eve"), { eventId: Event.generateId() })
        const decided = [toStudent, Decisions.to(Course, "b", named, named.payload), toA]
        const first = yield* once(...decided).pipe(delivered)
        assert.strictEqual(first.events.length, 4)
        const again = yield* once(...decided).pipe(delivered)
        assert.deepStrictEqual(again.events, first.events)
      }).pipe(asNewTenant)
    )

    test.effect(
      "is made for each tenant, and fails as usual in a tenant for which it was not made before",
      () =>
        Effect.gen(function* () {
          const [a, b] = [yield* Tenant.generate, yield* Tenant.generate]
          yield* once(toStudent).pipe(delivered, Tenant.provide(a))
          yield* toCourse("a", enrolled("bob")).pipe(Tenant.provide(b))
          const before = yield* everything.pipe(Tenant.provide(b))
          const failure = yield* flipped(once(toStudent).pipe(delivered, Tenant.provide(b)))
          assert.strictEqual(failure, "taken")
          assert.deepStrictEqual(yield* everything.pipe(Tenant.provide(b)), before)
        })
    )

    test.effect("returns all parts of an event that an upcaster splits", () =>
      Effect.gen(function* () {
        const Moved = Schema.TaggedStruct("Moved", { city: Schema.String, street: Schema.String })
        const City = Schema.TaggedStruct("City", { city: Schema.String })
        const Street = Schema.TaggedStruct("Street", { street: Schema.String })
        const parts = { id: Schema.String, state: Schema.Null, initial: null } as const
        const Former = Aggregate.make("Person", { ...parts, events: [Moved, City] }, (state) => state)
        const Present = Aggregate.make(
          "Person",
          {
            ...parts,
            events: [City, Street],
            upcasters: [
              Upcaster.from(Moved).into([City, Street], ({ city, street }) => [
                City.make({ city }),
                Street.make({ street })
              ])
            ]
          },
          (state) => state
        )
        const model = <A extends Aggregate.Any>(aggregate: A) =>
          DecisionModel.make({ query: EventQuery.of(aggregate), initial: 0 }, (count) => count + 1)
        const decisions = yield* Decisions.Decisions
        yield* decisions
          .execute(model(Former), () =>
            Decisions.to(
              Former,
              "1",
              Moved.make({ city: "A", street: "B" }),
              City.make({ city: "C" }),
              Moved.make({ city: "D", street: "E" })
            )
          )
          .pipe(delivered)
        const again = yield* decisions
          .execute(model(Present), () => Decisions.to(Present, "1", City.make({ city: "X" })))
          .pipe(delivered)
        assert.strictEqual(again.state, 5)
        assert.deepStrictEqual(
          again.events.map(({ eventType, part, position }) => [eventType, position, part]),
          [
            ["City", 1, undefined],
            ["Street", 1, 1],
            ["City", 2, undefined],
            ["City", 3, undefined],
            ["Street", 3, 1]
          ]
        )
      }).pipe(asNewTenant)
    )
  })
})

describe("a repeated decision", () => {
  it.effect("does not run if all of its events belong to its model", () =>
    Effect.gen(function* () {
      let runs = 0
      const run = Decisions.Decisions.use((decisions) =>
        decisions.execute(seatsOf("a"), () => {
          runs++
          return toA
        })
      ).pipe(delivered)
      yield* run
      assert.isTrue((yield* run).replayed)
      assert.strictEqual(runs, 1)
    }).pipe(asNewTenant, Effect.provide(onDriver(MemoryStorage.layer)))
  )

  it.effect("is found many pages back", () =>
    Effect.gen(function* () {
      const offers = Array.from({ length: 700 }, () => offered(1))
      yield* toCourse("b", ...offers)
      const first = yield* once(toStudent, toClub).pipe(delivered)
      yield* toCourse("b", ...offers)
      yield* toCourse("a", enrolled("bob"))
      assert.deepStrictEqual((yield* once(toStudent, toClub).pipe(delivered)).events, first.events)
    }).pipe(asNewTenant, Effect.provide(onDriver(MemoryStorage.layer)))
  )

  it.effect("reads only its model if it fails and was not made before", () =>
    Effect.suspend(() => {
      let read = 0
      const Counting = changedDriver((driver) => ({
        readLog: (request) => Effect.suspend(() => (read++, driver.readLog(request)))
      }))
      return Effect.gen(function* () {
        yield* toCourse("a", enrolled("bob"))
        assert.strictEqual(yield* flipped(once(toStudent).pipe(delivered)), "taken")
        assert.strictEqual(read, 1)
      }).pipe(asNewTenant, Effect.provide(onDriver(Counting)))
    })
  )

  it.effect("has the same ids after the store failed during the search for it", () =>
    Effect.suspend(() => {
      let failing = false
      const Failing = changedDriver((driver) => ({
        append: (request) =>
          Effect.suspend(() => {
            if (!failing) return driver.append(request)
            failing = false
            return Effect.fail(
              new StorageUnavailable({
                reason: new OtherFailure({ operation: "append", retryable: true, code: null })
              })
            )
          })
      }))
      return Effect.gen(function* () {
        const first = yield* once(toStudent).pipe(delivered)
        yield* toCourse("a", enrolled("bob"))
        failing = true
        const again = yield* once(toStudent).pipe(
          Effect.retry({ times: 1, while: (error) => error !== "taken" }),
          delivered
        )
        assert.isTrue(again.replayed)
        assert.deepStrictEqual(again.events, first.events)
      }).pipe(asNewTenant, Effect.provide(onDriver(Failing)))
    })
  )
})
