/** The contract of projection storages: claims, and the rollback of failed work. */
import { assert } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Option } from "effect"
import { type Claim, ProjectionStorage } from "../../driver/ProjectionStorage.ts"
import type { TenantId } from "../../domain/Tenant.ts"
import {
  access,
  append,
  eventId,
  eventually,
  type It,
  newProjection,
  newTenant,
  tenantsWith
} from "./projectionKit.ts"
import { flipped } from "../failures.ts"

export const claims = (it: It): void => {
  it.effect("a claim finds work until none is left, and again after new events", () =>
    Effect.gen(function* () {
      const storage = yield* ProjectionStorage
      const projected = yield* newProjection()
      yield* projected.idle
      const [tenant = newTenant()] = yield* tenantsWith(3)
      const expected = {
        ...projected.of(tenant),
        rebuild: false,
        position: 0,
        head: 3,
        attempts: 0,
        failedPosition: undefined,
        error: undefined,
        failureKind: undefined,
        waited: 0,
        alone: false
      }
      // Drivers may not know if a claim is alone.
      const claimed = (claim: Claim): Claim => ({ ...claim, alone: false })
      assert.deepStrictEqual(claimed(yield* projected.step(2)), expected)
      assert.deepStrictEqual(claimed(yield* projected.step()), { ...expected, position: 2 })
      yield* projected.idle
      yield* append(tenant, 2)
      const worked = yield* projected.work(
        Effect.fnUntraced(function* (claim) {
          yield* append(tenant, 1)
          return { claim: claimed(claim), head: yield* storage.advance(claim, claim.head) }
        })
      )
      assert.deepStrictEqual(worked, { claim: { ...expected, position: 3, head: 5 }, head: 6 })
      assert.strictEqual((yield* projected.step()).position, 5)
      yield* projected.idle
    })
  )

  it.effect("a registered projection is worked on, from the beginning or from its registration", () =>
    Effect.gen(function* () {
      const storage = yield* ProjectionStorage
      const [tenant = newTenant()] = yield* tenantsWith(2)
      const fromNow = yield* newProjection()
      const { projection } = fromNow
      const key = { projection, version: 2 }
      const request = { projections: [{ ...key, acrossTenants: false }], accessId: undefined }
      const done = new Map<TenantId, number>()
      /** Does all work. */
      const work = Effect.gen(function* () {
        yield* storage.sweep
        while (true) {
          const worked = yield* storage.work(request, (claim) =>
            Effect.as(storage.advance(claim, claim.head), claim)
          )
          if (Option.isNone(worked)) break
          done.set(worked.value.tenantId, worked.value.position)
        }
      })
      yield* work
      assert.strictEqual(done.size, 0)
      yield* storage.register([{ ...key, startAt: "beginning", tables: [] }])
      // A later registration changes nothing.
      yield* storage.register([{ ...key, startAt: "now", tables: [] }])
      yield* eventually(
        Effect.andThen(
          work,
          Effect.sync(() => assert.strictEqual(done.get(tenant), 0))
        )
      )
      yield* fromNow.idle
      yield* append(tenant, 1)
      assert.deepInclude(yield* fromNow.step(), { tenantId: tenant, position: 2, head: 3 })
    })
  )

  it.effect(
    "only one of many workers works on a tenant at a time, and every event is handled once, in order",
    () =>
      Effect.gen(function* () {
        const storage = yield* ProjectionStorage
        const projected = yield* newProjection()
        const tenants = yield* tenantsWith(12, 12, 12)
        const atWork = new Set<TenantId>()
        const handled: Array<readonly [TenantId, number]> = []
        const worker = Effect.gen(function* () {
          while (handled.length < 36) {
            const worked = yield* projected.tryWork(
              Effect.fnUntraced(function* (claim) {
                assert.isFalse(atWork.has(claim.tenantId), "two workers on one tenant")
                atWork.add(claim.tenantId)
                yield* Effect.yieldNow
                handled.push([claim.tenantId, claim.position + 1])
                yield* storage.advance(claim, claim.position + 1)
                atWork.delete(claim.tenantId)
              })
            )
            if (Option.isNone(worked)) yield* Effect.andThen(storage.sweep, Effect.sleep("2 millis"))
          }
        })
        yield* Effect.all(
          Array.from({ length: 6 }, () => worker),
          { concurrency: "unbounded" }
        )
        const expected = Array.from({ length: 12 }, (_, index) => index + 1)
        for (const tenant of tenants) {
          assert.deepStrictEqual(
            handled.flatMap(([tenantId, position]) => (tenantId === tenant ? [position] : [])),
            expected
          )
        }
      })
  )
}

