/** Commands with keys while the log loses its end: a failover comes before any of the requests that read an earlier outcome. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as Event from "../../src/domain/Event.ts"
import { type CommandKey, EventStorage } from "../../src/driver/EventStorage.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as Repository from "../../src/store/Repository.ts"
import type { CurrentTenant } from "../../src/domain/Tenant.ts"
import { asNewTenant } from "../support/bank.ts"
import { failover, Failover } from "../support/failover.ts"
import { entered, Ledger, stateAfter } from "../support/snapshots.ts"

/** Two histories, and a switch to the other one before the request with a number. */
const makeStore = () => {
  let left = Infinity
  const driver = Layer.effect(
    EventStorage,
    Effect.gen(function* () {
      const storage = yield* EventStorage
      const { switchOver } = yield* Failover
      return new Proxy(storage, {
        get: (_, key): unknown => {
          if (key !== "inTransaction" && --left === 0) Effect.runSync(switchOver)
          return Reflect.get(storage, key)
        }
      })
    })
  ).pipe(Layer.provideMerge(failover(MemoryStorage.layer)))
  return {
    layer: Layer.provideMerge(Repository.layer, Layer.provideMerge(EventStore.layer, driver)),
    /** Switches before the request with this number from now on. */
    switchBefore: (request: number): void => {
      left = request
    }
  }
}

const append = (amounts: ReadonlyArray<number>, command?: CommandKey) =>
  EventStore.EventStore.use((store) =>
    store.append({
      aggregate: Ledger,
      id: "1",
      events: amounts.map(entered),
      expectedVersion: "any",
      command
    })
  )

/** The answer to a command, with the amounts of its events. */
const answerOf = <A extends { readonly events: ReadonlyArray<Event.Envelope<{ readonly amount: number }>> }>({
  events,
  ...answer
}: A) => ({ ...answer, amounts: events.map(({ payload }) => payload.amount) })

/** Enters an amount under a key. `meanwhile` runs between the first decision and its append, and may refuse. */
const enter = (amount: number, meanwhile: Effect.Effect<unknown, string> = Effect.void) => {
  let isFirst = true
  const decide = () => {
    const before = isFirst ? meanwhile : Effect.void
    isFirst = false
    return Effect.as(before, [entered(amount)])
  }
  return Repository.Repository.use(({ execute }) => execute(Ledger, "1", decide, { command: { key: "k" } }))
}

/** In another process, which remembers nothing. */
const elsewhere = Effect.provide(Repository.layer, { local: true })

const directly: CommandKey = { key: "k", fingerprint: "0".repeat(64), expiresInMillis: 60_000 }

type Store = ReturnType<typeof makeStore>

type Needs = Layer.Success<Store["layer"]> | CurrentTenant

/** A command with a key. */
interface Case {
  readonly carryOut: (amount: number) => Effect.Effect<unknown, unknown, Needs>
  /** The same command again, with the switch before one of its requests. */
  readonly again: (
    store: Store,
    request: number
  ) => Effect.Effect<{ readonly amounts: ReadonlyArray<number> }, unknown, Needs>
  /** True if `again` carries the command out itself, in between. */
  readonly isFaster: boolean
  readonly hasState: boolean
}

const cases: Readonly<Record<string, Case>> = {
  "a repeated command": {
    carryOut: (amount: number) => elsewhere(enter(amount)),
    again: (store: Store, request: number) =>
      Effect.suspend(() => {
        store.switchBefore(request)
        return Effect.map(enter(1), answerOf)
      }),
    isFaster: false,
    hasState: true
  },
  "a command behind the same one of a faster caller": {
    carryOut: (amount: number) => elsewhere(enter(amount)),
    again: (store: Store, request: number) =>
      Effect.flatMap(Effect.context<EventStore.EventStore | CurrentTenant>(), (context) => {
        const faster = Effect.andThen(
          elsewhere(enter(3)),
          Effect.sync(() => store.switchBefore(request))
        ).pipe(Effect.provide(context), Effect.orDie)
        return Effect.map(enter(1, faster), answerOf)
      }),
    isFaster: true,
    hasState: true
  },
  "a refused command behind the same one of a faster caller": {
    carryOut: (amount: number) => elsewhere(enter(amount)),
    again: (store: Store, request: number) =>
      Effect.flatMap(Effect.context<EventStore.EventStore | CurrentTenant>(), (context) => {
        const faster = Effect.andThen(
          elsewhere(enter(3)),
          Effect.sync(() => store.switchBefore(request))
        ).pipe(Effect.provide(context), Effect.orDie)
        return Effect.map(enter(1, Effect.andThen(faster, Effect.fail("refused"))), answerOf)
      }),
    isFaster: true,
    hasState: true
  },
  "a repeated append": {
    carryOut: (amount: number) => append([amount], directly),
    again: (store: Store, request: number) =>
      Effect.suspend(() => {
        store.switchBefore(request)
        return Effect.map(append([1], directly), answerOf)
      }),
    isFaster: false,
    hasState: false
  }
}

