/**
 * `npx tsx bench/lifecycle.ts --events 1000000 --rounds 3`: export and import of a tenant on PostgreSQL, beside the reads and writes
 * that they consist of. Prints rates, the CPU time per event of this process and of the server, the size of the archive, and the
 * memory that an export and an import need. Defaults: 50,000 events, 3 rounds. The server's time needs Linux.
 */
import { PgClient } from "@effect/sql-pg"
import { Data, Effect, Layer, ManagedRuntime, Stream } from "effect"
import { createReadStream, createWriteStream } from "node:fs"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { pipeline } from "node:stream/promises"
import { parseArgs } from "node:util"
import * as Event from "../src/domain/Event.ts"
import * as EventStorage from "../src/driver/EventStorage.ts"
import * as EventStore from "../src/store/EventStore.ts"
import * as PgStorage from "../src/pg/PgStorage.ts"
import * as Tenant from "../src/domain/Tenant.ts"
import * as TenantArchive from "../src/lifecycle/TenantArchive.ts"
import { Cart, itemAdded } from "./internal/domain.ts"
import { median } from "./internal/measure.ts"
import { newTenants } from "./internal/ours.ts"
import { startServer } from "./internal/server.ts"

const { values } = parseArgs({
  options: { events: { type: "string", default: "50000" }, rounds: { type: "string", default: "3" } }
})
const count = Number(values.events)
const rounds = Number(values.rounds)
const [source = Tenant.untenanted, small = Tenant.untenanted] = newTenants(2)
const administer = Tenant.provideAdministration({ actor: "benchmark", reason: "rates of export and import" })

const server = await startServer()
const database = await server.newDatabase()
const folder = await mkdtemp(Path.join(tmpdir(), "effect-eventsourcing-bench-"))
// The owner administers tenants.
const runtime = ManagedRuntime.make(
  EventStore.layer.pipe(
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

/** The memory above that at the start, at most, while an effect runs. */
const memoryOf = async (name: string, work: Work) => {
  globalThis.gc?.()
  const idle = process.memoryUsage.rss()
  let peak = idle
  const watch = setInterval(() => (peak = Math.max(peak, process.memoryUsage.rss())), 20)
  await runtime.runPromise(work)
  clearInterval(watch)
  console.log(`${name}: at most ${Math.round((peak - idle) / 2 ** 20)} MB above idle`)
}

console.log(`${count.toLocaleString("en")} events`)
await runtime.runPromise(write(small, 10_000))
await runtime.runPromise(write(source, count))
await runtime.runPromise(drained(small))
await memoryOf("export", toFile("plain.tar"))
await memoryOf("import", fromFile("plain.tar"))
await compare([
  ["readLog of the driver", () => readRows(source)],
  ["export", () => drained(source)],
  ["export, gzip", () => drained(source, "gzip")]
])
await compare([
  ["importEvents, one event per item, in the order of time", () => write(newTenants(1)[0] ?? source, count)],
  ["import of the archive", () => fromFile("plain.tar")]
])
const size = (bytes: number): string => `${(bytes / count).toFixed(0)} bytes per event`
console.log(
  `archive: ${size(await runtime.runPromise(toFile("plain.tar")))}; with gzip ${size(await runtime.runPromise(toFile("gzip.tar", "gzip")))}`
)
await runtime.dispose()
await rm(folder, { recursive: true })
await database.close()
await server.stop()
