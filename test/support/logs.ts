import { Effect, Logger, References } from "effect"

/** Runs an effect. Returns the level and the message of each of its log entries, in turn. */
export const logged = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<ReadonlyArray<unknown>, E, R> =>
  Effect.suspend(() => {
    const entries: Array<unknown> = []
    return effect.pipe(
      Effect.provideService(
        References.CurrentLoggers,
        new Set([Logger.make(({ logLevel, message }) => entries.push(logLevel, message))])
      ),
      Effect.as(entries)
    )
  })
