import { type Context, Effect } from "effect"

/**
 * Runs an effect in a span of its own if there is a tracer. Without one nobody would see the span, and creating it takes
 * longer than most of the work inside it.
 *
 * `run` gets all services at once, because asking for each of them would take more time.
 */
export const spanned = <A, E, R>(
  name: string,
  run: (services: Context.Context<never>) => Effect.Effect<A, E, R>,
  attributes?: Readonly<Record<string, string>>
): Effect.Effect<A, E, R> =>
  Effect.withFiber(({ cache, context }) =>
    cache.tracer === undefined
      ? run(context)
      : Effect.withSpan(
          Effect.withFiber((inSpan) => run(inSpan.context)),
          name,
          { attributes }
        )
  )
