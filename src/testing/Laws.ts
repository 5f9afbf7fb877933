/**
 * Laws that hold for every correct aggregate, each tested on a hundred arbitrary histories. A broken law shows the shortest
 * history that breaks it.
 *
 * **Example**
 *
 * ```ts
 * import { Arbitraries, Laws } from "effect-eventsourcing/testing"
 *
 * Laws.aggregate(Account, {
 *   decisions: {
 *     open: Arbitraries.decision(Schema.NonEmptyString, open),
 *     deposit: Arbitraries.decision(Amount, deposit),
 *     close
 *   },
 *   idempotent: ["open", "close"]
 * })
 * ```
 */
import { describe, it } from "@effect/vitest"
import { Arbitrary, Effect, Equal, Layer, Result, Schedule, Schema } from "effect"
import type * as Aggregate from "../domain/Aggregate.ts"
import type * as Event from "../domain/Event.ts"
import type { EventStorage } from "../driver/EventStorage.ts"
import { payloadOf } from "./domain/decision.ts"
import {
  type Command,
  commandsOf,
  decideNow,
  type Decisions,
  eventsOf,
  initialOf,
  play,
  type Played,
  showCommand
} from "./domain/history.ts"
import {
  type CheckOptions,
  checkLaw,
  showCommands,
  showPlayed,
  tell,
  threw,
  unequal,
  unequalTexts,
  type Violation
} from "./domain/law.ts"
import { deepFreeze, elsewhere } from "./domain/purity.ts"
import { mutation } from "./domain/mutation.ts"
import { show } from "./domain/show.ts"
import { eventProblem, formerEvents, throughText, upcastProblem } from "./domain/roundTrip.ts"
import * as MemoryStorage from "../memory/MemoryStorage.ts"
import { type Decision, Repository } from "../store/Repository.ts"
import * as StoredEvents from "../domain/StoredEvents.ts"
import * as Arbitraries from "./Arbitraries.ts"
import * as TenantScenario from "./TenantScenario.ts"

export type { CheckOptions }

/** Raised when a law does not hold. The message shows the smallest counterexample that was found. */
export class LawBroken extends Schema.TaggedError<LawBroken>()("LawBroken", {
  /** The name of the function that checks it, for example `foldIsTotal`. */
  law: Schema.String,
  aggregateType: Schema.String,
  message: Schema.String,
  /** Given as an option, it runs the same counterexample again. */
  replay: Schema.UndefinedOr(Schema.String)
}) {}

/** Options of a law. */
export interface Options<State, Payload> extends CheckOptions {
  /**
   * The aggregate's decisions, to try only histories that they lead to. Default: any events in any order, for a fold that
   * must cope with that.
   */
  readonly decisions?: Decisions<State, Payload> | undefined
}

/** Options of {@link decisionsAreTotal}. */
export interface DecisionOptions<State, Payload> extends CheckOptions {
  readonly decisions: Decisions<State, Payload>
}

/** Options of {@link decisionsAreIdempotent}. */
export interface IdempotenceOptions<State, Payload> extends DecisionOptions<State, Payload> {
  /** The names of the decisions that must be idempotent. Default: all. */
  readonly idempotent?: ReadonlyArray<string> | undefined
}

/** Options of {@link upcastersAreTotal}. */
export interface UpcasterOptions extends CheckOptions {
  /** Stored payloads of any version that must be readable. Default: none. */
  readonly samples?: ReadonlyArray<StoredEvents.StoredPayload> | undefined
}

/** Options of {@link tenantsAreIsolated}. */
export interface IsolationOptions<State, Payload, E = never> extends Options<State, Payload> {
  /** The driver of the store. Default: memory. */
  readonly storage?: Layer.Layer<EventStorage, E> | undefined
}

