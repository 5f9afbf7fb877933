/** Verifies JSON Web Tokens with `jose`. */
import { Duration, Effect, Redacted } from "effect"
import type * as Jose from "jose"
import type { RejectionReason } from "./TenantAccessError.ts"
import { remoteKeySet } from "./remoteKeySet.ts"
import { type Key, isKeyAlgorithm, isSecretAlgorithm, secretBytes } from "./jwtKey.ts"

/** Loads jose; `undefined` if it is not installed. */
export const load = async (): Promise<typeof Jose | undefined> => {
  try {
    return await import("jose")
  } catch (error) {
    if (error instanceof Error && "code" in error && String(error.code).endsWith("MODULE_NOT_FOUND"))
      return undefined
    throw error
  }
}

/** The reason why a token is not accepted. */
export type Failure = RejectionReason | "malformed" | "unavailable"

/** Requirements on a token, with times in seconds. */
export interface Requirements {
  readonly key: Key
  readonly issuers: ReadonlyArray<string>
  readonly audiences: ReadonlyArray<string>
  readonly clockTolerance: number
  readonly maxTokenAge: number | undefined
  readonly type: string | undefined
}

type GetKey = Jose.JWTVerifyGetKey

const readPem = (jose: typeof Jose, pem: string, algorithm: string): Promise<Jose.CryptoKey> =>
  pem.includes("-----BEGIN CERTIFICATE-----")
    ? jose.importX509(pem, algorithm)
    : jose.importSPKI(pem, algorithm)

const isLoopback = (host: string): boolean =>
  host === "localhost" || host === "[::1]" || /^127(?:\.\d{1,3}){3}$/.test(host)

/** Reads the key that verifies tokens. Fails with the problem, without quoting the key. */
const getKeyOf = (
  jose: typeof Jose,
  key: Key,
  onKept: (error: unknown) => void
): Effect.Effect<GetKey, string> => {
  if ("secret" in key) {
    const secret = new TextEncoder().encode(Redacted.value(key.secret))
    const needed = Math.max(...key.algorithms.map((algorithm) => secretBytes[algorithm]))
    return secret.length < needed
      ? Effect.fail(
          `the secret has ${secret.length} bytes, ${key.algorithms.join(" and ")} need ${needed} or more`
        )
      : Effect.succeed(() => secret)
  }
  if ("publicKey" in key) {
    return Effect.tryPromise({
      try: () =>
        Promise.all(
          key.algorithms.map(
            async (algorithm) => [algorithm, await readPem(jose, key.publicKey, algorithm)] as const
          )
        ),
      catch: () => `the public key is not one for ${key.algorithms.join(" and ")}, as PEM`
    }).pipe(
      Effect.map((imported): GetKey => {
        const keys = new Map<string, Jose.CryptoKey>(imported)
        return ({ alg }) => {
          const found = keys.get(alg)
          if (found === undefined) throw new jose.errors.JOSEAlgNotAllowed()
          return found
        }
      })
    )
  }
  if ("keySet" in key) {
    return Effect.try({
      try: () => jose.createLocalJWKSet({ keys: key.keySet.keys.map((jwk) => ({ ...jwk })) }),
      catch: () => "the key set is not a JSON Web Key Set"
    })
  }
  const { keySetUrl, cacheFor = "10 minutes", keepFor = "1 hour", timeout = "5 seconds" } = key
  if (!Duration.isFinite(Duration.fromInputUnsafe(keepFor))) return Effect.fail("keepFor is not finite")
  return Effect.try({
    try: () => new URL(keySetUrl),
    catch: () => "the address of the key set is not a URL"
  }).pipe(
    Effect.filterOrFail(
      ({ protocol, hostname }) => protocol === "https:" || (protocol === "http:" && isLoopback(hostname)),
      () => "the address of the key set must begin with https:"
    ),
    Effect.map((url) =>
      remoteKeySet(jose, url, {
        cacheFor: Duration.toMillis(cacheFor),
        keepFor: Duration.toMillis(keepFor),
        timeout: Math.ceil(Duration.toMillis(timeout)),
        onKept
      })
    )
  )
}

const reasonOfClaim: { readonly [claim: string]: RejectionReason | undefined } = {
  iss: "issuer",
  aud: "audience",
  nbf: "notYetValid"
}

