/** The failures of a key vault. */
import { KeyVaultFailed, StorageUnavailable } from "../driver/StoreError.ts"

export const failed = (
  operation: string,
  code: string,
  retryable: boolean,
  remedy: string
): StorageUnavailable =>
  new StorageUnavailable({ reason: new KeyVaultFailed({ operation, code, retryable, remedy }) })

export const notUnwrapped = (operation: string): StorageUnavailable =>
  failed(
    operation,
    "Unwrap",
    false,
    "a key does not unwrap: provide the root key under which the vault was written, or restore the vault from its backup"
  )
