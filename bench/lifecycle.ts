/**
 * `npx tsx bench/lifecycle.ts --events 200000 --long 1000000 --out bench/LIFECYCLE.md`: export and import of a tenant on PostgreSQL,
 * beside the reads and writes that they consist of, the appends of tenants with and without a quota, those of others beside an
 * erasure, and the pause of a move under load.
 * Prints rates, the CPU time per event of this process and of the server, the size of the archive, and the memory that an export
 * and an import of `--long` events need (default: as many as `--events`), and writes them to a file with `--out`. Defaults: 50,000
 * events, 3 rounds. With `--rounds 0` only the memory is measured; with `--erasure` only the erasure, with `--export` only the export.
 * The server's time needs Linux. With `--quota` it measures instead the appends of tenants with and without a quota, by default 2,000 events in 9 rounds.
 */
import { PgClient } from "@effect/sql-pg"
import { Data, Duration, Effect, Fiber, Layer, ManagedRuntime, Stream } from "effect"
import { execFile } from "node:child_process"
import { createReadStream, createWriteStream, writeFileSync } from "node:fs"
import { mkdtemp, rm } from "node:fs/promises"
import { cpus, tmpdir } from "node:os"
import * as Path from "node:path"
import { pipeline } from "node:stream/promises"
import { fileURLToPath } from "node:url"
import { parseArgs, promisify } from "node:util"
import * as Event from "../src/domain/Event.ts"
import * as EventStorage from "../src/driver/EventStorage.ts"
import * as EventStore from "../src/store/EventStore.ts"
import * as PgSilo from "../src/pg/PgSilo.ts"
import * as PgStorage from "../src/pg/PgStorage.ts"
import * as Tenant from "../src/domain/Tenant.ts"
import * as TenantArchive from "../src/lifecycle/TenantArchive.ts"
import * as TenantMove from "../src/lifecycle/TenantMove.ts"
import * as TenantDirectory from "../src/routed/TenantDirectory.ts"
import * as TenantQuota from "../src/lifecycle/TenantQuota.ts"
import * as TenantRegistry from "../src/store/TenantRegistry.ts"
import { atLeast, ratioOf, under } from "./cases/Case.ts"
import { erasing } from "./cases/erasure.ts"
import { Cart, itemAdded } from "./internal/domain.ts"
import { median } from "./internal/measure.ts"
import { newTenants } from "./internal/ours.ts"
import { type Table, table, type Target, targetsToMarkdown, toMarkdown } from "./internal/report.ts"
import { startServer } from "./internal/server.ts"

const { values } = parseArgs({
  options: {
    events: { type: "string" },
    long: { type: "string" },
    rounds: { type: "string" },
    out: { type: "string" },
    erasure: { type: "boolean", default: false },
    export: { type: "boolean", default: false },
    quota: { type: "boolean", default: false }
  }
})
const count = Number(values.events ?? (values.quota ? 2000 : 50_000))
const rounds = Number(values.rounds ?? (values.quota ? 9 : 3))
const long = Number(values.long ?? count)
const [source = Tenant.untenanted, small = Tenant.untenanted] = newTenants(2)
const administer = Tenant.provideAdministration({ actor: "benchmark", reason: "rates of export and import" })

const server = await startServer()
const database = await server.newDatabase()
const folder = await mkdtemp(Path.join(tmpdir(), "effect-eventsourcing-bench-"))
// The owner administers tenants.
const runtimeOn = ({ owner }: typeof database) =>
  ManagedRuntime.make(
    Layer.mergeAll(EventStore.layer, TenantQuota.layer, TenantRegistry.layer).pipe(
      Layer.provideMerge(PgStorage.layer),
      Layer.provide(PgClient.layer({ ...owner, maxConnections: 4 }))
    )
  )
const runtime = runtimeOn(database)

/** Events of a thousand recurring streams, in the order of time. */
const items = (events: number) =>
  Stream.range(0, events - 1).pipe(
    Stream.map((n) => ({
      aggregate: Cart,
      id: `cart ${(n * 7919) % 1000}`,
      events: [Event.make(itemAdded(n), { eventId: Event.generateId() })]
    }))
  )

const write = (tenantId: Tenant.TenantId, events: number) =>
  EventStore.EventStore.use((store) => store.importEvents(items(events))).pipe(Tenant.provide(tenantId))

const readRows = (tenantId: Tenant.TenantId) =>
  EventStorage.EventStorage.use((storage) =>
    Effect.scoped(
      Effect.gen(function* () {
        const request = {
          tenantId,
          fromPosition: 1,
          toPosition: Number.MAX_SAFE_INTEGER,
          recordedFrom: undefined,
          recordedBefore: undefined,
          aggregateTypes: undefined,
          eventTypes: undefined
        }
        const reader = yield* storage.openLog(request)
        if (reader === undefined) return yield* Effect.die("no reader")
        for (let complete = false; !complete;) ({ complete } = yield* reader.next(1000))
      })
    )
  )

