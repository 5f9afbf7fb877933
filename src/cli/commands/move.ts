/** `move`: moves a tenant to another database while it is in use. */
import { Effect, Option } from "effect"
import { Command } from "effect/cli"
import { dryRunFlag, optionalText, tenantFlag, yesFlag } from "../ask.ts"
import { wrongUsage } from "../failures.ts"
import { asFailure, type Program } from "../program.ts"
import { toggle } from "../settings.ts"
import { act, last, onActions } from "./act.ts"

export const move = (program: Program) =>
  Command.make(
    "move",
    {
      tenant: tenantFlag,
      to: optionalText("to", "placement", "The placement to move to"),
      resume: toggle("resume", "Carry on with an interrupted move"),
      abort: toggle("abort", "Call off a move that is not decided"),
      dryRun: dryRunFlag,
      yes: yesFlag
    },
    (flags) =>
      Effect.gen(function* () {
        const { tenant } = flags
        const to = Option.getOrUndefined(flags.to)
        if ([to !== undefined, flags.resume, flags.abort].filter(Boolean).length !== 1)
          return yield* wrongUsage("Give one of --to, --resume and --abort.")
        yield* act(
          program,
          {
            command: "move",
            tenant,
            dryRun: flags.dryRun,
            yes: flags.yes,
            question: flags.abort
              ? `Call off the move of tenant ${tenant} and remove its copy?`
              : to === undefined
                ? undefined
                : `Move tenant ${tenant} to ${to}? Its appends wait for some seconds.`,
            goOn: `${program.name} move --resume --tenant ${tenant} --reason … (or a runner of moves does it)`
          },
          ({ dryRun, report }) =>
            onActions((actions) =>
              flags.abort
                ? actions.abortMove({ dryRun })
                : last(report)(
                    to === undefined ? actions.resumeMove({ dryRun }) : actions.move({ dryRun, to })
                  )
            )
        )
      }).pipe(asFailure)
  ).pipe(Command.withDescription("Move a tenant to another database while it is in use"))
