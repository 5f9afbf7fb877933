import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Fiber, Ref, Schedule, Schema, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { TestClock } from "effect/testing"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import * as EventQuery from "../../src/domain/EventQuery.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import type { StorageUnavailable } from "../../src/driver/StoreError.ts"
import * as Subscription from "../../src/projection/Subscription.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { backends, serverBackends } from "../support/backends.ts"
import {
  append,
  changedDriver,
  first,
  followed,
  orders,
  positions,
  random,
  range,
  unavailable,
  untilFailure,
  watchedDriver
} from "../support/following.ts"
import { asNewTenant, onDriver, Order, paid, Requested, Shipment } from "../support/shop.ts"

const access = { actor: "test", reason: "to see that it works" }

const ship = (id: string) =>
  EventStore.EventStore.use((store) =>
    store.append({ aggregate: Shipment, id, events: [Requested.make({ order: id })], expectedVersion: "any" })
  )

/** Appends a number of events, one to three at a time, at irregular intervals. */
const write = Effect.fnUntraced(function* (stream: string, count: number, below: (bound: number) => number) {
  for (let left = count; left > 0;) {
    const size = Math.min(left, 1 + below(3))
    yield* append(`${stream} ${below(3)}`, orders(size))
    left -= size
    for (let pause = below(4); pause > 0; pause--) yield* Effect.yieldNow
  }
})

