import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as Event from "../../src/domain/Event.ts"
import * as EventContext from "../../src/domain/EventContext.ts"
import { EventStore } from "../../src/store/EventStore.ts"
import { isCanonicalUuid } from "../../src/internal/uuid.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import { Repository } from "../../src/store/Repository.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import {
  count,
  Counted,
  Counter,
  log,
  onDriver,
  Order,
  place,
  placed,
  Requested,
  Shipment
} from "../support/shop.ts"
import { flipped } from "../../src/testing/failures.ts"

const tenant = Tenant.TenantId.make("0190c3a0-0000-7000-8000-000000000001")
const other = Tenant.TenantId.make("0190c3a0-0000-7000-8000-000000000002")

const run = <A, E>(
  effect: Effect.Effect<A, E, EventStore | Repository | Tenant.CurrentTenant>
): Effect.Effect<A, E> =>
  effect.pipe(
    Tenant.provide(tenant),
    Effect.provide(Layer.fresh(onDriver(MemoryStorage.layer)), { local: true })
  )

const ids = Effect.map(log, (events) => events.map(({ eventId }) => eventId))
const seeded = EventContext.derivingIds(["test", "1"])

describe("derived ids", () => {
  it.effect("never change, because every later version must find earlier appends", () =>
    run(
      Effect.gen(function* () {
        yield* place("1", [placed(), placed()])
        yield* place("1")
      }).pipe(seeded, Effect.andThen(ids))
    ).pipe(
      Effect.map((found) =>
        assert.deepStrictEqual<ReadonlyArray<string>>(found, [
          "72ee0d05-635c-894d-9d04-0d55b5c142f3",
          "72ee0d05-635c-894d-9d04-0d55b5c142f4",
          "45c8ca73-488d-88bd-8b46-1070561ae8bf"
        ])
      )
    )
  )

  it.effect("are canonical UUIDs of version 8 that differ by seed and place", () =>
    run(
      Effect.gen(function* () {
        const places = Effect.gen(function* () {
          yield* place(
            "1",
            Array.from({ length: 600 }, () => placed())
          )
          yield* place("1")
          yield* place("2")
          yield* count("1")
        })
        yield* places.pipe(EventContext.derivingIds(["a", "b"]))
        yield* places.pipe(EventContext.derivingIds(["a,b"]))
        yield* places.pipe(EventContext.derivingIds(["b", "a"]))
        const found = yield* ids
        assert.strictEqual(found.length, 3 * 603)
        yield* places.pipe(EventContext.derivingIds(["a", "b"]), Tenant.provide(other))
        const all = [...found, ...(yield* ids.pipe(Tenant.provide(other)))]
        assert.strictEqual(new Set(all).size, 4 * 603)
        for (const id of all) {
          assert.isTrue(isCanonicalUuid(id))
          assert.match(id, /^.{14}8.{4}[89ab]/)
        }
      })
    )
  )

  it.effect("let a request with an idempotency key take effect once", () =>
    run(
      Effect.gen(function* () {
        const request = Effect.andThen(count("1"), count("1")).pipe(seeded)
        const first = yield* request
        yield* count("1")
        const again = yield* request
        const { eventId } = (yield* log)[2] ?? assert.fail("no event")
        assert.deepStrictEqual(again, { ...first, state: 3, version: 3, eventId, replayed: true })
        assert.strictEqual((yield* log).length, 3)
      })
    )
  )

  it.effect("are refused for different content, and not used for events with an id of their own", () =>
    run(
      Effect.gen(function* () {
        const own = Event.generateId()
        yield* place("1", [placed(1), Event.make(placed(2), { eventId: own }), placed(3)]).pipe(seeded)
        const found = yield* ids
        assert.strictEqual(found[1], own)
        const error = yield* place("1", [placed(1), Event.make(placed(2), { eventId: own }), placed(4)]).pipe(
          seeded,
          flipped
        )
        assert(error._tag === "EventIdConflict")
        assert.strictEqual(error.eventId, found[2])
        assert.isTrue(
          (yield* place("1", [placed(1), Event.make(placed(2), { eventId: own }), placed(3)]).pipe(seeded))
            .replayed
        )
      })
    )
  )

  it.effect("count a refused command, but not one that failed in the store", () =>
    run(
      Effect.gen(function* () {
        const repository = yield* Repository
        const store = yield* EventStore
        const refuse = flipped(repository.execute(Counter, "1", () => Effect.fail("no")))
        const outdated = flipped(
          store.append({
            aggregate: Counter,
            id: "1",
            events: [Counted.make({ before: 9 })],
            expectedVersion: 9
          })
        )
        yield* Effect.all([refuse, count("1")]).pipe(seeded)
        const [second] = yield* ids
        yield* Effect.all([outdated, refuse, count("1"), outdated]).pipe(seeded)
        yield* Effect.all([count("2"), refuse, outdated, outdated, count("1")]).pipe(seeded)
        assert.deepStrictEqual((yield* ids).slice(0, 1), [second])
        assert.strictEqual((yield* log).length, 2)
      })
    )
  )

  it.effect("end with the effect, and do not apply while an event is handled", () =>
    run(
      Effect.gen(function* () {
        yield* place("1").pipe(seeded)
        yield* place("1")
        const [envelope] = yield* log
        assert(envelope !== undefined)
        const handling = place("1").pipe(EventContext.whileHandling(envelope), seeded)
        yield* handling
        yield* handling
        assert.strictEqual((yield* log).length, 4)
        // An addition to the context inside does not end them.
        yield* place("1").pipe(EventContext.provide({ actor: "ada" }), seeded)
        assert.strictEqual((yield* log).length, 4)
      })
    )
  )

  it.effect("are separate for each stream of an append to several", () =>
    run(
      Effect.gen(function* () {
        const store = yield* EventStore
        const append = store
          .appendAll([
            {
              aggregate: Shipment,
              id: "1",
              events: [Requested.make({ order: "1" })],
              expectedVersion: "any"
            },
            { aggregate: Order, id: "1", events: [], expectedVersion: "any" },
            { aggregate: Counter, id: "1", events: [Counted.make({ before: 0 })], expectedVersion: "any" }
          ])
          .pipe(seeded)
        const first = yield* append
        const again = yield* append
        assert.deepStrictEqual(
          again.map(({ events }) => events),
          first.map(({ events }) => events)
        )
        yield* count("1").pipe(seeded)
        assert.strictEqual((yield* log).length, 2)
      })
    )
  )
})
