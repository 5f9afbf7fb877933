/** The contract of drivers: the raw content of a tenant, out and in. */
import { assert, type Vitest } from "@effect/vitest"
import { Effect } from "effect"
import { uuidV4Unsafe } from "effect/crypto/SecureRandom"
import { AdministrationStorage } from "../../driver/AdministrationStorage.ts"
import { type EventQuery, type EventRow, EventStorage } from "../../driver/EventStorage.ts"
import type { TenantId } from "../../domain/Tenant.ts"
import { administered, begun, change, newToken, rawEvents } from "../driver/administrationKit.ts"
import { append, event, events, newTenant, readLog, stream } from "../driver/eventKit.ts"
import { flipped } from "../failures.ts"
import { conflictOf, filled } from "./kit.ts"

type Services = AdministrationStorage | EventStorage

/** The whole log of a tenant, as work for the tenant reads it. */
const wholeLog = Effect.fnUntraced(function* (tenantId: TenantId, query?: EventQuery) {
  const rows: Array<EventRow> = []
  for (;;) {
    const page = yield* readLog(tenantId, { fromPosition: (rows.at(-1)?.position ?? 0) + 1, query })
    rows.push(...page.rows)
    if (page.complete) return rows
  }
})

/** All events of an opened range; undefined if the storage opens none. */
const readOpened = (
  storage: AdministrationStorage["Service"],
  range: Parameters<NonNullable<AdministrationStorage["Service"]["openEvents"]>>[0],
  limit: number
) =>
  Effect.scoped(
    Effect.gen(function* () {
      const reader = yield* storage.openEvents?.(range) ?? Effect.undefined
      if (reader === undefined) return undefined
      const read: Array<EventRow> = []
      for (let complete = false; !complete;) {
        const page = yield* reader.next(limit)
        assert.isAtMost(page.rows.length, limit)
        read.push(...page.rows)
        complete = page.complete
      }
      return read
    })
  )

