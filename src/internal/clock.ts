/** The time in whole milliseconds. After a jittered delay, a test clock is at a fraction of a millisecond. */
import { Clock, Context, Effect } from "effect"

export const wholeMillis = (services: Context.Context<never>): number =>
  Math.floor(Context.get(services, Clock.Clock).currentTimeMillisUnsafe())

export const currentMillis: Effect.Effect<number> = Effect.withFiber(({ context }) =>
  Effect.succeed(wholeMillis(context))
)
