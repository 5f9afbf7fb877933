/** Moves whose processes are killed or paused at every call; in the long run also on PGlite. */
import { assert, layer } from "@effect/vitest"
import { Context, Effect, Layer, References, type Scope } from "effect"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import * as PgEmbedded from "../../src/pg/PgEmbedded.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import { makeWorld, type Storages, type World } from "../support/moving.ts"
import { belated, calledOffTooLate, killed, paused, superseded } from "../support/movingFaults.ts"

/** The world of a fault. */
class Worlds extends Context.Service<Worlds, { readonly next: Effect.Effect<World, never, Scope.Scope> }>()(
  "test/TenantMove.faults/Worlds"
) {}

/** The source comes last, so that it may have changed since a process looked at the others. */
const worldOf = (storages: Layer.Layer<Storages>) => makeWorld({ b: storages, c: storages, a: storages })

const embedded: Layer.Layer<Storages> = PgStorage.layer.pipe(Layer.provide(PgEmbedded.layer), Layer.orDie)

/** In the long run: the distance between the second calls of pairs. */
const given = process.env["MOVE_STRIDE"]

const memory = {
  name: "memory",
  pairs: Number(given ?? 13),
  worlds: Layer.succeed(Worlds, { next: worldOf(MemoryStorage.layer) })
}

/** Each move takes a quarter of a second. */
const pglite = {
  name: "PGlite",
  pairs: 10 * Number(given),
  worlds: Layer.effect(
    Worlds,
    Effect.map(worldOf(embedded), (world) => ({ next: Effect.succeed(world) }))
  )
}

const inWorld = <A, E>(run: (world: World) => Effect.Effect<A, E>): Effect.Effect<A, E, Worlds> =>
  Effect.scoped(
    Effect.flatMap(
      Worlds.use(({ next }) => next),
      run
    )
  ).pipe(Effect.provideService(References.CurrentLoggers, new Set()))

for (const { name, pairs, worlds } of given === undefined ? [memory] : [memory, pglite])
  layer(worlds, { excludeTestServices: true, timeout: "60 seconds" })(
    `moves with faults on ${name}`,
    (it) => {
      /** Runs a fault at the calls of a move, up to the first move that has fewer calls. */
      const atCalls = (fault: (world: World, at: number) => Effect.Effect<boolean, unknown>) =>
        Effect.gen(function* () {
          let at = 1
          while (yield* inWorld((world) => fault(world, at))) at++
          assert.isAbove(at, 30)
        })

      for (const kind of ["killBefore", "killAfter"] as const)
        it.effect(
          `a move whose process is killed at any step has one home, and is carried on (${kind})`,
          () => atCalls((world, at) => killed(world, kind, at))
        )

      it.effect("a process that pauses at any step changes nothing once another one carries on", () =>
        Effect.gen(function* () {
          // all pairs of calls: in the long run; otherwise those on a few diagonals
          for (let at = 1; ; at++) {
            let reached = false
            for (let next = 1 + ((at * 7) % pairs); ; next += pairs) {
              const { first, second } = yield* inWorld((world) => paused(world, at, next))
              reached ||= first
              if (!second) break
            }
            if (!reached) break
          }
        })
      )

      for (const change of ["decide", "finishImport"] as const) {
        it.effect(
          `a call of a process that has paused changes nothing just before another one's ${change}`,
          () => atCalls((world, at) => belated(world, at, change))
        )

        it.effect(
          `a process that was replaced does not call the move off before another one's ${change}`,
          () => inWorld((world) => calledOffTooLate(world, change))
        )
      }

      for (const role of ["starts", "carries on"] as const)
        for (const to of ["b", "c"] as const)
          it.effect(
            `a process that ${role} changes nothing of the next move, to ${to}, after its own was called off`,
            () => atCalls((world, at) => superseded(world, at, role, to))
          )
    }
  )
