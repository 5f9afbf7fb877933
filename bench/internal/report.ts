/** Tables of measurements, as ratios to a floor of the same run. */
import { type Measured, median } from "./measure.ts"

/** A line of a table. */
export interface Line {
  readonly name: string
  readonly rates: ReadonlyArray<number>
  /** Median relative to that of the table's floor. */
  readonly ratio: number
  /** A remark, such as the number of skipped events. */
  readonly note?: string | undefined
}

/** One case. */
export interface Table {
  readonly title: string
  /** The unit of the rates, such as `appends/s`. */
  readonly unit: string
  readonly lines: ReadonlyArray<Line>
}

/** A table with ratios to the fastest of the lines whose names begin with a text. */
export const table = (
  title: string,
  unit: string,
  measured: ReadonlyArray<Measured & { readonly note?: string | undefined }>,
  floor = "raw"
): Table => {
  const floors = measured.filter(({ name }) => name.startsWith(floor)).map(({ rates }) => median(rates))
  const baseline = Math.max(...(floors.length > 0 ? floors : [Number.NaN]))
  return {
    title,
    unit,
    lines: measured.map((line) => ({ ...line, ratio: median(line.rates) / baseline }))
  }
}

const formatNumber = (value: number): string =>
  Number.isNaN(value)
    ? "-"
    : value >= 100
      ? Math.round(value).toLocaleString("en")
      : value.toFixed(value >= 10 ? 1 : 2)

const row = (cells: ReadonlyArray<string>): string => `| ${cells.join(" | ")} |`

/** A table as Markdown. */
export const toMarkdown = ({ title, unit, lines }: Table): string => {
  const notes = lines.some(({ note }) => note !== undefined)
  return [
    `### ${title}`,
    "",
    row(["", "ratio", unit, "min", "max", ...(notes ? ["note"] : [])]),
    row(["---", "---:", "---:", "---:", "---:", ...(notes ? ["---"] : [])]),
    ...lines.map(({ name, ratio, rates, note }) =>
      row([
        name,
        Number.isNaN(ratio) ? "" : `${ratio.toFixed(2)} x`,
        formatNumber(median(rates)),
        formatNumber(Math.min(...rates)),
        formatNumber(Math.max(...rates)),
        ...(notes ? [note ?? ""] : [])
      ])
    ),
    ""
  ].join("\n")
}

/** A target with its result. */
export interface Target {
  readonly subject: string
  readonly wanted: string
  readonly figure: string
  readonly reached: boolean
}

/** The targets as Markdown. */
export const targetsToMarkdown = (targets: ReadonlyArray<Target>): string =>
  [
    "## Targets",
    "",
    row(["case", "at least", "figure", ""]),
    row(["---", "---", "---", "---"]),
    ...targets.map(({ subject, wanted, figure, reached }) =>
      row([subject, wanted, figure, reached ? "reached" : "not reached"])
    ),
    ""
  ].join("\n")