describe.each(backends)("a subscription on $name", (backend) => {
  layer(onDriver(backend.layer), { excludeTestServices: true })((it) => {
    it.effect.prop(
      "emits every position once and in order, from any start and during appends",
      [Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1_000_000 }))],
      ([seed]) =>
        Effect.gen(function* () {
          const below = random(seed)
          const [before, during] = [below(12), 12 + below(12)]
          const total = before + 2 * during
          yield* write("before", before, below)
          const follow = (after: number) =>
            Effect.andThen(
              Effect.yieldNow,
              first(total - after, Subscription.log({ aggregates: [Order], after, pageSize: 1 + below(5) }))
            )
          const starts = [0, below(before + 1), before]
          const [seen] = yield* Effect.all(
            [
              Effect.forEach(starts, follow, { concurrency: "unbounded" }),
              write("one", during, below),
              write("other", during, below)
            ],
            { concurrency: "unbounded" }
          )
          assert.deepStrictEqual(
            seen.map(positions),
            starts.map((after) => range(after + 1, total))
          )
        }).pipe(asNewTenant, Effect.timeout("10 seconds")),
      { arbitrary: { runs: backend.name === "memory" ? 40 : 4 } }
    )

    it.effect("separates tenants with the same ids, in both directions", () =>
      Effect.gen(function* () {
        const [a, b] = [yield* Tenant.generate, yield* Tenant.generate]
        const store = yield* EventStore.EventStore
        const total = (event: { readonly payload: unknown }) => event.payload
        const follow = (tenant: Tenant.TenantId) =>
          first(4, Subscription.log({ aggregates: [Order] })).pipe(Tenant.provide(tenant), Effect.forkChild)
        const [ofA, ofB] = [yield* follow(a), yield* follow(b)]
        for (const n of [1, 2]) {
          yield* append("1", orders(2, 10 * n)).pipe(Tenant.provide(a))
          yield* append("1", orders(2, 20 * n)).pipe(Tenant.provide(b))
        }
        for (const [tenant, fiber] of [
          [a, ofA],
          [b, ofB]
        ] as const) {
          const seen = yield* Fiber.join(fiber)
          assert.deepStrictEqual(
            seen.map(({ tenantId }) => tenantId),
            [tenant, tenant, tenant, tenant]
          )
          assert.deepStrictEqual(positions(seen), [1, 2, 3, 4])
          const stored = store
            .readLogJson({})
            .pipe(Stream.map(total), Stream.runCollect, Tenant.provide(tenant))
          assert.deepStrictEqual(seen.map(total), yield* stored)
        }
      })
    )

    it.effect("18: refuses a position that the tenant's log has not reached, such as another tenant's", () =>
      Effect.gen(function* () {
        const [a, b] = [yield* Tenant.generate, yield* Tenant.generate]
        yield* append("1", orders(5)).pipe(Tenant.provide(a))
        yield* append("1", orders(2)).pipe(Tenant.provide(b))
        const behind = (after: number) => Subscription.log({ aggregates: [Order], after })
        const refused = yield* untilFailure(behind(6)).pipe(Tenant.provide(b))
        assert.deepInclude(refused, { seen: [] })
        assert.deepInclude(refused.error, { _tag: "PositionAhead", tenantId: b, position: 6, head: 2 })
        const forged = yield* untilFailure(behind(Number.MAX_SAFE_INTEGER)).pipe(Tenant.provide(a))
        assert.strictEqual(forged.error._tag, "PositionAhead")
        // where b's log ends is not ahead
        const next = yield* Effect.forkChild(first(1, behind(2)).pipe(Tenant.provide(b)))
        yield* append("1", orders(1)).pipe(Tenant.provide(b))
        assert.deepStrictEqual(positions(yield* Fiber.join(next)), [3])
      })
    )

    it.effect("emits the events that match a query, of one log and of all", () =>
      Effect.gen(function* () {
        const tenantId = yield* Tenant.CurrentTenant
        yield* append("1", orders(3))
        yield* append("2", [paid, ...orders(1)])
        yield* ship("2")
        const options = {
          aggregates: [Order, Shipment],
          query: EventQuery.or(EventQuery.of(Order, { types: ["Paid"] }), EventQuery.of(Shipment))
        } as const
        assert.deepStrictEqual(positions(yield* first(2, Subscription.log(options))), [4, 6])
        const all = Subscription.allLogs(options).pipe(Stream.filter((event) => event.tenantId === tenantId))
        assert.deepStrictEqual(positions(yield* first(2, all).pipe(Tenant.provideAll(access))), [4, 6])
      }).pipe(asNewTenant)
    )

    it.effect("emits only the selected events, and starts at the end on request", () =>
      Effect.gen(function* () {
        yield* append("1", [...orders(2), paid])
        yield* ship("1")
        const aggregates = [Order, Shipment] as const
        const [later, paidOnly] = yield* Effect.all(
          [
            first(4, Subscription.log({ aggregates, after: "end" })),
            first(3, Subscription.log({ aggregates, eventTypes: ["Paid"] }))
          ],
          { concurrency: 2 }
        ).pipe(Effect.raceFirst(Effect.forever(Effect.delay(append("2", [...orders(1), paid]), "10 millis"))))
        // Only the store knows the end at that time.
        const [start = 0] = positions(later)
        assert.isAbove(start, 4)
        assert.deepStrictEqual(positions(later), range(start, start + 3))
        assert.deepStrictEqual(positions(paidOnly), [3, 6, 8])
        const shipments = yield* first(1, Subscription.log({ aggregates: [Shipment] }))
        assert.deepStrictEqual(
          shipments.map(({ position, payload }) => [position, payload.order]),
          [[4, "1"]]
        )
      }).pipe(asNewTenant)
    )

    it.effect("follows all logs, each in its order, and continues after a cursor", () =>
      Effect.gen(function* () {
        const tenants = [yield* Tenant.generate, yield* Tenant.generate, yield* Tenant.generate]
        const mine = (event: { readonly tenantId: Tenant.TenantId }) => tenants.includes(event.tenantId)
        const cursor = new Map<Tenant.TenantId, number>()
        const follow = (count: number) =>
          Subscription.allLogs({ aggregates: [Order], after: new Map(cursor), pageSize: 4 }).pipe(
            Stream.filter(mine),
            Stream.take(count),
            Stream.runCollect,
            Effect.tap((events) =>
              Effect.sync(() => {
                for (const { tenantId, position } of events) {
                  assert.strictEqual(position, (cursor.get(tenantId) ?? 0) + 1)
                  cursor.set(tenantId, position)
                }
              })
            ),
            Tenant.provideAll(access)
          )
        const writeAll = (count: number) =>
          Effect.forEach(tenants, (tenant) => write("1", count, random(count)).pipe(Tenant.provide(tenant)), {
            concurrency: "unbounded"
          })
        yield* writeAll(7)
        yield* Effect.all([follow(40), writeAll(9)], { concurrency: "unbounded" })
        yield* Effect.all([follow(23), writeAll(5)], { concurrency: "unbounded" })
        assert.deepStrictEqual([...cursor.values()], [21, 21, 21])
      }).pipe(Effect.timeout("10 seconds"))
    )
  })
})

