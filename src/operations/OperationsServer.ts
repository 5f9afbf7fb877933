/**
 * `Operations` and `Actions` as routes in the user's HTTP server.
 *
 * **Example** (Routes below `/operations`, for those who have a token)
 *
 * ```ts
 * const Routes = OperationsServer.layer({
 *   path: "/operations",
 *   authorize: (request) =>
 *     request.headers["authorization"] === `Bearer ${token}`
 *       ? Effect.succeed({ actor: "ada", tenants: "all" })
 *       : Effect.fail(new OperatorAccess.OperatorUnknown())
 * }).pipe(Layer.provide(Operations.layer({ aggregates })), Layer.provide(Actions.layer()))
 * ```
 */
import { Effect, Layer } from "effect"
import { HttpRouter, HttpServer } from "effect/http"
import { HttpApiBuilder, HttpApiMiddleware } from "effect/http-api"
import * as ActionHandlers from "./actionHandlers.ts"
import type { Actions } from "./Actions.ts"
import * as ApiHandlers from "./apiHandlers.ts"
import type { Operations } from "./Operations.ts"
import { Api } from "./apiGroups.ts"
import * as OperatorAccess from "./OperatorAccess.ts"

/** Settings of the routes. */
export interface Options<R = never> {
  /** The path of the routes, such as `/operations`. Default: the root. */
  readonly path?: `/${string}` | undefined
  /** Decides on the operator of each request, from a verified credential. */
  readonly authorize: OperatorAccess.Authorize<R>
}

/**
 * The routes of `OperationsApi.Api`, and its description at `openapi.json` below the path.
 *
 * **Gotchas**
 *
 * The description is public. It has no data.
 */
export const layer = <R = never>({
  authorize,
  path = "/"
}: Options<R>): Layer.Layer<never, never, HttpRouter.HttpRouter | Actions | Operations | R> => {
  const Prefixed = Layer.effect(
    HttpRouter.HttpRouter,
    Effect.map(HttpRouter.HttpRouter, (router) => (path === "/" ? router : router.prefixed(path)))
  )
  return HttpApiBuilder.layer(Api, { openapiPath: "/openapi.json" }).pipe(
    // Fresh, because handlers keep the guard with which they were built, and another server of the program has another one.
    Layer.provide([Layer.fresh(ApiHandlers.layer), Layer.fresh(ActionHandlers.layer)]),
    Layer.provide(OperatorAccess.layer(authorize)),
    Layer.provide(HttpApiMiddleware.layerProblemDetails({ includeDetails: true })),
    Layer.provide(Layer.fresh(Prefixed)),
    Layer.provide(HttpServer.layerServices)
  )
}
