/**
 * `npx tsx bench/following.ts`: the cost of catching up with a log. Prints the rate, and the CPU time that 1,000 events take of
 * this process and of the server's processes, in milliseconds: for the raw page scan, `readLog`, projections, and the peers that
 * see every event. Linux only: the server's time is read from /proc.
 *
 * Flags: --events 100000 --rounds 3 --pages 1000,100 --peers
 */
import { ManagedRuntime } from "effect"
import { parseArgs } from "node:util"
import * as Tenant from "../src/domain/Tenant.ts"
import { fill, rawScan, readDecoded, startProjection } from "./cases/follow.ts"
import { median } from "./internal/measure.ts"
import { newTenants, startOn } from "./internal/ours.ts"
import { client, execute, startServer } from "./internal/server.ts"
import { fillPeer, startPeers } from "./peers/start.ts"

const { values } = parseArgs({
  options: {
    events: { type: "string", default: "100000" },
    rounds: { type: "string", default: "3" },
    pages: { type: "string", default: "1000,100" },
    peers: { type: "boolean", default: false }
  }
})
const events = Number(values.events)

const server = await startServer()
const database = await server.newDatabase()
const runtime = startOn(database)
const [tenantId = Tenant.untenanted] = newTenants(1)
await runtime.runPromise(fill(tenantId, events))
await execute(database.owner, "vacuum analyze eventsourcing.events")
const raw = ManagedRuntime.make(client(database.owner))
const peers = values.peers ? (await startPeers(server)).filter(({ readAll }) => readAll !== undefined) : []
for (const peer of peers) await fillPeer(peer, events)

interface Started {
  readonly work: () => Promise<number>
  readonly end?: () => Promise<void>
}
const started = (work: () => Promise<number>) => () => Promise.resolve<Started>({ work })
const works: ReadonlyArray<{ readonly name: string; readonly start: () => Promise<Started> }> = [
  { name: "raw page scan", start: started(() => raw.runPromise(rawScan(tenantId))) },
  { name: "readLog, decoded", start: started(() => runtime.runPromise(readDecoded(tenantId))) },
  ...values.pages.split(",").map((size) => ({
    name: `projection, pages of ${size}`,
    start: () => startProjection(database, Number(size))
  })),
  ...peers.map(({ name, readAll: read }) => ({
    name: `peer ${name}`,
    start: started(() => read?.(events) ?? Promise.resolve(0))
  }))
]
const found = works.map(() => ({
  rate: new Array<number>(),
  client: new Array<number>(),
  server: new Array<number>()
}))
for (let round = 0; round <= Number(values.rounds); round++) {
  for (const [index, { start }] of works.entries()) {
    const { end, work } = await start()
    globalThis.gc?.()
    const [ofServer, ofClient, began] = [await server.cpuTime(), process.cpuUsage(), performance.now()]
    const seen = await work()
    const millis = performance.now() - began
    const { system, user } = process.cpuUsage(ofClient)
    const serverMillis = ((await server.cpuTime()) - ofServer) * 1000
    await end?.()
    if (seen !== events) throw new Error(`${works[index]?.name} saw ${seen} of ${events}`)
    // the first round warms up
    if (round === 0) continue
    found[index]?.rate.push((events * 1000) / millis)
    found[index]?.client.push((user + system) / events)
    found[index]?.server.push((serverMillis * 1000) / events)
  }
}
for (const [index, { name }] of works.entries()) {
  const { rate = [], client: ofClient = [], server: ofServer = [] } = found[index] ?? {}
  console.log(
    `${name}: ${Math.round(median(rate)).toLocaleString("en")} events/s; client ${median(ofClient).toFixed(2)} ms, server ${median(ofServer).toFixed(2)} ms for 1,000`
  )
}
process.exit(0)
