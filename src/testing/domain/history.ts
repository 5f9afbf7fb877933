/** Histories of an aggregate: the events of random commands, decided one after another. */
import { Arbitrary, Cause, Effect, Exit, Random, Result, Schema } from "effect"
import { TestClock } from "effect/testing"
import type * as Aggregate from "../../domain/Aggregate.ts"
import type * as Event from "../../domain/Event.ts"
import type { Decision } from "../../store/Repository.ts"
import { payloadOf } from "./decision.ts"
import { canBeFrozen, deepFreeze } from "./purity.ts"
import { show } from "./show.ts"

/** A decision with its input: `deposit(10)`. */
export interface Command<in State, out D> {
  readonly decision: string
  /** Its input; undefined if it takes none. */
  readonly input: unknown
  readonly decide: (state: State) => D
}

/** A decision with arbitrary inputs. See `Arbitraries.decision`. */
export class DecisionWithInput<in State, out D> {
  readonly calls: Arbitrary.Arbitrary<Omit<Command<State, D>, "decision">>
  constructor(calls: Arbitrary.Arbitrary<Omit<Command<State, D>, "decision">>) {
    this.calls = calls
  }
}

/** An aggregate's decisions by name: with arbitrary inputs, or plain if they take none. */
export type Decisions<State, Payload> = Readonly<
  Record<
    string,
    DecisionWithInput<State, Decision<Payload, unknown>> | ((state: State) => Decision<Payload, unknown>)
  >
>

/** A command that led to events. */
export interface Step<out Payload> {
  /** The name of the decision. */
  readonly decision: string
  /** Its input; undefined if it takes none. */
  readonly input: unknown
  readonly events: ReadonlyArray<Payload>
}

/** A possible history of an aggregate. */
export interface History<out State, out Payload> {
  /** The commands that led to events, in their order. */
  readonly steps: ReadonlyArray<Step<Payload>>
  readonly events: ReadonlyArray<Payload>
  /** The state after all events. */
  readonly state: State
}

/** An error that a fold or a decision threw. */
export interface Thrown {
  readonly doing: "deciding" | "folding"
  /** The command, or the event. */
  readonly subject: string
  readonly error: unknown
}

/** A history with its states, up to the first error that was thrown. */
export interface Played<out State, out Payload> {
  readonly steps: ReadonlyArray<Step<Payload>>
  readonly events: ReadonlyArray<Payload>
  /** The initial state, then one after each event. */
  readonly states: readonly [State, ...Array<State>]
  readonly thrown: Thrown | undefined
}

/** A command as text. */
export const showCommand = ({
  decision,
  input
}: Pick<Command<never, unknown>, "decision" | "input">): string =>
  input === undefined ? decision : `${decision}(${show(input)})`

/** The name for events without a decision. It is not shown. */
export const happens = "*"

/** Arbitrary sequences of commands: any of the decisions, with any input. */
export const commandsOf = <State, Payload>(
  decisions: Decisions<State, Payload>
): Arbitrary.Arbitrary<ReadonlyArray<Command<State, Decision<Payload, unknown>>>> => {
  const byName = new Map(
    Object.entries(decisions).map(([decision, given]) => [
      decision,
      given instanceof DecisionWithInput
        ? Arbitrary.map(given.calls, (call) => ({ decision, ...call }))
        : Arbitrary.Constant({ decision, input: undefined, decide: given })
    ])
  )
  const names = [...byName.keys()]
  if (names.length === 0) throw new TypeError("there must be at least one decision")
  return inParts(
    Arbitrary.array(
      Arbitrary.flatMap(Arbitrary.schema(Schema.Literals(names)), (name) => {
        const found = byName.get(name)
        if (found === undefined) throw new TypeError(`there is no decision ${name}`)
        return found
      })
    )
  )
}

/** Commands that yield an event in every state. */
export const eventsOf = <Payload>(
  event: Arbitrary.Arbitrary<Payload>
): Arbitrary.Arbitrary<ReadonlyArray<Command<unknown, Decision<Payload, unknown>>>> =>
  inParts(
    Arbitrary.array(
      Arbitrary.map(event, (payload) => ({
        decision: happens,
        input: payload,
        decide: (): Decision<Payload, unknown> => [payload]
      }))
    )
  )

/** Makes longer lists than usual, because many commands yield no events, such as all those before a first one that creates. */
const inParts = <A>(part: Arbitrary.Arbitrary<ReadonlyArray<A>>): Arbitrary.Arbitrary<ReadonlyArray<A>> =>
  Arbitrary.map(Arbitrary.all([part, part, part]), (parts) => parts.flat())

/** Runs a decision synchronously. The clock stands still, and random values follow from the seed. */
export const decideNow = <Payload>(
  decision: Decision<Payload, unknown>,
  seed: number
): Result.Result<ReadonlyArray<Event.Appendable<Payload>>, unknown> => {
  if (!Effect.isEffect(decision)) return Result.isResult(decision) ? decision : Result.succeed(decision)
  const exit = Effect.runSyncExit(
    Effect.result(decision).pipe(Random.withSeed(seed), Effect.provide(TestClock.layer()))
  )
  if (Exit.isSuccess(exit)) return exit.value
  throw Cause.squash(exit.cause)
}

/** The initial state; a copy if a fold could change it although it is frozen. */
export const initialOf = <State, Payload extends Event.Tagged>(
  aggregate: Aggregate.Aggregate<string, State, Payload, unknown>
): State => {
  if (canBeFrozen(aggregate.initial)) return deepFreeze(aggregate.initial)
  const codec = Schema.toCodecJson(aggregate.state)
  try {
    return Schema.decodeSync(codec)(Schema.encodeSync(codec)(aggregate.initial))
  } catch {
    return aggregate.initial
  }
}

/** Runs commands one after another. Refused commands yield no events. All inputs are frozen. */
export const play = <State, Payload extends Event.Tagged>(
  aggregate: Aggregate.Aggregate<string, State, Payload, unknown>,
  commands: ReadonlyArray<Command<State, Decision<Payload, unknown>>>
): Played<State, Payload> => {
  const steps: Array<Step<Payload>> = []
  const all: Array<Payload> = []
  let state = initialOf(aggregate)
  const states: [State, ...Array<State>] = [state]
  for (const [index, command] of commands.entries()) {
    let doing: Thrown["doing"] = "deciding"
    let subject = showCommand(command)
    try {
      const decided = decideNow<Payload>(command.decide(state), index)
      if (Result.isFailure(decided) || decided.success.length === 0) continue
      const events = decided.success.map((event) => deepFreeze(payloadOf(event)))
      steps.push({ decision: command.decision, input: command.input, events })
      doing = "folding"
      for (const event of events) {
        subject = show(event)
        all.push(event)
        state = deepFreeze(aggregate.apply(state, event))
        states.push(state)
      }
    } catch (error) {
      return { steps, events: all, states, thrown: { doing, subject, error } }
    }
  }
  return { steps, events: all, states, thrown: undefined }
}
