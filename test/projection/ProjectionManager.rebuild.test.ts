import { assert, describe, layer } from "@effect/vitest"
import { Effect, Fiber, Latch, Queue, Schedule, Stream } from "effect"
import { SqlClient } from "effect/sql"
import * as PgTenant from "../../src/pg/PgTenant.ts"
import {
  ProjectionManager,
  type RebuildOptions,
  type RebuildProgress
} from "../../src/projection/ProjectionManager.ts"
import * as Projection from "../../src/projection/Projection.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import {
  access,
  backends,
  book,
  databases,
  draining,
  letters,
  on,
  rows,
  status,
  table,
  twoTenants
} from "../support/booking.ts"
import { append, orders, range } from "../support/following.ts"
import { asNewTenant, drain, Order, withRunner } from "../support/shop.ts"
import { flipped } from "../../src/testing/failures.ts"

describe.each(backends)("rebuilds on $name", (backend) => {
  layer(on(backend.layer), { excludeTestServices: true })((it) => {
    it.effect("start at the beginning, emit their progress, and are joined if in progress", () => {
      const gate = Latch.makeUnsafe(true)
      const { projection } = book({ batchSize: 10, tables: ["booked_0"] })
      const handled: Array<number> = []
      let mine: Tenant.TenantId | undefined
      const gated = {
        ...projection,
        handle: ({ tenantId, position }: Parameters<typeof projection.handle>[0]) =>
          tenantId === mine
            ? Effect.andThen(
                position < 25 ? Effect.void : gate.await,
                Effect.sync(() => handled.push(position))
              )
            : Effect.void
      }
      return Effect.gen(function* () {
        const { rebuild, watchRebuilds } = yield* ProjectionManager
        mine = yield* Tenant.CurrentTenant
        yield* append("1", orders(40))
        yield* drain
        assert.lengthOf(handled, 40)
        yield* gate.close
        const first = yield* rebuild(gated).pipe(Stream.take(1), Stream.runCollect)
        assert.deepStrictEqual(first, [{ done: 0, total: 40, tenants: 1 }])
        const during = yield* status(gated)
        assert.deepStrictEqual([during.state, during.position, during.rebuild?.total], ["rebuilding", 40, 40])

        yield* draining
        // A rebuild that is stuck in its third batch continues when anybody watches it again.
        const joined = yield* Queue.unbounded<RebuildProgress>()
        const watching = yield* Effect.forkChild(
          Effect.all(
            [
              Stream.runForEach(rebuild(gated), (progress) => Queue.offer(joined, progress)),
              Stream.runLast(watchRebuilds(gated)).pipe(Tenant.provideAll(access))
            ],
            { concurrency: 2 }
          )
        )
        // On PGlite the waiting worker has the only connection.
        if (backend.name !== "PGlite") {
          while ((yield* Queue.take(joined)).done < 20) yield* Effect.yieldNow
        }
        yield* gate.open
        const [, last] = yield* Fiber.join(watching)
        assert.deepStrictEqual(last._tag === "Some" && [last.value.done, last.value.tenants], [40, 0])
        const after = yield* status(gated)
        assert.deepStrictEqual([after.state, after.position, after.rebuild], ["live", 40, undefined])
        assert.deepStrictEqual(handled, [...range(1, 40), ...range(1, 40)])
      }).pipe(asNewTenant, withRunner(gated), Effect.timeout("15 seconds"))
    })

    it.effect("that fail are reported once the others are done, and start over when requested again", () => {
      const { projection, broken } = book({ tables: ["booked_1"] })
      return Effect.gen(function* () {
        const [a, b] = yield* twoTenants
        const { rebuild, rebuildAll } = yield* ProjectionManager
        yield* append("1", orders(3, 776)).pipe(Tenant.provide(a))
        yield* append("1", orders(3)).pipe(Tenant.provide(b))
        yield* drain
        broken.add(777)
        yield* draining
        const all = rebuildAll(projection).pipe(Stream.runCollect, Tenant.provideAll(access))
        const failed = yield* flipped(all)
        if (failed._tag !== "RebuildParked") return assert.fail(failed._tag)
        assert.deepStrictEqual([failed.tenantId, failed.failedPosition, failed.tenants], [a, 2, 1])
        assert.include(failed.error, "cannot book 777")
        const [ofA, ofB] = yield* Effect.forEach([a, b], (tenant) =>
          status(projection).pipe(Tenant.provide(tenant))
        )
        assert.deepStrictEqual([ofA?.state, ofA?.position, ofA?.rebuild?.parked], ["rebuilding", 3, true])
        assert.deepStrictEqual([ofB?.state, ofB?.position, ofB?.rebuild], ["live", 3, undefined])
        broken.clear()
        const again = yield* rebuild(projection).pipe(Stream.runLast, Tenant.provide(a))
        assert.deepStrictEqual(again._tag === "Some" && again.value, { done: 3, total: 3, tenants: 0 })
      }).pipe(withRunner(projection), Effect.timeout("15 seconds"))
    })

    it.effect("continue when they are resumed, and start over on request", () => {
      const { projection, broken } = book({ tables: ["booked_2"] })
      return Effect.gen(function* () {
        const { rebuild, resume } = yield* ProjectionManager
        yield* append("1", orders(3, 887))
        yield* drain
        const first = (options?: RebuildOptions) =>
          rebuild(projection, options).pipe(Stream.take(1), Stream.runCollect)
        yield* first()
        broken.add(889)
        yield* drain
        assert.isTrue((yield* status(projection)).rebuild?.parked)
        assert.isTrue(yield* resume(projection))
        assert.deepStrictEqual(yield* first(), [{ done: 2, total: 3, tenants: 1 }])
        assert.deepStrictEqual(yield* first({ restart: true }), [{ done: 0, total: 3, tenants: 1 }])
      }).pipe(asNewTenant, withRunner(projection))
    })

    it.effect("do not prevent the replay of dead letters, and end with their own dead letters", () => {
      const { projection, broken } = book({ onFailure: "deadLetter", tables: ["booked_3"] })
      broken.add(1)
      return Effect.gen(function* () {
        const { rebuild, replayDeadLetters } = yield* ProjectionManager
        yield* append("1", orders(3))
        yield* drain
        assert.deepStrictEqual(yield* letters(projection), [1])
        yield* rebuild(projection).pipe(Stream.take(1), Stream.runDrain)
        broken.clear()
        assert.strictEqual(yield* replayDeadLetters(projection), 1)
        broken.add(2)
        yield* draining
        yield* Stream.runDrain(rebuild(projection))
        assert.deepStrictEqual(yield* letters(projection), [2])
      }).pipe(asNewTenant, withRunner(projection), Effect.timeout("15 seconds"))
    })

    it.effect("are cancelled, of which their watchers are told, and the live read model continues", () => {
      const { projection, broken } = book({ tables: ["booked_5"] })
      return Effect.gen(function* () {
        const [a, b] = yield* twoTenants
        const { cancelRebuild, cancelRebuildAll, rebuild, rebuildAll } = yield* ProjectionManager
        const asOperator = Tenant.provideAll(access)
        for (const tenant of [a, b]) yield* append("1", orders(3, 665)).pipe(Tenant.provide(tenant))
        yield* drain
        const cancel = cancelRebuild(projection).pipe(Tenant.provide(a))
        assert.isFalse(yield* cancel)
        assert.strictEqual(yield* cancelRebuildAll(projection).pipe(asOperator), 0)
        // one is parked
        broken.add(666)
        yield* rebuild(projection).pipe(Stream.take(1), Stream.runDrain, Tenant.provide(a))
        yield* drain
        broken.clear()
        for (const one of [a, b])
          yield* rebuild(projection).pipe(Stream.take(1), Stream.runDrain, Tenant.provide(one))
        const seen = yield* Latch.make(false)
        const watching = yield* rebuildAll(projection).pipe(
          Stream.runForEach(() => seen.open),
          flipped,
          asOperator,
          Effect.forkChild
        )
        yield* seen.await
        assert.isTrue(yield* cancel)
        assert.isFalse(yield* cancel)
        // those of other tests too
        const cancelled = yield* cancelRebuildAll(projection).pipe(asOperator)
        assert.isAtLeast(cancelled, 1)
        const error = yield* Fiber.join(watching)
        if (error._tag !== "RebuildCancelled") return assert.fail(error._tag)
        assert.deepInclude(error, { projection: projection.name, version: 1, tenants: cancelled + 1 })
        for (const tenant of [a, b]) {
          const {
            position,
            rebuild: progress,
            state
          } = yield* status(projection).pipe(Tenant.provide(tenant))
          assert.deepStrictEqual([state, position, progress], ["live", 3, undefined])
        }
        yield* draining
        const again = yield* rebuild(projection).pipe(Stream.runLast, Tenant.provide(a))
        assert.deepStrictEqual(again._tag === "Some" && again.value, { done: 3, total: 3, tenants: 0 })
      }).pipe(withRunner(projection), Effect.timeout("15 seconds"))
    })

    it.effect(
      "end at once for a tenant without events, and are refused for a projection without a read model",
      () => {
        const { projection } = book({ tables: ["booked_4"] })
        return Effect.gen(function* () {
          const { rebuild } = yield* ProjectionManager
          assert.deepStrictEqual(yield* Stream.runCollect(rebuild(projection)), [
            { done: 0, total: 0, tenants: 0 }
          ])
          assert.strictEqual((yield* status(projection)).rebuild, undefined)
          const across = { ...projection, kind: "acrossTenants" } as const
          const reaction = { ...projection, kind: "reaction" } as const
          for (const refused of [{ ...projection, tables: [] }, across, reaction]) {
            const error = yield* flipped(Stream.runDrain(rebuild(refused)))
            assert.strictEqual(error._tag, "CannotRebuild")
          }
        }).pipe(asNewTenant)
      }
    )
  })
})

