/**
 * What the endpoints do. None of it mentions a tenant: it is in the type of every effect, and the middleware provides it.
 */
import { Effect, Layer, type Result, Stream } from "effect"
import { type Aggregate, EventStore, ProjectionManager, Repository, Tenant } from "effect-eventsourcing"
import { TenantAccessError } from "effect-eventsourcing/http"
import { PgCheck } from "effect-eventsourcing/pg"
import { HttpApiBuilder, HttpApiMiddleware } from "effect/http-api"
import { Api, Busy, InvalidRequest, RequestErrors, Unavailable } from "./Api.ts"
import * as Order from "./Order.ts"
import { list, OrderTable } from "./OrderTable.ts"

const tryLater = () => Effect.fail(new Unavailable({ message: "try again later" }))
const invalid = ({ message }: { readonly message: string }) => Effect.fail(new InvalidRequest({ message }))

/**
 * Carries out a command on an order.
 *
 * Safe creation: an order is made in the name of the tenant that the middleware verified, and of no other one. The unsafe
 * ways do not compile: `execute` without a tenant, and `Tenant.provide` with a text out of a request
 * (test/types/http.test-d.ts).
 */
const command = Effect.fn("saas.command")(function* (
  orderId: string,
  decide: (
    order: Order.OrderState
  ) => Result.Result<
    ReadonlyArray<Aggregate.EventOf<typeof Order.Order>>,
    Order.OrderRefused | Order.OrderNotFound
  >
) {
  const repository = yield* Repository.Repository
  const store = yield* EventStore.EventStore
  return yield* Effect.gen(function* () {
    const { events, version } = yield* repository.execute(Order.Order, orderId, decide)
    return { orderId, version, position: events.at(-1)?.position ?? (yield* store.position) }
  }).pipe(
    Effect.catchTags({
      StorageUnavailable: tryLater,
      OutcomeUnknown: tryLater,
      Conflict: () => Effect.fail(new Busy({ message: "others change this order, try again" })),
      InvalidInput: invalid,
      // Suspended or removed since the middleware looked.
      TenantRefused: ({ reason }) =>
        Effect.fail(
          reason._tag === "UnknownTenant"
            ? new TenantAccessError.TenantNotKnown()
            : new TenantAccessError.TenantNotActive()
        ),
      // Mistakes in this program, which its clients can do nothing about: a 500 that says nothing.
      Undecodable: Effect.die
    })
  )
})

/** Waits until the table contains a position of the tenant's log. */
const awaitTable = Effect.fnUntraced(function* (position: number) {
  const store = yield* EventStore.EventStore
  const projections = yield* ProjectionManager.ProjectionManager
  if (position > (yield* store.position))
    return yield* new InvalidRequest({ message: "the log does not reach that position" })
  yield* projections.awaitPosition(OrderTable, position)
})

const OrdersLive = HttpApiBuilder.group(Api, "orders", (handlers) =>
  handlers
    .handle("place", ({ params, payload }) => command(params.orderId, Order.place(payload.lines)))
    .handle("ship", ({ params, payload }) => command(params.orderId, Order.ship(payload.parcel)))
    .handle("cancel", ({ params, payload }) => command(params.orderId, Order.cancel(payload.reason)))
    .handle("get", ({ params: { orderId } }) =>
      Repository.Repository.use(({ load }) => load(Order.Order, orderId)).pipe(
        Effect.map(({ state, version }) => ({ orderId, version, order: state })),
        Effect.catchTags({
          AggregateNotFound: () => Effect.fail(Order.notFound()),
          InvalidInput: () => Effect.fail(Order.notFound()),
          StorageUnavailable: tryLater,
          Undecodable: Effect.die
        })
      )
    )
    .handle("list", ({ query: { position = 0, after, limit = 100 } }) =>
      awaitTable(position).pipe(
        Effect.andThen(list({ after, limit })),
        Effect.map((orders) => ({ orders })),
        Effect.catchTags({
          ProjectionBehind: tryLater,
          ProjectionParked: tryLater,
          StorageUnavailable: tryLater,
          OutcomeUnknown: tryLater,
          SqlError: tryLater
        })
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
      Effect.catchTags({ StorageUnavailable: tryLater })
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
    // Looking across tenants is put on record each time, so not with every probe. Two numbers are kept, and no tenant.
    const parked = yield* Effect.cachedWithTTL(parkedOfAll, "30 seconds")
    return handlers
      .handle("health", () => Effect.succeed({ status: "ok" as const }))
      .handle("ready", () =>
        Effect.andThen(PgCheck.isolation, parked).pipe(
          // One tenant's parked projection is no reason to send the others away: it is reported, and ready.
          Effect.map((projections) => ({
            status: projections.parked === 0 ? ("ready" as const) : ("degraded" as const),
            projections
          })),
          Effect.tapError((error) => Effect.logError("not ready", error)),
          Effect.mapError(() => new Unavailable({ message: "not ready" }))
        )
      )
  })
)

const RequestErrorsLive = HttpApiMiddleware.layerSchemaErrorTransform(RequestErrors, (error) =>
  error.kind === "Body" || error.kind === "ResponseHeaders"
    ? Effect.fail(error)
    : Effect.fail(new InvalidRequest({ message: `${error.kind}: ${error.cause.message}` }))
)

/** All handlers. */
export const layer = Layer.mergeAll(OrdersLive, AuditLive, SystemLive).pipe(
  Layer.provideMerge(RequestErrorsLive)
)
