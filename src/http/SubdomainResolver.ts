/**
 * Tenants from subdomains: `acme.example.com`.
 */
import { Effect, Layer } from "effect"
import type { HttpServerRequest } from "effect/http"
import { Repeated, soleHeader } from "./headers.ts"
import type { TenantId } from "../domain/Tenant.ts"
import {
  CredentialMalformed,
  CredentialMissing,
  CredentialRejected,
  TenantCheckUnavailable,
  TenantNotKnown
} from "./TenantAccessError.ts"
import { ResolverConfigError, TenantResolver } from "./TenantResolver.ts"
import * as TrustedProxy from "./TrustedProxy.ts"

/** The base domain and the tenants of its subdomains. */
export interface Options<E, R> {
  /** The domain directly above the subdomains of tenants, for example `example.com`. */
  readonly baseDomain: string
  /** Finds the tenant of a subdomain (`acme`, in lower case); undefined if there is none. If it fails, the answer is 503. */
  readonly lookup: (slug: string) => Effect.Effect<TenantId | undefined, E, R>
  /**
   * The header with the host that the client requested, for example `x-forwarded-host`, and the proxy that may set it. Default:
   * `host`.
   */
  readonly forwarded?: { readonly header: string; readonly proxy: TrustedProxy.TrustedProxy } | undefined
}

const label = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
const domain = new RegExp(`^${label}(?:\\.${label})*$`)
const port = /:\d{1,5}$/

/** The subdomain of a host; undefined for the base domain itself, and false for any other host. */
const slugOf = (host: string, baseDomain: string): string | undefined | false => {
  const name = host.toLowerCase().replace(port, "").replace(/\.$/, "")
  if (name === baseDomain) return undefined
  if (!domain.test(name) || !name.endsWith(`.${baseDomain}`)) return false
  const slug = name.slice(0, -baseDomain.length - 1)
  return slug.includes(".") ? false : slug
}

/**
 * A resolver that takes the tenant from the host of the request.
 *
 * **Gotchas**
 *
 * A subdomain is not a credential: it names the tenant whose pages are requested, and does not identify the person who requests
 * them. Use it alone only for public pages. Otherwise combine it with a token by `TenantResolver.agreeing`.
 */
export const make = <E, R>(
  options: Options<E, R>
): Effect.Effect<TenantResolver["Service"], ResolverConfigError, R> =>
  Effect.gen(function* () {
    const { forwarded, lookup } = options
    const services = yield* Effect.context<R>()
    const baseDomain = options.baseDomain.toLowerCase()
    if (!domain.test(baseDomain))
      return yield* new ResolverConfigError({ problem: `"${options.baseDomain}" is not a domain` })
    const isProxy = forwarded === undefined ? undefined : yield* TrustedProxy.make(forwarded.proxy)

    const hostOf = Effect.fnUntraced(function* (request: HttpServerRequest.HttpServerRequest) {
      const name = forwarded?.header ?? "host"
      const host = soleHeader(request, name)
      if (host === undefined) return yield* new CredentialMissing()
      // There is no fallback to the `host` header, because that one names the proxy.
      if (isProxy !== undefined && !(yield* isProxy(request)))
        return yield* new CredentialRejected({ reason: "untrustedSender" })
      if (host === Repeated)
        return yield* new CredentialMalformed({ detail: `${name} is given more than once` })
      return host
    })

    return {
      challenge: undefined,
      resolve: Effect.fnUntraced(function* (request) {
        const slug = slugOf(yield* hostOf(request), baseDomain)
        if (slug === undefined) return yield* new CredentialMissing()
        if (slug === false)
          return yield* new CredentialMalformed({ detail: "the host is not a subdomain of this service" })
        const tenantId = yield* lookup(slug).pipe(
          Effect.provideContext(services),
          Effect.tapError((error) =>
            Effect.logWarning("The tenant of a subdomain could not be looked up", error)
          ),
          Effect.mapError(() => new TenantCheckUnavailable())
        )
        if (tenantId === undefined) return yield* new TenantNotKnown()
        return { tenantId, claims: {} }
      })
    }
  })

/** A resolver that takes the tenant from the host of the request. See {@link make}. */
export const layer = <E, R>(options: Options<E, R>): Layer.Layer<TenantResolver, ResolverConfigError, R> =>
  Layer.effect(TenantResolver, make(options))
