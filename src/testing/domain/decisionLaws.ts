/** Laws of decisions. */
import { Arbitrary, type Effect, Result } from "effect"
import type * as Aggregate from "../../domain/Aggregate.ts"
import type * as Event from "../../domain/Event.ts"
import { anyHistory, check, type LawBroken } from "./check.ts"
import { payloadOf } from "./decision.ts"
import { commandsOf, decideNow, type Decisions, play, showCommand } from "./history.ts"
import { type CheckOptions, showPlayed, threw, unequal } from "./law.ts"
import { eventProblem } from "./roundTrip.ts"

/** Options of {@link decisionsAreTotal}. */
export interface DecisionOptions<State, Payload> extends CheckOptions {
  readonly decisions: Decisions<State, Payload>
}

/** Options of {@link decisionsAreIdempotent}. */
export interface IdempotenceOptions<State, Payload> extends DecisionOptions<State, Payload> {
  /** The names of the decisions that must be idempotent. Default: all. */
  readonly idempotent?: ReadonlyArray<string> | undefined
}

/** Decisions never throw, never change the state, and yield events that can be stored. */
export const decisionsAreTotal = <Type extends string, State, Payload extends Event.Tagged, Id>(
  aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
  options: DecisionOptions<State, NoInfer<Payload>>
): Effect.Effect<void, LawBroken> =>
  check(
    "decisionsAreTotal",
    aggregate,
    options,
    () => anyHistory(aggregate, options.decisions),
    showPlayed,
    ({ events, thrown }) => {
      if (thrown?.doing === "deciding") return threw(`deciding ${thrown.subject}`, thrown.error)
      for (const event of events) {
        const problem = eventProblem(aggregate, event)
        if (problem !== undefined) return problem
      }
      return undefined
    }
  )

/** A decision that is repeated directly after it yielded events succeeds and yields none, so that a command may be sent twice. */
export const decisionsAreIdempotent = <Type extends string, State, Payload extends Event.Tagged, Id>(
  aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
  options: IdempotenceOptions<State, NoInfer<Payload>>
): Effect.Effect<void, LawBroken> => {
  const { decisions, idempotent = Object.keys(decisions) } = options
  return check(
    "decisionsAreIdempotent",
    aggregate,
    options,
    () =>
      Arbitrary.map(commandsOf<State, Payload>(decisions), (commands) => ({
        ...play(aggregate, commands),
        commands
      })),
    showPlayed,
    ({ commands }) => {
      let state = aggregate.initial
      for (const [index, command] of commands.entries()) {
        const decided = decideNow<Payload>(command.decide(state), index)
        if (Result.isFailure(decided)) continue
        const after = aggregate.fold(decided.success.map(payloadOf), state)
        if (idempotent.includes(command.decision)) {
          const again = decideNow<Payload>(command.decide(after), index)
          const problem = `${showCommand(command)} yields events when it is repeated`
          if (Result.isFailure(again)) return unequal(problem, ["expected", []], ["failed", again.failure])
          if (again.success.length > 0) {
            return unequal(problem, ["expected", []], ["decided", again.success.map(payloadOf)])
          }
        }
        state = after
      }
      return undefined
    }
  )
}
