/**
 * A lock file that names the process that uses a directory. The lock of a dead process does not block others.
 */
import * as ChildProcess from "node:child_process"
import * as Crypto from "node:crypto"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"

/** The name of the lock file; files that begin with it belong to the lock as well. */
export const lockName = "effect-eventsourcing.lock"

/** The holder of a lock, as written into the lock file. */
export interface Holder {
  readonly pid: number
  readonly host: string
  /** Changes with every start of the machine; empty if the system does not provide it. */
  readonly boot: string
  /** The start of the process in the system's own unit. It distinguishes a process from a later one with the same id. */
  readonly started: string
  readonly token: string
}

/** The outcome of an attempt to take a lock. */
export type Attempt =
  | { readonly _tag: "Acquired"; readonly release: () => void }
  | { readonly _tag: "Held"; readonly holder: Holder | undefined }

const quietly = (f: () => void): void => {
  try {
    f()
  } catch {
    // best effort: a file that stays behind is not mistaken for a lock
  }
}

const codeOf = (error: unknown): string =>
  error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : ""

const tryRead = (path: string): string => {
  try {
    return Fs.readFileSync(path, "utf8").trim()
  } catch {
    return ""
  }
}

/** The start of a process; `""` if the system does not provide it, `undefined` if there is no such process. */
const startOf = (pid: number): string | undefined => {
  try {
    process.kill(pid, 0)
  } catch (error) {
    // EPERM: it exists and belongs to another user
    if (codeOf(error) !== "EPERM") return undefined
  }
  if (process.platform === "linux") {
    const stat = tryRead(`/proc/${pid}/stat`)
    // the name of the program, in parentheses, may contain anything, so fields are counted after it
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
    // a zombie has died, but its parent has not noticed yet
    return fields[0] === "Z" || fields[0] === "X" ? undefined : (fields[19] ?? "")
  }
  if (process.platform === "win32") return ""
  return (
    ChildProcess.spawnSync("ps", ["-o", "lstart=", "-p", String(pid)], { encoding: "utf8" }).stdout?.trim() ??
    ""
  )
}

/**
 * The machine within which process ids are comparable: a container that uses the host's name still has process ids of its
 * own.
 */
const hostName = (): string => {
  let namespace = ""
  try {
    namespace = Fs.readlinkSync("/proc/self/ns/pid")
  } catch {
    // not Linux
  }
  // the number of the first namespace is a constant of the kernel
  return namespace === "" || namespace === "pid:[4026531836]" ? Os.hostname() : `${Os.hostname()} (container)`
}

const self = (): Holder => ({
  pid: process.pid,
  host: hostName(),
  boot: tryRead("/proc/sys/kernel/random/boot_id"),
  started: startOf(process.pid) ?? "",
  token: Crypto.randomUUID()
})

/** True if the holder has certainly ended. Processes of other machines are not visible. */
const isDead = (holder: Holder, here: Holder): boolean => {
  if (holder.host !== here.host) return false
  if (holder.boot !== here.boot) return true
  const started = startOf(holder.pid)
  return started === undefined || (started !== "" && holder.started !== "" && started !== holder.started)
}

const isHolder = (u: unknown): u is Holder =>
  typeof u === "object" &&
  u !== null &&
  "pid" in u &&
  typeof u.pid === "number" &&
  "host" in u &&
  typeof u.host === "string" &&
  "boot" in u &&
  typeof u.boot === "string" &&
  "started" in u &&
  typeof u.started === "string" &&
  "token" in u &&
  typeof u.token === "string" &&
  /^[0-9a-f-]{36}$/.test(u.token)

type Reading =
  | { readonly _tag: "Absent" }
  | { readonly _tag: "Unreadable" }
  | { readonly _tag: "Held"; readonly holder: Holder }

const read = (path: string): Reading => {
  try {
    const content: unknown = JSON.parse(Fs.readFileSync(path, "utf8"))
    return isHolder(content) ? { _tag: "Held", holder: content } : { _tag: "Unreadable" }
  } catch (error) {
    return { _tag: codeOf(error) === "ENOENT" ? "Absent" : "Unreadable" }
  }
}

/**
 * Takes the lock of a directory, or returns its holder.
 *
 * **Details**
 *
 * The file is written under another name and then linked, so that it is never read half-written. The lock of a dead holder is
 * replaced, never removed: a process first creates the claim file of that dead holder (exclusively, so there is only one), then
 * checks that the dead holder's lock still exists, and renames its own lock over it. A claim of a dead process is claimed in
 * the same way.
 */
export const acquire = (directory: string): Attempt => {
  const lock = Path.join(directory, lockName)
  const mine = self()
  const prepared = `${lock}.${mine.token}.new`
  const claimOf = (holder: Holder): string => `${lock}.${holder.token}.claim`

  const createExclusive = (path: string): boolean => {
    try {
      Fs.linkSync(prepared, path)
      return true
    } catch (error) {
      if (codeOf(error) === "EEXIST") return false
      // a file system without hard links
      try {
        Fs.writeFileSync(path, JSON.stringify(mine), { flag: "wx", mode: 0o600 })
        return true
      } catch (second) {
        if (codeOf(second) === "EEXIST") return false
        throw second
      }
    }
  }

  const release = (): void => {
    const reading = read(lock)
    if (reading._tag === "Held" && reading.holder.token === mine.token) quietly(() => Fs.unlinkSync(lock))
  }

  /** Replaces the lock of a dead holder. Returns `true` on success, `false` if the files have changed, or a faster claimant. */
  const takeOver = (dead: Holder): boolean | Attempt => {
    let owner = dead
    while (!createExclusive(claimOf(owner))) {
      const rival = read(claimOf(owner))
      if (rival._tag === "Absent") return false
      if (rival._tag === "Unreadable") return { _tag: "Held", holder: undefined }
      if (!isDead(rival.holder, mine)) return rival
      owner = rival.holder
    }
    const current = read(lock)
    if (current._tag !== "Held" || current.holder.token !== dead.token) {
      quietly(() => Fs.unlinkSync(claimOf(owner)))
      return false
    }
    Fs.renameSync(prepared, lock)
    for (const name of Fs.readdirSync(directory)) {
      if (name.startsWith(`${lockName}.`) && name.endsWith(".claim")) {
        quietly(() => Fs.unlinkSync(Path.join(directory, name)))
      }
    }
    return true
  }

  Fs.writeFileSync(prepared, JSON.stringify(mine), { flag: "wx", mode: 0o600 })
  try {
    // the files change only while other processes come and go
    for (let attempt = 0; attempt < 100; attempt++) {
      if (createExclusive(lock)) return { _tag: "Acquired", release }
      const current = read(lock)
      if (current._tag === "Absent") continue
      if (current._tag === "Unreadable") return { _tag: "Held", holder: undefined }
      if (!isDead(current.holder, mine)) return current
      const outcome = takeOver(current.holder)
      if (outcome === true) return { _tag: "Acquired", release }
      if (outcome !== false) return outcome
    }
    return { _tag: "Held", holder: undefined }
  } finally {
    quietly(() => Fs.unlinkSync(prepared))
  }
}
