import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Latch, Layer } from "effect"
import type { AppendRequest, EventStorage } from "../../src/driver/EventStorage.ts"
import type * as Tenant from "../../src/domain/Tenant.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as Repository from "../../src/store/Repository.ts"
import { Account, append, asNewTenant, changedDriver, deposited } from "../support/bank.ts"

const execute = (amount: number, options?: Repository.ExecuteOptions) =>
  Repository.Repository.use((repository) =>
    repository.execute(Account, "1", () => [deposited(amount)], options)
  )

/** The number of events of each append. */
const sizesOf = (requests: ReadonlyArray<AppendRequest>): ReadonlyArray<number> =>
  requests.map(({ streams }) => streams.flatMap(({ events }) => events).length)

const programOn = (driver: ReturnType<typeof changedDriver>, options: Repository.Options = {}) =>
  Repository.layerWith(options).pipe(Layer.provideMerge(EventStore.layer), Layer.provideMerge(driver))

/** A program whose first load waits until it is let go. */
const loading = (options: Repository.Options = {}) => {
  const requests: Array<AppendRequest> = []
  const started = Deferred.makeUnsafe<void>()
  const gate = Latch.makeUnsafe(false)
  let loads = 0
  const driver = changedDriver((storage) => ({
    append: (request) => {
      requests.push(request)
      return storage.append(request)
    },
    loadStream: (request) =>
      ++loads > 1
        ? storage.loadStream(request)
        : Deferred.succeed(started, undefined).pipe(
            Effect.andThen(gate.await),
            Effect.andThen(storage.loadStream(request))
          )
  }))
  return {
    layer: programOn(driver, options),
    requests,
    loads: () => loads,
    /** Runs a command, and others while it loads. */
    behindLoad: Effect.fnUntraced(function* <A, E, R>(
      first: Effect.Effect<A, E, R>,
      others: ReadonlyArray<Effect.Effect<A, E, R>>,
      meanwhile: (loader: Fiber.Fiber<A, E>) => Effect.Effect<unknown> = () => Effect.void
    ) {
      const loader = yield* Effect.forkChild(first)
      yield* Deferred.await(started)
      const fibers = yield* Effect.forEach(others, (other) => Effect.forkChild(other))
      yield* Effect.yieldNow
      yield* meanwhile(loader)
      yield* gate.open
      return yield* Effect.forEach([loader, ...fibers], (fiber) => Fiber.await(fiber))
    })
  }
}

const versionsOf = (exits: ReadonlyArray<Exit.Exit<{ readonly version: number }, unknown>>) =>
  exits.map((exit) => (Exit.isSuccess(exit) ? exit.value.version : "no outcome"))

