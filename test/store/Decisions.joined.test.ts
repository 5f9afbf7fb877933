import { assert, describe, it, layer } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Latch, Layer, Result, Schedule } from "effect"
import * as DecisionModel from "../../src/domain/DecisionModel.ts"
import * as Event from "../../src/domain/Event.ts"
import * as EventContext from "../../src/domain/EventContext.ts"
import * as EventQuery from "../../src/domain/EventQuery.ts"
import * as Decisions from "../../src/store/Decisions.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import type { AppendRequest } from "../../src/driver/EventStorage.ts"
import { ProjectionStorage } from "../../src/driver/ProjectionStorage.ts"
import { OutcomeUnknown } from "../../src/driver/StoreError.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { flipped } from "../../src/testing/failures.ts"
import { backends } from "../support/backends.ts"
import { asNewTenant, changedDriver } from "../support/bank.ts"
import {
  Course,
  enrolled,
  left,
  offer,
  ofCourse,
  ofStudent,
  onDriver,
  Refused,
  seatsOf,
  toCourse
} from "../support/enrolment.ts"
import { Failover, failover } from "../support/failover.ts"

const full = new Refused({ reason: "full" })

/** All decide on one equal query, with a model each. */
const enrol = (student: string, options?: Decisions.ExecuteOptions) =>
  Decisions.Decisions.use((decisions) =>
    decisions.execute(
      seatsOf("c"),
      ({ seats, students }) =>
        students.length < seats
          ? Result.succeed(Decisions.to(Course, "c", enrolled(student)))
          : Result.fail(full),
      options
    )
  )

const look = Decisions.Decisions.use((decisions) => decisions.execute(seatsOf("c"), () => []))

/** A program whose first append waits, so that decisions that come meanwhile are made together. */
const held = (
  options: Decisions.Options = {},
  {
    change = (send) => send,
    limits
  }: {
    readonly change?: (
      send: (request: AppendRequest) => ReturnType<Append>
    ) => (request: AppendRequest) => ReturnType<Append>
    readonly limits?: EventStore.Options["limits"]
  } = {}
) => {
  const requests: Array<AppendRequest> = []
  const started = Deferred.makeUnsafe<void>()
  const gate = Latch.makeUnsafe(false)
  let isHolding = false
  const driver = changedDriver((storage) => {
    const changed = change(storage.append)
    return {
      append: (request) => {
        if (!isHolding) return storage.append(request)
        requests.push(request)
        return requests.length > 1
          ? changed(request)
          : Deferred.succeed(started, undefined).pipe(
              Effect.andThen(gate.await),
              Effect.andThen(storage.append(request))
            )
      }
    }
  })
  return {
    layer: Decisions.layerWith(options).pipe(
      Layer.provideMerge(EventStore.layerWith({ limits })),
      Layer.provideMerge(driver)
    ),
    /** The number of events of each append. */
    appends: () => requests.map(({ streams }) => streams.flatMap(({ events }) => events).length),
    /** Offers a course, and makes decisions while the enrolment of "0" is under way. */
    behindOne: <A, E, R>(seats: number, decisions: ReadonlyArray<Effect.Effect<A, E, R>>) =>
      Effect.gen(function* () {
        yield* offer("c", seats)
        isHolding = true
        const first = yield* Effect.forkChild(enrol("0"))
        yield* Deferred.await(started)
        const fibers = yield* Effect.forEach(decisions, (decision) =>
          Effect.forkChild(decision, { startImmediately: true })
        )
        yield* gate.open
        yield* Fiber.join(first)
        return yield* Effect.forEach(fibers, (fiber) => Fiber.await(fiber))
      })
  }
}
type Append = Parameters<Parameters<typeof changedDriver>[0]>[0]["append"]

const errorOf = <A, E>(exit: Exit.Exit<A, E> | undefined): unknown =>
  exit !== undefined && Exit.isFailure(exit) ? Cause.squash(exit.cause) : exit

const studentsOf = Effect.map(look, ({ state }) => state.students)

