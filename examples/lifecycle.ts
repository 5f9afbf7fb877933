/**
 * The life of a tenant, in two embedded databases: its log is exported while orders are still placed, verified, and imported as another
 * tenant, with the same positions. An archive that was changed on the way is refused. Then the tenant moves to the other database,
 * while orders are placed without a break. At last it is erased, with a certificate.
 *
 *     npx tsx examples/lifecycle.ts
 */
import { Console, Effect, Fiber, Layer, Schema, Stream } from "effect"
import {
  Aggregate,
  EventSourcing,
  EventStore,
  HashChain,
  Tenant,
  TenantArchive,
  TenantDirectory,
  TenantErasure,
  TenantMove,
  TenantRegistry
} from "effect-eventsourcing"
import { PgEmbedded, PgSilo } from "effect-eventsourcing/pg"

// Events

const OrderPlaced = Schema.TaggedStruct("OrderPlaced", { product: Schema.String, note: Schema.String })

// Aggregates

const Order = Aggregate.make(
  "Order",
  { id: Schema.String, state: Schema.Int, initial: 0, events: [OrderPlaced] },
  { OrderPlaced: (count) => count + 1 }
)

// Layers

/** The placement of each tenant. `PgTenantDirectory` keeps it in a table. */
const placements = new Map<Tenant.TenantId, string>()

const Directory = TenantDirectory.layerWith({
  placements: ["shared", "acme"],
  placementOf: (tenantId) => placements.get(tenantId) ?? "shared",
  replace: ({ from, tenantId, to }) => {
    const present = placements.get(tenantId) ?? "shared"
    if (present === from) placements.set(tenantId, to)
    return present === from || present === to
  }
})

/** Two databases in memory. `Layer.fresh` builds a new one for each placement. */
const Databases = PgSilo.layer({
  database: () => ({ client: Layer.fresh(PgEmbedded.layer) }),
  idleTimeToLive: "1 hour"
})

const Store = Layer.mergeAll(
  EventSourcing.layer,
  TenantErasure.layer,
  TenantMove.layerWith({ grace: 0 })
).pipe(Layer.provideMerge(Databases), Layer.provideMerge(Directory))

// Programs

const administer = Tenant.provideAdministration({
  actor: "operations",
  reason: "the tenant gets its own server"
})

const place = (order: number) =>
  EventStore.EventStore.use((store) =>
    store.append({
      aggregate: Order,
      id: `order ${order % 100}`,
      events: [OrderPlaced.make({ product: `product ${order}`, note: "to be wrapped ".repeat(10) })],
      expectedVersion: "any"
    })
  )

const bar = (done: number, all: number): string => {
  const filled = Math.round((20 * done) / Math.max(all, 1))
  return `[${"#".repeat(filled)}${".".repeat(20 - filled)}] ${done} of ${all} events`
}

const megabytes = (chunks: ReadonlyArray<Uint8Array>): string =>
  `${(chunks.reduce((sum, { length }) => sum + length, 0) / 1e6).toFixed(1)} MB`

/** Places orders, and exports the tenant while more arrive. */
const exported = (tenantId: Tenant.TenantId) =>
  Effect.gen(function* () {
    const registry = yield* TenantRegistry.TenantRegistry
    yield* registry.provision(tenantId)
    yield* HashChain.start.pipe(Tenant.provide(tenantId))
    yield* Effect.forEach(
      Array.from({ length: 1000 }, (_, n) => n),
      place,
      {
        concurrency: 100,
        discard: true
      }
    ).pipe(Tenant.provide(tenantId))
    const [archive] = yield* Effect.all(
      [
        TenantArchive.exportTar({ tenantId }).pipe(Stream.runCollect, administer),
        Effect.forEach([1, 2, 3], place).pipe(Tenant.provide(tenantId))
      ],
      { concurrency: "unbounded" }
    )
    yield* Console.log(`exported ${megabytes(archive)} while orders were placed`)
    return archive
  })

/** Imports the archive as another tenant, and goes on with its log. */
const imported = (archive: ReadonlyArray<Uint8Array>, anchor: HashChain.Anchor) =>
  Effect.gen(function* () {
    const bytes = Stream.fromIterable(archive)
    const damaged = bytes.pipe(
      Stream.map((chunk, index) => (index === 1 ? chunk.map((byte) => byte ^ (byte === 116 ? 1 : 0)) : chunk))
    )
    const into = yield* Tenant.generate
    const refused = yield* Effect.flip(administer(TenantArchive.importTar(damaged, { into })))
    yield* Console.log(`refused: ${refused._tag}`)
    yield* administer(TenantArchive.abandonImport(into))
    const { head } = yield* TenantArchive.importTar(bytes, {
      into,
      anchor,
      onProgress: ({ end, position }) => Console.log(bar(position, end))
    }).pipe(administer)
    yield* place(4).pipe(Tenant.provide(into))
    const verified = yield* HashChain.verify().pipe(Tenant.provide(into))
    yield* Console.log(
      `imported up to position ${head?.position}; with one more order, ${verified.events} events are proved`
    )
  })

/** Moves the tenant to its own database while orders are placed. */
const moved = (tenantId: Tenant.TenantId, anchor: HashChain.Anchor) =>
  Effect.gen(function* () {
    const moves = yield* TenantMove.TenantMove
    let placed = 0
    const orders = yield* Effect.forkChild(
      Effect.suspend(() => place(placed++)).pipe(
        Effect.andThen(Effect.sleep("1 millis")),
        Effect.forever,
        Tenant.provide(tenantId)
      )
    )
    const { events, to } = yield* administer(
      moves.start(tenantId, {
        to: "acme",
        onProgress: ({ end, position, step }) => Console.log(`${step} ${bar(position, end)}`)
      })
    )
    yield* place(placed).pipe(Tenant.provide(tenantId))
    yield* Fiber.interrupt(orders)
    const verified = yield* HashChain.verify({ anchor }).pipe(Tenant.provide(tenantId))
    yield* Console.log(
      `moved to ${to} with ${events} events; orders go on there: ${verified.events > events ? "yes" : "no"}`
    )
  })

const program = Effect.gen(function* () {
  const tenantId = yield* Tenant.generate
  const archive = yield* exported(tenantId)
  const manifest = yield* TenantArchive.verifyTar(Stream.fromIterable(archive))
  yield* Console.log(
    `the archive has ${manifest.events} events up to hash ${manifest.head?.hash?.slice(0, 4)}…`
  )
  const { hash = null, position = 0 } = manifest.head ?? {}
  const anchor = { hash: hash ?? "", position }
  yield* imported(archive, anchor)
  yield* moved(tenantId, anchor)
  const erasure = yield* TenantErasure.TenantErasure
  const { events, removed } = yield* administer(erasure.erase(tenantId))
  yield* Console.log(`erased ${events} events; ${removed} rows were removed`)
})

await Effect.runPromise(program.pipe(Effect.provide(Store)))
