/**
 * The log of a help desk as it is exported: CSV with one entry a line.
 */
import { parse } from "csv-parse/sync"
import { Effect, Result, Schema, SchemaIssue, SchemaParser } from "effect"
import type { Tenant } from "effect-eventsourcing"
import { readFile } from "node:fs/promises"
import { eventIdOf, tenantIdOf } from "./ids.ts"
import type * as Ticket from "./Ticket.ts"

/** An entry with its line number. */
export interface Entry extends Ticket.Entry {
  readonly line: number
}

/** A customer, who is a tenant, with the entries of each of its cases in the order of the log. */
export interface Customer {
  readonly name: string
  readonly tenantId: Tenant.TenantId
  readonly cases: ReadonlyMap<string, ReadonlyArray<Entry>>
}

/** A line that is left out, with the reason. */
export interface Problem {
  readonly line: number
  readonly problem: string
}

/** The contents of a log. */
export interface DeskLog {
  /** Number of entries. */
  readonly entries: number
  readonly customers: ReadonlyArray<Customer>
  /** Lines that are not entries. */
  readonly broken: ReadonlyArray<Problem>
}

/** Raised when a file cannot be read or is not the log of a help desk. */
export class LogUnreadable extends Schema.TaggedError<LogUnreadable>()("LogUnreadable", {
  path: Schema.String,
  problem: Schema.String
}) {
  override get message(): string {
    return `${this.path} cannot be imported: ${this.problem}`
  }
}

const activities = {
  "Insert ticket": "TicketInserted",
  "Assign seriousness": "SeriousnessAssigned",
  "Take in charge ticket": "TicketTakenInCharge",
  Wait: "TicketPutOnWait",
  "Require upgrade": "UpgradeRequired",
  "Create SW anomaly": "AnomalyCreated",
  "Resolve SW anomaly": "AnomalyResolved",
  "Schedule intervention": "InterventionScheduled",
  "Resolve ticket": "TicketResolved",
  Closed: "TicketClosed",
  RESOLVED: "MarkedResolved",
  INVALID: "MarkedInvalid",
  VERIFIED: "MarkedVerified",
  DUPLICATE: "MarkedDuplicate"
} as const satisfies Record<string, Ticket.Activity>

const isActivity = (text: string): text is keyof typeof activities => Object.hasOwn(activities, text)

/** Real times of the years 1 to 9999: `Date` would read a 31st of February as a day in March. */
const isTime = (text: string): boolean => {
  const time = new Date(text)
  if (Number.isNaN(time.getTime()) || !/^(?!0000)\d{4}-/.test(text)) return false
  return time.toISOString() === text.replace(/(:\d\d)Z$/, "$1.000Z")
}

const Text = Schema.String.check(
  Schema.isMinLength(1, { message: "is empty" }),
  Schema.isMaxLength(255, { message: "has more than 255 characters" }),
  Schema.isPattern(/^[^\0]*$/, { message: "contains U+0000" })
)

const Row = Schema.Struct({
  customer: Text,
  case: Text,
  activity: Text.pipe(Schema.refine(isActivity, { message: "is not an activity of the desk" })),
  resource: Text,
  timestamp: Text.check(
    Schema.makeFilter(isTime, { message: "is not a time like 2010-01-13T08:40:25Z" })
  ).pipe(Schema.decodeTo(Schema.DateTimeUtcFromString)),
  seriousness: Text,
  product: Text,
  responsible_section: Text,
  seriousness_2: Text,
  service_level: Text,
  service_type: Text,
  support_section: Text,
  workgroup: Text
})

interface Row {
  readonly line: number
  /** The texts of its columns, in the order of the schema. */
  readonly texts: ReadonlyArray<string>
  readonly values: typeof Row.Type
}

const columns = Object.keys(Row.fields)
const decodeRow = SchemaParser.decodeUnknownResult(Row)
const formatIssue = SchemaIssue.makeFormatterStandardSchemaV1()

/** Splits a line. An entry has one line, so unbalanced quotes spoil only that line. */
const split = (line: string): Result.Result<ReadonlyArray<string>, string> =>
  line.includes('"')
    ? Result.try({ try: () => parse(line)[0] ?? [], catch: () => "its quotes are not balanced" })
    : Result.succeed(line.split(","))

