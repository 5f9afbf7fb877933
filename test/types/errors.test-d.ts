import type { Effect, Stream } from "effect"
import type { DecisionModel, Decisions, EventStore, Repository, StoreError } from "effect-eventsourcing"
import { InlineProjections } from "effect-eventsourcing"
import { describe, expectTypeOf, test } from "vitest"
import { Account, opened } from "../support/bank.ts"

declare const store: EventStore.EventStore["Service"]
declare const repository: Repository.Repository["Service"]
declare const rows: Stream.Stream<unknown>
declare const key: NonNullable<Repository.ExecuteOptions["command"]>
declare const condition: EventStore.AppendCondition
declare const decisions: Decisions.Decisions["Service"]
declare const model: DecisionModel.DecisionModel<number>
declare const maybe: EventStore.AppendCondition | undefined

type TagOf<E> = E extends { readonly _tag: infer Tag } ? Tag : never
type TagsOf<T> =
  T extends Effect.Effect<infer _A, infer E, infer _R>
    ? TagOf<E>
    : T extends Stream.Stream<infer _A2, infer E2, infer _R2>
      ? TagOf<E2>
      : never
/** The reasons of a method's conflicts, as tags. */
type ConflictsOf<T> =
  T extends Effect.Effect<infer _A, infer E, infer _R>
    ? E extends StoreError.Conflict<infer R>
      ? TagOf<R>
      : never
    : never
/** The reasons for which a method refuses its input, as tags. */
type InputsOf<T> =
  T extends Effect.Effect<infer _A, infer E, infer _R>
    ? InputsIn<E>
    : T extends Stream.Stream<infer _A2, infer E2, infer _R2>
      ? InputsIn<E2>
      : never
type InputsIn<E> = E extends StoreError.InvalidInput<infer R> ? TagOf<R> : never
type Method<K extends keyof EventStore.EventStore["Service"]> = EventStore.EventStore["Service"][K]
type Returned<T> = T extends (...args: never) => infer A ? A : T

type Read = "StorageUnavailable"
type Append = "Conflict" | "InvalidInput" | "TenantRefused" | "Undecodable" | Read | "OutcomeUnknown"

const stream = { aggregate: Account, id: "1", expectedVersion: "any", events: [opened()] } as const

