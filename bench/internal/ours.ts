/** This store as programs use it: the typed tier on PostgreSQL with all of its checks. */
import { Effect, Layer, ManagedRuntime } from "effect"
import { randomUUID } from "node:crypto"
import * as EventStore from "../../src/store/EventStore.ts"
import * as EventStorage from "../../src/driver/EventStorage.ts"
import * as Forgetting from "../../src/forgetting/Forgetting.ts"
import * as KeyVault from "../../src/forgetting/KeyVault.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import * as Repository from "../../src/store/Repository.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { Cart, GiftCart, giftAdded, itemAdded } from "./domain.ts"
import type { Contender } from "./measure.ts"
import { client, type Database, query } from "./server.ts"

/** The services of the store. */
export type Services = EventStore.EventStore | Repository.Repository | EventStorage.EventStorage

export type Runtime = ManagedRuntime.ManagedRuntime<Services, unknown>

/** The typed tier on a driver. */
export const onDriver = <E>(driver: Layer.Layer<EventStorage.EventStorage, E>): Layer.Layer<Services, E> =>
  Repository.layer.pipe(Layer.provideMerge(EventStore.layer), Layer.provideMerge(driver))

/** The store on a database, with ten connections. */
const layerOn = (database: Database, options: PgStorage.Options = {}): Layer.Layer<Services, unknown> =>
  onDriver(PgStorage.layerWith(options).pipe(Layer.provide(client(database.app))))

/** The store on a database, started. */
export const startOn = (database: Database, options: PgStorage.Options = {}): Runtime =>
  ManagedRuntime.make(layerOn(database, options))

/** The store on a database behind a layer that seals personal fields, with keys in memory. */
export const startSealing = (database: Database, options: Forgetting.Options = {}): Runtime =>
  ManagedRuntime.make(
    onDriver(
      Forgetting.layerWith(options).pipe(
        Layer.provide(KeyVault.layerMemory),
        Layer.provide(PgStorage.layer),
        Layer.provide(client(database.app))
      )
    )
  )

/** Repeats an effect in concurrent fibers for a time. Returns runs per second. */
export const fibers = <E, R>(
  concurrency: number,
  seconds: number,
  operation: (fiber: number) => Effect.Effect<unknown, E, R>
): Effect.Effect<number, E, R> =>
  Effect.suspend(() => {
    const began = performance.now()
    const end = began + seconds * 1000
    let done = 0
    return Effect.forEach(
      Array.from({ length: concurrency }, (_, fiber) => fiber),
      Effect.fnUntraced(function* (fiber) {
        while (performance.now() < end) {
          yield* operation(fiber)
          done++
        }
      }),
      { concurrency: "unbounded", discard: true }
    ).pipe(Effect.map(() => (done * 1000) / (performance.now() - began)))
  })

export const newTenants = (count: number): ReadonlyArray<Tenant.TenantId> =>
  Array.from({ length: count }, () => Tenant.TenantId.make(randomUUID()))

/** Options of an append benchmark. */
export interface AppendOptions {
  readonly name: string
  readonly concurrency: number
  readonly tenants?: number
  readonly events?: number
  readonly bytes?: number
  readonly storage?: PgStorage.Options
  /** Behind a layer that seals personal fields: events without such fields, or with one. Default: without the layer. */
  readonly sealed?: "plain events" | "personal events"
}

/** Appends to existing streams, one per fiber, with their versions. Fibers use the tenants in turn. */
export const append = (database: Database, options: AppendOptions): Contender => {
  const { concurrency, tenants = 1, events = 1, bytes = 200, sealed } = options
  const runtime = sealed === undefined ? startOn(database, options.storage) : startSealing(database)
  const numbers = (version: number) => Array.from({ length: events }, (_, n) => version + n)
  /** Appends behind a version, and returns the next one. */
  const appendTo = (store: EventStore.EventStore["Service"], id: string, expectedVersion: number) =>
    sealed === "personal events"
      ? Effect.map(
          store.append({
            aggregate: GiftCart,
            id,
            expectedVersion,
            events: numbers(expectedVersion).map((n) => giftAdded(n, bytes))
          }),
          ({ version }) => version
        )
      : Effect.map(
          store.append({
            aggregate: Cart,
            id,
            expectedVersion,
            events: numbers(expectedVersion).map((n) => itemAdded(n, bytes))
          }),
          ({ version }) => version
        )
  const ids = newTenants(tenants)
  // With more tenants than fibers, each fiber goes through its share of the tenants.
  const share = Math.max(1, Math.ceil(tenants / concurrency))
  const streams = Array.from({ length: concurrency }, (_, fiber) => ({
    next: 0,
    of: Array.from({ length: share }, (__, n) => ({
      tenantId: ids[(fiber * share + n) % tenants] ?? Tenant.untenanted,
      id: randomUUID(),
      version: 0
    }))
  }))
  let acknowledged = 0
  const operation = (fiber: number) =>
    Effect.suspend(() => {
      const own = streams[fiber]
      const stream = own?.of[own.next++ % share]
      if (stream === undefined) return Effect.void
      return EventStore.EventStore.use((store) => appendTo(store, stream.id, stream.version)).pipe(
        Effect.tap((version) =>
          Effect.sync(() => {
            stream.version = version
            acknowledged += events
          })
        ),
        Effect.asVoid,
        Tenant.provide(stream.tenantId)
      )
    })
  // A tenant's first append registers it and does not count: the rate is that of known tenants.
  let begun: Promise<unknown> | undefined
  const begin = () =>
    runtime.runPromise(
      Effect.forEach(
        streams.flatMap(({ of }, fiber) => of.map(() => fiber)),
        operation,
        { concurrency: 256, discard: true }
      )
    )
  return {
    name: options.name,
    run: async (seconds) => {
      await (begun ??= begin())
      return runtime.runPromise(fibers(concurrency, seconds, operation))
    },
    close: async () => {
      await runtime.dispose()
      const known = streams.flatMap(({ of }) => of.map(({ id }) => id))
      const [stored] = await query<{ n: number }>(
        database.owner,
        `select count(*)::integer as n from eventsourcing.events where aggregate_id = any ('{${known.join()}}')`
      )
      if (stored?.n !== acknowledged)
        throw new Error(`${options.name}: ${stored?.n} events are stored, ${acknowledged} were acknowledged`)
    }
  }
}
