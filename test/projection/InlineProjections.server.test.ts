import { assert, describe, layer } from "@effect/vitest"
import { Deferred, Effect, Fiber, Option } from "effect"
import { SqlClient } from "effect/sql"
import * as InlineProjections from "../../src/projection/InlineProjections.ts"
import * as Projection from "../../src/projection/Projection.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { backends, doing, inline, insertOrder, OrderList, rows } from "../support/inline.ts"
import { Owner } from "../support/readModels.ts"
import { Order, asNewTenant, log, logTypes, place } from "../support/shop.ts"
import { flipped } from "../../src/testing/failures.ts"

// These need several connections.
describe.each(backends.filter(({ name }) => name !== "PGlite"))("inline projections on $name", (backend) => {
  layer(backend.layer, { excludeTestServices: true })((it) => {
    it.effect("give up after some attempts when the database keeps failing", () =>
      Effect.gen(function* () {
        let attempts = 0
        const unlucky = doing(() =>
          SqlClient.SqlClient.use((sql) => {
            attempts++
            return sql.unsafe("do $$ begin raise exception 'no' using errcode = '40P01'; end $$").unprepared
          })
        )
        const error = yield* place("1").pipe(inline(unlucky), flipped)
        assert.deepInclude(error, { _tag: "StorageUnavailable", retryable: true, code: "40P01" })
        assert.strictEqual(attempts, 9)
        assert.deepStrictEqual(yield* log, [])
      }).pipe(asNewTenant, inline())
    )

    it.effect("are applied once when the connection is lost on the way", () =>
      Effect.gen(function* () {
        const owner = yield* Owner
        let losses = 1
        const unlucky = doing(() =>
          SqlClient.SqlClient.use((sql) =>
            Effect.gen(function* () {
              if (losses-- <= 0) return
              const [row] = yield* sql<{ pid: number }>`select pg_backend_pid() as pid`
              yield* owner`select pg_terminate_backend(${row?.pid ?? 0}::integer)`
              yield* sql`select 1`
            })
          )
        )
        yield* place("1").pipe(inline(OrderList, unlucky))
        assert.deepStrictEqual(yield* rows, [["1", 1]])
        assert.deepStrictEqual(yield* logTypes, ["Placed"])
      }).pipe(asNewTenant, inline())
    )

    it.effect("make the tenant's appends wait for a rebuild, which therefore handles each event once", () =>
      Effect.gen(function* () {
        const [reached, go] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
        yield* Effect.forEach(["1", "2"], (id) => place(id))
        const slow = Projection.make(
          "slow",
          { aggregates: [Order], tables: ["order_list"] },
          {
            Placed: ({ total }, { tenantId, aggregateId }) =>
              Effect.all([
                Deferred.succeed(reached, undefined),
                Deferred.await(go),
                insertOrder(tenantId, aggregateId, total)
              ])
          }
        )
        const rebuilding = yield* Effect.forkChild(InlineProjections.rebuild(slow))
        yield* Deferred.await(reached)
        const appending = yield* Effect.forkChild(place("3"))
        const appended = yield* Fiber.join(appending).pipe(Effect.timeoutOption("100 millis"))
        assert.isTrue(Option.isNone(appended))
        yield* Deferred.succeed(go, undefined)
        yield* Fiber.join(rebuilding)
        yield* Fiber.join(appending)
        assert.deepStrictEqual(
          (yield* rows).map(([id]) => id),
          ["1", "2", "3"]
        )
      }).pipe(
        asNewTenant,
        Effect.provide(InlineProjections.layer({ projections: [OrderList], store: { pageSize: 1 } }), {
          local: true
        })
      )
    )

    it.effect("wait for other appends of their tenant, and not for those of another tenant", () =>
      Effect.gen(function* () {
        const other = yield* Tenant.generate
        const [reached, go] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
        const waiting = doing((_event, { aggregateId }) =>
          aggregateId === "slow"
            ? Effect.andThen(Deferred.succeed(reached, undefined), Deferred.await(go))
            : Effect.void
        )
        yield* Effect.gen(function* () {
          const slow = yield* Effect.forkChild(place("slow"))
          yield* Deferred.await(reached)
          yield* place("quick").pipe(Tenant.provide(other))
          const next = yield* Effect.forkChild(place("next"))
          yield* Deferred.succeed(go, undefined)
          yield* Effect.all([Fiber.join(slow), Fiber.join(next)])
        }).pipe(inline(OrderList, waiting))
        const order = (yield* log).map(({ aggregateId }) => aggregateId)
        assert.deepStrictEqual(order, ["slow", "next"])
      }).pipe(asNewTenant, inline(), Effect.timeout("10 seconds"))
    )
  })
})
