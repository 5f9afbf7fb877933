/** The contract of drivers: the registry of tenants, and reads across them. */
import { assert, type Vitest } from "@effect/vitest"
import { Effect } from "effect"
import { uuidV4Unsafe } from "effect/crypto/SecureRandom"
import {
  EventStorage,
  type EventRow,
  type Page,
  type TenantEventRow,
  type TenantRow,
  type UsageRow
} from "../../driver/EventStorage.ts"
import type { StorageUnavailable } from "../../driver/StoreError.ts"
import type { TenantId } from "../../domain/Tenant.ts"
import {
  access,
  append,
  appended,
  batch,
  eventIds,
  events,
  newTenant,
  newTenants,
  type Plain,
  position,
  readLog,
  refused,
  request,
  setStatus,
  stream,
  version
} from "./eventKit.ts"
import { flipped } from "../failures.ts"

const status = (tenantId: TenantId) => EventStorage.use((storage) => storage.tenantStatus(tenantId))
const provision = (tenantId: TenantId) => EventStorage.use((storage) => storage.provisionTenant(tenantId))

export const registry = (it: Vitest.MethodsNonLive<EventStorage>): void => {
  it.effect("a tenant is registered once and has a status", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      assert.isUndefined(yield* status(tenant))
      assert.strictEqual(yield* provision(tenant), "active")
      assert.strictEqual(yield* provision(tenant), "active")
      assert.strictEqual(yield* status(tenant), "active")
      yield* setStatus(tenant, "suspended")
      assert.strictEqual(yield* provision(tenant), "suspended")
      assert.strictEqual(yield* status(tenant), "suspended")
    })
  )

  it.effect("the first append registers a tenant", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      yield* append(tenant, stream("one", events(1)))
      assert.strictEqual(yield* status(tenant), "active")
    })
  )

  it.effect("a suspended tenant can be read but not written until it is resumed", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      yield* append(tenant, stream("one", events(2)))
      const before = yield* readLog(tenant)
      assert.strictEqual(yield* setStatus(tenant, "suspended"), "active")
      assert.strictEqual(yield* setStatus(tenant, "suspended"), "suspended")
      for (const expectedVersion of ["any", 2, 99] as const) {
        assert.deepStrictEqual(
          yield* refused(tenant, stream("one", events(1), expectedVersion), stream("two", events(1))),
          { _tag: "TenantSuspended", tenantId: tenant }
        )
      }
      assert.deepStrictEqual(yield* readLog(tenant), before)
      assert.deepStrictEqual([yield* version(tenant, "one"), yield* position(tenant)], [2, 2])
      assert.strictEqual(yield* setStatus(tenant, "active"), "suspended")
      assert.strictEqual(yield* setStatus(tenant, "active"), "active")
      assert.deepStrictEqual((yield* append(tenant, stream("one", events(1), 2))).positions, [3])
    })
  )

  it.effect("the status of one tenant does not affect another", () =>
    Effect.gen(function* () {
      const [one, two] = [newTenant(), newTenant()]
      yield* provision(one)
      yield* provision(two)
      yield* setStatus(one, "suspended")
      assert.strictEqual(yield* status(two), "active")
      assert.deepStrictEqual(
        yield* batch(request(one, stream("one", events(1))), request(two, stream("one", events(1)))),
        [{ _tag: "TenantSuspended", tenantId: one }, appended([1], [1])]
      )
    })
  )

  it.effect("an unknown tenant cannot be suspended", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      const error: Plain = { ...(yield* flipped(setStatus(tenant, "suspended"))) }
      assert.deepStrictEqual(error, { _tag: "UnknownTenant", tenantId: tenant })
      assert.isUndefined(yield* status(tenant))
    })
  )
}

