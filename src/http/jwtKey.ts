/** The algorithms of JSON Web Tokens, apart from what verifies them: its declarations need `jose`, these do not. */

/** Algorithms with a shared secret, and how many bytes that needs. */
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
