/** Traces across events, and the spans that nobody would see. */
import { assert, describe, it, vi } from "@effect/vitest"
import { Data, Effect, Layer, Option, Schedule, Schema, Stream, Tracer } from "effect"
import { Telemetry, Tenant } from "effect-eventsourcing"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import * as EventContext from "../../src/domain/EventContext.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import * as Projection from "../../src/projection/Projection.ts"
import * as ProjectionRunner from "../../src/projection/ProjectionRunner.ts"
import * as Reaction from "../../src/projection/Reaction.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as Repository from "../../src/store/Repository.ts"

const Placed = Schema.TaggedStruct("Placed", { card: Schema.String })

const Order = Aggregate.make(
  "Order",
  { id: Schema.String, state: Schema.Int, initial: 0, events: [Placed] },
  { Placed: (count) => count + 1 }
)

const place = (id: string, card = "none") =>
  Repository.Repository.use((repository) => repository.execute(Order, id, () => [Placed.make({ card })]))

class Refused extends Data.TaggedError("Refused")<{ readonly message: string }> {}

const Orders = Projection.make(
  "orders",
  { aggregates: [Order], retry: Schedule.recurs(0) },
  {
    Placed: ({ card }) =>
      card === "none" ? Effect.void : Effect.fail(new Refused({ message: `refused ${card}` }))
  }
)

const Parcels = Reaction.make(
  "parcels",
  { aggregates: [Order], startAt: "beginning" },
  { Placed: (_event, { aggregateId }) => (aggregateId === "parcel" ? Effect.void : place("parcel")) }
)

const services = Repository.layer.pipe(
  Layer.provideMerge(EventStore.layer),
  Layer.provideMerge(MemoryStorage.layer)
)

/** The services with a runner that is driven by `drain`. */
const running = <const Ps extends ReadonlyArray<Projection.Any>>(...projections: Ps) =>
  ProjectionRunner.layer({ projections, concurrency: 0 }).pipe(Layer.provideMerge(services))

const drain = ProjectionRunner.ProjectionRunner.use((runner) => runner.drain)

const recording = () => {
  const spans: Array<Tracer.NativeSpan> = []
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    }
  })
  return { spans, tracer, named: (name: string) => spans.filter((span) => span.name === name) }
}

const traces = EventStore.EventStore.use((store) =>
  Effect.map(Stream.runCollect(store.readLog({ aggregates: [Order] })), (events) =>
    events.map(({ traceparent }) => traceparent)
  )
)

const asTenant = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.flatMap(Tenant.generate, (tenantId) => Tenant.provide(tenantId)(effect))

describe("an event", () => {
  it.effect("has the trace of its append, unless its context names one, or nobody sees the span", () => {
    const { named, tracer } = recording()
    const other = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    return Effect.gen(function* () {
      yield* place("1")
      yield* Effect.withTracer(place("1"), tracer)
      yield* place("1").pipe(EventContext.provide({ traceparent: other }), Effect.withTracer(tracer))
      yield* place("1").pipe(
        Effect.withParentSpan(Tracer.externalSpan({ traceId: "1", spanId: "2", sampled: false })),
        Effect.withTracer(tracer)
      )
      const [, , ...more] = named("append Order")
      const [command] = named("execute Order")
      assert.deepStrictEqual(more, [])
      assert.deepStrictEqual(yield* traces, [
        null,
        `00-${command?.traceId}-${command?.spanId}-01`,
        other,
        null
      ])
    }).pipe(asTenant, Effect.provide(services, { local: true }))
  })
})

