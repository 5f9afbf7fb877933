/**
 * From a request to a verified tenant.
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

/** In whose name a request is made, as far as that has been verified. */
export interface Principal {
  readonly tenantId: TenantId
  /** The person or program, 1 to 255 characters; undefined if the credential does not say. */
  readonly actor?: string | undefined
  /** What else the credential says, for example about roles: the claims of a token. Empty if it says nothing. */
  readonly claims: Readonly<Record<string, unknown>>
}

/** In whose name the running request is made. `CurrentTenant` is its tenant. */
export class CurrentPrincipal extends Context.Service<CurrentPrincipal, Principal>()(
  "effect-eventsourcing/http/CurrentPrincipal"
) {}

/** Why no principal can be made out. */
export type ResolveError =
  | CredentialMissing
  | CredentialMalformed
  | CredentialRejected
  | TenantContradicted
  | TenantNotKnown
  | TenantCheckUnavailable

/**
 * Says in whose name a request is made.
 *
 * **When to use**
 *
 * `JwtResolver`, `SubdomainResolver` and `ProxyHeaderResolver` make one; `TenantResolver.of` takes your own.
 *
 * **Details**
 *
 * A resolver verifies; it does not ask whether the tenant is registered: `TenantMiddleware` does. It must depend on
 * nothing but the request: it serves all tenants.
 */
export class TenantResolver extends Context.Service<
  TenantResolver,
  {
    /** The verified principal of a request. */
    readonly resolve: (request: HttpServerRequest.HttpServerRequest) => Effect.Effect<Principal, ResolveError>
    /** What a response with status 401 says in `www-authenticate`, for example `Bearer`; nothing if undefined. */
    readonly challenge: string | undefined
  }
>()("effect-eventsourcing/http/TenantResolver") {}

/** Raised when a resolver cannot be made from its settings. The message says why and never quotes a key. */
export class ResolverConfigError extends Schema.TaggedError<ResolverConfigError>()("ResolverConfigError", {
  problem: Schema.String
}) {
  override get message(): string {
    return `the tenant resolver cannot be made: ${this.problem}`
  }
}

type Service = TenantResolver["Service"]

/**
 * A resolver out of two that have to name the same tenant, for example of a token and a subdomain. The actor and the
 * claims are those of the first, and what that does not say, of the second.
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

/** The layer of a resolver of your own, or of one that is made by {@link agreeing}. */
export const layer = <E, R>(make: Effect.Effect<Service, E, R>): Layer.Layer<TenantResolver, E, R> =>
  Layer.effect(TenantResolver, make)
