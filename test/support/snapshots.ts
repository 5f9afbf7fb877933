/** Helpers of the tests of snapshots: stores, an aggregate whose states need a codec, and changes outside of the library. */
import { assert } from "@effect/vitest"
import { DateTime, Effect, Layer, Metric, Option, References, Schema, Stream } from "effect"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import type { EventStorage } from "../../src/driver/EventStorage.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as snapshotCodec from "../../src/store/snapshotCodec.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import * as Repository from "../../src/store/Repository.ts"
import {
  type NewSnapshot,
  type SnapshotKey,
  type SnapshotRow,
  SnapshotStorage
} from "../../src/driver/SnapshotStorage.ts"
import { StorageUnavailable, OtherFailure } from "../../src/driver/StoreError.ts"
import { CurrentTenant } from "../../src/domain/Tenant.ts"
import { sqlBackends } from "./backends.ts"

const Entered = Schema.TaggedStruct("Entered", { amount: Schema.Int })

/** The aggregate's parts, for variants of it. */
export const parts = {
  id: Schema.String,
  state: Schema.Struct({
    entries: Schema.Array(Schema.Int),
    total: Schema.BigInt,
    last: Schema.OptionFromNullOr(Schema.DateTimeUtc)
  }),
  initial: { entries: [], total: 0n, last: Option.none() },
  events: [Entered]
} as const

type State = typeof parts.state.Type

const fold = (state: State, { amount }: typeof Entered.Type): State => ({
  entries: [...state.entries, amount],
  total: state.total + BigInt(amount),
  last: Option.some(DateTime.makeUnsafe(amount))
})

/** An aggregate whose state shows the order of its events and has no JSON values. */
export const Ledger = Aggregate.make("Ledger", parts, { Entered: fold })

/** A fold with other results than {@link Ledger}'s, under another version of the state. */
export const LedgerV2 = Aggregate.make(
  "Ledger",
  { ...parts, stateVersion: 2 },
  { Entered: (state, event) => fold(state, { ...event, amount: event.amount * 2 }) }
)

export const entered = (amount: number): typeof Entered.Type => Entered.make({ amount })

/** The state that follows from amounts. */
export const stateAfter = (amounts: ReadonlyArray<number>): State => Ledger.fold(amounts.map(entered))

/** A store with a storage for snapshots, on a driver. */
export interface SnapshotBackend {
  readonly name: string
  readonly layer: Layer.Layer<EventStorage | SnapshotStorage>
}

/** All drivers. */
export const snapshotBackends: ReadonlyArray<SnapshotBackend> = [
  { name: "memory", layer: MemoryStorage.layer },
  ...sqlBackends
]

/** An event store on a driver, with pages of a few events. */
export const stored = <A, E>(
  driver: Layer.Layer<A | EventStorage, E>
): Layer.Layer<A | EventStorage | EventStore.EventStore, E> =>
  EventStore.layerWith({ pageSize: 3 }).pipe(Layer.provideMerge(driver))

/** Runs an effect with its own repository, which remembers no states by default, and waits for its background work. */
export const withRepository =
  (snapshots: Repository.SnapshotOptions, options: Omit<Repository.Options, "snapshots"> = {}) =>
  <A, E, R>(
    effect: Effect.Effect<A, E, R>
  ): Effect.Effect<A, E, Exclude<R, Repository.Repository> | EventStore.EventStore | SnapshotStorage> =>
    Effect.provide(effect, Repository.layerWith({ remember: { entries: 0 }, ...options, snapshots }), {
      local: true
    })

/** The stream that every tenant has. */
export const keyOf = (aggregateId = "1"): Effect.Effect<SnapshotKey, never, CurrentTenant> =>
  Effect.map(CurrentTenant, (tenantId) => ({ tenantId, aggregateType: "Ledger", aggregateId }))

