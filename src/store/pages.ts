import { Effect, Exit, Fiber, Option, Scope, Stream } from "effect"
import type { Page } from "../driver/EventStorage.ts"
import { type Decoded, reportSkipped } from "./decode.ts"

/**
 * Reads page by page, each in one round trip, up to the last page or the limit. The limit counts events; a row may be several
 * events, or none. Events before an undecodable one are emitted before the stream fails.
 *
 * **Details**
 *
 * A caller that wants a second page probably wants all. From then on, one page is read ahead while the one before it is decoded
 * and consumed. A caller that wants one page causes no second read.
 */
export const paged = <Row, More, Cursor, A, E, E2>(options: {
  readonly start: Cursor
  readonly pageSize: number
  readonly limit?: number | undefined
  readonly read: (cursor: Cursor, limit: number) => Effect.Effect<Page<Row> & More, E>
  readonly next: (last: Row) => Cursor
  readonly decode: (rows: ReadonlyArray<Row>, page: Page<Row> & More) => Decoded<A, E2>
  /** Read ahead from the first page on, for a caller that has read the page before it. Default: false. */
  readonly prefetchFirstPage?: boolean | undefined
  /** True when `read` itself reads ahead, so that no page is requested before it is wanted. Default: never. */
  readonly isReadAhead?: (() => boolean) | undefined
}): Stream.Stream<A, E | E2> => {
  interface State {
    readonly page: Effect.Effect<Page<Row> & More, E>
    readonly cursor: Cursor
    readonly left: number
    readonly failure: E2 | undefined
    readonly first: boolean
  }
  type Step = readonly [ReadonlyArray<A>, Option.Option<State>]

  const pageAt = (cursor: Cursor, left: number): Effect.Effect<Page<Row> & More, E> =>
    Effect.suspend(() => options.read(cursor, Math.min(options.pageSize, left)))

  const step =
    (readAhead: ReadAhead) =>
    (state: State): Effect.Effect<Step, E | E2> => {
      const { cursor, left, first } = state
      if (state.failure !== undefined) return Effect.fail(state.failure)
      if (left <= 0) return Effect.succeed([[], Option.none()])
      return Effect.flatMap(state.page, (page) => {
        const { rows, complete } = page
        const last = rows.at(-1)
        const next = last === undefined ? cursor : options.next(last)
        const isReadAhead = options.isReadAhead?.() === true
        // Without a limit all pages are wanted, so the next one is read while this one is decoded.
        const early = !first && !isReadAhead && left === Infinity && !complete && last !== undefined
        return Effect.flatMap(early ? readAhead(pageAt(next, left)) : Effect.undefined, (ahead) => {
          const decoded = options.decode(rows, page)
          const { failure } = decoded
          const events = decoded.events.length > left ? decoded.events.slice(0, left) : decoded.events
          const following = { cursor: next, left: left - events.length, failure, first: false }
          if (following.left <= 0 || (failure === undefined && (complete || last === undefined))) {
            return Effect.as(reportSkipped(decoded), [events, Option.none()])
          }
          const read = pageAt(next, following.left)
          const reading =
            ahead !== undefined || first || isReadAhead || failure !== undefined
              ? Effect.succeed(ahead ?? read)
              : readAhead(read)
          return Effect.andThen(
            reportSkipped(decoded),
            Effect.map(reading, (nextPage): Step => [events, Option.some({ ...following, page: nextPage })])
          )
        })
      })
    }

  return Stream.unwrap(
    Effect.map(makeReadAhead, (readAhead) =>
      Stream.paginate<State, A, E | E2>(
        {
          page: pageAt(options.start, options.limit ?? Infinity),
          cursor: options.start,
          left: options.limit ?? Infinity,
          failure: undefined,
          first: options.prefetchFirstPage !== true
        },
        step(readAhead)
      )
    )
  )
}

/** Starts reading a page and returns an effect that waits for it. */
type ReadAhead = <A, E>(read: Effect.Effect<A, E>) => Effect.Effect<Effect.Effect<A, E>>

/**
 * Reads ahead, one page at a time, in the scope of a stream. A stream that ends early still waits for the page that is being
 * read, because interrupting the statement would abort an open transaction of the consumer.
 */
const makeReadAhead: Effect.Effect<ReadAhead, never, Scope.Scope> = Effect.gen(function* () {
  let reading: Fiber.Fiber<unknown, unknown> | undefined
  yield* Scope.addFinalizerExit(yield* Effect.scope, (exit) => {
    if (reading === undefined) return Effect.void
    return Exit.hasInterrupts(exit) ? Fiber.interrupt(reading) : Effect.asVoid(Fiber.await(reading))
  })
  return (read) =>
    Effect.map(Effect.forkDetach(read, { startImmediately: true }), (fiber) => {
      reading = fiber
      return Fiber.join(fiber)
    }).pipe(Effect.uninterruptible)
})
