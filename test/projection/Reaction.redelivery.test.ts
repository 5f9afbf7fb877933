/** Reactions to events that are delivered again: their appends exist already. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Stream } from "effect"
import * as Event from "../../src/domain/Event.ts"
import * as EventContext from "../../src/domain/EventContext.ts"
import { EventStore } from "../../src/store/EventStore.ts"
import * as Reaction from "../../src/projection/Reaction.ts"
import { Repository } from "../../src/store/Repository.ts"
import { backends } from "../support/backends.ts"
import {
  asNewTenant,
  count,
  Counted,
  Counter,
  drain,
  log,
  logOf,
  onDriver,
  Order,
  place,
  placed,
  Requested,
  Shipment,
  shipping,
  unique,
  withRunner
} from "../support/shop.ts"

/** Hands the tenant's orders to a reaction, like the successor of a runner that was killed before its checkpoint. */
const deliver = <E, R>(reaction: Reaction.Reaction<E, R>) =>
  EventStore.use((store) =>
    store
      .readLog({ aggregates: [Order], eventTypes: reaction.eventTypes })
      .pipe(
        Stream.runForEach((envelope) =>
          Effect.asVoid(reaction.handle(envelope)).pipe(EventContext.whileHandling(envelope))
        )
      )
  )

describe.each(backends)("reactions delivered twice, on $name", (backend) => {
  layer(onDriver(backend.layer), { excludeTestServices: true })((it) => {
    it.effect("append nothing twice when an event is delivered again", () =>
      Effect.gen(function* () {
        const store = yield* EventStore
        const repository = yield* Repository
        let runs = 0
        const reaction = Reaction.make(
          unique("busy"),
          { aggregates: [Order] },
          {
            Placed: (_event, { aggregateId: id }) =>
              Effect.gen(function* () {
                // Decides differently each time.
                yield* count("all")
                yield* count("all")
                // Would fail the second time.
                yield* repository.execute(Shipment, id, (orders) =>
                  orders.length > 0
                    ? Effect.suspend(() => {
                        runs++
                        return Effect.fail("requested before")
                      })
                    : [Requested.make({ order: id }), Requested.make({ order: "gift" })]
                )
                yield* store.append({
                  aggregate: Shipment,
                  id: "appended",
                  events: [Requested.make({ order: id })],
                  expectedVersion: "any"
                })
                yield* store.appendAll([
                  {
                    aggregate: Shipment,
                    id: "all",
                    events: [Requested.make({ order: id })],
                    expectedVersion: "any"
                  },
                  {
                    aggregate: Counter,
                    id: "all",
                    events: [Counted.make({ before: -1 })],
                    expectedVersion: "any"
                  }
                ])
              })
          }
        )
        yield* Effect.gen(function* () {
          yield* place("1")
          yield* place("2")
          yield* deliver(reaction)
          const once = yield* log
          assert.strictEqual(once.length, 2 + 2 * 7)
          yield* drain
          yield* deliver(reaction)
          assert.deepStrictEqual(yield* log, once)
          assert.strictEqual(runs, 0, "the decision of the command did not run again")
          const counter = yield* repository.load(Counter, "all")
          assert.deepInclude(counter, { state: 6, version: 6 })
        }).pipe(withRunner(reaction))
      }).pipe(asNewTenant)
    )

    it.effect("return the events of a command that has run before, with the present state", () =>
      Effect.gen(function* () {
        const outcomes: Array<unknown> = []
        const reaction = Reaction.make(
          unique("returning"),
          { aggregates: [Order] },
          {
            Placed: () =>
              Effect.map(count("1"), ({ state, version, events }) =>
                outcomes.push({ state, version, events: events.map((event) => event.version) })
              )
          }
        )
        yield* place("1")
        yield* deliver(reaction)
        yield* count("1")
        yield* deliver(reaction)
        assert.deepStrictEqual(outcomes, [
          { state: 1, version: 1, events: [1] },
          { state: 2, version: 2, events: [1] }
        ])
      }).pipe(asNewTenant)
    )

    it.effect("keep the ids of a command that meets conflicts and decides again", () =>
      Effect.gen(function* () {
        const store = yield* EventStore
        let interfere = 2
        const reaction = Reaction.make(
          unique("conflicting"),
          { aggregates: [Order] },
          {
            Placed: () =>
              Repository.use((repository) =>
                Effect.andThen(
                  repository.execute(Counter, "1", (before) =>
                    Effect.gen(function* () {
                      if (interfere-- > 0) {
                        yield* store
                          .append({
                            aggregate: Counter,
                            id: "1",
                            events: [
                              Event.make(Counted.make({ before: -1 }), { eventId: Event.generateId() })
                            ],
                            expectedVersion: "any"
                          })
                          .pipe(Effect.orDie)
                      }
                      return [Counted.make({ before })]
                    })
                  ),
                  count("1")
                )
              )
          }
        )
        yield* place("1")
        yield* deliver(reaction)
        const once = yield* logOf("Counted")
        assert.deepStrictEqual(
          once.map(({ payload }) => payload),
          [-1, -1, 2, 3].map((before) => ({ _tag: "Counted", before }))
        )
        yield* deliver(reaction)
        assert.deepStrictEqual(yield* logOf("Counted"), once)
      }).pipe(asNewTenant)
    )

    it.effect("keep the ids of an append that failed and is retried", () =>
      Effect.gen(function* () {
        const store = yield* EventStore
        let expected = 5
        const reaction = Reaction.make(
          unique("appending"),
          { aggregates: [Order] },
          {
            Placed: () =>
              Effect.suspend(() =>
                store.append({
                  aggregate: Counter,
                  id: "1",
                  events: [Counted.make({ before: 0 })],
                  expectedVersion: expected--
                })
              ).pipe(Effect.retry({ times: 5 }))
          }
        )
        yield* place("1")
        yield* deliver(reaction)
        expected = 2
        yield* deliver(reaction)
        assert.strictEqual((yield* logOf("Counted")).length, 1)
      }).pipe(asNewTenant)
    )

    it.effect("may send commands to several aggregates in any order, and at the same time", () =>
      Effect.gen(function* () {
        let ids = ["1", "2", "3", "4"]
        const reaction = Reaction.make(
          unique("parallel"),
          { aggregates: [Order] },
          { Placed: () => Effect.forEach(ids, (id) => count(id), { concurrency: "unbounded" }) }
        )
        yield* place("1")
        yield* deliver(reaction)
        ids = ids.toReversed()
        yield* deliver(reaction)
        assert.strictEqual((yield* logOf("Counted")).length, 4)
      }).pipe(asNewTenant)
    )

    it.effect("do not confuse their appends with those of another reaction or event", () =>
      Effect.gen(function* () {
        const [one, two] = [shipping(), shipping()]
        yield* place("1", [placed(), placed()])
        yield* deliver(one)
        yield* deliver(two)
        assert.strictEqual((yield* logOf("Requested")).length, 4)
      }).pipe(asNewTenant)
    )
  })
})
