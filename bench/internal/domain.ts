/** The appended and folded domain: carts, with events of about 200 bytes. */
import { Schema } from "effect"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import * as Personal from "../../src/domain/Personal.ts"

export const ItemAdded = Schema.TaggedStruct("ItemAdded", {
  sku: Schema.String,
  quantity: Schema.Int,
  price: Schema.Int,
  note: Schema.String
})

export type ItemAdded = typeof ItemAdded.Type

/** A second type, so that decoding has to distinguish types. */
const ItemRemoved = Schema.TaggedStruct("ItemRemoved", { sku: Schema.String, quantity: Schema.Int })

export type CartEvent = ItemAdded | typeof ItemRemoved.Type

export interface CartState {
  readonly items: number
  readonly total: number
}

export const initial: CartState = { items: 0, total: 0 }

export const Cart = Aggregate.make(
  "Cart",
  {
    id: Schema.String,
    state: Schema.Struct({ items: Schema.Int, total: Schema.Int }),
    initial,
    events: [ItemAdded, ItemRemoved]
  },
  {
    ItemAdded: ({ items, total }, { price, quantity }) => ({
      items: items + quantity,
      total: total + price * quantity
    }),
    ItemRemoved: (state, { quantity }) => ({ ...state, items: state.items - quantity })
  }
)

/** The same fold as one bare function, for peers and floors. */
export const apply = (state: CartState, event: CartEvent): CartState => {
  switch (event._tag) {
    case "ItemAdded":
      return { items: state.items + event.quantity, total: state.total + event.price * event.quantity }
    case "ItemRemoved":
      return { ...state, items: state.items - event.quantity }
  }
}

const overhead = JSON.stringify({
  _tag: "ItemAdded",
  sku: "sku-000001",
  quantity: 1,
  price: 1999,
  note: ""
}).length

/** An event whose JSON has the given number of bytes. */
export const itemAdded = (n: number, bytes = 200): ItemAdded => ({
  _tag: "ItemAdded",
  sku: `sku-${String(n % 1_000_000).padStart(6, "0")}`,
  quantity: 1,
  price: 1999,
  note: "n".repeat(bytes - overhead)
})

const GiftAdded = Schema.TaggedStruct("GiftAdded", {
  ...ItemAdded.fields,
  _tag: Schema.tag("GiftAdded"),
  recipient: Personal.make(Schema.String, Personal.aggregateId)
})

/** Carts whose events have a personal field, and otherwise the fields of other carts. */
export const GiftCart = Aggregate.make(
  "GiftCart",
  { id: Schema.String, state: Cart.state, initial, events: [GiftAdded] },
  {
    GiftAdded: ({ items, total }, { price, quantity }) => ({
      items: items + quantity,
      total: total + price * quantity
    })
  }
)

const recipient = "Ada Lovelace, London"

/** An event with a personal field whose JSON, before it is sealed, has the given number of bytes. */
export const giftAdded = (n: number, bytes = 200): typeof GiftAdded.Type => ({
  ...itemAdded(n, bytes - `,"recipient":"${recipient}"`.length),
  _tag: "GiftAdded",
  recipient
})