/** Options of {@link aggregate}. */
export interface AggregateOptions<State, Payload, Names extends string, E = never>
  extends IsolationOptions<State, Payload, E>, UpcasterOptions {
  readonly decisions?: Readonly<Record<Names, Decisions<State, Payload>[string]>> | undefined
  /** The decisions that yield no events when they are repeated. Default: none. */
  readonly idempotent?: ReadonlyArray<NoInfer<Names>> | undefined
  /** The title of the tests. Default: "laws of" and the aggregate's type. */
  readonly name?: string | undefined
  /** Timeout of one law in milliseconds. Default: that of vitest. */
  readonly timeout?: number | undefined
}

type AnyAggregate<State, Payload extends Event.Tagged> = Aggregate.Aggregate<string, State, Payload, unknown>

/** Arbitrary commands: decisions, or events without a decision. */
const anyCommands = <State, Payload extends Event.Tagged>(
  of: AnyAggregate<State, Payload>,
  decisions: Decisions<State, Payload> | undefined
): Arbitrary.Arbitrary<ReadonlyArray<Command<State, Decision<Payload, unknown>>>> =>
  decisions === undefined ? eventsOf(Arbitraries.event(of)) : commandsOf<State, Payload>(decisions)

const anyHistory = <State, Payload extends Event.Tagged>(
  of: AnyAggregate<State, Payload>,
  decisions: Decisions<State, Payload> | undefined
): Arbitrary.Arbitrary<Played<State, Payload>> =>
  Arbitrary.map(anyCommands(of, decisions), (commands) => play(of, commands))

const check = <State, Payload extends Event.Tagged, A, R = never>(
  law: string,
  of: AnyAggregate<State, Payload>,
  { replay, runs, seed, size }: CheckOptions,
  arbitrary: () => Arbitrary.Arbitrary<A>,
  showInput: (value: A) => string,
  property: (value: A) => Violation | undefined | Effect.Effect<Violation | undefined, never, R>
): Effect.Effect<void, LawBroken, R> =>
  Effect.suspend(() =>
    checkLaw(law, of.type, { replay, runs, seed, size }, arbitrary(), showInput, property)
  ).pipe(Effect.mapError((report) => new LawBroken({ law, aggregateType: of.type, ...report })))

/** Compares two states by the equivalence of the state's schema. */
const sameState = <State, Payload extends Event.Tagged>(
  of: AnyAggregate<State, Payload>
): ((left: State, right: State) => boolean) => {
  const equivalent = Schema.toEquivalence(of.state)
  return (left, right) => equivalent(left, right)
}

/**
 * Folding never throws, never changes its inputs, and returns the same state each time: it depends on the state and the
 * event only, not on the clock or on chance.
 */
export const foldIsTotal = <Type extends string, State, Payload extends Event.Tagged, Id>(
  aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
  options: Options<State, NoInfer<Payload>> = {}
): Effect.Effect<void, LawBroken> => {
  const same = sameState(aggregate)
  return check(
    "foldIsTotal",
    aggregate,
    options,
    () => anyHistory(aggregate, options.decisions),
    showPlayed,
    ({ events, thrown }) => {
      if (thrown?.doing === "folding") return threw(`folding ${thrown.what}`, thrown.error)
      // From the beginning once more, because a fold that changes its state in place has changed the earlier states too.
      let state = initialOf(aggregate)
      for (const event of events) {
        const before = [show(state), show(event)]
        const next = deepFreeze(aggregate.apply(state, event))
        const after = [show(state), show(event)]
        if (!Equal.equals(before, after)) {
          const problem = `folding ${before[1]} changes what it is given`
          return unequalTexts(problem, ["before", before.join("\n")], ["after", after.join("\n")])
        }
        const again = elsewhere(() => aggregate.apply(state, event))
        if (!same(next, again)) {
          const problem = `folding ${show(event)} twice gives different states`
          return unequal(problem, ["once", next], ["again, at another time", again])
        }
        state = next
      }
      return undefined
    }
  )
}

/**
 * Folding changes neither the state nor the event that it is given. A fold that changes them changes what others hold: the
 * state that was loaded before, events that are appended next, and what is shared between tenants.
 */
