/** Laws of storage: snapshots, events, states and events of former versions. */
import { Effect, Result, Schema } from "effect"
import type * as Aggregate from "../../domain/Aggregate.ts"
import type * as Event from "../../domain/Event.ts"
import type * as StoredEvents from "../../domain/StoredEvents.ts"
import * as Arbitraries from "../Arbitraries.ts"
import { anyHistory, check, LawBroken, type Options, sameState } from "./check.ts"
import { type CheckOptions, showPlayed, tell, unequal } from "./law.ts"
import { deepFreeze } from "./purity.ts"
import { eventProblem, formerEvents, throughText, upcastProblem } from "./roundTrip.ts"
import { show } from "./show.ts"

/** Options of {@link upcastersAreTotal}. */
export interface UpcasterOptions extends CheckOptions {
  /** Stored payloads of any version that must be readable. Default: none. */
  readonly samples?: ReadonlyArray<StoredEvents.StoredPayload> | undefined
}

/** A snapshot changes nothing: after any event the state can be stored, read back and folded on, with the same result. */
export const snapshotsAreEquivalent = <Type extends string, State, Payload extends Event.Tagged, Id>(
  aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
  options: Options<State, NoInfer<Payload>> = {}
): Effect.Effect<void, LawBroken> => {
  const same = sameState(aggregate)
  const codec = Schema.toCodecJson(aggregate.state)
  return check(
    "snapshotsAreEquivalent",
    aggregate,
    options,
    () => anyHistory(aggregate, options.decisions),
    showPlayed,
    ({ events: all, states }) => {
      const events = all.slice(0, states.length - 1)
      const whole = states.at(-1) ?? states[0]
      for (const [version, state] of states.entries()) {
        const stored = throughText(codec, state)
        if (Result.isFailure(stored)) {
          return { problem: `a snapshot of ${show(state)} is impossible`, details: stored.failure }
        }
        const restored = aggregate.fold(events.slice(version), deepFreeze(stored.success))
        if (same(whole, restored)) continue
        const problem = `with a snapshot at version ${version} of ${events.length}, the state is different`
        return unequal(problem, ["all events", whole], ["snapshot and the rest", restored])
      }
      return undefined
    }
  )
}

/** Every event that the schemas allow survives storage: encoded to JSON text and decoded, it is the same. */
export const eventsRoundTrip = <Type extends string, State, Payload extends Event.Tagged, Id>(
  aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
  options: CheckOptions = {}
): Effect.Effect<void, LawBroken> =>
  check(
    "eventsRoundTrip",
    aggregate,
    options,
    () => Arbitraries.event(aggregate),
    (event) => `with ${show(event)}`,
    (event) => eventProblem(aggregate, event)
  )

/** Every state that a history leads to survives storage: encoded to JSON text and decoded, it is the same. */
export const statesRoundTrip = <Type extends string, State, Payload extends Event.Tagged, Id>(
  aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
  options: Options<State, NoInfer<Payload>> = {}
): Effect.Effect<void, LawBroken> => {
  const same = sameState(aggregate)
  const codec = Schema.toCodecJson(aggregate.state)
  return check(
    "statesRoundTrip",
    aggregate,
    options,
    () => anyHistory(aggregate, options.decisions),
    showPlayed,
    ({ states }) => {
      for (const state of states) {
        const stored = throughText(codec, state)
        if (Result.isFailure(stored)) {
          return {
            problem: `the state ${show(state)} does not survive storage`,
            details: stored.failure
          }
        }
        if (!same(state, stored.success)) {
          return unequal("a state has changed after storage", ["before", state], ["after", stored.success])
        }
      }
      return undefined
    }
  )
}

/**
 * Every payload that a former version of an event's schema allows, and every given sample, is read as present events.
 */
export const upcastersAreTotal = <Type extends string, State, Payload extends Event.Tagged, Id>(
  aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
  options: UpcasterOptions = {}
): Effect.Effect<void, LawBroken> => {
  const law = "upcastersAreTotal"
  return Effect.gen(function* () {
    for (const sample of options.samples ?? []) {
      const violation = upcastProblem(aggregate, sample)
      if (violation !== undefined) {
        const message = tell(law, aggregate.type, `with the sample ${show(sample)}`, violation)
        return yield* new LawBroken({ law, aggregateType: aggregate.type, message, replay: undefined })
      }
    }
    const former = formerEvents(aggregate)
    if (former === undefined) return
    yield* check(
      law,
      aggregate,
      options,
      () => former,
      ({ event, stored }) => `with ${show(event)}, stored in version ${stored.schemaVersion}`,
      ({ stored }) => upcastProblem(aggregate, stored)
    )
  })
}
