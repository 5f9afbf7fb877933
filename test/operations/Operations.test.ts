import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import * as OperationsSuite from "../../src/testing/OperationsSuite.ts"

OperationsSuite.suite({ name: "memory", layer: MemoryStorage.layer })
