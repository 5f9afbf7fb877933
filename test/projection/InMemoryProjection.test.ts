import { assert, describe, it, layer } from "@effect/vitest"
import { Cause, Duration, Effect, Exit, Fiber, Layer, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { TestClock } from "effect/testing"
import type * as EventStorage from "../../src/driver/EventStorage.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as InMemoryProjection from "../../src/projection/InMemoryProjection.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import * as PgTenant from "../../src/pg/PgTenant.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { backends, sqlBackends } from "../support/backends.ts"
import { append, changedDriver, orders, unavailable, watchedDriver } from "../support/following.ts"
import { asNewTenant, onDriver, Order, paid, Requested, Shipment } from "../support/shop.ts"
import { flipped } from "../../src/testing/failures.ts"

interface Sales {
  readonly orders: number
  readonly total: number
  readonly last: "none" | "placed" | "paid"
}

const none: Sales = { orders: 0, total: 0, last: "none" }

const Sales = InMemoryProjection.make(
  "sales",
  { aggregates: [Order, Shipment], initial: () => none },
  {
    Placed: (state, { total }) => ({ orders: state.orders + 1, total: state.total + total, last: "placed" }),
    Paid: (state) => ({ ...state, last: "paid" })
  }
)

/** The places of all events, folded by one function. */
const Places = InMemoryProjection.make(
  "places",
  { aggregates: [Order], initial: (): ReadonlyArray<string> => [] },
  (state, event, { tenantId, position }) => [...state, `${tenantId} ${position} ${event._tag}`]
)

const ship = (id: string) =>
  EventStore.EventStore.use((store) =>
    store.append({ aggregate: Shipment, id, events: [Requested.make({ order: id })], expectedVersion: "any" })
  )

const settle = TestClock.adjust("1 millis")

/** Sales on a driver, with a clock that the test controls. */
const on = <R>(
  driver: Layer.Layer<R | EventStorage.EventStorage>,
  options: InMemoryProjection.LayerOptions<Sales> = {}
) => Sales.layerWith(options).pipe(Layer.provideMerge(driver))

const inMemory = onDriver(MemoryStorage.layer)

describe.each(backends)("a projection in memory on $name", (backend) => {
  const projections = Layer.mergeAll(Sales.layer, Places.layer)
  layer(projections.pipe(Layer.provideMerge(onDriver(backend.layer))), { excludeTestServices: true })(
    (it) => {
      it.effect("contains the log when it is first used, and later appends", () =>
        Effect.gen(function* () {
          yield* append("1", orders(501))
          yield* ship("1")
          assert.deepInclude(yield* Sales.get, {
            state: { orders: 501, total: 125_751, last: "placed" },
            position: 502
          })
          const { position } = yield* append("1", [paid])
          const { state } = yield* Sales.awaitPosition(position)
          assert.deepStrictEqual(state, { orders: 501, total: 125_751, last: "paid" })
        }).pipe(asNewTenant)
      )

      it.effect(
        "1, 8: has a separate state for each tenant, also with the same ids, in both directions",
        () =>
          Effect.gen(function* () {
            const [a, b] = [yield* Tenant.generate, yield* Tenant.generate]
            for (const round of [1, 2, 3]) {
              for (const [tenant, amount] of [
                [a, 1],
                [b, 1000]
              ] as const) {
                yield* Effect.gen(function* () {
                  const { position } = yield* append("1", orders(1, amount))
                  const sales = yield* Sales.awaitPosition(position)
                  assert.deepStrictEqual(sales.state, {
                    orders: round,
                    total: round * amount,
                    last: "placed"
                  })
                  const places = yield* Places.awaitPosition(position)
                  assert.deepStrictEqual(
                    places.state,
                    [1, 2, 3].slice(0, round).map((n) => `${tenant} ${n} Placed`)
                  )
                }).pipe(Tenant.provide(tenant))
              }
            }
          })
      )

      it.effect("streams its present state and later ones up to the last", () =>
        Effect.gen(function* () {
          yield* append("1", orders(3))
          const states = yield* Sales.changes.pipe(
            Stream.takeUntil(({ position }) => position === 40),
            Stream.runCollect,
            Effect.forkChild
          )
          for (let n = 0; n < 37; n++) yield* append("1")
          const seen = yield* Fiber.join(states)
          assert.deepStrictEqual(
            seen.map(({ position }) => position),
            [...new Set(seen.map(({ position }) => position))].toSorted((one, other) => one - other)
          )
          for (const { state, position } of seen) assert.strictEqual(state.orders, position)
        }).pipe(asNewTenant, Effect.timeout("10 seconds"))
      )
    }
  )
})

describe.each(sqlBackends)("a projection in memory on $name", (backend) => {
  layer(Sales.layer.pipe(Layer.provideMerge(onDriver(backend.layer))), { excludeTestServices: true })(
    (it) => {
      it.effect("that is first used within a transaction continues after the transaction", () =>
        Effect.gen(function* () {
          yield* append("1")
          const inside = yield* PgTenant.transaction(
            Effect.andThen(
              SqlClient.SqlClient.use((sql) => sql`select 1`),
              // On PGlite the state waits for the end of the transaction, which has the only connection.
              backend.name === "PGlite"
                ? Effect.timeoutOption(Sales.get, "100 millis")
                : Effect.asSome(Sales.get)
            )
          )
          if (backend.name !== "PGlite") assert.isTrue(inside._tag === "Some")
          const { position } = yield* append("1")
          assert.strictEqual((yield* Sales.awaitPosition(position)).state.orders, 2)
        }).pipe(asNewTenant, Effect.timeout("10 seconds"))
      )
    }
  )
})

describe("a projection in memory", () => {
  it.effect("is a plain fold", () =>
    Effect.gen(function* () {
      yield* append("1", [...orders(3), paid])
      const store = yield* EventStore.EventStore
      const envelopes = yield* store.readLog({ aggregates: [Order, Shipment] }).pipe(Stream.runCollect)
      const state = Sales.fold(envelopes)
      assert.deepStrictEqual(state, { orders: 3, total: 6, last: "paid" })
      assert.deepStrictEqual(Sales.fold([], state), state)
      assert.deepStrictEqual(Sales.fold([]), Sales.initial())
    }).pipe(asNewTenant, Effect.provide(inMemory))
  )

  it("cannot be made with a handler for a tag that no event of its aggregates has", () => {
    const handle = (state: number) => state
    const misspelt = { Paid: handle, Payd: handle }
    const correct: { readonly Paid: typeof handle } = misspelt
    assert.throws(
      () => InMemoryProjection.make("paid", { aggregates: [Order], initial: () => 0 }, correct),
      'projection paid has a handler for "Payd"'
    )
  })

  it.effect(
    "reads only the logs of requested tenants, each once, while they are used and some time longer",
    () => {
      const { asked, layer: driver } = watchedDriver()
      return Effect.gen(function* () {
        const [a, b] = [yield* Tenant.generate, yield* Tenant.generate]
        for (const tenant of [a, b]) yield* append("1", orders(3)).pipe(Tenant.provide(tenant))
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(asked.heads, 0)

        const get = Sales.get.pipe(Tenant.provide(a))
        const [one, other] = yield* Effect.all([get, get], { concurrency: 2 })
        assert.strictEqual(one.state, other.state)
        yield* TestClock.adjust("59 seconds")
        yield* get
        yield* TestClock.adjust("59 seconds")
        assert.lengthOf(asked.pages, 1)
        assert.strictEqual(asked.pages[0]?.tenantId, a)

        yield* TestClock.adjust("2 seconds")
        const idle = asked.heads
        yield* TestClock.adjust("10 minutes")
        assert.strictEqual(asked.heads, idle)

        const watching = yield* Sales.changes.pipe(Stream.runDrain, Tenant.provide(a), Effect.forkChild)
        yield* TestClock.adjust("10 minutes")
        assert.isAbove(asked.heads, idle + 590)
        yield* Fiber.interrupt(watching)
        yield* TestClock.adjust("1 minute")
        const left = asked.heads
        yield* TestClock.adjust("10 minutes")
        assert.strictEqual(asked.heads, left)
      }).pipe(Effect.provide(on(driver, { idleTimeToLive: "1 minute" })))
    }
  )

  it.effect("shares nothing between tenants, not even the initial state", () => {
    const Mutable = InMemoryProjection.make(
      "mutable",
      { aggregates: [Order], initial: () => new Map<string, number>() },
      { Placed: (state, { total }, { aggregateId }) => state.set(aggregateId, total) }
    )
    return Effect.gen(function* () {
      const [a, b] = [yield* Tenant.generate, yield* Tenant.generate]
      yield* append("1").pipe(Tenant.provide(a))
      assert.strictEqual((yield* Mutable.get.pipe(Tenant.provide(a))).state.size, 1)
      assert.strictEqual((yield* Mutable.get.pipe(Tenant.provide(b))).state.size, 0)
    }).pipe(Effect.provide(Mutable.layer.pipe(Layer.provideMerge(inMemory))))
  })

  it.effect("fails with its position when another position is not reached in time", () =>
    Effect.gen(function* () {
      yield* append("1", orders(3))
      yield* Sales.get
      const waiting = yield* Effect.forkChild(flipped(Sales.awaitPosition(4, { timeout: "2 seconds" })))
      yield* settle
      yield* TestClock.adjust("2 seconds")
      const error = yield* Fiber.join(waiting)
      if (error._tag !== "ProjectionBehind") return assert.fail(error._tag)
      assert.deepStrictEqual(
        { ...error },
        {
          _tag: "ProjectionBehind",
          tenantId: yield* Tenant.CurrentTenant,
          projection: "sales",
          version: 1,
          wanted: 4,
          position: 3,
          head: 3,
          state: "live",
          error: null
        }
      )
      const later = yield* Effect.forkChild(Sales.awaitPosition(4))
      yield* settle
      yield* append("1")
      yield* settle
      assert.strictEqual((yield* Fiber.join(later)).position, 4)
    }).pipe(asNewTenant, Effect.provide(on(inMemory)))
  )

  it.effect("recovers if the storage was unavailable at its first use", () => {
    let away = true
    const driver = changedDriver((storage) => ({
      head: (request) =>
        Effect.suspend(() => (away ? Effect.fail(unavailable(false)) : storage.head(request)))
    }))
    return Effect.gen(function* () {
      yield* append("1")
      assert.deepStrictEqual(yield* flipped(Sales.get), unavailable(false))
      away = false
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Sales.get).state.orders, 1)
    }).pipe(asNewTenant, Effect.provide(on(driver)))
  })

  it.effect(
    "has no state for a tenant while its fold fails, keeps those of others, and continues where it stopped",
    () => {
      const { asked, layer: driver } = watchedDriver()
      let broken = true
      const Fragile = InMemoryProjection.make(
        "fragile",
        { aggregates: [Order], initial: () => 0 },
        {
          Placed: (state, { total }) => {
            if (broken && total === 13) throw new Error("bad luck")
            return state + total
          }
        }
      )
      return Effect.gen(function* () {
        const [a, b] = [yield* Tenant.generate, yield* Tenant.generate]
        yield* append("1", orders(20)).pipe(Tenant.provide(a))
        yield* append("1", orders(12)).pipe(Tenant.provide(b))
        const ofA = Fragile.get.pipe(Tenant.provide(a))
        const failed = yield* Effect.exit(ofA)
        assert.match(Exit.isFailure(failed) ? Cause.pretty(failed.cause) : "", /bad luck/)
        assert.strictEqual((yield* Fragile.get.pipe(Tenant.provide(b))).state, 78)
        const position = yield* Fragile.awaitPosition(12).pipe(Tenant.provide(a))
        assert.deepInclude(position, { state: 78, position: 12 })
        // It is retried, seldom, and neither an attempt nor a hint hides the failure.
        yield* TestClock.adjust("10 minutes")
        yield* append("1").pipe(Tenant.provide(a))
        yield* settle
        assert.isTrue(Exit.isFailure(yield* Effect.exit(ofA)))
        const pages = asked.pages.filter(({ tenantId }) => tenantId === a)
        assert.isBelow(pages.length, 20)
        assert.strictEqual(pages.at(-1)?.fromPosition, 13)
        broken = false
        yield* TestClock.adjust("1 minute")
        assert.deepInclude(yield* ofA, { state: 211, position: 21 })
      }).pipe(
        Effect.provide(Fragile.layerWith({ idleTimeToLive: "1 hour" }).pipe(Layer.provideMerge(driver)))
      )
    }
  )

  it.effect("has no state for a tenant with an undecodable event, and names its place", () => {
    const driver = changedDriver((storage) => ({
      readLog: (request) =>
        Effect.map(storage.readLog(request), (page) => ({
          ...page,
          rows: page.rows.map((row) => (row.position === 3 ? { ...row, payload: "{}" } : row))
        })).pipe(Effect.delay("100 millis"))
    }))
    return Effect.gen(function* () {
      yield* append("1", orders(5))
      const first = yield* Effect.forkChild(flipped(Sales.get))
      yield* TestClock.adjust("101 millis")
      const error = yield* Fiber.join(first)
      assert.strictEqual(error._tag === "EventDecodeError" && error.position, 3)
      assert.strictEqual((yield* Sales.awaitPosition(2)).position, 2)
      assert.strictEqual((yield* flipped(Sales.awaitPosition(3)))._tag, "EventDecodeError")
      assert.strictEqual((yield* flipped(Stream.runDrain(Sales.changes)))._tag, "EventDecodeError")
      // Retries do not hide the failure.
      yield* TestClock.adjust("1050 millis")
      assert.strictEqual((yield* flipped(Sales.get))._tag, "EventDecodeError")
    }).pipe(asNewTenant, Effect.provide(on(driver)))
  })

  it.effect("interrupts waiting callers when it is shut down", () =>
    Effect.gen(function* () {
      const scope = yield* Effect.scope
      const tenantId = yield* Tenant.generate
      const waiting = yield* Sales.awaitPosition(1).pipe(
        Tenant.provide(tenantId),
        Effect.forkIn(scope, { startImmediately: true }),
        Effect.tap(settle),
        Effect.provide(on(inMemory))
      )
      assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(waiting)))
    }).pipe(Effect.scoped)
  )
})

