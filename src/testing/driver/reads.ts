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
  event,
  eventIds,
  events,
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
