/**
 * Quick cases in which two tenants use the same ids, tags and keys in one driver. Together they fail if a single predicate
 * on the tenant is missing.
 */
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import type { AppendRequest, EventQuery, NewEventRow, ReadLogRequest } from "../../driver/EventStorage.ts"
import { EventStorage } from "../../driver/EventStorage.ts"
import { chainStart, eventHash } from "../../driver/eventHash.ts"
import {
  append as appendOne,
  batch,
  endsWith,
  event,
  events,
  newTenant,
  position,
  readLog,
  readOpened,
  request,
  stream
} from "../driver/eventKit.ts"
import type { TenantId } from "../../domain/Tenant.ts"
import { type Case, test } from "./kit.ts"

/** Runs with two tenants in both directions, because the order of ids and of registration must not matter. */
const withTwo = <A, E, R>(run: (mine: TenantId, theirs: TenantId) => Effect.Effect<A, E, R>) =>
  Effect.forEach(
    [
      [false, false],
      [false, true],
      [true, false],
      [true, true]
    ] as const,
    Effect.fnUntraced(function* ([later, lower]) {
      const [low = newTenant(), high = newTenant()] = [newTenant(), newTenant()].toSorted()
      const [mine, theirs] = lower ? [low, high] : [high, low]
      const storage = yield* EventStorage
      for (const tenant of later ? [theirs, mine] : [mine, theirs]) yield* storage.provisionTenant(tenant)
      yield* run(mine, theirs)
    }),
    { discard: true }
  )

const tagged = (eventType: string, ...tags: ReadonlyArray<string>): NewEventRow => event({ eventType, tags })

/** Appends alone, and beside an append of another tenant, because a driver may treat these differently. */
const inBothWays = Effect.fnUntraced(function* (sent: (round: number) => AppendRequest) {
  const [alone] = yield* batch(sent(1))
  const [beside] = yield* batch(sent(2), request(newTenant(), stream("one", events(1))))
  return [alone, beside]
})

const found = (tenant: TenantId, query: EventQuery, options: Partial<ReadLogRequest> = {}) =>
  Effect.map(readLog(tenant, { query, ...options }), ({ rows }) => rows.map((row) => row.eventId))