/** The reason behind an error of jose. Any other error comes from fetching the key set. */
const failureOf = (jose: typeof Jose, error: unknown): Failure => {
  const { errors } = jose
  if (error instanceof errors.JWTExpired) return "expired"
  if (error instanceof errors.JWTClaimValidationFailed) {
    // An `iat` in the future is not yet valid; a missing or malformed one is a wrong claim.
    if (error.claim === "iat") return error.reason === "check_failed" ? "notYetValid" : "claims"
    return reasonOfClaim[error.claim] ?? "claims"
  }
  if (error instanceof errors.JOSEAlgNotAllowed || error instanceof errors.JOSENotSupported)
    return "algorithm"
  if (
    error instanceof errors.JWSSignatureVerificationFailed ||
    error instanceof errors.JWKSNoMatchingKey ||
    error instanceof errors.JWKSMultipleMatchingKeys
  )
    return "signature"
  if (error instanceof errors.JWSInvalid || error instanceof errors.JWTInvalid) return "malformed"
  return "unavailable"
}

/** Makes a function that verifies tokens. Fails with a description of the problem if the requirements are invalid. */
export const verifier = (
  jose: typeof Jose,
  requirements: Requirements
): Effect.Effect<
  (token: string, now: number) => Effect.Effect<Readonly<Record<string, unknown>>, Failure>,
  string
> =>
  Effect.gen(function* () {
    const { key, issuers, audiences, clockTolerance, maxTokenAge, type } = requirements
    const blank = (texts: ReadonlyArray<string>) =>
      texts.length === 0 || texts.some((text) => text.trim() === "")
    // Casts can bring in such values, each of which would accept tokens that must be refused.
    const known = "secret" in key ? isSecretAlgorithm : isKeyAlgorithm
    if (key.algorithms.length === 0 || !key.algorithms.every((name: string) => known(name)))
      return yield* Effect.fail("the algorithms do not fit this kind of key")
    if (blank(issuers)) return yield* Effect.fail("the issuer is missing")
    if (blank(audiences)) return yield* Effect.fail("the audience is missing")
    if (!Number.isFinite(clockTolerance)) return yield* Effect.fail("the clock tolerance is not finite")
    let kept: { readonly error: unknown } | undefined
    const getKey = yield* getKeyOf(jose, key, (error) => void (kept = { error }))
    const reportKept = Effect.suspend(() => {
      const found = kept
      kept = undefined
      return found === undefined
        ? Effect.void
        : Effect.logWarning("The key set for tokens cannot be fetched; the last one is used", found.error)
    })

    const options = (now: number): Jose.JWTVerifyOptions => ({
      algorithms: [...key.algorithms],
      issuer: [...issuers],
      audience: [...audiences],
      requiredClaims: ["exp"],
      clockTolerance,
      currentDate: new Date(now),
      ...(maxTokenAge === undefined ? {} : { maxTokenAge }),
      ...(type === undefined ? {} : { typ: type })
    })

    const verify = async (token: string, now: number) => {
      try {
        return (await jose.jwtVerify(token, getKey, options(now))).payload
      } catch (error) {
        if (!(error instanceof jose.errors.JWKSMultipleMatchingKeys)) throw error
        // Several keys fit the token, which names none of them, so each is tried.
        for await (const candidate of error) {
          try {
            return (await jose.jwtVerify(token, candidate, options(now))).payload
          } catch (reason) {
            if (!(reason instanceof jose.errors.JWSSignatureVerificationFailed)) throw reason
          }
        }
        throw error
      }
    }
    /** Without `maxTokenAge`, `jose` accepts a token that was issued in the future. */
    const isIssued = ({ iat }: Jose.JWTPayload, now: number) =>
      iat === undefined || iat <= Math.floor(now / 1000) + clockTolerance

    return (token, now) =>
      Effect.tryPromise({
        try: () => verify(token, now),
        catch: (error) => ({ failure: failureOf(jose, error), error })
      }).pipe(
        Effect.filterOrFail(
          (payload) => isIssued(payload, now),
          () => ({ failure: "notYetValid" as const, error: undefined })
        ),
        Effect.ensuring(reportKept),
        Effect.tapError(({ failure, error }) =>
          failure === "unavailable"
            ? Effect.logWarning("The key set for tokens cannot be fetched", error)
            : Effect.void
        ),
        Effect.mapError(({ failure }) => failure)
      )
  })
