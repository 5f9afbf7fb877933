import { assert, describe, it, layer } from "@effect/vitest"
import { Deferred, Effect, Exit, Predicate, Stream } from "effect"
import * as EventStore from "../../src/store/EventStore.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as TenantRegistry from "../../src/store/TenantRegistry.ts"
import { backends } from "../support/backends.ts"
import { Account, append, deposited, deposits, onDriver, opened } from "../support/bank.ts"
import { flipped } from "../../src/testing/failures.ts"

const asOperator = Tenant.provideAll({ actor: "ops@example.com", reason: "unpaid invoice" })
const tagOf = <A, E extends { readonly _tag: string }, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.match(flipped(effect), {
    onFailure: () => undefined,
    onSuccess: (error: unknown) => (Predicate.hasProperty(error, "_tag") ? error._tag : error)
  })

describe.each(backends)("the registry of tenants on $name", (backend) => {
  layer(onDriver(backend.layer), { excludeTestServices: true })((it) => {
    it.effect("provisions a tenant, and does nothing if it is registered already", () =>
      Effect.gen(function* () {
        const { provision, status } = yield* TenantRegistry.TenantRegistry
        const store = yield* EventStore.EventStore
        const tenantId = yield* Tenant.generate
        const mine = store.tenants.pipe(
          Stream.filter((head) => head.tenantId === tenantId),
          Stream.runCollect,
          asOperator
        )
        assert.isUndefined(yield* status.pipe(Tenant.provide(tenantId)))
        assert.strictEqual(yield* provision(tenantId), "active")
        const [first] = yield* mine
        assert.deepInclude(first, { tenantId, status: "active", position: 0 })
        yield* append("1", deposits(2)).pipe(Tenant.provide(tenantId))
        assert.strictEqual(yield* provision(tenantId), "active")
        assert.deepStrictEqual(yield* mine, [{ ...first, position: 2 }] as unknown)
        assert.strictEqual(yield* status.pipe(Tenant.provide(tenantId)), "active")
      })
    )

    it.effect("knows a tenant after its first append, but not after a refused append or a read", () =>
      Effect.gen(function* () {
        const { status } = yield* TenantRegistry.TenantRegistry
        const store = yield* EventStore.EventStore
        yield* Effect.gen(function* () {
          yield* flipped(append("1", [opened("\0")]))
          yield* append("1", [])
          yield* store.position
          yield* store.exists({ aggregate: Account, id: "1" })
          assert.isUndefined(yield* status)
          yield* append("1", [opened()])
          assert.strictEqual(yield* status, "active")
        }).pipe(Tenant.provide(yield* Tenant.generate))
      })
    )

    it.effect(
      "suspends a tenant: it can be read but not written, and stays suspended if it is provisioned again",
      () =>
        Effect.gen(function* () {
          const { provision, resume, status, suspend } = yield* TenantRegistry.TenantRegistry
          const store = yield* EventStore.EventStore
          const [tenantId, other] = [yield* Tenant.generate, yield* Tenant.generate]
          yield* Effect.gen(function* () {
            yield* append("1", deposits(2))
            assert.strictEqual(yield* asOperator(suspend(tenantId)), "active")
            assert.strictEqual(yield* asOperator(suspend(tenantId)), "suspended")
            assert.strictEqual(yield* status, "suspended")
            assert.strictEqual(yield* provision(tenantId), "suspended")
            const error = yield* flipped(append("1", [deposited(3)]))
            assert.deepInclude(error, { _tag: "TenantSuspended", tenantId })
            assert.lengthOf(yield* Stream.runCollect(store.readStream({ aggregate: Account, id: "1" })), 2)
            // Another tenant can still write.
            yield* append("1", deposits(1)).pipe(Tenant.provide(other))
            assert.strictEqual(yield* asOperator(resume(tenantId)), "suspended")
            assert.strictEqual(yield* asOperator(resume(tenantId)), "active")
            assert.deepInclude(yield* append("1", [deposited(3)]), { version: 3, position: 3 })
          }).pipe(Tenant.provide(tenantId))
        })
    )

    it.effect("34: acknowledges no append after a suspension, and loses none from before it", () =>
      Effect.gen(function* () {
        const { suspend } = yield* TenantRegistry.TenantRegistry
        const store = yield* EventStore.EventStore
        const tenantId = yield* Tenant.generate
        yield* Effect.gen(function* () {
          yield* append("0", deposits(1))
          let suspended = false
          const underWay = yield* Deferred.make<void>()
          const write = (id: number) =>
            Effect.suspend(() => {
              const late = suspended
              if (id === 9) Deferred.doneUnsafe(underWay, Effect.void)
              return Effect.map(tagOf(append(`${id}`, deposits(2))), (tag) => {
                if (late) assert.strictEqual(tag, "TenantSuspended")
                return tag === undefined ? 2 : 0
              })
            })
          const [written] = yield* Effect.all(
            [
              Effect.forEach(
                Array.from({ length: 24 }, (_, index) => index + 1),
                write,
                { concurrency: 6 }
              ),
              Deferred.await(underWay).pipe(
                Effect.andThen(asOperator(suspend(tenantId))),
                Effect.andThen(Effect.sync(() => (suspended = true)))
              )
            ],
            { concurrency: "unbounded" }
          )
          assert.strictEqual(
            yield* store.position,
            written.reduce((sum: number, events) => sum + events, 1)
          )
          assert.strictEqual(yield* tagOf(append("0", deposits(1))), "TenantSuspended")
        }).pipe(Tenant.provide(tenantId))
      })
    )

    it.effect("does not suspend or resume a tenant that it does not know", () =>
      Effect.gen(function* () {
        const { resume, suspend } = yield* TenantRegistry.TenantRegistry
        const tenantId = yield* Tenant.generate
        for (const effect of [suspend(tenantId), resume(tenantId)]) {
          const error = yield* flipped(asOperator(effect))
          assert.deepInclude(error, { _tag: "UnknownTenant", tenantId })
        }
      })
    )

    it.effect(
      "records every access across tenants with actor, reason, operation and time, newest first",
      () =>
        Effect.gen(function* () {
          const { accesses, resume, suspend } = yield* TenantRegistry.TenantRegistry
          const store = yield* EventStore.EventStore
          const tenantId = yield* Tenant.generate
          const as = (actor: string) => Tenant.provideAll({ actor, reason: `reason of ${actor}` })
          const started = Date.now()
          yield* append("1", deposits(1)).pipe(Tenant.provide(tenantId))
          yield* Stream.runDrain(store.tenants).pipe(as("ada"))
          yield* Stream.runDrain(store.readAllLogsJson()).pipe(as("bob"))
          yield* suspend(tenantId).pipe(as("carol"))
          yield* resume(tenantId).pipe(as("dan"))
          // Refused attempts are recorded too.
          const unknown = yield* Tenant.generate
          yield* flipped(suspend(unknown)).pipe(as("eve"))
          // An effect that never runs is not recorded.
          void store.tenants
          const recorded = yield* accesses.pipe(Stream.take(6), Stream.runCollect, as("fay"))
          assert.deepStrictEqual(
            recorded.map(({ actor, operation, reason }) => [actor, operation, reason]),
            [
              ["fay", "TenantRegistry.accesses", "reason of fay"],
              ["eve", `TenantRegistry.suspend ${unknown}`, "reason of eve"],
              ["dan", `TenantRegistry.resume ${tenantId}`, "reason of dan"],
              ["carol", `TenantRegistry.suspend ${tenantId}`, "reason of carol"],
              ["bob", "EventStore.readAllLogsJson", "reason of bob"],
              ["ada", "EventStore.tenants", "reason of ada"]
            ]
          )
          for (const { accessedAt } of recorded) {
            assert.closeTo(accessedAt.epochMilliseconds, started, 60_000)
          }
          assert.strictEqual(new Set(recorded.map(({ accessId }) => accessId)).size, 6)
        })
    )
  })
})

describe("a store on which the first append does not register the tenant", () => {
  it.effect("refuses appends of a tenant that was not provisioned", () =>
    Effect.gen(function* () {
      const { provision, status } = yield* TenantRegistry.TenantRegistry
      const tenantId = yield* Tenant.generate
      yield* Effect.gen(function* () {
        assert.deepInclude(yield* flipped(append("1", [opened()])), { _tag: "UnknownTenant", tenantId })
        assert.isUndefined(yield* status)
        yield* provision(tenantId)
        yield* append("1", [opened()])
      }).pipe(Tenant.provide(tenantId))
    }).pipe(Effect.provide(onDriver(MemoryStorage.layerWith({ provisionOnAppend: false }))))
  )

  it.effect("looks across tenants only with a stated reason", () =>
    Effect.gen(function* () {
      const store = yield* EventStore.EventStore
      const blank = Tenant.provideAll({ actor: "ada", reason: " " })
      assert.isTrue(Exit.hasDies(yield* Effect.exit(blank(Stream.runDrain(store.tenants)))))
    }).pipe(Effect.provide(onDriver(MemoryStorage.layer)))
  )
})
