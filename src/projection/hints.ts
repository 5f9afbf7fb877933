/** Waits until the next poll is due: after a hint, or after the poll interval. */
import { Duration, Effect, Option, Queue, type Scope, Stream } from "effect"

/** Limits of a wait. */
export interface Waiting {
  /** Minimum wait in milliseconds, because hints concern all tenants and most are about others. */
  readonly atLeast: number
  /** Maximum wait in milliseconds, without a hint. */
  readonly atMost: number
}

/** Waits. Returns true if a hint ended it. */
export type Wait = (waiting: Waiting) => Effect.Effect<boolean>

/** Listens while the scope is open. A hint that arrives while nobody waits ends the next wait. */
export const listen = (changes: Stream.Stream<void>): Effect.Effect<Wait, never, Scope.Scope> =>
  Effect.gen(function* () {
    const hinted = yield* Queue.sliding<void>(1)
    yield* changes.pipe(
      Stream.runForEach(() => Queue.offer(hinted, undefined)),
      // Listening has started when this returns, so later events are announced.
      Effect.forkScoped({ startImmediately: true })
    )
    return ({ atLeast, atMost }) => {
      const hint = Effect.map(
        Effect.timeoutOption(Queue.take(hinted), Duration.millis(Math.max(0, atMost - atLeast))),
        Option.isSome
      )
      return atLeast <= 0 ? hint : Effect.andThen(Effect.sleep(Duration.millis(atLeast)), hint)
    }
  })
