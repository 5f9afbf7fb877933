/** A tenant in full use: writers, readers, a subscription, a read model, a reaction and an outbox. */
import { assert } from "@effect/vitest"
import { Clock, Effect, Fiber, Layer, Schedule, Schema, Stream } from "effect"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import type { EventStorage } from "../../src/driver/EventStorage.ts"
import type { ProjectionStorage } from "../../src/driver/ProjectionStorage.ts"
import * as TenantMove from "../../src/lifecycle/TenantMove.ts"
import * as OutboxRelay from "../../src/projection/OutboxRelay.ts"
import * as Projection from "../../src/projection/Projection.ts"
import * as ProjectionRunner from "../../src/projection/ProjectionRunner.ts"
import * as Reaction from "../../src/projection/Reaction.ts"
import * as Subscription from "../../src/projection/Subscription.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import { administer } from "./moving.ts"

const Added = Schema.TaggedStruct("Added", { n: Schema.Int })

const Counter = Aggregate.make(
  "Counter",
  { id: Schema.String, state: Schema.Int, initial: 0, events: [Added] },
  { Added: (sum) => sum + 1 }
)

/** The parts of the program that a tenant's events reach. */
export class Followers {
  /** Positions by follower, in the order in which they came. */
  readonly #seen = new Map<string, Array<number>>()
  readonly tenantId: Tenant.TenantId

  constructor(tenantId: Tenant.TenantId) {
    this.tenantId = tenantId
  }

  of(follower: string): Array<number> {
    const seen = this.#seen.get(follower) ?? []
    this.#seen.set(follower, seen)
    return seen
  }

  #note(follower: string) {
    return (tenantId: string, position: number) =>
      Effect.sync(() => void (tenantId === this.tenantId && this.of(follower).push(position)))
  }

  /** Follows the tenant's log while the scope is open. */
  readonly subscription = Effect.suspend(() => {
    const note = this.#note("subscription")
    return Stream.runForEach(
      Subscription.log({ aggregates: [Counter], pollInterval: "20 millis" }),
      ({ position, tenantId }) => note(tenantId, position)
    ).pipe(Tenant.provide(this.tenantId))
  })

  /** A read model without a database, a reaction and an outbox. */
  get layer(): Layer.Layer<never, unknown, EventStorage | ProjectionStorage | EventStore.EventStore> {
    const noted = (follower: string) => ({
      Added: (
        _event: unknown,
        { position, tenantId }: { readonly position: number; readonly tenantId: string }
      ) => this.#note(follower)(tenantId, position)
    })
    const projections = [
      Projection.make("counters", { aggregates: [Counter], tables: ["counters"] }, noted("read model")),
      Reaction.make(
        "mails",
        { aggregates: [Counter], startAt: "beginning", batchSize: 50 },
        noted("reaction")
      ),
      OutboxRelay.make("outbox", { aggregates: [Counter], startAt: "beginning" })
    ] as const
    const note = this.#note("outbox")
    const publisher = Layer.succeed(OutboxRelay.Publisher, {
      publish: ({ body, tenantId }) =>
        note(tenantId, (JSON.parse(body) as { readonly position: number }).position)
    })
    return Layer.effectDiscard(
      Layer.build(
        ProjectionRunner.layer({ projections, pollInterval: "20 millis", sweepInterval: "200 millis" })
      )
    ).pipe(Layer.provide(publisher))
  }
}

/** Appends a number of events, in large appends. */
export const fill = (tenantId: Tenant.TenantId, count: number) =>
  EventStore.EventStore.use((store) =>
    Effect.forEach(
      Array.from({ length: count / 500 }, (_, n) => n),
      (n) =>
        store.append({
          aggregate: Counter,
          id: `old ${n}`,
          expectedVersion: "any",
          events: Array.from({ length: 500 }, (_event, index) => Added.make({ n: index }))
        }),
      { discard: true }
    )
  ).pipe(Tenant.provide(tenantId))

