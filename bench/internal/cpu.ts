/** CPU time of processes from /proc, on Linux only. */
import { readdir, readFile } from "node:fs/promises"
import * as Path from "node:path"
import type { PgServer } from "../../test/support/PgServer.ts"

interface ProcessTimes {
  readonly parent: number
  /** CPU seconds of the process itself. */
  readonly own: number
  /** CPU seconds of its children that have ended. */
  readonly ended: number
}

/** The CPU time of a process; undefined if it has ended. */
export const timesOf = async (pid: number): Promise<ProcessTimes | undefined> => {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined)
  if (stat === undefined) return undefined
  // The fields after the name, which may contain anything; times in hundredths of a second.
  const fields = stat
    .slice(stat.lastIndexOf(")") + 2)
    .split(" ")
    .map(Number)
  const [parent = 0, user = 0, system = 0, endedUser = 0, endedSystem = 0] = [1, 11, 12, 13, 14].map(
    (index) => fields[index]
  )
  return { parent, own: (user + system) / 100, ended: (endedUser + endedSystem) / 100 }
}

/** The CPU seconds of the server's processes, including ended ones. */
export const serverTime = async (server: PgServer): Promise<number> => {
  const file = await readFile(Path.join(server.dataDirectory, "postmaster.pid"), "utf8")
  const postmaster = Number(file.split("\n")[0])
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number)
  const all = await Promise.all(pids.map(async (pid) => ({ pid, times: await timesOf(pid) })))
  let sum = 0
  for (const { pid, times } of all) {
    if (times === undefined) continue
    if (pid === postmaster) sum += times.own + times.ended
    else if (times.parent === postmaster) sum += times.own
  }
  return sum
}
