/** `verify`: verifies hash chains. */
import { Effect, Option, Schema } from "effect"
import { Command, Flag } from "effect/cli"
import * as HashChain from "../../store/HashChain.ts"
import { dryRunFlag, optionalInt, optionalTenant, orUndefined } from "../ask.ts"
import { wrongUsage } from "../failures.ts"
import { asFailure, type Program } from "../program.ts"
import { toggle } from "../settings.ts"
import { act, last, onActions } from "./act.ts"

const anchor = Flag.optional(
  Flag.FileSchema("anchor", Schema.fromJsonString(HashChain.Anchor)).pipe(
    Flag.withMetavar("file"),
    Flag.withDescription('A file with an anchor, the detail "head" of a former verification')
  )
)

export const verify = (program: Program) =>
  Command.make(
    "verify",
    {
      tenant: optionalTenant,
      all: toggle("all", "The chains of all tenants that have one"),
      from: optionalInt("from", "The first position to prove (the whole log)"),
      anchor,
      dryRun: dryRunFlag
    },
    (flags) =>
      Effect.gen(function* () {
        const tenant = orUndefined(flags.tenant)
        if (flags.all === Option.isSome(flags.tenant))
          return yield* wrongUsage("Give either --tenant or --all.")
        if (flags.all && (Option.isSome(flags.from) || Option.isSome(flags.anchor)))
          return yield* wrongUsage("--from and --anchor belong to one tenant.")
        yield* act(
          program,
          { command: "verify", tenant, dryRun: flags.dryRun, needsReason: false },
          ({ dryRun, report }) =>
            onActions((actions) =>
              last(report)(
                tenant === undefined
                  ? actions.verifyAll({ dryRun })
                  : actions.verify({
                      dryRun,
                      from: orUndefined(flags.from),
                      anchor: orUndefined(flags.anchor)
                    })
              )
            )
        )
      }).pipe(asFailure)
  ).pipe(
    Command.withDescription("Verify hash chains; exit with 3 if one is broken"),
    Command.withExamples([
      { command: `${program.name} verify --all`, description: "Once a month at least" },
      {
        command: `${program.name} verify --tenant … --json | jq .details.head`,
        description: "The anchor, to be kept elsewhere"
      }
    ])
  )
