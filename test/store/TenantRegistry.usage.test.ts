import { assert, describe, it } from "@effect/vitest"
import { DateTime, Effect, Layer, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { TestClock } from "effect/testing"
import { EventStorage } from "../../src/driver/EventStorage.ts"
import { append, event, events, newTenants, stream } from "../../src/testing/driver/eventKit.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import * as PgTenant from "../../src/pg/PgTenant.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as TenantRegistry from "../../src/store/TenantRegistry.ts"
import { sqlBackends } from "../support/backends.ts"

const access = { actor: "billing@example.com", reason: "invoices of November" }

/** An event of 100 bytes with its metadata. */
const hundred = () => event({ metadata: "{}", payload: `"${"x".repeat(96)}"` })

const time = (text: string) => DateTime.makeUnsafe(text)

const usage = (from: string, before: string) =>
  TenantRegistry.TenantRegistry.use((registry) =>
    Stream.runCollect(registry.usage({ recordedFrom: time(from), recordedBefore: time(before) }))
  ).pipe(
    Tenant.provideAll(access),
    Effect.map((days) =>
      days.map((day) => [
        day.tenantId.slice(-1),
        DateTime.formatIsoDateUtc(day.day),
        day.events,
        day.bytes,
        day.streams,
        day.newStreams
      ])
    )
  )

/** The appends of tenants 1 and 2, with their times. */
const history = [
  ["2025-11-01T23:59:59.999Z", 1, ["a", "b"]],
  ["2025-11-02T00:00:00.000Z", 1, ["a"]],
  ["2025-11-02T12:00:00.000Z", 2, ["a"]],
  ["2025-11-02T23:59:59.999Z", 1, ["a", "c"]],
  ["2025-11-05T08:00:00.000Z", 1, ["d"]],
  ["2025-11-05T09:00:00.000Z", 2, ["a", "b"]]
] as const

const days = [
  ["1", "2025-11-01", 2, 200, 2, 2],
  ["1", "2025-11-02", 3, 300, 2, 1],
  ["1", "2025-11-05", 1, 100, 1, 1],
  ["2", "2025-11-02", 1, 100, 1, 1],
  ["2", "2025-11-05", 2, 200, 2, 1]
]

const counted = Effect.gen(function* () {
  assert.deepStrictEqual(yield* usage("2025-11-01", "2025-12-01"), days)
  // A day that is partly in the range counts with that part, to the millisecond.
  assert.deepStrictEqual(yield* usage("2025-11-02T12:00:00Z", "2025-11-05T09:00:00Z"), [
    ["1", "2025-11-02", 2, 200, 2, 1],
    ["1", "2025-11-05", 1, 100, 1, 1],
    ["2", "2025-11-02", 1, 100, 1, 1]
  ])
  assert.deepStrictEqual(yield* usage("2025-11-02", "2025-11-02T23:59:59.999Z"), [
    ["1", "2025-11-02", 1, 100, 1, 0],
    ["2", "2025-11-02", 1, 100, 1, 1]
  ])
  assert.deepStrictEqual(yield* usage("2025-11-03", "2025-11-05"), [])
  assert.deepStrictEqual(yield* usage("2025-11-05", "2025-11-02"), [])
})

describe("the usage of tenants", () => {
  it.effect("is counted by tenant and day in UTC, in memory", () =>
    Effect.gen(function* () {
      const nth = newTenants()
      for (const [at, tenant, streams] of history) {
        yield* TestClock.setTime(time(at).epochMilliseconds)
        yield* append(nth(tenant), ...streams.map((id) => stream(id, [hundred()])))
      }
      yield* counted
    }).pipe(Effect.provide(Layer.provideMerge(TenantRegistry.layer, MemoryStorage.layer)))
  )

  it.live.each(sqlBackends)("is counted by tenant and day in UTC, on $name", ({ layer }) =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const nth = newTenants()
      const registry = yield* TenantRegistry.TenantRegistry
      const [positions, versions] = [new Map<unknown, number>(), new Map<unknown, number>()]
      const next = (counters: Map<unknown, number>, key: unknown) => {
        const number = (counters.get(key) ?? 0) + 1
        counters.set(key, number)
        return number
      }
      // Days are counted in UTC, not in the time zone of the session.
      yield* sql`set time zone 'Asia/Tokyo'`
      for (const [at, tenant, streams] of history) {
        yield* registry.provision(nth(tenant))
        for (const id of streams) {
          yield* PgTenant.transaction(sql`
            insert into eventsourcing.events (tenant_id, position, aggregate_type, aggregate_id, version, event_id,
              event_type, schema_version, occurred_at, recorded_at, correlation_id, metadata, payload, bytes)
            values (${nth(tenant)}, ${next(positions, tenant)}, 'Case', ${id}, ${next(versions, `${tenant} ${id}`)},
              ${event().eventId}, 'Happened', 1, now(), ${at}::timestamptz, 'c', '{}', '{}', 100)`).pipe(
            Tenant.provide(nth(tenant))
          )
        }
      }
      yield* counted
    }).pipe(Effect.provide(Layer.provideMerge(TenantRegistry.layer, layer)))
  )

  it.effect("is read page by page, as far as it is consumed", () =>
    Effect.gen(function* () {
      const nth = newTenants()
      let pages = 0
      const counting = Layer.effect(
        EventStorage,
        Effect.map(EventStorage, (storage) =>
          EventStorage.of({
            ...storage,
            usage: (request) =>
              Effect.andThen(
                Effect.sync(() => pages++),
                storage.usage(request)
              )
          })
        )
      )
      yield* Effect.gen(function* () {
        const registry = yield* TenantRegistry.TenantRegistry
        for (let n = 0; n < 450; n++) yield* append(nth(n), stream("one", events(1)))
        const range = { recordedFrom: time("1970-01-01"), recordedBefore: time("1970-01-02") }
        const all = yield* Stream.runCollect(registry.usage(range))
        assert.deepStrictEqual(
          all.map(({ tenantId }) => tenantId),
          Array.from({ length: 450 }, (_, n) => nth(n))
        )
        assert.strictEqual(pages, 3)
        assert.lengthOf(yield* registry.usage(range).pipe(Stream.take(10), Stream.runCollect), 10)
        assert.strictEqual(pages, 4)
      }).pipe(
        Tenant.provideAll(access),
        Effect.provide(
          TenantRegistry.layer.pipe(Layer.provideMerge(counting), Layer.provide(MemoryStorage.layer))
        )
      )
    })
  )

  it.effect("is recorded, with the requested range of time", () =>
    Effect.gen(function* () {
      const registry = yield* TenantRegistry.TenantRegistry
      yield* usage("2025-11-01", "2025-12-01")
      const [, looked] = yield* Stream.runCollect(registry.accesses).pipe(Tenant.provideAll(access))
      assert.deepInclude(looked, {
        ...access,
        operation: "TenantRegistry.usage 2025-11-01T00:00:00.000Z 2025-12-01T00:00:00.000Z"
      })
    }).pipe(Effect.provide(Layer.provideMerge(TenantRegistry.layer, MemoryStorage.layer)))
  )
})