describe("the span of a projection", () => {
  it.effect("begins a trace, and is linked to those of its events, each once", () => {
    const { named, tracer } = recording()
    return Effect.gen(function* () {
      yield* place("1")
      yield* place("1")
      yield* place("2")
      yield* Effect.withSpan(drain, "program")
      const parents = named("execute Order").map(({ spanId, traceId }) => `${traceId} ${spanId}`)
      const [work, ...others] = named("process orders")
      assert(work !== undefined)
      assert.deepStrictEqual(others, [])
      assert.isTrue(Option.isNone(work.parent))
      assert.strictEqual(work.kind, "consumer")
      assert.deepStrictEqual(
        work.links.map(({ span: { spanId, traceId } }) => `${traceId} ${spanId}`),
        parents
      )
      assert.strictEqual(work.attributes.get("messaging.batch.message_count"), 3)
      assert.strictEqual(work.attributes.get("eventsourcing.position"), 3)
    }).pipe(asTenant, Effect.provide(running(Orders), { local: true }), Effect.withTracer(tracer))
  })

  it.effect("is the parent of the commands of a reaction", () => {
    const { named, tracer } = recording()
    return Effect.gen(function* () {
      yield* place("1")
      yield* drain
      const [, command] = named("execute Order")
      const reacted = named("react parcels").find(
        ({ spanId }) => Option.getOrUndefined(command?.parent ?? Option.none())?.spanId === spanId
      )
      assert.isDefined(reacted)
    }).pipe(asTenant, Effect.provide(running(Parcels), { local: true }), Effect.withTracer(tracer))
  })

  it.effect("fails with a failure that is recorded for a later attempt, without the values of events", () => {
    const { named, tracer } = recording()
    return Effect.gen(function* () {
      yield* place("1", "card 4711 0815")
      yield* drain
      const [work] = named("process orders")
      assert(work?.status._tag === "Ended")
      assert.strictEqual(work.attributes.get("error.type"), "Refused")
      const { exit } = work.status
      assert.strictEqual(exit._tag, "Failure")
      assert.notInclude(JSON.stringify(exit), "4711")
      assert.include(String(exit), "refused")
    }).pipe(asTenant, Effect.provide(running(Orders), { local: true }), Effect.withTracer(tracer))
  })
})

describe("without a tracer of the program", () => {
  it.effect("no span is made, and a span of the program gets no attributes", () =>
    Effect.gen(function* () {
      const span = yield* Effect.makeSpan("program")
      const made = vi.spyOn(Tracer.nativeTracer, "span")
      yield* Effect.andThen(place("1"), drain).pipe(Effect.withParentSpan(span))
      const names = made.mock.calls.map(([{ name }]) => name)
      made.mockRestore()
      assert.deepStrictEqual(names, [])
      assert.deepStrictEqual([...span.attributes], [])
      assert.deepStrictEqual(span.links, [])
    }).pipe(asTenant, Effect.provide(running(Orders), { local: true }))
  )
})

describe("sampling", () => {
  const sampledBy = (ratio: number) => {
    const { spans, tracer } = recording()
    const layer = Telemetry.layerSampled(ratio).pipe(Layer.provideMerge(Layer.succeed(Tracer.Tracer, tracer)))
    return { spans, layer }
  }

  it.effect("chooses at the root, and makes no span in a trace that is left out", () => {
    const { layer, spans } = sampledBy(0)
    return Effect.gen(function* () {
      yield* Effect.provide(place("1"), layer, { local: true })
      assert.deepStrictEqual(spans, [])
      assert.deepStrictEqual(yield* traces, [null])
      const parent = Tracer.externalSpan({ traceId: "1", spanId: "2", sampled: true })
      yield* place("1").pipe(Effect.withParentSpan(parent), Effect.provide(layer, { local: true }))
      assert.deepStrictEqual(
        spans.map(({ name, sampled }) => [name, sampled]),
        [
          ["execute Order", true],
          ["append Order", true]
        ]
      )
    }).pipe(asTenant, Effect.provide(services, { local: true }))
  })

  it.effect("records all traces, or the given share of them", () =>
    Effect.gen(function* () {
      const all = sampledBy(1)
      yield* Effect.provide(place("1"), all.layer, { local: true })
      assert.deepStrictEqual(new Set(all.spans.map(({ sampled }) => sampled)), new Set([true]))
      const some = sampledBy(0.25)
      const context = yield* Layer.build(some.layer)
      for (let count = 0; count < 2000; count++)
        yield* Effect.provideContext(Effect.makeSpan("root"), context)
      const sampled = some.spans.filter((span) => span.sampled).length
      assert.isAbove(sampled, 350)
      assert.isBelow(sampled, 650)
      some.spans.length = 0
      for (let count = 0; count < 400; count++)
        yield* Effect.provideContext(place(String(count % 20)), context)
      assert.isTrue(some.spans.every((span) => span.sampled))
      const commands = some.spans.filter(({ name }) => name === "execute Order")
      assert.isAbove(commands.length, 50)
      assert.isBelow(commands.length, 150)
      // A trace is recorded whole or not at all.
      assert.deepStrictEqual(
        some.spans.filter(({ name }) => name === "append Order").map(({ traceId }) => traceId),
        commands.map(({ traceId }) => traceId)
      )
      for (const ratio of [-0.1, 1.1, Number.NaN])
        assert.throws(() => Telemetry.layerSampled(ratio), RangeError)
    }).pipe(asTenant, Effect.provide(services, { local: true }), Effect.scoped)
  )
})
