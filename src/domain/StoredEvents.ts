/**
 * Stored events, for tests and tools without a store: the types and versions that an aggregate can read, and the decoding of a
 * payload.
 */
import { Result } from "effect"
import type * as Aggregate from "./Aggregate.ts"
import type { EventSchema, Tagged } from "./Event.ts"
import { codecOf } from "./codec/aggregateCodec.ts"
import * as internal from "./eventHistory.ts"

/** A version in which events of an aggregate may be stored. */
export interface StoredVersion {
  readonly eventType: string
  readonly schemaVersion: number
  readonly schema: EventSchema
  /** True if new events have this version. */
  readonly present: boolean
}

/** The versions in which events of an aggregate may be stored, present and former, by event type and version. */
export const versions = (aggregate: Aggregate.Any): ReadonlyArray<StoredVersion> => {
  const { types } = internal.history(aggregate.type, aggregate.events, aggregate.upcasters)
  return [...types].flatMap(([eventType, nodes]) =>
    [...nodes.values()]
      .toSorted((left, right) => left.schemaVersion - right.schemaVersion)
      .map(({ schemaVersion, schema, next }) => ({
        eventType,
        schemaVersion,
        schema,
        present: next._tag === "Present"
      }))
  )
}

/** A stored payload with its type and version. */
export interface StoredPayload {
  readonly eventType: string
  readonly schemaVersion: number
  /** A JSON value. */
  readonly payload: unknown
}

/** The reason why a stored payload cannot be read. */
export interface Unreadable {
  /** The tag of the error that a store raises for it. */
  readonly error: Aggregate.Unreadable
  /** The path in the payload, or in the value into which an upcaster turned it. */
  readonly path: ReadonlyArray<string | number>
  readonly reason: string
}

/**
 * Reads a stored payload as the present events of an aggregate; none if the event is dropped. It needs no store.
 */
export const read = <Type extends string, State, Event extends Tagged, Id>(
  aggregate: Aggregate.Aggregate<Type, State, Event, Id>,
  { eventType, schemaVersion, payload }: StoredPayload
): Result.Result<ReadonlyArray<Event>, Unreadable> => {
  const { stored, dropped } = codecOf(aggregate)
  const type = stored.get(eventType)
  const fail = (error: Aggregate.Unreadable, reason: string, path: Unreadable["path"] = []) =>
    Result.fail({ error, path, reason })
  if (type === undefined) {
    return dropped.has(eventType)
      ? Result.succeed([])
      : fail("UnknownEventType", `${aggregate.type} has no event ${eventType}`)
  }
  const { present, former, oldest, newest } = type
  const decoded =
    present?.schemaVersion === schemaVersion
      ? Result.map(present.decode(payload), (event) => [event])
      : former.get(schemaVersion)?.(payload)
  if (decoded === undefined) {
    return fail("UnknownSchemaVersion", `known versions of ${eventType}: ${oldest} to ${newest}`)
  }
  return Result.mapError(decoded, ({ path, reason }) => ({ error: "EventDecodeError", path, reason }))
}