export const foldChangesNothing = <Type extends string, State, Payload extends Event.Tagged, Id>(
  of: Aggregate.Aggregate<Type, State, Payload, Id>,
  options: Options<State, NoInfer<Payload>> = {}
): Effect.Effect<void, LawBroken> =>
  check(
    "foldChangesNothing",
    of,
    options,
    () => anyHistory(of, options.decisions),
    showPlayed,
    ({ events }) => mutation(of, events)
  )

/** Folding some events and then the rest gives the same state as folding all of them at once. */
export const foldIsConcatenative = <Type extends string, State, Payload extends Event.Tagged, Id>(
  aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
  options: Options<State, NoInfer<Payload>> = {}
): Effect.Effect<void, LawBroken> => {
  const same = sameState(aggregate)
  return check(
    "foldIsConcatenative",
    aggregate,
    options,
    () => anyHistory(aggregate, options.decisions),
    showPlayed,
    ({ events: all, states }) => {
      const events = all.slice(0, states.length - 1)
      const whole = aggregate.fold(events)
      for (let first = 0; first <= events.length; first++) {
        const parts = aggregate.fold(events.slice(first), aggregate.fold(events.slice(0, first)))
        if (same(whole, parts)) continue
        const problem = `folding the first ${first} of ${events.length} events and then the rest gives another state`
        return unequal(problem, ["all at once", whole], ["in two parts", parts])
      }
      return undefined
    }
  )
}

/** A snapshot changes nothing: after any event the state can be stored, read back and folded on, with the same result. */
export const snapshotsAreEquivalent = <Type extends string, State, Payload extends Event.Tagged, Id>(
  aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
  options: Options<State, NoInfer<Payload>> = {}
): Effect.Effect<void, LawBroken> => {
  const same = sameState(aggregate)
  const codec = Schema.toCodecJson(aggregate.state)
  return check(
    "snapshotsAreEquivalent",
    aggregate,
    options,
    () => anyHistory(aggregate, options.decisions),
    showPlayed,
    ({ events: all, states }) => {
      const events = all.slice(0, states.length - 1)
      const whole = states.at(-1) ?? states[0]
      for (const [version, state] of states.entries()) {
        const stored = throughText(codec, state)
        if (Result.isFailure(stored)) {
          return { problem: `a snapshot of ${show(state)} is impossible`, details: stored.failure }
        }
        const restored = aggregate.fold(events.slice(version), deepFreeze(stored.success))
        if (same(whole, restored)) continue
        const problem = `with a snapshot at version ${version} of ${events.length}, the state is another one`
        return unequal(problem, ["all events", whole], ["snapshot and the rest", restored])
      }
      return undefined
    }
  )
}

/** Every event that the schemas allow survives storage: encoded to JSON text and decoded, it is the same. */
export const eventsRoundTrip = <Type extends string, State, Payload extends Event.Tagged, Id>(
  aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
  options: CheckOptions = {}
): Effect.Effect<void, LawBroken> =>
  check(
    "eventsRoundTrip",
    aggregate,
    options,
    () => Arbitraries.event(aggregate),
    (event) => `with ${show(event)}`,
    (event) => eventProblem(aggregate, event)
  )

/** Every state that a history leads to survives storage: encoded to JSON text and decoded, it is the same. */
export const statesRoundTrip = <Type extends string, State, Payload extends Event.Tagged, Id>(
  aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
  options: Options<State, NoInfer<Payload>> = {}
): Effect.Effect<void, LawBroken> => {
  const same = sameState(aggregate)
  const codec = Schema.toCodecJson(aggregate.state)
  return check(
    "statesRoundTrip",
    aggregate,
    options,
    () => anyHistory(aggregate, options.decisions),
    showPlayed,
    ({ states }) => {
      for (const state of states) {
        const stored = throughText(codec, state)
        if (Result.isFailure(stored)) {
          return {
            problem: `the state ${show(state)} does not survive storage`,
            details: stored.failure
          }
        }
        if (!same(state, stored.success)) {
          return unequal("a state has changed after storage", ["before", state], ["after", stored.success])
        }
      }
      return undefined
    }
  )
}

