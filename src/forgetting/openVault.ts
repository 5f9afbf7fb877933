/** Opens a vault over the records of a file or a database. */
import { type Config, Effect, Layer, type Scope } from "effect"
import { layerCrypto } from "./cipher.ts"
import type { KeyRecords } from "./keyRecords.ts"
import { KeyVault } from "./keyVaultContract.ts"
import { checkedRoot, newCheck, type Root, rootFrom } from "./rootKey.ts"
import { makeVault, type VaultOptions } from "./vault.ts"
import type { StorageUnavailable } from "../driver/StoreError.ts"

/** The records of a vault, and the wrapped key by which the right root key is told. */
export interface StoredRecords extends KeyRecords {
  readonly check: Uint8Array
}

interface Given<E, R, E2, R2> {
  readonly key: Root<E, R>
  readonly options: VaultOptions
  /** Names the vault in errors. */
  readonly place: string
  readonly createIfMissing: boolean
  /** Opens the records. `makeCheck` is given if a missing vault may be created. */
  readonly records: (
    makeCheck: Effect.Effect<Uint8Array, StorageUnavailable, R> | undefined
  ) => Effect.Effect<StoredRecords, E2, R2>
}

export const openVault = <E, R, E2, R2>({
  createIfMissing,
  key,
  options,
  place,
  records: open
}: Given<E, R, E2, R2>): Layer.Layer<
  KeyVault,
  Config.ConfigError | StorageUnavailable | E2,
  R | Exclude<R2, Scope.Scope>
> =>
  Layer.effect(
    KeyVault,
    Effect.gen(function* () {
      const root = yield* rootFrom(key)
      const records = yield* open(createIfMissing ? newCheck(root) : undefined)
      yield* checkedRoot(root, records.check, place)
      return yield* makeVault({ records, root: Effect.succeed(root), options })
    })
  ).pipe(Layer.provide(layerCrypto))
