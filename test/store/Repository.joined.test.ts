import { assert, describe, it, layer } from "@effect/vitest"
import {
  Cause,
  Deferred,
  Effect,
  Exit,
  Fiber,
  Latch,
  Layer,
  Predicate,
  Result,
  Schedule,
  Schema
} from "effect"
import * as Event from "../../src/domain/Event.ts"
import * as EventContext from "../../src/domain/EventContext.ts"
import * as SnapshotPolicy from "../../src/domain/SnapshotPolicy.ts"
import type * as Aggregate from "../../src/domain/Aggregate.ts"
import type { AppendRequest, EventStorage, StreamAppend } from "../../src/driver/EventStorage.ts"
import { OutcomeUnknown } from "../../src/driver/StoreError.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as Repository from "../../src/store/Repository.ts"
import { reasonOf } from "../../src/testing/failures.ts"
import { backends } from "../support/backends.ts"
import {
  Account,
  append,
  asNewTenant,
  changedDriver,
  deposited,
  deposits,
  onDriver
} from "../support/bank.ts"
import { enter, inMemory as inMemorySnapshots, withRepository } from "../support/snapshots.ts"

type State = typeof Account.initial
type Append = EventStorage["Service"]["append"]
type Events = Aggregate.EventOf<typeof Account>

class Overdrawn extends Schema.TaggedError<Overdrawn>()("Overdrawn", { balance: Schema.Int }) {}

const execute = <const D extends Repository.Decision<Events, unknown, unknown>>(
  decide: (state: State) => D,
  options?: Repository.ExecuteOptions
) => Repository.Repository.use((repository) => repository.execute(Account, "1", decide, options))

const deposit = (amount: number) => () => [deposited(amount)]

const spend =
  (amount: number) =>
  ({ balance }: State) =>
    balance < amount ? Result.fail(new Overdrawn({ balance })) : Result.succeed([deposited(-amount)])

/** Somebody else's deposit in the stream of an append. */
const rivalOf = (stream: StreamAppend, amount: number): StreamAppend => ({
  aggregateType: stream.aggregateType,
  aggregateId: stream.aggregateId,
  expectedVersion: "any",
  events: stream.events.slice(0, 1).map((event) => {
    const other = { eventId: Event.generateId(), payload: JSON.stringify(deposited(amount)) }
    return Object.assign({}, event, other)
  })
})

/** Somebody else appends a deposit just before an append, once. */
const rivalOnce =
  (amount: number) =>
  (appendTo: Append): Append => {
    let isFirst = true
    return (request) => {
      const [stream] = request.streams
      if (!isFirst || stream === undefined) return appendTo(request)
      isFirst = false
      return Effect.andThen(appendTo({ ...request, streams: [rivalOf(stream, amount)] }), appendTo(request))
    }
  }

