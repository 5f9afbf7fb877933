/**
 * Commands of a line are decided together: one after the other, each on the state that the one before it leads to. Only plain
 * decisions are: an effect may wait for another command of the same line.
 */
import { type Context, Effect, Exit, Result } from "effect"
import type { Ids } from "../domain/derivedIds.ts"
import type { CurrentTenant } from "../domain/Tenant.ts"
import { answer, type Kept, type Waiting } from "./commandLine.ts"
import type { Decision } from "./decide.ts"

/** The answer to a command that is to be carried out by itself, beside the line. */
export const beside = { _tag: "Beside" } as const

/** The types of a line. */
export interface Types {
  readonly command: { readonly ids: Ids | undefined }
  readonly answer: unknown
  /** The state that the store has, as far as it is known. */
  readonly known: unknown
  /** The state after some of the decisions. */
  readonly reached: unknown
  /** An encoded event, or the encoded events for a stream. */
  readonly event: unknown
  /** The outcome of an append. */
  readonly sent: unknown
}

/** A command of a line. */
export type Member<T extends Types> = Waiting<T["command"], T["answer"] | typeof beside, unknown>

/** A decided command. */
export interface Step<T extends Types> {
  readonly member: Member<T>
  /** Encoded; none if it was refused or decided nothing. */
  readonly events: ReadonlyArray<T["event"]>
  readonly after: T["reached"]
  readonly refusal: Exit.Exit<never, unknown> | undefined
  /** False if there is nothing to store of it. */
  readonly isAppended: boolean
  /** Appended by itself: the store recognises it by its key or the ids of its events. */
  readonly isAlone: boolean
}

/** An append of a batch. */
export interface Part<T extends Types> {
  readonly before: T["reached"]
  /** The commands whose events it has. */
  readonly appended: Array<Step<T>>
  /** These, and the commands behind them without events. They are answered when the append is confirmed. */
  readonly steps: Array<Step<T>>
  readonly isAlone: boolean
}

/** The appends that decisions come to. */
export interface Plan<T extends Types> {
  /** Commands without events before the first append. */
  readonly head: ReadonlyArray<Step<T>>
  readonly parts: ReadonlyArray<Part<T>>
  /** Commands that were not decided. */
  readonly left: ReadonlyArray<Member<T>>
}

/** The commands of lines: those to an aggregate, or the decisions on equal queries. */
export interface Subject<T extends Types> {
  /** The `aggregate` of metrics. */
  readonly nameOf: (command: T["command"]) => string
  /** The known state for commands; undefined if it must be loaded. */
  readonly recall: (members: ReadonlyArray<Member<T>>, kept: Kept<T["known"]>) => T["known"] | undefined
  /** True if a known state has everything that the commands need. */
  readonly isComplete: (known: T["known"], members: ReadonlyArray<Member<T>>) => boolean
  /** Loads the state, or reads on from the known one after the store has confirmed that. */
  readonly read: (
    members: readonly [Member<T>, ...ReadonlyArray<Member<T>>],
    known: T["known"] | undefined,
    isConfirmed: boolean
  ) => Effect.Effect<T["known"], unknown>
  readonly reachedOf: (known: T["known"]) => T["reached"]
  /** Decides a command on the state that the ones before it lead to; undefined if it is to go beside. */
  readonly decide: (member: Member<T>, before: T["reached"]) => Effect.Effect<Step<T> | undefined>
  /** Appends on the condition that the state before is still the present one. */
  readonly send: (part: Part<T>) => Effect.Effect<T["sent"], unknown>
  /** False if the store had the events, or the command, before. */
  readonly isUsual: (part: Part<T>, sent: T["sent"]) => boolean
  /** Answers the commands of an append that succeeded, or of none, in their order. Returns the state behind them. */
  readonly settle: (
    known: T["known"],
    steps: ReadonlyArray<Step<T>>,
    sent: T["sent"] | undefined
  ) => Effect.Effect<T["known"]>
  /** The known state before an append that was not the first one of its batch. */
  readonly knownBefore: (known: T["known"], part: Part<T>) => T["known"]
  /** True if an append failed because another one came first. */
  readonly isOutdated: (error: unknown) => boolean
  /** The answer to a command whose append found that it was carried out before. */
  readonly replayed: (
    step: Step<T>,
    known: T["known"],
    sent: T["sent"]
  ) => Effect.Effect<T["answer"] | typeof beside, unknown>
  readonly eventIdsOf: (step: Step<T>) => ReadonlyArray<string>
  /** Reservations among processes; undefined if they do not take turns. */
  readonly reserving?: Reserving<T> | undefined
}

/** Reservations of the subject of a line, if other processes want it too. */
export interface Reserving<T extends Types> {
  /** Waits for a reservation, if other processes want the subject. Succeeds with true if others may have appended meanwhile. */
  readonly enter: (member: Member<T>, kept: Kept<T["known"]>) => Effect.Effect<boolean>
  /** Notes that another process was faster than an append, since its state was read or at some time since it is remembered. */
  readonly lost: (member: Member<T>, wasRead: boolean) => void
  /** Notes that another process has appended meanwhile. */
  readonly foundNewer: (member: Member<T>) => void
}

/** Decides commands one after the other. The first of `singles` is the last one. */
export const decideAll = Effect.fnUntraced(function* <T extends Types>(
  { decide, reachedOf }: Subject<T>,
  known: T["known"],
  members: ReadonlyArray<Member<T>>,
  singles: ReadonlySet<Member<T>>
) {
  const head: Array<Step<T>> = []
  const parts: Array<Part<T>> = []
  let reached: T["reached"] = reachedOf(known)
  for (const [index, member] of members.entries()) {
    if (member.gone) continue
    const isSingle = singles.has(member)
    if (isSingle && parts.length > 0) return { head, parts, left: members.slice(index) }
    const step = yield* decide(member, reached)
    if (step === undefined) {
      answer(member, Effect.succeed(beside))
      continue
    }
    const last = parts.at(-1)
    if (!step.isAppended) {
      const behind = last === undefined ? head : last.steps
      behind.push(step)
    } else if (last === undefined || last.isAlone || step.isAlone) {
      parts.push({ before: reached, appended: [step], steps: [step], isAlone: step.isAlone })
    } else {
      last.appended.push(step)
      last.steps.push(step)
    }
    reached = step.after
    if (isSingle) return { head, parts, left: members.slice(index + 1) }
  }
  return { head, parts, left: [] } satisfies Plan<T>
})

/** Runs an effect with the services of a command. */
export const withTenant = <A, E>(
  services: Context.Context<never>,
  effect: Effect.Effect<A, E, CurrentTenant>
): Effect.Effect<A, E> =>
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the services of a command include its tenant
  Effect.provideContext(effect, services as Context.Context<CurrentTenant>)

/** The outcome of a decision; undefined if it is an effect, which is not run. */
export const plainly = <A>(
  decide: () => Decision<A, unknown, unknown>
): Exit.Exit<A, unknown> | undefined => {
  const decided = trying(decide)
  if (Exit.isFailure(decided)) return Exit.failCause(decided.cause)
  const outcome = decided.value
  if (Effect.isEffect(outcome)) return undefined
  if (!Result.isResult(outcome)) return Exit.succeed(outcome)
  return Result.isFailure(outcome) ? Exit.fail(outcome.failure) : Exit.succeed(outcome.success)
}

/** Runs a function of the program, which may throw. */
export const trying = <A>(run: () => A): Exit.Exit<A> => {
  try {
    return Exit.succeed(run())
  } catch (defect) {
    return Exit.die(defect)
  }
}
