/** The key set that an issuer publishes. It is kept for a while if the issuer cannot be reached. */
import type * as Jose from "jose"

/** Settings in milliseconds. */
export interface Settings {
  readonly cacheFor: number
  readonly timeout: number
  /** Time for which the last set is used after `cacheFor` if it cannot be fetched again. */
  readonly keepFor: number
  /** Called for each failed fetch after which the last set is used. */
  readonly onKept: (error: unknown) => void
}

/** Time after a failed fetch in which the set is not fetched again, so that requests do not wait for an unreachable issuer. */
const retryAfter = 30_000

/** True for an error of a set that was fetched: it has no key for the token, or several. */
const isAnswer = ({ errors }: typeof Jose, error: unknown): boolean =>
  error instanceof errors.JWKSNoMatchingKey ||
  error instanceof errors.JWKSMultipleMatchingKeys ||
  error instanceof errors.JOSENotSupported

/** Fetches the set with `jose` and falls back to the last one. Times are those of the machine, because `jose` uses them too. */
export const remoteKeySet = (jose: typeof Jose, url: URL, settings: Settings): Jose.JWTVerifyGetKey => {
  const { cacheFor, keepFor, onKept, timeout } = settings
  /** `jose` writes each fetched set into it. */
  const last: Jose.ExportedJWKSCache = { uat: 0, jwks: { keys: [] } }
  const remote = jose.createRemoteJWKSet(url, {
    cacheMaxAge: cacheFor,
    timeoutDuration: timeout,
    [jose.jwksCache]: last
  })
  let failure: { readonly at: number; readonly error: unknown } | undefined

  const isUsable = () => last.uat > 0 && Date.now() < last.uat + cacheFor + keepFor

  return async (header, token) => {
    const hasJustFailed = failure !== undefined && Date.now() < failure.at + retryAfter
    if (failure === undefined || !hasJustFailed || !isUsable()) {
      try {
        const key = await remote(header, token)
        failure = undefined
        return key
      } catch (error) {
        if (isAnswer(jose, error)) throw error
        failure = { at: Date.now(), error }
        if (!isUsable()) throw error
        onKept(error)
      }
    }
    const { error: fetchError } = failure
    try {
      return await jose.createLocalJWKSet(last.jwks)(header, token)
    } catch (error) {
      // The issuer may have a newer key, so the token is not refused because of its signature.
      throw error instanceof jose.errors.JWKSNoMatchingKey ? fetchError : error
    }
  }
}
