/** A storage that seals is a storage: the contracts hold on it over a database, while everything is sealed. */
import { Layer } from "effect"
import { EventStorageSuite, SnapshotStorageSuite } from "effect-eventsourcing/testing"
import { serverBackends } from "../support/backends.ts"
import { sealedLayer } from "../support/sealed.ts"

for (const { layer, name } of serverBackends) {
  EventStorageSuite.suite({ name: `sealed ${name}`, layer: Layer.provide(sealedLayer, layer) })
  SnapshotStorageSuite.suite({
    name: `sealed snapshots on ${name}`,
    layer: Layer.provide(sealedLayer, layer)
  })
}
