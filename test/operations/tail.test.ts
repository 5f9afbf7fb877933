/** The live log of an operator while the storage is not available for a moment. */
import { assert, it } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import { EventStorage } from "../../src/driver/EventStorage.ts"
import { ConnectionFailed, OtherFailure, StorageUnavailable } from "../../src/driver/StoreError.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import * as Operations from "../../src/operations/Operations.ts"
import { append, events, newTenant, stream } from "../../src/testing/driver/eventKit.ts"
import { at } from "../../src/testing/operations/kit.ts"

const operation = "read a log"
const passing = new StorageUnavailable({
  reason: new ConnectionFailed({ operation, code: null, retryable: true })
})
const lasting = new StorageUnavailable({
  reason: new OtherFailure({ operation, code: null, retryable: false })
})

/** Fails reads of logs as long as there are failures left. */
const failing = (failures: Array<StorageUnavailable>) =>
  Layer.effect(
    EventStorage,
    Effect.map(EventStorage, (storage) => ({
      ...storage,
      readLog: (request: Parameters<typeof storage.readLog>[0]) =>
        Effect.suspend(() => {
          const failure = failures.shift()
          return failure === undefined ? storage.readLog(request) : Effect.fail(failure)
        })
    }))
  )

const looking = (failures: Array<StorageUnavailable>) =>
  Operations.layer().pipe(Layer.provideMerge(failing(failures)), Layer.provideMerge(MemoryStorage.layer))

it.live("goes on from its position after a failure that passes, and ends with one that lasts", () => {
  const failures: Array<StorageUnavailable> = []
  return Effect.gen(function* () {
    const tenant = newTenant()
    yield* append(tenant, stream("1", events(2)))
    const operations = yield* Operations.Operations
    const seen: Array<number> = []
    const following = operations.tail({ after: 0 }).pipe(
      Stream.tap(({ position }) =>
        Effect.suspend(() => {
          seen.push(position)
          if (position === 2) failures.push(passing, passing)
          if (position === 4) failures.push(lasting)
          return position % 2 === 0 ? append(tenant, stream(`${position}`, events(2))) : Effect.void
        })
      ),
      Stream.runDrain,
      at(tenant)
    )
    assert.strictEqual(yield* Effect.flip(following), lasting)
    assert.deepStrictEqual(seen, [1, 2, 3, 4])
  }).pipe(Effect.provide(looking(failures)))
})
