/** The contract of drivers: versions and positions that are stated with the ids of their events, to notice another history. */
import type { Vitest } from "@effect/vitest"
import { assert } from "@effect/vitest"
import { Effect, Struct } from "effect"
import { chainStart, eventHash } from "../../driver/eventHash.ts"
import { type EventQuery, EventStorage, type StreamAppend } from "../../driver/EventStorage.ts"
import {
  aggregateType,
  append,
  appended,
  batch,
  event,
  events,
  newTenant,
  type Plain,
  position,
  readLog,
  replayed,
  request,
  stream
} from "./eventKit.ts"

const ids = (count: number): Array<string> => events(count).map(({ eventId }) => eventId)

const expecting = (expectedEventId: string, to: StreamAppend): StreamAppend => ({ ...to, expectedEventId })

const another = (
  tenantId: string,
  expected: number,
  actual: number,
  expectedEventId: string,
  actualEventId: string | null
): Plain => ({
  _tag: "VersionConflict",
  tenantId,
  aggregateType,
  aggregateId: "one",
  expected,
  actual,
  expectedEventId,
  actualEventId
})

export const identities = (it: Vitest.MethodsNonLive<EventStorage>): void => {
  it.effect(
    "an expected version with the id of its event matches a stream with that event at that version",
    () =>
      Effect.gen(function* () {
        const tenant = newTenant()
        const [first, second, third] = events(3)
        if (first === undefined || second === undefined || third === undefined) return assert.fail()
        const [unknown = ""] = ids(1)
        yield* append(tenant, stream("other", events(1)))
        yield* append(tenant, stream("one", [first, second]))
        // one event, which takes the fast path, and several
        for (const count of [1, 2]) {
          for (const [expected, id, found] of [
            [2, unknown, second.eventId],
            [2, first.eventId, second.eventId],
            [1, first.eventId, second.eventId],
            [1, second.eventId, second.eventId],
            [3, second.eventId, second.eventId]
          ] as const) {
            assert.deepStrictEqual(
              yield* batch(request(tenant, expecting(id, stream("one", events(count), expected)))),
              [another(tenant, expected, 2, id, found)]
            )
          }
          assert.deepStrictEqual(
            yield* batch(request(tenant, { ...stream("never", events(count), 1), expectedEventId: unknown })),
            [{ ...another(tenant, 1, 0, unknown, null), aggregateId: "never" }]
          )
        }
        assert.strictEqual(yield* position(tenant), 3)
        const next = request(tenant, expecting(second.eventId, stream("one", [third], 2)))
        assert.deepStrictEqual(yield* batch(next), [appended([4], [3])])
        assert.deepStrictEqual(
          yield* batch(request(tenant, expecting(third.eventId, stream("one", events(2), 3)))),
          [appended([5, 6], [4, 5])]
        )
        // a repeated append gets its first outcome
        assert.deepStrictEqual(yield* batch(next), [{ ...appended([4], [3]), replayed: true }])
      })
  )

  it.effect("the expected event may be in an earlier entry of the same append", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      const [first, second, third] = events(3)
      if (first === undefined || second === undefined || third === undefined) return assert.fail()
      assert.deepStrictEqual(
        yield* batch(
          request(
            tenant,
            stream("one", [first, second]),
            expecting(second.eventId, stream("one", [third], 2)),
            expecting(third.eventId, stream("one", events(1), 3))
          )
        ),
        [appended([1, 2, 3, 4], [1, 2, 3, 4])]
      )
      const [fifth] = events(1)
      if (fifth === undefined) return assert.fail()
      assert.deepStrictEqual(
        yield* batch(
          request(tenant, stream("one", [fifth]), expecting(third.eventId, stream("one", events(1), 5)))
        ),
        [another(tenant, 5, 5, third.eventId, fifth.eventId)]
      )
      assert.strictEqual(yield* position(tenant), 4)
    })
  )

  it.effect("an append in a batch can expect the event of the one before it, which may be refused", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      const [first] = yield* ofStored(tenant, 1)
      const [mine, yours] = events(2)
      if (first === undefined || mine === undefined || yours === undefined) return assert.fail()
      const one = request(tenant, expecting(first, stream("one", [mine], 1)))
      const two = request(tenant, expecting(mine.eventId, stream("one", [yours], 2)))
      const refused = request(tenant, expecting(mine.eventId, stream("one", events(1), 1)))
      assert.deepStrictEqual(yield* batch(refused, one, two, refused), [
        another(tenant, 1, 1, mine.eventId, first),
        appended([2], [2]),
        appended([3], [3]),
        another(tenant, 1, 3, mine.eventId, yours.eventId)
      ])
    })
  )

  it.effect("a condition with the id of the event at its position fails if another event is there", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      const [first, second] = yield* ofStored(tenant, 2)
      const [unknown = ""] = ids(1)
      if (first === undefined || second === undefined) return assert.fail()
      const none: EventQuery = [{ eventTypes: ["Never"], tags: [] }]
      const all: EventQuery = [{ eventTypes: undefined, tags: [] }]
      const on = (after: number, afterEventId: string, query = none) =>
        batch({
          ...request(tenant, stream("two", events(1))),
          conditions: [{ query, after, afterEventId }]
        })
      const diverged = (at: number, expected: string, actual: string | null): Plain => ({
        _tag: "PositionDiverged",
        tenantId: tenant,
        position: at,
        expected,
        actual
      })
      for (const query of [none, all]) {
        assert.deepStrictEqual(yield* on(2, first, query), [diverged(2, first, second)])
        assert.deepStrictEqual(yield* on(1, unknown, query), [diverged(1, unknown, first)])
        assert.deepStrictEqual(yield* on(3, second, query), [diverged(3, second, null)])
        assert.deepStrictEqual(yield* on(0, first, query), [diverged(0, first, null)])
      }
      assert.deepInclude((yield* on(1, first, all))[0], { _tag: "AppendConditionFailed", position: 2 })
      assert.deepStrictEqual(yield* on(2, second, all), [appended([3], [1])])
      assert.deepStrictEqual(yield* on(1, first), [appended([4], [2])])
    })
  )

  it.effect("known versions count only while the log ends where they were known", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      const [, second] = yield* ofStored(tenant, 2)
      const never: EventQuery = [{ eventTypes: ["Never"], tags: [] }]
      const all: EventQuery = [{ eventTypes: undefined, tags: [] }]
      const knowing = (after: number, afterEventId: string | undefined, query: EventQuery, count = 1) => ({
        ...request(tenant, stream("one", events(count)), stream("two", events(1)), stream("one", events(1))),
        conditions: [{ query, after, afterEventId }],
        knownVersions: [2, undefined, 2]
      })
      const next = knowing(2, second, all, 2)
      assert.deepStrictEqual(yield* batch(next), [appended([3, 4, 5, 6], [3, 4, 1, 5])])
      // a repeated append gets its first outcome
      assert.deepStrictEqual(yield* batch(next), [replayed([3, 4, 5, 6], [3, 4, 1, 5])])
      // the conditions hold, but the log has grown
      assert.deepStrictEqual(yield* batch(knowing(2, second, never)), [appended([7, 8, 9], [6, 2, 7])])
      // without an id it may be another log that ends there
      const ofAnother = { ...knowing(9, undefined, all), knownVersions: [20, 20, 20] }
      assert.deepStrictEqual(yield* batch(ofAnother), [appended([10, 11, 12], [8, 3, 9])])
      const [unknown = ""] = ids(1)
      assert.deepInclude((yield* batch(knowing(12, unknown, all)))[0], { _tag: "PositionDiverged" })
      assert.deepInclude((yield* batch(knowing(2, second, all)))[0], { _tag: "AppendConditionFailed" })
      // expectations are about the versions that are stored
      const last = (yield* readLog(tenant)).rows.at(-1)?.eventId
      const conflicting = { ...knowing(12, last, all), streams: [stream("two", events(1), 2)] }
      assert.deepInclude((yield* batch({ ...conflicting, knownVersions: [3] }))[0], {
        _tag: "VersionConflict"
      })
      const expected = { ...conflicting, streams: [stream("two", events(1), 3)] }
      assert.deepStrictEqual(yield* batch({ ...expected, knownVersions: [3] }), [appended([13], [4])])
    })
  )

  it.effect(
    "all conditions must hold, each after its own position; the first that does not hold is named",
    () =>
      Effect.gen(function* () {
        const tenant = newTenant()
        yield* append(tenant, stream("one", [event({ tags: ["x"] }), event({ tags: ["y"] })]))
        const of = (tag: string, after: number) => ({
          query: [{ eventTypes: undefined, tags: [tag] }],
          after
        })
        const under = (...conditions: ReadonlyArray<ReturnType<typeof of>>) =>
          batch({ ...request(tenant, stream("two", events(1))), conditions })
        const failed = (condition: number, after: number, at: number): Plain => ({
          _tag: "AppendConditionFailed",
          tenantId: tenant,
          after,
          condition,
          item: 0,
          position: at
        })
        assert.deepStrictEqual(yield* under(of("x", 1), of("y", 1)), [failed(1, 1, 2)])
        assert.deepStrictEqual(yield* under(of("x", 0), of("y", 1)), [failed(0, 0, 1)])
        assert.deepStrictEqual(yield* under(of("x", 1), of("y", 2)), [appended([3], [1])])
        assert.deepStrictEqual(yield* under(), [appended([4], [2])])
      })
  )

  it.effect("an event is found by its id, in its own tenant only", () =>
    Effect.gen(function* () {
      const storage = yield* EventStorage
      const [mine, theirs] = [newTenant(), newTenant()]
      const [first, second] = yield* ofStored(mine, 2)
      const [unknown = ""] = ids(1)
      yield* append(theirs, stream("one", events(1)))
      const find = (eventId = "", tenantId = mine) => storage.eventPosition({ tenantId, eventId })
      assert.strictEqual(yield* find(first), 1)
      assert.strictEqual(yield* find(second), 2)
      assert.isUndefined(yield* find(unknown))
      assert.isUndefined(yield* find(second, theirs))
      assert.isUndefined(yield* find(second, newTenant()))
    })
  )

  it.effect("a repeated append may have another trace", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      yield* EventStorage.use((storage) => storage.provisionTenant(tenant))
      yield* EventStorage.use((storage) => storage.startHashChain(tenant))
      const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
      const one = [event({ traceparent })]
      assert.deepStrictEqual(yield* batch(request(tenant, stream("one", one))), [appended([1], [1])])
      const again = one.map((traced) => Struct.omit(traced, ["traceparent"]))
      assert.deepStrictEqual(yield* batch(request(tenant, stream("one", again))), [replayed([1], [1])])
      const [row] = (yield* readLog(tenant)).rows
      if (row === undefined) return assert.fail()
      assert.strictEqual(row.hash, eventHash(chainStart, tenant, row))
    })
  )
}

/** The ids of so many events of a stream that are stored now. */
const ofStored = Effect.fnUntraced(function* (tenant: ReturnType<typeof newTenant>, count: number) {
  const stored = events(count)
  yield* append(tenant, stream("one", stored))
  return stored.map(({ eventId }) => eventId)
})
