/**
 * The vault of the keys under which personal fields are sealed. Destroying the keys of a person is the way in which events that
 * never change forget that person.
 *
 * **Details**
 *
 * Keys have three levels. A *data key* seals the fields of one person of one tenant, and has versions. It is kept wrapped by a
 * *wrapping key* of the tenant, which is kept wrapped by the *root key*: a key from the configuration, or one of a key management
 * service. A copy of the vault is therefore worth nothing without the root key.
 *
 * Keep the vault apart from the events. A backup of the events must not contain the keys, because restoring it would bring back
 * everybody who was forgotten since; and a vault with the events would be restored, lost and read along with them.
 *
 * The vault also records *fences*: one for each time a person was forgotten. A restored backup of the events does not have the newest
 * ones, and the vault tells it.
 */
import { Effect, Layer } from "effect"
import { layerCrypto } from "./cipher.ts"
import { KeyVault } from "./keyVaultContract.ts"
import { memoryRecords } from "./memoryRecords.ts"
import { randomRoot } from "./rootKey.ts"
import { makeVault } from "./vault.ts"

export { KeyVault } from "./keyVaultContract.ts"
export type { DataKey, Fence, Purpose } from "./keyVaultContract.ts"

/**
 * A vault in memory, with a root key of its own: for tests and examples. When the program ends, everything that was sealed is lost.
 */
export const layerMemory: Layer.Layer<KeyVault> = Layer.effect(
  KeyVault,
  Effect.suspend(() => makeVault({ records: memoryRecords(), root: randomRoot }))
).pipe(Layer.provide(layerCrypto))
