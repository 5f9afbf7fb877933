/** The contract of drivers: appends and states that were made before a subject was forgotten. */
import { assert, type Vitest } from "@effect/vitest"
import { Effect } from "effect"
import type { EventStorage } from "../../driver/EventStorage.ts"
import type { TenantId } from "../../domain/Tenant.ts"
import {
  appended,
  batch,
  endsWith,
  eventIds,
  events,
  newTenant,
  replayed,
  request,
  setStatus,
  stream
} from "./eventKit.ts"

const outdated = (tenantId: TenantId) => ({ _tag: "SubjectsForgotten", tenantId, forgotten: 0 })

const command = (key: string) => ({ key, fingerprint: "a".repeat(64), expiresInMillis: 60_000 })

export const forgotten = (it: Vitest.MethodsNonLive<EventStorage>): void => {
  it.effect("an append that knows another number is refused", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      const first = request(tenant, stream("one", events(1)))
      for (const wrong of [1, -1, 2_147_483_647])
        assert.deepStrictEqual(yield* batch({ ...first, forgotten: wrong }), [outdated(tenant)])
      assert.deepStrictEqual(yield* batch({ ...first, forgotten: 0 }), [appended([1], [1])])
      assert.deepStrictEqual(yield* batch({ ...request(tenant, stream("one", events(1))), forgotten: 1 }), [
        outdated(tenant)
      ])
      const sent = request(tenant, stream("one", events(1), 1), stream("two", events(2)))
      assert.deepStrictEqual(yield* batch({ ...sent, forgotten: 1 }), [outdated(tenant)])
      const query = [{ eventTypes: undefined, tags: [] }]
      const conditions = [{ query, after: 1 }]
      assert.deepStrictEqual(yield* batch({ ...sent, conditions, forgotten: 1 }), [outdated(tenant)])
      assert.deepStrictEqual(
        yield* batch({
          ...request(tenant, stream("one", [])),
          command: command("1"),
          forgotten: 1
        }),
        [outdated(tenant)]
      )
      assert.deepStrictEqual(yield* batch({ ...sent, conditions, forgotten: 0 }), [
        appended([2, 3, 4], [2, 1, 2])
      ])
    })
  )

  it.effect("a number that is out of date comes before a version, and after the status of the tenant", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      const wrong = { ...request(tenant, stream("one", events(1), 7)), forgotten: 1 }
      assert.deepStrictEqual(yield* batch(wrong), [outdated(tenant)])
      yield* setStatus(tenant, "suspended")
      assert.deepStrictEqual(yield* batch(wrong), [{ _tag: "TenantSuspended", tenantId: tenant }])
    })
  )

  it.effect("a repeated append and a repeated command get their first outcome with every number", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      const first = request(tenant, stream("one", events(2), 0))
      yield* batch(first)
      assert.deepStrictEqual(yield* batch({ ...first, forgotten: 1 }), [replayed([1, 2], [1, 2])])
      const commanded = { ...request(tenant, stream("two", events(1))), command: command("1") }
      yield* batch(commanded)
      const [again] = yield* batch({ ...commanded, forgotten: 1 })
      assert.deepStrictEqual(again, replayed([3], [1]))
      assert.deepStrictEqual(
        yield* batch({ ...request(tenant, stream("one", events(1))), command: command("1"), forgotten: 1 }),
        [replayed([3], [1])]
      )
    })
  )

  it.effect(
    "of appends that come at once, those with another number are refused, and the others written",
    () =>
      Effect.gen(function* () {
        const [tenant, other] = [newTenant(), newTenant()]
        const sent = [
          request(tenant, stream("one", events(1))),
          { ...request(tenant, stream("one", events(1))), forgotten: 1 },
          request(other, stream("one", events(1))),
          { ...request(tenant, stream("one", events(1))), forgotten: 0 },
          { ...request(other, stream("one", events(2))), forgotten: 2 },
          { ...request(other, stream("one", events(2))), forgotten: 0 },
          { ...request(tenant, stream("two", events(1), 3)), forgotten: 0 }
        ]
        assert.deepStrictEqual(yield* batch(...sent), [
          appended([1], [1]),
          outdated(tenant),
          appended([1], [1]),
          appended([2], [2]),
          outdated(other),
          appended([2, 3], [2, 3]),
          {
            _tag: "VersionConflict",
            tenantId: tenant,
            aggregateType: "Case",
            aggregateId: "two",
            expected: 3,
            actual: 0
          }
        ])
        assert.lengthOf(yield* eventIds(tenant), 2)
        assert.lengthOf(yield* eventIds(other), 3)
      })
  )

  it.effect("a stream ends with an event only for those who know the number", () =>
    Effect.gen(function* () {
      const [tenant, other] = [newTenant(), newTenant()]
      const [one, two] = [events(1), events(1)]
      yield* batch(request(tenant, stream("one", one)), request(other, stream("one", two)))
      const [mine = "", theirs = ""] = [one[0]?.eventId, two[0]?.eventId]
      assert.deepStrictEqual(
        yield* Effect.forEach(
          [
            [tenant, mine, 0],
            [tenant, mine, 1],
            [other, theirs, undefined],
            [other, theirs, 2],
            [other, theirs, 0],
            [other, mine, 0]
          ] as const,
          ([tenantId, eventId, known]) => endsWith(tenantId, "one", 1, eventId, { forgotten: known }),
          { concurrency: "unbounded" }
        ),
        [true, false, true, false, true, false]
      )
      assert.isFalse(yield* endsWith(newTenant(), "one", 1, mine, { forgotten: 0 }))
    })
  )
}
