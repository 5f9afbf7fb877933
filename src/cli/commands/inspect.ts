/** `inspect`: the inspector in the browser of the operator. */
import { Effect, Schema } from "effect"
import { Command, Flag } from "effect/cli"
import { checkedOperator } from "../ask.ts"
import { document, emit } from "../output.ts"
import { asFailure, type Program } from "../program.ts"
import { toggle } from "../settings.ts"

/** The document of `inspect`, which is printed when the page can be opened. */
export const Inspected = document("inspect", {
  url: Schema.String.annotate({ description: "The address of the page, with the token that works once." }),
  may: Schema.Literals(["look", "act"])
})

const listen = Flag.Int("listen").pipe(
  Flag.filter(
    (port) => port >= 0 && port <= 65_535,
    () => "must be a port from 0 to 65535"
  ),
  Flag.withDefault(0),
  Flag.withMetavar("port"),
  Flag.withDescription("Port of the page on this machine (a free one)")
)

const payloads = Flag.Literals("payloads", ["none", "masked", "full"]).pipe(
  Flag.withDefault("masked"),
  Flag.withDescription("The most that the page may show of payloads: nothing, their structure, or all")
)

export const inspect = (program: Program) =>
  Command.make(
    "inspect",
    { listen, payloads, allowActions: toggle("allow-actions", "The page may act, and not only look") },
    (flags) =>
      Effect.gen(function* () {
        const { actor } = yield* checkedOperator("inspect")
        const may = flags.allowActions ? "act" : "look"
        const { servePage } = yield* Effect.promise(() => import("../servePage.ts"))
        return yield* Effect.gen(function* () {
          const url = yield* servePage({
            port: flags.listen,
            access: { actor, tenants: "all", payloads: flags.payloads, may }
          })
          yield* emit(Inspected, { command: "inspect", url, may, next: [] }, () => [
            `Inspector: ${url}`,
            `The address works once, for one browser on this machine. ${actor} may ${may === "act" ? "look and act" : "look"}. Ctrl-C ends it.`
          ])
          return yield* Effect.never
        }).pipe(Effect.scoped, program.onStore)
      }).pipe(asFailure)
  ).pipe(
    Command.withDescription("Serve the inspector to one browser on this machine, until Ctrl-C"),
    Command.withExamples([
      { command: `${program.name} inspect`, description: "Look, with masked payloads" },
      {
        command: `${program.name} inspect --allow-actions --listen 8080`,
        description: "Also resume, retry, rebuild, on a port of your own"
      }
    ])
  )
