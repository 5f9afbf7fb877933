/**
 * Upcasters turn events that were stored with former schemas into present events. They are declared with the events of an
 * aggregate and run when events are read. Stored events are never changed.
 */
import type { SchemaGetter } from "effect"
import type { EventSchema, Tagged } from "./Event.ts"
import { eventTag } from "./eventTag.ts"

/**
 * The step from one schema to the next: a pure function, or a transformation such as
 * `SchemaTransformation.transform({ decode, encode })`, whose `decode` may fail with an issue. `encode` is not used, because
 * former versions are never written.
 */
export type Step<From, To> = ((event: From) => To) | { readonly decode: SchemaGetter.Getter<To, From> }

/** A present or former schema of an event type. */
export interface Version {
  readonly eventType: string
  /** 1, 2, 3 … for the schemas of one event type. It is stored with each event. */
  readonly schemaVersion: number
  readonly schema: EventSchema
  /** The step from the version before; undefined for the oldest. */
  readonly step: Step<never, Tagged> | undefined
}

/** The events into which an {@link Upcaster} turns its newest version, if that is not a present event. */
export interface Into {
  /** Events of the aggregate, or former versions of them, which have upcasters of their own. */
  readonly targets: ReadonlyArray<EventSchema>
  readonly step: Step<never, ReadonlyArray<Tagged>>
}

/**
 * The former versions of one event type, oldest first, and the present events that they are read as.
 *
 * @see {@link from} and {@link dropped}, which create it
 */
export interface Upcaster<out Event extends Tagged> {
  readonly versions: ReadonlyArray<Version>
  /** The present schema at the end of the versions, the events into which it was split, or the names of dropped types. */
  readonly end: PresentSchema<Event> | Into | { readonly dropped: ReadonlyArray<string> }
}

/** The schema of a present event. */
export interface PresentSchema<out Event extends Tagged> {
  readonly present: EventSchema & { readonly Type: Event }
}

/** Any upcaster. */
export type Any = Upcaster<Tagged>

/** The history of an event type, which can be continued. */
export interface History<out Event extends Tagged> extends Upcaster<Event> {
  /**
   * Adds the next schema and the step to it. A schema of the same event type is its next version. A schema of another event
   * type renames the event and is version 1 of that type.
   *
   * **Gotchas**
   *
   * If you use snapshots and change an existing step, raise the `stateVersion` of the aggregate: the library notices a new
   * version or target, but cannot compare functions.
   */
  // Method syntax, so that every history is assignable to `Upcaster.Any`.
  to<const Next extends EventSchema>(schema: Next, step: Step<Event, Next["Type"]>): History<Next["Type"]>
  /**
   * Ends the history of an event type whose events are read as other events: several (a split), one (a merge of types), or
   * none.
   *
   * **Details**
   *
   * All parts have the event id, version and position of the stored event; `part` tells them apart. Each target is an event of
   * the aggregate, or a former version of one, which is upcast further.
   *
   * **Gotchas**
   *
   * As with `to`, a changed step with the same targets needs a new `stateVersion`.
   */
  into<const Targets extends ReadonlyArray<EventSchema>>(
    targets: Targets,
    step: Step<Event, ReadonlyArray<Targets[number]["Type"]>>
  ): Upcaster<never>
}

/**
 * Begins the history of an event type with its oldest schema. Unless it ends with `into`, its last schema must be one of the
 * aggregate's events.
 *
 * **Details**
 *
 * Do not change existing schemas and steps: a new version adds a schema and a step at the end. The version of new events
 * follows from the history; it is 1 for an event without a history.
 *
 * Steps are pure functions. A step that throws, or whose result does not fit the next schema, raises `EventDecodeError`. The
 * reason contains the text of the thrown error (at most 500 characters), for developers and logs, so that text should not
 * quote the event.
 *
 * **Gotchas**
 *
 * `version` (default: 1) is the version of the first schema. Set it if the history omits the oldest versions, because no stored
 * event has them any more, or if an event type is used again with another meaning: its versions then continue after the former
 * ones.
 *
 * **Example**
 *
 * ```ts
 * const history = Upcaster.from(OrderPlacedV1)
 *   .to(OrderPlacedV2, ({ euros, ...order }) => ({ ...order, cents: Math.round(euros * 100) }))
 *   .to(OrderPlaced, (order) => ({ ...order, currency: "EUR" }))
 *
 * const Order = Aggregate.make("Order", { state, initial, events: [OrderPlaced], upcasters: [history] }, handlers)
 * ```
 */
export const from = <const First extends EventSchema>(
  schema: First,
  options: { readonly version?: number | undefined } = {}
): History<First["Type"]> => {
  const { version = 1 } = options
  const eventType = eventTag(schema)
  if (!Number.isSafeInteger(version) || version < 1 || version > maxSchemaVersion)
    throw new RangeError(`the first version of ${eventType} must be a positive integer`)
  return history(schema, [{ eventType, schemaVersion: version, schema, step: undefined }])
}

/** The largest `integer` of PostgreSQL. */
const maxSchemaVersion = 2_147_483_647

const history = <Event extends Tagged>(
  present: EventSchema & { readonly Type: Event },
  versions: ReadonlyArray<Version>
): History<Event> => ({
  versions,
  end: { present },
  to: (schema, step) => {
    const eventType = eventTag(schema)
    const last = versions.findLast((version) => version.eventType === eventType)
    const schemaVersion = (last?.schemaVersion ?? 0) + 1
    return history(schema, [...versions, { eventType, schemaVersion, schema, step }])
  },
  into: (targets, step) => ({ versions, end: { targets, step } })
})

/**
 * Drops event types that are no longer needed, in all of their versions: their events are skipped without reading the payload.
 * They stay in the log, and versions and positions count them.
 *
 * **Example**
 *
 * ```ts
 * Aggregate.make("Order", { state, initial, events: [OrderPlaced], upcasters: [Upcaster.dropped("OrderViewed")] }, handlers)
 * ```
 */
export const dropped = (...eventTypes: ReadonlyArray<string>): Upcaster<never> => ({
  versions: [],
  end: { dropped: eventTypes }
})
