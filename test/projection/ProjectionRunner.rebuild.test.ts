/** Rebuilds: of one tenant, beside the live read model. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import * as EventStore from "../../src/store/EventStore.ts"
import { ProjectionStorage } from "../../src/driver/ProjectionStorage.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import {
  append,
  beside,
  changed,
  drain,
  drainUntilLive,
  equalsFold,
  eventually,
  orders,
  placed,
  progressOf,
  rowsOf,
  startRebuild,
  tables,
  tenants
} from "../support/projected.ts"
import { backendsWith, Owner } from "../support/readModels.ts"

/** The rows of all tenants in the twins. */
const twins = Effect.flatMap(
  Owner,
  (owner) => owner<{ n: number }>`select count(*)::int as n from eventsourcing_rebuild.orders`
).pipe(Effect.map(([row]) => row?.n))

const lettersOf = (tenantId: Tenant.TenantId) =>
  ProjectionStorage.use((storage) =>
    storage.deadLetters({ projection: "orders", version: 1, tenantId, after: 0, limit: 10 })
  ).pipe(Effect.map((found) => found.map(({ position, error }) => [position, error])))

describe.each(backendsWith(tables))("on $name", (backend) => {
  layer(EventStore.layer.pipe(Layer.provideMerge(backend.layer)), { excludeTestServices: true })((it) => {
    it.effect("11: a rebuild corrects the rows of one tenant, and changes nothing else", () =>
      Effect.gen(function* () {
        const [mine = Tenant.untenanted, theirs = Tenant.untenanted] = yield* tenants(2)
        const wrong = orders({
          onFailure: "deadLetter",
          before: (total, position): Effect.Effect<unknown, unknown, SqlClient.SqlClient> =>
            position === 4
              ? Effect.fail("a bug")
              : SqlClient.SqlClient.use((sql) => sql`update orders set total = ${total} + 1`)
        })
        for (const tenant of [mine, theirs]) {
          yield* append(tenant, "a", placed(1), changed(5))
          yield* append(tenant, "b", placed(2), changed(6))
          yield* append(tenant, "c", placed(3))
        }
        yield* beside([wrong])(Effect.andThen(drainUntilLive(mine, 5), drainUntilLive(theirs, 5)))
        const ofTheirs = Effect.all([rowsOf(theirs), progressOf(theirs), lettersOf(theirs)])
        const before = yield* ofTheirs
        const wrongRows = yield* rowsOf(mine)
        assert.lengthOf(yield* lettersOf(mine), 1)
        yield* startRebuild(mine)
        assert.deepStrictEqual(yield* ofTheirs, before)
        assert.deepStrictEqual(yield* rowsOf(mine), wrongRows)
        yield* beside([orders({ batchSize: 2 })])(drainUntilLive(mine, 5))
        yield* equalsFold(mine)
        assert.deepStrictEqual(yield* ofTheirs, before)
        assert.strictEqual(yield* twins, 0)
        // It is handled here and must not be handled again.
        assert.isEmpty(yield* lettersOf(mine))
        // The projection continues from there.
        yield* append(mine, "b", changed(10))
        yield* beside([orders()])(drainUntilLive(mine, 6))
        yield* equalsFold(mine)
      })
    )

    it.effect("an event that fails in a rebuild stops only the rebuild, not the live read model", () =>
      Effect.gen(function* () {
        const storage = yield* ProjectionStorage
        const [tenant = Tenant.untenanted] = yield* tenants(1)
        yield* append(tenant, "a", placed(1), changed(1))
        yield* append(tenant, "b", placed(2))
        yield* beside([orders()])(drainUntilLive(tenant, 3))
        yield* startRebuild(tenant)
        const broken = orders({ before: (n) => (n === 2 ? Effect.fail("no") : Effect.void) })
        const rebuildIs = (expected: object) =>
          eventually(
            Effect.andThen(
              drain,
              Effect.map(progressOf(tenant), ({ rebuild }) => assert.deepInclude(rebuild, expected))
            )
          )
        yield* beside([broken])(rebuildIs({ position: 2, parked: true, failedPosition: 3, attempts: 1 }))
        yield* equalsFold(tenant)
        yield* append(tenant, "a", changed(3))
        yield* beside([orders()])(
          Effect.gen(function* () {
            yield* rebuildIs({ position: 2, parked: true, head: 4 })
            yield* eventually(Effect.andThen(drain, equalsFold(tenant)))
            assert.isTrue(yield* storage.resume({ projection: "orders", version: 1, tenantId: tenant }))
            yield* drainUntilLive(tenant, 4)
          })
        )
        yield* equalsFold(tenant)
      })
    )

    it.effect("dead letters of a rebuild become visible when it replaces the live read model", () =>
      Effect.gen(function* () {
        const [tenant = Tenant.untenanted] = yield* tenants(1)
        const failing = (...positions: ReadonlyArray<number>) =>
          orders({
            onFailure: "deadLetter",
            batchSize: 1,
            before: (_, position) =>
              positions.includes(position) ? Effect.die(new Error(positions.join())) : Effect.void
          })
        yield* append(tenant, "a", placed(1), changed(1), changed(2), changed(3))
        yield* beside([failing(2, 3)])(drainUntilLive(tenant, 4))
        const before = [
          [2, "Error: 2,3"],
          [3, "Error: 2,3"]
        ]
        assert.deepStrictEqual(yield* lettersOf(tenant), before)
        yield* startRebuild(tenant)
        assert.deepStrictEqual(yield* lettersOf(tenant), before)
        yield* beside([failing(3, 4)])(drainUntilLive(tenant, 4))
        assert.deepStrictEqual(yield* lettersOf(tenant), [
          [3, "Error: 3,4"],
          [4, "Error: 3,4"]
        ])
      })
    )

    it.effect(
      "a rebuild whose end fails is parked, even if failed events become dead letters, and others continue",
      () =>
        Effect.gen(function* () {
          const owner = yield* Owner
          const [tenant = Tenant.untenanted, other = Tenant.untenanted] = yield* tenants(2)
          yield* append(tenant, "a", placed(1))
          yield* append(tenant, "b", placed(2), changed(1))
          yield* append(other, "a", placed(1))
          const projection = orders({ onFailure: "deadLetter" })
          yield* beside([projection], { schemaWait: 0 })(
            Effect.gen(function* () {
              yield* drainUntilLive(tenant, 3)
              yield* startRebuild(tenant)
              yield* owner`update eventsourcing.read_models set live_table = 'nowhere' where name = 'orders'`
              yield* eventually(
                Effect.andThen(
                  drain,
                  Effect.map(progressOf(tenant), ({ rebuild }) =>
                    assert.deepInclude(rebuild, { parked: true })
                  )
                )
              )
              yield* drainUntilLive(other, 1)
              assert.isEmpty(yield* lettersOf(tenant))
              yield* equalsFold(tenant)
              yield* owner`update eventsourcing.read_models set live_table = 'public.orders' where name = 'orders'`
              const key = { projection: "orders", version: 1, tenantId: tenant }
              assert.isTrue(yield* ProjectionStorage.use((storage) => storage.resume(key)))
              yield* drainUntilLive(tenant, 3)
            })
          )
          yield* equalsFold(tenant)
        })
    )
  })
})