describe.each(serverBackends)("a subscription on $name, beside 32 concurrent writers,", (backend) => {
  layer(onDriver(backend.layer), { excludeTestServices: true })((it) => {
    it.effect("skips and repeats nothing", () =>
      Effect.gen(function* () {
        const [writers, each] = [32, 40]
        const total = writers * each
        const tail = Subscription.log({ aggregates: [Order], pageSize: 100 })
        const [seen, joined] = yield* Effect.all(
          [
            first(total, tail),
            // One starts in the middle.
            Effect.delay(first(total, tail), "100 millis"),
            Effect.forEach(
              range(1, writers),
              (writer) => Effect.forEach(range(1, each), () => append(`writer ${writer}`), { discard: true }),
              { concurrency: "unbounded" }
            )
          ],
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(positions(seen), range(1, total))
        assert.deepStrictEqual(positions(joined), range(1, total))
      }).pipe(asNewTenant, Effect.timeout("15 seconds"))
    )

    it.effect("continues after the loss of all connections", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const tail = yield* Effect.forkChild(first(30, Subscription.log({ aggregates: [Order] })))
        for (let round = 0; round < 3; round++) {
          yield* append("1", orders(10))
          yield* sql`
            select pg_terminate_backend(pid) from pg_stat_activity
            where datname = current_database() and usename = current_user and pid <> pg_backend_pid()`
        }
        assert.deepStrictEqual(positions(yield* Fiber.join(tail)), range(1, 30))
      }).pipe(asNewTenant, Effect.timeout("15 seconds"))
    )
  })
})

/** Runs everything that is due now. */
const settle = TestClock.adjust("1 millis")

