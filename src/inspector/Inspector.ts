/**
 * The inspector: a page for those who look after a store, with its API, in the user's HTTP server.
 *
 * **Details**
 *
 * The page is static and has no data. It asks the API of `OperationsServer` below the same path, as the operator whom `authorize` finds
 * in each request, so it shows and does what that operator may see and do. It loads nothing from another host, and its policy for
 * content (CSP) forbids scripts, styles and requests of others.
 *
 * Requests carry the reason in a header of their own, which a page of another site cannot send: a cookie is enough as a credential,
 * and should be `HttpOnly` and `SameSite=Strict`.
 *
 * **Example** (At `/inspector/`, for administrators)
 *
 * ```ts
 * const Routes = Inspector.layer({
 *   path: "/inspector",
 *   authorize: (request) =>
 *     Effect.map(sessionOf(request), ({ user }) => ({ actor: user, tenants: "all", payloads: "masked" }))
 * }).pipe(Layer.provide([Operations.layer({ aggregates, projections }), Actions.layer({ projections })]))
 * ```
 */
import { Effect, Layer, Ref } from "effect"
import { uuidV4Unsafe } from "effect/crypto/SecureRandom"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import type { Actions } from "../operations/Actions.ts"
import type { Operations } from "../operations/Operations.ts"
import * as OperationsServer from "../operations/OperationsServer.ts"
import { type Access, type Authorize, OperatorUnknown } from "../operations/OperatorAccess.ts"
import { assets } from "./assets.ts"

/** Settings of the page and its API. */
export interface Options<R = never> {
  /** The path of the page, such as `/inspector`. */
  readonly path: `/${string}`
  /** Decides on the operator of each request, from a verified credential, such as the cookie of a session. */
  readonly authorize: Authorize<R>
}

const types: Readonly<Record<string, string>> = {
  "index.html": "text/html; charset=utf-8",
  "page.js": "text/javascript; charset=utf-8",
  "page.css": "text/css; charset=utf-8"
}

/** The page asks its own server alone. Pictures in styles are data: they come from the bundle. */
const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'self'",
  "frame-ancestors 'none'"
].join("; ")

/** The headers of every file of the page. */
const headers = {
  "content-security-policy": policy,
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "cache-control": "no-cache"
}

const fileOf = (name: string) =>
  Effect.map(
    Effect.promise(() => assets()),
    (files) =>
      HttpServerResponse.text(files.get(name) ?? "", { contentType: types[name] ?? "text/plain", headers })
  )

/** The page at a path, and the API below it. */
export const layer = <R = never>({
  authorize,
  path
}: Options<R>): Layer.Layer<never, never, HttpRouter.HttpRouter | Operations | Actions | R> => {
  const Page = HttpRouter.use((router) =>
    Effect.gen(function* () {
      // Names in the page are relative, so it needs the slash at the end. The router takes both for one path.
      const name = `${path.slice(path.lastIndexOf("/") + 1)}/`
      yield* router.add("GET", path, (request) =>
        new URL(request.originalUrl, "http://localhost").pathname.endsWith("/")
          ? fileOf("index.html")
          : Effect.succeed(HttpServerResponse.redirect(name, { status: 308 }))
      )
      for (const file of ["page.js", "page.css"]) yield* router.add("GET", `${path}/${file}`, fileOf(file))
    })
  )
  return Layer.merge(Page, OperationsServer.layer({ path: `${path}/api`, authorize }))
}

/** A way in for one browser, without accounts: on the machine of the operator. */
export interface Session {
  /** The token, to be given to the browser in the fragment of the address: `/inspector/#token=…`. It works once. */
  readonly token: string
  /** Knows the browser that has used the token, for {@link layer}. */
  readonly authorize: Authorize
  /** The route that trades the token for a cookie. Provide it at the path of the page. */
  readonly routes: Layer.Layer<never, never, HttpRouter.HttpRouter>
}

/** The name of the cookie of a session. */
const cookie = "inspector-session"

/**
 * A one-time token, and the session of the browser that uses it. The cookie is for this server alone: not for scripts, and not for
 * requests from other sites.
 */
export const session = (options: {
  /** The path of the page. */
  readonly path: `/${string}`
  /** The rights of whoever has the token. */
  readonly access: Access
}): Effect.Effect<Session> =>
  Effect.map(Ref.make<string | undefined>(uuidV4Unsafe()), (unused) => {
    const secret = uuidV4Unsafe()
    const token = Ref.getUnsafe(unused) ?? ""
    const use = (given: unknown): Effect.Effect<boolean> =>
      Ref.modify(unused, (expected) =>
        expected !== undefined && given === expected ? [true, undefined] : [false, expected]
      )
    return {
      token,
      authorize: (request) =>
        request.cookies[cookie] === secret
          ? Effect.succeed(options.access)
          : Effect.fail(new OperatorUnknown({ detail: "open the address with the token once more" })),
      routes: HttpRouter.add(
        "POST",
        `${options.path}/session`,
        Effect.gen(function* () {
          const request = yield* HttpServerRequest.HttpServerRequest
          const body = yield* Effect.orElseSucceed(request.json, () => null)
          const given =
            typeof body === "object" && body !== null && "token" in body ? body["token"] : undefined
          if (!(yield* use(given))) return HttpServerResponse.empty({ status: 401 })
          return HttpServerResponse.empty().pipe(
            HttpServerResponse.setCookieUnsafe(cookie, secret, {
              httpOnly: true,
              sameSite: "strict",
              path: `${options.path}/`
            })
          )
        })
      )
    }
  })
