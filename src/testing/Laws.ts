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
import { Arbitrary, Effect, Layer, Schedule } from "effect"
import type * as Aggregate from "../domain/Aggregate.ts"
import type * as Event from "../domain/Event.ts"
import * as StoredEvents from "../domain/StoredEvents.ts"
import type { EventStorage } from "../driver/EventStorage.ts"
import * as sealedMemory from "./sealedMemory.ts"
import { Repository } from "../store/Repository.ts"
import * as Arbitraries from "./Arbitraries.ts"
import { anyCommands, check, type LawBroken, type Options } from "./domain/check.ts"
import { decisionsAreIdempotent, decisionsAreTotal } from "./domain/decisionLaws.ts"
import { foldChangesNothing, foldIsConcatenative, foldIsTotal } from "./domain/foldLaws.ts"
import { type Decisions, showCommand } from "./domain/history.ts"
import { showCommands } from "./domain/law.ts"
import { isPersonal } from "./domain/forgetting.ts"
import {
  forgettingCommutesWithUpcasting,
  forgettingIsTotal,
  personalDataStaysInPayloads
} from "./domain/personalLaws.ts"
import { show } from "./domain/show.ts"
import {
  eventsRoundTrip,
  snapshotsAreEquivalent,
  statesRoundTrip,
  type UpcasterOptions,
  upcastersAreTotal
} from "./domain/storageLaws.ts"
import * as TenantScenario from "./TenantScenario.ts"

export { LawBroken } from "./domain/check.ts"
export type { Options } from "./domain/check.ts"
export { decisionsAreIdempotent, decisionsAreTotal } from "./domain/decisionLaws.ts"
export type { DecisionOptions, IdempotenceOptions } from "./domain/decisionLaws.ts"
export { foldChangesNothing, foldIsConcatenative, foldIsTotal } from "./domain/foldLaws.ts"
export type { CheckOptions } from "./domain/law.ts"
export {
  forgettingCommutesWithUpcasting,
  forgettingIsTotal,
  logKeepsPersonalData,
  personalDataStaysInPayloads
} from "./domain/personalLaws.ts"
export {
  eventsRoundTrip,
  snapshotsAreEquivalent,
  statesRoundTrip,
  upcastersAreTotal
} from "./domain/storageLaws.ts"
export type { UpcasterOptions } from "./domain/storageLaws.ts"

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

/** No retries, because nobody else writes and a conflict is an outcome. */
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
  }).pipe(Effect.provide(TenantScenario.layer(options.storage ?? sealedMemory.layer)))

/**
 * Registers a test for each law of an aggregate.
 *
 * **Details**
 *
 * The laws: {@link foldIsTotal}, {@link foldChangesNothing}, {@link foldIsConcatenative}, {@link snapshotsAreEquivalent},
 * {@link eventsRoundTrip}, {@link statesRoundTrip}, {@link tenantsAreIsolated}; with decisions, {@link decisionsAreTotal}; with `idempotent`,
 * {@link decisionsAreIdempotent}; with former versions of events, {@link upcastersAreTotal}; with personal fields,
 * {@link forgettingIsTotal}, {@link forgettingCommutesWithUpcasting} and {@link personalDataStaysInPayloads}. Each can be used
 * alone, as an effect in a test.
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
    if (isPersonal(of)) {
      test("events, states and decisions take forgotten personal data", forgettingIsTotal(of, options))
      test("personal data stays in payloads", personalDataStaysInPayloads(of, options))
      if (StoredEvents.versions(of).some(({ present }) => !present))
        test("forgetting commutes with upcasting", forgettingCommutesWithUpcasting(of, options))
    }
    const isolation = "two tenants with the same ids do not notice each other"
    if (storage === undefined) test(isolation, tenantsAreIsolated(of, options))
    else it.live(isolation, () => tenantsAreIsolated(of, options), timeout)
  })
}
