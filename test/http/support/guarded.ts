/** A small API behind the middleware, and its answers. */
import { Context, Effect, Layer, Ref, Schema, type Scope, Stream } from "effect"
import { HttpEffect, HttpRouter, HttpServer, type HttpServerRequest } from "effect/http"
import { HttpApi, HttpApiBuilder, HttpApiEndpoint, HttpApiGroup, HttpApiSchema } from "effect/http-api"
import * as EventContext from "../../../src/domain/EventContext.ts"
import * as EventStorage from "../../../src/driver/EventStorage.ts"
import * as EventStore from "../../../src/store/EventStore.ts"
import * as CorrelationId from "../../../src/http/CorrelationId.ts"
import * as TenantMiddleware from "../../../src/http/TenantMiddleware.ts"
import * as TenantResolver from "../../../src/http/TenantResolver.ts"
import * as MemoryStorage from "../../../src/memory/MemoryStorage.ts"
import * as Tenant from "../../../src/domain/Tenant.ts"
import * as TenantRegistry from "../../../src/store/TenantRegistry.ts"
import { Account, deposited } from "../../support/bank.ts"

export const tenantA: Tenant.TenantId = Tenant.TenantId.make("0197a000-0000-7000-8000-00000000000a")
export const tenantB: Tenant.TenantId = Tenant.TenantId.make("0197a000-0000-7000-8000-00000000000b")
/** A tenant that tests verify and never register. */
export const stranger: Tenant.TenantId = Tenant.TenantId.make("0197a000-0000-7000-8000-0000000000ff")

/** Number of handlers that have run. A refused request runs none. */
class Executions extends Context.Service<Executions, Ref.Ref<number>>()("test/Executions") {}

const WhoAmI = Schema.Struct({
  tenantId: Schema.String,
  actor: Schema.NullOr(Schema.String),
  role: Schema.NullOr(Schema.String),
  correlationId: Schema.NullOr(Schema.String)
})

const guarded = HttpApiGroup.make("guarded")
  .add(
    HttpApiEndpoint.get("whoami", "/whoami", { success: WhoAmI }),
    HttpApiEndpoint.get("path", "/tenants/:tenantId/things", {
      params: { tenantId: Schema.String },
      success: WhoAmI
    }),
    HttpApiEndpoint.post("json", "/things", { payload: Schema.Json, success: WhoAmI }),
    HttpApiEndpoint.post("vendor", "/vendor", {
      payload: Schema.Json.pipe(HttpApiSchema.asJson({ contentType: "application/vnd.things" })),
      success: WhoAmI
    }),
    HttpApiEndpoint.post("form", "/form", {
      payload: Schema.Struct({ name: Schema.String, tenant_id: Schema.optionalKey(Schema.String) }).pipe(
        HttpApiSchema.asFormUrlEncoded()
      ),
      success: WhoAmI
    }),
    HttpApiEndpoint.post("append", "/append", {
      success: Schema.Struct({ actor: Schema.NullOr(Schema.String), correlationId: Schema.String })
    }),
    HttpApiEndpoint.get("log", "/log", { success: Schema.Array(Schema.String) }),
    HttpApiEndpoint.get("broken", "/broken", { success: WhoAmI })
  )
  .middleware(TenantMiddleware.TenantMiddleware)

const open = HttpApiGroup.make("open").add(
  HttpApiEndpoint.get("health", "/health", { success: Schema.String })
)

const Api = HttpApi.make("test").add(guarded).add(open)

const whoami = Effect.gen(function* () {
  const executions = yield* Executions
  yield* Ref.update(executions, (count) => count + 1)
  const { tenantId, actor, claims } = yield* TenantResolver.CurrentPrincipal
  const { correlationId } = yield* EventContext.CurrentEventContext
  if (tenantId !== (yield* Tenant.CurrentTenant)) return yield* Effect.die(new Error("two tenants"))
  const role = claims["role"]
  return {
    tenantId,
    actor: actor ?? null,
    role: typeof role === "string" ? role : null,
    correlationId: correlationId ?? null
  }
})

