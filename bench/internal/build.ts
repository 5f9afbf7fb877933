/**
 * One build of the library in a separate process: `bench/against.ts` starts two, which work in turns. Answers
 * each message `{ name, seconds }` with the rate of that workload, in successful operations per second.
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, ManagedRuntime, Redacted, Schema, Stream } from "effect"
import { randomUUID } from "node:crypto"
import { pathToFileURL } from "node:url"
import type * as Library from "effect-eventsourcing"
import type * as OnPg from "effect-eventsourcing/pg"

/** The folder of the build, and the connection to its database. */
export interface Settings {
  /** The folder that has `dist`. */
  readonly root: string
  readonly host: string
  readonly port: number
  readonly database: string
  readonly owner: { readonly username: string; readonly password: string }
  readonly app: { readonly username: string; readonly password: string }
}

const settings = JSON.parse(process.argv[2] ?? "{}") as Settings
const open = (path: string): Promise<unknown> => import(pathToFileURL(`${settings.root}/dist/${path}`).href)

// Both builds are used through the common part of their public interfaces.
const { Aggregate, EventStore, Repository, Tenant } = (await open("index.js")) as typeof Library
const pg = (await open("pg/index.js")) as typeof OnPg & Readonly<Record<string, StorageModule | undefined>>

interface StorageModule {
  readonly layer: Layer.Layer<Library.EventStorage.EventStorage, never, PgClient.PgClient>
}

const connect = ({ password, username }: Settings["owner"], maxConnections: number) => {
  const { database, host, port } = settings
  return PgClient.layer({ host, port, database, username, password: Redacted.make(password), maxConnections })
}

const ItemAdded = Schema.TaggedStruct("ItemAdded", {
  sku: Schema.String,
  quantity: Schema.Int,
  price: Schema.Int,
  note: Schema.String
})

const Cart = Aggregate.make(
  "Cart",
  {
    id: Schema.String,
    state: Schema.Struct({ items: Schema.Int, total: Schema.Int }),
    initial: { items: 0, total: 0 },
    events: [ItemAdded]
  },
  {
    ItemAdded: ({ items, total }, { price, quantity }) => ({
      items: items + quantity,
      total: total + price * quantity
    })
  }
)

const itemAdded = (n: number): typeof ItemAdded.Type =>
  ItemAdded.make({ sku: `sku-${n % 1000}`, quantity: 1, price: 1999, note: "n".repeat(120) })

type Services = Library.EventStore.EventStore | Library.Repository.Repository

type Operation = (fiber: number) => Effect.Effect<number, unknown, Services>

const tenants = (count: number) => Array.from({ length: count }, () => Tenant.TenantId.make(randomUUID()))

/** Appends to one stream per fiber under its version. */
const appending = (concurrency: number, tenantCount: number, events: number): Operation => {
  const ids = tenants(tenantCount)
  const streams = Array.from({ length: concurrency }, (_, fiber) => ({
    id: randomUUID(),
    tenantId: ids[fiber % tenantCount] ?? Tenant.untenanted,
    version: 0
  }))
  return (fiber) => {
    const stream = streams[fiber]
    if (stream === undefined) return Effect.succeed(0)
    return EventStore.EventStore.use((store) =>
      store.append({
        aggregate: Cart,
        id: stream.id,
        expectedVersion: stream.version,
        events: Array.from({ length: events }, (_, n) => itemAdded(stream.version + n))
      })
    ).pipe(
      Effect.map(({ version }) => {
        stream.version = version
        return 1
      }),
      Tenant.provide(stream.tenantId)
    )
  }
}

const streamsToLoad = 64

/** Streams of a length, and an operation that loads one after the other. */
const loading = (
  length: number
): { readonly prepare: Effect.Effect<unknown, unknown, Services>; readonly operation: Operation } => {
  const [tenantId = Tenant.untenanted] = tenants(1)
  const ids = Array.from({ length: streamsToLoad }, () => randomUUID())
  let next = 0
  return {
    prepare: Effect.forEach(
      ids,
      (id) =>
        EventStore.EventStore.use((store) =>
          store.append({
            aggregate: Cart,
            id,
            expectedVersion: "noStream",
            events: Array.from({ length }, (_, n) => itemAdded(n))
          })
        ),
      { concurrency: 8, discard: true }
    ).pipe(Tenant.provide(tenantId)),
    operation: () =>
      Repository.Repository.use((repository) =>
        repository.load(Cart, ids[next++ % streamsToLoad] ?? "")
      ).pipe(
        Effect.flatMap(({ state }) =>
          state.items === length
            ? Effect.succeed(1)
            : Effect.die(new Error(`loaded ${state.items} of ${length}`))
        ),
        Tenant.provide(tenantId)
      )
  }
}

/** Commands on carts of at most 50 events; `share` fibers contend for each. */
const executing = (concurrency: number, share: number): Operation => {
  const [tenantId = Tenant.untenanted] = tenants(1)
  const carts = Array.from({ length: concurrency / share }, () => randomUUID())
  return (fiber) => {
    const cart = fiber % carts.length
    return Repository.Repository.use((repository) =>
      repository.execute(Cart, carts[cart] ?? "", ({ items }) => {
        if (items >= 50) carts[cart] = randomUUID()
        return [itemAdded(items)]
      })
    ).pipe(
      // Commands that give up on contended carts do not count.
      Effect.match({ onFailure: () => 0, onSuccess: () => 1 }),
      Tenant.provide(tenantId)
    )
  }
}

