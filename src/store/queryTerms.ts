/** From typed queries to those of the driver. */
import type * as Aggregate from "../domain/Aggregate.ts"
import type * as EventQuery from "../domain/EventQuery.ts"
import type * as EventStorage from "../driver/EventStorage.ts"
import { storedTypes } from "../domain/storedTypes.ts"
import { nameProblem } from "../internal/json.ts"

/** The driver's query: it may match more than the typed one, as it knows nothing of types of aggregates. */
const toStorage = (
  query: EventQuery.Any,
  typesOf: (item: EventQuery.Item) => ReadonlyArray<string> | undefined
): EventStorage.EventQuery =>
  query.items.flatMap((item) =>
    // No event has a tag that cannot be stored, and the database would not take it.
    item.tags.some((tag) => nameProblem(tag) !== undefined)
      ? []
      : [{ eventTypes: typesOf(item), tags: [...new Set(item.tags)].toSorted() }]
  )

/**
 * The query of a read. Where no types are stated, the aggregate's events are read of whatever type they are: one that this
 * program does not know is an error, as in a stream.
 */
export const ofRead = (query: EventQuery.Any): EventStorage.EventQuery =>
  toStorage(query, ({ aggregate, types }) => types && storedTypes([aggregate], types))

/** The query of a condition. Without types and tags, it would rule out any event of any aggregate: so the known types stand. */
export const ofCondition = (query: EventQuery.Any): EventStorage.EventQuery =>
  toStorage(query, ({ aggregate, types, tags }) =>
    types === undefined && tags.length > 0 ? undefined : storedTypes([aggregate], types)
  )

/** Whether an event matches as it is stored: under one of the types that the query's events are, or once were. */
export const matchesStored = (
  query: EventQuery.Any
): ((stored: Pick<EventStorage.EventRow, "aggregateType" | "eventType" | "tags">) => boolean) => {
  const items = query.items.map(({ aggregate, types, tags }) => ({
    aggregateType: aggregate.type,
    eventTypes: types && new Set(storedTypes([aggregate], types)),
    tags
  }))
  return ({ aggregateType, eventType, tags: given }) =>
    items.some(
      (item) =>
        item.aggregateType === aggregateType &&
        (item.eventTypes === undefined || item.eventTypes.has(eventType)) &&
        item.tags.every((tag) => given.includes(tag))
    )
}

/** The aggregates whose events a query matches, each type once: the one that passes over the least, if there are several. */
export const aggregatesOf = (query: EventQuery.Any): ReadonlyArray<Aggregate.Any> => {
  const byType = new Map<string, Aggregate.Any>()
  for (const { aggregate } of query.items) {
    const other = byType.get(aggregate.type)
    if (other === undefined || aggregate.skips.size < other.skips.size) byType.set(aggregate.type, aggregate)
  }
  return [...byType.values()]
}

/** The types of aggregates that a query finds events of, among given ones (undefined: all). */
export const aggregateTypes = (
  query: EventQuery.Any | undefined,
  given: ReadonlyArray<string> | undefined
): ReadonlyArray<string> | undefined => {
  if (query === undefined) return given
  const types = aggregatesOf(query).map(({ type }) => type)
  return given === undefined ? types : types.filter((type) => given.includes(type))
}
