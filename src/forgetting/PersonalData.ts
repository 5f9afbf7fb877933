/**
 * Everything that is known of a person: the personal data of a subject in the log of a tenant, to show it to that person or to hand
 * it over.
 */
import { type DateTime, Effect, Schema, Stream } from "effect"
import type * as Aggregate from "../domain/Aggregate.ts"
import { codecOf, type Path } from "../domain/codec/aggregateCodec.ts"
import type * as Event from "../domain/Event.ts"
import { outside, type Place } from "./outside.ts"
import type { CurrentTenant } from "../domain/Tenant.ts"
import type { InvalidId, ReadError } from "../driver/StoreError.ts"
import { EventStore } from "../store/EventStore.ts"
import { checkSubject } from "./inputs.ts"

/** A personal field of a stored event. */
export interface Entry {
  readonly eventId: string
  /** The position of the event in the tenant's log. */
  readonly position: number
  readonly aggregateType: string
  readonly aggregateId: string
  readonly eventType: string
  readonly schemaVersion: number
  /** The time at which the event happened, as stated by its writer. */
  readonly occurredAt: DateTime.Utc
  readonly recordedAt: DateTime.Utc
  /** The place of the field in the payload: keys of objects and indexes of arrays. */
  readonly path: ReadonlyArray<string | number>
  /** The data as it was stored, before upcasters. */
  readonly value: Schema.Json
}

/** An {@link Entry} as JSON, with times in ISO 8601. */
export interface EntryJson extends Omit<Entry, "occurredAt" | "recordedAt"> {
  readonly occurredAt: string
  readonly recordedAt: string
}

/** Schema of an {@link Entry}, for responses and files. */
export const Entry: Schema.Codec<Entry, EntryJson> = Schema.Struct({
  eventId: Schema.String,
  position: Schema.Int,
  aggregateType: Schema.String,
  aggregateId: Schema.String,
  eventType: Schema.String,
  schemaVersion: Schema.Int,
  occurredAt: Schema.DateTimeUtcFromString,
  recordedAt: Schema.DateTimeUtcFromString,
  path: Schema.Array(Schema.Union([Schema.String, Schema.Int])),
  value: Schema.Json
})

/** The request of {@link read}. */
export interface Request {
  /** All aggregates that have events with personal fields: their marks tell whose data a field is. */
  readonly aggregates: ReadonlyArray<Aggregate.Any>
  /** The id of the person, which the marks name: 1 to 255 characters. */
  readonly subject: string
}

export type { Place } from "./outside.ts"

const valueAt = (json: Schema.Json, path: Path): Schema.Json =>
  path.reduce<Schema.Json>(
    (value, key) =>
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the path was found in the value
      (value as Readonly<Record<string | number, Schema.Json>>)[key] ?? null,
    json
  )

const entriesOf = (
  codecs: ReadonlyMap<string, ReturnType<typeof codecOf>>,
  envelope: Event.Envelope<Schema.Json>,
  subject: string
): ReadonlyArray<Entry> => {
  const {
    aggregateId,
    aggregateType,
    eventId,
    eventType,
    occurredAt,
    payload,
    position,
    recordedAt,
    schemaVersion
  } = envelope
  const find = codecs.get(aggregateType)?.stored.get(eventType)?.personal(schemaVersion)
  const found = find?.(payload, aggregateId, "keys")
  if (found === undefined || "reason" in found) return []
  return found.fields
    .filter((field) => field.subject === subject)
    .map(({ path }) => ({
      eventId,
      position,
      aggregateType,
      aggregateId,
      eventType,
      schemaVersion,
      occurredAt,
      recordedAt,
      path,
      value: valueAt(payload, path)
    }))
}

/**
 * The personal data of a subject in the log of the current tenant, in the order of the log. Nothing is left of a subject that was
 * forgotten, except the data from after it was allowed again.
 *
 * **Details**
 *
 * It reads the events of the aggregates once, from the first to the last. Read models, and events without marks, are not part of it.
 *
 * **Example**
 *
 * ```ts
 * const names = PersonalData.read({ aggregates: [Customer, Order], subject: customerId }).pipe(
 *   Stream.filter(({ path }) => path.at(-1) === "name"),
 *   Stream.runCollect
 * )
 * ```
 */
