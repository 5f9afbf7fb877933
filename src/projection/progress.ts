/** The progress of read models, and waiting for a position. */
import { Clock, Duration, Effect } from "effect"
import type { EventStorage } from "../driver/EventStorage.ts"
import { ProjectionBehind, ProjectionParked, type ReadModelState } from "./ProjectionError.ts"
import type {
  FailureKind,
  Progress,
  ProjectionStorage,
  TenantProjection
} from "../driver/ProjectionStorage.ts"
import { type ReadError, StorageUnavailable, OtherFailure } from "../driver/StoreError.ts"
import type { TenantId } from "../domain/Tenant.ts"
import * as Hints from "./hints.ts"

/** The storages from which progress is read. */
export interface Storages {
  readonly events: EventStorage["Service"]
  readonly projections: ProjectionStorage["Service"]
}

/** The last failure. */
export interface Failure {
  /** The position of the event that failed. */
  readonly position: number
  /** Number of failures of the handler at it since the projection was last resumed. */
  readonly attempts: number
  /** A summary without payload, with the remedy if one is known. `ProjectionManager.failures` has the cause. */
  readonly error: string
  /**
   * `"handler"`: retried on the projection's `retry` schedule. `"storage"`: retried until the storage is available.
   * `"schema"`: retried for the runner's `schemaWait`; then parked, and retried every hour and when a process starts.
   */
  readonly kind: FailureKind
}

/** The progress of a rebuild. */
export interface Rebuild {
  /** Number of positions that the rebuild contains. */
  readonly done: number
  /** Number of all positions: the head of the log. */
  readonly total: number
  /** True if it has stopped because an event failed in it. */
  readonly parked: boolean
  readonly failure: Failure | undefined
}

/** The status of a projection for a tenant. */
export interface Status {
  readonly projection: string
  readonly version: number
  readonly tenantId: TenantId
  readonly state: ReadModelState
  /** The last position that the read model contains; 0 if none. */
  readonly position: number
  /** The last position of the tenant's log. */
  readonly head: number
  /** Number of events in the log after that position, including those without a handler. */
  readonly lagEvents: number
  /** Age of the oldest of them; zero if there is none. */
  readonly lagTime: Duration.Duration
  /** The last failure; undefined once its event has been handled. */
  readonly failure: Failure | undefined
  /** The rebuild in progress. */
  readonly rebuild: Rebuild | undefined
}

const failureOf = ({ failedPosition, attempts, error, failureKind }: Progress): Failure | undefined =>
  failedPosition === undefined
    ? undefined
    : { position: failedPosition, attempts, error: error ?? "", kind: failureKind ?? "handler" }

const stateOf = (parked: boolean, rebuilding: boolean, lag: number): ReadModelState => {
  if (parked) return "parked"
  if (rebuilding) return "rebuilding"
  return lag > 0 ? "catchingUp" : "live"
}

export const status = (
  { events, projections }: Storages,
  key: TenantProjection
): Effect.Effect<Status, ReadError> =>
  Effect.gen(function* () {
    const rows = yield* projections.progress(key)
    const live = rows.find(({ rebuild }) => !rebuild)
    const rebuild = rows.find((row) => row.rebuild)
    const head = rows[0]?.head ?? (yield* events.head({ tenantId: key.tenantId })).position
    const position = live?.position ?? 0
    const lagEvents = Math.max(0, head - position)
    const oldest =
      live !== undefined || head === 0 ? live?.oldestUnprocessed : yield* firstRecorded(events, key.tenantId)
    const now = yield* Clock.currentTimeMillis
    return {
      ...key,
      state: stateOf(live?.parked ?? false, rebuild !== undefined, lagEvents),
      position,
      head,
      lagEvents,
      // The clock of the recorded times may be ahead of this one.
      lagTime: Duration.millis(oldest === undefined ? 0 : Math.max(0, now - oldest)),
      failure: live && failureOf(live),
      rebuild: rebuild && {
        done: rebuild.position,
        total: Math.max(rebuild.head, rebuild.position),
        parked: rebuild.parked,
        failure: failureOf(rebuild)
      }
    }
  })

const firstRecorded = (events: EventStorage["Service"], tenantId: TenantId) =>
  Effect.map(
    events.readLog({
      tenantId,
      fromPosition: 1,
      toPosition: 1,
      recordedFrom: undefined,
      recordedBefore: undefined,
      aggregateTypes: undefined,
      eventTypes: undefined,
      direction: "forwards",
      limit: 1
    }),
    ({ rows }) => rows[0]?.recordedAt
  )

/** The first and the longest wait between two polls, in milliseconds. */
const shortest = 5
const longest = 250

/** Returns when the live read model contains a position. */
export const awaitPosition = (
  storages: Storages,
  key: TenantProjection,
  wanted: number,
  timeout: Duration.Input
): Effect.Effect<void, ProjectionBehind | ProjectionParked | ReadError> =>
  Effect.suspend(() => {
    let seen: Status | undefined

    const look = Effect.gen(function* () {
      seen = yield* status(storages, key)
      const { position, head, state, failure } = seen
      if (position >= wanted) return true
      if (state !== "parked") return false
      return yield* new ProjectionParked({
        ...key,
        wanted,
        position,
        head,
        failedPosition: failure?.position ?? null,
        error: failure?.error ?? null
      })
    })

    const lookAgain = Effect.gen(function* () {
      const wait = yield* Hints.listen(storages.events.changes)
      let atMost = shortest
      do {
        // A hint means new events in some log; if in this one, the projection follows a little later.
        yield* wait({ atLeast: atMost / 4, atMost })
        atMost = Math.min(atMost * 2, longest)
      } while (!(yield* look))
    }).pipe(Effect.scoped)

    const tooLate = Effect.suspend((): Effect.Effect<never, ProjectionBehind | StorageUnavailable> => {
      if (seen === undefined) {
        const operation = "read the progress of a projection"
        return Effect.fail(
          new StorageUnavailable({ reason: new OtherFailure({ operation, retryable: true, code: null }) })
        )
      }
      const { position, head, state, failure } = seen
      return Effect.fail(
        new ProjectionBehind({ ...key, wanted, position, head, state, error: failure?.error ?? null })
      )
    })

    return Effect.flatMap(look, (contained) => (contained ? Effect.void : lookAgain)).pipe(
      Effect.timeoutOrElse({ duration: timeout, orElse: () => tooLate })
    )
  })
