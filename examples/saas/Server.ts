/**
 * Serves routes on `node:http`, without a platform package.
 */
import { ByteSize, Context, Effect, Layer, Schema, type Scope } from "effect"
import { TrustedProxy } from "effect-eventsourcing/http"
import { HttpEffect, HttpIncomingMessage, type HttpServerRequest, type HttpServerResponse } from "effect/http"
import { createServer, type IncomingMessage, type Server as NodeServer, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { Readable } from "node:stream"
import { pipeline } from "node:stream/promises"

/** The running server. */
export class Server extends Context.Service<Server, { readonly url: string }>()("saas/Server") {}

/** Raised when the server cannot listen on its port. */
export class CannotListen extends Schema.TaggedError<CannotListen>()("CannotListen", {
  port: Schema.Int,
  code: Schema.String
}) {
  override get message(): string {
    return `Port ${this.port} cannot be listened on (${this.code}): set PORT to another one, 0 for any.`
  }
}

type WebHandler = (request: Request, context: Context.Context<never>) => Promise<Response>

const toRequest = (incoming: IncomingMessage, signal: AbortSignal): Request => {
  const headers = new Headers()
  // All headers as sent, because Node would silently drop the second of two `authorization` headers.
  const raw = incoming.rawHeaders
  for (let index = 0; index + 1 < raw.length; index += 2)
    headers.append(raw[index] ?? "", raw[index + 1] ?? "")
  const { method = "GET", url = "/" } = incoming
  return new Request(url.startsWith("/") ? `http://localhost${url}` : url, {
    method,
    headers,
    signal,
    ...(method === "GET" || method === "HEAD" ? {} : { body: Readable.toWeb(incoming), duplex: "half" })
  })
}

/** The peer's address, for services behind a trusted proxy, and a limit for bodies. */
const contextOf = (incoming: IncomingMessage) =>
  Context.make(HttpIncomingMessage.MaxBodySize, ByteSize.mebibytes(1)).pipe(
    Context.add(TrustedProxy.PeerAddress, incoming.socket.remoteAddress)
  )

const respond = async (handler: WebHandler, incoming: IncomingMessage, outgoing: ServerResponse) => {
  const abort = new AbortController()
  outgoing.once("close", () => {
    if (!outgoing.writableFinished) abort.abort()
  })
  let request: Request
  try {
    request = toRequest(incoming, abort.signal)
  } catch {
    outgoing.writeHead(400, { connection: "close" }).end()
    return
  }
  const response = await handler(request, contextOf(incoming))
  // The rest of an unread or too large body must not be taken for the next request.
  if (!incoming.complete) outgoing.setHeader("connection", "close")
  outgoing.writeHead(response.status, [...response.headers].flat())
  if (response.body === null) outgoing.end()
  else await pipeline(Readable.fromWeb(response.body), outgoing)
}

const listen = (server: NodeServer, port: number): Effect.Effect<AddressInfo, CannotListen> =>
  Effect.callback((resume) => {
    server.once("error", (error: NodeJS.ErrnoException) =>
      resume(Effect.fail(new CannotListen({ port, code: error.code ?? error.name })))
    )
    server.listen(port, "127.0.0.1", () => {
      const address = server.address()
      resume(
        typeof address === "object" && address !== null
          ? Effect.succeed(address)
          : Effect.die(new Error("a server without a port"))
      )
    })
  })

/** Accepts no more requests, and waits for those in progress. */
const close = (server: NodeServer): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    server.close(() => resume(Effect.void))
    server.closeIdleConnections()
  }).pipe(
    Effect.timeoutOrElse({
      duration: "5 seconds",
      orElse: () => Effect.sync(() => server.closeAllConnections())
    })
  )

/** An HTTP application. A handler that still requires a tenant, because its group lacks the middleware, does not fit. */
export type App = Effect.Effect<
  HttpServerResponse.HttpServerResponse,
  unknown,
  HttpServerRequest.HttpServerRequest | Scope.Scope
>

/** Serves an application (`HttpRouter.toHttpEffect`) on a port of this machine; 0 for any free one. */
export const layer = <E, R>(
  make: Effect.Effect<App, E, R>,
  options: { readonly port: number }
): Layer.Layer<Server, E | CannotListen, Exclude<R, Scope.Scope>> =>
  Layer.effect(
    Server,
    Effect.gen(function* () {
      const handler: WebHandler = HttpEffect.toWebHandlerWith<
        never,
        HttpServerRequest.HttpServerRequest | Scope.Scope
      >(yield* Effect.context())(yield* make)
      const server = createServer((incoming, outgoing) => {
        respond(handler, incoming, outgoing).catch(() => outgoing.destroy())
      })
      yield* Effect.addFinalizer(() => close(server))
      const { port } = yield* listen(server, options.port)
      return { url: `http://localhost:${port}` }
    })
  )
