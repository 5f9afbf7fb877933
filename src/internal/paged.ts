import { Effect, Option, Stream } from "effect"
import type { Page } from "../EventStorage.ts"
import { type Decoded, reportSkipped } from "./decode.ts"

/**
 * Reads page by page, each in one round trip and decoded in one go, until the last page or the limit. If an event cannot
 * be decoded, those before it are still emitted. The limit is one of events: a row may be several, or none.
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
      return Effect.flatMap(options.read(cursor, size), ({ rows, complete }) => {
        const page = options.decode(rows)
        const last = rows.at(-1)
        const events = page.events.length > left ? page.events.slice(0, left) : page.events
        const more = events.length < left && (page.failure !== undefined || (!complete && last !== undefined))
        const step: Step = [
          events,
          more
            ? Option.some({
                cursor: last === undefined ? cursor : options.next(last),
                left: left - events.length,
                failure: page.failure
              })
            : Option.none()
        ]
        return Effect.as(reportSkipped(page), step)
      })
    }
  )
}
