/** A process that makes an archive of a tenant in memory: `node --import tsx bench/internal/archiving.ts <file> <events>`. */
import { Effect, Layer, Stream } from "effect"
import { createWriteStream } from "node:fs"
import { pipeline } from "node:stream/promises"
import * as Event from "../../src/domain/Event.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as TenantArchive from "../../src/lifecycle/TenantArchive.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import { Cart, itemAdded } from "./domain.ts"
import { newTenants } from "./ours.ts"

const [file = "", events = "0"] = process.argv.slice(2)
const [tenantId = Tenant.untenanted] = newTenants(1)

const archive = Effect.gen(function* () {
  const store = yield* EventStore.EventStore
  // a thousand recurring streams, in the order of time
  const items = Stream.range(0, Number(events) - 1).pipe(
    Stream.map((n) => ({
      aggregate: Cart,
      id: `cart ${(n * 7919) % 1000}`,
      events: [Event.make(itemAdded(n), { eventId: Event.generateId() })]
    }))
  )
  yield* store.importEvents(items).pipe(Tenant.provide(tenantId))
  const readable = yield* Stream.toReadableStreamEffect(TenantArchive.exportTar({ tenantId }))
  yield* Effect.promise(() => pipeline(readable, createWriteStream(file)))
}).pipe(Tenant.provideAdministration({ actor: "benchmark", reason: "an archive to import" }))

await Effect.runPromise(
  Effect.provide(archive, EventStore.layer.pipe(Layer.provideMerge(MemoryStorage.layer)))
)