describe("decisions on equal queries that wait for each other", () => {
  it.effect("go out in one append, each with its own outcome and context", () => {
    const { appends, behindOne, layer: program } = held()
    return Effect.gen(function* () {
      const exits = yield* behindOne(
        3,
        ["1", "2", "3"].map((student) =>
          enrol(student).pipe(EventContext.provide({ actor: `actor ${student}`, metadata: { student } }))
        )
      )
      assert.deepStrictEqual(appends(), [1, 2])
      for (const [index, student] of ["1", "2"].entries()) {
        const exit = exits[index]
        assert(exit !== undefined && Exit.isSuccess(exit))
        const { events, position, replayed, state } = exit.value
        assert.deepStrictEqual(
          [state.students, position, replayed],
          [["0", "1", "2"].slice(0, index + 2), 3 + index, false]
        )
        assert.lengthOf(events, 1)
        assert.deepInclude(events[0], {
          actor: `actor ${student}`,
          metadata: { student },
          position: 3 + index,
          version: 3 + index,
          correlationId: events[0]?.eventId ?? ""
        })
      }
      assert.deepStrictEqual(errorOf(exits[2]), full)
      assert.deepStrictEqual(yield* studentsOf, ["0", "1", "2"])
    }).pipe(asNewTenant, Effect.provide(program))
  })

  it.effect("give the events for several streams of one decision one correlation", () => {
    const { behindOne, layer: program } = held()
    return Effect.gen(function* () {
      const both = Decisions.Decisions.use((decisions) =>
        decisions.execute(seatsOf("c"), () => [
          Decisions.to(Course, "c", enrolled("1"), enrolled("2")),
          Decisions.to(Course, "d", enrolled("1"))
        ])
      )
      const [one, other] = yield* behindOne(9, [both, both])
      assert(one !== undefined && Exit.isSuccess(one) && other !== undefined && Exit.isSuccess(other))
      for (const { events } of [one.value, other.value])
        assert.deepStrictEqual(
          events.map(({ correlationId }) => correlationId),
          [0, 1, 2].map(() => events[0]?.eventId ?? "")
        )
      // Events that do not match the query are no part of the state.
      assert.deepStrictEqual(other.value.state.students, ["0", "1", "2", "1", "2"])
    }).pipe(asNewTenant, Effect.provide(program))
  })

  it.effect("are refused, or decide nothing, only when the append is confirmed that they are behind", () => {
    let isFirst = true
    const {
      appends,
      behindOne,
      layer: program
    } = held(
      {},
      {
        // Somebody leaves just before the append.
        change: (send) => (request) => {
          const [stream] = request.streams
          if (!isFirst || stream === undefined) return send(request)
          isFirst = false
          const events = stream.events.slice(0, 1).map((event) => {
            const other = {
              eventId: Event.generateId(),
              eventType: "Left",
              payload: JSON.stringify(left("0"))
            }
            return Object.assign({}, event, other)
          })
          return Effect.andThen(
            send({ tenantId: request.tenantId, streams: [{ ...stream, events }] }),
            send(request)
          )
        }
      }
    )
    return Effect.gen(function* () {
      const exits = yield* behindOne(2, [enrol("1"), enrol("2"), Effect.map(look, (found) => found)])
      assert.isTrue(exits.every(Exit.isSuccess))
      const [, , looked] = exits
      assert(looked !== undefined && Exit.isSuccess(looked))
      assert.deepStrictEqual(looked.value.state.students, ["1", "2"])
      assert.deepInclude(looked.value, { position: 5, events: [] })
      assert.deepStrictEqual(appends(), [1, 1, 2])
    }).pipe(asNewTenant, Effect.provide(program))
  })

  it.effect("go alone if their model reads the place of an event", () => {
    const { appends, behindOne, layer: program } = held()
    const lastPlace = (read: (envelope: Event.Envelope<Event.Tagged>) => unknown) =>
      DecisionModel.make(
        { query: EventQuery.of(Course, { tags: [ofCourse("c")] }), initial: "" },
        (state: string, _event, envelope) => {
          try {
            return JSON.stringify(read(envelope)) ?? ""
          } catch {
            return state
          }
        }
      )
    const placed = (read: (envelope: Event.Envelope<Event.Tagged>) => unknown) =>
      Decisions.Decisions.use((decisions) => {
        const seen: Array<string> = []
        return Effect.map(
          decisions.execute(lastPlace(read), (state) => {
            seen.push(state)
            return Decisions.to(Course, "c", enrolled("one more"))
          }),
          ({ position, state }) => ({ seen, position, state })
        )
      })
    return Effect.gen(function* () {
      const exits = yield* behindOne(100, [
        Effect.as(enrol("1"), undefined),
        placed(({ position }) => position),
        placed(({ version }) => version),
        placed(({ recordedAt }) => recordedAt),
        placed((envelope) => ({ ...envelope })),
        placed(({ tags }) => tags),
        Effect.as(enrol("2"), undefined)
      ])
      assert.isTrue(exits.every(Exit.isSuccess))
      // Of these models, only that of the tags is decided with the others.
      assert.strictEqual(Math.max(...appends()), 3)
      for (const exit of exits) {
        assert(Exit.isSuccess(exit))
        assert.isFalse(exit.value?.seen.includes("0") ?? false)
      }
    }).pipe(asNewTenant, Effect.provide(program))
  })

  it.effect("leave the line if they decide an effect, so that two programs may wait for each other", () => {
    const { appends, behindOne, layer: program } = held()
    const other = Deferred.makeUnsafe<void>()
    return Effect.gen(function* () {
      const exits = yield* behindOne(9, [
        Effect.asVoid(enrol("1")),
        Effect.asVoid(
          Decisions.Decisions.use((decisions) =>
            decisions.execute(seatsOf("c"), () =>
              Effect.as(Deferred.await(other), Decisions.to(Course, "c", enrolled("waits")))
            )
          )
        ),
        Effect.asVoid(Effect.tap(enrol("2"), () => Deferred.succeed(other, undefined)))
      ])
      assert.isTrue(exits.every(Exit.isSuccess))
      assert.deepStrictEqual(yield* studentsOf, ["0", "1", "2", "waits"])
      assert.deepStrictEqual(appends().slice(0, 2), [1, 2])
    }).pipe(asNewTenant, Effect.provide(program))
  })

  it.effect("with derived ids are made once", () => {
    const { appends, behindOne, layer: program } = held()
    return Effect.gen(function* () {
      const derived = (student: string) => enrol(student).pipe(EventContext.derivingIds(["test", student]))
      const exits = yield* behindOne(9, [derived("1"), enrol("2"), derived("3")])
      assert.deepStrictEqual(appends(), [1, 3])
      const again = yield* Effect.forEach(["1", "3", "4"], derived, { concurrency: "unbounded" })
      assert.deepStrictEqual(
        again.map(({ replayed }) => replayed),
        [true, true, false]
      )
      for (const [index, place] of [0, 2].entries()) {
        const exit = exits[place]
        assert(exit !== undefined && Exit.isSuccess(exit))
        assert.deepStrictEqual(again[index]?.events, exit.value.events)
      }
      assert.deepStrictEqual(yield* studentsOf, ["0", "1", "2", "3", "4"])
    }).pipe(asNewTenant, Effect.provide(program))
  })

  it.effect("with derived ids return their first run, repeated in a line with others", () => {
    const { behindOne, layer: program } = held()
    return Effect.gen(function* () {
      const derived = (student: string) => enrol(student).pipe(EventContext.derivingIds(["test", student]))
      const twice = Effect.forEach([1, 2], () => derived("1"), { concurrency: "unbounded" })
      const [outcomes] = yield* behindOne(3, [twice, Effect.map(enrol("2"), (one) => [one])])
      assert(outcomes !== undefined && Exit.isSuccess(outcomes))
      assert.lengthOf(
        outcomes.value.filter(({ replayed }) => replayed),
        1
      )
      assert.deepStrictEqual(outcomes.value[0]?.events, outcomes.value[1]?.events)
      // The course is full now, which a repeated decision is not told.
      const again = yield* Effect.forEach(["1", "2"], (student) => Effect.result(derived(student)), {
        concurrency: "unbounded"
      })
      assert.deepStrictEqual(
        again.map((result) => (Result.isSuccess(result) ? result.success.replayed : result.failure)),
        [true, full]
      )
      assert.deepStrictEqual(yield* studentsOf, ["0", "1", "2"])
    }).pipe(asNewTenant, Effect.provide(program))
  })

  it.effect("are sent one by one if they are refused together, and each gets its own error", () => {
    const { appends, behindOne, layer: program } = held({}, { limits: { appendEvents: 3 } })
    return Effect.gen(function* () {
      const several = (...students: ReadonlyArray<string>) =>
        Decisions.Decisions.use((decisions) =>
          decisions.execute(seatsOf("c"), () => Decisions.to(Course, "c", ...students.map(enrolled)))
        )
      const exits = yield* behindOne(9, [several("1", "2"), several("3", "4", "5", "6"), several("7", "8")])
      assert.deepStrictEqual(exits.map(Exit.isSuccess), [true, false, true])
      assert.deepStrictEqual(appends(), [1, 2, 2])
      assert.deepStrictEqual(yield* studentsOf, ["0", "1", "2", "7", "8"])
    }).pipe(asNewTenant, Effect.provide(program))
  })

  it.effect("get the unknown outcome of their append, each with the ids of its own events", () => {
    const { behindOne, layer: program } = held(
      {},
      {
        change: (send) => (request) =>
          Effect.andThen(
            send(request),
            Effect.fail(
              new OutcomeUnknown({
                tenantId: request.tenantId,
                eventIds: request.streams.flatMap(({ events }) => events.map(({ eventId }) => eventId))
              })
            )
          )
      }
    )
    return Effect.gen(function* () {
      const exits = yield* behindOne(3, [enrol("1"), enrol("2"), enrol("3")])
      const [one, other, refused] = exits.map(errorOf)
      assert(one instanceof OutcomeUnknown && other instanceof OutcomeUnknown)
      assert.deepStrictEqual([one.eventIds.length, other.eventIds.length], [1, 1])
      assert.notDeepEqual(one.eventIds, other.eventIds)
      assert.deepStrictEqual(refused, full)
    }).pipe(asNewTenant, Effect.provide(program))
  })

  it.effect("do not fail because of the model of another one", () => {
    const { appends, behindOne, layer: program } = held()
    const broken = DecisionModel.make(
      { query: EventQuery.of(Course, { tags: [ofCourse("c")] }), initial: 0 },
      (): number => {
        throw new Error("a mistake")
      }
    )
    return Effect.gen(function* () {
      const exits = yield* behindOne(9, [
        Effect.asVoid(enrol("1")),
        Effect.asVoid(Decisions.Decisions.use((decisions) => decisions.execute(broken, () => []))),
        Effect.asVoid(enrol("2"))
      ])
      assert.deepStrictEqual(exits.map(Exit.isSuccess), [true, false, true])
      assert(exits[1] !== undefined && Exit.hasDies(exits[1]))
      assert.deepStrictEqual(appends(), [1, 2])
    }).pipe(asNewTenant, Effect.provide(program))
  })

  it.effect.each([
    [{ join: false }, undefined],
    [{ join: { commands: 2 } }, [1, 2, 1]],
    [{}, [1, 3]]
  ] as const)("are joined as the layer says: %o", ([options, expected]) => {
    const { appends, behindOne, layer: program } = held(options)
    return Effect.gen(function* () {
      const exits = yield* behindOne(
        9,
        ["1", "2", "3"].map((student) => enrol(student))
      )
      assert.isTrue(exits.every(Exit.isSuccess))
      if (expected === undefined) assert.strictEqual(Math.max(...appends()), 1)
      else assert.deepStrictEqual(appends(), [...expected])
    }).pipe(asNewTenant, Effect.provide(program))
  })

  it.effect(
    "with a schedule of their own go by themselves, and those of other tenants and queries, too",
    () => {
      const { appends, behindOne, layer: program } = held()
      return Effect.gen(function* () {
        const exits = yield* behindOne(9, [
          Effect.asVoid(enrol("1", { retry: Schedule.recurs(9) })),
          Effect.asVoid(asNewTenant(Effect.andThen(offer("c", 1), enrol("1")))),
          Effect.asVoid(offer("d", 1))
        ])
        assert.isTrue(exits.every(Exit.isSuccess))
        assert.strictEqual(Math.max(...appends()), 1)
        assert.deepStrictEqual((yield* studentsOf).toSorted(), ["0", "1"])
      }).pipe(asNewTenant, Effect.provide(program))
    }
  )

  it.effect("in a transaction of the program are rolled back with it", () =>
    Effect.gen(function* () {
      yield* offer("c", 9)
      const { transaction } = yield* ProjectionStorage
      const rolledBack = transaction(
        yield* Tenant.CurrentTenant,
        Effect.gen(function* () {
          yield* Effect.forEach(["1", "2"], (student) => enrol(student), { concurrency: "unbounded" })
          assert.lengthOf(yield* studentsOf, 2)
          return yield* Effect.fail("rolled back")
        })
      )
      assert.strictEqual(yield* flipped(rolledBack), "rolled back")
      assert.deepStrictEqual(yield* studentsOf, [])
      yield* enrol("3")
      assert.deepStrictEqual(yield* studentsOf, ["3"])
    }).pipe(
      asNewTenant,
      Effect.provide(
        Decisions.layer.pipe(Layer.provideMerge(EventStore.layer), Layer.provideMerge(MemoryStorage.layer))
      )
    )
  )

  it.effect("decide on no state of a history that the log has lost", () => {
    // The line keeps the state of a full course. The other history has a free seat.
    const driver = failover(MemoryStorage.layer)
    const program = Decisions.layer.pipe(Layer.provideMerge(EventStore.layer), Layer.provideMerge(driver))
    return Effect.gen(function* () {
      const { switchOver } = yield* Failover
      yield* offer("c", 2)
      yield* switchOver
      yield* offer("c", 2)
      yield* toCourse("c", left("x"), left("y"), left("z"))
      yield* switchOver
      const outcomes = yield* Effect.forEach(
        ["1", "2", "3", "4", "5", "6"],
        (student, index) =>
          Effect.gen(function* () {
            const outcome = yield* Effect.result(enrol(student))
            if (index !== 1) return [outcome]
            // Those that come again find the line taken, with its state.
            yield* switchOver
            return [outcome, yield* Effect.result(enrol("7")), yield* Effect.result(enrol("8"))]
          }),
        { concurrency: "unbounded" }
      )
      const [, seventh, eighth] = outcomes[1] ?? []
      assert(seventh !== undefined && Result.isSuccess(seventh))
      assert.deepStrictEqual(seventh.success.state.students, ["7"])
      assert.deepStrictEqual(seventh.success.position, 5)
      assert(eighth !== undefined && Result.isSuccess(eighth))
      assert.deepStrictEqual(yield* studentsOf, ["7", "8"])
    }).pipe(asNewTenant, Effect.provide(program))
  })
})

