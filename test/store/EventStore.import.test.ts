/** Imports: order, resumption and refusals, on every driver. */
import { assert, describe, it, layer } from "@effect/vitest"
import { DateTime, Effect, Exit, Stream } from "effect"
import * as Event from "../../src/domain/Event.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import { EventIdConflict } from "../../src/driver/StoreError.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { backends } from "../support/backends.ts"
import {
  Account,
  append,
  asNewTenant,
  type Deposited,
  deposited,
  inMemory,
  onDriver
} from "../support/bank.ts"

type Given = EventStore.ImportedEvents<typeof Account>

/** Deposits with ids and times of their own. */
const given = (
  id: string,
  amounts: ReadonlyArray<number>,
  expectedVersion?: Given["expectedVersion"]
): Given => ({
  aggregate: Account,
  id,
  expectedVersion,
  events: amounts.map((amount) =>
    Event.make(deposited(amount), {
      eventId: Event.generateId(),
      occurredAt: DateTime.makeUnsafe(1_600_000_000_000 + amount)
    })
  )
})

const importAll = (events: ReadonlyArray<Given>, options?: EventStore.ImportOptions) =>
  EventStore.EventStore.use((store) => store.importEvents(Stream.fromIterable(events), options))

const stored = EventStore.EventStore.use((store) =>
  Stream.runCollect(store.readLog({ aggregates: [Account] }))
).pipe(
  Effect.map((log) =>
    log.map(({ aggregateId, payload }) => [
      aggregateId,
      payload._tag === "Deposited" ? payload.amount : undefined
    ])
  )
)

const expected = (events: ReadonlyArray<Given>) =>
  events.flatMap(({ id, events: ofStream }) =>
    ofStream.map((event) => {
      const payload = event instanceof Event.NewEvent ? event.payload : event
      return [id, payload._tag === "Deposited" ? payload.amount : undefined]
    })
  )

/** The error of an import with a refused item. */
const refusalOf = <A, E, R>(
  imported: Effect.Effect<A, E, R>
): Effect.Effect<EventStore.ImportFailed, A | E, R> =>
  Effect.flip(imported).pipe(
    Effect.flatMap((error) =>
      error instanceof EventStore.ImportFailed ? Effect.succeed(error) : Effect.fail(error)
    )
  )

const idsOf = (events: ReadonlyArray<Given>): ReadonlyArray<string | undefined> =>
  events.flatMap((item) =>
    item.events.map((event) => (event instanceof Event.NewEvent ? event.options.eventId : undefined))
  )

/** A log in the order of time: one event per item, from many streams in turn. */
const inOrderOfTime = (events: number, streams: number): ReadonlyArray<Given> =>
  Array.from({ length: events }, (_, n) => given(`account ${(n * 7919) % streams}`, [n]))

/** The ids of the events of the log, by position. */
const storedIds = EventStore.EventStore.use((store) =>
  store.readLog({ aggregates: [Account] }).pipe(
    Stream.map(({ eventId }): string => eventId),
    Stream.runCollect
  )
)

/** Runs of events of three streams, in turn. */
const interleaved = (): ReadonlyArray<Given> =>
  Array.from({ length: 20 }, (_, index) =>
    given(
      `account ${index % 3}`,
      Array.from({ length: (index % 4) + 1 }, (__, n) => index * 10 + n)
    )
  )

