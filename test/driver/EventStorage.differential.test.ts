/** Every driver answers every sequence of commands like the driver in memory. */
import { describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import { everySqlBackend } from "../support/backends.ts"
import { answers, checkOptions, difference, forAllCommands, newRun } from "../support/storageCommands.ts"

describe.each(everySqlBackend)("$name", (backend) => {
  it.live(
    "answers every sequence of commands like the driver in memory",
    () =>
      Effect.gen(function* () {
        const memory = yield* Layer.build(MemoryStorage.layer)
        const driver = yield* Layer.build(backend.layer)
        yield* forAllCommands(
          (commands) =>
            Effect.gen(function* () {
              const run = newRun()
              const expected = yield* Effect.provideContext(answers(commands, run), memory)
              const actual = yield* Effect.provideContext(answers(commands, run), driver)
              return difference(["by the memory", expected], [`by ${backend.name}`, actual])
            }),
          // PGlite runs the same SQL as a server, and slower
          checkOptions(backend.name === "PGlite" ? 15 : 60)
        )
      }),
    600_000
  )
})
