/** The contract of drivers: appends and batches of them. */
import { assert, type Vitest } from "@effect/vitest"
import { Effect } from "effect"
import { EventStorage } from "../../driver/EventStorage.ts"
import {
  aggregateType,
  append,
  appended,
  batch,
  event,
  eventIds,
  events,
  newTenant,
  position,
  readLog,
  readStream,
  refused,
  replayed,
  request,
  setStatus,
  stream,
  version
} from "./eventKit.ts"

/** Numbers that no stream can have as its version. */
const impossible = [-1, -2, -3, 1.5, 0.5, 2 ** 31, 2 ** 53, -(2 ** 53), NaN, Infinity, -Infinity]

const conflict = (tenantId: string, aggregateId: string, expected: string | number, actual: number) => ({
  _tag: "VersionConflict",
  tenantId,
  aggregateType,
  aggregateId,
  expected,
  actual
})

export const expectations = (it: Vitest.MethodsNonLive<EventStorage>): void => {
  it.effect('"any" matches a stream at every version', () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      assert.deepStrictEqual((yield* append(tenant, stream("one", events(2), "any"))).versions, [1, 2])
      assert.deepStrictEqual((yield* append(tenant, stream("one", events(1), "any"))).versions, [3])
    })
  )

  it.effect('"noStream" matches only a stream without events', () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      yield* append(tenant, stream("one", events(1), "noStream"))
      assert.deepStrictEqual(
        yield* refused(tenant, stream("one", events(1), "noStream")),
        conflict(tenant, "one", "noStream", 1)
      )
      yield* append(tenant, stream("two", events(1), "noStream"))
    })
  )

  it.effect('"streamExists" matches only a stream with events', () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      assert.deepStrictEqual(
        yield* refused(tenant, stream("one", events(1), "streamExists")),
        conflict(tenant, "one", "streamExists", 0)
      )
      yield* append(tenant, stream("one", events(1)))
      assert.deepStrictEqual((yield* append(tenant, stream("one", events(1), "streamExists"))).versions, [2])
    })
  )

  it.effect("a number matches a stream at exactly that version, 0 a stream without events", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      yield* append(tenant, stream("one", events(2), 0))
      for (const wrong of [0, 1, 3, 2_147_483_647]) {
        assert.deepStrictEqual(
          yield* refused(tenant, stream("one", events(1), wrong)),
          conflict(tenant, "one", wrong, 2)
        )
      }
      assert.deepStrictEqual((yield* append(tenant, stream("one", events(1), 2))).versions, [3])
    })
  )

  it.effect("a number that cannot be a version matches no stream", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      for (const actual of [0, 1]) {
        for (const expected of impossible) {
          assert.deepStrictEqual(
            yield* refused(tenant, stream("one", events(1), expected)),
            conflict(tenant, "one", expected, actual)
          )
        }
        yield* append(tenant, stream("one", events(1)))
      }
    })
  )

  it.effect("a stream may occur several times in one append, which takes effect in the given order", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      yield* append(tenant, stream("two", events(1)))
      const { positions, versions } = yield* append(
        tenant,
        stream("one", events(1), "noStream"),
        stream("two", events(2), 1),
        stream("one", events(1), 1),
        stream("two", events(1), "any"),
        stream("one", events(2), "streamExists")
      )
      assert.deepStrictEqual(positions, [2, 3, 4, 5, 6, 7, 8])
      assert.deepStrictEqual(versions, [1, 2, 3, 2, 4, 3, 4])
      const { rows } = yield* readLog(tenant)
      assert.deepStrictEqual(
        rows.map(({ aggregateId, version: at }) => [aggregateId, at]),
        [
          ["two", 1],
          ["one", 1],
          ["two", 2],
          ["two", 3],
          ["one", 2],
          ["two", 4],
          ["one", 3],
          ["one", 4]
        ]
      )
      for (const expected of ["noStream", 4, 6] as const) {
        const streams = [stream("one", events(1), 4), stream("one", events(1), expected)]
        assert.deepStrictEqual(yield* refused(tenant, ...streams), conflict(tenant, "one", expected, 5))
      }
      assert.strictEqual(yield* position(tenant), 8)
    })
  )

  it.effect("each stream of an append has its own kind of expected version", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      yield* append(tenant, stream("two", events(1)))
      for (const expected of impossible) {
        const streams = [
          stream("one", events(1), "any"),
          stream("two", events(1), "streamExists"),
          stream("three", events(1), expected),
          stream("four", events(1), 2_147_483_647)
        ]
        assert.deepStrictEqual(yield* refused(tenant, ...streams), conflict(tenant, "three", expected, 0))
        assert.deepStrictEqual(
          yield* refused(tenant, ...streams.toReversed()),
          conflict(tenant, "four", 2_147_483_647, 0)
        )
      }
    })
  )

  it.effect("a refused append leaves no event, no version and no gap in the positions", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      yield* append(tenant, stream("one", events(1)))
      const before = yield* readLog(tenant)
      yield* refused(tenant, stream("one", events(3), 7))
      yield* refused(tenant, stream("two", events(3), "streamExists"))
      assert.deepStrictEqual(yield* readLog(tenant), before)
      assert.strictEqual(yield* position(tenant), 1)
      assert.strictEqual(yield* version(tenant, "two"), 0)
      assert.deepStrictEqual((yield* append(tenant, stream("two", events(1)))).positions, [2])
    })
  )

  it.effect("a refused append can succeed later", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      const late = stream("one", events(2), 1)
      yield* refused(tenant, late)
      yield* append(tenant, stream("one", events(1)))
      assert.deepStrictEqual(yield* batch(request(tenant, late)), [appended([2, 3], [2, 3])])
    })
  )
}