describe.each(Object.entries(cases))("%s", (_, { again, carryOut, hasState, isFaster }) => {
  const answer = (amounts: ReadonlyArray<number>, replayed: boolean) => ({
    ...(hasState ? { state: stateAfter(amounts) } : {}),
    version: amounts.length,
    amounts: amounts.slice(-1),
    replayed
  })

  it.effect.each([
    {
      history: "has not carried it out",
      others: Effect.asVoid(append([7, 8, 9])),
      other: answer([7, 8, 9, 1], false)
    },
    {
      history: "has carried it out otherwise",
      others: Effect.asVoid(Effect.andThen(append([7, 8]), carryOut(4))),
      other: answer([7, 8, 4], true)
    }
  ])("has an outcome of one history if the log is replaced by one that $history", ({ other, others }) =>
    Effect.gen(function* () {
      const own = answer([0, 5, 3], true)
      const seen = new Set<unknown>()
      for (let request = 1; seen.size < 2 || request < 10; request++) {
        const store = makeStore()
        const outcome = yield* Effect.gen(function* () {
          const { switchOver } = yield* Failover
          yield* append([0, 5])
          if (!isFaster) yield* carryOut(3)
          yield* switchOver
          yield* others
          yield* switchOver
          return yield* again(store, request)
        }).pipe(asNewTenant, Effect.provide(store.layer))
        const expected = outcome.amounts[0] === 3 ? own : other
        assert.deepInclude(outcome, expected, `with the switch before request ${request}`)
        seen.add(expected)
        assert.isBelow(request, 30)
      }
    })
  )
})

describe("an append that", () => {
  const eventId = Event.generateId()
  const three = EventStore.EventStore.use((store) =>
    store.append({
      aggregate: Ledger,
      id: "1",
      events: [Event.make(entered(3), { eventId })],
      expectedVersion: "any"
    })
  )

  /** The answers with the switch before each of the requests. */
  const answers = <A, E>(
    first: Effect.Effect<unknown, E, Needs>,
    again: Effect.Effect<A, E, Needs>
  ): Effect.Effect<ReadonlyArray<A>, E> =>
    Effect.forEach([1, 2, 3, 4, 5, 6], (request) => {
      const store = makeStore()
      return Effect.gen(function* () {
        const { switchOver } = yield* Failover
        yield* Effect.orDie(append([0, 5]))
        yield* first
        yield* switchOver
        yield* Effect.orDie(append([7, 8, 9]))
        yield* switchOver
        store.switchBefore(request)
        return yield* again
      }).pipe(asNewTenant, Effect.provide(store.layer))
    })

  it.effect("is repeated returns events of one history", () =>
    Effect.gen(function* () {
      const all = yield* answers(three, Effect.map(three, answerOf))
      const seen = new Set<boolean>()
      for (const { amounts, replayed, version } of all) {
        assert.deepStrictEqual([amounts, version], [[3], replayed ? 3 : 4])
        seen.add(replayed)
      }
      assert.lengthOf(seen, 2)
    })
  )

  it.effect("records a command without events returns the version that it recorded", () =>
    Effect.gen(function* () {
      const all = yield* answers(
        Effect.void,
        Effect.map(append([], directly), ({ position, version }) => [position, version])
      )
      assert.deepStrictEqual(all[0], [3, 3])
      for (const places of all.slice(1)) assert.deepStrictEqual(places, [2, 2])
    })
  )
})
