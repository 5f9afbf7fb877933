/** A process that carries out its part of histories: told each on a line, it says each call and each return on a line. */
import { Effect, References, Stream } from "effect"
import { createInterface } from "node:readline"
import { carryOut, type Connection, connectionName, servicesOn, type Task } from "./onServer.ts"

// Written synchronously to a pipe, so that a reported call survives the process.
const say = (line: unknown): void => void process.stdout.write(`${JSON.stringify(line)}\n`)

const program = (connection: Connection): Effect.Effect<void> =>
  Effect.gen(function* () {
    const context = yield* servicesOn(connection)
    const lines = createInterface({ input: process.stdin })
    yield* Stream.fromAsyncIterable(lines, String).pipe(
      Stream.runForEach((line) =>
        Effect.andThen(
          carryOut(context, JSON.parse(line) as Task, say),
          Effect.sync(() => say("done"))
        )
      ),
      Effect.orDie
    )
  }).pipe(
    Effect.scoped,
    // The log is written where calls and returns are said.
    Effect.provideService(References.MinimumLogLevel, "None")
  )

const settings = process.env[connectionName]
// Only in processes that are started as this program.
if (settings !== undefined) {
  await Effect.runPromise(program(JSON.parse(settings) as Connection))
  process.exit()
}
