import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Layer, Result, Stream } from "effect"
import { SqlClient } from "effect/sql"
import * as EventQuery from "../../src/domain/EventQuery.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import * as PgTenant from "../../src/pg/PgTenant.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { StorageUnavailable, TimedOut } from "../../src/driver/StoreError.ts"
import { Account, deposited } from "../support/bank.ts"
import { servers } from "../support/Databases.ts"

const append = (id: string) =>
  EventStore.EventStore.use((store) =>
    store.append({ aggregate: Account, id, expectedVersion: "any", events: [deposited(1)] })
  )

const positions = EventStore.EventStore.use((store) =>
  Stream.runCollect(store.readLog({ aggregates: [Account] })).pipe(
    Effect.map((events) => events.map(({ position }) => position))
  )
)

describe.each(servers)("group commit on $name", ({ freshDatabase }) => {
  const database = EventStore.layer.pipe(
    // One batch at a time, which must not wait for appends outside of it.
    Layer.provideMerge(PgStorage.layerWith({ groupCommit: { concurrency: 1 } })),
    Layer.provideMerge(
      Layer.unwrap(Effect.map(freshDatabase, ({ app }) => PgClient.layer({ ...app, maxConnections: 8 })))
    )
  )

  it.live("13: an open transaction of one tenant holds up only that tenant's appends", () =>
    Effect.gen(function* () {
      const [a, b, c] = [yield* Tenant.generate, yield* Tenant.generate, yield* Tenant.generate]
      const appended = yield* Deferred.make<void>()
      const release = yield* Deferred.make<void>()
      const open = yield* append("1").pipe(
        Effect.andThen(Deferred.succeed(appended, undefined)),
        Effect.andThen(Deferred.await(release)),
        PgTenant.transaction,
        Tenant.provide(a),
        Effect.forkChild
      )
      yield* Deferred.await(appended)
      // a's tenant is registered in the open transaction, c's exists, b's will be registered
      yield* append("1").pipe(Tenant.provide(c))
      const held = yield* Effect.forEach(["2", "3", "4"], (id) =>
        Effect.forkChild(append(id).pipe(Tenant.provide(a)))
      )
      for (let n = 0; n < 20; n++) {
        yield* Effect.forEach([b, c], (tenant) => append("1").pipe(Tenant.provide(tenant)), {
          concurrency: "unbounded"
        }).pipe(Effect.timeout("5 seconds"))
      }
      for (const fiber of held) assert.isUndefined(fiber.pollUnsafe())
      yield* Deferred.succeed(release, undefined)
      yield* Fiber.join(open)
      yield* Fiber.joinAll(held)
      assert.deepStrictEqual(yield* positions.pipe(Tenant.provide(a)), [1, 2, 3, 4])
      assert.strictEqual((yield* positions.pipe(Tenant.provide(b))).length, 20)
    }).pipe(Effect.provide(database), Effect.scoped)
  )

  it.live(
    "13, 38: open transactions of more tenants than the pool has connections hold up no other tenant",
    () =>
      Effect.gen(function* () {
        const { app } = yield* freshDatabase
        const storesOn = (maxConnections: number) =>
          EventStore.layer.pipe(
            Layer.provideMerge(PgStorage.layer),
            Layer.provideMerge(PgClient.layer({ ...app, maxConnections }))
          )
        const locked = yield* Effect.forEach(Array.from({ length: 12 }), () => Tenant.generate)
        const free = yield* Tenant.generate
        const release = yield* Deferred.make<void>()
        yield* Effect.gen(function* () {
          const services = yield* Layer.build(storesOn(12))
          yield* Effect.forEach([...locked, free], (tenant) => append("0").pipe(Tenant.provide(tenant)))
          const held = yield* Effect.forEach(locked, (tenant) =>
            Effect.gen(function* () {
              const begun = yield* Deferred.make<void>()
              const holder = yield* append("1").pipe(
                Effect.andThen(Deferred.succeed(begun, undefined)),
                Effect.andThen(Deferred.await(release)),
                PgTenant.transaction,
                Tenant.provide(tenant),
                Effect.provideContext(services),
                Effect.forkChild
              )
              yield* Deferred.await(begun)
              return [holder, yield* Effect.forkChild(append("2").pipe(Tenant.provide(tenant)))] as const
            })
          )
          for (let n = 0; n < 20; n++)
            yield* append("free").pipe(Tenant.provide(free), Effect.timeout("5 seconds"))
          yield* append("new").pipe(Tenant.provide(yield* Tenant.generate), Effect.timeout("5 seconds"))
          for (const [, waiting] of held) assert.isUndefined(waiting.pollUnsafe())
          yield* Deferred.succeed(release, undefined)
          yield* Effect.forEach(held, (fibers) => Fiber.joinAll(fibers), { discard: true })
          for (const tenant of locked)
            assert.deepStrictEqual(yield* positions.pipe(Tenant.provide(tenant)), [1, 2, 3])
        }).pipe(Effect.provide(storesOn(10), { local: true }))
      }).pipe(Effect.scoped)
  )

  it.live(
    "an append that is retried for too long fails like one that waits for the lock, and is not stored",
    () =>
      Effect.gen(function* () {
        const { app } = yield* freshDatabase
        const tenant = yield* Tenant.generate
        const appended = yield* Deferred.make<void>()
        const release = yield* Deferred.make<void>()
        yield* Effect.gen(function* () {
          yield* append("0")
          const open = yield* append("1").pipe(
            Effect.andThen(Deferred.succeed(appended, undefined)),
            Effect.andThen(Deferred.await(release)),
            PgTenant.transaction,
            Effect.forkChild
          )
          yield* Deferred.await(appended)
          const error = yield* Effect.flip(append("2"))
          assert.deepStrictEqual(
            error,
            new StorageUnavailable({ reason: new TimedOut({ operation: "append", code: "55P03" }) })
          )
          yield* Deferred.succeed(release, undefined)
          yield* Fiber.join(open)
          yield* append("3")
          assert.deepStrictEqual(yield* positions, [1, 2, 3])
        }).pipe(
          Tenant.provide(tenant),
          Effect.provide(
            EventStore.layer.pipe(
              Layer.provideMerge(
                PgStorage.layerWith({ groupCommit: { lockWaiters: 0, lockWaitMillis: 200 } })
              ),
              Layer.provideMerge(PgClient.layer({ ...app, maxConnections: 2 }))
            ),
            { local: true }
          )
        )
      }).pipe(Effect.scoped)
  )

  it.live("13, 38: a condition that exceeds the statement timeout fails only its own append", () =>
    Effect.gen(function* () {
      const { app, owner } = yield* freshDatabase
      const [slow, quick] = [yield* Tenant.generate, yield* Tenant.generate]
      yield* Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        // the condition of one tenant is slow
        yield* sql.unsafe(`alter function eventsourcing.matching_positions rename to matching_positions_fast`)
        yield* sql.unsafe(`
          create function eventsourcing.matching_positions(
            p_tenant uuid, p_query jsonb, p_from bigint, p_to bigint, p_aggregate_types text[], p_event_types text[],
            p_backwards boolean, p_limit integer
          ) returns bigint[] language plpgsql security definer set search_path = pg_catalog, pg_temp set jit = off as $$
          begin
            if p_tenant = '${slow}' then perform pg_sleep(20); end if;
            return eventsourcing.matching_positions_fast(
              p_tenant, p_query, p_from, p_to, p_aggregate_types, p_event_types, p_backwards, p_limit);
          end $$`)
        for (const statement of ["owner to eventsourcing_tenant"])
          yield* sql.unsafe(`alter function eventsourcing.matching_positions ${statement}`)
        yield* sql.unsafe(
          `alter role ${app.username} in database ${app.database} set statement_timeout = '1500ms'`
        )
      }).pipe(Effect.provide(PgClient.layer(owner), { local: true }))
      yield* Effect.gen(function* () {
        const on = (tenant: Tenant.TenantId, id: string) =>
          EventStore.EventStore.use((store) =>
            store.append({
              aggregate: Account,
              id,
              expectedVersion: "any",
              events: [deposited(1)],
              condition: { query: EventQuery.of(Account, { tags: ["none"] }) }
            })
          ).pipe(Tenant.provide(tenant))
        yield* Effect.forEach([slow, quick], (tenant) => append("0").pipe(Tenant.provide(tenant)))
        // the first is sent alone; the others wait for it, and are sent together
        const outcomes = yield* Effect.forEach(
          [on(quick, "1"), on(quick, "2"), on(slow, "1"), on(quick, "3")],
          Effect.result,
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(
          outcomes.map((outcome) =>
            Result.isSuccess(outcome)
              ? "appended"
              : outcome.failure._tag === "StorageUnavailable" && outcome.failure.reason._tag
          ),
          ["appended", "appended", "TimedOut", "appended"]
        )
      }).pipe(
        Effect.provide(
          EventStore.layer.pipe(
            Layer.provideMerge(
              PgStorage.layerWith({ groupCommit: { concurrency: 1 }, onImpairedIsolation: "warn" })
            ),
            Layer.provideMerge(PgClient.layer(app))
          ),
          { local: true }
        )
      )
    }).pipe(Effect.scoped)
  )

  it.effect("does not start with a limit that would block all appends", () =>
    Effect.gen(function* () {
      const client = Layer.unwrap(Effect.map(freshDatabase, ({ app }) => PgClient.layer(app)))
      for (const [options, message] of [
        [{ groupCommit: { concurrency: 0 } }, "groupCommit.concurrency must be at least 1"],
        [{ groupCommit: { maxCharacters: Number.NaN } }, "groupCommit.maxCharacters must be at least 1"],
        [{ groupLoads: { maxLoads: -1 } }, "groupLoads.maxLoads must be at least 1"]
      ] as const) {
        const exit = yield* Effect.exit(Layer.build(PgStorage.layerWith(options).pipe(Layer.provide(client))))
        assert.isTrue(Exit.isFailure(exit) && Cause.squash(exit.cause) instanceof RangeError)
        assert.include(String(Exit.isFailure(exit) && Cause.squash(exit.cause)), message)
      }
    }).pipe(Effect.scoped)
  )
})
