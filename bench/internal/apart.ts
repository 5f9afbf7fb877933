/** Programs of this folder in separate processes, which print their memory or carry out commands. */
import { Redacted } from "effect"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import type { Progress, Task } from "./commanding.ts"
import type { Contender } from "./measure.ts"
import { newTenants } from "./ours.ts"
import { type Database, query } from "./server.ts"

/** Resident memory, idle and at most, in MB, and the number of events. */
export interface Footprint {
  readonly idle: number
  readonly peak: number
  readonly seen: number
}

/** Runs a program with arguments. */
export const apart = (
  program: "scan" | "importing" | "remembered",
  ...args: ReadonlyArray<string>
): Promise<Footprint> =>
  new Promise((resolve, reject) => {
    const file = fileURLToPath(new URL(`${program}.ts`, import.meta.url))
    const child = spawn(process.execPath, ["--expose-gc", "--import", "tsx", file, ...args], {
      stdio: ["ignore", "pipe", "inherit"]
    })
    let output = ""
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()))
    child.on("error", reject)
    child.on("close", (code) => {
      if (code === 0) resolve(JSON.parse(output) as Footprint)
      else reject(new Error(`${program} ended with ${code}`))
    })
  })

/** A process is warm after so many commands, or so many seconds. Other contenders carry out more of them before their first round. */
const warmCommands = 2000
const longestWarmUp = 20

/** Commands of so many processes, of eight fibers each, on two carts that all of them want. */
export const inProcesses = (name: string, database: Database, processes: number): Contender => {
  const [tenantId = ""] = newTenants(1)
  const { database: own = "", host = "localhost", password, port = 5432, username = "" } = database.app
  const task: Task = {
    host,
    port,
    username,
    password: Redacted.isRedacted(password) ? Redacted.value(password) : "",
    database: own,
    tenantId,
    fibers: 8
  }
  const file = fileURLToPath(new URL("commanding.ts", import.meta.url))
  const children = Array.from({ length: processes }, () =>
    spawn(process.execPath, ["--import", "tsx", file, JSON.stringify(task)], {
      stdio: ["ignore", "inherit", "inherit", "ipc"]
    })
  )
  let answered = 0
  const work = async (seconds: number): Promise<number> => {
    const all = await Promise.all(
      children.map(async (child) => {
        child.send(seconds)
        const [progress] = (await once(child, "message")) as [Progress]
        return progress
      })
    )
    answered = all.reduce((sum, progress) => sum + progress.answered, 0)
    return all.reduce((sum, { rate }) => sum + rate, 0)
  }
  // Each process compiles its code anew, and each of its connections its plans, which takes longer than a round lasts.
  const warmUp = async (): Promise<void> => {
    const end = performance.now() + longestWarmUp * 1000
    while (answered < warmCommands * processes && performance.now() < end) await work(1)
  }
  let warm: Promise<void> | undefined
  return {
    name,
    run: async (seconds) => {
      await (warm ??= warmUp())
      return work(seconds)
    },
    close: async () => {
      for (const child of children) child.kill()
      const [row] = await query<{ n: number }>(
        database.owner,
        `select count(*)::integer as n from eventsourcing.events where tenant_id = '${tenantId}'`
      )
      if (row?.n !== answered)
        throw new Error(`${name}: ${row?.n} events are stored, ${answered} were answered`)
    }
  }
}
