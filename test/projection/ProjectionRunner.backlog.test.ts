/** Backlogs: pages in one transaction, readers beside it, and projections that take batches. In memory. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schedule } from "effect"
import { TestClock } from "effect/testing"
import * as EventStorage from "../../src/driver/EventStorage.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import * as Projection from "../../src/projection/Projection.ts"
import * as ProjectionRunner from "../../src/projection/ProjectionRunner.ts"
import { ProjectionStorage } from "../../src/driver/ProjectionStorage.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { append, deadLetters, drain, drained, live, Seen, Sum, tenants, watching } from "../support/sums.ts"

type Events = EventStorage.EventStorage["Service"]
type Projections = ProjectionStorage["Service"]

/** A runner that works on request, on drivers that are changed. */
const onChanged = (
  projection: Projection.Projection<unknown, never>,
  change: {
    readonly events?: (events: Events) => Events
    readonly projections?: (of: Projections) => Projections
  }
) => {
  const { events = (same: Events) => same, projections = (same: Projections) => same } = change
  const changed = Layer.mergeAll(
    Layer.effect(EventStorage.EventStorage, Effect.map(EventStorage.EventStorage, events)),
    Layer.effect(ProjectionStorage, Effect.map(ProjectionStorage, projections))
  )
  return ProjectionRunner.layer({
    projections: [projection],
    concurrency: 0,
    sweepInterval: "1000 days"
  }).pipe(
    Layer.provideMerge(EventStore.layer),
    Layer.provide(changed),
    Layer.provideMerge(MemoryStorage.layer)
  )
}

const upTo = (count: number) => Array.from({ length: count }, (_, n) => n)

/** Records the positions of checkpoints. */
const checkpoints = (positions: Array<number>) => ({
  projections: (storage: Projections): Projections => ({
    ...storage,
    advance: (claim, position) => {
      positions.push(position)
      return storage.advance(claim, position)
    }
  })
})

