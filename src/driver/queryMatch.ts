/** Evaluates queries of the driver tier in memory, for drivers and suites. */
import type { EventQuery, EventRow } from "./EventStorage.ts"

/** True if an event matches any item of a query. */
export const matches = (
  query: EventQuery,
  {
    aggregateId,
    aggregateType,
    correlationId,
    eventType,
    tags
  }: Pick<EventRow, "aggregateId" | "aggregateType" | "correlationId" | "eventType" | "tags">
): boolean =>
  query.some(
    (item) =>
      (item.aggregateType === undefined || item.aggregateType === aggregateType) &&
      (item.eventTypes === undefined || item.eventTypes.includes(eventType)) &&
      (item.aggregateId === undefined || item.aggregateId === aggregateId) &&
      (item.correlationId === undefined || item.correlationId === correlationId) &&
      item.tags.every((tag) => tags.includes(tag))
  )

/** Limits a position to the valid range; any other number counts as 0. */
export const clampPosition = (after: number): number =>
  after > 0 ? Math.min(Math.floor(after), Number.MAX_SAFE_INTEGER) : 0
