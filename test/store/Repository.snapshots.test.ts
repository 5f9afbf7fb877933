import { assert, describe, layer } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import { EventStore } from "../../src/store/EventStore.ts"
import * as Repository from "../../src/store/Repository.ts"
import * as SnapshotPolicy from "../../src/domain/SnapshotPolicy.ts"
import { SnapshotStorage } from "../../src/driver/SnapshotStorage.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { asNewTenant } from "../support/bank.ts"
import {
  adds,
  counted,
  enterAll,
  entered,
  kept,
  keyOf,
  Ledger,
  LedgerV2,
  parts,
  plant,
  quietly,
  snapshotAt,
  snapshotBackends,
  stateAfter,
  stored,
  withRepository
} from "../support/snapshots.ts"
import * as Telemetry from "../../src/telemetry/Telemetry.ts"

const atOnce = (policy: SnapshotPolicy.SnapshotPolicy): Repository.SnapshotOptions => ({
  policy,
  taken: "atOnce"
})

/** Uses existing snapshots, and takes none. */
const looking = withRepository(atOnce(() => false))

const load = (id = "1") => Repository.Repository.use(({ loadOrInitial }) => loadOrInitial(Ledger, id))

const amounts = Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: -9, maximum: 9 }))).check(
  Schema.isMinLength(1),
  Schema.isMaxLength(12)
)
const number = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

const policies: ReadonlyArray<SnapshotPolicy.SnapshotPolicy> = [
  SnapshotPolicy.every(1),
  SnapshotPolicy.every(4),
  SnapshotPolicy.whenReadMoreThan(1),
  SnapshotPolicy.whenReadMoreThan(5),
  SnapshotPolicy.never,
  ({ version }) => version % 3 === 1
]

