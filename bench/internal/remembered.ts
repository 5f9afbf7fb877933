/**
 * Loads aggregates that their repository remembers, and prints the heap before and after, for `cases/commands.ts`. Arguments: URL of
 * the database, tenant, number of aggregates.
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, Metric, Redacted } from "effect"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as Repository from "../../src/store/Repository.ts"
import { Cart, itemAdded } from "./domain.ts"
import * as Telemetry from "../../src/telemetry/Telemetry.ts"

const [url = "", tenant = "", states = ""] = process.argv.slice(2)
const count = Number(states)
const idOf = (n: number): string => `0198b2c0-0000-7000-8000-${String(n).padStart(12, "0")}`
const database = Repository.layer.pipe(
  Layer.provideMerge(EventStore.layer),
  Layer.provide(PgStorage.layer),
  Layer.provide(PgClient.layer({ url: Redacted.make(url), maxConnections: 4 }))
)

/** Megabytes that are in use. */
const heap = (): number => {
  for (let turn = 0; turn < 3; turn++) globalThis.gc?.()
  const { external, heapUsed } = process.memoryUsage()
  return (heapUsed + external) / 2 ** 20
}

const program = Effect.gen(function* () {
  const store = yield* EventStore.EventStore
  const repository = yield* Repository.Repository
  const all = Array.from({ length: count }, (_, n) => n)
  yield* Effect.forEach(
    all,
    (n) =>
      store.append({ aggregate: Cart, id: idOf(n), expectedVersion: "noStream", events: [itemAdded(n)] }),
    { concurrency: 64, discard: true }
  )
  const loads = (options: Repository.LoadOptions, numbers: ReadonlyArray<number>) =>
    Effect.forEach(numbers, (n) => repository.load(Cart, idOf(n), options), {
      concurrency: 64,
      discard: true
    })
  // All that is needed has been loaded and compiled.
  yield* loads({}, all.slice(0, 100))
  const idle = heap()
  yield* loads({}, all)
  const peak = heap()
  // Every one of them is found.
  const hits = yield* Metric.value(
    Telemetry.rememberedHits.pipe(Metric.withAttributes({ aggregate: "Cart" }))
  )
  yield* loads({}, all)
  const after = yield* Metric.value(
    Telemetry.rememberedHits.pipe(Metric.withAttributes({ aggregate: "Cart" }))
  )
  console.log(JSON.stringify({ idle, peak, seen: after.count - hits.count }))
}).pipe(Tenant.provide(Tenant.TenantId.make(tenant)), Effect.provide(database))

await Effect.runPromise(program)
