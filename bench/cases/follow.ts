/** Following the log: scans, catching up and live events. Measures speed, and counts missed events. */
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, ManagedRuntime, Stream } from "effect"
import { randomUUID } from "node:crypto"
import * as EventStore from "../../src/store/EventStore.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import * as Projection from "../../src/projection/Projection.ts"
import * as ProjectionRunner from "../../src/projection/ProjectionRunner.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { Cart, itemAdded } from "../internal/domain.ts"
import { interleave, loops, quantile } from "../internal/measure.ts"
import { fibers, newTenants, startOn } from "../internal/ours.ts"
import { table } from "../internal/report.ts"
import { client, type Database, execute } from "../internal/server.ts"
import { fillPeer, startPeers } from "../peers/start.ts"
import { atLeast, type Case, ratioOf, under } from "./Case.ts"

/** Fills a tenant's log. */
export const fill = (tenantId: Tenant.TenantId, events: number) =>
  Effect.forEach(
    Array.from({ length: Math.ceil(events / 1000) }, (_, n) => Math.min(1000, events - n * 1000)),
    (count) =>
      EventStore.EventStore.use((store) =>
        store.append({
          aggregate: Cart,
          id: randomUUID(),
          expectedVersion: "noStream",
          events: Array.from({ length: count }, (_, n) => itemAdded(n))
        })
      ),
    { discard: true }
  ).pipe(Tenant.provide(tenantId))

/**
 * A page of the log from the driver: no function, and no row-level security for the owner. With a limit instead of
 * an upper end, the generic plan of the statement reads more than the page.
 */
const pageSql = `select position::float8, aggregate_type, aggregate_id, version, event_id::text, event_type, schema_version,
  occurred_at, recorded_at, actor, correlation_id, causation_id, metadata::text, payload::text
  from eventsourcing.events where tenant_id = $1::uuid and position > $2::bigint and position <= $2::bigint + 1000 order by position`

export const rawScan = (tenantId: string) =>
  Effect.gen(function* () {
    const sql = yield* PgClient.PgClient
    let [last, seen] = [0, 0]
    while (true) {
      const rows = yield* sql.unsafe(pageSql, [tenantId, BigInt(last)]).values
      seen += rows.length
      // as all others do
      for (const row of rows) if (JSON.parse(String(row[13])) === null) return seen
      if (rows.length < 1000) return seen
      last = Number(rows.at(-1)?.[0])
    }
  })

/** The rate of work through a number of events, per second. */
const rateOf = async (work: () => Promise<number>): Promise<{ rate: number; seen: number }> => {
  const began = performance.now()
  const seen = await work()
  return { rate: (seen * 1000) / (performance.now() - began), seen }
}

const runnerOn = (
  database: Database,
  projections: ReadonlyArray<Projection.Projection<never, never>>,
  concurrency: number
) =>
  ManagedRuntime.make(
    ProjectionRunner.layer({ projections, concurrency }).pipe(
      Layer.provideMerge(EventStore.layer),
      Layer.provideMerge(PgStorage.layer),
      Layer.provide(client(database.app))
    )
  )

/** Reads the position, the type and the payload of every event of a log. Returns their number. */
export const readDecoded = (tenantId: Tenant.TenantId) =>
  EventStore.EventStore.use((store) =>
    Stream.runFold(
      store.readLog({ aggregates: [Cart] }),
      () => 0,
      (count, { payload, position }) =>
        position > 0 && payload._tag === "ItemAdded" && payload.quantity > 0 ? count + 1 : count
    )
  ).pipe(Tenant.provide(tenantId))

let projections = 0

/** Starts a runner of a new projection that reads the same. Its work returns the number of events. */
export const startProjection = async (database: Database, batchSize = 1000) => {
  let handled = 0
  const noted = Projection.makeBatched(
    `no-op ${++projections}`,
    { aggregates: [Cart], batchSize },
    (envelopes) =>
      Effect.sync(() => {
        for (const { payload, position } of envelopes)
          if (position > 0 && payload._tag === "ItemAdded" && payload.quantity > 0) handled++
      })
  )
  const runner = runnerOn(database, [noted], 0)
  await runner.context()
  return {
    work: async () => {
      await runner.runPromise(ProjectionRunner.ProjectionRunner.use(({ drain }) => drain))
      return handled
    },
    end: () => runner.dispose()
  }
}

