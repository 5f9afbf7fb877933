/** Rebuilds of read models that all tenants share, beside the live ones. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Fiber, Latch, Layer, Schedule, Stream } from "effect"
import { SqlClient } from "effect/sql"
import * as EventStore from "../../src/store/EventStore.ts"
import * as Projection from "../../src/projection/Projection.ts"
import * as ProjectionManager from "../../src/projection/ProjectionManager.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import {
  append,
  beside,
  changed,
  drain,
  eventually,
  Order,
  placed,
  progressOf,
  tenants
} from "../support/projected.ts"
import { backendsWith, Owner } from "../support/readModels.ts"
import { flipped } from "../../src/testing/failures.ts"

const names = ["meanwhile", "failing", "stopped", "altered", "renewed", "named", "cancelled"] as const
const statements = names.flatMap((name) => [
  `create table ${name} (id integer primary key, events bigint not null, total bigint not null)`,
  `select eventsourcing.register_shared_read_model('${name}')`,
  `create table ${name}_orders (tenant_id uuid not null, order_id text not null, total bigint not null,
    primary key (tenant_id, order_id))`,
  `select eventsourcing.register_shared_read_model('${name}_orders')`
])

interface Options {
  /** Runs before each event. */
  readonly before?: (tenantId: Tenant.TenantId, total: number) => Effect.Effect<unknown, unknown>
  readonly batchSize?: number
  readonly schema?: string
}

/** The number and the sum of the orders of all tenants, and each of them. */
const sums = (name: string, { before = () => Effect.void, batchSize = 10, schema = "" }: Options = {}) => {
  const add = (tenantId: Tenant.TenantId, id: string, total: number) =>
    SqlClient.SqlClient.use((sql) =>
      Effect.all([
        before(tenantId, total),
        sql.unsafe(
          `insert into ${schema}${name} as t (id, events, total) values (1, 1, $1)
            on conflict (id) do update set events = t.events + 1, total = t.total + excluded.total`,
          [total]
        ),
        sql.unsafe(
          `insert into ${name}_orders as t (tenant_id, order_id, total) values ($1::uuid, $2, $3)
            on conflict (tenant_id, order_id) do update set total = t.total + excluded.total`,
          [tenantId, id, total]
        )
      ])
    )
  return Projection.makeAcrossTenants(
    name,
    { aggregates: [Order], tables: [name, `${name}_orders`], retry: Schedule.recurs(0), batchSize },
    {
      Placed: ({ total }, { tenantId, aggregateId }) => add(tenantId, aggregateId, total),
      Changed: ({ by }, { tenantId, aggregateId }) => add(tenantId, aggregateId, by)
    }
  )
}

const access = { actor: "test", reason: "sums" }

const manager = ProjectionManager.layer.pipe(Layer.provideMerge(EventStore.layer))

/** Rebuilds, and waits for the end. */
const rebuild = (projection: ReturnType<typeof sums>, options?: ProjectionManager.RebuildOptions) =>
  ProjectionManager.ProjectionManager.use(({ rebuildAll }) =>
    Stream.runDrain(rebuildAll(projection, options))
  )

/** Starts a rebuild. */
const start = (projection: ReturnType<typeof sums>, options?: ProjectionManager.RebuildOptions) =>
  ProjectionManager.ProjectionManager.use(({ rebuildAll }) => Stream.runHead(rebuildAll(projection, options)))

