/** Cases about the life of a tenant: imports, moves, holds, quotas and erasures beside other tenants, and racing with appends. */
import { assert } from "@effect/vitest"
import { Effect, Exit, Fiber, Result } from "effect"
import { uuidV4Unsafe } from "effect/crypto/SecureRandom"
import { AdministrationStorage } from "../../driver/AdministrationStorage.ts"
import { EventStorage } from "../../driver/EventStorage.ts"
import type { SnapshotStorage } from "../../driver/SnapshotStorage.ts"
import type { TenantId } from "../../domain/Tenant.ts"
import { administered, change, newToken, purge, rawEvents, record } from "../driver/administrationKit.ts"
import { append, attempt, event, events, newTenant, plain, request, stream } from "../driver/eventKit.ts"
import { save, snapshot } from "../driver/snapshotKit.ts"
import { as, type Case, observe, type Services, test, withNeighbour } from "./kit.ts"

type Needs = Services | AdministrationStorage | SnapshotStorage

const letter = {
  projection: "p",
  version: 1,
  position: 1,
  eventId: uuidV4Unsafe(),
  error: "no",
  attempts: 1,
  failedAt: 1_700_000_000_000
}

/** A tenant with rows of every kind, that an import has written. */
const imported = Effect.fnUntraced(function* (count: number) {
  const [tenantId, source, token] = [newTenant(), newTenant(), newToken()]
  const storage = yield* AdministrationStorage
  yield* append(source, stream("shared-1", events(count, { tags: ["t"] })))
  const at = { ...(yield* administered(tenantId)), token }
  yield* storage.changeState({ ...at, change: "beginImport" })
  const rows = yield* rawEvents(source)
  // in two writes, so that the second continues stored streams
  yield* storage.writeEvents({ ...at, events: rows.slice(0, 1) })
  yield* storage.writeEvents({ ...at, events: rows.slice(1) })
  yield* storage.writeCommandKeys({
    ...at,
    keys: [
      {
        key: "k",
        fingerprint: "f".repeat(64),
        aggregateType: "Case",
        aggregateId: "shared-1",
        version: count,
        position: count,
        events: 1,
        recordedAt: 1_700_000_000_000,
        expiresInMillis: 3_600_000
      }
    ]
  })
  const letters = Array.from({ length: count }, (_, index) => [
    { ...letter, position: index + 1, discarded: undefined },
    { ...letter, position: index + 1, discarded: { at: 1_700_000_000_001, reason: "old" } }
  ]).flat()
  yield* storage.writeDeadLetters({ ...at, letters })
  const progress = [
    {
      projection: "p",
      version: 1,
      position: count,
      parked: false,
      attempts: 0,
      failedPosition: undefined,
      error: undefined
    }
  ]
  yield* storage.writeProgress({ ...at, progress })
  return { at, token, rows }
})

/** Everything that the administration of a tenant shows, without times that pass. */
const shown = Effect.fnUntraced(function* (tenantId: TenantId) {
  const storage = yield* AdministrationStorage
  const at = yield* administered(tenantId)
  const keys = yield* storage.readCommandKeys({ ...at, after: undefined, limit: 100 })
  return {
    record: yield* record(tenantId),
    events: yield* rawEvents(tenantId),
    keys: keys.rows.map(({ expiresInMillis: _passes, ...key }) => key),
    letters: (yield* storage.readDeadLetters({ ...at, after: 0, limit: 100 })).rows,
    // the store may have other projections, whose rows come and go
    progress: (yield* storage.readProgress(at)).filter(({ projection }) => projection === letter.projection)
  }
})

/** Changes of a tenant's state after which nothing can be written, each with the end of a log that it states. */
const endings: ReadonlyArray<
  readonly [
    name: string,
    end: (tenantId: TenantId) => Effect.Effect<unknown, unknown, EventStorage | AdministrationStorage>
  ]
