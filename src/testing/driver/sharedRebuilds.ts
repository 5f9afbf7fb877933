/** The contract of projection storages: rebuilds of read models that all tenants share. */
import { assert } from "@effect/vitest"
import { Effect, Option } from "effect"
import { type Claim, ProjectionStorage, type SwitchOutcome } from "../../driver/ProjectionStorage.ts"
import { flipped } from "../failures.ts"
import {
  access,
  append,
  eventually,
  failNext,
  type It,
  newProjection,
  newTenant,
  Projected,
  putNextAside,
  tenantsWith
} from "./projectionKit.ts"

/** A projection across tenants; its rebuild has rows of all tenants of the storage. */
const across = Effect.gen(function* () {
  const storage = yield* ProjectionStorage
  const accessId = yield* access
  const projected = yield* newProjection(1, true, accessId)
  const { projection, version } = projected
  const key = { projection, version, tables: [], accessId }
  const next = (rebuild: boolean) =>
    projected.tryWork((claim) =>
      claim.rebuild === rebuild
        ? Effect.as(storage.advance(claim, claim.head), true)
        : Effect.as(storage.advance(claim, claim.position), false)
    )
  /** Handles all events for the live read model, or for the rebuild. */
  const catchUp = (rebuild: boolean) =>
    Effect.gen(function* () {
      yield* storage.sweep
      for (let passed = 0; passed < 20;) {
        const worked = yield* next(rebuild)
        if (Option.isNone(worked)) return
        passed = worked.value ? 0 : passed + 1
      }
    })
  return {
    projected,
    start: (restart = false) => storage.startSharedRebuild({ ...key, restart }),
    trySwitch: storage.switchSharedRebuild(key),
    catchUp,
    key
  }
})

/** Tries to switch until the wanted outcome. */
const until = <E, R>(wanted: SwitchOutcome, trySwitch: Effect.Effect<SwitchOutcome, E, R>) =>
  eventually(Effect.map(trySwitch, (outcome) => assert.strictEqual(outcome, wanted)))

