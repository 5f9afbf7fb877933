/**
 * The life of a tenant: its log is exported from one embedded database while orders are still placed, verified, and imported into
 * another database, with the same positions and hashes. An archive that was changed on the way is refused. At last the tenant is
 * erased, with a certificate.
 *
 *     npx tsx examples/lifecycle.ts
 */
import { Console, Effect, Layer, Schema, Stream } from "effect"
import {
  Aggregate,
  EventSourcing,
  EventStore,
  HashChain,
  Tenant,
  TenantArchive,
  TenantErasure,
  TenantRegistry
} from "effect-eventsourcing"
import { PgEmbedded, PgStorage } from "effect-eventsourcing/pg"

// Events

const OrderPlaced = Schema.TaggedStruct("OrderPlaced", { product: Schema.String, note: Schema.String })

// Aggregates

const Order = Aggregate.make(
  "Order",
  { id: Schema.String, state: Schema.Int, initial: 0, events: [OrderPlaced] },
  { OrderPlaced: (count) => count + 1 }
)

// Layers

/** A database in memory with the services of the store. `Layer.fresh` builds another one each time. */
const Database = Layer.merge(EventSourcing.layer, TenantErasure.layer).pipe(
  Layer.provideMerge(PgStorage.layer),
  Layer.provide(PgEmbedded.layer)
)

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
const source = (tenantId: Tenant.TenantId) =>
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

/** Imports the tenant, and goes on with its log. */
const target = (archive: ReadonlyArray<Uint8Array>, anchor: HashChain.Anchor) =>
  Effect.gen(function* () {
    const bytes = Stream.fromIterable(archive)
    const damaged = bytes.pipe(
      Stream.map((chunk, index) => (index === 1 ? chunk.map((byte) => byte ^ (byte === 116 ? 1 : 0)) : chunk))
    )
    const refused = yield* Effect.flip(administer(TenantArchive.importTar(damaged)))
    yield* Console.log(`refused: ${refused._tag}`)
    const { head, tenantId } = yield* TenantArchive.importTar(bytes, {
      anchor,
      onProgress: ({ end, position }) => Console.log(bar(position, end))
    }).pipe(administer)
    yield* place(4).pipe(Tenant.provide(tenantId))
    const verified = yield* HashChain.verify({ anchor }).pipe(Tenant.provide(tenantId))
    yield* Console.log(
      `imported up to position ${head?.position}; with one more order, ${verified.events} events are proved`
    )
    const erasure = yield* TenantErasure.TenantErasure
    const { events, removed } = yield* administer(erasure.erase(tenantId))
    yield* Console.log(`erased ${events} events; ${removed} rows were removed`)
  })

const program = Effect.gen(function* () {
  const tenantId = yield* Tenant.generate
  const archive = yield* source(tenantId).pipe(Effect.provide(Layer.fresh(Database)))
  const manifest = yield* TenantArchive.verifyTar(Stream.fromIterable(archive))
  yield* Console.log(
    `the archive has ${manifest.events} events up to hash ${manifest.head?.hash?.slice(0, 4)}…`
  )
  const { hash = null, position = 0 } = manifest.head ?? {}
  yield* target(archive, { hash: hash ?? "", position }).pipe(Effect.provide(Layer.fresh(Database)))
})

await Effect.runPromise(program)
