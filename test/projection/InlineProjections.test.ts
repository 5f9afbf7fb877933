import { assert, describe, layer } from "@effect/vitest"
import { Cause, Effect, Exit, Queue, Schedule, Tracer } from "effect"
import { SqlClient } from "effect/sql"
import * as Event from "../../src/domain/Event.ts"
import * as EventContext from "../../src/domain/EventContext.ts"
import { EventStore } from "../../src/store/EventStore.ts"
import * as InlineProjections from "../../src/projection/InlineProjections.ts"
import * as PgTenant from "../../src/pg/PgTenant.ts"
import * as Projection from "../../src/projection/Projection.ts"
import * as ProjectionRunner from "../../src/projection/ProjectionRunner.ts"
import { ProjectionStorage } from "../../src/driver/ProjectionStorage.ts"
import * as Reaction from "../../src/projection/Reaction.ts"
import * as Repository from "../../src/store/Repository.ts"
import { InlineProjectionFailed } from "../../src/driver/StoreError.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { backends, counted, Counts, doing, inline, insertOrder, OrderList, rows } from "../support/inline.ts"
import {
  Counted,
  Counter,
  Order,
  Requested,
  Shipment,
  asNewTenant,
  count,
  drain,
  log,
  logTypes,
  place,
  placed,
  unique,
  withRunner
} from "../support/shop.ts"
import { flipped } from "../../src/testing/failures.ts"

