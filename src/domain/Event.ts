/**
 * Events: any tagged schema is one. The payload holds domain data only; the envelope holds everything else.
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
 * `EventId.fromKey(namespace, key)` is the id of a key in a namespace, which is a UUID such as the tenant's id (UUID version
 * 5): the same for the same key, so that what comes twice is stored once. For what comes from outside with a key of its own:
 * a row of a file, a message, the number of an event in another system. Throws if the namespace is no UUID, and on a key
 * that is not well-formed text.
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

/** A new event id (UUID version 7). Ids made by one process sort in the order they were made. */
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
  /** Schema version that the event was stored with, counted for the name that its type had then. */
  readonly schemaVersion: number
  /**
   * Number of the part if a stored event is read as several events: 1 for the second, 2 for the third. Absent for the
   * first, and for an event that is not split. All parts share the event id, version and position.
   */
  readonly part?: number
  /** Time at which it happened, stated by the writer. */
  readonly occurredAt: DateTime.Utc
  /** Time at which it was stored, in milliseconds. Never decreases within a tenant, but may repeat: order by `position`. */
  readonly recordedAt: DateTime.Utc
  /** The person or program that caused it, if known. */
  readonly actor: string | null
  /** Shared by everything that follows from one root cause. */
  readonly correlationId: string
  /** The event or command that caused it, if known. An opaque text that is never looked up. */
  readonly causationId: string | null
  /** The trace that it was appended in, as W3C Trace Context writes it; null without one. No part of the event's content. */
  readonly traceparent: string | null
  readonly metadata: Schema.JsonObject
  /** Tags by which queries find it: sorted, without duplicates. */
  readonly tags: ReadonlyArray<string>
  readonly payload: Payload
}

/** Properties of one event that its writer may state; the rest comes from the event context, the clock and the store. */
export interface EventOptions {
  /** Makes the append idempotent: appending the same id with the same content again changes nothing. */
  readonly eventId?: EventId | undefined
  /** Default: now. Years 1 to 9999. */
  readonly occurredAt?: DateTime.Utc | undefined
  /** Default: the actor of the event context. */
  readonly actor?: string | undefined
  /** Merged over the metadata of the event context. */
  readonly metadata?: Schema.JsonObject | undefined
  /**
   * Tags by which queries find it, beside those that its aggregate derives. At most 32 together, of 1 to 255 characters
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
}

/**
 * An event with its own id, time, actor, metadata or tags. A plain payload can be appended and decided as well.
 */
export const make = <Payload extends Tagged>(payload: Payload, options: EventOptions): NewEvent<Payload> =>
  new NewEvent(payload, options)

/** An event to be appended: a payload, or one with options. */
export type Appendable<Payload> = Payload | NewEvent<Payload>
