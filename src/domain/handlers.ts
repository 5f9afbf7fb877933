/** Checks handlers when they are declared: a misspelt one would never run, and a missing one would fail only later. */
import { hasMarks } from "./codec/marks.ts"
import type { EventSchema } from "./Event.ts"
import { eventTag } from "./eventTag.ts"

/** The tags of all events of some aggregates. */
export const eventTags = (
  aggregates: ReadonlyArray<{ readonly events: ReadonlyArray<EventSchema> }>
): ReadonlyArray<string> => aggregates.flatMap(({ events }) => events.map(eventTag))

/** Throws if a handler has no event, or if every event needs a handler and one has none. */
export const checkHandlers = (
  owner: string,
  handlers: object,
  tags: ReadonlyArray<string>,
  needed: "every event" | "some events"
): void => {
  const named = Object.keys(handlers)
  const other = named.find((tag) => !tags.includes(tag))
  if (other !== undefined) {
    const known = tags.length === 0 ? "there are none" : `there are ${[...new Set(tags)].join(", ")}`
    throw new TypeError(
      `${owner} has a handler for ${JSON.stringify(other)}, which none of its events is: ${known}`
    )
  }
  const missing = needed === "every event" ? tags.find((tag) => !named.includes(tag)) : undefined
  if (missing !== undefined) throw new TypeError(`${owner} has no handler for ${missing}`)
}

/** The tags, all or some, of the events of aggregates that have personal fields. */
export const personalTags = (
  aggregates: ReadonlyArray<{ readonly events: ReadonlyArray<EventSchema> }>,
  tags?: ReadonlyArray<string>
): ReadonlyArray<string> =>
  aggregates
    .flatMap(({ events }) => events.filter(({ ast }) => hasMarks(ast)).map(eventTag))
    .filter((tag) => tags === undefined || tags.includes(tag))
