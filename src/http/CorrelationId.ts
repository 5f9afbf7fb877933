/**
 * The correlation id of a request: taken from its headers if it is well formed, fresh otherwise, part of the event
 * context while the request is handled, and sent back with the response, whatever that is.
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

/** The header that a correlation id is taken from and sent back in. */
export const header = "x-correlation-id"

/** What a client may choose as a correlation id. It is written to logs and events, so it is one plain word. */
const wellFormed = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/

/**
 * The correlation id that the headers of a request state: `x-correlation-id`, if it has 1 to 128 letters, digits and
 * `. _ : -` and begins with a letter or digit; otherwise the trace id of `traceparent` (W3C), if that is valid.
 */
export const fromHeaders = (headers: Headers.Headers): string | undefined => {
  const stated = headers[header]
  return stated !== undefined && wellFormed.test(stated)
    ? stated
    : Option.getOrUndefined(HttpTraceContext.w3c(headers))?.traceId
}

/** The correlation id of the running request; undefined outside of one. */
export const CurrentCorrelationId: Context.Reference<string | undefined> = Context.Reference<
  string | undefined
>("effect-eventsourcing/http/CurrentCorrelationId", { defaultValue: () => undefined })

/**
 * Handles a request under its correlation id: events get it, log entries carry it as `correlation.id`, and so does the
 * span, and the response has it in `x-correlation-id`, also when it is an error. Nested use changes nothing.
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
 * Gives every request of a router a correlation id, also those that no route is found for.
 *
 * **When to use**
 *
 * `TenantMiddleware` does it for the endpoints that it guards; this layer is for all the others.
 */
export const layer: Layer.Layer<never, never, HttpRouter.HttpRouter> = HttpRouter.middleware(provide, {
  global: true
})