/** For storages that can hold two transactions open at once. */
/** For a driver that serves all tenants in one order. */
export const orderedClaims = (it: It): void => {
  it.effect("the tenant served least recently comes first, and new tenants before it", () =>
    Effect.gen(function* () {
      const projected = yield* newProjection()
      const tenants = yield* tenantsWith(5, 5, 5)
      yield* projected.known(tenants)
      const order: Array<TenantId> = []
      for (const _ of tenants) order.push((yield* projected.step(1)).tenantId)
      assert.sameMembers(order, tenants)
      for (const tenant of order) assert.strictEqual((yield* projected.step(1)).tenantId, tenant)
      const [newcomer = newTenant()] = yield* tenantsWith(1)
      yield* projected.firstIs(newcomer)
      yield* projected.step(1)
      // A failure counts as service, so that the others do not wait for it.
      const [first, second, third] = order
      assert.strictEqual((yield* projected.fail(0)).tenantId, first)
      for (const tenant of [second, third, first]) {
        assert.strictEqual((yield* projected.step(1)).tenantId, tenant)
      }
    })
  )

  it.effect("projections are tried in the order of the request", () =>
    Effect.gen(function* () {
      const storage = yield* ProjectionStorage
      const [one, two] = [yield* newProjection(), yield* newProjection()]
      const tenants = yield* tenantsWith(1, 1)
      for (const projected of [one, two]) yield* projected.known(tenants)
      const projections = [...two.request.projections, ...one.request.projections]
      const order: Array<string> = []
      for (const _ of [1, 2, 3, 4]) {
        const worked = yield* storage.work({ projections, accessId: undefined }, (claim) =>
          Effect.as(storage.advance(claim, claim.head), claim)
        )
        order.push(Option.getOrThrow(worked).projection)
      }
      assert.deepStrictEqual(
        order,
        [two, two, one, one].map(({ projection }) => projection)
      )
    })
  )
}

export const concurrentClaims = (it: It): void => {
  it.effect("a tenant that is worked on is skipped until the work ends, however it ends", () =>
    Effect.gen(function* () {
      const projected = yield* newProjection()
      const [one = newTenant(), two = newTenant()] = yield* tenantsWith(1, 1)
      const [started, other] = [yield* Deferred.make<TenantId>(), yield* Deferred.make<TenantId>()]
      const hold = (claimed: Deferred.Deferred<TenantId>) =>
        Effect.forkChild(
          projected.work((claim) => Effect.andThen(Deferred.succeed(claimed, claim.tenantId), Effect.never))
        )
      const first = yield* hold(started)
      const held = yield* Deferred.await(started)
      const second = yield* hold(other)
      assert.sameMembers([held, yield* Deferred.await(other)], [one, two])
      yield* projected.idle
      yield* Fiber.interrupt(first)
      yield* eventually(
        Effect.map(projected.look, ({ tenantId, position }) =>
          assert.deepStrictEqual([tenantId, position], [held, 0])
        )
      )
      yield* Fiber.interrupt(second)
    })
  )

  it.effect("a claim is not alone while other work waits", () =>
    Effect.gen(function* () {
      const storage = yield* ProjectionStorage
      const [one, two] = [yield* newProjection(), yield* newProjection()]
      const tenants = yield* tenantsWith(150, 150)
      const request = {
        projections: [...one.request.projections, ...two.request.projections],
        accessId: undefined
      }
      for (const projected of [one, two]) yield* projected.known(tenants)
      // the last of the four may be alone
      for (const _ of [1, 2, 3]) {
        const alone = yield* storage.work(request, (claim) =>
          Effect.as(storage.advance(claim, claim.head), claim.alone)
        )
        assert.deepStrictEqual(alone, Option.some(false))
      }
    })
  )

  it.effect("another projection or version of the same tenant can be worked on meanwhile", () =>
    Effect.gen(function* () {
      const storage = yield* ProjectionStorage
      const [one, other] = [yield* newProjection(), yield* newProjection()]
      const key = { projection: one.projection, version: 2 }
      yield* storage.register([{ ...key, startAt: "now", tables: [] }])
      yield* tenantsWith(1)
      const started = yield* Deferred.make<void>()
      const holding = yield* Effect.forkChild(
        one.work(() => Effect.andThen(Deferred.succeed(started, undefined), Effect.never))
      )
      yield* Deferred.await(started)
      yield* other.step()
      yield* eventually(
        Effect.map(
          storage.work(
            { projections: [{ ...key, acrossTenants: false }], accessId: undefined },
            Effect.succeed
          ),
          (worked) => assert.isTrue(Option.isSome(worked))
        )
      )
      yield* Fiber.interrupt(holding)
    })
  )
}

