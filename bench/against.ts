/**
 * `npm run bench -- --against <commit>`: compares this working tree with a commit. Both are built and run in separate processes
 * with separate databases on one server. They work in turns, with the order changed every round, and are restarted up to five
 * times. A workload is slower if the median of the paired ratios is under 0.97 and the upper end of its 90 % interval is
 * under 1.
 *
 * Flags: --rounds 15, --seconds 1, --case <part of a name> (repeatable), --out <file>
 */
import { execFileSync, fork, type ChildProcess, spawnSync } from "node:child_process"
import { once } from "node:events"
import { existsSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import { configOf } from "../test/support/Databases.ts"
import { start } from "../test/support/PgServer.ts"
import type { Settings } from "./internal/build.ts"
import { type Effort, interval, median } from "./internal/measure.ts"
import { execute } from "./internal/server.ts"

const root = fileURLToPath(new URL("..", import.meta.url))
const app = { username: "eventsourcing_bench", password: "bench" }

/** A process that runs one build. */
interface Builder {
  readonly names: ReadonlyArray<string>
  readonly rate: (name: string, seconds: number) => Promise<number>
  readonly stop: () => void
}

interface Answer {
  readonly names?: ReadonlyArray<string>
  readonly rate?: number
  readonly error?: string
}

const answer = async (child: ChildProcess): Promise<Answer> => {
  const listening = new AbortController()
  const { signal } = listening
  const message = await Promise.race([
    once(child, "message", { signal }).then(([received]) => received as Answer),
    once(child, "exit", { signal }).then((): Answer => ({ error: "the process of a build ended" }))
  ])
  listening.abort()
  if (message.error !== undefined) throw new Error(message.error)
  return message
}

const startBuild = async (settings: Settings): Promise<Builder> => {
  const child = fork(
    fileURLToPath(new URL("internal/build.ts", import.meta.url)),
    [JSON.stringify(settings)],
    {
      execArgv: ["--import", "tsx"],
      cwd: root
    }
  )
  const { names = [] } = await answer(child)
  return {
    names,
    rate: async (name, seconds) => {
      child.send({ name, seconds })
      return (await answer(child)).rate ?? Number.NaN
    },
    stop: () => child.kill()
  }
}

const build = (directory: string): void => {
  execFileSync("npm", ["run", "build"], { cwd: directory, stdio: ["ignore", "ignore", "inherit"] })
}

/** The number of times that both processes are started. */
const maxPairs = 5

/** Options of a comparison. */
export interface Options extends Effort {
  readonly commit: string
  readonly cases: ReadonlyArray<string>
  readonly out: string | undefined
}

/** True if a text names a commit of this repository. */
export const isCommit = (text: string): boolean =>
  spawnSync("git", ["rev-parse", "--quiet", "--verify", "--end-of-options", `${text}^{commit}`], {
    cwd: root,
    stdio: "ignore"
  }).status === 0

/** Compares and prints a table. Returns true if nothing is slower. */
export const against = async ({ cases, commit, out, rounds, seconds }: Options): Promise<boolean> => {
  const id = execFileSync("git", ["rev-parse", "--short", `${commit}^{commit}`], {
    cwd: root,
    encoding: "utf8"
  }).trim()
  const checkout = mkdtempSync(Path.join(tmpdir(), "eventsourcing-against-"))
  const server = await start({ settings: { max_connections: "100", synchronous_commit: "on" } })
  const builders: Array<Builder> = []
  try {
    execFileSync("git", ["worktree", "add", "--detach", "--force", checkout, id], {
      cwd: root,
      stdio: "ignore"
    })
    symlinkSync(realpathSync(Path.join(root, "node_modules")), Path.join(checkout, "node_modules"))
    for (const directory of [checkout, root]) {
      build(directory)
      if (!existsSync(Path.join(directory, "dist/index.js"))) throw new Error(`no build in ${directory}`)
    }
    const config = configOf(server)
    await execute(config, `create role ${app.username} login password '${app.password}'`)
    const ratesOf = new Map<string, Array<readonly [old: number, fresh: number]>>()
    // Two processes of one build differ by several percent for as long as they live, so that each pair of processes gives a few
    // rounds only.
    const pairs = Math.min(maxPairs, rounds)
    for (let pair = 0; pair < pairs; pair++) {
      const startOne = async (directory: string, database: string): Promise<Builder> => {
        await execute(config, `create database ${database}`)
        const owner = { username: server.user, password: server.password }
        const { host, port } = server
        const builder = await startBuild({ root: directory, host, port, database, owner, app })
        builders.push(builder)
        return builder
      }
      const old = await startOne(checkout, `old_${pair}`)
      const fresh = await startOne(root, `new_${pair}`)
      const names = fresh.names.filter(
        (name) => cases.length === 0 || cases.some((part) => name.includes(part))
      )
      if (names.length === 0)
        throw new Error(`no workload with ${cases.join(" or ")}: ${fresh.names.join(", ")}`)
      const share = Math.floor(rounds / pairs) + (pair < rounds % pairs ? 1 : 0)
      for (const name of names) {
        for (const builder of builders) await builder.rate(name, Math.max(0.5, seconds))
        const rates = ratesOf.get(name) ?? []
        ratesOf.set(name, rates)
        for (let round = 0; round < share; round++) {
          if (round % 2 === 0) {
            const before = await old.rate(name, seconds)
            rates.push([before, await fresh.rate(name, seconds)])
          } else {
            const after = await fresh.rate(name, seconds)
            rates.push([await old.rate(name, seconds), after])
          }
        }
      }
      for (const builder of builders.splice(0)) builder.stop()
    }
    const lines = [
      `### This working tree against ${id}`,
      "",
      `${rounds} rounds of ${seconds} s in turns, by ${Math.min(maxPairs, rounds)} pairs of processes; the ratio is new to old, with the 90 % interval of its median.`,
      "",
      "| workload | old, 1/s | new, 1/s | ratio | 90 % | |",
      "| --- | ---: | ---: | ---: | --- | --- |"
    ]
    for (const line of lines) console.log(line)
    let slower = false
    for (const [name, rates] of ratesOf) {
      const [low, middle, high] = interval(rates.map(([before, after]) => after / before))
      const isSlower = middle < 0.97 && high < 1
      slower ||= isSlower
      const line = `| ${name} | ${Math.round(median(rates.map(([rate]) => rate)))} | ${Math.round(
        median(rates.map(([, rate]) => rate))
      )} | ${middle.toFixed(3)} | ${low.toFixed(3)}-${high.toFixed(3)} | ${isSlower ? "slower" : ""} |`
      console.log(line)
      lines.push(line)
    }
    if (out !== undefined) writeFileSync(out, `${lines.join("\n")}\n`)
    return !slower
  } finally {
    for (const builder of builders) builder.stop()
    await server.stop()
    execFileSync("git", ["worktree", "remove", "--force", checkout], { cwd: root, stdio: "ignore" })
    rmSync(checkout, { recursive: true, force: true })
  }
}
