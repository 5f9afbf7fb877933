/** The time in whole milliseconds, as in events. After a jittered delay a test clock stands at a fraction of one. */
import { Clock, Context, Effect } from "effect"

export const wholeMillis = (services: Context.Context<never>): number =>
  Math.floor(Context.get(services, Clock.Clock).currentTimeMillisUnsafe())

export const currentMillis: Effect.Effect<number> = Effect.withFiber(({ context }) =>
  Effect.succeed(wholeMillis(context))
)