describe("a backlog", () => {
  it.effect("is handled in one transaction if nobody else waits, and a page at a time otherwise", () =>
    Effect.gen(function* () {
      const seen = new Seen()
      const positions: Array<number> = []
      yield* Effect.gen(function* () {
        const [one = Tenant.untenanted, two = Tenant.untenanted] = yield* tenants(2)
        yield* append(one, ...upTo(150))
        yield* drain
        assert.deepStrictEqual(positions, [150])
        yield* append(one, ...upTo(130))
        yield* append(two, ...upTo(120))
        yield* drain
        const pages = [...upTo(12).map((n) => 10 * (n + 1)), ...upTo(13).map((n) => 160 + 10 * n)]
        assert.deepStrictEqual(
          positions.slice(1).toSorted((a, b) => a - b),
          pages.toSorted((a, b) => a - b)
        )
        assert.deepStrictEqual(seen.of(one), [...upTo(150), ...upTo(130)])
        assert.deepStrictEqual(seen.of(two), upTo(120))
      }).pipe(Effect.provide(onChanged(watching(seen, undefined, { batchSize: 10 }), checkpoints(positions))))
    })
  )

  it.effect("is handled in transactions of at most 10,000 events", () =>
    Effect.gen(function* () {
      const seen = new Seen()
      const positions: Array<number> = []
      yield* Effect.gen(function* () {
        const [tenant = Tenant.untenanted] = yield* tenants(1)
        yield* append(tenant, ...upTo(6000))
        yield* append(tenant, ...upTo(12_000).slice(6000))
        yield* drain
        assert.deepStrictEqual(positions, [10_000, 12_000])
        assert.deepStrictEqual(seen.of(tenant), upTo(12_000))
      }).pipe(
        Effect.provide(onChanged(watching(seen, undefined, { batchSize: 300 }), checkpoints(positions)))
      )
    })
  )

  it.effect("is handled in transactions of at most a second, or of one page that takes longer", () =>
    Effect.gen(function* () {
      const seen = new Seen()
      const positions: Array<number> = []
      const slow = watching(seen, (n) => TestClock.adjust(n < 60 ? "30 millis" : "200 millis"), {
        batchSize: 10
      })
      yield* Effect.gen(function* () {
        const [tenant = Tenant.untenanted] = yield* tenants(1)
        yield* append(tenant, ...upTo(200))
        yield* drain
        // pages of 300 and of 2,000 milliseconds
        assert.deepStrictEqual(positions, [30, 60, ...upTo(14).map((n) => 70 + 10 * n)])
        assert.deepStrictEqual(seen.of(tenant), upTo(200))
      }).pipe(Effect.provide(onChanged(slow, checkpoints(positions))))
    })
  )

  it.effect(
    "is handled again from its beginning after a failure in it, and only the failing event is blamed",
    () =>
      Effect.gen(function* () {
        const seen = new Seen()
        const tries = new Map<number, number>()
        const refusing = watching(
          seen,
          (n) => {
            tries.set(n, (tries.get(n) ?? 0) + 1)
            return n === 34 ? Effect.fail("no 34") : Effect.void
          },
          { batchSize: 10, onFailure: "deadLetter" }
        )
        yield* Effect.gen(function* () {
          const [tenant = Tenant.untenanted] = yield* tenants(1)
          yield* append(tenant, ...upTo(160))
          yield* drain
          assert.deepStrictEqual(yield* deadLetters(tenant), [35])
          assert.deepInclude(yield* live(tenant), { position: 160, attempts: 0, parked: false })
          assert.strictEqual(tries.get(34), 1)
          assert.strictEqual(tries.get(33), 2)
          assert.strictEqual(tries.get(35), 1)
          assert.sameMembers(
            [...new Set(seen.of(tenant))],
            upTo(160).filter((n) => n !== 34)
          )
        }).pipe(drained(refusing))
      })
  )

  it.effect(
    "is handled a page at a time behind a transaction that failed as a whole, until that is passed",
    () =>
      Effect.gen(function* () {
        const seen = new Seen()
        const positions: Array<number> = []
        const { projections } = checkpoints(positions)
        let fails = true
        // The end of the transaction fails once, after all of its events were handled.
        const failing = (storage: Projections): Projections => ({
          ...projections(storage),
          work: (request, body) =>
            storage.work(request, (claim) =>
              Effect.tap(body(claim), () => {
                if (!fails) return Effect.void
                fails = false
                return Effect.die("no commit")
              })
            )
        })
        yield* Effect.gen(function* () {
          const [tenant = Tenant.untenanted] = yield* tenants(1)
          yield* append(tenant, ...upTo(6000))
          yield* append(tenant, ...upTo(12_000).slice(6000))
          yield* drain
          const single = upTo(10).map((n) => (n + 1) * 1000)
          assert.deepStrictEqual(positions, [10_000, ...single, 12_000])
          assert.deepStrictEqual(new Set(seen.of(tenant)), new Set(upTo(12_000)))
          assert.deepInclude(yield* live(tenant), { position: 12_000, failedPosition: undefined })
        }).pipe(
          Effect.provide(onChanged(watching(seen, undefined, { batchSize: 1000 }), { projections: failing }))
        )
      })
  )

  it.effect("includes later appends, and is that of its own tenant only", () =>
    Effect.gen(function* () {
      const seen = new Seen()
      const more = new Map<Tenant.TenantId, Effect.Effect<unknown>>()
      const appending = watching(
        seen,
        (n, tenantId) => (n === 25 ? (more.get(tenantId) ?? Effect.void) : Effect.void),
        { batchSize: 10 }
      )
      yield* Effect.gen(function* () {
        const [one = Tenant.untenanted, two = Tenant.untenanted] = yield* tenants(2)
        const store = yield* Effect.context<EventStore.EventStore>()
        more.set(one, Effect.orDie(append(one, ...upTo(60).slice(35))).pipe(Effect.provide(store)))
        yield* append(one, ...upTo(35))
        yield* append(two, ...upTo(35))
        yield* drain
        assert.deepStrictEqual(seen.of(one), upTo(60))
        assert.deepStrictEqual(seen.of(two), upTo(35))
        assert.deepInclude(yield* live(one), { position: 60, head: 60 })
      }).pipe(drained(appending))
    })
  )
})

