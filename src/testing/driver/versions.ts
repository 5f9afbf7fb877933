/** The contract of projection storages: versions that fill their own tables, and retired versions. */
import { assert } from "@effect/vitest"
import { Effect, Exit, Fiber } from "effect"
import { ProjectionStorage, type Registration } from "../../driver/ProjectionStorage.ts"
import { flipped } from "../failures.ts"
import {
  access,
  append,
  failing,
  type It,
  newProjection,
  newTenant,
  Projected,
  putNextAside,
  tenantsWith
} from "./projectionKit.ts"

export const versions = (it: It): void => {
  it.effect(
    "a version that names a table of another version or projection is refused and not registered",
    () =>
      Effect.gen(function* () {
        const storage = yield* ProjectionStorage
        const { projection } = new Projected()
        const { projection: other } = new Projected()
        const [shared, own] = [`${projection} shared`, `${projection} own`]
        const register = (name: string, version: number, ...tables: ReadonlyArray<string>) =>
          storage.register([{ projection: name, version, startAt: "beginning", tables }])
        yield* register(projection, 1, shared)
        // The same version may be registered again, also with other tables.
        yield* register(projection, 1, `${projection} more`, shared)
        const taken = { table: shared, projection, version: 1, retired: false }
        for (const [name, version] of [
          [projection, 2],
          [other, 1]
        ] as const) {
          const refused = yield* flipped(register(name, version, own, shared))
          assert(refused._tag === "ProjectionRefused")
          assert.deepInclude(refused, { projection: name, version })
          assert.deepStrictEqual({ ...refused.taken }, taken)
          assert.include(refused.message, `${shared}, which ${projection}, version 1, fills`)
        }
        yield* tenantsWith(1)
        yield* storage.sweep
        yield* storage.work(
          { projections: [{ projection, version: 2, acrossTenants: false }], accessId: undefined },
          () => Effect.die("a version that was refused has no work")
        )
        yield* register(projection, 2, own)
        // Retired or not, its rows are in the table.
        assert.isTrue(yield* storage.retire({ projection, version: 1, accessId: yield* access }))
        const refused = yield* flipped(register(projection, 3, shared))
        assert(refused._tag === "ProjectionRefused")
        assert.deepStrictEqual({ ...refused.taken }, { ...taken, retired: true })
      })
  )

  it.effect(
    "a retired version has no work, no progress and no causes of failures, and is refused from then on",
    () =>
      Effect.gen(function* () {
        const storage = yield* ProjectionStorage
        const [old, other] = [yield* newProjection(), yield* newProjection(2)]
        const { projection, version } = old
        const [one = newTenant(), two = newTenant()] = yield* tenantsWith(3, 3)
        for (const tenant of [one, two]) yield* old.on(tenant, putNextAside())
        const accessId = yield* access
        const failures = storage.failures({ ...old.of(one), accessId })
        yield* old.on(one, (claim) =>
          storage.fail({
            claim,
            position: 2,
            attempts: 1,
            error: "Error: broken",
            ...failing(0),
            cause: { code: null, message: "broken", stack: "" }
          })
        )
        assert.lengthOf(yield* failures, 1)
        const retire = storage.retire({ projection, version, accessId })
        assert.isTrue(yield* retire)
        assert.isFalse(yield* retire)
        assert.isFalse(yield* storage.retire({ projection: "never registered", version, accessId }))
        yield* append(one, 1)
        yield* append(newTenant(), 1)
        yield* old.idle
        for (const tenant of [one, two]) {
          assert.isEmpty(yield* storage.progress(old.of(tenant)))
          assert.isEmpty(yield* failures)
          assert.deepStrictEqual(yield* old.letters(tenant), [1])
          const refused = yield* flipped(storage.startRebuild({ ...old.of(tenant), tables: [] }))
          assert.strictEqual(refused._tag, "RebuildRefused")
        }
        for (const startAt of ["beginning", "now"] as const) {
          const refused = yield* flipped(storage.register([{ projection, version, startAt, tables: [] }]))
          assert(refused._tag === "ProjectionRefused" && refused.taken === null)
          assert.include(refused.message, "it is retired")
        }
        yield* old.idle
        yield* other.on(one, (claim) => storage.advance(claim, claim.head))
      })
  )

  it.effect("an inline version has no progress and no work, and is not run in another way", () =>
    Effect.gen(function* () {
      const storage = yield* ProjectionStorage
      const projected = new Projected()
      const { projection, version } = projected
      const table = `${projection} table`
      const register = (key: Partial<Registration>) =>
        storage.register([{ projection, version, startAt: "beginning", tables: [table], ...key }])
      const refused = (key: Partial<Registration>) =>
        Effect.map(flipped(register(key)), (error) => {
          assert(error._tag === "ProjectionRefused")
          return error
        })
      yield* register({ inline: true })
      yield* register({ inline: true })
      const [tenant = newTenant()] = yield* tenantsWith(2)
      yield* projected.idle
      assert.isEmpty(yield* storage.progress(projected.of(tenant)))
      const byRunner = yield* refused({})
      assert.strictEqual(byRunner.run, "inline")
      assert.include(byRunner.message, "InlineProjections run this version")
      // Its table is taken for others, inline or not.
      for (const inline of [true, false]) {
        const other = yield* refused({ version: 2, inline })
        assert.deepStrictEqual({ ...other.taken }, { table, projection, version, retired: false })
      }
      yield* register({ version: 2, tables: [] })
      const inline = yield* refused({ version: 2, tables: [], inline: true })
      assert.strictEqual(inline.run, "runner")
      assert.isTrue(yield* storage.retire({ projection, version, accessId: yield* access }))
      const retired = yield* refused({ inline: true })
      assert.include(retired.message, "it is retired")
    })
  )

  it.effect("a version is retired only under a recorded access", () =>
    Effect.gen(function* () {
      const storage = yield* ProjectionStorage
      const { projection, version } = yield* newProjection()
      const unknown = "00000000-0000-4000-8000-00000000abcd"
      const error = yield* flipped(storage.retire({ projection, version, accessId: unknown }))
      assert.strictEqual(error.code, "ES004")
      assert.isTrue(yield* storage.retire({ projection, version, accessId: yield* access }))
    })
  )

  it.effect("work in progress when its version is retired leaves nothing", () =>
    Effect.gen(function* () {
      const storage = yield* ProjectionStorage
      const projected = yield* newProjection()
      const { projection, version } = projected
      const [tenant = newTenant()] = yield* tenantsWith(2)
      const accessId = yield* access
      yield* projected.step(1)
      // The access is of another transaction than the claim's, and so is the retirement.
      const retired = yield* Effect.forkChild(storage.retire({ projection, version, accessId }))
      yield* Effect.exit(projected.tryWork((claim) => storage.advance(claim, 2)))
      assert.isTrue(Exit.isSuccess(yield* Effect.exit(Fiber.join(retired))))
      yield* storage.sweep
      assert.isEmpty(yield* storage.progress(projected.of(tenant)))
      yield* projected.idle
    })
  )
}