describe("commands to an aggregate whose state is not remembered", () => {
  it.effect.each([0, 2])(
    "that come while the first one loads %i events go out in one append with it",
    (stored) => {
      const { behindLoad, layer, loads, requests } = loading()
      return Effect.gen(function* () {
        if (stored > 0)
          yield* append(
            "1",
            Array.from({ length: stored }, () => deposited(1))
          )
        requests.length = 0
        const exits = yield* behindLoad(execute(10), [execute(100), execute(1000)])
        assert.deepStrictEqual(versionsOf(exits), [stored + 1, stored + 2, stored + 3])
        assert.deepStrictEqual(sizesOf(requests), [3])
        assert.strictEqual(loads(), 1)
      }).pipe(asNewTenant, Effect.provide(layer))
    }
  )

  it.effect("go out in one append also without remembered states", () => {
    const { behindLoad, layer, loads, requests } = loading({ remember: { entries: 0 } })
    return Effect.gen(function* () {
      const exits = yield* behindLoad(execute(10), [execute(100), execute(1000)])
      assert.deepStrictEqual(versionsOf(exits), [1, 2, 3])
      assert.deepStrictEqual(sizesOf(requests), [3])
      assert.strictEqual(loads(), 1)
    }).pipe(asNewTenant, Effect.provide(layer))
  })

  it.effect("go on if the one that loads is interrupted", () => {
    const { behindLoad, layer, requests } = loading()
    return Effect.gen(function* () {
      const exits = yield* behindLoad(execute(10), [execute(100), execute(1000)], Fiber.interrupt)
      assert.deepStrictEqual(versionsOf(exits), ["no outcome", 1, 2])
      assert.deepStrictEqual(sizesOf(requests), [2])
    }).pipe(asNewTenant, Effect.provide(layer))
  })

  it.effect("do not wait for the effect that the one decides that loads", () => {
    const { behindLoad, layer } = loading()
    const waits = Deferred.makeUnsafe<void>()
    const effectful = Repository.Repository.use((repository) =>
      repository.execute(Account, "1", () => Effect.as(Deferred.await(waits), [deposited(1)]))
    )
    return Effect.gen(function* () {
      const others = [100, 1000].map((amount) =>
        Effect.tap(execute(amount), ({ version }) =>
          version === 2 ? Deferred.succeed(waits, undefined) : Effect.void
        )
      )
      const exits = yield* behindLoad(effectful, others)
      assert.deepStrictEqual(versionsOf(exits), [3, 1, 2])
    }).pipe(asNewTenant, Effect.provide(layer))
  })

  it.effect("are decided again if another append comes between the load and theirs", () => {
    const { behindLoad, layer, requests } = loading()
    return Effect.gen(function* () {
      const storage = yield* EventStore.EventStore
      const decided: Array<number> = []
      const deciding = Repository.Repository.use((repository) =>
        repository.execute(Account, "1", ({ balance }) => {
          decided.push(balance)
          // in the middle of the first decision, somebody else is faster
          if (decided.length === 1)
            Effect.runSyncWith(services)(
              storage.append({ aggregate: Account, id: "1", expectedVersion: 0, events: [deposited(5)] })
            )
          return [deposited(1)]
        })
      )
      const services = yield* Effect.context<Tenant.CurrentTenant>()
      const exits = yield* behindLoad(deciding, [execute(10)])
      assert.deepStrictEqual(versionsOf(exits), [2, 3])
      assert.deepStrictEqual(decided, [0, 5])
      assert.deepStrictEqual(sizesOf(requests), [1, 2, 2])
    }).pipe(asNewTenant, Effect.provide(layer))
  })
})

describe("commands with keys to one aggregate", () => {
  it.effect("that come back from their look-up together are sent together", () => {
    const requests: Array<AppendRequest> = []
    const found: Array<() => void> = []
    const sent = Latch.makeUnsafe(false)
    const lookedUp: EventStorage["Service"]["commandOutcome"] = () =>
      Effect.callback((resume) => {
        found.push(() => resume(Effect.undefined))
      })
    let isHeld = false
    const driver = changedDriver((storage) => ({
      append: (request) => {
        requests.push(request)
        return isHeld ? Effect.andThen(sent.await, storage.append(request)) : storage.append(request)
      },
      commandOutcome: lookedUp
    }))
    return Effect.gen(function* () {
      yield* execute(1)
      requests.length = 0
      isHeld = true
      const fibers = yield* Effect.forEach(["a", "b", "c"], (key) =>
        Effect.forkChild(execute(1, { command: { key } }))
      )
      while (found.length < 3) yield* Effect.yieldNow
      for (const answer of found) answer()
      for (let turn = 0; turn < 20; turn++) yield* Effect.yieldNow
      // none of them is answered yet
      assert.deepStrictEqual(sizesOf(requests), [1, 1, 1])
      assert.deepStrictEqual(
        requests.map(({ command }) => command?.key),
        ["a", "b", "c"]
      )
      yield* sent.open
      const exits = yield* Effect.forEach(fibers, (fiber) => Fiber.await(fiber))
      assert.deepStrictEqual(versionsOf(exits), [2, 3, 4])
    }).pipe(asNewTenant, Effect.provide(programOn(driver)))
  })
})
