import { PgClient } from "@effect/sql-pg"
import { assert, describe, it, layer } from "@effect/vitest"
import { Cause, Duration, Effect, Exit, Layer, Result, Stream } from "effect"
import * as Event from "../../src/domain/Event.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as TenantQuota from "../../src/lifecycle/TenantQuota.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import * as InlineProjections from "../../src/projection/InlineProjections.ts"
import * as Projection from "../../src/projection/Projection.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as Repository from "../../src/store/Repository.ts"
import * as TenantRegistry from "../../src/store/TenantRegistry.ts"
import { events, newTenant, request, stream } from "../../src/testing/driver/eventKit.ts"
import { EventStorage } from "../../src/driver/EventStorage.ts"
import { flipped } from "../../src/testing/failures.ts"
import { backends } from "../support/backends.ts"
import { Account, append, deposited, deposits } from "../support/bank.ts"
import { servers } from "../support/Databases.ts"

const by = Tenant.provideAdministration({ actor: "ada", reason: "contract" })

const quota = <A, E, R>(
  use: (service: TenantQuota.TenantQuota["Service"]) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, Exclude<R, Tenant.TenantAdministration> | TenantQuota.TenantQuota> =>
  by(TenantQuota.TenantQuota.use(use))

const set = (tenantId: Tenant.TenantId, given: TenantQuota.Quota) =>
  quota((service) => service.set(tenantId, given))

/** A registered tenant. */
const registered = Effect.tap(Effect.sync(newTenant), (tenantId) =>
  TenantRegistry.TenantRegistry.use((registry) => registry.provision(tenantId))
)

const position = EventStore.EventStore.use((store) => store.position)

/** Imports the given number of deposits. */
const imported = (count: number) =>
  EventStore.EventStore.use((store) =>
    store.importEvents(
      Stream.range(1, count).pipe(
        Stream.map((n) => ({
          aggregate: Account,
          id: `${n % 3}`,
          events: [Event.make(deposited(n), { eventId: Event.generateId() })]
        }))
      )
    )
  )

for (const backend of backends) {
  const services = Layer.mergeAll(TenantQuota.layer, TenantRegistry.layer, Repository.layer).pipe(
    Layer.provideMerge(EventStore.layer),
    Layer.provideMerge(backend.layer)
  )
  layer(services, { excludeTestServices: true })(`quotas of tenants on ${backend.name}`, (it) => {
    it.effect("shows the limits of a tenant or of its plan, and its use", () =>
      Effect.gen(function* () {
        const tenant = newTenant()
        const limits = { events: 100, rate: { events: 10, window: "1 minute" }, eventBytes: 1000 } as const
        for (const tried of [quota((service) => service.status(tenant)), set(tenant, limits)])
          assert.strictEqual((yield* flipped(tried))._tag, "TenantStateConflict")
        yield* append("1", deposits(2)).pipe(Tenant.provide(tenant))
        assert.isUndefined(yield* quota((service) => service.status(tenant)))
        yield* set(tenant, limits)
        assert.deepStrictEqual(yield* quota((service) => service.status(tenant)), {
          plan: undefined,
          limits: { ...limits, rate: { events: 10, window: Duration.minutes(1) } },
          events: 2
        })
        const plan = `plan of ${tenant}`
        assert.strictEqual((yield* flipped(set(tenant, { plan })))._tag, "TenantStateConflict")
        yield* quota((service) => service.definePlan(plan, { events: 3 }))
        yield* set(tenant, { plan })
        assert.deepStrictEqual(yield* quota((service) => service.status(tenant)), {
          plan,
          limits: { events: 3 },
          events: 2
        })
        assert.deepInclude(yield* quota((service) => service.plans), { name: plan, limits: { events: 3 } })
        yield* quota((service) => service.remove(tenant))
        assert.isUndefined(yield* quota((service) => service.status(tenant)))
      })
    )

    it.effect("refuses limits that are no positive integers, and names that cannot be stored", () =>
      Effect.gen(function* () {
        const tenant = yield* registered
        for (const wrong of [
          set(tenant, { events: 0 }),
          set(tenant, { events: 1.5 }),
          set(tenant, { eventBytes: Number.NaN }),
          set(tenant, { rate: { events: -1, window: "1 second" } }),
          set(tenant, { rate: { events: 1, window: 0 } }),
          set(tenant, { rate: { events: 1, window: "Infinity" } }),
          set(tenant, { plan: "" }),
          quota((service) => service.definePlan("a\u0000b", {}))
        ]) {
          const exit = yield* Effect.exit(wrong)
          assert.isTrue(Exit.isFailure(exit) && Cause.squash(exit.cause) instanceof RangeError)
        }
        assert.isUndefined(yield* quota((service) => service.status(tenant)))
      })
    )

    it.effect("an import is counted and never refused", () =>
      Effect.gen(function* () {
        const tenant = yield* registered
        yield* set(tenant, { events: 5, rate: { events: 2, window: "1 hour" }, eventBytes: 1 })
        assert.strictEqual((yield* Tenant.provide(tenant)(imported(9))).appended, 9)
        yield* set(tenant, { events: 9 })
        const error = yield* flipped(Tenant.provide(tenant)(append("1", deposits(1))))
        assert.containSubset(error, { _tag: "QuotaExceeded", maximum: 9, retryAfterMillis: null })
      })
    )

    it.effect("of commands that are joined, as many succeed as the quota allows, and no other fails", () =>
      Effect.gen(function* () {
        const repository = yield* Repository.Repository
        // All together are more than the quota ever takes, or more than it takes now.
        for (const [before, most] of [
          [1, 8],
          [23, 30]
        ] as const) {
          const tenant = yield* registered
          const pay = (n: number) =>
            repository.execute(Account, "1", () => [deposited(n)]).pipe(Tenant.provide(tenant))
          yield* append("2", deposits(before)).pipe(Tenant.provide(tenant))
          yield* set(tenant, { rate: { events: most, window: "1 hour" } })
          const outcomes = yield* Effect.forEach(
            Array.from({ length: 20 }, (_, index) => index + 1),
            (n) => Effect.result(pay(n)),
            { concurrency: "unbounded" }
          )
          const refusals = outcomes.flatMap((outcome) =>
            Result.isFailure(outcome) && outcome.failure._tag === "TenantRefused"
              ? [outcome.failure.reason._tag]
              : []
          )
          assert.deepStrictEqual(
            refusals,
            Array.from({ length: 13 }, () => "QuotaExceeded")
          )
          assert.strictEqual(outcomes.filter(Result.isSuccess).length, 7)
          assert.strictEqual(yield* Tenant.provide(tenant)(position), most)
          // The state in memory is that of the store.
          yield* quota((service) => service.remove(tenant))
          assert.strictEqual((yield* pay(1)).version, 8)
        }
      })
    )

    it.effect("a refused command succeeds with the same key once the quota is raised", () =>
      Effect.gen(function* () {
        const tenant = yield* registered
        yield* set(tenant, { events: 1 })
        const repository = yield* Repository.Repository
        const command = { key: "key", content: { amount: 1 } }
        const pay = repository
          .execute(Account, "1", () => [deposited(1)], { command })
          .pipe(Tenant.provide(tenant))
        yield* append("2", deposits(1)).pipe(Tenant.provide(tenant))
        assert.strictEqual((yield* flipped(pay))._tag, "QuotaExceeded")
        yield* set(tenant, { events: 2 })
        const first = yield* pay
        assert.deepStrictEqual((yield* pay).events, first.events)
        assert.strictEqual(yield* Tenant.provide(tenant)(position), 2)
      })
    )
  })
}

describe("an import through inline projections", () => {
  const handled = new Array<string>()
  const projection = Projection.make(
    "inline",
    { aggregates: [Account] },
    { Deposited: (_event, { aggregateId }) => Effect.sync(() => void handled.push(aggregateId)) }
  )
  it.effect("is counted and never refused, and an append after it is", () =>
    Effect.gen(function* () {
      const tenant = yield* registered
      yield* set(tenant, { events: 2 })
      assert.strictEqual((yield* Tenant.provide(tenant)(imported(5))).appended, 5)
      assert.lengthOf(handled, 5)
      assert.strictEqual(
        (yield* flipped(Tenant.provide(tenant)(append("1", deposits(1)))))._tag,
        "QuotaExceeded"
      )
      assert.lengthOf(handled, 5)
    }).pipe(
      Effect.provide(
        Layer.mergeAll(
          InlineProjections.layer({ projections: [projection] }),
          TenantQuota.layer,
          TenantRegistry.layer
        ).pipe(Layer.provideMerge(MemoryStorage.layer))
      )
    )
  )
})

describe.each(servers)("8 clients of $name", ({ freshDatabase }) => {
  it.live("append exactly as many events together as the quota allows", () =>
    Effect.gen(function* () {
      const { app } = yield* freshDatabase
      const client = Effect.suspend(() =>
        Layer.build(
          Layer.fresh(
            Layer.merge(TenantQuota.layer, TenantRegistry.layer).pipe(
              Layer.provideMerge(PgStorage.layer),
              Layer.provide(PgClient.layer({ ...app, maxConnections: 3 }))
            )
          )
        )
      )
      const first = yield* client
      const clients = [first]
      while (clients.length < 8) clients.push(yield* client)
      for (const given of [{ events: 100 }, { rate: { events: 100, window: "1 hour" } }] as const) {
        const tenant = yield* registered.pipe(
          Effect.tap((tenantId) => set(tenantId, given)),
          Effect.provideContext(first)
        )
        const outcomes = yield* Effect.forEach(
          Array.from({ length: 25 }, () => clients).flat(),
          (context) =>
            EventStorage.use((storage) => storage.append(request(tenant, stream("one", events(1))))).pipe(
              Effect.result,
              Effect.provideContext(context)
            ),
          { concurrency: "unbounded" }
        )
        assert.strictEqual(outcomes.filter(Result.isSuccess).length, 100)
        assert.isTrue(
          outcomes.every(
            (outcome) =>
              Result.isSuccess(outcome) ||
              (outcome.failure._tag === "TenantRefused" && outcome.failure.reason._tag === "QuotaExceeded")
          )
        )
      }
    })
  )
})