export const atomicity = (it: Vitest.MethodsNonLive<EventStorage>): void => {
  it.effect("streams of one append are written together, in the given order", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      yield* append(tenant, stream("two", events(1)))
      const [one, two, three] = [events(2), events(1), events(2)]
      const answer = yield* batch(
        request(
          tenant,
          stream("one", one, 0),
          stream("two", two, 1),
          stream("one", three, "noStream", "Other")
        )
      )
      assert.deepStrictEqual(answer, [appended([2, 3, 4, 5, 6], [1, 2, 2, 1, 2])])
      const written = (yield* readLog(tenant, { fromPosition: 2 })).rows
      assert.deepStrictEqual(
        written.map((row) => [row.eventId, row.aggregateType, row.aggregateId, row.position, row.version]),
        [
          [one[0]?.eventId, aggregateType, "one", 2, 1],
          [one[1]?.eventId, aggregateType, "one", 3, 2],
          [two[0]?.eventId, aggregateType, "two", 4, 2],
          [three[0]?.eventId, "Other", "one", 5, 1],
          [three[1]?.eventId, "Other", "one", 6, 2]
        ]
      )
    })
  )

  it.effect("nothing is written if one of the streams is not at its expected version", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      const good = (id: string) => stream(id, events(1), 0)
      for (const streams of [
        [stream("bad", events(1), 5), good("one"), good("two")],
        [good("one"), stream("bad", events(1), 5), good("two")],
        [good("one"), good("two"), stream("bad", events(1), 5), stream("worse", events(1), 6)]
      ]) {
        assert.deepStrictEqual(yield* refused(tenant, ...streams), conflict(tenant, "bad", 5, 0))
      }
      assert.strictEqual(yield* position(tenant), 0)
    })
  )

  it.effect("a thousand events get a thousand positions", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      const many = events(1000)
      const receipt = yield* append(tenant, stream("one", many, 0))
      const numbers = many.map((_, index) => index + 1)
      assert.deepStrictEqual(receipt.positions, numbers)
      assert.deepStrictEqual(receipt.versions, numbers)
      assert.deepStrictEqual(
        yield* eventIds(tenant),
        many.map(({ eventId }) => eventId)
      )
    })
  )

  it.effect("the receipt agrees with later reads", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      yield* append(tenant, stream("one", events(1)))
      const receipt = yield* append(tenant, stream("one", events(2)), stream("two", events(1)))
      const { rows } = yield* readLog(tenant, { fromPosition: 2 })
      assert.deepStrictEqual(receipt, {
        replayed: false,
        positions: rows.map((row) => row.position),
        versions: rows.map((row) => row.version),
        recordedAt: rows.map((row) => row.recordedAt)
      })
    })
  )

  it.effect("recorded times never go back, with any stated times of events", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      for (let at = 10; at > 0; at--) {
        yield* append(tenant, stream("one", [event({ occurredAt: at * 1_000_000 })]))
      }
      const { rows } = yield* readLog(tenant)
      const times = rows.map((row) => row.recordedAt)
      assert.deepStrictEqual(
        times,
        times.toSorted((left, right) => left - right)
      )
      for (const time of times) assert.isTrue(Number.isInteger(time))
    })
  )
}

