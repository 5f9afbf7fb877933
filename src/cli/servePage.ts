/** The inspector on a port of this machine. A module of its own: other commands load neither a server nor the page. */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { Context, Effect, Layer, Schema, type Scope } from "effect"
import { uuidV4Unsafe } from "effect/crypto/SecureRandom"
import { HttpRouter, HttpServer } from "effect/http"
import { createServer } from "node:http"
import * as Inspector from "../inspector/Inspector.ts"
import type { Actions } from "../operations/Actions.ts"
import type { Operations } from "../operations/Operations.ts"
import type { Access } from "../operations/OperatorAccess.ts"

/** Raised when the port is taken, or is not allowed to this login. */
export class CannotListen extends Schema.TaggedError<CannotListen>()("CannotListen", { port: Schema.Int }) {
  override get message(): string {
    return `Port ${this.port} of this machine cannot be listened on: give --listen another one, or leave it out for a free one.`
  }
}

/** Serves the page until the scope closes. Returns its address, with the token that works once. */
export const servePage = (options: {
  /** The port; 0 for a free one. */
  readonly port: number
  readonly access: Access
}): Effect.Effect<string, CannotListen, Actions | Operations | Scope.Scope> =>
  Effect.gen(function* () {
    // Browsers keep cookies by host and path, but not by port: each inspector of this machine has its own path.
    const path = `/${uuidV4Unsafe().slice(0, 8)}` as const
    const session = yield* Inspector.session({ path, access: options.access })
    const services = yield* Effect.context<Actions | Operations>()
    const built = yield* Layer.build(
      HttpRouter.serve(
        Layer.merge(Inspector.layer({ path, authorize: session.authorize }), session.routes).pipe(
          Layer.provide(Layer.succeedContext(services))
        ),
        { disableListenLog: true, disableLogger: true }
      ).pipe(
        Layer.provideMerge(
          NodeHttpServer.layer(createServer, {
            port: options.port,
            host: "127.0.0.1",
            // A live tail in the browser has no end.
            gracefulShutdownTimeout: "100 millis"
          })
        )
      )
    ).pipe(Effect.mapError(() => new CannotListen({ port: options.port })))
    const { address } = Context.get(built, HttpServer.HttpServer)
    return `${HttpServer.formatAddress(address)}${path}/#token=${session.token}`
  })
