import { assert, it } from "@effect/vitest"
import { Effect, References } from "effect"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import { makeWorld, type World } from "../support/moving.ts"
import { belated, killed, paused } from "../support/movingFaults.ts"

const silent = Effect.provideService(References.CurrentLoggers, new Set())

const inNewWorld = <A, E>(run: (world: World) => Effect.Effect<A, E>) =>
  Effect.scoped(Effect.flatMap(makeWorld({ a: MemoryStorage.layer, b: MemoryStorage.layer }), run))

/** Runs a fault at every call of a move, up to the first move that has fewer calls. Returns their number. */
const atEveryCall = Effect.fnUntraced(function* (
  fault: (world: World, at: number) => Effect.Effect<boolean, unknown>
) {
  let at = 1
  while (yield* inNewWorld((world) => fault(world, at))) at++
  assert.isAbove(at, 30)
}, silent)

for (const kind of ["killBefore", "killAfter"] as const)
  it.live(`a move whose process is killed at any step has one home, and is carried on (${kind})`, () =>
    atEveryCall((world, at) => killed(world, kind, at))
  )

it.live("a process that pauses at any step and wakes up while another one carries on does no harm", () =>
  Effect.gen(function* () {
    // all pairs of calls: in the long run; here those on a few diagonals
    const stride = Number(process.env["MOVE_STRIDE"] ?? 13)
    for (let at = 1; ; at++) {
      let reached = false
      for (let next = 1 + (at % stride); ; next += stride) {
        const { first, second } = yield* inNewWorld((world) => paused(world, at, next))
        reached ||= first
        if (!second) break
      }
      if (!reached) break
    }
  }).pipe(silent)
)

for (const change of ["decide", "finishImport"] as const)
  it.live(`a call of a process that has paused does no harm just before another one's ${change}`, () =>
    atEveryCall((world, at) => belated(world, at, change))
  )
