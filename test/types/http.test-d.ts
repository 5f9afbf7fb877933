import { Effect, Layer, Redacted, Schema, type Scope } from "effect"
import { EventStore, Repository, Tenant } from "effect-eventsourcing"
import * as Http from "effect-eventsourcing/http"
import { JwtResolver, ProxyHeaderResolver, TenantMiddleware, TenantResolver } from "effect-eventsourcing/http"
import { HttpRouter, HttpServer, type HttpServerRequest, type HttpServerResponse } from "effect/http"
import { HttpApi, HttpApiBuilder, HttpApiEndpoint, HttpApiGroup } from "effect/http-api"
import { describe, expectTypeOf, test } from "vitest"
import { Line, Order, OrderPlaced } from "../../examples/saas/Order.ts"
import * as Server from "../../examples/saas/Server.ts"

const endpoint = HttpApiEndpoint.post("place", "/orders/:id", {
  params: { id: Schema.String },
  payload: Schema.Struct({ tenantId: Schema.String, lines: Schema.NonEmptyArray(Line) }),
  success: Schema.Int
})

const Guarded = HttpApi.make("guarded").add(
  HttpApiGroup.make("orders").add(endpoint).middleware(TenantMiddleware.TenantMiddleware)
)
const Bearer = HttpApi.make("bearer").add(
  HttpApiGroup.make("orders").add(endpoint).middleware(TenantMiddleware.BearerTenantMiddleware)
)
const Unguarded = HttpApi.make("unguarded").add(HttpApiGroup.make("orders").add(endpoint))

const place = (id: string, lines: readonly [Line, ...Array<Line>]) =>
  Repository.Repository.use(({ execute }) => execute(Order, id, () => [OrderPlaced.make({ lines })])).pipe(
    Effect.map(({ version }) => version),
    Effect.orDie
  )

const handlersOf = {
  guarded: HttpApiBuilder.group(Guarded, "orders", (handlers) =>
    handlers.handle("place", ({ params, payload }) => place(params.id, payload.lines))
  ),
  bearer: HttpApiBuilder.group(Bearer, "orders", (handlers) =>
    handlers.handle("place", ({ params, payload }) => place(params.id, payload.lines))
  ),
  unguarded: HttpApiBuilder.group(Unguarded, "orders", (handlers) =>
    handlers.handle("place", ({ params, payload }) => place(params.id, payload.lines))
  )
}

declare const Services: Layer.Layer<Repository.Repository>
declare const Middleware: Layer.Layer<
  TenantMiddleware.TenantMiddleware | TenantMiddleware.BearerTenantMiddleware
>
declare const tenantId: Tenant.TenantId

type Served = Effect.Effect<
  HttpServerResponse.HttpServerResponse,
  unknown,
  HttpServerRequest.HttpServerRequest | Scope.Scope
>

describe("a handler that requires a tenant", () => {
  const guarded = HttpRouter.toHttpEffect(
    HttpApiBuilder.layer(Guarded).pipe(
      Layer.provide(handlersOf.guarded),
      HttpRouter.provideRequest(Services),
      Layer.provide(Middleware),
      Layer.provide(HttpServer.layerServices)
    )
  )
  const bearer = HttpRouter.toHttpEffect(
    HttpApiBuilder.layer(Bearer).pipe(
      Layer.provide(handlersOf.bearer),
      HttpRouter.provideRequest(Services),
      Layer.provide(Middleware),
      Layer.provide(HttpServer.layerServices)
    )
  )
  const unguarded = HttpRouter.toHttpEffect(
    HttpApiBuilder.layer(Unguarded).pipe(
      Layer.provide(handlersOf.unguarded),
      HttpRouter.provideRequest(Services),
      Layer.provide(Middleware),
      // Not even a layer with a tenant helps, because it would serve that tenant to all requests.
      Layer.provide(Layer.succeed(Tenant.CurrentTenant, tenantId)),
      Layer.provide(HttpServer.layerServices)
    )
  )

  test("compiles in a group with the middleware", () => {
    expectTypeOf<Effect.Success<typeof guarded>>().toExtend<Served>()
    expectTypeOf<Effect.Success<typeof bearer>>().toExtend<Served>()
    void Server.layer(guarded, { port: 0 })
  })

  test("does not compile in a group without it", () => {
    expectTypeOf<Effect.Success<typeof unguarded>>().not.toExtend<Served>()
    expectTypeOf<
      Extract<Effect.Services<Effect.Success<typeof unguarded>>, Tenant.CurrentTenant>
    >().toEqualTypeOf<Tenant.CurrentTenant>()
    // @ts-expect-error Type 'CurrentTenant' is not assignable to type 'HttpServerRequest | Scope'.
    void Server.layer(unguarded, { port: 0 })
  })
})

