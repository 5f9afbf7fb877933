/** The root key of a vault, which wraps the wrapping keys of tenants. */
import { Effect, Redacted } from "effect"
import { Aead, type CryptoError, SecureRandom } from "effect/crypto"
import { openWith, sealWith, textBytes } from "./boxes.ts"
import type { TenantId } from "../domain/Tenant.ts"

/** Wraps and unwraps keys of 32 bytes, bound to the tenant that they belong to. */
export interface RootKey<E = never, R = never> {
  readonly wrap: (
    key: Redacted.Redacted<Uint8Array>,
    context: { readonly tenantId: TenantId }
  ) => Effect.Effect<Uint8Array, E, R>
  readonly unwrap: (
    wrapped: Uint8Array,
    context: { readonly tenantId: TenantId }
  ) => Effect.Effect<Redacted.Redacted<Uint8Array>, E, R>
}

/** A root key of 32 bytes in this process. */
const localRoot = (
  bytes: Uint8Array
): Effect.Effect<RootKey<CryptoError.CryptoError>, CryptoError.CryptoError, Aead.Aead> =>
  Effect.gen(function* () {
    const aead = yield* Aead.Aead
    const key = yield* Aead.key(Aead.aes256Gcm, bytes)
    return {
      wrap: (secret, { tenantId }) => sealWith(aead, key, Redacted.value(secret), textBytes(tenantId)),
      unwrap: (wrapped, { tenantId }) =>
        Effect.map(openWith(aead, key, wrapped, textBytes(tenantId)), (secret) => Redacted.make(secret))
    }
  })

/** A root key that ends with the process. */
export const randomRoot: Effect.Effect<RootKey<CryptoError.CryptoError>, never, Aead.Aead> = Effect.suspend(
  () => Effect.orDie(localRoot(SecureRandom.randomBytesUnsafe(32)))
)
