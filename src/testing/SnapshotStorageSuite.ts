/**
 * The contract of `SnapshotStorage` as tests: a driver that passes them works under a repository.
 */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, type Layer } from "effect"
import { eventId, kept, load, neverAnothers, newKey, save, snapshot } from "./driver/snapshotKit.ts"
import { type SnapshotKey, SnapshotStorage } from "../driver/SnapshotStorage.ts"

/** Options of {@link suite}. */
export interface Options<E = never> {
  /** The title of the tests. */
  readonly name: string
  /** The driver. */
  readonly layer: Layer.Layer<SnapshotStorage, E>
}

/**
 * Registers the tests of the contract with vitest.
 *
 * **When to use**
 *
 * In a test file of the driver, at the top level or within a `describe`.
 *
 * **Details**
 *
 * The layer is built once. The tests create tenants of their own and leave their snapshots there, so the store need not be
 * empty. They use the real clock.
 *
 * **Example** (Testing a driver)
 *
 * ```ts
 * import { SnapshotStorageSuite } from "effect-eventsourcing/testing"
 *
 * SnapshotStorageSuite.suite({ name: "my driver", layer: MySnapshotStorage.layer })
 * ```
 */
export const suite = <E = never>(options: Options<E>): void => {
  describe(options.name, () => {
    layer(options.layer, { excludeTestServices: true })("a driver of snapshots", (it) => {
      it.effect("returns a snapshot exactly as it was saved, with the time at which it was taken", () =>
        Effect.gen(function* () {
          const key = newKey()
          assert.isUndefined(yield* load(key))
          const given = snapshot(3, {
            position: 9_007_199_254_740_991,
            stateVersion: 2_147_483_647,
            recordedAt: 1_600_000_000_123,
            state: `{"b":1.50,"a":"Zoë 🦊 \\u0000","":[1e400,{"__proto__":1}]}   `
          })
          const before = Date.now()
          assert.isTrue(yield* save(key, given))
          const row = yield* load(key)
          assert(row !== undefined)
          const { takenAt, ...rest } = row
          assert.deepStrictEqual(rest, given)
          assert.isTrue(Number.isInteger(takenAt))
          assert.closeTo(takenAt, before, 60_000)
        })
      )

      it.effect("keeps the newest of each stream, in any order of saving", () =>
        Effect.gen(function* () {
          const key = newKey()
          assert.isTrue(yield* save(key, snapshot(5)))
          assert.isFalse(yield* save(key, snapshot(4)))
          assert.deepStrictEqual(yield* kept(key), snapshot(5))
          assert.isTrue(yield* save(key, snapshot(9)))
          assert.deepStrictEqual(yield* kept(key), snapshot(9))
          yield* Effect.forEach([12, 17, 10, 16, 11, 15, 13, 14], (version) => save(key, snapshot(version)), {
            concurrency: "unbounded",
            discard: true
          })
          assert.deepStrictEqual(yield* kept(key), snapshot(17))
        })
      )

      it.effect("replaces a snapshot of the same version, which may be of another state or corrupt", () =>
        Effect.gen(function* () {
          const key = newKey()
          yield* save(key, snapshot(5))
          const other = snapshot(5, {
            stateVersion: 2,
            fingerprint: "e".repeat(64),
            checksum: "c".repeat(64),
            state: "[]",
            position: 11,
            eventId: eventId(50),
            recordedAt: 1_700_000_000_000
          })
          assert.isTrue(yield* save(key, other))
          assert.deepStrictEqual(yield* kept(key), other)
        })
      )

      it.effect(
        "replaces a snapshot that proved useless, even with an older one, and no other snapshot",
        () =>
          Effect.gen(function* () {
            const key = newKey()
            yield* save(key, snapshot(9))
            const { checksum } = snapshot(9)
            assert.isFalse(yield* save(key, snapshot(4), { version: 8, checksum }))
            assert.isFalse(yield* save(key, snapshot(4), { version: 9, checksum: "a".repeat(64) }))
            assert.deepStrictEqual(yield* kept(key), snapshot(9))
            assert.isTrue(yield* save(key, snapshot(4), { version: 9, checksum }))
            assert.deepStrictEqual(yield* kept(key), snapshot(4))
          })
      )

      it.effect("removes the snapshot of a stream, and returns true if there was one", () =>
        Effect.gen(function* () {
          const storage = yield* SnapshotStorage
          const key = newKey()
          assert.isFalse(yield* storage.remove(key))
          yield* save(key, snapshot(5))
          assert.isTrue(yield* storage.remove(key))
          assert.isUndefined(yield* load(key))
          assert.isTrue(yield* save(key, snapshot(1)))
        })
      )

      it.effect("distinguishes streams by tenant, type and id with any characters", () =>
        Effect.gen(function* () {
          const storage = yield* SnapshotStorage
          const [one, other] = [newKey(), newKey()]
          const names = ["a", "A", "a ", 'a","b', "a/b", "%", "ä", "a'; drop table snapshots --"]
          const keys: Array<SnapshotKey> = []
          for (const { tenantId } of [one, other]) {
            for (const aggregateType of names)
              for (const aggregateId of names) keys.push({ tenantId, aggregateType, aggregateId })
          }
          yield* Effect.forEach(keys, (key, index) => save(key, snapshot(index + 1)), { discard: true })
          yield* storage.remove({ ...one, aggregateType: "a", aggregateId: "a" })
          for (const [index, key] of keys.entries())
            assert.deepStrictEqual(yield* kept(key), index === 0 ? undefined : snapshot(index + 1))
        })
      )

      it.effect(
        "9: never gives a tenant another tenant's snapshot under the same names, in both directions",
        () =>
          Effect.gen(function* () {
            const [one, other] = [newKey(), newKey()]
            yield* neverAnothers(one, other)
            yield* neverAnothers(other, one)
          })
      )
    })
  })
}
