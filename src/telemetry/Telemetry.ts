/**
 * The names of everything that the library measures and traces: spans, their attributes, and metrics. Dashboards, alerts and tests
 * are written on these names, and docs/telemetry.md lists them.
 *
 * **Details**
 *
 * Spans are made only if a program provides a tracer (`OtlpTracer.layer`, or another one than Effect's default), and not below a
 * span that is not sampled. Calls are measured if the program asks for it ({@link layerMeasured}); all other metrics are
 * always counted. Durations are in seconds. Neither a payload, an aggregate's id, a command
 * key, a tag nor a subject is in any of them, and a tenant is in a metric only if the program asks for it
 * ({@link MeasuredTenants}).
 */
import { Context, Effect, Layer, Metric, Tracer } from "effect"
import type { TenantId } from "../domain/Tenant.ts"
import { type MetricDescription, type MetricName, metrics } from "./names.ts"
import { sampledTracer } from "./sampling.ts"

export { attribute, metrics, skippedSpanEvent, spans } from "./names.ts"
export type {
  AttributeKey,
  MetricDescription,
  MetricName,
  Operation,
  SpanDescription,
  Unit
} from "./names.ts"

/**
 * Tenants that have series of their own in metrics, with the attribute `tenant.id`: `append.*`, `load.*`, `execute.*`, `decide.*`,
 * `remembered.*` but the gauges, `joined.*` and `quota.refusals`. All tenants are in the series without that attribute. Default: none, because each
 * tenant multiplies the series.
 *
 * **Example**
 *
 * ```ts
 * const Measured = Layer.succeed(Telemetry.MeasuredTenants, new Set([largestCustomer]))
 * ```
 */
export const MeasuredTenants: Context.Reference<ReadonlySet<TenantId>> = Context.Reference<
  ReadonlySet<TenantId>
>("effect-eventsourcing/MeasuredTenants", { defaultValue: () => new Set() })

/**
 * True if calls are measured: `append.duration`, `append.events`, `load.*`, `execute.duration`, `decide.duration` and
 * `quota.refusals`. Default: false, because measuring takes a part of the time of an append in memory. {@link layerMeasured} turns it
 * on. All other metrics are always counted.
 */
export const MeasuredCalls: Context.Reference<boolean> = Context.Reference<boolean>(
  "effect-eventsourcing/MeasuredCalls",
  { defaultValue: () => false }
)

/**
 * Measures calls ({@link MeasuredCalls}).
 *
 * **Example**
 *
 * ```ts
 * const Observed = Telemetry.layerMeasured.pipe(Layer.merge(OtlpMetrics.layer({ url })))
 * ```
 */
export const layerMeasured: Layer.Layer<never> = Layer.succeed(MeasuredCalls, true)

/**
 * Samples the traces of the tracer below: this share of them is recorded, decided at the root. A span with a parent, also one of
 * another process, is recorded if its parent is. The library makes no span
 * in a trace that is not recorded.
 *
 * **Example**
 *
 * ```ts
 * const Tracing = Telemetry.layerSampled(0.01).pipe(Layer.provideMerge(OtlpTracer.layer({ url })))
 * ```
 *
 * @param ratio From 0 to 1. Throws a `RangeError` otherwise.
 */
export const layerSampled = (ratio: number): Layer.Layer<never> => {
  if (!(ratio >= 0 && ratio <= 1)) throw new RangeError("the ratio of sampled traces must be from 0 to 1")
  return Layer.effect(
    Tracer.Tracer,
    Effect.map(Tracer.Tracer, (tracer) => sampledTracer(tracer, ratio))
  )
}

/**
 * The name of a metric with its unit and the `_total` of counters, as the exporters of OpenTelemetry make it for Prometheus. The
 * dashboard and the alerts in docs/telemetry use these names. Names of other metrics are returned unchanged.
 *
 * **Example**
 *
 * ```ts
 * PrometheusMetrics.layerHttp({ metricNameMapper: Telemetry.prometheusName })
 * ```
 */
export const prometheusName = (name: string): string => {
  const found: MetricDescription | undefined = isKnown(name) ? metrics[name] : undefined
  if (found === undefined) return name
  const unit = found.unit === "seconds" || found.unit === "bytes" ? `_${found.unit}` : ""
  return `${name}${unit}${found.type === "counter" ? "_total" : ""}`
}

const isKnown = (name: string): name is MetricName => Object.hasOwn(metrics, name)

type NameOf<Type extends MetricDescription["type"]> = {
  [Name in MetricName]: (typeof metrics)[Name]["type"] extends Type ? Name : never
}[MetricName]