export const content = (it: Vitest.MethodsNonLive<Services>): void => {
  it.effect("writes events exactly as it has read them, hashes and positions included", () =>
    Effect.gen(function* () {
      const storage = yield* AdministrationStorage
      const [source, target] = [newTenant(), newTenant()]
      const rows = yield* filled(source)
      assert.deepStrictEqual(rows, yield* wholeLog(source))
      const token = newToken()
      const at = yield* administered(target)
      yield* storage.changeState({ ...at, change: "beginImport", token })
      assert.strictEqual(yield* storage.writeEvents({ ...at, token, events: rows.slice(0, 2) }), 2)
      // a killed import goes on
      const resumed = yield* storage.changeState({ ...at, change: "beginImport", token })
      assert.containSubset(resumed, {
        position: 2,
        lastEventId: rows[1]?.eventId ?? "",
        lastHash: null
      })
      assert.strictEqual(yield* storage.writeEvents({ ...at, token, events: rows.slice(2) }), rows.length)
      const ended = {
        change: "finishImport",
        token,
        head: rows.length,
        chainedFrom: 3,
        status: "active",
        origin: { tenantId: source, position: 5, eventId: null, hash: null }
      } as const
      const done = yield* storage.changeState({ ...at, ...ended })
      assert.containSubset(done, {
        state: { status: "active" },
        origin: { tenantId: source, position: 5 },
        chainedFrom: 3,
        position: rows.length,
        lastHash: rows.at(-1)?.hash ?? ""
      })
      assert.deepStrictEqual((yield* storage.changeState({ ...at, ...ended })).state, done.state)
      assert.deepStrictEqual(yield* wholeLog(target), rows)
      assert.deepStrictEqual(yield* wholeLog(target, [{ tags: ["a"], eventTypes: undefined }]), rows.slice(2))
      // and the log goes on behind it
      const { positions, versions } = yield* append(target, stream("one", events(1), 3))
      assert.deepStrictEqual([positions, versions], [[rows.length + 1], [4]])
      assert.strictEqual((yield* rawEvents(source)).length, rows.length)
    })
  )

  it.effect("reads any range of a log, with large events and with texts that no other has", () =>
    Effect.gen(function* () {
      const storage = yield* AdministrationStorage
      const tenantId = newTenant()
      yield* append(
        tenantId,
        stream("one", [
          ...events(150),
          event({ payload: `"${"x".repeat(20_000)}"` }),
          ...events(100),
          event({ correlationId: "a\u001fb" }),
          ...events(60)
        ])
      )
      const rows = yield* wholeLog(tenantId)
      const at = yield* administered(tenantId)
      for (const [fromPosition, toPosition, limit] of [
        [0, 400, 128],
        [1, 400, 312],
        [1, 400, 311],
        [100, 140, 40],
        [151, 151, 1],
        [250, 252, 10],
        [313, 400, 10]
      ] as const) {
        const read: Array<EventRow> = []
        for (let complete = false; !complete;) {
          const from = read.at(-1)?.position ?? fromPosition - 1
          const page = yield* storage.readEvents({ ...at, fromPosition: from + 1, toPosition, limit })
          assert.isAtMost(page.rows.length, limit)
          assert.isTrue(page.complete || page.rows.length > 0)
          read.push(...page.rows)
          complete = page.complete
        }
        const range = rows.slice(Math.max(fromPosition, 1) - 1, toPosition)
        assert.deepStrictEqual(read, range)
        const opened = readOpened(storage, { ...at, fromPosition, toPosition }, limit)
        assert.deepStrictEqual((yield* opened) ?? range, range)
      }
    })
  )

  it.effect("writes only what continues the log, under the token of the import", () =>
    Effect.gen(function* () {
      const storage = yield* AdministrationStorage
      const [source, target] = [newTenant(), newTenant()]
      const rows = yield* filled(source)
      const [first, second, third] = rows
      assert(first !== undefined && second !== undefined && third !== undefined)
      const at = yield* administered(target)
      const token = newToken()
      const refusal = (given: string, written: ReadonlyArray<EventRow>) =>
        Effect.map(flipped(storage.writeEvents({ ...at, token: given, events: written })), ({ _tag }) => _tag)
      assert.strictEqual(yield* refusal(token, rows), "TenantStateConflict")
      yield* storage.changeState({ ...at, change: "beginImport", token })
      assert.strictEqual(yield* refusal(newToken(), rows), "TenantStateConflict")
      for (const wrong of [
        [second],
        [first, third],
        [first, { ...second, version: 3 }],
        [{ ...first, version: 2 }],
        [first, { ...second, eventId: first.eventId }],
        [first, { ...second, recordedAt: first.recordedAt - 1 }]
      ])
        assert.strictEqual(yield* refusal(token, wrong), "TenantStateConflict", JSON.stringify(wrong))
      assert.strictEqual(yield* storage.writeEvents({ ...at, token, events: [first] }), 1)
      assert.strictEqual(yield* refusal(token, [first]), "TenantStateConflict")
      const elsewhere = yield* administered(source)
      assert.strictEqual(
        (yield* flipped(storage.writeEvents({ ...elsewhere, token, events: [first] })))._tag,
        "TenantStateConflict"
      )
      assert.deepStrictEqual(yield* rawEvents(target), [first])
      assert.strictEqual(
        yield* conflictOf(target, {
          change: "finishImport",
          token,
          head: 2,
          chainedFrom: undefined,
          status: "active"
        }),
        "importing"
      )
    })
  )

  it.effect("carries unexpired command keys, dead letters and progress", () =>
    Effect.gen(function* () {
      const storage = yield* AdministrationStorage
      const [source, target] = [newTenant(), newTenant()]
      const kept = { key: "kept", fingerprint: "f".repeat(64), expiresInMillis: 3_600_000 }
      const store = yield* EventStorage
      yield* store.append({ tenantId: source, streams: [stream("one", events(2))], command: kept })
      yield* store.append({
        tenantId: source,
        streams: [stream("one", events(1))],
        command: { ...kept, key: "expired", expiresInMillis: 1 }
      })
      yield* Effect.sleep("5 millis")
      const from = yield* administered(source)
      const { rows: keys } = yield* storage.readCommandKeys({ ...from, after: undefined, limit: 10 })
      assert.deepStrictEqual(
        keys.map(({ key }) => key),
        ["kept"]
      )
      assert.deepStrictEqual((yield* storage.readCommandKeys({ ...from, after: "kept", limit: 10 })).rows, [])
      const rows = yield* rawEvents(source)
      const token = yield* begun(target, rows)
      const at = { ...(yield* administered(target)), token }
      yield* storage.writeCommandKeys({ ...at, keys })
      const letter = {
        projection: "p",
        version: 1,
        position: 2,
        eventId: uuidV4Unsafe(),
        error: "no",
        attempts: 3,
        failedAt: 1_700_000_000_123
      }
      const letters = [
        { ...letter, discarded: undefined },
        { ...letter, position: 3, discarded: { at: 1_700_000_000_456, reason: "obsolete" } }
      ]
      for (let time = 0; time < 2; time++) yield* storage.writeDeadLetters({ ...at, letters })
      assert.deepStrictEqual(yield* storage.readDeadLetters({ ...at, after: 0, limit: 10 }), {
        rows: letters,
        complete: true
      })
      assert.deepStrictEqual(
        (yield* storage.readDeadLetters({ ...at, after: 1, limit: 1 })).rows,
        letters.slice(1)
      )
      const progress = [
        {
          projection: "p",
          version: 1,
          position: 2,
          parked: false,
          attempts: 0,
          failedPosition: undefined,
          error: undefined
        },
        {
          projection: "q",
          version: 2,
          position: 1,
          parked: true,
          attempts: 4,
          failedPosition: 2,
          error: "no"
        }
      ]
      for (let time = 0; time < 2; time++) yield* storage.writeProgress({ ...at, progress })
      assert.deepStrictEqual(
        yield* storage.readProgress(at),
        progress.map((row) => Object.assign({ tables: [] }, row))
      )
      yield* change(target, {
        change: "finishImport",
        token,
        head: 3,
        chainedFrom: undefined,
        status: "active"
      })
      const again = yield* store.append({
        tenantId: target,
        streams: [stream("one", events(2))],
        command: kept
      })
      assert.containSubset(again, {
        replayed: true,
        positions: [1, 2],
        command: { version: 2, events: 2 }
      })
    })
  )
}
