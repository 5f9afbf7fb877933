/** The time in whole milliseconds, as events have it: a test clock stands between them after a jittered delay. */
import { Clock, Context, Effect } from "effect"

export const wholeMillis = (services: Context.Context<never>): number =>
  Math.floor(Context.get(services, Clock.Clock).currentTimeMillisUnsafe())

export const currentMillis: Effect.Effect<number> = Effect.withFiber(({ context }) =>
  Effect.succeed(wholeMillis(context))
)
