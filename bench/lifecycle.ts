/**
 * `npx tsx bench/lifecycle.ts --events 1000000 --rounds 3`: export and import of a tenant on PostgreSQL, beside the reads and writes
 * that they consist of, and the pause of a move under load. Prints rates, the CPU time per event of this process and of the server, the size of the archive, and the
 * memory that an export and an import need. Defaults: 50,000 events, 3 rounds. With `--rounds 0` only the memory is measured, which
 * takes two minutes for 1,000,000 events. The server's time needs Linux. With `--quota` it measures instead the appends of tenants
 * with and without a quota, by default 2,000 events in 9 rounds.
 */
import { PgClient } from "@effect/sql-pg"
import { Data, Duration, Effect, Fiber, Layer, ManagedRuntime, Stream } from "effect"
import { createReadStream, createWriteStream } from "node:fs"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { pipeline } from "node:stream/promises"
import { parseArgs } from "node:util"
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
import { Cart, itemAdded } from "./internal/domain.ts"
import { median } from "./internal/measure.ts"
import { newTenants } from "./internal/ours.ts"
import { startServer } from "./internal/server.ts"

const { values } = parseArgs({
  options: {
    events: { type: "string" },
    rounds: { type: "string" },
    quota: { type: "boolean", default: false }
  }
})
const count = Number(values.events ?? (values.quota ? 2000 : 50_000))
const rounds = Number(values.rounds ?? (values.quota ? 9 : 3))
const [source = Tenant.untenanted, small = Tenant.untenanted] = newTenants(2)
const administer = Tenant.provideAdministration({ actor: "benchmark", reason: "rates of export and import" })

const server = await startServer()
const database = await server.newDatabase()
const folder = await mkdtemp(Path.join(tmpdir(), "effect-eventsourcing-bench-"))
// The owner administers tenants.
const runtime = ManagedRuntime.make(
  Layer.mergeAll(EventStore.layer, TenantQuota.layer, TenantRegistry.layer).pipe(
    Layer.provideMerge(PgStorage.layer),
    Layer.provide(PgClient.layer({ ...database.owner, maxConnections: 4 }))
  )
)

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

const toFile = (name: string, compression?: TenantArchive.Compression) =>
  Effect.gen(function* () {
    let bytes = 0
    const archive = TenantArchive.exportTar({ tenantId: source, compression }).pipe(
      Stream.tap((chunk) => Effect.sync(() => void (bytes += chunk.length)))
    )
    const readable = yield* Stream.toReadableStreamEffect(archive)
    yield* Effect.promise(() => pipeline(readable, createWriteStream(file(name))))
    return bytes
  }).pipe(administer)

const drained = (tenantId: Tenant.TenantId, compression?: TenantArchive.Compression) =>
  administer(Stream.runDrain(TenantArchive.exportTar({ tenantId, compression })))

const fromFile = (name: string) =>
  Effect.suspend(() => {
    const [into = Tenant.untenanted] = newTenants(1)
    const bytes = Stream.fromAsyncIterable(
      createReadStream(file(name), { highWaterMark: 1 << 18 }) as AsyncIterable<Uint8Array>,
      (cause) => new Unreadable({ cause })
    )
    return administer(TenantArchive.importTar(bytes, { into }))
  })

type Work = Effect.Effect<unknown, unknown, ManagedRuntime.ManagedRuntime.Services<typeof runtime>>

/** Runs contenders in turns, and prints the median of each. */
const compare = async (contenders: ReadonlyArray<readonly [name: string, work: () => Work]>) => {
  const taken = contenders.map(() => ({
    rates: new Array<number>(),
    client: new Array<number>(),
    all: new Array<number>()
  }))
  for (let round = 0; round < rounds; round++)
    for (const [index, [, work]] of contenders.entries()) {
      const [client, serverTime, began] = [process.cpuUsage(), await server.cpuTime(), performance.now()]
      await runtime.runPromise(work())
      const { system, user } = process.cpuUsage(client)
      taken[index]?.rates.push((count * 1000) / (performance.now() - began))
      taken[index]?.client.push((user + system) / count)
      taken[index]?.all.push((user + system + ((await server.cpuTime()) - serverTime) * 1e6) / count)
    }
  const [first] = taken
  for (const [index, [name]] of contenders.entries()) {
    const { all, client, rates } = taken[index] ?? { all: [], client: [], rates: [] }
    const ratio = median(rates.map((rate, round) => rate / (first?.rates[round] ?? Number.NaN)))
    console.log(
      `${name}: ${median(rates).toFixed(0)} events/s (${ratio.toFixed(2)} of the first); ` +
        `CPU ${median(client).toFixed(1)} us here, ${(median(all) - median(client)).toFixed(1)} us in the server`
    )
  }
}

