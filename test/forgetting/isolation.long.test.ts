/** Tenants are as isolated on a storage that seals over a database, while everything is sealed. Over memory: isolation.test.ts. */
import { Layer } from "effect"
import { EventStorageSuite, SnapshotStorageSuite, TenantIsolationSuite } from "effect-eventsourcing/testing"
import { everySqlBackend } from "../support/backends.ts"
import { sealedLayer } from "../support/sealed.ts"

for (const { layer, name } of everySqlBackend) {
  const sealed = sealedLayer.pipe(Layer.provideMerge(layer))
  TenantIsolationSuite.suite({
    name: `sealed ${name}`,
    storage: sealed,
    projections: sealed,
    snapshots: sealed,
    administration: sealed
  })
}

// The servers have them in sealedStorage.server.long.test.ts.
for (const { layer, name } of everySqlBackend.slice(0, 1)) {
  EventStorageSuite.suite({ name: `sealed ${name}`, layer: Layer.provide(sealedLayer, layer) })
  SnapshotStorageSuite.suite({
    name: `sealed snapshots on ${name}`,
    layer: Layer.provide(sealedLayer, layer)
  })
}
