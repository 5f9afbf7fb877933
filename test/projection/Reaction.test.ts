import { assert, describe, it, layer } from "@effect/vitest"
import { Deferred, Effect, Fiber, Schedule } from "effect"
import * as Event from "../../src/domain/Event.ts"
import * as EventContext from "../../src/domain/EventContext.ts"
import * as ProjectionRunner from "../../src/projection/ProjectionRunner.ts"
import { ProjectionStorage } from "../../src/driver/ProjectionStorage.ts"
import * as Reaction from "../../src/projection/Reaction.ts"
import { Repository } from "../../src/store/Repository.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { backends } from "../support/backends.ts"
import {
  asNewTenant,
  count,
  drain,
  log,
  logOf,
  logTypes,
  onDriver,
  Order,
  Paid,
  place,
  placed,
  Shipment,
  shipping,
  unique,
  withRunner
} from "../support/shop.ts"

const progress = (name: string) =>
  Effect.gen(function* () {
    const tenantId = yield* Tenant.CurrentTenant
    const storage = yield* ProjectionStorage
    return yield* storage.progress({ tenantId, projection: name, version: 1 })
  })

/** A handler that never ends after its first work. */
const stuckOnce = Effect.gen(function* () {
  const reached = yield* Deferred.make<void>()
  let first = true
  const wait = Effect.suspend(() => {
    if (!first) return Effect.void
    first = false
    return Effect.andThen(Deferred.succeed(reached, undefined), Effect.never)
  })
  return { reached, wait }
})

