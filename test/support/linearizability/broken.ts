/**
 * Repositories, each of which breaks one rule of remembered states or of joined commands, by a wrapper around the real one. The
 * checks must find each of them, because a check that cannot fail shows nothing.
 */
import { Context, Deferred, Effect, Layer, Result } from "effect"
import * as Tenant from "../../../src/domain/Tenant.ts"
import type { EventStorage } from "../../../src/driver/EventStorage.ts"
import * as EventStore from "../../../src/store/EventStore.ts"
import * as Repository from "../../../src/store/Repository.ts"
import { repository, type RepositoryLayer } from "./repositories.ts"

type Service = Repository.Repository["Service"]

/** A command in the form of all commands of the histories. */
type Execute = (
  aggregate: { readonly type: string },
  id: string,
  decide: (state: ReadonlyArray<string>) => unknown,
  options?: Repository.ExecuteOptions
) => Effect.Effect<unknown, unknown, Tenant.CurrentTenant>

/** A repository with another `execute`. */
const executing =
  (change: (execute: Execute) => Execute): RepositoryLayer =>
  (settings, retry) =>
    Layer.effect(
      Repository.Repository,
      Effect.map(Repository.Repository, (real): Service => ({
        ...real,
        // the histories have commands of one form only
        execute: change(real.execute as unknown as Execute) as unknown as Service["execute"]
      }))
    ).pipe(Layer.provide(repository(settings, retry)))

/** A plain decision: its events, or its error; undefined if it is an effect. */
const resultOf = (decision: unknown): Result.Result<ReadonlyArray<unknown>, unknown> | undefined =>
  Array.isArray(decision)
    ? Result.succeed(decision)
    : Result.isResult(decision)
      ? (decision as Result.Result<ReadonlyArray<unknown>, unknown>)
      : undefined

/** Answers a decision without events, and a refusal, on any state, unless the command has a key. */
const unconfirmed = executing((execute) => (aggregate, id, decide, options) => {
  if (options?.command !== undefined) return execute(aggregate, id, decide, options)
  const answer = Deferred.makeUnsafe<unknown, unknown>()
  const decided = (state: ReadonlyArray<string>): unknown => {
    const decision = decide(state)
    const result = resultOf(decision)
    if (result !== undefined && Result.isFailure(result))
      Deferred.doneUnsafe(answer, Effect.fail(result.failure))
    else if (result?.success.length === 0)
      Deferred.doneUnsafe(
        answer,
        Effect.succeed({ state, version: state.length, events: [], replayed: false })
      )
    return decision
  }
  return Effect.raceFirst(execute(aggregate, id, decided, options), Deferred.await(answer))
})

/** Expects a version, without the id of its event. */
const withoutEventIds = (driver: EventStorage["Service"]): EventStorage["Service"] => ({
  ...driver,
  append: (request) =>
    driver.append({
      ...request,
      streams: request.streams.map(({ expectedEventId: _expectedEventId, ...stream }) => stream)
    })
})

/** Confirms a state by its version, without the id of its event. */
const confirmingVersions = (driver: EventStorage["Service"]): EventStorage["Service"] => ({
  ...driver,
  streamEndsWith: ({ version, ...stream }) => Effect.map(driver.streamVersion(stream), (at) => at === version)
})

/** Confirms every state. */
const confirmingAll = (driver: EventStorage["Service"]): EventStorage["Service"] => ({
  ...driver,
  streamEndsWith: () => Effect.succeed(true)
})

/** The tenant of a store, which its repository does not know. */
const HiddenTenant = Context.Reference<Tenant.TenantId | undefined>("test/linearizability/HiddenTenant", {
  defaultValue: () => undefined
})

