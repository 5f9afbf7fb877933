/** The key set that an issuer publishes, kept for a while when the issuer cannot be reached. */
import type * as Jose from "jose"

/** Settings in milliseconds. */
export interface Settings {
  readonly cacheFor: number
  readonly timeout: number
  /** Time for which the last set is used after `cacheFor`, if it cannot be fetched. */
  readonly keepFor: number
  /** Called with each fetch that fails while the last set is used. */
  readonly onKept: (error: unknown) => void
}

/** Time after a failed fetch in which the last set is used without asking again: nobody waits for an issuer that is away. */
const retryAfter = 30_000

/** Errors of a set that is there: it has no key for the token, or several. */
const isAnswer = ({ errors }: typeof Jose, error: unknown): boolean =>
  error instanceof errors.JWKSNoMatchingKey ||
  error instanceof errors.JWKSMultipleMatchingKeys ||
  error instanceof errors.JOSENotSupported

/** Fetches the set as `jose` does, and falls back to the last one. By the clock of `jose`, which is that of the machine. */
export const remoteKeySet = (jose: typeof Jose, url: URL, settings: Settings): Jose.JWTVerifyGetKey => {
  const { cacheFor, keepFor, onKept, timeout } = settings
  /** `jose` writes into it with each fetch. */
  const last: Jose.ExportedJWKSCache = { uat: 0, jwks: { keys: [] } }
  const remote = jose.createRemoteJWKSet(url, {
    cacheMaxAge: cacheFor,
    timeoutDuration: timeout,
    [jose.jwksCache]: last
  })
  let failure: { readonly at: number; readonly error: unknown } | undefined

  const isUsable = () => last.uat > 0 && Date.now() < last.uat + cacheFor + keepFor

  return async (header, token) => {
    const isAway = failure !== undefined && Date.now() < failure.at + retryAfter
    if (failure === undefined || !isAway || !isUsable()) {
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
    const { error: away } = failure
    try {
      return await jose.createLocalJWKSet(last.jwks)(header, token)
    } catch (error) {
      // The issuer may have a newer key: nobody can tell yet.
      throw error instanceof jose.errors.JWKSNoMatchingKey ? away : error
    }
  }
}
