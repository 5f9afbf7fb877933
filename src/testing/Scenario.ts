/**
 * Tests of an aggregate's decisions, without a store: given past events, when a decision is made, then these events or this
 * error follow.
 *
 * **Example**
 *
 * ```ts
 * import { it } from "@effect/vitest"
 * import { Scenario } from "effect-eventsourcing/testing"
 *
 * it("pays out what it has", () =>
 *   Scenario.given(Account, Opened.make({ owner: "Ada" }), Deposited.make({ amount: 100 }))
 *     .when(withdraw(30))
 *     .thenEvents(Withdrawn.make({ amount: 30 })))
 *
 * it("does not pay out more than it has", () =>
 *   Scenario.given(Account, Opened.make({ owner: "Ada" }))
 *     .when(withdraw(30))
 *     .thenError(new Overdrawn({ balance: 0, amount: 30 })))
 * ```
 */
import { Effect, Effectable, Equal, Result, Schema } from "effect"
import type * as Aggregate from "../domain/Aggregate.ts"
import type * as Event from "../domain/Event.ts"
import { andThen, decided, now, payloadOf, type Soon, toEffect } from "./domain/decision.ts"
import { deepFreeze } from "./domain/purity.ts"
import { plain, plainLike, sameEvent, unmet } from "./domain/expectation.ts"
import type { Decision, ErrorOf, RequirementsOf } from "../store/Repository.ts"

/** The past events of an aggregate. */
export interface Given<State, Payload extends Event.Tagged> {
  /** Decides on the state, with a function as for `Repository.execute`. */
  readonly when: <const D extends Decision<Payload, unknown, unknown>>(
    decide: (state: State) => D
  ) => Then<State, Payload, ErrorOf<D>, RequirementsOf<D>>
}

/** The outcome of a decision that succeeded. */
export interface Outcome<out State, out Payload> {
  /** The events that were decided. */
  readonly events: ReadonlyArray<Payload>
  /** The state after these events. */
  readonly state: State
}

/**
 * The outcome of a decision and expectations of it.
 *
 * **Details**
 *
 * It is an effect that fails the test if an expectation is not met. If the decision is a plain value or a `Result`,
 * expectations are checked at once: use it in a plain `it`. A decision that is an `Effect` runs when this effect runs:
 * return it from an `it.effect`, or yield it there.
 */
export interface Then<State, Payload extends Event.Tagged, E, R> extends Effect.Effect<void, never, R> {
  /**
   * Expects exactly these events, in this order. For an event with options (`Event.make`), the options are compared as well.
   */
  readonly thenEvents: (
    ...events: ReadonlyArray<Event.Appendable<NoInfer<Payload>>>
  ) => Then<State, Payload, E, R>
  /** Expects no events. */
  readonly thenNothing: () => Then<State, Payload, E, R>
  /** Expects this error. */
  readonly thenError: (error: E) => Then<State, Payload, E, R>
  /** Expects an error with this tag. */
  readonly thenErrorTag: (tag: Extract<E, Event.Tagged>["_tag"]) => Then<State, Payload, E, R>
  /** Expects success, and this state afterwards, by the equivalence of the aggregate's state schema. */
  readonly thenState: (state: State) => Then<State, Payload, E, R>
  /**
   * Decides once more, on the state after this decision. This decision must have succeeded, unless its error was expected:
   * then the state is unchanged.
   */
  readonly when: <const D extends Decision<Payload, unknown, unknown>>(
    decide: (state: State) => D
  ) => Then<State, Payload, ErrorOf<D>, R | RequirementsOf<D>>
  /** The outcome, for any other check. */
  readonly outcome: Effect.Effect<Outcome<State, Payload>, E, R>
}

/** The state of a scenario: all past events, and the outcome of the last decision. */
interface Standing<State, Payload> {
  readonly happened: ReadonlyArray<Payload>
  /** The state before the last decision. */
  readonly before: State
  readonly decided: Result.Result<ReadonlyArray<Event.Appendable<Payload>>, unknown>
  /** True if the last decision was expected to fail. */
  readonly failureExpected: boolean
}

