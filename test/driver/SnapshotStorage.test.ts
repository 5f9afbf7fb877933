import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import * as SnapshotStorageSuite from "../../src/testing/SnapshotStorageSuite.ts"

SnapshotStorageSuite.suite({ name: "memory", layer: MemoryStorage.layer })