/** Decisions never throw, never change the state, and yield events that can be stored. */
export const decisionsAreTotal = <Type extends string, State, Payload extends Event.Tagged, Id>(
  aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
  options: DecisionOptions<State, NoInfer<Payload>>
): Effect.Effect<void, LawBroken> =>
  check(
    "decisionsAreTotal",
    aggregate,
    options,
    () => anyHistory(aggregate, options.decisions),
    showPlayed,
    ({ events, thrown }) => {
      if (thrown?.doing === "deciding") return threw(`deciding ${thrown.what}`, thrown.error)
      for (const event of events) {
        const problem = eventProblem(aggregate, event)
        if (problem !== undefined) return problem
      }
      return undefined
    }
  )

/** A decision that is repeated right after it yielded events succeeds and yields none: a command may be sent twice. */
export const decisionsAreIdempotent = <Type extends string, State, Payload extends Event.Tagged, Id>(
  aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
  options: IdempotenceOptions<State, NoInfer<Payload>>
): Effect.Effect<void, LawBroken> => {
  const { decisions, idempotent = Object.keys(decisions) } = options
  return check(
    "decisionsAreIdempotent",
    aggregate,
    options,
    () =>
      Arbitrary.map(commandsOf<State, Payload>(decisions), (commands) => ({
        ...play(aggregate, commands),
        commands
      })),
    showPlayed,
    ({ commands }) => {
      let state = aggregate.initial
      for (const [index, command] of commands.entries()) {
        const decided = decideNow<Payload>(command.decide(state), index)
        if (Result.isFailure(decided)) continue
        const after = aggregate.fold(decided.success.map(payloadOf), state)
        if (idempotent.includes(command.decision)) {
          const again = decideNow<Payload>(command.decide(after), index)
          const problem = `${showCommand(command)} yields events when it is repeated`
          if (Result.isFailure(again)) return unequal(problem, ["expected", []], ["failed", again.failure])
          if (again.success.length > 0) {
            return unequal(problem, ["expected", []], ["decided", again.success.map(payloadOf)])
          }
        }
        state = after
      }
      return undefined
    }
  )
}

/**
 * Every payload that a former version of an event's schema allows, and every given sample, is read as present events.
 */
export const upcastersAreTotal = <Type extends string, State, Payload extends Event.Tagged, Id>(
  aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
  options: UpcasterOptions = {}
): Effect.Effect<void, LawBroken> => {
  const law = "upcastersAreTotal"
  return Effect.gen(function* () {
    for (const sample of options.samples ?? []) {
      const violation = upcastProblem(aggregate, sample)
      if (violation !== undefined) {
        const message = tell(law, aggregate.type, `with the sample ${show(sample)}`, violation)
        return yield* new LawBroken({ law, aggregateType: aggregate.type, message, replay: undefined })
      }
    }
    const former = formerEvents(aggregate)
    if (former === undefined) return
    yield* check(
      law,
      aggregate,
      options,
      () => former,
      ({ event, stored }) => `with ${show(event)}, stored in version ${stored.schemaVersion}`,
      ({ stored }) => upcastProblem(aggregate, stored)
    )
  })
}

/** No retries: nobody else writes, so a conflict is an outcome. */
const once = { retry: Schedule.recurs(0) }

/**
 * Two tenants that do the same to aggregates with the same ids do not notice each other. See `TenantScenario.isolated`.
 * Commands go through `Repository.execute`.
 */
