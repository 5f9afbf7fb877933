/**
 * `npx tsx bench/profile.ts 1:1 32:1 32:100 256:1:10`: what appends cost. Each argument is how many are concurrent, how many
 * tenants they are for, and how many events each has (default: 1). Prints the rate and the CPU time that one append takes
 * of this process and of the server's processes, beside R. Linux only: the server's time is read from /proc.
 *
 * With `node --cpu-prof --import tsx bench/profile.ts …` what this process does is in a profile.
 */
import { readdirSync, readFileSync } from "node:fs"
import type { Contender } from "./internal/measure.ts"
import { append } from "./internal/ours.ts"
import { prepareRaw, rawAppend } from "./internal/raw.ts"
import { startServer } from "./internal/server.ts"

/** Of a clock that counts hundredths of a second, in microseconds. */
const tick = 10_000

/** The CPU time of all PostgreSQL processes, in microseconds. */
const serverTime = (): number => {
  let ticks = 0
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
      if (!stat.includes("(postgres)")) continue
      const [user, system] = stat
        .slice(stat.lastIndexOf(")") + 2)
        .split(" ")
        .slice(11, 13)
      ticks += Number(user) + Number(system)
    } catch {
      // it has ended
    }
  }
  return ticks * tick
}

const seconds = 2

const profile = async (name: string, { close, run }: Contender): Promise<void> => {
  await run(1)
  const [client, server, began] = [process.cpuUsage(), serverTime(), performance.now()]
  const rate = await run(seconds)
  const { system, user } = process.cpuUsage(client)
  const appends = (rate * (performance.now() - began)) / 1000
  const ofClient = ((user + system) / appends).toFixed(1)
  const ofServer = ((serverTime() - server) / appends).toFixed(1)
  console.log(`${name}: ${rate.toFixed(0)} appends/s; client ${ofClient} us, server ${ofServer} us an append`)
  await close?.()
}

const server = await startServer()
const [database, rawDatabase] = [await server.newDatabase(), await server.newDatabase()]
await prepareRaw(rawDatabase)
for (const argument of process.argv.slice(2)) {
  const [concurrency = 1, tenants = 1, events = 1] = argument.split(":").map(Number)
  await profile(argument, append(database, { name: argument, concurrency, tenants, events }))
  const [raw] = await rawAppend(rawDatabase, concurrency, events, 200)
  if (raw !== undefined) await profile(`  ${raw.name}`, raw)
}
await database.close()
await rawDatabase.close()
await server.stop()
// drivers of the raw function that were not used
process.exit(0)