class Unreadable extends Data.TaggedError("Unreadable")<{ readonly cause: unknown }> {}

const file = (name: string): string => Path.join(folder, name)

/** An archive of so many events, made in memory by another process, which takes less time than filling a database. */
const makeArchive = (name: string, events: number) =>
  promisify(execFile)(process.execPath, [
    "--max-old-space-size=8000",
    "--import",
    "tsx",
    fileURLToPath(new URL("internal/archiving.ts", import.meta.url)),
    file(name),
    String(events)
  ])

const toFile = (name: string, tenantId: Tenant.TenantId, compression?: TenantArchive.Compression) =>
  Effect.gen(function* () {
    let bytes = 0
    const archive = TenantArchive.exportTar({ tenantId, compression }).pipe(
      Stream.tap((chunk) => Effect.sync(() => void (bytes += chunk.length)))
    )
    const readable = yield* Stream.toReadableStreamEffect(archive)
    yield* Effect.promise(() => pipeline(readable, createWriteStream(file(name))))
    return bytes
  }).pipe(administer)

const drained = (tenantId: Tenant.TenantId, compression?: TenantArchive.Compression) =>
  administer(Stream.runDrain(TenantArchive.exportTar({ tenantId, compression })))

const fromFile = (name: string, into: Tenant.TenantId) =>
  Effect.suspend(() => {
    const bytes = Stream.fromAsyncIterable(
      createReadStream(file(name), { highWaterMark: 1 << 18 }) as AsyncIterable<Uint8Array>,
      (cause) => new Unreadable({ cause })
    )
    return administer(TenantArchive.importTar(bytes, { into }))
  })

type Work = Effect.Effect<unknown, unknown, ManagedRuntime.ManagedRuntime.Services<typeof runtime>>

const tables: Array<Table> = []
const targets: Array<Target> = []

const results = async (): Promise<string> => `# Lifecycle

Written by \`npx tsx bench/lifecycle.ts --out\`: a tenant of ${count.toLocaleString("en")} events of 200 bytes. Each contender runs ${rounds} times or more, in
turns; the figure is the median, with the lowest and the highest beside it. Ratios are what to compare.

- ${new Date().toISOString().slice(0, 10)}, ${cpus().length} x ${cpus()[0]?.model ?? "unknown CPU"}, Node ${process.versions.node}, client and server on the same machine
- PostgreSQL: ${await server.describe()}

${targetsToMarkdown(targets)}
## Cases

${tables.map(toMarkdown).join("\n")}`

const add = async (result: Table, ...reached: ReadonlyArray<Target>): Promise<Table> => {
  tables.push(result)
  targets.push(...reached)
  console.log(`\n${toMarkdown(result)}`)
  // Written after each case, so that a later failure loses no results.
  if (values.out !== undefined) writeFileSync(values.out, await results())
  return result
}

/** Runs contenders in turns. */
const compare = async (
  title: string,
  contenders: ReadonlyArray<readonly [name: string, work: () => Work]>,
  { events, rounds: turns }: { readonly events: number; readonly rounds: number } = { events: count, rounds }
): Promise<Table> => {
  const taken = contenders.map(() => ({
    rates: new Array<number>(),
    client: new Array<number>(),
    all: new Array<number>()
  }))
  for (let round = 0; round < turns; round++)
    for (const [index, [, work]] of contenders.entries()) {
      const [client, serverTime, began] = [process.cpuUsage(), await server.cpuTime(), performance.now()]
      await runtime.runPromise(work())
      const { system, user } = process.cpuUsage(client)
      taken[index]?.rates.push((events * 1000) / (performance.now() - began))
      taken[index]?.client.push((user + system) / events)
      taken[index]?.all.push((user + system + ((await server.cpuTime()) - serverTime) * 1e6) / events)
    }
  return table(
    title,
    "events/s",
    contenders.map(([name], index) => {
      const { all, client, rates } = taken[index] ?? { all: [], client: [], rates: [] }
      const inServer = median(all) - median(client)
      return {
        name,
        rates,
        note: `CPU ${median(client).toFixed(1)} us here, ${inServer.toFixed(1)} us in the server`
      }
    }),
    contenders[0]?.[0]
  )
}