/** For a driver that does not register tenants with their first append. */
export const withoutProvisioning = (it: Vitest.MethodsNonLive<EventStorage>): void => {
  it.effect("an append of an unknown tenant is refused and creates nothing", () =>
    Effect.gen(function* () {
      const [unknown, known] = [newTenant(), newTenant()]
      yield* provision(known)
      const one = (tenantId: TenantId) =>
        request(tenantId, stream("one", events(1), 0), stream("two", events(1), 0))
      assert.deepStrictEqual(yield* batch(one(unknown), one(known), one(unknown)), [
        { _tag: "UnknownTenant", tenantId: unknown },
        appended([1, 2], [1, 1]),
        { _tag: "UnknownTenant", tenantId: unknown }
      ])
      assert.isUndefined(yield* status(unknown))
      assert.deepStrictEqual(yield* eventIds(unknown), [])
    })
  )

  it.effect("a registered tenant can append", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      const one = stream("one", events(1), 0)
      yield* refused(tenant, one)
      yield* provision(tenant)
      assert.deepStrictEqual(yield* batch(request(tenant, one)), [appended([1], [1])])
    })
  )
}

/** Reads pages of a size up to the first unwanted row. A complete page must have no successor. */
const inPages = <Row, Cursor, E>(
  start: Cursor,
  limit: number,
  wanted: (row: Row) => boolean,
  cursorOf: (row: Row) => Cursor,
  read: (after: Cursor, limit: number) => Effect.Effect<Page<Row>, E, EventStorage>
): Effect.Effect<ReadonlyArray<Row>, E, EventStorage> =>
  Effect.gen(function* () {
    const found: Array<Row> = []
    let after = start
    for (;;) {
      const page = yield* read(after, limit)
      assert.isAtMost(page.rows.length, limit)
      found.push(...page.rows.filter(wanted))
      const last = page.rows.at(-1)
      if (last === undefined) {
        assert.isTrue(page.complete)
        return found
      }
      after = cursorOf(last)
      if (page.complete) assert.deepStrictEqual(yield* read(after, limit), { rows: [], complete: true })
      if (page.complete || !wanted(last)) return found
    }
  })

type UsageAfter = Pick<UsageRow, "tenantId" | "day">

const dayMillis = 86_400_000

/** The events of a log that were recorded in a range of time, by day. */
const usageIn = (
  tenantId: TenantId,
  log: ReadonlyArray<EventRow>,
  from: number,
  before: number
): ReadonlyArray<UsageRow> => {
  const within = log.filter(({ recordedAt }) => recordedAt >= from && recordedAt < before)
  const days = new Set(within.map(({ recordedAt }) => recordedAt - (recordedAt % dayMillis)))
  return [...days].map((day) => {
    const rows = within.filter(({ recordedAt }) => recordedAt - (recordedAt % dayMillis) === day)
    return {
      tenantId,
      day,
      events: rows.length,
      bytes: new TextEncoder().encode(
        rows.map((row) => (row.storedPayload ?? row.payload) + row.metadata).join("")
      ).length,
      streams: new Set(rows.map((row) => JSON.stringify([row.aggregateType, row.aggregateId]))).size,
      newStreams: rows.filter((row) => row.version === 1).length
    }
  })
}

