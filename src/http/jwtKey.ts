/** Algorithms and keys of JSON Web Tokens. They are not in `verifyJwt`, because its declarations need `jose`. */
import type { Duration, Redacted } from "effect"

/** The algorithms with a shared secret, each with the minimum length of the secret in bytes. */
export const secretBytes = { HS256: 32, HS384: 48, HS512: 64 }

export type SecretAlgorithm = keyof typeof secretBytes

export const keyAlgorithms = [
  "RS256",
  "RS384",
  "RS512",
  "PS256",
  "PS384",
  "PS512",
  "ES256",
  "ES384",
  "ES512",
  "EdDSA"
] as const

export type KeyAlgorithm = (typeof keyAlgorithms)[number]

const knownKeyAlgorithms: ReadonlySet<string> = new Set(keyAlgorithms)

export const isSecretAlgorithm = (name: string): name is SecretAlgorithm => Object.hasOwn(secretBytes, name)
export const isKeyAlgorithm = (name: string): name is KeyAlgorithm => knownKeyAlgorithms.has(name)

export const isNonEmpty = <A>(items: ReadonlyArray<A>): items is readonly [A, ...Array<A>] => items.length > 0

export const isNonEmptyOf = <B extends string>(
  items: ReadonlyArray<string>,
  is: (item: string) => item is B
): items is readonly [B, ...Array<B>] => items.length > 0 && items.every(is)

/**
 * The key that verifies tokens, and the accepted algorithms. The algorithm in a token must be one of them. "none" cannot be
 * accepted, and a public key cannot be mistaken for a shared secret.
 */
export type Key =
  | {
      /** At least as many bytes as the algorithm's hash: 32, 48 or 64. */
      readonly secret: Redacted.Redacted
      readonly algorithms: readonly [SecretAlgorithm, ...Array<SecretAlgorithm>]
    }
  | {
      /** A public key (SPKI) or a certificate (X.509), as PEM. */
      readonly publicKey: string
      readonly algorithms: readonly [KeyAlgorithm, ...Array<KeyAlgorithm>]
    }
  | {
      /** A JSON Web Key Set with public keys. */
      readonly keySet: { readonly keys: ReadonlyArray<Readonly<Record<string, unknown>>> }
      readonly algorithms: readonly [KeyAlgorithm, ...Array<KeyAlgorithm>]
    }
  | {
      /**
       * The address at which the issuer publishes its key set: `https:`, or `http:` on this machine. It is fetched when it is
       * first needed, cached, and fetched again for a key that it does not contain, at most every 30 seconds.
       */
      readonly keySetUrl: string | URL
      readonly algorithms: readonly [KeyAlgorithm, ...Array<KeyAlgorithm>]
      /** Time for which a key set is cached. Default: 10 minutes. */
      readonly cacheFor?: Duration.Input | undefined
      /**
       * Time for which an expired key set is still used if the issuer cannot be reached. Each failed fetch is logged, at most
       * every 30 seconds. A key that the issuer has withdrawn meanwhile is accepted for that time. It must be finite; zero turns
       * this off. Default: 1 hour.
       */
      readonly keepFor?: Duration.Input | undefined
      /** Timeout of a fetch. Default: 5 seconds. */
      readonly timeout?: Duration.Input | undefined
    }
