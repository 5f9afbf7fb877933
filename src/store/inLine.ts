/** Commands in the lines of their aggregates, and decisions in those of their queries. */
import { Effect } from "effect"
import { type Kept, type LineKey, makeLines, type Place, type Turn } from "./commandLine.ts"
import { beside, type Member, type Types } from "./decideTogether.ts"

/** Settings for deciding waiting commands together. */
export interface JoinOptions {
  /** Maximum number of commands that are decided together; further ones wait. Default: 256. */
  readonly commands?: number | undefined
}

/** Without lines nobody waits. */
const noLine: Turn = { leave: () => {} }

/**
 * Carries a command out in its line: alone if the line is free, otherwise together with the others, or outside
 * the line if it cannot be decided with them.
 */
export const makeInLine = <T extends Types>(
  join: JoinOptions | false | undefined,
  run: (members: ReadonlyArray<Member<T>>, kept: Kept<T["known"]>) => Effect.Effect<void>
) => {
  const { commands: maxCommands = 256 } = join === false ? {} : (join ?? {})
  if (!Number.isSafeInteger(maxCommands) || maxCommands < 1)
    throw new RangeError("join.commands must be a positive integer")
  const lines = makeLines<T["command"], T["answer"] | typeof beside, unknown, T["known"]>(maxCommands, run)

  const inLine = <A, E, R>(
    key: LineKey,
    command: unknown,
    alone: (leave: () => void) => Effect.Effect<A, E, R>,
    besideLine: Effect.Effect<A, E, R>
  ): Effect.Effect<A, E, R> => {
    if (join === false) return alone(() => {})
    return Effect.uninterruptibleMask((restore) => {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a line is that of one aggregate or query, whose types all its commands have
      const place = lines.place(key, command as T["command"]) as Place<A | typeof beside, E>
      if ("answer" in place)
        return Effect.flatMap(restore(place.answer), (answered) =>
          isBeside(answered) ? restore(besideLine) : Effect.succeed(answered)
        )
      const { turn } = place
      return Effect.ensuring(
        restore(alone(() => turn.leave())),
        Effect.sync(() => turn.leave())
      )
    })
  }
  /** Waits in a line that is not free; undefined if it is. Call it where interruptions wait; `restore` lets them in. */
  const waitInLine = <A, E, R>(
    key: LineKey,
    command: unknown,
    restore: (effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>,
    besideLine: () => Effect.Effect<A, E, R>
  ): Effect.Effect<A, E, R> | undefined => {
    if (join === false) return undefined
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a line is that of one aggregate or query, whose types all its commands have
    const answer = lines.wait(key, command as T["command"]) as Effect.Effect<A, E> | undefined
    return answer === undefined
      ? undefined
      : Effect.flatMap(restore(answer), (answered) =>
          isBeside(answered) ? restore(besideLine()) : Effect.succeed(answered)
        )
  }

  return {
    inLine,
    waitInLine,
    /** Takes the turn in a free line; undefined if the line is not free. */
    takeTurn: (key: LineKey): Turn | undefined => (join === false ? noLine : lines.turn(key))
  }
}

const isBeside = (answered: unknown): answered is typeof beside => answered === beside
