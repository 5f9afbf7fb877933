/** The looks of operators in memory, in one place and in several. Databases have the contract in the long run. */
import { Layer } from "effect"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import * as RoutedStorage from "../../src/routed/RoutedStorage.ts"
import * as TenantDirectory from "../../src/routed/TenantDirectory.ts"
import * as OperationsSuite from "../../src/testing/OperationsSuite.ts"
import { byHash } from "../support/placements.ts"

OperationsSuite.suite({ name: "memory", layer: MemoryStorage.layer })

const placements = ["one", "two", "three"]

OperationsSuite.suite({
  name: "memory, in three places",
  layer: RoutedStorage.layerWith({
    storage: () => MemoryStorage.layerWith({}),
    idleTimeToLive: Infinity
  }).pipe(Layer.provide(TenantDirectory.layerWith({ placements, placementOf: byHash(placements) })))
})
