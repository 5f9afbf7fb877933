/** The contract of drivers: the states of a tenant. */
import { assert, type Vitest } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { uuidV4Unsafe } from "effect/crypto/SecureRandom"
import { AdministrationStorage } from "../../driver/AdministrationStorage.ts"
import { EventStorage } from "../../driver/EventStorage.ts"
import type { TenantId } from "../../domain/Tenant.ts"
import { begun, change, newToken, purge, rawEvents, record } from "../driver/administrationKit.ts"
import {
  append,
  attempt,
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
} from "../driver/eventKit.ts"
import { flipped } from "../failures.ts"
import { conflictOf, filled } from "./kit.ts"

type Services = AdministrationStorage | EventStorage

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

export const states = (it: Vitest.MethodsNonLive<Services>): void => {
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
      assert.strictEqual(yield* conflictOf(tenant, { change: "decide", token, head: 2, to: "b" }), "active")
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
      assert.strictEqual(yield* conflictOf(tenant, { change: "decide", token, head: 2, to: "b" }), "active")
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
        assert.containSubset(moved.state, { status: "moved", token, to: "b", head: 3 })
      for (const wrong of [fence, { change: "reopen", token }, { change: "beginImport", token }] as const)
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

  it.effect("obeys only the last run of a move at its source", () =>
    Effect.gen(function* () {
      const [tenant, move, other] = [newTenant(), newToken(), newToken()]
      const [first, second, third] = [newToken(), newToken(), newToken()]
      const fenceOf = (token: string, id: string = move) =>
        ({
          change: "fence",
          token,
          expiresInMillis: 60_000,
          waitMillis: 1000,
          move: { id, to: "b" }
        }) as const
      const takeOver = (token: string, former: string | undefined, id: string = move) =>
        change(tenant, { change: "takeOver", token, move: id, former })
      const late = (token: string, former: string | undefined, id: string = move) =>
        conflictOf(tenant, { change: "takeOver", token, move: id, former })
      yield* append(tenant, stream("one", events(2)))
      assert.isUndefined((yield* record(tenant))?.run)
      assert.deepStrictEqual((yield* takeOver(first, undefined)).run, { move, token: first })
      yield* change(tenant, fenceOf(first))
      // a fence of the replaced run is removed, and it sets no other
      const taken = yield* takeOver(second, first)
      assert.containSubset(taken, { state: { status: "active" }, run: { move, token: second } })
      yield* append(tenant, stream("one", events(1)))
      assert.strictEqual(yield* late(third, first), "active")
      assert.strictEqual(yield* late(third, undefined), "active")
      const callOff = { change: "callOff", move, token: first } as const
      for (const wrong of [fenceOf(first), callOff])
        assert.strictEqual(yield* conflictOf(tenant, wrong), "active", wrong.change)
      yield* change(tenant, fenceOf(second))
      for (const wrong of [
        fenceOf(first),
        callOff,
        { change: "reopen", token: first },
        { change: "decide", token: first, head: 3, to: "b" },
        { change: "takeOver", token: third, move: other, former: second }
      ] as const)
        assert.strictEqual(yield* conflictOf(tenant, wrong), "moving", JSON.stringify(wrong))
      assert.deepStrictEqual((yield* record(tenant))?.calledOff, [])
      // neither a fence nor its end forgets the run
      yield* change(tenant, { change: "reopen", token: second })
      assert.deepStrictEqual((yield* record(tenant))?.run, { move, token: second })
      yield* change(tenant, { ...fenceOf(second), expiresInMillis: 0 })
      yield* append(tenant, stream("one", events(1)))
      assert.strictEqual(yield* conflictOf(tenant, fenceOf(first)), "active")
      // another move replaces it, and leaves its calling off to it
      yield* takeOver(third, second, other)
      assert.strictEqual(yield* conflictOf(tenant, fenceOf(second)), "active")
      yield* change(tenant, { ...callOff, token: second })
      assert.strictEqual(yield* late(first, third), "active")
      yield* change(tenant, fenceOf(third, other))
      const decided = yield* change(tenant, { change: "decide", token: third, head: 4, to: "b" })
      assert.isUndefined(decided.run)
      // a decided move has nothing to take over
      assert.strictEqual((yield* takeOver(first, third, other)).state.status, "moved")
      assert.strictEqual(yield* conflictOf(tenant, { ...callOff, move: other, token: undefined }), "moved")
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
        storage.setQuota({ ...at, quota: { events: 1 } }),
        storage.definePlan({ ...at, name: "plan", limits: {} }),
        storage.plans(at),
        storage.readEvents({ ...at, fromPosition: 1, toPosition: 1, limit: 1 }),
        ...(storage.openEvents === undefined
          ? []
          : [Effect.scoped(storage.openEvents({ ...at, fromPosition: 1, toPosition: 1 }))]),
        storage.hasPayloadWith({ ...at, text: "a", fromPosition: 1, toPosition: 1 }),
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
