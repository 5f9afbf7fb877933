/** Reading ahead, and projections that take batches: in memory. */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Layer, Schedule } from "effect"
import * as EventStorage from "../../src/driver/EventStorage.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import * as Projection from "../../src/projection/Projection.ts"
import * as ProjectionRunner from "../../src/projection/ProjectionRunner.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { append, drain, drained, live, Seen, Sum, tenants, watching } from "../support/sums.ts"

type ReadLog = EventStorage.EventStorage["Service"]["readLog"]

/** A runner that works on request, on a driver whose reads of logs are replaced. */
const onChanged = (
  projection: Projection.Projection<unknown, never>,
  change: (readLog: ReadLog) => ReadLog
) => {
  const driver = Layer.effect(
    EventStorage.EventStorage,
    Effect.map(EventStorage.EventStorage, (storage) => ({ ...storage, readLog: change(storage.readLog) }))
  )
  return ProjectionRunner.layer({
    projections: [projection],
    concurrency: 0,
    sweepInterval: "1000 days"
  }).pipe(
    Layer.provideMerge(EventStore.layer),
    Layer.provide(driver),
    Layer.provideMerge(MemoryStorage.layer)
  )
}

const upTo = (count: number) => Array.from({ length: count }, (_, n) => n)

describe("reading ahead", () => {
  it.effect("reads no event twice and none in vain, however long the backlog is", () =>
    Effect.gen(function* () {
      const seen = new Seen()
      const asked: Array<number> = []
      const counting =
        (readLog: ReadLog): ReadLog =>
        (request) => {
          asked.push(request.fromPosition)
          return readLog(request)
        }
      yield* Effect.gen(function* () {
        const [tenant = Tenant.untenanted] = yield* tenants(1)
        yield* append(tenant, ...upTo(50))
        yield* drain
        assert.deepStrictEqual(seen.of(tenant), upTo(50))
        assert.deepStrictEqual(asked, [1, 11, 21, 31, 41])
      }).pipe(Effect.provide(onChanged(watching(seen, undefined, { batchSize: 10 }), counting)))
    })
  )

  it.effect("never makes the worker wait: it then reads itself", () =>
    Effect.gen(function* () {
      const seen = new Seen()
      const never = yield* Deferred.make<never>()
      const asked: Array<number> = []
      // The first read from 21 on, which is ahead, never ends.
      const hanging =
        (readLog: ReadLog): ReadLog =>
        (request) => {
          const { fromPosition } = request
          const again = asked.includes(fromPosition)
          asked.push(fromPosition)
          return fromPosition > 11 && !again ? Deferred.await(never) : readLog(request)
        }
      yield* Effect.gen(function* () {
        const [tenant = Tenant.untenanted] = yield* tenants(1)
        yield* append(tenant, ...upTo(50))
        yield* drain
        assert.deepStrictEqual(seen.of(tenant), upTo(50))
        assert.deepStrictEqual(asked, [1, 11, 21, 21, 31, 31, 41, 41])
      }).pipe(Effect.provide(onChanged(watching(seen, undefined, { batchSize: 10 }), hanging)))
    })
  )

  it.effect("includes later appends, and returns pages to their own tenant only", () =>
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
