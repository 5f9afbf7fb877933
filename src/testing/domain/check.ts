/** Checks a law on arbitrary histories of an aggregate. */
import { Arbitrary, Effect, Schema } from "effect"
import type * as Aggregate from "../../domain/Aggregate.ts"
import type * as Event from "../../domain/Event.ts"
import type { Decision } from "../../store/Repository.ts"
import * as Arbitraries from "../Arbitraries.ts"
import { type Command, commandsOf, type Decisions, eventsOf, play, type Played } from "./history.ts"
import { type CheckOptions, checkLaw, type Violation } from "./law.ts"

/** Raised when a law does not hold. The message shows the smallest counterexample that was found. */
export class LawBroken extends Schema.TaggedError<LawBroken>()("LawBroken", {
  /** The name of the function that checks it, for example `foldIsTotal`. */
  law: Schema.String,
  aggregateType: Schema.String,
  message: Schema.String,
  /** Given as an option, it runs the same counterexample again. */
  replay: Schema.UndefinedOr(Schema.String)
}) {}

/** Options of a law. */
export interface Options<State, Payload> extends CheckOptions {
  /**
   * The aggregate's decisions, to try only histories that they lead to. Default: any events in any order, for a fold that
   * must cope with that.
   */
  readonly decisions?: Decisions<State, Payload> | undefined
}

export type AnyAggregate<State, Payload extends Event.Tagged> = Aggregate.Aggregate<
  string,
  State,
  Payload,
  unknown
>

/** Arbitrary commands: decisions, or events without a decision. */
export const anyCommands = <State, Payload extends Event.Tagged>(
  of: AnyAggregate<State, Payload>,
  decisions: Decisions<State, Payload> | undefined
): Arbitrary.Arbitrary<ReadonlyArray<Command<State, Decision<Payload, unknown>>>> =>
  decisions === undefined ? eventsOf(Arbitraries.event(of)) : commandsOf<State, Payload>(decisions)

export const anyHistory = <State, Payload extends Event.Tagged>(
  of: AnyAggregate<State, Payload>,
  decisions: Decisions<State, Payload> | undefined
): Arbitrary.Arbitrary<Played<State, Payload>> =>
  Arbitrary.map(anyCommands(of, decisions), (commands) => play(of, commands))

export const check = <State, Payload extends Event.Tagged, A, R = never>(
  law: string,
  of: AnyAggregate<State, Payload>,
  { replay, runs, seed, size }: CheckOptions,
  arbitrary: () => Arbitrary.Arbitrary<A>,
  showInput: (value: A) => string,
  property: (value: A) => Violation | undefined | Effect.Effect<Violation | undefined, never, R>
): Effect.Effect<void, LawBroken, R> =>
  Effect.suspend(() =>
    checkLaw(law, of.type, { replay, runs, seed, size }, arbitrary(), showInput, property)
  ).pipe(Effect.mapError((report) => new LawBroken({ law, aggregateType: of.type, ...report })))

/** Compares two states by the equivalence of the state's schema. */
export const sameState = <State, Payload extends Event.Tagged>(
  of: AnyAggregate<State, Payload>
): ((left: State, right: State) => boolean) => {
  const equivalent = Schema.toEquivalence(of.state)
  return (left, right) => equivalent(left, right)
}
