import { assert, layer } from "@effect/vitest"
import { Context, Duration, Effect, Fiber, Layer } from "effect"
import { OtherFailure, StorageUnavailable } from "../../src/driver/StoreError.ts"
import * as KeyVault from "../../src/forgetting/KeyVault.ts"
import * as TenantErasure from "../../src/lifecycle/TenantErasure.ts"
import * as TenantRegistry from "../../src/store/TenantRegistry.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { append, eventIds, events, newTenant, refused, stream } from "../../src/testing/driver/eventKit.ts"
import { changeSubject, rawEvents } from "../../src/testing/driver/administrationKit.ts"
import { flipped } from "../../src/testing/failures.ts"
import { backends } from "../support/backends.ts"
import { nameOf, newVault, processOn, read, type Storages, write } from "../support/persons.ts"

const lost = new StorageUnavailable({
  reason: new OtherFailure({ operation: "test", retryable: true, code: "killed" })
})

const by = Tenant.provideAdministration({ actor: "ada", reason: "contract ended" })

for (const backend of backends) {
  const services = TenantErasure.layerWith({ rowsPerStep: 3, pause: "1 millis" }).pipe(
    Layer.merge(TenantRegistry.layer),
    Layer.provideMerge(backend.layer)
  )
  layer(services, { excludeTestServices: true })(`erasure of tenants on ${backend.name}`, (it) => {
    it.effect("removes everything but a record, certifies it, and refuses the id from then on", () =>
      Effect.gen(function* () {
        const erasure = yield* TenantErasure.TenantErasure
        const [tenant, other] = [newTenant(), newTenant()]
        for (const tenantId of [tenant, other])
          yield* append(tenantId, stream("one", events(7, { tags: ["t"] })))
        const certificate = yield* by(erasure.erase(tenant))
        assert.containSubset(certificate, {
          tenantId: tenant,
          actor: "ada",
          reason: "contract ended",
          events: 7,
          lastHash: null
        })
        assert.isAtLeast(certificate.removed, 7)
        assert.deepStrictEqual(yield* rawEvents(tenant), [])
        assert.deepStrictEqual(yield* refused(tenant, stream("one", events(1))), {
          _tag: "TenantErased",
          tenantId: tenant
        })
        const registry = yield* TenantRegistry.TenantRegistry
        assert.strictEqual(yield* registry.provision(tenant), "erased")
        const resumed = yield* flipped(
          Tenant.provideAll({ actor: "ada", reason: "test" })(registry.resume(tenant))
        )
        assert.strictEqual(resumed._tag, "TenantErased")
        const status = yield* by(erasure.status(tenant))
        assert.containSubset(status, { complete: true, events: 7, delay: Duration.zero })
        // asked again, it certifies the same erasure
        const again = yield* by(erasure.erase(tenant))
        assert.deepStrictEqual([again.removed, again.erasedAt], [0, certificate.erasedAt])
        assert.lengthOf(yield* eventIds(other), 7)
        assert.isUndefined(yield* by(erasure.status(other)))
      })
    )

    it.effect("waits for a delay, in which it can be undone", () =>
      Effect.gen(function* () {
        const erasure = yield* TenantErasure.TenantErasure
        const tenant = newTenant()
        yield* append(tenant, stream("one", events(2)))
        const scheduled = yield* by(erasure.schedule(tenant, { delay: "30 days" }))
        assert.isAbove(Duration.toMillis(scheduled.delay), Duration.toMillis("29 days"))
        assert.isFalse(scheduled.complete)
        assert.strictEqual((yield* refused(tenant, stream("one", events(1))))["_tag"], "TenantErased")
        assert.strictEqual((yield* flipped(by(erasure.finish(tenant))))._tag, "TenantStateConflict")
        yield* by(erasure.undo(tenant))
        yield* append(tenant, stream("one", events(1), 2))
        assert.strictEqual((yield* flipped(by(erasure.undo(tenant))))._tag, "TenantStateConflict")
        yield* by(erasure.schedule(tenant, { delay: 0 }))
        const certificate = yield* by(erasure.finish(tenant))
        assert.strictEqual(certificate.events, 3)
        assert.strictEqual((yield* flipped(by(erasure.undo(tenant))))._tag, "TenantStateConflict")
      })
    )

    it.effect("does not touch a tenant under a legal hold", () =>
      Effect.gen(function* () {
        const erasure = yield* TenantErasure.TenantErasure
        const tenant = newTenant()
        yield* append(tenant, stream("one", events(2)))
        yield* by(erasure.hold(tenant, "lawsuit"))
        const held = yield* flipped(by(erasure.erase(tenant)))
        assert.containSubset(held, { _tag: "TenantHeld", actor: "ada", reason: "lawsuit" })
        yield* append(tenant, stream("one", events(1)))
        yield* by(erasure.release(tenant))
        assert.strictEqual((yield* by(erasure.erase(tenant))).events, 3)
      })
    )

    it.effect(
      "names the people of a tenant who are under a legal hold, and erases them only if told to",
      () =>
        Effect.gen(function* () {
          const erasure = yield* TenantErasure.TenantErasure
          const tenant = newTenant()
          yield* append(tenant, stream("one", events(2)))
          yield* changeSubject(tenant, "c-1", { change: "hold", reason: "lawsuit" })
          for (const run of [
            Effect.asVoid(erasure.erase(tenant)),
            Effect.asVoid(erasure.schedule(tenant, { delay: 0 })),
            Effect.asVoid(erasure.erase(tenant, { heldSubjects: false }))
          ]) {
            const held = yield* flipped(by(run))
            assert.containSubset(held, {
              _tag: "TenantHeld",
              subjects: [{ subject: "c-1", actor: "suite", reason: "lawsuit" }]
            })
          }
          assert.isUndefined(yield* by(erasure.status(tenant)))
          yield* by(erasure.schedule(tenant, { delay: 0, heldSubjects: true }))
          yield* by(erasure.undo(tenant))
          assert.strictEqual((yield* by(erasure.erase(tenant, { heldSubjects: true }))).events, 2)
        })
    )

    it.effect("continues an erasure that was interrupted", () =>
      Effect.gen(function* () {
        const erasure = yield* TenantErasure.TenantErasure
        const tenant = newTenant()
        yield* append(tenant, stream("one", events(60)))
        const fiber = yield* Effect.forkChild(by(erasure.erase(tenant)))
        while ((yield* rawEvents(tenant)).length === 60) yield* Effect.sleep("1 millis")
        yield* Fiber.interrupt(fiber)
        const certificate = yield* by(erasure.finish(tenant))
        assert.strictEqual(certificate.events, 60)
        assert.deepStrictEqual(yield* rawEvents(tenant), [])
        assert.strictEqual((yield* by(erasure.status(tenant)))?.complete, true)
      })
    )

    it.effect("destroys the keys of the tenant once it cannot be undone, and says so", () =>
      Effect.gen(function* () {
        const below = yield* Effect.context<Storages>()
        const vault = yield* newVault
        let down = false
        const failing: typeof vault = {
          ...vault,
          eraseTenant: (request) => (down ? Effect.fail(lost) : vault.eraseTenant(request))
        }
        const erasure = Context.get(
          yield* Layer.build(
            TenantErasure.layerWithVault({ rowsPerStep: 3, pause: 0 }).pipe(
              Layer.provide(Layer.succeedContext(below)),
              Layer.provide(Layer.succeed(KeyVault.KeyVault, failing))
            )
          ),
          TenantErasure.TenantErasure
        )
        const process = yield* processOn(below, vault)
        const [tenant, other] = [newTenant(), newTenant()]
        for (const tenantId of [tenant, other])
          for (let n = 0; n < 5; n++) yield* write(process, tenantId, "Ada")
        yield* by(erasure.schedule(tenant, { delay: "30 days" }))
        yield* by(erasure.undo(tenant))
        assert.deepStrictEqual((yield* read(process, tenant, "Ada"))[4], nameOf("Ada"))
        down = true
        assert.strictEqual((yield* flipped(by(erasure.erase(tenant))))._tag, "StorageUnavailable")
        assert.strictEqual((yield* flipped(by(erasure.undo(tenant))))._tag, "TenantStateConflict")
        assert.isAbove((yield* vault.exportKeys({ tenantId: tenant })).length, 0)
        down = false
        const certificate = yield* by(erasure.finish(tenant))
        assert.strictEqual(certificate.keys, "destroyed")
        assert.include(certificate.residues.join(), "key vault")
        assert.deepStrictEqual(yield* vault.exportKeys({ tenantId: tenant }), [])
        assert.strictEqual((yield* by(erasure.finish(tenant))).keys, "destroyed")
        assert.lengthOf(yield* read(process, other, "Ada"), 5)
        assert.include(yield* read(process, other, "Ada"), nameOf("Ada"))
        const without = yield* TenantErasure.TenantErasure
        assert.strictEqual((yield* by(without.erase(other))).keys, "noVault")
      }).pipe(Effect.scoped)
    )
  })
}
