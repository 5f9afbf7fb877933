import { assert, describe, it, layer } from "@effect/vitest"
import { DateTime, Effect, Equal, Exit, Layer, Schema, Stream } from "effect"
import { inspect as printed } from "node:util"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import * as Event from "../../src/domain/Event.ts"
import * as EventContext from "../../src/domain/EventContext.ts"
import * as EventQuery from "../../src/domain/EventQuery.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as Repository from "../../src/store/Repository.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as TenantRegistry from "../../src/store/TenantRegistry.ts"
import { backends } from "../support/backends.ts"
import {
  Account,
  append,
  asNewTenant,
  changedDriver,
  deposited,
  deposits,
  Note,
  note,
  onDriver,
  opened,
  written
} from "../support/bank.ts"
import { flipped } from "../../src/testing/failures.ts"

const collect = <A, E, R>(stream: Stream.Stream<A, E, R>) => Stream.runCollect(stream)
const versions = (events: ReadonlyArray<Event.Envelope<unknown>>) => events.map(({ version }) => version)
const positions = (events: ReadonlyArray<Event.Envelope<unknown>>) => events.map(({ position }) => position)
const range = (from: number, to: number) =>
  Array.from({ length: Math.max(0, to - from + 1) }, (_, n) => from + n)

/** The elements of a stream before it fails, and its error. */
const untilFailure = Effect.fnUntraced(function* <A, E, R>(stream: Stream.Stream<A, E, R>) {
  const seen: Array<A> = []
  const error = yield* flipped(Stream.runForEach(stream, (event) => Effect.sync(() => seen.push(event))))
  return { seen, error }
})

/** An earlier version of the account, with other amounts and an event that was removed. */
const Former = Aggregate.make(
  "Account",
  {
    id: Schema.String,
    state: Schema.Null,
    initial: null,
    events: [
      Schema.TaggedStruct("Opened", { owner: Schema.String }),
      Schema.TaggedStruct("Deposited", { amount: Schema.Union([Schema.Int, Schema.String]) }),
      Schema.TaggedStruct("Renamed", { secret: Schema.String })
    ]
  },
  (state) => state
)