describe("a subscription", () => {
  it.effect("wakes at once after a hint, and by polling when hints are lost", () =>
    Effect.gen(function* () {
      const hinted = yield* followed(Subscription.log({ aggregates: [Order] })).pipe(
        Effect.tap(settle),
        Effect.tap(append("1")),
        Effect.tap(settle),
        Effect.provide(onDriver(MemoryStorage.layer)),
        asNewTenant
      )
      assert.deepStrictEqual(positions(hinted.seen), [1])
      yield* Effect.gen(function* () {
        const { seen } = yield* followed(Subscription.log({ aggregates: [Order], pollInterval: "3 seconds" }))
        yield* settle
        yield* append("1")
        yield* TestClock.adjust("2 seconds")
        assert.deepStrictEqual(positions(seen), [])
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(positions(seen), [1])
      }).pipe(asNewTenant, Effect.provide(watchedDriver(Stream.never).layer))
    })
  )

  it.effect("reads a page when its first event is wanted, and not before", () => {
    const { asked, layer: driver } = watchedDriver()
    return Effect.gen(function* () {
      yield* append("1", orders(100))
      const handled = yield* Ref.make(0)
      yield* Subscription.log({ aggregates: [Order], pageSize: 10 }).pipe(
        Stream.runForEach(() =>
          Effect.delay(
            Ref.update(handled, (count) => count + 1),
            "1 second"
          )
        ),
        Effect.forkChild
      )
      for (const pages of [1, 2, 3]) {
        yield* TestClock.adjust("9 seconds")
        assert.lengthOf(asked.pages, pages)
        yield* append("1", orders(100))
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* Ref.get(handled), pages * 10)
      }
      assert.deepStrictEqual(
        asked.pages.map(({ limit }) => limit),
        [10, 10, 10, 10]
      )
    }).pipe(asNewTenant, Effect.provide(driver))
  })

  it.effect("reads nothing after it is interrupted", () => {
    const { asked, layer: driver } = watchedDriver()
    return Effect.gen(function* () {
      const { fiber } = yield* followed(Subscription.log({ aggregates: [Order] }))
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.interrupt(fiber)
      const before = asked.heads
      assert.isAbove(before, 9)
      yield* append("1")
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(asked.heads, before)
    }).pipe(asNewTenant, Effect.provide(driver))
  })

  it.effect("to a quiet log is not kept busy by hints about others", () => {
    const { asked, layer: driver } = watchedDriver()
    return Effect.gen(function* () {
      const { seen } = yield* followed(Subscription.log({ aggregates: [Order] }))
      yield* settle
      const other = yield* Tenant.generate
      for (let hint = 0; hint < 1000; hint++) {
        yield* append("1").pipe(Tenant.provide(other))
        yield* TestClock.adjust("10 millis")
      }
      // Ten seconds of hints: four looks a second.
      assert.isBelow(asked.heads, 55)
      yield* append("1")
      yield* TestClock.adjust("250 millis")
      assert.deepStrictEqual(positions(seen), [1])
    }).pipe(asNewTenant, Effect.provide(driver))
  })

  it.effect("continues where it was after the storage was unavailable", () => {
    let away = 0
    const failing = <A, E>(effect: Effect.Effect<A, E>) =>
      Effect.suspend((): Effect.Effect<A, E | StorageUnavailable> =>
        away-- > 0 ? Effect.fail(unavailable()) : effect
      )
    const driver = changedDriver((storage) => ({
      head: (request) => failing(storage.head(request)),
      readLog: (request) => failing(storage.readLog(request))
    }))
    return Effect.gen(function* () {
      yield* append("1", orders(10))
      away = 3
      const { seen } = yield* followed(Subscription.log({ aggregates: [Order], pageSize: 4 }))
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(positions(seen), range(1, 10))
      away = 20
      yield* append("1", orders(10))
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(positions(seen), range(1, 10))
      yield* TestClock.adjust("2 minutes")
      assert.deepStrictEqual(positions(seen), range(1, 20))
    }).pipe(asNewTenant, Effect.provide(driver))
  })

  it.effect("fails when the given schedule ends, and at once if a retry cannot help", () => {
    let [calls, retryable] = [0, true]
    const driver = changedDriver(() => ({
      head: () =>
        Effect.suspend(() => {
          calls++
          return Effect.fail(unavailable(retryable))
        })
    }))
    return Effect.gen(function* () {
      const log = Subscription.log({ aggregates: [Order], retry: Schedule.recurs(3) })
      assert.deepStrictEqual(yield* untilFailure(log), { seen: [], error: unavailable() })
      assert.strictEqual(calls, 4)
      retryable = false
      assert.deepStrictEqual(yield* untilFailure(log), { seen: [], error: unavailable(false) })
      assert.strictEqual(calls, 5)
    }).pipe(asNewTenant, Effect.provide(driver))
  })

  it.effect("emits the events before an undecodable one, and fails with its place", () => {
    const Renamed = Aggregate.make(
      "Order",
      { id: Schema.String, state: Schema.Null, initial: null, events: [Schema.TaggedStruct("Placed", {})] },
      (state) => state
    )
    return Effect.gen(function* () {
      yield* append("1", [...orders(3), paid, ...orders(2)])
      const { seen, error } = yield* untilFailure(Subscription.log({ aggregates: [Renamed], pageSize: 6 }))
      assert.deepStrictEqual(positions(seen), [1, 2, 3])
      assert.strictEqual(error._tag === "UnknownEventType" && error.position, 4)
      assert.deepStrictEqual(
        positions(yield* first(2, Subscription.log({ aggregates: [Renamed], after: 4 }))),
        [5, 6]
      )
    }).pipe(asNewTenant, Effect.provide(onDriver(MemoryStorage.layer)))
  })

  it.effect("treats a position below 1 as the beginning, and refuses a number that is no integer", () =>
    Effect.gen(function* () {
      yield* append("1", orders(2))
      const behind = (after: number) =>
        positionsOf(first(2, Subscription.log({ aggregates: [Order], after })))
      const positionsOf = <E, R>(read: Effect.Effect<ReadonlyArray<{ readonly position: number }>, E, R>) =>
        Effect.map(read, positions)
      for (const after of [-7, -1, 0]) assert.deepStrictEqual(yield* behind(after), [1, 2])
      for (const after of [NaN, Infinity, 1.5]) {
        assert.match(String(yield* Effect.exit(behind(after))), /a position is an integer/)
      }
    }).pipe(asNewTenant, Effect.provide(onDriver(MemoryStorage.layer)))
  )
})