/** The memory above that at the start, at most, in each quarter of the time that an effect takes. */
const memoryOf = async (on: typeof runtime, name: string, events: number, work: Work) => {
  globalThis.gc?.()
  const idle = process.memoryUsage.rss()
  const samples: Array<number> = []
  const watch = setInterval(() => samples.push(process.memoryUsage.rss()), 20)
  const began = performance.now()
  await on.runPromise(work)
  const seconds = (performance.now() - began) / 1000
  clearInterval(watch)
  const quarters = [0, 1, 2, 3].map((quarter) =>
    samples.slice((quarter * samples.length) / 4, ((quarter + 1) * samples.length) / 4)
  )
  const peaks = quarters.map((some) => Math.round((Math.max(idle, ...some) - idle) / 2 ** 20))
  return {
    name,
    most: Math.max(...peaks),
    /** The most of the later quarters, of the first. */
    growth: Math.max(...peaks.slice(1)) / Math.max(peaks[0] ?? 0, 1),
    rates: [events / seconds],
    note: `${seconds.toFixed(1)} s; ${Math.max(...peaks)} MB above idle (in each quarter of the time: ${peaks.join(", ")})`
  }
}

/** Appends single events to a tenant with a quota that allows them, or without one. */
const appends = (events: number, concurrency: number, quota: TenantQuota.Quota | undefined) => {
  const [tenantId = Tenant.untenanted] = newTenants(1)
  let carts = 0
  const ready = runtime.runPromise(
    Effect.gen(function* () {
      yield* (yield* TenantRegistry.TenantRegistry).provision(tenantId)
      const service = yield* TenantQuota.TenantQuota
      yield* service.definePlan("benchmark", { events: 1e9, rate: { events: 1000, window: "1 millis" } })
      if (quota !== undefined) yield* service.set(tenantId, quota)
      // behind the number of events in a window, whose first event is then looked up
      yield* Tenant.provide(tenantId)(EventStore.EventStore.use((store) => store.importEvents(items(2000))))
    }).pipe(administer)
  )
  const one = EventStore.EventStore.use((store) =>
    store.append({ aggregate: Cart, id: `new ${carts++}`, expectedVersion: "any", events: [itemAdded(1)] })
  ).pipe(Tenant.provide(tenantId))
  return (): Work =>
    Effect.andThen(
      Effect.promise(() => ready),
      Effect.forEach(Array.from({ length: events }), () => one, { concurrency, discard: true })
    )
}

/** The cost of quotas. */
const quotas = async (size: { readonly events: number; readonly rounds: number }) => {
  const { events } = size
  for (const concurrency of [1, 32]) {
    const contenders = [
      ["no quota", appends(events, concurrency, undefined)],
      ["no quota, again", appends(events, concurrency, undefined)],
      ["events in all", appends(events, concurrency, { events: 1e9 })],
      ["events in a window", appends(events, concurrency, { rate: { events: 1000, window: "1 millis" } })],
      ["a plan with both", appends(events, concurrency, { plan: "benchmark" })]
    ] as const
    for (const [, work] of contenders) await runtime.runPromise(work())
    await add(
      await compare(
        `${events.toLocaleString("en")} appends of one event, ${concurrency} at a time`,
        contenders,
        size
      )
    )
  }
}

const end = async () => {
  await runtime.dispose()
  await rm(folder, { recursive: true })
  await database.close()
  await server.stop()
  if (targets.length > 0) console.log(`\n${targetsToMarkdown(targets)}`)
  process.exit()
}
if (values.quota) {
  await quotas({ events: count, rounds })
  await end()
}

await makeArchive("small.tar", 10_000)
await runtime.runPromise(fromFile("small.tar", small))
await runtime.runPromise(drained(small))

/** A run ends within minutes on every machine. */
const longest = "4 minutes"

/** An import and an export of a large tenant, in a database of its own, so that nothing of it disturbs other measurements. */
const largeTenant = async () => {
  await makeArchive("long.tar", long)
  const own = await server.newDatabase()
  const on = runtimeOn(own)
  const [longTenant = Tenant.untenanted] = newTenants(1)
  await on.runPromise(fromFile("small.tar", small))
  await on.runPromise(drained(small))
  let isWhole = false
  const imported = Effect.tap(fromFile("long.tar", longTenant), () => Effect.sync(() => (isWhole = true)))
  const ofImport = await memoryOf(on, "import", long, Effect.timeoutOption(imported, longest))
  if (isWhole) {
    const ofExport = await memoryOf(on, "export", long, toFile("long.tar", longTenant))
    await add(
      table(`A tenant of ${long.toLocaleString("en")} events, once`, "events/s", [ofImport, ofExport]),
      // flat, however much it is
      under(
        `memory of an import of ${long.toLocaleString("en")} events, later quarters of its time`,
        1.15,
        "x the first quarter",
        ofImport.growth
      ),
      under(`memory of an export of ${long.toLocaleString("en")} events`, 200, "MB above idle", ofExport.most)
    )
  } else console.log(`The import of ${long} events did not end within ${longest}`)
  await on.dispose()
  await own.close()
}
// first, because what other measurements leave in the memory would hide what it takes
if (!values.export && !values.erasure) await largeTenant()
if (rounds === 0) await end()

