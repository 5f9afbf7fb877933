/** Starts and watches rebuilds. The runners do the work, and all state is in storage. */
import { Duration, Effect, Option, Stream } from "effect"
import { CannotRebuild, RebuildParked } from "./ProjectionError.ts"
import {
  type Progress,
  type ProjectionKey,
  type ProjectionStorage,
  RebuildRefused
} from "../driver/ProjectionStorage.ts"
import type { ReadError } from "../driver/StoreError.ts"
import type { TenantId } from "../domain/Tenant.ts"

/** The progress of rebuilds. */
export interface RebuildProgress {
  /** Number of positions that the rebuilds contain. */
  readonly done: number
  /** Number of all positions. It grows with the logs. */
  readonly total: number
  /** Number of tenants whose read model has not been swapped yet. */
  readonly tenants: number
}

/** Number of tenants that are polled or started at the same time. */
const concurrency = 8

const rebuildOf = (progress: ReadonlyArray<Progress>): Progress | undefined =>
  progress.find(({ rebuild }) => rebuild)

/** Starts rebuilds. One in progress continues, unless it is parked or must start over. */
export const start = (
  storage: ProjectionStorage["Service"],
  key: ProjectionKey & { readonly tables: ReadonlyArray<string> },
  tenants: ReadonlyArray<TenantId>,
  restart: boolean
): Effect.Effect<void, CannotRebuild | ReadError> =>
  Effect.forEach(
    tenants,
    Effect.fnUntraced(function* (tenantId) {
      const underWay = restart ? undefined : rebuildOf(yield* storage.progress({ ...key, tenantId }))
      if (underWay === undefined || underWay.parked) yield* storage.startRebuild({ ...key, tenantId })
    }),
    { concurrency, discard: true }
  ).pipe(refusedAsCannot)

/** Starts the rebuild of a read model that all tenants share. */
export const startShared = (
  storage: ProjectionStorage["Service"],
  request: Parameters<ProjectionStorage["Service"]["startSharedRebuild"]>[0]
): Effect.Effect<void, CannotRebuild | ReadError> => storage.startSharedRebuild(request).pipe(refusedAsCannot)

const refusedAsCannot = <A, E, R>(
  effect: Effect.Effect<A, E | RebuildRefused, R>
): Effect.Effect<A, E | CannotRebuild, R> =>
  Effect.catchIf(
    effect,
    (error): error is RebuildRefused => error instanceof RebuildRefused,
    ({ problem, projection, version }) =>
      Effect.fail(new CannotRebuild({ projection, version, reason: problem }))
  )

interface Watch {
  /** The progress of each unfinished tenant at the last poll. */
  readonly pending: ReadonlyMap<TenantId, Progress | undefined>
  /** Number of positions of the finished tenants. */
  readonly finished: number
  readonly last: RebuildProgress | undefined
  /** Milliseconds until the next poll. */
  readonly delay: number
}

const shortest = 50
const longest = 1000

/** Emits the progress of rebuilds when it changes, until all are finished. */
export const watch = (
  storage: ProjectionStorage["Service"],
  key: ProjectionKey,
  tenants: ReadonlyArray<TenantId>
): Stream.Stream<RebuildProgress, RebuildParked | ReadError> => {
  const look = (watched: Watch) =>
    Effect.gen(function* () {
      if (watched.last !== undefined) yield* Effect.sleep(Duration.millis(watched.delay))
      const [elapsed, looks] = yield* Effect.timed(
        Effect.forEach(
          watched.pending,
          ([tenantId, before]) =>
            Effect.map(storage.progress({ ...key, tenantId }), (progress) => ({
              tenantId,
              before,
              now: rebuildOf(progress),
              head: progress[0]?.head ?? 0
            })),
          { concurrency }
        )
      )
      const pending = new Map<TenantId, Progress | undefined>()
      let { finished } = watched
      let [done, total] = [0, 0]
      for (const { tenantId, before, now, head } of looks) {
        if (now === undefined) {
          finished += before?.head ?? head
        } else {
          pending.set(tenantId, now)
          done += now.position
          total += Math.max(now.head, now.position)
        }
      }
      const progress = { done: finished + done, total: finished + total, tenants: pending.size }
      const changed = !same(progress, watched.last)
      const cost = Duration.toMillis(elapsed)
      const delay = changed ? shortest : Math.min(watched.delay * 2, longest)
      return {
        progress: changed ? [progress] : [],
        state: { pending, finished, last: progress, delay: Math.max(delay, cost) }
      }
    })

  return Stream.paginate<Watch, RebuildProgress, RebuildParked | ReadError>(
    {
      pending: new Map(tenants.map((tenantId) => [tenantId, undefined])),
      finished: 0,
      last: undefined,
      delay: shortest
    },
    Effect.fnUntraced(function* (watched: Watch) {
      if (watched.last !== undefined && isStuck(watched)) return yield* failure(key, watched.pending)
      const { progress, state } = yield* look(watched)
      return [progress, state.pending.size === 0 ? Option.none() : Option.some(state)] as const
    })
  )
}

const same = (one: RebuildProgress, other: RebuildProgress | undefined): boolean =>
  one.done === other?.done && one.total === other.total && one.tenants === other.tenants

/** True if only parked rebuilds are left; one is enough if tenants share the read model. */
const isStuck = ({ pending }: Watch): boolean => {
  const all = [...pending.values()]
  return all.some((progress) => progress?.shared === true && progress.parked) || all.every(isParked)
}

const isParked = (progress: Progress | undefined): boolean => progress?.parked === true

const failure = (key: ProjectionKey, pending: Watch["pending"]) => {
  const parked = [...pending].filter(([, one]) => isParked(one))
  const [first] = parked
  const progress = first?.[1]
  return Effect.fail(
    new RebuildParked({
      tenantId: first?.[0] ?? "",
      projection: key.projection,
      version: key.version,
      position: progress?.position ?? 0,
      failedPosition: progress?.failedPosition ?? null,
      error: progress?.error ?? null,
      tenants: parked.length
    })
  )
}