export const sharedRebuilds = (it: It): void => {
  it.effect("a rebuild of all tenants runs beside the live read model and replaces it", () =>
    Effect.gen(function* () {
      const { catchUp, projected, start, trySwitch } = yield* across
      assert.strictEqual(yield* trySwitch, "none")
      const [one = newTenant(), two = newTenant()] = yield* tenantsWith(3, 2)
      yield* projected.known([one, two])
      yield* catchUp(false)
      yield* projected.idle
      yield* start()
      for (const [tenant, position] of [
        [one, 3],
        [two, 2]
      ] as const) {
        const progress = yield* projected.progress(tenant)
        assert.deepInclude(progress.live, { position, shared: false })
        assert.deepInclude(progress.rebuild, { position: 0, head: position, shared: true })
      }
      // Another start joins it where it is.
      yield* projected.when(
        ({ rebuild, tenantId }) => rebuild && tenantId === one,
        (claim) => ProjectionStorage.use((storage) => storage.advance(claim, 1))
      )
      yield* start()
      assert.deepInclude((yield* projected.progress(one)).rebuild, { position: 1 })
      yield* catchUp(true)
      // At the heads of the logs it has no work.
      yield* projected.idle
      yield* until("switched", trySwitch)
      assert.strictEqual(yield* trySwitch, "none")
      for (const [tenant, position] of [
        [one, 3],
        [two, 2]
      ] as const) {
        const progress = yield* projected.progress(tenant)
        assert.deepInclude(progress.live, { position, parked: false })
        assert.isUndefined(progress.rebuild)
      }
      yield* append(one, 1)
      assert.deepInclude(yield* projected.step(), { tenantId: one, rebuild: false, position: 3 })
    })
  )

  it.effect("events during a rebuild are in both, also those of a new tenant", () =>
    Effect.gen(function* () {
      const { catchUp, projected, start, trySwitch } = yield* across
      const [one = newTenant()] = yield* tenantsWith(2)
      yield* projected.known([one])
      yield* start()
      const [two = newTenant()] = yield* tenantsWith(3)
      yield* append(one, 1)
      yield* projected.known([two])
      yield* catchUp(false)
      assert.strictEqual(yield* trySwitch, "waiting")
      yield* eventually(
        Effect.gen(function* () {
          yield* catchUp(true)
          assert.strictEqual(yield* trySwitch, "switched")
        })
      )
      for (const tenant of [one, two]) {
        const progress = yield* projected.progress(tenant)
        assert.deepInclude(progress.live, { position: 3 })
        assert.isUndefined(progress.rebuild)
      }
      yield* projected.idle
    })
  )

  it.effect(
    "a rebuild is parked for all tenants when an event of one fails, and continues or starts over",
    () =>
      Effect.gen(function* () {
        const { catchUp, projected, start, trySwitch } = yield* across
        const storage = yield* ProjectionStorage
        const [one = newTenant(), two = newTenant()] = yield* tenantsWith(2, 2)
        yield* projected.known([one, two])
        yield* catchUp(false)
        const ofOne = ({ rebuild, tenantId }: Claim) => rebuild && tenantId === one
        for (const resumed of [true, false]) {
          yield* start()
          yield* projected.when(ofOne, failNext(undefined))
          yield* catchUp(true)
          assert.strictEqual(yield* trySwitch, "waiting")
          assert.deepInclude((yield* projected.progress(one)).live, { position: 2, parked: false })
          if (resumed) assert.isTrue(yield* storage.resume(projected.of(one)))
          else {
            yield* start()
            assert.deepInclude((yield* projected.progress(two)).rebuild, { position: 0, parked: false })
          }
          yield* catchUp(true)
          yield* until("switched", trySwitch)
        }
        // On request it starts over, at any position.
        yield* start()
        yield* catchUp(true)
        yield* start(true)
        assert.deepInclude((yield* projected.progress(one)).rebuild, { position: 0 })
        yield* catchUp(true)
        yield* until("switched", trySwitch)
      })
  )

  it.effect("the dead letters of a rebuild become live when it replaces the live read model", () =>
    Effect.gen(function* () {
      const { catchUp, projected, start, trySwitch } = yield* across
      const [one = newTenant(), two = newTenant()] = yield* tenantsWith(2, 2)
      for (const tenant of [one, two]) yield* projected.on(tenant, putNextAside())
      yield* catchUp(false)
      yield* start()
      yield* projected.when(
        ({ rebuild, tenantId, position }) => rebuild && tenantId === two && position === 0,
        (claim) => ProjectionStorage.use((storage) => storage.advance(claim, 1))
      )
      yield* projected.when(({ rebuild, tenantId }) => rebuild && tenantId === two, putNextAside())
      assert.deepStrictEqual(yield* projected.letters(two), [1])
      yield* catchUp(true)
      yield* until("switched", trySwitch)
      assert.deepStrictEqual(yield* projected.letters(one), [])
      assert.deepStrictEqual(yield* projected.letters(two), [2])
    })
  )

  it.effect("a rebuild needs a recorded access, and a registered version that is not retired", () =>
    Effect.gen(function* () {
      const storage = yield* ProjectionStorage
      const { key, projected, start, trySwitch } = yield* across
      yield* tenantsWith(1)
      const unknown = { ...key, accessId: "00000000-0000-4000-8000-00000000abcd", restart: false }
      for (const refused of [
        storage.startSharedRebuild(unknown),
        storage.cancelSharedRebuild(unknown),
        storage.switchSharedRebuild(unknown)
      ]) {
        const error = yield* flipped(refused)
        assert(error._tag === "StorageUnavailable" && error.code === "ES004")
      }
      const { projection } = new Projected()
      const error = yield* flipped(storage.startSharedRebuild({ ...key, projection, restart: false }))
      assert(error._tag === "RebuildRefused")
      assert.include(error.message, "no runner has been started with it")
      yield* start()
      assert.isTrue(yield* storage.retire(key))
      yield* storage.sweep
      assert.strictEqual(yield* trySwitch, "none")
      const late = yield* flipped(start())
      assert(late._tag === "RebuildRefused")
      assert.include(late.message, "retired")
      yield* projected.idle
    })
  )

  it.effect("a cancelled rebuild of all tenants is gone, and the live read model continues", () =>
    Effect.gen(function* () {
      const storage = yield* ProjectionStorage
      const { catchUp, key, projected, start, trySwitch } = yield* across
      const [one = newTenant(), two = newTenant()] = yield* tenantsWith(3, 2)
      yield* projected.known([one, two])
      yield* catchUp(false)
      const cancel = storage.cancelSharedRebuild(key)
      assert.isFalse(yield* cancel)
      yield* start()
      const ofOne = ({ rebuild, tenantId }: Claim) => rebuild && tenantId === one
      yield* projected.when(ofOne, (claim) => storage.advance(claim, 1))
      yield* projected.when(ofOne, putNextAside())
      // A single tenant has no rebuild of its own.
      assert.isFalse(yield* storage.cancelRebuild({ ...key, tenantId: one }))
      assert.isTrue(yield* cancel)
      assert.isFalse(yield* cancel)
      assert.strictEqual(yield* trySwitch, "none")
      for (const [tenant, position] of [
        [one, 3],
        [two, 2]
      ] as const) {
        const { live, rebuild } = yield* projected.progress(tenant)
        assert.deepInclude(live, { position, rebuilt: 0 })
        assert.isUndefined(rebuild)
      }
      yield* append(one, 1)
      assert.deepInclude(yield* projected.step(), { tenantId: one, rebuild: false, position: 3 })
      yield* start()
      yield* catchUp(true)
      yield* until("switched", trySwitch)
      assert.deepStrictEqual(yield* projected.letters(one), [])
      assert.deepInclude((yield* projected.progress(one)).live, { position: 4, rebuilt: 1 })
    })
  )
}

