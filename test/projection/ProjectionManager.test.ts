import { assert, describe, it, layer } from "@effect/vitest"
import { Deferred, Duration, Effect, Fiber, Latch, Layer, Schedule, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { TestClock } from "effect/testing"
import * as Event from "../../src/domain/Event.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as Projection from "../../src/projection/Projection.ts"
import * as ProjectionRunner from "../../src/projection/ProjectionRunner.ts"
import { ProjectionManager, type Status } from "../../src/projection/ProjectionManager.ts"
import * as ProjectionStorage from "../../src/driver/ProjectionStorage.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as TenantRegistry from "../../src/store/TenantRegistry.ts"
import {
  access,
  backends,
  book,
  CannotBook,
  databases,
  letters,
  memory,
  on,
  rows,
  status,
  table,
  twoTenants
} from "../support/booking.ts"
import { append, orders } from "../support/following.ts"
import { asNewTenant, drain, Order, unique, withRunner } from "../support/shop.ts"
import { flipped } from "../../src/testing/failures.ts"

describe.each(backends)("projections on $name", (backend) => {
  layer(on(backend.layer), { excludeTestServices: true })((it) => {
    it.effect("have a status for a tenant, from before its first event to being parked", () => {
      const { projection, broken } = book()
      broken.add(5)
      return Effect.gen(function* () {
        const [a, b] = yield* twoTenants
        const of = (tenant: Tenant.TenantId) => status(projection).pipe(Tenant.provide(tenant))
        const key = { projection: projection.name, version: 1 }
        const untouched: Status = {
          ...key,
          tenantId: b,
          state: "live",
          position: 0,
          head: 0,
          lagEvents: 0,
          lagTime: Duration.zero,
          failure: undefined,
          rebuild: undefined
        }
        assert.deepStrictEqual(yield* of(b), untouched)

        yield* append("1", orders(3)).pipe(Tenant.provide(a))
        const before = yield* of(a)
        assert.deepStrictEqual([before.state, before.position, before.head], ["catchingUp", 0, 3])
        assert.strictEqual(before.lagEvents, 3)
        yield* drain
        const done = yield* of(a)
        assert.deepStrictEqual(
          [done.state, done.position, done.head, done.lagEvents, Duration.toMillis(done.lagTime)],
          ["live", 3, 3, 0, 0]
        )

        yield* append("1", orders(3, 4)).pipe(Tenant.provide(a))
        yield* append("1", orders(6)).pipe(Tenant.provide(b))
        yield* drain
        const stopped = yield* of(a)
        assert.deepStrictEqual([stopped.state, stopped.position, stopped.head], ["parked", 4, 6])
        assert.strictEqual(stopped.lagEvents, 2)
        assert.strictEqual(stopped.failure?.position, 5)
        assert.include(stopped.failure?.error, "cannot book 5")
        assert.isFalse(JSON.stringify(stopped).includes(b))

        // The other tenant has the same ids, positions and failure, and is resumed separately.
        const ofB = yield* of(b)
        assert.deepStrictEqual([ofB.state, ofB.position, ofB.failure?.position], ["parked", 4, 5])
        broken.clear()
        const { resume } = yield* ProjectionManager
        assert.isTrue(yield* resume(projection).pipe(Tenant.provide(b)))
        assert.isFalse(yield* resume(projection).pipe(Tenant.provide(b)))
        yield* drain
        assert.deepStrictEqual([(yield* of(a)).state, (yield* of(b)).state], ["parked", "live"])
      }).pipe(withRunner(projection))
    })

    it.effect("have a status for each tenant, under a recorded access", () => {
      const { projection } = book()
      return Effect.gen(function* () {
        const [a, b] = yield* twoTenants
        const projections = yield* ProjectionManager
        const registry = yield* TenantRegistry.TenantRegistry
        yield* append("1", orders(2)).pipe(Tenant.provide(a))
        yield* drain
        yield* append("1", orders(1)).pipe(Tenant.provide(b))
        const all = yield* projections.statusOfAll(projection).pipe(Stream.runCollect)
        const ofAB = all.filter(({ tenantId }) => tenantId === a || tenantId === b)
        assert.sameDeepMembers(
          ofAB.map(({ tenantId, state, position }) => [tenantId, state, position]),
          [
            [a, "live", 2],
            [b, "catchingUp", 0]
          ]
        )
        const accesses = yield* registry.accesses.pipe(Stream.take(2), Stream.runCollect)
        assert.strictEqual(accesses[1]?.operation, `ProjectionManager.statusOfAll ${projection.name}`)
      }).pipe(Tenant.provideAll(access), withRunner(projection))
    })

    it.effect("can be awaited until they contain a position", () => {
      const { projection, seen } = book()
      return Effect.gen(function* () {
        const [a, b] = yield* twoTenants
        const { awaitPosition } = yield* ProjectionManager
        for (let n = 1; n <= 5; n++) {
          for (const tenant of [a, b]) {
            yield* Effect.gen(function* () {
              const { position } = yield* append("1", orders(1, n))
              yield* awaitPosition(projection, position)
              assert.isTrue(seen.includes(`${tenant} ${n}`))
            }).pipe(Tenant.provide(tenant))
          }
        }
      }).pipe(
        Effect.provide(ProjectionRunner.layer({ projections: [projection], concurrency: 2 }), {
          local: true
        }),
        Effect.timeout("10 seconds")
      )
    })

    it.effect(
      "are not awaited longer than the timeout, nor at all once they are parked before the position",
      () => {
        const { projection, broken } = book()
        broken.add(2)
        return Effect.gen(function* () {
          const { awaitPosition } = yield* ProjectionManager
          const tenantId = yield* Tenant.CurrentTenant
          const nowhere = yield* flipped(awaitPosition(projection, 1, { timeout: "500 millis" }))
          const key = { tenantId, projection: projection.name, version: 1 }
          const standing: object = { ...nowhere }
          assert.deepStrictEqual(standing, {
            _tag: "ProjectionBehind",
            ...key,
            wanted: 1,
            position: 0,
            head: 0,
            state: "live",
            error: null
          })
          yield* append("1", orders(3))
          const behind = yield* flipped(awaitPosition(projection, 3, { timeout: "500 millis" }))
          if (behind._tag !== "ProjectionBehind") return assert.fail(behind._tag)
          assert.deepStrictEqual([behind.position, behind.head, behind.state], [0, 3, "catchingUp"])
          yield* drain
          yield* awaitPosition(projection, 1)
          const [first] = yield* EventStore.EventStore.use((store) =>
            Stream.runCollect(store.readLogJson({ limit: 1 }))
          )
          if (first === undefined) return assert.fail("no event")
          yield* awaitPosition(projection, first)
          // Another event is there: the awaited one is lost.
          const lost = { position: 1, eventId: Event.generateId() }
          assert.deepInclude(yield* flipped(awaitPosition(projection, lost)), {
            _tag: "PositionDiverged",
            position: 1,
            expected: lost.eventId,
            actual: first.eventId
          })
          const parked = yield* flipped(awaitPosition(projection, 3, { timeout: "1 minute" }))
          if (parked._tag !== "ProjectionParked") return assert.fail(parked._tag)
          assert.deepStrictEqual([parked.position, parked.failedPosition, parked.head], [1, 2, 3])
          assert.include(parked.error, "cannot book 2")
        }).pipe(asNewTenant, withRunner(projection), Effect.timeout("10 seconds"))
      }
    )

    it.effect("list, replay and discard the dead letters of their own tenant only", () => {
      const { projection, seen, broken } = book({ onFailure: "deadLetter" })
      for (const total of [2, 3, 5]) broken.add(total)
      return Effect.gen(function* () {
        const [a, b] = yield* twoTenants
        const { replayDeadLetters, discardDeadLetter } = yield* ProjectionManager
        for (const tenant of [a, b]) yield* append("1", orders(6)).pipe(Tenant.provide(tenant))
        yield* drain
        const ofB = letters(projection).pipe(Tenant.provide(b))
        assert.deepStrictEqual(yield* ofB, [2, 3, 5])
        yield* Effect.gen(function* () {
          assert.deepStrictEqual(yield* letters(projection), [2, 3, 5])
          broken.delete(2)
          const failed = yield* flipped(replayDeadLetters(projection))
          if (failed._tag !== "ReplayFailed") return assert.fail(failed._tag)
          assert.deepStrictEqual([failed.position, failed.replayed], [3, 1])
          assert.include(failed.error, "cannot book 3")
          assert.deepStrictEqual(yield* letters(projection), [3, 5])

          for (const reason of ["", " \n", "a".repeat(1001), "a\0", "half a \ud83d"]) {
            const invalid = yield* flipped(discardDeadLetter(projection, 3, reason))
            assert.strictEqual(invalid._tag, "InvalidReason")
          }
          yield* discardDeadLetter(projection, 3, "booked by hand")
          const gone = yield* flipped(discardDeadLetter(projection, 3, "again"))
          assert.strictEqual(gone._tag, "DeadLetterNotFound")
          broken.clear()
          assert.strictEqual(yield* replayDeadLetters(projection), 1)
          assert.strictEqual(yield* replayDeadLetters(projection), 0)
          assert.deepStrictEqual(yield* letters(projection), [])
          // On a database the undone work is seen again.
          const ofA = seen.filter((line) => line.startsWith(a))
          assert.deepStrictEqual(
            [...new Set(ofA)],
            [1, 4, 6, 2, 5].map((total) => `${a} ${total}`)
          )
          assert.lengthOf(
            ofA.filter((line) => / [25]$/.test(line)),
            2
          )
        }).pipe(Tenant.provide(a))
        assert.deepStrictEqual(yield* ofB, [2, 3, 5])
        assert.strictEqual(yield* replayDeadLetters(projection).pipe(Tenant.provide(b)), 3)
      }).pipe(withRunner(projection))
    })

    it.effect("replay each dead letter once, also with concurrent replays", () => {
      const { projection, seen, broken } = book({ onFailure: "deadLetter" })
      for (const total of orders(20)) broken.add(total.total)
      return Effect.gen(function* () {
        const { replayDeadLetters } = yield* ProjectionManager
        yield* append("1", orders(20))
        yield* drain
        assert.lengthOf(yield* letters(projection), 20)
        broken.clear()
        const replayed = yield* Effect.forEach([1, 2, 3], () => replayDeadLetters(projection), {
          concurrency: "unbounded"
        })
        assert.strictEqual(
          replayed.reduce((sum, count) => sum + count, 0),
          20
        )
        assert.lengthOf(seen, 20)
      }).pipe(asNewTenant, withRunner(projection))
    })
  })
})

describe.each(databases)("projections into tables on $name", (backend) => {
  layer(on(backend.layer), { excludeTestServices: true })((it) => {
    it.effect("replay a dead letter and remove it together, or not at all", () => {
      const { projection, broken } = table({ onFailure: "deadLetter", tables: [] })
      for (const total of [1, 3]) broken.add(total)
      return Effect.gen(function* () {
        const { replayDeadLetters } = yield* ProjectionManager
        yield* append("1", orders(3))
        yield* drain
        broken.delete(1)
        yield* flipped(replayDeadLetters(projection))
        assert.deepStrictEqual(
          (yield* rows(projection)).map(({ position }) => position),
          [1, 2]
        )
        assert.deepStrictEqual(yield* letters(projection), [3])
        broken.clear()
        yield* replayDeadLetters(projection)
        assert.lengthOf(yield* rows(projection), 3)
      }).pipe(asNewTenant, withRunner(projection))
    })

    it.effect("across tenants replay with their own rights, under a recorded access", () => {
      const name = unique("grand-total")
      let broken = true
      const projection = Projection.makeAcrossTenants(
        name,
        { aggregates: [Order], retry: Schedule.recurs(0), onFailure: "deadLetter" },
        {
          Placed: ({ total }) =>
            broken
              ? Effect.fail(new CannotBook({ total: 0 }))
              : SqlClient.SqlClient.use(
                  (sql) => sql`insert into grand_total as t (projection, total) values (${name}, ${total})
                    on conflict (projection) do update set total = t.total + excluded.total`
                )
        }
      )
      return Effect.gen(function* () {
        const { replayDeadLetters } = yield* ProjectionManager
        const registry = yield* TenantRegistry.TenantRegistry
        const tenants = yield* twoTenants
        for (const tenant of tenants) yield* append("1", orders(3)).pipe(Tenant.provide(tenant))
        yield* drain
        broken = false
        for (const tenant of tenants) {
          assert.strictEqual(yield* replayDeadLetters(projection).pipe(Tenant.provide(tenant)), 3)
        }
        broken = true
        const [last] = yield* registry.accesses.pipe(Stream.drop(1), Stream.take(1), Stream.runCollect)
        assert.strictEqual(last?.operation, `ProjectionManager.replayDeadLetters ${name}`)
        yield* append("1", orders(1)).pipe(Tenant.provide(tenants[0]))
        yield* drain
        broken = false
        assert.strictEqual(yield* replayDeadLetters(projection).pipe(Tenant.provide(tenants[0])), 1)
      }).pipe(withRunner(projection), Tenant.provideAll(access))
    })

    it.effect("wait for a tenant while a dead letter of it is replayed", () => {
      // PGlite cannot have two open transactions at the same time.
      if (backend.name === "PGlite") return Effect.void
      const { projection, broken } = table({ onFailure: "deadLetter", tables: [] })
      broken.add(1)
      return Effect.gen(function* () {
        const { replayDeadLetters } = yield* ProjectionManager
        const [a, b] = yield* twoTenants
        for (const tenant of [a, b]) yield* append("1", orders(2)).pipe(Tenant.provide(tenant))
        yield* drain
        broken.clear()
        const reached = yield* Deferred.make<void>()
        const gate = yield* Latch.make(false)
        const slow = {
          ...projection,
          handle: (envelope: Parameters<typeof projection.handle>[0]) =>
            Deferred.succeed(reached, undefined).pipe(
              Effect.andThen(gate.await),
              Effect.andThen(projection.handle(envelope))
            )
        }
        const replaying = yield* Effect.forkChild(replayDeadLetters(slow).pipe(Tenant.provide(a)))
        yield* Deferred.await(reached)
        for (const tenant of [a, b]) yield* append("1").pipe(Tenant.provide(tenant))
        yield* drain
        const of = (tenant: Tenant.TenantId) =>
          Effect.map(status(projection).pipe(Tenant.provide(tenant)), ({ position }) => position)
        assert.deepStrictEqual([yield* of(a), yield* of(b)], [2, 3])
        yield* gate.open
        yield* Fiber.join(replaying)
        yield* drain
        assert.deepStrictEqual([yield* of(a), yield* of(b)], [3, 3])
      }).pipe(withRunner(projection))
    })
  })
})

describe("projections, by the clock,", () => {
  it.effect("lag by the age of the oldest event that they do not contain", () => {
    const { projection } = book()
    return Effect.gen(function* () {
      const lag = Effect.map(status(projection), ({ lagTime }) => Duration.toSeconds(lagTime))
      yield* append("1")
      yield* TestClock.adjust("3 seconds")
      yield* append("1")
      yield* TestClock.adjust("4 seconds")
      assert.strictEqual(yield* lag, 7)
      yield* drain
      assert.strictEqual(yield* lag, 0)
      yield* append("1")
      yield* TestClock.adjust("5 seconds")
      yield* append("1")
      assert.strictEqual(yield* lag, 5)
    }).pipe(asNewTenant, withRunner(projection), Effect.provide(on(memory.layer)))
  })

  it.effect("are polled at growing intervals, even while other tenants append", () => {
    let looks = 0
    const watched = Layer.effect(
      ProjectionStorage.ProjectionStorage,
      Effect.map(ProjectionStorage.ProjectionStorage, (storage) => ({
        ...storage,
        progress: (key: ProjectionStorage.TenantProjection) =>
          Effect.andThen(
            Effect.sync(() => looks++),
            storage.progress(key)
          )
      }))
    ).pipe(Layer.provideMerge(memory.layer))
    const { projection } = book()
    return Effect.gen(function* () {
      const { awaitPosition } = yield* ProjectionManager
      const other = yield* Tenant.generate
      const waiting = yield* Effect.forkChild(flipped(awaitPosition(projection, 1, { timeout: "1 minute" })))
      yield* TestClock.adjust("30 seconds")
      assert.isBelow(looks, 130)
      for (let hint = 0; hint < 3000; hint++) {
        yield* append("1").pipe(Tenant.provide(other))
        yield* TestClock.adjust("10 millis")
      }
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Fiber.join(waiting))._tag, "ProjectionBehind")
      assert.isBelow(looks, 130 + 30 * 17)
    }).pipe(asNewTenant, Effect.provide(on(watched)))
  })

  it.effect("list any number of dead letters, page by page", () => {
    const { projection, broken } = book({ onFailure: "deadLetter" })
    for (const { total } of orders(250)) broken.add(total)
    return Effect.gen(function* () {
      yield* append("1", orders(250))
      yield* drain
      const listed = yield* letters(projection)
      assert.deepStrictEqual(
        listed,
        orders(250).map(({ total }) => total)
      )
    }).pipe(asNewTenant, withRunner(projection), Effect.provide(on(memory.layer)))
  })
})
