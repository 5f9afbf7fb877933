/** The contract of drivers: quotas of tenants, and plans. */
import { assert, type Vitest } from "@effect/vitest"
import { Clock, Effect } from "effect"
import { uuidV4Unsafe } from "effect/crypto/SecureRandom"
import { AdministrationStorage, type Limits, type Quota } from "../../driver/AdministrationStorage.ts"
import { EventStorage } from "../../driver/EventStorage.ts"
import type { TenantId } from "../../domain/Tenant.ts"
import {
  administered,
  begun,
  change,
  newToken,
  purge,
  rawEvents,
  record
} from "../driver/administrationKit.ts"
import {
  append,
  appended,
  batch,
  event,
  events,
  newTenant,
  position,
  refused,
  replayed,
  request,
  stream
} from "../driver/eventKit.ts"
import { flipped } from "../failures.ts"

type Services = AdministrationStorage | EventStorage

const setQuota = (tenantId: TenantId, quota: Quota | undefined) =>
  Effect.flatMap(administered(tenantId), (at) =>
    AdministrationStorage.use((storage) => storage.setQuota({ ...at, quota }))
  )

const definePlan = (name: string, limits: Limits) =>
  Effect.flatMap(administered(newTenant()), ({ accessId }) =>
    AdministrationStorage.use((storage) => storage.definePlan({ accessId, name, limits }))
  )

/** A tenant whose events were recorded at the given times. */
const recorded = Effect.fnUntraced(function* (...times: ReadonlyArray<number>) {
  const [source, tenantId] = [newTenant(), newTenant()]
  yield* append(source, stream("one", events(times.length)))
  const stored = yield* rawEvents(source)
  const rows = stored.map((row, index) => Object.assign({}, row, { recordedAt: times[index] }))
  const token = yield* begun(tenantId, rows)
  yield* change(tenantId, {
    change: "finishImport",
    token,
    head: rows.length,
    chainedFrom: undefined,
    status: "active"
  })
  return tenantId
})

/** Appends to a stream of its own. */
const lone = (tenantId: TenantId, count = 1) => request(tenantId, stream(uuidV4Unsafe(), events(count)))

const exceeded = (tenantId: TenantId, maximum: number) => ({
  _tag: "QuotaExceeded",
  tenantId,
  quota: "events",
  maximum,
  windowMillis: null,
  retryAfterMillis: null
})

const conflictOf = (tenantId: TenantId, quota: Quota) =>
  Effect.map(flipped(setQuota(tenantId, quota)), (error) =>
    error._tag === "TenantStateConflict" ? error.status : error._tag
  )