/** For storages in one database. */
export const switchedAtOnce = (it: It): void => {
  it.effect(
    "a rebuild replaces the live read model for all tenants at once, when it contains the same events",
    () =>
      Effect.gen(function* () {
        const { catchUp, projected, start, trySwitch } = yield* across
        const [one = newTenant(), two = newTenant()] = yield* tenantsWith(2, 1)
        yield* projected.known([one, two])
        yield* catchUp(false)
        yield* start()
        const ofTwo = ({ rebuild, tenantId }: Claim) => rebuild && tenantId === two
        yield* projected.when(ofTwo, (claim) =>
          ProjectionStorage.use((storage) => storage.advance(claim, claim.head))
        )
        assert.strictEqual(yield* trySwitch, "waiting")
        for (const tenant of [one, two]) assert.isDefined((yield* projected.progress(tenant)).rebuild)
        yield* catchUp(true)
        yield* until("switched", trySwitch)
        for (const tenant of [one, two]) assert.isUndefined((yield* projected.progress(tenant)).rebuild)
      })
  )

  it.effect("a rebuild that is close holds the live read model for a time, to catch up with it", () =>
    Effect.gen(function* () {
      const { catchUp, projected, start, trySwitch } = yield* across
      const [one = newTenant()] = yield* tenantsWith(2)
      yield* projected.known([one])
      yield* catchUp(false)
      yield* start()
      assert.strictEqual(yield* trySwitch, "waiting")
      yield* append(one, 1)
      yield* ProjectionStorage.use((storage) => storage.sweep)
      yield* catchUp(true)
      // The live one has events to handle, but gets no work.
      yield* projected.idle
      assert.deepInclude((yield* projected.progress(one)).live, { position: 2, head: 3 })
      yield* until("switched", trySwitch)
      assert.deepInclude((yield* projected.progress(one)).live, { position: 3 })
      yield* append(one, 1)
      assert.deepInclude(yield* projected.step(), { tenantId: one, rebuild: false, position: 3 })
    })
  )
}
