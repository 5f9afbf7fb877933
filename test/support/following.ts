/** Helpers of the tests of subscriptions and of projections in memory. */
import { Effect, Layer, Stream } from "effect"
import type * as Event from "../../src/domain/Event.ts"
import * as EventStorage from "../../src/driver/EventStorage.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import { StorageUnavailable, OtherFailure } from "../../src/driver/StoreError.ts"
import { Order, placed } from "./shop.ts"
import { flipped } from "../../src/testing/failures.ts"

type Driver = EventStorage.EventStorage["Service"]

/** Orders of 1, 2, 3 … */
export const orders = (count: number, first = 1): ReadonlyArray<ReturnType<typeof placed>> =>
  Array.from({ length: count }, (_, index) => placed(first + index))

export const range = (from: number, to: number): ReadonlyArray<number> =>
  Array.from({ length: Math.max(0, to - from + 1) }, (_, n) => from + n)

export const positions = (events: ReadonlyArray<Pick<Event.Envelope<unknown>, "position">>) =>
  events.map(({ position }) => position)

/** The elements of a stream before it fails, and its failure. */
export const untilFailure = Effect.fnUntraced(function* <A, E, R>(stream: Stream.Stream<A, E, R>) {
  const seen: Array<A> = []
  const error = yield* flipped(Stream.runForEach(stream, (event) => Effect.sync(() => seen.push(event))))
  return { seen, error }
})

/** Appends to an order at any version. */
export const append = (id: string, events: EventStore.StreamEventsOf<typeof Order>["events"] = [placed()]) =>
  EventStore.EventStore.use((store) => store.append({ aggregate: Order, id, events, expectedVersion: "any" }))

/** The driver in memory with the methods that `change` replaces. */
export const changedDriver = (
  change: (driver: Driver) => Partial<Driver>
): Layer.Layer<EventStorage.EventStorage | EventStore.EventStore> =>
  EventStore.layer.pipe(
    Layer.provideMerge(
      Layer.effect(
        EventStorage.EventStorage,
        Effect.map(EventStorage.EventStorage, (driver) => ({ ...driver, ...change(driver) }))
      ).pipe(Layer.provide(MemoryStorage.layer))
    )
  )

/** The driver in memory, with the numbers of its reads of heads and pages. */
export const watchedDriver = (changes?: Stream.Stream<void>) => {
  const asked = { heads: 0, pages: [] as Array<EventStorage.ReadLogRequest>, tenants: 0 }
  const layer = changedDriver((driver) => ({
    ...(changes === undefined ? undefined : { changes }),
    head: (request) =>
      Effect.andThen(
        Effect.sync(() => asked.heads++),
        driver.head(request)
      ),
    readLog: (request) =>
      Effect.andThen(
        Effect.sync(() => asked.pages.push(request)),
        driver.readLog(request)
      ),
    listTenants: (request) =>
      Effect.andThen(
        Effect.sync(() => asked.tenants++),
        driver.listTenants(request)
      )
  }))
  return { asked, layer }
}

export const unavailable = (retryable = true) =>
  new StorageUnavailable({ reason: new OtherFailure({ operation: "answer", retryable, code: null }) })

/** A generator of pseudo-random integers below a bound, from a seed (mulberry32). */
export const random = (seed: number) => {
  let state = seed >>> 0
  return (below: number): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

/** The first events of a subscription. */
export const first = <A, E, R>(count: number, stream: Stream.Stream<A, E, R>) =>
  stream.pipe(Stream.take(count), Stream.runCollect)

/** A log that is followed on a fiber, and the events so far. */
export const followed = <A, E, R>(stream: Stream.Stream<A, E, R>) =>
  Effect.gen(function* () {
    const seen: Array<A> = []
    const fiber = yield* Effect.forkChild(
      Stream.runForEach(stream, (event) => Effect.sync(() => seen.push(event)))
    )
    return { seen, fiber }
  })
