/** The snapshots of several storages as one driver. Each snapshot is stored in the same storage as its events. */
import { SnapshotStorage } from "../driver/SnapshotStorage.ts"
import { type Backend, type Router, unknownAsUnavailable } from "./router.ts"

/**
 * The tenant of an operation is that of its key, because snapshots that are taken in the background have no current tenant.
 */
export const make = <M extends Backend>(router: Router<M>): SnapshotStorage["Service"] =>
  SnapshotStorage.of({
    load: (key) =>
      unknownAsUnavailable("load a snapshot")(
        router.ofRegistered(key.tenantId, ({ snapshots }) => snapshots.load(key))
      ),
    save: (snapshot) =>
      unknownAsUnavailable("save a snapshot")(
        router.ofRegistered(snapshot.tenantId, ({ snapshots }) => snapshots.save(snapshot))
      ),
    remove: (key) =>
      unknownAsUnavailable("remove a snapshot")(
        router.ofRegistered(key.tenantId, ({ snapshots }) => snapshots.remove(key))
      )
  })
