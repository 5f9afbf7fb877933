/** Checks the texts of an event and its context. */
import type { EventContext } from "../domain/EventContext.ts"
import type { Content } from "../domain/jsonEvent.ts"
import { InvalidEvent, InvalidInput, LimitExceeded } from "../driver/StoreError.ts"
import { maxNameLength, nameProblem } from "../internal/json.ts"

/** The reason why a text cannot be stored in a field of at most 255 characters; undefined if it can. */
export const textProblem = (
  aggregateType: string,
  eventType: string,
  name: string,
  text: string
): InvalidInput | undefined => {
  if (text.length > maxNameLength) return tooLong(`${name} of ${eventType}`)
  const reason = nameProblem(text)
  return reason === undefined ? undefined : invalid(aggregateType, eventType, [name], reason)
}

export const contextProblem = (aggregateType: string, context: EventContext): InvalidInput | undefined => {
  for (const name of contextNames) {
    const text = context[name]
    const problem = text === undefined ? undefined : textProblem(aggregateType, "event context", name, text)
    if (problem !== undefined) return problem
  }
  return traceProblem(aggregateType, "event context", context.traceparent)
}

const traceProblem = (
  aggregateType: string,
  eventType: string,
  text: string | undefined
): InvalidInput | undefined =>
  text === undefined || traceparent.test(text)
    ? undefined
    : invalid(aggregateType, eventType, ["traceparent"], "is not a traceparent as in W3C Trace Context")

const contextNames = ["actor", "correlationId", "causationId"] as const

/** The problem of the fields of a JSON event, except its payload; undefined if there is none. */
export const contentProblem = (
  aggregateType: string,
  eventType: string,
  content: Partial<Content>
): InvalidInput | undefined => {
  for (const name of ["correlationId", "causationId"] as const) {
    const text = content[name] ?? undefined
    const problem = text === undefined ? undefined : textProblem(aggregateType, eventType, name, text)
    if (problem !== undefined) return problem
  }
  return traceProblem(aggregateType, eventType, content.traceparent ?? undefined)
}

/** https://www.w3.org/TR/trace-context/#traceparent-header */
const traceparent = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/

export const tooLong = (subject: string): InvalidInput<LimitExceeded> =>
  new InvalidInput({ reason: new LimitExceeded({ limit: "idLength", subject, maximum: maxNameLength }) })

export const invalid = (
  aggregateType: string,
  eventType: string,
  path: ReadonlyArray<string | number>,
  reason: string
): InvalidInput<InvalidEvent> =>
  new InvalidInput({ reason: new InvalidEvent({ aggregateType, eventType, path: [...path], reason }) })
