/** Merges pages of several storages into one. */
import { Effect } from "effect"
import type { Page } from "../driver/EventStorage.ts"

/** A page with the placement of its storage. */
export interface Source<Row> {
  readonly placement: string
  readonly value: Page<Row>
}

/** A merge of rows from several storages. */
export interface Merge<Row, Cursor, E, R> {
  readonly start: Cursor
  /** Maximum number of rows, at least 1. */
  readonly limit: number
  /** Reads one page of each storage, after the cursor. */
  readonly read: (after: Cursor) => Effect.Effect<ReadonlyArray<Source<Row>>, E, R>
  readonly cursorOf: (row: Row) => Cursor
  /** The order of rows in every storage and in the result. Of several equal rows, one is kept. */
  readonly compare: (one: Row, other: Row) => number
  /** Selects rows if several storages have rows of one tenant. Called once per page. */
  readonly keep: (rows: ReadonlyArray<Placed<Row>>) => Effect.Effect<(row: Placed<Row>) => boolean, E, R>
}

/** A row with the placement of its storage. */
export interface Placed<Row> {
  readonly row: Row
  readonly placement: string
}

/**
 * The next rows of all storages, in order.
 *
 * **Details**
 *
 * A storage whose page is not complete may have more rows after the last one. So all rows that sort after that row are left to
 * the next page.
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
