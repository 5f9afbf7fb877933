import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, References, Scope } from "effect"
import { TestClock } from "effect/testing"
import { EventStorage } from "../../src/driver/EventStorage.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import * as Health from "../../src/store/Health.ts"

/** A storage that counts calls, and can stop answering. */
const storage = () => {
  const state = { asked: 0, silent: false }
  const layer = Layer.effect(
    EventStorage,
    Effect.map(EventStorage, (events) =>
      EventStorage.of({
        ...events,
        tenantStatus: (tenantId) =>
          Effect.suspend(() => {
            state.asked++
            return state.silent ? Effect.never : events.tenantStatus(tenantId)
          })
      })
    )
  ).pipe(Layer.provide(MemoryStorage.layer))
  return { state, layer: Health.layer.pipe(Layer.provide(Layer.fresh(layer))) }
}

describe("Health", () => {
  it.effect("is ready while the storage answers, and live in any case", () => {
    const { layer, state } = storage()
    return Effect.gen(function* () {
      yield* Health.ready
      state.silent = true
      yield* TestClock.adjust("1 second")
      const probe = yield* Effect.forkChild(Effect.flip(Health.ready))
      yield* Health.live
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual((yield* Fiber.join(probe)).reason, "storage")
      state.silent = false
      yield* TestClock.adjust("1 second")
      yield* Health.ready
    }).pipe(Effect.provide(layer), Effect.provideService(References.MinimumLogLevel, "None"))
  })

  it.effect("asks the storage once for many probes", () => {
    const { layer, state } = storage()
    return Effect.gen(function* () {
      yield* Effect.forEach(Array.from({ length: 20 }), () => Health.ready, { concurrency: "unbounded" })
      assert.strictEqual(state.asked, 1)
      yield* TestClock.adjust("1 second")
      yield* Health.ready
      assert.strictEqual(state.asked, 2)
    }).pipe(Effect.provide(layer))
  })

  it.effect("becomes not ready some time before the server below is closed", () =>
    Effect.gen(function* () {
      const closed: Array<string> = []
      const scope = yield* Scope.make()
      const server = Layer.effectDiscard(
        Effect.addFinalizer(() => Effect.sync(() => closed.push("server")))
      ).pipe(Layer.provideMerge(storage().layer))
      const services = yield* Layer.buildWithScope(
        Health.draining("5 seconds").pipe(Layer.provideMerge(server)),
        scope
      )
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
      yield* TestClock.adjust("4 seconds")
      const { reason } = yield* Effect.flip(Health.ready).pipe(Effect.provideContext(services))
      assert.strictEqual(reason, "shutting down")
      assert.deepStrictEqual(closed, [])
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(closing)
      assert.deepStrictEqual(closed, ["server"])
    })
  )
})
