import { assert, describe, it, layer } from "@effect/vitest"
import { DateTime, Deferred, Effect, Fiber, Layer, Queue, Schedule } from "effect"
import { FetchHttpClient, HttpClient, HttpClientRequest } from "effect/http"
import * as Event from "../../src/domain/Event.ts"
import * as EventContext from "../../src/domain/EventContext.ts"
import * as OutboxRelay from "../../src/projection/OutboxRelay.ts"
import { ProjectionStorage } from "../../src/driver/ProjectionStorage.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { backends } from "../support/backends.ts"
import {
  count,
  Counter,
  drain,
  log,
  onDriver,
  Order,
  place,
  placed,
  unique,
  withRunner
} from "../support/shop.ts"

/** A broker that keeps the messages that it accepts; `refuse` fails for those that it does not. */
const broker = (
  refuse: (message: OutboxRelay.Message) => Effect.Effect<void, OutboxRelay.PublishFailed> = () => Effect.void
) => {
  const taken: Array<OutboxRelay.Message> = []
  const publisher = {
    publish: (message: OutboxRelay.Message) =>
      Effect.map(refuse(message), () => {
        taken.push(message)
      })
  }
  return {
    taken,
    publisher,
    totalsOf: (tenant: Tenant.TenantId) =>
      taken.filter(({ tenantId }) => tenantId === tenant).map((message) => totalOf(message))
  }
}

const bodyOf = (message: OutboxRelay.Message) =>
  JSON.parse(message.body) as { readonly payload: { readonly total: number }; readonly position: number }
const totalOf = (message: OutboxRelay.Message): number => bodyOf(message).payload.total
const refused = (message: OutboxRelay.Message) =>
  new OutboxRelay.PublishFailed({ reason: "refused", messageId: message.id })

const soon = Schedule.recurs(20)

const orders = (options?: Partial<OutboxRelay.Options<[typeof Order]>>) =>
  OutboxRelay.make(unique("relay"), { aggregates: [Order], retry: soon, ...options })

const placeAll = (tenant: Tenant.TenantId, totals: ReadonlyArray<number>) =>
  Effect.forEach(totals, (total) => place(String(total % 2), [placed(total)])).pipe(Tenant.provide(tenant))

const progress = (name: string, tenantId: Tenant.TenantId) =>
  ProjectionStorage.use((storage) =>
    Effect.map(storage.progress({ tenantId, projection: name, version: 1 }), ([row]) => row)
  )

