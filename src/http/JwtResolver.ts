/**
 * Tenants from bearer tokens: `Authorization: Bearer <JSON Web Token>`, verified with the package `jose`, an optional peer
 * dependency.
 */
import { Clock, Config, ConfigProvider, Duration, Effect, Layer, Redacted, Result, Schema } from "effect"
import type { HttpServerRequest } from "effect/http"
import { Repeated, soleHeader } from "./headers.ts"
import { isActor } from "./actor.ts"
import * as Jwt from "./verifyJwt.ts"
import * as Algorithms from "./jwtKey.ts"
import { TenantId } from "../domain/Tenant.ts"
import {
  CredentialMalformed,
  CredentialMissing,
  CredentialRejected,
  TenantCheckUnavailable
} from "./TenantAccessError.ts"
import { type Principal, type ResolveError, ResolverConfigError, TenantResolver } from "./TenantResolver.ts"
import type { Key } from "./jwtKey.ts"

export type { Key, KeyAlgorithm, SecretAlgorithm } from "./jwtKey.ts"

/** Requirements on tokens. */
export interface Options {
  readonly key: Key
  /** The accepted issuers (`iss`). */
  readonly issuer: string | readonly [string, ...Array<string>]
  /** The accepted audiences (`aud`). */
  readonly audience: string | readonly [string, ...Array<string>]
  /** The claim that holds the tenant's id. Default: `tenant_id`. */
  readonly tenantClaim?: string | undefined
  /** The claim that holds the actor, which a token may omit. Default: `sub`. */
  readonly actorClaim?: string | undefined
  /**
   * Tolerated difference between clocks, in whole seconds, for `exp`, `nbf` and `iat`, which must not lie in the future. Set a
   * few seconds if the issuer's clock may be ahead of this machine's. Default: none.
   */
  readonly clockTolerance?: Duration.Input | undefined
  /** Maximum age of a token since it was issued (`iat`). Default: no limit but its expiry. */
  readonly maxTokenAge?: Duration.Input | undefined
  /** The type that the token's header must state (`typ`), for example `at+jwt`. Default: any. */
  readonly type?: string | undefined
}

/** Raised when the package `jose`, an optional peer dependency, is not installed. */
export class JoseNotInstalled extends Schema.TaggedError<JoseNotInstalled>()("JoseNotInstalled", {}) {
  override get message(): string {
    return "the package jose, which verifies tokens, is not installed: npm install jose"
  }
}

const bearer = /^Bearer +([A-Za-z0-9._~+/-]+=*)$/i

const tokenOf = (
  request: HttpServerRequest.HttpServerRequest
): Result.Result<string, CredentialMissing | CredentialMalformed> => {
  const header = soleHeader(request, "authorization")
  if (header === undefined) return Result.fail(new CredentialMissing())
  if (header === Repeated)
    return Result.fail(new CredentialMalformed({ detail: "authorization is given more than once" }))
  const token = bearer.exec(header)?.[1]
  return token === undefined
    ? Result.fail(new CredentialMalformed({ detail: "authorization is not one bearer token" }))
    : Result.succeed(token)
}

const decodeTenantId = Schema.decodeUnknownResult(TenantId)

const principalOf = (
  claims: Readonly<Record<string, unknown>>,
  tenantClaim: string,
  actorClaim: string
): Result.Result<Principal, CredentialMalformed> => {
  const own = (claim: string) => (Object.hasOwn(claims, claim) ? claims[claim] : undefined)
  const stated = own(tenantClaim)
  if (stated === undefined)
    return Result.fail(new CredentialMalformed({ detail: `the token has no claim ${tenantClaim}` }))
  const tenantId = decodeTenantId(stated)
  if (Result.isFailure(tenantId))
    return Result.fail(new CredentialMalformed({ detail: `the claim ${tenantClaim} is not a tenant id` }))
  const actor = own(actorClaim)
  if (actor !== undefined && (typeof actor !== "string" || !isActor(actor)))
    return Result.fail(
      new CredentialMalformed({
        detail: `the claim ${actorClaim} is not a text of 1 to 255 characters without control characters`
      })
    )
  return Result.succeed({ tenantId: tenantId.success, actor, claims })
}

const failureOf = (failure: Jwt.Failure): ResolveError => {
  switch (failure) {
    case "malformed":
      return new CredentialMalformed({ detail: "the bearer token is not a JSON Web Token" })
    case "unavailable":
      return new TenantCheckUnavailable()
    default:
      return new CredentialRejected({ reason: failure })
  }
}

/** A resolver that takes the tenant from a claim of a bearer token. */
export const make: (
  options: Options
) => Effect.Effect<TenantResolver["Service"], ResolverConfigError | JoseNotInstalled> = Effect.fnUntraced(
  function* (options) {
    const { tenantClaim = "tenant_id", actorClaim = "sub" } = options
    const jose = yield* Effect.promise(Jwt.load)
    if (jose === undefined) return yield* new JoseNotInstalled()
    const verify = yield* Effect.mapError(
      Jwt.verifier(jose, {
        key: options.key,
        issuers: [options.issuer].flat(),
        audiences: [options.audience].flat(),
        clockTolerance: Duration.toSeconds(options.clockTolerance ?? 0),
        maxTokenAge: options.maxTokenAge === undefined ? undefined : Duration.toSeconds(options.maxTokenAge),
        type: options.type
      }),
      (problem) => new ResolverConfigError({ problem })
    )
    return {
      challenge: "Bearer",
      resolve: Effect.fnUntraced(function* (request) {
        const token = yield* Effect.fromResult(tokenOf(request))
        const claims = yield* Effect.mapError(verify(token, yield* Clock.currentTimeMillis), failureOf)
        return yield* Effect.fromResult(principalOf(claims, tenantClaim, actorClaim))
      })
    }
  }
)