describe.each(backends)("reactions on $name", (backend) => {
  layer(onDriver(backend.layer), { excludeTestServices: true })((it) => {
    it.effect("send commands in the event's tenant, with its correlation and the event as cause", () =>
      Effect.gen(function* () {
        const [a, b] = [yield* Tenant.generate, yield* Tenant.generate]
        const eventId = Event.generateId()
        const placeIn = (tenant: Tenant.TenantId, actor: string) =>
          place("1", [Event.make(placed(), { eventId })]).pipe(
            EventContext.provide({ correlationId: `of ${actor}`, actor }),
            Tenant.provide(tenant)
          )
        yield* Effect.gen(function* () {
          yield* placeIn(a, "ada")
          yield* placeIn(b, "bob")
          yield* drain
        }).pipe(withRunner(shipping()))
        const ids = new Set<string>()
        for (const [tenant, actor] of [
          [a, "ada"],
          [b, "bob"]
        ] as const) {
          const requests = yield* logOf("Requested").pipe(Tenant.provide(tenant))
          assert.strictEqual(requests.length, 1)
          assert.deepInclude(requests[0], {
            tenantId: tenant,
            aggregateId: "1",
            actor,
            correlationId: `of ${actor}`,
            causationId: eventId
          })
          ids.add(requests[0]?.eventId ?? "")
        }
        assert.strictEqual(ids.size, 2, "equal event ids in two tenants lead to ids of their own")
      })
    )

    it.effect("start with new events, or at the beginning on request", () =>
      Effect.gen(function* () {
        const late = yield* Tenant.generate
        const now = shipping()
        const all = Reaction.make(
          unique("all"),
          { aggregates: [Order], startAt: "beginning" },
          { Placed: (_event, { aggregateId }) => count(aggregateId) }
        )
        yield* place("old")
        yield* Effect.gen(function* () {
          yield* drain
          yield* place("new")
          yield* place("new").pipe(Tenant.provide(late))
          yield* drain
        }).pipe(withRunner(now, all))
        // A registered reaction continues where it was, also if it is registered with another start.
        yield* place("later")
        yield* drain.pipe(withRunner({ ...now, startAt: "beginning" }, { ...all, startAt: "now" }))
        const idsOf = (type: string) =>
          Effect.map(logOf(type), (events) => events.map((event) => event.aggregateId))
        assert.deepStrictEqual(yield* idsOf("Requested"), ["new", "later"])
        assert.deepStrictEqual(yield* idsOf("Counted"), ["old", "new", "later"])
        assert.deepStrictEqual(yield* idsOf("Requested").pipe(Tenant.provide(late)), ["new"])
      }).pipe(asNewTenant)
    )

    it.effect("do nothing for a rebuild, and continue where they were", () =>
      Effect.gen(function* () {
        const tenantId = yield* Tenant.CurrentTenant
        const storage = yield* ProjectionStorage
        const handled: Array<number> = []
        const reaction = Reaction.make(
          unique("once"),
          { aggregates: [Order], startAt: "beginning" },
          {
            Placed: (_event, envelope) =>
              Effect.sync(() => {
                if (envelope.tenantId === tenantId) handled.push(envelope.position)
              })
          }
        )
        yield* Effect.gen(function* () {
          yield* place("1")
          yield* drain
          yield* place("2")
          yield* storage.startRebuild({ tenantId, projection: reaction.name, version: 1, tables: [] })
          yield* drain
        }).pipe(withRunner(reaction))
        assert.deepStrictEqual(handled, [1, 2])
        const rows = yield* progress(reaction.name)
        assert.deepStrictEqual(
          rows.map(({ rebuild, position }) => ({ rebuild, position })),
          [{ rebuild: false, position: 2 }]
        )
      }).pipe(asNewTenant)
    )

    it.effect(
      "append each event once, also if they are interrupted between the append and the checkpoint",
      () =>
        Effect.gen(function* () {
          const { reached, wait } = yield* stuckOnce
          const reaction = Reaction.make(
            unique("stuck"),
            { aggregates: [Order] },
            { Placed: (_event, { aggregateId }) => Effect.andThen(count(aggregateId), wait) }
          )
          yield* Effect.gen(function* () {
            yield* place("1")
            const worker = yield* Effect.forkChild(drain)
            yield* Deferred.await(reached)
            yield* Fiber.interrupt(worker)
            assert.strictEqual((yield* progress(reaction.name))[0]?.position ?? 0, 0)
            if (backend.name !== "memory") assert.deepStrictEqual(yield* logTypes, ["Placed"])
            yield* drain
          }).pipe(withRunner(reaction))
          assert.deepStrictEqual(yield* logTypes, ["Placed", "Counted"])
          assert.strictEqual((yield* progress(reaction.name))[0]?.position, 2)
        }).pipe(asNewTenant)
    )

    it.effect("are parked only for the tenant whose event fails, and continue when they are resumed", () =>
      Effect.gen(function* () {
        const tenantId = yield* Tenant.CurrentTenant
        const other = yield* Tenant.generate
        const storage = yield* ProjectionStorage
        let failing = true
        const reaction = Reaction.make(
          unique("failing"),
          { aggregates: [Order], retry: Schedule.recurs(0) },
          {
            Placed: ({ total }, { aggregateId }) =>
              Effect.andThen(
                count(aggregateId),
                Effect.suspend(() => (failing && total === 13 ? Effect.fail("no") : Effect.void))
              )
          }
        )
        yield* Effect.gen(function* () {
          yield* place("1", [placed(13)])
          yield* place("1").pipe(Tenant.provide(other))
          yield* drain
          assert.deepInclude((yield* progress(reaction.name))[0], {
            parked: true,
            position: 0,
            attempts: 1
          })
          if (backend.name !== "memory") assert.deepStrictEqual(yield* logTypes, ["Placed"])
          failing = false
          yield* storage.resume({ tenantId, projection: reaction.name, version: 1 })
          yield* drain
        }).pipe(withRunner(reaction))
        assert.deepStrictEqual(yield* logTypes, ["Placed", "Counted"])
        assert.deepStrictEqual(yield* logTypes.pipe(Tenant.provide(other)), ["Placed", "Counted"])
      }).pipe(asNewTenant)
    )

    it.effect("react to events that reactions append", () =>
      Effect.gen(function* () {
        const pays = Reaction.make(
          unique("pays"),
          { aggregates: [Shipment] },
          {
            Requested: ({ order }) =>
              Repository.use((repository) =>
                repository.execute(Order, order, (state) => (state.paid ? [] : [Paid.make({})]))
              )
          }
        )
        yield* Effect.gen(function* () {
          yield* place("1")
          yield* drain
        }).pipe(withRunner(pays, shipping()))
        const events = yield* log
        assert.deepStrictEqual(
          events.map(({ eventType }) => eventType),
          ["Placed", "Requested", "Paid"]
        )
        assert.deepStrictEqual(
          events.map(({ causationId }) => causationId),
          [null, events[0]?.eventId ?? "", events[1]?.eventId ?? ""]
        )
        assert.strictEqual(new Set(events.map(({ correlationId }) => correlationId)).size, 1)
      }).pipe(asNewTenant)
    )

    it.effect("react once to each event with concurrent writers and several runners", () =>
      Effect.gen(function* () {
        const tenants = yield* Effect.replicateEffect(Tenant.generate, 3)
        const reaction = Reaction.make(
          unique("live"),
          { aggregates: [Order] },
          { Placed: (_event, { aggregateId }) => count(aggregateId) }
        )
        const runner = ProjectionRunner.layer({
          projections: [reaction],
          concurrency: 3,
          pollInterval: "10 millis"
        })
        const orders = 20
        yield* Effect.gen(function* () {
          yield* Effect.forEach(
            tenants,
            (tenant) =>
              Effect.replicateEffect(place("1"), orders, { concurrency: 4 }).pipe(Tenant.provide(tenant)),
            { concurrency: "unbounded" }
          )
          yield* drain
        }).pipe(
          withRunner(reaction),
          Effect.provide(runner, { local: true }),
          Effect.provide(runner, { local: true })
        )
        yield* drain.pipe(withRunner(reaction))
        for (const tenant of tenants) {
          const counts = yield* logOf("Counted").pipe(Tenant.provide(tenant))
          assert.strictEqual(counts.length, orders)
          assert.strictEqual(new Set(counts.map(({ causationId }) => causationId)).size, orders)
        }
      })
    )

    if (backend.name === "memory") return

    it.effect("10: cannot change another tenant's data, because the database refuses it", () =>
      Effect.gen(function* () {
        const other = yield* Tenant.generate
        const reaction = Reaction.make(
          unique("straying"),
          { aggregates: [Order], retry: Schedule.recurs(0) },
          {
            Placed: (_event, { tenantId }) =>
              tenantId === other ? Effect.void : count("1").pipe(Tenant.provide(other))
          }
        )
        yield* Effect.gen(function* () {
          yield* place("1").pipe(Tenant.provide(other))
          yield* place("1")
          yield* drain
        }).pipe(withRunner(reaction))
        const [row] = yield* progress(reaction.name)
        assert.isTrue(row?.parked)
        assert.include(row?.error, "TenantMismatch")
        assert.deepStrictEqual(yield* logTypes.pipe(Tenant.provide(other)), ["Placed"])
      }).pipe(asNewTenant)
    )
  })
})

describe("a reaction", () => {
  it("has one version, no tables, and one event per transaction", () => {
    assert.deepInclude(shipping(), { kind: "reaction", version: 1, tables: [], batchSize: 1, startAt: "now" })
    assert.throws(() => Reaction.make("", { aggregates: [Order] }, {}))
  })
})