/** The row in a line, or its problem. */
const rowIn = (line: number, text: string, names: ReadonlyArray<string>): Result.Result<Row, string> =>
  Result.gen(function* () {
    const fields = yield* split(text)
    if (fields.length !== names.length) {
      return yield* Result.fail(`it has ${fields.length} columns instead of ${names.length}`)
    }
    const texts = columns.map((name) => fields[names.indexOf(name)] ?? "")
    const record = Object.fromEntries(columns.map((name, index) => [name, texts[index]]))
    const values = yield* Result.mapError(decodeRow(record), (issue) => {
      const [first] = formatIssue(issue).issues
      const [column] = first?.path ?? []
      return `${typeof column === "string" ? column : "it"} ${first?.message}`
    })
    return { line, texts, values }
  })

const groupBy = <A>(items: Iterable<A>, keyOf: (item: A) => string): Map<string, Array<A>> => {
  const groups = new Map<string, Array<A>>()
  for (const item of items) {
    const group = groups.get(keyOf(item))
    if (group === undefined) groups.set(keyOf(item), [item])
    else group.push(item)
  }
  return groups
}

/** A customer with its rows. The same rows give the same entries when they are read again. */
const customerOf = (name: string, rows: ReadonlyArray<Row>): Customer => {
  const tenantId = tenantIdOf(name)
  const occurrences = new Map<string, number>()
  const cases = new Map<string, ReadonlyArray<Entry>>()
  for (const [caseName, ofCase] of groupBy(rows, ({ values }) => values.case)) {
    cases.set(
      caseName,
      ofCase.map(({ line, texts, values }) => {
        const row = JSON.stringify(texts)
        const occurrence = (occurrences.get(row) ?? 0) + 1
        occurrences.set(row, occurrence)
        return {
          line,
          id: eventIdOf(tenantId, row, occurrence),
          activity: activities[values.activity],
          actor: values.resource,
          occurredAt: values.timestamp,
          classification: {
            seriousness: values.seriousness,
            product: values.product,
            responsibleSection: values.responsible_section,
            seriousness2: values.seriousness_2,
            serviceLevel: values.service_level,
            serviceType: values.service_type,
            supportSection: values.support_section,
            workgroup: values.workgroup
          }
        }
      })
    )
  }
  return { name, tenantId, cases }
}

/** Parses the text of a log. */
const parseLog = (path: string, text: string): Result.Result<DeskLog, LogUnreadable> => {
  const [header = "", ...lines] = text.replace(/^\uFEFF/, "").split(/\r\n|\n|\r/)
  const names = Result.getOrElse(split(header), (): ReadonlyArray<string> => [])
  const missing = columns.filter((name) => !names.includes(name))
  if (missing.length > 0) {
    const problem = `its first line does not name the columns ${missing.join(", ")}`
    return Result.fail(new LogUnreadable({ path, problem }))
  }
  const rows: Array<Row> = []
  const broken: Array<Problem> = []
  for (const [index, content] of lines.entries()) {
    if (content === "") continue
    const line = index + 2
    const row = rowIn(line, content, names)
    if (Result.isSuccess(row)) rows.push(row.success)
    else broken.push({ line, problem: row.failure })
  }
  const customers = [...groupBy(rows, ({ values }) => values.customer)]
  return Result.succeed({
    entries: rows.length,
    customers: customers.map(([name, ofCustomer]) => customerOf(name, ofCustomer)),
    broken
  })
}

const problems: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  EISDIR: "it is a directory",
  EACCES: "it is not readable"
}

const problemOf = (error: unknown): string => {
  const code = error instanceof Error && "code" in error ? String(error.code) : ""
  return problems[code] ?? String(error)
}

/** Reads the log in a file. */
export const read = (path: string): Effect.Effect<DeskLog, LogUnreadable> =>
  Effect.tryPromise({
    try: () => readFile(path, "utf8"),
    catch: (error) => new LogUnreadable({ path, problem: problemOf(error) })
  }).pipe(Effect.flatMap((text) => Effect.fromResult(parseLog(path, text))))

/** Case names that several customers use, with these customers. The cases share nothing but the name. */
export const sharedNames = (log: DeskLog): ReadonlyMap<string, ReadonlyArray<string>> => {
  const customers = new Map<string, Array<string>>()
  for (const { name, cases } of log.customers) {
    for (const caseName of cases.keys()) customers.set(caseName, [...(customers.get(caseName) ?? []), name])
  }
  return new Map([...customers].filter(([, names]) => names.length > 1))
}
