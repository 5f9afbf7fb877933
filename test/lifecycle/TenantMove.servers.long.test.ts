/**
 * Moves between two servers, of which one is killed or paused at every call of a move, and at calls of a runner that carries on with
 * one. Each tenant must have exactly one home afterwards and at no time two. `MOVE_CRASH_STRIDE` is the distance between the calls.
 */
import { layer } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import {
  atCalls,
  callsOfMove,
  killServer,
  numbers,
  pauseServer,
  startServers
} from "../support/moveCrashes.ts"
import type { Servers } from "../support/movingServers.ts"

class Running extends Context.Service<Running, { readonly servers: Servers; readonly calls: number }>()(
  "test/TenantMove.servers/Running"
) {}

const running = Layer.effect(
  Running,
  Effect.gen(function* () {
    const servers = yield* startServers
    return { servers, calls: yield* callsOfMove(servers) }
  })
)

layer(running, { excludeTestServices: true, timeout: "5 minutes" })(
  "a tenant that moves between two servers has one home",
  (it) => {
    for (const [index, name] of (["pool", "silo"] as const).entries())
      for (const [verb, fault] of [
        ["is killed", killServer(name)],
        ["pauses", pauseServer(name)]
      ] as const) {
        const place = name === "pool" ? "source" : "target"
        it.effect.skipIf(process.platform !== "linux")(
          `if the server of the ${place} ${verb} at any call`,
          () =>
            Effect.flatMap(Running, ({ calls, servers }) =>
              atCalls(
                servers,
                fault,
                numbers(calls, 0).map((at) => ({ at, during: at % 2 === index })),
                { concurrency: 1 }
              )
            ),
          600_000
        )
      }

    for (const name of ["pool", "silo"] as const)
      it.effect(
        `if the server of the ${name === "pool" ? "source" : "target"} is killed while a runner carries on`,
        () =>
          Effect.flatMap(Running, ({ servers }) =>
            atCalls(
              servers,
              killServer(name),
              numbers(45, 0)
                .filter((at) => at % 3 === 0)
                .map((at) => ({ at, during: at % 2 === 0, left: "pool.decide" })),
              { concurrency: 1, hasRunner: false }
            )
          ),
        600_000
      )
  }
)
