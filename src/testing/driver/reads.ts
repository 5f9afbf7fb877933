/** The contract of drivers: reading. */
import { assert, type Vitest } from "@effect/vitest"
import { Effect } from "effect"
import {
  type Direction,
  EventStorage,
  type EventRow,
  type Page,
  type ReadLogRequest,
  type StreamRow
} from "../../driver/EventStorage.ts"
import type { TenantId } from "../../domain/Tenant.ts"
import {
  aggregateType,
  append,
  contentsOf,
  event,
  eventIds,
  events,
  loadPages,
  loadStream,
  newTenant,
  position,
  readLog,
  readStream,
  stream,
  version
} from "./eventKit.ts"

const directions: ReadonlyArray<Direction> = ["forwards", "backwards"]

/** The page that a read of these rows must return. */
const pageOf = (
  rows: ReadonlyArray<EventRow>,
  direction: Direction,
  limit: number,
  keep: (row: EventRow) => boolean
): Page<EventRow> => {
  const kept = rows.filter(keep)
  if (direction === "backwards") kept.reverse()
  return { rows: kept.slice(0, limit), complete: kept.length <= limit }
}

/** All pages of a log, one after another. */
const pages = Effect.fnUntraced(function* (tenant: ReturnType<typeof newTenant>, direction: Direction) {
  const found: Array<Page<EventRow>> = []
  for (;;) {
    const last = found.at(-1)
    const end = last?.rows.at(-1)?.position
    if (last?.complete === true || (last !== undefined && end === undefined)) return found
    found.push(
      yield* readLog(tenant, {
        direction,
        ...(end === undefined
          ? undefined
          : direction === "forwards"
            ? { fromPosition: end + 1 }
            : { toPosition: end - 1 })
      })
    )
  }
})

/** JSON texts that a driver might rewrite. */
const texts = {
  "the order of keys": '{"b":1,"a":{"d":2,"c":3},"10":0,"9":0}',
  "the spelling of numbers":
    '{"n":[1.0,1e21,1E-7,0.1,-0,12345678901234567890,0.30000000000000004,9007199254740993]}',
  "white space": ' {\n\t"a" : [ 1 , 2 ] } ',
  escapes: '{"text":"\\u00e9 \\/ \\n \\ud83d\\ude00 \\\\ \\""}',
  "all of Unicode": JSON.stringify({
    text: "é \u0001\u007f\u2028\u2029\ufeff\ufffe\uffff 😀 e\u0301 \u202e",
    ключ: "値"
  }),
  "text that looks like SQL, arrays and NULL": JSON.stringify({
    text: `'; drop table events; -- {a,"b",NULL} \\x00 $1 %s`
  }),
  "a prototype's keys": '{"__proto__":{"admin":true},"constructor":{"prototype":1}}',
  "repeated keys": '{"a":1,"a":2}',
  "a scalar": '"NULL"',
  "an empty list": "[]",
  "a long string": JSON.stringify({ text: "0123456789 äöü ".repeat(20_000) }),
  "deep nesting": `${"[".repeat(500)}${"]".repeat(500)}`
}