for (const backend of backends) {
  layer(onDriver(backend.layer), { excludeTestServices: true })(`an import on ${backend.name}`, (it) => {
    it.effect("keeps the order of the events with chunks of any size", () =>
      Effect.forEach([1, 2, 7, undefined], (chunkEvents) =>
        Effect.gen(function* () {
          const events = interleaved()
          const imported = yield* importAll(events, { chunkEvents })
          assert.deepStrictEqual(imported, { appended: 50, known: 0, position: 50, setAside: [] })
          assert.deepStrictEqual(yield* stored, expected(events))
        }).pipe(asNewTenant)
      )
    )

    it.effect("continues after a stop, even with other chunks, and stores no event twice", () =>
      Effect.gen(function* () {
        const events = interleaved()
        // Stopped in the middle of a chunk of the next run.
        const first = yield* importAll(events.slice(0, 7), { chunkEvents: 3 })
        const second = yield* importAll(events, { chunkEvents: 11 })
        assert.deepStrictEqual(second, {
          appended: 50 - first.appended,
          known: first.appended,
          position: 50,
          setAside: []
        })
        assert.deepStrictEqual(yield* stored, expected(events))
        assert.deepStrictEqual(yield* importAll(events, { chunkEvents: 5 }), {
          appended: 0,
          known: 50,
          position: 50,
          setAside: []
        })
        assert.lengthOf(yield* stored, 50)
      }).pipe(asNewTenant)
    )

    it.effect("stops at the first refused event, and writes everything before it", () =>
      Effect.gen(function* () {
        const events = [
          given("one", [1, 2, 3], "noStream"),
          given("two", [4], 0),
          given("one", [5], 3),
          given("two", [6], 7),
          given("three", [7])
        ]
        const failed = yield* refusalOf(importAll(events))
        assert.deepInclude(failed, { item: 4, aggregateType: "Account", aggregateId: "two" })
        assert.strictEqual(failed.eventId, idsOf(events)[5])
        assert.deepInclude(failed.reason, { _tag: "VersionConflict", expected: 7, actual: 1 })
        assert.include(failed.message, "item 4 of the import (Account two, event ")
        assert.deepStrictEqual(yield* stored, [
          ["one", 1],
          ["one", 2],
          ["one", 3],
          ["two", 4],
          ["one", 5]
        ])
      }).pipe(asNewTenant)
    )

    it.effect("sets refused items aside on request, and writes the others in order", () =>
      Effect.gen(function* () {
        const bad = given("two", [6, 60], 7)
        const nameless: Given = { aggregate: Account, id: "two", events: [deposited(1)] }
        const events = [
          given("one", [1, 2, 3], "noStream"),
          given("two", [4], 0),
          bad,
          nameless,
          given("one", [5], 3)
        ]
        for (const chunkEvents of [1, 2, 1000]) {
          yield* Effect.gen(function* () {
            const imported = yield* importAll(events, { chunkEvents, setAsideAtMost: 2 })
            assert.deepInclude(imported, { appended: 5, known: 0, position: 5 })
            assert.sameDeepMembers(
              imported.setAside.map(({ item, reason }) => [item, reason._tag]),
              [
                [3, "VersionConflict"],
                [4, "InvalidEvent"]
              ]
            )
            assert.deepStrictEqual(yield* stored, expected([...events.slice(0, 2), ...events.slice(4)]))
            const again = yield* importAll(events, { chunkEvents, setAsideAtMost: 2 })
            assert.deepInclude(again, { appended: 0, known: 5, position: 5 })
            assert.lengthOf(again.setAside, 2)
            const tooMany = yield* refusalOf(importAll(events, { chunkEvents, setAsideAtMost: 1 }))
            assert.include([3, 4], tooMany.item)
          }).pipe(asNewTenant)
        }
      })
    )

    it.effect("checks the expected version also for the rest of a chunk", () =>
      Effect.gen(function* () {
        const whole = given("one", [1, 2, 3, 4, 5, 6, 7, 8, 9], "noStream")
        yield* importAll([{ ...whole, events: whole.events.slice(0, 4) }], { chunkEvents: 3 })
        assert.deepStrictEqual(yield* importAll([whole]), {
          appended: 5,
          known: 4,
          position: 9,
          setAside: []
        })
        const other = given("one", [10, 11], "noStream")
        assert.strictEqual((yield* refusalOf(importAll([other]))).reason._tag, "VersionConflict")
        assert.lengthOf(yield* stored, 9)
      }).pipe(asNewTenant)
    )

    it.effect("distinguishes a stored event from another one with the same id", () =>
      Effect.gen(function* () {
        const [one, two, three] = [given("one", [1, 2]), given("two", [3]), given("three", [4])]
        yield* importAll([one, two])
        const eventId = yield* EventStore.EventStore.use((store) =>
          Stream.runCollect(store.readStream({ aggregate: Account, id: "two" }))
        ).pipe(Effect.map(([envelope]) => envelope?.eventId))
        const forged: Given = {
          aggregate: Account,
          id: "two",
          events: [Event.make(deposited(99), { eventId })]
        }
        const failed = yield* refusalOf(importAll([one, three, forged]))
        assert.deepInclude(failed, { item: 3, aggregateId: "two", eventId: eventId ?? null })
        assert.deepStrictEqual(
          failed.reason,
          new EventIdConflict({ tenantId: yield* Tenant.CurrentTenant, eventId: eventId ?? "" })
        )
        assert.deepStrictEqual(yield* stored, expected([one, two, three]))
      }).pipe(asNewTenant)
    )

    it.effect("detects an event id that occurs twice, in any streams", () =>
      Effect.gen(function* () {
        const one = given("one", [1])
        const again: Given = { ...one, id: "two" }
        const failed = yield* refusalOf(importAll([one, given("other", [2]), again]))
        assert.deepInclude(failed, { item: 3, aggregateId: "two" })
        assert.strictEqual(failed.reason._tag, "EventIdConflict")
        assert.deepStrictEqual(yield* stored, [
          ["one", 1],
          ["other", 2]
        ])
        // The same event of the same stream is stored by then.
        assert.deepStrictEqual(yield* importAll([given("third", [3]), one, one]), {
          appended: 1,
          known: 2,
          position: 3,
          setAside: []
        })
      }).pipe(asNewTenant)
    )

    it.effect("imports the same ids into two tenants independently", () =>
      Effect.gen(function* () {
        const events = interleaved()
        const [one, two] = [yield* Tenant.generate, yield* Tenant.generate]
        yield* importAll(events).pipe(Tenant.provide(one))
        assert.deepInclude(yield* importAll(events.slice(0, 5)).pipe(Tenant.provide(two)), { known: 0 })
        assert.deepStrictEqual(yield* stored.pipe(Tenant.provide(two)), expected(events.slice(0, 5)))
      })
    )
  })
}

