/** Switches of rebuilds of read models that all tenants share. They need no handler: any process may try one. */
import { Effect } from "effect"
import type * as Projection from "./Projection.ts"
import type { ProjectionStorage } from "../driver/ProjectionStorage.ts"
import type { StorageUnavailable } from "../driver/StoreError.ts"

export interface Switches {
  /** Records that a rebuild of a projection is in progress. */
  readonly noticed: (projection: Projection.Any) => void
  /** Tries to switch the rebuilds that this process knows. Returns true if one was switched. */
  readonly tryNoticed: Effect.Effect<boolean, StorageUnavailable>
  /** Tries to switch the rebuilds of all projections across tenants. Returns true if one was switched. */
  readonly tryAll: Effect.Effect<boolean, StorageUnavailable>
}

/** Switches under the runner's present access; a runner without one has no projections across tenants. */
export const make = (
  storage: ProjectionStorage["Service"],
  projections: ReadonlyArray<Projection.Any>,
  accessId: () => string | undefined
): Switches => {
  const across = projections.filter(({ kind, tables }) => kind === "acrossTenants" && tables.length > 0)
  const inProgress = new Set<Projection.Any>()

  const trySwitch = (projection: Projection.Any) =>
    Effect.gen(function* () {
      const access = accessId()
      if (access === undefined) return false
      const { name, tables, version } = projection
      const key = { projection: name, version, tables, accessId: access }
      const outcome = yield* storage.switchSharedRebuild(key).pipe(
        Effect.catchTag("RebuildRefused", ({ problem }) =>
          Effect.logError(`A rebuild cannot continue: ${problem}`).pipe(
            Effect.annotateLogs({ projection: name, version }),
            Effect.as("waiting" as const)
          )
        ),
        // A worker or a change of a table has locked the rows or tables.
        Effect.catchIf(
          ({ reason }) => reason._tag === "TimedOut" || reason._tag === "Contended",
          () => Effect.succeed("waiting" as const)
        )
      )
      if (outcome === "waiting") inProgress.add(projection)
      else inProgress.delete(projection)
      return outcome === "switched"
    })

  const tryThese = (some: Iterable<Projection.Any>) =>
    Effect.map(Effect.forEach([...some], trySwitch), (switched) => switched.includes(true))

  return {
    noticed: (projection) => {
      if (projection.kind === "acrossTenants") inProgress.add(projection)
    },
    tryNoticed: Effect.suspend(() => tryThese(inProgress)),
    tryAll: tryThese(across)
  }
}
