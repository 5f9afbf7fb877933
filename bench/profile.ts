/**
 * `npx tsx bench/profile.ts 1:1 32:1 32:100 256:1:10 execute:32 nothing:32`: the cost of appends and of commands. An argument is
 * the concurrency, the number of tenants, and the number of events per append (default: 1). For 32 concurrent commands it
 * begins with `execute`, with `keyed` for commands with a key each, or with `nothing` for commands that decide nothing; the
 * numbers are those of carts and of tenants.
 * Prints the rate and the CPU time that one append or command takes of this process and of the server's processes, beside R.
 * Linux only: the server's time is read from /proc.
 *
 * `node --cpu-prof --import tsx bench/profile.ts …` also writes a CPU profile of this process.
 */
import { commands } from "./internal/commands.ts"
import type { Contender } from "./internal/measure.ts"
import { append } from "./internal/ours.ts"
import { prepareRaw, rawAppend } from "./internal/raw.ts"
import { type Server, startServer } from "./internal/server.ts"

const seconds = 2

const profile = async ({ cpuTime }: Server, name: string, { close, run }: Contender): Promise<void> => {
  await run(1)
  const ofServerBefore = await cpuTime()
  const [client, began] = [process.cpuUsage(), performance.now()]
  const rate = await run(seconds)
  const { system, user } = process.cpuUsage(client)
  const appends = (rate * (performance.now() - began)) / 1000
  const ofClient = ((user + system) / appends).toFixed(1)
  const ofServer = (((await cpuTime()) - ofServerBefore) * 1e6) / appends
  console.log(
    `${name}: ${rate.toFixed(0)} a second; client ${ofClient} us, server ${ofServer.toFixed(1)} us each`
  )
  await close?.()
}

const server = await startServer()
const [database, rawDatabase] = [await server.newDatabase(), await server.newDatabase()]
await prepareRaw(rawDatabase)
for (const argument of process.argv.slice(2)) {
  const [kind = "", ...ofCommands] = argument.split(":")
  if (kind === "execute" || kind === "keyed" || kind === "nothing") {
    const [carts = 32, tenants = 1] = ofCommands.map(Number)
    const own = await server.newDatabase()
    const options = {
      name: argument,
      carts,
      tenants,
      decidesNothing: kind === "nothing",
      keyed: kind === "keyed"
    }
    await profile(server, argument, commands(own, options))
    await own.close()
    continue
  }
  const [concurrency = 1, tenants = 1, events = 1] = argument.split(":").map(Number)
  await profile(server, argument, append(database, { name: argument, concurrency, tenants, events }))
  const [raw] = await rawAppend(rawDatabase, concurrency, events, 200)
  if (raw !== undefined) await profile(server, `  ${raw.name}`, raw)
}
await database.close()
await rawDatabase.close()
await server.stop()
// drivers of the raw function that were not used
process.exit(0)
