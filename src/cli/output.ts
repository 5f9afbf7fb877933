/** Output: one JSON document for machines, text that fits the terminal for people. */
import { Console, DateTime, Duration, Effect, Schema, Stdio, Terminal } from "effect"
import { CliOutput } from "effect/cli"
import { Json, type Settings } from "./settings.ts"

/** A command that goes on with the work. */
export type Next = typeof Next.Type
/** Schema of a command that goes on with the work. */
export const Next = Schema.Struct({
  purpose: Schema.String.annotate({
    description: "The purpose of the command.",
    examples: ["the next page"]
  }),
  command: Schema.String.annotate({
    description: "A complete command line, without the flags of the connection.",
    examples: ["eventsourcing tenants --limit 100"]
  })
}).annotate({ identifier: "Next", description: "A command that goes on with the work." })

/** The schema of the document that a command prints with `--json`. */
export const document = <const Name extends string, const Fields extends Schema.Struct.Fields>(
  command: Name,
  fields: Fields
) =>
  Schema.Struct({
    command: Schema.Literal(command),
    ...fields,
    next: Schema.Array(Next)
  })

/** Width of the output in columns; infinite if it is not a terminal. */
const width: Effect.Effect<number, never, Terminal.Terminal | Stdio.Stdio> = Effect.gen(function* () {
  const stdio = yield* Stdio.Stdio
  if (!(yield* stdio.stdoutIsTerminal)) return Infinity
  const columns = yield* (yield* Terminal.Terminal).columns
  return columns > 0 ? Math.max(columns, 40) : Infinity
})

/** Control characters and those that turn the direction of a text could write anything to a terminal. */
const control = /[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu

/** A text of events or tenants without the characters that a terminal obeys. */
export const clean = (text: string): string => text.replaceAll(control, "\u{fffd}")

/** Prints a value: as one JSON document, or as lines for people. */
export const emit = <S extends Schema.Codec<{ readonly next: ReadonlyArray<Next> }, unknown>>(
  schema: S,
  value: S["Type"],
  lines: (width: number) => ReadonlyArray<string>
): Effect.Effect<void, never, Settings | Terminal.Terminal | Stdio.Stdio> =>
  Effect.gen(function* () {
    if (yield* Json)
      return yield* Console.log(JSON.stringify(yield* Effect.orDie(Schema.encodeEffect(schema)(value))))
    for (const line of lines(yield* width)) yield* Console.log(clean(line))
    for (const { command, purpose } of value.next) yield* Console.log(clean(`→ ${purpose}: ${command}`))
  })

/** Prints one value of a sequence that has no end: a line of JSON, or of text. */
export const emitLine = <S extends Schema.Codec<unknown, unknown>>(
  schema: S,
  value: S["Type"],
  line: string
): Effect.Effect<void, never, Settings> =>
  Effect.gen(function* () {
    yield* Console.log(
      (yield* Json) ? JSON.stringify(yield* Effect.orDie(Schema.encodeEffect(schema)(value))) : clean(line)
    )
  })

/** A column of a table. */
export interface Column {
  readonly title: string
  /** Numbers are aligned to the right. */
  readonly right?: boolean
  /** A column that is not shortened, such as an id that is copied. */
  readonly whole?: boolean
}

const pad = (text: string, columns: number, right: boolean): string => {
  const missing = " ".repeat(Math.max(0, columns - CliOutput.displayWidth(text)))
  return right ? missing + text : text + missing
}

const shorten = (text: string, columns: number): string => {
  if (CliOutput.displayWidth(text) <= columns) return text
  let kept = ""
  for (const character of text) {
    if (CliOutput.displayWidth(kept + character) > columns - 1) break
    kept += character
  }
  return `${kept}…`
}

const gap = "  "
const narrowest = 6

/** Widths of columns that fit; undefined if they do not, however short. */
const fitted = (
  columns: ReadonlyArray<Column>,
  natural: ReadonlyArray<number>,
  fit: number
): ReadonlyArray<number> | undefined => {
  const widths = columns.map((_column, nth) => natural[nth] ?? 0)
  let total = widths.reduce((sum, one) => sum + one, gap.length * (columns.length - 1))
  while (total > fit) {
    let widest = -1
    for (const [nth, one] of widths.entries())
      if (columns[nth]?.whole !== true && one > narrowest && one > (widths[widest] ?? 0)) widest = nth
    if (widest < 0) return undefined
    widths[widest] = (widths[widest] ?? 0) - 1
    total--
  }
  return widths
}

/** A table that fits a width: its widest columns are shortened, and the last ones left out if that is not enough. */
export const table = (
  columns: ReadonlyArray<Column>,
  rows: ReadonlyArray<ReadonlyArray<string>>,
  fit: number
): ReadonlyArray<string> => {
  const cells = [columns.map(({ title }) => title.toUpperCase()), ...rows.map((row) => row.map(clean))]
  const natural = columns.map((_column, nth) =>
    Math.max(...cells.map((row) => CliOutput.displayWidth(row[nth] ?? "")))
  )
  let shown = columns.length
  let widths = fitted(columns, natural, fit)
  while (widths === undefined && shown > 1) widths = fitted(columns.slice(0, --shown), natural, fit)
  const used = widths ?? natural.slice(0, 1)
  return cells.map((row) =>
    used
      .map((columnWidth, nth) =>
        pad(shorten(row[nth] ?? "", columnWidth), columnWidth, columns[nth]?.right === true)
      )
      .join(gap)
      .trimEnd()
  )
}

/** Lines of a text that is broken at blanks. */
export const wrap = (text: string, fit: number, indent = ""): ReadonlyArray<string> => {
  const lines: Array<string> = []
  let line = indent
  for (const word of text.split(" ")) {
    const longer = line === indent ? line + word : `${line} ${word}`
    if (line !== indent && CliOutput.displayWidth(longer) > fit) {
      lines.push(line)
      line = indent + word
    } else line = longer
  }
  return [...lines, line]
}

/** A time for people, in UTC. */
export const time = (at: DateTime.Utc | null): string =>
  at === null ? "–" : DateTime.formatIso(at).slice(0, 19).replace("T", " ")

/** A number for people. */
export const number = (value: number): string => value.toLocaleString("en-US")

/** A duration for people, in its two largest units. */
export const span = (millis: number): string => {
  const { days, hours, minutes, seconds } = Duration.parts(Duration.millis(Math.max(0, millis)))
  const parts = [
    [days, "d"],
    [hours, "h"],
    [minutes, "min"],
    [seconds, "s"]
  ] as const
  const first = parts.findIndex(([value]) => value > 0)
  return first < 0
    ? "0 s"
    : parts
        .slice(first, first + 2)
        .filter(([value]) => value > 0)
        .map(([value, unit]) => `${value} ${unit}`)
        .join(" ")
}

/** An argument of a command line, quoted for a shell if it has to be. */
export const quote = (argument: string): string =>
  /^[\w@%+=:,./-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", `'\\''`)}'`
