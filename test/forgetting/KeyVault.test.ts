import { KeyVault } from "effect-eventsourcing"
import { KeyVaultSuite } from "effect-eventsourcing/testing"

KeyVaultSuite.suite({ name: "memory", layer: KeyVault.layerMemory })
