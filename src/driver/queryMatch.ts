/** Queries of the driver tier in memory, for drivers that match themselves and for suites. */
import type { EventQuery, EventRow } from "./EventStorage.ts"

/** Whether an event matches any item of a query. */
export const matches = (
  query: EventQuery,
  { aggregateType, eventType, tags }: Pick<EventRow, "aggregateType" | "eventType" | "tags">
): boolean =>
  query.some(
    (item) =>
      (item.aggregateType === undefined || item.aggregateType === aggregateType) &&
      (item.eventTypes === undefined || item.eventTypes.includes(eventType)) &&
      item.tags.every((tag) => tags.includes(tag))
  )

/** The last position that was seen: what is no position is before the first. */
export const clampPosition = (after: number): number =>
  after > 0 ? Math.min(Math.floor(after), Number.MAX_SAFE_INTEGER) : 0
