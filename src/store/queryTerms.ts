/** Translates typed queries into those of the driver. */
import type * as Aggregate from "../domain/Aggregate.ts"
import type * as EventQuery from "../domain/EventQuery.ts"
import type * as EventStorage from "../driver/EventStorage.ts"
import { storedTypes } from "../domain/storedTypes.ts"
import { nameProblem } from "../internal/json.ts"

/**
 * The driver's query. An item without types matches all events of the aggregate, including types that this program does not
 * know: in a read such an event is an error, as in a stream, and it fails a condition.
 */
export const toStorage = (query: EventQuery.Any): EventStorage.EventQuery =>
  query.items.map(({ aggregate, tags, types }) => ({
    aggregateType: aggregate.type,
    // No event has a tag that cannot be stored, and the database would not take it. The item stays, so that the place of an
    // item is the same here and there.
    ...(tags.some((tag) => nameProblem(tag) !== undefined)
      ? { eventTypes: [], tags: [] }
      : { eventTypes: types && storedTypes([aggregate], types), tags: [...new Set(tags)].toSorted() })
  }))

/** The aggregates of a query, one per type: the strictest, if there are several. */
export const aggregatesOf = (query: EventQuery.Any): ReadonlyArray<Aggregate.Any> => {
  const byType = new Map<string, Aggregate.Any>()
  for (const { aggregate } of query.items) {
    const other = byType.get(aggregate.type)
    if (other === undefined || aggregate.skips.size < other.skips.size) byType.set(aggregate.type, aggregate)
  }
  return [...byType.values()]
}

/** The aggregate types of a query, among the given ones (undefined for all). */
export const aggregateTypes = (
  query: EventQuery.Any | undefined,
  given: ReadonlyArray<string> | undefined
): ReadonlyArray<string> | undefined => {
  if (query === undefined) return given
  const types = aggregatesOf(query).map(({ type }) => type)
  return given === undefined ? types : types.filter((type) => given.includes(type))
}
