/** A log that lost its end in a failover and has new events there: stored positions belong to the former log. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Fiber, Layer, Stream } from "effect"
import * as DecisionModel from "../../src/domain/DecisionModel.ts"
import type * as Event from "../../src/domain/Event.ts"
import * as EventQuery from "../../src/domain/EventQuery.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { EventStorage } from "../../src/driver/EventStorage.ts"
import * as InMemoryProjection from "../../src/projection/InMemoryProjection.ts"
import * as Decisions from "../../src/store/Decisions.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as Repository from "../../src/store/Repository.ts"
import * as Subscription from "../../src/projection/Subscription.ts"
import { flipped } from "../../src/testing/failures.ts"
import { append, first, orders, positions } from "../support/following.ts"
import { asNewTenant, Order, placed } from "../support/shop.ts"
import { type Services, Tampering, tamperable } from "../support/tampering.ts"

const rows = Effect.gen(function* () {
  const storage = yield* EventStorage
  const page = yield* storage.readLog({
    tenantId: yield* Tenant.CurrentTenant,
    fromPosition: 1,
    toPosition: Number.MAX_SAFE_INTEGER,
    recordedFrom: undefined,
    recordedBefore: undefined,
    aggregateTypes: undefined,
    eventTypes: undefined,
    direction: "forwards",
    limit: 100
  })
  return page.rows
})

/** Replaces the events after a position by others: the first `count` of them, orders of 100, 101 … */
const loseBehind = Effect.fnUntraced(function* (kept: number, count: number, stream?: string) {
  const { replace } = yield* Tampering
  const tenantId = yield* Tenant.CurrentTenant
  const before = yield* rows
  const other = yield* Tenant.generate
  yield* append(stream ?? "other", orders(before.length + count, 100)).pipe(Tenant.provide(other))
  const others = yield* rows.pipe(Tenant.provide(other))
  yield* replace(tenantId, [...before.slice(0, kept), ...others.slice(kept, kept + count)])
})

const log = (after: number | Event.Position) =>
  Subscription.log({ aggregates: [Order], after, pollInterval: "20 millis" })

const orderSums = () =>
  InMemoryProjection.make(
    "sums of orders",
    { aggregates: [Order], initial: () => 0 },
    { Placed: (sum, { total }) => sum + total }
  )