/** The cases. */
export const queries: ReadonlyArray<Case> = [
  test("1: the streams of a tenant are listed, whatever streams others have", () =>
    withTwo(
      Effect.fnUntraced(function* (mine, theirs) {
        const storage = yield* EventStorage
        yield* appendOne(theirs, stream("a", events(1)), stream("c", events(2)), stream("e", events(1)))
        yield* appendOne(mine, stream("b", events(2)), stream("c", events(1)), stream("d", events(1)))
        const { rows } = yield* storage.listStreams({ tenantId: mine, limit: 10 })
        assert.deepStrictEqual(
          rows.map(({ aggregateId, version }) => [aggregateId, version]),
          [
            ["b", 2],
            ["c", 1],
            ["d", 1]
          ]
        )
      })
    )),

  test("1: another tenant's events with the same correlation id or aggregate id are not found", () =>
    withTwo(
      Effect.fnUntraced(function* (mine, theirs) {
        const ids = { aggregateId: "one", correlationId: "root" }
        const own = event({ correlationId: "root" })
        yield* appendOne(
          theirs,
          stream("one", [event({ correlationId: "root" }), event({ correlationId: "root" })])
        )
        yield* appendOne(mine, stream("two", events(2)), stream("one", [own]))
        for (const wanted of [{ aggregateId: "one" }, { correlationId: "root" }, ids])
          for (const direction of ["forwards", "backwards"] as const) {
            const query = [{ eventTypes: undefined, tags: [], ...wanted }]
            assert.deepStrictEqual(yield* found(mine, query, { direction }), [own.eventId])
          }
      })
    )),

  test("1: the id of another tenant's event is at no version, at no position and nowhere in the log", () =>
    withTwo(
      Effect.fnUntraced(function* (mine, theirs) {
        const storage = yield* EventStorage
        const [one, two] = events(2)
        if (one === undefined || two === undefined) return assert.fail()
        yield* appendOne(theirs, stream("one", [one]))
        yield* appendOne(mine, stream("one", [two]))
        const [expected, behind] = [{ expectedEventId: one.eventId }, { after: 1, afterEventId: one.eventId }]
        for (const outcome of yield* inBothWays(() =>
          request(mine, { ...stream("one", events(1), 1), ...expected })
        ))
          assert.deepInclude(outcome, { _tag: "VersionConflict", tenantId: mine, actualEventId: two.eventId })
        for (const outcome of yield* inBothWays(() => ({
          ...request(mine, stream("one", events(1))),
          conditions: [{ query: [], ...behind }]
        })))
          assert.deepInclude(outcome, { _tag: "PositionDiverged", tenantId: mine, actual: two.eventId })
        const find = (tenantId: TenantId) => storage.eventPosition({ tenantId, eventId: one.eventId })
        assert.strictEqual(yield* find(theirs), 1)
        assert.isUndefined(yield* find(mine))
        const end = { aggregateType: "Case", aggregateId: "one", version: 1 }
        for (const [tenantId, { eventId }, ends] of [
          [mine, two, true],
          [theirs, one, true],
          [mine, one, false],
          [theirs, two, false]
        ] as const)
          assert.strictEqual(yield* storage.streamEndsWith({ tenantId, eventId, ...end }), ends)
        // other events there in other tenants are no reason to refuse
        const own = { ...stream("one", events(1), 1), expectedEventId: two.eventId }
        assert.deepInclude((yield* batch(request(mine, own)))[0], { _tag: "Appended", positions: [2] })
      })
    )),

  test("1: the version of another tenant's stream of the same name neither allows nor refuses an append", () =>
    withTwo(
      Effect.fnUntraced(function* (mine, theirs) {
        yield* appendOne(theirs, stream("one", events(3)), stream("two", events(3)))
        yield* appendOne(mine, stream("zero", events(1)))
        for (const count of [1, 2]) {
          const stale = yield* inBothWays(() => request(mine, stream("one", events(count), 3)))
          for (const outcome of stale) {
            assert.deepInclude(outcome, { _tag: "VersionConflict", tenantId: mine, actual: 0 })
          }
          const existing = yield* inBothWays(() =>
            request(mine, stream("two", events(count), "streamExists"))
          )
          for (const outcome of existing) assert.deepInclude(outcome, { _tag: "VersionConflict", actual: 0 })
        }
        assert.deepStrictEqual((yield* appendOne(mine, stream("one", events(2), 0))).versions, [1, 2])
        assert.deepStrictEqual((yield* appendOne(mine, stream("two", events(1), 0))).versions, [1])
        assert.strictEqual(yield* position(mine), 4)
      })
    )),

  test("1: a stream ends with the tenant's own last event, however long another tenant's of the same name is", () =>
    withTwo(
      Effect.fnUntraced(function* (mine, theirs) {
        const [first, last] = events(2)
        if (first === undefined || last === undefined) return assert.fail()
        yield* appendOne(mine, stream("one", [first, last]))
        const ends = () => endsWith(mine, "one", 2, last.eventId)
        yield* appendOne(theirs, stream("one", events(1)))
        assert.isTrue(yield* ends())
        yield* appendOne(theirs, stream("one", events(3)))
        assert.deepStrictEqual(
          yield* Effect.all(
            [
              ends(),
              endsWith(theirs, "one", 4, last.eventId),
              endsWith(mine, "one", 1, first.eventId),
              ends()
            ],
            { concurrency: "unbounded" }
          ),
          [true, false, false, true]
        )
      })
    )),

  test("21: positions continue the tenant's own log, by every way of appending", () =>
    withTwo(
      Effect.fnUntraced(function* (mine, theirs) {
        yield* appendOne(theirs, stream("one", events(30)))
        yield* appendOne(mine, stream("one", events(1)))
        const [alone, beside] = yield* inBothWays(() => request(mine, stream("one", events(1))))
        assert.deepInclude(alone, { positions: [2], versions: [2] })
        assert.deepInclude(beside, { positions: [3], versions: [3] })
        const [more] = yield* batch(request(mine, stream("one", events(2)), stream("two", events(1))))
        assert.deepInclude(more, { positions: [4, 5, 6], versions: [4, 5, 1] })
      })
    )),

  test("1: queries by tag and type find the tenant's own events", () =>
    withTwo(
      Effect.fnUntraced(function* (mine, theirs) {
        const own = [
          tagged("A", "x", "y"),
          tagged("A"),
          tagged("B", "x"),
          tagged("B", "y"),
          tagged("A", "x", "y"),
          tagged("A", "y")
        ]
        // the same tags and types in another tenant, stored earlier
        const foreign = [
          tagged("B"),
          tagged("A", "x", "y"),
          tagged("A", "y"),
          tagged("A", "x", "y"),
          tagged("C", "x"),
          tagged("C", "x", "y"),
          tagged("A", "x", "y")
        ]
        yield* appendOne(
          theirs,
          stream("one", foreign.slice(0, 4), "any", "Other"),
          stream("two", foreign.slice(4))
        )
        yield* appendOne(mine, stream("one", own.slice(0, 4)), stream("two", own.slice(4), "any", "Other"))
        const cases: ReadonlyArray<readonly [EventQuery, ReadonlyArray<number>]> = [
          [[{ eventTypes: undefined, tags: ["x"] }], [0, 2, 4]],
          [[{ eventTypes: undefined, tags: ["x", "y"] }], [0, 4]],
          [[{ eventTypes: undefined, tags: ["y", "x"] }], [0, 4]],
          [[{ eventTypes: ["A"], tags: ["y"] }], [0, 4, 5]],
          [[{ eventTypes: ["A"], tags: [] }], [0, 1, 4, 5]],
          [[{ eventTypes: ["C"], tags: [] }], []]
        ]
        for (const [query, expected] of cases) {
          const ids = expected.map((index) => own[index]?.eventId ?? "")
          assert.deepStrictEqual(yield* found(mine, query), ids)
          assert.deepStrictEqual(yield* found(mine, query, { direction: "backwards" }), ids.toReversed())
          const ofCase = ids.filter((id) => own.slice(0, 4).some(({ eventId }) => eventId === id))
          const aggregateTypes = ["Case"]
          assert.deepStrictEqual(yield* found(mine, query, { aggregateTypes }), ofCase)
          assert.deepStrictEqual(
            yield* found(mine, query, { aggregateTypes, direction: "backwards" }),
            ofCase.toReversed()
          )
        }
      })
    )),

  test("1: queries by type find the tenant's own events in a long log, and the types of another one hide none", () =>
    Effect.gen(function* () {
      // so many that a driver may have noted the types of a part of the log; not near its ends, where it may look first
      const log = (tenant: TenantId, rare: NewEventRow, at: number) =>
        appendOne(tenant, stream("one", [...events(at - 1), rare, ...events(1_100 - at)]))
      const [mine, theirs, own, foreign] = [newTenant(), newTenant(), tagged("A"), tagged("B")]
      yield* log(mine, own, 600)
      yield* log(theirs, foreign, 700)
      const of = (...eventTypes: ReadonlyArray<string>) => [{ eventTypes, tags: [] }]
      for (const direction of ["forwards", "backwards"] as const) {
        assert.deepStrictEqual(yield* found(mine, of("A"), { direction }), [own.eventId])
        assert.deepStrictEqual(yield* found(theirs, of("B"), { direction }), [foreign.eventId])
        assert.deepStrictEqual(yield* found(mine, of("A", "B"), { direction }), [own.eventId])
        assert.deepStrictEqual(yield* found(theirs, of("A", "B"), { direction }), [foreign.eventId])
      }
    })),

  test("1: another tenant's events do not fail a condition", () =>
    withTwo(
      Effect.fnUntraced(function* (mine, theirs) {
        const query = [
          { eventTypes: ["A"], tags: [] },
          { eventTypes: undefined, tags: ["x"] },
          { eventTypes: undefined, tags: ["y", "z"] }
        ]
        const conditions = [{ query, after: 0 }]
        yield* appendOne(theirs, stream("one", [tagged("A"), tagged("B", "x"), tagged("B", "y", "z")]))
        yield* appendOne(mine, stream("one", [tagged("B"), tagged("B", "y"), tagged("B", "z")]))
        const [met] = yield* batch({ ...request(mine, stream("one", [tagged("B", "x")])), conditions })
        assert.deepInclude(met, { _tag: "Appended", positions: [4] })
        const [failed] = yield* batch({ ...request(mine, stream("one", events(1))), conditions })
        assert.deepInclude(failed, {
          _tag: "AppendConditionFailed",
          tenantId: mine,
          position: 4,
          condition: 0,
          item: 1
        })
      })
    )),

  test("17: the same command key in two tenants means two commands", () =>
    withTwo(
      Effect.fnUntraced(function* (mine, theirs) {
        const storage = yield* EventStorage
        const kept = 3_600_000
        const carry = (tenantId: TenantId, key: string, digit: string, expiresInMillis: number) =>
          storage.append({
            ...request(tenantId, stream(`${key} ${digit}`, events(1))),
            command: { key, fingerprint: digit.repeat(64), expiresInMillis }
          })
        const outcome = (tenantId: TenantId, key: string) => storage.commandOutcome({ tenantId, key })
        yield* carry(theirs, "same", "a", kept)
        assert.isUndefined(yield* outcome(mine, "same"))
        const first = yield* carry(mine, "same", "b", kept)
        assert.deepStrictEqual([first.replayed, first.positions], [false, [1]])
        assert.strictEqual((yield* outcome(mine, "same"))?.fingerprint, "b".repeat(64))
        assert.strictEqual((yield* outcome(theirs, "same"))?.fingerprint, "a".repeat(64))
        // expired keys are removed in their own tenant only
        yield* carry(theirs, "short in mine", "a", kept)
        yield* carry(theirs, "short in theirs", "a", 0)
        yield* carry(mine, "short in theirs", "b", kept)
        yield* carry(mine, "short in mine", "b", 0)
        for (const tenant of [mine, theirs, mine, theirs]) {
          const next = `next ${yield* position(tenant)}`
          yield* carry(tenant, next, "c", kept)
        }
        assert.isDefined(yield* outcome(theirs, "short in mine"))
        assert.isDefined(yield* outcome(mine, "short in theirs"))
        assert.isUndefined(yield* outcome(mine, "short in mine"))
        assert.isUndefined(yield* outcome(theirs, "short in theirs"))
      })
    )),

  test("1: a log that is opened has the events of the tenant", () =>
    withTwo(
      Effect.fnUntraced(function* (mine, theirs) {
        // a type of its own: among the events of other cases are some that a driver cannot read in this way
        const type = "Opened"
        yield* appendOne(mine, stream("one", events(3), "any", type))
        yield* appendOne(theirs, stream("one", events(5), "any", type))
        yield* appendOne(mine, stream("two", events(1), "any", type))
        for (const tenant of [mine, theirs]) {
          const rows = yield* readOpened(tenant, { aggregateTypes: [type] })
          if (rows !== undefined) assert.deepStrictEqual(rows, (yield* readLog(tenant)).rows)
        }
      })
    )),

  test("1: the hash chain of a tenant covers its own events", () =>
    withTwo(
      Effect.fnUntraced(function* (mine, theirs) {
        const storage = yield* EventStorage
        yield* appendOne(mine, stream("one", events(1)))
        yield* appendOne(theirs, stream("one", events(4)))
        assert.strictEqual(yield* storage.startHashChain(theirs), 5)
        assert.isUndefined(yield* storage.hashChainStart(mine))
        yield* appendOne(theirs, stream("one", events(2)))
        yield* appendOne(mine, stream("one", events(4)))
        assert.strictEqual(yield* storage.startHashChain(mine), 6)
        assert.strictEqual(yield* storage.hashChainStart(theirs), 5)
        for (const count of [1, 2]) {
          for (const tenant of [mine, theirs, mine]) yield* appendOne(tenant, stream("one", events(count)))
        }
        for (const tenant of [mine, theirs]) {
          const from = tenant === mine ? 6 : 5
          let previous = chainStart
          for (const row of (yield* readLog(tenant)).rows) {
            const expected: string | null = row.position < from ? null : eventHash(previous, tenant, row)
            assert.strictEqual(row.hash, expected, `position ${row.position}`)
            previous = expected ?? chainStart
          }
        }
      })
    ))
]
