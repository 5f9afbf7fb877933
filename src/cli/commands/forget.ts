/** `forget`: forgets a person inside a tenant. */
import { Effect } from "effect"
import { Argument, Command } from "effect/cli"
import { dryRunFlag, tenantFlag, yesFlag } from "../ask.ts"
import { wrongUsage } from "../failures.ts"
import { quote } from "../output.ts"
import { asFailure, type Program } from "../program.ts"
import { toggle } from "../settings.ts"
import { act, onActions } from "./act.ts"

export const forget = (program: Program) =>
  Command.make(
    "forget",
    {
      subject: Argument.String("subject").pipe(Argument.withDescription("The id of the person")),
      tenant: tenantFlag,
      allowAgain: toggle("allow-again", "Allow new data of a person who was forgotten"),
      hold: toggle("hold", "Set a legal hold: the person cannot be forgotten"),
      release: toggle("release", "Release the legal hold"),
      dryRun: dryRunFlag,
      yes: yesFlag
    },
    (flags) =>
      Effect.gen(function* () {
        const { subject, tenant } = flags
        const others = [flags.allowAgain, flags.hold, flags.release].filter(Boolean).length
        if (others > 1) return yield* wrongUsage("Give at most one of --allow-again, --hold and --release.")
        yield* act(
          program,
          {
            command: "forget",
            tenant,
            dryRun: flags.dryRun,
            yes: flags.yes,
            question: others === 0 ? `Forget ${subject} of tenant ${tenant}? Nobody can undo it.` : undefined,
            goOn: `${program.name} forget ${quote(subject)} --tenant ${tenant} --reason …`
          },
          ({ dryRun }) =>
            onActions((actions) => {
              const request = { dryRun, subject }
              if (flags.allowAgain) return actions.allowAgain(request)
              if (flags.hold) return actions.holdSubject(request)
              return flags.release ? actions.releaseSubject(request) : actions.forget(request)
            })
        )
      }).pipe(asFailure)
  ).pipe(
    Command.withDescription("Forget a person inside a tenant: the keys of personal fields are destroyed")
  )
