/** A fold that changes the state or the event that it is given, found on a history. */
import type * as Aggregate from "../../domain/Aggregate.ts"
import type * as Event from "../../domain/Event.ts"
import { initialOf } from "./history.ts"
import { showFrozen, unequalTexts, type Violation } from "./law.ts"
import { canBeFrozen, deepFreeze, isFrozenError } from "./purity.ts"
import { show } from "./show.ts"

/** A fold that changes its inputs changes what others hold: loaded states, remembered ones, events that are appended next. */
export const mutation = <State, Payload extends Event.Tagged>(
  aggregate: Aggregate.Aggregate<string, State, Payload, unknown>,
  events: ReadonlyArray<Payload>
): Violation | undefined => {
  let state = initialOf(aggregate)
  for (const event of events) {
    const before = { state: show(state), event: show(event) }
    const changes = (what: keyof typeof before): string =>
      `folding ${before.event} changes the ${what} that it is given`
    let next: State
    try {
      next = deepFreeze(aggregate.apply(state, event))
    } catch (error) {
      // A fold that throws for another reason breaks another law.
      return isFrozenError(error)
        ? {
            problem: changes(refuses(aggregate, state, event) ? "state" : "event"),
            details: showFrozen(error)
          }
        : undefined
    }
    for (const [what, now] of [
      ["state", show(state)],
      ["event", show(event)]
    ] as const) {
      if (now !== before[what]) return unequalTexts(changes(what), ["before", before[what]], ["after", now])
    }
    state = next
  }
  return undefined
}

/** True if it is the frozen state that a fold stumbles over, as it does so with an event that may be changed as well. */
const refuses = <State, Payload extends Event.Tagged>(
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