export const fidelity = (it: Vitest.MethodsNonLive<EventStorage>): void => {
  it.effect("every field is read as it was written", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      const written = [
        event({ eventType: "First", schemaVersion: 3, occurredAt: 1_234_567_890_123 }),
        event({ actor: null, causationId: null }),
        event({ occurredAt: -62_135_596_800_000, correlationId: "NULL", actor: '{"}' }),
        event({ occurredAt: 253_402_300_799_999, actor: "null", causationId: "," }),
        event({ occurredAt: -1, actor: " ", correlationId: "\\" }),
        event({ traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" }),
        event({ eventType: 'Type "quoted" \\ 値', correlationId: "😀".repeat(127), actor: "%_*?" })
      ]
      const receipt = yield* append(tenant, stream("one", written))
      const expected: Array<EventRow> = []
      for (const [index, recordedAt] of receipt.recordedAt.entries()) {
        const place = {
          aggregateType,
          aggregateId: "one",
          position: index + 1,
          version: index + 1,
          recordedAt,
          hash: null
        }
        const { traceparent = null, ...one } = written[index] ?? event()
        expected.push({ ...one, ...place, traceparent })
      }
      assert.deepStrictEqual(yield* readLog(tenant), { rows: expected, complete: true })
      assert.deepStrictEqual(yield* readStream(tenant, "one"), { rows: expected, complete: true })
    })
  )

  it.effect.each(Object.entries(texts))("JSON is read to the letter: %s", ([, text]) =>
    Effect.gen(function* () {
      const tenant = newTenant()
      // Metadata is an object, always.
      const metadata = `{"nested":${text}}`
      yield* append(tenant, stream("one", [event({ payload: text, metadata })]))
      const [row] = (yield* readLog(tenant)).rows
      assert.strictEqual(row?.payload, text)
      assert.strictEqual(row?.metadata, metadata)
    })
  )

  it.effect("streams are distinguished by every character of type and id", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      const names = [
        "a",
        "A",
        "a ",
        " a",
        "á",
        "a\u0301",
        "%",
        "_",
        "a/b",
        "a\u00a0",
        "'",
        '"',
        "\\",
        "NULL",
        "{}"
      ]
      // The longest names that a store accepts: 255 characters of up to four bytes each.
      names.push("x".repeat(255), "😀".repeat(127))
      for (const name of names) yield* append(tenant, stream(name, events(1), 0, "a"))
      for (const name of names) yield* append(tenant, stream("a", events(1), name === "a" ? 1 : 0, name))
      const { rows } = yield* readLog(tenant)
      assert.deepStrictEqual(
        rows.map((row) => [row.aggregateType, row.aggregateId]),
        [...names.map((name) => ["a", name]), ...names.map((name) => [name, "a"])]
      )
      for (const name of names) {
        const own = yield* readStream(tenant, name, { aggregateType: "a" })
        assert.deepStrictEqual(
          own.rows,
          rows.filter((row) => row.aggregateType === "a" && row.aggregateId === name)
        )
        const ofType = yield* readLog(tenant, { aggregateTypes: [name] })
        assert.deepStrictEqual(
          ofType.rows,
          rows.filter((row) => row.aggregateType === name)
        )
      }
    })
  )
}

