/** Logs and streams that are read in chunks are the same as those that are read as rows. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { EventStorage, type EventRow, type NewEventRow, type Page } from "../src/EventStorage.ts"
import {
  append,
  contentsOf,
  event,
  events,
  newTenant,
  readContents,
  readLog,
  readStream,
  stream
} from "../src/internal/testingEvents.ts"
import * as PgEventStorage from "../src/pg/PgEventStorage.ts"
import type { TenantId } from "../src/Tenant.ts"
import { sqlBackends } from "./support/backends.ts"

const payloadOf = (bytes: number): string => `"${"x".repeat(bytes - 2)}"`

/** What there may be in an event, or not. */
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

/** All pages from the first position on; only the last one is complete. */
const pagesOf = Effect.fnUntraced(function* (
  tenant: TenantId,
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

/** The same as rows: what is read backwards is. */
const asRows = (tenant: TenantId, eventTypes?: ReadonlyArray<string>) =>
  Effect.map(readLog(tenant, { direction: "backwards", limit: 10_000, eventTypes }), ({ rows }) =>
    rows.toReversed()
  )

describe.each(sqlBackends)("on $name", (backend) => {
  layer(backend.layer, { excludeTestServices: true })((it) => {
    it.effect("everything of an event comes back, whatever is in it, with pages of any size", () =>
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
        assert.deepStrictEqual(yield* readLog(newTenant()), { rows: [], complete: true })
      })
    )

    it.effect("names with line feeds, and payloads that are too large for a chunk, are read as rows", () =>
      Effect.gen(function* () {
        const tenant = newTenant()
        yield* append(tenant, stream("one", events(140)))
        yield* append(tenant, stream("two\nlines", events(3)))
        yield* append(
          tenant,
          stream("one", [...events(2, { payload: payloadOf(100_000) }), ...events(5)], "any")
        )
        yield* append(tenant, stream("one", [event({ correlationId: "two\nlines" }), ...events(5)], "any"))
        const expected = yield* asRows(tenant)
        assert.lengthOf(expected, 156)
        assert.deepStrictEqual(rowsOf(yield* pagesOf(tenant, 1000)), expected)
      })
    )

    it.effect("a stream is folded from the same contents, and rows are asked for where they are needed", () =>
      Effect.gen(function* () {
        const tenant = newTenant()
        yield* append(tenant, stream("one", varied(300)))
        yield* append(tenant, stream("large", events(130)))
        const large = { payload: payloadOf(100_000) }
        yield* append(tenant, stream("large", [event(large), event(), event(large)], "any"))
        for (const [id, needed] of [
          ["one", 0],
          ["large", 2]
        ] as const) {
          const expected = contentsOf((yield* readStream(tenant, id, { limit: 1000 })).rows)
          for (const limit of [50, 128, 300, 1000])
            assert.deepStrictEqual(yield* readContents(tenant, id, { limit }), {
              found: expected,
              asked: needed
            })
        }
        assert.deepStrictEqual(yield* readContents(tenant, "none", { limit: 10 }), { found: [], asked: 0 })
      })
    )
  })

  const pageBytes = 1 << 20
  layer(Layer.provide(PgEventStorage.layerWith({ pageBytes }), backend.layer), { excludeTestServices: true })(
    (it) => {
      it.effect("a page in chunks ends when it is full, and knows if there are more", () =>
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
          // exactly full, with nothing behind it
          const full = newTenant()
          for (let n = 0; n < 2; n++)
            yield* append(full, stream("one", events(128, { payload: payloadOf(8_000) }), "any"))
          assert.deepStrictEqual(
            (yield* pagesOf(full, 1000)).map(({ rows }) => rows.length),
            [256]
          )
          const read = yield* readContents(tenant, "one", { limit: 1000 })
          assert.lengthOf(read?.found ?? [], 300)
        })
      )
    }
  )
})
