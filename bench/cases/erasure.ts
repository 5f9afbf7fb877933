/** The appends of other tenants, alone and beside the erasure of a large tenant, in turns. */
import { PgClient } from "@effect/sql-pg"
import { Effect, Fiber, Layer, ManagedRuntime, Stream } from "effect"
import * as Event from "../../src/domain/Event.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as TenantErasure from "../../src/lifecycle/TenantErasure.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import { Cart, itemAdded } from "../internal/domain.ts"
import { median, quantile } from "../internal/measure.ts"
import { newTenants } from "../internal/ours.ts"
import { table } from "../internal/report.ts"
import type { Server } from "../internal/server.ts"
import { type Outcome, under } from "./Case.ts"

const tenants = 8

/** Each of eight tenants appends about 80 times a second. */
const appends = (ids: ReadonlyArray<Tenant.TenantId>, delays: Array<number>) =>
  Effect.forEach(
    ids,
    (tenantId, n) =>
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        yield* Effect.sleep(n)
        return yield* Effect.forever(
          Effect.gen(function* () {
            const began = performance.now()
            yield* store.append({
              aggregate: Cart,
              id: `cart ${n}`,
              expectedVersion: "any",
              events: [itemAdded(n)]
            })
            delays.push(performance.now() - began)
            yield* Effect.sleep(10)
          })
        )
      }).pipe(Tenant.provide(tenantId)),
    { concurrency: "unbounded", discard: true }
  )

export const erasing = async (server: Server, events: number, rounds: number): Promise<Outcome> => {
  const database = await server.newDatabase()
  // The owner administers tenants.
  const runtime = ManagedRuntime.make(
    Layer.merge(EventStore.layer, TenantErasure.layer).pipe(
      Layer.provideMerge(PgStorage.layer),
      Layer.provide(PgClient.layer({ ...database.owner, maxConnections: 8 }))
    )
  )
  const ids = newTenants(tenants)
  const [alone, beside, rates]: [Array<number>, Array<number>, Array<number>] = [[], [], []]
  for (let round = 0; round < rounds; round++) {
    const [tenantId = Tenant.untenanted] = newTenants(1)
    const items = Stream.range(0, events - 1).pipe(
      Stream.map((n) => ({
        aggregate: Cart,
        id: `cart ${n % 1000}`,
        events: [Event.make(itemAdded(n), { eventId: Event.generateId() })]
      }))
    )
    await runtime.runPromise(
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        yield* store.importEvents(items).pipe(Tenant.provide(tenantId))
        const warm = yield* Effect.forkChild(appends(ids, []))
        yield* Effect.sleep("1 second")
        yield* Fiber.interrupt(warm)
        const first = yield* Effect.forkChild(appends(ids, alone))
        yield* Effect.sleep("6 seconds")
        yield* Fiber.interrupt(first)
        const second = yield* Effect.forkChild(appends(ids, beside))
        const began = performance.now()
        yield* TenantErasure.TenantErasure.use((erasure) => erasure.erase(tenantId))
        rates.push((events * 1000) / (performance.now() - began))
        yield* Fiber.interrupt(second)
      }).pipe(Tenant.provideAdministration({ actor: "benchmark", reason: "the work of others beside it" }))
    )
  }
  await runtime.dispose()
  await database.close()
  const [p99Alone, p99Beside] = [quantile(alone, 0.99), quantile(beside, 0.99)]
  return {
    tables: [
      table(
        `Appends of ${tenants} tenants beside the erasure of another with ${events.toLocaleString("en")} events`,
        "ms",
        [
          { name: "alone, p50", rates: [quantile(alone, 0.5)] },
          { name: "alone, p99", rates: [p99Alone] },
          { name: "beside it, p50", rates: [quantile(beside, 0.5)] },
          {
            name: "beside it, p99",
            rates: [p99Beside],
            note: `erased: ${Math.round(median(rates)).toLocaleString("en")} events/s`
          }
        ],
        "alone, p99"
      )
    ],
    targets: [under("others' p99 beside an erasure", 2, "x their p99 alone", p99Beside / p99Alone)]
  }
}
