/** Carries out the commands of a repository: the general way, or on the fast path of a plain decision on a remembered state. */
import { Context, type Duration, Effect, Result, type Schedule, type Schema } from "effect"
import type * as Aggregate from "../domain/Aggregate.ts"
import { CurrentDerivedIds } from "../domain/derivedIds.ts"
import type * as Event from "../domain/Event.ts"
import * as commands from "./commandKey.ts"
import * as loop from "./decide.ts"
import { type Carried, type GoOn, makeDecideRemembered, type PlainCommand } from "./decideRemembered.ts"
import type { StreamDecisions } from "./decideOnStream.ts"
import { aggregateId as encodeId } from "./encode.ts"
import type { EventStore } from "./EventStore.ts"
import type { ExpectedVersion } from "../driver/StoreError.ts"
import { type JoinOptions, makeInLine } from "./inLine.ts"
import { makeJoined } from "./joinedAppend.ts"
import { makeJoinedStreams, type StreamTypes } from "./joinedStreams.ts"
import type { Loader } from "./load.ts"
import type { Memory, Slot } from "./rememberedStates.ts"

/** The services of a repository. */
export interface Services {
  readonly store: EventStore["Service"]
  readonly loader: Loader
  readonly decisions: StreamDecisions
  readonly memory: Memory
}

/** Settings of commands. */
export interface Options {
  readonly retry?: Schedule.Schedule<unknown> | undefined
  readonly commandTimeToLive?: Duration.Input | undefined
  readonly join?: JoinOptions | false | undefined
}

/**
 * The identity of a command that must be carried out only once, even if it arrives several times.
 *
 * **Details**
 *
 * The outcome is stored under the key in the same transaction as the events, even if there are none. Running the command again
 * returns that outcome, with the state of that time, without calling `decide`. Concurrent callers may each call `decide`; one
 * appends, and the others receive its outcome. A command that fails is not recorded, and is decided anew when it runs again.
 */
export interface Command {
  /** Unique within the tenant, 1 to 255 characters: the id of a message, or the idempotency key of a client. */
  readonly key: string
  /**
   * The content that distinguishes the command from others, usually its arguments. The same key with other content, or for
   * another aggregate, is refused with `CommandKeyConflict`. The order of object keys does not matter.
   */
  readonly content?: Schema.Json | undefined
  /** Time after which the key is forgotten. At least a millisecond. Default: that of the layer. */
  readonly timeToLive?: Duration.Input | undefined
}

/** Settings of one {@link Repository} command. */
export interface ExecuteOptions<out C extends Command | undefined = Command | undefined> {
  /** Carries out repeated commands only once. Default: every call is a command of its own. */
  readonly command?: C | undefined
  /** Schedule for deciding again after a version conflict; it should be bounded. Default: that of the layer. */
  readonly retry?: Schedule.Schedule<unknown> | undefined
  /**
   * The version that the aggregate must have, for example the one that a client has seen. Any other version raises a
   * `VersionConflict` without a retry. A repeated command returns its first outcome and ignores this version. Default:
   * `"any"`.
   */
  readonly expectedVersion?: ExpectedVersion | undefined
  /**
   * The id of the event with the expected version, which is then a number from 1: another event there is a `VersionConflict`
   * too, as the stream then has another history. Default: any event.
   */
  readonly expectedEventId?: Event.EventId | undefined
  /**
   * Decides on a state loaded from the store, whatever is remembered. A command is exact without it too: what is decided on a
   * remembered state counts only when the store has confirmed that state. Default: false.
   */
  readonly fresh?: boolean | undefined
}

const plain = {
  ids: undefined,
  command: undefined,
  expectedVersion: "any",
  expectedEventId: undefined
} as const

