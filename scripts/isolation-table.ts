/**
 * Writes docs/isolation.md: every isolation case, on every backend, with the number of its tests that passed. Fails if one
 * failed, or if a case has no test where it applies.
 *
 *     npx tsx scripts/isolation-table.ts                # runs the tests first
 *     npx tsx scripts/isolation-table.ts results.json   # of vitest's JSON reporter, as `VITEST_RESULTS=… npm test` writes them
 *
 * The title of a test begins with the numbers of its cases ("5, 7: …"); the backend is named in a title around it.
 */
import { Schema } from "effect"
import { spawnSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"

/** Where a case is tried. `types` are type tests, and tests that need no store. */
export const columns = ["memory", "PGlite", "PostgreSQL", "silo", "types"] as const
/** One of the {@link columns}. */
export type Column = (typeof columns)[number]

/** Something that must hold, and where there is no test of it, with the reason. */
export interface IsolationCase {
  readonly number: number
  readonly what: string
  readonly notThere: Readonly<Partial<Record<Column, string>>>
}

const noStore = { types: "" }
const noDatabase = { memory: "no database" }
const sameStatements = { silo: "each is a database as in the column before" }
const onServer = { ...noStore, ...noDatabase, ...sameStatements }

/** The cases, in the order of their numbers. */
export const cases: ReadonlyArray<IsolationCase> = (
  [
    ["Equal ids in two tenants have nothing to do with each other.", noStore],
    [
      "Without a tenant nothing compiles, and the database shows and takes nothing.",
      { memory: "types refuse it; no database" }
    ],
    ["A tenant that is named in data is data: it decides nothing.", noStore],
    ["A tenant id has one form; anything else is refused, by types, schema and database.", {}],
    ["A transaction is one tenant's, nested ones included, until it ends.", noStore],
    ["Whatever is interrupted is done or not done, and the next one finds a clean connection.", noStore],
    [
      "What raw SQL leaves on a connection is found and reset, also on shared connections.",
      { ...noStore, memory: "no connections" }
    ],
    ["A service that was used under one tenant serves the next one its own.", {}],
    ["A snapshot is used for its own tenant, stream and schema alone.", noStore],
    ["A projection handles a batch of one tenant, as that tenant.", noStore],
    ["A rebuild of one tenant's read model is nothing to another tenant's.", noStore],
    ["An event that cannot be handled stops its own tenant alone.", noStore],
    ["A tenant waits for a stated number of a noisy one's events and appends, at most.", noStore],
    ["What is said to a tenant, or to logs, holds no secret of another.", noStore],
    ["Dead letters are seen, replayed and discarded by their own tenant alone.", noStore],
    ["Another tenant's event id as a cause is text that leads nowhere.", noStore],
    ["An id that is used again is a new one for another tenant, a conflict for the same.", noStore],
    ["Another tenant's position is refused, and all logs are for who may look at them.", {}],
    ["Hints that are lost, repeated, forged or overheard change when, not what.", noStore],
    ["Another tenant's id is answered like one that nobody uses.", noStore],
    ["Positions are 1, 2, 3 … for each tenant, whatever others do.", noStore],
    ["Code in any text is text.", noStore],
    ["Text that cannot be stored is refused by name, before anything is written.", noStore],
    ["A number comes back as it was, or is refused.", noStore],
    ["What is too large or too deep is refused before it is written.", noStore],
    ["Names that reach for prototypes are names.", noStore],
    ["Of many writers at one version one wins, and the others learn their own tenant's.", noStore],
    ["Order is by position, whatever clocks say.", noStore],
    ["An append whose answer was lost can be tried again, and is there once.", noStore],
    [
      "What was acknowledged outlives crashes, once and whole.",
      { ...noStore, memory: "ends with its process", ...sameStatements }
    ],
    ["With row-level security off, the statements isolate, and the check says it is off.", onServer],
    [
      "Without a predicate, row-level security isolates; without both, tests go red.",
      { ...noStore, ...sameStatements }
    ],
    ["Whoever is connected, tenant work runs restricted; what impairs that is named at start-up.", onServer],
    ["A suspension is in order with appends: none after it, none lost before.", noStore],
    [
      "What a tenant's SQL leaves on a session is not there for the next one.",
      { ...noStore, memory: "no connections", ...sameStatements }
    ],
    ["Two databases in one program are two stores, and one composed twice is one.", {}]
  ] as const
).map(([what, notThere], index) => ({ number: index + 1, what, notThere }))

/** A test with numbers of cases, and how it went. */
export interface Tagged {
  readonly numbers: ReadonlyArray<number>
  readonly column: Column
  readonly title: string
  readonly passed: boolean
}

const Results = Schema.Struct({
  testResults: Schema.Array(
    Schema.Struct({
      name: Schema.String,
      assertionResults: Schema.Array(
        Schema.Struct({
          ancestorTitles: Schema.Array(Schema.String),
          title: Schema.String,
          status: Schema.String
        })
      )
    })
  )
})

const tag = /^(\d+(?:, \d+)*): /

const columnOf = (around: string): Column => {
  if (/\bsilos?\b|\bdatabases\b|of several/.test(around)) return "silo"
  if (/PostgreSQL|DATABASE_URL/.test(around)) return "PostgreSQL"
  if (around.includes("PGlite")) return "PGlite"
  return /\bmemory\b/.test(around) ? "memory" : "types"
}

/** The tests with numbers of cases among the results of vitest's JSON reporter. */
export const taggedIn = (results: unknown): ReadonlyArray<Tagged> =>
  Schema.decodeUnknownSync(Results)(results).testResults.flatMap(({ assertionResults }) =>
    assertionResults.flatMap(({ ancestorTitles, status, title }) => {
      const numbers = tag.exec(title)?.[1]?.split(", ").map(Number)
      if (numbers === undefined || status === "skipped" || status === "pending" || status === "todo")
        return []
      const full = [...ancestorTitles, title].join(" > ")
      return [{ numbers, column: columnOf(full), title: full, passed: status === "passed" }]
    })
  )

/** The table, and what is wrong with it. */
export const tableOf = (
  tests: ReadonlyArray<Tagged>
): { readonly markdown: string; readonly problems: ReadonlyArray<string> } => {
  const problems = tests.flatMap(({ numbers, passed, title }) => [
    ...(passed ? [] : [`failed: ${title}`]),
    ...numbers.filter((number) => number < 1 || number > cases.length).map((n) => `no case ${n}: ${title}`)
  ])
  const rows = cases.map(({ notThere, number, what }) => {
    const cells = columns.map((column) => {
      const own = tests.filter((test) => test.column === column && test.numbers.includes(number))
      const reason = notThere[column]
      if (own.length > 0) {
        if (reason !== undefined && reason !== "")
          problems.push(`case ${number} has tests on ${column}, though: ${reason}`)
        return String(own.filter(({ passed }) => passed).length)
      }
      if (reason === undefined) problems.push(`case ${number} has no test: ${column}`)
      return reason === undefined ? "**none**" : reason === "" ? "" : `n/a: ${reason}`
    })
    return [String(number), what].concat(cells)
  })
  const line = (cells: ReadonlyArray<string>) => `| ${cells.join(" | ")} |`
  const head = ["#", "what must hold", ...columns]
  return {
    markdown: [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n"),
    problems
  }
}

/** The page around the table. */
export const pageOf = (table: string): string => `# Isolation, case by case

What must hold between two tenants, tried with the same ids in both and in both directions, and how many tests of it passed
on each backend. \`PostgreSQL\` is a real server; \`silo\` is tenants spread over several of its databases; \`types\` are type
tests, and tests that need no store. An empty cell: types have nothing to do with it.

\`npx tsx scripts/isolation-table.ts\` runs these tests and writes this page; it fails if one of them does, or if a case has no
test where it applies. Drivers of your own are tested with \`TenantIsolationSuite\`, and your own programs with \`Canary\`, both
from \`effect-eventsourcing/testing\`.

${table}
`

const root = fileURLToPath(new URL("..", import.meta.url))

/** Where the page is. */
export const page: string = Path.join(root, "docs", "isolation.md")

/** The test files that have numbered tests, or run a suite that has. */
const testFiles = (): ReadonlyArray<string> =>
  Fs.readdirSync(Path.join(root, "test"), { recursive: true, encoding: "utf8" })
    // but not the one about this page, which is written afterwards
    .filter((file) => /\.test(-d)?\.ts$/.test(file) && file !== "isolationTable.test.ts")
    .map((file) => Path.join("test", file))
    .filter((file) =>
      /["'`]\d+(?:, \d+)*: |\w+Suite\.(?:suite|cases|databaseCases)/.test(
        Fs.readFileSync(Path.join(root, file), "utf8")
      )
    )

const runTests = (): string => {
  const file = Path.join(
    Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-eventsourcing-isolation-")),
    "results.json"
  )
  const vitest = fileURLToPath(new URL("../node_modules/vitest/vitest.mjs", import.meta.url))
  spawnSync(process.execPath, [vitest, "run", ...testFiles()], {
    cwd: root,
    env: { ...process.env, VITEST_RESULTS: file },
    stdio: ["ignore", "inherit", "inherit"]
  })
  return file
}

const main = () => {
  const file = process.argv[2] ?? runTests()
  const { markdown, problems } = tableOf(taggedIn(JSON.parse(Fs.readFileSync(file, "utf8"))))
  Fs.writeFileSync(page, pageOf(markdown))
  const oxfmt = fileURLToPath(new URL("../node_modules/oxfmt/bin/oxfmt", import.meta.url))
  spawnSync(process.execPath, [oxfmt, page], { stdio: "inherit" })
  console.log(markdown)
  for (const problem of problems) console.error(problem)
  process.exitCode = problems.length > 0 ? 1 : 0
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main()