describe("the reader of a backlog", () => {
  /** A reader with portions of at most 128 rows, without rows where `isReady` says so. */
  const opening =
    (log: {
      readonly opened: Array<number>
      readonly asked: Array<number>
      closed: number
      readonly isReady?: () => boolean
    }) =>
    (events: Events): Events => ({
      ...events,
      readLog: (request) => {
        log.asked.push(request.fromPosition)
        return events.readLog(request)
      },
      openLog: (request) =>
        Effect.acquireRelease(
          Effect.sync(() => {
            log.opened.push(request.fromPosition)
            let { fromPosition } = request
            const step = (limit: number) =>
              Effect.map(
                events.readLog({
                  ...request,
                  fromPosition,
                  direction: "forwards",
                  limit: Math.min(limit, 128)
                }),
                ({ complete, rows }) => {
                  const position = rows.at(-1)?.position ?? request.toPosition
                  fromPosition = position + 1
                  return { rows, complete, position }
                }
              )
            const isReady = log.isReady ?? (() => true)
            return {
              step,
              next: step,
              isReady,
              untilReady: Effect.suspend(() => (isReady() ? Effect.void : Effect.never))
            }
          }),
          () => Effect.sync(() => log.closed++)
        )
    })

  it.effect("is opened at once, fills pages, and is closed at its end", () =>
    Effect.gen(function* () {
      const seen = new Seen()
      const log = { opened: new Array<number>(), asked: new Array<number>(), closed: 0 }
      const batches: Array<number> = []
      const batched = Projection.makeBatched("watching", { aggregates: [Sum], batchSize: 500 }, (envelopes) =>
        Effect.sync(() => {
          batches.push(envelopes.length)
          for (const { payload, tenantId } of envelopes)
            if (payload._tag === "Added") seen.add(tenantId, payload.n)
        })
      )
      yield* Effect.gen(function* () {
        const [tenant = Tenant.untenanted] = yield* tenants(1)
        yield* append(tenant, ...upTo(6000))
        yield* append(tenant, ...upTo(12_100).slice(6000))
        yield* drain
        assert.deepStrictEqual(seen.of(tenant), upTo(12_100))
        assert.deepStrictEqual(log, { opened: [1], asked: [], closed: 1 })
        assert.deepStrictEqual(batches, [...upTo(24).map(() => 500), 100])
      }).pipe(Effect.provide(onChanged(batched, { events: opening(log) })))
    })
  )

  it.live("is not waited for without a connection: the worker reads itself", () =>
    Effect.gen(function* () {
      const seen = new Seen()
      const log = {
        opened: new Array<number>(),
        asked: new Array<number>(),
        closed: 0,
        isReady: () => false
      }
      yield* Effect.gen(function* () {
        const [tenant = Tenant.untenanted] = yield* tenants(1)
        yield* append(tenant, ...upTo(2500))
        yield* drain
        assert.deepStrictEqual(seen.of(tenant), upTo(2500))
        assert.deepStrictEqual(log.asked, [1, 501, 1001, 1501, 2001])
        assert.strictEqual(log.closed, log.opened.length)
      }).pipe(
        Effect.provide(onChanged(watching(seen, undefined, { batchSize: 500 }), { events: opening(log) }))
      )
    })
  )

  it.effect("is closed after a failure, so that no event is left out", () =>
    Effect.gen(function* () {
      const seen = new Seen()
      const log = { opened: new Array<number>(), asked: new Array<number>(), closed: 0 }
      let fails = true
      const once = watching(
        seen,
        (n) => {
          if (n !== 1700 || !fails) return Effect.void
          fails = false
          return Effect.fail("not now")
        },
        { batchSize: 500, retry: Schedule.recurs(3) }
      )
      yield* Effect.gen(function* () {
        const [tenant = Tenant.untenanted] = yield* tenants(1)
        yield* append(tenant, ...upTo(4000))
        yield* drain
        // all of them again, because the transaction was rolled back
        assert.deepStrictEqual(seen.of(tenant), [...upTo(1700), ...upTo(4000)])
        assert.strictEqual(log.closed, log.opened.length)
        assert.isAbove(log.opened.length, 1)
      }).pipe(Effect.provide(onChanged(once, { events: opening(log) })))
    })
  )
})

describe("a projection that takes batches", () => {
  const batched = (
    batches: Array<ReadonlyArray<number>>,
    fails: (numbers: ReadonlyArray<number>) => Effect.Effect<unknown, unknown> = () => Effect.void
  ) =>
    Projection.makeBatched(
      "watching",
      {
        aggregates: [Sum],
        eventTypes: ["Added"],
        batchSize: 10,
        retry: Schedule.recurs(0),
        onFailure: "deadLetter"
      },
      (envelopes) => {
        const numbers = envelopes.map(({ payload }) => payload.n)
        return Effect.andThen(
          fails(numbers),
          Effect.sync(() => batches.push(numbers))
        )
      }
    )

  it.effect("gets at most a batch, of the selected types, in order", () =>
    Effect.gen(function* () {
      const batches: Array<ReadonlyArray<number>> = []
      yield* Effect.gen(function* () {
        const [tenant = Tenant.untenanted] = yield* tenants(1)
        yield* append(tenant, null, ...upTo(12), null, 12, 13, null)
        yield* drain
        assert.deepStrictEqual(batches, [upTo(10), [10, 11, 12, 13]])
        assert.deepInclude(yield* live(tenant), { position: 17, head: 17 })
      }).pipe(drained(batched(batches)))
    })
  )

  it.effect(
    "gets the events one by one after a batch has failed, so that only the failing one is put aside",
    () =>
      Effect.gen(function* () {
        const batches: Array<ReadonlyArray<number>> = []
        const refusing = batched(batches, (numbers) =>
          numbers.includes(3) ? Effect.fail("no 3") : Effect.void
        )
        yield* Effect.gen(function* () {
          const [tenant = Tenant.untenanted] = yield* tenants(1)
          yield* append(tenant, ...upTo(6))
          yield* drain
          assert.deepStrictEqual(
            batches.flat(),
            upTo(6).filter((n) => n !== 3)
          )
          assert.deepInclude(yield* live(tenant), { position: 6 })
        }).pipe(drained(refusing))
      })
  )

  it.effect("gets all events of its aggregates by default", () =>
    Effect.gen(function* () {
      const tags: Array<string> = []
      const all = Projection.makeBatched("watching", { aggregates: [Sum] }, (envelopes) =>
        Effect.sync(() => tags.push(...envelopes.map(({ payload }) => payload._tag)))
      )
      yield* Effect.gen(function* () {
        const [tenant = Tenant.untenanted] = yield* tenants(1)
        yield* append(tenant, 1, null)
        yield* drain
        assert.deepStrictEqual(tags, ["Added", "Noted"])
      }).pipe(drained(all))
    })
  )
})
