/**
 * The contract of `AdministrationStorage` as tests, beside that of `EventStorage` on the same store.
 */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Fiber, type Layer } from "effect"
import { uuidV4Unsafe } from "effect/crypto/SecureRandom"
import { AdministrationStorage, type StateChange } from "../driver/AdministrationStorage.ts"
import { type EventQuery, type EventRow, EventStorage } from "../driver/EventStorage.ts"
import type { SnapshotStorage } from "../driver/SnapshotStorage.ts"
import type { TenantId } from "../domain/Tenant.ts"
import {
  administered,
  begun,
  change,
  newToken,
  purge,
  rawEvents,
  record
} from "./driver/administrationKit.ts"
import {
  append,
  attempt,
  event,
  events,
  loadStream,
  newTenant,
  plain,
  position,
  readLog,
  readStream,
  refused,
  request,
  stream,
  version
} from "./driver/eventKit.ts"
import { load, save, snapshot } from "./driver/snapshotKit.ts"
import { flipped } from "./failures.ts"

/** Options of {@link suite}. */
export interface Options<E = never> {
  /** The title of the tests. */
  readonly name: string
  /** The driver. */
  readonly layer: Layer.Layer<AdministrationStorage | EventStorage | SnapshotStorage, E>
}

/** A log with everything that an event can have. */
const filled = Effect.fnUntraced(function* (tenantId: TenantId) {
  const storage = yield* EventStorage
  yield* append(tenantId, stream("one", events(2)))
  yield* storage.startHashChain(tenantId)
  yield* append(
    tenantId,
    stream("one", [
      event({
        actor: null,
        causationId: null,
        metadata: "{}",
        payload: `{"b":1.50,"a":"Zoë 🦊 \\u0000","":[1e400,{"__proto__":1}]}   `,
        tags: ["a", 'b"\\,{}']
      })
    ]),
    stream("two\u001f", events(2, { traceparent: `00-${"1".repeat(32)}-${"2".repeat(16)}-01`, tags: ["a"] }))
  )
  return yield* rawEvents(tenantId)
})

/** The whole log of a tenant, as work for the tenant reads it. */
const wholeLog = Effect.fnUntraced(function* (tenantId: TenantId, query?: EventQuery) {
  const rows: Array<EventRow> = []
  for (;;) {
    const page = yield* readLog(tenantId, { fromPosition: (rows.at(-1)?.position ?? 0) + 1, query })
    rows.push(...page.rows)
    if (page.complete) return rows
  }
})

const conflictOf = (tenantId: TenantId, wanted: StateChange) =>
  Effect.map(flipped(change(tenantId, wanted)), (error) =>
    error._tag === "TenantStateConflict" ? error.status : error._tag
  )

const status = (tenantId: TenantId) => Effect.map(record(tenantId), (found) => found?.state.status)

/** Reads of every kind, of which each must be refused for a tenant that no work sees. */
const reads = (tenantId: TenantId) =>
  EventStorage.use((storage) =>
    Effect.forEach(
      [
        readLog(tenantId),
        readStream(tenantId, "one"),
        loadStream(tenantId, "one"),
        version(tenantId, "one"),
        position(tenantId),
        storage.listStreams({ tenantId, limit: 10 }),
        storage.eventPosition({ tenantId, eventId: uuidV4Unsafe() }),
        storage.commandOutcome({ tenantId, key: "key" }),
        storage.streamEndsWith({
          tenantId,
          aggregateType: "Case",
          aggregateId: "one",
          version: 1,
          eventId: uuidV4Unsafe()
        })
      ],
      (read: Effect.Effect<unknown, { readonly code: string | null }, EventStorage>) =>
        Effect.match(read, { onSuccess: () => "read", onFailure: ({ code }) => code })
    )
  )

/**
 * Registers the tests of the contract with vitest.
 *
 * **When to use**
 *
 * In a test file of the driver, at the top level or within a `describe`.
 *
 * **Details**
 *
 * The layer is built once. The tests create tenants of their own and leave their data there. They use the real clock.
 */
