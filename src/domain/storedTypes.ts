import type * as Aggregate from "./Aggregate.ts"
import { codecOf } from "./codec/aggregateCodec.ts"

/**
 * The types under which events of aggregates may be stored, for all events or for those with the given tags: the present types,
 * and the former types that are read as them. Events of a former type may also be read as other present types.
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
