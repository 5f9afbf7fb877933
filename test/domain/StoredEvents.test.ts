/** Events of former versions in everything that reads, on each backend: written by a former program, read by a present one. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Layer, Metric, Schedule, Schema, Stream, Tracer } from "effect"
import { TestClock } from "effect/testing"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import * as Event from "../../src/domain/Event.ts"
import * as EventQuery from "../../src/domain/EventQuery.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as InMemoryProjection from "../../src/projection/InMemoryProjection.ts"
import * as OutboxRelay from "../../src/projection/OutboxRelay.ts"
import * as Projection from "../../src/projection/Projection.ts"
import * as ProjectionManager from "../../src/projection/ProjectionManager.ts"
import { ProjectionStorage } from "../../src/driver/ProjectionStorage.ts"
import * as Reaction from "../../src/projection/Reaction.ts"
import { Repository } from "../../src/store/Repository.ts"
import * as Subscription from "../../src/projection/Subscription.ts"
import { CurrentTenant } from "../../src/domain/Tenant.ts"
import * as Upcaster from "../../src/domain/Upcaster.ts"
import { backends } from "../support/backends.ts"
import { asNewTenant, drain, onDriver, unique, withRunner } from "../support/shop.ts"
import { inMemory } from "../support/bank.ts"
import { flipped, reasonOf } from "../../src/testing/failures.ts"
import * as Telemetry from "../../src/telemetry/Telemetry.ts"

const Registered = Schema.TaggedStruct("Registered", { name: Schema.String, mail: Schema.String })
const Viewed = Schema.TaggedStruct("Viewed", {})

const Named = Schema.TaggedStruct("Named", { name: Schema.String })
const MailChanged = Schema.TaggedStruct("MailChanged", { mail: Schema.String })

const parts = { id: Schema.String, state: Schema.Array(Schema.String), initial: [] } as const

/** The former program, and the present one, in which one event is split into two and another one is dropped. */
const programs = () => {
  // Runners work for all tenants, so each test has an aggregate type of its own.
  const type = unique("Person")
  const Old = Aggregate.make(type, { ...parts, events: [Registered, Viewed] }, (state) => state)
  const Person = Aggregate.make(
    type,
    {
      ...parts,
      events: [Named, MailChanged],
      upcasters: [
        Upcaster.from(Registered).into([Named, MailChanged], ({ name, mail }) => [
          Named.make({ name }),
          MailChanged.make({ mail })
        ]),
        Upcaster.dropped("Viewed")
      ]
    },
    { Named: (state, { name }) => [...state, name], MailChanged: (state, { mail }) => [...state, mail] }
  )
  const to = { id: "1", expectedVersion: "any" } as const
  const written = (events: EventStore.StreamEventsOf<typeof Old>["events"]) =>
    EventStore.EventStore.use((store) => store.append({ aggregate: Old, ...to, events }))
  const append = (events: EventStore.StreamEventsOf<typeof Person>["events"]) =>
    EventStore.EventStore.use((store) => store.append({ aggregate: Person, ...to, events }))
  const log = Effect.gen(function* () {
    yield* written([registered("ada"), Viewed.make({}), registered("bob")])
    yield* append([Named.make({ name: "eve" })])
    yield* written([Viewed.make({})])
  })
  return { type, Person, written, append, log }
}

const registered = (name: string) => Registered.make({ name, mail: `${name}@x` })

/** Places of events: version, position, type, part. */
const place = ({ version, position, eventType, part }: Event.Envelope<Event.Tagged>) =>
  `${version} at ${position}: ${eventType}${part === undefined ? "" : ` part ${part}`}`

const mails = ["1 at 1: MailChanged part 1", "3 at 3: MailChanged part 1"]

const all = [
  "1 at 1: Named",
  "1 at 1: MailChanged part 1",
  "3 at 3: Named",
  "3 at 3: MailChanged part 1",
  "4 at 4: Named"
]

