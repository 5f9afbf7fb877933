/**
 * The report of the desk's work for each customer, from the table of tickets.
 */
import { Effect } from "effect"
import { type StoreError, Tenant } from "effect-eventsourcing"
import type { SqlClient, SqlError } from "effect/sql"
import type { Customer } from "./DeskLog.ts"
import { type Numbers, numbers } from "./TicketTable.ts"

/** A line of the report. */
export interface Line extends Numbers {
  readonly customer: string
}

const { compare } = new Intl.Collator("en", { numeric: true })

/** The lines of all customers, ordered by name. */
export const report = (
  customers: ReadonlyArray<Customer>
): Effect.Effect<
  ReadonlyArray<Line>,
  SqlError.SqlError | StoreError.ReadError | StoreError.OutcomeUnknown,
  SqlClient.SqlClient
> =>
  Effect.forEach(
    customers.toSorted((a, b) => compare(a.name, b.name)),
    ({ name, tenantId }) =>
      Effect.map(Tenant.provide(tenantId)(numbers), (ofTenant) => ({ customer: name, ...ofTenant })),
    { concurrency: 16 }
  )

const columns = ["tickets", "events", "closed", "open", "waits"] as const

const total = (lines: ReadonlyArray<Line>): Line => {
  const sum = (column: (typeof columns)[number]) => lines.reduce((so, line) => so + line[column], 0)
  return {
    customer: "Total",
    tickets: sum("tickets"),
    events: sum("events"),
    closed: sum("closed"),
    open: sum("open"),
    waits: sum("waits")
  }
}

/** The lines and their sums, for people. */
export const toTable = (lines: ReadonlyArray<Line>): string => {
  const header = ["Customer", "Tickets", "Events", "Closed", "Open", "Waits"]
  const format = (line: Line) => [
    line.customer,
    ...columns.map((column) => line[column].toLocaleString("en"))
  ]
  const body = lines.map(format)
  const sums = format(total(lines))
  const all = [header, ...body, sums]
  const widths = header.map((_, column) => Math.max(...all.map((cells) => cells[column]?.length ?? 0)))
  const row = (cells: ReadonlyArray<string>) =>
    cells
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)
      )
      .join("  ")
  const rule = widths.map((width) => "-".repeat(width)).join("  ")
  return [row(header), rule, ...body.map(row), rule, row(sums)].join("\n")
}

const quoted = (text: string): string => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text)

/** The lines as CSV (RFC 4180), for programs. */
export const toCsv = (lines: ReadonlyArray<Line>): string =>
  [
    ["customer", ...columns].join(","),
    ...lines.map((line) => [quoted(line.customer), ...columns.map((column) => line[column])].join(",")),
    ""
  ].join("\r\n")
