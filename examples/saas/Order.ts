/**
 * An order of a shop: its events, its state and its decisions.
 *
 * Not covered: the tenant. An aggregate is created, loaded and changed for the tenant that the effect
 * runs for, and there is no other way to create one.
 */
import { Result, Schema } from "effect"
import { Aggregate } from "effect-eventsourcing"
import { HttpApiError } from "effect/http-api"

// Events

export const Line = Schema.Struct({
  product: Schema.NonEmptyString,
  quantity: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 10_000 })),
  /** In cents. */
  price: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 100_000_000 }))
})
export type Line = typeof Line.Type

export const OrderPlaced = Schema.TaggedStruct("OrderPlaced", { lines: Schema.NonEmptyArray(Line) })
const OrderShipped = Schema.TaggedStruct("OrderShipped", { parcel: Schema.NonEmptyString })
const OrderCancelled = Schema.TaggedStruct("OrderCancelled", { reason: Schema.NonEmptyString })

// Fold

export const OrderState = Schema.TaggedUnion({
  Unknown: {},
  Placed: { lines: Schema.Array(Line) },
  Shipped: { lines: Schema.Array(Line), parcel: Schema.String },
  Cancelled: { lines: Schema.Array(Line), reason: Schema.String }
})
export type OrderState = typeof OrderState.Type

export const Order = Aggregate.make(
  "Order",
  {
    state: OrderState,
    initial: { _tag: "Unknown" },
    events: [OrderPlaced, OrderShipped, OrderCancelled]
  },
  {
    OrderPlaced: (_state, { lines }) => ({ _tag: "Placed", lines }),
    OrderShipped: (state, { parcel }) =>
      state._tag === "Placed" ? { ...state, _tag: "Shipped", parcel } : state,
    OrderCancelled: (state, { reason }) =>
      state._tag === "Placed" ? { ...state, _tag: "Cancelled", reason } : state
  }
)

/** In cents. */
export const totalOf = (lines: ReadonlyArray<Line>): number =>
  lines.reduce((sum, { quantity, price }) => sum + quantity * price, 0)

// Decisions. Each may be repeated, as by a client that lost the answer: it then yields no events and no error.

/** Raised when the state of the order does not allow the command. */
export class OrderRefused extends HttpApiError.Problem<OrderRefused>()("OrderRefused", {
  type: "urn:problem-type:saas:order-refused",
  status: 409,
  title: "The order does not allow this."
}) {}

/** Raised when the order does not exist, also for the id of another tenant's order. */
export class OrderNotFound extends HttpApiError.Problem<OrderNotFound>()("OrderNotFound", {
  type: "urn:problem-type:saas:order-not-found",
  status: 404,
  title: "There is no such order."
}) {}

type Events = ReadonlyArray<Aggregate.EventOf<typeof Order>>
type Decision<Refusal> = Result.Result<Events, Refusal>

const refuse = (detail: string) => Result.fail(new OrderRefused({ detail }))
const notFound = Result.fail(new OrderNotFound())
const nothing: Result.Result<Events> = Result.succeed([])

const sameLines = Schema.toEquivalence(Schema.Array(Line))

export const place =
  (lines: readonly [Line, ...Array<Line>]) =>
  (order: OrderState): Decision<OrderRefused> => {
    if (order._tag === "Unknown") return Result.succeed([OrderPlaced.make({ lines })])
    return sameLines(order.lines, lines) ? nothing : refuse("there is another order with this id")
  }

export const ship =
  (parcel: string) =>
  (order: OrderState): Decision<OrderRefused | OrderNotFound> => {
    switch (order._tag) {
      case "Unknown":
        return notFound
      case "Placed":
        return Result.succeed([OrderShipped.make({ parcel })])
      case "Shipped":
        return order.parcel === parcel ? nothing : refuse("the order has been shipped in another parcel")
      case "Cancelled":
        return refuse("the order has been cancelled")
    }
  }

export const cancel =
  (reason: string) =>
  (order: OrderState): Decision<OrderRefused | OrderNotFound> => {
    switch (order._tag) {
      case "Unknown":
        return notFound
      case "Placed":
        return Result.succeed([OrderCancelled.make({ reason })])
      case "Shipped":
        return refuse("the order has been shipped")
      case "Cancelled":
        return nothing
    }
  }