describe("a projection in memory with stored states", () => {
  const storedStates = () => {
    const states = new Map<string, InMemoryProjection.Current<Sales>>()
    const stored: InMemoryProjection.Stored<Sales, Tenant.CurrentTenant> = {
      load: ({ name, version, tenantId }) =>
        Effect.map(Tenant.CurrentTenant, (current) => {
          assert.strictEqual(current, tenantId)
          return states.get(JSON.stringify([tenantId, name, version]))
        }),
      save: ({ name, version, tenantId }, current) =>
        Effect.sync(() => states.set(JSON.stringify([tenantId, name, version]), current)),
      every: 10
    }
    return { states, stored }
  }

  it.effect("starts from a stored state, and saves it at intervals and when it is no longer used", () => {
    const { asked, layer: driver } = watchedDriver()
    const { states, stored } = storedStates()
    const withStored = Sales.layerWith({ stored, idleTimeToLive: "1 minute" })
    return Effect.gen(function* () {
      const tenantId = yield* Tenant.CurrentTenant
      yield* append("1", orders(25))
      const key = JSON.stringify([tenantId, "sales", 1])
      yield* Sales.get
      yield* settle
      assert.strictEqual(states.get(key)?.position, 25)
      yield* append("1", orders(3))
      yield* Sales.awaitPosition(28)
      assert.strictEqual(states.get(key)?.position, 25)
      yield* TestClock.adjust(Duration.minutes(2))
      assert.strictEqual(states.get(key)?.position, 28)
      assert.strictEqual((yield* Sales.get).state.orders, 28)
      assert.strictEqual(asked.pages.at(-1)?.fromPosition, 26)
    }).pipe(asNewTenant, Effect.provide(withStored.pipe(Layer.provideMerge(driver))))
  })

  it.effect("folds the log when the stored state is ahead of it, or cannot be loaded", () => {
    const ahead = { load: () => Effect.succeed({ state: none, position: 9 }), save: () => Effect.die("full") }
    const broken = { load: () => Effect.die("away"), save: () => Effect.fail("full") }
    const check = (stored: InMemoryProjection.Stored<Sales, never>) =>
      Effect.gen(function* () {
        yield* append("1", orders(2))
        assert.deepInclude(yield* Sales.get, {
          state: { orders: 2, total: 3, last: "placed" },
          position: 2
        })
      }).pipe(asNewTenant, Effect.provide(on(inMemory, { stored: { ...stored, every: 1 } })))
    return Effect.andThen(check(ahead), check(broken))
  })
})