describe.each(backends)("former events on $name", (backend) => {
  layer(onDriver(backend.layer), { excludeTestServices: true })((it) => {
    it.effect("are read from a stream and from the log, with their stored id, version and position", () =>
      Effect.gen(function* () {
        const { Person, log } = programs()
        yield* log
        const store = yield* EventStore.EventStore
        const stream = yield* Stream.runCollect(store.readStream({ aggregate: Person, id: "1" }))
        assert.deepStrictEqual(stream.map(place), all)
        assert.strictEqual(stream[0]?.eventId, stream[1]?.eventId)
        assert.deepStrictEqual(stream[1]?.payload, MailChanged.make({ mail: "ada@x" }))
        assert.deepStrictEqual(
          stream.map(({ schemaVersion }) => schemaVersion),
          [1, 1, 1, 1, 1]
        )
        const read = yield* Stream.runCollect(store.readLog({ aggregates: [Person] }))
        assert.deepStrictEqual(read.map(place), all)
      }).pipe(asNewTenant)
    )

    it.effect("are found by their present type", () =>
      Effect.gen(function* () {
        const { Person, log } = programs()
        yield* log
        const store = yield* EventStore.EventStore
        const by = (eventTypes: ReadonlyArray<string>) =>
          Effect.map(Stream.runCollect(store.readLog({ aggregates: [Person], eventTypes })), (found) =>
            found.map(place)
          )
        assert.deepStrictEqual(yield* by(["Named"]), ["1 at 1: Named", "3 at 3: Named", "4 at 4: Named"])
        assert.deepStrictEqual(yield* by(["MailChanged"]), [
          "1 at 1: MailChanged part 1",
          "3 at 3: MailChanged part 1"
        ])
        assert.deepStrictEqual(yield* by(["Registered"]), [])
        const query = EventQuery.of(Person, { types: ["MailChanged"] })
        const queried = yield* Stream.runCollect(store.readLog({ aggregates: [Person], query }))
        assert.deepStrictEqual(queried.map(place), [
          "1 at 1: MailChanged part 1",
          "3 at 3: MailChanged part 1"
        ])
      }).pipe(asNewTenant)
    )

    it.effect("count towards limits as present events, in both directions", () =>
      Effect.gen(function* () {
        const { Person, log } = programs()
        yield* log
        const store = yield* EventStore.EventStore
        for (const limit of [0, 1, 2, 3, 5, 6]) {
          const some = yield* Stream.runCollect(store.readStream({ aggregate: Person, id: "1", limit }))
          assert.deepStrictEqual(some.map(place), all.slice(0, limit))
          const last = { direction: "backwards", limit } as const
          const backwards = yield* Stream.runCollect(
            store.readStream({ aggregate: Person, id: "1", ...last })
          )
          assert.deepStrictEqual(backwards.map(place), all.toReversed().slice(0, limit))
          const read = yield* Stream.runCollect(store.readLog({ aggregates: [Person], ...last }))
          assert.deepStrictEqual(read.map(place), all.toReversed().slice(0, limit))
        }
      }).pipe(asNewTenant)
    )

    it.effect(
      "do not change the version of a stream: the next command is appended after a dropped event",
      () =>
        Effect.gen(function* () {
          const { Person, log } = programs()
          yield* log
          const repository = yield* Repository
          const loaded = yield* repository.load(Person, "1")
          assert.strictEqual(loaded.version, 5)
          assert.deepStrictEqual(loaded.state, ["ada", "ada@x", "bob", "bob@x", "eve"])
          const { version } = yield* repository.execute(Person, "1", () => [Named.make({ name: "joe" })])
          assert.strictEqual(version, 6)
        }).pipe(asNewTenant)
    )

    it.effect("are handled by projections part by part, and dropped ones are skipped", () =>
      Effect.gen(function* () {
        const { Person, log } = programs()
        const seen: Array<string> = []
        const note = (_event: Event.Tagged, envelope: Event.Envelope<Event.Tagged>) =>
          Effect.sync(() => void seen.push(place(envelope)))
        const Both = Projection.make(
          unique("both"),
          { aggregates: [Person] },
          { Named: note, MailChanged: note }
        )
        const Mails = Projection.make(unique("mails"), { aggregates: [Person] }, { MailChanged: note })
        yield* log
        yield* drain.pipe(withRunner(Both))
        assert.deepStrictEqual(seen.splice(0), all)
        yield* drain.pipe(withRunner(Mails))
        assert.deepStrictEqual(seen, mails)
        for (const { name: projection } of [Both, Mails]) {
          const progress = yield* ProjectionStorage.use((storage) =>
            Effect.flatMap(CurrentTenant, (tenantId) =>
              storage.progress({ tenantId, projection, version: 1 })
            )
          )
          assert.deepInclude(progress[0], { position: 5, head: 5 })
        }
      }).pipe(asNewTenant)
    )

    it.effect("are handled, made dead letters and replayed as a whole", () =>
      Effect.gen(function* () {
        const { Person, written } = programs()
        const seen: Array<string> = []
        let away = true
        const handle = ({ part, payload }: Event.Envelope<Aggregate.EventOf<typeof Person>>) =>
          Effect.suspend(() => {
            if (away && payload._tag === "MailChanged" && payload.mail === "ada@x") return Effect.fail("away")
            seen.push(`${payload._tag} ${part ?? 0}`)
            return Effect.void
          })
        const Whole = Projection.make(
          unique("whole"),
          { aggregates: [Person], retry: Schedule.recurs(0), onFailure: "deadLetter", batchSize: 1 },
          { Named: (_, envelope) => handle(envelope), MailChanged: (_, envelope) => handle(envelope) }
        )
        yield* written([registered("ada"), registered("bob")])
        yield* drain.pipe(withRunner(Whole))
        // The first part was handled in a transaction that was rolled back.
        assert.deepStrictEqual(seen.splice(0), ["Named 0", "Named 0", "MailChanged 1"])
        away = false
        const replayed = yield* ProjectionManager.ProjectionManager.use((projections) =>
          projections.replayDeadLetters(Whole)
        ).pipe(Effect.provide(ProjectionManager.layer, { local: true }))
        assert.strictEqual(replayed, 1)
        assert.deepStrictEqual(seen, ["Named 0", "MailChanged 1"])
      }).pipe(asNewTenant)
    )

    it.effect("makes a split event a dead letter if a batch handler always fails at it", () =>
      Effect.gen(function* () {
        const { Person, written } = programs()
        const handled: Array<number> = []
        const Batch: Projection.Projection<string, never> = {
          ...Projection.make(
            unique("batch"),
            { aggregates: [Person], retry: Schedule.recurs(0), onFailure: "deadLetter" },
            { Named: () => Effect.fail(""), MailChanged: () => Effect.fail("") }
          ),
          handleAll: (envelopes) =>
            Effect.suspend(() => {
              if (envelopes.some(({ position }) => position === 2)) return Effect.fail("no")
              handled.push(...envelopes.map(({ position }) => position))
              return Effect.void
            })
        }
        yield* written([registered("ada"), registered("bob"), registered("eve")])
        yield* drain.pipe(withRunner(Batch))
        assert.deepStrictEqual(handled, [1, 1, 3, 3])
      }).pipe(asNewTenant)
    )

    it.effect("trigger reactions part by part, with separate ids for the resulting events", () =>
      Effect.gen(function* () {
        const { Person, written } = programs()
        const Greeted = Schema.TaggedStruct("Greeted", { what: Schema.String })
        const Greeting = Aggregate.make("Greeting", { ...parts, events: [Greeted] }, (state, { what }) => [
          ...state,
          what
        ])
        const greet = (what: string) =>
          Repository.use((repository) => repository.execute(Greeting, "1", () => [Greeted.make({ what })]))
        let lost = true
        const Greets = Reaction.make(
          unique("greets"),
          { aggregates: [Person], startAt: "beginning", retry: Schedule.recurs(3) },
          {
            Named: ({ name }) => greet(name),
            // The append is stored, but the runner does not know it.
            MailChanged: ({ mail }) =>
              Effect.andThen(
                greet(mail),
                Effect.suspend(() => (lost ? Effect.fail((lost = false)) : Effect.void))
              )
          }
        )
        yield* written([registered("ada")])
        yield* drain.pipe(withRunner(Greets))
        const { state } = yield* Repository.use((repository) => repository.load(Greeting, "1"))
        assert.deepStrictEqual(state, ["ada", "ada@x"])
      }).pipe(asNewTenant)
    )

    it.effect("reach subscriptions and in-memory projections", () =>
      Effect.gen(function* () {
        const { Person, log } = programs()
        yield* log
        const followed = yield* Subscription.log({ aggregates: [Person] }).pipe(
          Stream.take(5),
          Stream.runCollect
        )
        assert.deepStrictEqual(followed.map(place), all)
        const some = yield* Subscription.log({ aggregates: [Person], eventTypes: ["MailChanged"] }).pipe(
          Stream.take(2),
          Stream.runCollect
        )
        assert.deepStrictEqual(some.map(place), mails)
        const Names = InMemoryProjection.make(
          unique("names"),
          { aggregates: [Person], initial: (): ReadonlyArray<string> => [] },
          { Named: (state, { name }) => [...state, name] }
        )
        const { state, position } = yield* Names.get.pipe(Effect.provide(Names.layer, { local: true }))
        assert.deepStrictEqual(state, ["ada", "bob", "eve"])
        assert.strictEqual(position, 5)
      }).pipe(asNewTenant)
    )

    it.effect("are relayed as present events, each part as a message with its own id", () =>
      Effect.gen(function* () {
        const { Person, append, written } = programs()
        const sent: Array<OutboxRelay.Message> = []
        let failing = true
        const broker = Layer.succeed(OutboxRelay.Publisher, {
          publish: () => Effect.void,
          publishAll: (messages) =>
            Effect.suspend(() => {
              const second = messages[1]
              if (failing && second !== undefined) {
                failing = false
                return Effect.fail(new OutboxRelay.PublishFailed({ reason: "full", messageId: second.id }))
              }
              sent.push(...messages)
              return Effect.void
            })
        })
        const relay = OutboxRelay.make(unique("relay"), { aggregates: [Person], startAt: "beginning" })
        yield* written([registered("ada")])
        yield* append([Named.make({ name: "eve" })])
        yield* drain.pipe(withRunner({ ...relay, retry: Schedule.forever }), Effect.provide(broker))
        assert.deepStrictEqual(
          sent.map(({ eventType }) => eventType),
          ["Named", "MailChanged", "Named"]
        )
        assert.strictEqual(new Set(sent.map(({ id }) => id)).size, 3)
        assert.isTrue(sent.every(({ id }) => Schema.is(Event.EventId)(id)))
        const bodies = sent.map(({ body }) => JSON.parse(body) as Record<string, unknown>)
        assert.strictEqual(bodies[0]?.["eventId"], sent[0]?.id)
        assert.strictEqual(bodies[1]?.["eventId"], bodies[0]?.["eventId"])
        assert.deepInclude(bodies[1], { part: 1, eventType: "MailChanged" })
      }).pipe(asNewTenant)
    )

    it.effect("cannot be appended again with the same id in another version", () =>
      Effect.gen(function* () {
        const { append, written } = programs()
        const eventId = Event.generateId()
        yield* written([Event.make(registered("ada"), { eventId })])
        const again = yield* flipped(append([Event.make(Named.make({ name: "ada" }), { eventId })]))
        assert.strictEqual(again._tag, "EventIdConflict")
      }).pipe(asNewTenant)
    )

    it.effect("are written in the last version of their history", () =>
      Effect.gen(function* () {
        const NamedV1 = Schema.TaggedStruct("Named", { first: Schema.String })
        const Later = Aggregate.make(
          "Person",
          {
            ...parts,
            events: [Named],
            upcasters: [Upcaster.from(NamedV1).to(Named, ({ first, ...rest }) => ({ ...rest, name: first }))]
          },
          { Named: (state, { name }) => [...state, name] }
        )
        const First = Aggregate.make("Person", { ...parts, events: [NamedV1] }, (state) => state)
        const store = yield* EventStore.EventStore
        const to = { id: "1", expectedVersion: "any" } as const
        yield* store.append({ aggregate: First, ...to, events: [NamedV1.make({ first: "ada" })] })
        const { events } = yield* store.append({
          aggregate: Later,
          ...to,
          events: [Named.make({ name: "bob" })]
        })
        assert.strictEqual(events[0]?.schemaVersion, 2)
        const stored = yield* Stream.runCollect(store.readLogJson({}))
        assert.deepStrictEqual(
          stored.map(({ schemaVersion, payload }) => [schemaVersion, payload]),
          [
            [1, { _tag: "Named", first: "ada" }],
            [2, { _tag: "Named", name: "bob" }]
          ]
        )
        // The former program does not guess the meaning of newer events.
        const failure = yield* flipped(Stream.runDrain(store.readStream({ aggregate: First, id: "1" })))
        assert.deepInclude(failure, {
          _tag: "UnknownSchemaVersion",
          tenantId: yield* CurrentTenant,
          aggregateType: "Person",
          aggregateId: "1",
          version: 2,
          position: 2,
          eventType: "Named",
          schemaVersion: 2,
          oldest: 1,
          newest: 1
        })
        assert.strictEqual(
          failure.message,
          "Person 1 version 2 (position 2): Named has schema version 2, but only version 1 is known: it was written by a newer program"
        )
      }).pipe(asNewTenant)
    )
  })
})

