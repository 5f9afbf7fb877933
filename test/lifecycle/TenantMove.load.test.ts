import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import { newTenant } from "../../src/testing/driver/eventKit.ts"
import { homes, makeWorld, program } from "../support/moving.ts"
import { fill, Followers, movedUnderLoad } from "../support/movingLoad.ts"

it.live("a tenant in full use moves, and nothing is lost, doubled or skipped", () =>
  Effect.scoped(
    Effect.gen(function* () {
      const world = yield* makeWorld({ a: MemoryStorage.layer, b: MemoryStorage.layer })
      const tenantId = newTenant()
      world.entries.set(tenantId, "a")
      const followers = new Followers(tenantId)
      const services = followers.layer.pipe(
        Layer.provideMerge(EventStore.layer),
        Layer.provideMerge(program(world, { settings: { lease: "10 seconds" } }))
      )
      const { acknowledged, moved } = yield* Effect.andThen(
        fill(tenantId, 2000),
        movedUnderLoad(followers, "b")
      ).pipe(Effect.provide(Layer.fresh(services)))
      assert.isAbove(acknowledged, 100)
      assert.isTrue(moved.removed)
      assert.deepStrictEqual(yield* homes(world, tenantId), ["b"])
    })
  )
)
