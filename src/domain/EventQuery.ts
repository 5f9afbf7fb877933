/**
 * Queries over a tenant's log: events of these types with these tags, or of those types with those tags. What decision
 * models read, and what an append can be made conditional on.
 */
import type * as Aggregate from "./Aggregate.ts"
import type * as Event from "./Event.ts"

/** Events of an aggregate type: of these event types that have all of these tags. */
export interface Item {
  readonly aggregate: Aggregate.Any
  /** `_tag`s of the aggregate's events; undefined: whatever type they are. An empty list matches nothing. */
  readonly types: ReadonlyArray<string> | undefined
  /** An empty list is no condition. */
  readonly tags: ReadonlyArray<string>
}

/** A query: a plain value. An event matches it if it matches any of its items; no items match nothing. */
export interface EventQuery<out Payload extends Event.Tagged> {
  readonly items: ReadonlyArray<Item>
  /** Whether an event matches. */
  readonly matches: (envelope: Event.Envelope<Event.Tagged>) => envelope is Event.Envelope<Payload>
}

/** Any query. */
export type Any = EventQuery<Event.Tagged>

/** The events that a query matches, as a union. */
export type EventOf<Q> = Q extends EventQuery<infer Payload> ? Payload : never

/** Which events of an aggregate a query is about. */
export interface Options<Tag extends string> {
  /**
   * `_tag`s of the aggregate's events. An empty list matches nothing. Default: whatever type they are. One that this
   * program does not know matters then as well: reading it is an error, as in a stream, and it fails a condition.
   */
  readonly types?: ReadonlyArray<Tag> | undefined
  /** Tags that an event must have, all of them. An event has at most 32. Default: none. */
  readonly tags?: ReadonlyArray<string> | undefined
}

/**
 * Events of an aggregate, in whichever stream they are.
 *
 * **Details**
 *
 * A tag that no event can have (empty, longer than 255 characters, with U+0000 or half of a surrogate pair) is one that
 * no event has: then nothing matches.
 *
 * **Gotchas**
 *
 * Tags are stored with an event: one from before its aggregate derived a tag does not have it.
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

/** Events that match any of the queries. Without a query, nothing matches. */
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
