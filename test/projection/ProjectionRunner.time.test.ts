/** The times of work and of retries: in memory, with a test clock. */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Layer, Metric, Schedule } from "effect"
import { TestClock } from "effect/testing"
import * as EventStorage from "../../src/driver/EventStorage.ts"
import * as Projection from "../../src/projection/Projection.ts"
import * as ProjectionRunner from "../../src/projection/ProjectionRunner.ts"
import { ProjectionStorage } from "../../src/driver/ProjectionStorage.ts"
import { StorageUnavailable, OtherFailure } from "../../src/driver/StoreError.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import {
  append,
  deadLetters,
  drain,
  drained,
  key,
  live,
  memory,
  Seen,
  Sum,
  tenants,
  watching
} from "../support/sums.ts"
import * as Telemetry from "../../src/telemetry/Telemetry.ts"

const schedules: ReadonlyArray<readonly [string, Schedule.Schedule<unknown>, ReadonlyArray<number>]> = [
  ["never", Schedule.recurs(0), []],
  ["twice, at once", Schedule.recurs(2), [0, 0]],
  [
    "three times, 1, 2 and 4 seconds apart",
    Schedule.exponential("1 second").pipe(Schedule.upTo({ times: 3 })),
    [1000, 2000, 4000]
  ],
  [
    "for ten seconds",
    Schedule.spaced("3 seconds").pipe(Schedule.upTo({ duration: "10 seconds" })),
    [3000, 3000, 3000, 3000]
  ],
  [
    "at even times, during the first ones",
    Schedule.fixed("2 seconds").pipe(Schedule.upTo({ duration: "5 seconds" })),
    [2000, 2000, 2000]
  ],
  ["not at all if the schedule fails", Schedule.recurs(3).pipe(Schedule.tap(() => Effect.die("no"))), []]
]

