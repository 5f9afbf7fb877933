/**
 * Events. Any tagged schema describes one. The payload holds domain data only; the envelope holds everything else.
 */
import { type DateTime, Schema } from "effect"
import { CanonicalUuid, uuidV5, uuidV7 } from "../internal/uuid.ts"
import type { TenantId } from "./Tenant.ts"

/** A payload of an event, with its type under `_tag`. */
export interface Tagged {
  readonly _tag: string
}

/**
 * The schema of an event: `Schema.TaggedStruct`, `Schema.TaggedClass`, or any other schema of a tagged value.
 *
 * **When to use**
 *
 * Prefer `TaggedStruct` where replay speed matters: plain objects decode several times faster than class instances.
 */
export type EventSchema = Schema.ConstraintCodec<Tagged, unknown>

const EventIdSchema = CanonicalUuid.pipe(Schema.brand("EventId"))

/**
 * An event's id: a UUID in canonical form, unique within its tenant.
 *
 * **Details**
 *
 * `EventId.fromKey(namespace, key)` derives an id (UUID version 5) from a key in a namespace, which is a UUID such as the
 * tenant's id. The same key always gives the same id, so data that arrives twice is stored once. Use it for data with a key of
 * its own: a row of a file, a message, an event of another system. It throws if the namespace is not a UUID, and if the key is
 * not well-formed text.
 *
 * **Example**
 *
 * ```ts
 * Event.make(payload, { eventId: Event.EventId.fromKey(tenantId, `invoice ${row.number}`) })
 * ```
 */
export const EventId: typeof EventIdSchema & {
  readonly fromKey: (namespace: string, key: string) => EventId
} = Object.assign(EventIdSchema, {
  fromKey: (namespace: string, key: string): EventId => EventIdSchema.make(uuidV5(namespace, key))
})

/** An event's id: a UUID in canonical form, unique within its tenant. */
export type EventId = typeof EventIdSchema.Type

/** Generates an event id (UUID version 7). Ids from one process sort in the order in which they were generated. */
// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- The generator yields the canonical form; checking it again would cost more than making it.
export const generateId = (): EventId => uuidV7() as EventId

/**
 * A place in a tenant's log that is kept outside of the store: an event's position and its id, which tells when the log has
 * become another one (restored, or written anew after a failover). An {@link Envelope} is one.
 */
export interface Position {
  readonly position: number
  readonly eventId: EventId
}

/** A stored event: its payload and its metadata. */
export interface Envelope<out Payload, out AggregateType extends string = string> {
  /** Unique within the tenant. */
  readonly eventId: EventId
  readonly tenantId: TenantId
  /** 1, 2, 3 … in the tenant's log, without gaps. */
  readonly position: number
  readonly aggregateType: AggregateType
  readonly aggregateId: string
  /** 1, 2, 3 … in the stream, without gaps. */
  readonly version: number
  /** The payload's `_tag`. */
  readonly eventType: string
  /** Schema version with which the event was stored, counted for the event type of that time. */
  readonly schemaVersion: number
  /**
   * Number of the part if an upcaster splits a stored event into several: 1 for the second, 2 for the third. Absent for the
   * first, and for an event that is not split. All parts share the event id, version and position.
   */
  readonly part?: number
  /** Time at which the event happened, as stated by its writer. */
  readonly occurredAt: DateTime.Utc
  /** Time at which it was stored, in milliseconds. It never decreases within a tenant but may repeat: order by `position`. */
  readonly recordedAt: DateTime.Utc
  /** The person or program that caused it, if known. */
  readonly actor: string | null
  /** The same for all events that follow from one root cause. */
  readonly correlationId: string
  /** The event or command that caused it, if known. An opaque text that is never looked up. */
  readonly causationId: string | null
  /** The trace in which it was appended, as a W3C `traceparent`; null without one. It does not belong to the content. */
  readonly traceparent: string | null
  readonly metadata: Schema.JsonObject
  /** Tags by which queries find it: sorted, without duplicates. */
  readonly tags: ReadonlyArray<string>
  readonly payload: Payload
}

/** Envelope fields that the writer of an event may set. The others come from the event context, the clock and the store. */
export interface EventOptions {
  /** Makes the append idempotent: appending the same id with the same content again writes nothing. Default: a new id. */
  readonly eventId?: EventId | undefined
  /** Default: now. Years 1 to 9999. */
  readonly occurredAt?: DateTime.Utc | undefined
  /** Default: the actor of the event context. */
  readonly actor?: string | undefined
  /** Merged over the metadata of the event context. */
  readonly metadata?: Schema.JsonObject | undefined
  /**
   * Tags by which queries find it, in addition to those that its aggregate derives. At most 32 in all, of 1 to 255 characters
   * each.
   */
  readonly tags?: ReadonlyArray<string> | undefined
}

/** A payload with options of its own. See {@link make}. */
export class NewEvent<out Payload> {
  readonly payload: Payload
  readonly options: EventOptions
  constructor(payload: Payload, options: EventOptions) {
    this.payload = payload
    this.options = options
  }

  /** The same event with other options. */
  withOptions(options: EventOptions): NewEvent<Payload> {
    return new NewEvent(this.payload, options)
  }
}

/**
 * An event with an id, time, actor, metadata or tags of its own. An event without any of these is a plain payload.
 */
export const make = <Payload extends Tagged>(payload: Payload, options: EventOptions): NewEvent<Payload> =>
  new NewEvent(payload, options)

/** An event to be appended: a payload, or one with options. */
export type Appendable<Payload> = Payload | NewEvent<Payload>
