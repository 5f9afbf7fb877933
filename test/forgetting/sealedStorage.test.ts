/** A storage that seals is a storage: the contracts hold on it over memory, while everything is sealed. Over a database: in the
 * long run. */
import { Layer } from "effect"
import { MemoryStorage } from "effect-eventsourcing"
import { EventStorageSuite, SnapshotStorageSuite } from "effect-eventsourcing/testing"
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
