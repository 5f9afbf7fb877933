/**
 * Tenants from a header such as `x-tenant-id`, for services behind a proxy that verifies the tenant of each request.
 */
import { Effect, Layer, Result, Schema } from "effect"
import { Repeated, soleHeader } from "./headers.ts"
import { isActor } from "./actor.ts"
import { TenantId } from "../domain/Tenant.ts"
import { CredentialMalformed, CredentialMissing, CredentialRejected } from "./TenantAccessError.ts"
import { type ResolverConfigError, TenantResolver } from "./TenantResolver.ts"
import * as TrustedProxy from "./TrustedProxy.ts"

/** The headers to trust, and the proxy that may set them. */
export interface Options {
  /** The trusted proxy. It must remove these headers from the requests of clients. */
  readonly proxy: TrustedProxy.TrustedProxy
  /** The header with the tenant's id. Default: `x-tenant-id`. */
  readonly tenantHeader?: string | undefined
  /** The header with the actor, which a request may omit. Default: none, so that requests have no actor. */
  readonly actorHeader?: string | undefined
}

const decodeTenantId = Schema.decodeUnknownResult(TenantId)

/** A resolver that trusts a header if and only if it comes from the trusted proxy. */
export const make = (options: Options): Effect.Effect<TenantResolver["Service"], ResolverConfigError> =>
  Effect.map(TrustedProxy.make(options.proxy), (isProxy) => {
    const { tenantHeader = "x-tenant-id", actorHeader } = options
    return {
      challenge: undefined,
      resolve: Effect.fnUntraced(function* (request) {
        const stated = soleHeader(request, tenantHeader)
        if (stated === undefined) return yield* new CredentialMissing()
        if (!(yield* isProxy(request))) return yield* new CredentialRejected({ reason: "untrustedSender" })
        const tenantId = decodeTenantId(stated)
        if (Result.isFailure(tenantId))
          return yield* new CredentialMalformed({ detail: `${tenantHeader} is not one tenant id` })
        const actor = actorHeader === undefined ? undefined : soleHeader(request, actorHeader)
        if (actor === Repeated || (actor !== undefined && !isActor(actor)))
          return yield* new CredentialMalformed({
            detail: `${actorHeader} is not one text of 1 to 255 characters without control characters`
          })
        return { tenantId: tenantId.success, actor, claims: {} }
      })
    }
  })

/** A resolver that trusts a header if and only if it comes from the trusted proxy. */
export const layer = (options: Options): Layer.Layer<TenantResolver, ResolverConfigError> =>
  Layer.effect(TenantResolver, make(options))
