/** Commands of a repository in the lines of their aggregates. */
import { Effect } from "effect"
import type * as Event from "../domain/Event.ts"
import { type LineKey, makeLines, type Place, type Turn } from "./commandLine.ts"
import { type Answer, beside, type JoinedCommand } from "./decideTogether.ts"
import type { makeJoined } from "./joinedAppend.ts"

/** Settings for deciding waiting commands together. */
export interface JoinOptions {
  /** Maximum number of commands that are decided together; further ones wait. Default: 256. */
  readonly commands?: number | undefined
}

/** Without lines nobody waits. */
const noLine: Turn = { leave: () => {} }

/**
 * Carries a command out in the line of its aggregate: alone if the line is free, otherwise together with the others, or outside
 * the line if it cannot be decided with them.
 */
export const makeInLine = (join: JoinOptions | false | undefined, run: ReturnType<typeof makeJoined>) => {
  type Any = JoinedCommand<string, unknown, Event.Tagged, unknown>
  const { commands: maxCommands = 256 } = join === false ? {} : (join ?? {})
  if (!Number.isSafeInteger(maxCommands) || maxCommands < 1)
    throw new RangeError("join.commands must be a positive integer")
  const lines = makeLines<Any, Answer<unknown, Event.Tagged, string>, unknown>(maxCommands, run)

  const inLine = <Type extends string, State, Payload extends Event.Tagged, Id, A, E, R>(
    key: LineKey,
    command: JoinedCommand<Type, State, Payload, Id>,
    alone: (leave: () => void) => Effect.Effect<A, E, R>,
    besideLine: Effect.Effect<A, E, R>
  ): Effect.Effect<A, E, R> => {
    if (join === false) return alone(() => {})
    return Effect.uninterruptibleMask((restore) => {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a line is that of one aggregate, whose types all its commands have
      const place = lines.place(key, command as unknown as Any) as Place<A | typeof beside, E>
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
  return {
    inLine,
    /** Takes the turn in a free line; undefined if the line is not free. */
    takeTurn: (key: LineKey): Turn | undefined => (join === false ? noLine : lines.turn(key))
  }
}

const isBeside = (answered: unknown): answered is typeof beside => answered === beside
