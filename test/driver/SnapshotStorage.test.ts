import * as MemorySnapshotStorage from "../../src/memory/snapshots.ts"
import * as SnapshotStorageSuite from "../../src/testing/SnapshotStorageSuite.ts"

SnapshotStorageSuite.suite({ name: "memory", layer: MemorySnapshotStorage.layer })
