/** `dead-letters`: the events that projections gave up on, by their common cause. */
import { Effect } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import type * as Acts from "../../operations/Acts.ts"
import * as Looks from "../../operations/Looks.ts"
import * as Operations from "../../operations/Operations.ts"
import {
  asOperatorOf,
  dryRunFlag,
  optionalInt,
  optionalText,
  orUndefined,
  several,
  tenantFlag,
  yesFlag
} from "../ask.ts"
import { document, emit, number, quote, table, time } from "../output.ts"
import { asFailure, type Program } from "../program.ts"
import { act, last, onActions } from "./act.ts"

/** The document of `dead-letters`. */
export const DeadLetters = document("dead-letters", Looks.DeadLetterGroups.fields)

const filterFlags = {
  projection: Argument.optional(
    Argument.String("projection").pipe(Argument.withDescription("The name of the projection (all)"))
  ),
  tenant: tenantFlag,
  version: optionalInt("of-version", "Its version (all)"),
  kind: Flag.optional(
    Flag.Literals("kind", ["handler", "storage", "schema"]).pipe(
      Flag.withDescription("The kind of failure (any)")
    )
  ),
  error: optionalText("error", "text", "The summary of the failure, to the letter (any)"),
  frame: optionalText("frame", "text", "The first frame of the stack (any)"),
  type: several("type", "name", "Events of this stored type; may be given several times"),
  from: optionalInt("from", "The first position"),
  to: optionalInt("to", "The last position"),
  dryRun: dryRunFlag
}

type Filtered = Command.Command.Config.Infer<typeof filterFlags>

const requestOf = (flags: Filtered): Omit<Acts.DeadLetterFilter, "dryRun"> => ({
  projection: orUndefined(flags.projection),
  version: orUndefined(flags.version),
  kind: orUndefined(flags.kind),
  error: orUndefined(flags.error),
  frame: orUndefined(flags.frame),
  eventTypes: flags.type.length === 0 ? undefined : flags.type,
  fromPosition: orUndefined(flags.from),
  toPosition: orUndefined(flags.to)
})

const retry = (program: Program) =>
  Command.make("retry", filterFlags, (flags) =>
    act(
      program,
      { command: "dead-letters retry", tenant: flags.tenant, dryRun: flags.dryRun },
      ({ dryRun, report }) =>
        onActions((actions) => last(report)(actions.retryDeadLetters({ ...requestOf(flags), dryRun })))
    )
  ).pipe(Command.withDescription("Handle dead letters again, with the handlers of this program"))

const discard = (program: Program) =>
  Command.make("discard", { ...filterFlags, yes: yesFlag }, (flags) =>
    act(
      program,
      {
        command: "dead-letters discard",
        tenant: flags.tenant,
        dryRun: flags.dryRun,
        yes: flags.yes,
        question: `Discard dead letters of tenant ${flags.tenant}?`
      },
      ({ dryRun, report }) =>
        onActions((actions) => last(report)(actions.discardDeadLetters({ ...requestOf(flags), dryRun })))
    )
  ).pipe(Command.withDescription("Discard dead letters with a reason; their events stay in the log"))

export const deadLetters = (program: Program) =>
  Command.make("dead-letters", { tenant: tenantFlag }, (flags) =>
    Effect.gen(function* () {
      const found = yield* Operations.Operations.use((operations) => operations.deadLetters)
      const filterOf = (group: Looks.DeadLetterGroup): string =>
        `${group.projection} --tenant ${flags.tenant} --of-version ${group.version} --error ${quote(group.error)}`
      yield* emit(
        DeadLetters,
        {
          command: "dead-letters",
          ...found,
          next: found.groups.slice(0, 3).flatMap((group) => [
            {
              purpose: `handle the ${group.events} of ${group.projection} again`,
              command: `${program.name} dead-letters retry ${filterOf(group)} --reason …`
            },
            {
              purpose: "discard them",
              command: `${program.name} dead-letters discard ${filterOf(group)} --reason …`
            }
          ])
        },
        (width) =>
          found.groups.length === 0
            ? ["No dead letters."]
            : [
                ...table(
                  [
                    { title: "events", right: true },
                    { title: "projection" },
                    { title: "kind" },
                    { title: "error" },
                    { title: "at" },
                    { title: "last (UTC)" },
                    { title: "positions" }
                  ],
                  found.groups.map((group) => [
                    number(group.events),
                    `${group.projection} v${group.version}`,
                    group.kind ?? "–",
                    group.error,
                    group.frame ?? "–",
                    time(group.lastAt),
                    group.examples.map(({ position }) => position).join(" ")
                  ]),
                  width
                ),
                ...(found.complete ? [] : ["There are more than were read."])
              ]
      )
    }).pipe(asOperatorOf("dead-letters", flags.tenant), program.onStore, asFailure)
  ).pipe(
    Command.withDescription("Group dead letters by their cause, retry or discard them"),
    Command.withSubcommands([retry(program), discard(program)])
  )
