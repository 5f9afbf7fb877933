/**
 * Lines of commands: those to one aggregate that come while one is under way wait, and are carried out together when it is
 * done. There is no timer.
 */
import { type Context, Effect } from "effect"
import type { TenantId } from "../domain/Tenant.ts"
import { TripleMap } from "../driver/tripleMap.ts"

/** A command that waits in a line, or is carried out together with others. */
export interface Waiting<out Command, in Answer, in E> {
  readonly command: Command
  /** The services of its caller. */
  readonly services: Context.Context<never>
  /** Answers the caller, once. */
  readonly resume: (answer: Effect.Effect<Answer, E>) => void
  /** True once it was answered, or its caller interrupted. */
  gone: boolean
}

/** The state that a line keeps from one turn to the next. */
export interface Kept<Known> {
  known: Known | undefined
  /** A state that the first command of the next turn has just loaded. */
  loaded: Known | undefined
  /** The line's reservation of its subject among processes. */
  reservation: Reservation | undefined
}

/** A reservation among processes. */
export interface Reservation {
  /** The time at which it was made, in milliseconds. */
  readonly since: number
  /** Number of times that commands were decided in it. */
  uses: number
  leave(): void
}

/** The turn of a command that found its line free. */
export interface Turn<in Command = never, out Answer = unknown, out E = unknown, in Known = never> {
  /** True if others wait for its end. */
  readonly isWanted: boolean
  /** Lets those that wait go on. Does nothing the second time. */
  leave(): void
  /** Leaves the turn to be carried out with those that wait, as their first, on the state that it has loaded. */
  join(command: Command, loaded: Known | undefined): Effect.Effect<Answer, E>
}

/** The line of a command: a turn at once, or the answer of those that carry it out. */
export type Place<Command, Answer, E, Known> =
  | { readonly turn: Turn<Command, Answer, E, Known> }
  | { readonly answer: Effect.Effect<Answer, E> }

/** The key of a line. */
export interface LineKey {
  readonly tenantId: TenantId
  /** Told apart by identity, as those that decide together share a state: an aggregate, for example. */
  readonly subject: object
  readonly id: string
}

/**
 * The line of an aggregate or of a query. It exists as long as somebody holds it, and is the turn of the first one. A class,
 * because closures for each command would take time.
 */
class Line<Command, Answer, E, Known> implements Turn<Command, Answer, E, Known> {
  readonly key: LineKey
  readonly waiting: Array<Waiting<Command, Answer, E>> = []
  readonly kept: Kept<Known> = { known: undefined, loaded: undefined, reservation: undefined }
  readonly #next: (line: Line<Command, Answer, E, Known>) => void
  #left = false

  constructor(key: LineKey, next: (line: Line<Command, Answer, E, Known>) => void) {
    this.key = key
    this.#next = next
  }

  get isWanted(): boolean {
    return this.waiting.length > 0
  }

  leave(): void {
    if (this.#left) return
    this.#left = true
    this.#next(this)
  }

  join(command: Command, loaded: Known | undefined): Effect.Effect<Answer, E> {
    return this.#enter(command, (member) => {
      this.waiting.unshift(member)
      this.kept.loaded = loaded
      this.leave()
    })
  }

  wait(command: Command): Effect.Effect<Answer, E> {
    return this.#enter(command, (member) => void this.waiting.push(member))
  }

  #enter(command: Command, place: (member: Waiting<Command, Answer, E>) => void): Effect.Effect<Answer, E> {
    return Effect.withFiber(({ context }) =>
      Effect.callback<Answer, E>((resume) => {
        const member: Waiting<Command, Answer, E> = { command, services: context, resume, gone: false }
        place(member)
        return Effect.sync(() => {
          member.gone = true
          const at = this.waiting.indexOf(member)
          if (at >= 0) this.waiting.splice(at, 1)
        })
      })
    )
  }
}

/**
 * Lines whose commands are carried out by `run`, which answers each of them, at most `maxCommands` at a time.
 *
 * **Details**
 *
 * A command that finds its line free goes alone, in the fiber of its caller. Further ones wait: a full line makes callers wait
 * longer, and refuses nobody. `run` is outside of every caller's fiber, with the services of the first command, because any
 * of them may be interrupted.
 */
export const makeLines = <Command, Answer, E, Known>(
  maxCommands: number,
  run: (commands: ReadonlyArray<Waiting<Command, Answer, E>>, kept: Kept<Known>) => Effect.Effect<void>
) => {
  type One = Line<Command, Answer, E, Known>
  const lines = new TripleMap<TenantId, object, string, One>()

  const open = (key: LineKey): One => {
    const line = new Line(key, next)
    lines.set(key.tenantId, key.subject, key.id, line)
    return line
  }

  const next = (line: One): void => {
    const commands = line.waiting.splice(0, maxCommands)
    const [first] = commands
    if (first === undefined) {
      line.kept.reservation?.leave()
      return lines.delete(line.key.tenantId, line.key.subject, line.key.id)
    }
    const unanswered = Effect.sync(() => {
      for (const command of commands) answer(command, Effect.die(new Error("a command has no outcome")))
    })
    Effect.runForkWith(first.services)(
      run(commands, line.kept).pipe(
        Effect.onExit(() => unanswered),
        // Callers that come again at once find the line taken, and go on together.
        Effect.andThen(Effect.yieldNow),
        Effect.ensuring(Effect.sync(() => next(line)))
      )
    )
  }

  return {
    /**
     * Takes the place of a command in its line, which is made only if it must wait. The one with the turn must leave it, whatever
     * happens.
     */
    place: (key: LineKey, command: () => Command): Place<Command, Answer, E, Known> => {
      const line = lines.get(key.tenantId, key.subject, key.id)
      return line === undefined ? { turn: open(key) } : { answer: line.wait(command()) }
    }
  }
}

/** Answers a command, unless it has been answered or its caller is gone. */
export const answer = <Answer, E>(
  command: Waiting<unknown, Answer, E>,
  given: Effect.Effect<Answer, E>
): void => {
  if (command.gone) return
  command.gone = true
  command.resume(given)
}
