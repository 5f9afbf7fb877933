/** Under which types the events of aggregates are stored. */
import type * as Aggregate from "./Aggregate.ts"
import { codecOf } from "./codec/aggregateCodec.ts"

/**
 * The types that events of aggregates are stored under, of all events or of those with the given tags: the present types,
 * and the former ones whose events are read as such. Events of other present types may come of them as well.
 */
export const storedTypes = (
  aggregates: ReadonlyArray<Aggregate.Any>,
  tags: ReadonlyArray<string> | undefined
): ReadonlyArray<string> => {
  const types = new Set<string>()
  for (const aggregate of aggregates) {
    for (const [type, { presentTypes }] of codecOf(aggregate).stored) {
      if (tags === undefined || tags.some((tag) => presentTypes.has(tag))) types.add(type)
    }
  }
  return [...types]
}
