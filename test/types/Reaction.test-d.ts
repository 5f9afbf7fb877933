import { Effect, type Layer } from "effect"
import { SqlClient } from "effect/sql"
import { expectTypeOf, test } from "vitest"
import type { EventStorage } from "../../src/driver/EventStorage.ts"
import * as OutboxRelay from "../../src/projection/OutboxRelay.ts"
import * as InlineProjections from "../../src/projection/InlineProjections.ts"
import * as Projection from "../../src/projection/Projection.ts"
import * as ProjectionRunner from "../../src/projection/ProjectionRunner.ts"
import type { ProjectionStorage } from "../../src/driver/ProjectionStorage.ts"
import type { Publisher } from "../../src/projection/OutboxRelay.ts"
import * as Reaction from "../../src/projection/Reaction.ts"
import { Repository } from "../../src/store/Repository.ts"
import { Order, Paid } from "../support/shop.ts"

type Driver = EventStorage | ProjectionStorage

test("a handler has the requirements of its commands, and the runner provides the tenant", () => {
  const reaction = Reaction.make(
    "pays",
    { aggregates: [Order] },
    {
      Placed: (_event, { aggregateId }) =>
        Repository.use((repository) =>
          repository.execute(Order, aggregateId, ({ paid }) => (paid ? [] : [Paid.make({})]))
        )
    }
  )
  const layer = ProjectionRunner.layer({ projections: [reaction] })
  expectTypeOf<Layer.Services<typeof layer>>().toEqualTypeOf<Driver | Repository>()
})

test("a handler gets its event and the envelope", () => {
  Reaction.make(
    "typed",
    { aggregates: [Order] },
    {
      Placed: (event, envelope) => {
        expectTypeOf(event).toEqualTypeOf<{ readonly _tag: "Placed"; readonly total: number }>()
        expectTypeOf(envelope.payload).toEqualTypeOf(event)
        expectTypeOf(envelope.aggregateType).toEqualTypeOf<"Order">()
        return Effect.void
      },
      // @ts-expect-error a handler is an effect
      Paid: () => 1
    }
  )
})

test("a relay requires a publisher", () => {
  const layer = OutboxRelay.layer("relay", { aggregates: [Order] })
  expectTypeOf<Layer.Services<typeof layer>>().toEqualTypeOf<Driver | Publisher>()
  // @ts-expect-error not an event of the aggregate
  OutboxRelay.make("relay", { aggregates: [Order], eventTypes: ["Counted"] })
})

test("a store with inline projections has the requirements of the handlers, except the tenant", () => {
  const inline = Projection.make(
    "inline",
    { aggregates: [Order] },
    { Placed: (_event, { tenantId }) => SqlClient.SqlClient.use((sql) => sql`select ${tenantId}`) }
  )
  const layer = InlineProjections.layer({ projections: [inline] })
  expectTypeOf<Layer.Services<typeof layer>>().toEqualTypeOf<Driver | SqlClient.SqlClient>()
})
