/**
 * Runs the handlers of an `HttpApi` for the verified tenant of the request.
 */
import { Cache, type Duration, Effect, Exit, Layer } from "effect"
import { HttpEffect, HttpServerRequest, HttpServerResponse } from "effect/http"
import { type HttpApiEndpoint, HttpApiMiddleware, HttpApiSecurity } from "effect/http-api"
import { layerPer } from "../internal/layerPer.ts"
import * as EventContext from "../domain/EventContext.ts"
import * as EventStorage from "../driver/EventStorage.ts"
import * as StatedTenant from "./statedTenant.ts"
import { CurrentTenant, provide as provideTenant, type TenantId } from "../domain/Tenant.ts"
import * as CorrelationId from "./CorrelationId.ts"
import {
  CredentialMalformed,
  CredentialMissing,
  CredentialRejected,
  type TenantAccessError,
  TenantCheckUnavailable,
  TenantContradicted,
  TenantNotActive,
  TenantNotKnown
} from "./TenantAccessError.ts"
import { CurrentPrincipal, TenantResolver } from "./TenantResolver.ts"
import { attribute } from "../telemetry/Telemetry.ts"

/** The responses that refuse a request before the handler of a guarded endpoint runs: the schemas of `TenantAccessError`. */
export const errors: readonly [
  typeof CredentialMissing,
  typeof CredentialMalformed,
  typeof CredentialRejected,
  typeof TenantNotKnown,
  typeof TenantNotActive,
  typeof TenantContradicted,
  typeof TenantCheckUnavailable
] = [
  CredentialMissing,
  CredentialMalformed,
  CredentialRejected,
  TenantNotKnown,
  TenantNotActive,
  TenantContradicted,
  TenantCheckUnavailable
]

/** Services that a guard provides to handlers. */
interface Provides {
  readonly provides: CurrentTenant | CurrentPrincipal
}

/**
 * Guards an API, a group or an endpoint: `.middleware(TenantMiddleware.TenantMiddleware)`. Its handlers run for the verified
 * tenant of the request. Without this guard, a handler that needs a tenant does not compile.
 *
 * **Details**
 *
 * Before the payload is decoded, the guard resolves the request with `TenantResolver`, checks in the storage that the tenant is
 * registered and active, and compares it with every other tenant that the request states. If it refuses the request, the answer
 * is a typed response (`TenantAccessError`), and nothing was executed.
 *
 * Handlers have `CurrentTenant`, `CurrentPrincipal`, and an event context with the actor and the correlation id of the request.
 * The response has the correlation id in `x-correlation-id`. Spans and log entries have `tenant.id`; metrics do not.
 */
export class TenantMiddleware extends HttpApiMiddleware.Service<TenantMiddleware, Provides>()(
  "effect-eventsourcing/http/TenantMiddleware",
  { error: errors }
) {}

/** {@link TenantMiddleware} for bearer tokens, with their security scheme in the OpenAPI description. */
export class BearerTenantMiddleware extends HttpApiMiddleware.Service<BearerTenantMiddleware, Provides>()(
  "effect-eventsourcing/http/BearerTenantMiddleware",
  {
    error: errors,
    security: { bearer: HttpApiSecurity.bearer }
  }
) {}

/** Settings of {@link layerWith}. */
export interface Options {
  /**
   * Time for which the status of an active tenant is cached; zero to ask the storage with every request. The storage itself
   * refuses appends of a suspended tenant at once. Default: 1 second.
   */
  readonly statusTimeToLive?: Duration.Input | undefined
  /** Maximum number of tenants whose status is cached. Default: 10,000. */
  readonly statusCapacity?: number | undefined
  /**
   * Treatment of a verified tenant that is not registered. `accept` is for issuers that decide on new tenants themselves, with a
   * storage that registers tenants with their first append. Default: `refuse`.
   */
  readonly unregistered?: "refuse" | "accept" | undefined
  /**
   * Names under which a request may state a tenant in its path, query and body (at any depth). Case, `-` and `_` do not matter.
   * Default: `tenantId`. An empty list turns this check off.
   *
   * **Gotchas**
   *
   * Only JSON and form bodies are checked. A handler that reads a tenant from a multipart body, a stream or another media type
   * must compare it with `CurrentTenant` itself.
   */
  readonly tenantFields?: ReadonlyArray<string> | undefined
  /** Headers in which a request may state a tenant. Default: `x-tenant-id`. */
  readonly tenantHeaders?: ReadonlyArray<string> | undefined
}