describe("an event that fails is retried", () => {
  it.effect.each(schedules)("%s", ([_name, retry, delays]) =>
    Effect.gen(function* () {
      const seen = new Seen()
      const tries: Array<number> = []
      const attempt = (n: number) =>
        n === 3
          ? Effect.andThen(
              Effect.map(Clock.currentTimeMillis, (now) => tries.push(now)),
              Effect.fail("no")
            )
          : Effect.void
      yield* Effect.gen(function* () {
        const [tenant = Tenant.untenanted, other = Tenant.untenanted] = yield* tenants(2)
        yield* append(tenant, 1, 2, 3, 4)
        yield* drain
        yield* append(other, 1, 2)
        const expected = [0]
        for (const delay of delays) {
          // It is not retried before its time.
          if (delay > 0) {
            yield* TestClock.adjust(Duration.millis(delay - 1))
            yield* drain
            assert.deepStrictEqual(tries, expected)
            yield* TestClock.adjust("1 millis")
            yield* drain
          }
          expected.push((expected.at(-1) ?? 0) + delay)
          if (delay > 0) {
            assert.deepStrictEqual(tries, expected)
            if (expected.length <= delays.length) {
              assert.deepInclude(yield* live(tenant), { position: 2, parked: false, failedPosition: 3 })
            }
          }
        }
        yield* TestClock.adjust("1 hour")
        yield* drain
        assert.deepStrictEqual(tries, expected)
        assert.deepInclude(yield* live(tenant), {
          position: 2,
          parked: true,
          failedPosition: 3,
          attempts: delays.length + 1,
          error: "a failure of type string"
        })
        assert.deepInclude(yield* live(other), { position: 2, parked: false })
      }).pipe(drained(watching(seen, attempt, { retry })))
    })
  )

  it.effect("until it succeeds, and the next one has its own attempts", () =>
    Effect.gen(function* () {
      const seen = new Seen()
      const left = new Map([
        [2, 3],
        [3, 3]
      ])
      const attempt = (n: number) =>
        Effect.suspend(() => {
          const more = left.get(n) ?? 0
          left.set(n, more - 1)
          return more > 0 ? Effect.fail("no") : Effect.void
        })
      yield* Effect.gen(function* () {
        const [tenant = Tenant.untenanted] = yield* tenants(1)
        yield* append(tenant, 1, 2, 3, 4)
        yield* drain
        assert.deepInclude(yield* live(tenant), { position: 4, parked: false, attempts: 0, error: undefined })
        assert.deepStrictEqual([...new Set(seen.of(tenant))], [1, 2, 3, 4])
      }).pipe(drained(watching(seen, attempt, { retry: Schedule.recurs(3) })))
    })
  )

  it.effect("at once if the clock has gone back since", () =>
    Effect.gen(function* () {
      const seen = new Seen()
      let broken = true
      const attempt = () => Effect.suspend(() => (broken ? Effect.fail("no") : Effect.void))
      yield* TestClock.setTime(3_600_000)
      yield* Effect.gen(function* () {
        const [tenant = Tenant.untenanted] = yield* tenants(1)
        yield* append(tenant, 1)
        yield* drain
        broken = false
        yield* drain
        assert.isEmpty(seen.of(tenant))
        yield* TestClock.setTime(3_599_999)
        yield* drain
        assert.deepStrictEqual(seen.of(tenant), [1])
      }).pipe(drained(watching(seen, attempt, { retry: Schedule.spaced("1 hour") })))
    })
  )

  it.effect("without limit while the storage is unavailable, and other tenants continue", () =>
    Effect.gen(function* () {
      const seen = new Seen()
      let tries = 0
      let away = true
      const attempt = (n: number) =>
        Effect.suspend(() => {
          if (n !== 2 || !away) return Effect.void
          tries++
          return Effect.fail(
            new StorageUnavailable({
              reason: new OtherFailure({ operation: "test", retryable: true, code: null })
            })
          )
        })
      yield* Effect.gen(function* () {
        const [tenant = Tenant.untenanted, other = Tenant.untenanted] = yield* tenants(2)
        yield* append(tenant, 1, 2, 3)
        yield* append(other, 1, 1, 1)
        for (let n = 0; n < 20; n++) {
          yield* drain
          yield* TestClock.adjust("1 minute")
        }
        assert.isAtLeast(tries, 20)
        assert.deepInclude(yield* live(other), { position: 3 })
        assert.deepInclude(yield* live(tenant), {
          position: 1,
          parked: false,
          attempts: 0,
          failedPosition: 2
        })
        away = false
        yield* drain
        assert.deepInclude(yield* live(tenant), { position: 3 })
      }).pipe(drained(watching(seen, attempt)))
    })
  )
})

