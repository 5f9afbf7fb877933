/** The contract of actions on projections and on dead letters. */
import { assert, type Vitest } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { ProjectionStorage } from "../../driver/ProjectionStorage.ts"
import * as Operations from "../../operations/Operations.ts"
import type { Storages } from "../../operations/Operations.ts"
import { newTenant } from "../driver/eventKit.ts"
import { failNext, newProjection, type Projected, putNextAside } from "../driver/projectionKit.ts"
import { acting, last, recordedOf } from "./actingKit.ts"
import { at, atAll, DepositRefused, depositsOf, fill, park } from "./kit.ts"

const stateOf = (projected: Projected, tenant: ReturnType<typeof newTenant>) =>
  Operations.Operations.use((operations) => operations.projections).pipe(
    at(tenant),
    Effect.map((all) => all.find(({ projection }) => projection === projected.projection)?.state)
  )

export const actionsOnProjections = (it: Vitest.MethodsNonLive<Storages>): void => {
  it.effect("pauses and resumes projections of one tenant, and of all", () =>
    Effect.gen(function* () {
      const projected = yield* newProjection()
      const filter = { projection: projected.projection }
      yield* acting([depositsOf(projected)], (act) =>
        Effect.gen(function* () {
          const [tenant, other] = [newTenant(), newTenant()]
          yield* fill(tenant, "secret")
          yield* fill(other, "secret")
          const dry = yield* act.pauseProjections({ ...filter, dryRun: true }).pipe(at(tenant))
          assert.deepInclude(dry.counts, { tenants: 1, projections: 1 })
          assert.strictEqual(yield* stateOf(projected, tenant), "behind")
          const paused = yield* act.pauseProjections(filter).pipe(at(tenant))
          assert.deepInclude(paused.counts, { tenants: 1, projections: 1 })
          assert.strictEqual(yield* stateOf(projected, tenant), "paused")
          assert.strictEqual(yield* stateOf(projected, other), "behind")
          assert.isFalse((yield* act.pauseProjections(filter).pipe(at(tenant))).changed)
          assert.isTrue((yield* act.resumeProjections({ ...filter, dryRun: true }).pipe(at(tenant))).changed)
          assert.strictEqual(yield* stateOf(projected, tenant), "paused")
          const resumed = yield* act.resumeProjections(filter).pipe(at(tenant))
          assert.deepInclude(resumed.counts, { tenants: 1, projections: 1 })
          assert.strictEqual(yield* stateOf(projected, tenant), "behind")
          yield* park(projected, other)
          const counted = yield* act.resumeProjectionsOfAll({ ...filter, dryRun: true }).pipe(atAll)
          assert.deepInclude(counted.counts, { tenants: 1, projections: 1 })
          assert.strictEqual(yield* stateOf(projected, other), "parked")
          const all = yield* last(act.pauseProjectionsOfAll(filter)).pipe(atAll)
          assert.isAtLeast(all.counts.tenants ?? 0, 1)
          assert.strictEqual(yield* stateOf(projected, tenant), "paused")
          assert.strictEqual(yield* stateOf(projected, other), "parked")
          const again = yield* act.resumeProjectionsOfAll(filter).pipe(atAll)
          assert.isAtLeast(again.counts.projections ?? 0, 2)
          assert.strictEqual(yield* stateOf(projected, tenant), "behind")
          assert.strictEqual(yield* stateOf(projected, other), "behind")
        })
      )
    })
  )

  it.effect("retires a version, and refuses to rebuild what has no read model", () =>
    Effect.gen(function* () {
      const projected = yield* newProjection()
      const { projection, version } = projected
      yield* acting([depositsOf(projected)], (act) =>
        Effect.gen(function* () {
          const tenant = newTenant()
          yield* fill(tenant, "secret")
          yield* projected.on(tenant, putNextAside())
          for (const dryRun of [true, false]) {
            const error = yield* Effect.flip(last(act.rebuild({ projection, dryRun }))).pipe(at(tenant))
            assert.deepInclude({ ...error }, { _tag: "ActionRefused", error: "CannotRebuild" })
          }
          const dry = yield* act.retire({ projection, version, dryRun: true }).pipe(atAll)
          // its registration has made progress with the tenants of other tests
          assert.isAtLeast(dry.counts.tenants ?? 0, 1)
          assert.strictEqual(dry.counts.projections, dry.counts.tenants)
          assert.strictEqual(yield* stateOf(projected, tenant), "behind")
          assert.isTrue((yield* act.retire({ projection, version }).pipe(atAll)).changed)
          assert.isFalse((yield* act.retire({ projection, version }).pipe(atAll)).changed)
          const storage = yield* ProjectionStorage
          assert.deepStrictEqual(yield* storage.progress(projected.of(tenant)), [])
        })
      )
    })
  )

  it.effect("retries and discards the dead letters that match, and counts them in a dry run", () =>
    Effect.gen(function* () {
      const projected = yield* newProjection()
      const { projection } = projected
      const handled: Array<number> = []
      const one = depositsOf(projected, (amount) =>
        amount === 200 ? Effect.fail(new DepositRefused()) : Effect.sync(() => void handled.push(amount))
      )
      yield* acting([one], (act) =>
        Effect.gen(function* () {
          const tenant = newTenant()
          yield* fill(tenant, "secret")
          yield* projected.on(tenant, failNext(0))
          for (const error of ["Error: first", "Error: other", "Error: other", "Error: other"])
            yield* projected.on(tenant, putNextAside({ error }))
          const matching = (filter: Parameters<typeof act.retryDeadLetters>[0]) =>
            Effect.map(
              last(act.discardDeadLetters({ projection, dryRun: true, ...filter })).pipe(at(tenant)),
              ({ counts }) => counts.deadLetters
            )
          assert.strictEqual(yield* matching({}), 4)
          assert.strictEqual(yield* matching({ error: "Error: first" }), 1)
          assert.strictEqual(yield* matching({ error: "Error" }), 0)
          assert.strictEqual(yield* matching({ version: 7 }), 0)
          assert.strictEqual(yield* matching({ projection: "another" }), 0)
          assert.strictEqual(yield* matching({ eventTypes: ["Deposited"] }), 2)
          assert.strictEqual(yield* matching({ eventTypes: [] }), 0)
          assert.strictEqual(yield* matching({ fromPosition: 2, toPosition: 3 }), 2)
          assert.strictEqual(yield* matching({ olderThanMillis: 60_000 }), 0)
          assert.strictEqual(yield* matching({ olderThanMillis: 0 }), 4)
          assert.strictEqual(yield* matching({ kind: "handler" }), 0)
          assert.strictEqual(yield* matching({ frame: "at handle" }), 0)
          assert.deepStrictEqual(yield* projected.letters(tenant), [1, 2, 3, 4])
          const other = newTenant()
          yield* fill(other, "secret")
          yield* projected.on(other, putNextAside())
          const discarding = act.discardDeadLetters({ projection, toPosition: 1 })
          const steps = yield* Stream.runCollect(discarding).pipe(at(tenant))
          assert.deepStrictEqual(
            steps.map(({ done, result, total, unit }) => [unit, done, total, result?.counts.deadLetters]),
            [
              ["deadLetters", 1, 1, undefined],
              ["deadLetters", 1, 1, 1]
            ]
          )
          assert.deepStrictEqual(yield* projected.letters(tenant), [2, 3, 4])
          assert.deepStrictEqual(yield* projected.letters(other), [1])
          const retried = yield* last(act.retryDeadLetters({ projection, toPosition: 2 })).pipe(at(tenant))
          assert.strictEqual(retried.counts.deadLetters, 1)
          assert.deepStrictEqual(handled, [20])
          assert.deepStrictEqual(yield* projected.letters(tenant), [3, 4])
          const failed = yield* Effect.flip(last(act.retryDeadLetters({ projection }))).pipe(at(tenant))
          assert.deepInclude({ ...failed }, { _tag: "ActionFailed", error: "ReplayFailed" })
          assert.deepStrictEqual(yield* projected.letters(tenant), [3, 4])
          const [record] = yield* recordedOf(tenant)
          assert.deepInclude(record?.outcome, { status: "failed", error: "ReplayFailed" })
          yield* last(act.discardDeadLetters({ projection })).pipe(at(tenant))
          assert.deepStrictEqual(yield* projected.letters(tenant), [])
        })
      )
    })
  )

  it.effect("retries no dead letters of a projection that the program does not have", () =>
    acting([], (act) =>
      Effect.gen(function* () {
        const projected = yield* newProjection()
        const { projection } = projected
        const tenant = newTenant()
        yield* fill(tenant, "secret")
        yield* projected.on(tenant, putNextAside())
        const error = yield* Effect.flip(last(act.retryDeadLetters({ projection }))).pipe(at(tenant))
        assert.strictEqual(error._tag, "ActionUnavailable")
        assert.deepStrictEqual(yield* projected.letters(tenant), [1])
        yield* last(act.discardDeadLetters({ projection })).pipe(at(tenant))
        assert.deepStrictEqual(yield* projected.letters(tenant), [])
      })
    )
  )
}
