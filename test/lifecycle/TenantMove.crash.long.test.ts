/**
 * Moves between two servers whose processes are killed or paused at every call: the one that begins a move, and a runner that carries
 * on with one that was left. Tenants are in use meanwhile, and each must have exactly one home afterwards and at no time two.
 * `MOVE_CRASH_STRIDE` is the distance between the calls that are tried (default: 1).
 */
import { layer } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import {
  atCalls,
  type Call,
  callsOfMove,
  kill,
  numbers,
  pause,
  startServers
} from "../support/moveCrashes.ts"
import type { Servers } from "../support/movingServers.ts"

class Running extends Context.Service<Running, { readonly servers: Servers; readonly calls: number }>()(
  "test/TenantMove.crash/Running"
) {}

const running = Layer.effect(
  Running,
  Effect.gen(function* () {
    const servers = yield* startServers
    return { servers, calls: yield* callsOfMove(servers) }
  })
)

/** The calls of a runner that carries on with a move which was left just before a call. The last ones may not occur. */
const ofRunner = (left: string, calls: number, during: (at: number) => boolean): ReadonlyArray<Call> =>
  numbers(calls, 0).map((at) => ({ at, during: during(at), left }))

layer(running, { excludeTestServices: true, timeout: "5 minutes" })(
  "a tenant that moves between two servers has one home",
  (it) => {
    for (const during of [false, true])
      it.effect(
        `if its process is killed ${during ? "during" : "before"} any call`,
        () =>
          Effect.flatMap(Running, ({ calls, servers }) =>
            atCalls(
              servers,
              kill,
              numbers(calls, 0).map((at) => ({ at, during })),
              { concurrency: 2 }
            )
          ),
        600_000
      )

    it.effect(
      "if its process pauses at any call, and wakes up when another one has taken over",
      () =>
        Effect.flatMap(Running, ({ calls, servers }) =>
          atCalls(
            servers,
            pause,
            numbers(calls, 0).map((at) => ({ at, during: at % 2 === 0 })),
            { concurrency: 2 }
          )
        ),
      600_000
    )

    for (const [name, fault] of [
      ["is killed", kill],
      ["pauses", pause]
    ] as const)
      it.effect(
        `if the runner that carries on ${name} at any call, and another one takes over`,
        () =>
          Effect.flatMap(Running, ({ servers }) =>
            atCalls(
              servers,
              fault,
              [
                ...ofRunner("pool.decide", 48, (at) => at % 2 === 0),
                ...ofRunner("silo.finishImport", 30, (at) => at % 2 !== 0)
              ],
              { concurrency: 1, hasRunner: false }
            )
          ),
        600_000
      )
  }
)