describe("an event that is put aside", () => {
  it.effect.each([0, 1, 3])(
    "is passed after it and %i retries have failed, and the others continue",
    (retries) =>
      Effect.gen(function* () {
        const seen = new Seen()
        const tries = new Map<number, number>()
        const bad = new Set([3, 4, 7])
        const attempt = (n: number) =>
          Effect.suspend(() => {
            tries.set(n, (tries.get(n) ?? 0) + 1)
            return bad.has(n) ? Effect.die(new Error(`no ${n}`)) : Effect.void
          })
        const options = { retry: Schedule.recurs(retries), onFailure: "deadLetter" } as const
        yield* Effect.gen(function* () {
          const storage = yield* ProjectionStorage
          const [tenant = Tenant.untenanted] = yield* tenants(1)
          yield* append(tenant, 1, 2, 3, 4, 5, 6, 7)
          yield* drain
          assert.deepInclude(yield* live(tenant), {
            position: 7,
            parked: false,
            attempts: 0,
            error: undefined
          })
          assert.deepStrictEqual([...new Set(seen.of(tenant))], [1, 2, 5, 6])
          const letters = yield* storage.deadLetters({ ...key(tenant), after: 0, limit: 10 })
          assert.deepStrictEqual(
            letters.map(({ position, error, attempts }) => ({ position, error, attempts })),
            [3, 4, 7].map((n) => ({ position: n, error: `Error: no ${n}`, attempts: retries + 1 }))
          )
          for (const n of bad) assert.strictEqual(tries.get(n), retries + 1)
          yield* append(tenant, 8)
          yield* drain
          assert.deepInclude(yield* live(tenant), { position: 8 })
          assert.lengthOf(yield* deadLetters(tenant), 3)
        }).pipe(drained(watching(seen, attempt, options)))
      })
  )

  it.effect("is, of several handled at once, the one that fails when handled alone", () =>
    Effect.gen(function* () {
      const handled: Array<number> = []
      const options = { retry: Schedule.recurs(0), onFailure: "deadLetter" } as const
      const batches = {
        ...watching(new Seen(), undefined, options),
        handleAll: (envelopes: ReadonlyArray<{ readonly position: number }>) =>
          Effect.suspend(() => {
            if (envelopes.some(({ position }) => position === 4)) return Effect.fail("no")
            handled.push(...envelopes.map(({ position }) => position))
            return Effect.void
          })
      }
      yield* Effect.gen(function* () {
        const [tenant = Tenant.untenanted] = yield* tenants(1)
        yield* append(tenant, 1, 2, 3, 4, 5, 6)
        yield* drain
        assert.deepInclude(yield* live(tenant), { position: 6, parked: false })
        assert.deepStrictEqual(handled, [1, 2, 3, 5, 6])
        assert.deepStrictEqual(yield* deadLetters(tenant), [4])
      }).pipe(drained(batches))
    })
  )
})

