/** Starts, watches and cancels rebuilds. The runners do the work, and all state is in storage. */
import { Duration, Effect, Option, Stream } from "effect"
import { CannotRebuild, RebuildCancelled, RebuildParked } from "./ProjectionError.ts"
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

/** Number of rebuilds that have replaced the live read model. */
const rebuiltOf = (progress: ReadonlyArray<Progress>): number =>
  progress.find(({ rebuild }) => !rebuild)?.rebuilt ?? 0

/** Rebuilds by tenant, each with the number of those before it; undefined if it is not known. */
export type Rebuilds = ReadonlyMap<TenantId, number | undefined>

/** The rebuilds in progress. */
export const underWay = (
  storage: ProjectionStorage["Service"],
  key: ProjectionKey,
  tenants: ReadonlyArray<TenantId>
): Effect.Effect<Rebuilds, ReadError> =>
  Effect.map(
    Effect.forEach(
      tenants,
      (tenantId) =>
        Effect.map(storage.progress({ ...key, tenantId }), (progress) =>
          rebuildOf(progress) === undefined ? [] : [[tenantId, rebuiltOf(progress)] as const]
        ),
      { concurrency }
    ),
    (found) => new Map(found.flat())
  )

/** Starts rebuilds. One in progress continues, unless it is parked or must start over. */
export const start = (
  storage: ProjectionStorage["Service"],
  key: ProjectionKey & { readonly tables: ReadonlyArray<string> },
  tenants: ReadonlyArray<TenantId>,
  restart: boolean
): Effect.Effect<Rebuilds, CannotRebuild | ReadError> =>
  Effect.forEach(
    tenants,
    Effect.fnUntraced(function* (tenantId) {
      const progress = yield* storage.progress({ ...key, tenantId })
      const found = restart ? undefined : rebuildOf(progress)
      if (found === undefined || found.parked) yield* storage.startRebuild({ ...key, tenantId })
      return [tenantId, rebuiltOf(progress)] as const
    }),
    { concurrency }
  ).pipe(
    Effect.map((started) => new Map(started)),
    refusedAsCannot
  )

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

interface Watched {
  readonly rebuilt: number | undefined
  /** The progress at the last poll. */
  readonly progress: Progress | undefined
}

interface Watch {
  readonly pending: ReadonlyMap<TenantId, Watched>
  /** Number of positions of the finished tenants. */
  readonly finished: number
  readonly cancelled: ReadonlyArray<TenantId>
  readonly last: RebuildProgress | undefined
  /** Milliseconds until the next poll. */
  readonly delay: number
}

const shortest = 50
const longest = 1000

/** Emits the progress of rebuilds when it changes, until all are finished, parked or cancelled. */
export const watch = (
  storage: ProjectionStorage["Service"],
  key: ProjectionKey,
  rebuilds: Rebuilds
): Stream.Stream<RebuildProgress, RebuildCancelled | RebuildParked | ReadError> => {
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
              rebuilt: rebuiltOf(progress),
              head: progress[0]?.head ?? 0
            })),
          { concurrency }
        )
      )
      const pending = new Map<TenantId, Watched>()
      const cancelled = [...watched.cancelled]
      let { finished } = watched
      let [done, total] = [0, 0]
      for (const { tenantId, before, now, rebuilt, head } of looks) {
        if (now !== undefined) {
          pending.set(tenantId, { rebuilt: before.rebuilt ?? rebuilt, progress: now })
          done += now.position
          total += Math.max(now.head, now.position)
        } else if (before.rebuilt === rebuilt) {
          cancelled.push(tenantId)
        } else {
          finished += before.progress?.head ?? head
        }
      }
      const left = pending.size + cancelled.length
      const progress = { done: finished + done, total: finished + total, tenants: left }
      const changed = !same(progress, watched.last)
      const cost = Duration.toMillis(elapsed)
      const delay = changed ? shortest : Math.min(watched.delay * 2, longest)
      return {
        progress: changed ? [progress] : [],
        state: { pending, cancelled, finished, last: progress, delay: Math.max(delay, cost) }
      }
    })

  return Stream.paginate<Watch, RebuildProgress, RebuildCancelled | RebuildParked | ReadError>(
    {
      pending: new Map(
        [...rebuilds].map(([tenantId, rebuilt]) => [tenantId, { rebuilt, progress: undefined }])
      ),
      cancelled: [],
      finished: 0,
      last: undefined,
      delay: shortest
    },
    Effect.fnUntraced(function* (watched: Watch) {
      if (watched.last !== undefined && isStuck(watched)) return yield* failure(key, watched)
      const { progress, state } = yield* look(watched)
      const isLast = state.pending.size === 0 && state.cancelled.length === 0
      return [progress, isLast ? Option.none() : Option.some(state)] as const
    })
  )
}

const same = (one: RebuildProgress, other: RebuildProgress | undefined): boolean =>
  one.done === other?.done && one.total === other.total && one.tenants === other.tenants

/** True if only parked or cancelled rebuilds are left; a parked one is enough if tenants share the read model. */
const isStuck = ({ pending }: Watch): boolean => {
  const all = [...pending.values()]
  return all.some(({ progress }) => progress?.shared === true && progress.parked) || all.every(isParked)
}

const isParked = ({ progress }: Watched): boolean => progress?.parked === true

const failure = (
  key: ProjectionKey,
  { cancelled, pending }: Watch
): Effect.Effect<never, RebuildCancelled | RebuildParked> => {
  const parked = [...pending].filter(([, one]) => isParked(one))
  const [first] = parked
  const { projection, version } = key
  if (first === undefined) {
    const [tenantId = ""] = cancelled
    return Effect.fail(new RebuildCancelled({ tenantId, projection, version, tenants: cancelled.length }))
  }
  const { progress } = first[1]
  return Effect.fail(
    new RebuildParked({
      tenantId: first[0],
      projection,
      version,
      position: progress?.position ?? 0,
      failedPosition: progress?.failedPosition ?? null,
      error: progress?.error ?? null,
      tenants: parked.length
    })
  )
}
