/** A tenant whose projections have more than their share of the workers comes after the others. */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it, layer } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Option } from "effect"
import { SqlClient } from "effect/sql"
import { FairShare } from "../../src/driver/fairShare.ts"
import { ProjectionStorage } from "../../src/driver/ProjectionStorage.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import { append, newTenant } from "../../src/testing/driver/projectionKit.ts"
import { servers } from "../support/Databases.ts"

const keys = Array.from({ length: 32 }, (_, index) => ({ projection: `p${index}`, version: 1 }))

/** Claims one of the given projections. Tries again, because an announcement may hold a row for a moment. */
const work = Effect.fnUntraced(function* <A>(
  projections: ReadonlyArray<number>,
  body: (tenantId: Tenant.TenantId) => Effect.Effect<A>
) {
  const storage = yield* ProjectionStorage
  const request = {
    projections: projections.map((index) => ({ ...(keys[index] ?? assert.fail()), acrossTenants: false })),
    accessId: undefined
  }
  for (let tries = 0; tries < 100; tries++) {
    const worked = yield* storage.work(request, (claim) =>
      Effect.tap(body(claim.tenantId), Effect.orDie(storage.advance(claim, claim.position)))
    )
    if (Option.isSome(worked)) return worked.value
    yield* Effect.sleep("5 millis")
    yield* storage.sweep
  }
  return yield* Effect.die(new Error("nothing to claim"))
})

/** The tenant of the next claim. */
const next = (...projections: ReadonlyArray<number>) => work(projections, Effect.succeed)

/** Holds a claim. */
const hold = Effect.fnUntraced(function* (projection: number) {
  const [claimed, gate] = [Deferred.makeUnsafe<Tenant.TenantId>(), Deferred.makeUnsafe<void>()]
  const fiber = yield* Effect.forkChild(
    work([projection], (tenantId) =>
      Effect.andThen(Deferred.succeed(claimed, tenantId), Deferred.await(gate))
    )
  )
  const ended = Effect.andThen(Fiber.join(fiber), Effect.die(new Error("the claim has ended")))
  const tenantId = yield* Effect.raceFirst(Deferred.await(claimed), ended)
  return { tenantId, end: Effect.andThen(Deferred.succeed(gate, undefined), Fiber.join(fiber)) }
})

/** Runs an effect while 271 other claims seem to be in progress. */
type Crowd = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

const shares = <R = never>(crowd?: Effect.Effect<Crowd, never, R>) =>
  Effect.gen(function* () {
    const storage = yield* ProjectionStorage
    const [noisy, quiet] = [newTenant(), newTenant()]
    yield* storage.register(keys.map((key) => ({ ...key, tables: [], startAt: "beginning" as const })))
    yield* append(noisy, 3)
    yield* storage.sweep
    const [thirtieth, ...held] = yield* Effect.forEach(keys.slice(0, 30), (_, index) => hold(index))
    assert(thirtieth !== undefined && thirtieth.tenantId === noisy)
    assert.isTrue(held.every(({ tenantId }) => tenantId === noisy))
    yield* append(quiet, 1)
    yield* storage.sweep
    // It comes after the other, whenever that was served.
    for (let times = 0; times < 3; times++) assert.strictEqual(yield* next(30), quiet)
    // Also if the work of the other is that of a later projection.
    const busy = yield* hold(30)
    assert.strictEqual(busy.tenantId, quiet)
    assert.strictEqual(yield* next(30, 31), quiet)
    // It does not starve: nobody else has work here.
    assert.strictEqual(yield* next(30), noisy)
    yield* busy.end
    if (crowd !== undefined) {
      // 30 of more than 300 are no more than a tenth
      const inCrowd = yield* crowd
      const turns = yield* inCrowd(Effect.all([next(30), next(30)]))
      assert.sameMembers(turns, [noisy, quiet])
    }
    // With fewer claims in progress it takes its turns again.
    yield* thirtieth.end
    const turns = yield* Effect.all([next(30), next(30)])
    assert.sameMembers(turns, [noisy, quiet])
    for (const { end } of held) yield* end
  })

describe("the share of a tenant", () => {
  it("is a tenth of what is in progress, and 30 at least", () => {
    const share = new FairShare()
    const [tenant, other] = [newTenant(), newTenant()]
    const isExceeded = (own: number, all: number) => {
      for (let n = 0; n < all; n++) share.enter(n < own ? tenant : other)
      const exceeded = share.isExceeded(tenant)
      for (let n = 0; n < all; n++) share.leave(n < own ? tenant : other)
      return exceeded
    }
    assert.deepStrictEqual(
      [isExceeded(29, 29), isExceeded(30, 30), isExceeded(30, 299), isExceeded(30, 300), isExceeded(31, 300)],
      [false, true, true, false, true]
    )
    assert.isFalse(share.areCounted)
  })
})

describe("claims of projections in memory", () => {
  layer(MemoryStorage.layer, { excludeTestServices: true })((it) => {
    it.effect("13: of a tenant with more than its share come after the others, and it never starves", () =>
      shares()
    )
  })
})

describe.each(servers)("claims of projections on $name", ({ freshDatabase }) => {
  const database = PgStorage.layer.pipe(
    Layer.provideMerge(
      Layer.unwrap(Effect.map(freshDatabase, ({ app }) => PgClient.layer({ ...app, maxConnections: 40 })))
    )
  )

  it.live("13: of a tenant with more than its share come after the others, and it never starves", () =>
    shares(
      Effect.map(
        SqlClient.SqlClient,
        (sql): Crowd =>
          (effect) =>
            Effect.gen(function* () {
              const [ready, done] = [Deferred.makeUnsafe<void>(), Deferred.makeUnsafe<void>()]
              const others = yield* Effect.forkChild(
                sql.withTransaction(
                  sql`select pg_advisory_xact_lock_shared(1702261875, n) from generate_series(1, 271) n`.pipe(
                    Effect.andThen(Deferred.succeed(ready, undefined)),
                    Effect.andThen(Deferred.await(done))
                  )
                )
              )
              yield* Deferred.await(ready)
              const outcome = yield* effect
              yield* Deferred.succeed(done, undefined)
              yield* Fiber.join(others)
              return outcome
            }).pipe(Effect.catchTag("SqlError", Effect.die)) as typeof effect
      )
    ).pipe(Effect.provide(database))
  )
})
