/** Laws of folding. */
import { type Effect, Equal } from "effect"
import type * as Aggregate from "../../domain/Aggregate.ts"
import type * as Event from "../../domain/Event.ts"
import { anyHistory, check, type LawBroken, type Options, sameState } from "./check.ts"
import { initialOf } from "./history.ts"
import { showPlayed, threw, unequal, unequalTexts } from "./law.ts"
import { mutation } from "./mutation.ts"
import { deepFreeze, elsewhere } from "./purity.ts"
import { show } from "./show.ts"

/**
 * Folding never throws, never changes its inputs, and returns the same state each time: it depends on the state and the
 * event only, not on the clock or on chance.
 */
export const foldIsTotal = <Type extends string, State, Payload extends Event.Tagged, Id>(
  aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
  options: Options<State, NoInfer<Payload>> = {}
): Effect.Effect<void, LawBroken> => {
  const same = sameState(aggregate)
  return check(
    "foldIsTotal",
    aggregate,
    options,
    () => anyHistory(aggregate, options.decisions),
    showPlayed,
    ({ events, thrown }) => {
      if (thrown?.doing === "folding") return threw(`folding ${thrown.subject}`, thrown.error)
      // Once more from the beginning, because a fold that changes its state in place has also changed the earlier states.
      let state = initialOf(aggregate)
      for (const event of events) {
        const before = [show(state), show(event)]
        const next = deepFreeze(aggregate.apply(state, event))
        const after = [show(state), show(event)]
        if (!Equal.equals(before, after)) {
          const problem = `folding ${before[1]} changes its inputs`
          return unequalTexts(problem, ["before", before.join("\n")], ["after", after.join("\n")])
        }
        const again = elsewhere(() => aggregate.apply(state, event))
        if (!same(next, again)) {
          const problem = `folding ${show(event)} twice gives different states`
          return unequal(problem, ["once", next], ["again, at another time", again])
        }
        state = next
      }
      return undefined
    }
  )
}

/**
 * Folding changes neither the state nor the event that it is given. Other code uses the same values: a state that was loaded
 * before, events that are appended next, values that tenants share.
 */
export const foldChangesNothing = <Type extends string, State, Payload extends Event.Tagged, Id>(
  of: Aggregate.Aggregate<Type, State, Payload, Id>,
  options: Options<State, NoInfer<Payload>> = {}
): Effect.Effect<void, LawBroken> =>
  check(
    "foldChangesNothing",
    of,
    options,
    () => anyHistory(of, options.decisions),
    showPlayed,
    ({ events }) => mutation(of, events)
  )

/** Folding some events and then the rest gives the same state as folding all of them at once. */
export const foldIsConcatenative = <Type extends string, State, Payload extends Event.Tagged, Id>(
  aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
  options: Options<State, NoInfer<Payload>> = {}
): Effect.Effect<void, LawBroken> => {
  const same = sameState(aggregate)
  return check(
    "foldIsConcatenative",
    aggregate,
    options,
    () => anyHistory(aggregate, options.decisions),
    showPlayed,
    ({ events: all, states }) => {
      const events = all.slice(0, states.length - 1)
      const whole = aggregate.fold(events)
      for (let first = 0; first <= events.length; first++) {
        const parts = aggregate.fold(events.slice(first), aggregate.fold(events.slice(0, first)))
        if (same(whole, parts)) continue
        const problem = `folding the first ${first} of ${events.length} events and then the rest gives another state`
        return unequal(problem, ["all at once", whole], ["in two parts", parts])
      }
      return undefined
    }
  )
}
