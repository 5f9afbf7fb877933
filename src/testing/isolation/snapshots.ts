/**
 * Cases about snapshots of two tenants with the same streams. The metrics of the repository show the use of a snapshot,
 * because a load that folds all events is correct in any case.
 */
import { assert } from "@effect/vitest"
import { Effect, Metric } from "effect"
import * as snapshotCodec from "../../store/snapshotCodec.ts"
import { neverAnothers } from "../driver/snapshotKit.ts"
import type * as EventStore from "../../store/EventStore.ts"
import * as Repository from "../../store/Repository.ts"
import * as SnapshotPolicy from "../../domain/SnapshotPolicy.ts"
import {
  type NewSnapshot,
  type SnapshotKey,
  type SnapshotRow,
  SnapshotStorage
} from "../../driver/SnapshotStorage.ts"
import type { ReadError } from "../../driver/StoreError.ts"
import type * as Tenant from "../../domain/Tenant.ts"
import {
  as,
  type Case,
  id,
  Note,
  noted,
  NoteV2,
  observe,
  read,
  type Services,
  test,
  texts,
  withNeighbour
} from "./kit.ts"

const maxBytes = 1 << 20

/** The stream that all tenants share. */
const keyOf = (tenantId: Tenant.TenantId): SnapshotKey => ({
  tenantId,
  aggregateType: Note.type,
  aggregateId: id
})

/** The snapshot of a tenant. */
const kept = (tenant: Tenant.TenantId): Effect.Effect<SnapshotRow | undefined, ReadError, SnapshotStorage> =>
  SnapshotStorage.use((storage) => storage.load(keyOf(tenant)))

/** Replaces the snapshot of a tenant. */
const plant = (
  tenant: Tenant.TenantId,
  { checksum, eventId, fingerprint, position, recordedAt, state, stateVersion, version }: NewSnapshot
) =>
  SnapshotStorage.use((storage) =>
    Effect.andThen(
      storage.remove(keyOf(tenant)),
      storage.save({
        ...keyOf(tenant),
        checksum,
        eventId,
        fingerprint,
        position,
        recordedAt,
        state,
        stateVersion,
        version
      })
    )
  ).pipe(Effect.map((saved) => assert.isTrue(saved)))

/** Runs an effect with a repository of its own, which finishes its background work. It remembers no states, which loads would use. */
const withRepository =
  (snapshots: Repository.SnapshotOptions) =>
  <A, E, R>(
    effect: Effect.Effect<A, E, R>
  ): Effect.Effect<A, E, Exclude<R, Repository.Repository> | EventStore.EventStore | SnapshotStorage> =>
    Effect.provide(effect, Repository.layerWith({ remember: { entries: 0 }, snapshots }), { local: true })

/** Uses snapshots but takes none. */
const looking = withRepository({ policy: () => false, taken: "atOnce" })
/** Takes a snapshot after every load and change. */
const taking = withRepository({ policy: SnapshotPolicy.every(1), taken: "atOnce" })

/** Loads the shared stream: its texts, and the use of its snapshot. */
const load = Effect.suspend(() =>
  Effect.gen(function* () {
    const { loadOrInitial } = yield* Repository.Repository
    const { state } = yield* loadOrInitial(Note, id)
    const counted = yield* Metric.snapshot
    const found = counted
      .filter((metric) => metric.id.startsWith("eventsourcing.snapshot."))
      .map((metric) =>
        [metric.id.slice("eventsourcing.snapshot.".length), metric.attributes?.["reason"] ?? []]
          .flat()
          .join(": ")
      )
      .toSorted()
    return { texts: state.texts, found }
  }).pipe(
    // counted separately, because others may load at the same time
    Effect.provideService(Metric.MetricRegistry, new Map())
  )
)

/** Checks that a load returned the state of the tenant's own events. */
const loads = (...found: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const expected = texts(yield* read())
    assert.deepStrictEqual(yield* load, { texts: expected, found: [...found].toSorted() })
  })

/** The snapshot of a tenant, which must exist. */
const ownSnapshot = (tenant: Tenant.TenantId) =>
  Effect.map(kept(tenant), (row) => row ?? assert.fail("there is no snapshot"))

