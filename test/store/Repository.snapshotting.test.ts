/** Loads and decisions of a repository with snapshots, in memory, with storages that are watched or fail. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Result, Schedule, Schema, Tracer } from "effect"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import * as Event from "../../src/domain/Event.ts"
import * as EventContext from "../../src/domain/EventContext.ts"
import type { LoadStreamRequest } from "../../src/driver/EventStorage.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as Repository from "../../src/store/Repository.ts"
import * as SnapshotPolicy from "../../src/domain/SnapshotPolicy.ts"
import { SnapshotStorage } from "../../src/driver/SnapshotStorage.ts"
import { TenantMismatch } from "../../src/driver/StoreError.ts"
import { CurrentTenant } from "../../src/domain/Tenant.ts"
import * as Upcaster from "../../src/domain/Upcaster.ts"
import { asNewTenant, changedDriver } from "../support/bank.ts"
import {
  adds,
  away,
  counted,
  enter,
  enterAll,
  entered,
  inMemory,
  kept,
  Ledger,
  load,
  parts,
  plant,
  quietly,
  snapshotAt,
  stateAfter,
  withRepository
} from "../support/snapshots.ts"
import { flipped, mismatches } from "../../src/testing/failures.ts"
import * as Telemetry from "../../src/telemetry/Telemetry.ts"

/** Records every range of a stream that is read. */
const watched = () => {
  const read: Array<Pick<LoadStreamRequest, "fromVersion" | "toVersion">> = []
  const watch = ({ fromVersion, toVersion }: LoadStreamRequest) => void read.push({ fromVersion, toVersion })
  const driver = changedDriver((storage) => ({
    loadStream: (request) => {
      watch(request)
      return storage.loadStream(request)
    },
    readStream: (request) => {
      watch(request)
      return storage.readStream(request)
    }
  }))
  return {
    driver,
    /** The first versions of the reads since the last call. */
    from: () => read.splice(0).map(({ fromVersion }) => fromVersion)
  }
}

describe("loading", () => {
  it.effect("reads from the event of the snapshot on, which must still exist", () => {
    const { driver, from } = watched()
    return Effect.gen(function* () {
      yield* enterAll([1, 2, 3, 4, 5, 6, 7])
      yield* load()
      assert.deepStrictEqual(from(), [1, 4, 7])
      yield* plant(yield* snapshotAt(6))
      from()
      yield* load()
      assert.deepStrictEqual(from(), [6])
      const { version } = yield* enter(8)
      assert.strictEqual(version, 8)
      assert.deepStrictEqual(from(), [6])
    }).pipe(withRepository({ policy: () => false }), Effect.provide(inMemory(undefined, driver)), asNewTenant)
  })

  it.effect("reads everything if the snapshot cannot be read, and counts it", () =>
    Effect.gen(function* () {
      yield* enterAll([1, 2])
      const misses = counted(Telemetry.snapshotMisses, "unavailable")
      assert.strictEqual(yield* adds(misses, load()), 1)
      assert.deepInclude(yield* load(), { state: stateAfter([1, 2]), version: 2 })
      assert.strictEqual(yield* adds(misses, enter(3)), 1)
    }).pipe(
      withRepository({ policy: SnapshotPolicy.every(1) }),
      Effect.provide(
        inMemory(() => ({ load: (key) => (key.aggregateId === "1" ? Effect.fail(away) : Effect.die("x")) }))
      ),
      quietly,
      asNewTenant
    )
  )

  it.effect("is refused for another tenant than that of the open transaction, as without snapshots", () =>
    Effect.gen(function* () {
      const tenantId = yield* CurrentTenant
      assert.deepStrictEqual(yield* mismatches(load()), new TenantMismatch({ tenantId }))
    }).pipe(
      withRepository({ policy: SnapshotPolicy.every(1) }),
      Effect.provide(
        inMemory(() => ({ load: ({ tenantId }) => Effect.die(new TenantMismatch({ tenantId })) }))
      ),
      asNewTenant
    )
  )

  it.effect("notes in its span the snapshot that it used, or the reason why it used none", () => {
    const spans: Array<Tracer.NativeSpan> = []
    const tracer = Tracer.make({
      span: (options) => {
        const span = new Tracer.NativeSpan(options)
        spans.push(span)
        return span
      }
    })
    const attributes = () =>
      spans
        .splice(0)
        .filter(({ name }) => /^(load|execute) /.test(name))
        .map(({ attributes: all, name }) => [
          name,
          Object.fromEntries([...all].filter(([key]) => key.startsWith("eventsourcing.snapshot.")))
        ])
    return Effect.gen(function* () {
      const { load: existing } = yield* Repository.Repository
      yield* enterAll([1, 2])
      yield* existing(Ledger, "1")
      yield* load()
      yield* enter(3)
      assert.deepStrictEqual(attributes(), [
        ["load Ledger", { "eventsourcing.snapshot.miss": "absent" }],
        ["load Ledger", { "eventsourcing.snapshot.version": 2 }],
        ["execute Ledger", { "eventsourcing.snapshot.version": 2 }]
      ])
    }).pipe(
      withRepository({ policy: SnapshotPolicy.every(1), taken: "atOnce" }),
      Effect.provide(inMemory()),
      Effect.withTracer(tracer),
      asNewTenant
    )
  })

  it.effect("knows the version of a stream whose last events are dropped, and appends after them", () => {
    const Noted = Schema.TaggedStruct("Noted", {})
    const Former = Aggregate.make("Ledger", { ...parts, events: [...parts.events, Noted] }, (state) => state)
    const Present = Aggregate.make(
      "Ledger",
      { ...parts, upcasters: [Upcaster.dropped("Noted")] },
      { Entered: (state, { amount }) => ({ ...state, entries: [...state.entries, amount] }) }
    )
    const note = Effect.flatMap(EventStore.EventStore, (store) =>
      store.append({ aggregate: Former, id: "1", events: [Noted.make({})], expectedVersion: "any" })
    )
    return Effect.gen(function* () {
      const { execute, loadOrInitial, save } = yield* Repository.Repository
      yield* enterAll([1, 2])
      yield* note
      yield* note
      for (const round of [0, 1, 2]) {
        const { state, version } = yield* loadOrInitial(Present, "1")
        assert.deepStrictEqual([state.entries.length, version], [2 + 2 * round, 4 * (round + 1)])
        assert.strictEqual((yield* kept())?.version, version)
        yield* save(Present, "1", { events: [entered(3)], expectedVersion: version })
        yield* note
        const { version: next } = yield* execute(Present, "1", () => [entered(4)], {
          retry: Schedule.recurs(0)
        })
        assert.strictEqual(next, version + 3)
        yield* note
      }
      const { state, version } = yield* loadOrInitial(Present, "1")
      assert.deepStrictEqual([state.entries, version], [[1, 2, 3, 4, 3, 4, 3, 4], 16])
    }).pipe(
      withRepository({ policy: SnapshotPolicy.every(1), taken: "atOnce" }),
      Effect.provide(inMemory()),
      asNewTenant
    )
  })
})