const catchUp: Case = {
  name: "catch up",
  run: async ({ server, rounds, quick }) => {
    const events = quick ? 10_000 : 100_000
    const database = await server.newDatabase()
    const runtime = startOn(database)
    const [tenantId = Tenant.untenanted] = newTenants(1)
    await runtime.runPromise(fill(tenantId, events))
    await execute(database.owner, "vacuum analyze eventsourcing.events")
    const raw = ManagedRuntime.make(client(database.owner))
    const peers = (await startPeers(server)).filter(
      ({ process, readAll }) => readAll !== undefined || process !== undefined
    )
    for (const peer of peers) await fillPeer(peer, events)
    const seen = new Map<string, number>()
    /** Connects and starts before it measures, as for the peers. */
    const measuring = (
      name: string,
      start: () => Promise<{
        readonly work: () => Promise<number>
        readonly end?: () => Promise<void>
      }>
    ) => ({
      name,
      run: async (): Promise<number> => {
        const { end, work } = await start()
        const result = await rateOf(work)
        await end?.()
        seen.set(name, Math.min(result.seen, seen.get(name) ?? Infinity))
        return result.rate
      }
    })
    const started = (work: () => Promise<number>) => () => Promise.resolve({ work })
    const measured = await interleave(
      [
        measuring(
          "raw page scan, same driver",
          started(() => raw.runPromise(rawScan(tenantId)))
        ),
        measuring(
          "this store: readLog, decoded",
          started(() => runtime.runPromise(readDecoded(tenantId)))
        ),
        ...peers.flatMap(({ name, readAll: read }) =>
          read === undefined
            ? []
            : [
                measuring(
                  `peer ${name}: a read`,
                  started(() => read(events))
                )
              ]
        ),
        measuring("this store: projection with its checkpoint, decoded", () => startProjection(database)),
        measuring("this store: projection with its checkpoint, pages of 100", () =>
          startProjection(database, 100)
        ),
        ...peers.flatMap(({ name, process }) =>
          process === undefined
            ? []
            : [
                measuring(
                  `peer ${name}: a processor with its checkpoint`,
                  started(() => process(events))
                )
              ]
        )
      ],
      { rounds, seconds: 0 }
    )
    await runtime.dispose()
    await raw.dispose()
    for (const peer of peers) await peer.close()
    await database.close()
    const result = table(
      `Catch up with ${events.toLocaleString("en")} events`,
      "events/s",
      measured.map(({ name, rates }) => ({
        name,
        rates,
        note: `saw ${(seen.get(name) ?? 0).toLocaleString("en")} of ${events.toLocaleString("en")}`
      }))
    )
    const ours = "this store: projection with its checkpoint, decoded"
    const completeRead = (name: string): boolean =>
      name.startsWith("peer") && name.endsWith("a read") && (seen.get(name) ?? 0) >= events
    return {
      tables: [result],
      targets: [
        atLeast(
          "no-op projection catch-up",
          0.75,
          "the raw page scan through the same driver",
          ratioOf(result, ours, (name) => name.startsWith("raw"))
        ),
        atLeast(
          `readLog of ${events.toLocaleString("en")} events`,
          1.4,
          "the fastest peer's read that sees every event",
          ratioOf(result, "this store: readLog, decoded", completeRead)
        ),
        atLeast(
          "no-op projection catch-up with its checkpoint",
          1.2,
          "the fastest peer's bare read that sees every event",
          ratioOf(result, ours, completeRead)
        )
      ]
    }
  }
}

