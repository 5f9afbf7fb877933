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
import { flipped } from "../../src/testing/failures.ts"

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

/** Runs of events of three streams, which come again and again. */
const interleaved = (): ReadonlyArray<Given> =>
  Array.from({ length: 20 }, (_, index) =>
    given(
      `account ${index % 3}`,
      Array.from({ length: (index % 4) + 1 }, (__, n) => index * 10 + n)
    )
  )

for (const backend of backends) {
  layer(onDriver(backend.layer), { excludeTestServices: true })(`an import on ${backend.name}`, (it) => {
    it.effect("keeps the order of the events, whatever the chunks are", () =>
      Effect.forEach([1, 2, 7, undefined], (chunkEvents) =>
        Effect.gen(function* () {
          const events = interleaved()
          const imported = yield* importAll(events, { chunkEvents })
          assert.deepStrictEqual(imported, { appended: 50, known: 0, position: 50 })
          assert.deepStrictEqual(yield* stored, expected(events))
        }).pipe(asNewTenant)
      )
    )

    it.effect("goes on where it was stopped, also with other chunks, and adds nothing a second time", () =>
      Effect.gen(function* () {
        const events = interleaved()
        // Stopped after a few of them, in the middle of what the next run takes for a chunk.
        const first = yield* importAll(events.slice(0, 7), { chunkEvents: 3 })
        const second = yield* importAll(events, { chunkEvents: 11 })
        assert.deepStrictEqual(second, { appended: 50 - first.appended, known: first.appended, position: 50 })
        assert.deepStrictEqual(yield* stored, expected(events))
        assert.deepStrictEqual(yield* importAll(events, { chunkEvents: 5 }), {
          appended: 0,
          known: 50,
          position: 50
        })
        assert.lengthOf(yield* stored, 50)
      }).pipe(asNewTenant)
    )

    it.effect("stops at the first event that is refused, with what was before it written", () =>
      Effect.gen(function* () {
        const events = [
          given("one", [1, 2, 3], "noStream"),
          given("two", [4], 0),
          given("one", [5], 3),
          given("two", [6], 7),
          given("three", [7])
        ]
        const conflict = yield* flipped(importAll(events))
        assert.deepInclude(conflict, { _tag: "VersionConflict", aggregateId: "two", expected: 7, actual: 1 })
        assert.deepStrictEqual(yield* stored, [
          ["one", 1],
          ["one", 2],
          ["one", 3],
          ["two", 4]
        ])
      }).pipe(asNewTenant)
    )

    it.effect("expects the given version also of what is left of a chunk", () =>
      Effect.gen(function* () {
        const whole = given("one", [1, 2, 3, 4, 5, 6, 7, 8, 9], "noStream")
        yield* importAll([{ ...whole, events: whole.events.slice(0, 4) }], { chunkEvents: 3 })
        assert.deepStrictEqual(yield* importAll([whole]), { appended: 5, known: 4, position: 9 })
        const other = given("one", [10, 11], "noStream")
        assert.strictEqual((yield* flipped(importAll([other])))._tag, "VersionConflict")
        assert.lengthOf(yield* stored, 9)
      }).pipe(asNewTenant)
    )

    it.effect("tells an event that is there already from another one under its id", () =>
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
        const conflict = yield* flipped(importAll([one, three, forged]))
        assert.deepStrictEqual(
          conflict,
          new EventIdConflict({ tenantId: yield* Tenant.CurrentTenant, eventId: eventId ?? "" })
        )
        assert.deepStrictEqual(yield* stored, expected([one, two, three]))
      }).pipe(asNewTenant)
    )

    it.effect("finds an event id that is given twice, whichever stream it is given with", () =>
      Effect.gen(function* () {
        const one = given("one", [1])
        const again: Given = { ...one, id: "two" }
        const conflict = yield* flipped(importAll([one, given("other", [2]), again]))
        assert.strictEqual(conflict._tag, "EventIdConflict")
        assert.deepStrictEqual(yield* stored, [
          ["one", 1],
          ["other", 2]
        ])
        // The same event of the same stream is known by then.
        assert.deepStrictEqual(yield* importAll([given("third", [3]), one, one]), {
          appended: 1,
          known: 2,
          position: 3
        })
      }).pipe(asNewTenant)
    )

    it.effect("imports the same ids into two tenants, and neither notices", () =>
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

describe("an import", () => {
  it.effect(
    "refuses an event without an id of its own, and one that cannot be stored, with what was before it written",
    () =>
      Effect.gen(function* () {
        const nameless: Given = { aggregate: Account, id: "one", events: [deposited(1)] }
        assert.deepInclude(yield* flipped(importAll([given("one", [1]), nameless])), {
          _tag: "InvalidEvent",
          path: ["eventId"]
        })
        const whole = given("one", [1])
        const wrong = Event.make<typeof Deposited.Type>(
          { _tag: "Deposited", amount: Number.NaN },
          { eventId: Event.generateId() }
        )
        const invalid: Given = { ...whole, events: [...whole.events, wrong] }
        assert.strictEqual((yield* flipped(importAll([invalid])))._tag, "InvalidEvent")
        assert.deepStrictEqual(yield* stored, [["one", 1]])
      }).pipe(asNewTenant, Effect.provide(inMemory()))
  )

  it.effect("tells how far it is after each chunk", () =>
    Effect.gen(function* () {
      const seen: Array<EventStore.Imported> = []
      yield* append("other", [deposited(0)])
      yield* importAll([given("one", [1, 2, 3, 4, 5]), given("two", [6])], {
        chunkEvents: 2,
        onProgress: (soFar) => Effect.sync(() => seen.push(soFar))
      })
      assert.deepStrictEqual(seen, [
        { appended: 2, known: 0, position: 3 },
        { appended: 4, known: 0, position: 5 },
        { appended: 6, known: 0, position: 7 }
      ])
    }).pipe(asNewTenant, Effect.provide(inMemory()))
  )

  it.effect("of nothing does nothing, and one that fails to read leaves what it had", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* importAll([]), { appended: 0, known: 0, position: 0 })
      const failing = Stream.concat(Stream.make(given("one", [1, 2])), Stream.fail("torn"))
      const imported = EventStore.EventStore.use((store) => store.importEvents(failing, { chunkEvents: 1 }))
      assert.strictEqual(yield* flipped(imported), "torn")
      for (const chunkEvents of [0, 1.5, Number.NaN]) {
        assert.isTrue(Exit.hasDies(yield* Effect.exit(importAll([], { chunkEvents }))))
      }
    }).pipe(asNewTenant, Effect.provide(inMemory()))
  )
})
