/** The record of operations in several storages. */
import { assert, it } from "@effect/vitest"
import { Context, Effect } from "effect"
import { AdministrationStorage } from "../../src/driver/AdministrationStorage.ts"
import { EventStorage } from "../../src/driver/EventStorage.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import { newTenant } from "../../src/testing/driver/eventKit.ts"
import { makeWorld, program } from "../support/moving.ts"

it.effect("an outcome that one of several storages has is shown, wherever it is", () =>
  Effect.gen(function* () {
    const world = yield* makeWorld({ one: MemoryStorage.layer, two: MemoryStorage.layer })
    const tenants = { one: newTenant(), two: newTenant() }
    for (const [placement, tenantId] of Object.entries(tenants)) world.entries.set(tenantId, placement)
    for (const placement of ["one", "two"]) {
      const direct = Context.get(world.storages.get(placement) ?? assert.fail(placement), EventStorage)
      yield* Effect.gen(function* () {
        const routed = yield* EventStorage
        const access = { actor: "ada", reason: "test", operation: "Actions.retire", parameters: {} }
        const accessId = yield* routed.recordAccess(access)
        // it is recorded in each storage that it reads
        for (const tenantId of Object.values(tenants))
          yield* AdministrationStorage.use((storage) => storage.tenant({ accessId, tenantId }))
        assert.isTrue(yield* direct.completeAccess({ accessId, outcome: { status: "interrupted" } }))
        const { rows } = yield* routed.listAccesses({
          accessId,
          before: undefined,
          operation: access.operation,
          limit: 9
        })
        const found = rows.filter((row) => row.accessId === accessId)
        assert.deepStrictEqual(
          found.map(({ completed }) => completed?.outcome),
          [{ status: "interrupted" }]
        )
        // the other one gets it now
        assert.isTrue(yield* routed.completeAccess({ accessId, outcome: { status: "interrupted" } }))
        assert.isFalse(yield* routed.completeAccess({ accessId, outcome: { status: "interrupted" } }))
      }).pipe(Effect.provide(program(world), { local: true }))
    }
  })
)
