/** The versions that an import remembers count only in the log that it has written. */
import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import * as Event from "../../src/domain/Event.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import type * as Tenant from "../../src/domain/Tenant.ts"
import { backends } from "../support/backends.ts"
import { Account, append, asNewTenant, deposited } from "../support/bank.ts"
import { failover, Failover } from "../support/failover.ts"

type Item = EventStore.ImportedEvents<typeof Account>

/** Thirty streams, which recur. */
const streamOf = (n: number): string => `account ${(n * 7) % 30}`

/** A log in the order of time: events of many streams in turn, with amounts from 0. */
const inOrderOfTime = (count: number): ReadonlyArray<Item> =>
  Array.from({ length: count }, (_, n) => ({
    aggregate: Account,
    id: streamOf(n),
    events: [Event.make(deposited(n), { eventId: Event.generateId() })]
  }))

const importAll = (items: ReadonlyArray<Item>, options?: EventStore.ImportOptions) =>
  EventStore.EventStore.use((store) => store.importEvents(Stream.fromIterable(items), options))

/** The stream, its version and the amount of each event of the log. */
const log = EventStore.EventStore.use((store) =>
  store.readLog({ aggregates: [Account] }).pipe(
    Stream.map(({ aggregateId, payload, version }) => ({
      aggregateId,
      version,
      amount: payload._tag === "Deposited" ? payload.amount : undefined
    })),
    Stream.runCollect
  )
)

/** Checks that the versions of each stream are 1, 2, 3 …, and that the log has these amounts in their order. */
const assertWhole = Effect.fnUntraced(function* (amounts: ReadonlyArray<number>) {
  const versions = new Map<string, number>()
  const stored = yield* log
  for (const { aggregateId, version } of stored) {
    const before = versions.get(aggregateId) ?? 0
    assert.strictEqual(version, before + 1, aggregateId)
    versions.set(aggregateId, version)
  }
  assert.deepStrictEqual(
    stored.map(({ amount }) => amount),
    [...amounts]
  )
})

const numbers = (from: number, to: number): ReadonlyArray<number> =>
  Array.from({ length: to - from }, (_, n) => from + n)

// PGlite runs the functions of the server.
for (const backend of backends.filter(({ name }) => name !== "PGlite")) {
  const store = Layer.provideMerge(EventStore.layer, failover(backend.layer))
  layer(store, { excludeTestServices: true })(`an import on ${backend.name}`, (it) => {
    it.effect("goes on with the right versions after each append of others between its chunks", () =>
      Effect.gen(function* () {
        const amounts: Array<number> = []
        let seen = 0
        const services = yield* Effect.context<EventStore.EventStore | Tenant.CurrentTenant>()
        yield* importAll(inOrderOfTime(100), {
          chunkEvents: 4,
          onProgress: ({ appended }) =>
            Effect.suspend(() => {
              amounts.push(...numbers(seen, appended))
              seen = appended
              // twice in a row, then not for a while, and so on
              if (appended % 20 > 8) return Effect.void
              amounts.push(1000 + appended)
              return append(streamOf(appended), [deposited(1000 + appended)])
            }).pipe(Effect.orDie, Effect.provideContext(services))
        })
        yield* assertWhole(amounts)
      }).pipe(asNewTenant)
    )

    it.effect("looks up the versions in a database that was restored without the end of the log", () =>
      Effect.forEach([0, 12, 20, 25], (others) =>
        Effect.gen(function* () {
          const { switchOver } = yield* Failover
          const items = inOrderOfTime(60)
          // The other database has the first 20 events, and behind them those of others, at the positions of the lost ones.
          yield* switchOver
          yield* importAll(items.slice(0, 20))
          for (const n of numbers(0, others)) yield* append("account 0", [deposited(1000 + n)])
          yield* switchOver
          let isLost = false
          yield* importAll(items, {
            chunkEvents: 8,
            onProgress: ({ position }) => {
              if (isLost || position < 40) return Effect.void
              isLost = true
              return switchOver
            }
          })
          yield* assertWhole([...numbers(0, 20), ...numbers(1000, 1000 + others), ...numbers(40, 60)])
          yield* switchOver
          yield* assertWhole(numbers(0, 40))
        }).pipe(asNewTenant)
      )
    )

    it.effect("goes on with the right versions where another run of it stopped", () =>
      Effect.gen(function* () {
        const items = inOrderOfTime(60)
        yield* importAll(items.slice(0, 23), { chunkEvents: 6 })
        yield* append("account 1", [deposited(1000)])
        assert.deepInclude(yield* importAll(items, { chunkEvents: 7 }), { appended: 37, known: 23 })
        yield* assertWhole([...numbers(0, 23), 1000, ...numbers(23, 60)])
      }).pipe(asNewTenant)
    )
  })
}