const erasures = async (times: number) => {
  const erased = await erasing(server, count, times)
  for (const one of erased.tables) await add(one, ...erased.targets)
}
if (values.erasure) {
  await erasures(rounds)
  await end()
}

await makeArchive("plain.tar", count)
await runtime.runPromise(fromFile("plain.tar", source))
const [reading, writing] = ["readLog of the driver", "importEvents, one event an item, in the order of time"]
const exports = await compare(
  `Export ${count.toLocaleString("en")} events`,
  [
    [reading, () => readRows(source)],
    ["export", () => drained(source)],
    ["export, gzip", () => drained(source, "gzip")]
  ],
  { events: count, rounds: Math.max(rounds, 5) }
)
await add(
  exports,
  atLeast(
    "export, not compressed",
    0.7,
    "readLog over the same columns",
    ratioOf(exports, "export", (name) => name === reading)
  )
)
if (values.export) await end()
const imports = await compare(`Import ${count.toLocaleString("en")} events`, [
  [writing, () => write(newTenants(1)[0] ?? source, count)],
  ["import of the archive", () => fromFile("plain.tar", newTenants(1)[0] ?? source)]
])
await add(
  imports,
  atLeast(
    "import of an archive",
    1,
    "importEvents, in the order of time",
    ratioOf(imports, "import of the archive", (name) => name === writing)
  )
)
const size = (name: string, bytes: number) => ({ name, rates: [bytes / count] })
await add(
  table("Size of the archive", "bytes/event", [
    size("not compressed", await runtime.runPromise(toFile("plain.tar", source))),
    size("gzip", await runtime.runPromise(toFile("gzip.tar", source, "gzip")))
  ])
)

/** Moves a tenant between two databases while it is written, and measures the pause. */
const pauseOfMove = Effect.gen(function* () {
  const [tenantId = Tenant.untenanted] = newTenants(1)
  const homes = new Map([[tenantId, "a"]])
  const [a, b] = yield* Effect.promise(() => Promise.all([server.newDatabase(), server.newDatabase()]))
  const services = Layer.merge(EventStore.layer, TenantMove.layerWith({ grace: 0 })).pipe(
    Layer.provideMerge(
      PgSilo.layer({
        database: (placement) => ({
          client: PgClient.layer({ ...(placement === "a" ? a : b).owner, maxConnections: 4 })
        })
      })
    ),
    Layer.provideMerge(
      TenantDirectory.layerWith({
        placements: ["a", "b"],
        placementOf: (id) => homes.get(id),
        replace: ({ to }) => {
          homes.set(tenantId, to)
          return true
        }
      })
    )
  )
  const waits: Array<number> = []
  const append = (writer: number) =>
    Effect.gen(function* () {
      const store = yield* EventStore.EventStore
      const began = performance.now()
      yield* store.append({
        aggregate: Cart,
        id: `writer ${writer}`,
        expectedVersion: "any",
        events: [itemAdded(writer)]
      })
      waits.push(performance.now() - began)
      yield* Effect.sleep("2 millis")
    })
  yield* Effect.gen(function* () {
    yield* write(tenantId, count)
    const writers = yield* Effect.forkChild(
      Effect.forEach(
        Array.from({ length: 16 }, (_, writer) => writer),
        (writer) => Effect.forever(append(writer)),
        { concurrency: "unbounded" }
      ).pipe(Tenant.provide(tenantId))
    )
    yield* Effect.sleep("500 millis")
    const began = performance.now()
    const { events, pause } = yield* administer(
      TenantMove.TenantMove.use((moves) => moves.start(tenantId, { to: "b" }))
    )
    const rate = (events * 1000) / (performance.now() - began)
    yield* Effect.sleep("500 millis")
    yield* Fiber.interrupt(writers)
    waits.sort((one, other) => one - other)
    const p99 = waits[Math.floor(waits.length * 0.99)] ?? Number.NaN
    yield* Effect.promise(() =>
      add(
        table(`A move of ${events.toLocaleString("en")} events with 16 writers`, "ms", [
          { name: "pause of writes", rates: [pause === undefined ? Number.NaN : Duration.toMillis(pause)] },
          { name: "appends meanwhile, p99", rates: [p99], note: `moved: ${rate.toFixed(0)} events/s` },
          { name: "slowest append", rates: [waits.at(-1) ?? Number.NaN] }
        ]),
        under("p99 of appends during a move", 1000, "ms", p99)
      )
    )
  }).pipe(Effect.provide(services))
  yield* Effect.promise(() => Promise.all([a.close(), b.close()]))
})
await Effect.runPromise(Effect.scoped(pauseOfMove))
await quotas({ events: 1000, rounds: 3 })
await erasures(Math.min(rounds, 2))
await end()
