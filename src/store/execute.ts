/** Carries out the commands of a repository: the general way, or on the fast path of a plain decision on a remembered state. */
import { Context, type Duration, Effect, Result, type Schedule, type Schema } from "effect"
import type * as Aggregate from "../domain/Aggregate.ts"
import type { CurrentTenant } from "../domain/Tenant.ts"
import { CurrentDerivedIds } from "../domain/derivedIds.ts"
import type * as Event from "../domain/Event.ts"
import { tenantOf } from "../domain/currentTenant.ts"
import * as commands from "./commandKey.ts"
import * as loop from "./decide.ts"
import type { LineKey } from "./commandLine.ts"
import type { Contention } from "./contention.ts"
import { makeDecideLoaded } from "./decideLoaded.ts"
import {
  type Carried,
  type GoOn,
  type JoinOthers,
  makeDecideRemembered,
  type PlainCommand
} from "./decideRemembered.ts"
import type { Outcome, StreamDecisions } from "./decideOnStream.ts"
import { aggregateId as encodeId } from "./encode.ts"
import type { AppendFailure, EventStore } from "./EventStore.ts"
import type { CommandKey } from "../driver/EventStorage.ts"
import type { ExpectedVersion, InvalidCommand, InvalidId, StorageUnavailable } from "../driver/StoreError.ts"
import { makeReserving } from "./reserving.ts"
import { type JoinOptions, makeInLine } from "./inLine.ts"
import { makeJoined } from "./joinedAppend.ts"
import { makeJoinedStreams, type StreamTypes } from "./joinedStreams.ts"
import type { Loader } from "./load.ts"
import type { Memory, Slot } from "./rememberedStates.ts"
import { mayBePersonal } from "./snapshotCodec.ts"