describe("the errors of a method are those that it can raise", () => {
  test("executing a command: six", () => {
    const plain = repository.execute(Account, "1", () => [opened()])
    const once = repository.execute(Account, "1", () => [opened()], { command: key })
    expectTypeOf<TagsOf<typeof plain>>().toEqualTypeOf<Append>()
    expectTypeOf<TagsOf<typeof once>>().toEqualTypeOf<Append>()
    expectTypeOf<ConflictsOf<typeof plain>>().toEqualTypeOf<"VersionConflict" | "EventIdConflict">()
    expectTypeOf<ConflictsOf<typeof once>>().toEqualTypeOf<
      "VersionConflict" | "EventIdConflict" | "CommandKeyConflict"
    >()
  })

  test("loading an aggregate: four", () => {
    const load = repository.load(Account, "1")
    const initial = repository.loadOrInitial(Account, "1")
    expectTypeOf<TagsOf<typeof load>>().toEqualTypeOf<
      Read | "Undecodable" | "InvalidInput" | "AggregateNotFound"
    >()
    expectTypeOf<TagsOf<typeof initial>>().toEqualTypeOf<Read | "Undecodable" | "InvalidInput">()
    const exists = repository.exists(Account, "1")
    expectTypeOf<TagsOf<typeof exists>>().toEqualTypeOf<Read | "InvalidInput">()
  })

  test("saving and appending: six, with the conflicts of a given condition and command key", () => {
    const saved = repository.save(Account, "1", { events: [opened()], expectedVersion: 0 })
    const plain = store.append(stream)
    const conditional = store.append({ ...stream, condition })
    const perhaps = store.append({ ...stream, condition: maybe })
    const all = store.appendAll([stream], { condition })
    expectTypeOf<TagsOf<typeof saved>>().toEqualTypeOf<Append>()
    expectTypeOf<TagsOf<typeof plain>>().toEqualTypeOf<Append>()
    expectTypeOf<TagsOf<typeof conditional>>().toEqualTypeOf<Append | "PositionDiverged">()
    expectTypeOf<TagsOf<typeof perhaps>>().toEqualTypeOf<Append | "PositionDiverged">()
    expectTypeOf<ConflictsOf<typeof saved>>().toEqualTypeOf<"VersionConflict" | "EventIdConflict">()
    expectTypeOf<ConflictsOf<typeof plain>>().toEqualTypeOf<"VersionConflict" | "EventIdConflict">()
    type Conditional = "VersionConflict" | "EventIdConflict" | "AppendConditionFailed"
    expectTypeOf<ConflictsOf<typeof conditional>>().toEqualTypeOf<Conditional>()
    expectTypeOf<ConflictsOf<typeof perhaps>>().toEqualTypeOf<Conditional>()
    expectTypeOf<ConflictsOf<typeof all>>().toEqualTypeOf<Conditional>()
  })

  test("appending JSON: the same six, and those of an import", () => {
    const json = store.appendJson({ aggregates: [Account], events: [] })
    const conditional = store.appendJson({ aggregates: [Account], events: [], condition })
    const imported = store.importJson(rows, { aggregates: [Account] })
    expectTypeOf<TagsOf<typeof json>>().toEqualTypeOf<Append>()
    expectTypeOf<ConflictsOf<typeof json>>().toEqualTypeOf<"VersionConflict" | "EventIdConflict">()
    expectTypeOf<TagsOf<typeof conditional>>().toEqualTypeOf<Append | "PositionDiverged">()
    expectTypeOf<TagsOf<typeof imported>>().toEqualTypeOf<
      Exclude<Append, "Conflict" | "InvalidInput"> | "ImportFailed" | "PositionDiverged"
    >()
  })

  test("deciding on the log: six", () => {
    type Service = Decisions.Decisions["Service"]
    expectTypeOf<TagsOf<Returned<Service["read"]>>>().toEqualTypeOf<Read | "Undecodable">()
    const executed = decisions.execute(model, () => [])
    expectTypeOf<TagsOf<typeof executed>>().toEqualTypeOf<Append>()
    expectTypeOf<ConflictsOf<typeof executed>>().toEqualTypeOf<
      "VersionConflict" | "EventIdConflict" | "AppendConditionFailed"
    >()
  })

  test("reading: at most three", () => {
    expectTypeOf<TagsOf<Returned<Method<"readStream">>>>().toEqualTypeOf<
      Read | "Undecodable" | "InvalidInput"
    >()
    expectTypeOf<TagsOf<Returned<Method<"readLog">>>>().toEqualTypeOf<Read | "Undecodable">()
    expectTypeOf<TagsOf<Returned<Method<"readLogJson">>>>().toEqualTypeOf<Read>()
    expectTypeOf<TagsOf<Returned<Method<"readStreamJson">>>>().toEqualTypeOf<Read>()
    expectTypeOf<TagsOf<Returned<Method<"version">>>>().toEqualTypeOf<Read | "InvalidInput">()
    expectTypeOf<TagsOf<Returned<Method<"exists">>>>().toEqualTypeOf<Read | "InvalidInput">()
    expectTypeOf<TagsOf<Returned<Method<"commandOutcome">>>>().toEqualTypeOf<Read | "InvalidInput">()
    expectTypeOf<TagsOf<Method<"position">>>().toEqualTypeOf<Read>()
    expectTypeOf<TagsOf<Method<"head">>>().toEqualTypeOf<Read>()
    expectTypeOf<TagsOf<Returned<Method<"streams">>>>().toEqualTypeOf<Read>()
    expectTypeOf<TagsOf<Method<"tenants">>>().toEqualTypeOf<Read>()
    expectTypeOf<TagsOf<Returned<Method<"readAllLogsJson">>>>().toEqualTypeOf<Read>()
  })

  test("an input is refused only for reasons that it can have", () => {
    type Id = "InvalidAggregateId" | "LimitExceeded"
    type Command = "InvalidEvent" | "LimitExceeded"
    const load = repository.load(Account, "1")
    const initial = repository.loadOrInitial(Account, "1")
    const exists = repository.exists(Account, "1")
    const executed = repository.execute(Account, "1", () => [opened()])
    const folded = store.fold({ aggregate: Account, id: "1" })
    expectTypeOf<InputsOf<typeof load>>().toEqualTypeOf<Id>()
    expectTypeOf<InputsOf<typeof initial>>().toEqualTypeOf<Id>()
    expectTypeOf<InputsOf<typeof exists>>().toEqualTypeOf<Id>()
    expectTypeOf<InputsOf<typeof folded>>().toEqualTypeOf<Id>()
    expectTypeOf<InputsOf<Returned<Method<"readStream">>>>().toEqualTypeOf<Id>()
    expectTypeOf<InputsOf<Returned<Method<"version">>>>().toEqualTypeOf<Id>()
    expectTypeOf<InputsOf<Returned<Method<"exists">>>>().toEqualTypeOf<Id>()
    expectTypeOf<InputsOf<Returned<Method<"commandOutcome">>>>().toEqualTypeOf<Command>()
    expectTypeOf<InputsOf<typeof executed>>().toEqualTypeOf<Id | Command>()
  })

  test("the failure of an inline projection is an error on request", () => {
    const asked = InlineProjections.failures(store.append(stream))
    expectTypeOf<TagsOf<typeof asked>>().toEqualTypeOf<Append | "InlineProjectionFailed">()
  })
})
