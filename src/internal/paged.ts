import { Effect, Option, Stream } from "effect"
import type { Page } from "../EventStorage.ts"
import type { Decoded } from "./decode.ts"

/**
 * Reads page by page, each in one round trip and decoded in one go, until the last page or the limit. If an event cannot
 * be decoded, those before it are still emitted.
 */
export const paged = <Row, Cursor, A, E, E2>(options: {
  readonly start: Cursor
  readonly pageSize: number
  readonly limit?: number | undefined
  readonly read: (cursor: Cursor, limit: number) => Effect.Effect<Page<Row>, E>
  readonly next: (last: Row) => Cursor
  readonly decode: (rows: ReadonlyArray<Row>) => Decoded<A, E2>
}): Stream.Stream<A, E | E2> => {
  interface State {
    readonly cursor: Cursor
    readonly left: number
    readonly failure: E2 | undefined
  }
  type Step = readonly [ReadonlyArray<A>, Option.Option<State>]
  return Stream.paginate<State, A, E | E2>(
    { cursor: options.start, left: options.limit ?? Infinity, failure: undefined },
    ({ cursor, left, failure }): Effect.Effect<Step, E | E2> => {
      if (failure !== undefined) return Effect.fail(failure)
      const size = Math.min(options.pageSize, left)
      if (size <= 0) return Effect.succeed([[], Option.none()])
      return Effect.map(options.read(cursor, size), ({ rows, complete }): Step => {
        const page = options.decode(rows)
        const last = rows.at(-1)
        const more = page.failure !== undefined || (!complete && last !== undefined)
        return [
          page.events,
          more
            ? Option.some({
                cursor: last === undefined ? cursor : options.next(last),
                left: left - rows.length,
                failure: page.failure
              })
            : Option.none()
        ]
      })
    }
  )
}
