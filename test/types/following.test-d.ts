import { Effect, type Layer, Stream } from "effect"
import { expectTypeOf, test } from "vitest"
import type * as Event from "../../src/domain/Event.ts"
import type { EventStorage } from "../../src/driver/EventStorage.ts"
import * as InMemoryProjection from "../../src/projection/InMemoryProjection.ts"
import * as Projection from "../../src/projection/Projection.ts"
import type { ProjectionBehind, ReplayFailed } from "../../src/projection/ProjectionError.ts"
import * as ProjectionManager from "../../src/projection/ProjectionManager.ts"
import type { ProjectionStorage } from "../../src/driver/ProjectionStorage.ts"
import { Repository } from "../../src/store/Repository.ts"
import type { Undecodable, PositionAhead, PositionDiverged, ReadError } from "../../src/driver/StoreError.ts"
import * as Subscription from "../../src/projection/Subscription.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import type { CurrentTenant } from "../../src/domain/Tenant.ts"
import { Order, type Paid, type Placed, type Requested, Shipment } from "../support/shop.ts"

type OrderEvent = typeof Placed.Type | typeof Paid.Type

test("a subscription emits envelopes of the aggregates' events, and requires the tenant or the access", () => {
  const log = Subscription.log({ aggregates: [Order, Shipment] })
  expectTypeOf(log).toEqualTypeOf<
    Stream.Stream<
      Event.Envelope<OrderEvent, "Order"> | Event.Envelope<typeof Requested.Type, "Shipment">,
      ReadError | Undecodable | PositionAhead | PositionDiverged,
      EventStorage | CurrentTenant
    >
  >()
  const all = Subscription.allLogs({ aggregates: [Order] })
  expectTypeOf<Stream.Services<typeof all>>().toEqualTypeOf<EventStorage | Tenant.AllTenants>()
})

test("reading the progress of a projection requires the tenant, and its layer does not", () => {
  expectTypeOf(ProjectionManager.layer).toEqualTypeOf<
    Layer.Layer<ProjectionManager.ProjectionManager, never, EventStorage | ProjectionStorage>
  >()
  type Service = ProjectionManager.ProjectionManager["Service"]
  expectTypeOf<Effect.Services<ReturnType<Service["status"]>>>().toEqualTypeOf<CurrentTenant>()
  expectTypeOf<Effect.Services<ReturnType<Service["awaitPosition"]>>>().toEqualTypeOf<CurrentTenant>()
  expectTypeOf<Stream.Services<ReturnType<Service["rebuild"]>>>().toEqualTypeOf<CurrentTenant>()
  expectTypeOf<Stream.Services<ReturnType<Service["rebuildAll"]>>>().toEqualTypeOf<Tenant.AllTenants>()
  expectTypeOf<Effect.Services<ReturnType<Service["cancelRebuild"]>>>().toEqualTypeOf<CurrentTenant>()
  expectTypeOf<Effect.Services<ReturnType<Service["cancelRebuildAll"]>>>().toEqualTypeOf<Tenant.AllTenants>()
  expectTypeOf<Stream.Services<ReturnType<Service["statusOfAll"]>>>().toEqualTypeOf<Tenant.AllTenants>()
})

test("replaying has the requirements of the handlers", () => {
  const handlers = {
    Placed: () => Repository.use((repository) => repository.exists(Order, "1"))
  }
  const tenant = Projection.make("tenant", { aggregates: [Order] }, handlers)
  const across = Projection.makeAcrossTenants("across", { aggregates: [Order] }, handlers)
  const replay = ProjectionManager.ProjectionManager.use(({ replayDeadLetters }) => replayDeadLetters(tenant))
  expectTypeOf<Effect.Services<typeof replay>>().toEqualTypeOf<
    ProjectionManager.ProjectionManager | Repository | CurrentTenant
  >()
  expectTypeOf<Effect.Error<typeof replay>>().toEqualTypeOf<ReplayFailed | ReadError>()
  const replayAcross = ProjectionManager.ProjectionManager.use(({ replayDeadLetters }) =>
    replayDeadLetters(across)
  )
  expectTypeOf<Effect.Services<typeof replayAcross>>().toEqualTypeOf<
    ProjectionManager.ProjectionManager | Repository | CurrentTenant | Tenant.AllTenants
  >()
})

interface Totals {
  readonly count: number
  readonly last: "none" | "placed" | "shipped"
}
const initial = (): Totals => ({ count: 0, last: "none" })

declare const place: Event.Position

test("a projection in memory infers its handlers, and ignores events without one", () => {
  const totals = InMemoryProjection.make(
    "totals",
    { aggregates: [Order, Shipment], initial },
    {
      Placed: (state, { total }, { aggregateType }) => {
        expectTypeOf(state).toEqualTypeOf<Totals>()
        expectTypeOf(total).toEqualTypeOf<number>()
        expectTypeOf(aggregateType).toEqualTypeOf<"Order">()
        return { count: state.count + total, last: "placed" }
      },
      Requested: (state, { order }) => ({ ...state, count: order.length, last: "shipped" })
    }
  )
  type Running = InMemoryProjection.Running<"totals">
  expectTypeOf(totals.get).toEqualTypeOf<
    Effect.Effect<InMemoryProjection.Current<Totals>, ReadError | Undecodable, Running | CurrentTenant>
  >()
  expectTypeOf(totals.awaitPosition(1)).toEqualTypeOf<
    Effect.Effect<
      InMemoryProjection.Current<Totals>,
      ProjectionBehind | ReadError | Undecodable,
      Running | CurrentTenant
    >
  >()
  const behind = totals.awaitPosition(place)
  expectTypeOf<Effect.Error<typeof behind>>().toEqualTypeOf<
    ProjectionBehind | PositionDiverged | ReadError | Undecodable
  >()
  expectTypeOf(totals.layer).toEqualTypeOf<Layer.Layer<Running, never, EventStorage>>()
})

test("a projection in memory refuses states and events of others", () => {
  InMemoryProjection.make(
    "wrong state",
    { aggregates: [Order], initial },
    {
      // @ts-expect-error "lost" is not among the states
      Placed: (state) => ({ ...state, last: "lost" })
    }
  )
  // @ts-expect-error not an event of orders
  InMemoryProjection.make("wrong event", { aggregates: [Order], initial }, { Requested: initial })
  const byFunction = InMemoryProjection.make(
    "by function",
    { aggregates: [Order], initial },
    (state, event, { position }) => {
      expectTypeOf(event).toEqualTypeOf<OrderEvent>()
      return { ...state, count: position }
    }
  )
  expectTypeOf(byFunction.fold([])).toEqualTypeOf<Totals>()
})

test("no layer of a projection in memory requires the tenant, with any hooks", () => {
  const totals = InMemoryProjection.make("totals", { aggregates: [Order], initial }, {})
  const layer = totals.layerWith({
    stored: {
      load: () => Effect.as(Effect.andThen(Tenant.CurrentTenant, Repository), undefined),
      save: () => Effect.void
    }
  })
  expectTypeOf<Layer.Services<typeof layer>>().toEqualTypeOf<EventStorage | Repository>()
  const get = Effect.orDie(Effect.provideService(totals.get, totals.Service, undefined as never))
  // @ts-expect-error the tenant is not provided
  void (() => Effect.runPromise(get))
})
