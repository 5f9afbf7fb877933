/** Series of metrics on hot paths. */
import { Cause, Clock, Context, Exit, Metric } from "effect"
import { CurrentTenant, type TenantId } from "../domain/Tenant.ts"
import { errorType } from "./errorType.ts"
import { MeasuredTenants } from "./Telemetry.ts"

type Attributes = Record<string, string>

/** The series of one metric by up to two attributes. Each is made once, because that takes longer than to update it. */
class Series<Input, State> {
  readonly #metric: Metric.Metric<Input, State>
  readonly #first: string
  readonly #second: string
  readonly #made = new Map<string, Map<string | undefined, Metric.Metric<Input, State>>>()

  constructor(metric: Metric.Metric<Input, State>, first: string, second: string) {
    this.#metric = metric
    this.#first = first
    this.#second = second
  }

  update(services: Context.Context<never>, input: Input, first: string, second?: string): void {
    let bySecond = this.#made.get(first)
    if (bySecond === undefined)
      this.#made.set(first, (bySecond = new Map<string | undefined, Metric.Metric<Input, State>>()))
    let found = bySecond.get(second)
    if (found === undefined) {
      const attributes: Attributes = { [this.#first]: first }
      if (second !== undefined) attributes[this.#second] = second
      bySecond.set(second, (found = Metric.withAttributes(this.#metric, attributes)))
    }
    found.updateUnsafe(input, services)
  }
}

/** Updates the series of all tenants, and that of the current one if it is to have one. */
const updating = <Input, State>(metric: Metric.Metric<Input, State>, first: string, second: string) => {
  const all = new Series(metric, first, second)
  const byTenant = new Map<TenantId, Series<Input, State>>()
  return (services: Context.Context<never>, input: Input, value: string, other?: string): void => {
    all.update(services, input, value, other)
    const measured = Context.get(services, MeasuredTenants)
    if (measured.size === 0) return
    const tenantId = Context.getOrUndefined(services, CurrentTenant)
    if (tenantId === undefined || !measured.has(tenantId)) return
    let own = byTenant.get(tenantId)
    if (own === undefined) {
      const ofTenant = Metric.withAttributes(metric, { "tenant.id": tenantId })
      byTenant.set(tenantId, (own = new Series(ofTenant, first, second)))
    }
    own.update(services, input, value, other)
  }
}

/** Returns a function that counts by an attribute, and a reason. */
export const counting = <Reason extends string = never>(
  metric: Metric.Counter<number>,
  by = "aggregate"
): ((services: Context.Context<never>, value: string, reason?: Reason, amount?: number) => void) => {
  const update = updating(metric, by, "reason")
  return (services, value, reason, amount = 1) => update(services, amount, value, reason)
}

/** A time of the clock, from which {@link timing} counts. */
export const startOf = (services: Context.Context<never>): bigint =>
  Context.get(services, Clock.Clock).monotonicTimeNanosUnsafe()

export const secondsSince = (services: Context.Context<never>, start: bigint): number =>
  Number(startOf(services) - start) / 1e9

/** Returns a function that records the seconds since a start by aggregate, and by the error if it is one. */
export const timing = (
  metric: Metric.Histogram<number>
): ((
  services: Context.Context<never>,
  aggregate: string,
  start: bigint,
  exit: Exit.Exit<unknown, unknown>
) => void) => {
  const update = updating(metric, "aggregate", "error.type")
  return (services, aggregate, start, exit) => {
    // An interruption says nothing of the duration.
    if (Exit.isSuccess(exit)) update(services, secondsSince(services, start), aggregate)
    else if (!Cause.hasInterruptsOnly(exit.cause))
      update(services, secondsSince(services, start), aggregate, errorType(Cause.squash(exit.cause)))
  }
}