export const quotas = (it: Vitest.MethodsNonLive<Services>): void => {
  it.effect("a log takes as many events as its quota, and what is larger is refused for good", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      yield* append(tenant, stream("one", events(2)))
      yield* setQuota(tenant, { events: 4 })
      assert.deepStrictEqual((yield* record(tenant))?.quota, { events: 4 })
      assert.deepStrictEqual(yield* refused(tenant, stream("one", events(3))), exceeded(tenant, 4))
      assert.containSubset(yield* refused(tenant, stream("one", events(4)), stream("two", events(1))), {
        _tag: "LimitExceeded",
        limit: "appendEvents",
        maximum: 4
      })
      yield* append(tenant, stream("one", events(1)), stream("two", events(1)))
      assert.deepStrictEqual(yield* refused(tenant, stream("one", events(1))), exceeded(tenant, 4))
      yield* setQuota(tenant, { events: 5 })
      yield* append(tenant, stream("one", events(1)))
      assert.deepStrictEqual(yield* refused(tenant, stream("one", events(1))), exceeded(tenant, 5))
      yield* setQuota(tenant, undefined)
      assert.isUndefined((yield* record(tenant))?.quota)
      assert.deepStrictEqual((yield* append(tenant, stream("one", events(6)))).positions.at(-1), 11)
    })
  )

  it.effect("a retry is answered with its first outcome, and a conflict comes before the quota", () =>
    Effect.gen(function* () {
      const storage = yield* EventStorage
      const tenant = newTenant()
      const first = stream("one", events(2))
      yield* append(tenant, first)
      const command = { key: "key", fingerprint: "f".repeat(64), expiresInMillis: 60_000 }
      yield* storage.append({ tenantId: tenant, streams: [stream("two", events(1))], command })
      yield* setQuota(tenant, { events: 1 })
      assert.containSubset(yield* append(tenant, first), { replayed: true, positions: [1, 2] })
      const again = { tenantId: tenant, streams: [stream("two", events(2))], command }
      assert.containSubset(yield* storage.append(again), { replayed: true, positions: [3] })
      assert.containSubset(yield* refused(tenant, stream("one", events(1), 1)), { _tag: "VersionConflict" })
      assert.containSubset(yield* refused(tenant, stream("one", events(1))), { _tag: "QuotaExceeded" })
      // a refused command leaves its key free, and one without events is recorded
      const other = { ...command, key: "other" }
      const refusal = yield* flipped(
        storage.append({ tenantId: tenant, streams: [stream("two", events(1))], command: other })
      )
      assert.containSubset(refusal, { _tag: "QuotaExceeded" })
      assert.isUndefined(yield* storage.commandOutcome({ tenantId: tenant, key: "other" }))
      yield* storage.append({ tenantId: tenant, streams: [stream("two", [])], command: other })
      assert.containSubset(yield* storage.commandOutcome({ tenantId: tenant, key: "other" }), { events: 0 })
    })
  )

  it.effect("of concurrent appends exactly as many are written as the quota allows", () =>
    Effect.gen(function* () {
      for (const quota of [{ events: 100 }, { rate: { events: 100, windowMillis: 3_600_000 } }]) {
        const tenant = newTenant()
        yield* append(tenant, stream("one", events(1)))
        yield* setQuota(tenant, quota)
        const outcomes = yield* batch(...Array.from({ length: 199 }, () => lone(tenant)))
        assert.strictEqual(outcomes.filter(({ _tag }) => _tag === "Appended").length, 99)
        assert.strictEqual(outcomes.filter(({ _tag }) => _tag === "QuotaExceeded").length, 100)
        assert.strictEqual(yield* position(tenant), 100)
      }
    })
  )

  it.effect("counts what is before an append in its batch, and nothing that is refused", () =>
    Effect.gen(function* () {
      for (const quota of [{ events: 6 }, { rate: { events: 6, windowMillis: 3_600_000 } }]) {
        const tenant = newTenant()
        yield* append(tenant, stream("one", events(1)))
        yield* setQuota(tenant, quota)
        const again = lone(tenant)
        // the first is sent alone, the others together
        const outcomes = yield* batch(
          again,
          lone(tenant, 2),
          again,
          lone(tenant, 3),
          request(tenant, stream("one", events(1), 7)),
          lone(tenant, 2),
          lone(tenant)
        )
        assert.deepStrictEqual(
          outcomes.map(({ _tag }) => _tag),
          [
            "Appended",
            "Appended",
            "Appended",
            "QuotaExceeded",
            "VersionConflict",
            "Appended",
            "QuotaExceeded"
          ]
        )
        assert.deepStrictEqual(outcomes[2], replayed([2], [1]))
        assert.deepStrictEqual(outcomes[5], appended([5, 6], [1, 2]))
        assert.strictEqual(yield* position(tenant), 6)
      }
      // an event of the same batch may be the one that many positions ago
      const now = yield* Clock.currentTimeMillis
      const tenant = yield* recorded(now - 60_000, now - 60_000, now - 60_000)
      yield* setQuota(tenant, { rate: { events: 2, windowMillis: 30_000 } })
      const conflict = request(tenant, stream("one", events(1), 7))
      assert.deepStrictEqual(
        (yield* batch(conflict, lone(tenant, 2), lone(tenant))).map(({ _tag }) => _tag),
        ["VersionConflict", "Appended", "QuotaExceeded"]
      )
    })
  )

  it.effect("a rate refuses while the event that many positions ago is younger than the window", () =>
    Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      const tenant = yield* recorded(now - 50_000, now - 20_000, now - 10_000)
      const rate = (count: number, windowMillis: number) =>
        setQuota(tenant, { rate: { events: count, windowMillis } })
      yield* rate(3, 60_000)
      const refusal = yield* refused(tenant, stream("one", events(1)))
      assert.containSubset(refusal, {
        _tag: "QuotaExceeded",
        quota: "rate",
        maximum: 3,
        windowMillis: 60_000
      })
      const after = Number(refusal["retryAfterMillis"])
      assert.isTrue(after > 0 && after <= 10_000, `${after}`)
      assert.containSubset(yield* refused(tenant, stream("one", events(4))), {
        _tag: "LimitExceeded",
        limit: "appendEvents",
        maximum: 3
      })
      yield* rate(3, 45_000)
      assert.containSubset(yield* refused(tenant, stream("one", events(2))), { _tag: "QuotaExceeded" })
      assert.deepStrictEqual((yield* append(tenant, stream("one", events(1)))).positions, [4])
      assert.containSubset(yield* refused(tenant, stream("one", events(1))), { _tag: "QuotaExceeded" })
      // never more than the log has
      yield* rate(5, 45_000)
      assert.deepStrictEqual((yield* append(tenant, stream("one", events(1)))).positions, [5])
    })
  )

  it.effect("a rate is judged at the later of now and the time of the last event", () =>
    Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      const head = now + 3_600_000
      const tenant = yield* recorded(head - 5000, head)
      yield* setQuota(tenant, { rate: { events: 2, windowMillis: 5001 } })
      const refusal = yield* refused(tenant, stream("one", events(1)))
      assert.containSubset(refusal, { _tag: "QuotaExceeded", quota: "rate" })
      const after = Number(refusal["retryAfterMillis"])
      assert.isTrue(after > 3_590_000 && after <= 3_600_001, `${after}`)
      yield* setQuota(tenant, { rate: { events: 2, windowMillis: 5000 } })
      assert.deepStrictEqual((yield* append(tenant, stream("one", events(1)))).recordedAt, [head])
      assert.containSubset(yield* refused(tenant, stream("one", events(1))), { _tag: "QuotaExceeded" })
    })
  )

  it.effect("refuses an event with more bytes of UTF-8 than its quota", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      yield* append(tenant, stream("one", events(1)))
      yield* setQuota(tenant, { eventBytes: 20 })
      const sized = (payload: string) => event({ metadata: "{}", payload: JSON.stringify(payload) })
      yield* append(tenant, stream("one", [sized("ä".repeat(8)), sized("")]))
      assert.containSubset(
        yield* refused(
          tenant,
          stream("one", [sized(""), { ...sized("ä".repeat(8) + "1"), eventType: "Large" }])
        ),
        {
          _tag: "LimitExceeded",
          limit: "eventBytes",
          maximum: 20,
          subject: "event Large, under the quota of the tenant"
        }
      )
      assert.strictEqual(yield* position(tenant), 3)
    })
  )

  it.effect("counts exempt events and never refuses them", () =>
    Effect.gen(function* () {
      const storage = yield* EventStorage
      const tenant = newTenant()
      yield* append(tenant, stream("one", events(1)))
      yield* setQuota(tenant, { events: 2, eventBytes: 1000 })
      const large = event({ payload: JSON.stringify("x".repeat(2000)) })
      const streams = [stream("one", [...events(3), large])]
      const written = yield* storage.append({ tenantId: tenant, streams, exempt: true })
      assert.deepStrictEqual(written.positions, [2, 3, 4, 5])
      assert.containSubset(yield* storage.append({ tenantId: tenant, streams, exempt: true }), {
        replayed: true
      })
      yield* setQuota(tenant, { events: 6 })
      yield* append(tenant, stream("one", events(1)))
      const exempt = { ...lone(tenant), exempt: true }
      assert.deepStrictEqual(
        (yield* batch(lone(tenant), exempt, lone(tenant))).map(({ _tag }) => _tag),
        ["QuotaExceeded", "Appended", "QuotaExceeded"]
      )
    })
  )

  it.effect("a plan has the limits of each tenant that follows it, from its next append on", () =>
    Effect.gen(function* () {
      const storage = yield* AdministrationStorage
      const [small, large] = [`small ${uuidV4Unsafe()}`, `large ${uuidV4Unsafe()}`]
      const tenants = [newTenant(), newTenant()]
      const [tenant = newTenant(), other = tenant] = tenants
      for (const each of tenants) yield* append(each, stream("one", events(1)))
      assert.strictEqual(yield* conflictOf(tenant, { plan: small }), "active")
      assert.isUndefined((yield* record(tenant))?.quota)
      yield* definePlan(small, { events: 1 })
      yield* definePlan(large, { events: 3 })
      for (const each of tenants) yield* setQuota(each, { plan: small })
      assert.deepStrictEqual((yield* record(tenant))?.quota, { plan: small })
      assert.deepStrictEqual(yield* refused(other, stream("one", events(1))), exceeded(other, 1))
      yield* definePlan(small, { events: 2 })
      yield* setQuota(other, { plan: large })
      for (const [each, count] of [
        [tenant, 2],
        [other, 3]
      ] as const) {
        yield* append(each, stream("one", events(count - 1)))
        assert.deepStrictEqual(yield* refused(each, stream("one", events(1))), exceeded(each, count))
      }
      const listed = yield* storage.plans(yield* administered(tenant))
      assert.deepStrictEqual(
        listed.filter(({ name }) => name === small || name === large),
        [
          { name: large, limits: { events: 3 } },
          { name: small, limits: { events: 2 } }
        ]
      )
    })
  )

  it.effect("42: the quota of a tenant concerns no other", () =>
    Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      const tenant = yield* recorded(now - 60_000, now - 60_000)
      const other = yield* recorded(now - 1000, now - 1000, now - 1000)
      yield* setQuota(tenant, { rate: { events: 2, windowMillis: 30_000 } })
      assert.isUndefined((yield* record(other))?.quota)
      const outcomes = yield* batch(lone(other), lone(tenant), lone(other, 3), lone(tenant), lone(tenant))
      assert.deepStrictEqual(outcomes.slice(0, 4), [
        appended([4], [1]),
        appended([3], [1]),
        appended([5, 6, 7], [1, 2, 3]),
        appended([4], [1])
      ])
      assert.containSubset(outcomes[4], { _tag: "QuotaExceeded", tenantId: tenant, maximum: 2 })
    })
  )

  it.effect("a quota is set while a tenant is active, suspended or importing, and goes with its rows", () =>
    Effect.gen(function* () {
      const [tenant, token] = [newTenant(), newToken()]
      const quota = { events: 9 }
      assert.strictEqual(yield* conflictOf(tenant, quota), null)
      yield* append(tenant, stream("one", events(1)))
      yield* setQuota(tenant, quota)
      yield* change(tenant, { change: "fence", token, expiresInMillis: 60_000, waitMillis: 1000 })
      assert.strictEqual(yield* conflictOf(tenant, { events: 1 }), "moving")
      yield* change(tenant, { change: "decide", token, head: 1, to: "b" })
      assert.deepStrictEqual((yield* record(tenant))?.quota, quota)
      yield* purge(tenant, token, 10)
      assert.isUndefined((yield* record(tenant))?.quota)
      yield* change(tenant, { change: "beginImport", token })
      yield* setQuota(tenant, quota)
      yield* change(tenant, {
        change: "finishImport",
        token,
        head: 0,
        chainedFrom: undefined,
        status: "suspended"
      })
      assert.deepStrictEqual((yield* record(tenant))?.quota, quota)
      yield* setQuota(tenant, { events: 8 })
      assert.deepStrictEqual((yield* record(tenant))?.quota, { events: 8 })
    })
  )
}
