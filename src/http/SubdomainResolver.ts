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

/** Which subdomains there are. */
export interface Options<E, R> {
  /** The domain that tenants are subdomains of, for example `example.com`; exactly one level above them. */
  readonly baseDomain: string
  /** The tenant of a subdomain (`acme`, in lower case); undefined if there is none. If it fails, the answer is 503. */
  readonly lookup: (slug: string) => Effect.Effect<TenantId | undefined, E, R>
  /**
   * Take the host that the client asked for from this header, set by a proxy that is trusted to set it, for example
   * `x-forwarded-host`. Default: from `host`, and from nothing else.
   */
  readonly forwarded?: { readonly header: string; readonly proxy: TrustedProxy.TrustedProxy } | undefined
}

const label = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
const domain = new RegExp(`^${label}(?:\\.${label})*$`)
const port = /:\d{1,5}$/

/** The tenant's part of a host; undefined if it is the base domain itself, false if it is neither. */
const slugOf = (host: string, baseDomain: string): string | undefined | false => {
  const name = host.toLowerCase().replace(port, "").replace(/\.$/, "")
  if (name === baseDomain) return undefined
  if (!domain.test(name) || !name.endsWith(`.${baseDomain}`)) return false
  const slug = name.slice(0, -baseDomain.length - 1)
  return slug.includes(".") ? false : slug
}

/**
 * A resolver that takes the tenant from the host that the request is for.
 *
 * **Gotchas**
 *
 * A subdomain says which tenant's pages are asked for, and not who asks: it is no credential. Use it alone for what
 * everybody may see and do, and otherwise together with a token, by `TenantResolver.agreeing`.
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
      // Not even the host of the request itself would be right then: it is the proxy's.
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

/** A resolver that takes the tenant from the host that the request is for, as {@link make} does. */
export const layer = <E, R>(options: Options<E, R>): Layer.Layer<TenantResolver, ResolverConfigError, R> =>
  Layer.effect(TenantResolver, make(options))
