/** The contract of drivers: tags, reading by query, and appends under a condition. */
import { assert, type Vitest } from "@effect/vitest"
import { Effect, Result } from "effect"
import type {
  AppendCondition,
  EventQuery,
  EventQueryItem,
  ReadLogRequest
} from "../../driver/EventStorage.ts"
import { EventStorage } from "../../driver/EventStorage.ts"
import type { TenantId } from "../../domain/Tenant.ts"
import {
  append,
  appended,
  batch,
  event,
  eventIds,
  events,
  newTenant,
  type Plain,
  position,
  readLog,
  readStream,
  refused,
  replayed,
  request,
  stream
} from "./eventKit.ts"
import { reasonOf } from "../failures.ts"

/** An item of a query. */
const item = (
  eventTypes: ReadonlyArray<string> | undefined,
  tags: ReadonlyArray<string> = [],
  aggregateType?: string
): EventQueryItem => ({ eventTypes, tags, ...(aggregateType === undefined ? {} : { aggregateType }) })

/** Tags that look like other syntax. */
const strange = [
  " ",
  '"',
  "%",
  "'",
  "''; drop table eventsourcing.events; --",
  ",",
  "NULL",
  "\\",
  '\\"',
  "a b",
  "course:1",
  "null",
  "é😀",
  "{",
  "{}",
  "}"
].toSorted()

const positionsOf = (tenant: TenantId, query: EventQuery, options: Partial<ReadLogRequest> = {}) =>
  Effect.map(readLog(tenant, { query, ...options }), ({ complete, rows }) => [
    rows.map((row) => row.position),
    complete
  ])

/** A log of nine events: types A, B, C in turn, of the streams one and two in turn, with some tags. */
const nine = Effect.gen(function* () {
  const tenant = newTenant()
  const tags = [["x"], ["x", "y"], [], ["y"], ["x"], ["x", "y", "z"], [], ["z"], ["x", "y"]]
  for (const [index, own] of tags.entries()) {
    const eventType = "ABC".charAt(index % 3)
    const type = index < 6 ? "Case" : "Other"
    yield* append(
      tenant,
      stream(index % 2 === 0 ? "one" : "two", [event({ eventType, tags: own })], "any", type)
    )
  }
  return tenant
})