const defaultStatusTimeToLive = "1 second"
const defaultStatusCapacity = 10_000

const make = (options: Options) =>
  Effect.gen(function* () {
    const resolver = yield* TenantResolver
    const storage = yield* EventStorage.EventStorage
    const checkStated = StatedTenant.check({
      fields: options.tenantFields ?? ["tenantId"],
      headers: options.tenantHeaders ?? ["x-tenant-id"]
    })

    // The key is the verified tenant. Refused tenants are not cached.
    const statuses = yield* Cache.makeWith((tenantId: TenantId) => storage.tenantStatus(tenantId), {
      capacity: options.statusCapacity ?? defaultStatusCapacity,
      timeToLive: (exit) =>
        Exit.isSuccess(exit) && exit.value === "active"
          ? (options.statusTimeToLive ?? defaultStatusTimeToLive)
          : 0
    })

    const checkStatus = Effect.fnUntraced(function* (tenantId: TenantId) {
      const status = yield* Cache.get(statuses, tenantId).pipe(
        Effect.tapError((error) => Effect.logWarning("The status of a tenant cannot be read", error)),
        Effect.mapError(() => new TenantCheckUnavailable())
      )
      if (status === "suspended" || status === "erased") return yield* new TenantNotActive()
      if (status === "importing" || status === "moved") return yield* new TenantCheckUnavailable()
      const isRefused = status === undefined ? options.unregistered !== "accept" : status === "elsewhere"
      if (isRefused) return yield* new TenantNotKnown()
    })

    const headersOf = (error: TenantAccessError): Record<string, string> => {
      const { challenge } = resolver
      if (error._tag === "TenantCheckUnavailable") return { "retry-after": "1" }
      if (challenge === undefined) return {}
      if (error._tag === "CredentialMissing") return { "www-authenticate": challenge }
      return error._tag === "CredentialRejected"
        ? { "www-authenticate": `${challenge} error="invalid_token"` }
        : {}
    }

    // Not part of the schemas, because the resolver has the challenge, and Effect allows one schema with headers per status.
    const respondWithHeaders = (error: TenantAccessError) =>
      HttpEffect.appendPreResponseHandler((_request, response) =>
        Effect.succeed(HttpServerResponse.setHeaders(response, headersOf(error)))
      )

    /** Admits a request or fails with the reason. */
    const admit = Effect.fnUntraced(function* (endpoint: HttpApiEndpoint.Top) {
      const request = yield* HttpServerRequest.HttpServerRequest
      const principal = yield* resolver.resolve(request)
      yield* checkStatus(principal.tenantId)
      yield* checkStated(endpoint, principal.tenantId)
      return principal
    }, Effect.tapError(respondWithHeaders))

    return <E>(
      handler: Effect.Effect<HttpServerResponse.HttpServerResponse, E, CurrentTenant | CurrentPrincipal>,
      { endpoint }: { readonly endpoint: HttpApiEndpoint.Top }
    ) =>
      Effect.gen(function* () {
        const principal = yield* admit(endpoint)
        const { tenantId, actor } = principal
        yield* Effect.annotateCurrentSpan(attribute.tenantId, tenantId)
        return yield* handler.pipe(
          EventContext.provide({ actor }),
          Effect.provideService(CurrentPrincipal, principal),
          provideTenant(tenantId),
          Effect.annotateSpans(attribute.tenantId, tenantId),
          Effect.annotateLogs(attribute.tenantId, tenantId)
        )
      }).pipe(CorrelationId.provide)
  })

/** Both guards, for the tenants in an event storage, with settings. */
export const layerWith = (
  options: Options
): Layer.Layer<
  TenantMiddleware | BearerTenantMiddleware,
  never,
  TenantResolver | EventStorage.EventStorage
> =>
  layerPer([TenantResolver, EventStorage.EventStorage], () =>
    Layer.unwrap(
      Effect.map(make(options), (guard) =>
        Layer.mergeAll(
          Layer.succeed(TenantMiddleware, guard),
          // The resolver reads the header itself and reports its problems.
          Layer.succeed(BearerTenantMiddleware, { bearer: guard })
        )
      )
    )
  )

/** Both guards, for the tenants in an event storage. */
export const layer: Layer.Layer<
  TenantMiddleware | BearerTenantMiddleware,
  never,
  TenantResolver | EventStorage.EventStorage
> = layerWith({})