const logLength = 20_000

/** Reads a whole log; counts its events. */
const reading = (): {
  readonly prepare: Effect.Effect<unknown, unknown, Services>
  readonly operation: Operation
} => {
  const [tenantId = Tenant.untenanted] = tenants(1)
  return {
    prepare: Effect.forEach(
      Array.from({ length: logLength / 100 }),
      () =>
        EventStore.EventStore.use((store) =>
          store.append({
            aggregate: Cart,
            id: randomUUID(),
            expectedVersion: "noStream",
            events: Array.from({ length: 100 }, (_, n) => itemAdded(n))
          })
        ),
      { concurrency: 8, discard: true }
    ).pipe(Tenant.provide(tenantId)),
    operation: () =>
      EventStore.EventStore.use((store) => Stream.runCount(store.readLog({ aggregates: [Cart] }))).pipe(
        Effect.flatMap((count) =>
          count === logLength ? Effect.succeed(count) : Effect.die(new Error(`read ${count} of ${logLength}`))
        ),
        Tenant.provide(tenantId)
      )
  }
}

interface Workload {
  readonly concurrency: number
  readonly prepare: Effect.Effect<unknown, unknown, Services>
  readonly operation: Operation
}

const workload = (concurrency: number, operation: Operation): Workload => ({
  concurrency,
  prepare: Effect.void,
  operation
})

const workloads: Readonly<Record<string, () => Workload>> = {
  "append 1 event, alone": () => workload(1, appending(1, 1, 1)),
  "append 1 event, one tenant, 32 concurrent": () => workload(32, appending(32, 1, 1)),
  "append 1 event, 100 tenants, 32 concurrent": () => workload(32, appending(32, 100, 1)),
  "append 1 event, one tenant, 256 concurrent": () => workload(256, appending(256, 1, 1)),
  "append 10 events, one tenant, 32 concurrent": () => workload(32, appending(32, 1, 10)),
  "load 10 events, 32 concurrent": () => ({ concurrency: 32, ...loading(10) }),
  "load 100 events, 32 concurrent": () => ({ concurrency: 32, ...loading(100) }),
  "load 1000 events, alone": () => ({ concurrency: 1, ...loading(1000) }),
  "execute, a cart of each fiber, 32 concurrent": () => workload(32, executing(32, 1)),
  "execute, two carts, 32 concurrent": () => workload(32, executing(32, 16)),
  "read a log, alone": () => ({ concurrency: 1, ...reading() })
}

/** Migrates the database, then answers messages until the parent ends. */
const serve = async (): Promise<void> => {
  await Effect.runPromise(
    Effect.scoped(Layer.build(pg.PgMigrator.layer.pipe(Layer.provide(connect(settings.owner, 1)))))
  )
  await Effect.runPromise(
    PgClient.PgClient.use((sql) =>
      sql.unsafe(
        `grant eventsourcing_tenant, eventsourcing_runner, eventsourcing_all_tenants to ${settings.app.username}`
      )
    ).pipe(Effect.provide(connect(settings.owner, 1)))
  )
  const storage = pg["PgStorage"] ?? pg["PgEventStorage"]
  if (storage === undefined) throw new Error("the build has no storage on PostgreSQL")
  const runtime = ManagedRuntime.make(
    Repository.layer.pipe(
      Layer.provideMerge(EventStore.layer),
      Layer.provide(storage.layer),
      Layer.provide(connect(settings.app, 10))
    )
  )
  const prepared = new Map<string, Promise<Workload>>()
  const prepare = async (name: string): Promise<Workload> => {
    const found = workloads[name]?.()
    if (found === undefined) throw new Error(`no workload ${name}`)
    await runtime.runPromise(found.prepare)
    return found
  }
  const measure = async (name: string, seconds: number): Promise<number> => {
    const wanted = prepared.get(name) ?? prepare(name)
    prepared.set(name, wanted)
    const { concurrency, operation } = await wanted
    const began = performance.now()
    const end = began + seconds * 1000
    let done = 0
    await runtime.runPromise(
      Effect.forEach(
        Array.from({ length: concurrency }, (_, fiber) => fiber),
        Effect.fnUntraced(function* (fiber) {
          while (performance.now() < end) {
            // Not `done += yield* …`, which reads `done` before the operation and loses the counts of others meanwhile.
            const did = yield* operation(fiber)
            done += did
          }
        }),
        { concurrency: "unbounded", discard: true }
      )
    )
    return (done * 1000) / (performance.now() - began)
  }
  process.on("message", ({ name, seconds }: { readonly name: string; readonly seconds: number }) => {
    void measure(name, seconds).then(
      (rate) => process.send?.({ rate }),
      (error: unknown) => process.send?.({ error: String(error) })
    )
  })
  process.send?.({ names: Object.keys(workloads) })
}

await serve()
