import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Result, Stream } from "effect"
import type * as EventStorage from "../../src/driver/EventStorage.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import { paged } from "../../src/store/pages.ts"
import { StorageUnavailable, OtherFailure } from "../../src/driver/StoreError.ts"
import { Account, append, asNewTenant, changedDriver, deposits, onDriver } from "../support/bank.ts"
import { flipped } from "../../src/testing/failures.ts"

type ReadStream = EventStorage.EventStorage["Service"]["readStream"]

/** A store with pages of three events, and a driver with other reads of streams. */
const store = (change: (readStream: ReadStream) => ReadStream) =>
  onDriver(
    changedDriver(({ readStream }) => ({ readStream: change(readStream) })),
    { pageSize: 3 }
  )

const counting = () => {
  const asked: Array<{ readonly from: number; readonly to: number; readonly limit: number }> = []
  const layer = store((readStream) => (request) => {
    asked.push({ from: request.fromVersion, to: request.toVersion, limit: request.limit })
    return readStream(request)
  })
  return { asked, layer }
}

const read = (options: EventStore.ReadOptions & EventStore.VersionRange = {}) =>
  Stream.unwrap(
    Effect.map(EventStore.EventStore, (it) => it.readStream({ aggregate: Account, id: "1", ...options }))
  )

describe("a paged read", () => {
  it.effect.each([
    { events: 0, limit: undefined, pages: [3] },
    { events: 2, limit: undefined, pages: [3] },
    { events: 3, limit: undefined, pages: [3] },
    { events: 4, limit: undefined, pages: [3, 3] },
    { events: 9, limit: undefined, pages: [3, 3, 3] },
    { events: 9, limit: 0, pages: [] },
    { events: 9, limit: 2, pages: [2] },
    { events: 9, limit: 3, pages: [3] },
    { events: 9, limit: 6, pages: [3, 3] },
    { events: 9, limit: 7, pages: [3, 3, 1] }
  ])("of $events events with limit $limit requests pages of $pages", ({ events, limit, pages }) => {
    const { asked, layer } = counting()
    return Effect.gen(function* () {
      yield* append("1", deposits(events))
      for (const direction of ["forwards", "backwards"] as const) {
        asked.length = 0
        const seen = yield* Stream.runCollect(read({ direction, limit }))
        assert.lengthOf(seen, Math.min(events, limit ?? events))
        assert.deepStrictEqual(
          asked.map((request) => request.limit),
          pages
        )
      }
    }).pipe(asNewTenant, Effect.provide(layer))
  })

  it.effect("reads the next page while it decodes one, from the second page on, if there is no limit", () =>
    Effect.gen(function* () {
      for (const [limit, second] of [
        [undefined, ["read 5", "decode 3"]],
        [100, ["decode 3", "read 5"]]
      ] as const) {
        const done: Array<string> = []
        yield* paged({
          start: 1,
          pageSize: 2,
          limit,
          read: (from) =>
            Effect.sync(() => {
              done.push(`read ${from}`)
              return { rows: [from, from + 1], complete: from === 5 }
            }),
          next: (last) => last + 1,
          decode: (rows) => {
            done.push(`decode ${rows[0]}`)
            return { events: rows, failure: undefined }
          }
        }).pipe(Stream.runDrain)
        assert.deepStrictEqual(done, ["read 1", "decode 1", "read 3", ...second, "decode 5"])
      }
    })
  )

  it.effect("reads one page ahead as soon as a second page is wanted", () => {
    const { asked, layer } = counting()
    return Effect.gen(function* () {
      yield* append("1", deposits(30))
      const pagesAt: Array<number> = []
      yield* Stream.runForEach(read(), () =>
        Effect.andThen(
          Effect.yieldNow,
          Effect.sync(() => pagesAt.push(asked.length))
        )
      )
      assert.deepStrictEqual(
        pagesAt,
        Array.from({ length: 30 }, (_, index) => (index < 3 ? 1 : Math.min(Math.floor(index / 3) + 2, 10)))
      )
      for (const [taken, pages] of [
        [0, 0],
        [1, 1],
        [3, 1],
        [4, 3]
      ] as const) {
        asked.length = 0
        yield* Stream.runDrain(read().pipe(Stream.take(taken)))
        assert.lengthOf(asked, pages)
      }
    }).pipe(asNewTenant, Effect.provide(layer))
  })

  it.effect("reads ahead while the consumer works, and awaits a page that is no longer wanted", () =>
    Effect.gen(function* () {
      const [asked, answer] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      let [calls, answered] = [0, 0]
      const slow = store((readStream) => (request) => {
        if (++calls !== 3) return readStream(request)
        return Deferred.succeed(asked, undefined).pipe(
          Effect.andThen(Deferred.await(answer)),
          Effect.andThen(readStream(request)),
          Effect.tap(() => Effect.sync(() => answered++))
        )
      })
      yield* Effect.gen(function* () {
        yield* append("1", deposits(30))
        const taken = yield* Effect.forkChild(
          Stream.runForEach(read().pipe(Stream.take(6)), ({ version }) =>
            // The consumer waits at the second page until the third one is requested.
            version === 4 ? Deferred.await(asked) : Effect.void
          )
        )
        yield* Deferred.await(asked)
        yield* Effect.yieldNow
        assert.strictEqual(answered, 0)
        yield* Deferred.succeed(answer, undefined)
        yield* Fiber.join(taken)
        assert.deepStrictEqual([calls, answered], [3, 1])
      }).pipe(asNewTenant, Effect.provide(slow))
    })
  )

  it.effect("continues after a page in which the driver returned fewer events than requested", () => {
    const small = store(
      (readStream) => (request) =>
        Effect.map(readStream({ ...request, limit: Math.min(request.limit, 2) }), ({ rows, complete }) => ({
          rows,
          complete: complete && rows.length < 2
        }))
    )
    return Effect.gen(function* () {
      yield* append("1", deposits(5))
      for (const limit of [undefined, 4, 5, 6]) {
        const forwards = yield* Stream.runCollect(read({ limit }))
        assert.deepStrictEqual(
          forwards.map(({ version }) => version),
          [1, 2, 3, 4, 5].slice(0, limit)
        )
        const backwards = yield* Stream.runCollect(read({ limit, direction: "backwards" }))
        assert.deepStrictEqual(
          backwards.map(({ version }) => version),
          [5, 4, 3, 2, 1].slice(0, limit)
        )
      }
    }).pipe(asNewTenant, Effect.provide(small))
  })

  it.effect("sees events that are appended while it reads", () => {
    const { layer } = counting()
    return Effect.gen(function* () {
      yield* append("1", deposits(4))
      const seen = yield* read().pipe(
        Stream.tap(({ version }) => (version === 1 ? append("1", deposits(3)) : Effect.void)),
        Stream.runCollect
      )
      assert.lengthOf(seen, 7)
    }).pipe(asNewTenant, Effect.provide(layer))
  })

  it.effect("returns the events before a failure of the driver, and does not call it again", () => {
    let calls = 0
    const unavailable = new StorageUnavailable({
      reason: new OtherFailure({ operation: "read a stream", retryable: true, code: null })
    })
    const failing = store(
      (readStream) => (request) => (++calls > 2 ? Effect.fail(unavailable) : readStream(request))
    )
    return Effect.gen(function* () {
      yield* append("1", deposits(9))
      const seen: Array<number> = []
      const error = yield* flipped(
        Stream.runForEach(read(), ({ version }) => Effect.sync(() => seen.push(version)))
      )
      assert.strictEqual(error, unavailable)
      assert.deepStrictEqual(seen, [1, 2, 3, 4, 5, 6])
      assert.strictEqual(calls, 3)
    }).pipe(asNewTenant, Effect.provide(failing))
  })

  it.effect("can be interrupted during a call of the driver, which is not called again", () =>
    Effect.gen(function* () {
      const atWork = yield* Deferred.make<void>()
      let [calls, interrupted] = [0, 0]
      const hanging = store(
        (readStream) => (request) =>
          ++calls < 2
            ? readStream(request)
            : Effect.andThen(Deferred.succeed(atWork, undefined), Effect.never).pipe(
                Effect.onInterrupt(() => Effect.sync(() => interrupted++))
              )
      )
      yield* Effect.gen(function* () {
        yield* append("1", deposits(9))
        let seen = 0
        const fiber = yield* Effect.forkChild(Stream.runForEach(read(), () => Effect.sync(() => seen++)))
        yield* Deferred.await(atWork)
        yield* Fiber.interrupt(fiber)
        assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(fiber)))
        assert.deepStrictEqual([seen, calls, interrupted], [3, 2, 1])
        // The store still works.
        assert.deepInclude(yield* append("2", deposits(1)), { version: 1 })
      }).pipe(asNewTenant, Effect.provide(hanging))
    })
  )

  it.effect("must have pages of at least one event", () =>
    Effect.gen(function* () {
      for (const pageSize of [0, -1, 1.5, Number.NaN, Infinity]) {
        const build = Layer.build(
          onDriver(
            changedDriver(() => ({})),
            { pageSize }
          )
        )
        assert.isTrue(Exit.hasDies(yield* Effect.exit(Effect.scoped(build))))
      }
      const one = yield* Effect.result(
        Effect.scoped(
          Layer.build(
            onDriver(
              changedDriver(() => ({})),
              { pageSize: 1 }
            )
          )
        )
      )
      assert.isTrue(Result.isSuccess(one))
    })
  )
})
