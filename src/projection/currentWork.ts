/** The work on a claim that is under way, for the functions inside it that know its events and failures. */
import { Context, Effect } from "effect"
import { annotate, linkTo, type Spanned } from "../telemetry/spanned.ts"
import { attribute } from "../telemetry/Telemetry.ts"
import type { FailureCause } from "../driver/ProjectionStorage.ts"

/** A failure, described without values of events. */
interface Failed {
  readonly type: string
  readonly cause: FailureCause
}

export interface Work {
  span: Spanned
  /** The failure that was recorded for a later attempt. */
  failed: Failed | undefined
}

export const CurrentWork: Context.Reference<Work | undefined> = Context.Reference<Work | undefined>(
  "effect-eventsourcing/CurrentWork",
  { defaultValue: () => undefined }
)

/** Links the span of the work to the traces of events, and notes the last position. */
export const noteEvents = (
  events: ReadonlyArray<{ readonly position: number; readonly traceparent: string | null }>
): Effect.Effect<void> =>
  Effect.map(CurrentWork, (work) => {
    if (work === undefined) return
    linkTo(work.span, events)
    annotate(work.span, { [attribute.position]: events.at(-1)?.position })
  })

export const noteFailure = (failed: Failed): Effect.Effect<void> =>
  Effect.map(CurrentWork, (work) => {
    if (work !== undefined) work.failed = failed
  })
