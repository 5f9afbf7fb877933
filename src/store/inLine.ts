/** Commands in the lines of their aggregates, and decisions in those of their queries. */
import { Effect } from "effect"
import { type Kept, type LineKey, makeLines, type Place, type Turn } from "./commandLine.ts"
import { beside, type Member, type Types } from "./decideTogether.ts"

/** Settings for deciding waiting commands together. */
export interface JoinOptions {
  /** Maximum number of commands that are decided together; further ones wait. Default: 256. */
  readonly commands?: number | undefined
  /**
   * Lets processes that refuse each other's appends to an aggregate take turns: each reserves it for some appends, on a connection
   * of its own. Only commands of a repository do. `false` turns it off. Default: true, where the storage has reservations.
   */
  readonly reserve?: boolean | undefined
}

/** Without lines nobody waits. */
const withoutLine: { readonly turn: Turn } = {
  turn: {
    isWanted: false,
    leave: () => {},
    join: () => Effect.die(new Error("there is no line to join"))
  }
}

type Entered<A, E, R> = { readonly turn: Turn } | { readonly answer: Effect.Effect<A, E, R> }

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

  /** The turn in a free line, or the answer to a command that waits and is carried out with others. Call it where interruptions wait. */
  const enterLine = <A, E, R>(
    key: LineKey,
    command: () => unknown,
    /** Lets interruptions in. */
    restore: (effect: Effect.Effect<A | typeof beside, E>) => Effect.Effect<A | typeof beside, E>,
    besideLine: () => Effect.Effect<A, E, R>
  ): Entered<A, E, R> => {
    if (join === false) return withoutLine
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a line is that of one aggregate or query, whose types all its commands have
    const place = lines.place(key, command as () => T["command"]) as Place<never, A | typeof beside, E, never>
    return "turn" in place
      ? place
      : {
          answer: Effect.flatMap(restore(place.answer), (answered) =>
            isBeside(answered) ? besideLine() : Effect.succeed(answered)
          )
        }
  }

  const inLine = <A, E, R>(
    key: LineKey,
    command: unknown,
    alone: (leave: () => void) => Effect.Effect<A, E, R>,
    besideLine: Effect.Effect<A, E, R>
  ): Effect.Effect<A, E, R> =>
    Effect.uninterruptibleMask((restore) => {
      const entered = enterLine<A, E, R>(
        key,
        () => command,
        restore,
        () => restore(besideLine)
      )
      if ("answer" in entered) return entered.answer
      const { turn } = entered
      return Effect.ensuring(
        restore(alone(() => turn.leave())),
        Effect.sync(() => turn.leave())
      )
    })

  /**
   * Leaves a turn that is wanted to be carried out with those that wait, on the state that it has loaded. Call it where
   * interruptions are let in.
   */
  const joinLine = <A, E, R>(
    turn: Turn,
    command: unknown,
    loaded: unknown,
    besideLine: () => Effect.Effect<A, E, R>
  ): Effect.Effect<A, E, R> => {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a line is that of one aggregate or query, whose types all its commands have
    const own = turn as Turn<T["command"], A | typeof beside, E, T["known"]>
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- as above
    return Effect.flatMap(own.join(command as T["command"], loaded as T["known"]), (answered) =>
      isBeside(answered) ? besideLine() : Effect.succeed(answered)
    )
  }

  return { enterLine, inLine, joinLine }
}

const isBeside = (answered: unknown): answered is typeof beside => answered === beside
