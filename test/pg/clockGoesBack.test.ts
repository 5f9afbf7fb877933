/** Claims after the clock of the database has gone back: rows are moved an hour ahead instead. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect } from "effect"
import { ProjectionStorage } from "../../src/driver/ProjectionStorage.ts"
import { newProjection, type Projected, tenantsWith } from "../../src/testing/driver/projectionKit.ts"
import { backendsWith, Owner } from "../support/readModels.ts"

const clockGoesBack = ({ projection }: Projected) =>
  Effect.flatMap(Owner, (owner) =>
    owner.withTransaction(
      Effect.andThen(
        owner`set local role eventsourcing_runner_owner`,
        owner`update eventsourcing.projections
          set served_at = served_at + interval '1 hour', retry_at = retry_at + interval '1 hour'
          where projection = ${projection}`
      )
    )
  )

describe.each(backendsWith([]))("on $name, when the clock goes back", (backend) => {
  layer(backend.layer, { excludeTestServices: true })((it) => {
    it.effect("waiting tenants are served in turn with busy ones", () =>
      Effect.gen(function* () {
        const projected = yield* newProjection()
        const tenants = yield* tenantsWith(9, 9, 9)
        yield* ProjectionStorage.use((storage) => storage.sweep)
        for (const _ of tenants) yield* projected.step(1)
        yield* clockGoesBack(projected)
        for (const _ of [1, 2]) {
          const served = [yield* projected.step(1), yield* projected.step(1), yield* projected.step(1)]
          assert.sameMembers(
            served.map(({ tenantId }) => tenantId),
            tenants
          )
        }
      })
    )

    it.effect("a failed event is retried at once, and then after its delay", () =>
      Effect.gen(function* () {
        const projected = yield* newProjection()
        yield* tenantsWith(1)
        yield* projected.fail(60_000)
        yield* projected.idle
        yield* clockGoesBack(projected)
        assert.deepInclude(yield* projected.look, { failedPosition: 1, attempts: 1 })
        yield* projected.fail(60_000)
        yield* projected.idle
      })
    )
  })
})
