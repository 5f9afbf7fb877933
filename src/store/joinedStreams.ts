/** Commands to one aggregate, decided together and appended to its stream. */
import { Effect, Exit } from "effect"
import { assignIds, hasId } from "../domain/derivedIds.ts"
import type * as Event from "../domain/Event.ts"
import { isExpected } from "../driver/expectedVersion.ts"
import { answer } from "./commandLine.ts"
import type { Decision } from "./decide.ts"
import {
  expectedOf,
  isOutdated,
  type Outcome,
  placeOf,
  stateOf,
  type StreamCommand,
  type StreamDecisions,
  unexpected
} from "./decideOnStream.ts"
import {
  beside,
  type Member,
  plainly,
  type Step,
  type Subject,
  trying,
  withTenant
} from "./decideTogether.ts"
import { weightOf } from "./encode.ts"
import type { Appended, EventStore } from "./EventStore.ts"
import type { Loader } from "./load.ts"
import { type LoadedState, withSnapshot } from "./snapshots.ts"

/** A command with its decision. */
export interface JoinedCommand<
  Type extends string,
  State,
  Payload extends Event.Tagged,
  Id
> extends StreamCommand<Type, State, Payload, Id> {
  readonly decide: (state: State) => Decision<ReadonlyArray<Event.Appendable<Payload>>, unknown, unknown>
  /** True if its look into the memory is counted already. */
  readonly isCounted?: boolean
}

/** The state of a stream after some of the decisions. */
interface Reached {
  readonly state: unknown
  readonly version: number
  readonly eventId: Event.EventId | undefined
  /** The number of forgotten subjects on which the state relies. */
  readonly forgotten: number | undefined
}

/** The types of a line. It is that of one aggregate, whose types all its commands have. */
export interface StreamTypes {
  readonly command: JoinedCommand<string, unknown, Event.Tagged, unknown>
  readonly answer: Outcome<unknown, Event.Tagged, string>
  readonly known: LoadedState<unknown>
  readonly reached: Reached
  readonly event: Event.NewEvent<Event.Tagged>
  readonly sent: Appended<Event.Tagged>
}

