/** Finds folds that change the state or the event that they are given. */
import type * as Aggregate from "../../domain/Aggregate.ts"
import type * as Event from "../../domain/Event.ts"
import { initialOf } from "./history.ts"
import { showFrozen, unequalTexts, type Violation } from "./law.ts"
import { canBeFrozen, deepFreeze, isFrozenError } from "./purity.ts"
import { show } from "./show.ts"

/**
 * The first change that a fold makes to its inputs in a history; undefined if there is none. Others use the same values: loaded and
 * cached states, and the events that are appended next.
 */
export const mutation = <State, Payload extends Event.Tagged>(
  aggregate: Aggregate.Aggregate<string, State, Payload, unknown>,
  events: ReadonlyArray<Payload>
): Violation | undefined => {
  let state = initialOf(aggregate)
  for (const event of events) {
    const before = { state: show(state), event: show(event) }
    const changes = (input: keyof typeof before): string =>
      `folding ${before.event} changes the ${input} that it is given`
    let next: State
    try {
      next = deepFreeze(aggregate.apply(state, event))
    } catch (error) {
      // A fold that throws for another reason breaks another law.
      return isFrozenError(error)
        ? {
            problem: changes(changesState(aggregate, state, event) ? "state" : "event"),
            details: showFrozen(error)
          }
        : undefined
    }
    for (const [input, now] of [
      ["state", show(state)],
      ["event", show(event)]
    ] as const) {
      if (now !== before[input])
        return unequalTexts(changes(input), ["before", before[input]], ["after", now])
    }
    state = next
  }
  return undefined
}

/** True if a fold tries to change the frozen state: it fails also on an event that it may change. */
const changesState = <State, Payload extends Event.Tagged>(
  aggregate: Aggregate.Aggregate<string, State, Payload, unknown>,
  state: State,
  event: Payload
): boolean => {
  if (!canBeFrozen(event)) return true
  try {
    aggregate.apply(state, structuredClone(event))
    return false
  } catch (error) {
    return isFrozenError(error)
  }
}
