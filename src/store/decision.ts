/** What decisions have in common, whatever they are made on: what they fail with and require, and when they are made again. */
import { type Effect, type Result, Schedule } from "effect"

/** What a decision may fail with. */
export type ErrorOf<D> =
  D extends Result.Result<infer _A, infer E>
    ? E
    : D extends Effect.Effect<infer _A, infer E, infer _R>
      ? E
      : never

/** What a decision requires. */
export type RequirementsOf<D> = D extends Effect.Effect<infer _A, infer _E, infer R> ? R : never

/** A few times at once, then after growing delays, bounded. */
export const defaultRetry: Schedule.Schedule<unknown> = Schedule.concat(
  Schedule.recurs(4),
  Schedule.min([Schedule.exponential("5 millis"), Schedule.spaced("250 millis")]).pipe(
    Schedule.jittered,
    Schedule.upTo({ times: 16 })
  )
)
