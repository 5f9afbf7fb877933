import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Layer, Stream } from "effect"
import * as EventStore from "../../src/store/EventStore.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import * as PgTenant from "../../src/pg/PgTenant.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { Account, deposited } from "../support/bank.ts"
import { servers } from "../support/Databases.ts"

const append = (id: string) =>
  EventStore.EventStore.use((store) =>
    store.append({ aggregate: Account, id, expectedVersion: "any", events: [deposited(1)] })
  )

const positions = EventStore.EventStore.use((store) =>
  Stream.runCollect(store.readLog({ aggregates: [Account] })).pipe(
    Effect.map((events) => events.map(({ position }) => position))
  )
)

describe.each(servers)("group commit on $name", ({ freshDatabase }) => {
  const database = EventStore.layer.pipe(
    // One batch at a time: whoever is in it waits for nobody who is not.
    Layer.provideMerge(PgStorage.layerWith({ groupCommit: { concurrency: 1 } })),
    Layer.provideMerge(
      Layer.unwrap(Effect.map(freshDatabase, ({ app }) => PgClient.layer({ ...app, maxConnections: 8 })))
    )
  )

  it.live("13: an open transaction of one tenant holds up that tenant's appends alone", () =>
    Effect.gen(function* () {
      const [a, b, c] = [yield* Tenant.generate, yield* Tenant.generate, yield* Tenant.generate]
      const appended = yield* Deferred.make<void>()
      const release = yield* Deferred.make<void>()
      const open = yield* append("1").pipe(
        Effect.andThen(Deferred.succeed(appended, undefined)),
        Effect.andThen(Deferred.await(release)),
        PgTenant.transaction,
        Tenant.provide(a),
        Effect.forkChild
      )
      yield* Deferred.await(appended)
      // a's tenant is added in the open transaction, c's is there, b's will be added
      yield* append("1").pipe(Tenant.provide(c))
      const held = yield* Effect.forEach(["2", "3", "4"], (id) =>
        Effect.forkChild(append(id).pipe(Tenant.provide(a)))
      )
      for (let n = 0; n < 20; n++) {
        yield* Effect.forEach([b, c], (tenant) => append("1").pipe(Tenant.provide(tenant)), {
          concurrency: "unbounded"
        }).pipe(Effect.timeout("5 seconds"))
      }
      for (const fiber of held) assert.isUndefined(fiber.pollUnsafe())
      yield* Deferred.succeed(release, undefined)
      yield* Fiber.join(open)
      yield* Fiber.joinAll(held)
      assert.deepStrictEqual(yield* positions.pipe(Tenant.provide(a)), [1, 2, 3, 4])
      assert.strictEqual((yield* positions.pipe(Tenant.provide(b))).length, 20)
    }).pipe(Effect.provide(database), Effect.scoped)
  )

  it.effect("does not start with a bound that would let nothing go out", () =>
    Effect.gen(function* () {
      const client = Layer.unwrap(Effect.map(freshDatabase, ({ app }) => PgClient.layer(app)))
      for (const [options, message] of [
        [{ groupCommit: { concurrency: 0 } }, "groupCommit.concurrency must be at least 1"],
        [{ groupCommit: { maxCharacters: Number.NaN } }, "groupCommit.maxCharacters must be at least 1"],
        [{ groupLoads: { maxLoads: -1 } }, "groupLoads.maxLoads must be at least 1"]
      ] as const) {
        const exit = yield* Effect.exit(Layer.build(PgStorage.layerWith(options).pipe(Layer.provide(client))))
        assert.isTrue(Exit.isFailure(exit) && Cause.squash(exit.cause) instanceof RangeError)
        assert.include(String(Exit.isFailure(exit) && Cause.squash(exit.cause)), message)
      }
    }).pipe(Effect.scoped)
  )
})
