/** Appends the commands of a line together, and answers each of them. */
import { Cause, Effect, Exit, Schedule } from "effect"
import { InlineProjectionFailed, OutcomeUnknown, StorageUnavailable } from "../driver/StoreError.ts"
import { answer, type Kept } from "./commandLine.ts"
import { counting } from "../telemetry/series.ts"
import { joinedAppends, joinedCommands } from "../telemetry/Telemetry.ts"
import { isEventIdConflict } from "./decide.ts"
import {
  beside,
  decideAll,
  type Member,
  type Part,
  type Step,
  type Subject,
  type Types
} from "./decideTogether.ts"

/** Returns a function that carries out the commands of a line, and answers each of them. */
export const makeJoined = <T extends Types>(subject: Subject<T>, retry: Schedule.Schedule<unknown>) => {
  type M = Member<T>
  const countAppend = counting(joinedAppends)
  const countCommands = counting(joinedCommands)

  /** Answers the commands of an append that failed. Returns those that are to be decided again, each by itself. */
  const answerFailed = ({ appended }: Part<T>, cause: Cause.Cause<unknown>): ReadonlyArray<M> => {
    const error = Cause.squash(cause)
    const isUnwritten = cause.reasons.every(Cause.isFailReason) || error instanceof InlineProjectionFailed
    if (appended.length > 1 && isUnwritten && !isOutage(error)) return appended.map(memberOf)
    for (const step of appended) {
      const { member } = step
      if (error instanceof OutcomeUnknown) {
        const { tenantId } = error
        answer(member, Effect.fail(new OutcomeUnknown({ tenantId, eventIds: subject.eventIdsOf(step) })))
      } else if (member.command.ids !== undefined && isEventIdConflict(error)) {
        // An earlier run decided differently. Its events are searched for.
        answer(member, Effect.succeed(beside))
      } else {
        answer(member, Effect.failCause(cause))
      }
    }
    return []
  }

  return Effect.fnUntraced(function* (members: ReadonlyArray<M>, kept: Kept<T["known"]>) {
    const singles = new Set<M>()
    const decideAgain = yield* Schedule.toStepWithSleep(retry)
    let waiting = members
    const { loaded } = kept
    kept.loaded = undefined
    let known = subject.recall(members, kept) ?? loaded
    // The first command has read it. For the others it may be older than their calls, like a remembered state.
    let isConfirmed = loaded !== undefined && members.length === 1
    let isRead = known !== undefined && subject.isComplete(known, members)
    for (;;) {
      waiting = waiting.filter(({ gone }) => !gone)
      const [reader, ...others] = waiting
      if (reader === undefined) return
      // 0. Wait for the turn, if other processes want the subject too. They have appended meanwhile.
      if (subject.reserving !== undefined && (yield* subject.reserving.enter(reader, kept)))
        isRead = isConfirmed = false
      // 1. Read, or read on from the known state.
      if (known === undefined || !isRead) {
        const read = yield* Effect.exit(subject.read([reader, ...others], known, isConfirmed))
        if (Exit.isFailure(read))
          return waiting.forEach((member) => answer(member, Exit.failCause(read.cause)))
        kept.known = known = read.value
        isConfirmed = isRead = true
      }
      // 2. Decide one after the other.
      const { head, left, parts } = yield* decideAll(subject, known, waiting, singles)
      if (parts.length === 0) {
        if (isConfirmed) yield* subject.settle(known, head, undefined)
        waiting = isConfirmed ? left : [...head.map(memberOf), ...left]
        isRead = isConfirmed
        continue
      }
      // 3. Append. Each append confirms the state that it was decided on, and what was decided before the next one.
      const [only, ...more] = parts
      const sent =
        only !== undefined && more.length === 0
          ? [yield* Effect.exit(subject.send(only))]
          : yield* Effect.forEach(parts, (part) => Effect.exit(subject.send(part)), {
              concurrency: "unbounded"
            })
      const again: Array<M> = []
      let conflict: unknown
      let isWhole = true
      for (const [index, part] of parts.entries()) {
        const exit = sent[index]
        if (exit === undefined) continue
        // Without events it tells nothing of the state before it.
        const isKnown = isWhole || part.appended.some(({ events }) => events.length > 0)
        const isStored = Exit.isSuccess(exit) && subject.isUsual(part, exit.value) && isKnown
        if (index === 0) {
          if (isStored || isConfirmed) yield* subject.settle(known, head, undefined)
          else again.push(...head.map(memberOf))
        }
        if (isStored) {
          // An append whose answer was lost may stand before it: it is stored too then.
          const before: T["known"] = isWhole ? known : subject.knownBefore(known, part)
          kept.known = known = yield* subject.settle(before, part.steps, exit.value)
          isConfirmed = true
          const joined = part.appended.length
          if (joined > 1) {
            const name = subject.nameOf(reader.command)
            countAppend(reader.services, name)
            countCommands(reader.services, name, undefined, joined)
          }
          continue
        }
        const behind = part.steps.filter((step) => !part.appended.includes(step)).map(memberOf)
        if (Exit.isSuccess(exit)) {
          // Of one command, which the store had before.
          for (const step of part.appended)
            answer(step.member, isKnown ? subject.replayed(step, known, exit.value) : Effect.succeed(beside))
          again.push(...behind)
        } else {
          const error = Cause.squash(exit.cause)
          if (subject.isOutdated(error)) {
            // The schedule counts losses against others, not outdated memory.
            if (index === 0 && isConfirmed) conflict = error
            if (index === 0) subject.reserving?.lost(reader, isConfirmed)
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

const isOutage = (error: unknown): boolean =>
  error instanceof OutcomeUnknown || error instanceof StorageUnavailable

const memberOf = <T extends Types>({ member }: Step<T>): Member<T> => member
