/**
 * The HTTP interface of the service. No endpoint takes a tenant: it comes from the token.
 */
import { Schema } from "effect"
import { Precondition, Problem, TenantMiddleware } from "effect-eventsourcing/http"
import { HttpApi, HttpApiEndpoint, HttpApiGroup, HttpApiMiddleware, OpenApi } from "effect/http-api"
import { described } from "./Docs.ts"
import { Line, OrderNotFound, OrderRefused, OrderState } from "./Order.ts"

// Shapes, each with an example

const id = "0197a000-0000-7000-8000-0000000000a1"
const lines = [{ product: "Teapot", quantity: 2, price: 1990 }] as const

const OrderId = Schema.String.check(Schema.isUUID())
const Position = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))

const Receipt = Schema.Struct({
  orderId: Schema.String,
  version: Schema.Int,
  /** The head of the tenant's log after the command. Give it to a query that must show the change. */
  position: Schema.Int
}).annotate({ examples: [{ orderId: id, version: 1, position: 1 }] })

const OrderView = Schema.Struct({ orderId: Schema.String, version: Schema.Int, order: OrderState }).annotate({
  examples: [{ orderId: id, version: 1, order: { _tag: "Placed", lines } }]
})

const OrderRow = Schema.Struct({
  orderId: Schema.String,
  status: Schema.Literals(["placed", "shipped", "cancelled"]),
  lines: Schema.Int,
  /** In cents. */
  total: Schema.Int,
  parcel: Schema.NullOr(Schema.String),
  placedBy: Schema.NullOr(Schema.String)
})

const OrderRows = Schema.Struct({ orders: Schema.Array(OrderRow) }).annotate({
  examples: [
    { orders: [{ orderId: id, status: "placed", lines: 1, total: 3980, parcel: null, placedBy: "ada" }] }
  ]
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

const AuditPage = Schema.Struct({
  entries: Schema.Array(AuditEntry),
  /** The `after` of the next page; null on the last one. */
  next: Schema.NullOr(Schema.Int)
}).pipe(
  Schema.annotateEncoded({
    examples: [
      {
        entries: [
          {
            position: 1,
            eventId: "0197a000-0000-7000-8000-0000000000e1",
            eventType: "OrderPlaced",
            aggregateType: "Order",
            aggregateId: id,
            version: 1,
            recordedAt: "2026-12-01T08:00:00.000Z",
            actor: "ada",
            correlationId: "0197a000-0000-7000-8000-0000000000c1",
            causationId: null,
            payload: { lines: [...lines] }
          }
        ],
        next: null
      }
    ]
  })
)

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
      payload: Schema.Struct({ lines: Schema.NonEmptyArray(Line) }).annotate({ examples: [{ lines }] })
    }).annotateMerge(
      described("Place an order", "The client chooses the id. The same order placed again changes nothing.")
    ),
    HttpApiEndpoint.post("ship", "/orders/:orderId/ship", {
      ...command,
      payload: Schema.Struct({ parcel: Schema.NonEmptyString }).annotate({ examples: [{ parcel: "JJD-17" }] })
    }).annotateMerge(described("Ship an order", "Its parcel is on the way. A cancelled order is refused.")),
    HttpApiEndpoint.post("cancel", "/orders/:orderId/cancel", {
      ...command,
      payload: Schema.Struct({ reason: Schema.NonEmptyString }).annotate({
        examples: [{ reason: "ordered twice" }]
      })
    }).annotateMerge(described("Cancel an order", "An order that has been shipped is refused.")),
    HttpApiEndpoint.get("get", "/orders/:orderId", {
      params: { orderId: OrderId },
      success: Precondition.Tagged(OrderView),
      error: Problem.queryErrors
    }).annotateMerge(
      described(
        "Get an order",
        "Folded from its events, so it has every change. The header etag is for If-Match."
      )
    ),
    HttpApiEndpoint.get("list", "/orders", {
      query: {
        /** Wait until the table contains this position, such as that of a receipt, to read one's own write. */
        position: Schema.optionalKey(Position),
        after: Schema.optionalKey(OrderId),
        limit: Limit
      },
      success: OrderRows,
      error: Problem.queryErrors
    }).annotateMerge(
      described("List orders", "From a table that follows the log. Give the position of a receipt to see it.")
    )
  )
  // Without this middleware the handlers of the group do not compile, because nothing provides their tenant.
  .middleware(TenantMiddleware.BearerTenantMiddleware)
  .middleware(HttpApiMiddleware.ProblemDetails)
  .annotate(OpenApi.Description, "Orders of the shop.") {}

/** The events of the tenant, with their actors. */
class Audit extends HttpApiGroup.make("audit")
  .add(
    HttpApiEndpoint.get("log", "/audit", {
      query: { after: Schema.optionalKey(Position), limit: Limit },
      success: AuditPage,
      error: Problem.queryErrors
    }).annotateMerge(described("Read the audit log", "All events of the tenant with their actors, in order."))
  )
  .middleware(TenantMiddleware.BearerTenantMiddleware)
  .middleware(HttpApiMiddleware.ProblemDetails)
  .annotate(OpenApi.Description, "The record of the shop.") {}

const Readiness = Schema.Struct({
  status: Schema.Literals(["ready", "degraded"]),
  /** Numbers of parked projections and of all projections, over all tenants. */
  projections: Schema.Struct({ parked: Schema.Int, total: Schema.Int })
}).annotate({ examples: [{ status: "ready", projections: { parked: 0, total: 2 } }] })

const Health = Schema.Struct({ status: Schema.Literal("ok") }).annotate({ examples: [{ status: "ok" }] })

/** For operators of the service. Without a tenant, and without data of one. */
class System extends HttpApiGroup.make("system")
  .add(
    HttpApiEndpoint.get("health", "/health", {
      success: Health,
      error: Problem.InternalServerError
    }).annotateMerge(described("Is the process alive", "Asks nothing else, so that a restart can help.")),
    HttpApiEndpoint.get("ready", "/ready", { success: Readiness, error: Problem.Unavailable }).annotateMerge(
      described(
        "Can the service work",
        "Checks the database, and counts parked projections over all tenants."
      )
    )
  )
  .annotate(
    OpenApi.Description,
    "For operators of the service. Without a tenant, and without data of one."
  ) {}

export class Api extends HttpApi.make("orders")
  .add(Orders)
  .add(Audit)
  .add(System)
  .annotateMerge(
    OpenApi.annotations({
      title: "Orders",
      version: "1.0.0",
      description: "Orders of many shops. No endpoint takes a shop: it comes from the token."
    })
  ) {}
