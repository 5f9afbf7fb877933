/** Moves of a tenant to another database. */
import { Duration, Effect } from "effect"
import type { MoveProgress, Moved, TenantMove } from "../lifecycle/TenantMove.ts"
import { MoveRefused } from "../lifecycle/TenantMove.ts"
import type { Move, Plain } from "./Acts.ts"
import { type Recorder, reporting, required, type RunningAt, type Step, type Summary } from "./recorded.ts"
import { administering } from "./tenantActions.ts"

const summaryOf = ({ events, from, pause, removed, to }: Moved): Summary => ({
  changed: true,
  counts: { tenants: 1, events },
  details: { from, to, removed, pauseMillis: pause === undefined ? null : Duration.toMillis(pause) }
})

const stepOf = ({ end, position, step }: MoveProgress): Omit<Step, "summary"> => ({
  step,
  unit: "events",
  done: position,
  total: end
})

const last = (summary: Summary): Step => {
  const events = summary.counts?.events ?? 0
  return { step: "moved", unit: "events", done: events, total: events, summary }
}

export const make = (moves: TenantMove["Service"] | undefined, recorder: Recorder) => {
  /** The unfinished move of the tenant. */
  const found = Effect.fnUntraced(function* (running: RunningAt) {
    const { tenantId } = running
    const service = yield* required(running, "TenantMove", moves)
    const status = yield* service.status(tenantId)
    if (status === undefined)
      return yield* new MoveRefused({ tenantId, reason: "noMove", problem: "no move of it is under way" })
    return { service, status }
  })

  return {
    move: (request: Move) =>
      recorder.stepsAt({ action: "move", request }, (running) =>
        reporting((report) =>
          Effect.gen(function* () {
            const { tenantId } = running
            const { to } = request
            const service = yield* required(running, "TenantMove", moves)
            if (running.dryRun) {
              const { events, from } = yield* service.check(tenantId, { to })
              return last({ changed: true, counts: { tenants: 1, events }, details: { from, to } })
            }
            const onProgress = (progress: MoveProgress) => report(stepOf(progress))
            return last(summaryOf(yield* service.start(tenantId, { to, onProgress })))
          }).pipe(administering(running))
        )
      ),
    resumeMove: (request: Plain = {}) =>
      recorder.stepsAt({ action: "resumeMove", request }, (running) =>
        reporting((report) =>
          Effect.gen(function* () {
            const { service, status } = yield* found(running)
            if (running.dryRun)
              return last({
                changed: true,
                counts: {
                  tenants: 1,
                  events: status.end === undefined ? null : Math.max(0, status.end - (status.copied ?? 0))
                },
                details: { from: status.from, to: status.to, step: status.step }
              })
            const onProgress = (progress: MoveProgress) => report(stepOf(progress))
            return last(summaryOf(yield* service.resume(running.tenantId, { onProgress })))
          }).pipe(administering(running))
        )
      ),
    abortMove: (request: Plain = {}) =>
      recorder.at({ action: "abortMove", request }, (running) =>
        Effect.gen(function* () {
          const { service, status } = yield* found(running)
          const { copied, from, step, to } = status
          if (step === "decided" || step === "removing")
            return yield* new MoveRefused({
              tenantId: running.tenantId,
              reason: "decided",
              problem: `the move to ${to} is decided: to go back, move it again`
            })
          if (!running.dryRun) yield* service.abort(running.tenantId)
          return { changed: true, counts: { tenants: 1, events: copied ?? 0 }, details: { from, to, step } }
        }).pipe(administering(running))
      )
  }
}
