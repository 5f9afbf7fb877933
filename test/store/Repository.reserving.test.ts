/** Repositories that want the same aggregate take turns instead of refusing each other's appends. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Schedule } from "effect"
import { EventStorage } from "../../src/driver/EventStorage.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as Repository from "../../src/store/Repository.ts"
import { Account, asNewTenant, deposited } from "../support/bank.ts"

const retry = Schedule.recurs(1000)

type Driver = EventStorage["Service"]

/** Two processes of four fibers, which append to one account until each fiber has appended so many times. */
const rivals = Effect.fnUntraced(function* (
  join: Repository.JoinOptions,
  times: number,
  change: (driver: Driver) => Partial<Driver> = () => ({})
) {
  const storage = Context.get(yield* Layer.build(Layer.fresh(MemoryStorage.layer)), EventStorage)
  let refused = 0
  let reserved = 0
  const driver: Driver = {
    ...storage,
    // as far away as a database
    append: (request) =>
      Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve))).pipe(
        Effect.andThen(storage.append(request)),
        Effect.tapError(() => Effect.sync(() => refused++))
      ),
    reserveStream: (request) => {
      reserved++
      return storage.reserveStream?.(request) ?? Effect.succeed(false)
    },
    ...change(storage)
  }
  const process = Effect.gen(function* () {
    const { execute } = yield* Repository.Repository
    yield* Effect.forEach(
      [1, 2, 3, 4],
      () =>
        Effect.repeat(
          execute(Account, "1", () => [deposited(1)]),
          { times: times - 1 }
        ),
      { concurrency: "unbounded" }
    )
  }).pipe(
    Effect.provide(
      Repository.layerWith({ join, retry }).pipe(
        Layer.provideMerge(Layer.fresh(EventStore.layer)),
        Layer.provide(Layer.succeed(EventStorage, driver))
      ),
      { local: true }
    )
  )
  const balance = Effect.gen(function* () {
    yield* Effect.all([process, process], { concurrency: 2 })
    const { load } = yield* Repository.Repository
    return (yield* load(Account, "1", { fresh: true })).state.balance
  }).pipe(
    Effect.provide(
      Repository.layer.pipe(
        Layer.provideMerge(Layer.fresh(EventStore.layer)),
        Layer.provide(Layer.succeed(EventStorage, driver))
      ),
      { local: true }
    )
  )
  assert.strictEqual(yield* asNewTenant(balance), 8 * times)
  return { refused, reserved }
}, Effect.scoped)

describe("two processes that want one aggregate", () => {
  it.live("take turns after one of them was refused twice", () =>
    Effect.gen(function* () {
      const inTurns = yield* rivals({}, 50)
      assert.isAbove(inTurns.reserved, 0)
      const refusing = yield* rivals({ reserve: false }, 50)
      assert.strictEqual(refusing.reserved, 0)
      assert.isAbove(refusing.refused, 5 * inTurns.refused)
    })
  )

  it.live("go on without reservations if the storage has none, or none free", () =>
    Effect.gen(function* () {
      yield* rivals({}, 10, () => ({ reserveStream: undefined }))
      yield* rivals({}, 10, () => ({ reserveStream: () => Effect.succeed(false) }))
      yield* rivals({}, 10, () => ({ reserveStream: () => Effect.die(new Error("broken")) }))
    })
  )

  it.live("are right with reservations that exclude nobody", () =>
    rivals({}, 20, () => ({ reserveStream: () => Effect.succeed(true) }))
  )
})