class Scenario<State, Payload extends Event.Tagged, E, R>
  extends Effectable.Class<void, never, R>
  implements Then<State, Payload, E, R>
{
  readonly #aggregate: Aggregate.Aggregate<string, State, Payload, unknown>
  readonly #standing: Soon<Standing<State, Payload>, R>

  constructor(
    aggregate: Aggregate.Aggregate<string, State, Payload, unknown>,
    standing: Soon<Standing<State, Payload>, R>
  ) {
    super()
    this.#aggregate = aggregate
    this.#standing = standing
  }

  override asEffect(): Effect.Effect<void, never, R> {
    return Effect.asVoid(toEffect(this.#standing))
  }

  get outcome(): Effect.Effect<Outcome<State, Payload>, E, R> {
    return Effect.flatMap(toEffect(this.#standing), ({ before, decided: outcome }) =>
      Result.isSuccess(outcome)
        ? Effect.sync(() => {
            const events = outcome.success.map(payloadOf)
            return { events, state: this.#aggregate.fold(events, before) }
          })
        : // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a decision fails with what its type says
          Effect.fail(outcome.failure as E)
    )
  }

  thenEvents(...events: ReadonlyArray<Event.Appendable<Payload>>): Then<State, Payload, E, R> {
    return this.#check((standing) => {
      if (Result.isFailure(standing.decided)) {
        return refuse(
          this.#aggregate,
          standing,
          events.length === 0 ? "no events" : "events",
          events.map(plain)
        )
      }
      const found = standing.decided.success
      const same =
        found.length === events.length && events.every((event, index) => sameEvent(event, found[index]))
      if (!same) {
        const shown = found.map((event, index) => plainLike(event, events[index]))
        refuse(
          this.#aggregate,
          standing,
          events.length === 0 ? "no events" : "events",
          events.map(plain),
          shown
        )
      }
    })
  }

  thenNothing(): Then<State, Payload, E, R> {
    return this.thenEvents()
  }

  thenError(error: E): Then<State, Payload, E, R> {
    return this.#check((standing) => {
      if (Result.isSuccess(standing.decided) || !Equal.equals(standing.decided.failure, error)) {
        refuse(this.#aggregate, standing, "an error", error)
      }
    }, true)
  }

  thenErrorTag(tag: Extract<E, Event.Tagged>["_tag"]): Then<State, Payload, E, R> {
    return this.#check((standing) => {
      const failure = Result.isFailure(standing.decided) ? standing.decided.failure : undefined
      const found =
        typeof failure === "object" && failure !== null && "_tag" in failure ? failure._tag : undefined
      if (found !== tag) refuse(this.#aggregate, standing, "an error", { _tag: tag })
    }, true)
  }

  thenState(state: State): Then<State, Payload, E, R> {
    return this.#check((standing) => {
      if (Result.isFailure(standing.decided)) return refuse(this.#aggregate, standing, "a state", state)
      const found = this.#aggregate.fold(standing.decided.success.map(payloadOf), standing.before)
      if (!Schema.toEquivalence(this.#aggregate.state)(found, state)) {
        refuse(this.#aggregate, standing, "a state", state, found)
      }
    })
  }

  when<const D extends Decision<Payload, unknown, unknown>>(
    decide: (state: State) => D
  ): Then<State, Payload, ErrorOf<D>, R | RequirementsOf<D>> {
    const next = andThen(this.#standing, (standing) => {
      const { before, decided: outcome, failureExpected, happened } = standing
      if (Result.isSuccess(outcome)) {
        const events = outcome.success.map(payloadOf)
        return look<State, Payload, D>([...happened, ...events], this.#aggregate.fold(events, before), decide)
      }
      if (!failureExpected) refuse(this.#aggregate, standing, "a success, as another decision follows", [])
      return look<State, Payload, D>(happened, before, decide)
    })
    return new Scenario<State, Payload, ErrorOf<D>, R | RequirementsOf<D>>(this.#aggregate, next)
  }

  #check(
    expectation: (standing: Standing<State, Payload>) => void,
    failureExpected = false
  ): Then<State, Payload, E, R> {
    return new Scenario<State, Payload, E, R>(
      this.#aggregate,
      andThen(this.#standing, (standing) => {
        expectation(standing)
        return now({ ...standing, failureExpected })
      })
    )
  }
}

const look = <State, Payload, D extends Decision<Payload, unknown, unknown>>(
  happened: ReadonlyArray<Payload>,
  state: State,
  decide: (state: State) => D
): Soon<Standing<State, Payload>, RequirementsOf<D>> => {
  // A repository remembers states: a decision that changes the one it is given changes those of others.
  const yielded: Decision<Payload, unknown, unknown> = decide(deepFreeze(state))
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a decision requires what its type says
  return andThen(decided<ReadonlyArray<Event.Appendable<Payload>>>(yielded), (outcome) =>
    now({ happened, before: state, decided: outcome, failureExpected: false })
  ) as Soon<Standing<State, Payload>, RequirementsOf<D>>
}

/** Fails the test with the given events, the expectation and the outcome. */
const refuse = <State, Payload extends Event.Tagged>(
  { type }: Aggregate.Aggregate<string, State, Payload, unknown>,
  standing: Standing<State, Payload>,
  kind: string,
  expected: unknown,
  found?: unknown
): never =>
  unmet({
    given: { title: type, events: standing.happened },
    decided: Result.map(standing.decided, (events) => events.map(payloadOf)),
    kind,
    expected,
    found
  })

/** Starts a scenario with past events of an aggregate, or with none. */
export const given = <Type extends string, State, Payload extends Event.Tagged, Id>(
  aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
  ...events: ReadonlyArray<Event.Appendable<NoInfer<Payload>>>
): Given<State, Payload> => ({
  when: (decide) => {
    const happened = events.map(payloadOf)
    return new Scenario(
      aggregate,
      look<State, Payload, ReturnType<typeof decide>>(happened, aggregate.fold(happened), decide)
    )
  }
})
