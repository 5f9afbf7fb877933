/**
 * Events: any tagged schema is one. The payload holds domain data only; the envelope holds everything else.
 */
import { type DateTime, Schema } from "effect"
import { CanonicalUuid, uuidV7 } from "../internal/uuid.ts"
import type { TenantId } from "./Tenant.ts"

/** What every event payload has: its type, under `_tag`. */
export interface Tagged {
  readonly _tag: string
}

/**
 * The schema of an event: `Schema.TaggedStruct`, `Schema.TaggedClass`, or any other schema of a tagged value.
 *
 * **When to use**
 *
 * Prefer `TaggedStruct` where replay speed matters: decoding plain objects is several times faster than instances.
 */
export type EventSchema = Schema.ConstraintCodec<Tagged, unknown>

/** An event's id: a UUID in canonical form, unique within its tenant. */
export const EventId = CanonicalUuid.pipe(Schema.brand("EventId"))

/** An event's id: a UUID in canonical form, unique within its tenant. */
export type EventId = typeof EventId.Type

/** A new event id (UUID version 7). Ids made by one process sort in the order they were made. */
// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- The generator yields the canonical form; checking it again would cost more than making it.
export const generateId = (): EventId => uuidV7() as EventId

/** A stored event: its payload, and all that is known about it. */
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
  /** Version of the event type's schema it was written with, as it is stored: under the name that the type had then. */
  readonly schemaVersion: number
  /**
   * Which part it is of a stored event that is read as several: 1 for the second one, 2 for the third. Absent for the
   * first, and for an event that is one. All parts have the event id, version and position in common.
   */
  readonly part?: number
  /** When it happened, as the writer says. */
  readonly occurredAt: DateTime.Utc
  /** When it was stored, in milliseconds. Never goes back within a tenant, but may be equal: order by `position`. */
  readonly recordedAt: DateTime.Utc
  /** Who caused it, if known. */
  readonly actor: string | null
  /** Shared by everything that follows from one root cause. */
  readonly correlationId: string
  /** The event or command that caused it, if known. Opaque: never looked up, in no tenant. */
  readonly causationId: string | null
  readonly metadata: Schema.JsonObject
  /** What it is about, for queries: sorted, each once. */
  readonly tags: ReadonlyArray<string>
  readonly payload: Payload
}

/** What a writer may state about one event; the rest comes from the event context, the clock and the store. */
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
   * What it is about, for queries: beside the tags that its aggregate derives. At most 32 with those, 1 to 255 characters
   * each.
   */
  readonly tags?: ReadonlyArray<string> | undefined
}

/** A payload together with what its writer states about it. See {@link make}. */
export class NewEvent<out Payload> {
  readonly payload: Payload
  readonly options: EventOptions
  constructor(payload: Payload, options: EventOptions) {
    this.payload = payload
    this.options = options
  }
}

/**
 * An event with its own id, time, actor, metadata or tags. Wherever events are appended or decided, a plain payload does as
 * well.
 */
export const make = <Payload extends Tagged>(payload: Payload, options: EventOptions): NewEvent<Payload> =>
  new NewEvent(payload, options)

/** An event to be appended: a payload, or one with options. */
export type Appendable<Payload> = Payload | NewEvent<Payload>
