/** Tenants in several storages in memory, behind one driver. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option, References } from "effect"
import { TestClock } from "effect/testing"
import {
  access,
  append,
  newProjection,
  newTenant,
  tenantsWith
} from "../../src/testing/driver/projectionKit.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import { ProjectionStorage } from "../../src/driver/ProjectionStorage.ts"
import * as RoutedStorage from "../../src/routed/RoutedStorage.ts"
import { StorageUnavailable, OtherFailure } from "../../src/driver/StoreError.ts"
import * as TenantDirectory from "../../src/routed/TenantDirectory.ts"
import * as AdministrationStorageSuite from "../../src/testing/AdministrationStorageSuite.ts"
import * as EventStorageSuite from "../../src/testing/EventStorageSuite.ts"
import * as ProjectionStorageSuite from "../../src/testing/ProjectionStorageSuite.ts"
import * as SnapshotStorageSuite from "../../src/testing/SnapshotStorageSuite.ts"
import * as TenantIsolationSuite from "../../src/testing/TenantIsolationSuite.ts"
import { byHash } from "../support/placements.ts"
import { flipped } from "../../src/testing/failures.ts"

const placements = ["one", "two", "three"]
const directory = TenantDirectory.layerWith({ placements, placementOf: byHash(placements) })
const routed = (options: MemoryStorage.Options = {}) =>
  RoutedStorage.layerWith({ storage: () => MemoryStorage.layerWith(options), idleTimeToLive: Infinity }).pipe(
    Layer.provide(directory)
  )

EventStorageSuite.suite({
  name: "memory, in three places",
  layer: routed(),
  layerWithoutProvisioning: routed({ provisionOnAppend: false })
})
ProjectionStorageSuite.suite({ name: "memory, in three places", layer: routed(), ordered: false })
SnapshotStorageSuite.suite({ name: "memory, in three places", layer: routed() })
AdministrationStorageSuite.suite({ name: "memory, in three places", layer: routed() })
const threePlaces = routed()
TenantIsolationSuite.suite({
  name: "memory, in three places",
  storage: threePlaces,
  projections: threePlaces,
  snapshots: threePlaces,
  administration: threePlaces
})

describe("a placement that is down", () => {
  /** One placement that is down until a test changes it, and one that works. */
  const setup = () => {
    let opened = 0
    let isAway = true
    const away = new StorageUnavailable({
      reason: new OtherFailure({ operation: "open", retryable: true, code: null })
    })
    const back = Layer.unwrap(
      Effect.suspend(() => {
        opened++
        return isAway ? Effect.fail(away) : Effect.succeed(MemoryStorage.layerWith({}))
      })
    )
    const absent = newTenant()
    return {
      absent,
      opened: () => opened,
      comesBack: () => void (isAway = false),
      layer: RoutedStorage.layerWith({
        storage: (placement) => (placement === "away" ? back : MemoryStorage.layerWith({})),
        idleTimeToLive: Infinity
      }).pipe(
        Layer.provide(
          TenantDirectory.layerWith({
            placements: ["away", "here"],
            placementOf: (tenantId) => (tenantId === absent ? "away" : "here")
          })
        )
      )
    }
  }
  const key = { projection: "p", version: 1 }
  const request = { projections: [{ ...key, acrossTenants: false }], accessId: undefined }
  const step = ProjectionStorage.use((storage) =>
    storage.work(request, (claim) => Effect.as(storage.advance(claim, claim.position + 1), claim.tenantId))
  )

  it.effect("does not stop the work of others, is skipped for a while, and is then tried again", () => {
    const { absent, comesBack, layer, opened } = setup()
    return Effect.gen(function* () {
      const storage = yield* ProjectionStorage
      yield* storage.register([{ ...key, startAt: "beginning", tables: [] }])
      yield* storage.sweep
      const [tenant] = yield* tenantsWith(6)
      const before = opened()
      // Whichever placement comes first.
      for (const _ of [1, 2, 3, 4]) assert.deepStrictEqual(yield* step, Option.fromUndefinedOr(tenant))
      assert.strictEqual(opened() - before, 1)
      // While a placement is down, the absence of work is unknown.
      for (const _ of [5, 6]) yield* step
      assert.deepInclude(yield* flipped(step), { _tag: "StorageUnavailable", retryable: true })
      comesBack()
      yield* TestClock.adjust("10 seconds")
      yield* append(absent, 1)
      assert.deepStrictEqual(yield* step, Option.some(absent))
      assert.deepStrictEqual(yield* step, Option.none())
    }).pipe(Effect.provide(layer), Effect.provideService(References.CurrentLoggers, new Set()))
  })

  it.effect(
    "makes a registration that starts at the present head fail, because it cannot be made later",
    () => {
      const { layer } = setup()
      return Effect.gen(function* () {
        const storage = yield* ProjectionStorage
        const error = yield* flipped(storage.register([{ ...key, startAt: "now", tables: [] }]))
        assert.strictEqual(error._tag, "StorageUnavailable")
      }).pipe(Effect.provide(layer), Effect.provideService(References.CurrentLoggers, new Set()))
    }
  )

  it.effect("does not stop the others from replacing a read model that all tenants share", () => {
    const away = new StorageUnavailable({
      reason: new OtherFailure({ operation: "switch", retryable: true, code: null })
    })
    const failing = Layer.effect(
      ProjectionStorage,
      ProjectionStorage.useSync((storage) =>
        ProjectionStorage.of({ ...storage, switchSharedRebuild: () => Effect.fail(away) })
      )
    ).pipe(Layer.provideMerge(MemoryStorage.layerWith({})))
    const layer = RoutedStorage.layerWith({
      storage: (placement) => (placement === "away" ? failing : MemoryStorage.layerWith({})),
      idleTimeToLive: Infinity
    }).pipe(
      Layer.provide(TenantDirectory.layerWith({ placements: ["away", "here"], placementOf: () => "here" }))
    )
    return Effect.gen(function* () {
      const storage = yield* ProjectionStorage
      const projected = yield* newProjection(1, true, yield* access)
      const { projection, version } = projected
      const shared = { projection, version, tables: [], accessId: yield* access }
      const [tenant = newTenant()] = yield* tenantsWith(1)
      yield* storage.startSharedRebuild({ ...shared, restart: false })
      for (const rebuild of [false, true])
        yield* projected.when(
          (claim) => claim.rebuild === rebuild,
          (claim) => storage.advance(claim, claim.head)
        )
      assert.strictEqual((yield* flipped(storage.switchSharedRebuild(shared)))._tag, "StorageUnavailable")
      assert.isUndefined((yield* projected.progress(tenant)).rebuild)
    }).pipe(Effect.provide(layer), Effect.provideService(References.CurrentLoggers, new Set()))
  })
})