/** `execute` of a repository. */
export const makeExecute = (repository: Services, options: Options) => {
  const { decisions, loader, memory, store } = repository
  const schedule = options.retry ?? loop.defaultRetry
  const commandTimeToLive = commands.makeTimeToLive(options.commandTimeToLive ?? "24 hours")
  const { inLine, takeTurn, waitInLine } = makeInLine<StreamTypes>(
    options.join,
    makeJoined(makeJoinedStreams(store, loader, decisions), schedule)
  )

  const commandOf = Effect.fnUntraced(function* <
    Type extends string,
    State,
    Payload extends Event.Tagged,
    Id
  >(aggregate: Aggregate.Aggregate<Type, State, Payload, Id>, id: Id, { timeToLive, ...command }: Command) {
    return yield* commands.make(
      command,
      aggregate.type,
      yield* Effect.fromResult(encodeId(aggregate, id)),
      timeToLive === undefined ? commandTimeToLive : commands.makeTimeToLive(timeToLive)
    )
  })

  const general = <Type extends string, State, Payload extends Event.Tagged, Id, E, R>(
    { aggregate, decide, id }: PlainCommand<Type, State, Payload, Id, E, R>,
    { command: given, expectedEventId, expectedVersion = "any", fresh = false, retry }: ExecuteOptions
  ): Carried<Type, State, Payload, E, R> =>
    loop.withIds(
      // A repeated command takes its ids too, so that later commands get the same ids as in the first run.
      () =>
        Result.map(encodeId(aggregate, id), (aggregateId) => ({
          aggregateType: aggregate.type,
          aggregateId
        })),
      (derived) =>
        Effect.flatMap(
          given === undefined ? Effect.undefined : commandOf(aggregate, id, given),
          (command): Carried<Type, State, Payload, E, R> => {
            const wanted = { aggregate, id, ids: derived.ids, command, expectedVersion, expectedEventId }
            const once = (
              attempts: Carried<Type, State, Payload, E, R>
            ): Carried<Type, State, Payload, E, R> =>
              command === undefined
                ? attempts
                : Effect.flatMap(decisions.carriedOut(aggregate, id, command), (before) =>
                    before === undefined ? attempts : Effect.succeed(before)
                  )
            const alone = (slot: Slot<State>, onEffect?: () => void): Carried<Type, State, Payload, E, R> =>
              loop.run(decisions.subject({ ...wanted, slot }), decide, derived, retry ?? schedule, onEffect)
            return once(
              Effect.flatMap(memory.slotOf(aggregate, id, fresh), (slot) =>
                retry === undefined && slot.line !== undefined
                  ? inLine(
                      slot.line,
                      { ...wanted, decide, slot },
                      (leave) => alone(slot, leave),
                      // Few commands go beside their line, and making this takes longer than to decide.
                      Effect.suspend(() => once(alone(slot)))
                    )
                  : alone(slot)
              )
            )
          }
        )
    )

  const goOn: GoOn = ({ aggregate, decide, id }, slot, leave, recalled) =>
    loop.run(
      decisions.subject({ ...plain, aggregate, id, slot }, recalled),
      decide,
      { ids: undefined, isRefused: false },
      schedule,
      leave
    )

  /** A plain command whose line is not free. Returns undefined otherwise; the general way does the same and takes longer. */
  const waitPlain = <Type extends string, State, Payload extends Event.Tagged, Id, E, R>(
    services: Context.Context<never>,
    { aggregate, decide, id }: PlainCommand<Type, State, Payload, Id, E, R>,
    restore: (effect: Carried<Type, State, Payload, E, R>) => Carried<Type, State, Payload, E, R>
  ): Carried<Type, State, Payload, E, R> | undefined => {
    const encoded = encodeId(aggregate, id)
    if (Result.isFailure(encoded)) return undefined
    const slot = memory.slot(aggregate, encoded.success, false, services)
    const { line } = slot
    if (line === undefined) return undefined
    const wanted = { aggregate, id, ...plain, decide, slot }
    return waitInLine(line, wanted, restore, () =>
      loop.run(decisions.subject(wanted), decide, { ids: undefined, isRefused: false }, schedule)
    )
  }

  const decideRemembered = makeDecideRemembered({ store, loader, decisions, memory, goOn }, takeTurn)

  return <Type extends string, State, Payload extends Event.Tagged, Id, E, R>(
    services: Context.Context<never>,
    command: PlainCommand<Type, State, Payload, Id, E, R>,
    given: ExecuteOptions
  ): Carried<Type, State, Payload, E, R> =>
    isPlain(given) && Context.get(services, CurrentDerivedIds) === undefined
      ? Effect.flatMap(store.inTransaction, (isOpen) =>
          isOpen
            ? general(command, given)
            : Effect.uninterruptibleMask(
                (restore) =>
                  decideRemembered(services, command, restore) ??
                  waitPlain(services, command, restore) ??
                  restore(general(command, given))
              )
        )
      : general(command, given)
}

const isPlain = ({ command, expectedEventId, expectedVersion, fresh, retry }: ExecuteOptions): boolean =>
  command === undefined &&
  expectedEventId === undefined &&
  (expectedVersion === undefined || expectedVersion === "any") &&
  fresh !== true &&
  retry === undefined
