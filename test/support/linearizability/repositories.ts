/** The repositories whose histories are checked. */
import type { Layer, Schedule } from "effect"
import type { SnapshotStorage } from "../../../src/driver/SnapshotStorage.ts"
import * as SnapshotPolicy from "../../../src/domain/SnapshotPolicy.ts"
import type * as EventStore from "../../../src/store/EventStore.ts"
import * as Repository from "../../../src/store/Repository.ts"
import type { RepositorySettings } from "./plan.ts"

/** Makes repositories. */
export type RepositoryLayer = (
  settings: RepositorySettings,
  retry: Schedule.Schedule<unknown>
) => Layer.Layer<Repository.Repository, never, EventStore.EventStore | SnapshotStorage>

/** A repository like that of programs. */
export const repository: RepositoryLayer = ({ joins, remembers, reserves, snapshots }, retry) => {
  const options = {
    retry,
    join: joins && { reserve: reserves },
    ...(remembers ? {} : { remember: { entries: 0 } })
  }
  return snapshots
    ? Repository.layerWith({ ...options, snapshots: { policy: SnapshotPolicy.every(3), taken: "atOnce" } })
    : Repository.layerWith(options)
}