describe.each(snapshotBackends)("a repository with snapshots on $name", (backend) => {
  const runs = { arbitrary: { runs: backend.name === "memory" ? 100 : 8 } }

  layer(stored(backend.layer), { excludeTestServices: true })((it) => {
    it.effect.prop(
      "loads the same state with a snapshot of any version as without",
      [amounts, number(1, 12), amounts],
      ([before, at, after]) =>
        Effect.gen(function* () {
          yield* enterAll(before)
          const version = Math.min(at, before.length)
          yield* plant(yield* snapshotAt(version))
          const hits = counted(Telemetry.snapshotHits)
          const loaded = load()
          const expected = (all: ReadonlyArray<number>) => ({ state: stateAfter(all), version: all.length })
          assert.strictEqual(yield* adds(hits, loaded), 1)
          assert.deepInclude(yield* loaded, expected(before))
          yield* enterAll(after)
          assert.deepInclude(yield* loaded, expected([...before, ...after]))
          assert.deepStrictEqual(
            yield* Effect.provide(loaded, Repository.layer, { local: true }),
            yield* loaded
          )
        }).pipe(looking, asNewTenant),
      runs
    )

    it.effect.prop(
      "loads and executes with any policy as without, even during concurrent appends",
      [number(0, policies.length - 1), number(0, 1), amounts, amounts],
      ([index, background, mine, others]) =>
        Effect.gen(function* () {
          const { execute } = yield* Repository.Repository
          const seen: Array<Repository.Loaded<typeof Ledger.initial>> = []
          const look = Effect.tap(load(), (loaded) => Effect.sync(() => seen.push(loaded)))
          yield* Effect.all(
            [
              Effect.forEach(mine, (amount) =>
                Effect.andThen(
                  look,
                  Effect.tap(
                    execute(Ledger, "1", () => [entered(amount), entered(amount + 1)]),
                    ({ eventId, state, version }) => Effect.sync(() => seen.push({ state, version, eventId }))
                  )
                )
              ),
              Effect.forEach(others, (amount) => Effect.andThen(enterAll([amount]), look))
            ],
            { concurrency: "unbounded" }
          )
          const all = (yield* Effect.provide(load(), Repository.layer, { local: true })).state.entries
          assert.strictEqual(all.length, 2 * mine.length + others.length)
          yield* look
          for (const { state, version } of seen)
            assert.deepStrictEqual(state, stateAfter(all.slice(0, version)))
        }).pipe(
          withRepository({
            policy: policies[index] ?? SnapshotPolicy.never,
            taken: background === 1 ? "inBackground" : "atOnce"
          }),
          asNewTenant
        ),
      runs
    )

    it.effect("takes a snapshot every so many events, and continues from it", () =>
      Effect.gen(function* () {
        const { execute } = yield* Repository.Repository
        const versions: Array<number | undefined> = []
        for (let n = 1; n <= 7; n++) {
          yield* execute(Ledger, "1", () => [entered(n)])
          versions.push((yield* kept())?.version)
        }
        assert.deepStrictEqual(versions, [undefined, undefined, 3, 3, 3, 6, 6])
        // The next load replaces a snapshot that was removed.
        yield* Effect.flatMap(keyOf(), (key) => SnapshotStorage.use((storage) => storage.remove(key)))
        yield* load()
        assert.strictEqual((yield* kept())?.version, 7)
      }).pipe(withRepository(atOnce(SnapshotPolicy.every(3))), asNewTenant)
    )

    it.effect("takes a snapshot when a load has read too much", () =>
      Effect.gen(function* () {
        const { execute } = yield* Repository.Repository
        yield* enterAll([1, 2, 3])
        yield* load()
        assert.isUndefined(yield* kept())
        yield* enterAll([4])
        yield* load()
        assert.strictEqual((yield* kept())?.version, 4)
        yield* enterAll([5, 6, 7, 8])
        // A command loads too, and its events are in the snapshot.
        yield* execute(Ledger, "1", () => [entered(9)])
        assert.strictEqual((yield* kept())?.version, 9)
        assert.deepStrictEqual((yield* load()).state, stateAfter([1, 2, 3, 4, 5, 6, 7, 8, 9]))
      }).pipe(withRepository(atOnce(SnapshotPolicy.whenReadMoreThan(3))), asNewTenant)
    )

    it.effect("does not use a snapshot of another state version, and replaces it", () =>
      Effect.gen(function* () {
        const { loadOrInitial } = yield* Repository.Repository
        yield* enterAll([1, 2, 3])
        yield* load()
        assert.deepInclude(yield* kept(), { version: 3, stateVersion: 1 })
        const v2 = loadOrInitial(LedgerV2, "1")
        assert.strictEqual(yield* adds(counted(Telemetry.snapshotMisses, "stateVersion"), v2), 1)
        assert.deepInclude(yield* kept(), { version: 3, stateVersion: 2 })
        assert.strictEqual(yield* adds(counted(Telemetry.snapshotHits), v2), 1)
        assert.deepStrictEqual((yield* v2).state, stateAfter([2, 4, 6]))
        assert.strictEqual(yield* adds(counted(Telemetry.snapshotMisses, "stateVersion"), load()), 1)
        assert.deepStrictEqual((yield* load()).state, stateAfter([1, 2, 3]))
      }).pipe(withRepository(atOnce(SnapshotPolicy.every(1))), asNewTenant)
    )

    it.effect("does not use a snapshot with another state schema, initial value or set of events", () =>
      Effect.gen(function* () {
        const { loadOrInitial } = yield* Repository.Repository
        yield* enterAll([1])
        yield* plant(yield* snapshotAt(1))
        const fold = (state: typeof parts.initial & typeof parts.state.Type) => state
        const others = [
          Aggregate.make("Ledger", { ...parts, initial: { ...Ledger.initial, total: 1n } }, fold as never),
          Aggregate.make(
            "Ledger",
            { ...parts, events: [...parts.events, Schema.TaggedStruct("Other", {})] },
            (state) => state
          ),
          Aggregate.make(
            "Ledger",
            {
              ...parts,
              state: Schema.Struct({ ...parts.state.fields, more: Schema.optionalKey(Schema.Int) })
            },
            (state) => state
          ),
          Aggregate.tolerant(Ledger)
        ]
        for (const other of others) {
          const misses = counted(Telemetry.snapshotMisses, "dependencies")
          assert.strictEqual(yield* adds(misses, loadOrInitial(other, "1")), 1)
        }
        assert.strictEqual(yield* adds(counted(Telemetry.snapshotHits), load()), 1)
      }).pipe(looking, asNewTenant)
    )

    it.effect("9: does not use a snapshot that was altered in any of its fields", () =>
      Effect.gen(function* () {
        yield* enterAll([1, 2, 3])
        const good = yield* snapshotAt(2)
        const other = yield* snapshotAt(1)
        const misses = counted(Telemetry.snapshotMisses, "corrupt")
        for (const changes of [
          { state: good.state.replace("1", "7") },
          { state: "" },
          { state: "{" },
          { state: other.state },
          { checksum: other.checksum },
          { version: 1 },
          { version: 3 },
          { position: 3 },
          { eventId: other.eventId },
          { recordedAt: 0 },
          { stateVersion: 2 },
          { fingerprint: "0".repeat(64) }
        ]) {
          yield* plant({ ...good, ...changes })
          assert.strictEqual(yield* adds(misses, load()), 1)
          assert.deepInclude(yield* load(), { state: stateAfter([1, 2, 3]), version: 3 })
        }
        yield* plant(good)
        assert.strictEqual(yield* adds(misses, load()), 0)
      }).pipe(looking, asNewTenant)
    )

    it.effect(
      "9: does not use a snapshot that is newer than its stream, or of another history, and replaces it",
      () =>
        Effect.gen(function* () {
          yield* enterAll([1, 2, 3])
          const here = yield* snapshotAt(3)
          const cases = [
            ["ahead", { version: 9, position: 9 }],
            ["ahead", { version: 4, position: 4 }],
            ["otherHistory", { eventId: "00000000-0000-4000-8000-000000000001" }],
            ["otherHistory", { version: 2 }]
          ] as const
          for (const [reason, changes] of cases) {
            const found = yield* snapshotAt(3, changes)
            yield* plant(found)
            assert.strictEqual(yield* adds(counted(Telemetry.snapshotMisses, reason), load()), 1)
            const row = yield* kept()
            assert.deepInclude(row, here)
            assert.deepInclude(yield* load(), { state: stateAfter([1, 2, 3]), version: 3 })
          }
        }).pipe(withRepository(atOnce(SnapshotPolicy.every(1))), asNewTenant)
    )

    it.effect("9: never uses a snapshot of one tenant for another, in both directions", () =>
      Effect.gen(function* () {
        for (const reversed of [false, true]) {
          const tenants = [yield* Tenant.generate, yield* Tenant.generate]
          const [mine, theirs] = reversed ? tenants.toReversed() : tenants
          assert(mine !== undefined && theirs !== undefined)
          const asMe = Tenant.provide(mine)
          yield* enterAll([7, 7]).pipe(Tenant.provide(theirs))
          yield* enterAll([1, 2]).pipe(asMe)
          const snapshot = yield* snapshotAt(2).pipe(Tenant.provide(theirs))
          yield* plant(snapshot).pipe(Tenant.provide(theirs))
          const expected = { state: stateAfter([1, 2]), version: 2 }
          // It is not found by its key.
          const absent = counted(Telemetry.snapshotMisses, "absent")
          assert.strictEqual(yield* adds(absent, load().pipe(asMe)), 1)
          assert.deepInclude(yield* load().pipe(asMe), expected)
          // A copy is recognised.
          yield* plant(snapshot).pipe(asMe)
          const corrupt = counted(Telemetry.snapshotMisses, "corrupt")
          assert.strictEqual(yield* adds(corrupt, load().pipe(asMe)), 1)
          assert.deepInclude(yield* load().pipe(asMe), expected)
        }
      }).pipe(looking)
    )

    it.effect("9: distinguishes the streams of one tenant, by type and by id", () =>
      Effect.gen(function* () {
        yield* enterAll([1, 2])
        yield* enterAll([3, 4], "2")
        yield* plant(yield* snapshotAt(2), "2")
        assert.strictEqual(yield* adds(counted(Telemetry.snapshotMisses, "corrupt"), load("2")), 1)
        assert.deepStrictEqual((yield* load("2")).state, stateAfter([3, 4]))
      }).pipe(looking, asNewTenant)
    )

    it.effect(
      "takes no snapshot of a state that is too large or cannot be stored as JSON, and commands succeed",
      () =>
        Effect.gen(function* () {
          const { execute } = yield* Repository.Repository
          const command = execute(Ledger, "1", () => [entered(1), entered(2)])
          assert.strictEqual(yield* adds(counted(Telemetry.snapshotsNotTaken, "tooLarge"), command), 1)
          assert.isUndefined(yield* kept())
          const Ratio = Aggregate.make(
            "Ratio",
            { ...parts, state: Schema.Unknown, initial: 0 },
            (_state, { amount }) => (amount === 0 ? -0 : amount === 1 ? "\0" : () => amount)
          )
          for (const amount of [0, 1, 2]) {
            const unstorable = execute(Ratio, "1", () => [entered(amount)])
            const refused = counted(Telemetry.snapshotsNotTaken, "notStorable", "Ratio")
            assert.strictEqual(yield* adds(refused, unstorable), 1)
          }
          const store = yield* EventStore
          assert.strictEqual(yield* store.version({ aggregate: Ratio, id: "1" }), 3)
        }).pipe(
          withRepository({ ...atOnce(SnapshotPolicy.every(1)), maxStateBytes: 40 }),
          quietly,
          asNewTenant
        )
    )
  })
})