export const batches = (it: Vitest.MethodsNonLive<EventStorage>): void => {
  it.effect("each append of a batch has its own outcome, in the given order", () =>
    Effect.gen(function* () {
      const [tenant, suspended, other] = [newTenant(), newTenant(), newTenant()]
      const before = event()
      yield* append(tenant, stream("one", [before]))
      yield* append(suspended, stream("one", events(1)))
      yield* setStatus(suspended, "suspended")
      const answers = yield* batch(
        request(tenant, stream("one", events(1), 1)),
        request(suspended, stream("one", events(1))),
        request(tenant, stream("two", events(2), 9)),
        request(tenant, stream("one", [before], 77)),
        request(other, stream("one", events(2), 0)),
        request(tenant, stream("three", [before])),
        request(tenant, stream("three", events(1), 0), stream("four", events(1), 0))
      )
      assert.deepStrictEqual(answers, [
        appended([2], [2]),
        { _tag: "TenantSuspended", tenantId: suspended },
        conflict(tenant, "two", 9, 0),
        replayed([1], [1]),
        appended([1, 2], [1, 2]),
        { _tag: "EventIdConflict", tenantId: tenant, eventId: before.eventId },
        appended([3, 4], [1, 1])
      ])
      assert.deepStrictEqual([yield* position(tenant), yield* position(other)], [4, 2])
    })
  )

  it.effect("an empty batch succeeds", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* batch(), [])
    })
  )

  it.effect("appends of a batch to one stream see the earlier ones", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      const answers = yield* batch(
        request(tenant, stream("one", events(1), "streamExists")),
        request(tenant, stream("one", events(2), "noStream")),
        request(tenant, stream("one", events(1), 2)),
        request(tenant, stream("one", events(1), 2)),
        request(tenant, stream("one", events(1), "any")),
        request(tenant, stream("one", events(1), 4), stream("two", events(1), 0)),
        request(tenant, stream("two", events(1), 1), stream("one", events(1), 5))
      )
      assert.deepStrictEqual(answers, [
        conflict(tenant, "one", "streamExists", 0),
        appended([1, 2], [1, 2]),
        appended([3], [3]),
        conflict(tenant, "one", 2, 3),
        appended([4], [4]),
        appended([5, 6], [5, 1]),
        appended([7, 8], [2, 6])
      ])
    })
  )

  it.effect("appends of a batch get their positions in the given order", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      const answers = yield* batch(
        request(tenant, stream("one", events(1))),
        request(tenant, stream("one", events(1))),
        request(tenant, stream("two", events(1))),
        request(tenant, stream("one", events(1))),
        request(tenant, stream("three", events(1)), stream("two", events(1)))
      )
      assert.deepStrictEqual(answers, [
        appended([1], [1]),
        appended([2], [2]),
        appended([3], [1]),
        appended([4], [3]),
        appended([5, 6], [1, 2])
      ])
      assert.deepStrictEqual(
        (yield* readStream(tenant, "one")).rows.map((row) => row.position),
        [1, 2, 4]
      )
    })
  )

  it.effect("tenants of one batch do not affect each other, with the same ids in each", () =>
    Effect.gen(function* () {
      const [one, two, three] = [newTenant(), newTenant(), newTenant()]
      yield* append(two, stream("one", events(1)))
      const same = stream("one", events(2), 0)
      const next = stream("one", events(1), 2)
      const answers = yield* batch(
        ...[three, one, two, three, one, two].map((tenant, index) => request(tenant, index < 3 ? same : next))
      )
      assert.deepStrictEqual(answers, [
        appended([1, 2], [1, 2]),
        appended([1, 2], [1, 2]),
        conflict(two, "one", 0, 1),
        appended([3], [3]),
        appended([3], [3]),
        conflict(two, "one", 2, 1)
      ])
      assert.deepStrictEqual(yield* eventIds(one), yield* eventIds(three))
      assert.lengthOf(yield* eventIds(two), 1)
    })
  )

  it.effect("a hundred appends of ten tenants fit a batch", () =>
    Effect.gen(function* () {
      const tenants = Array.from({ length: 10 }, newTenant)
      const requests = Array.from({ length: 10 }, (_, round) =>
        tenants.map((tenant) => request(tenant, stream("one", events(1), round)))
      ).flat()
      const answers = yield* batch(...requests)
      assert.deepStrictEqual(
        answers,
        requests.map((_, index) => {
          const place = Math.floor(index / 10) + 1
          return appended([place], [place])
        })
      )
    })
  )
}
