/** The event context of a caller, in the headers of its call. */
import { Effect, Option, Schema } from "effect"
import type { Headers } from "effect/http"
import { CurrentEventContext, type EventContext } from "../domain/EventContext.ts"

const header = "eventsourcing-context"

const Carried = Schema.fromJsonString(
  Schema.Struct({
    actor: Schema.optionalKey(Schema.String),
    correlationId: Schema.optionalKey(Schema.String),
    causationId: Schema.optionalKey(Schema.String),
    traceparent: Schema.optionalKey(Schema.String),
    metadata: Schema.optionalKey(Schema.Record(Schema.String, Schema.Json))
  })
)

const decode = Schema.decodeUnknownOption(Carried)

/** The headers that carry the event context of the fiber; none if it is empty. */
export const headersOf: Effect.Effect<Headers.Input> = Effect.map(CurrentEventContext, (context) => {
  const text = JSON.stringify(context)
  return text === "{}" ? {} : { [header]: text }
})

/** The event context that headers carry; empty without one. */
export const contextOf = (headers: Headers.Headers): EventContext =>
  Option.getOrElse(decode(headers[header]), () => ({}))
