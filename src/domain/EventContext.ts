/**
 * The actor, correlation, causation and metadata of the events that an effect appends. Fibers inherit them, so no function
 * passes them on. Appends made while an event is handled continue its correlation and name it as their cause.
 */
import { Context, Effect, type Schema } from "effect"
import type { Envelope } from "./Event.ts"
import { CurrentDerivedIds, DerivedIds } from "./derivedIds.ts"
import { CurrentTenant } from "./Tenant.ts"

/** Envelope fields for the events that are appended. Every text has 1 to 255 characters. */
export interface EventContext {
  readonly actor?: string | undefined
  /** Default: the id of the first event of the append. */
  readonly correlationId?: string | undefined
  readonly causationId?: string | undefined
  /**
   * The trace in which the events are appended, as a W3C `traceparent`. Not part of an event's hash. Default: the span of the append,
   * if the program has a tracer and the span is sampled; otherwise none.
   */
  readonly traceparent?: string | undefined
  /** Added to the metadata of every event. */
  readonly metadata?: Schema.JsonObject | undefined
}

/** The event context of the running effect; empty by default. It contains no tenant, because a tenant has no default. */
export const CurrentEventContext: Context.Reference<EventContext> = Context.Reference<EventContext>(
  "effect-eventsourcing/CurrentEventContext",
  { defaultValue: () => ({}) }
)

/** Sets fields of the event context of an effect. Other fields are inherited, and metadata is merged. */
export const provide =
  (context: EventContext) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.updateService(effect, CurrentEventContext, (inherited) => ({
      actor: context.actor ?? inherited.actor,
      correlationId: context.correlationId ?? inherited.correlationId,
      causationId: context.causationId ?? inherited.causationId,
      traceparent: context.traceparent ?? inherited.traceparent,
      metadata: { ...inherited.metadata, ...context.metadata }
    }))

/**
 * Runs an effect as the handler of an event: in the event's tenant, with its correlation id and actor, and with its id as
 * causation id.
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
      Effect.provideService(CurrentDerivedIds, undefined),
      Effect.provideService(CurrentTenant, envelope.tenantId)
    )

/**
 * Derives the ids of the events that an effect appends from a seed, the stream, and the number of the append to that
 * stream. Running the effect again with the same seed in the same tenant derives the same ids, so no event is appended twice.
 *
 * **When to use**
 *
 * Use it for input that may arrive more than once: a message with an id, a request with an idempotency key. Reactions use it
 * by themselves.
 *
 * **Details**
 *
 * In a repeated run, `Repository.execute` finds the events of the first run in the stream and returns them instead of
 * deciding. `EventStore.append` returns its first outcome if the content is the same, and otherwise fails with
 * `EventIdConflict`. A command keeps its number if it fails in the store, or decides again after a conflict. Events with an id
 * of their own keep that id.
 *
 * **Gotchas**
 *
 * Appends to one stream must have the same order in each run, and not come from several fibers at once. Different streams are
 * independent of each other. The seed should name the purpose as well as the message: `["shipping", message.id]`.
 */
export const derivingIds =
  (seed: readonly [string, ...Array<string>]) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    // Suspended, because every run must number its appends from zero.
    Effect.suspend(() => Effect.provideService(effect, CurrentDerivedIds, new DerivedIds(seed)))
