/**
 * Queries over a tenant's log, by event types and tags. Decision models read by them, and appends can have them as conditions.
 */
import type * as Aggregate from "./Aggregate.ts"
import type * as Event from "./Event.ts"

/** Selects the events of an aggregate that have one of the types and all of the tags. */
export interface Item {
  readonly aggregate: Aggregate.Any
  /** `_tag`s of the aggregate's events; undefined for all types. An empty list matches nothing. */
  readonly types: ReadonlyArray<string> | undefined
  /** An empty list selects events with any tags. */
  readonly tags: ReadonlyArray<string>
}

/** A query, a plain value. An event matches it if it matches any of its items. Without items, no event matches. */
export interface EventQuery<out Payload extends Event.Tagged> {
  readonly items: ReadonlyArray<Item>
  /** True if an event matches. */
  readonly matches: (envelope: Event.Envelope<Event.Tagged>) => envelope is Event.Envelope<Payload>
}

/** Any query. */
export type Any = EventQuery<Event.Tagged>

/** The events that a query matches, as a union. */
export type EventOf<Q> = Q extends EventQuery<infer Payload> ? Payload : never

/** Restricts a query to some events of an aggregate. */
export interface Options<Tag extends string> {
  /**
   * `_tag`s of the aggregate's events. An empty list matches nothing. Default: all types, including those that this program
   * does not know. An event of an unknown type makes a read fail, as it does in a stream, and also fails a condition.
   */
  readonly types?: ReadonlyArray<Tag> | undefined
  /** Tags, all of which an event must have. Default: none. An event has at most 32 tags. */
  readonly tags?: ReadonlyArray<string> | undefined
}

/**
 * Selects events of an aggregate, in all of its streams.
 *
 * **Details**
 *
 * A tag that cannot be stored matches nothing: one that is empty, is longer than 255 characters, or contains U+0000 or half of
 * a surrogate pair.
 *
 * **Gotchas**
 *
 * Tags are stored with the event. An event that was stored before its aggregate derived a tag does not have that tag.
 *
 * **Example**
 *
 * ```ts
 * const enrolments = EventQuery.of(Course, { types: ["StudentEnrolled"], tags: [`student:${studentId}`] })
 * ```
 */
export const of = <
  Type extends string,
  State,
  Payload extends Event.Tagged,
  Id,
  const Tag extends Payload["_tag"] = Payload["_tag"]
>(
  aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
  options: Options<Tag> = {}
): EventQuery<Extract<Payload, { readonly _tag: Tag }>> =>
  make([{ aggregate, types: options.types, tags: options.tags ?? [] }])

/** Selects events that match any of the queries. Without queries, no event matches. */
export const or = <const Qs extends ReadonlyArray<Any>>(...queries: Qs): EventQuery<EventOf<Qs[number]>> =>
  make(queries.flatMap(({ items }) => items))

const make = <Payload extends Event.Tagged>(items: ReadonlyArray<Item>): EventQuery<Payload> => ({
  items,
  matches: (envelope): envelope is Event.Envelope<Payload> =>
    items.some(
      ({ aggregate, types, tags }) =>
        aggregate.type === envelope.aggregateType &&
        (types === undefined || types.includes(envelope.payload._tag)) &&
        tags.every((tag) => envelope.tags.includes(tag))
    )
})