describe.each(tamperable)("a log on $name that lost its end", ({ layer: services, name }) => {
  layer(services, { excludeTestServices: true })((it) => {
    it.effect("40: refuses a subscription from a position whose event id is lost", () =>
      Effect.gen(function* () {
        yield* append("1", orders(6))
        const seen = yield* first(6, log(0))
        const last = seen[5] ?? assert.fail("no event")
        const kept = { position: last.position, eventId: last.eventId }
        yield* loseBehind(4, 4)
        const now = (yield* rows)[5]
        assert.deepInclude(yield* flipped(Stream.runDrain(log(kept))), {
          _tag: "PositionDiverged",
          position: 6,
          expected: kept.eventId,
          actual: now?.eventId ?? null
        })
        // This event is still in the log.
        assert.deepStrictEqual(positions(yield* first(4, log(seen[3] ?? 0))), [5, 6, 7, 8])
        // A number alone cannot show that: two events are skipped.
        assert.deepStrictEqual(positions(yield* first(2, log(6))), [7, 8])
      }).pipe(asNewTenant)
    )

    it.effect(
      "40: ends a subscription that has emitted lost events, also if the new end is the same or earlier",
      () =>
        Effect.forEach([0, 2, 5], (written) =>
          Effect.gen(function* () {
            const tenantId = yield* Tenant.CurrentTenant
            yield* append("1", orders(6))
            const events: Array<number> = []
            const listening = yield* log(3).pipe(
              Stream.runForEach(({ position }) => Effect.sync(() => events.push(position))),
              flipped,
              Effect.forkChild
            )
            while (events.length < 3) yield* Effect.sleep("5 millis")
            yield* Effect.sleep("50 millis")
            yield* loseBehind(4, written)
            const error = yield* Fiber.join(listening)
            assert.deepInclude(error, { _tag: "PositionDiverged", tenantId, position: 6 })
            assert.deepStrictEqual(events, [4, 5, 6])
          }).pipe(asNewTenant, Effect.timeout("10 seconds"))
        )
    )

    it.effect("40: ends a subscription to all logs, at its start with a cursor and later", () =>
      Effect.gen(function* () {
        const tenantId = yield* Tenant.CurrentTenant
        yield* append("1", orders(6))
        const last = (yield* first(6, log(0)))[5] ?? assert.fail("no event")
        const cursor = (position: number | Event.Position): Subscription.Cursor =>
          new Map([[tenantId, position]])
        const follow = (after: Subscription.Cursor | "end") =>
          Subscription.allLogs({ aggregates: [Order], after, pollInterval: "20 millis" }).pipe(
            Stream.filter((event) => event.tenantId === tenantId),
            Stream.runForEach(({ position }) => Effect.sync(() => events.push(position))),
            flipped,
            Tenant.provideAll({ actor: "test", reason: "to follow" })
          )
        const events: Array<number> = []
        const listening = yield* Effect.forkChild(follow(cursor(5)))
        while (events.length < 1) yield* Effect.sleep("5 millis")
        yield* Effect.sleep("50 millis")
        yield* loseBehind(4, 4)
        const diverged = { _tag: "PositionDiverged" as const, tenantId, position: 6, expected: last.eventId }
        assert.deepInclude(yield* follow(cursor(last)), diverged)
        assert.deepInclude(yield* Fiber.join(listening), diverged)
        assert.deepStrictEqual(events, [6])
      }).pipe(asNewTenant, Effect.timeout("10 seconds"))
    )

    it.effect("makes a state in memory fold anew, while it is used and from its stored form", () =>
      Effect.gen(function* () {
        const tenantId = yield* Tenant.CurrentTenant
        const Sums = orderSums()
        const kept = new Map<string, InMemoryProjection.Current<number>>()
        const stored: InMemoryProjection.Stored<number, never> = {
          load: () => Effect.sync(() => kept.get(tenantId)),
          save: (_key, current) => Effect.sync(() => kept.set(tenantId, current)),
          every: 1
        }
        const running = (
          use: Effect.Effect<
            void,
            unknown,
            InMemoryProjection.Running<"sums of orders"> | Services | Tenant.CurrentTenant
          >
        ) =>
          use.pipe(
            Effect.provide(Sums.layerWith({ pollInterval: "20 millis", stored }).pipe(Layer.fresh)),
            Effect.orDie
          )
        yield* append("1", orders(6))
        const place = (yield* first(6, log(0)))[5] ?? assert.fail("no event")
        yield* running(
          Effect.gen(function* () {
            assert.deepStrictEqual(yield* Sums.awaitPosition(place), {
              state: 21,
              position: 6,
              eventId: place.eventId
            })
            const states = yield* Sums.changes.pipe(
              Stream.takeUntil(({ state }) => state > 100),
              Stream.runCollect,
              Effect.forkChild
            )
            yield* Effect.sleep("50 millis")
            yield* loseBehind(4, 1)
            const seen = yield* Fiber.join(states)
            // States between two rows of the replacement may be seen as well.
            const [before, last] = [seen[0], seen.at(-1)]
            assert.deepStrictEqual([before?.state, before?.position], [21, 6])
            assert.deepStrictEqual([last?.state, last?.position], [114, 5])
            assert.deepInclude(yield* flipped(Sums.awaitPosition(place)), {
              _tag: "PositionDiverged",
              actual: null
            })
          })
        )
        assert.strictEqual(kept.get(tenantId)?.state, 114)
        yield* loseBehind(3, 3)
        yield* running(
          Effect.gen(function* () {
            const { state } = yield* Sums.get
            assert.strictEqual(state, 6 + 103 + 104 + 105)
          })
        )
      }).pipe(asNewTenant, Effect.timeout("10 seconds"))
    )

    // In memory only readers see the replacement.
    const onDatabase = name === "memory" ? it.effect.skip : it.effect
    onDatabase("is read anew by a decision that was made on what is lost", () =>
      Effect.gen(function* () {
        yield* append("1", orders(6))
        const sum = DecisionModel.make(
          { query: EventQuery.of(Order), initial: 0 },
          { Placed: (total, event) => total + event.total, Paid: (total) => total }
        )
        const seen: Array<number> = []
        const decisions = yield* Decisions.Decisions
        const before = yield* decisions.read(sum)
        const { events, state } = yield* decisions.execute(sum, (total) =>
          Effect.gen(function* () {
            // The end is at the same position with other events, so the number alone shows nothing.
            if (seen.push(total) === 1) yield* loseBehind(4, 2)
            return Decisions.to(Order, "new", placed(total))
          })
        )
        const now = 1 + 2 + 3 + 4 + 104 + 105
        assert.deepStrictEqual(seen, [21, now])
        assert.deepStrictEqual([events[0]?.payload, state], [placed(now), 2 * now])
        const store = yield* EventStore.EventStore
        const late = store.append({
          aggregate: Order,
          id: "late",
          events: [placed()],
          expectedVersion: "any",
          condition: { query: EventQuery.of(Order, { types: ["Paid"] }), after: before.after }
        })
        assert.deepInclude(yield* flipped(late), { _tag: "PositionDiverged", position: 6 })
      }).pipe(asNewTenant, Effect.provide(Decisions.layer), Effect.timeout("10 seconds"))
    )

    onDatabase("takes no command that names what is lost, though the version is the same", () =>
      Effect.gen(function* () {
        const { execute, load, save } = yield* Repository.Repository
        yield* append("1", orders(6))
        const seen = yield* load(Order, "1")
        yield* loseBehind(4, 2, "1")
        const now = yield* load(Order, "1")
        assert.deepStrictEqual([seen.version, now.version], [6, 6])
        assert.notStrictEqual(seen.eventId, now.eventId)
        const expected = { expectedVersion: 6, expectedEventId: seen.eventId }
        const refused = {
          _tag: "VersionConflict",
          expected: 6,
          actual: 6,
          expectedEventId: seen.eventId ?? assert.fail("no event"),
          actualEventId: now.eventId ?? null
        } as const
        let decided = 0
        const command = () => [placed(++decided)]
        assert.deepInclude(yield* flipped(execute(Order, "1", command, expected)), refused)
        assert.strictEqual(decided, 0)
        assert.deepInclude(yield* flipped(save(Order, "1", { events: [placed()], ...expected })), refused)
        // The version alone cannot tell.
        const done = yield* execute(Order, "1", command, { expectedVersion: 6 })
        assert.deepStrictEqual([done.version, done.eventId], [7, done.events[0]?.eventId])
        yield* execute(Order, "1", command, { expectedVersion: 7, expectedEventId: done.eventId })
      }).pipe(asNewTenant, Effect.provide(Repository.layer), Effect.timeout("10 seconds"))
    )
  })
})