/** The services of a repository. */
export interface Services {
  readonly store: EventStore["Service"]
  readonly loader: Loader
  readonly decisions: StreamDecisions
  readonly memory: Memory
  readonly contention: Contention
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
   *
   * Only a hash is stored, as long as the key. For an aggregate with personal fields it is a hash under a key of the tenant
   * (`Forgetting.layer`), as a name or an address could be guessed from a plain one by trying: mark what is personal. The key itself is
   * stored as it is.
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

/** A command that arrives with its key, if it has one. */
interface Called<Type extends string, State, Payload extends Event.Tagged, Id, E, R> extends Omit<
  PlainCommand<Type, State, Payload, Id, E, R>,
  "command"
> {}

const unconditional = {
  ids: undefined,
  expectedVersion: "any",
  expectedEventId: undefined
} as const

/** `execute` of a repository. */
export const makeExecute = (repository: Services, options: Options) => {
  const { contention, decisions, loader, memory, store } = repository
  const schedule = options.retry ?? loop.defaultRetry
  const commandTimeToLive = commands.makeTimeToLive(options.commandTimeToLive ?? "24 hours")
  const { join } = options
  const reserving = join === false || join?.reserve === false ? undefined : makeReserving(store, contention)
  const { enterLine, inLine, joinLine } = makeInLine<StreamTypes>(
    options.join,
    makeJoined(makeJoinedStreams(store, loader, decisions, reserving), schedule)
  )

  const commandOf = <Type extends string, State, Payload extends Event.Tagged, Id>(
    aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
    id: Id,
    { content, key, timeToLive }: Command
  ): Effect.Effect<CommandKey, InvalidCommand | InvalidId | StorageUnavailable, CurrentTenant> => {
    const encoded = encodeId(aggregate, id)
    return Result.isFailure(encoded)
      ? Effect.fail(encoded.failure)
      : commands.make(
          { key, content },
          aggregate.type,
          encoded.success,
          timeToLive === undefined ? commandTimeToLive : commands.makeTimeToLive(timeToLive),
          store.sealFingerprint !== undefined && mayBePersonal(aggregate) ? store.sealFingerprint : undefined
        )
  }

  /** The outcome of a command that was carried out before, or else of `attempts`. */
  const once = <Type extends string, State, Payload extends Event.Tagged, Id, E, R>(
    { aggregate, command, id }: PlainCommand<Type, State, Payload, Id, E, R>,
    attempts: Carried<Type, State, Payload, E, R>
  ): Carried<Type, State, Payload, E, R> =>
    command === undefined
      ? attempts
      : Effect.flatMap(decisions.carriedOut(aggregate, id, command), (before) =>
          before === undefined ? attempts : Effect.succeed(before)
        )

  const general = <Type extends string, State, Payload extends Event.Tagged, Id, E, R>(
    { aggregate, decide, id }: Called<Type, State, Payload, Id, E, R>,
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
            const plain = { aggregate, id, command, decide }
            const alone = (slot: Slot<State>, onEffect?: () => void): Carried<Type, State, Payload, E, R> =>
              loop.run(decisions.subject({ ...wanted, slot }), decide, derived, retry ?? schedule, onEffect)
            return once(
              plain,
              Effect.flatMap(memory.slotOf(aggregate, id, fresh), (slot) =>
                retry === undefined && slot.line !== undefined
                  ? inLine(
                      slot.line,
                      { ...wanted, decide, slot },
                      (leave) => alone(slot, leave),
                      // Few commands go beside their line, and making this takes longer than to decide.
                      Effect.suspend(() => once(plain, alone(slot)))
                    )
                  : alone(slot)
              )
            )
          }
        )
    )

  const goOn: GoOn = ({ aggregate, command, decide, id }, slot, leave, recalled) =>
    loop.run(
      decisions.subject({ ...unconditional, aggregate, id, command, slot }, recalled),
      decide,
      { ids: undefined, isRefused: false },
      schedule,
      leave
    )

  /** Outside of its line, as its decision is an effect. */
  const beside = <Type extends string, State, Payload extends Event.Tagged, Id, E, R>(
    plain: PlainCommand<Type, State, Payload, Id, E, R>,
    slot: Slot<State>
  ): Carried<Type, State, Payload, E, R> =>
    once(
      plain,
      Effect.suspend(() =>
        loop.run(
          decisions.subject({ ...plain, ...unconditional, slot }),
          plain.decide,
          { ids: undefined, isRefused: false },
          schedule
        )
      )
    )

  const joinOthers: JoinOthers = (turn, plain, slot, loaded) =>
    joinLine(turn, { ...plain, ...unconditional, slot, isCounted: loaded !== undefined }, loaded, () =>
      beside(plain, slot)
    )

  const decideRemembered = makeDecideRemembered({
    store,
    loader,
    decisions,
    memory,
    contention,
    goOn,
    joinOthers
  })
  const decideLoaded = makeDecideLoaded({ loader, memory, goOn, joinOthers })

  /** A command outside of a transaction, without an expectation or a schedule of its own. Its key was looked up. */
  const inTurn = <Type extends string, State, Payload extends Event.Tagged, Id, E, R>(
    services: Context.Context<never>,
    plain: PlainCommand<Type, State, Payload, Id, E, R>
  ): Carried<Type, State, Payload, E, R> => {
    const { aggregate: subject, id } = plain
    const encoded = encodeId(subject, id)
    if (Result.isFailure(encoded)) return Effect.fail(encoded.failure)
    const key: LineKey = { tenantId: tenantOf(services), subject, id: encoded.success }
    const slotNow = (): Slot<State> => memory.slot(subject, key.id, false, services)
    return Effect.uninterruptibleMask((restore) => {
      const entered = enterLine<
        Outcome<State, Payload, Type>,
        E | AppendFailure<undefined, CommandKey>,
        R | CurrentTenant
      >(
        key,
        () => ({ ...plain, ...unconditional, slot: slotNow() }),
        restore,
        () => restore(beside(plain, slotNow()))
      )
      if ("answer" in entered) return entered.answer
      const { turn } = entered
      const carried =
        reserving !== undefined && contention.isWanted(key)
          ? joinOthers(turn, plain, slotNow(), undefined)
          : (decideRemembered(services, plain, key, turn) ?? decideLoaded(services, plain, key, turn))
      return Effect.onExit(restore(carried), () => {
        turn.leave()
        return Effect.void
      })
    })
  }

  return <Type extends string, State, Payload extends Event.Tagged, Id, E, R>(
    services: Context.Context<never>,
    called: Called<Type, State, Payload, Id, E, R>,
    given: ExecuteOptions
  ): Carried<Type, State, Payload, E, R> => {
    if (!isPlain(given) || Context.get(services, CurrentDerivedIds) !== undefined)
      return general(called, given)
    const { aggregate, decide, id } = called
    return Effect.flatMap(store.inTransaction, (isOpen): Carried<Type, State, Payload, E, R> => {
      if (isOpen) return general(called, given)
      if (given.command === undefined) return inTurn(services, { aggregate, id, command: undefined, decide })
      return Effect.flatMap(commandOf(aggregate, id, given.command), (command) => {
        const plain = { aggregate, id, command, decide }
        return once(
          plain,
          Effect.suspend(() => inTurn(services, plain))
        )
      })
    })
  }
}

const isPlain = ({ expectedEventId, expectedVersion, fresh, retry }: ExecuteOptions): boolean =>
  expectedEventId === undefined &&
  (expectedVersion === undefined || expectedVersion === "any") &&
  fresh !== true &&
  retry === undefined