describe.each(databases)("rebuilds of tables on $name", (backend) => {
  layer(on(backend.layer), { excludeTestServices: true })((it) => {
    it.effect(
      "run for one tenant while appends continue, and leave the other tenant's rows unchanged",
      () => {
        const { projection } = table({ batchSize: 7 })
        return Effect.gen(function* () {
          const [a, b] = yield* twoTenants
          const { rebuild, awaitPosition } = yield* ProjectionManager
          for (const tenant of [a, b]) yield* append("1", orders(30)).pipe(Tenant.provide(tenant))
          yield* drain
          const corrupt = (tenant: Tenant.TenantId) =>
            PgTenant.transaction(
              SqlClient.SqlClient.use(
                (sql) => sql`update booked set total = -1 where projection = ${projection.name}`
              )
            ).pipe(Tenant.provide(tenant))
          for (const tenant of [a, b]) yield* corrupt(tenant)
          yield* draining
          const writing = yield* Effect.forkChild(
            Effect.forEach(orders(30, 31), (order) => append("1", [order])).pipe(Tenant.provide(a))
          )
          const progress = yield* rebuild(projection).pipe(Stream.runCollect, Tenant.provide(a))
          const done = progress.map((each) => each.done)
          assert.deepStrictEqual(
            done,
            done.toSorted((one, other) => one - other)
          )
          yield* Fiber.join(writing)
          yield* awaitPosition(projection, 60).pipe(Tenant.provide(a))
          assert.deepStrictEqual(
            (yield* rows(projection).pipe(Tenant.provide(a))).map(({ total }) => total),
            orders(60).map(({ total }) => total)
          )
          const ofB = yield* rows(projection).pipe(Tenant.provide(b))
          assert.deepStrictEqual(
            ofB.map(({ total }) => total),
            orders(30).map(() => -1)
          )
        }).pipe(withRunner(projection), Effect.timeout("15 seconds"))
      }
    )

    it.effect("leave no rows when they are cancelled", () => {
      let broken = false
      const projection = Projection.make(
        "cancelled",
        { aggregates: [Order], retry: Schedule.recurs(0), tables: ["booked_6"], batchSize: 1 },
        {
          Placed: (_, { position, tenantId }) =>
            broken && position === 2
              ? Effect.fail("broken")
              : SqlClient.SqlClient.use(
                  (sql) => sql`
                  insert into booked_6 values (${tenantId}::uuid) on conflict do nothing`
                )
        }
      )
      return Effect.gen(function* () {
        const { cancelRebuild, rebuild } = yield* ProjectionManager
        yield* append("1", orders(2))
        yield* drain
        broken = true
        yield* rebuild(projection).pipe(Stream.take(1), Stream.runDrain)
        const rebuilt = PgTenant.transaction(
          SqlClient.SqlClient.use(
            (sql) => sql<{ twin: number; live: number }>`
              select (select count(*)::int from eventsourcing_rebuild.booked_6) as twin,
                (select count(*)::int from public.booked_6) as live`
          )
        )
        yield* drain
        assert.deepStrictEqual(yield* rebuilt, [{ twin: 1, live: 1 }])
        assert.isTrue(yield* cancelRebuild(projection))
        assert.deepStrictEqual(yield* rebuilt, [{ twin: 0, live: 1 }])
      }).pipe(asNewTenant, withRunner(projection))
    })

    it.effect("are refused if a table is not registered", () => {
      const { projection } = table({ tables: ["booked", "grand_total"] })
      return Effect.gen(function* () {
        const { rebuild } = yield* ProjectionManager
        yield* append("1")
        const error = yield* flipped(Stream.runDrain(rebuild(projection)))
        if (error._tag !== "CannotRebuild") return assert.fail(error._tag)
        assert.include(error.reason, "grand_total")
      }).pipe(asNewTenant)
    })
  })
})