const optionsOf = (name: MetricName) => ({
  description: metrics[name].description,
  // OTLP exporters take the unit from here, and that of Prometheus leaves it out.
  attributes: { unit: metrics[name].unit }
})

const counter = (name: NameOf<"counter">): Metric.Counter<number> =>
  Metric.counter(name, { ...optionsOf(name), incremental: true })

const gauge = (name: NameOf<"gauge">): Metric.Gauge<number> => Metric.gauge(name, optionsOf(name))

/** From a tenth of a millisecond, for states in memory, to ten seconds, after which most callers have given up. */
const durations = [
  0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10
] as const

/** From seconds, which a relay takes at most, to a day, for a broker that is down. */
const ages = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14_400, 86_400] as const

/** Up to 10,000, the most that a transaction of a projection handles. */
const sizes = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000] as const

const histogram = (name: NameOf<"histogram">, boundaries: ReadonlyArray<number>): Metric.Histogram<number> =>
  Metric.histogram(name, { ...optionsOf(name), boundaries })

/** Duration of appends in seconds, by `aggregate` (several types with commas), and by `error.type` if they fail. */
export const appendDuration: Metric.Histogram<number> = histogram("eventsourcing.append.duration", durations)

/** Counts the events that were appended, by `aggregate`. Events that existed before do not count. */
export const appendedEvents: Metric.Counter<number> = counter("eventsourcing.append.events")

/** Duration of `Repository.load`, `loadOrInitial` and `Decisions.read` in seconds, by `aggregate` and `error.type`. */
export const loadDuration: Metric.Histogram<number> = histogram("eventsourcing.load.duration", durations)

/** Counts the events that loads and commands read to fold them, by `aggregate`. Many for each load: snapshots help. */
export const loadedEvents: Metric.Counter<number> = counter("eventsourcing.load.events")

/** Duration of `Repository.execute` in seconds, by `aggregate` and `error.type`, which may be that of a refusal of `decide`. */
export const executeDuration: Metric.Histogram<number> = histogram(
  "eventsourcing.execute.duration",
  durations
)

/** Duration of `Decisions.execute` in seconds, by `aggregate` (those of the query, with commas) and `error.type`. */
export const decideDuration: Metric.Histogram<number> = histogram("eventsourcing.decide.duration", durations)

/**
 * Counts the calls of `decide` after the first one of the same command, by `aggregate`: another append came first, a remembered
 * state was out of date, or a command that was decided before it failed.
 */
export const decideRetries: Metric.Counter<number> = counter("eventsourcing.decide.retries")

/** Counts the appends that a quota refused, by `quota`: the name of the limit. */
export const quotaRefusals: Metric.Counter<number> = counter("eventsourcing.quota.refusals")

/**
 * Counts the events that were passed over, by `aggregate`, `event` and `reason`, for aggregates that are read tolerantly
 * (`Aggregate.tolerant`).
 */
export const skippedEvents: Metric.Counter<number> = counter("eventsourcing.events.skipped")

/** Counts the personal fields that were read as forgotten: their subject was forgotten, or the key is missing. */
export const forgottenOpened: Metric.Counter<number> = counter("eventsourcing.forgotten.opened")

/** Counts the commands and loads that found a remembered state, by `aggregate`. */
export const rememberedHits: Metric.Counter<number> = counter("eventsourcing.remembered.hits")

/**
 * Counts the commands and loads that found no remembered state, by `aggregate` and `reason`: `absent` (there is none), `fresh`
 * (the caller wants the store's), `inTransaction` (in a transaction of the program the memory is not used), `forgotten` (a
 * person was forgotten since the state was read).
 */
export const rememberedMisses: Metric.Counter<number> = counter("eventsourcing.remembered.misses")

/**
 * Counts the remembered states that were dropped, by `aggregate` and `reason`: `entries` (too many states), `bytes` (too much
 * weight), `tooLarge` (a state above a mebibyte), `otherHistory` (the stream has another event there), `snapshot` (another
 * process has stored a newer snapshot), `forgotten` (a person was forgotten since the state was read).
 */
export const rememberedEvictions: Metric.Counter<number> = counter("eventsourcing.remembered.evictions")

/**
 * Counts the remembered states that were not the newest ones when the store was asked, by `aggregate`: another process has
 * appended meanwhile, or the log has another history.
 */
export const rememberedOutdated: Metric.Counter<number> = counter("eventsourcing.remembered.outdated")