/** The cases. */
export const snapshots: ReadonlyArray<Case<Services | SnapshotStorage>> = [
  test("9: a tenant saves, loads and removes its own snapshot, never another tenant's of the same names", () =>
    withNeighbour((mine, theirs) => neverAnothers(keyOf(mine), keyOf(theirs)))),

  test("9: a load starts from the tenant's own snapshot, whatever another tenant has done", () =>
    withNeighbour((mine, theirs) =>
      Effect.gen(function* () {
        yield* loads("misses: absent", "taken").pipe(as(theirs))
        const before = { seen: yield* observe.pipe(as(theirs)), kept: yield* ownSnapshot(theirs) }
        yield* loads("misses: absent", "taken").pipe(as(mine))
        yield* loads("hits").pipe(as(mine))
        yield* Repository.Repository.use(({ execute }) =>
          execute(Note, id, () => [noted("one more"), noted("and one more")])
        ).pipe(as(mine))
        const own = yield* ownSnapshot(mine)
        assert.strictEqual(own.version, (yield* read().pipe(as(mine))).length)
        yield* loads("hits").pipe(as(mine))
        yield* loads("hits").pipe(as(theirs))
        // erased for one of them only
        yield* SnapshotStorage.use((storage) => storage.remove(keyOf(mine)))
        yield* loads("misses: absent", "taken").pipe(as(mine))
        assert.deepStrictEqual(
          { seen: yield* observe.pipe(as(theirs)), kept: yield* ownSnapshot(theirs) },
          before
        )
        yield* loads("hits").pipe(as(theirs))
      }).pipe(taking)
    )),

  test("9: a snapshot taken in the background belongs to the tenant of its command", () =>
    withNeighbour((mine, theirs) =>
      Effect.gen(function* () {
        for (const tenant of [theirs, mine]) {
          yield* Effect.exit(load).pipe(as(tenant))
        }
      }).pipe(
        withRepository({ policy: SnapshotPolicy.every(1) }),
        // a layer built in the scope of one tenant serves all
        as(mine),
        Effect.andThen(
          Effect.gen(function* () {
            for (const tenant of [mine, theirs]) {
              const { state, version } = yield* ownSnapshot(tenant)
              const own = yield* read().pipe(as(tenant))
              assert.strictEqual(version, own.length)
              assert.deepStrictEqual(JSON.parse(state), { texts: texts(own) })
              yield* loads("hits").pipe(looking, as(tenant))
            }
          })
        )
      )
    )),

  test("9: another tenant's snapshot under one's own name is ignored, resealed or not, and replaced", () =>
    withNeighbour((mine, theirs) =>
      Effect.gen(function* () {
        yield* load.pipe(taking, as(theirs))
        const stolen = yield* ownSnapshot(theirs)
        const before = yield* observe.pipe(as(theirs))
        const { texts: secrets } = yield* load.pipe(looking, as(theirs))
        const sealed = yield* snapshotCodec.encode(Note, keyOf(mine), stolen, { texts: secrets }, maxBytes)
        const isAhead = stolen.version > (yield* read().pipe(as(mine))).length
        for (const [snapshot, reason] of [
          [stolen, "corrupt"],
          [sealed, isAhead ? "ahead" : "otherHistory"]
        ] as const) {
          yield* plant(mine, snapshot)
          yield* loads(`misses: ${reason}`).pipe(looking, as(mine))
          yield* loads(`misses: ${reason}`, "taken").pipe(taking, as(mine))
          yield* loads("hits").pipe(looking, as(mine))
        }
        assert.deepStrictEqual(yield* ownSnapshot(theirs), stolen)
        assert.deepStrictEqual(yield* observe.pipe(as(theirs)), before)
      })
    )),

  test("9: a snapshot ahead of its stream, of another state version or corrupt is ignored and replaced", () =>
    withNeighbour((mine, theirs) =>
      Effect.gen(function* () {
        for (const tenant of [mine, theirs]) yield* load.pipe(taking, as(tenant))
        const good = yield* ownSnapshot(mine)
        const another = yield* ownSnapshot(theirs)
        const forged = { texts: ["forged"] }
        const ahead = { ...good, version: good.version + 1, position: good.position + 100 }
        const otherEvent = { ...good, eventId: another.eventId }
        const seal = (place: snapshotCodec.Place, aggregate: typeof Note = Note) =>
          snapshotCodec.encode(aggregate, keyOf(mine), place, forged, maxBytes)
        const cases: ReadonlyArray<readonly [NewSnapshot, string]> = [
          [yield* seal(ahead), "ahead"],
          [yield* seal(otherEvent), "otherHistory"],
          [yield* seal(good, NoteV2), "stateVersion"],
          [{ ...good, fingerprint: "0".repeat(64) }, "corrupt"],
          [{ ...good, state: JSON.stringify(forged) }, "corrupt"],
          [{ ...good, state: "{" }, "corrupt"],
          [{ ...good, state: another.state, checksum: another.checksum }, "corrupt"]
        ]
        for (const [snapshot, reason] of cases) {
          yield* plant(mine, snapshot)
          yield* loads(`misses: ${reason}`).pipe(looking, as(mine))
          yield* loads("hits").pipe(looking, as(theirs))
          yield* loads(`misses: ${reason}`, "taken").pipe(taking, as(mine))
          yield* loads("hits").pipe(looking, as(mine))
        }
        assert.deepStrictEqual(yield* ownSnapshot(theirs), another)
      })
    ))
]
