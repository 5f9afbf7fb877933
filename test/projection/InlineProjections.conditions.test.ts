import { assert, describe, layer } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import * as Decisions from "../../src/store/Decisions.ts"
import * as DecisionModel from "../../src/domain/DecisionModel.ts"
import * as EventQuery from "../../src/domain/EventQuery.ts"
import * as Event from "../../src/domain/Event.ts"
import { EventStore } from "../../src/store/EventStore.ts"
import * as InlineProjections from "../../src/projection/InlineProjections.ts"
import { backends, OrderList, rows } from "../support/inline.ts"
import { asNewTenant, Order, placed } from "../support/shop.ts"
import { flipped } from "../../src/testing/failures.ts"

const orders = DecisionModel.make(
  { query: EventQuery.of(Order, { types: ["Placed"] }), initial: 0 },
  { Placed: (count) => count + 1 }
)

describe.each(backends)("inline projections on $name", (backend) => {
  const Inline = Decisions.layer.pipe(
    Layer.provideMerge(InlineProjections.layer({ projections: [OrderList] })),
    Layer.provideMerge(backend.layer)
  )

  layer(Inline, { excludeTestServices: true })((it) => {
    it.effect("do not handle an append whose condition fails", () =>
      Effect.gen(function* () {
        const store = yield* EventStore
        const place = (id: string, after: number) =>
          store.appendAll([{ aggregate: Order, id, events: [placed()], expectedVersion: "any" }], {
            condition: { query: orders.query, after }
          })
        yield* place("1", 0)
        assert.deepInclude(yield* flipped(place("2", 0)), { _tag: "AppendConditionFailed", position: 1 })
        yield* place("3", 1)
        assert.deepStrictEqual(yield* rows, [
          ["1", 1],
          ["3", 1]
        ])
      }).pipe(asNewTenant)
    )

    it.effect("handle each imported event once, also when the import runs again in other chunks", () =>
      Effect.gen(function* () {
        const store = yield* EventStore
        const given = Array.from({ length: 7 }, (_, n) => ({
          aggregate: Order,
          id: String(n),
          expectedVersion: "noStream" as const,
          events: [Event.make(placed(n), { eventId: Event.generateId() })]
        }))
        const importUpTo = (count: number, chunkEvents: number) =>
          store.importEvents(Stream.fromIterable(given.slice(0, count)), { chunkEvents })
        assert.deepStrictEqual(yield* importUpTo(4, 3), { appended: 4, known: 0, position: 4, setAside: [] })
        assert.deepStrictEqual(yield* importUpTo(7, 5), { appended: 3, known: 4, position: 7, setAside: [] })
        assert.deepStrictEqual(
          yield* rows,
          given.map(({ id }, n) => [id, n] as const)
        )
      }).pipe(asNewTenant)
    )

    it.effect("handle the events of concurrent decisions once", () =>
      Effect.gen(function* () {
        const decisions = yield* Decisions.Decisions
        const ids = Array.from({ length: 8 }, (_, n) => String(n))
        yield* Effect.forEach(
          ids,
          (id) => decisions.execute(orders, (count) => Decisions.to(Order, id, placed(count))),
          { concurrency: 8 }
        )
        const read = yield* rows
        assert.deepStrictEqual(
          read.map(([, total]) => total).toSorted((a, b) => a - b),
          ids.map(Number)
        )
      }).pipe(asNewTenant)
    )

    it.effect("handle the events of a command once, however often it runs", () =>
      Effect.gen(function* () {
        const store = yield* EventStore
        const command = {
          key: "1",
          fingerprint: "a".repeat(64),
          expiresInMillis: 3_600_000
        }
        const place = store.append({
          aggregate: Order,
          id: "1",
          events: [placed()],
          expectedVersion: "any",
          command
        })
        assert.deepInclude(yield* place, { version: 1, replayed: false })
        assert.deepInclude(yield* place, { version: 1, replayed: true })
        assert.deepStrictEqual(yield* rows, [["1", 1]])
      }).pipe(asNewTenant)
    )
  })
})
