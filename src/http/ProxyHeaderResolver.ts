/**
 * Tenants from a header, for services behind a proxy that has verified whose the request is: `x-tenant-id`.
 */
import { Effect, Layer, Result, Schema } from "effect"
import { Repeated, soleHeader } from "./headers.ts"
import { nameProblem } from "../internal/json.ts"
import { TenantId } from "../domain/Tenant.ts"
import { CredentialMalformed, CredentialMissing, CredentialRejected } from "./TenantAccessError.ts"
import { type ResolverConfigError, TenantResolver } from "./TenantResolver.ts"
import * as TrustedProxy from "./TrustedProxy.ts"

/** Which headers are believed, and from whom. */
export interface Options {
  /** Who is believed. The proxy must remove these headers from what clients send. */
  readonly proxy: TrustedProxy.TrustedProxy
  /** The header with the tenant's id. Default: `x-tenant-id`. */
  readonly tenantHeader?: string | undefined
  /** The header with the actor; it may be missing. Default: none, and so no actor. */
  readonly actorHeader?: string | undefined
}

const decodeTenantId = Schema.decodeUnknownResult(TenantId)

/** A resolver that believes a header, if and only if it comes from the trusted proxy. */
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
        if (actor === Repeated || (actor !== undefined && nameProblem(actor) !== undefined))
          return yield* new CredentialMalformed({
            detail: `${actorHeader} is not one text of 1 to 255 characters`
          })
        return { tenantId: tenantId.success, actor, claims: {} }
      })
    }
  })

/** A resolver that believes a header, if and only if it comes from the trusted proxy. */
export const layer = (options: Options): Layer.Layer<TenantResolver, ResolverConfigError> =>
  Layer.effect(TenantResolver, make(options))
