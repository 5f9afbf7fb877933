/**
 * Tokens for development: a signing key that is no secret, and two tenants to try. In production, your own key is
 * configured with the variables of `JwtResolver.config`.
 */
import { Clock, type Config, Effect, type Layer, Redacted, Schema } from "effect"
import { Tenant } from "effect-eventsourcing"
import { JwtResolver, type TenantResolver } from "effect-eventsourcing/http"
import { SignJWT } from "jose"

const secret = "development only, never for a real tenant"
const issuer = "examples/saas"
const audience = "orders"

/** Raised when the development key would be used in production. */
export class DevelopmentKeyRefused extends Schema.TaggedError<DevelopmentKeyRefused>()(
  "DevelopmentKeyRefused",
  {}
) {
  override get message(): string {
    return (
      "NODE_ENV is production, where the development key is refused: configure the key of your tokens with " +
      "JWT_ALGORITHMS, JWT_ISSUER, JWT_AUDIENCE and one of JWT_SECRET, JWT_PUBLIC_KEY and JWT_KEY_SET_URL."
    )
  }
}

/** Two tenants to try the service with. */
export const shops = [
  {
    name: "Teashop",
    product: "Teapot",
    tenantId: Tenant.TenantId.make("0197a000-0000-7000-8000-000000000001")
  },
  {
    name: "Bookshop",
    product: "Novel",
    tenantId: Tenant.TenantId.make("0197a000-0000-7000-8000-000000000002")
  }
] as const

/** A token of a tenant, for twelve hours. */
export const sign = (tenantId: Tenant.TenantId, actor: string): Effect.Effect<string> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) =>
    Effect.promise(() =>
      new SignJWT({ tenant_id: tenantId })
        .setProtectedHeader({ alg: "HS256" })
        .setIssuer(issuer)
        .setAudience(audience)
        .setSubject(actor)
        .setIssuedAt(Math.floor(now / 1000))
        .setExpirationTime(Math.floor(now / 1000) + 12 * 60 * 60)
        .sign(new TextEncoder().encode(secret))
    )
  )

/** A token of each shop, by its name. */
export const ofShops: Effect.Effect<ReadonlyArray<{ readonly name: string; readonly token: string }>> =
  Effect.forEach(shops, ({ name, tenantId }) =>
    Effect.map(sign(tenantId, "ada"), (token) => ({ name, token }))
  )

/** Accepts the tokens that {@link sign} makes. */
export const layerDevelopment: Layer.Layer<
  TenantResolver.TenantResolver,
  TenantResolver.ResolverConfigError | JwtResolver.JoseNotInstalled
> = JwtResolver.layer({ key: { secret: Redacted.make(secret), algorithms: ["HS256"] }, issuer, audience })

/** True if a key is configured. Without one, outside of production, the development key is used. */
export const isConfigured = (environment: NodeJS.ProcessEnv): boolean =>
  Object.keys(environment).some((name) => name.startsWith("JWT_"))

/** The resolver that the environment configures. */
export const resolverFrom = (
  environment: NodeJS.ProcessEnv
): Effect.Effect<
  Layer.Layer<
    TenantResolver.TenantResolver,
    TenantResolver.ResolverConfigError | JwtResolver.JoseNotInstalled | Config.ConfigError
  >,
  DevelopmentKeyRefused
> => {
  if (isConfigured(environment)) return Effect.succeed(JwtResolver.layerConfig())
  return environment["NODE_ENV"] === "production"
    ? Effect.fail(new DevelopmentKeyRefused())
    : Effect.succeed(layerDevelopment)
}
