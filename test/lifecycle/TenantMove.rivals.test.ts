import { assert, layer } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, References, Result } from "effect"
import type { TenantAdministration } from "../../src/domain/Tenant.ts"
import { EventStorage } from "../../src/driver/EventStorage.ts"
import * as TenantMove from "../../src/lifecycle/TenantMove.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import { rawEvents } from "../../src/testing/driver/administrationKit.ts"
import { append, events, newTenant, stream } from "../../src/testing/driver/eventKit.ts"
import { administer, Gates, homes, makeWorld, program, recordsOf, type World } from "../support/moving.ts"

class Shared extends Context.Service<Shared, World>()("test/TenantMove.rivals/Shared") {}

const moving = <A, E>(
  run: (moves: TenantMove.TenantMove["Service"]) => Effect.Effect<A, E, TenantAdministration>
) => TenantMove.TenantMove.use((moves) => administer(run(moves)))

type Services = Layer.Success<ReturnType<typeof program>>

/** Runs an effect in a process of its own that stops at gates. */
const gated = <A, E>(world: World, gates: Gates, run: Effect.Effect<A, E, Services>) =>
  run.pipe(Effect.provide(Layer.fresh(program(world, { stop: gates }))), Effect.forkChild)

/** A tenant at `a` with a log. */
const tenantAt = Effect.fnUntraced(function* (world: World) {
  const tenantId = newTenant()
  world.entries.set(tenantId, "a")
  yield* Effect.gen(function* () {
    yield* append(tenantId, stream("one", events(15)))
    yield* (yield* EventStorage).startHashChain(tenantId)
    yield* append(tenantId, stream("two", events(15)))
  }).pipe(Effect.provide(Layer.fresh(program(world))))
  return tenantId
})

const log = (world: World, tenantId: ReturnType<typeof newTenant>) =>
  Effect.provide(rawEvents(tenantId), Layer.fresh(program(world)))

const storages = { a: MemoryStorage.layer, b: MemoryStorage.layer, c: MemoryStorage.layer }

layer(Layer.effect(Shared, makeWorld(storages)), { excludeTestServices: true })(
  "moves of one tenant that meet,",
  (it) => {
    /** Without the logs of processes that lose. */
    const test = (title: string, run: (world: World) => Effect.Effect<void, unknown>) =>
      it.effect(title, () =>
        Effect.flatMap(Shared, run).pipe(Effect.provideService(References.CurrentLoggers, new Set()))
      )

    test("to two places at the same instant: whoever takes the tenant over first moves it", (world) =>
      Effect.gen(function* () {
        const tenantId = yield* tenantAt(world)
        const before = yield* log(world, tenantId)
        const [first, second] = [
          new Gates(["beginImport", "takeOver", "fence"]),
          new Gates(["beginImport", "takeOver"])
        ]
        const toB = yield* gated(
          world,
          first,
          moving((moves) => moves.start(tenantId, { to: "b" }))
        )
        const toC = yield* gated(
          world,
          second,
          moving((moves) => moves.start(tenantId, { to: "c" }))
        )
        // both have read that nobody moves it
        for (const gates of [first, second]) yield* gates.arrival("beginImport")
        for (const gates of [first, second]) yield* gates.pass("beginImport")
        for (const gates of [first, second]) yield* gates.arrival("takeOver")
        yield* first.pass("takeOver")
        yield* first.arrival("fence")
        yield* second.pass("takeOver")
        const lost = yield* Effect.result(Fiber.join(toC))
        assert.deepStrictEqual(Result.isFailure(lost) && lost.failure._tag, "MoveCalledOff")
        assert.deepStrictEqual(yield* homes(world, tenantId), ["a"])
        yield* first.pass("fence")
        assert.containSubset(yield* Fiber.join(toB), { from: "a", to: "b", events: 30 })
        assert.deepStrictEqual(yield* homes(world, tenantId), ["b"])
        assert.isFalse((yield* recordsOf(world, tenantId)).has("c"))
        assert.deepStrictEqual(yield* log(world, tenantId), before)
      }))

    for (const step of ["fence", "decide"] as const)
      test(`in two processes: the replaced one cannot ${step}`, (world) =>
        Effect.gen(function* () {
          const tenantId = yield* tenantAt(world)
          const before = yield* log(world, tenantId)
          // like a process that pauses, so that its lease expires
          const [former, later] = [new Gates([step, "renewLease"]), new Gates([step])]
          const replaced = yield* gated(
            world,
            former,
            moving((moves) => moves.start(tenantId, { to: "b" }))
          )
          yield* Effect.andThen(former.arrival(step), former.arrival("renewLease"))
          const carriedOn = yield* gated(
            world,
            later,
            moving((moves) => moves.resume(tenantId)).pipe(
              Effect.retry({ times: 50, while: (error) => error._tag === "MoveRefused" })
            )
          )
          yield* later.arrival(step)
          yield* former.pass(step)
          const lost = yield* Fiber.await(replaced)
          assert.isTrue(Exit.isFailure(lost), "the replaced process has moved the tenant")
          assert.include(former.refused, step)
          assert.deepStrictEqual(yield* homes(world, tenantId), ["a"])
          yield* later.pass(step)
          assert.containSubset(yield* Fiber.join(carriedOn), { from: "a", to: "b", events: 30 })
          assert.deepStrictEqual(yield* homes(world, tenantId), ["b"])
          assert.deepStrictEqual(yield* log(world, tenantId), before)
        }))
  }
)