/** The acknowledged appends of a number of writers, each to a stream of its own, and the longest time that one took. */
const write = Effect.fnUntraced(function* (tenantId: Tenant.TenantId, writers: number, ended: () => boolean) {
  const store = yield* EventStore.EventStore
  const acknowledged: Array<{ readonly eventId: string; readonly position: number }> = []
  const millis: Array<number> = []
  const writer = Effect.fnUntraced(function* (n: number) {
    for (let version = 0; !ended(); version++) {
      const began = yield* Clock.currentTimeMillis
      const { events } = yield* store.append({
        aggregate: Counter,
        id: `writer ${n}`,
        // a lost or a doubled event would be a conflict
        expectedVersion: version === 0 ? "noStream" : version,
        events: [Added.make({ n })]
      })
      millis.push((yield* Clock.currentTimeMillis) - began)
      for (const { eventId, position } of events) acknowledged.push({ eventId, position })
      yield* Effect.sleep("1 millis")
    }
  })
  yield* Effect.forEach(
    Array.from({ length: writers }, (_, n) => n),
    writer,
    { concurrency: "unbounded", discard: true }
  ).pipe(Tenant.provide(tenantId))
  return { acknowledged, millis }
})

/** Reads streams until the end; each read sees all that was acknowledged before. */
const read = Effect.fnUntraced(
  function* (_tenantId: Tenant.TenantId, ended: () => boolean) {
    const store = yield* EventStore.EventStore
    let version = 0
    while (!ended()) {
      const { version: found } = yield* store.fold({ aggregate: Counter, id: "writer 0" })
      assert.isAtLeast(found, version)
      version = found
      yield* Effect.sleep("2 millis")
    }
  },
  (effect, tenantId) => Tenant.provide(tenantId)(effect)
)

const range = (to: number): ReadonlyArray<number> => Array.from({ length: to }, (_, index) => index + 1)

/** Moves a tenant while it is in full use. Fails if an event is lost, doubled, skipped or handled twice. */
export const movedUnderLoad = Effect.fnUntraced(function* (
  followers: Followers,
  to: string,
  options: { readonly writers?: number; readonly after?: number } = {}
) {
  const { tenantId } = followers
  let ended = false
  const isEnded = () => ended
  const subscribed = yield* Effect.forkChild(followers.subscription)
  const writing = yield* Effect.forkChild(write(tenantId, options.writers ?? 16, isEnded))
  const reading = yield* Effect.forkChild(
    Effect.all([read(tenantId, isEnded), read(tenantId, isEnded)], { concurrency: 2, discard: true })
  )
  yield* Effect.sleep("100 millis")
  const moved = yield* TenantMove.TenantMove.use((moves) => administer(moves.start(tenantId, { to })))
  yield* Effect.sleep(options.after ?? 200)
  ended = true
  const { acknowledged, millis } = yield* Fiber.join(writing)
  yield* Fiber.join(reading)
  const store = yield* EventStore.EventStore
  const log = yield* Stream.runCollect(store.readLog({ aggregates: [Counter] })).pipe(
    Tenant.provide(tenantId)
  )
  const positions = range(log.length)
  assert.deepStrictEqual(
    log.map(({ position }) => position),
    positions
  )
  const byId = new Map(log.map(({ eventId, position }) => [eventId as string, position]))
  assert.strictEqual(byId.size, log.length)
  for (const { eventId, position } of acknowledged) assert.strictEqual(byId.get(eventId), position)
  const caughtUp = Effect.sync(() =>
    ["subscription", "reaction", "outbox", "read model"].every(
      (name) => followers.of(name).filter((position) => position === log.length).length > 0
    )
  )
  yield* Effect.repeat(caughtUp, { until: (done) => done, schedule: Schedule.spaced("20 millis") }).pipe(
    Effect.timeoutOption("60 seconds")
  )
  for (const name of ["subscription", "reaction", "outbox"])
    assert.deepStrictEqual(followers.of(name), positions, `${name}: each position once, in order`)
  // the read model of the new home is filled from the beginning
  const model = followers.of("read model")
  assert.deepStrictEqual(model.slice(model.lastIndexOf(1)), positions)
  void subscribed
  return {
    moved,
    events: log.length,
    acknowledged: acknowledged.length,
    millis: millis.toSorted((one, other) => one - other)
  }
})