describe.each(backendsWith(statements))("on $name", (backend) => {
  layer(manager.pipe(Layer.provideMerge(backend.layer)), { excludeTestServices: true })((it) => {
    /** The rows that the owner sees. */
    const rowsOf = (name: string) =>
      Effect.gen(function* () {
        const owner = yield* Owner
        const [sum] = yield* owner.unsafe<{ events: number; total: number }>(
          `select events::int, total::int from ${name}`
        )
        const orders = yield* owner.unsafe<{ tenant_id: string; order_id: string; total: number }>(
          `select tenant_id, order_id, total::int from ${name}_orders order by tenant_id, order_id`
        )
        return {
          sum: sum && { ...sum },
          orders: orders.map((row) => [row.tenant_id, row.order_id, row.total])
        }
      })
    /** The result of a fold of all logs. */
    const expected = Effect.gen(function* () {
      const store = yield* EventStore.EventStore
      let [events, total] = [0, 0]
      const orders: Array<[string, string, number]> = []
      for (const { tenantId } of yield* Stream.runCollect(store.tenants)) {
        const byId = new Map<string, number>()
        const log = yield* Stream.runCollect(store.readLog({ aggregates: [Order] })).pipe(
          Tenant.provide(tenantId)
        )
        for (const { aggregateId, payload } of log) {
          if (payload._tag === "Noted") continue
          const amount = payload._tag === "Placed" ? payload.total : payload.by
          events++
          total += amount
          byId.set(aggregateId, (byId.get(aggregateId) ?? 0) + amount)
        }
        for (const id of [...byId.keys()].toSorted()) orders.push([tenantId, id, byId.get(id) ?? 0])
      }
      return { sum: { events, total }, orders: orders.toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)) }
    })
    const equalsFold = (name: string) =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* rowsOf(name), yield* expected)
      })
    /** Two tenants with the same orders. */
    const filled = (name: string, count = 6) =>
      Effect.gen(function* () {
        const [one = Tenant.untenanted, two = Tenant.untenanted] = yield* tenants(2)
        for (const tenant of [one, two])
          for (let n = 0; n < count; n++) yield* append(tenant, `order-${n}`, placed(n))
        yield* beside([sums(name)])(eventually(Effect.andThen(drain, equalsFold(name))))
        return [one, two] as const
      })
    /** A value that no rebuild produces. */
    const falsify = (name: string) => Owner.use((owner) => owner.unsafe(`update ${name} set total = -1`))

    it.effect("a rebuild leaves the live read model readable, and counts events during it once", () =>
      Effect.gen(function* () {
        const [one, two] = yield* filled("meanwhile")
        yield* falsify("meanwhile")
        const projection = sums("meanwhile", { batchSize: 3 })
        yield* Effect.gen(function* () {
          const rebuilding = yield* Effect.forkChild(rebuild(projection))
          const seen: Array<number> = []
          for (let n = 0; n < 8; n++) {
            for (const tenant of [one, two]) yield* append(tenant, `order-${n}`, changed(1))
            const { sum } = yield* rowsOf("meanwhile")
            seen.push(sum?.events ?? 0)
          }
          // a tenant whose first event comes during the rebuild
          const [three = Tenant.untenanted] = yield* tenants(1)
          yield* append(three, "order-1", placed(100))
          yield* Fiber.join(rebuilding)
          // The live one was readable all the time, and never went back.
          assert.isAtLeast(seen[0] ?? 0, 12)
          assert.deepStrictEqual(
            seen,
            seen.toSorted((a, b) => a - b)
          )
          yield* eventually(Effect.andThen(equalsFold("meanwhile"), Effect.void))
          for (const tenant of [one, two, three])
            assert.isUndefined((yield* progressOf(tenant, "meanwhile")).rebuild)
        }).pipe(beside([projection], { concurrency: 3, pollInterval: "20 millis" }))
      }).pipe(Tenant.provideAll(access))
    )

    it.effect(
      "a failed event parks the rebuild and not the live one; it continues where it was after it is resumed",
      () =>
        Effect.gen(function* () {
          const [one] = yield* filled("failing")
          yield* append(one, "bad", placed(666))
          yield* beside([sums("failing")])(eventually(Effect.andThen(drain, equalsFold("failing"))))
          yield* falsify("failing")
          let handled = 0
          let broken = true
          const projection = sums("failing", {
            before: (_, total) => {
              handled++
              return broken && total === 666 ? Effect.fail("bad") : Effect.void
            }
          })
          yield* Effect.gen(function* () {
            const service = yield* ProjectionManager.ProjectionManager
            const error = yield* Effect.raceFirst(
              flipped(rebuild(projection)),
              Effect.andThen(Effect.forever(Effect.andThen(drain, Effect.sleep("20 millis"))), Effect.never)
            )
            assert(error._tag === "RebuildParked")
            assert.deepStrictEqual([error.tenantId, error.failedPosition, error.tenants], [one, 7, 1])
            assert.deepInclude(yield* rowsOf("failing"), {
              sum: { events: (yield* expected).sum.events, total: -1 }
            })
            const status = yield* service.status(projection).pipe(Tenant.provide(one))
            assert.deepStrictEqual(
              [status.state, status.rebuild?.parked, status.rebuild?.done],
              ["rebuilding", true, 6]
            )
            yield* drain
            broken = false
            handled = 0
            assert.isTrue(yield* service.resume(projection).pipe(Tenant.provide(one)))
            yield* eventually(Effect.andThen(drain, equalsFold("failing")))
            assert.strictEqual(handled, 1)
          }).pipe(beside([projection]))
        }).pipe(Tenant.provideAll(access))
    )

    it.effect("a rebuild that was stopped continues where it was, or starts over on request", () =>
      Effect.gen(function* () {
        const [one, two] = yield* filled("stopped")
        yield* falsify("stopped")
        const service = yield* ProjectionManager.ProjectionManager
        const total = (yield* expected).sum.events
        let handled = 0
        const counted = (stopAt: number) =>
          sums("stopped", {
            batchSize: 4,
            before: () => (++handled >= stopAt ? Effect.never : Effect.void)
          })
        /** Works until the handler stops, and is interrupted in the middle of a batch. */
        const stopped = beside([counted(6)])(
          Effect.gen(function* () {
            const working = yield* Effect.forkChild(drain)
            yield* eventually(Effect.sync(() => assert.strictEqual(handled, 6)))
            yield* Fiber.interrupt(working)
          })
        )
        yield* start(sums("stopped"))
        yield* stopped
        const done = (yield* Effect.forEach([one, two], (tenant) => progressOf(tenant, "stopped"))).reduce(
          (sum, { rebuild: progress }) => sum + (progress?.position ?? 0),
          0
        )
        assert.isAtMost(done, 5)
        assert.strictEqual(
          (yield* service.status(sums("stopped")).pipe(Tenant.provide(one))).state,
          "rebuilding"
        )
        handled = 0
        yield* beside([counted(Infinity)])(eventually(Effect.andThen(drain, equalsFold("stopped"))))
        assert.isBelow(handled, total)
        // It starts over from the beginning.
        yield* falsify("stopped")
        handled = 0
        yield* start(sums("stopped"))
        yield* stopped
        handled = 0
        yield* start(sums("stopped"), { restart: true })
        yield* beside([counted(Infinity)])(eventually(Effect.andThen(drain, equalsFold("stopped"))))
        assert.strictEqual(handled, total)
        yield* equalsFold("stopped")
      }).pipe(Tenant.provideAll(access))
    )

    it.effect("a rebuild that is cancelled leaves the live read model and no rows beside it", () =>
      Effect.gen(function* () {
        const owner = yield* Owner
        yield* filled("cancelled")
        yield* falsify("cancelled")
        const before = yield* rowsOf("cancelled")
        let handled = 0
        const projection = sums("cancelled", {
          batchSize: 4,
          before: () => (++handled > 5 ? Effect.never : Effect.void)
        })
        const { cancelRebuildAll, watchRebuilds } = yield* ProjectionManager.ProjectionManager
        yield* start(projection)
        yield* beside([projection])(
          Effect.gen(function* () {
            const working = yield* Effect.forkChild(drain)
            yield* eventually(Effect.sync(() => assert.isAbove(handled, 5)))
            yield* Fiber.interrupt(working)
          })
        )
        const seen = yield* Latch.make(false)
        const watching = yield* watchRebuilds(projection).pipe(
          Stream.runForEach(() => seen.open),
          flipped,
          Effect.forkChild
        )
        yield* seen.await
        assert.strictEqual(yield* cancelRebuildAll(projection), 1)
        assert.strictEqual(yield* cancelRebuildAll(projection), 0)
        assert.strictEqual((yield* Fiber.join(watching))._tag, "RebuildCancelled")
        assert.deepStrictEqual(yield* rowsOf("cancelled"), before)
        assert.deepStrictEqual(yield* owner`select from eventsourcing_rebuild.cancelled_orders`, [])
        yield* start(sums("cancelled"))
        yield* beside([sums("cancelled")])(eventually(Effect.andThen(drain, equalsFold("cancelled"))))
      }).pipe(Tenant.provideAll(access))
    )

    it.effect("handlers that name the table with its schema do not change the live read model", () =>
      Effect.gen(function* () {
        yield* filled("named")
        const before = yield* rowsOf("named")
        const broken = sums("named", { schema: "public." })
        yield* start(broken)
        yield* beside([broken])(drain)
        assert.deepStrictEqual(yield* rowsOf("named"), before)
        const error = yield* flipped(
          ProjectionManager.ProjectionManager.use(({ watchRebuilds }) =>
            Stream.runDrain(watchRebuilds(broken))
          )
        )
        assert.include(String(error), "write the live tables (named, named_orders)")
        yield* start(sums("named"))
        yield* beside([sums("named")])(eventually(Effect.andThen(drain, equalsFold("named"))))
      }).pipe(Tenant.provideAll(access))
    )

    it.effect("after the table has changed, its twin follows, or a rebuild is refused with a remedy", () =>
      Effect.gen(function* () {
        const owner = yield* Owner
        const sql = yield* SqlClient.SqlClient
        yield* filled("altered")
        yield* owner.unsafe("alter table altered add column label text not null default 'x'")
        const [login] = yield* sql<{ owns: boolean }>`
          select pg_has_role((select relowner from pg_class where relname = 'altered'
            and relnamespace = 'public'::regnamespace), 'usage') as owns`
        if (login?.owns !== true) {
          const problem = String(yield* flipped(start(sums("altered"))))
          const [, remedy = ""] = /run (select .*), then rebuild again/.exec(problem) ?? []
          assert.include(remedy, "register_shared_read_model('public.altered')")
          yield* owner.unsafe(remedy)
        }
        yield* start(sums("altered"))
        yield* beside([sums("altered")])(eventually(Effect.andThen(drain, equalsFold("altered"))))
        // A change during a rebuild, which is refused then, and starts over with the new twin.
        yield* start(sums("altered"))
        yield* owner.unsafe("alter table altered add column note text")
        yield* beside([sums("altered")])(drain)
        const error = yield* flipped(
          ProjectionManager.ProjectionManager.use(({ watchRebuilds }) =>
            Stream.runDrain(watchRebuilds(sums("altered")))
          )
        )
        assert.include(
          String(error),
          "table public.altered has changed since its twin was made (column note text)"
        )
        yield* falsify("altered")
        yield* owner`select eventsourcing.register_shared_read_model('altered')`
        yield* beside([sums("altered")])(eventually(Effect.andThen(drain, equalsFold("altered"))))
      }).pipe(Tenant.provideAll(access))
    )

    it.effect("a rebuild whose twin is replaced starts over for all tenants", () =>
      Effect.gen(function* () {
        const owner = yield* Owner
        yield* filled("renewed")
        yield* falsify("renewed")
        let handled = 0
        const projection = sums("renewed", { batchSize: 4, before: () => Effect.sync(() => handled++) })
        yield* start(projection)
        yield* beside([
          sums("renewed", { batchSize: 4, before: () => (++handled > 5 ? Effect.never : Effect.void) })
        ])(
          Effect.gen(function* () {
            const working = yield* Effect.forkChild(drain)
            yield* eventually(Effect.sync(() => assert.isAbove(handled, 5)))
            yield* Fiber.interrupt(working)
          })
        )
        // in only one of the two, because rows in both would count twice
        yield* owner`select eventsourcing.register_shared_read_model('renewed_orders')`
        handled = 0
        yield* beside([projection])(eventually(Effect.andThen(drain, equalsFold("renewed"))))
        assert.strictEqual(handled, (yield* expected).sum.events)
      }).pipe(Tenant.provideAll(access))
    )

    it.effect("a single tenant cannot be rebuilt, nor a table that is not registered", () =>
      Effect.gen(function* () {
        const { rebuild: ofTenant, rebuildAll } = yield* ProjectionManager.ProjectionManager
        const projection = sums("meanwhile")
        const alone = yield* flipped(
          Stream.runDrain(ofTenant(projection)).pipe(Tenant.provide(Tenant.untenanted))
        )
        assert.include(String(alone), "call rebuildAll")
        const unregistered = yield* flipped(
          Stream.runDrain(rebuildAll({ ...projection, tables: ["nowhere"] }))
        )
        assert.include(String(unregistered), "register_shared_read_model('nowhere')")
      }).pipe(Tenant.provideAll(access))
    )
  })
})
