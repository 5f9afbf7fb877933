/**
 * Replays the log of a help desk: every customer is a tenant, every case a ticket, every entry an event. A projection counts
 * the desk's work in a table while the import runs.
 *
 *     npx tsx examples/helpdesk.ts --help
 */
import type { PgClient } from "@effect/sql-pg"
import { Console, Duration, Effect, Layer, Redacted, Schema } from "effect"
import { EventSourcing, ProjectionRunner } from "effect-eventsourcing"
import { PgEmbedded, PgMigrator, PgServer, PgStorage } from "effect-eventsourcing/pg"
import type { SqlClient, SqlError } from "effect/sql"
import { writeFile } from "node:fs/promises"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import * as DeskLog from "./helpdesk/DeskLog.ts"
import { importLog } from "./helpdesk/Import.ts"
import * as Progress from "./helpdesk/Progress.ts"
import * as Report from "./helpdesk/Report.ts"
import * as TicketTable from "./helpdesk/TicketTable.ts"

const help = `Imports the log of a help desk and counts the work for each customer.

  npm start                                    import the sample, examples/helpdesk/sample.csv
  npx tsx examples/helpdesk.ts [options] FILE  import a log

FILE is CSV with the columns customer, case, activity, resource, timestamp, seriousness, product,
responsible_section, seriousness_2, service_level, service_type, support_section and workgroup.
Importing it again adds only new entries. The table in the database is helpdesk_tickets.

Options:
  --data DIR   keep the events in an embedded database in this directory
  --csv FILE   also write the table to a file, as CSV
  --help       print this

Without --data the events go to the PostgreSQL server in the environment variable DATABASE_URL, whose user
must own the database; without that, to an embedded database in memory, which ends with the program.

Exit status: 0 if every line was imported, now or earlier; 2 if some lines were left out, which are listed
with their number and the reason; 1 if the import failed.`

/** Raised when the command line is not understood. */
class UsageError extends Schema.TaggedError<UsageError>()("UsageError", { problem: Schema.String }) {
  override get message(): string {
    return `${this.problem}\nTry --help.`
  }
}

/** Raised when the table cannot be written to the file of `--csv`. The events have been imported. */
class ReportUnwritable extends Schema.TaggedError<ReportUnwritable>()("ReportUnwritable", {
  path: Schema.String,
  problem: Schema.String
}) {
  override get message(): string {
    return `The table cannot be written to ${this.path}: ${this.problem}`
  }
}

const sample = fileURLToPath(new URL("helpdesk/sample.csv", import.meta.url))

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

const parseCommandLine = Effect.try({
  try: () =>
    parseArgs({
      allowPositionals: true,
      options: { data: { type: "string" }, csv: { type: "string" }, help: { type: "boolean", short: "h" } }
    }),
  catch: (error) => new UsageError({ problem: messageOf(error) })
})

/**
 * Runs the projection while the program runs; concurrent imports share the work. A single worker leaves the import the
 * lead, and then counts the waiting events in larger batches.
 */
const Runner = ProjectionRunner.layer({ projections: [TicketTable.TicketTable], concurrency: 1 })

const App = Runner.pipe(
  Layer.provide(TicketTable.layer),
  Layer.provideMerge(EventSourcing.layer),
  Layer.provide(PgStorage.layer),
  Layer.provide(PgMigrator.layer)
)

/** The only difference between an embedded database and a server. */
const database = (
  dataDirectory: string | undefined
): Layer.Layer<PgClient.PgClient | SqlClient.SqlClient, PgEmbedded.PgEmbeddedError | SqlError.SqlError> => {
  if (dataDirectory !== undefined) return PgEmbedded.layerWith({ dataDirectory })
  const url = process.env["DATABASE_URL"]
  return url === undefined ? PgEmbedded.layer : PgServer.layer({ url: Redacted.make(url) })
}

const writeCsv = (path: string, text: string) =>
  Effect.tryPromise({
    try: () => writeFile(path, text),
    catch: (error) => new ReportUnwritable({ path, problem: messageOf(error) })
  })

const count = (number: number, noun: string) =>
  `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`

/** Waits until the projection has handled all imported events. */
const waitForTable = Effect.fn("waitForTable")(function* ({ customers }: DeskLog.DeskLog) {
  const lag = yield* TicketTable.lag(customers)
  if (lag.total === 0) return
  const behind = [...lag.behind.values()].reduce((sum, events) => sum + events, 0)
  if (behind > 0) {
    const seconds = Duration.toSeconds(lag.time).toFixed(1)
    yield* Console.error(
      `The table is ${count(behind, "event")} behind the log; the oldest is ${seconds} s old`
    )
  }
  const progress = Progress.make(process.stderr, lag.total, "events in the table")
  yield* progress(lag.total - behind)
  yield* TicketTable.catchUp(lag, progress)
})

/** Imports a log and prints the report. Returns true if every line was imported. */
const importAndReport = Effect.fn("importAndReport")(function* (
  log: DeskLog.DeskLog,
  csv: string | undefined
) {
  const progress = Progress.make(process.stderr, log.entries, "entries")
  const [duration, { added, known, refused }] = yield* Effect.timed(importLog(log, progress))
  yield* waitForTable(log)
  const lines = yield* Report.report(log.customers)
  yield* Console.log(Report.toTable(lines))
  if (csv !== undefined) yield* writeCsv(csv, Report.toCsv(lines))

  const shared = DeskLog.sharedNames(log)
  if (shared.size > 0) {
    yield* Console.log(`\nCase names of several customers, with a ticket for each: ${shared.size}`)
    for (const [name, customers] of shared) yield* Console.log(`  ${name}: ${customers.join(", ")}`)
  }

  const seconds = Duration.toSeconds(duration)
  yield* Console.log(
    `\nImported ${count(added, "event")} in ${seconds.toFixed(1)} s` +
      (added === 0 ? "" : ` (${count(Math.round(added / seconds), "event")} a second)`) +
      (known === 0 ? "" : `; ${known.toLocaleString("en")} had been imported before`)
  )
  const left = [...log.broken, ...refused].toSorted((a, b) => a.line - b.line)
  if (left.length > 0) yield* Console.error(`\n${count(left.length, "line")} left out:`)
  for (const { line, problem } of left) yield* Console.error(`  line ${line}: ${problem}`)
  return left.length === 0
})

const program = Effect.gen(function* () {
  const { values, positionals } = yield* parseCommandLine
  if (values.help === true) {
    yield* Console.log(help)
    return 0
  }
  const [path = sample, ...more] = positionals
  if (more.length > 0) return yield* new UsageError({ problem: `Unexpected argument: ${more.join(" ")}` })
  const log = yield* DeskLog.read(path)
  const complete = yield* importAndReport(log, values.csv).pipe(
    Effect.provide(Layer.provideMerge(App, database(values.data)))
  )
  return complete ? 0 : 2
}).pipe(Effect.catch((error) => Effect.as(Console.error(error.message), 1)))

// A reader that stops early, like `| head`, is no failure.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error
})

void Effect.runPromise(program).then((status) => {
  process.exitCode = status
})