export const undoing = (it: It): void => {
  it.effect("work commits if it succeeds, and rolls back if it fails, dies or is interrupted", () =>
    Effect.gen(function* () {
      const storage = yield* ProjectionStorage
      const projected = yield* newProjection()
      const [tenant = newTenant()] = yield* tenantsWith(3)
      const putAside = <E>(end: Effect.Effect<void, E>) =>
        Effect.exit(
          projected.work((claim) =>
            Effect.gen(function* () {
              const letter = { position: 1, eventId: eventId(1), error: "Error: broken", attempts: 1 }
              yield* storage.addDeadLetter(claim, letter)
              yield* storage.advance(claim, 1)
              // Work sees its own changes.
              assert.deepInclude((yield* storage.progress(claim))[0], { position: 1 })
              assert.lengthOf(yield* storage.deadLetters({ ...claim, after: 0, limit: 10 }), 1)
              yield* end
            })
          )
        )
      const reasons: Array<string> = []
      for (const end of [Effect.fail("no"), Effect.die("no"), Effect.interrupt]) {
        const exit = yield* putAside(end)
        if (Exit.isFailure(exit)) reasons.push(...exit.cause.reasons.map((reason) => reason._tag))
        assert.deepInclude(yield* projected.look, { position: 0, attempts: 0 })
        assert.deepStrictEqual(yield* projected.letters(tenant), [])
      }
      assert.deepStrictEqual(reasons, ["Fail", "Die", "Interrupt"])
      assert.isTrue(Exit.isSuccess(yield* putAside(Effect.void)))
      assert.deepInclude(yield* projected.look, { position: 1 })
      assert.deepStrictEqual(yield* projected.letters(tenant), [1])
    })
  )

  it.effect("a failed attempt rolls back, and the rest of the work does not", () =>
    Effect.gen(function* () {
      const storage = yield* ProjectionStorage
      const projected = yield* newProjection()
      const [tenant = newTenant()] = yield* tenantsWith(3)
      const letter = (position: number) => ({
        position,
        eventId: eventId(position),
        error: "no",
        attempts: 1
      })
      yield* projected.work((claim) =>
        Effect.gen(function* () {
          yield* storage.attempt(storage.addDeadLetter(claim, letter(1)))
          const failed = storage
            .addDeadLetter(claim, letter(2))
            .pipe(Effect.andThen(storage.advance(claim, 3)), Effect.andThen(Effect.fail("no")))
          assert.strictEqual(yield* flipped(storage.attempt(failed)), "no")
          const died = yield* Effect.exit(
            storage.attempt(Effect.andThen(Effect.ignore(failed), Effect.die("no")))
          )
          assert.isTrue(Exit.isFailure(died) && Cause.hasDies(died.cause))
          assert.deepInclude((yield* storage.progress(claim))[0], { position: 0 })
          yield* storage.advance(claim, 2)
        })
      )
      assert.deepStrictEqual(yield* projected.letters(tenant), [1])
      assert.deepInclude(yield* projected.look, { position: 2 })
    })
  )
}

export const acrossTenants = (it: It): void => {
  it.effect("a projection across tenants is worked on only under a recorded access", () =>
    Effect.gen(function* () {
      const unknown = "00000000-0000-4000-8000-00000000abcd"
      for (const accessId of [undefined, unknown, yield* access]) {
        const projected = yield* newProjection(1, true, accessId)
        const [tenant = newTenant()] = yield* tenantsWith(3)
        if (accessId === undefined || accessId === unknown) {
          const error = yield* flipped(projected.work(Effect.succeed))
          assert.isTrue(error._tag === "StorageUnavailable" && !error.retryable && error.code === "ES004")
        } else {
          assert.deepInclude(yield* projected.step(1), { tenantId: tenant, position: 0 })
          yield* projected.putAside()
          yield* projected.fail(undefined)
          assert.deepInclude((yield* projected.progress(tenant)).live, { position: 2, parked: true })
          assert.deepStrictEqual(yield* projected.letters(tenant), [2])
        }
      }
    })
  )

  it.effect("one version of a projection may be across tenants while another is not", () =>
    Effect.gen(function* () {
      const storage = yield* ProjectionStorage
      const projected = yield* newProjection()
      const { projection } = projected
      yield* storage.register([{ projection, version: 2, startAt: "now", tables: [] }])
      const tenants = yield* tenantsWith(1)
      const request = (first: boolean) => ({
        projections: [
          { projection, version: 1, acrossTenants: first },
          { projection, version: 2, acrossTenants: !first }
        ],
        accessId: undefined
      })
      yield* projected.known(tenants)
      // Without an access, only the version that needs none is worked on.
      const one = yield* storage.work(request(false), (claim) => Effect.as(storage.advance(claim, 1), claim))
      assert.deepInclude(Option.getOrThrow(one), { version: 1 })
      yield* flipped(storage.work(request(false), Effect.succeed))
      const two = yield* storage.work(request(true), (claim) => Effect.as(storage.advance(claim, 1), claim))
      assert.deepInclude(Option.getOrThrow(two), { version: 2 })
    })
  )
}