/** Follows the appends of 32 writers, and counts skipped and repeated events. */
const tailing: Case = {
  name: "tail, 32 writers",
  run: async ({ server, seconds }) => {
    const database = await server.newDatabase()
    const [tenantId = Tenant.untenanted] = newTenants(1)
    const seen: Array<number> = []
    const noting = Projection.make(
      "noting",
      { aggregates: [Cart] },
      { ItemAdded: (_, { position }) => Effect.sync(() => void seen.push(position)) }
    )
    const runtime = runnerOn(database, [noting], 4)
    const rates: Array<{ name: string; rates: ReadonlyArray<number>; note: string }> = []
    const ours = await runtime.runPromise(
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        const ids = Array.from({ length: 32 }, () => randomUUID())
        const rate = yield* fibers(32, seconds, (fiber) =>
          store.append({
            aggregate: Cart,
            id: ids[fiber] ?? "",
            expectedVersion: "any",
            events: [itemAdded(1)]
          })
        )
        const head = yield* store.position
        for (let waited = 0; seen.length < head && waited < 200; waited++) yield* Effect.sleep(20)
        return { rate, head }
      }).pipe(Tenant.provide(tenantId))
    )
    await runtime.dispose()
    await database.close()
    const disorder = seen.filter(
      (position, index) => index > 0 && position !== (seen[index - 1] ?? 0) + 1
    ).length
    rates.push({
      name: "this store: projection",
      rates: [ours.rate],
      note: `${ours.head - new Set(seen).size} of ${ours.head} skipped, ${disorder} out of order`
    })
    const peers = (await startPeers(server)).filter(({ tail }) => tail !== undefined)
    for (const peer of peers) {
      let handled = 0
      const notes = new Set<string>()
      const stop = await peer.tail?.(({ note }) => {
        handled++
        notes.add(note)
      })
      const versions = Array.from({ length: 32 }, () => ({ id: randomUUID(), version: 0 }))
      let appended = 0
      const rate = await loops(32, seconds, async (loop) => {
        const stream = versions[loop]
        if (stream === undefined) return
        // Its note identifies it.
        const event = { ...itemAdded(1), note: `${loop} ${stream.version}`.padEnd(120, ".") }
        await peer.append(stream.id, stream.version, [event])
        stream.version++
        appended++
      })
      let before = -1
      while (notes.size < appended && before !== handled) {
        before = handled
        await new Promise((resolve) => setTimeout(resolve, 1000))
      }
      rates.push({
        name: `peer ${peer.name}`,
        rates: [rate],
        note: `${appended - notes.size} of ${appended} skipped, ${handled - notes.size} twice`
      })
      await stop?.()
      await peer.close()
    }
    return {
      tables: [
        table("Tail the log under 32 writers: appends, and skipped or repeated events", "appends/s", rates)
      ],
      targets: []
    }
  }
}

/** The time from the end of an append to the handler, one event at a time. */
const latency: Case = {
  name: "live latency",
  run: async ({ server, quick }) => {
    const count = quick ? 50 : 400
    const database = await server.newDatabase()
    const [tenantId = Tenant.untenanted] = newTenants(1)
    let arrived: (at: number) => void = () => undefined
    const noting = Projection.make(
      "noting",
      { aggregates: [Cart] },
      { ItemAdded: () => Effect.sync(() => arrived(performance.now())) }
    )
    const runtime = runnerOn(database, [noting], 1)
    const [appends, delays]: [Array<number>, Array<number>] = [[], []]
    await runtime.runPromise(
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        const id = randomUUID()
        for (let n = 0; n < count + 20; n++) {
          const handled = new Promise<number>((resolve) => {
            arrived = resolve
          })
          const began = performance.now()
          yield* store.append({ aggregate: Cart, id, expectedVersion: "any", events: [itemAdded(n)] })
          const committed = performance.now()
          const at = yield* Effect.promise(() => handled)
          if (n >= 20) {
            appends.push(committed - began)
            delays.push(Math.max(0, at - committed))
          }
          yield* Effect.sleep(5 + (n % 7))
        }
      }).pipe(Tenant.provide(tenantId))
    )
    await runtime.dispose()
    await database.close()
    const [append, delay] = [quantile(appends, 0.5), quantile(delays, 0.5)]
    return {
      tables: [
        table("From commit to handler", "ms", [
          { name: "one append, p50", rates: [append] },
          { name: "commit to handler, p50", rates: [delay] },
          { name: "commit to handler, p99", rates: [quantile(delays, 0.99)] }
        ])
      ],
      targets: [under("live latency, commit to handler, p50", 1.5 * append + 5, "ms", delay)]
    }
  }
}

export const followCases: ReadonlyArray<Case> = [catchUp, tailing, latency]
