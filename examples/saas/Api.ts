/**
 * The HTTP interface of the service. No endpoint takes a tenant: it comes from the token.
 */
import { Schema } from "effect"
import { Precondition, Problem, TenantMiddleware } from "effect-eventsourcing/http"
import { HttpApi, HttpApiEndpoint, HttpApiGroup, HttpApiMiddleware, OpenApi } from "effect/http-api"
import { Line, OrderNotFound, OrderRefused, OrderState } from "./Order.ts"

// Shapes

const OrderId = Schema.String.check(Schema.isUUID())
const Position = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))

const Receipt = Schema.Struct({
  orderId: Schema.String,
  version: Schema.Int,
  /** The head of the tenant's log after the command. Give it to a query that must show the change. */
  position: Schema.Int
})

const OrderView = Schema.Struct({ orderId: Schema.String, version: Schema.Int, order: OrderState })

const OrderRow = Schema.Struct({
  orderId: Schema.String,
  status: Schema.Literals(["placed", "shipped", "cancelled"]),
  lines: Schema.Int,
  /** In cents. */
  total: Schema.Int,
  parcel: Schema.NullOr(Schema.String),
  placedBy: Schema.NullOr(Schema.String)
})

const AuditEntry = Schema.Struct({
  position: Schema.Int,
  eventId: Schema.String,
  eventType: Schema.String,
  aggregateType: Schema.String,
  aggregateId: Schema.String,
  version: Schema.Int,
  recordedAt: Schema.DateTimeUtcFromString,
  actor: Schema.NullOr(Schema.String),
  correlationId: Schema.String,
  causationId: Schema.NullOr(Schema.String),
  payload: Schema.Json
})

const Limit = Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 500 })))

// Endpoints

/** A command may state the version that its client has seen, as `If-Match`, and its response carries the new one, as `ETag`. */
const command = {
  params: { orderId: OrderId },
  headers: Precondition.headers,
  success: Precondition.Tagged(Receipt),
  error: [OrderRefused, OrderNotFound, Problem.PreconditionFailed, ...Problem.commandErrors]
} as const

/** Orders of the tenant. */
class Orders extends HttpApiGroup.make("orders")
  .add(
    HttpApiEndpoint.put("place", "/orders/:orderId", {
      ...command,
      payload: Schema.Struct({ lines: Schema.NonEmptyArray(Line) })
    }),
    HttpApiEndpoint.post("ship", "/orders/:orderId/ship", {
      ...command,
      payload: Schema.Struct({ parcel: Schema.NonEmptyString })
    }),
    HttpApiEndpoint.post("cancel", "/orders/:orderId/cancel", {
      ...command,
      payload: Schema.Struct({ reason: Schema.NonEmptyString })
    }),
    HttpApiEndpoint.get("get", "/orders/:orderId", {
      params: { orderId: OrderId },
      success: Precondition.Tagged(OrderView),
      error: Problem.queryErrors
    }),
    HttpApiEndpoint.get("list", "/orders", {
      query: {
        /** Wait until the table contains this position, such as that of a receipt, to read one's own write. */
        position: Schema.optionalKey(Position),
        after: Schema.optionalKey(OrderId),
        limit: Limit
      },
      success: Schema.Struct({ orders: Schema.Array(OrderRow) }),
      error: Problem.queryErrors
    })
  )
  // Without this middleware the handlers of the group do not compile, because nothing provides their tenant.
  .middleware(TenantMiddleware.BearerTenantMiddleware)
  .middleware(HttpApiMiddleware.ProblemDetails) {}

/** The events of the tenant, with their actors. */
class Audit extends HttpApiGroup.make("audit")
  .add(
    HttpApiEndpoint.get("log", "/audit", {
      query: { after: Schema.optionalKey(Position), limit: Limit },
      success: Schema.Struct({
        entries: Schema.Array(AuditEntry),
        /** The `after` of the next page; null on the last one. */
        next: Schema.NullOr(Schema.Int)
      }),
      error: Problem.queryErrors
    })
  )
  .middleware(TenantMiddleware.BearerTenantMiddleware)
  .middleware(HttpApiMiddleware.ProblemDetails) {}

const Readiness = Schema.Struct({
  status: Schema.Literals(["ready", "degraded"]),
  /** Numbers of parked projections and of all projections, over all tenants. */
  projections: Schema.Struct({ parked: Schema.Int, total: Schema.Int })
})

/** For operators of the service. Without a tenant, and without data of one. */
class System extends HttpApiGroup.make("system").add(
  HttpApiEndpoint.get("health", "/health", { success: Schema.Struct({ status: Schema.Literal("ok") }) }),
  HttpApiEndpoint.get("ready", "/ready", { success: Readiness, error: Problem.Unavailable })
) {}

export class Api extends HttpApi.make("orders")
  .add(Orders)
  .add(Audit)
  .add(System)
  .annotateMerge(OpenApi.annotations({ title: "Orders", version: "1.0.0" })) {}
