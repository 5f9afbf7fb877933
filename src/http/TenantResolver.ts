/**
 * Resolvers, which find and verify the tenant of a request.
 */
import { Context, Effect, Layer, Schema } from "effect"
import type { HttpServerRequest } from "effect/http"
import type { TenantId } from "../domain/Tenant.ts"
import {
  type CredentialMalformed,
  type CredentialMissing,
  type CredentialRejected,
  type TenantCheckUnavailable,
  TenantContradicted,
  type TenantNotKnown
} from "./TenantAccessError.ts"

/** The verified tenant, actor and claims of a request. */
export interface Principal {
  readonly tenantId: TenantId
  /** The person or program, 1 to 255 characters; undefined if the credential does not name one. */
  readonly actor?: string | undefined
  /** All claims of the credential, for example roles. Empty if there are none. */
  readonly claims: Readonly<Record<string, unknown>>
}

/** The principal of the running request. `CurrentTenant` is its tenant. */
export class CurrentPrincipal extends Context.Service<CurrentPrincipal, Principal>()(
  "effect-eventsourcing/http/CurrentPrincipal"
) {}

/** The reasons for which a request has no principal. */
export type ResolveError =
  | CredentialMissing
  | CredentialMalformed
  | CredentialRejected
  | TenantContradicted
  | TenantNotKnown
  | TenantCheckUnavailable

/**
 * Resolves a request to its verified principal.
 *
 * **When to use**
 *
 * `JwtResolver`, `SubdomainResolver` and `ProxyHeaderResolver` make one. Write your own with `TenantResolver.of`.
 *
 * **Details**
 *
 * A resolver verifies the credential; `TenantMiddleware` checks that the tenant is registered. A resolver must depend on the
 * request only, because it serves all tenants.
 */
export class TenantResolver extends Context.Service<
  TenantResolver,
  {
    /** The verified principal of a request. */
    readonly resolve: (request: HttpServerRequest.HttpServerRequest) => Effect.Effect<Principal, ResolveError>
    /** The header `www-authenticate` of a response with status 401, for example `Bearer`; undefined for none. */
    readonly challenge: string | undefined
  }
>()("effect-eventsourcing/http/TenantResolver") {}

/** Raised when the settings of a resolver are invalid. The message gives the reason and never quotes a key. */
export class ResolverConfigError extends Schema.TaggedError<ResolverConfigError>()("ResolverConfigError", {
  problem: Schema.String
}) {
  override get message(): string {
    return `the tenant resolver cannot be made: ${this.problem}`
  }
}

type Service = TenantResolver["Service"]

/**
 * Combines two resolvers that must find the same tenant, for example for a token and a subdomain. Actor and claims come from
 * the first resolver; the second supplies those that the first lacks.
 */
export const agreeing = <E1, R1, E2, R2>(
  first: Effect.Effect<Service, E1, R1>,
  second: Effect.Effect<Service, E2, R2>
): Effect.Effect<Service, E1 | E2, R1 | R2> =>
  Effect.zipWith(first, second, (one, two) => ({
    challenge: one.challenge ?? two.challenge,
    resolve: (request) =>
      Effect.gen(function* () {
        const principal = yield* one.resolve(request)
        const other = yield* two.resolve(request)
        if (principal.tenantId !== other.tenantId)
          return yield* new TenantContradicted({ place: "credential", name: "tenant" })
        return {
          ...principal,
          actor: principal.actor ?? other.actor,
          claims: { ...other.claims, ...principal.claims }
        }
      })
  }))

/** The layer for a resolver of your own, or for {@link agreeing}. */
export const layer = <E, R>(make: Effect.Effect<Service, E, R>): Layer.Layer<TenantResolver, E, R> =>
  Layer.effect(TenantResolver, make)