/** The present snapshot. */
export const kept = (
  id?: string
): Effect.Effect<SnapshotRow | undefined, unknown, CurrentTenant | SnapshotStorage> =>
  Effect.flatMap(keyOf(id), (key) => SnapshotStorage.use((storage) => storage.load(key)))

/** Appends entries at any version. */
export const enterAll = (amounts: ReadonlyArray<number>, id = "1"): ReturnType<typeof appendAll> =>
  appendAll(amounts, id)

const appendAll = (amounts: ReadonlyArray<number>, id: string) =>
  EventStore.EventStore.use((store) =>
    store.append({ aggregate: Ledger, id, events: amounts.map(entered), expectedVersion: "any" })
  )

/** The snapshot after the first events of a stream, with some fields changed before it is sealed. */
export const snapshotAt = Effect.fnUntraced(function* (
  version: number,
  changes: Partial<snapshotCodec.Place> = {}
) {
  const store = yield* EventStore.EventStore
  const events = yield* Stream.runCollect(
    store.readStream({ aggregate: Ledger, id: "1", toVersion: version })
  )
  const last = events.at(-1)
  assert(last?.version === version)
  const place = {
    version,
    position: last.position,
    eventId: last.eventId,
    recordedAt: last.recordedAt.epochMilliseconds,
    ...changes
  }
  const state = Ledger.fold(events.map(({ payload }) => payload))
  return yield* snapshotCodec.encode(Ledger, yield* keyOf(), place, state, 1 << 20)
})

/** Replaces the present snapshot, also by an older one. */
export const plant = Effect.fnUntraced(function* (snapshot: NewSnapshot, id?: string) {
  const storage = yield* SnapshotStorage
  const key = yield* keyOf(id)
  yield* storage.remove(key)
  assert.isTrue(yield* storage.save({ ...key, ...snapshot }))
})

/** The value of a counter, by `aggregate` and, if given, `reason`. */
export const counted = (
  metric: Metric.Counter<number>,
  reason?: string,
  aggregate = "Ledger"
): Effect.Effect<number> =>
  Effect.map(
    Metric.value(Metric.withAttributes(metric, reason === undefined ? { aggregate } : { aggregate, reason })),
    ({ count }) => count
  )

/** The increase of a counter during an effect. */
export const adds = <A, E, R>(
  count: Effect.Effect<number>,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<number, E, R> =>
  Effect.gen(function* () {
    const before = yield* count
    yield* effect
    return (yield* count) - before
  })

type Storage = SnapshotStorage["Service"]

/** A store in memory, with a replaced storage of snapshots. */
export const inMemory = (
  change: (storage: Storage) => Partial<Storage> = () => ({}),
  driver: Layer.Layer<EventStorage> = MemoryStorage.layer
): Layer.Layer<EventStorage | SnapshotStorage | EventStore.EventStore> =>
  stored(
    Layer.merge(
      driver,
      Layer.effect(
        SnapshotStorage,
        Effect.map(SnapshotStorage, (storage) => ({ ...storage, ...change(storage) }))
      ).pipe(Layer.provide(MemoryStorage.layer))
    )
  )

/** Runs an effect without the logs of intended failures. */
export const quietly: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R> =
  Effect.provideService(References.CurrentLoggers, new Set())

/** A failure of the storage. */
export const away: StorageUnavailable = new StorageUnavailable({
  reason: new OtherFailure({
    operation: "test",
    retryable: true,
    code: null
  })
})

/** Loads a ledger. */
export const load = (id = "1"): ReturnType<typeof loadLedger> => loadLedger(id)

const loadLedger = (id: string) => Repository.Repository.use(({ loadOrInitial }) => loadOrInitial(Ledger, id))

/** Runs a command that enters an amount. */
export const enter = (amount: number, id = "1"): ReturnType<typeof enterOne> => enterOne(amount, id)

const enterOne = (amount: number, id: string) =>
  Repository.Repository.use(({ execute }) => execute(Ledger, id, () => [entered(amount)]))
