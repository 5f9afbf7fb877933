/** A tenant observes the same with and without commands of another tenant before, between or at the same time. */
import { describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { everyBackend } from "../support/backends.ts"
import {
  type Answers,
  answers,
  checkOptions,
  difference,
  forAllCommands,
  newRun,
  ofTenant,
  tenantNames
} from "../support/storageCommands.ts"

describe.each(everyBackend)("$name", (backend) => {
  it.live(
    "1, 20, 21: a tenant observes the same with and without the traffic of another",
    () =>
      forAllCommands(
        (commands) =>
          Effect.gen(function* () {
            // In one sequence, and batched together.
            const inTurn = yield* answers(commands, newRun())
            // Concurrently, each in its own order.
            const run = newRun()
            const atOnce = yield* Effect.forEach(
              tenantNames,
              (name) => answers(ofTenant(name, commands).commands, run),
              { concurrency: 2 }
            )
            for (const [index, name] of tenantNames.entries()) {
              const own = ofTenant(name, commands, inTurn)
              const alone: Answers = ["alone", yield* answers(own.commands, newRun())]
              const problem =
                difference(alone, ["with another tenant in turn", own.answers]) ??
                difference(alone, ["with another tenant at once", atOnce[index] ?? []])
              if (problem !== undefined) return `To ${name}, of its own commands: ${problem}`
            }
            return undefined
          }),
        // PGlite runs the same SQL as a server, and slower
        checkOptions(backend.name === "PGlite" ? 8 : 30)
      ).pipe(Effect.provide(backend.layer)),
    600_000
  )
})
