import { Layer } from "effect"
import * as Forgetting from "../forgetting/Forgetting.ts"
import * as KeyVault from "../forgetting/KeyVault.ts"
import * as MemoryStorage from "../memory/MemoryStorage.ts"

/** The storage of tests that name none: in memory, and sealing, so that events may have personal fields. */
export const layer: typeof MemoryStorage.layer = Forgetting.layer.pipe(
  Layer.provide(KeyVault.layerMemory),
  Layer.provideMerge(MemoryStorage.layer)
)
