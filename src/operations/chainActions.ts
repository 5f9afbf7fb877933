/** Verification of hash chains. */
import { Effect } from "effect"
import { CurrentTenant, type TenantId } from "../domain/Tenant.ts"
import { EventStorage } from "../driver/EventStorage.ts"
import type { StorageUnavailable } from "../driver/StoreError.ts"
import * as Event from "../domain/Event.ts"
import * as HashChain from "../store/HashChain.ts"
import { listTenants } from "../store/crossTenant.ts"
import type { Plain, Verify } from "./Acts.ts"
import { ActionFailed } from "./Acts.ts"
import { type Recorder, reporting, type Running, type Step, type Summary } from "./recorded.ts"

const anchorOf = (anchor: Verify["anchor"]): HashChain.Anchor | undefined =>
  anchor && {
    position: anchor.position,
    hash: anchor.hash,
    ...(anchor.eventId === undefined ? undefined : { eventId: Event.EventId.make(anchor.eventId) })
  }

const verified = ({ events, from, head }: HashChain.Verified): Summary => ({
  changed: false,
  counts: { tenants: 1, events },
  details: { from, head: head === undefined ? null : { ...head } }
})

export const make = (events: EventStorage["Service"], recorder: Recorder) => {
  const verify = (
    tenantId: TenantId,
    { anchor, from }: Verify,
    onProgress: NonNullable<HashChain.VerifyOptions["onProgress"]> = () => Effect.void
  ) =>
    HashChain.verify({ anchor: anchorOf(anchor), from, onProgress }).pipe(
      Effect.provideService(EventStorage, events),
      Effect.provideService(CurrentTenant, tenantId)
    )

  /** Number of events that a verification would prove; undefined without a chain. */
  const measure = Effect.fnUntraced(function* (tenantId: TenantId, from: number = 1) {
    const started = yield* events.hashChainStart(tenantId)
    if (started === undefined) return undefined
    const { position } = yield* events.head({ tenantId })
    return Math.max(0, position + 1 - Math.max(started, from))
  })

  const verifyOne = (request: Verify) =>
    recorder.stepsAt({ action: "verify", request }, ({ dryRun, tenantId }) =>
      reporting((report) =>
        Effect.gen(function* () {
          const last = (summary: Summary): Step => {
            const done = summary.counts?.events ?? 0
            return { step: "verified", unit: "events", done, total: done, summary }
          }
          if (!dryRun)
            return last(
              verified(
                yield* verify(tenantId, request, ({ end, position }) =>
                  report({ step: "verifying", unit: "events", done: position, total: end })
                )
              )
            )
          const counted = yield* measure(tenantId, request.from)
          if (counted === undefined) return yield* new HashChain.NoHashChain({ tenantId })
          return last({ changed: false, counts: { tenants: 1, events: counted } })
        })
      )
    )

  const chained = (
    running: Running
  ): Effect.Effect<
    ReadonlyArray<{ readonly tenantId: TenantId; readonly events: number }>,
    StorageUnavailable
  > =>
    Effect.map(
      Effect.flatMap(listTenants(events, running.accessId), (tenants) =>
        Effect.forEach(
          tenants,
          ({ tenantId }) => Effect.map(measure(tenantId), (counted) => ({ tenantId, events: counted })),
          { concurrency: 8 }
        )
      ),
      (all) =>
        all.flatMap(({ events: counted, tenantId }) =>
          counted === undefined ? [] : [{ tenantId, events: counted }]
        )
    )

  const verifyAll = (request: Plain) =>
    recorder.stepsOfAll({ action: "verifyAll", request }, (running) =>
      reporting((report) =>
        Effect.gen(function* () {
          const tenants = yield* chained(running)
          const counts = {
            tenants: tenants.length,
            events: tenants.reduce((sum, one) => sum + one.events, 0)
          }
          const broken: Array<string> = []
          for (const [index, { tenantId }] of running.dryRun ? [] : tenants.entries()) {
            const one = Effect.map(verify(tenantId, {}), verified)
            yield* recorder
              .partOf(running, { action: "verify", request: {} }, tenantId, one)
              .pipe(
                Effect.catchTag(["ActionFailed", "ActionRefused"], ({ problem }) =>
                  Effect.sync(() => broken.push(problem))
                )
              )
            yield* report({ step: "verifying", unit: "tenants", done: index + 1, total: tenants.length })
          }
          if (broken.length > 0)
            return yield* new ActionFailed({
              action: running.action,
              accessId: running.accessId,
              error: "HashChainBroken",
              problem: `${broken.length} of ${tenants.length} chains are not as they were appended: ${broken.slice(0, 3).join("; ")}`
            })
          return {
            step: "verified",
            unit: "tenants",
            done: tenants.length,
            total: tenants.length,
            summary: { changed: false, counts }
          } satisfies Step
        })
      )
    )

  return {
    verify: (request: Verify = {}) => verifyOne(request),
    verifyAll: (request: Plain = {}) => verifyAll(request)
  }
}
