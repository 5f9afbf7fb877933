/** Snapshots of tenants in several storages. Each is stored beside the events that it was folded from. */
import { SnapshotStorage } from "../driver/SnapshotStorage.ts"
import { type Backend, type Router, unknownAsUnavailable } from "./router.ts"

/**
 * The snapshots of all storages of a router. The tenant is taken from the key, because snapshots taken in the background
 * have no current tenant.
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
