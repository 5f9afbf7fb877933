/** Forgets the personal data of events, as a store does for a subject whose key is gone. */
import { Result } from "effect"
import type * as Aggregate from "../../domain/Aggregate.ts"
import { codecOf, type Path, type PersonalField } from "../../domain/codec/aggregateCodec.ts"
import type * as Event from "../../domain/Event.ts"
import * as StoredEvents from "../../domain/StoredEvents.ts"
import { throughText } from "./eventSamples.ts"

/** The id of the aggregates in laws: every id is as good as another. */
const id = "id of the aggregate"

/** The personal fields of a stored event; none if one has no subject, which makes the store refuse the event. */
export const personalFieldsOf = (
  of: Aggregate.Any,
  { eventType, payload, schemaVersion }: StoredEvents.StoredPayload
): ReadonlyArray<PersonalField> => {
  const found = codecOf(of).stored.get(eventType)?.personal(schemaVersion)?.(payload, id, "keys")
  return found === undefined || "reason" in found ? [] : found.fields
}

/** The value at a place of a JSON value. */
export const valueAt = (json: unknown, path: Path): unknown => {
  let value = json
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the path was found in the value
  for (const key of path) value = (value as Readonly<Record<string | number, unknown>>)[key]
  return value
}

const replaced = (json: unknown, [key, ...rest]: Path): unknown => {
  if (key === undefined) return { $forgotten: true }
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the path was found in the value
  const container = json as Readonly<Record<string | number, unknown>>
  const member = replaced(container[key], rest)
  return Array.isArray(json)
    ? json.map((element: unknown, index) => (index === key ? member : element))
    : { ...container, [key]: member }
}

/** A stored event without the data of some subjects. */
export const forgetStored = (
  of: Aggregate.Any,
  stored: StoredEvents.StoredPayload,
  subjects: ReadonlySet<string>
): StoredEvents.StoredPayload => {
  let { payload } = stored
  for (const { path, subject } of personalFieldsOf(of, stored))
    if (subjects.has(subject)) payload = replaced(payload, path)
  return { ...stored, payload }
}

/** An event as it is stored; undefined if it cannot be encoded, which other laws report. */
export const storedOf = (of: Aggregate.Any, event: Event.Tagged): StoredEvents.StoredPayload | undefined => {
  const codec = codecOf(of).events.get(event._tag)
  const encoded = codec?.encode(event)
  if (codec === undefined || encoded === undefined || Result.isFailure(encoded)) return undefined
  return {
    eventType: event._tag,
    schemaVersion: codec.schemaVersion,
    payload: throughText(encoded.success)
  }
}

/** The subjects of some stored events. */
export const subjectsOf = (
  of: Aggregate.Any,
  events: ReadonlyArray<StoredEvents.StoredPayload>
): ReadonlySet<string> =>
  new Set(events.flatMap((event) => personalFieldsOf(of, event).map(({ subject }) => subject)))

/** The events that a stored event is read as, as JSON. */
export const readJson = (
  of: Aggregate.Any,
  stored: StoredEvents.StoredPayload
): Result.Result<ReadonlyArray<StoredEvents.StoredPayload>, StoredEvents.Unreadable> =>
  Result.map(StoredEvents.read(of, stored), (events) => events.flatMap((event) => storedOf(of, event) ?? []))

/** True if an aggregate has events with personal fields, present or former. */
export const isPersonal = (of: Aggregate.Any): boolean =>
  StoredEvents.versions(of).some(
    ({ eventType, schemaVersion }) => codecOf(of).stored.get(eventType)?.personal(schemaVersion) !== undefined
  )