export const suite = <E = never>(options: Options<E>): void => {
  describe(options.name, () => {
    layer(options.layer, { excludeTestServices: true })(
      "a driver for the administration of tenants",
      (it) => {
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
            assert.strictEqual(
              yield* storage.writeEvents({ ...at, token, events: rows.slice(2) }),
              rows.length
            )
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
            assert.deepStrictEqual(
              yield* wholeLog(target, [{ tags: ["a"], eventTypes: undefined }]),
              rows.slice(2)
            )
            // and the log goes on behind it
            const { positions, versions } = yield* append(target, stream("one", events(1), 3))
            assert.deepStrictEqual([positions, versions], [[rows.length + 1], [4]])
            assert.strictEqual((yield* rawEvents(source)).length, rows.length)
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
              Effect.map(
                flipped(storage.writeEvents({ ...at, token: given, events: written })),
                ({ _tag }) => _tag
              )
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

        it.effect("34: hides a tenant that is imported, has moved or is erased from all work", () =>
          Effect.gen(function* () {
            const storage = yield* EventStorage
            const [source, imported, moved, erased] = [newTenant(), newTenant(), newTenant(), newTenant()]
            const rows = yield* filled(source)
            yield* begun(imported, rows)
            yield* append(moved, stream("one", events(3)))
            const token = newToken()
            yield* change(moved, { change: "fence", token, expiresInMillis: 60_000, waitMillis: 1000 })
            assert.deepStrictEqual((yield* readLog(moved)).rows.length, 3)
            yield* change(moved, { change: "decide", token, head: 3, to: "elsewhere" })
            yield* append(erased, stream("one", events(3)))
            yield* change(erased, { change: "erase", token, purgeInMillis: 60_000 })
            for (const [tenantId, code] of [
              [imported, "TenantImporting"],
              [moved, "TenantMoved"],
              [erased, "TenantErased"]
            ] as const) {
              assert.deepStrictEqual(yield* refused(tenantId, stream("new", events(1))), {
                _tag: code,
                tenantId
              })
              assert.deepStrictEqual(new Set(yield* reads(tenantId)), new Set([code]), code)
            }
            const accessId = yield* storage.recordAccess({
              actor: "suite",
              reason: "contract",
              operation: "test"
            })
            const hidden = new Set([imported, moved, erased])
            const before = [...hidden].toSorted()[0] ?? source
            const after = { tenantId: before, position: 0 }
            const logs = yield* storage.readAllLogs({ accessId, after, limit: 100 })
            assert.deepStrictEqual(
              logs.rows.filter(({ tenantId }) => hidden.has(tenantId)),
              []
            )
            const listed = yield* storage.listTenants({ accessId, after: undefined, limit: 10_000 })
            assert.deepStrictEqual(
              listed.rows.filter(({ tenantId }) => hidden.has(tenantId)),
              []
            )
            assert.include(
              listed.rows.map(({ tenantId }) => tenantId),
              source
            )
          })
        )

        it.effect("changes states only from the required one, and only for the token", () =>
          Effect.gen(function* () {
            const [tenant, token] = [newTenant(), newToken()]
            const fence = { change: "fence", token, expiresInMillis: 60_000, waitMillis: 1000 } as const
            const other = newToken()
            assert.strictEqual(yield* conflictOf(tenant, fence), null)
            yield* append(tenant, stream("one", events(2)))
            assert.strictEqual(yield* conflictOf(tenant, { change: "beginImport", token }), "active")
            assert.strictEqual(
              yield* conflictOf(tenant, { change: "decide", token, head: 2, to: "b" }),
              "active"
            )
            const fenced = yield* change(tenant, fence)
            assert.containSubset(fenced, { state: { status: "moving", token, head: 2 } })
            const waiting = yield* Effect.forkChild(append(tenant, stream("waiting", events(1))))
            yield* Effect.sleep("100 millis")
            assert.isUndefined(waiting.pollUnsafe())
            for (const wrong of [
              { ...fence, token: other },
              { change: "reopen", token: other },
              { change: "reopen", token: undefined },
              { change: "decide", token: other, head: 2, to: "b" },
              { change: "decide", token, head: 1, to: "b" },
              { change: "erase", token: other, purgeInMillis: 0 },
              { change: "restore", token }
            ] as const)
              assert.strictEqual(yield* conflictOf(tenant, wrong), "moving", JSON.stringify(wrong))
            assert.strictEqual((yield* change(tenant, { change: "reopen", token })).state.status, "active")
            assert.strictEqual(
              yield* conflictOf(tenant, { change: "decide", token, head: 2, to: "b" }),
              "active"
            )
            assert.deepStrictEqual((yield* Fiber.join(waiting)).positions, [3])
            // an expired fence is removed by anybody
            yield* change(tenant, { ...fence, expiresInMillis: 0 })
            assert.strictEqual(
              (yield* change(tenant, { change: "reopen", token: undefined })).state.status,
              "active"
            )
            yield* change(tenant, fence)
            const decide = { change: "decide", token, head: 3, to: "b" } as const
            for (const moved of [yield* change(tenant, decide), yield* change(tenant, decide)])
              assert.deepStrictEqual(moved.state, { status: "moved", token, to: "b", head: 3 })
            for (const wrong of [
              fence,
              { change: "reopen", token },
              { change: "beginImport", token }
            ] as const)
              assert.strictEqual(yield* conflictOf(tenant, wrong), "moved", wrong.change)
            // once its rows are purged it may come back
            assert.isAbove(yield* purge(tenant, token, 2), 0)
            yield* change(tenant, { change: "beginImport", token: other })
            assert.deepStrictEqual(yield* rawEvents(tenant), [])
            yield* change(tenant, {
              change: "finishImport",
              token: other,
              head: 0,
              chainedFrom: undefined,
              status: "active"
            })
            assert.deepStrictEqual(
              yield* append(tenant, stream("one", events(1))).pipe(Effect.map((r) => r.positions)),
              [1]
            )
          })
        )

        it.effect("34: a fence and a decision lose none of the appends that race with them", () =>
          Effect.gen(function* () {
            const [tenant, token] = [newTenant(), newToken()]
            yield* append(tenant, stream("one", events(1)))
            const appends = yield* Effect.forkChild(
              Effect.forEach(
                Array.from({ length: 60 }, (_, index) => index),
                (index) => attempt(request(tenant, stream(`stream ${index}`, events(1)))),
                { concurrency: 20 }
              )
            )
            yield* Effect.sleep("2 millis")
            const fence = { change: "fence", token, expiresInMillis: 60_000, waitMillis: 5000 } as const
            const head = (yield* change(tenant, fence)).position
            yield* change(tenant, { change: "decide", token, head, to: "b" })
            // those that waited for the end of the move are refused like those that come later
            const outcomes = (yield* Fiber.join(appends)).map(plain)
            assert.strictEqual(outcomes.filter(({ _tag }) => _tag === "Appended").length + 1, head)
            assert.deepStrictEqual(
              outcomes.filter(({ _tag }) => _tag !== "Appended" && _tag !== "TenantMoved"),
              []
            )
            assert.strictEqual((yield* rawEvents(tenant)).length, head)
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
            assert.deepStrictEqual(
              (yield* storage.readCommandKeys({ ...from, after: "kept", limit: 10 })).rows,
              []
            )
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

        it.effect("42: erases a tenant, its record excepted, and no row of another", () =>
          Effect.gen(function* () {
            const storage = yield* AdministrationStorage
            const store = yield* EventStorage
            const [erased, other, token] = [newTenant(), newTenant(), newToken()]
            const key = { aggregateType: "Case", aggregateId: "one" }
            for (const tenantId of [erased, other]) {
              yield* filled(tenantId)
              yield* store.append({
                tenantId,
                streams: [stream("three", events(1))],
                command: { key: "k", fingerprint: "f".repeat(64), expiresInMillis: 60_000 }
              })
              yield* save({ tenantId, ...key }, snapshot(3))
            }
            const before = yield* rawEvents(other)
            const at = yield* administered(erased)
            assert.strictEqual(
              (yield* flipped(storage.purge({ ...at, token, limit: 10 })))._tag,
              "TenantStateConflict"
            )
            const last = (yield* rawEvents(erased)).at(-1)
            const { state } = yield* change(erased, { change: "erase", token, purgeInMillis: 0 })
            assert.containSubset(state, {
              status: "erased",
              actor: "suite",
              reason: "contract",
              events: 6,
              lastHash: last?.hash ?? "",
              purging: false
            })
            assert.strictEqual(
              (yield* flipped(storage.purge({ ...at, token: newToken(), limit: 10 })))._tag,
              "TenantStateConflict"
            )
            assert.isAtLeast(yield* purge(erased, token, 3), 8)
            assert.containSubset(yield* record(erased), {
              state: { status: "erased", purged: true },
              position: 0
            })
            assert.deepStrictEqual(yield* storage.purge({ ...at, token, limit: 10 }), {
              removed: 0,
              complete: true
            })
            assert.deepStrictEqual(yield* rawEvents(erased), [])
            for (const wanted of [
              { change: "restore", token },
              { change: "beginImport", token },
              { change: "erase", token: newToken(), purgeInMillis: 0 }
            ] as const)
              assert.strictEqual(yield* conflictOf(erased, wanted), "erased", wanted.change)
            assert.deepStrictEqual(yield* rawEvents(other), before)
            assert.isDefined(yield* load({ tenantId: other, ...key }))
            assert.isDefined(yield* store.commandOutcome({ tenantId: other, key: "k" }))
          })
        )

        it.effect(
          "erases after a delay, in which the tenant can be restored, and not under a legal hold",
          () =>
            Effect.gen(function* () {
              const storage = yield* AdministrationStorage
              const [tenant, token] = [newTenant(), newToken()]
              yield* append(tenant, stream("one", events(2)))
              const at = yield* administered(tenant)
              const erase = { change: "erase", token, purgeInMillis: 3_600_000 } as const
              yield* storage.setHold({ ...at, reason: "lawsuit" })
              assert.containSubset(yield* record(tenant), { hold: { actor: "suite", reason: "lawsuit" } })
              assert.strictEqual(yield* conflictOf(tenant, erase), "TenantHeld")
              yield* storage.setHold({ ...at, reason: undefined })
              assert.isUndefined((yield* record(tenant))?.hold)
              yield* change(tenant, erase)
              assert.strictEqual(
                (yield* flipped(storage.purge({ ...at, token, limit: 10 })))._tag,
                "TenantStateConflict"
              )
              assert.strictEqual(
                yield* conflictOf(tenant, { change: "restore", token: newToken() }),
                "erased"
              )
              assert.strictEqual((yield* change(tenant, { change: "restore", token })).state.status, "active")
              assert.strictEqual((yield* change(tenant, { change: "restore", token })).state.status, "active")
              yield* append(tenant, stream("one", events(1), 2))
              // a hold that comes during the delay keeps the rows
              yield* change(tenant, { ...erase, purgeInMillis: 0 })
              yield* storage.setHold({ ...at, reason: "lawsuit" })
              assert.strictEqual(
                (yield* flipped(storage.purge({ ...at, token, limit: 10 })))._tag,
                "TenantHeld"
              )
              assert.strictEqual((yield* rawEvents(tenant)).length, 3)
              yield* storage.setHold({ ...at, reason: undefined })
              yield* change(tenant, { change: "restore", token })
              // an import that is given up frees the id
              const imported = newTenant()
              const rows = yield* rawEvents(tenant)
              yield* purge(imported, yield* begun(imported, rows), 1)
              assert.isUndefined(yield* record(imported))
              assert.deepStrictEqual((yield* append(imported, stream("one", events(1)))).positions, [1])
            })
        )

        it.effect("does nothing without a recorded access", () =>
          Effect.gen(function* () {
            const storage = yield* AdministrationStorage
            const tenantId = newTenant()
            yield* append(tenantId, stream("one", events(1)))
            const [accessId, token] = [uuidV4Unsafe(), newToken()]
            const at = { accessId, tenantId, token }
            for (const tried of [
              storage.tenant(at),
              storage.changeState({ ...at, change: "erase", purgeInMillis: 0 }),
              storage.changeState({ accessId, tenantId: newTenant(), change: "beginImport", token }),
              storage.setHold({ ...at, reason: "no" }),
              storage.readEvents({ ...at, fromPosition: 1, toPosition: 1, limit: 1 }),
              storage.readCommandKeys({ ...at, after: undefined, limit: 1 }),
              storage.readDeadLetters({ ...at, after: 0, limit: 1 }),
              storage.readProgress(at),
              storage.tables(at),
              storage.purge({ ...at, limit: 1 })
            ]) {
              const error = yield* flipped<unknown, { readonly _tag: string }, never>(tried)
              assert.containSubset(error, { _tag: "StorageUnavailable", retryable: false })
            }
            assert.strictEqual(yield* status(tenantId), "active")
          })
        )
      }
    )
  })
}
