/**
 * Commands to one aggregate are decided together: one after the other, each on the state that the one before it leads to. Only
 * plain decisions are: an effect may wait for another command of the same line.
 */
import { type Context, Effect, Exit, Result } from "effect"
import { assignIds, hasId } from "../domain/derivedIds.ts"
import type * as Event from "../domain/Event.ts"
import type { CurrentTenant } from "../domain/Tenant.ts"
import { isExpected } from "../driver/expectedVersion.ts"
import { answer, type Waiting } from "./commandLine.ts"
import type { Decision } from "./decide.ts"
import { type Outcome, stateOf, type StreamCommand, unexpected } from "./decideOnStream.ts"
import type { EventStore } from "./EventStore.ts"
import type { LoadedState } from "./snapshots.ts"

/** A command with its decision. */
export interface JoinedCommand<
  Type extends string,
  State,
  Payload extends Event.Tagged,
  Id
> extends StreamCommand<Type, State, Payload, Id> {
  readonly decide: (state: State) => Decision<ReadonlyArray<Event.Appendable<Payload>>, unknown, unknown>
}

/** The answer to a command that is to be carried out by itself, beside the line. */
export const beside = { _tag: "Beside" } as const

/** The answer to a command of a line. */
export type Answer<State, Payload, Type extends string> = Outcome<State, Payload, Type> | typeof beside

/** A command of a line. */
export type Member<Type extends string, State, Payload extends Event.Tagged, Id> = Waiting<
  JoinedCommand<Type, State, Payload, Id>,
  Answer<State, Payload, Type>,
  unknown
>

/** The state of a stream after some of the decisions. */
export interface Reached<State> {
  readonly state: State
  readonly version: number
  readonly eventId: Event.EventId | undefined
}

/** A decided command. */
export interface Step<M, State, Payload> {
  readonly member: M
  /** Encoded; none if it was refused or decided nothing. */
  readonly events: ReadonlyArray<Event.NewEvent<Payload>>
  readonly after: Reached<State>
  readonly refusal: Exit.Exit<never, unknown> | undefined
  /** Appended by itself: the store recognises it by its key or the ids of its events. */
  readonly isAlone: boolean
}

/** An append of a batch. */
export interface Part<M, State, Payload> {
  readonly before: Reached<State>
  /** The commands whose events it has. */
  readonly appended: Array<Step<M, State, Payload>>
  /** These, and the commands behind them without events. They are answered when the append is confirmed. */
  readonly steps: Array<Step<M, State, Payload>>
  readonly isAlone: boolean
}

/** The appends that decisions come to. */
export interface Plan<M, State, Payload> {
  /** Commands without events before the first append. */
  readonly head: ReadonlyArray<Step<M, State, Payload>>
  readonly parts: ReadonlyArray<Part<M, State, Payload>>
  /** Commands that were not decided. */
  readonly left: ReadonlyArray<M>
}

/** Runs an effect with the services of a command. */
export const withTenant = <A, E>(
  services: Context.Context<never>,
  effect: Effect.Effect<A, E, CurrentTenant>
): Effect.Effect<A, E> =>
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the services of a command include its tenant
  Effect.provideContext(effect, services as Context.Context<CurrentTenant>)

export const makeDecider = (store: EventStore["Service"]) => {
  /** Decides a command on the state that the ones before it lead to; undefined if it is to go beside. */
  const decideOne = <Type extends string, State, Payload extends Event.Tagged, Id>(
    member: Member<Type, State, Payload, Id>,
    before: Reached<State>
  ): Effect.Effect<Step<Member<Type, State, Payload, Id>, State, Payload> | undefined> =>
    Effect.suspend(() => {
      type Decided = Effect.Effect<Step<Member<Type, State, Payload, Id>, State, Payload> | undefined>
      const { command, services } = member
      const { aggregate, expectedEventId, expectedVersion, id, ids } = command
      const { eventId, state, version } = before
      const unchanged = { member, events: [], after: before, refusal: undefined, isAlone: true }
      // The refusal of a command that may have been carried out before is not the last word.
      const refused = (refusal: Exit.Exit<never, unknown>): Decided =>
        Effect.succeed(
          command.command === undefined && ids === undefined ? { ...unchanged, refusal } : undefined
        )
      if (!isExpected(expectedVersion, version) || (expectedEventId ?? eventId) !== eventId)
        return Effect.flatMap(Effect.exit(withTenant(services, unexpected(command, before))), refused)
      const decided = trying(() => command.decide(state))
      if (Exit.isFailure(decided)) return refused(Exit.failCause(decided.cause))
      const yielded = decided.value
      if (Effect.isEffect(yielded)) return Effect.undefined
      const result = Result.isResult(yielded) ? yielded : Result.succeed(yielded)
      if (Result.isFailure(result)) return refused(Exit.fail(result.failure))
      const plain = result.success
      // Without a derived id the store cannot tell whether it has been carried out before.
      if (ids !== undefined && plain.every(hasId)) return Effect.undefined
      if (plain.length === 0) return Effect.succeed(unchanged)
      const isAlone = command.command !== undefined || plain.some(hasId) || ids !== undefined
      const events = ids === undefined ? plain : assignIds(plain, ids)
      return Effect.flatMap(
        Effect.exit(withTenant(services, store.encode({ aggregate, id, events }))),
        (encoded): Decided => {
          if (Exit.isFailure(encoded)) return refused(Exit.failCause(encoded.cause))
          const payloads = encoded.value.map(({ payload }) => payload)
          const folded = trying(() => aggregate.fold(payloads, state))
          if (Exit.isFailure(folded)) return Effect.undefined
          const after = {
            state: folded.value,
            version: version + payloads.length,
            eventId: encoded.value.at(-1)?.options.eventId
          }
          return Effect.succeed({ member, events: encoded.value, after, refusal: undefined, isAlone })
        }
      )
    })

  /** Decides the commands one after the other. The first of `singles` is the last one. */
  const decideAll = Effect.fnUntraced(function* <
    Type extends string,
    State,
    Payload extends Event.Tagged,
    Id
  >(
    known: LoadedState<State>,
    members: ReadonlyArray<Member<Type, State, Payload, Id>>,
    singles: ReadonlySet<Member<Type, State, Payload, Id>>
  ) {
    type M = Member<Type, State, Payload, Id>
    const head: Array<Step<M, State, Payload>> = []
    const parts: Array<Part<M, State, Payload>> = []
    let reached: Reached<State> = stateOf(known)
    for (const [index, member] of members.entries()) {
      if (member.gone) continue
      const isSingle = singles.has(member)
      if (isSingle && parts.length > 0) return { head, parts, left: members.slice(index) }
      const step = yield* decideOne(member, reached)
      if (step === undefined) {
        answer(member, Effect.succeed(beside))
        continue
      }
      const { events, isAlone, refusal } = step
      const last = parts.at(-1)
      if (refusal !== undefined || (events.length === 0 && member.command.command === undefined)) {
        const behind = last === undefined ? head : last.steps
        behind.push(step)
      } else if (last === undefined || last.isAlone || isAlone) {
        parts.push({ before: reached, appended: [step], steps: [step], isAlone })
      } else {
        last.appended.push(step)
        last.steps.push(step)
      }
      reached = step.after
      if (isSingle) return { head, parts, left: members.slice(index + 1) }
    }
    return { head, parts, left: [] } satisfies Plan<M, State, Payload>
  })

  return decideAll
}

const trying = <A>(run: () => A): Exit.Exit<A> => {
  try {
    return Exit.succeed(run())
  } catch (defect) {
    return Exit.die(defect)
  }
}
