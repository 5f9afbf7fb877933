/**
 * The handlers of the endpoints. None mentions a tenant: it is in the type of every effect, and the middleware provides it.
 */
import { Effect, Layer, type Result, Stream } from "effect"
import { type Aggregate, EventStore, ProjectionManager, Repository, Tenant } from "effect-eventsourcing"
import { Precondition, Problem } from "effect-eventsourcing/http"
import { PgCheck } from "effect-eventsourcing/pg"
import { HttpApiBuilder, HttpApiMiddleware } from "effect/http-api"
import { Api } from "./Api.ts"
import * as Order from "./Order.ts"
import { list, OrderTable } from "./OrderTable.ts"

/**
 * Runs a command on an order.
 *
 * Safe creation: an order is created only for the tenant that the middleware has verified. The unsafe
 * ways do not compile: `execute` without a tenant, and `Tenant.provide` with a text from a request
 * (test/types/http.test-d.ts).
 */
const command = Effect.fn("saas.command")(function* (
  {
    headers,
    params: { orderId }
  }: { readonly headers: Precondition.Headers; readonly params: { readonly orderId: string } },
  decide: (
    order: Order.OrderState
  ) => Result.Result<
    ReadonlyArray<Aggregate.EventOf<typeof Order.Order>>,
    Order.OrderRefused | Order.OrderNotFound
  >
) {
  const repository = yield* Repository.Repository
  const store = yield* EventStore.EventStore
  const executed = yield* Precondition.check(headers, (expected) =>
    repository.execute(Order.Order, orderId, decide, expected)
  )
  const { events, version } = executed
  const position = events.at(-1)?.position ?? (yield* store.position)
  return Precondition.tagged(executed, { orderId, version, position })
}, Problem.mapErrors)

/** Waits until the table contains a position of the tenant's log. */
const awaitTable = Effect.fnUntraced(function* (position: number) {
  const store = yield* EventStore.EventStore
  const projections = yield* ProjectionManager.ProjectionManager
  if (position > (yield* store.position))
    return yield* new Problem.InvalidInput({ detail: "the log does not reach that position" })
  yield* projections.awaitPosition(OrderTable, position)
})

const OrdersLive = HttpApiBuilder.group(Api, "orders", (handlers) =>
  handlers
    .handle("place", (request) => command(request, Order.place(request.payload.lines)))
    .handle("ship", (request) => command(request, Order.ship(request.payload.parcel)))
    .handle("cancel", (request) => command(request, Order.cancel(request.payload.reason)))
    .handle("get", ({ params: { orderId } }) =>
      Repository.Repository.use(({ load }) => load(Order.Order, orderId)).pipe(
        Effect.map((loaded) =>
          Precondition.tagged(loaded, { orderId, version: loaded.version, order: loaded.state })
        ),
        Problem.mapErrors
      )
    )
    .handle("list", ({ query: { position = 0, after, limit = 100 } }) =>
      awaitTable(position).pipe(
        Effect.andThen(list({ after, limit })),
        Effect.map((orders) => ({ orders })),
        Problem.mapErrors
      )
    )
)

/** Audit log: the tenant's log is the record of who did what, when, and because of which request. */
const AuditLive = HttpApiBuilder.group(Api, "audit", (handlers) =>
  handlers.handle("log", ({ query: { after = 0, limit = 100 } }) =>
    EventStore.EventStore.use((store) =>
      Stream.runCollect(store.readLogJson({ fromPosition: after + 1, limit: limit + 1 }))
    ).pipe(
      Effect.map((found) => {
        const entries = found.slice(0, limit)
        return { entries, next: found.length > limit ? (entries.at(-1)?.position ?? null) : null }
      }),
      Problem.mapErrors
    )
  )
)

const parkedOfAll = ProjectionManager.ProjectionManager.use(({ statusOfAll }) =>
  Stream.runFold(
    statusOfAll(OrderTable),
    () => ({ parked: 0, total: 0 }),
    ({ parked, total }, { state }) => ({ parked: parked + (state === "parked" ? 1 : 0), total: total + 1 })
  )
).pipe(Tenant.provideAll({ actor: "examples/saas", reason: "readiness: are projections parked" }))

const SystemLive = HttpApiBuilder.group(
  Api,
  "system",
  Effect.fnUntraced(function* (handlers) {
    // Each read across tenants is recorded, so the result is cached. It has two numbers and no tenant.
    const parked = yield* Effect.cachedWithTTL(parkedOfAll, "30 seconds")
    return handlers
      .handle("health", () => Effect.succeed({ status: "ok" as const }))
      .handle("ready", () =>
        Effect.andThen(PgCheck.isolation, parked).pipe(
          // One tenant's parked projection must not stop the others: the service is ready, and reports it.
          Effect.map((projections) => ({
            status: projections.parked === 0 ? ("ready" as const) : ("degraded" as const),
            projections
          })),
          Effect.tapError((error) => Effect.logError("not ready", error)),
          Effect.mapError(() => Problem.unavailable({ detail: "not ready" }))
        )
      )
  })
)

/** All handlers. */
export const layer = Layer.mergeAll(OrdersLive, AuditLive, SystemLive).pipe(
  // A request that does not fit the description gets a problem with the place of each mistake.
  Layer.provideMerge(HttpApiMiddleware.layerProblemDetails({ includeDetails: true }))
)
