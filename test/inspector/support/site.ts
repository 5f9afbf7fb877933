/** The inspector on a server of this process, with two tenants of the same ids. */
import { NodeHttpServer } from "@effect/platform-node"
import { Context, Effect, Layer } from "effect"
import { HttpRouter, HttpServer } from "effect/http"
import { createServer } from "node:http"
import type * as Tenant from "../../../src/domain/Tenant.ts"
import * as Inspector from "../../../src/inspector/Inspector.ts"
import * as MemoryStorage from "../../../src/memory/MemoryStorage.ts"
import * as Actions from "../../../src/operations/Actions.ts"
import * as Operations from "../../../src/operations/Operations.ts"
import * as OperatorAccess from "../../../src/operations/OperatorAccess.ts"
import { append, events, newTenant, stream } from "../../../src/testing/driver/eventKit.ts"
import { newProjection } from "../../../src/testing/driver/projectionKit.ts"
import { depositsOf, fill, operating, troubled } from "../../../src/testing/operations/kit.ts"

/** The secrets of the two tenants: whatever shows one of them shows data of that tenant. */
export const canary = { a: "canary-of-alpha", b: "canary-of-bravo" } as const

/** The header by which the server of these tests knows an operator. */
export const operatorHeader = "x-test-operator"

const accessOf = (name: string | undefined, a: Tenant.TenantId): OperatorAccess.Access | undefined => {
  if (name === "boss") return { actor: "boss", tenants: "all", payloads: "full", personal: true, may: "act" }
  if (name === "looker") return { actor: "looker", tenants: "all" }
  return name === "alpha" ? { actor: "alpha", tenants: [a], payloads: "full" } : undefined
}

/** Serves the inspector of a store, and also one with a session at `/local`. */
export const serveInspector = (
  services: Layer.Layer<Operations.Operations | Actions.Actions>,
  authorize: OperatorAccess.Authorize
) =>
  Effect.gen(function* () {
    const session = yield* Inspector.session({
      path: "/local",
      access: { actor: "local", tenants: "all", may: "look" }
    })
    const built = yield* Layer.build(
      HttpRouter.serve(
        Layer.mergeAll(
          Inspector.layer({ path: "/inspector", authorize }),
          Inspector.layer({ path: "/local", authorize: session.authorize }),
          session.routes
        ).pipe(Layer.provide(services)),
        { disableListenLog: true, disableLogger: true }
      ).pipe(Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" })))
    )
    const { address } = Context.get(built, HttpServer.HttpServer)
    return { url: HttpServer.formatAddress(address), token: session.token }
  })

/** Two tenants with events, a parked projection, dead letters, subjects, holds and snapshots. */
export const site = Effect.gen(function* () {
  const storages = yield* Layer.build(MemoryStorage.layer)
  return yield* Effect.gen(function* () {
    const projected = yield* newProjection()
    const [a, b] = [newTenant(), newTenant()]
    for (const [tenant, secret] of [
      [a, canary.a],
      [b, canary.b]
    ] as const) {
      yield* fill(tenant, secret)
      yield* troubled(tenant, secret, projected)
    }
    const served = yield* operating([depositsOf(projected)], (operations) =>
      serveInspector(
        Layer.merge(
          Layer.succeed(Operations.Operations, operations),
          Actions.layer().pipe(Layer.provide(Layer.succeedContext(storages)))
        ),
        (request) => {
          const access = accessOf(request.headers[operatorHeader], a)
          return access === undefined
            ? Effect.fail(new OperatorAccess.OperatorUnknown())
            : Effect.succeed(access)
        }
      )
    )
    return {
      ...served,
      a,
      b,
      /** Appends an event to a tenant. */
      appendTo: (tenant: Tenant.TenantId) =>
        append(tenant, stream("live", events(1))).pipe(Effect.provideContext(storages))
    }
  }).pipe(Effect.provideContext(storages))
})
