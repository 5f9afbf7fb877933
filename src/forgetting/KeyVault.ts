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
import { type Config, Effect, type FileSystem, Layer } from "effect"
import { layerCrypto } from "./cipher.ts"
import { fileRecords } from "./fileRecords.ts"
import { KeyVault } from "./keyVaultContract.ts"
import { memoryRecords } from "./memoryRecords.ts"
import { openVault } from "./openVault.ts"
import { randomRoot, type Root } from "./rootKey.ts"
import { makeVault, type VaultOptions } from "./vault.ts"
import type { StorageUnavailable } from "../driver/StoreError.ts"

export { KeyVault } from "./keyVaultContract.ts"
export type { CarriedKey, DataKey, Fence, Purpose } from "./keyVaultContract.ts"
export type { Root, RootKey } from "./rootKey.ts"
export type { VaultOptions } from "./vault.ts"

/**
 * A vault in memory, with a root key of its own: for tests and examples. When the program ends, everything that was sealed is lost.
 */
export const layerMemory: Layer.Layer<KeyVault> = Layer.effect(
  KeyVault,
  Effect.suspend(() => makeVault({ records: memoryRecords(), root: randomRoot }))
).pipe(Layer.provide(layerCrypto))

/** Settings of {@link layerFile}. */
export interface FileOptions<E = never, R = never> extends VaultOptions {
  /** The path of the file. Its folder exists. */
  readonly path: string
  /**
   * The root key. Generate one with `openssl rand -base64 32`, and keep it where neither the file nor the events are: without it the
   * file is worth nothing, and with it everything can be read.
   */
  readonly key: Root<E, R>
  /**
   * True to create a missing file. Leave it out once something is sealed: a lost file is then an error, and no empty one is put in its
   * place. Default: false.
   */
  readonly createIfMissing?: boolean | undefined
}

/**
 * A vault in a file, which several processes of one machine may share.
 *
 * **Details**
 *
 * Back the file up after each change, apart from the events, and keep only the newest backup: an older one has keys that were destroyed
 * since. Keys are overwritten in place when they are destroyed. A file system that keeps former versions, such as one with
 * snapshots, keeps them until those end. A restored file lacks the newest fences; the storage of the events has them, and the first
 * use of a tenant in a process, or `Forgetting.catchUp`, forgets these persons in the vault again.
 *
 * A process that is killed leaves the file usable. A damaged, replaced or missing file is an error (`KeyVaultFailed`), and nothing is
 * written to it.
 *
 * **Gotchas**
 *
 * The whole file is read into memory, which takes about a kilobyte for each person: enough for some hundred thousand of them. Use a local
 * file system: on a network file system, lines of two machines can mix.
 *
 * **Example**
 *
 * ```ts
 * const Vault = KeyVault.layerFile({ path: "/var/lib/app/keys", key: Config.Redacted("VAULT_KEY") }).pipe(
 *   Layer.provide(NodeFileSystem.layer)
 * )
 * ```
 */
export const layerFile = <E = never, R = never>(
  options: FileOptions<E, R>
): Layer.Layer<KeyVault, Config.ConfigError | StorageUnavailable, FileSystem.FileSystem | R> =>
  openVault({
    key: options.key,
    options,
    place: options.path,
    createIfMissing: options.createIfMissing === true,
    records: (makeCheck) => fileRecords(options.path, makeCheck)
  })