export const makeJoinedStreams = (
  store: EventStore["Service"],
  loader: Loader,
  decisions: StreamDecisions,
  reserving: Subject<StreamTypes>["reserving"]
): Subject<StreamTypes> => {
  const decide = (
    member: Member<StreamTypes>,
    before: Reached
  ): Effect.Effect<Step<StreamTypes> | undefined> => {
    const { command: wanted, services } = member
    const { aggregate, command, expectedEventId, expectedVersion, id, ids } = wanted
    const { eventId, forgotten, state, version } = before
    const unchanged = {
      member,
      events: [],
      after: before,
      refusal: undefined,
      isAppended: command !== undefined,
      isAlone: true
    }
    // The refusal of a command that may have been carried out before is not the last word.
    const refused = (refusal: Exit.Exit<never, unknown>) =>
      command === undefined && ids === undefined ? { ...unchanged, refusal, isAppended: false } : undefined
    if (!isExpected(expectedVersion, version) || (expectedEventId ?? eventId) !== eventId)
      return Effect.map(Effect.exit(withTenant(services, unexpected(wanted, before))), refused)
    const decided = plainly(() => wanted.decide(state))
    if (decided === undefined) return Effect.undefined
    if (Exit.isFailure(decided)) return Effect.succeed(refused(Exit.failCause(decided.cause)))
    const plain = decided.value
    // Without a derived id the store cannot tell whether it has been carried out before.
    if (ids !== undefined && plain.every(hasId)) return Effect.undefined
    if (plain.length === 0) return Effect.succeed(unchanged)
    const isAlone = command !== undefined || plain.some(hasId) || ids !== undefined
    const events = ids === undefined ? plain : assignIds(plain, ids)
    return Effect.map(
      Effect.exit(withTenant(services, store.encode({ aggregate, id, events }))),
      (encoded): Step<StreamTypes> | undefined => {
        if (Exit.isFailure(encoded)) return refused(Exit.failCause(encoded.cause))
        const payloads = encoded.value.map(({ payload }) => payload)
        const folded = trying(() => aggregate.fold(payloads, state))
        if (Exit.isFailure(folded)) return undefined
        const after = {
          state: folded.value,
          version: version + payloads.length,
          eventId: encoded.value.at(-1)?.options.eventId,
          forgotten
        }
        return { member, events: encoded.value, after, refusal: undefined, isAppended: true, isAlone }
      }
    )
  }

  /** Answers commands whose events are stored, or that have none, in their order. Returns the state behind them. */
  const settle = Effect.fnUntraced(function* (
    known: LoadedState<unknown>,
    steps: ReadonlyArray<Step<StreamTypes>>,
    sent: Appended<Event.Tagged> | undefined
  ) {
    let at = known
    let first = 0
    const outcomes: Array<() => void> = []
    for (const { after, events: encoded, member, refusal } of steps) {
      if (refusal !== undefined) {
        outcomes.push(() => answer(member, refusal))
        continue
      }
      const { aggregate, id, slot } = member.command
      const events = sent?.events.slice(first, (first += encoded.length)) ?? []
      const last = events.at(-1)
      if (last !== undefined) {
        at = advanced(at, after.state, last, weightOf(encoded))
        slot.keep(at)
      }
      // A snapshot that falls due on the way is one for the commands behind it, too.
      const noting = {
        snapshot: (version: number, stored: boolean) => {
          slot.snapshot(version, stored)
          if (stored) at = withSnapshot(at, version)
        }
      }
      const considered = loader.consider(aggregate, id, at, events.length, noting)
      // most repositories take no snapshots
      if (considered !== Effect.void) yield* Effect.exit(withTenant(member.services, considered))
      const outcome = { ...stateOf(at), events, replayed: false }
      outcomes.push(() => answer(member, Exit.succeed(outcome)))
    }
    for (const give of outcomes) give()
    return at
  })

  return {
    nameOf: ({ aggregate }) => aggregate.type,
    recall: (members) => {
      let known: LoadedState<unknown> | undefined
      for (const { command } of members) if (command.isCounted !== true) known = command.slot.recall()
      return known
    },
    isComplete: () => true,
    read: ([reader], known, isConfirmed) => {
      const { aggregate, id, slot } = reader.command
      return Effect.map(
        withTenant(
          reader.services,
          known === undefined ? loader.load(aggregate, id) : loader.readOnOrLoad(aggregate, id, known, slot)
        ),
        (read) => {
          if (known !== undefined && !isConfirmed && read.version > known.version) {
            slot.outdated()
            reserving?.foundNewer(reader)
          }
          slot.keep(read)
          return read
        }
      )
    },
    reachedOf: (known) => ({ ...stateOf(known), forgotten: known.forgotten }),
    decide,
    send: ({ appended, before }) => {
      const [first] = appended
      if (first === undefined) return Effect.die(new Error("an append without commands"))
      const { aggregate, command, id } = first.member.command
      const events = appended.length === 1 ? first.events : appended.flatMap((step) => step.events)
      const sent = store.append({
        aggregate,
        id,
        events,
        command,
        forgotten: before.forgotten,
        ...expectedOf(before)
      })
      return withTenant(first.member.services, sent)
    },
    isUsual: ({ appended, isAlone }, { command, events, replayed }) => {
      let decided = 0
      for (const step of appended) decided += step.events.length
      return events.length === decided && !(isAlone && (replayed || command !== undefined))
    },
    settle,
    knownBefore: (known, { before: { state, version } }) => ({ ...known, state, version }),
    isOutdated,
    replayed: ({ events, member }, known, appended) =>
      Effect.map(
        withTenant(
          member.services,
          decisions.replayed(member.command, known, { appended, weight: weightOf(events) })
        ),
        (outcome) => outcome ?? beside
      ),
    reserving,
    eventIdsOf: ({ events }) => events.flatMap(({ options }) => options.eventId ?? [])
  }
}

const advanced = (
  known: LoadedState<unknown>,
  state: unknown,
  last: Event.Envelope<unknown>,
  weight: number
): LoadedState<unknown> => ({
  ...known,
  state,
  version: last.version,
  weight: known.weight + weight,
  place: placeOf(last)
})