describe.each(backends)("the event store on $name, with pages of three events,", (backend) => {
  layer(onDriver(backend.layer, { pageSize: 3 }), { excludeTestServices: true })((it) => {
    it.effect(
      "returns envelopes that are spread, compared and printed like objects with the same fields",
      () =>
        Effect.gen(function* () {
          const store = yield* EventStore.EventStore
          const times = [1_600_000_000_000, 1_600_000_000_000, 1_600_000_000_256, -1]
          const { events: stored } = yield* append(
            "plain",
            times.map((time, n) =>
              Event.make(deposited(n), {
                occurredAt: DateTime.makeUnsafe(time),
                ...(n % 2 === 0 ? undefined : { actor: "Ada", metadata: { n }, tags: ["a"] })
              })
            )
          )
          const found = yield* collect(store.readStream({ aggregate: Account, id: "plain" }))
          const inLog = yield* collect(
            store.readLog({ aggregates: [Account], fromPosition: stored[0]?.position })
          )
          for (const read of [found, inLog]) {
            assert.deepStrictEqual(read, stored)
            assert.deepStrictEqual(
              read.map(({ occurredAt }) => occurredAt.epochMilliseconds),
              times
            )
            for (const envelope of read) {
              const plain = Object.fromEntries(Object.entries(envelope))
              assert.deepStrictEqual(Object.keys(plain), [
                "eventId",
                "tenantId",
                "position",
                "aggregateType",
                "aggregateId",
                "version",
                "eventType",
                "schemaVersion",
                "occurredAt",
                "recordedAt",
                "actor",
                "correlationId",
                "causationId",
                "traceparent",
                "metadata",
                "tags",
                "payload"
              ])
              assert.deepStrictEqual({ ...envelope }, plain)
              assert.deepStrictEqual(envelope, plain)
              assert.isTrue(Equal.equals(envelope, plain))
              assert.deepStrictEqual(structuredClone(envelope), structuredClone(plain))
              assert.strictEqual(JSON.stringify(envelope), JSON.stringify(plain))
              assert.strictEqual(printed(envelope), printed(plain))
            }
          }
        }).pipe(asNewTenant)
    )

    it.effect("reads streams of any length, in both directions, up to any limit", () =>
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        for (const length of [0, 1, 3, 4, 6]) {
          const id = `of ${length}`
          yield* append(id, deposits(length))
          for (const limit of [undefined, 0, 2, 3, 6, 7, -1]) {
            const read = { aggregate: Account, id, limit }
            const count = Math.max(0, Math.min(length, limit ?? length))
            assert.deepStrictEqual(versions(yield* collect(store.readStream(read))), range(1, count))
            assert.deepStrictEqual(
              versions(yield* collect(store.readStream({ ...read, direction: "backwards" }))),
              range(length - count + 1, length).toReversed()
            )
          }
        }
      }).pipe(asNewTenant)
    )

    it.effect("finds events by correlation id and aggregate id, of the tenant alone", () =>
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        const other = yield* Tenant.generate
        const follow = (root: string, id: string, count: number) =>
          append(id, deposits(count)).pipe(EventContext.provide({ correlationId: root }))
        yield* follow("r", "1", 9).pipe(Tenant.provide(other))
        yield* follow("r", "1", 2)
        yield* follow("s", "1", 5)
        yield* follow("r", "2", 4)
        yield* note("x", "1").pipe(EventContext.provide({ correlationId: "r" }))
        const all = [1, 2, 8, 9, 10, 11, 12]
        const read = (selection: EventStore.LogRange & EventStore.ReadOptions) =>
          Effect.map(collect(store.readLogJson(selection)), positions)
        for (const limit of [undefined, 1, 3, 4, 7, 8]) {
          assert.deepStrictEqual(yield* read({ correlationId: "r", limit }), all.slice(0, limit))
          assert.deepStrictEqual(
            yield* read({ correlationId: "r", limit, direction: "backwards" }),
            all.toReversed().slice(0, limit)
          )
        }
        assert.deepStrictEqual(yield* read({ correlationId: "r", fromPosition: 2, toPosition: 9 }), [2, 8, 9])
        assert.deepStrictEqual(yield* read({ correlationId: "r", aggregateId: "1" }), [1, 2, 12])
        assert.deepStrictEqual(yield* read({ aggregateId: "1", eventTypes: ["Written"] }), [12])
        const query = EventQuery.of(Account, { types: ["Deposited"] })
        assert.deepStrictEqual(yield* read({ query, aggregateId: "1", fromPosition: 2 }), range(2, 7))
        for (const id of ["R", "", "\0", "\uD800", "x".repeat(300)]) {
          assert.deepStrictEqual(yield* read({ correlationId: id }), [])
          assert.deepStrictEqual(yield* read({ aggregateId: id, query }), [])
        }
        const typed = yield* collect(store.readLog({ aggregates: [Account], correlationId: "r" }))
        assert.deepStrictEqual(
          positions(typed),
          range(1, 11).filter((position) => all.includes(position))
        )
        assert.deepStrictEqual(
          yield* Effect.map(collect(store.readLogJson({ correlationId: "s" })), positions).pipe(
            Tenant.provide(other)
          ),
          []
        )
      }).pipe(asNewTenant)
    )

    it.effect("folds streams of any length, from any of their states, up to any version", () =>
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        const sum = (to: number) => (to * (to + 1)) / 2
        for (const length of [0, 1, 3, 4, 7]) {
          const fold = { aggregate: Account, id: `folded ${length}` }
          yield* append(fold.id, deposits(length))
          for (const toVersion of [undefined, 2, 3, 6]) {
            const version = Math.min(length, toVersion ?? length)
            const state = { status: "none", balance: sum(version) } as const
            const seen: Array<number> = []
            const inspect = (event: Event.Envelope<unknown>) => void seen.push(event.version)
            const all = yield* store.fold({ ...fold, toVersion })
            const characters = '{"_tag":"Deposited","amount":1}'.length * version
            assert.deepStrictEqual(
              { ...all, last: all.last?.version ?? 0 },
              { state, version, last: version, characters }
            )
            assert.deepStrictEqual(yield* store.fold({ ...fold, toVersion, inspect }), all)
            assert.deepStrictEqual(seen, range(1, version))
            if (version === 0) continue
            // from the first event on, which still exists
            const start = yield* store.fold({ ...fold, toVersion: 1 })
            const on = { ...fold, from: start, confirm: start.last, toVersion }
            const rest = { ...all, characters: all.characters - start.characters }
            assert.deepStrictEqual(yield* store.fold(on), rest)
            seen.length = 0
            assert.deepStrictEqual(yield* store.fold({ ...on, inspect }), rest)
            assert.deepStrictEqual(seen, range(2, version))
          }
        }
      }).pipe(asNewTenant)
    )

    it.effect("continues a fold from a state only if the last event of that state still exists", () =>
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        yield* append("short", deposits(1))
        yield* append("long", deposits(4))
        const from = yield* store.fold({ aggregate: Account, id: "long", toVersion: 2 })
        const other = yield* store.fold({ aggregate: Account, id: "long", toVersion: 3 })
        const failed = (id: string, confirm: EventStore.EventPlace | undefined) =>
          flipped(store.fold({ aggregate: Account, id, from, confirm }))
        for (const [id, confirm, actual] of [
          ["short", from.last, null],
          ["none", from.last, null],
          ["long", other.last && { ...other.last, version: 2 }, from.last?.eventId]
        ] as const) {
          const error = yield* failed(id, confirm)
          assert(error._tag === "PositionDiverged")
          assert.deepStrictEqual([error.expected, error.actual], [confirm?.eventId, actual])
        }
      }).pipe(asNewTenant)
    )

    it.effect("loads through the fold of a decorated store", () =>
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        yield* append("decorated", deposits(4))
        const folded: Array<string> = []
        const decorated = EventStore.EventStore.of({
          ...store,
          fold: (request) =>
            Effect.andThen(
              Effect.sync(() => folded.push(request.aggregate.type)),
              store.fold(request)
            )
        })
        const { state } = yield* Repository.Repository.use((it) => it.load(Account, "decorated")).pipe(
          Effect.provide(
            Repository.layer.pipe(Layer.provide(Layer.succeed(EventStore.EventStore, decorated)))
          )
        )
        assert.deepStrictEqual([state.balance, folded], [10, ["Account"]])
      }).pipe(asNewTenant)
    )

    it.effect("reads ranges of a stream, both ends inclusive", () =>
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        yield* append("0", deposits(2))
        yield* append("1", deposits(7))
        for (const from of [undefined, -Infinity, -(2 ** 53), -5, 1, 4, 8, 2 ** 31, Infinity]) {
          for (const to of [undefined, -Infinity, -1, 0, 3, 7, 2 ** 31, 2 ** 63, Infinity]) {
            const read = { aggregate: Account, id: "1", fromVersion: from, toVersion: to }
            const expected = range(Math.max(1, from ?? 1), Math.min(7, to ?? 7))
            assert.deepStrictEqual(versions(yield* collect(store.readStream(read))), expected)
            assert.deepStrictEqual(
              versions(yield* collect(store.readStream({ ...read, direction: "backwards" }))),
              expected.toReversed()
            )
          }
        }
        const two = { aggregate: Account, id: "1", fromVersion: 3, limit: 4 }
        assert.deepStrictEqual(versions(yield* collect(store.readStream(two))), [3, 4, 5, 6])
      }).pipe(asNewTenant)
    )

    it.effect("reads events of the log by aggregate, type and position", () =>
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        for (let round = 0; round < 3; round++) {
          yield* append("1", [opened()])
          yield* note(round)
          yield* append("2", deposits(2))
        }
        const all = yield* collect(store.readLog({ aggregates: [Note, Account] }))
        assert.deepStrictEqual(positions(all), range(1, 12))
        const read = (request: Omit<Parameters<typeof store.readLogJson>[0], "aggregateTypes">) =>
          Effect.gen(function* () {
            const forwards = positions(yield* collect(store.readLog({ aggregates: [Account], ...request })))
            const backwards = collect(
              store.readLog({ aggregates: [Account], ...request, direction: "backwards" })
            )
            if (request.limit === undefined) {
              assert.deepStrictEqual(positions(yield* backwards), forwards.toReversed())
            }
            const json = store.readLogJson({ aggregateTypes: ["Account"], ...request })
            assert.deepStrictEqual(positions(yield* collect(json)), forwards)
            return forwards
          })
        assert.deepStrictEqual(yield* read({}), [1, 3, 4, 5, 7, 8, 9, 11, 12])
        assert.deepStrictEqual(yield* read({ limit: 6 }), [1, 3, 4, 5, 7, 8])
        assert.deepStrictEqual(yield* read({ eventTypes: ["Deposited"] }), [3, 4, 7, 8, 11, 12])
        assert.deepStrictEqual(yield* read({ eventTypes: ["Opened"], limit: 2 }), [1, 5])
        assert.deepStrictEqual(yield* read({ eventTypes: ["Opened", "Written"] }), [1, 5, 9])
        assert.deepStrictEqual(yield* read({ fromPosition: 4, toPosition: 8 }), [4, 5, 7, 8])
        assert.deepStrictEqual(yield* read({ fromPosition: -3, toPosition: Infinity, limit: 1 }), [1])
        assert.deepStrictEqual(yield* read({ fromPosition: -Infinity, toPosition: 2 ** 63, limit: 1 }), [1])
        assert.deepStrictEqual(yield* read({ fromPosition: 13 }), [])
        assert.deepStrictEqual(yield* read({ fromPosition: 2 ** 63 }), [])
        assert.deepStrictEqual(yield* read({ toPosition: -Infinity }), [])
        assert.deepStrictEqual(yield* read({ fromPosition: 8, toPosition: 4 }), [])
        assert.deepStrictEqual(yield* read({ eventTypes: [] }), [])
        assert.deepStrictEqual(yield* collect(store.readLog({ aggregates: [] })), [])
        assert.deepStrictEqual(yield* collect(store.readLogJson({ aggregateTypes: [] })), [])
        assert.deepStrictEqual(positions(yield* collect(store.readLogJson({}))), range(1, 12))
      }).pipe(asNewTenant)
    )

    it.effect("reads events by their recorded time, from one time to before another", () =>
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        for (let round = 0; round < 4; round++) {
          const { events } = yield* append("1", deposits(2))
          // Waits until the clock shows another millisecond.
          const recordedAt = events[0]?.recordedAt.epochMilliseconds ?? 0
          while (Date.now() <= recordedAt) yield* Effect.yieldNow
        }
        const all = yield* collect(store.readLogJson({}))
        const times = all.map(({ recordedAt }) => recordedAt.epochMilliseconds)
        assert.deepStrictEqual(
          times,
          times.toSorted((a, b) => a - b)
        )
        assert.strictEqual(new Set(times).size, 4)
        const first = times[0] ?? 0
        for (const time of [first - 1, ...times, (times.at(-1) ?? 0) + 1]) {
          const at = DateTime.makeUnsafe(time)
          const [from, before] = [
            store.readLogJson({ recordedFrom: at }),
            store.readLogJson({ recordedBefore: at })
          ]
          assert.deepStrictEqual(
            yield* collect(from),
            all.filter((_, index) => (times[index] ?? 0) >= time)
          )
          assert.deepStrictEqual(
            yield* collect(before),
            all.filter((_, index) => (times[index] ?? 0) < time)
          )
        }
        const [from, before] = [all[2], all[6]]
        assert(from !== undefined && before !== undefined)
        const between = store.readLog({
          aggregates: [Account],
          recordedFrom: from.recordedAt,
          recordedBefore: before.recordedAt,
          direction: "backwards"
        })
        assert.deepStrictEqual(positions(yield* collect(between)), [6, 5, 4, 3])
      }).pipe(asNewTenant)
    )

    it.effect(
      "returns the events before one that does not fit its schema, and names the place of that one",
      () =>
        Effect.gen(function* () {
          const store = yield* EventStore.EventStore
          const tenantId = yield* Tenant.CurrentTenant
          yield* note("before")
          yield* store.append({
            aggregate: Former,
            id: "1",
            expectedVersion: 0,
            events: [opened(), ...deposits(3), { _tag: "Deposited", amount: "canary" } as const, opened()]
          })
          const stored = { tenantId, aggregateType: "Account", aggregateId: "1", version: 5, position: 6 }
          const expected = {
            _tag: "EventDecodeError",
            ...stored,
            eventType: "Deposited",
            path: ["amount"]
          } as const
          const stream = { aggregate: Account, id: "1" } as const
          for (const [read, before] of [
            [store.readStream(stream), [2, 3, 4, 5]],
            [store.readStream({ ...stream, direction: "backwards" }), [7]],
            [store.readStream({ ...stream, fromVersion: 5 }), []],
            [store.readLog({ aggregates: [Note, Account] }), [1, 2, 3, 4, 5]]
          ] as const) {
            const { error, seen } = yield* untilFailure(read)
            assert.deepStrictEqual<ReadonlyArray<number>>(positions(seen), before)
            assert(error._tag === "EventDecodeError")
            assert.deepInclude(error, expected)
            assert.notInclude(error.message + JSON.stringify(error), "canary")
            assert.include(
              error.message,
              "Account 1 version 5 (position 6): Deposited does not fit its schema at amount"
            )
          }
          // An event that is not requested does no harm, and its JSON can always be read.
          assert.lengthOf(yield* collect(store.readStream({ ...stream, limit: 4 })), 4)
          assert.lengthOf(yield* collect(store.readStream(stream).pipe(Stream.take(4))), 4)
          assert.lengthOf(yield* collect(store.readStream({ ...stream, fromVersion: 6 })), 1)
          const json = yield* collect(store.readLogJson({ fromPosition: 6, limit: 1 }))
          assert.deepStrictEqual(json[0]?.payload, { _tag: "Deposited", amount: "canary" })
        }).pipe(asNewTenant)
    )

    it.effect("returns the events before one of an unknown type, and names the place of that one", () =>
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        yield* store.append({
          aggregate: Former,
          id: "1",
          expectedVersion: 0,
          events: [opened(), { _tag: "Renamed", secret: "canary" }]
        })
        for (const read of [
          store.readStream({ aggregate: Account, id: "1" }),
          store.readLog({ aggregates: [Account, Note] })
        ]) {
          const { error, seen } = yield* untilFailure(read)
          assert.deepStrictEqual(versions(seen), [1])
          assert(error._tag === "UnknownEventType")
          assert.deepInclude(error, { aggregateId: "1", version: 2, position: 2, eventType: "Renamed" })
          assert.notInclude(error.message + JSON.stringify(error), "canary")
        }
        // An event that is filtered out does no harm.
        assert.lengthOf(yield* collect(store.readLog({ aggregates: [Account], eventTypes: ["Opened"] })), 1)
      }).pipe(asNewTenant)
    )

    it.effect(
      "reads for the tenant of the fiber that runs a stream, not for that of the fiber that made it",
      () =>
        Effect.gen(function* () {
          const [a, b] = [yield* Tenant.generate, yield* Tenant.generate]
          const store = yield* EventStore.EventStore
          const log = collect(store.readLog({ aggregates: [Account] }))
          const stream = collect(store.readStream({ aggregate: Account, id: "1" }))
          yield* append("1", deposits(4)).pipe(Tenant.provide(a))
          assert.deepStrictEqual(
            [(yield* Tenant.provide(a)(log)).length, (yield* Tenant.provide(b)(log)).length],
            [4, 0]
          )
          yield* append("1", deposits(1)).pipe(Tenant.provide(b))
          assert.deepStrictEqual(
            [(yield* Tenant.provide(a)(stream)).length, (yield* Tenant.provide(b)(stream)).length],
            [4, 1]
          )
        })
    )

    it.effect(
      "accepts integers and infinities as ends of ranges and as limits; any other number is a defect",
      () =>
        Effect.gen(function* () {
          const store = yield* EventStore.EventStore
          yield* append("1", deposits(2))
          for (const wrong of [Number.NaN, 1.5]) {
            const read = (part: EventStore.VersionRange & EventStore.ReadOptions) =>
              Stream.runDrain(store.readStream({ aggregate: Account, id: "1", ...part }))
            for (const effect of [
              store.fold({ aggregate: Account, id: "1", toVersion: wrong }),
              read({ limit: wrong }),
              read({ fromVersion: wrong }),
              read({ toVersion: wrong }),
              Stream.runDrain(store.readLogJson({ limit: wrong })),
              Stream.runDrain(store.readLogJson({ fromPosition: wrong })),
              Stream.runDrain(store.readLogJson({ toPosition: wrong }))
            ]) {
              assert.isTrue(Exit.hasDies(yield* Effect.exit(effect)))
            }
          }
        }).pipe(asNewTenant)
    )

    it.effect("lists tenants and reads all their logs page by page, and records the access", () =>
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        const tenants = (yield* Effect.replicateEffect(Tenant.generate, 5)).toSorted()
        const mine = (row: { readonly tenantId: Tenant.TenantId }) => tenants.includes(row.tenantId)
        for (const [index, tenantId] of tenants.entries()) {
          yield* append("1", deposits(index)).pipe(Tenant.provide(tenantId))
          const registry = yield* TenantRegistry.TenantRegistry
          yield* registry.provision(tenantId)
        }
        yield* Effect.gen(function* () {
          const heads = (yield* collect(store.tenants)).filter(mine)
          assert.deepStrictEqual(
            heads.map(({ position, status, tenantId }) => ({ position, status, tenantId })),
            tenants.map((tenantId, position) => ({ position, status: "active", tenantId }))
          )
          const expected = tenants.flatMap((tenantId, count) =>
            range(1, count).map((position) => [tenantId, position])
          )
          const logs = yield* collect(store.readAllLogsJson())
          assert.deepStrictEqual(
            logs.filter(mine).map(({ position, tenantId }) => [tenantId, position]),
            expected
          )
          const middle = logs.find(({ position, tenantId }) => tenantId === tenants[3] && position === 2)
          const after = yield* collect(store.readAllLogsJson({ after: middle }))
          assert.deepStrictEqual(after, logs.slice(logs.findIndex((event) => event === middle) + 1))
          const { accesses } = yield* TenantRegistry.TenantRegistry
          const recorded = yield* collect(accesses.pipe(Stream.take(4)))
          assert.deepStrictEqual(
            recorded.map(({ actor, operation, reason }) => `${actor}, ${reason}: ${operation}`),
            [
              "ada, audit: TenantRegistry.accesses",
              "ada, audit: EventStore.readAllLogsJson",
              "ada, audit: EventStore.readAllLogsJson",
              "ada, audit: EventStore.tenants"
            ]
          )
        }).pipe(Tenant.provideAll({ actor: "ada", reason: "audit" }))
      })
    )

    it.effect("reads a payload unchanged on any page", () =>
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        const texts = range(1, 7).map((n) => ({ n, text: "ä🎉\n\"'\\".repeat(n) }))
        for (const text of texts) yield* note(text)
        const read = yield* collect(store.readStream({ aggregate: Note, id: "1" }))
        assert.deepStrictEqual(
          read.map(({ payload }) => payload),
          texts.map(written)
        )
      }).pipe(asNewTenant)
    )
  })
})