describe.each(backends)("decisions that want the last seats at once, on $name,", (backend) => {
  layer(onDriver(backend.layer), { excludeTestServices: true })((it) => {
    it.effect(
      "never book more than there are, in two processes, and are refused only if all are booked",
      () =>
        Effect.gen(function* () {
          yield* offer("c", 10)
          const store = yield* EventStore.EventStore
          const elsewhere = Effect.provide(
            Layer.provide(Decisions.layer, Layer.succeed(EventStore.EventStore, store)),
            { local: true }
          )
          const outcomes = yield* Effect.forEach(
            Array.from({ length: 24 }, (_, index) => index),
            (index) => {
              const one =
                index % 6 === 0
                  ? enrol(`${index}`).pipe(EventContext.derivingIds(["seat", `${index}`]))
                  : enrol(`${index}`)
              return Effect.result(index % 3 === 0 ? elsewhere(one) : one)
            },
            { concurrency: "unbounded" }
          )
          const { state } = yield* look
          const done = outcomes.filter(Result.isSuccess)
          assert.lengthOf(state.students, 10)
          assert.lengthOf(new Set(state.students), 10)
          assert.lengthOf(done, 10)
          for (const { success } of done) {
            const place = state.students.findIndex((one) => success.events[0]?.tags.includes(ofStudent(one)))
            assert.deepStrictEqual(success.state.students, state.students.slice(0, place + 1))
            assert.strictEqual(success.position, place + 2)
          }
          for (const outcome of outcomes)
            if (Result.isFailure(outcome)) assert.deepStrictEqual(outcome.failure, full)
        }).pipe(asNewTenant)
    )
  })
})
