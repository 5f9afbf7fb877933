/**
 * Imports events in the order of time, one per item, and prints its resident memory, for `cases/import.ts`. Arguments: URL of
 * the database, tenant, number of events.
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, Redacted, Stream } from "effect"
import * as Event from "../../src/domain/Event.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { Cart, itemAdded } from "./domain.ts"

const [url = "", tenant = "", events = ""] = process.argv.slice(2)
const tenantId = Tenant.TenantId.make(tenant)
const megabytes = (): number => process.memoryUsage.rss() / 2 ** 20
const database = EventStore.layer.pipe(
  Layer.provide(PgStorage.layer),
  Layer.provide(PgClient.layer({ url: Redacted.make(url), maxConnections: 4 }))
)

/** Events of a thousand recurring streams, generated on demand. */
const items = Stream.range(0, Number(events) - 1).pipe(
  Stream.map((n) => ({
    aggregate: Cart,
    id: `cart ${(n * 7919) % 1000}`,
    events: [Event.make(itemAdded(n), { eventId: Event.generateId() })]
  }))
)

const program = Effect.gen(function* () {
  const store = yield* EventStore.EventStore
  // Idle: all code has been loaded and compiled.
  yield* store.importEvents(Stream.take(items, 10_000))
  globalThis.gc?.()
  const idle = megabytes()
  let peak = idle
  const { appended } = yield* store.importEvents(items, {
    onProgress: () => Effect.sync(() => void (peak = Math.max(peak, megabytes())))
  })
  console.log(JSON.stringify({ idle, peak, seen: appended }))
}).pipe(Tenant.provide(tenantId), Effect.provide(database))

await Effect.runPromise(program)
