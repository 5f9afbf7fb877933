import { type Context, Effect } from "effect"

/**
 * Runs an effect in a span of its own where there is a tracer. Where there is none, nobody would ever see the span, and
 * making it takes longer than most of what is done in it: then the effect runs in the span of its caller.
 *
 * The effect is made of the services that it runs with, so that it need not ask for each of them.
 */
export const spanned = <A, E>(
  name: string,
  run: (services: Context.Context<never>) => Effect.Effect<A, E>
): Effect.Effect<A, E> =>
  Effect.withFiber(({ cache, context }) =>
    cache.tracer === undefined
      ? run(context)
      : Effect.withSpan(
          Effect.withFiber((inSpan) => run(inSpan.context)),
          name
        )
  )
