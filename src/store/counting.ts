/** Counters of commands and states, by aggregate. */
import { type Context, Metric } from "effect"

/** Returns a function that counts by aggregate and reason. The metric of each pair is made once, because that takes longer than counting. */
export const counting = <Reason extends string = never>(
  metric: Metric.Counter<number>
): ((services: Context.Context<never>, aggregate: string, reason?: Reason, amount?: number) => void) => {
  const byAttributes = new Map<string, Map<Reason | undefined, Metric.Counter<number>>>()
  return (services, aggregate, reason, amount = 1) => {
    const byReason = byAttributes.get(aggregate) ?? new Map<Reason | undefined, Metric.Counter<number>>()
    byAttributes.set(aggregate, byReason)
    let found = byReason.get(reason)
    if (found === undefined) {
      found = Metric.withAttributes(metric, reason === undefined ? { aggregate } : { aggregate, reason })
      byReason.set(reason, found)
    }
    found.updateUnsafe(amount, services)
  }
}