export const read = ({
  aggregates,
  subject
}: Request): Stream.Stream<Entry, ReadError | InvalidId, EventStore | CurrentTenant> => {
  const codecs = new Map(aggregates.map((aggregate) => [aggregate.type, codecOf(aggregate)]))
  return Stream.unwrap(
    Effect.andThen(
      checkSubject(subject),
      EventStore.useSync(({ readLogJson }) =>
        readLogJson({ aggregateTypes: [...codecs.keys()] }).pipe(
          Stream.flatMap((envelope) => Stream.fromIterable(entriesOf(codecs, envelope, subject)))
        )
      )
    )
  )
}

const encodeEntry = Schema.encodeSync(Entry)

/**
 * As {@link read}, with each entry as JSON: to hand the data over to the person, or to another controller.
 *
 * **Example**
 *
 * ```ts
 * const download = PersonalData.readJson({ aggregates: [Customer, Order], subject: customerId }).pipe(
 *   Stream.runCollect,
 *   Effect.map((entries) => JSON.stringify(entries, null, 2))
 * )
 * ```
 */
export const readJson = (
  request: Request
): Stream.Stream<EntryJson, ReadError | InvalidId, EventStore | CurrentTenant> =>
  Stream.map(read(request), (entry) => encodeEntry(entry))

/** Personal data of an event that is also in its envelope, where it cannot be sealed. It names the place, and not the data. */
export interface Outside {
  readonly eventId: string
  /** The position of the event in the tenant's log. */
  readonly position: number
  readonly aggregateType: string
  readonly eventType: string
  /** The personal field of the payload: keys of objects and indexes of arrays. */
  readonly path: ReadonlyArray<string | number>
  /** The part of the envelope that has the same data. */
  readonly place: Place
}

/** The request of {@link outsideOfPayloads}. */
export interface OutsideRequest {
  /** Aggregates that have events with personal fields. */
  readonly aggregates: ReadonlyArray<Aggregate.Any>
  /** The number of events to look at, from the end of the log. Default: 1,000. */
  readonly events?: number | undefined
}

/**
 * Personal data that turns up outside of payloads, in the newest events of the current tenant: in ids of aggregates, actors, tags,
 * metadata, and ids of correlation and causation. These are stored as they are, and stay when the person is forgotten.
 *
 * **When to use**
 *
 * In a test at the end of a scenario (`Laws.logKeepsPersonalData`), and now and then in production (`PgCheck.personalData`).
 *
 * **Details**
 *
 * It compares the texts of personal fields with the envelope of their own event, without regard to upper and lower case: a text of
 * at least 8 characters may be part of another one, a shorter one is looked for as a whole. So it finds copies, and neither numbers
 * nor data in another form. Data of forgotten persons are not known any more and not compared.
 */
export const outsideOfPayloads = ({
  aggregates,
  events = 1000
}: OutsideRequest): Stream.Stream<Outside, ReadError, EventStore | CurrentTenant> => {
  const codecs = new Map(aggregates.map((aggregate) => [aggregate.type, codecOf(aggregate)]))
  return Stream.unwrap(
    EventStore.useSync(({ readLogJson }) =>
      readLogJson({ aggregateTypes: [...codecs.keys()], direction: "backwards", limit: events }).pipe(
        Stream.flatMap((envelope) => {
          const { aggregateId, aggregateType, eventId, eventType, payload, position, schemaVersion } =
            envelope
          const find = codecs.get(aggregateType)?.stored.get(eventType)?.personal(schemaVersion)
          const found = find?.(payload, aggregateId, "keys")
          return Stream.fromIterable(
            found === undefined || "reason" in found
              ? []
              : found.fields.flatMap(({ path }) =>
                  outside(valueAt(payload, path), envelope).map((place) => ({
                    eventId,
                    position,
                    aggregateType,
                    eventType,
                    path,
                    place
                  }))
                )
          )
        })
      )
    )
  )
}