describe("the workers", () => {
  const beside = (...projections: ReadonlyArray<ReturnType<typeof watching>>) =>
    ProjectionRunner.layer({
      projections,
      concurrency: 1,
      pollInterval: "1 hour",
      sweepInterval: "1 hour"
    }).pipe(Layer.provideMerge(memory))
  const until = Effect.fnUntraced(function* (done: () => boolean) {
    for (let n = 0; n < 1000 && !done(); n++) yield* Effect.yieldNow
    assert.isTrue(done())
  })

  it.effect("work after an append, without waiting for the poll", () =>
    Effect.gen(function* () {
      const seen = new Seen()
      yield* Effect.gen(function* () {
        const [one = Tenant.untenanted, two = Tenant.untenanted] = yield* tenants(2)
        for (const n of [1, 2, 3]) {
          yield* append(one, n)
          yield* append(two, n)
          yield* until(() => seen.of(one).includes(n) && seen.of(two).includes(n))
        }
        assert.deepStrictEqual(seen.of(one), [1, 2, 3])
      }).pipe(Effect.provide(beside(watching(seen))))
    })
  )

  it.effect.each([
    ["interrupts itself", Effect.interrupt],
    ["dies", Effect.die("no")]
  ] as const)("survive a handler that %s, and find due work by polling", ([_name, failure]) =>
    Effect.gen(function* () {
      const seen = new Seen()
      const retry = Schedule.spaced("30 minutes").pipe(Schedule.upTo({ times: 1 }))
      let broken = true
      const projection = watching(seen, (n) => (n === 2 && broken ? failure : Effect.void), { retry })
      yield* Effect.gen(function* () {
        const [tenant = Tenant.untenanted, other = Tenant.untenanted] = yield* tenants(2)
        yield* append(tenant, 1, 2)
        yield* append(other, 1)
        yield* until(() => seen.of(other).length === 1)
        broken = false
        yield* TestClock.adjust("29 minutes")
        yield* TestClock.adjust("31 minutes")
        yield* until(() => seen.of(tenant).includes(2))
      }).pipe(Effect.provide(beside(projection)))
    })
  )

  it.effect("count handled events and failures", () =>
    Effect.gen(function* () {
      const name = "counted"
      const projection = watching(new Seen(), (n) => (n === 3 ? Effect.fail("no") : Effect.void), { name })
      yield* Effect.gen(function* () {
        const [tenant = Tenant.untenanted] = yield* tenants(1)
        yield* append(tenant, 1, 2, 3, 4)
        yield* drain
        const attributes = { projection: name, version: "1" }
        const { projectionEvents, projectionFailures } = Telemetry
        assert.deepInclude(yield* Metric.value(Metric.withAttributes(projectionEvents, attributes)), {
          count: 2
        })
        const failed = Metric.withAttributes(projectionFailures, { ...attributes, kind: "handler" })
        assert.deepInclude(yield* Metric.value(failed), { count: 1 })
      }).pipe(drained(projection))
    })
  )

  it.effect("measure pending events, the oldest of them and parked tenants, over all tenants", () =>
    Effect.gen(function* () {
      const name = "measured"
      const projection = watching(new Seen(), (n) => (n === 3 ? Effect.fail("no") : Effect.void), { name })
      yield* Effect.gen(function* () {
        const [stuck = Tenant.untenanted, other = Tenant.untenanted] = yield* tenants(2)
        yield* append(stuck, 1, 2, 3, 4)
        yield* TestClock.adjust("1 minute")
        // This tenant is served last, and has no events left.
        yield* append(other, 1)
        yield* drain
        const attributes = { projection: name, version: "1" }
        for (const [gauge, value] of [
          [Telemetry.projectionPending, 2],
          [Telemetry.projectionOldestPending, 60],
          [Telemetry.projectionParked, 1]
        ] as const)
          assert.deepInclude(yield* Metric.value(Metric.withAttributes(gauge, attributes)), { value })
      }).pipe(drained(projection))
    })
  )

  it.effect("across tenants record their access again every day", () =>
    Effect.gen(function* () {
      const seen = new Seen()
      const projection = Projection.makeAcrossTenants(
        "daily",
        { aggregates: [Sum] },
        {
          Added: ({ n }, { tenantId }) => Effect.sync(() => seen.add(tenantId, n))
        }
      )
      yield* Effect.gen(function* () {
        const events = yield* EventStorage.EventStorage
        const [tenant = Tenant.untenanted] = yield* tenants(1)
        const recorded = Effect.gen(function* () {
          const accessId = yield* events.recordAccess({ actor: "test", reason: "count", operation: "count" })
          const { rows } = yield* events.listAccesses({ accessId, before: undefined, limit: 100 })
          return rows.filter(({ operation }) => operation.startsWith("ProjectionRunner")).length
        })
        for (const [day, records] of [
          [0, 1],
          [0.5, 1],
          [1, 2],
          [9, 3]
        ] as const) {
          yield* TestClock.setTime(day * 86_400_000)
          yield* append(tenant, day * 10)
          yield* drain
          assert.strictEqual(yield* recorded, records)
        }
        assert.deepStrictEqual(seen.of(tenant), [0, 5, 10, 90])
      }).pipe(
        Effect.provide(
          ProjectionRunner.layer({
            projections: [projection],
            concurrency: 0,
            sweepInterval: "1000 days"
          }).pipe(Layer.provideMerge(memory))
        ),
        Tenant.provideAll({ actor: "test", reason: "daily" })
      )
    })
  )

  it.effect("serve all others before a tenth of one tenant's backlog", () =>
    Effect.gen(function* () {
      const backlog = Number(process.env["BACKLOG"] ?? 10_000)
      const seen = new Seen()
      const [big = Tenant.untenanted, ...small] = yield* tenants(100)
      let before = Infinity
      const projection = watching(seen, (_n, tenant) => {
        if (tenant !== big && small.every((one) => one === tenant || seen.of(one).length === 1)) {
          before = seen.of(big).length
        }
        return Effect.void
      })
      yield* Effect.gen(function* () {
        for (let n = 0; n < backlog; n += 1000) {
          yield* append(big, ...Array.from({ length: 1000 }, (_, index) => n + index))
        }
        for (const tenant of small) yield* append(tenant, 1)
        yield* drain
        assert.isAtMost(before, backlog / 10)
        assert.lengthOf(seen.of(big), backlog)
      }).pipe(drained(projection))
    })
  )
})
