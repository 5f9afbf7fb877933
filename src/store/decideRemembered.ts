/**
 * Fast path of `Repository.execute`: a plain decision on a remembered state, if no other command to the aggregate is under way.
 * It declines everything else, and goes on the general way if the state was not the present one, and with everything that only
 * the general way answers for a command with a key.
 */
import { type Context, Effect, Result } from "effect"
import type * as Aggregate from "../domain/Aggregate.ts"
import type * as Event from "../domain/Event.ts"
import type { CurrentTenant } from "../domain/Tenant.ts"
import type { CommandKey } from "../driver/EventStorage.ts"
import type { Decision } from "./decide.ts"
import {
  advanced,
  expectedOf,
  isOutdated,
  type Outcome,
  stateOf,
  type StreamCommand,
  type StreamDecisions,
  type Written
} from "./decideOnStream.ts"
import { weightOf } from "./encode.ts"
import type { AppendFailure, EventStore } from "./EventStore.ts"
import type { LineKey, Turn } from "./commandLine.ts"
import type { Contention } from "./contention.ts"
import type { Loader } from "./load.ts"
import type { Memory, Recalled, Slot } from "./rememberedStates.ts"
import type { LoadedState } from "./snapshots.ts"

/** The outcome of a command. */
export type Carried<Type extends string, State, Payload extends Event.Tagged, E, R> = Effect.Effect<
  Outcome<State, Payload, Type>,
  E | AppendFailure<undefined, CommandKey>,
  R | CurrentTenant
>

/** A command without an expectation or a schedule of its own. If it has a key, that was looked up: it is a new one. */
export interface PlainCommand<Type extends string, State, Payload extends Event.Tagged, Id, E, R> {
  readonly aggregate: Aggregate.Aggregate<Type, State, Payload, Id>
  readonly id: Id
  readonly command: CommandKey | undefined
  readonly decide: (state: State) => Decision<ReadonlyArray<Event.Appendable<Payload>>, E, R>
}

/** The general way from a recalled state. It calls `leave` before the effect of a decision runs. */
export type GoOn = <Type extends string, State, Payload extends Event.Tagged, Id, E, R>(
  command: PlainCommand<Type, State, Payload, Id, E, R>,
  slot: Slot<State>,
  leave: () => void,
  recalled: Recalled<State>
) => Carried<Type, State, Payload, E, R>

/** Has a command carried out with those that wait for the end of its turn. */
export type JoinOthers = <Type extends string, State, Payload extends Event.Tagged, Id, E, R>(
  turn: Turn,
  command: PlainCommand<Type, State, Payload, Id, E, R>,
  slot: Slot<State>,
  /** The state, if the command has just loaded it. */
  loaded: LoadedState<State> | undefined
) => Carried<Type, State, Payload, E, R>

interface Services {
  readonly store: EventStore["Service"]
  readonly loader: Loader
  readonly decisions: StreamDecisions
  readonly memory: Memory
  readonly contention: Contention
  readonly goOn: GoOn
  readonly joinOthers: JoinOthers
}

/** The end of this turn of the event loop: commands that come back together have then come to their line. */
const endOfTurn: Effect.Effect<void> = Effect.callback<void>((resume) => {
  queueMicrotask(() => resume(Effect.void))
})

/** A command in its turn. A class, because closures for each command would take time. */
class Attempt<Type extends string, State, Payload extends Event.Tagged, Id, E, R> {
  readonly #repository: Services
  readonly #services: Context.Context<never>
  readonly #command: PlainCommand<Type, State, Payload, Id, E, R>
  readonly #key: LineKey
  readonly #known: LoadedState<State>
  readonly turn: Turn

  constructor(
    repository: Services,
    services: Context.Context<never>,
    command: PlainCommand<Type, State, Payload, Id, E, R>,
    key: LineKey,
    known: LoadedState<State>,
    turn: Turn
  ) {
    this.#repository = repository
    this.#services = services
    this.#command = command
    this.#key = key
    this.#known = known
    this.turn = turn
  }

  run(): Carried<Type, State, Payload, E, R> {
    // Keys are looked up together, so that several commands of an aggregate may come back at once.
    return this.#command.command === undefined
      ? this.#alone()
      : Effect.flatMap(endOfTurn, () =>
          this.turn.isWanted
            ? this.#repository.joinOthers(this.turn, this.#command, this.#slot(), undefined)
            : this.#alone()
        )
  }

