/** The cluster of the example on a PostgreSQL server: three processes, one of which is killed, or paused until others have its tenants. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { ChildProcess } from "node:child_process"
import { type AddressInfo, createServer } from "node:net"
import { type Report, shopping } from "../../examples/cluster/shopping.ts"
import { configOf, freshDatabase } from "../support/Databases.ts"
import { urlOf } from "../support/databaseUrl.ts"
import { start } from "../support/PgServer.ts"

/** A port that nobody listens on, below two more. */
const freePort = Effect.promise(
  () =>
    new Promise<number>((resolve) => {
      const server = createServer().listen(0, "127.0.0.1", () => {
        const { port } = server.address() as AddressInfo
        server.close(() => resolve(Math.min(port, 65_000)))
      })
    })
)

const run = (disturb: (processes: ReadonlyArray<ChildProcess>) => Effect.Effect<unknown>) =>
  Effect.gen(function* () {
    const server = yield* Effect.acquireRelease(
      Effect.promise(() => start()),
      ({ stop }) => Effect.promise(stop)
    )
    const { owner } = yield* freshDatabase(configOf(server))
    return yield* shopping({ url: urlOf(owner), seconds: 20, firstPort: yield* freePort, disturb })
  }).pipe(Effect.scoped)

const signal = (child: ChildProcess | undefined, name: NodeJS.Signals) => Effect.sync(() => child?.kill(name))

/** Each shop has exactly the lines that were answered, and no call waited longer than others take to have its tenant. */
const assertAnswered = ({ answered, differing, processes, slowest }: Report) => {
  assert.strictEqual(differing, 0)
  assert.isAbove(answered, 200)
  assert.strictEqual(processes, 3)
  assert.isBelow(slowest, 15_000)
}

describe("three processes of a cluster", () => {
  it.live(
    "answer every call once, while one of them is killed",
    () =>
      Effect.map(
        run(([first]) => Effect.delay(signal(first, "SIGKILL"), "5 seconds")),
        (report) => {
          assertAnswered(report)
          assert.isAbove(report.repeated, 0)
        }
      ),
    120_000
  )

  it.live(
    "answer every call once, while one of them is paused until others have its tenants, and comes back",
    () =>
      Effect.map(
        run(([first]) =>
          signal(first, "SIGSTOP").pipe(
            Effect.delay("4 seconds"),
            Effect.andThen(Effect.delay(signal(first, "SIGCONT"), "10 seconds"))
          )
        ),
        (report) => {
          assertAnswered(report)
          assert.isAbove(report.repeated, 0)
        }
      ),
    120_000
  )
})
