/** Appends the commands of a line together, and answers each of them. */
import { Cause, Effect, Exit, Metric, Schedule } from "effect"
import type * as Event from "../domain/Event.ts"
import type { CommandKey } from "../driver/EventStorage.ts"
import { InlineProjectionFailed, OutcomeUnknown, StorageUnavailable } from "../driver/StoreError.ts"
import { answer } from "./commandLine.ts"
import { counting } from "./counting.ts"
import { isEventIdConflict } from "./decide.ts"
import { expectedOf, isOutdated, placeOf, stateOf, type StreamDecisions } from "./decideOnStream.ts"
import {
  beside,
  makeDecider,
  type Member,
  type Part,
  type Reached,
  type Step,
  withTenant
} from "./decideTogether.ts"
import { weightOf } from "./encode.ts"
import type { Appended, AppendFailure, EventStore } from "./EventStore.ts"
import type { Loader } from "./load.ts"
import { type LoadedState, withSnapshot } from "./snapshots.ts"

/** Appends of a line, by `aggregate`. */
export const appends: Metric.Counter<number> = Metric.counter("eventsourcing.joined.appends", {
  description: "Appends with the events of commands that were decided together",
  incremental: true
})

/** Commands of these appends, by `aggregate`. */
export const commands: Metric.Counter<number> = Metric.counter("eventsourcing.joined.commands", {
  description: "Commands that were decided together and appended",
  incremental: true
})

