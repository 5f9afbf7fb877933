/** `stream`: the events of one aggregate, the differences of their payloads, and the state at a version. */
import { Effect, Option, Schema } from "effect"
import { Argument, Command } from "effect/cli"
import * as Looks from "../../operations/Looks.ts"
import * as Operations from "../../operations/Operations.ts"
import { asOperatorOf, limitFlag, optionalInt, payloadsFlag, tenantFlag } from "../ask.ts"
import { refused } from "../failures.ts"
import { document, emit, quote, time } from "../output.ts"
import { asFailure, type Program } from "../program.ts"
import { toggle } from "../settings.ts"
import { eventLines, plain, ShownEvent, stepLine, withDifferences } from "./events.ts"

/** The document of `stream`. */
export const Streamed = document("stream", {
  version: Schema.Int.annotate({ description: "The version of the stream; 0 if it has no events." }),
  events: Schema.Array(ShownEvent),
  state: Schema.NullOr(Looks.StateView).annotate({ description: "Null without --state." })
})

const stateLines = (view: Looks.StateView): ReadonlyArray<string> => [
  `state at version ${view.version} of ${view.latest}: ${JSON.stringify(view.state)}`,
  ...view.difference.map(stepLine),
  ...(view.unreadable === null
    ? []
    : [`the fold ended at position ${view.unreadable.position}: ${view.unreadable.error}`]),
  ...(view.snapshot === null
    ? []
    : [
        `snapshot at version ${view.snapshot.version}, taken ${time(view.snapshot.takenAt)}, ${view.snapshot.current ? "in use" : "outdated"}`
      ])
]

export const stream = (program: Program) =>
  Command.make(
    "stream",
    {
      type: Argument.String("type").pipe(Argument.withDescription("The stored type of the aggregate")),
      id: Argument.String("id").pipe(Argument.withDescription("The id of the aggregate")),
      tenant: tenantFlag,
      from: optionalInt("from", "The first version (1)"),
      limit: limitFlag(1000, 50),
      differences: toggle(
        "differences",
        "Show the change from the payload of the event of the same type before"
      ),
      state: toggle("state", "Fold the state; only a program with Cli.make knows aggregates"),
      at: optionalInt("at", "The version of the state (the last one)"),
      payloads: payloadsFlag
    },
    (flags) =>
      Effect.gen(function* () {
        const key = { aggregateType: flags.type, aggregateId: flags.id }
        if (flags.state && !program.aggregates.some(({ type }) => type === flags.type))
          return yield* refused(
            `This program does not know the aggregate ${flags.type}: put the commands into your own with Cli.make({ aggregates }).`
          )
        const operations = yield* Operations.Operations
        const page = yield* operations.stream({
          ...key,
          fromVersion: Option.getOrUndefined(flags.from),
          limit: flags.limit
        })
        const state = flags.state
          ? yield* operations.state({ ...key, version: Option.getOrUndefined(flags.at) })
          : null
        const events = flags.differences ? withDifferences(page.events) : plain(page.events)
        const again = `${program.name} stream ${quote(flags.type)} ${quote(flags.id)} --tenant ${flags.tenant} --payloads ${flags.payloads}`
        yield* emit(
          Streamed,
          {
            command: "stream",
            version: page.version,
            events,
            state,
            next: [
              ...(page.next === null
                ? []
                : [
                    {
                      purpose: "the next page",
                      command: `${again} --limit ${flags.limit}${flags.differences ? " --differences" : ""} --from ${page.next}`
                    }
                  ]),
              ...(state !== null && state.version > 1
                ? [
                    {
                      purpose: "the state before",
                      command: `${again} --limit 1 --state --at ${state.version - 1}`
                    }
                  ]
                : [])
            ]
          },
          () => [
            `${flags.type}/${flags.id}: version ${page.version}`,
            ...events.flatMap(eventLines),
            ...(state === null ? [] : stateLines(state))
          ]
        )
      }).pipe(asOperatorOf("stream", flags.tenant, flags.payloads), program.onStore, asFailure)
  ).pipe(
    Command.withDescription("Show the events of one aggregate, and its state"),
    Command.withExamples([
      {
        command: `${program.name} stream Order 17 --tenant … --differences`,
        description: "Changes between payloads"
      },
      {
        command: `${program.name} stream Order 17 --tenant … --state --at 3 --payloads full`,
        description: "The state at version 3"
      }
    ])
  )
