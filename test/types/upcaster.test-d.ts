import { Schema, SchemaGetter, SchemaTransformation } from "effect"
import { Aggregate, Upcaster, StoredEvents } from "effect-eventsourcing"
import { describe, expectTypeOf, test } from "vitest"

const PlacedV1 = Schema.TaggedStruct("Placed", { euros: Schema.Int })
const PlacedV2 = Schema.TaggedStruct("Placed", { cents: Schema.Int })
const Placed = Schema.TaggedStruct("Placed", {
  cents: Schema.BigInt,
  currency: Schema.Literals(["EUR", "USD"])
})
const Sent = Schema.TaggedStruct("Sent", { parcel: Schema.String })
class Shipped extends Schema.TaggedClass<Shipped>()("Shipped", { parcel: Schema.String }) {}

const options = { id: Schema.String, state: Schema.Null, initial: null, events: [Placed, Shipped] } as const

const placed = Upcaster.from(PlacedV1)
  .to(PlacedV2, ({ euros, ...rest }) => ({ ...rest, cents: euros * 100 }))
  .to(Placed, ({ cents, ...rest }) => ({ ...rest, cents: BigInt(cents), currency: "EUR" }))

describe("a history", () => {
  test("leads from type to type, and ends with that of its last schema", () => {
    expectTypeOf(placed).toEqualTypeOf<Upcaster.History<typeof Placed.Type>>()
    Upcaster.from(PlacedV1).to(PlacedV2, (event) => {
      expectTypeOf(event).toEqualTypeOf<typeof PlacedV1.Type>()
      return { _tag: "Placed", cents: event.euros }
    })
    expectTypeOf(Upcaster.from(Sent).to(Shipped, ({ parcel }) => new Shipped({ parcel }))).toEqualTypeOf<
      Upcaster.History<Shipped>
    >()
  })

  test("accepts transformations of schemas as steps", () => {
    const transformation = SchemaTransformation.transform<typeof PlacedV2.Type, typeof PlacedV1.Type>({
      decode: ({ euros }) => ({ _tag: "Placed", cents: euros * 100 }),
      encode: ({ cents }) => ({ _tag: "Placed", euros: cents / 100 })
    })
    Upcaster.from(PlacedV1).to(PlacedV2, transformation)
    Upcaster.from(PlacedV1).to(PlacedV2, { decode: transformation.decode })
    // @ts-expect-error it leads to another schema
    Upcaster.from(PlacedV1).to(Sent, transformation)
    const getter = SchemaGetter.transform(({ cents }: typeof PlacedV2.Type): typeof PlacedV1.Type => ({
      _tag: "Placed",
      euros: cents
    }))
    // @ts-expect-error it begins with another schema
    Upcaster.from(Sent).to(PlacedV1, { decode: getter })
  })

  test("refuses a step to another shape", () => {
    // @ts-expect-error `cents` is missing
    Upcaster.from(PlacedV1).to(PlacedV2, (event) => event)
    // @ts-expect-error `cents` is a number
    Upcaster.from(PlacedV1).to(PlacedV2, (event) => ({ ...event, cents: "1" }))
    // @ts-expect-error the tag is the former one
    Upcaster.from(Sent).to(Shipped, (event) => event)
    // @ts-expect-error not one of the currencies
    Upcaster.from(PlacedV2).to(Placed, (event) => ({ ...event, cents: 1n, currency: "GBP" }))
  })

  test("splits only into events of the given schemas", () => {
    const split = Upcaster.from(PlacedV1).into([Placed, Sent], ({ euros }) => [
      Placed.make({ cents: BigInt(euros), currency: "EUR" }),
      { _tag: "Sent", parcel: "" }
    ])
    expectTypeOf(split).toEqualTypeOf<Upcaster.Upcaster<never>>()
    // @ts-expect-error Sent is not one of the targets
    Upcaster.from(PlacedV1).into([Placed], () => [Sent.make({ parcel: "" })])
    // @ts-expect-error a split ends a history
    void split.to
  })
})

describe("an aggregate", () => {
  test("accepts upcasters to its events, and infers the same types as without them", () => {
    const Order = Aggregate.make(
      "Order",
      {
        ...options,
        upcasters: [
          placed,
          Upcaster.from(Sent).to(Shipped, ({ parcel }) => new Shipped({ parcel })),
          Upcaster.dropped("Viewed")
        ],
        tags: { Placed: ({ currency }, id) => [currency, id] }
      },
      { Placed: (state) => state, Shipped: (state) => state }
    )
    expectTypeOf(Order).toEqualTypeOf<
      Aggregate.Aggregate<"Order", null, typeof Placed.Type | Shipped, string>
    >()
    expectTypeOf(Aggregate.tolerant(Order)).toEqualTypeOf(Order)
    const read = StoredEvents.read(Order, { eventType: "Placed", schemaVersion: 1, payload: {} })
    expectTypeOf(read).toExtend<{ readonly _tag: "Success" | "Failure" }>()
    // @ts-expect-error not one of the reasons
    Aggregate.tolerant(Order, { skip: ["VersionConflict"] })
  })

  test("refuses a history that ends before its event", () => {
    const unfinished = Upcaster.from(PlacedV1).to(PlacedV2, () => PlacedV2.make({ cents: 1 }))
    // @ts-expect-error the step from version 2 is missing
    Aggregate.make("Order", { ...options, upcasters: [unfinished] }, (state) => state)
    // @ts-expect-error Sent is not one of its events
    Aggregate.make("Order", { ...options, upcasters: [Upcaster.from(Sent)] }, (state) => state)
  })

  test("derives tags from its own events and its own id", () => {
    Aggregate.make("Order", { ...options, tags: ({ _tag }, id) => [_tag, id] }, (state) => state)
    // @ts-expect-error a tag is a text
    Aggregate.make("Order", { ...options, tags: () => [1] }, (state) => state)
    const tags = {
      // @ts-expect-error Placed has no parcel
      Placed: ({ parcel }: typeof Placed.Type) => [String(parcel)]
    }
    Aggregate.make("Order", { ...options, tags }, (state) => state)
    // @ts-expect-error Sent is not one of its events
    Aggregate.make("Order", { ...options, tags: { Sent: () => [] } }, (state) => state)
  })
})