describe.each(backends)("the outbox relay on $name", (backend) => {
  layer(onDriver(backend.layer), { excludeTestServices: true })((it) => {
    it.effect("publishes each tenant's events in order, as messages with the whole envelope", () =>
      Effect.gen(function* () {
        const [a, b] = [yield* Tenant.generate, yield* Tenant.generate]
        const { publisher, taken, totalsOf } = broker()
        const eventId = Event.generateId()
        yield* Effect.gen(function* () {
          yield* placeAll(a, [1, 2])
          for (const tenant of [a, b]) {
            yield* place("ünï", [Event.make(placed(3), { eventId, metadata: { via: "test" } })]).pipe(
              EventContext.provide({
                actor: "ada",
                causationId: "100% a\r\nb\u{1f30d}",
                correlationId: "c:1"
              }),
              Tenant.provide(tenant)
            )
          }
          yield* placeAll(a, [4])
          yield* drain
        }).pipe(withRunner(orders()), Effect.provideService(OutboxRelay.Publisher, publisher))
        assert.deepStrictEqual(totalsOf(a), [1, 2, 3, 4])
        assert.deepStrictEqual(totalsOf(b), [3])
        const message = taken.find(({ tenantId }) => tenantId === b)
        const [envelope] = yield* log.pipe(Tenant.provide(b))
        assert(message !== undefined && envelope !== undefined)
        const { body, ...rest } = message
        assert.deepStrictEqual(rest, {
          id: eventId,
          tenantId: b,
          key: JSON.stringify([b, "Order", "ünï"]),
          eventType: "Placed",
          headers: {
            "message-id": eventId,
            "tenant-id": b,
            "event-type": "Placed",
            "correlation-id": "c:1",
            "causation-id": "100%25%20a%0D%0Ab%F0%9F%8C%8D"
          }
        })
        assert.deepStrictEqual(JSON.parse(body), {
          ...envelope,
          occurredAt: DateTime.formatIso(envelope.occurredAt),
          recordedAt: DateTime.formatIso(envelope.recordedAt)
        })
        assert.doesNotThrow(() => new Headers(message.headers))
      })
    )

    it.effect("publishes the selected events, from now on or from the beginning", () =>
      Effect.gen(function* () {
        const tenant = yield* Tenant.generate
        const { publisher, taken } = broker()
        const everything = broker()
        yield* Effect.gen(function* () {
          yield* placeAll(tenant, [1])
          yield* count("1").pipe(Tenant.provide(tenant))
          const all = OutboxRelay.make(unique("all"), { aggregates: [Order, Counter], startAt: "beginning" })
          yield* Effect.gen(function* () {
            yield* placeAll(tenant, [2])
            yield* drain
          }).pipe(withRunner(orders({ eventTypes: ["Placed"] }), orders({ eventTypes: ["Paid"] })))
          yield* drain.pipe(
            withRunner(all),
            Effect.provideService(OutboxRelay.Publisher, everything.publisher)
          )
        }).pipe(Effect.provideService(OutboxRelay.Publisher, publisher))
        const typesOf = (messages: ReadonlyArray<OutboxRelay.Message>) =>
          messages.filter(({ tenantId }) => tenantId === tenant).map(({ eventType }) => eventType)
        assert.deepStrictEqual(typesOf(taken), ["Placed"])
        assert.deepStrictEqual(typesOf(everything.taken), ["Placed", "Counted", "Placed"])
      })
    )

    it.effect("publishes a message again until it is accepted, in order, and holds up no other tenant", () =>
      Effect.gen(function* () {
        const [a, b] = [yield* Tenant.generate, yield* Tenant.generate]
        let refusals = 3
        const { publisher, totalsOf } = broker((message) =>
          message.tenantId === a && totalOf(message) === 3 && refusals-- > 0
            ? Effect.fail(new OutboxRelay.PublishFailed({ reason: "away" }))
            : Effect.void
        )
        const relay = orders()
        yield* Effect.gen(function* () {
          yield* placeAll(a, [1, 2, 3, 4])
          yield* placeAll(b, [5])
          yield* drain
        }).pipe(withRunner(relay), Effect.provideService(OutboxRelay.Publisher, publisher))
        // Only the messages before the failure are published a second time.
        assert.deepStrictEqual(totalsOf(a), [1, 2, 1, 2, 3, 4])
        assert.deepStrictEqual(totalsOf(b), [5])
        assert.deepInclude(yield* progress(relay.name, a), { position: 4, parked: false, attempts: 0 })
      })
    )

    it.effect("publishes a page at once with publishAll, and continues after the accepted messages", () =>
      Effect.gen(function* () {
        const tenant = yield* Tenant.generate
        const pages: Array<Array<number>> = []
        let failures = 2
        const publisher = OutboxRelay.Publisher.of({
          publish: () => Effect.die(new Error("one by one")),
          publishAll: (messages) =>
            Effect.suspend(() => {
              const totals = messages.map(totalOf)
              pages.push(totals)
              const bad = messages.find((message) => totalOf(message) === 3)
              if (bad === undefined || failures-- <= 0) return Effect.void
              return Effect.fail(
                failures === 0 ? new OutboxRelay.PublishFailed({ reason: "away" }) : refused(bad)
              )
            })
        })
        yield* Effect.gen(function* () {
          yield* placeAll(tenant, [1, 2, 3, 4, 5, 6])
          yield* drain
        }).pipe(withRunner(orders({ batchSize: 4 })), Effect.provideService(OutboxRelay.Publisher, publisher))
        assert.deepStrictEqual(pages, [[1, 2, 3, 4], [1, 2], [3], [3], [4, 5, 6]])
      })
    )

    it.effect("passes a poison message and keeps it as a dead letter, if so configured", () =>
      Effect.gen(function* () {
        const tenant = yield* Tenant.generate
        const { publisher, totalsOf } = broker((message) =>
          totalOf(message) === 13 ? Effect.fail(refused(message)) : Effect.void
        )
        const relay = orders({ retry: Schedule.recurs(2), onFailure: "deadLetter" })
        yield* Effect.gen(function* () {
          yield* placeAll(tenant, [12, 13, 14])
          yield* drain
        }).pipe(withRunner(relay), Effect.provideService(OutboxRelay.Publisher, publisher))
        assert.deepStrictEqual(totalsOf(tenant), [12, 12, 14])
        const letters = yield* ProjectionStorage.use((storage) =>
          storage.deadLetters({ tenantId: tenant, projection: relay.name, version: 1, after: 0, limit: 9 })
        )
        assert.strictEqual(letters.length, 1)
        assert.deepInclude(letters[0], { position: 2, attempts: 3 })
        assert.match(letters[0]?.error ?? "", /^PublishFailed: a message was not published: refused$/)
      })
    )

    it.effect("stops waiting for a publisher that hangs, and tries again", () =>
      Effect.gen(function* () {
        const tenant = yield* Tenant.generate
        let hangs = 1
        const { publisher, totalsOf } = broker(() => (hangs-- > 0 ? Effect.never : Effect.void))
        yield* Effect.gen(function* () {
          yield* placeAll(tenant, [1])
          yield* drain
        }).pipe(
          withRunner(orders({ timeout: "20 millis" })),
          Effect.provideService(OutboxRelay.Publisher, publisher)
        )
        assert.deepStrictEqual(totalsOf(tenant), [1])
      })
    )

    it.effect("repeats messages if it was interrupted before the checkpoint", () =>
      Effect.gen(function* () {
        const tenant = yield* Tenant.generate
        const reached = yield* Deferred.make<void>()
        let stuck = true
        const { publisher, taken } = broker((message) => {
          if (totalOf(message) !== 2 || !stuck) return Effect.void
          stuck = false
          return Effect.andThen(Deferred.succeed(reached, undefined), Effect.never)
        })
        yield* Effect.gen(function* () {
          yield* placeAll(tenant, [1, 2])
          const worker = yield* Effect.forkChild(drain)
          yield* Deferred.await(reached)
          yield* Fiber.interrupt(worker)
          yield* drain
        }).pipe(withRunner(orders()), Effect.provideService(OutboxRelay.Publisher, publisher))
        assert.deepStrictEqual(taken.map(totalOf), [1, 1, 2])
        assert.strictEqual(taken[0]?.id, taken[1]?.id)
        assert.strictEqual(taken[0]?.body, taken[1]?.body)
      })
    )

    it.effect("publishes to a queue of the process with its own workers", () =>
      Effect.gen(function* () {
        const tenant = yield* Tenant.generate
        const queue = yield* Queue.unbounded<OutboxRelay.Message>()
        const QueuePublisher = Layer.succeed(
          OutboxRelay.Publisher,
          OutboxRelay.Publisher.of({
            publish: (message) => Effect.asVoid(Queue.offer(queue, message)),
            publishAll: (messages) => Effect.asVoid(Queue.offerAll(queue, messages))
          })
        )
        const relay = OutboxRelay.layer(unique("own"), {
          aggregates: [Order],
          concurrency: 2,
          pollInterval: "20 millis"
        })
        const messages = yield* Effect.gen(function* () {
          yield* placeAll(tenant, [1, 2, 3])
          return yield* Queue.takeN(queue, 3)
        }).pipe(Effect.provide(Layer.provide(relay, QueuePublisher), { local: true }))
        assert.deepStrictEqual(messages.map(totalOf), [1, 2, 3])
      }).pipe(Effect.timeout("10 seconds"))
    )

    it.effect("publishes over HTTP", () =>
      Effect.gen(function* () {
        const tenant = yield* Tenant.generate
        const requests: Array<Request> = []
        const answers = [503, 201]
        const HttpPublisher = Layer.effect(
          OutboxRelay.Publisher,
          Effect.map(HttpClient.HttpClient, (client) => {
            const strict = HttpClient.filterStatusOk(client)
            return OutboxRelay.Publisher.of({
              publish: ({ body, headers }) =>
                HttpClientRequest.post("http://broker.test/orders").pipe(
                  HttpClientRequest.setHeaders(headers),
                  HttpClientRequest.bodyText(body, "application/json"),
                  strict.execute,
                  Effect.mapError((error) => new OutboxRelay.PublishFailed({ reason: error.reason._tag })),
                  Effect.asVoid
                )
            })
          })
        ).pipe(
          Layer.provide(FetchHttpClient.layer),
          Layer.provide(
            Layer.succeed(FetchHttpClient.Fetch, (input, init) => {
              requests.push(new Request(input, init))
              return Promise.resolve(new Response(null, { status: answers.shift() ?? 500 }))
            })
          )
        )
        yield* Effect.gen(function* () {
          yield* placeAll(tenant, [7])
          yield* drain
        }).pipe(withRunner(orders()), Effect.provide(HttpPublisher))
        assert.strictEqual(requests.length, 2)
        const [, taken] = requests
        assert(taken !== undefined)
        assert.strictEqual(taken.headers.get("tenant-id"), tenant)
        assert.strictEqual(taken.headers.get("content-type"), "application/json")
        const body = yield* Effect.promise(() => taken.json())
        assert.deepInclude(body, { tenantId: tenant, position: 1, payload: { _tag: "Placed", total: 7 } })
      })
    )

    it.effect("publishes in order and once with several workers in several runners", () =>
      Effect.gen(function* () {
        const tenants = yield* Effect.replicateEffect(Tenant.generate, 5)
        const { publisher, totalsOf } = broker(() => Effect.sleep("1 millis"))
        const relay = orders({ batchSize: 2 })
        const totals = [1, 2, 3, 4, 5, 6]
        yield* Effect.gen(function* () {
          yield* Effect.forEach(tenants, (tenant) => placeAll(tenant, totals), { concurrency: "unbounded" })
          const work = Effect.replicateEffect(drain, 2, { concurrency: "unbounded" })
          yield* Effect.all([work, work.pipe(withRunner(relay))], { concurrency: "unbounded" })
          yield* drain
        }).pipe(withRunner(relay), Effect.provideService(OutboxRelay.Publisher, publisher))
        for (const tenant of tenants) assert.deepStrictEqual(totalsOf(tenant), totals)
      })
    )
  })
})

describe("a relay", () => {
  it("cannot be made for an event that its aggregates do not have", () => {
    assert.throws(
      () =>
        OutboxRelay.make("relay", {
          aggregates: [Order],
          // @ts-expect-error it is not an event of orders
          eventTypes: ["Counted"]
        }),
      TypeError
    )
  })
})
