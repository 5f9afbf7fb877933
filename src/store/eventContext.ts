/** The event context of appends. */
import { Context } from "effect"
import { CurrentEventContext, type EventContext } from "../domain/EventContext.ts"
import { traceparentOf } from "../telemetry/spanned.ts"

/** The event context of a fiber, with the trace of its span if the context names none and somebody sees that span. */
export const eventContextOf = (services: Context.Context<never>): EventContext => {
  const context = Context.get(services, CurrentEventContext)
  if (context.traceparent !== undefined) return context
  const traceparent = traceparentOf(services)
  return traceparent === undefined ? context : { ...context, traceparent }
}
