/** Measures of the calls of an event store, and the spans of those that read or import. */
import { Cause, Context, Effect, Exit } from "effect"
import type * as Aggregate from "../domain/Aggregate.ts"
import type * as Event from "../domain/Event.ts"
import type { CurrentTenant } from "../domain/Tenant.ts"
import type { EventPlace } from "../driver/EventStorage.ts"
import { QuotaExceeded, TenantRefused } from "../driver/StoreError.ts"
import { counting, timing } from "../telemetry/series.ts"
import { annotate, databaseOf, type Spanned, spanned } from "../telemetry/spanned.ts"
import {
  appendDuration,
  appendedEvents,
  attribute,
  loadedEvents,
  MeasuredCalls,
  quotaRefusals
} from "../telemetry/Telemetry.ts"
import type { Folded, FoldError, FoldRequest } from "./fold.ts"
import type { Imported } from "./importEvents.ts"

/** The outcome of an append to one stream, or of a command. */
interface Appended {
  readonly events: ReadonlyArray<unknown>
  readonly replayed: boolean
}

export const isAppended = (value: unknown): value is Appended =>
  typeof value === "object" && value !== null && "replayed" in value && "events" in value

const quotaOf = (exit: Exit.Exit<unknown, unknown>): string | undefined => {
  if (Exit.isSuccess(exit)) return undefined
  const error = Cause.squash(exit.cause)
  return error instanceof TenantRefused && error.reason instanceof QuotaExceeded
    ? error.reason.quota
    : undefined
}

const time = timing(appendDuration)
const countEvents = counting(appendedEvents)
const countQuota = counting(quotaRefusals, "quota")

const record = (
  services: Context.Context<never>,
  name: string,
  start: bigint,
  exit: Exit.Exit<unknown, unknown>
): void => {
  time(services, name, start, exit)
  const quota = quotaOf(exit)
  if (quota !== undefined) countQuota(services, quota)
}

const count = (services: Context.Context<never>, aggregate: string, appended: unknown): void => {
  if (isAppended(appended) && !appended.replayed && appended.events.length > 0)
    countEvents(services, aggregate, undefined, appended.events.length)
}

/** Records an append to one stream. */
export const recordAppend = (
  services: Context.Context<never>,
  aggregate: string,
  start: bigint,
  exit: Exit.Exit<unknown, unknown>
): void => {
  record(services, aggregate, start, exit)
  if (Exit.isSuccess(exit)) count(services, aggregate, exit.value)
}

/** Returns a function that records an append to several streams. */
export const recordingAll =
  (streams: ReadonlyArray<{ readonly aggregate: Aggregate.Any }>): typeof recordAppend =>
  (services, types, start, exit) => {
    record(services, types, start, exit)
    if (Exit.isSuccess(exit) && Array.isArray(exit.value))
      for (const [index, { aggregate }] of streams.entries())
        count(services, aggregate.type, exit.value[index])
  }

/** The types of some aggregates in order, each once: they are declared, so there are few combinations. */
export const typesOf = (
  streams: ReadonlyArray<{ readonly aggregate: { readonly type: string } }>
): string => {
  const [only, ...more] = streams
  if (only !== undefined && more.length === 0) return only.aggregate.type
  return [...new Set(streams.map(({ aggregate }) => aggregate.type))].toSorted().join(", ")
}

/** Notes in a span that the events had been appended before. */
export const notingReplay = <A, E, R>(
  span: Spanned,
  append: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  span === undefined
    ? append
    : Effect.map(append, (result) => {
        const first: unknown = Array.isArray(result) ? result[0] : result
        if (isAppended(first) && first.replayed) annotate(span, { [attribute.replayed]: true })
        return result
      })

type Fold = <
  Type extends string,
  State,
  Payload extends Event.Tagged,
  Id,
  Confirm extends EventPlace | undefined = undefined
>(
  request: FoldRequest<Type, State, Payload, Id, Confirm>
) => Effect.Effect<Folded<State>, FoldError<Confirm>, CurrentTenant>

const countLoaded = counting(loadedEvents)

/** Folds in spans, and counts the events if the program measures calls. */
export const measuredFold =
  (fold: Fold): Fold =>
  (request) => {
    const { aggregate, from } = request
    return spanned(
      "fold",
      aggregate.type,
      (services, span) => {
        const isMeasured = Context.get(services, MeasuredCalls)
        if (span === undefined && !isMeasured) return fold(request)
        return Effect.map(fold(request), (folded) => {
          const events = folded.version - (from?.version ?? 0)
          if (isMeasured && events > 0) countLoaded(services, aggregate.type, undefined, events)
          annotate(span, { [attribute.events]: events })
          return folded
        })
      },
      { attributes: databaseOf("fold", aggregate.type) }
    )
  }

/** An import of events in a span. */
export const measuredImport = <E, R>(run: Effect.Effect<Imported, E, R>): Effect.Effect<Imported, E, R> =>
  spanned("import", undefined, (_services, span) =>
    Effect.map(run, (imported) => {
      annotate(span, { [attribute.events]: imported.appended })
      return imported
    })
  )