/** Number of the states that the repositories of the process remember. */
export const rememberedEntries: Metric.Gauge<number> = gauge("eventsourcing.remembered.entries")

/** Weight of these states: the payloads that were folded into them, in characters of JSON. */
export const rememberedSize: Metric.Gauge<number> = gauge("eventsourcing.remembered.size")

/**
 * Counts the appends with the events of several commands that were decided together, by `aggregate` (`decision model` for those
 * of `Decisions`).
 */
export const joinedAppends: Metric.Counter<number> = counter("eventsourcing.joined.appends")

/**
 * Counts the commands that were decided together with others and appended with them, by `aggregate` (`decision model` for
 * decisions of `Decisions`).
 */
export const joinedCommands: Metric.Counter<number> = counter("eventsourcing.joined.commands")

/** Counts the loads that started from a snapshot, by `aggregate`. */
export const snapshotHits: Metric.Counter<number> = counter("eventsourcing.snapshot.hits")

/**
 * Counts the loads that found no usable snapshot and folded all events, by `aggregate` and `reason`: `absent` (there is none),
 * `stateVersion` (of another state version), `dependencies` (of another state schema, initial value or set of events),
 * `corrupt` (altered or undecodable), `ahead` (beyond the end of the stream), `otherHistory` (the stream has another event at
 * that version), `unavailable` (the storage failed).
 */
export const snapshotMisses: Metric.Counter<number> = counter("eventsourcing.snapshot.misses")

/** Counts the snapshots taken, by `aggregate`. */
export const snapshotsTaken: Metric.Counter<number> = counter("eventsourcing.snapshot.taken")

/**
 * Counts the snapshots that were due but not taken, by `aggregate` and `reason`: `notStorable` (the state cannot be stored as
 * JSON), `tooLarge`, `overflow` (too many are waiting), `outdated` (there is a newer one), `unavailable` (the storage failed),
 * `policy` (the policy threw).
 */
export const snapshotsNotTaken: Metric.Counter<number> = counter("eventsourcing.snapshot.not_taken")

/** Counts the events that projections have handled, by `projection` and `version`. Rebuilds count too. */
export const projectionEvents: Metric.Counter<number> = counter("eventsourcing.projection.events")

/**
 * Counts the failures of handlers, by `projection`, `version` and `kind`: `handler`, `storage` or `schema`
 * (docs/operating-projections.md).
 */
export const projectionFailures: Metric.Counter<number> = counter("eventsourcing.projection.failures")

/** Duration of the transactions in which projections handle events, in seconds, by `projection` and `version`. */
export const projectionDuration: Metric.Histogram<number> = histogram(
  "eventsourcing.projection.duration",
  durations
)

/** Number of the events that were handled in one transaction, by `projection` and `version`. */
export const projectionBatch: Metric.Histogram<number> = histogram("eventsourcing.projection.batch", sizes)

/**
 * Events that are not yet in the read models of all tenants, by `projection` and `version`. Those of parked tenants count.
 *
 * **Details**
 *
 * This gauge and the four below are measured at every `sweepInterval` of a `ProjectionRunner`. Each process that runs the
 * projection reports the same numbers: take the largest, not the sum.
 */
export const projectionPending: Metric.Gauge<number> = gauge("eventsourcing.projection.pending")

/** Seconds since the oldest {@link projectionPending} event was recorded, by `projection` and `version`; 0 if there is none. */
export const projectionOldestPending: Metric.Gauge<number> = gauge("eventsourcing.projection.oldest_pending")

/** Tenants for which the projection, or a rebuild of it, is parked, by `projection` and `version`. */
export const projectionParked: Metric.Gauge<number> = gauge("eventsourcing.projection.parked")

/** Dead letters of the live read models, over all tenants, by `projection` and `version`. */
export const projectionDeadLetters: Metric.Gauge<number> = gauge("eventsourcing.projection.dead_letters")

/** Seconds since the oldest {@link projectionDeadLetters} event failed for good, by `projection` and `version`; 0 if there is none. */
export const projectionOldestDeadLetter: Metric.Gauge<number> = gauge(
  "eventsourcing.projection.oldest_dead_letter"
)

/** Counts the messages that relays have sent, by `relay`. */
export const outboxMessages: Metric.Counter<number> = counter("eventsourcing.outbox.messages")

/**
 * Seconds from the time at which an event was recorded until its message was sent, by `relay`: of the oldest one of each batch.
 * While nothing can be sent, {@link projectionOldestPending} of the relay grows instead.
 */
export const outboxAge: Metric.Histogram<number> = histogram("eventsourcing.outbox.age", ages)