export const tenantsAreIsolated = <Type extends string, State, Payload extends Event.Tagged, Id, E = never>(
  aggregate: Aggregate.Aggregate<Type, State, Payload, Id>,
  options: IsolationOptions<State, NoInfer<Payload>, E> = {}
): Effect.Effect<void, LawBroken | E> =>
  Effect.gen(function* () {
    const services =
      yield* Effect.context<Layer.Success<ReturnType<typeof TenantScenario.layer<EventStorage, E, never>>>>()
    yield* check(
      "tenantsAreIsolated",
      aggregate,
      { ...options, runs: options.runs ?? 20 },
      () =>
        Arbitrary.all({ id: Arbitraries.id(aggregate), commands: anyCommands(aggregate, options.decisions) }),
      ({ commands, id }) => `${showCommands(commands)}\nto the id ${show(id)}`,
      ({ commands, id }) =>
        TenantScenario.isolated({
          commands: Object.fromEntries(
            commands.map((command, index) => [
              `${index + 1}. ${showCommand(command)}`,
              Repository.use((repository) => repository.execute(aggregate, id, command.decide, once)).pipe(
                Effect.map(({ events, state, version }) => ({
                  state,
                  version,
                  events: events.map(({ payload }) => payload)
                }))
              )
            ])
          ),
          layer: Layer.succeedContext(services)
        }).pipe(
          Effect.as(undefined),
          Effect.catchDefect((defect) =>
            Effect.succeed({
              problem: defect instanceof Error ? defect.message : show(defect)
            })
          )
        )
    )
  }).pipe(Effect.provide(TenantScenario.layer(options.storage ?? MemoryStorage.layer)))

/**
 * Registers a test for each law of an aggregate.
 *
 * **Details**
 *
 * The laws: {@link foldIsTotal}, {@link foldChangesNothing}, {@link foldIsConcatenative}, {@link snapshotsAreEquivalent},
 * {@link eventsRoundTrip}, {@link statesRoundTrip}, {@link tenantsAreIsolated}; with decisions, {@link decisionsAreTotal}; with `idempotent`,
 * {@link decisionsAreIdempotent}; with former versions of events, {@link upcastersAreTotal}. Each can be used alone, as an
 * effect in a test.
 *
 * **Gotchas**
 *
 * With a `storage`, {@link tenantsAreIsolated} runs with the real clock, which a database needs.
 */
export const aggregate = <
  Type extends string,
  State,
  Payload extends Event.Tagged,
  Id,
  Names extends string = never,
  E = never
>(
  of: Aggregate.Aggregate<Type, State, Payload, Id>,
  options: AggregateOptions<State, NoInfer<Payload>, Names, E> = {}
): void => {
  const { decisions, idempotent = [], name = `laws of ${of.type}`, samples, storage, timeout } = options
  describe(name, () => {
    const test = (title: string, law: Effect.Effect<void, unknown>) => it.effect(title, () => law, timeout)
    test("folding never throws and always gives the same state", foldIsTotal(of, options))
    test("folding changes neither the state nor the event that it is given", foldChangesNothing(of, options))
    test("folding in two parts equals folding all at once", foldIsConcatenative(of, options))
    test("a snapshot changes nothing", snapshotsAreEquivalent(of, options))
    test("every event survives storage", eventsRoundTrip(of, options))
    test("every state survives storage", statesRoundTrip(of, options))
    if (decisions !== undefined) {
      test(
        "decisions never throw, and yield events that can be stored",
        decisionsAreTotal(of, { ...options, decisions })
      )
      if (idempotent.length > 0) {
        const title = `these decisions yield nothing when repeated: ${idempotent.join(", ")}`
        test(title, decisionsAreIdempotent(of, { ...options, decisions, idempotent }))
      }
    }
    if (samples !== undefined || StoredEvents.versions(of).some(({ present }) => !present)) {
      test("every former version of an event is read as present events", upcastersAreTotal(of, options))
    }
    const isolation = "two tenants with the same ids do not notice each other"
    if (storage === undefined) test(isolation, tenantsAreIsolated(of, options))
    else it.live(isolation, () => tenantsAreIsolated(of, options), timeout)
  })
}
