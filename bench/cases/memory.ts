/** The backends in memory, and the memory of a long scan. */
import { Layer, ManagedRuntime } from "effect"
import { randomUUID } from "node:crypto"
import * as EventStore from "../../src/store/EventStore.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import * as PgEmbedded from "../../src/pg/PgEmbedded.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import * as PgMigrator from "../../src/pg/PgMigrator.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { Cart, itemAdded } from "../internal/domain.ts"
import { type Contender, interleave, loops } from "../internal/measure.ts"
import { fibers, newTenants, onDriver, startOn } from "../internal/ours.ts"
import { apart } from "../internal/apart.ts"
import { table } from "../internal/report.ts"
import { loadPeer } from "../peers/load.ts"
import { atLeast, type Case, ratioOf } from "./Case.ts"
import { fill } from "./follow.ts"

interface CastoreAdapter {
  pushEvent(event: object, options: object): Promise<unknown>
}

interface EmmettStore {
  appendToStream(stream: string, events: ReadonlyArray<object>, options?: object): Promise<unknown>
}

/** A new stream every hundred events, because peers copy or scan the events of a stream. */
const placesInStreams = () => {
  const place = { id: randomUUID(), version: 0 }
  return () => {
    if (place.version >= 100) Object.assign(place, { id: randomUUID(), version: 0 })
    place.version++
    return place
  }
}

// Every round starts with a new store: all share a heap, and the events of the fastest would slow it down most.
const peersInMemory = async (): Promise<ReadonlyArray<Contender>> => {
  const contenders: Array<Contender> = []
  try {
    const { InMemoryEventStorageAdapter } = await loadPeer<{
      readonly InMemoryEventStorageAdapter: new (options: object) => CastoreAdapter
    }>("@castore/event-storage-adapter-in-memory")
    contenders.push({
      name: "peer castore",
      run: (time) => {
        const adapter = new InMemoryEventStorageAdapter({})
        const next = placesInStreams()
        return loops(1, time, () => {
          const { id: aggregateId, version } = next()
          return adapter.pushEvent(
            {
              aggregateId,
              version,
              type: "ItemAdded",
              timestamp: new Date().toISOString(),
              payload: itemAdded(1)
            },
            { eventStoreId: "carts" }
          )
        })
      }
    })
    const { getInMemoryEventStore } = await loadPeer<{ readonly getInMemoryEventStore: () => EmmettStore }>(
      "@event-driven-io/emmett"
    )
    contenders.push({
      name: "peer emmett",
      run: (time) => {
        const store = getInMemoryEventStore()
        const next = placesInStreams()
        return loops(1, time, () =>
          store.appendToStream(next().id, [{ type: "ItemAdded", data: itemAdded(1) }])
        )
      }
    })
  } catch (error) {
    console.warn(`peers in memory are left out: ${error instanceof Error ? error.message : String(error)}`)
  }
  return contenders
}

/** Runs first, because earlier work of the process slows it down by a quarter. */
export const inMemory: Case = {
  name: "memory backend",
  run: async ({ rounds, seconds }) => {
    const [tenantId = Tenant.untenanted] = newTenants(1)
    const event = itemAdded(1)
    const measured = await interleave(
      [
        {
          name: "this store",
          run: async (time) => {
            const runtime = ManagedRuntime.make(onDriver(MemoryStorage.layer))
            let stream = { id: randomUUID(), version: 0 }
            const rate = await runtime.runPromise(
              EventStore.EventStore.use((store) =>
                fibers(1, time, () => {
                  if (stream.version >= 100) stream = { id: randomUUID(), version: 0 }
                  return store.append({
                    aggregate: Cart,
                    id: stream.id,
                    expectedVersion: stream.version++,
                    events: [event]
                  })
                })
              ).pipe(Tenant.provide(tenantId))
            )
            await runtime.dispose()
            return rate
          }
        },
        ...(await peersInMemory())
      ],
      { rounds, seconds }
    )
    const result = table(
      "Append one by one in memory, this store with schemas, peers without",
      "appends/s",
      measured,
      "peer"
    )
    return {
      tables: [result],
      targets: [
        atLeast(
          "memory backend, append one by one",
          2,
          "the fastest peer",
          ratioOf(result, "this store", (name) => name.startsWith("peer"))
        )
      ]
    }
  }
}

const embedded: Case = {
  name: "PGlite",
  run: async ({ rounds, seconds }) => {
    const runtime = ManagedRuntime.make(
      onDriver(PgStorage.layer.pipe(Layer.provide(PgMigrator.layer), Layer.provide(PgEmbedded.layer)))
    )
    const [tenantId = Tenant.untenanted] = newTenants(1)
    const contender = (concurrency: number): Contender => {
      const streams = Array.from({ length: concurrency }, () => ({ id: randomUUID(), version: 0 }))
      return {
        name: `this store on PGlite, ${concurrency} concurrent`,
        run: (time) =>
          runtime.runPromise(
            fibers(concurrency, time, (fiber) => {
              const stream = streams[fiber]
              return EventStore.EventStore.use((store) =>
                store.append({
                  aggregate: Cart,
                  id: stream?.id ?? "",
                  expectedVersion: stream === undefined ? 0 : stream.version++,
                  events: [itemAdded(1)]
                })
              )
            }).pipe(Tenant.provide(tenantId))
          )
      }
    }
    const measured = await interleave([contender(1), contender(32)], { rounds, seconds })
    await runtime.dispose()
    return { tables: [table("Append 1 event on the embedded PGlite", "appends/s", measured)], targets: [] }
  }
}

const scan: Case = {
  name: "memory of a long scan",
  run: async ({ server, quick }) => {
    const events = quick ? 50_000 : 1_000_000
    const database = await server.newDatabase()
    const runtime = startOn(database)
    const [tenantId = Tenant.untenanted] = newTenants(1)
    const began = performance.now()
    await runtime.runPromise(fill(tenantId, events))
    const filled = (events * 1000) / (performance.now() - began)
    await runtime.dispose()
    const { idle, peak, seen } = await apart("scan", database.url, tenantId)
    await database.close()
    if (seen !== events) throw new Error(`the scan saw ${seen} of ${events}`)
    return {
      tables: [
        table(`Resident memory of a process that scans ${events.toLocaleString("en")} events`, "MB", [
          { name: "idle, after the first thousand", rates: [idle] },
          {
            name: "at most",
            rates: [peak],
            note: `filled with ${Math.round(filled).toLocaleString("en")} events/s`
          }
        ])
      ],
      targets: [
        {
          subject: `scan of ${events.toLocaleString("en")} events`,
          wanted: "under 100 MB above idle",
          figure: `${Math.round(peak - idle)} MB`,
          reached: peak - idle < 100
        }
      ]
    }
  }
}

export const memoryCases: ReadonlyArray<Case> = [embedded, scan]
