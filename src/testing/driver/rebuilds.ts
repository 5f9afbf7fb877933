/** The contract of projection storages: rebuilds, and the isolation of tenants. */
import { assert } from "@effect/vitest"
import { Deferred, Effect, Fiber, Option } from "effect"
import { EventStorage } from "../../driver/EventStorage.ts"
import { type Claim, ProjectionStorage } from "../../driver/ProjectionStorage.ts"
import type { TenantId } from "../../domain/Tenant.ts"
import {
  failing,
  append,
  eventId,
  failNext,
  type It,
  newProjection,
  newTenant,
  type Projected,
  putNextAside,
  tenantsWith,
  withNeighbour
} from "./projectionKit.ts"
import { mismatches, flipped } from "../failures.ts"

/** A projection without tables. */
const start = (projected: Projected, tenantId: TenantId) =>
  ProjectionStorage.use((storage) => storage.startRebuild({ ...projected.of(tenantId), tables: [] }))

/** Finishes a rebuild as a runner does. */
const swapIn = Effect.fnUntraced(function* (claim: Claim) {
  const storage = yield* ProjectionStorage
  const head = yield* storage.advance(claim, claim.head)
  const live = yield* storage.lockLive(claim)
  yield* storage.switchRebuild(claim, { tables: [], position: Math.max(head, live) })
  return live
})