describe("unsafe creation", () => {
  test("of an aggregate under no tenant does not compile", () => {
    const unsafe = place("1", [{ product: "Teapot", quantity: 1, price: 1 }]).pipe(Effect.provide(Services))
    // @ts-expect-error Type 'CurrentTenant' is not assignable to type 'never'.
    void (() => Effect.runPromise(unsafe))
    void (() => Effect.runPromise(unsafe.pipe(Tenant.provide(tenantId))))
  })

  test("of an aggregate under a tenant from a request's body does not compile", () => {
    HttpApiBuilder.group(Guarded, "orders", (handlers) =>
      handlers.handle("place", ({ params, payload }) =>
        place(params.id, payload.lines).pipe(
          // @ts-expect-error Argument of type 'string' is not assignable to parameter of type 'TenantId'.
          Tenant.provide(payload.tenantId)
        )
      )
    )
  })
})

/** The requirements of the layers of a module, including those that functions return. */
type NeedsOf<Module> = {
  [Name in keyof Module]: Module[Name] extends Layer.Layer<infer _A, infer _E, infer R>
    ? R
    : Module[Name] extends (...options: never) => Layer.Layer<infer _A, infer _E, infer R>
      ? R
      : never
}[keyof Module]

describe("a layer of this module", () => {
  test("requires neither a tenant nor a principal to be built", () => {
    // The other two have the requirements of functions of their users.
    type Needs = {
      [Module in Exclude<keyof typeof Http, "SubdomainResolver" | "TenantResolver">]: NeedsOf<
        (typeof Http)[Module]
      >
    }[Exclude<keyof typeof Http, "SubdomainResolver" | "TenantResolver">]
    expectTypeOf<
      Extract<Needs, Tenant.CurrentTenant | Tenant.AllTenants | TenantResolver.CurrentPrincipal>
    >().toEqualTypeOf<never>()
    expectTypeOf<NeedsOf<typeof TenantMiddleware>>().not.toExtend<EventStore.EventStore>()
  })
})

describe("a resolver", () => {
  const issuer = "https://issuer.test"
  const audience = "service"
  const secret = Redacted.make("")

  test("of tokens requires algorithms that fit the key, an issuer and an audience", () => {
    void JwtResolver.layer({ key: { secret, algorithms: ["HS256"] }, issuer, audience })
    void JwtResolver.layer({ key: { publicKey: "", algorithms: ["RS256", "ES256"] }, issuer, audience })
    // @ts-expect-error A public key is not a shared secret.
    void JwtResolver.layer({ key: { publicKey: "", algorithms: ["HS256"] }, issuer, audience })
    // @ts-expect-error A shared secret is not a public key.
    void JwtResolver.layer({ key: { secret, algorithms: ["RS256"] }, issuer, audience })
    // @ts-expect-error The algorithms are empty.
    void JwtResolver.layer({ key: { secret, algorithms: ["none"] }, issuer, audience })
    // @ts-expect-error The algorithms are missing.
    void JwtResolver.layer({ key: { secret, algorithms: [] }, issuer, audience })
    // @ts-expect-error The audience is missing.
    void JwtResolver.layer({ key: { secret, algorithms: ["HS256"] }, issuer })
    // @ts-expect-error The issuer is missing.
    void JwtResolver.layer({ key: { secret, algorithms: ["HS256"] }, audience })
    // @ts-expect-error The secret is not redacted.
    void JwtResolver.layer({ key: { secret: "secret", algorithms: ["HS256"] }, issuer, audience })
  })

  test("of a header requires a proxy that can be recognised", () => {
    void ProxyHeaderResolver.layer({ proxy: { peers: ["10.0.0.7"] } })
    void ProxyHeaderResolver.layer({ proxy: { secret: { header: "x-secret", value: secret } } })
    // @ts-expect-error Nobody is trusted by default.
    void ProxyHeaderResolver.layer({})
    // @ts-expect-error Neither an address nor a secret.
    void ProxyHeaderResolver.layer({ proxy: {} })
    // @ts-expect-error The list of addresses is empty.
    void ProxyHeaderResolver.layer({ proxy: { peers: [] } })
  })
})