export const acrossTenants = (it: Vitest.MethodsNonLive<EventStorage>): void => {
  it.effect("tenants are listed by id, with status and head, page by page", () =>
    Effect.gen(function* () {
      const nth = newTenants()
      const [one, two, three, four, five] = [nth(1), nth(2), nth(3), nth(4), nth(5)]
      for (const tenant of [four, one, five, three, two]) yield* provision(tenant)
      yield* append(four, stream("one", events(3)))
      yield* append(two, stream("one", events(1)))
      yield* setStatus(two, "suspended")
      const accessId = yield* access
      const list = (after: TenantId | undefined, limit: number) =>
        EventStorage.use((storage) => storage.listTenants({ accessId, after, limit }))
      const wanted = (row: TenantRow) => row.tenantId >= one && row.tenantId <= five
      const own = (rows: ReadonlyArray<TenantRow>) =>
        rows.filter(wanted).map((row) => [row.tenantId, row.status, row.position])
      const expected = [
        [one, "active", 0],
        [two, "suspended", 1],
        [three, "active", 0],
        [four, "active", 3],
        [five, "active", 0]
      ]
      for (const limit of [1, 2, 5, 100]) {
        const rows = yield* inPages(nth(0), limit, wanted, (row) => row.tenantId, list)
        assert.deepStrictEqual(own(rows), expected)
      }
      const rest = yield* list(three, 2)
      assert.deepStrictEqual(own(rest.rows), expected.slice(3))
      const first = yield* list(undefined, 1)
      assert.isTrue((first.rows[0]?.tenantId ?? "") <= one)
      for (const { createdAt } of rest.rows)
        assert.isTrue(Number.isInteger(createdAt) && createdAt > 1_600_000_000_000)
    })
  )

  it.effect("all logs are read tenant by tenant, each in its order, page by page", () =>
    Effect.gen(function* () {
      const nth = newTenants()
      const [one, two, empty, four] = [nth(1), nth(2), nth(3), nth(4)]
      yield* provision(empty)
      for (const tenant of [four, one, two, one, four, two]) yield* append(tenant, stream("one", events(2)))
      yield* setStatus(two, "suspended")
      const accessId = yield* access
      type Place = { readonly tenantId: TenantId; readonly position: number }
      const read = (after: Place, limit: number) =>
        EventStorage.use((storage) => storage.readAllLogs({ accessId, after, limit }))
      const expected: Array<TenantEventRow> = []
      for (const tenantId of [one, two, four]) {
        for (const row of (yield* readLog(tenantId)).rows) expected.push({ ...row, tenantId })
      }
      const wanted = (row: TenantEventRow) => row.tenantId >= one && row.tenantId <= four
      for (const limit of [1, 2, 3, 4, 12, 100]) {
        const start: Place = { tenantId: nth(0), position: 1 }
        const rows = yield* inPages(start, limit, wanted, (row): Place => row, read)
        assert.deepStrictEqual(rows, expected)
      }
      for (const [after, left] of [
        [{ tenantId: one, position: 0 }, 0],
        [{ tenantId: one, position: 3 }, 3],
        [{ tenantId: one, position: Number.MAX_SAFE_INTEGER }, 4],
        [{ tenantId: empty, position: 0 }, 8],
        [{ tenantId: four, position: 3 }, 11]
      ] as const) {
        assert.deepStrictEqual((yield* read(after, 100)).rows.filter(wanted), expected.slice(left))
      }
      const first = yield* EventStorage.use((storage) =>
        storage.readAllLogs({ accessId, after: undefined, limit: 1 })
      )
      assert.strictEqual(first.rows[0]?.position, 1)
    })
  )

  it.effect("usage in a range of time is counted by tenant and day, page by page", () =>
    Effect.gen(function* () {
      const nth = newTenants()
      const [one, two, empty, four] = [nth(1), nth(2), nth(3), nth(4)]
      yield* provision(empty)
      const payload = '{"_tag":"Happened","text":"é値"}'
      yield* append(four, stream("one", events(3, { payload })), stream("two", events(1)))
      yield* append(two, stream("one", events(1)), stream("one", events(2), "any", "Other"))
      yield* append(one, stream("one", events(2)))
      yield* append(four, stream("one", events(2)))
      yield* setStatus(two, "suspended")
      const accessId = yield* access
      const logs = yield* Effect.forEach([one, two, four], (tenantId) =>
        Effect.map(readLog(tenantId), ({ rows }) => [tenantId, rows] as const)
      )
      const expected = (from: number, before: number) =>
        logs.flatMap(([tenantId, rows]) => usageIn(tenantId, rows, from, before))
      const read = (from: number, before: number) => (after: UsageAfter | undefined, limit: number) =>
        EventStorage.use((storage) =>
          storage.usage({ accessId, recordedFrom: from, recordedBefore: before, after, limit })
        )
      const wanted = (row: UsageRow) => row.tenantId >= one && row.tenantId <= four
      const start = { tenantId: nth(0), day: 0 }
      const times = logs.flatMap(([, rows]) => rows.map(({ recordedAt }) => recordedAt))
      const [first, last] = [Math.min(...times), Math.max(...times)]
      const all = expected(first, last + 1)
      // a test at midnight sees two days
      assert.deepStrictEqual(
        [one, two, four].map((tenantId) => {
          const days = all.filter((row) => row.tenantId === tenantId)
          const sum = (of: (row: UsageRow) => number) => days.reduce((total, row) => total + of(row), 0)
          return [sum(({ events: count }) => count), sum(({ newStreams }) => newStreams)]
        }),
        [
          [2, 1],
          [3, 2],
          [6, 2]
        ]
      )
      for (const limit of [1, 2, 3, 100]) {
        const rows = yield* inPages<UsageRow, UsageAfter, StorageUnavailable>(
          start,
          limit,
          wanted,
          (row) => row,
          read(first, last + 1)
        )
        assert.deepStrictEqual(rows, all)
      }
      for (const from of new Set([0, ...times])) {
        for (const before of new Set([...times, last + 1])) {
          const { rows } = yield* read(from, before)(start, 100)
          assert.deepStrictEqual(rows.filter(wanted), expected(from, before), `${from} ${before}`)
        }
      }
      assert.deepStrictEqual(yield* read(last + 1, last + 1)(undefined, 10), { rows: [], complete: true })
      assert.deepStrictEqual(yield* read(last + 1, first)(undefined, 10), { rows: [], complete: true })
    })
  )

  it.effect("every access is recorded and listed, newest first, page by page", () =>
    Effect.gen(function* () {
      const storage = yield* EventStorage
      const record = (reason: string) =>
        storage.recordAccess({ actor: "it's me", reason, operation: "looking" })
      const ids = [
        yield* record("first"),
        yield* record("second 値"),
        yield* record("third"),
        yield* record("last")
      ]
      const [accessId = ""] = ids.slice(-1)
      const list = (before: string | undefined, limit: number) =>
        storage.listAccesses({ accessId, before, limit })
      const { rows, complete } = yield* list(accessId, 3)
      assert.deepStrictEqual(
        rows.map((row) => [row.accessId, row.actor, row.reason, row.operation]),
        ["third", "second 値", "first"].map((reason, index) => [ids[2 - index], "it's me", reason, "looking"])
      )
      for (const { accessedAt } of rows)
        assert.isTrue(Number.isFinite(accessedAt) && accessedAt > 1_600_000_000_000)
      assert.deepStrictEqual((yield* list(accessId, 2)).rows, rows.slice(0, 2))
      assert.isFalse((yield* list(accessId, 2)).complete)
      assert.deepStrictEqual((yield* list(ids[1], 1)).rows, rows.slice(2))
      assert.strictEqual((yield* list(undefined, 1)).rows[0]?.accessId, accessId)
      // Earlier accesses may exist: a page is complete if it has no successor.
      assert.strictEqual(complete, (yield* list(ids[0], 1)).rows.length === 0)
    })
  )

  it.effect("reads and changes across tenants need a recorded access", () =>
    Effect.gen(function* () {
      const storage = yield* EventStorage
      const tenantId = newTenant()
      yield* append(tenantId, stream("one", events(1)))
      const accessId = uuidV4Unsafe()
      for (const attempt of [
        storage.listTenants({ accessId, after: undefined, limit: 10 }),
        storage.readAllLogs({ accessId, after: undefined, limit: 10 }),
        storage.usage({ accessId, recordedFrom: 0, recordedBefore: 0, after: undefined, limit: 10 }),
        storage.listAccesses({ accessId, before: undefined, limit: 10 }),
        storage.setTenantStatus({ accessId, tenantId, status: "suspended" }),
        storage.setTenantStatus({ accessId, tenantId: newTenant(), status: "suspended" })
      ]) {
        const error = yield* flipped<unknown, { readonly _tag: string }, never>(attempt)
        assert.containSubset(error, { _tag: "StorageUnavailable", retryable: false })
      }
      assert.strictEqual(yield* status(tenantId), "active")
    })
  )
}