for (const backend of backends.filter(({ name }) => name !== "PGlite")) {
  layer(onDriver(backend.layer), { excludeTestServices: true })(`a log on ${backend.name}`, (it) => {
    it.effect(
      "in the order of time keeps that order: input k has position k, also after a stop and when it is repeated",
      () =>
        Effect.gen(function* () {
          const events = inOrderOfTime(13_410, 1000)
          const ids = idsOf(events)
          const stopped = yield* importAll(events, {
            chunkEvents: 700,
            onProgress: ({ position }) => (position > 4000 ? Effect.interrupt : Effect.void)
          }).pipe(Effect.exit)
          assert.isTrue(Exit.hasInterrupts(stopped))
          const before = yield* storedIds
          assert.deepStrictEqual(before, ids.slice(0, before.length))
          const { appended, known, position } = yield* importAll(events)
          assert.deepStrictEqual([appended, known, position], [13_410 - before.length, before.length, 13_410])
          assert.deepStrictEqual(yield* storedIds, ids)
          assert.deepInclude(yield* importAll(events, { chunkEvents: 900 }), { appended: 0, known: 13_410 })
          assert.deepStrictEqual(yield* storedIds, ids)
        }).pipe(asNewTenant)
    )
  })
}

describe("an import", () => {
  it.effect(
    "refuses an event without an id of its own, and one that cannot be stored, and writes everything before it",
    () =>
      Effect.gen(function* () {
        const nameless: Given = { aggregate: Account, id: "one", events: [deposited(1)] }
        const failed = yield* refusalOf(importAll([given("one", [1]), nameless]))
        assert.deepInclude(failed, { item: 2, aggregateId: "one", eventId: null })
        assert.deepInclude(failed.reason, { _tag: "InvalidEvent", path: ["eventId"] })
        const whole = given("one", [1])
        const wrong = Event.make<typeof Deposited.Type>(
          { _tag: "Deposited", amount: Number.NaN },
          { eventId: Event.generateId() }
        )
        const invalid: Given = { ...whole, events: [...whole.events, wrong] }
        const other = yield* refusalOf(importAll([given("two", [2]), invalid]))
        assert.deepInclude(other, { item: 2, eventId: idsOf([invalid])[1] ?? null })
        assert.strictEqual(other.reason._tag, "InvalidEvent")
        assert.deepStrictEqual(yield* stored, [
          ["one", 1],
          ["two", 2]
        ])
      }).pipe(asNewTenant, Effect.provide(inMemory()))
  )

  it.effect("reports its progress after each chunk", () =>
    Effect.gen(function* () {
      const seen: Array<EventStore.Imported> = []
      yield* append("other", [deposited(0)])
      yield* importAll([given("one", [1, 2, 3, 4, 5]), given("two", [6])], {
        chunkEvents: 2,
        onProgress: (soFar) => Effect.sync(() => seen.push(soFar))
      })
      assert.deepStrictEqual(seen, [
        { appended: 2, known: 0, position: 3, setAside: [] },
        { appended: 4, known: 0, position: 5, setAside: [] },
        { appended: 6, known: 0, position: 7, setAside: [] }
      ])
    }).pipe(asNewTenant, Effect.provide(inMemory()))
  )

  it.effect("without events does nothing, and one with a failing input keeps what it has written", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* importAll([]), { appended: 0, known: 0, position: 0, setAside: [] })
      const failing = Stream.concat(Stream.make(given("one", [1, 2])), Stream.fail("torn"))
      const imported = EventStore.EventStore.use((store) => store.importEvents(failing, { chunkEvents: 1 }))
      assert.strictEqual(yield* Effect.flip(imported), "torn")
      assert.isTrue(Exit.hasDies(yield* Effect.exit(importAll([], { setAsideAtMost: -1 }))))
      for (const chunkEvents of [0, 1.5, Number.NaN]) {
        assert.isTrue(Exit.hasDies(yield* Effect.exit(importAll([], { chunkEvents }))))
      }
    }).pipe(asNewTenant, Effect.provide(inMemory()))
  )
})