export const tags = (it: Vitest.MethodsNonLive<EventStorage>): void => {
  it.effect("tags are read as they were given, by every way of reading", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      const written = [event({ tags: ["a", "b"] }), event(), event({ tags: strange })]
      yield* append(tenant, stream("one", written.slice(0, 1)))
      yield* append(tenant, stream("one", written.slice(1)), stream("two", [event({ tags: ["a"] })]))
      const expected = [["a", "b"], [], strange]
      const inStream = (yield* readStream(tenant, "one")).rows
      assert.deepStrictEqual(
        inStream.map((row) => row.tags),
        expected
      )
      assert.deepStrictEqual(
        (yield* readLog(tenant)).rows.map((row) => row.tags),
        [...expected, ["a"]]
      )
      for (const tag of strange) {
        assert.deepStrictEqual(yield* positionsOf(tenant, [item(undefined, [tag])]), [[3], true], tag)
      }
    })
  )

  it.effect("an event with a known id and other tags is refused", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      const known = event({ tags: ["a", "b"] })
      yield* append(tenant, stream("one", [known]))
      assert.deepStrictEqual(yield* batch(request(tenant, stream("one", [known]))), [replayed([1], [1])])
      for (const other of [[], ["a"], ["a", "b", "c"], ["a,b"]]) {
        assert.deepStrictEqual(yield* refused(tenant, stream("one", [{ ...known, tags: other }])), {
          _tag: "EventIdConflict",
          tenantId: tenant,
          eventId: known.eventId
        })
      }
    })
  )

  it.effect(
    "a query selects the events of its aggregate type and event types that have all of its tags",
    () =>
      Effect.gen(function* () {
        const tenant = yield* nine
        const cases: ReadonlyArray<readonly [EventQuery, ReadonlyArray<number>]> = [
          [[], []],
          [[item([])], []],
          [[item([], ["x"])], []],
          [[item(undefined)], [1, 2, 3, 4, 5, 6, 7, 8, 9]],
          [[item(["A"])], [1, 4, 7]],
          [[item(["A", "C"])], [1, 3, 4, 6, 7, 9]],
          [[item(["D"])], []],
          [[item(undefined, ["x"])], [1, 2, 5, 6, 9]],
          [[item(undefined, ["x", "y"])], [2, 6, 9]],
          [[item(undefined, ["y", "x"])], [2, 6, 9]],
          [[item(undefined, ["x", "y", "z"])], [6]],
          [[item(undefined, ["x", "nothing"])], []],
          [[item(["B"], ["x"])], [2, 5]],
          [[item(["B", "C"], ["x", "y"])], [2, 6, 9]],
          [[item(["A"], ["z"])], []],
          [[item(undefined, [], "Case")], [1, 2, 3, 4, 5, 6]],
          [[item(undefined, [], "case")], []],
          [[item(["A", "B"], [], "Other")], [7, 8]],
          [[item(undefined, ["x"], "Case")], [1, 2, 5, 6]],
          [[item(undefined, ["y", "x"], "Other")], [9]],
          [[item(["C"], ["x", "y"], "Other")], [9]],
          [[item([], [], "Case")], []],
          [
            [item(["A"], [], "Other"), item(undefined, ["y"], "Case")],
            [2, 4, 6, 7]
          ],
          [
            [item(["A"]), item(undefined, ["z"])],
            [1, 4, 6, 7, 8]
          ],
          [
            [item(undefined, ["x"]), item(undefined, ["x", "y"]), item(["C"])],
            [1, 2, 3, 5, 6, 9]
          ]
        ]
        for (const [query, expected] of cases) {
          const text = JSON.stringify(query)
          assert.deepStrictEqual(yield* positionsOf(tenant, query), [expected, true], text)
          assert.deepStrictEqual(
            yield* positionsOf(tenant, query, { direction: "backwards" }),
            [expected.toReversed(), true],
            text
          )
          for (const limit of [1, 2, 3]) {
            for (const direction of ["forwards", "backwards"] as const) {
              const all = direction === "forwards" ? expected : expected.toReversed()
              assert.deepStrictEqual(
                yield* positionsOf(tenant, query, { direction, limit }),
                [all.slice(0, limit), all.length <= limit],
                `${text}, ${limit} ${direction}`
              )
            }
          }
        }
      })
  )

  it.effect("a query narrows the rest of a request", () =>
    Effect.gen(function* () {
      const tenant = yield* nine
      const x = [item(undefined, ["x"])]
      const cases: ReadonlyArray<readonly [Partial<ReadLogRequest>, ReadonlyArray<number>]> = [
        [{ fromPosition: 2, toPosition: 6 }, [2, 5, 6]],
        [{ eventTypes: ["B"] }, [2, 5]],
        [{ eventTypes: [] }, []],
        [{ aggregateTypes: ["Other"] }, [9]],
        [{ aggregateTypes: ["Other"], query: [item(undefined, [], "Case")] }, []],
        [{ aggregateTypes: [], query: [item(undefined, [], "Case")] }, []],
        [{ aggregateTypes: ["Other"], query: [item(["A"], [], "Case"), item(["A"], [], "Other")] }, [7]],
        [{ aggregateTypes: ["Case"], eventTypes: ["A", "C"], query: x }, [1, 6]],
        [{ query: [item(["A", "B"])], eventTypes: ["B", "C"], aggregateTypes: ["Other"] }, [8]],
        [{ query: [item(["A"], ["x"]), item(["C"], ["y"])], eventTypes: ["C"] }, [6, 9]]
      ]
      for (const [options, expected] of cases) {
        assert.deepStrictEqual(
          yield* positionsOf(tenant, x, options),
          [expected, true],
          JSON.stringify(options)
        )
      }
      const { rows } = yield* readLog(tenant, { fromPosition: 6, toPosition: 6 })
      assert.deepStrictEqual((yield* readLog(tenant, { query: [item(undefined, ["z", "x"])] })).rows, rows)
    })
  )

  it.effect("a query also selects by aggregate id and correlation id", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      const roots = ["r", "s", "r", "r", "t", "r"]
      for (const [index, correlationId] of roots.entries())
        yield* append(
          tenant,
          stream(
            index % 2 === 0 ? "one" : "two",
            [event({ correlationId, eventType: "ABC".charAt(index % 3), tags: index < 3 ? ["x"] : [] })],
            "any",
            index < 4 ? "Case" : "Other"
          )
        )
      const any = item(undefined)
      const cases: ReadonlyArray<readonly [EventQuery, ReadonlyArray<number>]> = [
        [[{ ...any, correlationId: "r" }], [1, 3, 4, 6]],
        [[{ ...any, correlationId: "r", aggregateId: "two" }], [4, 6]],
        [[{ ...any, aggregateId: "one" }], [1, 3, 5]],
        [[{ ...any, aggregateId: "one", aggregateType: "Other" }], [5]],
        [[{ ...item(["A", "C"], ["x"]), correlationId: "r" }], [1, 3]],
        [[{ ...item([]), correlationId: "r" }], []],
        [[{ ...any, correlationId: "R" }], []],
        [
          [{ ...any, correlationId: "t" }, item(["B"])],
          [2, 5]
        ],
        [[{ ...any, correlationId: "" }], []]
      ]
      for (const [query, expected] of cases) {
        const text = JSON.stringify(query)
        assert.deepStrictEqual(yield* positionsOf(tenant, query), [expected, true], text)
        assert.deepStrictEqual(
          yield* positionsOf(tenant, query, { direction: "backwards" }),
          [expected.toReversed(), true],
          text
        )
      }
      const r = [{ ...any, correlationId: "r" }]
      assert.deepStrictEqual(yield* positionsOf(tenant, r, { fromPosition: 2, limit: 2 }), [[3, 4], false])
      assert.deepStrictEqual(
        yield* positionsOf(tenant, r, { toPosition: 5, limit: 2, direction: "backwards" }),
        [[4, 3], false]
      )
      assert.deepStrictEqual(
        yield* positionsOf(tenant, r, { aggregateTypes: ["Other"], eventTypes: ["C"] }),
        [[6], true]
      )
      for (const [query, after, met] of [
        [r, 4, 6],
        [r, 6, undefined]
      ] as const) {
        const [outcome] = yield* batch(conditional(tenant, { query, after }))
        assert.deepStrictEqual(outcome, met === undefined ? appended([7], [1]) : failed(tenant, after, met))
      }
    })
  )

  it.effect("the tags of one tenant do not affect another", () =>
    Effect.gen(function* () {
      const [one, two] = [newTenant(), newTenant()]
      yield* append(one, stream("one", [event({ tags: ["x"] }), event(), event({ tags: ["x", "y"] })]))
      yield* append(two, stream("one", [event(), event({ tags: ["x"] }), event({ tags: ["y"] })]))
      const queries = [[item(undefined, ["x"])], [item(undefined, ["x", "y"])], [item(undefined)]]
      assert.deepStrictEqual(yield* Effect.forEach(queries, (query) => positionsOf(one, query)), [
        [[1, 3], true],
        [[3], true],
        [[1, 2, 3], true]
      ])
      assert.deepStrictEqual(yield* Effect.forEach(queries, (query) => positionsOf(two, query)), [
        [[2], true],
        [[], true],
        [[1, 2, 3], true]
      ])
      assert.deepStrictEqual(yield* positionsOf(newTenant(), [item(undefined)]), [[], true])
    })
  )
}

