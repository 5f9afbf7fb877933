/**
 * Upcasters turn events that were stored in former schemas into present events. They are declared beside the events of an
 * aggregate and applied when events are read; stored events are never changed.
 */
import type { SchemaGetter } from "effect"
import type { EventSchema, Tagged } from "./Event.ts"
import { eventTag } from "./eventTag.ts"

/**
 * The step from an event to the next schema: a pure function, or a transformation such as
 * `SchemaTransformation.transform({ decode, encode })`, whose `decode` may fail with an issue. `encode` is not used, because
 * former versions are never written.
 */
export type Step<From, To> = ((event: From) => To) | { readonly decode: SchemaGetter.Getter<To, From> }

/** A schema that events of a type have, or had. */
export interface Version {
  readonly eventType: string
  /** 1, 2, 3 … for the schemas of one event type. It is stored with each event. */
  readonly schemaVersion: number
  readonly schema: EventSchema
  /** The step from the version before; undefined for the oldest. */
  readonly step: Step<never, Tagged> | undefined
}

/** The targets of the newest version of an {@link Upcaster} that does not end in a present event. */
export interface Into {
  /** Events of the aggregate, or former versions of them that have upcasters of their own. */
  readonly targets: ReadonlyArray<EventSchema>
  readonly step: Step<never, ReadonlyArray<Tagged>>
}

/**
 * The former versions of one event type, oldest first, and the events that they are read as.
 *
 * @see {@link from} and {@link dropped}, which create it
 */
export interface Upcaster<out Event extends Tagged> {
  readonly versions: ReadonlyArray<Version>
  /** The present schema that the versions end in, the events that it was split into, or the names of dropped types. */
  readonly end: PresentSchema<Event> | Into | { readonly dropped: ReadonlyArray<string> }
}

/** The schema of a present event. */
export interface PresentSchema<out Event extends Tagged> {
  readonly present: EventSchema & { readonly Type: Event }
}

/** Any upcaster. */
export type Any = Upcaster<Tagged>

/** The history of an event type so far. */
export interface History<out Event extends Tagged> extends Upcaster<Event> {
  /**
   * Adds the next schema, of the same event type or of a new one (a rename), and the step to it. A schema of the same type
   * is the next version; under another name it is version 1 of that name.
   *
   * **Gotchas**
   *
   * If you use snapshots and change an existing step, raise the aggregate's `stateVersion`: the library notices a new
   * version or target, but cannot compare functions.
   */
  // Method syntax: a history of one event is then an `Upcaster.Any`.
  to<const Next extends EventSchema>(schema: Next, step: Step<Event, Next["Type"]>): History<Next["Type"]>
  /**
   * Ends an event type whose events are read as events of other types: several (a split), one (a merge of types), or none.
   *
   * **Details**
   *
   * All parts have the event id, version and position of the stored event; `part` distinguishes them. Each target is an
   * event of the aggregate, or a former version of one, which is upcast further.
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
 * Begins the history of an event type with its oldest schema. The last schema of the history must be one of the
 * aggregate's events, unless it ends with `into`.
 *
 * **Details**
 *
 * Leave each schema as it was when events were written with it, and each step as it is: a new version adds a schema and a
 * step at the end. The version of new events follows from the history; it is 1 for an event without a history.
 *
 * Steps are pure functions. Their results are checked against the schema they lead to; a result that does not fit is an
 * `EventDecodeError`, and so is a step that throws: the text of its error (at most 500 characters) stands in the reason, for
 * developers and logs, and should not quote the event.
 *
 * **Gotchas**
 *
 * `version` (default: 1) is for a history that omits the oldest versions because no event of them is stored anywhere, and
 * for a name that is used again for something else: the numbering then continues behind the versions that the name had.
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

/** PostgreSQL's `integer`. */
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
 * Drops event types that are no longer needed, in all of their versions: their events are passed over without reading the
 * payload. They stay in the log, and versions and positions count them.
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