export const ranges = (it: Vitest.MethodsNonLive<EventStorage>): void => {
  it.effect("a stream is read from version to version, in both directions, up to the limit", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      yield* append(tenant, stream("other", events(1)))
      yield* append(tenant, stream("one", events(3)), stream("other", events(2)))
      yield* append(tenant, stream("one", events(2)))
      const { rows } = yield* readStream(tenant, "one")
      assert.deepStrictEqual(
        rows.map((row) => row.version),
        [1, 2, 3, 4, 5]
      )
      for (const direction of directions) {
        for (const fromVersion of [0, 1, 3, 5, 6]) {
          for (const toVersion of [0, 1, 3, 5, 6]) {
            for (const limit of [1, 2, 3, 5, 6]) {
              assert.deepStrictEqual(
                yield* readStream(tenant, "one", { fromVersion, toVersion, direction, limit }),
                pageOf(
                  rows,
                  direction,
                  limit,
                  (row) => row.version >= fromVersion && row.version <= toVersion
                ),
                `${direction} ${fromVersion}-${toVersion}, at most ${limit}`
              )
            }
          }
        }
      }
    })
  )

  it.effect("a log is read by position and types, in both directions, up to the limit", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      for (const [type, eventType] of ["AX", "AY", "BX", "AX", "BY", "BY"].map((two) => two.split(""))) {
        yield* append(tenant, stream("one", events(1, { eventType: eventType ?? "" }), "any", type))
      }
      const { rows } = yield* readLog(tenant)
      const types = [undefined, [], ["A"], ["B", "A"], ["X"], ["Y"]]
      for (const direction of directions) {
        for (const aggregateTypes of types) {
          for (const eventTypes of types) {
            for (const [fromPosition, toPosition] of [
              [1, 6],
              [0, 99],
              [2, 5],
              [4, 4],
              [5, 2]
            ] as const) {
              for (const limit of [1, 2, 3, 6]) {
                assert.deepStrictEqual(
                  yield* readLog(tenant, {
                    fromPosition,
                    toPosition,
                    aggregateTypes,
                    eventTypes,
                    direction,
                    limit
                  }),
                  pageOf(
                    rows,
                    direction,
                    limit,
                    (row) =>
                      row.position >= fromPosition &&
                      row.position <= toPosition &&
                      (aggregateTypes?.includes(row.aggregateType) ?? true) &&
                      (eventTypes?.includes(row.eventType) ?? true)
                  ),
                  JSON.stringify({ fromPosition, toPosition, aggregateTypes, eventTypes, direction, limit })
                )
              }
            }
          }
        }
      }
    })
  )

  it.effect("ranges may end at the largest number of the driver", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      yield* append(tenant, stream("one", events(3)))
      const { rows } = yield* readLog(tenant)
      const bounds = (highest: number): ReadonlyArray<number> => [0, 1, 2, 3, 4, highest - 1, highest]
      const expected = (direction: Direction, from: number, to: number) =>
        pageOf(rows, direction, 2, ({ version: at }) => at >= from && at <= to)
      const [maxVersion, maxPosition] = [2 ** 31 - 1, Number.MAX_SAFE_INTEGER]
      for (const direction of directions) {
        for (const from of bounds(maxVersion)) {
          for (const to of bounds(maxVersion))
            assert.deepStrictEqual(
              yield* readStream(tenant, "one", { direction, limit: 2, fromVersion: from, toVersion: to }),
              expected(direction, from, to),
              `versions ${from} to ${to}`
            )
        }
        for (const from of bounds(maxPosition)) {
          for (const to of bounds(maxPosition))
            assert.deepStrictEqual(
              yield* readLog(tenant, { direction, limit: 2, fromPosition: from, toPosition: to }),
              expected(direction, from, to),
              `positions ${from} to ${to}`
            )
        }
      }
    })
  )

  it.effect("a log is read by recorded time: from is inclusive, before is exclusive", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      const times = new Set<number>()
      // Repeats until the clock has moved a few times.
      while (times.size < 4) {
        const type = times.size % 2 === 0 ? "A" : "B"
        const { recordedAt } = yield* append(tenant, stream("one", events(2), "any", type))
        for (const time of recordedAt) times.add(time)
        yield* Effect.sleep("2 millis")
      }
      const { rows } = yield* readLog(tenant)
      const bounds = [undefined, ...[...times].flatMap((time) => [time - 1, time, time + 1]), 0]
      const others: ReadonlyArray<Partial<ReadLogRequest>> = [
        {},
        { aggregateTypes: ["B"] },
        { fromPosition: 3 },
        { toPosition: 4 }
      ]
      for (const direction of directions) {
        for (const recordedFrom of bounds) {
          for (const recordedBefore of bounds) {
            for (const other of others) {
              assert.deepStrictEqual(
                yield* readLog(tenant, { recordedFrom, recordedBefore, direction, limit: 3, ...other }),
                pageOf(
                  rows,
                  direction,
                  3,
                  (row) =>
                    row.recordedAt >= (recordedFrom ?? -Infinity) &&
                    row.recordedAt < (recordedBefore ?? Infinity) &&
                    row.position >= (other.fromPosition ?? 1) &&
                    row.position <= (other.toPosition ?? Infinity) &&
                    (other.aggregateTypes?.includes(row.aggregateType) ?? true)
                ),
                JSON.stringify({ recordedFrom, recordedBefore, direction, ...other })
              )
            }
          }
        }
      }
    })
  )

  it.effect("large events are read page by page, without gaps", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      // 12 MiB in total, and one event of the largest size that the store can be configured for.
      const sizes = [...Array<number>(12).fill(1 << 20), 10, (12 << 20) - 100, 10]
      const large = sizes.map((size) => event({ payload: `"${"x".repeat(size - 2)}"` }))
      for (const one of large) yield* append(tenant, stream("one", [one]))
      for (const direction of directions) {
        const found = yield* pages(tenant, direction)
        for (const [index, page] of found.entries()) {
          assert.isNotEmpty(page.rows)
          assert.strictEqual(page.complete, index === found.length - 1)
        }
        const read = found.flatMap((page) => page.rows)
        const inOrder = direction === "forwards" ? large : large.toReversed()
        assert.deepStrictEqual(
          read.map((row) => [row.eventId, row.payload.length]),
          inOrder.map((row) => [row.eventId, row.payload.length])
        )
        assert.isTrue(read.every((row, index) => row.payload === inOrder[index]?.payload))
      }
    })
  )

  it.effect("a load returns the same events as a read, of this tenant and stream only", () =>
    Effect.gen(function* () {
      const [tenant, other] = [newTenant(), newTenant()]
      const variety = [
        ...events(3),
        event({ eventType: "Other", schemaVersion: 2 }),
        event({ payload: texts["the order of keys"], eventType: "Separated\u001fand\nbroken" }),
        event({ payload: texts["a long string"] }),
        event({ payload: texts["a long string"] }),
        ...events(140, { eventType: "Other", payload: texts["all of Unicode"] })
      ]
      yield* append(other, stream("one", events(7, { eventType: "Theirs" })))
      yield* append(tenant, stream("two", events(3)), stream("one", variety), stream("three", events(3)))
      const { rows } = yield* readStream(tenant, "one")
      for (const [fromVersion, toVersion, limit] of [
        [1, 2_147_483_647, 1],
        [1, 2_147_483_647, 100],
        [0, 2_147_483_647, 10_000],
        [2, 145, 40],
        [147, 2_147_483_647, 10],
        [148, 2_147_483_647, 10],
        [5, 4, 10]
      ] as const) {
        const loaded = yield* loadPages(tenant, "one", { fromVersion, toVersion, limit })
        const expected = rows.filter((row) => row.version >= fromVersion && row.version <= toVersion)
        assert.deepStrictEqual(
          loaded.flatMap((page) => contentsOf(page.rows)),
          contentsOf(expected)
        )
        for (const page of loaded) {
          const [first, last] = [page.rows[0], page.rows.at(-1)].map((content) =>
            rows.find((row) => row.version === content?.version)
          )
          assert.strictEqual(page.firstEventId, first?.eventId)
          assert.deepStrictEqual(
            page.last,
            last && {
              version: last.version,
              position: last.position,
              eventId: last.eventId,
              recordedAt: last.recordedAt
            }
          )
        }
      }
    })
  )

  it.effect("concurrent loads return the events of their own tenant and stream only", () =>
    Effect.gen(function* () {
      const tenants = [newTenant(), newTenant(), newTenant()]
      for (const [index, tenant] of tenants.entries()) {
        const eventType = `Of${index}`
        yield* append(
          tenant,
          stream("short", events(index + 1, { eventType })),
          stream("long", events(200 + index, { eventType })),
          stream("large", events(3, { eventType, payload: `"${index}${"x".repeat(60_000)}"` }))
        )
      }
      const streams = [...tenants, newTenant()].flatMap((tenant) =>
        ["short", "long", "large", "none"].map((id) => ({ tenant, id }))
      )
      const expected = yield* Effect.forEach(streams, ({ id, tenant }) =>
        Effect.map(readStream(tenant, id), ({ rows }) => [contentsOf(rows), rows.at(-1)?.eventId])
      )
      for (const limit of [1, 100, 10_000]) {
        const found = yield* Effect.forEach(
          streams,
          ({ id, tenant }) =>
            Effect.map(loadPages(tenant, id, { limit: id === "short" ? limit : 10_000 }), (loaded) => [
              loaded.flatMap(({ rows }) => contentsOf(rows)),
              loaded.findLast(({ last }) => last !== undefined)?.last?.eventId
            ]),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(found, expected)
      }
    })
  )

  it.effect("streams and logs that do not exist are empty, and reading creates nothing", () =>
    Effect.gen(function* () {
      const [unknown, known] = [newTenant(), newTenant()]
      yield* append(known, stream("one", events(1)))
      const nothing = { rows: [], complete: true }
      for (const [tenant, id] of [
        [unknown, "one"],
        [known, "two"]
      ] as const) {
        assert.deepStrictEqual(yield* readStream(tenant, id), nothing)
        assert.deepStrictEqual(yield* readStream(tenant, id, { direction: "backwards", limit: 1 }), nothing)
        assert.deepStrictEqual(yield* loadStream(tenant, id), {
          ...nothing,
          firstEventId: undefined,
          last: undefined
        })
        assert.strictEqual(yield* version(tenant, id), 0)
      }
      assert.deepStrictEqual(yield* readStream(known, "one", { aggregateType: "Other" }), nothing)
      assert.deepStrictEqual(yield* readLog(unknown), nothing)
      assert.deepStrictEqual(yield* readLog(unknown, { recordedFrom: 0, direction: "backwards" }), nothing)
      assert.strictEqual(yield* position(unknown), 0)
      const status = yield* EventStorage.use((storage) => storage.tenantStatus(unknown))
      assert.isUndefined(status)
    })
  )

  it.effect("streams are listed with their versions by type and id, page by page", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      const list = (options: { readonly aggregateType?: string; readonly limit?: number } = {}) =>
        Effect.gen(function* () {
          const storage = yield* EventStorage
          const rows: Array<StreamRow> = []
          while (true) {
            const after = rows.at(-1)
            const page = yield* storage.listStreams({ tenantId: tenant, limit: 100, ...options, after })
            assert.isAtMost(page.rows.length, options.limit ?? 100)
            rows.push(...page.rows)
            if (page.complete) return rows.map((row) => [row.aggregateType, row.aggregateId, row.version])
          }
        })
      assert.deepStrictEqual(yield* list(), [])
      yield* append(tenant, stream("b", events(2)), stream("a", events(1)), stream("\uFF5E", events(1)))
      yield* append(
        tenant,
        stream("😀", events(1)),
        stream("b", events(1)),
        stream("b", events(1), "any", "A")
      )
      yield* append(tenant, stream("x", events(1), "any", "é"))
      yield* append(newTenant(), stream("c", events(1)))
      const own = [
        [aggregateType, "a", 1],
        [aggregateType, "b", 3],
        [aggregateType, "\uFF5E", 1],
        [aggregateType, "😀", 1]
      ]
      const all = [["A", "b", 1], ...own, ["é", "x", 1]]
      for (const limit of [1, 2, 3, 6, 100]) {
        assert.deepStrictEqual(yield* list({ limit }), all)
        assert.deepStrictEqual(yield* list({ limit, aggregateType }), own)
        assert.deepStrictEqual(yield* list({ limit, aggregateType: "A" }), [["A", "b", 1]])
        assert.deepStrictEqual(yield* list({ limit, aggregateType: "Never" }), [])
      }
    })
  )

  it.effect("version and head are those of the last event, and every position is unique", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      yield* append(tenant, stream("one", events(2)), stream("two", events(3)))
      yield* append(tenant, stream("one", events(1)))
      yield* append(newTenant(), stream("one", events(9)))
      assert.deepStrictEqual([yield* version(tenant, "one"), yield* version(tenant, "two")], [3, 3])
      const ids = yield* eventIds(tenant)
      const head = (tenantId: TenantId, at?: number) =>
        EventStorage.use((storage) => storage.head({ tenantId, at }))
      const end = { position: 6, eventId: ids[5] ?? null }
      assert.deepStrictEqual(yield* head(tenant), { ...end, eventIdAt: null })
      for (const at of [1, 3, 6, 7, 0, -1, Number.MAX_SAFE_INTEGER])
        assert.deepStrictEqual(yield* head(tenant, at), { ...end, eventIdAt: ids[at - 1] ?? null }, `${at}`)
      assert.deepStrictEqual(yield* head(newTenant(), 1), { position: 0, eventId: null, eventIdAt: null })
    })
  )
}
