/** Events on the terminal, and the differences of their payloads. */
import { JsonPatch, Schema } from "effect"
import * as Looks from "../../operations/Looks.ts"
import { time } from "../output.ts"

/** An event with the difference of its payload to the one before of the same type in the list. */
export type ShownEvent = typeof ShownEvent.Type
/** Schema of an event with the difference of its payload. */
export const ShownEvent = Schema.Struct({
  ...Looks.EventView.fields,
  difference: Schema.NullOr(Schema.Array(Looks.PatchStep)).annotate({
    description:
      "The JSON patch from the payload of the event of this type before it in the stream; null for the first, or without --differences."
  })
}).annotate({ identifier: "ShownEvent", description: "A stored event, and the change of its payload." })

/** Events of one stream in the order of their versions, each with its difference. */
export const withDifferences = (events: ReadonlyArray<Looks.EventView>): ReadonlyArray<ShownEvent> => {
  const before = new Map<string, Schema.Json>()
  return events.map((event) => {
    const last = before.get(event.eventType)
    before.set(event.eventType, event.stored)
    return {
      ...event,
      difference:
        last === undefined
          ? null
          : JsonPatch.get(last, event.stored).map((step) => ({
              op: step.op,
              path: step.path,
              value: step.op === "remove" ? null : step.value
            }))
    }
  })
}

/** Events without differences. */
export const plain = (events: ReadonlyArray<Looks.EventView>): ReadonlyArray<ShownEvent> =>
  events.map((event) => ({ ...event, difference: null }))

/** A step of a difference as a line. */
export const stepLine = ({ op, path, value }: Looks.PatchStep): string =>
  op === "remove"
    ? `  - ${path}`
    : `  ${op === "add" ? "+" : "~"} ${path === "" ? "/" : path} ${JSON.stringify(value)}`

/** An event as a line: position, time, stream, type, actor, payload. */
export const eventLine = (event: Looks.EventView): string =>
  [
    String(event.position).padStart(6),
    time(event.recordedAt),
    `${event.aggregateType}/${event.aggregateId}@${event.version}`,
    event.eventType + (event.unreadable === null ? "" : ` (${event.unreadable})`),
    event.actor ?? "–",
    event.stored === null ? "" : JSON.stringify(event.stored)
  ]
    .join("  ")
    .trimEnd()

/** An event with its payload as it is read now, if that differs from the stored one, and its difference. */
export const eventLines = (event: ShownEvent): ReadonlyArray<string> => [
  eventLine(event),
  ...(event.present !== null &&
  JSON.stringify(event.present) !== JSON.stringify([event.stored]) &&
  event.stored !== null
    ? event.present.map((one) => `        read as ${JSON.stringify(one)}`)
    : []),
  ...(event.difference ?? []).map((step) => `      ${stepLine(step)}`)
]