/** A resolver that takes the tenant from a claim of a bearer token. */
export const layer = (
  options: Options
): Layer.Layer<TenantResolver, ResolverConfigError | JoseNotInstalled> =>
  Layer.effect(TenantResolver, make(options))

const list = (text: string): ReadonlyArray<string> =>
  text
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== "")

interface KeySettings {
  readonly algorithms: ReadonlyArray<string>
  readonly secret: Redacted.Redacted | undefined
  readonly publicKey: string | undefined
  readonly keySetUrl: URL | undefined
  readonly keepFor: Duration.Duration | undefined
}

const keyOf = ({
  algorithms,
  keepFor,
  secret,
  publicKey,
  keySetUrl
}: KeySettings): Result.Result<Key, string> => {
  const given = [secret, publicKey, keySetUrl].filter((key) => key !== undefined)
  if (given.length !== 1)
    return Result.fail("exactly one of SECRET, PUBLIC_KEY and KEY_SET_URL is needed to verify tokens")
  if (keepFor !== undefined && keySetUrl === undefined)
    return Result.fail("KEY_SET_KEEP_FOR is only for a KEY_SET_URL")
  if (secret !== undefined)
    return Algorithms.isNonEmptyOf(algorithms, Algorithms.isSecretAlgorithm)
      ? Result.succeed({ secret, algorithms })
      : Result.fail("ALGORITHMS must be a list of HS256, HS384 and HS512 for a SECRET")
  if (!Algorithms.isNonEmptyOf(algorithms, Algorithms.isKeyAlgorithm))
    return Result.fail(`ALGORITHMS must be a list of ${Algorithms.keyAlgorithms.join(", ")}`)
  if (keySetUrl !== undefined) return Result.succeed({ keySetUrl, algorithms, keepFor })
  // Some tools cannot put line breaks into environment variables.
  return Result.succeed({ publicKey: (publicKey ?? "").replaceAll("\\n", "\n"), algorithms })
}

const optional = <A>(config: Config.Config<A>): Config.Config<A | undefined> =>
  Config.withDefault(config, undefined)

/**
 * Settings from the configuration, by default the environment:
 *
 * - Required, with commas between several values: `JWT_ALGORITHMS` (for example `RS256`), `JWT_ISSUER` and `JWT_AUDIENCE`.
 * - Exactly one of `JWT_SECRET`, `JWT_PUBLIC_KEY` (PEM, with `\n` for line breaks if necessary) and `JWT_KEY_SET_URL`.
 * - Optional: `JWT_KEY_SET_KEEP_FOR` (`15 minutes`, beside a `JWT_KEY_SET_URL`), `JWT_TENANT_CLAIM`, `JWT_ACTOR_CLAIM`, `JWT_CLOCK_TOLERANCE`, `JWT_MAX_TOKEN_AGE` (`30 seconds`), `JWT_TYPE`.
 *
 * `Config.nested` adds a prefix to these names.
 */
export const config: Config.Config<Options> = Config.all({
  algorithms: Config.map(Config.NonEmptyString("JWT_ALGORITHMS"), list),
  issuer: Config.map(Config.NonEmptyString("JWT_ISSUER"), list),
  audience: Config.map(Config.NonEmptyString("JWT_AUDIENCE"), list),
  secret: optional(Config.Redacted("JWT_SECRET")),
  publicKey: optional(Config.NonEmptyString("JWT_PUBLIC_KEY")),
  keySetUrl: optional(Config.URL("JWT_KEY_SET_URL")),
  keepFor: optional(Config.Duration("JWT_KEY_SET_KEEP_FOR")),
  tenantClaim: optional(Config.NonEmptyString("JWT_TENANT_CLAIM")),
  actorClaim: optional(Config.NonEmptyString("JWT_ACTOR_CLAIM")),
  clockTolerance: optional(Config.Duration("JWT_CLOCK_TOLERANCE")),
  maxTokenAge: optional(Config.Duration("JWT_MAX_TOKEN_AGE")),
  type: optional(Config.NonEmptyString("JWT_TYPE"))
}).pipe(
  Config.flatMap(({ algorithms, issuer, audience, keepFor, secret, publicKey, keySetUrl, ...rest }) => {
    const fail = (message: string) =>
      Config.fail(new ConfigProvider.SourceError({ message: `JWT: ${message}` }))
    const key = keyOf({ algorithms, keepFor, secret, publicKey, keySetUrl })
    if (Result.isFailure(key)) return fail(key.failure)
    if (!Algorithms.isNonEmpty(issuer) || !Algorithms.isNonEmpty(audience))
      return fail("ISSUER and AUDIENCE must not be blank")
    return Config.succeed({ key: key.success, issuer, audience, ...rest })
  })
)

/** {@link layer} with settings from the configuration. */
export const layerConfig = (
  settings: Config.Config<Options> = config
): Layer.Layer<TenantResolver, ResolverConfigError | JoseNotInstalled | Config.ConfigError> =>
  Layer.effect(TenantResolver, Effect.flatMap(settings, make))
