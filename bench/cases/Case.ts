/** The interface of all cases. */
import type { Effort } from "../internal/measure.ts"
import type { Table, Target } from "../internal/report.ts"
import type { Server } from "../internal/server.ts"

/** The extent of a measurement. */
export interface Settings extends Effort {
  readonly server: Server
  /** The whole grid of concurrency, tenants, events and sizes. */
  readonly full: boolean
  /** Much less of everything, as a check that it works. */
  readonly quick: boolean
}

export interface Outcome {
  readonly tables: ReadonlyArray<Table>
  readonly targets: ReadonlyArray<Target>
}

export interface Case {
  readonly name: string
  readonly run: (settings: Settings) => Promise<Outcome>
}

/** The ratio of a line of a table to another one, or to the fastest of several. */
export const ratioOf = ({ lines }: Table, name: string, of: (name: string) => boolean): number => {
  const rate = (line: Table["lines"][number]): number => line.ratio
  const ours = lines.find((line) => line.name === name)
  const others = lines.filter((line) => of(line.name)).map(rate)
  return ours === undefined || others.length === 0 ? Number.NaN : rate(ours) / Math.max(...others)
}

/** A target that a ratio must reach. */
export const atLeast = (subject: string, wanted: number, of: string, ratio: number): Target => ({
  subject,
  wanted: `${wanted} x ${of}`,
  figure: Number.isNaN(ratio) ? "not measured" : `${ratio.toFixed(2)} x`,
  reached: ratio >= wanted
})

/** A target that a figure must stay under. */
export const under = (subject: string, limit: number, unit: string, figure: number): Target => ({
  subject,
  wanted: `under ${limit.toFixed(1)} ${unit}`,
  figure: Number.isNaN(figure) ? "not measured" : `${figure.toFixed(1)} ${unit}`,
  reached: figure < limit
})
