/** `erase`: erases a tenant, now or after a delay. */
import { Duration, Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { dryRunFlag, tenantFlag, yesFlag } from "../ask.ts"
import { wrongUsage } from "../failures.ts"
import { asFailure, type Program } from "../program.ts"
import { toggle } from "../settings.ts"
import { act, last, onActions } from "./act.ts"

const delay = Flag.optional(
  Flag.String("delay").pipe(
    Flag.withMetavar("duration"),
    Flag.filterMap(
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- texts that are no durations give none
      (text) => Option.filter(Duration.fromInput(text as Duration.Input), Duration.isFinite),
      (text) => `${text} is not a duration: give one such as "7 days"`
    ),
    Flag.withDescription('Time for which the rows stay and --undo is possible, such as "7 days" (none)')
  )
)

export const erase = (program: Program) =>
  Command.make(
    "erase",
    {
      tenant: tenantFlag,
      delay,
      undo: toggle("undo", "Restore a tenant whose rows are not removed yet"),
      finish: toggle("finish", "Remove the rows of an erased tenant whose delay is over"),
      dryRun: dryRunFlag,
      yes: yesFlag
    },
    (flags) =>
      Effect.gen(function* () {
        const { tenant } = flags
        if ([Option.isSome(flags.delay), flags.undo, flags.finish].filter(Boolean).length > 1)
          return yield* wrongUsage("Give at most one of --delay, --undo and --finish.")
        const delayMillis = Option.match(flags.delay, { onNone: () => 0, onSome: Duration.toMillis })
        yield* act(
          program,
          {
            command: "erase",
            tenant,
            dryRun: flags.dryRun,
            yes: flags.yes,
            question: flags.undo
              ? undefined
              : delayMillis > 0
                ? `Erase tenant ${tenant}? Nobody can use it from now on; --undo restores it during the delay.`
                : `Erase tenant ${tenant} for good?`,
            goOn: `${program.name} erase --finish --tenant ${tenant} --reason …`,
            next: ({ dryRun }) =>
              dryRun || delayMillis === 0
                ? []
                : [
                    {
                      purpose: "restore it before the delay is over",
                      command: `${program.name} erase --undo --tenant ${tenant} --reason …`
                    },
                    {
                      purpose: "remove its rows after the delay",
                      command: `${program.name} erase --finish --tenant ${tenant} --reason …`
                    }
                  ]
          },
          ({ dryRun, report }) =>
            onActions((actions) =>
              flags.undo
                ? actions.undoErasure({ dryRun })
                : last(report)(
                    flags.finish ? actions.finishErasure({ dryRun }) : actions.erase({ dryRun, delayMillis })
                  )
            )
        )
      }).pipe(asFailure)
  ).pipe(
    Command.withDescription("Erase a tenant, now or after a delay"),
    Command.withExamples([
      { command: `${program.name} erase --tenant … --dry-run`, description: "Count its events and rows" },
      {
        command: `${program.name} erase --tenant … --delay "7 days" --reason "contract ended"`,
        description: "With time to undo it"
      }
    ])
  )