describe.each(backends)("inline projections on $name", (backend) => {
  layer(backend.layer, { excludeTestServices: true })((it) => {
    it.effect("have updated the tenant's read model when the append returns", () =>
      Effect.gen(function* () {
        const [a, b] = [yield* Tenant.generate, yield* Tenant.generate]
        const eventId = Event.generateId()
        for (const [tenant, total] of [
          [a, 1],
          [b, 2]
        ] as const) {
          yield* place("1", [Event.make(placed(total), { eventId })]).pipe(Tenant.provide(tenant))
          assert.deepStrictEqual(yield* rows.pipe(Tenant.provide(tenant)), [["1", total]])
        }
        assert.deepStrictEqual(yield* rows.pipe(Tenant.provide(a)), [["1", 1]])
      }).pipe(inline(OrderList, Counts))
    )

    it.effect("handle the events of several streams in order, and only those with a handler", () =>
      Effect.gen(function* () {
        const seen: Array<unknown> = []
        const see = (name: string) => (_event: unknown, envelope: Event.Envelope<unknown>) =>
          Effect.map(EventContext.CurrentEventContext, ({ causationId }) =>
            seen.push([name, envelope.aggregateId, envelope.version, causationId === envelope.eventId])
          )
        const one = Projection.make(
          "one",
          { aggregates: [Order, Counter] },
          { Placed: see("1"), Counted: see("1") }
        )
        const two = Projection.make("two", { aggregates: [Counter] }, { Counted: see("2") })
        yield* Effect.gen(function* () {
          const inlineStore = yield* EventStore
          const appended = yield* inlineStore.appendAll([
            { aggregate: Order, id: "a", events: [placed(), placed()], expectedVersion: "noStream" },
            {
              aggregate: Shipment,
              id: "b",
              events: [Requested.make({ order: "a" })],
              expectedVersion: "noStream"
            },
            {
              aggregate: Counter,
              id: "c",
              events: [Counted.make({ before: 0 })],
              expectedVersion: "noStream"
            }
          ])
          assert.deepStrictEqual(
            appended.map(({ version, position, replayed }) => [version, position, replayed]),
            [
              [2, 2, false],
              [1, 3, false],
              [1, 4, false]
            ]
          )
          yield* inlineStore.append({ aggregate: Order, id: "a", events: [], expectedVersion: 2 })
        }).pipe(inline(one, two))
        assert.deepStrictEqual(seen, [
          ["1", "a", 1, true],
          ["1", "a", 2, true],
          ["1", "c", 1, true],
          ["2", "c", 1, true]
        ])
      }).pipe(asNewTenant, inline())
    )

    it.effect("work below a repository, which decides again after conflicts", () =>
      Effect.gen(function* () {
        yield* Effect.replicateEffect(count("1"), 12, { concurrency: "unbounded" })
        const repository = yield* Repository.Repository
        assert.deepInclude(yield* repository.load(Counter, "1"), { state: 12, version: 12 })
        assert.strictEqual(yield* counted, 12)
      }).pipe(asNewTenant, inline(Counts))
    )

    it.effect("join a transaction of the program, and are undone with it", () =>
      Effect.gen(function* () {
        const tenantId = yield* Tenant.CurrentTenant
        const undone = yield* insertOrder(tenantId, "mine", 5).pipe(
          Effect.andThen(place("1")),
          Effect.andThen(Effect.fail("changed my mind")),
          PgTenant.transaction,
          flipped
        )
        assert.strictEqual(undone, "changed my mind")
        assert.deepStrictEqual([yield* rows, yield* log], [[], []])
        // A failure undoes only the append: the transaction continues.
        yield* PgTenant.transaction(
          Effect.gen(function* () {
            yield* insertOrder(tenantId, "1", 5)
            assert.instanceOf(yield* flipped(InlineProjections.failures(place("1"))), InlineProjectionFailed)
            yield* place("2")
          })
        )
        assert.deepStrictEqual(yield* rows, [
          ["1", 5],
          ["2", 1]
        ])
        assert.strictEqual((yield* log).length, 1)
      }).pipe(asNewTenant, inline(OrderList))
    )

    it.effect("see and change only the rows of the tenant", () =>
      Effect.gen(function* () {
        const other = yield* Tenant.generate
        const seen: Array<unknown> = []
        const looking = doing(() =>
          SqlClient.SqlClient.use((sql) =>
            Effect.map(sql`select order_id from order_list`, (found) => seen.push(found))
          )
        )
        const straying = doing(() => insertOrder(other, "1", 1))
        yield* place("1").pipe(inline(OrderList), Tenant.provide(other))
        yield* place("1").pipe(inline(looking))
        const error = yield* place("1").pipe(inline(straying), InlineProjections.failures, flipped)
        assert.deepInclude(error, { _tag: "InlineProjectionFailed", reason: "SQLSTATE 42501" })
        assert.deepStrictEqual(seen, [[]])
        assert.strictEqual((yield* log).length, 1)
        assert.deepStrictEqual(yield* rows.pipe(Tenant.provide(other)), [["1", 1]])
      }).pipe(asNewTenant, inline())
    )

    it.effect("run for the appends of a reaction, in the transaction of the reaction", () =>
      Effect.gen(function* () {
        let failing = true
        const unlucky = Projection.make(
          unique("unlucky"),
          { aggregates: [Counter] },
          { Counted: () => Effect.suspend(() => (failing ? Effect.fail("no") : Effect.void)) }
        )
        const reaction = Reaction.make(
          unique("counting"),
          { aggregates: [Order], retry: Schedule.recurs(5) },
          { Placed: (_event, { aggregateId }) => count(aggregateId) }
        )
        yield* Effect.gen(function* () {
          yield* place("1")
          yield* drain
          assert.strictEqual(yield* counted, 0)
          assert.deepStrictEqual(yield* logTypes, ["Placed"])
          failing = false
          const tenantId = yield* Tenant.CurrentTenant
          const storage = yield* ProjectionStorage
          yield* storage.resume({ tenantId, projection: reaction.name, version: 1 })
          yield* drain
          assert.strictEqual(yield* counted, 1)
          assert.deepStrictEqual(yield* logTypes, ["Placed", "Counted"])
        }).pipe(withRunner(reaction), inline(Counts, unlucky))
      }).pipe(asNewTenant)
    )

    it.effect("announce their appends after the commit, so that a runner that does not poll finds them", () =>
      Effect.gen(function* () {
        const tenantId = yield* Tenant.CurrentTenant
        const seen = yield* Queue.unbounded<string>()
        const watching = Projection.make(
          unique("watching"),
          { aggregates: [Order] },
          {
            Placed: (_event, envelope) =>
              envelope.tenantId === tenantId ? Queue.offer(seen, envelope.aggregateId) : Effect.void
          }
        )
        yield* Effect.gen(function* () {
          yield* Effect.sleep("50 millis")
          yield* place("1")
          assert.strictEqual(yield* Queue.take(seen), "1")
          yield* PgTenant.transaction(place("2"))
          assert.strictEqual(yield* Queue.take(seen), "2")
        }).pipe(
          Effect.provide(
            ProjectionRunner.layer({
              projections: [watching],
              concurrency: 1,
              pollInterval: "1 hour",
              sweepInterval: "1 hour"
            }),
            { local: true }
          ),
          Effect.timeout("5 seconds")
        )
      }).pipe(asNewTenant, inline(OrderList))
    )

    it.effect("cost other appends nothing: those are one statement, and no transaction", () =>
      Effect.gen(function* () {
        const spans: Array<string> = []
        const tracer = Tracer.make({
          span: (options) => {
            spans.push(options.name)
            return new Tracer.NativeSpan(options)
          }
        })
        yield* count("1").pipe(Effect.withTracer(tracer))
        assert.notInclude(spans, "sql.transaction")
        yield* place("1").pipe(Effect.withTracer(tracer))
        assert.include(spans, "sql.transaction")
      }).pipe(asNewTenant, inline(OrderList))
    )

    it.effect("are filled from the log by a rebuild, while appends of the tenant wait", () =>
      Effect.gen(function* () {
        const other = yield* Tenant.generate
        yield* Effect.forEach(["1", "2", "3"], (id) => place(id)).pipe(inline())
        yield* place("1").pipe(inline(OrderList), Tenant.provide(other))
        yield* place("4")
        assert.deepStrictEqual(yield* rows, [["4", 1]])
        yield* Effect.all([InlineProjections.rebuild(OrderList), place("5")], { concurrency: 2 })
        assert.deepStrictEqual(
          (yield* rows).map(([id]) => id),
          ["1", "2", "3", "4", "5"]
        )
        assert.deepStrictEqual(yield* rows.pipe(Tenant.provide(other)), [["1", 1]])
        const failing = Projection.make(
          "failing",
          { aggregates: [Order], tables: ["order_list"] },
          { Placed: () => Effect.fail("no") }
        )
        assert.instanceOf(yield* flipped(InlineProjections.rebuild(failing)), InlineProjectionFailed)
        assert.strictEqual((yield* rows).length, 5)
      }).pipe(asNewTenant, inline(OrderList))
    )

    it.effect("must have the kind that works on one tenant, and different names", () =>
      Effect.gen(function* () {
        const reaction = Reaction.make("reaction", { aggregates: [Order] }, {})
        const across = Projection.makeAcrossTenants("across", { aggregates: [Order] }, {})
        const access = Tenant.provideAll({ actor: "test", reason: "test" })
        for (const projections of [[reaction], [across], [OrderList, OrderList]]) {
          const exit = yield* Effect.exit(Effect.void.pipe(inline(...projections), access))
          assert.isTrue(Exit.isFailure(exit) && Cause.squash(exit.cause) instanceof TypeError)
        }
      })
    )
  })
})
