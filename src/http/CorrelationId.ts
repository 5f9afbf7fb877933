/**
 * The correlation id of a request: that of its headers if it is well formed, otherwise a new one. It is part of the event
 * context while the request is handled, and every response carries it.
 */
import { Context, Effect, type Layer, Option } from "effect"
import { uuidV7Unsafe } from "effect/crypto/SecureRandom"
import {
  type Headers,
  HttpEffect,
  HttpRouter,
  HttpServerRequest,
  HttpServerResponse,
  HttpTraceContext
} from "effect/http"
import * as EventContext from "../domain/EventContext.ts"

/** The header for the correlation id, in requests and responses. */
export const header = "x-correlation-id"

/** The form of a correlation id from a client. It is restricted, because logs and events contain it. */
const wellFormed = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/

/**
 * The correlation id in the headers of a request: `x-correlation-id` if it has 1 to 128 letters, digits and `. _ : -` and
 * begins with a letter or digit; otherwise the trace id of a valid `traceparent` (W3C).
 */
export const fromHeaders = (headers: Headers.Headers): string | undefined => {
  const stated = headers[header]
  return stated !== undefined && wellFormed.test(stated)
    ? stated
    : Option.getOrUndefined(HttpTraceContext.w3c(headers))?.traceId
}

/** The correlation id of the running request; undefined outside of a request. */
export const CurrentCorrelationId: Context.Reference<string | undefined> = Context.Reference<
  string | undefined
>("effect-eventsourcing/http/CurrentCorrelationId", { defaultValue: () => undefined })

/**
 * Handles a request with its correlation id. Events get it, log entries and the span carry it as `correlation.id`, and the
 * response has it in `x-correlation-id`, also if it is an error. Nested use changes nothing.
 */
export const provide = <A, E, R>(
  handler: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R | HttpServerRequest.HttpServerRequest> =>
  Effect.flatMap(
    Effect.all([HttpServerRequest.HttpServerRequest, CurrentCorrelationId]),
    ([request, outer]) => {
      if (outer !== undefined) return handler
      const id = fromHeaders(request.headers) ?? uuidV7Unsafe()
      return HttpEffect.appendPreResponseHandler((_request, response) =>
        Effect.succeed(HttpServerResponse.setHeader(response, header, id))
      ).pipe(
        Effect.andThen(Effect.annotateCurrentSpan("correlation.id", id)),
        Effect.andThen(handler),
        EventContext.provide({ correlationId: id }),
        Effect.provideService(CurrentCorrelationId, id),
        Effect.annotateLogs("correlation.id", id)
      )
    }
  )

/**
 * Gives every request of a router a correlation id, even a request without a route.
 *
 * **When to use**
 *
 * Use it for endpoints that `TenantMiddleware` does not guard: the middleware gives its own requests a correlation id.
 */
export const layer: Layer.Layer<never, never, HttpRouter.HttpRouter> = HttpRouter.middleware(provide, {
  global: true
})
