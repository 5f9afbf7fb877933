import { assert, describe, it, layer } from "@effect/vitest"
import { Cause, Context, Effect, Exit, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { CurrentEventContext } from "../../src/domain/EventContext.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as Projection from "../../src/projection/Projection.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as ProjectionKit from "../../src/testing/ProjectionKit.ts"
import { changed, noted, Order, orders, placed, tables } from "../support/projected.ts"
import { backendsWith } from "../support/readModels.ts"
import { flipped } from "../../src/testing/failures.ts"

const acme = Tenant.TenantId.make("018f0000-0000-7000-8000-00000000000a")
const globex = Tenant.TenantId.make("018f0000-0000-7000-8000-00000000000b")

/** A read model in memory. */
class Totals extends Context.Service<Totals, Map<string, number>>()("test/Totals") {}

const Total = Projection.make(
  "total",
  { aggregates: [Order] },
  {
    Placed: ({ total }, { tenantId, aggregateId }) =>
      total < 0
        ? Effect.fail("negative" as const)
        : Totals.useSync((totals) => totals.set(`${tenantId} ${aggregateId}`, total)),
    Changed: ({ by }, { tenantId, aggregateId, eventId }) =>
      Effect.gen(function* () {
        assert.strictEqual((yield* CurrentEventContext).causationId, eventId)
        assert.strictEqual(yield* Tenant.CurrentTenant, tenantId)
        const totals = yield* Totals
        const key = `${tenantId} ${aggregateId}`
        totals.set(key, (totals.get(key) ?? 0) * 10 + by)
      })
  }
)

const total = (id: string) =>
  Effect.flatMap(Tenant.CurrentTenant, (tenantId) =>
    Totals.useSync((totals) => totals.get(`${tenantId} ${id}`))
  )

describe("given, when, expect", () => {
  it.effect("handlers get each tenant's events in order, and the tenant", () =>
    Effect.gen(function* () {
      yield* ProjectionKit.given(acme, Order, "1", placed(1), noted, changed(2))
        .and(globex, Order, "1", placed(5))
        .and(acme, Order, "2", placed(7))
        .and(acme, Order, "1", changed(3))
        .when(Total)
      yield* ProjectionKit.expect(acme, total("1"), 123)
      yield* ProjectionKit.expect(acme, total("2"), 7)
      yield* ProjectionKit.expect(globex, total("1"), 5)
      yield* ProjectionKit.expect(globex, total("2"), undefined)
      const wrong = yield* Effect.exit(ProjectionKit.expect(acme, total("1"), 124))
      assert.isTrue(Exit.isFailure(wrong))
    }).pipe(Effect.provideService(Totals, new Map()))
  )

  it.effect("expectations can be chained, and an unmet one is reported", () =>
    Effect.gen(function* () {
      const then = ProjectionKit.given(acme, Order, "1", placed(1), changed(2))
        .and(globex, Order, "1", placed(5))
        .when(Total)
        .thenReads(acme, total("1"), 12)
        .thenReads(globex, total("1"), 5)
      yield* then
      const wrong = yield* Effect.exit(then.thenReads(acme, total("1"), 13))
      assert.isTrue(Exit.isFailure(wrong))
      const message = Exit.isFailure(wrong) ? String(Cause.squash(wrong.cause)) : ""
      assert.include(message, `the tenant ${acme} reads another value\n\n- expected\n+ read\n\n- 13\n+ 12`)
    }).pipe(Effect.provideService(Totals, new Map()))
  )

  it.effect("the error of a handler is returned, and repeated events are new ones", () =>
    Effect.gen(function* () {
      const events = ProjectionKit.given(acme, Order, "1", placed(1), changed(2))
      yield* events.when(Total)
      yield* events.when(Total)
      yield* ProjectionKit.expect(acme, total("1"), 12)
      assert.strictEqual(yield* flipped(events.and(acme, Order, "2", placed(-1)).when(Total)), "negative")
    }).pipe(Effect.provideService(Totals, new Map()))
  )
})

describe.each(backendsWith(tables))("on $name", (backend) => {
  layer(EventStore.layer.pipe(Layer.provideMerge(backend.layer)), { excludeTestServices: true })((it) => {
    it.effect("a read model in SQL is filled and read in its tenant's transactions", () =>
      Effect.gen(function* () {
        const read = SqlClient.SqlClient.use(
          (sql) => sql<{ id: string; total: number }>`select order_id as id, total from orders`
        ).pipe(Effect.map((rows) => Array.from(rows)))
        yield* ProjectionKit.given(acme, Order, "1", placed(10), changed(5))
          .and(globex, Order, "1", placed(7))
          .when(orders())
        yield* ProjectionKit.expect(acme, read, [{ id: "1", total: 15 }])
        yield* ProjectionKit.expect(globex, read, [{ id: "1", total: 7 }])
      })
    )
  })
})
