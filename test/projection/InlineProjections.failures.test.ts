import { assert, describe, layer } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber } from "effect"
import { SqlClient } from "effect/sql"
import * as Event from "../../src/domain/Event.ts"
import * as EventContext from "../../src/domain/EventContext.ts"
import { EventStore } from "../../src/store/EventStore.ts"
import { failures } from "../../src/projection/InlineProjections.ts"
import * as PgTenant from "../../src/pg/PgTenant.ts"
import { InlineProjectionFailed, StorageUnavailable, VersionConflict } from "../../src/driver/StoreError.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { backends, Counts, doing, inline, insertOrder, OrderList, rows } from "../support/inline.ts"
import { Order, asNewTenant, log, place, placed } from "../support/shop.ts"
import { flipped } from "../../src/testing/failures.ts"

describe.each(backends)("inline projections that fail, on $name", (backend) => {
  layer(backend.layer, { excludeTestServices: true })((it) => {
    it.effect("undo the append when they fail, with an error that names the place and quotes no values", () =>
      Effect.gen(function* () {
        const canary = 987_654_321
        const tenantId = yield* Tenant.CurrentTenant
        const cases = [
          [
            insertOrder(tenantId, "taken", canary).pipe(
              Effect.andThen(insertOrder(tenantId, "taken", canary))
            ),
            "SQLSTATE 23505"
          ],
          [Effect.fail({ _tag: "TooMuch", canary }), "TooMuch"],
          [Effect.fail(`too much: ${canary}`), "a failure without a name"],
          [Effect.die(new TypeError(`too much: ${canary}`)), "TypeError"]
        ] as const
        for (const [failure, reason] of cases) {
          const failing = doing((): Effect.Effect<unknown, unknown, SqlClient.SqlClient> => failure)
          const error = yield* place("1", [placed(canary)]).pipe(
            inline(OrderList, Counts, failing),
            failures,
            flipped
          )
          assert.deepEqual(
            error,
            new InlineProjectionFailed({
              projection: failing.name,
              tenantId,
              aggregateType: "Order",
              aggregateId: "1",
              eventType: "Placed",
              reason
            })
          )
          assert.notInclude(`${String(error)} ${JSON.stringify(error)}`, String(canary))
          assert.deepStrictEqual(yield* log, [])
          assert.deepStrictEqual(yield* rows, [])
        }
        yield* place("1").pipe(inline(OrderList))
        assert.deepStrictEqual(yield* rows, [["1", 1]])
      }).pipe(asNewTenant, inline())
    )

    it.effect("do not run for repeated events, nor for a conflict", () =>
      Effect.gen(function* () {
        const store = yield* EventStore
        const append = (expectedVersion: number, event: Event.Appendable<ReturnType<typeof placed>>) =>
          store.append({ aggregate: Order, id: "1", events: [event], expectedVersion })
        const event = Event.make(placed(), { eventId: Event.generateId() })
        yield* append(0, event)
        assert.isTrue((yield* append(0, event)).replayed)
        assert.instanceOf(yield* flipped(append(0, placed())), VersionConflict)
        const derived = store
          .append({ aggregate: Order, id: "2", events: [placed(2)], expectedVersion: "any" })
          .pipe(EventContext.derivingIds(["test", "request 1"]))
        assert.deepStrictEqual((yield* derived).events, (yield* derived).events)
        assert.deepStrictEqual(yield* rows, [
          ["1", 1],
          ["2", 2]
        ])
      }).pipe(asNewTenant, inline(OrderList))
    )

    it.effect("use the derived ids of a failed append again", () =>
      Effect.gen(function* () {
        let left = 1
        const failing = doing(() => Effect.suspend(() => (left-- > 0 ? Effect.fail("no") : Effect.void)))
        const handled = yield* Effect.gen(function* () {
          yield* Effect.retry(failures(place("1")), { times: 1 })
          return yield* log
        }).pipe(EventContext.derivingIds(["test", "once"]), inline(failing))
        yield* place("1").pipe(EventContext.derivingIds(["test", "once"]))
        assert.deepStrictEqual(yield* log, handled)
      }).pipe(asNewTenant, inline())
    )

    it.effect("write nothing when they are interrupted", () =>
      Effect.gen(function* () {
        const reached = yield* Deferred.make<void>()
        const stuck = doing(() => Effect.andThen(Deferred.succeed(reached, undefined), Effect.never))
        const appending = yield* Effect.forkChild(place("1").pipe(inline(OrderList, stuck)))
        yield* Deferred.await(reached)
        yield* Fiber.interrupt(appending)
        const exit = yield* Fiber.await(appending)
        assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
        assert.deepStrictEqual([yield* rows, yield* log], [[], []])
        yield* place("1").pipe(inline(OrderList))
        assert.deepStrictEqual(yield* rows, [["1", 1]])
      }).pipe(asNewTenant, inline())
    )

    it.effect("are retried with the same events after a transient failure of the database", () =>
      Effect.gen(function* () {
        const ids: Array<string> = []
        const unlucky = doing((_event, { eventId }) =>
          SqlClient.SqlClient.use((sql) => {
            ids.push(eventId)
            return ids.length < 3
              ? sql.unsafe("do $$ begin raise exception 'no' using errcode = '40001'; end $$").unprepared
              : Effect.void
          })
        )
        yield* place("1").pipe(inline(OrderList, unlucky))
        assert.strictEqual(ids.length, 3)
        assert.strictEqual(new Set(ids).size, 1)
        assert.deepStrictEqual(yield* rows, [["1", 1]])
        // The store must not repeat a part of the program's transaction.
        ids.length = 0
        const error = yield* PgTenant.transaction(place("2")).pipe(inline(unlucky), flipped)
        assert.instanceOf(error, StorageUnavailable)
        assert.strictEqual(ids.length, 1)
      }).pipe(asNewTenant, inline())
    )
  })
})
