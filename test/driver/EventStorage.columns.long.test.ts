/** Logs and streams that are read in chunks equal those that are read as rows. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Fiber, Layer, Result } from "effect"
import { EventStorage, type EventRow, type NewEventRow, type Page } from "../../src/driver/EventStorage.ts"
import {
  access,
  append,
  contentsOf,
  event,
  events,
  loadAll,
  loadStream,
  newTenant,
  readLog,
  readStream,
  stream
} from "../../src/testing/driver/eventKit.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import * as PgTenant from "../../src/pg/PgTenant.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { everySqlBackend } from "../support/backends.ts"
import { mismatches } from "../../src/testing/failures.ts"

const payloadOf = (bytes: number): string => `"${"x".repeat(bytes - 2)}"`

/** Optional and special values of events. */
const variety: ReadonlyArray<Partial<NewEventRow>> = [
  {},
  { actor: null, causationId: null, metadata: "{}" },
  { actor: null, tags: ["order:1", 'with "quotes", {braces} and \\'], metadata: "{}" },
  { causationId: null, correlationId: "é 🦊", payload: '{"text":"line\\nfeed"}' },
  { eventType: "Other", schemaVersion: 2, occurredAt: Date.parse("0001-01-01T00:00:00.001Z") },
  { occurredAt: Date.parse("9999-12-31T23:59:59.999Z"), metadata: "{}" },
  { occurredAt: Date.parse("2285-06-05T00:00:00.007Z"), eventType: "Other" },
  { occurredAt: Date.parse("1969-12-31T23:59:59.999Z"), tags: ["a", "b"] }
]

const varied = (count: number): ReadonlyArray<NewEventRow> =>
  Array.from({ length: count }, (_, n) => event(variety[n % variety.length]))

/** Reads all pages from the first position on, and checks that only the last one is complete. */
const pagesOf = Effect.fnUntraced(function* (
  tenant: Tenant.TenantId,
  limit: number,
  eventTypes?: ReadonlyArray<string>
) {
  const pages: Array<Page<EventRow>> = []
  let fromPosition = 1
  while (pages.at(-1)?.complete !== true) {
    const page = yield* readLog(tenant, { fromPosition, limit, eventTypes })
    const last = page.rows.at(-1)
    assert.isAtMost(page.rows.length, limit)
    assert.isTrue(page.complete || last !== undefined)
    fromPosition = (last?.position ?? 0) + 1
    pages.push(page)
  }
  return pages
})

const rowsOf = (pages: ReadonlyArray<Page<EventRow>>): ReadonlyArray<EventRow> =>
  pages.flatMap(({ rows }) => rows)

/** The same events as rows, which is the way the logs of all tenants are read. */
const asRows = Effect.fnUntraced(function* (tenant: Tenant.TenantId, eventTypes?: ReadonlyArray<string>) {
  const storage = yield* EventStorage
  const accessId = yield* access
  const { rows } = yield* storage.readAllLogs({
    accessId,
    after: { tenantId: tenant, position: 0 },
    limit: 1000
  })
  return rows.flatMap(({ tenantId, ...row }) =>
    tenantId === tenant && (eventTypes?.includes(row.eventType) ?? true) ? [row] : []
  )
})

