/** Shops that add lines to their orders on three processes, while these are disturbed. */
import { Effect, Layer, Redacted, Schedule, Stream } from "effect"
import { EventStore, Tenant } from "effect-eventsourcing"
import { PgMigrator, PgServer } from "effect-eventsourcing/pg"
import { type ChildProcess, spawn } from "node:child_process"
import { randomUUID } from "node:crypto"
import { fileURLToPath } from "node:url"
import { Caller, Order, Orders, Store } from "./Orders.ts"

/** The settings of a run. */
export interface Settings {
  readonly url: string
  readonly seconds: number
  /** The first of three ports. */
  readonly firstPort: number
  /** Runs beside the shops. */
  readonly disturb: (processes: ReadonlyArray<ChildProcess>) => Effect.Effect<unknown>
}

/** The outcome of a run. */
export interface Report {
  /** Number of answered calls. */
  readonly answered: number
  /** Number of calls that were sent again. */
  readonly repeated: number
  /** Number of processes that answered. */
  readonly processes: number
  /** The longest time from a call to its answer, in milliseconds. */
  readonly slowest: number
  /** Number of shops whose log differs from their answers. */
  readonly differing: number
}

interface Seen {
  repeated: number
  slowest: number
  readonly processes: Set<number>
}

const startRunner = (url: string, port: number) =>
  Effect.acquireRelease(
    Effect.sync(() =>
      spawn(
        process.execPath,
        ["--import", "tsx", fileURLToPath(new URL("runner.ts", import.meta.url)), String(port)],
        { stdio: ["ignore", "ignore", "inherit"], env: { ...process.env, DATABASE_URL: url } }
      )
    ),
    (child: ChildProcess) => Effect.sync(() => void child.kill("SIGKILL"))
  )

/** Adds lines to the same order of a shop, one after the other. Returns the number of answers. */
const fill = (shop: Tenant.TenantId, end: number, seen: Seen) =>
  Effect.gen(function* () {
    const { addLine } = yield* Orders.client
    let answered = 0
    while (Date.now() < end) {
      const key = randomUUID()
      const began = Date.now()
      const { lines, process: pid } = yield* addLine({ order: "1", product: "tea", key }).pipe(
        Effect.timeout("2 seconds"),
        Effect.tapError(() => Effect.sync(() => seen.repeated++)),
        Effect.retry(Schedule.spaced("100 millis"))
      )
      answered++
      seen.processes.add(pid)
      seen.slowest = Math.max(seen.slowest, Date.now() - began)
      if (lines !== answered) return yield* Effect.die(new Error(`${lines} lines after ${answered} answers`))
    }
    return answered
  }).pipe(Tenant.provide(shop))

const linesOf = (shop: Tenant.TenantId) =>
  EventStore.EventStore.use((store) => Stream.runCount(store.readLog({ aggregates: [Order] }))).pipe(
    Tenant.provide(shop)
  )

/** Three processes and twenty shops. Every shop has an order with the same id. */
export const shopping = ({ disturb, firstPort, seconds, url }: Settings) =>
  Effect.gen(function* () {
    const shops = Array.from({ length: 20 }, () => Tenant.TenantId.make(randomUUID()))
    yield* Effect.provide(PgMigrator.run, PgServer.layer({ url: Redacted.make(url), maxConnections: 1 }), {
      local: true
    })
    const processes = yield* Effect.forEach([0, 1, 2], (n) => startRunner(url, firstPort + n))
    const context = yield* Layer.build(Layer.merge(Caller(url), Store(url)))
    return yield* Effect.gen(function* () {
      // Until all processes have joined.
      yield* Effect.forEach(
        shops,
        (shop) =>
          Effect.flatMap(Orders.client, ({ addLine }) =>
            addLine({ order: "warm up", product: "tea", key: "1" })
          ).pipe(
            Effect.timeout("2 seconds"),
            Effect.retry(Schedule.spaced("200 millis")),
            Tenant.provide(shop)
          ),
        { concurrency: "unbounded", discard: true }
      )
      const seen: Seen = { repeated: 0, slowest: 0, processes: new Set() }
      const end = Date.now() + seconds * 1000
      const [answers] = yield* Effect.all(
        [
          Effect.forEach(shops, (shop) => fill(shop, end, seen), { concurrency: "unbounded" }),
          disturb(processes)
        ],
        { concurrency: "unbounded" }
      )
      const stored = yield* Effect.forEach(shops, linesOf)
      const report: Report = {
        answered: answers.reduce((sum, count) => sum + count, 0),
        repeated: seen.repeated,
        processes: seen.processes.size,
        slowest: seen.slowest,
        // One line is from the beginning.
        differing: shops.filter((_, n) => stored[n] !== (answers[n] ?? 0) + 1).length
      }
      return report
    }).pipe(Effect.provideContext(context))
  }).pipe(Effect.scoped)