export const rebuilds = (it: It): void => {
  it.effect("a rebuild starts at the beginning, beside the live read model, and then replaces it", () =>
    Effect.gen(function* () {
      const projected = yield* newProjection()
      const [tenant = newTenant()] = yield* tenantsWith(4)
      yield* projected.step(3)
      yield* projected.fail(undefined)
      const { live } = yield* projected.progress(tenant)
      yield* start(projected, tenant)
      assert.deepStrictEqual((yield* projected.progress(tenant)).live, live)
      assert.deepInclude(yield* projected.step(2), { tenantId: tenant, rebuild: true, position: 0, head: 4 })
      assert.deepStrictEqual((yield* projected.progress(tenant)).live, live)
      assert.deepInclude((yield* projected.progress(tenant)).rebuild, { position: 2, head: 4 })
      assert.strictEqual(yield* projected.work(swapIn), 3)
      assert.deepStrictEqual(yield* projected.progress(tenant), {
        live: {
          rebuild: false,
          shared: false,
          position: 4,
          head: 4,
          parked: false,
          attempts: 0,
          failedPosition: undefined,
          error: undefined,
          failureKind: undefined,
          oldestUnprocessed: undefined,
          rebuilt: 1
        },
        rebuild: undefined
      })
      yield* projected.idle
      yield* append(tenant, 1)
      assert.deepInclude(yield* projected.step(), { rebuild: false, position: 4 })
    })
  )

  it.effect("a rebuild has work until it replaces the live one, and both continue with new events", () =>
    Effect.gen(function* () {
      const projected = yield* newProjection()
      const [tenant = newTenant()] = yield* tenantsWith(2)
      yield* projected.step()
      yield* start(projected, tenant)
      yield* projected.step()
      const atHead = { ...projected.of(tenant), rebuild: true, position: 2, head: 2 }
      assert.deepInclude(yield* projected.look, atHead)
      yield* append(tenant, 1)
      for (const rebuild of [true, false]) {
        const claim = yield* projected.when(
          (claimed) => claimed.rebuild === rebuild && claimed.head === 3,
          Effect.succeed
        )
        assert.strictEqual(claim.position, 2)
      }
    })
  )

  it.effect("a rebuild of a tenant without events is finished at once", () =>
    Effect.gen(function* () {
      const projected = yield* newProjection()
      const tenant = newTenant()
      yield* EventStorage.use((events) => events.provisionTenant(tenant))
      yield* start(projected, tenant)
      assert.strictEqual(yield* projected.work(swapIn), 0)
      assert.isUndefined((yield* projected.progress(tenant)).rebuild)
      yield* projected.idle
    })
  )

  it.effect("the dead letters of a rebuild are separate, and replace the live ones with it", () =>
    Effect.gen(function* () {
      const storage = yield* ProjectionStorage
      const projected = yield* newProjection()
      const [tenant = newTenant()] = yield* tenantsWith(3)
      yield* projected.putAside({ error: "Error: live" })
      yield* projected.putAside({ error: "Error: live" })
      yield* projected.step()
      const letters = Effect.map(
        storage.deadLetters({ ...projected.of(tenant), after: 0, limit: 10 }),
        (found) => found.map(({ position, error }) => [position, error])
      )
      const live = [
        [1, "Error: live"],
        [2, "Error: live"]
      ]
      for (const again of [true, false]) {
        yield* start(projected, tenant)
        yield* projected.step(1)
        yield* projected.putAside({ error: `Error: ${again ? "nothing" : "rebuild"}` })
        if (again) yield* projected.putAside({ error: "Error: nothing" })
        assert.deepStrictEqual(yield* letters, live)
        assert.isFalse(
          yield* storage.removeDeadLetter({ ...projected.of(tenant), position: 3, reason: undefined })
        )
      }
      yield* flipped(projected.work((claim) => Effect.andThen(swapIn(claim), Effect.fail("no"))))
      assert.deepStrictEqual(yield* letters, live)
      yield* projected.work(swapIn)
      assert.deepStrictEqual(yield* letters, [[2, "Error: rebuild"]])
    })
  )

  it.effect(
    "a rebuild that is started again starts over, and one of a projection that never ran is the first",
    () =>
      Effect.gen(function* () {
        const projected = yield* newProjection()
        const [tenant = newTenant()] = yield* tenantsWith(2)
        yield* projected.step()
        yield* start(projected, tenant)
        yield* projected.fail(undefined)
        yield* projected.idle
        assert.deepInclude((yield* projected.progress(tenant)).live, { position: 2, parked: false })
        yield* start(projected, tenant)
        assert.deepInclude(yield* projected.step(1), { rebuild: true, position: 0, attempts: 0 })
        yield* start(projected, tenant)
        assert.deepInclude(yield* projected.step(1), { rebuild: true, position: 0 })

        const never = yield* newProjection(2)
        const [other = newTenant()] = yield* tenantsWith(2)
        yield* start(never, other)
        const first = yield* never.work((claim) => (claim.rebuild ? swapIn(claim) : Effect.undefined))
        if (first === undefined) {
          yield* never.step()
          yield* never.work(swapIn)
        } else assert.strictEqual(first, 0)
        assert.deepInclude((yield* never.progress(other)).live, { position: 2 })
        yield* never.idle
      })
  )

  it.effect("a parked rebuild is resumed like a live projection", () =>
    Effect.gen(function* () {
      const storage = yield* ProjectionStorage
      const projected = yield* newProjection()
      const [tenant = newTenant()] = yield* tenantsWith(2)
      yield* projected.step()
      yield* start(projected, tenant)
      yield* projected.fail(undefined)
      yield* projected.idle
      assert.isTrue(yield* storage.resume(projected.of(tenant)))
      assert.deepInclude(yield* projected.look, { rebuild: true, position: 0, failedPosition: 1 })
    })
  )

  it.effect(
    "a cancelled rebuild is gone, with its dead letters, and the next one starts at the beginning",
    () =>
      Effect.gen(function* () {
        const storage = yield* ProjectionStorage
        const projected = yield* newProjection()
        const [tenant = newTenant()] = yield* tenantsWith(3)
        const cancel = storage.cancelRebuild({ ...projected.of(tenant), tables: [] })
        assert.isFalse(yield* cancel)
        yield* projected.putAside({ error: "Error: live" })
        yield* projected.step()
        const before = yield* projected.progress(tenant)
        yield* start(projected, tenant)
        yield* projected.step(1)
        yield* projected.putAside({ error: "Error: rebuild" })
        // It waits for the worker, whose changes are gone as well.
        const inside = yield* Deferred.make<void>()
        const cancelling = yield* Effect.forkChild(Effect.andThen(Deferred.await(inside), cancel))
        yield* projected.work((claim) =>
          Effect.gen(function* () {
            yield* Deferred.succeed(inside, undefined)
            yield* storage.advance(claim, 3)
            assert.isUndefined(cancelling.pollUnsafe())
          })
        )
        assert.isTrue(yield* Fiber.join(cancelling))
        assert.isFalse(yield* cancel)
        assert.deepStrictEqual(yield* projected.progress(tenant), before)
        yield* projected.idle
        assert.deepStrictEqual(yield* projected.letters(tenant), [1])
        yield* start(projected, tenant)
        assert.deepInclude(yield* projected.step(), { rebuild: true, position: 0 })
        yield* projected.work(swapIn)
        assert.deepStrictEqual(yield* projected.letters(tenant), [])
        assert.deepInclude((yield* projected.progress(tenant)).live, { position: 3, rebuilt: 1 })
      })
  )

  it.effect("a failed finish of a rebuild changes nothing", () =>
    Effect.gen(function* () {
      const projected = yield* newProjection()
      const [tenant = newTenant()] = yield* tenantsWith(3)
      yield* projected.step()
      yield* start(projected, tenant)
      yield* projected.step(1)
      const before = yield* projected.progress(tenant)
      yield* flipped(projected.work((claim) => Effect.andThen(swapIn(claim), Effect.fail("no"))))
      assert.deepStrictEqual(yield* projected.progress(tenant), before)
      yield* projected.work(swapIn)
      assert.isUndefined((yield* projected.progress(tenant)).rebuild)
    })
  )
}

