/**
 * Writes docs/isolation.md: every isolation case, on every backend, with the number of its tests that passed. Fails if one
 * failed, or if a case has no test where it applies.
 *
 *     npx tsx scripts/isolation-table.ts                # runs the tests first
 *     npx tsx scripts/isolation-table.ts results.json   # from vitest's JSON reporter (`VITEST_RESULTS=… npm test`)
 *
 * The title of a test begins with the numbers of its cases ("5, 7: …"); the backend is named in a title around it.
 */
import { Schema } from "effect"
import { spawnSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"

/** The backends of a case. `types` are type tests, and tests that need no store. */
export const columns = ["memory", "PGlite", "PostgreSQL", "silo", "types"] as const
/** One of the {@link columns}. */
export type Column = (typeof columns)[number]

/** A guarantee, and the backends without a test of it, with the reason. */
export interface IsolationCase {
  readonly number: number
  readonly guarantee: string
  readonly notThere: Readonly<Partial<Record<Column, string>>>
}

const noStore = { types: "" }
const noDatabase = { memory: "no database" }
const sameStatements = { silo: "each is a database as in the column before" }
const onServer = { ...noStore, ...noDatabase, ...sameStatements }

/** The cases, in the order of their numbers. */
export const cases: ReadonlyArray<IsolationCase> = (
  [
    ["Equal ids in two tenants are independent of each other.", noStore],
    [
      "Without a tenant nothing compiles, and the database shows and accepts nothing.",
      { memory: "types refuse it; no database" }
    ],
    ["A tenant named in data is data: it decides nothing.", noStore],
    ["A tenant id has one form. Types, schema and database refuse everything else.", {}],
    ["A transaction, nested ones included, serves one tenant until it ends.", noStore],
    ["Interrupted work is done whole or not at all, and leaves a clean connection.", noStore],
    [
      "State that raw SQL leaves on a connection, shared or not, is found and reset.",
      { ...noStore, memory: "no connections" }
    ],
    ["A service that was used under one tenant serves the next tenant its own data.", {}],
    ["A snapshot is used for its own tenant, stream and schema only.", noStore],
    ["A projection handles batches of one tenant, as that tenant.", noStore],
    ["Rebuilding one tenant's read model does not affect another's.", noStore],
    ["An event that cannot be handled stops its own tenant only.", noStore],
    ["A tenant waits for at most a stated number of a noisy tenant's events and appends.", {}],
    ["Answers to a tenant, and logs, contain no secret of another tenant.", noStore],
    ["Only their own tenant can list, replay and discard dead letters.", noStore],
    ["Another tenant's event id as a causation id is a text that leads nowhere.", noStore],
    ["An event id may be used again by another tenant, and conflicts in the same one.", noStore],
    ["Another tenant's position is refused, and reading all logs takes a capability.", {}],
    ["Lost, repeated, forged or overheard hints change when events are seen, not which.", noStore],
    ["Another tenant's id is answered like an unused id.", noStore],
    ["Positions are 1, 2, 3 … in each tenant, whatever other tenants do.", noStore],
    ["Code in a text is text.", noStore],
    ["A text that cannot be stored is refused, with its place, before anything is written.", noStore],
    ["A number is read back unchanged, or refused.", noStore],
    ["Values that are too large or too deep are refused before anything is written.", noStore],
    ["Names such as `__proto__` are plain names.", noStore],
    ["Of many writers at one version one wins; the others learn the version of their own tenant.", noStore],
    ["Events are ordered by position, whatever clocks say.", noStore],
    ["An append whose answer was lost can be repeated, and is stored once.", noStore],
    [
      "Acknowledged appends survive crashes, once and whole.",
      { ...noStore, memory: "ends with its process", ...sameStatements }
    ],
    ["With row-level security off, the statements isolate, and the check reports it.", onServer],
    [
      "Without a predicate, row-level security isolates; without both, tests fail.",
      { ...noStore, ...sameStatements }
    ],
    ["Tenant work runs restricted, whoever is connected; impairments are named at start-up.", onServer],
    ["A suspension is ordered with appends: none succeeds after it, none before it is lost.", noStore],
    [
      "The next user of a session does not find what a tenant's SQL left on it.",
      { ...noStore, memory: "no connections" }
    ],
    ["Two databases in one program are two stores; one database composed twice is one store.", {}],
    ["Values that a program changes in place are frozen or its own; a law finds folds that change them.", {}],
    [
      "A slow or locked tenant makes no other one fail, and delays it by no more than a stated bound.",
      { ...noStore, memory: "no locks that wait", PGlite: "one connection", ...sameStatements }
    ],
    [
      "A table with keys, grants or views that mix tenants is refused, or found by the check.",
      { ...onServer, PGlite: "the same statements" }
    ],
    [
      "A silent connection, a lost reply or a log that lost its end delays no other tenant, and no reused position is passed over.",
      { ...noStore, ...sameStatements }
    ],
    [
      "A remembered state decides for its own tenant, stream and history only.",
      { ...noStore, ...sameStatements }
    ],
    [
      "An archive, a move, the erasure or the quota of one tenant, and a person forgotten in it, change nothing of another.",
      noStore
    ]
  ] as const
).map(([guarantee, notThere], index) => ({ number: index + 1, guarantee, notThere }))

/** A test with its numbers of cases and its result. */
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

/** The table and its problems. */
export const tableOf = (
  tests: ReadonlyArray<Tagged>
): { readonly markdown: string; readonly problems: ReadonlyArray<string> } => {
  const problems = tests.flatMap(({ numbers, passed, title }) => [
    ...(passed ? [] : [`failed: ${title}`]),
    ...numbers.filter((number) => number < 1 || number > cases.length).map((n) => `no case ${n}: ${title}`)
  ])
  const rows = cases.map(({ guarantee, notThere, number }) => {
    const cells = columns.map((column) => {
      const own = tests.filter((test) => test.column === column && test.numbers.includes(number))
      const reason = notThere[column]
      if (own.length > 0) {
        if (reason !== undefined && reason !== "")
          problems.push(`case ${number} has tests on ${column}, although: ${reason}`)
        return String(own.filter(({ passed }) => passed).length)
      }
      if (reason === undefined) problems.push(`case ${number} has no test: ${column}`)
      return reason === undefined ? "**none**" : reason === "" ? "" : `n/a: ${reason}`
    })
    return [String(number), guarantee].concat(cells)
  })
  const line = (cells: ReadonlyArray<string>) => `| ${cells.join(" | ")} |`
  const head = ["#", "guarantee", ...columns]
  return {
    markdown: [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n"),
    problems
  }
}

/** The page around the table. */
export const pageOf = (table: string): string => `# Isolation, case by case

Guarantees between two tenants, tested with the same ids in both tenants and in both directions, with the number of passing
tests on each backend. \`PostgreSQL\` is a real server; \`silo\` spreads the tenants over several of its databases; \`types\` are
type tests, and tests that need no store. An empty cell means that types do not apply.

\`npx tsx scripts/isolation-table.ts\` runs these tests and writes this page; it fails if a test fails, or if a case lacks a test
where it applies. Test your own drivers with \`TenantIsolationSuite\` and your own programs with \`Canary\`, both from
\`effect-eventsourcing/testing\`.

${table}
`

const root = fileURLToPath(new URL("..", import.meta.url))

/** The path of the page. */
export const page: string = Path.join(root, "docs", "isolation.md")

/** Test files with numbered tests, or with a suite of such tests. */
const testFiles = (): ReadonlyArray<string> =>
  Fs.readdirSync(Path.join(root, "test"), { recursive: true, encoding: "utf8" })
    // without the test of this page, which is written afterwards
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
  spawnSync(process.execPath, [vitest, "run", "--mode", "all", ...testFiles()], {
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
