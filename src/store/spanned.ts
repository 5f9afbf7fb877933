import { type Context, Effect } from "effect"

/**
 * Runs an effect in a span of its own if there is a tracer. Otherwise nobody would see the span, and creating it takes longer than
 * most work inside it, so the effect runs in the span of its caller.
 *
 * The effect is created from the services that it runs with, so that it need not ask for each of them.
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
