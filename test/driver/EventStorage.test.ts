/** The contract of drivers on every backend, and guarantees of single kinds of backends. */
import { assert, describe, it, layer } from "@effect/vitest"
import { DateTime, Duration, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { TestClock } from "effect/testing"
import { type EventRow, EventStorage, type NewEventRow, type Page } from "../../src/driver/EventStorage.ts"
import {
  access,
  append,
  event,
  events,
  newTenant,
  readLog,
  readStream,
  stream
} from "../../src/testing/driver/eventKit.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import * as PgTenant from "../../src/pg/PgTenant.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as EventStorageSuite from "../../src/testing/EventStorageSuite.ts"
import { everySqlBackend } from "../support/backends.ts"

EventStorageSuite.suite({
  name: "memory",
  layer: MemoryStorage.layer,
  layerWithoutProvisioning: MemoryStorage.layerWith({ provisionOnAppend: false })
})

for (const backend of everySqlBackend) {
  EventStorageSuite.suite({
    name: backend.name,
    layer: backend.layer,
    layerWithoutProvisioning: PgStorage.layerWith({ provisionOnAppend: false }).pipe(
      Layer.provide(backend.layer)
    )
  })
}

describe("a clock that goes back", () => {
  it.effect("does not make recorded times decrease, in memory", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      const other = newTenant()
      yield* TestClock.setTime(5000)
      yield* append(tenant, stream("one", events(1)))
      yield* TestClock.setTime(2000)
      assert.deepStrictEqual((yield* append(tenant, stream("two", events(2)))).recordedAt, [5000, 5000])
      assert.deepStrictEqual((yield* append(other, stream("two", events(1)))).recordedAt, [2000])
      yield* TestClock.setTime(6000)
      assert.deepStrictEqual((yield* append(tenant, stream("two", events(1)))).recordedAt, [6000])
    }).pipe(Effect.provide(MemoryStorage.layer))
  )
})

/** Simulates a server clock that was ahead by a time when the tenant's first event was written. */
const writtenAhead = Effect.fnUntraced(function* (tenant: Tenant.TenantId, ahead: Duration.Input) {
  const sql = yield* SqlClient.SqlClient
  const time = DateTime.toDateUtc(DateTime.addDuration(yield* DateTime.now, ahead))
  yield* append(tenant, stream("zero", events(1)))
  yield* PgTenant.transaction(sql`
    insert into eventsourcing.events (tenant_id, position, aggregate_type, aggregate_id, version, event_id,
      event_type, schema_version, occurred_at, recorded_at, correlation_id, metadata, payload, bytes)
    values (${tenant}, 2, 'Case', 'one', 1, ${event().eventId}, 'Happened', 1, now(), ${time}, 'x', '{}', '{}', 4)
  `).pipe(Tenant.provide(tenant))
  return time.getTime()
})

const pageBytes = 1000

/** Events of these sizes in bytes, payload and metadata together. */
const sized = (sizes: ReadonlyArray<number>): ReadonlyArray<NewEventRow> =>
  sizes.map((size) =>
    event({
      metadata: "{}",
      payload: `"${size % 2 === 0 ? "é".repeat((size - 4) / 2) : "x".repeat(size - 4)}"`
    })
  )

// Larger than the 128th part of a page, so that each has a chunk of its own: a page ends with a chunk.
const sizes = [400, 400, 200, 999, 8, 9, 5000, 300, 600, 1000]

/** The numbers of events of pages that end with the event that fills them. */
const pageSizes = (inOrder: ReadonlyArray<number>, limit: number): ReadonlyArray<number> => {
  const pages: Array<number> = []
  let [rows, bytes] = [0, 0]
  for (const size of inOrder) {
    rows++
    bytes += size
    if (rows < limit && bytes < pageBytes) continue
    pages.push(rows)
    rows = 0
    bytes = 0
  }
  return rows === 0 ? pages : [...pages, rows]
}

/** Reads the events page by page, and returns the sizes of the pages. */
const readPages = Effect.fnUntraced(function* <E>(
  read: (rowsBefore: number) => Effect.Effect<Page<EventRow>, E, EventStorage>
) {
  const pages: Array<Page<EventRow>> = []
  let rows = 0
  while (rows < sizes.length) {
    const page = yield* read(rows)
    assert.isNotEmpty(page.rows)
    pages.push(page)
    rows += page.rows.length
  }
  return pages
})

/** Pages of these sizes, of which the last is complete. */
const lengths = (pages: ReadonlyArray<Page<EventRow>>): ReadonlyArray<number> => {
  for (const [index, page] of pages.entries()) {
    assert.strictEqual(page.complete, index === pages.length - 1, `page ${index + 1} of ${pages.length}`)
  }
  return pages.map((page) => page.rows.length)
}

describe.each(everySqlBackend)("on $name", (backend) => {
  layer(backend.layer, { excludeTestServices: true })((it) => {
    it.effect("recorded times do not decrease when the clock goes back", () =>
      Effect.gen(function* () {
        const [tenant, other] = [newTenant(), newTenant()]
        const ahead = yield* writtenAhead(tenant, "1 hour")
        assert.deepStrictEqual((yield* append(tenant, stream("one", events(2)))).recordedAt, [ahead, ahead])
        const [now = 0] = (yield* append(other, stream("one", events(1)))).recordedAt
        assert.isBelow(now, ahead)
        // The binary search by time relies on it.
        const { rows } = yield* readLog(tenant, { recordedFrom: ahead })
        assert.deepStrictEqual(
          rows.map((row) => row.position),
          [2, 3, 4]
        )
      })
    )
  })

  layer(Layer.provide(PgStorage.layerWith({ pageBytes }), backend.layer), { excludeTestServices: true })(
    (it) => {
      it.effect.each([1, 2, 3, 100])(
        "a page ends with the event that fills it, or with the limit of %i, and tells if more events follow",
        (limit) =>
          Effect.gen(function* () {
            const storage = yield* EventStorage
            const tenant = newTenant()
            yield* append(tenant, stream("one", sized(sizes)))
            const last = sizes.length
            const forwards = pageSizes(sizes, limit)
            const backwards = pageSizes(sizes.toReversed(), limit)
            const direction = "backwards"
            const reads = [
              readPages((rows) => readStream(tenant, "one", { fromVersion: rows + 1, limit })),
              readPages((rows) => readLog(tenant, { fromPosition: rows + 1, limit })),
              readPages((rows) => readStream(tenant, "one", { toVersion: last - rows, direction, limit })),
              readPages((rows) => readLog(tenant, { toPosition: last - rows, direction, limit }))
            ] as const
            for (const [index, read] of reads.entries()) {
              assert.deepStrictEqual(lengths(yield* read), index < 2 ? forwards : backwards)
            }
            // Other tenants follow this one, even on its last page.
            const accessId = yield* access
            const all = yield* readPages((rows) =>
              storage.readAllLogs({ accessId, after: { tenantId: tenant, position: rows }, limit })
            )
            assert.deepStrictEqual(all.map(({ rows }) => rows.length).slice(0, -1), forwards.slice(0, -1))
          })
      )
    }
  )
})