describe("a command", () => {
  it.effect("reads on from the last event it knows after a conflict, and nothing after its append", () => {
    const { driver, from } = watched()
    let rival = 3
    return Effect.gen(function* () {
      const { execute } = yield* Repository.Repository
      yield* enterAll([1, 2])
      const outcome = yield* execute(Ledger, "1", (state) =>
        Effect.as(rival-- > 0 ? Effect.orDie(enterAll([0])) : Effect.void, [entered(state.entries.length)])
      )
      assert.deepInclude(outcome, { state: stateAfter([1, 2, 0, 0, 0, 5]), version: 6 })
      assert.deepStrictEqual(from(), [1, 2, 3, 4])
      // The sum of the events that were read meets every(4).
      assert.strictEqual((yield* kept())?.version, 6)
    }).pipe(
      withRepository({ policy: SnapshotPolicy.every(4), taken: "atOnce" }),
      Effect.provide(inMemory(undefined, driver)),
      asNewTenant
    )
  })

  it.effect(
    "with derived ids finds its events before a snapshot, even if it would decide otherwise now",
    () => {
      const { driver, from } = watched()
      return Effect.gen(function* () {
        const { execute } = yield* Repository.Repository
        const handle = (
          decide: (
            state: typeof Ledger.initial
          ) =>
            | ReturnType<typeof Result.succeed<ReadonlyArray<Event.Appendable<ReturnType<typeof entered>>>>>
            | Effect.Effect<never, string>
        ) => execute(Ledger, "1", decide).pipe(EventContext.derivingIds(["test", "1"]))
        yield* enterAll([1])
        const first = yield* handle(({ entries }) => Result.succeed([entered(entries.length), entered(7)]))
        yield* enterAll([2, 3])
        yield* load()
        assert.strictEqual((yield* kept())?.version, 5)
        const expected = {
          events: first.events,
          state: stateAfter([1, 1, 7, 2, 3]),
          version: 5,
          eventId: (yield* kept())?.eventId,
          replayed: true
        }
        const again = [
          () => Result.succeed([entered(1), entered(7)]),
          () => Result.succeed([entered(5), entered(7)]),
          () => Result.succeed([entered(1)]),
          () => Result.succeed([]),
          () => Result.succeed([Event.make(entered(1), { eventId: Event.generateId() })]),
          () => Effect.fail("done already"),
          () => Effect.die("broken")
        ]
        for (const decide of again) assert.deepStrictEqual(yield* handle(decide), expected)
        const stale = execute(Ledger, "1", () => [entered(1), entered(7)], { expectedVersion: 1 })
        assert.deepStrictEqual(
          yield* stale.pipe(EventContext.derivingIds(["test", "1"])),
          // The version was the expected one when the command was carried out.
          expected
        )
        // Without a snapshot before, nothing is searched.
        from()
        const fresh = execute(Ledger, "1", () => [entered(9)]).pipe(EventContext.derivingIds(["test", "2"]))
        assert.isFalse((yield* fresh).replayed)
        assert.deepStrictEqual(from(), [5])
        assert.strictEqual(
          yield* flipped(
            execute(Ledger, "1", () => Effect.fail("no")).pipe(EventContext.derivingIds(["test", "3"]))
          ),
          "no"
        )
        const own = Event.generateId()
        yield* enterAll([0])
        const conflict = yield* flipped(
          Effect.andThen(
            execute(Ledger, "1", () => [Event.make(entered(1), { eventId: own })]),
            execute(Ledger, "1", () => [entered(8), Event.make(entered(2), { eventId: own })])
          ).pipe(EventContext.derivingIds(["test", "4"]))
        )
        assert.strictEqual(conflict._tag, "EventIdConflict")
      }).pipe(
        withRepository({ policy: SnapshotPolicy.whenReadMoreThan(4), taken: "atOnce" }),
        Effect.provide(inMemory(undefined, driver)),
        asNewTenant
      )
    }
  )
})

