/** Switches of rebuilds of read models that all tenants share. They need no handler: any process may try one. */
import { Effect } from "effect"
import type * as Projection from "./Projection.ts"
import type { ProjectionStorage } from "../driver/ProjectionStorage.ts"
import type { StorageUnavailable } from "../driver/StoreError.ts"

export interface Switches {
  /** Somebody works on a rebuild of this projection. */
  readonly noticed: (projection: Projection.Any) => void
  /** Tries those of which this process knows that they are under way. Returns whether one was switched. */
  readonly tryNoticed: Effect.Effect<boolean, StorageUnavailable>
  /** Tries those of all projections across tenants. Returns whether one was switched. */
  readonly tryAll: Effect.Effect<boolean, StorageUnavailable>
}

/** Switches under the access that the runner uses at the moment; without one it runs no projection across tenants. */
export const make = (
  storage: ProjectionStorage["Service"],
  projections: ReadonlyArray<Projection.Any>,
  accessId: () => string | undefined
): Switches => {
  const across = projections.filter(({ kind, tables }) => kind === "acrossTenants" && tables.length > 0)
  const underWay = new Set<Projection.Any>()

  const trySwitch = (projection: Projection.Any) =>
    Effect.gen(function* () {
      const access = accessId()
      if (access === undefined) return false
      const { name, tables, version } = projection
      const key = { projection: name, version, tables, accessId: access }
      const outcome = yield* storage.switchSharedRebuild(key).pipe(
        Effect.catchTag("RebuildRefused", ({ problem }) =>
          Effect.logError(`A rebuild does not go on: ${problem}`).pipe(
            Effect.annotateLogs({ projection: name, version }),
            Effect.as("waiting" as const)
          )
        ),
        // A worker or a change of a table was in the way.
        Effect.catchIf(
          ({ reason }) => reason._tag === "TimedOut" || reason._tag === "Contended",
          () => Effect.succeed("waiting" as const)
        )
      )
      if (outcome === "waiting") underWay.add(projection)
      else underWay.delete(projection)
      return outcome === "switched"
    })

  const tryThese = (some: Iterable<Projection.Any>) =>
    Effect.map(Effect.forEach([...some], trySwitch), (switched) => switched.includes(true))

  return {
    noticed: (projection) => {
      if (projection.kind === "acrossTenants") underWay.add(projection)
    },
    tryNoticed: Effect.suspend(() => tryThese(underWay)),
    tryAll: tryThese(across)
  }
}