/** A program whose first append waits, so that what comes meanwhile is decided together. */
const held = (
  options: Repository.Options = {},
  change: (append: Append) => Append = (appendTo) => appendTo,
  store: EventStore.Options = {}
) => {
  const requests: Array<AppendRequest> = []
  const started = Deferred.makeUnsafe<void>()
  const gate = Latch.makeUnsafe(false)
  const driver = changedDriver((storage) => {
    const changed = change(storage.append)
    return {
      append: (request) => {
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
    layer: Repository.layerWith(options).pipe(
      Layer.provideMerge(EventStore.layerWith(store)),
      Layer.provideMerge(driver)
    ),
    /** The number of events of each append. */
    appends: () => requests.map(({ streams }) => streams.flatMap(({ events }) => events).length),
    /** Runs commands while a deposit of one is under way. */
    behindOne: <A, E, R>(
      commands: ReadonlyArray<Effect.Effect<A, E, R>>,
      meanwhile: Effect.Effect<unknown, unknown, R> = Effect.void
    ) =>
      Effect.gen(function* () {
        const first = yield* Effect.forkChild(execute(deposit(1)))
        yield* Deferred.await(started)
        const fibers = yield* Effect.forEach(commands, (command) =>
          Effect.forkChild(command, { startImmediately: true })
        )
        yield* Effect.orDie(meanwhile)
        yield* gate.open
        yield* Fiber.join(first)
        return yield* Effect.forEach(fibers, (fiber) => Fiber.await(fiber))
      })
  }
}

const tagOf = <A, E>(exit: Exit.Exit<A, E>): unknown => {
  const error = Exit.isFailure(exit) ? reasonOf(Cause.squash(exit.cause)) : undefined
  return Predicate.hasProperty(error, "_tag") ? error._tag : error
}

const valuesOf = <A, E>(exits: ReadonlyArray<Exit.Exit<A, E>>): ReadonlyArray<unknown> =>
  exits.map((exit) => (Exit.isSuccess(exit) ? exit.value : Cause.squash(exit.cause)))

describe("commands to one aggregate that wait for each other", () => {
  it.effect("go out in one append, each with its own outcome and context", () => {
    const { appends, behindOne, layer: program } = held()
    return Effect.gen(function* () {
      const exits = yield* behindOne(
        [10, 100, 1000].map((amount) =>
          execute(() => deposits(2).map(() => deposited(amount))).pipe(
            EventContext.provide({ actor: `actor ${amount}`, metadata: { amount } })
          )
        )
      )
      assert.deepStrictEqual(appends(), [1, 6])
      for (const [index, amount] of [10, 100, 1000].entries()) {
        const exit = exits[index]
        assert(exit !== undefined && Exit.isSuccess(exit))
        const { eventId, events, replayed, state, version } = exit.value
        assert.deepStrictEqual(
          [state.balance, version, replayed],
          [[21, 221, 2221][index], 3 + 2 * index, false]
        )
        assert.strictEqual(eventId, events[1]?.eventId)
        for (const event of events) {
          assert.deepInclude(event, { actor: `actor ${amount}`, metadata: { amount } })
          assert.strictEqual(event.correlationId, events[0]?.eventId)
        }
      }
      // The answers, the stored events and the remembered state agree.
      const { load } = yield* Repository.Repository
      assert.deepStrictEqual(yield* load(Account, "1"), yield* load(Account, "1", { fresh: true }))
    }).pipe(asNewTenant, Effect.provide(program))
  })

  it.effect(
    "are refused, or decide nothing, only when the append is confirmed that they were decided behind",
    () => {
      const { appends, behindOne, layer: program } = held({}, rivalOnce(5))
      return Effect.gen(function* () {
        // On what this process knows, the first and the third one are refused.
        const exits = yield* behindOne([
          execute(spend(2)),
          execute(spend(1)),
          execute(spend(1)),
          execute(() => [])
        ])
        const balances = exits.map((exit) => (Exit.isSuccess(exit) ? exit.value.state.balance : exit))
        assert.deepStrictEqual(balances, [4, 3, 2, 2])
        assert.deepStrictEqual(appends(), [1, 1, 3])
      }).pipe(asNewTenant, Effect.provide(program))
    }
  )

  it.effect("are refused on what is stored", () => {
    const { appends, behindOne, layer: program } = held()
    return Effect.gen(function* () {
      const exits = yield* behindOne([
        execute(spend(2)),
        execute(spend(1)),
        execute(() => []),
        execute(spend(1)),
        execute(deposit(3), { expectedVersion: 7 }),
        execute(deposit(3), { expectedVersion: 2 }),
        execute(() => {
          throw new Error("a mistake")
        })
      ])
      const [none, spent, unchanged, refused, expected, met, defect] = exits
      assert.deepStrictEqual(valuesOf([none, refused].flatMap((exit) => exit ?? [])), [
        new Overdrawn({ balance: 1 }),
        new Overdrawn({ balance: 0 })
      ])
      for (const exit of [spent, unchanged])
        assert(exit !== undefined && Exit.isSuccess(exit) && exit.value.version === 2)
      assert(unchanged !== undefined && Exit.isSuccess(unchanged))
      assert.deepInclude(unchanged.value, { events: [], replayed: false })
      assert.deepInclude(reasonOf(valuesOf([expected].flatMap((exit) => exit ?? []))[0]), {
        expected: 7,
        actual: 2
      })
      assert(met !== undefined && Exit.isSuccess(met) && met.value.version === 3)
      assert(defect !== undefined && Exit.hasDies(defect))
      assert.deepStrictEqual(appends(), [1, 2])
    }).pipe(asNewTenant, Effect.provide(program))
  })

  it.effect("are confirmed together if nothing is to be appended", () => {
    const { appends, behindOne, layer: program } = held()
    return Effect.gen(function* () {
      const exits = yield* behindOne([execute(spend(2)), execute(() => [])])
      assert.deepStrictEqual(exits.map(Exit.isSuccess), [false, true])
      assert.deepStrictEqual(appends(), [1])
    }).pipe(asNewTenant, Effect.provide(program))
  })

  it.effect("leave the line if they decide an effect, so that two programs may wait for each other", () => {
    const { appends, behindOne, layer: program } = held()
    const other = Deferred.makeUnsafe<void>()
    return Effect.gen(function* () {
      let ran = 0
      const exits = yield* behindOne([
        execute(deposit(10)),
        // This one ends only when the last one of the line has ended.
        execute(({ balance }) =>
          Effect.as(Deferred.await(other), [deposited(balance)]).pipe(
            Effect.tap(() => Effect.sync(() => ran++))
          )
        ),
        Effect.tap(execute(deposit(100)), () => Deferred.succeed(other, undefined))
      ])
      assert.isTrue(exits.every(Exit.isSuccess))
      const { load } = yield* Repository.Repository
      const { state, version } = yield* load(Account, "1")
      assert.strictEqual(version, 4)
      assert.isAbove(state.balance, 111)
      assert.isAtMost(ran, 2)
      assert.deepStrictEqual(appends().slice(0, 2), [1, 2])
    }).pipe(asNewTenant, Effect.provide(program))
  })

  it.effect("do not wait for the effect of the first one", () => {
    const { layer: program } = held()
    return Effect.gen(function* () {
      const waits = Deferred.makeUnsafe<void>()
      yield* append("1", deposits(1)).pipe(Effect.forkChild({ startImmediately: true }))
      const first = yield* Effect.forkChild(
        execute(() => Effect.as(Deferred.await(waits), [deposited(1)])),
        { startImmediately: true }
      )
      assert.deepInclude(yield* execute(() => []), { version: 0 })
      assert.isUndefined(first.pollUnsafe())
    }).pipe(asNewTenant, Effect.provide(program))
  })

  it.effect(
    "with keys, derived ids or ids of their own have appends of their own, one behind the other",
    () => {
      const { appends, behindOne, layer: program } = held()
      return Effect.gen(function* () {
        const eventId = Event.generateId()
        const derived = execute(deposit(1000)).pipe(EventContext.derivingIds(["test", "1"]))
        const keyed = execute(deposit(10), { command: { key: "a" } })
        const exits = yield* behindOne([
          keyed,
          execute(() => [Event.make(deposited(100), { eventId })]),
          derived,
          execute(() => [], { command: { key: "b" } }),
          execute(deposit(10_000)),
          execute(deposit(100_000))
        ])
        const outcomes = exits.flatMap((exit) => (Exit.isSuccess(exit) ? [exit.value] : []))
        assert.lengthOf(outcomes, 6)
        // keyed ones have looked their keys up first, so they come behind
        assert.strictEqual(Math.max(...outcomes.map(({ state }) => state.balance)), 111_111)
        assert.strictEqual(Math.max(...outcomes.map(({ version }) => version)), 6)
        assert.isAtMost(Math.max(...appends()), 2)
        const again = [yield* keyed, yield* derived]
        assert.deepStrictEqual(
          again.map(({ events, replayed }) => [replayed, events]),
          [outcomes[0], outcomes[2]].map((outcome) => [true, outcome?.events])
        )
        assert.strictEqual((yield* execute(() => [], { command: { key: "b" } })).replayed, true)
      }).pipe(asNewTenant, Effect.provide(program))
    }
  )

  it.effect("with the same key are carried out once", () => {
    const { behindOne, layer: program } = held()
    return Effect.gen(function* () {
      const keyed = execute(deposit(10), { command: { key: "a" } })
      const exits = yield* behindOne([keyed, execute(deposit(100)), keyed, keyed])
      const outcomes = exits.flatMap((exit) => (Exit.isSuccess(exit) ? [exit.value] : []))
      assert.lengthOf(outcomes, 4)
      const { load } = yield* Repository.Repository
      assert.deepInclude(yield* load(Account, "1"), { state: { status: "none", balance: 111 }, version: 3 })
      assert.strictEqual(outcomes.filter(({ replayed }) => replayed).length, 2)
    }).pipe(asNewTenant, Effect.provide(program))
  })

  it.effect("are sent one by one if they are refused together, and each gets its own error", () => {
    const {
      appends,
      behindOne,
      layer: program
    } = held({}, (appendTo) => appendTo, { limits: { appendEvents: 3 } })
    return Effect.gen(function* () {
      const two = execute(() => deposits(2))
      const exits = yield* behindOne([two, execute(() => deposits(4)), two, two])
      assert.deepStrictEqual(
        exits.map((exit) => (Exit.isSuccess(exit) ? exit.value.version : tagOf(exit))),
        [3, "LimitExceeded", 5, 7]
      )
      // the one that is too large alone was found before anything was sent
      assert.deepStrictEqual(appends(), [1, 2, 2, 2])
    }).pipe(asNewTenant, Effect.provide(program))
  })

  it.effect("with invalid events fail before anything is joined", () => {
    const { appends, behindOne, layer: program } = held()
    return Effect.gen(function* () {
      const invalid = execute(() => [Event.make(deposited(7), { tags: [""] })])
      const exits = yield* behindOne([execute(deposit(10)), invalid, execute(deposit(100))])
      assert.deepStrictEqual(
        exits.map((exit) => (Exit.isSuccess(exit) ? exit.value.state.balance : tagOf(exit))),
        [11, "InvalidEvent", 111]
      )
      assert.deepStrictEqual(appends(), [1, 2])
    }).pipe(asNewTenant, Effect.provide(program))
  })

  it.effect("get the unknown outcome of their append, each with the ids of its own events", () => {
    const { behindOne, layer: program } = held(
      {},
      (appendTo) => (request) =>
        Effect.andThen(
          appendTo(request),
          Effect.fail(
            new OutcomeUnknown({
              tenantId: request.tenantId,
              eventIds: request.streams.flatMap(({ events }) => events.map(({ eventId }) => eventId))
            })
          )
        )
    )
    return Effect.gen(function* () {
      const exits = yield* behindOne([execute(() => deposits(2)), execute(spend(100)), execute(deposit(1))])
      const [one, refused, other] = valuesOf(exits)
      assert(one instanceof OutcomeUnknown && other instanceof OutcomeUnknown)
      assert.deepStrictEqual([one.eventIds.length, other.eventIds.length], [2, 1])
      // This one was decided again, on what is stored.
      assert.deepStrictEqual(refused, new Overdrawn({ balance: 5 }))
      const store = yield* EventStore.EventStore
      assert.strictEqual(yield* store.version({ aggregate: Account, id: "1" }), 4)
      for (const [error, first] of [
        [one, 2],
        [other, 4]
      ] as const)
        assert.strictEqual(yield* store.eventPosition(Event.EventId.make(error.eventIds[0] ?? "")), first)
    }).pipe(asNewTenant, Effect.provide(program))
  })

  it.effect(
    "are taken out if they are interrupted before they are sent, and return at once afterwards",
    () => {
      const gate = Latch.makeUnsafe(false)
      const sent = Deferred.makeUnsafe<void>()
      const {
        appends,
        behindOne,
        layer: program
      } = held(
        {},
        (appendTo) => (request) =>
          Deferred.succeed(sent, undefined).pipe(
            Effect.andThen(gate.await),
            Effect.andThen(appendTo(request))
          )
      )
      return Effect.gen(function* () {
        const waiting = yield* Effect.forkChild(Effect.never)
        const stopped = Effect.raceFirst(execute(deposit(7)), Fiber.await(waiting))
        const interruptedLater = yield* Effect.forkChild(
          behindOne([stopped, execute(deposit(10)), execute(deposit(100))], Fiber.interrupt(waiting)),
          { startImmediately: true }
        )
        yield* Deferred.await(sent)
        assert.deepStrictEqual(appends(), [1, 2])
        // It was sent: its caller is answered at once, and it is stored all the same.
        yield* Fiber.interrupt(interruptedLater)
        yield* gate.open
        assert.deepInclude(yield* execute(deposit(1000)), {
          state: { status: "none", balance: 1111 },
          version: 4
        })
      }).pipe(asNewTenant, Effect.provide(program))
    }
  )

  it.effect.each([
    [false, [1, 1, 1, 1, 1]],
    [{ commands: 3 }, [1, 3, 1]]
  ] as const)("are joined as the layer says: %o", ([join, expected]) => {
    const { appends, behindOne, layer: program } = held({ join })
    return Effect.gen(function* () {
      const exits = yield* behindOne([1, 2, 3, 4].map((amount) => execute(deposit(amount))))
      assert.isTrue(exits.every(Exit.isSuccess))
      if (join === false) assert.isAtLeast(appends().length, 5)
      else assert.deepStrictEqual(appends(), [...expected])
    }).pipe(asNewTenant, Effect.provide(program))
  })

  it.effect("with a schedule of their own, fresh ones, and those in a transaction go by themselves", () => {
    const { appends, behindOne, layer: program } = held()
    return Effect.gen(function* () {
      const exits = yield* behindOne([
        execute(deposit(1), { retry: Schedule.recurs(3) }),
        execute(deposit(1), { fresh: true })
      ])
      assert.isTrue(exits.every(Exit.isSuccess))
      assert.isAtLeast(appends().length, 3)
      assert.strictEqual(Math.max(...appends()), 1)
    }).pipe(asNewTenant, Effect.provide(program))
  })

  it.effect("are decided again on the schedule of the layer, all of them", () => {
    const { behindOne, layer: program } = held({ retry: Schedule.recurs(2) }, (appendTo) => (request) => {
      const [stream] = request.streams
      return stream === undefined
        ? appendTo(request)
        : Effect.andThen(appendTo({ ...request, streams: [rivalOf(stream, 1)] }), appendTo(request))
    })
    return Effect.gen(function* () {
      const exits = yield* behindOne([execute(deposit(1)), execute(spend(1000)), execute(deposit(1))])
      for (const error of valuesOf(exits)) assert.deepInclude(reasonOf(error), { _tag: "VersionConflict" })
    }).pipe(asNewTenant, Effect.provide(program))
  })

  it.effect("have the snapshots that they would have alone", () => {
    const taken: Array<number> = []
    const program = inMemorySnapshots((storage) => ({
      save: (snapshot) => {
        taken.push(snapshot.version)
        return storage.save(snapshot)
      }
    }))
    return Effect.all(
      Array.from({ length: 10 }, (_, index) => enter(index)),
      { concurrency: "unbounded" }
    ).pipe(
      withRepository({ policy: SnapshotPolicy.every(4), taken: "atOnce" }, { remember: {} }),
      Effect.andThen(Effect.sync(() => assert.deepStrictEqual(taken, [4, 8]))),
      Effect.provide(program),
      asNewTenant
    )
  })
})

describe.each(backends)("commands that want one aggregate at once, on $name,", (backend) => {
  layer(onDriver(backend.layer), { excludeTestServices: true })((it) => {
    it.effect("are all carried out, one after the other, as if each were alone", () =>
      Effect.gen(function* () {
        const outcomes = yield* Effect.forEach(
          Array.from({ length: 64 }, (_, index) => index),
          (index) =>
            execute(
              ({ balance }) =>
                balance >= 40 ? Result.fail(new Overdrawn({ balance })) : Result.succeed([deposited(1)]),
              index % 4 === 0 ? { command: { key: `key ${index}` } } : {}
            ).pipe(Effect.result),
          { concurrency: "unbounded" }
        )
        const done = outcomes.flatMap((outcome) => (Result.isSuccess(outcome) ? [outcome.success] : []))
        assert.deepStrictEqual(
          done
            .map(({ state, version }) => [state.balance, version])
            .toSorted(([one = 0], [other = 0]) => one - other),
          Array.from({ length: 40 }, (_, index) => [index + 1, index + 1])
        )
        const refusals = outcomes.flatMap((outcome) => (Result.isFailure(outcome) ? [outcome.failure] : []))
        assert.lengthOf(refusals, 24)
        for (const error of refusals) assert.deepStrictEqual(error, new Overdrawn({ balance: 40 }))
      }).pipe(asNewTenant)
    )
  })
})
