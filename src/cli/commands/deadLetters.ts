/** `dead-letters`: the events that projections gave up on, by their common cause. */
import { Effect } from "effect"
import { Command } from "effect/cli"
import * as Looks from "../../operations/Looks.ts"
import * as Operations from "../../operations/Operations.ts"
import { asOperatorOf, tenantFlag } from "../ask.ts"
import { document, emit, number, quote, table, time } from "../output.ts"
import { asFailure, type Program } from "../program.ts"

/** The document of `dead-letters`. */
export const DeadLetters = document("dead-letters", Looks.DeadLetterGroups.fields)

export const deadLetters = (program: Program) =>
  Command.make("dead-letters", { tenant: tenantFlag }, (flags) =>
    Effect.gen(function* () {
      const found = yield* Operations.Operations.use((operations) => operations.deadLetters)
      const filterOf = (group: Looks.DeadLetterGroup): string =>
        `${group.projection} --tenant ${flags.tenant} --version ${group.version} --error ${quote(group.error)}`
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
  ).pipe(Command.withDescription("Group dead letters by their cause, retry or discard them"))