export const isolation = (it: It): void => {
  /** Everything that a tenant can see of a projection. */
  const observe = (projected: Projected, tenantId: TenantId) =>
    Effect.gen(function* () {
      const storage = yield* ProjectionStorage
      return {
        progress: yield* storage.progress(projected.of(tenantId)),
        letters: yield* storage.deadLetters({ ...projected.of(tenantId), after: 0, limit: 100 })
      }
    })

  it.effect("11, 12: a poison event, a rebuild and its end do not affect another tenant", () =>
    Effect.gen(function* () {
      const storage = yield* ProjectionStorage
      const projected = yield* newProjection()
      yield* withNeighbour(
        Effect.fnUntraced(function* (mine, theirs) {
          for (const tenant of [mine, theirs]) {
            yield* projected.on(tenant, (claim) => storage.advance(claim, 1))
          }
          const before = yield* observe(projected, theirs)
          yield* projected.on(mine, failNext(undefined))
          assert.deepStrictEqual(yield* observe(projected, theirs), before)
          yield* start(projected, mine)
          assert.deepStrictEqual(yield* observe(projected, theirs), before)
          yield* start(projected, theirs)
          const cancelled = yield* observe(projected, mine)
          assert.isTrue(yield* storage.cancelRebuild({ ...projected.of(theirs), tables: [] }))
          assert.deepStrictEqual(yield* observe(projected, mine), cancelled)
          assert.deepStrictEqual(yield* observe(projected, theirs), before)
          yield* projected.on(mine, swapIn)
          assert.deepStrictEqual(yield* observe(projected, theirs), before)
          assert.deepInclude((yield* projected.progress(mine)).live, { position: 3, parked: false })
          yield* projected.step()
          yield* projected.idle
        })
      )
    })
  )

  it.effect("15, 18: dead letters and parking belong to one tenant, whatever another one asks for", () =>
    Effect.gen(function* () {
      const storage = yield* ProjectionStorage
      const projected = yield* newProjection()
      yield* withNeighbour(
        Effect.fnUntraced(function* (mine, theirs) {
          for (const tenant of [mine, theirs]) {
            yield* projected.on(tenant, putNextAside())
            yield* projected.on(tenant, failNext(undefined))
          }
          const before = yield* observe(projected, theirs)
          assert.deepInclude(before.letters[0], { position: 1 })
          const key = projected.of(mine)
          assert.isTrue(yield* storage.removeDeadLetter({ ...key, position: 1, reason: "mine" }))
          assert.isFalse(yield* storage.removeDeadLetter({ ...key, position: 1, reason: "theirs?" }))
          assert.isTrue(yield* storage.resume(key))
          assert.deepStrictEqual(yield* observe(projected, theirs), before)
          assert.isEmpty((yield* observe(projected, mine)).letters)
          assert.isTrue(yield* storage.resume(projected.of(theirs)))
          yield* projected.step()
          yield* projected.step()
          yield* projected.idle
        })
      )
    })
  )

  it.effect("10: work for one tenant does nothing for another", () =>
    Effect.gen(function* () {
      const storage = yield* ProjectionStorage
      const projected = yield* newProjection()
      yield* withNeighbour(
        Effect.fnUntraced(function* (mine, theirs) {
          const operations: ReadonlyArray<(other: Claim) => Effect.Effect<unknown, unknown>> = [
            (other) => storage.advance(other, 3),
            (other) =>
              storage.fail({ claim: other, position: 1, attempts: 1, error: "x", ...failing(undefined) }),
            (other) =>
              storage.addDeadLetter(other, { position: 1, eventId: eventId(1), error: "x", attempts: 1 }),
            (other) => storage.deadLetters({ ...other, after: 0, limit: 10 }),
            (other) => storage.removeDeadLetter({ ...other, position: 1, reason: undefined }),
            (other) => storage.progress(other),
            (other) => storage.resume(other),
            (other) => storage.lockLive({ ...other, rebuild: true }),
            (other) => storage.startRebuild({ ...other, tables: [] }),
            (other) => storage.cancelRebuild({ ...other, tables: [] }),
            (other) => storage.transaction(other.tenantId, Effect.void)
          ]
          for (const operation of operations) {
            let other: TenantId | undefined
            // The surrounding work is undone even if the defect is caught.
            const { tenantId } = yield* mismatches(
              projected.work((claim) => {
                other = claim.tenantId === mine ? theirs : mine
                return Effect.exit(storage.attempt(operation({ ...claim, tenantId: other })))
              })
            )
            assert.strictEqual(tenantId, other)
          }
          for (const tenant of [mine, theirs]) {
            assert.strictEqual(yield* projected.on(tenant, (claim) => storage.advance(claim, 3)), 3)
          }
          yield* projected.idle
        })
      )
    })
  )

  it.effect(
    "an append in a transaction is visible to all once the transaction succeeds, and never if it fails",
    () =>
      Effect.gen(function* () {
        const storage = yield* ProjectionStorage
        const events = yield* EventStorage
        const [tenant = newTenant()] = yield* tenantsWith(2)
        const head = Effect.map(events.head({ tenantId: tenant }), ({ position }) => position)
        assert.isFalse(yield* storage.inTransaction)
        assert.isFalse(yield* events.inTransaction)
        const appending = <A, E>(then: Effect.Effect<A, E>) =>
          storage.transaction(
            tenant,
            Effect.gen(function* () {
              assert.isTrue(yield* storage.inTransaction)
              assert.isTrue(yield* events.inTransaction)
              yield* append(tenant, 2)
              // A failure inside undoes only its own changes.
              yield* Effect.ignore(
                storage.transaction(tenant, Effect.andThen(append(tenant, 1), Effect.fail("no")))
              )
              assert.strictEqual(yield* head, 4)
              return yield* then
            })
          )
        assert.strictEqual(yield* flipped(appending(Effect.fail("changed its mind"))), "changed its mind")
        assert.strictEqual(yield* head, 2)
        yield* appending(storage.clearReadModel({ tenantId: tenant, tables: [] }))
        assert.strictEqual(yield* head, 4)
        yield* append(tenant, 1)
        assert.strictEqual(yield* head, 5)
        const { rows } = yield* events.readStream({
          tenantId: tenant,
          aggregateType: "Case",
          aggregateId: "one",
          fromVersion: 1,
          toVersion: 10,
          direction: "forwards",
          limit: 10
        })
        assert.deepStrictEqual(
          rows.map(({ position, version }) => [position, version]),
          [1, 2, 3, 4, 5].map((n) => [n, n])
        )
      })
  )

  it.effect("outside of work, a transaction of one tenant refuses work for another", () =>
    Effect.gen(function* () {
      const storage = yield* ProjectionStorage
      const projected = yield* newProjection()
      const [tenant = newTenant()] = yield* tenantsWith(1)
      const progress = storage.transaction(tenant, storage.progress(projected.of(tenant)))
      yield* projected.step()
      assert.deepInclude((yield* progress)[0], { position: 1 })
      assert.strictEqual(yield* flipped(storage.transaction(tenant, Effect.fail("typed"))), "typed")
      assert.isTrue(Option.isNone(yield* projected.tryWork(Effect.succeed)))
    })
  )
}