export const makeJoined = (
  store: EventStore["Service"],
  loader: Loader,
  decisions: StreamDecisions,
  retry: Schedule.Schedule<unknown>
) => {
  const decideAll = makeDecider(store)
  const countAppend = counting(appends)
  const countCommands = counting(commands)

  const send = <Type extends string, State, Payload extends Event.Tagged, Id>({
    appended,
    before
  }: Part<Member<Type, State, Payload, Id>, State, Payload>): Effect.Effect<
    Exit.Exit<Appended<Payload, Type>, AppendFailure<undefined, CommandKey>> | undefined
  > => {
    const [first] = appended
    if (first === undefined) return Effect.undefined
    const { aggregate, command, id } = first.member.command
    const events = appended.flatMap((step) => step.events)
    const sent = store.append({ aggregate, id, events, command, ...expectedOf(before) })
    return Effect.exit(withTenant(first.member.services, sent))
  }

  /** Answers the commands of an append that succeeded, or of none, in their order. Returns the state behind them. */
  const settle = Effect.fnUntraced(function* <Type extends string, State, Payload extends Event.Tagged, Id>(
    known: LoadedState<State>,
    steps: ReadonlyArray<Step<Member<Type, State, Payload, Id>, State, Payload>>,
    envelopes: ReadonlyArray<Event.Envelope<Payload, Type>>
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
      const events = envelopes.slice(first, (first += encoded.length))
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
      yield* Effect.exit(
        withTenant(member.services, loader.consider(aggregate, id, at, events.length, noting))
      )
      const outcome = { ...stateOf(at), events, replayed: false }
      outcomes.push(() => answer(member, Effect.succeed(outcome)))
    }
    for (const give of outcomes) give()
    return at
  })

  /** Answers the commands of an append that failed. Returns those that are to be decided again, each by itself. */
  const answerFailed = <Type extends string, State, Payload extends Event.Tagged, Id>(
    { appended }: Part<Member<Type, State, Payload, Id>, State, Payload>,
    cause: Cause.Cause<unknown>
  ): ReadonlyArray<Member<Type, State, Payload, Id>> => {
    const error = Cause.squash(cause)
    const isUnwritten = cause.reasons.every(Cause.isFailReason) || error instanceof InlineProjectionFailed
    if (appended.length > 1 && isUnwritten && !isOutage(error)) return appended.map(memberOf)
    for (const { events, member } of appended) {
      if (error instanceof OutcomeUnknown) {
        const eventIds = events.flatMap(({ options }) => options.eventId ?? [])
        answer(member, Effect.fail(new OutcomeUnknown({ tenantId: error.tenantId, eventIds })))
      } else if (member.command.ids !== undefined && isEventIdConflict(error)) {
        // An earlier run decided differently. Its events are searched for.
        answer(member, Effect.succeed(beside))
      } else {
        answer(member, Effect.failCause(cause))
      }
    }
    return []
  }

  /** Carries out the commands of a line, and answers each of them. */
  return Effect.fnUntraced(function* <Type extends string, State, Payload extends Event.Tagged, Id>(
    members: ReadonlyArray<Member<Type, State, Payload, Id>>
  ) {
    type M = Member<Type, State, Payload, Id>
    const singles = new Set<M>()
    const decideAgain = yield* Schedule.toStepWithSleep(retry)
    let waiting = members
    let known: LoadedState<State> | undefined
    for (const { command } of members) known = command.slot.recall()
    let isConfirmed = false
    let isRead = known !== undefined
    for (;;) {
      waiting = waiting.filter(({ gone }) => !gone)
      const [reader] = waiting
      if (reader === undefined) return
      const { aggregate, id, slot } = reader.command
      // 1. Read, or read on from the known state.
      if (known === undefined || !isRead) {
        const read = yield* Effect.exit(
          withTenant(
            reader.services,
            known === undefined ? loader.load(aggregate, id) : loader.readOnOrLoad(aggregate, id, known, slot)
          )
        )
        if (Exit.isFailure(read))
          return waiting.forEach((member) => answer(member, Exit.failCause(read.cause)))
        if (known !== undefined && !isConfirmed && read.value.version > known.version) slot.outdated()
        known = read.value
        isConfirmed = isRead = true
        slot.keep(known)
      }
      // 2. Decide one after the other.
      const { head, left, parts } = yield* decideAll(known, waiting, singles)
      if (parts.length === 0) {
        if (isConfirmed) yield* settle(known, head, [])
        waiting = isConfirmed ? left : [...head.map(memberOf), ...left]
        isRead = isConfirmed
        continue
      }
      // 3. Append. Each append confirms the state that it was decided on, and what was decided before the next one.
      const sent = yield* Effect.forEach(parts, send, { concurrency: "unbounded" })
      const again: Array<M> = []
      let conflict: unknown
      let isWhole = true
      for (const [index, part] of parts.entries()) {
        const exit = sent[index]
        if (exit === undefined) continue
        // Without events it tells nothing of the state before it.
        const isKnown = isWhole || part.appended.some(({ events }) => events.length > 0)
        const isStored = Exit.isSuccess(exit) && isUsual(part, exit.value) && isKnown
        if (index === 0) {
          if (isStored || isConfirmed) yield* settle(known, head, [])
          else again.push(...head.map(memberOf))
        }
        if (isStored) {
          // An append whose answer was lost may stand before it: it is stored too then.
          known = yield* settle(
            isWhole ? known : stateBefore(known, part.before),
            part.steps,
            exit.value.events
          )
          isConfirmed = true
          const joined = part.appended.length
          if (joined > 1) {
            countAppend(reader.services, aggregate.type)
            countCommands(reader.services, aggregate.type, undefined, joined)
          }
          continue
        }
        const behind = part.steps.filter((step) => !part.appended.includes(step)).map(memberOf)
        if (Exit.isSuccess(exit)) {
          // Of one command, which the store had before.
          for (const { events, member } of part.appended)
            answer(
              member,
              isKnown
                ? Effect.map(
                    withTenant(
                      member.services,
                      decisions.replayed(member.command, known, {
                        appended: exit.value,
                        weight: weightOf(events)
                      })
                    ),
                    (outcome) => outcome ?? beside
                  )
                : Effect.succeed(beside)
            )
          again.push(...behind)
        } else {
          const error = Cause.squash(exit.cause)
          if (isOutdated(error)) {
            // The schedule counts losses against others, not outdated memory.
            if (index === 0 && isConfirmed) conflict = error
            again.push(...part.steps.map(memberOf))
          } else {
            const unwritten = answerFailed(part, exit.cause)
            for (const member of unwritten) singles.add(member)
            again.push(...(unwritten.length === 0 ? behind : part.steps.map(memberOf)))
          }
        }
        isWhole = false
      }
      waiting = [...again, ...left]
      isRead = isWhole
      // 4. Decide again if others append, on the schedule.
      if (conflict !== undefined && Exit.isFailure(yield* Effect.exit(decideAgain(conflict))))
        return waiting.forEach((member) => answer(member, Effect.fail(conflict)))
    }
  })
}

const advanced = <State>(
  known: LoadedState<State>,
  state: State,
  last: Event.Envelope<unknown>,
  weight: number
): LoadedState<State> => ({
  ...known,
  state,
  version: last.version,
  weight: known.weight + weight,
  place: placeOf(last)
})

/** The state before an append. */
const stateBefore = <State>(
  known: LoadedState<State>,
  { state, version }: Reached<State>
): LoadedState<State> => ({
  ...known,
  state,
  version
})

const isOutage = (error: unknown): boolean =>
  error instanceof OutcomeUnknown || error instanceof StorageUnavailable

const memberOf = <M>({ member }: Step<M, unknown, unknown>): M => member

/** False if the store had the events, or the command, before. */
const isUsual = <M, State, Payload>(
  { appended, isAlone }: Part<M, State, Payload>,
  { command, events, replayed }: Appended<Event.Tagged>
): boolean => {
  let decided = 0
  for (const step of appended) decided += step.events.length
  return events.length === decided && !(isAlone && (replayed || command !== undefined))
}
