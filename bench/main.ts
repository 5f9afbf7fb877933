/**
 * `npm run bench`: measures the store beside the floor of a raw SQL function and other event stores, on a server that
 * it starts. Prints ratios and writes `bench/RESULTS.md`.
 *
 * Flags: --case <part of a name> (repeatable), --rounds 3, --seconds 2, --quick, --full, --out <file>. With
 * --against <commit> it compares this working tree with a commit instead: see `against.ts`.
 */
import { execFileSync } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"
import { cpus, totalmem } from "node:os"
import { parseArgs } from "node:util"
import { against, isCommit } from "./against.ts"
import { appendCases, fullAppendCases } from "./cases/append.ts"
import type { Case, Outcome } from "./cases/Case.ts"
import { commandCases } from "./cases/commands.ts"
import { cpuCases } from "./cases/cpu.ts"
import { followCases } from "./cases/follow.ts"
import { forgettingCases } from "./cases/forgetting.ts"
import { importCases } from "./cases/import.ts"
import { loadCases } from "./cases/load.ts"
import { inMemory, memoryCases } from "./cases/memory.ts"
import { neighbourCases } from "./cases/neighbour.ts"
import { telemetryCases } from "./cases/telemetry.ts"
import { transactionCases } from "./cases/transactions.ts"
import { targetsToMarkdown, toMarkdown } from "./internal/report.ts"
import { startServer } from "./internal/server.ts"

const { values } = parseArgs({
  options: {
    case: { type: "string", multiple: true },
    against: { type: "string" },
    rounds: { type: "string" },
    seconds: { type: "string" },
    quick: { type: "boolean", default: false },
    full: { type: "boolean", default: false },
    out: { type: "string" }
  }
})

const rounds = values.rounds ?? (values.against === undefined ? "3" : "15")
const seconds = values.seconds ?? (values.against === undefined ? "2" : "1")

const all: ReadonlyArray<Case> = [
  inMemory,
  ...appendCases,
  ...commandCases,
  ...loadCases,
  ...followCases,
  ...neighbourCases,
  ...transactionCases,
  ...memoryCases,
  ...importCases,
  ...forgettingCases,
  ...telemetryCases,
  ...cpuCases,
  ...(values.full ? fullAppendCases : [])
]
const wanted = values.case ?? []
const cases = all.filter(({ name }) => wanted.length === 0 || wanted.some((part) => name.includes(part)))

/** Ends the program before anything is started. */
const refuse = (problem: string): never => {
  console.error(problem)
  process.exit(1)
}
if (cases.length === 0 && values.against === undefined)
  refuse(
    `No case has ${wanted.join(" or ")} in its name. There are: ${all.map(({ name }) => name).join(", ")}`
  )
if (!(Number.isInteger(Number(rounds)) && Number(rounds) > 0))
  refuse(`--rounds is a positive integer, not ${rounds}`)
if (!(Number.isFinite(Number(seconds)) && Number(seconds) > 0))
  refuse(`--seconds is a positive number, not ${seconds}`)

if (values.against !== undefined) {
  if (!isCommit(values.against))
    refuse(`--against names a commit of this repository, such as HEAD~1 or a branch, not ${values.against}`)
  const nothingSlower = await against({
    commit: values.against,
    cases: wanted,
    out: values.out,
    rounds: Number(rounds),
    seconds: Number(seconds)
  })
  process.exit(nothingSlower ? 0 : 1)
}

const versionOf = (name: string, directory = "node_modules"): string => {
  try {
    const { version } = JSON.parse(readFileSync(`${directory}/${name}/package.json`, "utf8")) as {
      version: string
    }
    return `${name} ${version}`
  } catch {
    return `${name} (not installed)`
  }
}

const commit = (): string => {
  try {
    return execFileSync("git", ["rev-parse", "--short", "HEAD"], { encoding: "utf8" }).trim()
  } catch {
    return "unknown"
  }
}

const settings = {
  rounds: values.quick ? 1 : Number(rounds),
  seconds: values.quick ? 0.5 : Number(seconds),
  quick: values.quick,
  full: values.full
}

const began = performance.now()
const server = await startServer()
const outcomes: Array<Outcome> = []
const conditions = await server.describe()
const cpu = cpus()
const peers = [
  "@castore/event-storage-adapter-postgres",
  "@event-driven-io/emmett-postgresql",
  "@rotorsoft/act-pg",
  "@dcb-es/event-store-postgres",
  "postgres",
  "pg"
].map((name) => versionOf(name, "bench/node_modules"))
const targets = (): string => targetsToMarkdown(outcomes.flatMap((outcome) => outcome.targets))

const results = (): string => `# Results

Written by \`npm run bench\`. Absolute figures are those of one machine on one day; ratios are what to compare. Each
contender runs ${settings.rounds} times for ${settings.seconds} s, in turns; the figure is the median, with the lowest and the highest beside it. \`raw\` (R)
is one call of a SQL function per append that checks the version and inserts, without row-level security, tenant order,
idempotence, encoding or decoding; a ratio is to the fastest of its drivers. A store that takes longer than 15 s to catch up
is stopped.

- ${new Date().toISOString().slice(0, 10)}, commit ${commit()}, ${Math.round((performance.now() - began) / 1000)} s, ${outcomes.length} of ${cases.length} cases
- ${cpu.length} x ${cpu[0]?.model ?? "unknown CPU"}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.versions.node}, client and server on the same machine
- PostgreSQL: ${conditions}
- ${[versionOf("effect"), versionOf("@effect/sql-pg")].join(", ")}
- ${peers.join(", ")}

${targets()}
## Cases

${outcomes.flatMap(({ tables }) => tables.map(toMarkdown)).join("\n")}`

const out = values.out ?? (wanted.length === 0 && !values.quick ? "bench/RESULTS.md" : undefined)
try {
  for (const { name, run } of cases) {
    console.log(`\n## ${name}`)
    try {
      const outcome = await run({ ...settings, server })
      outcomes.push(outcome)
      for (const result of outcome.tables) console.log(`\n${toMarkdown(result)}`)
      // Written after each case, so that a later failure loses no results.
      if (out !== undefined) writeFileSync(out, results())
    } catch (error) {
      console.error(`${name} failed:`, error)
      process.exitCode = 1
    }
  }
} finally {
  await server.stop()
}
console.log(`\n${targets()}`)
// Only clients of the other stores still keep the process alive.
process.exit()
