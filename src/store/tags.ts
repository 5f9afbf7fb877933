/** The tags of events that are to be stored. */
import type * as Aggregate from "../domain/Aggregate.ts"
import type * as Event from "../domain/Event.ts"
import type { InvalidInput } from "../driver/StoreError.ts"
import { nameProblem } from "../internal/json.ts"
import { invalid } from "./inputProblems.ts"

/** Maximum number of tags of one event. Each tag takes space in an index. */
const maxTags = 32

export const noTags: ReadonlyArray<string> = Object.freeze([])

/** The tags that an aggregate derives from an event and those given with the event, sorted and without duplicates. */
export const tagsOf = (
  aggregate: Aggregate.Any,
  id: unknown,
  payloads: readonly [Event.Tagged, ...ReadonlyArray<Event.Tagged>],
  stated: ReadonlyArray<string> | undefined
): ReadonlyArray<string> | InvalidInput => {
  const fail = (path: ReadonlyArray<string | number>, reason: string) =>
    invalid(aggregate.type, payloads[0]._tag, path, reason)
  const given: Array<string> = []
  try {
    for (const payload of payloads) given.push(...(aggregate.tagsOf?.(payload, id) ?? noTags))
    given.push(...(stated ?? noTags))
  } catch {
    return fail(["tags"], "the aggregate's function for tags threw an error")
  }
  for (const [index, tag] of given.entries()) {
    const reason = nameProblem(tag)
    if (reason !== undefined) return fail(["tags", index], reason)
  }
  const tags = given.length > 1 ? [...new Set(given)].toSorted() : given
  // Frozen, because the log in memory keeps this list and returns it with the event.
  return tags.length > maxTags
    ? fail(["tags"], `are ${tags.length}, more than ${maxTags}`)
    : Object.freeze(tags)
}