> = [
  [
    "a suspension",
    (tenantId) =>
      Effect.gen(function* () {
        const storage = yield* EventStorage
        const { accessId } = yield* administered(tenantId)
        yield* storage.setTenantStatus({ accessId, tenantId, status: "suspended" })
      })
  ],
  [
    "a move",
    (tenantId) =>
      Effect.gen(function* () {
        const token = newToken()
        const fenced = yield* change(tenantId, {
          change: "fence",
          token,
          expiresInMillis: 60_000,
          waitMillis: 5000
        })
        yield* change(tenantId, { change: "decide", token, head: fenced.position, to: "elsewhere" })
      })
  ],
  [
    "an erasure",
    (tenantId) => change(tenantId, { change: "erase", token: newToken(), purgeInMillis: 60_000 })
  ]
]

/** The cases. */
export const lifecycle: ReadonlyArray<Case<Needs>> = [
  ...endings.map(([name, end]) =>
    test(`34: ${name} that races with appends loses none of the acknowledged ones, and none comes after it`, () =>
      Effect.gen(function* () {
        const tenantId = newTenant()
        yield* append(tenantId, stream("one", events(1)))
        let acknowledged = 1
        const appends = yield* Effect.forkChild(
          Effect.forEach(
            Array.from({ length: 40 }, (_, index) => index),
            (index) =>
              Effect.map(attempt(request(tenantId, stream(`stream ${index}`, events(1)))), (outcome) => {
                if (Result.isSuccess(outcome)) acknowledged++
              }),
            { concurrency: 10, discard: true }
          )
        )
        yield* Effect.yieldNow
        yield* end(tenantId)
        const head = (yield* record(tenantId))?.position
        yield* Fiber.join(appends)
        assert.strictEqual(acknowledged, head)
        const after = plain(yield* attempt(request(tenantId, stream("after", events(1)))))
        assert.notStrictEqual(after["_tag"], "Appended")
        assert.strictEqual((yield* rawEvents(tenantId)).length, head)
      }))
  ),

  test("42: an import writes, and shows, rows of its own tenant only", () =>
    Effect.gen(function* () {
      for (const [one, other] of [
        [3, 5],
        [5, 3]
      ] as const) {
        const first = yield* imported(one)
        const before = yield* shown(first.at.tenantId)
        assert.lengthOf(before.events, one)
        assert.lengthOf(before.keys, 1)
        assert.lengthOf(before.letters, 2 * one)
        assert.lengthOf(before.progress, 1)
        const second = yield* imported(other)
        assert.deepStrictEqual(yield* shown(first.at.tenantId), before)
        const storage = yield* AdministrationStorage
        const marked = newTenant()
        const isMarked = (tenantId: TenantId) =>
          Effect.flatMap(administered(tenantId), (at) =>
            storage.hasPayloadWith({ ...at, text: '"mark":true', fromPosition: 1, toPosition: 10 })
          )
        // an event that continues only another tenant's stream of the same name
        const apart = { ...(yield* administered(newTenant())), token: newToken() }
        yield* storage.changeState({ ...apart, change: "beginImport" })
        const continuing = first.rows.slice(1, 2).map((row) => Object.assign({}, row, { position: 1 }))
        const written = yield* Effect.exit(storage.writeEvents({ ...apart, events: continuing }))
        assert.isTrue(Exit.isFailure(written))
        // Stored as it is, also where a test seals everything else.
        yield* append(marked, stream("one", [event({ payload: '{"mark":true}', personal: [] })]))
        assert.isTrue(yield* isMarked(marked))
        assert.isFalse(yield* isMarked(first.at.tenantId))
        yield* storage.writeDeadLetters({ ...second.at, letters: [] })
        yield* storage.changeState({
          ...second.at,
          change: "finishImport",
          head: other,
          chainedFrom: undefined,
          status: "active"
        })
        assert.deepStrictEqual(yield* shown(first.at.tenantId), before)
        const { letters, ...rest } = yield* shown(second.at.tenantId)
        assert.deepStrictEqual([letters, rest.record?.position], [[], other])
        yield* purge(first.at.tenantId, first.token, 2)
        assert.deepStrictEqual(yield* shown(second.at.tenantId), { letters, ...rest })
        assert.isUndefined(yield* record(first.at.tenantId))
      }
    })),

  test("42: fence, decision, hold and erasure of a tenant change no other", () =>
    withNeighbour(
      Effect.fnUntraced(function* (mine, theirs) {
        const storage = yield* AdministrationStorage
        const key = { aggregateType: "Case", aggregateId: "kept" }
        for (const tenantId of [mine, theirs]) {
          yield* append(tenantId, stream("kept", events(1)))
          yield* save({ tenantId, ...key }, snapshot(1))
        }
        const waiting = newTenant()
        yield* append(waiting, stream("one", events(2)))
        yield* change(waiting, { change: "erase", token: newToken(), purgeInMillis: 3_600_000 })
        const before = yield* shown(mine)
        const seen = yield* observe.pipe(as(mine))
        const token = newToken()
        const head = (yield* record(theirs))?.position ?? 0
        const fence = { change: "fence", token, expiresInMillis: 60_000, waitMillis: 1000 } as const
        assert.containSubset(yield* change(theirs, fence), { state: { status: "moving", head } })
        yield* change(theirs, { change: "reopen", token })
        yield* change(theirs, { ...fence, expiresInMillis: 0 })
        const { movedTo, tenantStatus } = yield* EventStorage
        assert.strictEqual(yield* tenantStatus(mine), "active")
        assert.strictEqual(yield* tenantStatus(theirs), "active")
        assert.strictEqual((yield* record(theirs))?.state.status, "active")
        assert.strictEqual((yield* record(waiting))?.state.status, "erased")
        const at = yield* administered(theirs)
        yield* storage.setHold({ ...at, reason: "lawsuit" })
        assert.deepStrictEqual(yield* shown(mine), before)
        yield* storage.setHold({ ...at, reason: undefined })
        yield* change(theirs, fence)
        yield* change(theirs, { change: "decide", token, head, to: "b" })
        assert.strictEqual(yield* movedTo(theirs), "b")
        assert.isUndefined(yield* movedTo(mine))
        const erasure = newToken()
        yield* change(theirs, { change: "erase", token: erasure, purgeInMillis: 0 })
        assert.deepStrictEqual(yield* shown(mine), before)
        assert.deepStrictEqual(yield* observe.pipe(as(mine)), seen)
        yield* purge(theirs, erasure, 2)
        assert.deepStrictEqual(yield* shown(mine), before)
        assert.deepStrictEqual(yield* observe.pipe(as(mine)), seen)
        assert.containSubset(yield* record(waiting), {
          position: 2,
          state: { status: "erased", purging: false, purged: false }
        })
        assert.containSubset(yield* record(theirs), {
          position: 0,
          state: { status: "erased", events: head }
        })
        const outcomes = yield* Effect.forEach([mine, theirs], (tenantId) =>
          Effect.map(attempt(request(tenantId, stream("after", events(1)))), plain)
        )
        assert.deepStrictEqual(
          outcomes.map(({ _tag }) => _tag),
          ["Appended", "TenantErased"]
        )
      })
    )),

  test("42: the quota of a tenant is set for it alone, and counts its own events", () =>
    withNeighbour(
      Effect.fnUntraced(function* (mine, theirs) {
        const storage = yield* AdministrationStorage
        const { position: head = 0 } = (yield* record(mine)) ?? {}
        const quota = { rate: { events: head, windowMillis: 3_600_000 } }
        yield* storage.setQuota({ ...(yield* administered(mine)), quota })
        assert.containSubset(yield* record(mine), { quota })
        assert.isUndefined((yield* record(theirs))?.quota)
        assert.isTrue(
          Exit.isFailure(
            yield* Effect.exit(storage.setQuota({ ...(yield* administered(newTenant())), quota }))
          )
        )
        const outcomes = yield* Effect.forEach([mine, theirs], (tenantId) =>
          Effect.map(attempt(request(tenantId, stream("after", events(1)))), plain)
        )
        assert.deepStrictEqual(
          outcomes.map(({ _tag }) => _tag),
          ["QuotaExceeded", "Appended"]
        )
      })
    ))
]
