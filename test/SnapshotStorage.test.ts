import * as MemorySnapshotStorage from "../src/MemorySnapshotStorage.ts"
import * as SnapshotStorageSuite from "../src/testing/SnapshotStorageSuite.ts"

SnapshotStorageSuite.suite({ name: "memory", layer: MemorySnapshotStorage.layer })
