/** The root key of a vault, which wraps the wrapping keys of tenants. */
import { Config, Effect, Redacted, Result } from "effect"
import { Aead, CryptoError, SecureRandom } from "effect/crypto"
import * as Base64 from "effect/encoding/Base64"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Hex from "effect/encoding/Hex"
import { openWith, sealWith, textBytes } from "./boxes.ts"
import { failed, notUnwrapped } from "./vaultFailures.ts"
import { untenanted, type TenantId } from "../domain/Tenant.ts"
import { StorageUnavailable } from "../driver/StoreError.ts"

/**
 * Wraps and unwraps keys of 32 bytes, such as a key management service does. It binds them to the context if it can, and refuses to
 * unwrap a key in another context.
 *
 * **Details**
 *
 * A failure of either function leaves the vault unavailable (`KeyVaultFailed`, which may be retried) and its text is not passed on,
 * because it may quote the request. Limit the time of a call. `examples/kms.ts` has those of AWS KMS, Google Cloud KMS and HashiCorp
 * Vault.
 *
 * **Example**
 *
 * ```ts
 * const root: KeyVault.RootKey<unknown> = {
 *   wrap: (key, { tenantId }) =>
 *     Effect.tryPromise(() =>
 *       kms.encrypt({ KeyId, Plaintext: Redacted.value(key), EncryptionContext: { tenant: tenantId } })
 *     ).pipe(Effect.map(({ CiphertextBlob }) => CiphertextBlob)),
 *   unwrap: (CiphertextBlob, { tenantId }) =>
 *     Effect.tryPromise(() =>
 *       kms.decrypt({ KeyId, CiphertextBlob, EncryptionContext: { tenant: tenantId } })
 *     ).pipe(Effect.map(({ Plaintext }) => Redacted.make(Plaintext)))
 * }
 * ```
 */
export interface RootKey<out E = never, out R = never> {
  readonly wrap: (
    key: Redacted.Redacted<Uint8Array>,
    context: { readonly tenantId: TenantId }
  ) => Effect.Effect<Uint8Array, E, R>
  readonly unwrap: (
    wrapped: Uint8Array,
    context: { readonly tenantId: TenantId }
  ) => Effect.Effect<Redacted.Redacted<Uint8Array>, E, R>
}

/** The root key of a vault: 32 bytes in Base64 or hexadecimal digits from the configuration, or the functions of a key management service. */
export type Root<E = never, R = never> = Config.Config<Redacted.Redacted> | RootKey<E, R>

const keyBytes = 32

/** A root key of 32 bytes in this process. */
const localRoot = (
  bytes: Uint8Array
): Effect.Effect<RootKey<StorageUnavailable>, CryptoError.CryptoError, Aead.Aead> =>
  Effect.gen(function* () {
    const aead = yield* Aead.Aead
    const key = yield* Aead.key(Aead.aes256Gcm, bytes)
    return {
      wrap: (secret, { tenantId }) =>
        Effect.orDie(sealWith(aead, key, Redacted.value(secret), textBytes(tenantId))),
      unwrap: (wrapped, { tenantId }) =>
        Effect.mapBoth(openWith(aead, key, wrapped, textBytes(tenantId)), {
          onFailure: () => notUnwrapped("unwrap a key of the tenant"),
          onSuccess: (secret) => Redacted.make(secret)
        })
    }
  })

/** A root key that ends with the process. */
export const randomRoot: Effect.Effect<RootKey<StorageUnavailable>, never, Aead.Aead> = Effect.suspend(() =>
  Effect.orDie(localRoot(SecureRandom.randomBytesUnsafe(keyBytes)))
)

const malformed = failed(
  "read the root key from the configuration",
  "RootKey",
  false,
  "it must be 32 bytes in Base64 or hexadecimal digits: generate one with openssl rand -base64 32"
)

const decoded = (text: string): Uint8Array | undefined => {
  for (const decode of [Hex.decode, Base64.decode, Base64Url.decode]) {
    const bytes = decode(text.trim())
    if (Result.isSuccess(bytes) && bytes.success.length === keyBytes) return bytes.success
  }
  return undefined
}

/** A root key with the failures of a vault. */
type OfVault<R> = RootKey<StorageUnavailable, R>

const isService = <E, R>(given: Root<E, R>): given is RootKey<E, R> => "wrap" in given && "unwrap" in given

/** The root key of the configuration, or of a key management service. */
export const rootFrom = <E, R>(
  given: Root<E, R>
): Effect.Effect<OfVault<R>, Config.ConfigError | StorageUnavailable, Aead.Aead> =>
  isService(given)
    ? Effect.succeed({
        wrap: (key, context) => ofService("wrap", given.wrap(key, context)),
        unwrap: (wrapped, context) => ofService("unwrap", given.unwrap(wrapped, context))
      })
    : Effect.flatMap(given, (text) => {
        const bytes = decoded(Redacted.value(text))
        return bytes === undefined ? Effect.fail(malformed) : Effect.orDie(localRoot(bytes))
      })

/** The error of a service is not passed on, because it may quote what it was given. */
const ofService = <A, E, R>(
  verb: "wrap" | "unwrap",
  call: Effect.Effect<A, E, R>
): Effect.Effect<A, StorageUnavailable, R> =>
  Effect.mapError(call, (error) => {
    const operation = `${verb} a key of the tenant`
    if (error instanceof StorageUnavailable) return error
    return error instanceof CryptoError.CryptoError
      ? notUnwrapped(operation)
      : failed(
          operation,
          "RootKey",
          true,
          "the key management service did not answer, or refused: look at its rights, or try again later"
        )
  })

/** A wrapped key for the beginning of a new vault, by which the right root key is told. */
export const newCheck = <R>(root: OfVault<R>): Effect.Effect<Uint8Array, StorageUnavailable, R> =>
  Effect.suspend(() =>
    root.wrap(Redacted.make(SecureRandom.randomBytesUnsafe(keyBytes)), { tenantId: untenanted })
  )

/** Fails if the root key is not that of the vault. */
export const checkedRoot = <R>(
  root: OfVault<R>,
  check: Uint8Array,
  place: string
): Effect.Effect<void, StorageUnavailable, R> =>
  Effect.catchIf(
    Effect.asVoid(root.unwrap(check, { tenantId: untenanted })),
    (error) => !error.retryable,
    () =>
      Effect.fail(
        failed(
          "open the key vault",
          "WrongRootKey",
          false,
          `the root key is not the one of ${place}: provide that one; nothing was changed`
        )
      )
  )
