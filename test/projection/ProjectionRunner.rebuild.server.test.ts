/** Rebuilds during appends, reads and the work of others. */
import { assert, describe, layer } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer } from "effect"
import * as EventStore from "../../src/store/EventStore.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import {
  append,
  beside,
  changed,
  Database,
  drain,
  drainUntilLive,
  equalsFold,
  eventually,
  isLive,
  journal,
  newProcess,
  Order,
  orders,
  placed,
  progressOf,
  rowsOf,
  serverDatabases,
  startRebuild,
  tenants
} from "../support/projected.ts"

/** The given number of orders of 1. */
const seed = (tenantId: Tenant.TenantId, count: number) => {
  const one = (n: number) =>
    ({ aggregate: Order, id: `order-${n}`, expectedVersion: "any", events: [placed(1)] }) as const
  return EventStore.EventStore.use((store) =>
    store.appendAll(Array.from({ length: count }, (_, n) => one(n)))
  ).pipe(Tenant.provide(tenantId))
}

/** Fails unless a transaction waits for a row that another one has locked. */
const isWaiting = Effect.flatMap(
  Database,
  ({ owner }) => owner`
    select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
).pipe(Effect.map((waits) => assert.isNotEmpty(waits)))

describe.each(serverDatabases)("a rebuild on $name, during other work,", (database) => {
  layer(newProcess.pipe(Layer.provideMerge(database.layer)), { excludeTestServices: true })((it) => {
    it.effect(
      "11: the read model is never empty, half filled or old, and finally equals a fresh projection",
      () =>
        Effect.gen(function* () {
          const [mine = Tenant.untenanted, theirs = Tenant.untenanted] = yield* tenants(2)
          const count = 300
          yield* seed(mine, count)
          yield* append(theirs, "order-1", placed(7))
          yield* Effect.gen(function* () {
            yield* eventually(Effect.andThen(isLive(mine, count), isLive(theirs, 1)))
            const before = yield* rowsOf(theirs)
            const writer = yield* Effect.forkChild(
              Effect.forEach(
                Array.from({ length: 100 }, (_, n) => n),
                (n) => append(mine, `order-${n}`, changed(1)),
                { discard: true }
              )
            )
            let [reads, sum] = [0, 0]
            const read = Effect.gen(function* () {
              const rows = yield* rowsOf(mine)
              assert.lengthOf(rows, count)
              // Totals only grow, so that a reader never sees an earlier state.
              const total = rows.reduce((added, row) => added + row.total, 0)
              assert.isAtLeast(total, sum)
              sum = total
              reads++
            })
            const reader = yield* Effect.forkChild(Effect.forever(read))
            for (const _ of [1, 2, 3]) {
              const last = reads
              yield* startRebuild(mine)
              yield* eventually(Effect.map(progressOf(mine), ({ rebuild }) => assert.isUndefined(rebuild)))
              yield* eventually(Effect.sync(() => assert.isAbove(reads, last)))
            }
            yield* Fiber.join(writer)
            yield* eventually(isLive(mine, count + 100))
            yield* eventually(Effect.sync(() => assert.strictEqual(sum, count + 100)))
            assert.isUndefined(reader.pollUnsafe())
            yield* Fiber.interrupt(reader)
            yield* equalsFold(mine)
            assert.deepStrictEqual(yield* rowsOf(theirs), before)
          }).pipe(beside([orders({ batchSize: 20 })], { concurrency: 3, pollInterval: "20 millis" }))
        })
    )

    it.effect("continues in another process where it was stopped", () =>
      Effect.gen(function* () {
        const [tenant = Tenant.untenanted] = yield* tenants(1)
        const count = 200
        yield* seed(tenant, count)
        yield* beside([journal("live")])(drainUntilLive(tenant, count, "journal"))
        yield* startRebuild(tenant, "journal")
        const begun = eventually(
          Effect.map(progressOf(tenant, "journal"), ({ rebuild }) =>
            assert.isAtLeast(rebuild?.position ?? 0, 20)
          )
        )
        // several transactions, each of at most a second
        yield* beside([journal("first", { batchSize: 1 }, "20 millis")], { concurrency: 1 })(begun)
        const { rebuild, live } = yield* progressOf(tenant, "journal")
        const done = rebuild?.position ?? count
        assert.isBelow(done, count)
        assert.strictEqual(live?.position, count)
        yield* drainUntilLive(tenant, count, "journal").pipe(
          beside([journal("second", { batchSize: 30 })]),
          Effect.provide(newProcess, { local: true })
        )
        const handled = yield* Effect.flatMap(
          Database,
          ({ owner }) => owner<{ worker: string; position: number }>`
            select worker, position::int from journal where tenant_id = ${tenant}::uuid order by journal.position`
        )
        assert.deepStrictEqual(
          handled.map(({ position, worker }) => [position, worker]),
          Array.from({ length: count }, (_, n) => [n + 1, n < done ? "first" : "second"])
        )
      })
    )

    it.effect(
      "replaces the live read model after the worker on it is done, with the events that it has added",
      () =>
        Effect.gen(function* () {
          const [tenant = Tenant.untenanted] = yield* tenants(1)
          yield* append(tenant, "a", placed(1), changed(2))
          yield* beside([orders()])(drainUntilLive(tenant, 2))
          yield* append(tenant, "b", placed(3))
          const [reached, goOn] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
          const waiting = orders({
            before: (_, position) =>
              position === 3
                ? Effect.andThen(Deferred.succeed(reached, undefined), Deferred.await(goOn))
                : Effect.void
          })
          const working = yield* Effect.forkChild(
            beside([waiting])(eventually(Effect.andThen(drain, isLive(tenant, 3))))
          )
          yield* Deferred.await(reached)
          yield* startRebuild(tenant)
          const rebuilding = yield* Effect.forkChild(beside([orders()])(drain))
          yield* eventually(isWaiting)
          assert.isDefined((yield* progressOf(tenant)).rebuild)
          yield* Deferred.succeed(goOn, undefined)
          yield* Fiber.join(rebuilding)
          yield* Fiber.join(working)
          yield* beside([orders()])(drainUntilLive(tenant, 3))
          yield* equalsFold(tenant)
        })
    )

    it.effect("starts with empty tables if it is started over while a batch is being handled", () =>
      Effect.gen(function* () {
        const [tenant = Tenant.untenanted] = yield* tenants(1)
        yield* append(tenant, "a", placed(1), changed(2))
        yield* append(tenant, "b", placed(3))
        yield* beside([orders()])(drainUntilLive(tenant, 3))
        yield* startRebuild(tenant)
        const [reached, goOn] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
        const waiting = orders({
          batchSize: 1,
          before: (_, position) =>
            position === 1
              ? Effect.andThen(Deferred.succeed(reached, undefined), Deferred.await(goOn))
              : Effect.void
        })
        const working = yield* Effect.forkChild(beside([waiting])(drain))
        yield* Deferred.await(reached)
        const starting = yield* Effect.forkChild(startRebuild(tenant))
        yield* eventually(isWaiting)
        yield* Deferred.succeed(goOn, undefined)
        yield* Fiber.join(starting)
        yield* Fiber.join(working)
        yield* beside([orders()])(drainUntilLive(tenant, 3))
        yield* equalsFold(tenant)
      })
    )
  })
})