/** The memory above that at the start, at most, in each quarter of the time that an effect takes. */
const memoryOf = async (name: string, work: Work) => {
  globalThis.gc?.()
  const idle = process.memoryUsage.rss()
  const samples: Array<number> = []
  const watch = setInterval(() => samples.push(process.memoryUsage.rss()), 20)
  const began = performance.now()
  await runtime.runPromise(work)
  const seconds = (performance.now() - began) / 1000
  clearInterval(watch)
  const quarters = [0, 1, 2, 3].map((quarter) =>
    samples.slice((quarter * samples.length) / 4, ((quarter + 1) * samples.length) / 4)
  )
  const peaks = quarters.map((some) => Math.round((Math.max(idle, ...some) - idle) / 2 ** 20))
  console.log(
    `${name}: ${seconds.toFixed(1)} s; at most ${Math.max(...peaks)} MB above idle (in each quarter of the time: ${peaks.join(", ")})`
  )
}

/** Appends single events to a tenant with a quota that allows them, or without one. */
const appends = (concurrency: number, quota: TenantQuota.Quota | undefined) => {
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
      Effect.forEach(Array.from({ length: count }), () => one, { concurrency, discard: true })
    )
}

if (values.quota)
  for (const concurrency of [1, 32]) {
    console.log(`${count.toLocaleString("en")} appends of one event, ${concurrency} at a time`)
    const contenders = [
      ["no quota", appends(concurrency, undefined)],
      ["no quota, again", appends(concurrency, undefined)],
      ["events in all", appends(concurrency, { events: 1e9 })],
      ["events in a window", appends(concurrency, { rate: { events: 1000, window: "1 millis" } })],
      ["a plan with both", appends(concurrency, { plan: "benchmark" })]
    ] as const
    for (const [, work] of contenders) await runtime.runPromise(work())
    await compare(contenders)
  }
if (values.quota) {
  await runtime.dispose()
  await rm(folder, { recursive: true })
  await database.close()
  await server.stop()
  process.exit()
}

console.log(`${count.toLocaleString("en")} events`)
await runtime.runPromise(write(small, 10_000))
await runtime.runPromise(write(source, count))
await runtime.runPromise(drained(small))
await memoryOf("export", toFile("plain.tar"))
await memoryOf("import", fromFile("plain.tar"))
if (rounds > 0) {
  await compare([
    ["readLog of the driver", () => readRows(source)],
    ["export", () => drained(source)],
    ["export, gzip", () => drained(source, "gzip")]
  ])
  await compare([
    [
      "importEvents, one event per item, in the order of time",
      () => write(newTenants(1)[0] ?? source, count)
    ],
    ["import of the archive", () => fromFile("plain.tar")]
  ])
  const size = (bytes: number): string => `${(bytes / count).toFixed(0)} bytes per event`
  console.log(
    `archive: ${size(await runtime.runPromise(toFile("plain.tar")))}; with gzip ${size(await runtime.runPromise(toFile("gzip.tar", "gzip")))}`
  )
}

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
    console.log(
      `move with 16 writers: ${rate.toFixed(0)} events/s; pause ${pause === undefined ? "unknown" : Duration.toMillis(pause)} ms; ` +
        `appends p99 ${waits[Math.floor(waits.length * 0.99)]?.toFixed(0)} ms, slowest ${waits.at(-1)?.toFixed(0)} ms`
    )
  }).pipe(Effect.provide(services))
  yield* Effect.promise(() => Promise.all([a.close(), b.close()]))
})
await Effect.runPromise(Effect.scoped(pauseOfMove))
await runtime.dispose()
await rm(folder, { recursive: true })
await database.close()
await server.stop()
