/** Checks the tenants that a request states in its path, query, headers and body, besides its credential. */
import { Effect, Option } from "effect"
import { HttpMethod, HttpRouter, HttpServerRequest, UrlParams } from "effect/http"
import type { HttpApiEndpoint } from "effect/http-api"
import { TenantContradicted } from "./TenantAccessError.ts"
import { contradictionIn, isTenant, normalised } from "../domain/statedTenants.ts"
import type { TenantId } from "../domain/Tenant.ts"
import { Repeated, soleHeader } from "./headers.ts"

/** The names under which a request may state a tenant. */
export interface Names {
  readonly fields: ReadonlyArray<string>
  readonly headers: ReadonlyArray<string>
}

/** The names in `tenantId[]`, `tenantId[0]` and `filter[tenantId]`: lists and objects in queries and forms. */
const segments = (name: string): ReadonlyArray<string> => [name, ...name.split(/[[\]]/)]

type Encoding = "Json" | "FormUrlEncoded" | undefined

/** The encoding of a body that is read as a whole, as declared by the endpoint or else by the media type. */
const encodingOf = (endpoint: HttpApiEndpoint.Top, contentType: string | undefined): Encoding => {
  // Endpoints read a body without a media type as JSON.
  const type = contentType?.split(";", 1)[0]?.trim().toLowerCase() ?? "application/json"
  const declared = endpoint.payload.get(type)?.encoding._tag
  if (declared !== undefined)
    return declared === "Json" || declared === "FormUrlEncoded" ? declared : undefined
  if (type === "application/json" || type.endsWith("+json")) return "Json"
  return type === "application/x-www-form-urlencoded" ? "FormUrlEncoded" : undefined
}

const parseJson = Option.liftThrowable((text: string): unknown => JSON.parse(text))

/** The body of a request, if it can be checked. The endpoint can read it again. */
const bodyOf = (
  request: HttpServerRequest.HttpServerRequest,
  endpoint: HttpApiEndpoint.Top
): Effect.Effect<unknown> => {
  if (!HttpMethod.hasBody(request.method)) return Effect.undefined
  switch (encodingOf(endpoint, request.headers["content-type"])) {
    case "Json":
      // The endpoint refuses a body that is not JSON.
      return Effect.map(Effect.orDie(request.text), (text) => Option.getOrUndefined(parseJson(text)))
    case "FormUrlEncoded":
      return Effect.map(Effect.orDie(request.urlParamsBody), UrlParams.toRecord)
    case undefined:
      return Effect.undefined
  }
}

/** Fails if a request states another tenant, or an invalid tenant id. */
export const check = (names: Names) => {
  const fields = new Set(names.fields.map(normalised))
  const isName = (name: string) => segments(name).some((segment) => fields.has(normalised(segment)))
  const contradictionOf = (
    values: Readonly<Record<string, unknown>>,
    tenantId: TenantId
  ): string | undefined =>
    Object.keys(values).find((name) => {
      if (!isName(name)) return false
      const value = values[name]
      return !(Array.isArray(value) ? value : [value]).every((one) => isTenant(one, tenantId))
    })

  return Effect.fnUntraced(function* (endpoint: HttpApiEndpoint.Top, tenantId: TenantId) {
    const request = yield* HttpServerRequest.HttpServerRequest
    const header = names.headers.find((name) => {
      const value = soleHeader(request, name)
      return value === Repeated || (value !== undefined && !isTenant(value, tenantId))
    })
    if (header !== undefined) return yield* new TenantContradicted({ place: "header", name: header })
    if (fields.size === 0) return

    const inPath = contradictionOf((yield* HttpRouter.RouteContext).params, tenantId)
    if (inPath !== undefined) return yield* new TenantContradicted({ place: "path", name: inPath })
    const inQuery = contradictionOf(yield* HttpServerRequest.ParsedSearchParams, tenantId)
    if (inQuery !== undefined) return yield* new TenantContradicted({ place: "query", name: inQuery })
    const inBody = contradictionIn(yield* bodyOf(request, endpoint), isName, tenantId)
    if (inBody !== undefined) return yield* new TenantContradicted({ place: "body", name: inBody })
  })
}