layer(inMemory())("a state in memory", (it) => {
  it.effect("contains all parts of a split event or none if the fold fails between them", () =>
    Effect.gen(function* () {
      const { Person, written } = programs()
      let fails = true
      const Parts = InMemoryProjection.make(
        unique("parts"),
        { aggregates: [Person], initial: (): ReadonlyArray<string> => [] },
        {
          Named: (state, { name }) => [...state, name],
          MailChanged: (state, { mail }) => {
            if (fails && mail === "bob@x") throw new Error("no")
            return [...state, mail]
          }
        }
      )
      yield* written([registered("ada"), registered("bob")])
      yield* Effect.gen(function* () {
        assert.strictEqual((yield* Effect.exit(Parts.get))._tag, "Failure")
        const { state, position } = yield* Parts.awaitPosition(1)
        assert.deepStrictEqual(state, ["ada", "ada@x"])
        assert.strictEqual(position, 1)
        fails = false
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual((yield* Parts.awaitPosition(2)).state, ["ada", "ada@x", "bob", "bob@x"])
      }).pipe(Effect.provide(Parts.layer, { local: true }))
    }).pipe(asNewTenant)
  )
})

layer(inMemory())("a tolerant aggregate", (it) => {
  const { append, type } = programs()
  const Names = Aggregate.make(
    type,
    { ...parts, events: [Named] },
    { Named: (state, { name }) => [...state, name] }
  )

  it.effect("skips events of unknown types, counts them, notes them in the span, and keeps the version", () =>
    Effect.gen(function* () {
      yield* append([Named.make({ name: "ada" }), MailChanged.make({ mail: "m" })])
      const repository = yield* Repository
      assert.strictEqual((yield* flipped(repository.load(Names, "1")))._tag, "UnknownEventType")
      const spans: Array<Tracer.NativeSpan> = []
      const tracer = Tracer.make({
        span: (options) => {
          const span = new Tracer.NativeSpan(options)
          spans.push(span)
          return span
        }
      })
      const counter = Metric.withAttributes(Telemetry.skippedEvents, {
        aggregate: type,
        event: "MailChanged",
        reason: "UnknownEventType"
      })
      const before = yield* Metric.value(counter)
      const loaded = yield* repository.load(Aggregate.tolerant(Names), "1").pipe(Effect.withTracer(tracer))
      assert.deepInclude(loaded, { state: ["ada"], version: 2 })
      assert.strictEqual((yield* Metric.value(counter)).count - before.count, 1)
      const noted = spans.flatMap(({ events }) => events)
      assert.strictEqual(noted.length, 1)
      assert.strictEqual(noted[0]?.[0], "eventsourcing.event.skipped")
      assert.deepInclude(noted[0]?.[2], { event: "MailChanged", version: 2, position: 2 })
    }).pipe(asNewTenant)
  )

  it.effect(
    "fails at undecodable events of known types and at newer versions, unless they are to be skipped",
    () =>
      Effect.gen(function* () {
        const Other = Aggregate.make(
          type,
          { ...parts, events: [Schema.TaggedStruct("Named", { name: Schema.Int })] },
          (state) => state
        )
        const Newer = Aggregate.make(
          type,
          { ...parts, events: [Named], upcasters: [Upcaster.from(Named, { version: 2 })] },
          (state) => state
        )
        const store = yield* EventStore.EventStore
        const to = { id: "1", expectedVersion: "any" } as const
        yield* store.append({ aggregate: Other, ...to, events: [{ _tag: "Named", name: 1 }] })
        yield* store.append({ aggregate: Newer, ...to, events: [Named.make({ name: "ada" })] })
        yield* append([Named.make({ name: "bob" })])
        const read = (...skip: ReadonlyArray<Aggregate.Unreadable>) =>
          store.readStream({ aggregate: Aggregate.tolerant(Names, { skip }), id: "1" }).pipe(
            Stream.runCollect,
            Effect.match({
              onFailure: (error) => reasonOf(error)._tag,
              onSuccess: (events) => events.map(({ version }) => version)
            })
          )
        assert.strictEqual(yield* read("UnknownEventType"), "EventDecodeError")
        assert.strictEqual(yield* read("EventDecodeError"), "UnknownSchemaVersion")
        assert.deepStrictEqual(yield* read("EventDecodeError", "UnknownSchemaVersion"), [3])
      }).pipe(asNewTenant)
  )

  it("is created once, so that its codecs are compiled once", () => {
    assert.strictEqual(Aggregate.tolerant(Names), Aggregate.tolerant(Names, { skip: ["UnknownEventType"] }))
    assert.notStrictEqual(Aggregate.tolerant(Names), Aggregate.tolerant(Names, { skip: [] }))
  })
})
