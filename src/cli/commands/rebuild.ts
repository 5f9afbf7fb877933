/** `rebuild`: rebuilds read models beside the live ones. */
import { Effect, Option } from "effect"
import { Argument, Command } from "effect/cli"
import { dryRunFlag, optionalInt, optionalTenant, orUndefined } from "../ask.ts"
import { wrongUsage } from "../failures.ts"
import { quote } from "../output.ts"
import { asFailure, type Program } from "../program.ts"
import { toggle } from "../settings.ts"
import { act, last, onActions } from "./act.ts"

export const rebuild = (program: Program) =>
  Command.make(
    "rebuild",
    {
      projection: Argument.String("projection").pipe(Argument.withDescription("The name of the projection")),
      tenant: optionalTenant,
      all: toggle("all", "The read models of all tenants"),
      version: optionalInt("of-version", "Its version (the highest of this program)"),
      restart: toggle("restart", "Start over a rebuild that is under way or parked"),
      cancel: toggle("cancel", "Cancel the rebuild that is under way; the live read model stays"),
      dryRun: dryRunFlag
    },
    (flags) =>
      Effect.gen(function* () {
        const tenant = orUndefined(flags.tenant)
        if (flags.all === Option.isSome(flags.tenant))
          return yield* wrongUsage("Give either --tenant or --all.")
        const request = {
          projection: flags.projection,
          version: orUndefined(flags.version),
          restart: flags.restart
        }
        const where = tenant === undefined ? "--all" : `--tenant ${tenant}`
        yield* act(
          program,
          {
            command: "rebuild",
            tenant,
            dryRun: flags.dryRun,
            goOn: `${program.name} rebuild ${quote(flags.projection)} ${where} --reason … (it goes on by itself; this watches it)`
          },
          ({ dryRun, report }) =>
            onActions((actions) => {
              const given = { ...request, dryRun }
              return flags.cancel
                ? tenant === undefined
                  ? actions.cancelRebuildAll(given)
                  : actions.cancelRebuild(given)
                : last(report)(tenant === undefined ? actions.rebuildAll(given) : actions.rebuild(given))
            })
        )
      }).pipe(asFailure)
  ).pipe(
    Command.withDescription("Rebuild a read model beside the live one"),
    Command.withExamples([
      {
        command: `${program.name} rebuild orders --all --dry-run`,
        description: "Count the tenants and events"
      },
      {
        command: `${program.name} rebuild orders --tenant … --reason "wrong totals"`,
        description: "One tenant; runners do the work"
      }
    ])
  )