describe("a policy", () => {
  it.effect("can be set for one aggregate; with `never`, snapshots are not even looked for", () => {
    const loads: Array<string> = []
    const Other = Aggregate.make("Other", parts, (state) => state)
    const Third = Aggregate.make("Third", parts, (state) => state)
    return Effect.gen(function* () {
      const { execute } = yield* Repository.Repository
      const storage = yield* SnapshotStorage
      const tenantId = yield* CurrentTenant
      for (let n = 1; n <= 5; n++) {
        for (const aggregate of [Ledger, Other, Third]) yield* execute(aggregate, "1", () => [entered(n)])
      }
      assert.deepStrictEqual([...new Set(loads.splice(0))], ["Ledger", "Third"])
      const versions = yield* Effect.forEach(["Ledger", "Other", "Third"], (aggregateType) =>
        Effect.map(storage.load({ tenantId, aggregateType, aggregateId: "1" }), (row) => row?.version)
      )
      assert.deepStrictEqual(versions, [4, undefined, 5])
    }).pipe(
      withRepository({
        policy: SnapshotPolicy.every(2),
        aggregates: [
          [Other, SnapshotPolicy.never],
          [Third, SnapshotPolicy.every(1)]
        ],
        taken: "atOnce"
      }),
      Effect.provide(
        inMemory((storage) => ({
          load: (key) => {
            loads.push(key.aggregateType)
            return storage.load(key)
          }
        }))
      ),
      asNewTenant
    )
  })

  it.effect(
    "of the program gets the version of the stream, and the numbers of events read and appended",
    () => {
      const situations: Array<SnapshotPolicy.Situation> = []
      return Effect.gen(function* () {
        const { execute } = yield* Repository.Repository
        yield* load()
        yield* execute(Ledger, "1", () => [entered(1), entered(2)])
        yield* execute(Ledger, "1", () => [])
        yield* enterAll([3])
        yield* load()
        yield* execute(Ledger, "1", () => [entered(4)])
        assert.deepStrictEqual(
          situations.map(({ appended, read, snapshotVersion, version }) => [
            version,
            snapshotVersion,
            read,
            appended
          ]),
          [
            [2, 0, 0, 2],
            [3, 2, 1, 0],
            [4, 3, 0, 1]
          ]
        )
      }).pipe(
        withRepository({
          policy: (situation) => {
            situations.push(situation)
            return true
          },
          taken: "atOnce"
        }),
        Effect.provide(inMemory()),
        asNewTenant
      )
    }
  )

  it.effect("that throws takes no snapshot, and nothing fails", () =>
    Effect.gen(function* () {
      const thrown = counted(Telemetry.snapshotsNotTaken, "policy")
      assert.strictEqual(yield* adds(thrown, enter(1)), 1)
      assert.strictEqual(yield* adds(thrown, load()), 1)
      assert.isUndefined(yield* kept())
    }).pipe(
      withRepository({
        policy: () => {
          throw new Error("a mistake")
        }
      }),
      Effect.provide(inMemory()),
      quietly,
      asNewTenant
    )
  )

  it("accepts only a positive number of events, the layer only positive limits, and an aggregate only a valid state version", () => {
    for (const stateVersion of [-1, 1.5, Number.NaN, 2 ** 31])
      assert.throws(() => Aggregate.make("Ledger", { ...parts, stateVersion }, (state) => state), RangeError)
    for (const events of [0, -1, 1.5, Number.NaN, Infinity]) {
      assert.throws(() => SnapshotPolicy.every(events), RangeError)
      assert.throws(() => SnapshotPolicy.whenReadMoreThan(events), RangeError)
    }
    for (const wrong of [
      { maxStateBytes: 0 },
      { maxStateBytes: 13 << 20 },
      { capacity: 0 },
      { concurrency: 0.5 }
    ]) {
      const build = Layer.build(
        Repository.layerWith({ snapshots: { policy: SnapshotPolicy.never, ...wrong } }).pipe(
          Layer.provide(inMemory())
        )
      )
      assert.throws(() => Effect.runSync(Effect.scoped(build)), RangeError)
    }
  })
})
