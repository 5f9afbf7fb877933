/**
 * Keeps the temporary files of a test run in memory where the system has room for them: hundreds of small databases are
 * made and dropped, which takes a fifth of the run on a slow disk. Nothing that a test shows depends on the disk:
 * processes are killed, not machines. The long run, whose data are larger, uses the disk.
 */
import { spawnSync } from "node:child_process"
import { chmodSync, mkdtempSync, readdirSync, rmSync, statfsSync, writeFileSync } from "node:fs"
import * as Path from "node:path"
import type { TestProject } from "vitest/node"

/** A folder of Linux whose files are in memory. Containers often have 64 MiB of it. */
const memory = "/dev/shm"
const prefix = "effect-eventsourcing-tests-"

const isRunning = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** Removes what runs that were killed have left. */
const removeLeftovers = (): void => {
  for (const name of readdirSync(memory)) {
    const pid = Number(name.slice(prefix.length).split("-")[0])
    if (name.startsWith(prefix) && !isRunning(pid))
      rmSync(Path.join(memory, name), { recursive: true, force: true })
  }
}

/** A new folder in memory, or undefined if there is no room or if programs cannot be started from there. */
const folderInMemory = (): string | undefined => {
  try {
    removeLeftovers()
    const { bavail, bsize } = statfsSync(memory)
    if (bavail * bsize < 4 * 2 ** 30) return undefined
    const folder = mkdtempSync(Path.join(memory, `${prefix}${process.pid}-`))
    // The server may run as another user, who has to pass through.
    chmodSync(folder, 0o711)
    const program = Path.join(folder, "program")
    writeFileSync(program, "#!/bin/sh\n", { mode: 0o755 })
    if (spawnSync(program).status === 0) return folder
    rmSync(folder, { recursive: true, force: true })
    return undefined
  } catch {
    return undefined
  }
}

const setup = ({ vite }: TestProject): (() => void) | undefined => {
  if (vite.config.mode !== "test") return undefined
  const folder = folderInMemory()
  if (folder === undefined) return undefined
  process.env["TMPDIR"] = folder
  return () => rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
}

export default setup
