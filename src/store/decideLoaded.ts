/**
 * A command in its turn, to an aggregate whose state is not remembered. It loads the state, and commands that came meanwhile are
 * decided together with it, instead of waiting for its append as well.
 */
import { type Context, Effect } from "effect"
import type * as Event from "../domain/Event.ts"
import type { LineKey, Turn } from "./commandLine.ts"
import type { Carried, GoOn, JoinOthers, PlainCommand } from "./decideRemembered.ts"
import type { Loader } from "./load.ts"
import type { Memory, Recalled } from "./rememberedStates.ts"
import type { LoadedState } from "./snapshots.ts"

interface Services {
  readonly loader: Loader
  readonly memory: Memory
  readonly goOn: GoOn
  readonly joinOthers: JoinOthers
}

export const makeDecideLoaded =
  ({ goOn, joinOthers, loader, memory }: Services) =>
  <Type extends string, State, Payload extends Event.Tagged, Id, E, R>(
    services: Context.Context<never>,
    command: PlainCommand<Type, State, Payload, Id, E, R>,
    key: LineKey,
    turn: Turn
  ): Carried<Type, State, Payload, E, R> => {
    const { aggregate, id } = command
    const slot = memory.slot(aggregate, key.id, false, services)
    const decided = (
      known: LoadedState<State>,
      is: Recalled<State>["is"]
    ): Carried<Type, State, Payload, E, R> => goOn(command, slot, () => turn.leave(), { known, is })
    const known = slot.recall()
    if (known !== undefined) return decided(known, "unconfirmed")
    return Effect.flatMap(loader.load(aggregate, id), (loaded) => {
      slot.keep(loaded)
      return turn.isWanted ? joinOthers(turn, command, slot, loaded) : decided(loaded, "confirmed")
    })
  }