  #alone(): Carried<Type, State, Payload, E, R> {
    this.#repository.memory.hit(this.#services, this.#command.aggregate.type)
    let yielded
    try {
      yielded = this.#command.decide(this.#known.state)
    } catch (defect) {
      return this.#confirmed(Effect.die(defect))
    }
    // An effect is left to the general way, which lets the next commands go on before it runs.
    if (Effect.isEffect(yielded)) return this.#goOn("unconfirmed")
    if (!Result.isResult(yielded)) return this.#decided(yielded)
    return Result.isFailure(yielded)
      ? this.#confirmed(Effect.fail(yielded.failure))
      : this.#decided(yielded.success)
  }

  #decided(events: ReadonlyArray<Event.Appendable<Payload>>): Carried<Type, State, Payload, E, R> {
    if (events.length > 0 || this.#command.command !== undefined) return this.#append(events)
    const outcome = { ...stateOf(this.#known), events: [], replayed: false }
    return this.#confirmed(this.#considered(this.#known, outcome))
  }

  /** Neither a refusal nor a decision without events counts before the store has confirmed the state. */
  #confirmed(answer: Carried<Type, State, Payload, E, R>): Carried<Type, State, Payload, E, R> {
    const { aggregate, command, id } = this.#command
    // The refusal of a command that another caller may have carried out meanwhile is not the last word.
    if (command !== undefined) return this.#goOn("unconfirmed")
    return Effect.flatMap(this.#repository.loader.isPresent(aggregate, id, this.#known), (isPresent) =>
      isPresent ? answer : this.#goOn("outdated")
    )
  }

  #append(decided: ReadonlyArray<Event.Appendable<Payload>>): Carried<Type, State, Payload, E, R> {
    const { aggregate, command, id } = this.#command
    const { store } = this.#repository
    return Effect.flatMap(store.encode({ aggregate, id, events: decided }), (events) =>
      Effect.flatMap(
        Effect.result(
          store.append({
            aggregate,
            id,
            events,
            command,
            forgotten: this.#known.forgotten,
            ...expectedOf(stateOf(this.#known))
          })
        ),
        (sent): Carried<Type, State, Payload, E, R> =>
          Result.isSuccess(sent)
            ? this.#appended({ appended: sent.success, weight: weightOf(events) })
            : isOutdated(sent.failure)
              ? this.#refused()
              : Effect.fail(sent.failure)
      )
    )
  }

  /** Another process may have been faster. */
  #refused(): Carried<Type, State, Payload, E, R> {
    this.#repository.contention.lost(this.#key, false)
    return this.#goOn("outdated")
  }

  #appended(written: Written<Payload, Type>): Carried<Type, State, Payload, E, R> {
    const { appended, weight } = written
    const { aggregate } = this.#command
    if (appended.replayed) return this.#replayed(written)
    const { events } = appended
    const next = advanced(aggregate, this.#known, events, weight)
    const { id, tenantId } = this.#key
    this.#repository.memory.states.keep(tenantId, aggregate, id, next, this.#services, false)
    return this.#considered(next, { ...stateOf(next), events, replayed: false })
  }

  /** Takes a snapshot if it is due. */
  #considered(
    known: LoadedState<State>,
    outcome: Outcome<State, Payload, Type>
  ): Carried<Type, State, Payload, E, R> {
    const { aggregate, id } = this.#command
    const { loader } = this.#repository
    return loader.areSnapshotsUsed(aggregate.type)
      ? Effect.suspend(() =>
          Effect.as(loader.consider(aggregate, id, known, outcome.events.length, this.#slot()), outcome)
        )
      : Effect.succeed(outcome)
  }

  /** The store had the events, by their ids. */
  #replayed(written: Written<Payload, Type>): Carried<Type, State, Payload, E, R> {
    const { aggregate, command, id } = this.#command
    const wanted: StreamCommand<Type, State, Payload, Id> = {
      aggregate,
      id,
      ids: undefined,
      command,
      expectedVersion: "any",
      expectedEventId: undefined,
      slot: this.#slot()
    }
    return Effect.flatMap(
      this.#repository.decisions.replayed(wanted, this.#known, written),
      (outcome): Carried<Type, State, Payload, E, R> =>
        outcome === undefined ? this.#goOn("outdated") : Effect.succeed(outcome)
    )
  }

  #slot(): Slot<State> {
    return this.#repository.memory.slot(this.#command.aggregate, this.#key.id, false, this.#services)
  }

  #goOn(is: Recalled<State>["is"]): Carried<Type, State, Payload, E, R> {
    return this.#repository.goOn(this.#command, this.#slot(), () => this.turn.leave(), {
      known: this.#known,
      is
    })
  }
}

export const makeDecideRemembered =
  (repository: Services) =>
  /** Returns undefined if it declines. */
  <Type extends string, State, Payload extends Event.Tagged, Id, E, R>(
    services: Context.Context<never>,
    command: PlainCommand<Type, State, Payload, Id, E, R>,
    key: LineKey,
    turn: Turn
  ): Carried<Type, State, Payload, E, R> | undefined => {
    const known = repository.memory.states.find(key.tenantId, command.aggregate, key.id)
    return known === undefined
      ? undefined
      : new Attempt(repository, services, command, key, known, turn).run()
  }