const append = Effect.gen(function* () {
  const store = yield* EventStore.EventStore
  const { events } = yield* store.append({
    aggregate: Account,
    id: crypto.randomUUID(),
    expectedVersion: 0,
    events: [deposited(1)]
  })
  const [event] = events
  return { actor: event?.actor ?? null, correlationId: event?.correlationId ?? "" }
}).pipe(Effect.orDie)

const log = EventStore.EventStore.use((store) =>
  Stream.runCollect(Stream.map(store.readLogJson({}), ({ tenantId }) => tenantId))
).pipe(Effect.orDie)

const Handlers = Layer.mergeAll(
  HttpApiBuilder.group(Api, "guarded", (handlers) =>
    handlers
      .handle("whoami", () => whoami)
      .handle("path", () => whoami)
      .handle("json", () => whoami)
      .handle("vendor", () => whoami)
      .handle("form", () => whoami)
      .handle("append", () => append)
      .handle("log", () => log)
      .handle("broken", () => Effect.die(new Error("broken")))
  ),
  HttpApiBuilder.group(Api, "open", (handlers) => handlers.handle("health", () => Effect.succeed("ok")))
)

/** The answer to a request. */
export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly body: Readonly<Record<string, unknown>>
  readonly text: string
  /** The last part of the problem's type; undefined if the answer is no problem. */
  readonly problem: string | undefined
}

/** The API as a function. */
export interface Guarded {
  readonly send: (path: string, init?: RequestInit, context?: Context.Context<never>) => Effect.Effect<Answer>
  /** Number of handlers that have run. */
  readonly executions: Effect.Effect<number>
  readonly registry: TenantRegistry.TenantRegistry["Service"]
  readonly storage: EventStorage.EventStorage["Service"]
}

const answerOf = async (response: Response): Promise<Answer> => {
  const text = await response.text()
  const json = response.headers.get("content-type")?.includes("json") === true
  const body = (json ? JSON.parse(text) : {}) as Readonly<Record<string, unknown>>
  const isProblem = response.headers.get("content-type") === "application/problem+json"
  const problem = isProblem ? String(body["type"]).split(":").at(-1) : undefined
  return { status: response.status, headers: response.headers, body, text, problem }
}

/** Serves the API in memory, with tenants A and B registered. */
export const serve = <E>(
  resolver: Layer.Layer<TenantResolver.TenantResolver, E>,
  options: TenantMiddleware.Options = {},
  storage: Layer.Layer<EventStorage.EventStorage> = MemoryStorage.layer
): Effect.Effect<Guarded, never, Scope.Scope> =>
  Effect.gen(function* () {
    const executions = yield* Ref.make(0)
    const services = yield* Layer.build(
      Layer.mergeAll(EventStore.layer, TenantRegistry.layer).pipe(Layer.provideMerge(storage))
    )
    const registry = Context.get(services, TenantRegistry.TenantRegistry)
    yield* Effect.forEach([tenantA, tenantB], registry.provision)
    const app = yield* HttpRouter.toHttpEffect(
      Layer.merge(HttpApiBuilder.layer(Api), CorrelationId.layer).pipe(
        Layer.provide(Handlers),
        HttpRouter.provideRequest(Layer.succeedContext(Context.add(services, Executions, executions))),
        Layer.provide(TenantMiddleware.layerWith(options)),
        Layer.provide(resolver),
        Layer.provide(Layer.succeedContext(services)),
        Layer.provide(HttpServer.layerServices)
      )
    )
    // Uses the clock and the tracer of the test.
    const handler = HttpEffect.toWebHandlerWith<never, HttpServerRequest.HttpServerRequest | Scope.Scope>(
      yield* Effect.context()
    )(app)
    return {
      send: (path: string, init?: RequestInit, context: Context.Context<never> = Context.empty()) =>
        Effect.promise(async () =>
          answerOf(await handler(new Request(`http://localhost${path}`, init), context))
        ),
      executions: Ref.get(executions),
      registry,
      storage: Context.get(services, EventStorage.EventStorage)
    }
  }).pipe(Effect.orDie)