describe.each(everySqlBackend)("on $name", (backend) => {
  layer(backend.layer, { excludeTestServices: true })((it) => {
    it.effect("all fields of an event are read unchanged, with any values and pages of any size", () =>
      Effect.gen(function* () {
        const tenant = newTenant()
        const storage = yield* EventStorage
        yield* append(tenant, stream("one", varied(150)))
        yield* storage.startHashChain(tenant)
        yield* append(tenant, stream("two", varied(150)), stream("three", events(100)))
        const expected = yield* asRows(tenant)
        assert.lengthOf(expected, 400)
        for (const limit of [50, 127, 128, 129, 399, 400, 1000])
          assert.deepStrictEqual(rowsOf(yield* pagesOf(tenant, limit)), expected)
        for (const eventTypes of [["Other"], ["Happened"], ["Happened", "Other"], ["None"]])
          assert.deepStrictEqual(
            rowsOf(yield* pagesOf(tenant, 30, eventTypes)),
            yield* asRows(tenant, eventTypes)
          )
        const backwards = yield* readLog(tenant, { direction: "backwards" })
        assert.deepStrictEqual(backwards, { rows: expected.toReversed(), complete: true })
        for (const [id, from, to] of [
          ["one", 0, 150],
          ["two", 150, 300]
        ] as const) {
          const rows = expected.slice(from, to)
          assert.deepStrictEqual(yield* readStream(tenant, id), { rows, complete: true })
          assert.deepStrictEqual(yield* readStream(tenant, id, { direction: "backwards", limit: 140 }), {
            rows: rows.slice(10).toReversed(),
            complete: false
          })
        }
        assert.deepStrictEqual(yield* readLog(newTenant()), { rows: [], complete: true })
      })
    )

    it.effect(
      "names with the separator of chunks, and payloads that are too large for a chunk, are read unchanged",
      () =>
        Effect.gen(function* () {
          const tenant = newTenant()
          yield* append(tenant, stream("one", events(140)))
          yield* append(tenant, stream("two\u001fparts", events(3)))
          yield* append(
            tenant,
            stream("one", [...events(2, { payload: payloadOf(100_000) }), ...events(5)], "any")
          )
          yield* append(
            tenant,
            stream("one", [event({ correlationId: "two\u001fparts\n" }), ...events(5)], "any")
          )
          const expected = yield* asRows(tenant)
          assert.lengthOf(expected, 156)
          assert.deepStrictEqual(rowsOf(yield* pagesOf(tenant, 1000)), expected)
          const backwards = yield* readLog(tenant, { toPosition: 140, direction: "backwards" })
          assert.deepStrictEqual(backwards.rows.toReversed(), expected.slice(0, 140))
          const two = yield* readStream(tenant, "two\u001fparts")
          assert.deepStrictEqual(two.rows, expected.slice(140, 143))
        })
    )

    it.effect(
      "a stream is loaded with the same events as it is read, with large events and pages of any size",
      () =>
        Effect.gen(function* () {
          const tenant = newTenant()
          yield* append(tenant, stream("one", varied(300)))
          yield* append(tenant, stream("large", events(130)))
          const large = { payload: payloadOf(100_000) }
          yield* append(tenant, stream("large", [event(large), event(), event(large)], "any"))
          yield* append(tenant, stream("larger", events(40, large)))
          for (const id of ["one", "large", "larger", "none"]) {
            const expected = contentsOf((yield* readStream(tenant, id, { limit: 1000 })).rows)
            for (const limit of [50, 128, 300, 1000])
              assert.deepStrictEqual(yield* loadAll(tenant, id, { limit }), expected)
          }
        })
    )
  })

  const loads = { groupLoads: { concurrency: 1 } }
  layer(Layer.provideMerge(PgStorage.layerWith(loads), backend.layer), { excludeTestServices: true })(
    (it) => {
      it.effect("a load that the database refuses fails alone", () =>
        Effect.gen(function* () {
          const tenant = newTenant()
          yield* append(tenant, stream("one", events(3)))
          const found = yield* Effect.forEach(
            ["one", "one", "refused\0", "one", "none"],
            (id) => Effect.result(loadAll(tenant, id)),
            { concurrency: "unbounded" }
          )
          assert.deepStrictEqual(
            found.map((read) => (Result.isSuccess(read) ? read.success.length : read.failure._tag)),
            [3, 3, "StorageUnavailable", 3, 0]
          )
        })
      )

      it.effect("large loads do not delay small ones, even if there are many", () =>
        Effect.gen(function* () {
          const [large, small] = [newTenant(), newTenant()]
          yield* append(large, stream("one", [event({ payload: payloadOf(4_300_000) })]))
          yield* append(small, stream("one", events(3)))
          let done = false
          const flood = yield* Effect.forEach(
            Array.from({ length: 100 }),
            () =>
              Effect.whileLoop({
                while: () => !done,
                body: () => loadStream(large, "one", { limit: 1 }),
                step: () => {}
              }),
            { concurrency: "unbounded", discard: true }
          ).pipe(Effect.forkChild)
          for (let n = 0; n < 10; n++)
            assert.lengthOf((yield* loadStream(small, "one", { limit: 5 })).rows, 3)
          done = true
          yield* Fiber.join(flood)
        })
      )

      it.effect("a load of no events is complete", () =>
        Effect.gen(function* () {
          const tenant = newTenant()
          yield* append(tenant, stream("one", events(3)))
          const pages = yield* Effect.forEach([1, 0, 0], (limit) => loadStream(tenant, "one", { limit }), {
            concurrency: "unbounded"
          })
          assert.deepStrictEqual(
            pages.map((one) => [one.rows.length, one.complete]),
            [
              [1, false],
              [0, true],
              [0, true]
            ]
          )
        })
      )

      it.effect("a load in a transaction sees that transaction, even if others load at the same time", () =>
        Effect.gen(function* () {
          const [tenant, other] = [newTenant(), newTenant()]
          yield* append(other, stream("one", events(1)))
          const others = Effect.forEach(Array.from({ length: 20 }), () => loadAll(other, "one"), {
            concurrency: "unbounded"
          })
          const inTransaction = PgTenant.transaction(
            Effect.gen(function* () {
              yield* append(tenant, stream("one", events(2)))
              return yield* Effect.forEach(
                [tenant, tenant, tenant],
                (one) => Effect.result(loadAll(one, "one")),
                { concurrency: "unbounded" }
              )
            })
          ).pipe(Tenant.provide(tenant))
          const [own, theirs] = yield* Effect.all([inTransaction, others], { concurrency: 2 })
          const { tenantId } = yield* mismatches(
            PgTenant.transaction(loadAll(other, "one")).pipe(Tenant.provide(tenant))
          )
          assert.strictEqual(tenantId, other)
          assert.deepStrictEqual(
            own.map((read) => (Result.isSuccess(read) ? read.success.length : read.failure._tag)),
            [2, 2, 2]
          )
          for (const read of theirs) assert.lengthOf(read, 1)
        })
      )
    }
  )

  const pageBytes = 1 << 20
  layer(Layer.provide(PgStorage.layerWith({ pageBytes }), backend.layer), { excludeTestServices: true })(
    (it) => {
      it.effect("a page in chunks ends when it is full, and tells if more events follow", () =>
        Effect.gen(function* () {
          const tenant = newTenant()
          for (let n = 0; n < 3; n++)
            yield* append(tenant, stream("one", events(100, { payload: payloadOf(8_000) }), "any"))
          const pages = yield* pagesOf(tenant, 1000)
          assert.deepStrictEqual(
            pages.map(({ rows }) => rows.length),
            [256, 44]
          )
          assert.deepStrictEqual(rowsOf(pages), rowsOf(yield* pagesOf(tenant, 70)))
          // Exactly full, with no event after it.
          const full = newTenant()
          for (let n = 0; n < 2; n++)
            yield* append(full, stream("one", events(128, { payload: payloadOf(8_000) }), "any"))
          assert.deepStrictEqual(
            (yield* pagesOf(full, 1000)).map(({ rows }) => rows.length),
            [256]
          )
          assert.lengthOf(yield* loadAll(tenant, "one", { limit: 1000 }), 300)
        })
      )

      it.effect("streams that are read at once, and are larger than a page together, are all read", () =>
        Effect.gen(function* () {
          const tenant = newTenant()
          const ids = Array.from({ length: 12 }, (_, n) => `${n}`)
          for (const [n, id] of ids.entries())
            yield* append(tenant, stream(id, events(40 + n, { payload: payloadOf(8_000) })))
          const found = yield* Effect.forEach(ids, (id) => loadAll(tenant, id, { limit: 1000 }), {
            concurrency: "unbounded"
          })
          assert.deepStrictEqual(
            found.map((read) => read.length),
            ids.map((_, n) => 40 + n)
          )
        })
      )
    }
  )
})
