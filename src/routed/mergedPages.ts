/** Pages of several storages as one page. */
import { Effect } from "effect"
import type { Page } from "../driver/EventStorage.ts"

/** A page, and the placement of the storage that it is from. */
export interface Source<Row> {
  readonly placement: string
  readonly value: Page<Row>
}

/** How rows of several storages come together. */
export interface Merge<Row, Cursor, E, R> {
  readonly start: Cursor
  /** At most this many rows; 1 or more. */
  readonly limit: number
  /** One page of each storage, behind the cursor. */
  readonly read: (after: Cursor) => Effect.Effect<ReadonlyArray<Source<Row>>, E, R>
  readonly cursorOf: (row: Row) => Cursor
  /** The order of rows in every storage, and of the result. Rows that are equal are the same row: one of them is kept. */
  readonly compare: (one: Row, other: Row) => number
  /** Of rows that several storages have something of: which of them are to be kept. Asked once per page. */
  readonly keep: (rows: ReadonlyArray<Placed<Row>>) => Effect.Effect<(row: Placed<Row>) => boolean, E, R>
}

/** A row, and where it is from. */
export interface Placed<Row> {
  readonly row: Row
  readonly placement: string
}

/**
 * The next rows of all storages, in order.
 *
 * **Details**
 *
 * A storage whose page is not complete may have more rows behind the last one of it: what comes after that row in the
 * order of all is left to the next page.
 */
export const mergedPage = <Row, Cursor, E, R>(
  merge: Merge<Row, Cursor, E, R>
): Effect.Effect<Page<Row>, E, R> => {
  const { compare, cursorOf, keep, limit, read } = merge
  const from = (after: Cursor): Effect.Effect<Page<Row>, E, R> =>
    Effect.flatMap(read(after), (sources) => {
      const all: Array<Placed<Row>> = []
      /** The earliest of the last rows of pages that are not complete. */
      let horizon: Row | undefined
      for (const { placement, value } of sources) {
        for (const row of value.rows) all.push({ row, placement })
        const last = value.rows.at(-1)
        if (value.complete || last === undefined) continue
        if (horizon === undefined || compare(last, horizon) < 0) horizon = last
      }
      const end = horizon
      const within = (end === undefined ? all : all.filter(({ row }) => compare(row, end) <= 0)).toSorted(
        (one, other) => compare(one.row, other.row)
      )
      return Effect.flatMap(keep(within), (isKept) => {
        const rows: Array<Row> = []
        for (const placed of within) {
          const last = rows.at(-1)
          if (!isKept(placed) || (last !== undefined && compare(last, placed.row) === 0)) continue
          rows.push(placed.row)
        }
        if (rows.length === 0 && end !== undefined) return from(cursorOf(end))
        return Effect.succeed({
          rows: rows.slice(0, limit),
          complete: end === undefined && rows.length <= limit
        })
      })
    })
  return from(merge.start)
}
