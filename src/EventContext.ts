/**
 * Who and what causes the events that an effect appends. It is inherited by fibers and never needs to be passed on by
 * hand: what is appended while an event is being handled continues that event's correlation and names it as cause.
 */
import { Context, Effect, type Schema } from "effect"
import type { Envelope } from "./Event.ts"
import { CurrentTenant } from "./Tenant.ts"

/** Who and what causes the events that are appended. Every text has 1 to 255 characters. */
export interface EventContext {
  readonly actor?: string | undefined
  /** Default: the id of the first event of the append. */
  readonly correlationId?: string | undefined
  readonly causationId?: string | undefined
  /** Added to the metadata of every event. */
  readonly metadata?: Schema.JsonObject | undefined
}

/** The event context of the running effect; empty by default. It holds no tenant: that has no default. */
export const CurrentEventContext: Context.Reference<EventContext> = Context.Reference<EventContext>(
  "effect-eventsourcing/CurrentEventContext",
  { defaultValue: () => ({}) }
)

/** Adds to the event context of an effect; what is not given is inherited. */
export const provide =
  (context: EventContext) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.updateService(effect, CurrentEventContext, (inherited) => ({
      actor: context.actor ?? inherited.actor,
      correlationId: context.correlationId ?? inherited.correlationId,
      causationId: context.causationId ?? inherited.causationId,
      metadata: { ...inherited.metadata, ...context.metadata }
    }))

/**
 * Runs an effect as the handling of an event: in the event's tenant, with its correlation id, with its id as causation
 * id, and with its actor.
 */
export const whileHandling =
  (envelope: Envelope<unknown>) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, Exclude<R, CurrentTenant>> =>
    effect.pipe(
      Effect.provideService(CurrentEventContext, {
        correlationId: envelope.correlationId,
        causationId: envelope.eventId,
        ...(envelope.actor === null ? undefined : { actor: envelope.actor })
      }),
      Effect.provideService(CurrentTenant, envelope.tenantId)
    )
