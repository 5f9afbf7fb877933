import { Effect } from "effect"

/**
 * Runs an effect in a span of its own where there is a tracer. Where there is none, nobody would ever see the span, and
 * making it takes longer than most of what is done in it: then the effect runs in the span of its caller.
 */
export const spanned = <A, E, R>(name: string, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.withFiber(({ cache }) => (cache.tracer === undefined ? effect : Effect.withSpan(effect, name)))
