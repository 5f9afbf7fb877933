/** A storage that seals is a storage: the contracts hold on it, over memory and over a database, while everything is sealed. */
import { Layer } from "effect"
import { MemoryStorage } from "effect-eventsourcing"
import { EventStorageSuite, SnapshotStorageSuite } from "effect-eventsourcing/testing"
import { serverBackends } from "../support/backends.ts"
import { sealedLayer } from "../support/sealed.ts"

EventStorageSuite.suite({
  name: "sealed memory",
  layer: Layer.provide(sealedLayer, MemoryStorage.layer),
  layerWithoutProvisioning: Layer.provide(sealedLayer, MemoryStorage.layerWith({ provisionOnAppend: false }))
})

SnapshotStorageSuite.suite({
  name: "sealed snapshots in memory",
  layer: Layer.provide(sealedLayer, MemoryStorage.layer)
})

for (const { layer, name } of serverBackends) {
  EventStorageSuite.suite({ name: `sealed ${name}`, layer: Layer.provide(sealedLayer, layer) })
  SnapshotStorageSuite.suite({
    name: `sealed snapshots on ${name}`,
    layer: Layer.provide(sealedLayer, layer)
  })
}
