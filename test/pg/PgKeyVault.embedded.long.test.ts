/** The contract of key vaults in an embedded database. On servers: PgKeyVault.test.ts. */
import { KeyVaultSuite } from "effect-eventsourcing/testing"
import { vaultBackends } from "../support/vaultDatabases.ts"

for (const { layer, name } of vaultBackends.slice(0, 1))
  KeyVaultSuite.suite({ name: `in a database: ${name}`, layer })
