/** `tail`: the newest events of a tenant, and those that follow. */
import { Effect, Schema, Stream } from "effect"
import { Command } from "effect/cli"
import * as Looks from "../../operations/Looks.ts"
import * as Operations from "../../operations/Operations.ts"
import {
  asOperatorOf,
  limitFlag,
  optionalInt,
  optionalText,
  orUndefined,
  payloadsFlag,
  several,
  tenantFlag,
  timeFlag
} from "../ask.ts"
import { document, emit, emitLine, quote } from "../output.ts"
import { asFailure, type Program } from "../program.ts"
import { toggle } from "../settings.ts"
import { eventLine } from "./events.ts"

/** The document of `tail`. With `--follow` each event is a document of its own. */
export const Tailed = document("tail", {
  events: Schema.Array(Looks.EventView),
  head: Schema.Int.annotate({ description: "The last position of the log." })
})

const follow = toggle("follow", "Go on with each event as it is appended, until Ctrl-C")

export const tail = (program: Program) =>
  Command.make(
    "tail",
    {
      tenant: tenantFlag,
      follow,
      type: several("type", "name", "Events of this stored type; may be given several times"),
      tag: several("tag", "key:value", "Events with this tag; all tags that are given must fit"),
      aggregate: optionalText("aggregate", "type", "Events of aggregates of this type"),
      id: optionalText("id", "id", "Events of the aggregate with this id"),
      by: optionalText("by", "actor", "Events of this actor"),
      correlation: optionalText("correlation", "id", "Events with this correlation id"),
      from: timeFlag("from", "Recorded at this time or later"),
      before: timeFlag("before", "Recorded before this time"),
      at: optionalInt("at", "The position from which the page goes backwards"),
      limit: limitFlag(1000, 20),
      payloads: payloadsFlag
    },
    (flags) =>
      Effect.gen(function* () {
        const filter = {
          eventTypes: flags.type.length === 0 ? undefined : flags.type,
          tags: flags.tag.length === 0 ? undefined : flags.tag,
          aggregateType: orUndefined(flags.aggregate),
          aggregateId: orUndefined(flags.id),
          actor: orUndefined(flags.by),
          correlationId: orUndefined(flags.correlation)
        }
        const operations = yield* Operations.Operations
        const page = yield* operations.log({
          ...filter,
          recordedFrom: orUndefined(flags.from),
          recordedBefore: orUndefined(flags.before),
          from: orUndefined(flags.at),
          limit: flags.limit
        })
        const events = page.events.toReversed()
        if (flags.follow) {
          for (const event of events) yield* emitLine(Looks.EventView, event, eventLine(event))
          return yield* Stream.runForEach(operations.tail({ ...filter, after: page.head }), (event) =>
            emitLine(Looks.EventView, event, eventLine(event))
          )
        }
        const pairs: ReadonlyArray<readonly [string, string | undefined]> = [
          ...flags.type.map((one) => ["type", one] as const),
          ...flags.tag.map((one) => ["tag", one] as const),
          ["aggregate", filter.aggregateType],
          ["id", filter.aggregateId],
          ["by", filter.actor],
          ["correlation", filter.correlationId]
        ]
        const again = [
          `${program.name} tail --tenant ${flags.tenant} --limit ${flags.limit} --payloads ${flags.payloads}`,
          ...pairs.flatMap(([name, value]) => (value === undefined ? [] : [`--${name} ${quote(value)}`]))
        ].join(" ")
        yield* emit(
          Tailed,
          {
            command: "tail",
            events,
            head: page.head,
            next: [
              ...(page.next === null
                ? []
                : [{ purpose: "earlier events", command: `${again} --at ${page.next}` }]),
              { purpose: "live", command: `${again} --follow` }
            ]
          },
          () => (events.length === 0 ? ["No events."] : events.map(eventLine))
        )
      }).pipe(asOperatorOf("tail", flags.tenant, flags.payloads), program.onStore, asFailure)
  ).pipe(
    Command.withDescription("Show the newest events of a tenant, and follow its log"),
    Command.withExamples([
      {
        command: `${program.name} tail --tenant … --follow --json`,
        description: "Each event as a line of JSON"
      }
    ])
  )