/** Shows the same tenant to a repository in all cases, and the actual tenant to the store below it. */
const tenantless: RepositoryLayer = (settings, retry) => {
  const everybody = Tenant.TenantId.make("00000000-0000-7000-8000-000000000001")
  const hide = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.flatMap(Tenant.CurrentTenant, (tenantId) =>
      Tenant.provide(everybody)(effect).pipe(Effect.provideService(HiddenTenant, tenantId))
    )
  const show = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.flatMap(HiddenTenant, (tenantId) =>
      tenantId === undefined
        ? effect
        : Effect.updateContext(effect, (context: Context.Context<R>) =>
            Context.add(context, Tenant.CurrentTenant, tenantId)
          )
    )
  const store = Layer.effect(
    EventStore.EventStore,
    Effect.map(EventStore.EventStore, (real) => {
      const isMember = (member: unknown): member is (...args: ReadonlyArray<unknown>) => unknown =>
        typeof member === "function"
      const members: Readonly<Record<string, unknown>> = { ...real }
      // the same members, each for the hidden tenant
      return Object.fromEntries(
        Object.entries(members).map(([name, member]) => [
          name,
          isMember(member)
            ? (...args: ReadonlyArray<unknown>): unknown => {
                const result = member(...args)
                return Effect.isEffect(result) ? show(result) : result
              }
            : member
        ])
      ) as unknown as EventStore.EventStore["Service"]
    })
  )
  return Layer.effect(
    Repository.Repository,
    Effect.map(Repository.Repository, (real): Service => ({
      ...real,
      load: (...args) => hide(real.load(...args)),
      loadOrInitial: (...args) => hide(real.loadOrInitial(...args)),
      exists: (...args) => hide(real.exists(...args)),
      // as it was, for another tenant
      execute: ((...args: Parameters<Execute>) =>
        hide((real.execute as unknown as Execute)(...args))) as unknown as Service["execute"]
    }))
  ).pipe(Layer.provide(repository(settings, retry)), Layer.provide(store))
}

/** Ignores transactions of the program: their states are remembered, even if they are rolled back. */
const withoutTransactions = (driver: EventStorage["Service"]): EventStorage["Service"] => ({
  ...driver,
  inTransaction: Effect.succeed(false)
})

/**
 * Decides after a command whose append is in progress, and answers a refusal at once. All others wait, as in the real one.
 */
const refusedEarly: RepositoryLayer = (settings, retry) => {
  /** The states after the appends in progress. */
  const expected = new Map<string, ReadonlyArray<string>>()
  return executing((execute) => (aggregate, id, decide, options) => {
    if (options?.command !== undefined || (options?.expectedVersion ?? "any") !== "any")
      return execute(aggregate, id, decide, options)
    return Effect.flatMap(Tenant.CurrentTenant, (tenantId) => {
      const key = JSON.stringify([tenantId, aggregate.type, id])
      const state = expected.get(key)
      if (state !== undefined) {
        const refusal = resultOf(decide(state))
        if (refusal !== undefined && Result.isFailure(refusal)) return Effect.fail(refusal.failure)
      }
      const decided = (before: ReadonlyArray<string>): unknown => {
        const decision = decide(before)
        const result = resultOf(decision)
        if (result !== undefined && Result.isSuccess(result))
          expected.set(key, [
            ...before,
            ...(result.success as ReadonlyArray<{ readonly mark: string }>).map(({ mark }) => mark)
          ])
        return decision
      }
      return Effect.ensuring(
        execute(aggregate, id, decided, options),
        Effect.sync(() => expected.delete(key))
      )
    })
  })(settings, retry)
}

/** A broken implementation. */
export interface Broken {
  readonly name: string
  readonly repository: RepositoryLayer
  readonly driver?: (driver: EventStorage["Service"]) => EventStorage["Service"]
  readonly joins: boolean
  /** Chance that a log loses its end. */
  readonly loses: number
}

export const broken: ReadonlyArray<Broken> = [
  { name: "answers decisions without events unconfirmed", repository: unconfirmed, joins: false, loses: 0 },
  {
    name: "expects a version without the id of its event",
    repository,
    driver: withoutEventIds,
    joins: false,
    loses: 1
  },
  {
    name: "confirms a version without the id of its event",
    repository,
    driver: confirmingVersions,
    joins: false,
    loses: 1
  },
  { name: "confirms any state", repository, driver: confirmingAll, joins: false, loses: 0 },
  { name: "leaves the tenant out of the key of its memory", repository: tenantless, joins: false, loses: 0 },
  {
    name: "keeps the state of a transaction that was rolled back",
    repository,
    driver: withoutTransactions,
    joins: false,
    loses: 0
  },
  {
    name: "answers a refusal before its append is confirmed",
    repository: refusedEarly,
    joins: true,
    loses: 0
  }
]