describe("a search for an id", () => {
  it.effect("reads a long log in steps, up to its head at the beginning, in both directions", () => {
    const steps: Array<readonly [number, number]> = []
    const driver = changedDriver(() => ({
      head: () => Effect.succeed({ position: 120_000, eventId: null, eventIdAt: null }),
      readLog: ({ fromPosition, toPosition }) =>
        Effect.sync(() => {
          steps.push([fromPosition, toPosition])
          return { rows: [], complete: true }
        })
    }))
    return Effect.gen(function* () {
      const { readLogJson } = yield* EventStore.EventStore
      const search = Effect.fnUntraced(function* (options: EventStore.LogRange & EventStore.ReadOptions) {
        steps.length = 0
        assert.deepStrictEqual(yield* collect(readLogJson({ correlationId: "r", ...options })), [])
        return [...steps]
      })
      assert.deepStrictEqual(yield* search({}), [
        [1, 50_000],
        [50_001, 100_000],
        [100_001, 120_000]
      ])
      assert.deepStrictEqual(yield* search({ direction: "backwards" }), [
        [70_001, 120_000],
        [20_001, 70_000],
        [1, 20_000]
      ])
      assert.deepStrictEqual(yield* search({ fromPosition: 99_000, toPosition: 200_000 }), [
        [99_000, 120_000]
      ])
      assert.deepStrictEqual(yield* search({ fromPosition: 120_001 }), [[120_001, 120_000]])
    }).pipe(asNewTenant, Effect.provide(onDriver(driver)))
  })
})
