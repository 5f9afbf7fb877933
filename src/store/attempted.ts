/** Counts the attempts of a command, and notes its outcome in its span. */
import { type Context, Effect, Exit } from "effect"
import { counting } from "../telemetry/series.ts"
import { annotate, type Spanned } from "../telemetry/spanned.ts"
import { attribute, decideRetries } from "../telemetry/Telemetry.ts"
import { isAppended } from "./storeMeasures.ts"

const countRetry = counting(decideRetries)

/** Runs a command with a `decide` that counts its calls. */
export const attempted = <State, D, A, E, R>(
  services: Context.Context<never>,
  span: Spanned,
  aggregate: string,
  decide: (state: State) => D,
  run: (decide: (state: State) => D) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => {
  let attempts = 0
  const running = run((state) => {
    if (++attempts > 1) countRetry(services, aggregate)
    return decide(state)
  })
  if (span === undefined) return running
  return Effect.onExit(running, (exit) => {
    annotate(span, { [attribute.attempts]: attempts })
    const outcome: unknown = Exit.isSuccess(exit) ? exit.value : undefined
    if (isAppended(outcome))
      annotate(span, {
        [attribute.events]: outcome.events.length,
        [attribute.replayed]: outcome.replayed ? true : undefined
      })
    return Effect.void
  })
}
