/** Waiting until it is worth looking again: hints say so early, and without any of them time does. */
import { Duration, Effect, Option, Queue, type Scope, Stream } from "effect"

/** How long to wait. */
export interface Waiting {
  /** Milliseconds that are waited in any case: hints concern all tenants, so most of them are about others. */
  readonly atLeast: number
  /** Milliseconds after which it is worth looking without a hint. */
  readonly atMost: number
}

/** Waits. Returns whether a hint ended it. */
export type Wait = (waiting: Waiting) => Effect.Effect<boolean>

/** Listens while the scope is open. A hint that comes while nobody waits ends the next waiting. */
export const listen = (changes: Stream.Stream<void>): Effect.Effect<Wait, never, Scope.Scope> =>
  Effect.gen(function* () {
    const hinted = yield* Queue.sliding<void>(1)
    yield* changes.pipe(
      Stream.runForEach(() => Queue.offer(hinted, undefined)),
      // Listening has begun when this returns: what is looked at from then on is hinted at.
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
