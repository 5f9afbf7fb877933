/** Valid and invalid tokens. */
import { Clock, Effect, Layer, Redacted } from "effect"
import { type JWTPayload, SignJWT } from "jose"
import * as JwtResolver from "../../../src/http/JwtResolver.ts"
import type * as TenantResolver from "../../../src/http/TenantResolver.ts"
import { tenantA } from "./guarded.ts"

export const secret = "a secret of forty bytes, which are enough"
export const issuer = "https://issuer.test"
export const audience = "service"

export const options: JwtResolver.Options = {
  key: { secret: Redacted.make(secret), algorithms: ["HS256"] },
  issuer,
  audience
}

/** The settings that accept the tokens of {@link sign}. */
export const resolver: Layer.Layer<TenantResolver.TenantResolver> = Layer.orDie(JwtResolver.layer(options))

/** The claims of a valid token, by the clock of the test. */
export const claims: Effect.Effect<JWTPayload> = Effect.map(Clock.currentTimeMillis, (now) => ({
  iss: issuer,
  aud: audience,
  sub: "ada",
  tenant_id: tenantA,
  exp: Math.floor(now / 1000) + 60
}))

/** Signs valid claims with the given changes. */
export const sign = (
  changed: JWTPayload = {},
  {
    key = new TextEncoder().encode(secret),
    alg = "HS256",
    kid
  }: {
    readonly key?: Parameters<SignJWT["sign"]>[0]
    readonly alg?: string
    readonly kid?: string
  } = {},
  without: ReadonlyArray<string> = []
): Effect.Effect<string> =>
  Effect.flatMap(claims, (good) =>
    Effect.promise(() =>
      new SignJWT(
        Object.fromEntries(
          Object.entries({ ...good, ...changed }).filter(([claim]) => !without.includes(claim))
        )
      )
        .setProtectedHeader({ alg, ...(kid === undefined ? {} : { kid }) })
        .sign(key)
    )
  )

/** A request with a token. */
export const withToken = (token: string, headers: Record<string, string> = {}): RequestInit => ({
  headers: { authorization: `Bearer ${token}`, ...headers }
})

export const base64url = (value: unknown): string =>
  Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url")
