/** Imports: by stream, in the order of time, and how much memory a long one takes. */
import { Stream } from "effect"
import { randomUUID } from "node:crypto"
import * as Event from "../../src/domain/Event.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { apart } from "../internal/apart.ts"
import { Cart, itemAdded } from "../internal/domain.ts"
import { type Contender, interleave } from "../internal/measure.ts"
import { newTenants, startOn } from "../internal/ours.ts"
import { table } from "../internal/report.ts"
import { execute } from "../internal/server.ts"
import { atLeast, type Case, ratioOf } from "./Case.ts"

type Item = EventStore.ImportedEvents<typeof Cart>

const byStream = "importEvents, an item per stream, of 10 events"
const byTime = "importEvents, an item per event, in the order of time"

/** An item for each of so many streams, of so many events. */
const itemsOf = (streams: number, events: number): ReadonlyArray<Item> =>
  Array.from({ length: streams }, (_, stream) => ({
    aggregate: Cart,
    id: `cart ${stream}`,
    events: Array.from({ length: events }, (__, n) =>
      Event.make(itemAdded(n), { eventId: Event.generateId() })
    )
  }))

const importing: Case = {
  name: "import",
  run: async ({ server, rounds, quick }) => {
    const events = quick ? 5000 : 50_000
    const database = await server.newDatabase()
    const runtime = startOn(database)
    const streams = events / 10
    const contender = (name: string, make: () => ReadonlyArray<Item>): Contender => ({
      name,
      run: async () => {
        const [tenantId = Tenant.untenanted] = newTenants(1)
        const items = make()
        const began = performance.now()
        const { appended } = await runtime.runPromise(
          EventStore.EventStore.use((store) => store.importEvents(Stream.fromIterable(items))).pipe(
            Tenant.provide(tenantId)
          )
        )
        if (appended !== events) throw new Error(`imported ${appended} of ${events}`)
        return (events * 1000) / (performance.now() - began)
      }
    })
    const measured = await interleave(
      [
        contender(byStream, () => itemsOf(streams, 10)),
        // The same events, one an item: every stream comes ten times, as in a log.
        contender(byTime, () => Array.from({ length: 10 }, () => itemsOf(streams, 1)).flat()),
        {
          name: "raw insert of 1,000 rows a statement, made by the server",
          run: async () => {
            const tenantId = randomUUID()
            const payload = JSON.stringify(itemAdded(1))
            const insert = (from: number, to: number): string =>
              `insert into eventsourcing.events (tenant_id, position, aggregate_type, aggregate_id, version, event_id,
                event_type, schema_version, occurred_at, recorded_at, correlation_id, metadata, payload, bytes)
              select '${tenantId}', n, 'Cart', 'c' || n / 10, n % 10 + 1, gen_random_uuid(), 'ItemAdded', 1, now(), now(),
                'c', '{}', '${payload}', 202 from generate_series(${from}, ${to}) n`
            const began = performance.now()
            const statements = Array.from({ length: events / 1000 }, (_, n) =>
              insert(n * 1000 + 1, (n + 1) * 1000)
            )
            await execute(database.owner, ...statements)
            return (events * 1000) / (performance.now() - began)
          }
        }
      ],
      { rounds, seconds: 0 }
    )
    await runtime.dispose()
    await database.close()
    const result = table(`Import ${events.toLocaleString("en")} events`, "events/s", measured)
    return {
      tables: [result],
      targets: [
        atLeast(
          "import in the order of time, one event an item",
          1 / 1.3,
          "one item per stream",
          ratioOf(result, byTime, (name) => name === byStream)
        )
      ]
    }
  }
}

const memory: Case = {
  name: "memory of a long import",
  run: async ({ server, quick }) => {
    const events = quick ? 50_000 : 1_000_000
    const database = await server.newDatabase()
    const [tenantId = Tenant.untenanted] = newTenants(1)
    const { idle, peak, seen } = await apart("importing", database.url, tenantId, String(events))
    await database.close()
    if (seen !== events) throw new Error(`imported ${seen} of ${events}`)
    return {
      tables: [
        table(`Resident memory of a process that imports ${events.toLocaleString("en")} events`, "MB", [
          { name: "idle, after the first ten thousand", rates: [idle] },
          { name: "at most", rates: [peak] }
        ])
      ],
      targets: [
        {
          what: `import of ${events.toLocaleString("en")} events`,
          wanted: "under 100 MB above idle",
          figure: `${Math.round(peak - idle)} MB`,
          reached: peak - idle < 100
        }
      ]
    }
  }
}

export const importCases: ReadonlyArray<Case> = [importing, memory]
