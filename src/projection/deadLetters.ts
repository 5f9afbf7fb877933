/** Replays dead letters. */
import { Cause, Effect } from "effect"
import type * as Event from "../domain/Event.ts"
import * as EventContext from "../domain/EventContext.ts"
import type { Any } from "./Projection.ts"
import { ReplayFailed } from "./ProjectionError.ts"
import type { DeadLetter, TenantProjection } from "../driver/ProjectionStorage.ts"
import { repeatable } from "../driver/repeatable.ts"
import type { ReadError, StorageUnavailable } from "../driver/StoreError.ts"
import { mixedEnvelopes, reportSkipped } from "../store/decode.ts"
import { attribute } from "../telemetry/Telemetry.ts"
import { failed as describe } from "./handlerFailure.ts"
import { toError } from "./maskedCause.ts"
import type { Storages } from "./progress.ts"
import { storedTypes } from "../domain/storedTypes.ts"

const pageSize = 100

/** Settings of a replay of dead letters. */
export interface ReplayOptions {
  /** Replays the dead letters at these positions alone. Default: all of them. */
  readonly positions?: ReadonlyArray<number> | undefined
  /** Runs after each dead letter that was replayed, with its position. */
  readonly onReplayed?: ((position: number) => Effect.Effect<void>) | undefined
}

/**
 * Handles dead letters again, in order, each in a transaction that also removes it. Returns their number. `accessId` is the
 * recorded access of a projection across tenants.
 */
export const replay = (
  { events, projections: storage }: Storages,
  projection: Any,
  key: TenantProjection,
  accessId: string | undefined,
  { onReplayed, positions }: ReplayOptions
): Effect.Effect<number, ReplayFailed | ReadError, unknown> =>
  Effect.gen(function* () {
    const wanted = positions === undefined ? undefined : new Set(positions)
    const byType = new Map(projection.aggregates.map((aggregate) => [aggregate.type, aggregate]))
    let replayed = 0

    const failed = (position: number, error: string) =>
      new ReplayFailed({ ...key, position, error, replayed })

    const handle = (
      envelope: Event.Envelope<Event.Tagged>
    ): Effect.Effect<unknown, ReplayFailed | StorageUnavailable, unknown> =>
      Effect.suspend(() => projection.handleAll?.([envelope]) ?? projection.handle(envelope)).pipe(
        EventContext.whileHandling(envelope),
        // An interruption that arrives here is the handler's own; that of the caller passes it by.
        Effect.catchCause((cause) =>
          Effect.gen(function* () {
            const found = yield* describe(storage, envelope.position, cause, true, {
              events: [envelope],
              aggregates: projection.aggregates
            })
            yield* Effect.logWarning("A dead letter failed again", Cause.die(toError(found.cause))).pipe(
              Effect.annotateLogs({
                projection: key.projection,
                version: key.version,
                [attribute.tenantId]: key.tenantId,
                position: envelope.position,
                kind: found.kind
              })
            )
            return yield* found.kind === "storage" && found.unavailable !== undefined
              ? found.unavailable
              : failed(envelope.position, found.error)
          })
        )
      )

    const replayOne = Effect.fnUntraced(function* ({ position }: DeadLetter) {
      // The lock keeps workers and other replays out: handlers run one at a time.
      yield* storage.lockLive({
        ...key,
        rebuild: false,
        position: 0,
        head: 0,
        attempts: 0,
        failedPosition: undefined,
        error: undefined,
        failureKind: undefined,
        waited: 0,
        alone: false
      })
      const [letter] = yield* storage.deadLetters({ ...key, after: position - 1, limit: 1 })
      if (letter?.position !== position) return false
      const { rows } = yield* events.readLog({
        tenantId: key.tenantId,
        fromPosition: position,
        toPosition: position,
        recordedFrom: undefined,
        recordedBefore: undefined,
        aggregateTypes: [...byType.keys()],
        // An event without a handler needs no work.
        eventTypes: storedTypes(projection.aggregates, projection.eventTypes),
        direction: "forwards",
        limit: 1
      })
      const page = mixedEnvelopes(key.tenantId, byType, rows, new Set(projection.eventTypes))
      yield* reportSkipped(page)
      if (page.failure !== undefined) return yield* failed(position, page.failure.message)
      for (const envelope of page.events) yield* handle(envelope)
      return yield* storage.removeDeadLetter({ ...key, position, reason: undefined })
    })

    let after = 0
    while (true) {
      const letters = yield* storage.deadLetters({ ...key, after, limit: pageSize })
      if (letters.length === 0) return replayed
      for (const letter of letters) {
        after = letter.position
        if (wanted?.has(letter.position) === false) continue
        const replaying = storage.transaction(key.tenantId, replayOne(letter), accessId)
        // Committed dead letters are removed already.
        if (!(yield* repeatable("replay a dead letter", replaying))) continue
        replayed++
        yield* onReplayed?.(letter.position) ?? Effect.void
      }
    }
  })