const conditional = (
  tenantId: TenantId,
  condition: AppendCondition,
  aggregateId = "new"
): ReturnType<typeof request> => ({
  ...request(tenantId, stream(aggregateId, [event({ eventType: "Decided" })])),
  conditions: [condition]
})

const failed = (tenantId: TenantId, after: number, at: number, itemMet = 0): Plain => ({
  _tag: "AppendConditionFailed",
  tenantId,
  after,
  position: at,
  condition: 0,
  item: itemMet
})

export const conditions = (it: Vitest.MethodsNonLive<EventStorage>): void => {
  it.effect(
    "a condition is met if no event after its position matches; otherwise the first match is named",
    () =>
      Effect.gen(function* () {
        const x = [item(undefined, ["x"])]
        const cases: ReadonlyArray<
          readonly [query: EventQuery, after: number, position: number | undefined, item?: number]
        > = [
          [x, 0, 1],
          [x, 1, 2],
          [x, 2, 5],
          [x, 8, 9],
          [x, 9, undefined],
          [x, 100, undefined],
          [[], 0, undefined],
          [[item([])], 0, undefined],
          [[item(undefined)], 0, 1],
          [[item(undefined)], 8, 9],
          [[item(undefined)], 9, undefined],
          [[item(["A"])], 0, 1],
          [[item(["A"])], 4, 7],
          [[item(["A"])], 7, undefined],
          [[item(undefined, ["x", "y"])], 2, 6],
          [[item(["C"], ["x", "y"])], 0, 6],
          [[item(["A"], ["z"])], 0, undefined],
          [[item(["A"]), item(undefined, ["z"])], 4, 6, 1],
          [[item(undefined, ["z"]), item(["A"])], 6, 7, 1],
          [[item(undefined, ["never"]), item(["D"])], 0, undefined],
          [[item(undefined, [], "Case")], 0, 1],
          [[item(undefined, [], "Case")], 6, undefined],
          [[item(undefined, [], "Other")], 0, 7],
          [[item(undefined, ["x"], "Other")], 0, 9],
          [[item(["A"], [], "Other"), item(["C"], ["x", "y"], "Case")], 0, 6, 1],
          [[item(undefined, [], "Never")], 0, undefined]
        ]
        for (const [query, after, expected, itemMet] of cases) {
          const tenant = yield* nine
          const answers = yield* batch(conditional(tenant, { query, after }))
          assert.deepStrictEqual(
            answers,
            [expected === undefined ? appended([10], [1]) : failed(tenant, after, expected, itemMet)],
            `${JSON.stringify(query)} after ${after}`
          )
          assert.strictEqual(yield* position(tenant), expected === undefined ? 10 : 9)
        }
      })
  )

  it.effect("a condition of an unknown tenant is met", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* batch(conditional(newTenant(), { query: [item(undefined)], after: 0 })), [
        appended([1], [1])
      ])
    })
  )

  it.effect("each append of a batch sees the events of earlier ones, and not its own", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      const none = { query: [item(["Decided"])], after: 0 }
      assert.deepStrictEqual(
        yield* batch(
          conditional(tenant, none, "one"),
          conditional(tenant, none, "two"),
          conditional(tenant, { ...none, after: 1 }, "three"),
          conditional(tenant, { ...none, after: 1 }, "four"),
          conditional(tenant, { ...none, after: 2 }, "five")
        ),
        [
          appended([1], [1]),
          failed(tenant, 0, 1),
          appended([2], [1]),
          failed(tenant, 1, 2),
          appended([3], [1])
        ]
      )
    })
  )

  it.effect("repeated events and versions are checked before conditions", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      const one = conditional(tenant, { query: [item(undefined)], after: 0 }, "one")
      const [outcome] = yield* batch(one)
      assert.deepStrictEqual(outcome, appended([1], [1]))
      assert.deepStrictEqual(yield* batch(one), [replayed([1], [1])])
      const stale = { ...request(tenant, stream("one", events(1), 7)), conditions: one.conditions }
      assert.strictEqual((yield* batch(stale))[0]?.["_tag"], "VersionConflict")
    })
  )

  it.effect("conditions see the tenant's own events only", () =>
    Effect.gen(function* () {
      const [one, two] = [newTenant(), newTenant()]
      const x = { query: [item(["Decided"], ["x"]), item(["Other"]), item(undefined, ["x", "y"])], after: 0 }
      const decided = () => event({ eventType: "Decided", tags: ["x", "y"] })
      yield* append(one, stream("one", [decided(), event({ eventType: "Other" })]))
      const deciding = request(two, stream("one", [decided()]))
      assert.deepStrictEqual(yield* batch({ ...deciding, conditions: [x] }), [appended([1], [1])])
      assert.deepStrictEqual(yield* batch(conditional(two, x)), [failed(two, 0, 1)])
      assert.deepStrictEqual(yield* batch(conditional(one, { ...x, after: 2 })), [appended([3], [1])])
    })
  )

  it.effect("a condition is never violated by 32 writers at once", () =>
    Effect.gen(function* () {
      const storage = yield* EventStorage
      const tenant = newTenant()
      const seats = { query: [item(["Taken"], ["room:1"])], after: 0 }
      const capacity = 10
      // Each writer takes the next seat after the last one it has seen, while there are seats.
      const writer = (name: number) =>
        Effect.gen(function* () {
          let taken = 0
          for (let attempt = 0; attempt < 200; attempt++) {
            const { rows } = yield* readLog(tenant, { query: seats.query })
            if (rows.length >= capacity) break
            const outcome = yield* Effect.result(
              storage.append({
                ...request(
                  tenant,
                  stream(`${name}-${attempt}`, [event({ eventType: "Taken", tags: ["room:1"] })])
                ),
                conditions: [{ query: seats.query, after: rows.at(-1)?.position ?? 0 }]
              })
            )
            if (Result.isSuccess(outcome)) taken++
            else assert.strictEqual(reasonOf(outcome.failure)._tag, "AppendConditionFailed")
            yield* append(tenant, stream("noise", events(1)))
          }
          return taken
        })
      const taken = yield* Effect.forEach(
        Array.from({ length: 32 }, (_, name) => name),
        writer,
        { concurrency: "unbounded" }
      )
      assert.strictEqual(
        taken.reduce((sum, n) => sum + n, 0),
        capacity
      )
      assert.lengthOf((yield* readLog(tenant, { query: seats.query })).rows, capacity)
      assert.lengthOf(yield* eventIds(tenant), yield* position(tenant))
    })
  )
}
