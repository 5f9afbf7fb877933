/** Helpers of the tests of snapshots. */
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { uuidV4Unsafe } from "effect/crypto/SecureRandom"
import { type NewSnapshot, type SnapshotKey, SnapshotStorage } from "../../driver/SnapshotStorage.ts"
import type { ReadError } from "../../driver/StoreError.ts"
import { TenantId } from "../../domain/Tenant.ts"

/** A new stream. */
export const newKey = (): SnapshotKey => ({
  tenantId: TenantId.make(uuidV4Unsafe()),
  aggregateType: "Case",
  aggregateId: "one"
})

export const eventId = (version: number): string =>
  `00000000-0000-4000-8000-${String(version).padStart(12, "0")}`

export const snapshot = (version: number, fields: Partial<NewSnapshot> = {}): NewSnapshot => ({
  version,
  position: version * 2,
  eventId: eventId(version),
  recordedAt: 1_600_000_000_000 + version,
  stateVersion: 1,
  fingerprint: "f".repeat(64),
  checksum: String(version).padStart(64, "0"),
  state: `{"version":${version}}`,
  ...fields
})

export const save = (
  key: SnapshotKey,
  given: NewSnapshot,
  replaces?: Pick<NewSnapshot, "version" | "checksum">
) => SnapshotStorage.use((storage) => storage.save({ ...key, ...given, replaces }))

export const load = (key: SnapshotKey) => SnapshotStorage.use((storage) => storage.load(key))

/** The snapshot of a stream, without the time that the driver adds. */
export const kept = (key: SnapshotKey): Effect.Effect<NewSnapshot | undefined, ReadError, SnapshotStorage> =>
  Effect.map(load(key), (row) => {
    if (row === undefined) return undefined
    const { takenAt: _takenAt, ...rest } = row
    return rest
  })

/** Checks that nothing a tenant does with its snapshot of a stream changes another tenant's snapshot of the same names. */
export const neverAnothers = (
  mine: SnapshotKey,
  theirs: SnapshotKey
): Effect.Effect<void, ReadError, SnapshotStorage> =>
  Effect.gen(function* () {
    const storage = yield* SnapshotStorage
    const other = snapshot(7)
    yield* storage.remove(mine)
    yield* storage.remove(theirs)
    yield* save(theirs, other)
    assert.isUndefined(yield* load(mine))
    assert.isFalse(yield* storage.remove(mine))
    // never replaces theirs, though theirs is newer, older, or named as useless
    assert.isTrue(yield* save(mine, snapshot(3), other))
    assert.deepStrictEqual(yield* kept(mine), snapshot(3))
    assert.deepStrictEqual(yield* kept(theirs), other)
    assert.isTrue(yield* save(mine, snapshot(8)))
    assert.deepStrictEqual(yield* kept(mine), snapshot(8))
    assert.deepStrictEqual(yield* kept(theirs), other)
    assert.isTrue(yield* storage.remove(mine))
    assert.deepStrictEqual(yield* kept(theirs), other)
    assert.isUndefined(yield* load(mine))
  })
