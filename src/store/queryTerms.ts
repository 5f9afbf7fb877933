/** Converts typed queries to those of the driver. */
import type * as Aggregate from "../domain/Aggregate.ts"
import type * as EventQuery from "../domain/EventQuery.ts"
import type * as EventStorage from "../driver/EventStorage.ts"
import { storedTypes } from "../domain/storedTypes.ts"
import { nameProblem } from "../internal/json.ts"

/**
 * Converts a query. An item without types matches all events of the aggregate, including types that this program does not
 * know: such an event makes a read fail, as it does in a stream, and also fails a condition.
 */
export const toStorage = (query: EventQuery.Any): EventStorage.EventQuery =>
  query.items.map(({ aggregate, tags, types }) => ({
    aggregateType: aggregate.type,
    // No event has a tag that cannot be stored, and the database would not accept one. The item stays, so that the indexes of
    // items in errors are right.
    ...(tags.some((tag) => nameProblem(tag) !== undefined)
      ? { eventTypes: [], tags: [] }
      : { eventTypes: types && storedTypes([aggregate], types), tags: [...new Set(tags)].toSorted() })
  }))

/** Ids that events must have. */
interface Ids {
  readonly aggregateId?: string | undefined
  readonly correlationId?: string | undefined
}

/** A query with ids that its events must have too. */
export const withIds = (
  query: EventStorage.EventQuery | undefined,
  { aggregateId, correlationId }: Ids
): EventStorage.EventQuery => {
  // No event has an id that cannot be stored, and the database would not accept one.
  for (const id of [aggregateId, correlationId])
    if (id !== undefined && nameProblem(id) !== undefined) return []
  const items = query ?? [{ eventTypes: undefined, tags: [] }]
  return items.map((item) => Object.assign({}, item, { aggregateId, correlationId }))
}

/** The aggregates of a query, one per type. Of several with one type, the one that skips the fewest events. */
export const aggregatesOf = (query: EventQuery.Any): ReadonlyArray<Aggregate.Any> => {
  const byType = new Map<string, Aggregate.Any>()
  for (const { aggregate } of query.items) {
    const other = byType.get(aggregate.type)
    if (other === undefined || aggregate.skips.size < other.skips.size) byType.set(aggregate.type, aggregate)
  }
  return [...byType.values()]
}

/** Those of the given aggregate types (all if undefined) that a query contains. */
export const aggregateTypes = (
  query: EventQuery.Any | undefined,
  given: ReadonlyArray<string> | undefined
): ReadonlyArray<string> | undefined => {
  if (query === undefined) return given
  const types = aggregatesOf(query).map(({ type }) => type)
  return given === undefined ? types : types.filter((type) => given.includes(type))
}
