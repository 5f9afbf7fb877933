/** Scans a tenant's log and prints its resident memory, for `cases/memory.ts`. Arguments: URL of the database, tenant. */
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, Redacted, Stream } from "effect"
import * as EventStore from "../../src/store/EventStore.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { Cart } from "./domain.ts"

const [url = "", tenant = ""] = process.argv.slice(2)
const tenantId = Tenant.TenantId.make(tenant)
const megabytes = (): number => process.memoryUsage.rss() / 2 ** 20
const database = EventStore.layer.pipe(
  Layer.provide(PgStorage.layer),
  Layer.provide(PgClient.layer({ url: Redacted.make(url), maxConnections: 4 }))
)

const program = Effect.gen(function* () {
  const store = yield* EventStore.EventStore
  const log = store.readLog({ aggregates: [Cart] })
  // Idle: all code has been loaded and compiled.
  yield* Stream.runDrain(store.readLog({ aggregates: [Cart], limit: 1000 }))
  globalThis.gc?.()
  const idle = megabytes()
  let [peak, seen] = [idle, 0]
  yield* Stream.runForEachArray(log, (page) =>
    Effect.sync(() => {
      seen += page.length
      peak = Math.max(peak, megabytes())
    })
  )
  console.log(JSON.stringify({ idle, peak, seen }))
}).pipe(Tenant.provide(tenantId), Effect.provide(database))

await Effect.runPromise(program)
