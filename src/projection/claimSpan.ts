/** The span of the work on a claim, and its measures. */
import { Cause, type Context, Effect, Exit, Metric } from "effect"
import type * as ProjectionStorage from "../driver/ProjectionStorage.ts"
import { secondsSince } from "../telemetry/series.ts"
import { annotate, type Attributes, messagingOf, spanned } from "../telemetry/spanned.ts"
import {
  attribute,
  projectionBatch,
  projectionDeadLetters,
  projectionDuration,
  projectionEvents,
  projectionOldestDeadLetter,
  projectionOldestPending,
  projectionParked,
  projectionPending
} from "../telemetry/Telemetry.ts"
import { HandlerFailed, StatementFailed } from "./claimFailures.ts"
import { CurrentWork, type Work } from "./currentWork.ts"
import { toError } from "./maskedCause.ts"
import type * as Projection from "./Projection.ts"

/** The failure of a handler, without values of events. */
const maskedError = ({ cause, type }: NonNullable<Work["failed"]>): Error =>
  Object.assign(toError(cause), { _tag: type })

/** The exit that a span shows: a failure that was recorded for a later attempt is one too. */
const shownExit = (work: Work, exit: Exit.Exit<unknown, unknown>): Exit.Exit<unknown, unknown> => {
  if (Exit.isSuccess(exit)) return work.failed === undefined ? exit : Exit.fail(maskedError(work.failed))
  const error = Cause.squash(exit.cause)
  if (error instanceof HandlerFailed) return Exit.fail(maskedError(error.failed))
  return error instanceof StatementFailed ? Exit.fail(error.error) : exit
}

/** Runs the work on a claim in a span that begins a trace: those of its events are linked to it. */
export const inClaimSpan = <E, R>(
  projection: Projection.Any,
  claim: ProjectionStorage.Claim,
  run: Effect.Effect<number, E, R>
): Effect.Effect<number, E, R> => {
  const operation = projection.kind === "reaction" ? "react" : "process"
  const work: Work = { span: undefined, failed: undefined }
  return spanned(
    operation,
    projection.name,
    (_services, span) => {
      if (span === undefined) return run
      work.span = span
      annotate(span, attributesOf(operation, projection, claim))
      return Effect.map(Effect.provideService(run, CurrentWork, work), (events) => {
        annotate(span, { [attribute.messageCount]: events })
        return events
      })
    },
    { root: true, shown: (exit) => shownExit(work, exit) }
  )
}

const attributesOf = (
  operation: "react" | "process",
  projection: Projection.Any,
  { rebuild, tenantId }: ProjectionStorage.Claim
): Attributes => ({
  [attribute.tenantId]: tenantId,
  ...messagingOf(operation, projection),
  [attribute.rebuild]: operation === "process" && rebuild ? true : undefined
})

/** The series of a projection. */
const seriesOf = ({ name, version }: { readonly name: string; readonly version: number }) => {
  const attributes = { projection: name, version: String(version) }
  return {
    events: Metric.withAttributes(projectionEvents, attributes),
    duration: Metric.withAttributes(projectionDuration, attributes),
    batch: Metric.withAttributes(projectionBatch, attributes)
  }
}

/** Returns a function that records a transaction in which events were handled. */
export const makeRecordWork = () => {
  const known = new Map<Projection.Any, ReturnType<typeof seriesOf>>()
  return (
    services: Context.Context<never>,
    projection: Projection.Any,
    start: bigint,
    handled: number
  ): void => {
    if (handled === 0) return
    let series = known.get(projection)
    if (series === undefined) known.set(projection, (series = seriesOf(projection)))
    series.events.updateUnsafe(handled, services)
    series.duration.updateUnsafe(secondsSince(services, start), services)
    series.batch.updateUnsafe(handled, services)
  }
}

/** Sets the gauges of a projection. */
export const recordBacklog = (
  services: Context.Context<never>,
  {
    deadLetters,
    oldestAge,
    oldestDeadLetter,
    parked,
    pending,
    projection,
    version
  }: ProjectionStorage.Backlog
): void => {
  const attributes = { projection, version: String(version) }
  const set = (gauge: Metric.Gauge<number>, value: number): void =>
    Metric.withAttributes(gauge, attributes).updateUnsafe(value, services)
  set(projectionPending, pending)
  set(projectionOldestPending, oldestAge / 1000)
  set(projectionParked, parked)
  set(projectionDeadLetters, deadLetters)
  set(projectionOldestDeadLetter, oldestDeadLetter / 1000)
}
