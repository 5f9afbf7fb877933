/** Export and import of events as JSON, on each backend. */
import { assert, describe, it, layer } from "@effect/vitest"
import { DateTime, Effect, Layer, Option, Result, Schema, Stream } from "effect"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import * as Event from "../../src/domain/Event.ts"
import * as EventContext from "../../src/domain/EventContext.ts"
import * as EventQuery from "../../src/domain/EventQuery.ts"
import * as EventJson from "../../src/store/EventJson.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as InlineProjections from "../../src/projection/InlineProjections.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import * as Projection from "../../src/projection/Projection.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as Upcaster from "../../src/domain/Upcaster.ts"
import { flipped, reasonOf } from "../../src/testing/failures.ts"
import { backends } from "../support/backends.ts"
import { Account, asNewTenant, Closed, deposited, Note, onDriver, opened, written } from "../support/bank.ts"
import { Course, enrolled, offered } from "../support/enrolment.ts"

const aggregates = [Account, Course, Note]

const store = EventStore.EventStore

/** The current tenant's log as lines of JSON. */
const exported = store.use(({ readLogJson }) =>
  readLogJson({}).pipe(
    Stream.map((envelope) => JSON.stringify(EventJson.fromEnvelope(envelope))),
    Stream.runCollect
  )
)

/** An exported line for a log of any tenant. */
const withoutTenant = (line: string): unknown => {
  const { tenantId: _, ...event }: Record<string, unknown> = Schema.decodeUnknownSync(
    Schema.Record(Schema.String, Schema.Unknown)
  )(JSON.parse(line))
  return event
}

const importLines = (lines: ReadonlyArray<string>, options: EventStore.ImportOptions = {}) =>
  store.use(({ importJson }) =>
    importJson(Stream.fromIterable(lines).pipe(Stream.map(withoutTenant)), { ...options, aggregates })
  )

const deposit = (amount: number, fields: Partial<EventJson.NewEvent> = {}): EventJson.NewEvent => ({
  aggregateType: "Account",
  aggregateId: "1",
  eventType: "Deposited",
  payload: { amount },
  ...fields
})

const appendJson = (
  events: ReadonlyArray<EventJson.NewEvent>,
  options: Pick<EventStore.JsonEvents, "expectedVersion"> = {}
) => store.use((service) => service.appendJson({ aggregates, events, ...options }))

const readLog = store.use(({ readLog: read }) => Stream.runCollect(read({ aggregates })))

/** Events with all optional fields. */
const someEvents = store.use((service) =>
  Effect.gen(function* () {
    yield* service.append({
      aggregate: Account,
      id: "ä 1",
      expectedVersion: 0,
      events: [opened("Ada \u{1f30d}"), deposited(3)]
    })
    yield* service
      .append({
        aggregate: Course,
        id: "a",
        expectedVersion: "any",
        events: [offered(2), Event.make(enrolled("ada"), { tags: ["vip"], metadata: { source: [1, {}] } })]
      })
      .pipe(EventContext.provide({ actor: "ada", correlationId: "request 1", causationId: "cause" }))
    yield* service.append({
      aggregate: Account,
      id: "ä 1",
      expectedVersion: 2,
      events: [
        Event.make(
          new Closed({
            at: DateTime.makeUnsafe(1_700_000_000_123),
            balance: 12345678901234567890n,
            reason: Option.none()
          }),
          { occurredAt: DateTime.makeUnsafe("0001-01-01T00:00:00.000Z") }
        )
      ]
    })
    yield* service.append({
      aggregate: Note,
      id: "1",
      expectedVersion: "any",
      events: [written({ b: 1, a: "\u2028" })]
    })
  })
)

describe.each(backends)("JSON events on $name", ({ layer: driver }) => {
  layer(onDriver(driver, { pageSize: 4 }), { excludeTestServices: true })((test) => {
    test.effect("can be exported and imported into another log as the same events, once each", () =>
      Effect.gen(function* () {
        yield* someEvents.pipe(asNewTenant)
        const [from, to] = [yield* Tenant.generate, yield* Tenant.generate]
        yield* someEvents.pipe(Tenant.provide(from))
        const lines = yield* exported.pipe(Tenant.provide(from))
        assert.lengthOf(lines, 6)
        const options = { chunkEvents: 4 }
        const first = yield* importLines(lines, options).pipe(
          EventContext.provide({ actor: "importer", causationId: "import" }),
          Tenant.provide(to)
        )
        assert.deepInclude(first, { appended: 6, known: 0, position: 6 })
        const strip = (all: ReadonlyArray<string>) =>
          all.map((line) => {
            const event = Schema.decodeUnknownSync(EventJson.StoredEvent)(JSON.parse(line))
            return { ...event, tenantId: "", recordedAt: "", traceparent: null }
          })
        const there = yield* exported.pipe(Tenant.provide(to))
        assert.deepStrictEqual(strip(there), strip(lines))
        assert.deepInclude(strip(there)[2], {
          actor: "ada",
          correlationId: "request 1",
          causationId: "cause"
        })
        assert.deepInclude(strip(there)[0], { actor: null, causationId: null })
        const again = yield* importLines(lines, options).pipe(Tenant.provide(to))
        assert.deepInclude(again, { appended: 0, known: 6, position: 6 })
        // Typed reads return the same values.
        const typed = yield* readLog.pipe(Tenant.provide(to))
        const before = yield* readLog.pipe(Tenant.provide(from))
        assert.deepStrictEqual(
          typed.map(({ payload }) => payload),
          before.map(({ payload }) => payload)
        )
      })
    )

    test.effect("are appended in order to several streams, all or none, and only once by their ids", () =>
      Effect.gen(function* () {
        const events = [
          deposit(1, {
            eventId: Event.generateId(),
            actor: "python",
            occurredAt: "2020-01-01T00:00:00+02:00"
          }),
          deposit(0, {
            aggregateType: "Course",
            aggregateId: "a",
            eventType: "Offered",
            payload: { seats: 2 },
            eventId: Event.generateId()
          }),
          deposit(2, { eventId: Event.generateId(), payload: { _tag: "Deposited", amount: 2 } })
        ]
        const first = yield* appendJson(events, { expectedVersion: "noStream" })
        assert.deepStrictEqual(
          first.events.map(({ aggregateId, eventId, position, version }) => [
            aggregateId,
            eventId,
            position,
            version
          ]),
          [
            ["1", events[0]?.eventId, 1, 1],
            ["a", events[1]?.eventId, 2, 1],
            ["1", events[2]?.eventId, 3, 2]
          ]
        )
        assert.deepStrictEqual([first.position, first.replayed], [3, false])
        const again = yield* appendJson(events, { expectedVersion: "noStream" })
        assert.deepStrictEqual(again, { ...first, replayed: true })
        const log = yield* readLog
        assert.deepStrictEqual(
          log.map(({ payload }) => payload),
          [deposited(1), offered(2), deposited(2)]
        )
        assert.deepInclude(log[0], { actor: "python", schemaVersion: 1 })
        assert.strictEqual(log[0]?.occurredAt.epochMilliseconds, Date.parse("2019-12-31T22:00:00Z"))
        // Derived tags are derived from JSON too.
        assert.deepStrictEqual(log[1]?.tags, ["course:a"])

        const refused = appendJson([deposit(3, { aggregateId: "new" }), deposit(4)], { expectedVersion: 0 })
        assert.deepInclude(yield* flipped(refused), { _tag: "VersionConflict", expected: 0, actual: 2 })
        const reused = appendJson([deposit(9, { eventId: events[0]?.eventId })])
        assert.strictEqual((yield* flipped(reused))._tag, "EventIdConflict")
        assert.lengthOf(yield* readLog, 3)
        assert.deepStrictEqual(yield* appendJson([]), { position: 0, events: [], replayed: false })
      }).pipe(asNewTenant)
    )

    test.effect("obey conditions like other events", () =>
      Effect.gen(function* () {
        const service = yield* store
        const condition = { query: EventQuery.of(Account, { types: ["Deposited"] }), after: 0 }
        const append = service.appendJson({ aggregates, events: [deposit(1)], condition })
        yield* append
        assert.deepInclude(yield* flipped(append), { _tag: "AppendConditionFailed", position: 1 })
      }).pipe(asNewTenant)
    )

    test.effect(
      "have the context of the append, unless they have one of their own, which applies only to them",
      () =>
        Effect.gen(function* () {
          yield* appendJson([
            deposit(1, { correlationId: "own", causationId: "cause", actor: null, metadata: { a: 1 } }),
            deposit(2),
            deposit(3, { causationId: null })
          ]).pipe(
            EventContext.provide({
              actor: "ada",
              correlationId: "shared",
              causationId: "message",
              metadata: { b: 2 }
            })
          )
          const contexts = (yield* readLog).map(({ actor, causationId, correlationId, metadata }) => [
            actor,
            correlationId,
            causationId,
            metadata
          ])
          assert.deepStrictEqual(contexts, [
            [null, "own", "cause", { a: 1, b: 2 }],
            ["ada", "shared", "message", { b: 2 }],
            ["ada", "shared", null, { b: 2 }]
          ])
          yield* appendJson([deposit(4, { correlationId: "own" }), deposit(5), deposit(6)])
          const [own, fifth, sixth] = (yield* readLog).slice(3)
          assert.strictEqual(own?.correlationId, "own")
          assert.strictEqual(fifth?.correlationId, fifth?.eventId)
          assert.strictEqual(sixth?.correlationId, fifth?.eventId)
        }).pipe(asNewTenant)
    )

    test.effect("have derived ids if the program derives them", () =>
      Effect.gen(function* () {
        const append = appendJson([deposit(1), deposit(2)]).pipe(EventContext.derivingIds(["message", "1"]))
        const first = yield* append
        assert.deepStrictEqual(yield* append, { ...first, replayed: true })
      }).pipe(asNewTenant)
    )

    test.effect("of a stream are read by its type and id, without those of another tenant", () =>
      Effect.gen(function* () {
        const service = yield* store
        const other = yield* Tenant.generate
        yield* appendJson([deposit(1), deposit(2, { aggregateId: "2" }), deposit(3)])
        yield* appendJson([deposit(9)]).pipe(Tenant.provide(other))
        const read = (aggregateType: string, aggregateId: string, options: EventStore.ReadOptions = {}) =>
          service.readStreamJson({ aggregateType, aggregateId, ...options }).pipe(
            Stream.map(({ payload }) => payload),
            Stream.runCollect
          )
        const json = (amount: number) => ({ _tag: "Deposited", amount })
        assert.deepStrictEqual(yield* read("Account", "1"), [json(1), json(3)])
        assert.deepStrictEqual(yield* read("Account", "1", { direction: "backwards", limit: 1 }), [json(3)])
        for (const [type, id] of [
          ["Account", "3"],
          ["Course", "1"],
          ["", "1"],
          ["Account", "\0"],
          ["Account", "x".repeat(300)]
        ] as const)
          assert.deepStrictEqual(yield* read(type, id), [])
      }).pipe(asNewTenant)
    )

    test.effect("that are invalid are set aside by an import, with their item numbers", () =>
      Effect.gen(function* () {
        const eventId = Event.generateId()
        const rows = [
          deposit(1, { eventId: Event.generateId() }),
          "no object",
          deposit(2, { eventId, aggregateType: "Elsewhere", aggregateId: "e" }),
          deposit(3),
          deposit(4, { eventId: Event.generateId() })
        ]
        const { importJson } = yield* store
        const given = Stream.fromIterable(rows)
        const { appended, setAside } = yield* importJson(given, { aggregates, setAsideAtMost: 3 })
        assert.strictEqual(appended, 2)
        assert.deepStrictEqual(
          setAside.map(({ aggregateId, aggregateType, eventId: id, item, reason }) => [
            item,
            aggregateType,
            aggregateId,
            id,
            reason._tag === "InvalidEvent" ? reason.path : reason._tag
          ]),
          [
            [2, "", "", null, []],
            [3, "Elsewhere", "e", eventId, ["aggregateType"]],
            [4, "Account", "1", null, ["eventId"]]
          ]
        )
        const failure = yield* flipped(importJson(given, { aggregates }))
        assert.deepInclude(failure, { _tag: "ImportFailed", item: 2 })
        assert.lengthOf(yield* readLog, 2)
      }).pipe(asNewTenant)
    )
  })
})

const inMemory = onDriver(MemoryStorage.layer)

layer(inMemory)("JSON that is not an event of the tenant", (test) => {
  const canary = "canary-7f3a"
  const cases: ReadonlyArray<
    readonly [is: string, event: unknown, path: ReadonlyArray<string | number>, reason: RegExp]
  > = [
    [
      "of no aggregate of the program",
      deposit(1, { aggregateType: "Elsewhere" }),
      ["aggregateType"],
      /none of Account, Course, Note$/
    ],
    [
      "of no type of its aggregate",
      deposit(1, { eventType: "Offered" }),
      ["eventType"],
      /not an event of Account/
    ],
    ["not of its schema", deposit(1, { payload: { amount: canary } }), ["payload", "amount"], /./],
    ["without a part", deposit(1, { payload: {} }), ["payload", "amount"], /./],
    ["no object", deposit(1, { payload: canary }), ["payload"], /./],
    ["tagged otherwise", deposit(1, { payload: { _tag: canary, amount: 1 } }), ["payload", "_tag"], /./],
    [
      "of an unknown version",
      deposit(1, { schemaVersion: 2 }),
      ["schemaVersion"],
      /the known versions are 1 to 1$/
    ],
    ["of a version that is none", deposit(1, { schemaVersion: 1.5 }), ["schemaVersion"], /./],
    ["of another tenant", deposit(1, { tenantId: canary }), ["tenantId"], /^is not the current tenant$/],
    ["under an id that is none", deposit(1, { eventId: canary }), ["eventId"], /UUID/],
    ["at no time", deposit(1, { occurredAt: canary }), ["occurredAt"], /ISO 8601/],
    [
      "at a time without a zone",
      deposit(1, { occurredAt: "2020-01-01T00:00:00" }),
      ["occurredAt"],
      /time zone/
    ],
    ["at a time before year 1", deposit(1, { occurredAt: "0000-01-01T00:00:00Z" }), ["occurredAt"], /years/],
    ["of an empty actor", deposit(1, { actor: "" }), ["actor"], /empty/],
    ["of an empty correlation", deposit(1, { correlationId: "" }), ["correlationId"], /empty/],
    ["of a cause with U+0000", deposit(1, { causationId: "\0" }), ["causationId"], /U\+0000/],
    ["of no trace", deposit(1, { traceparent: canary }), ["traceparent"], /W3C/],
    ["with a tag that is none", deposit(1, { tags: [""] }), ["tags", 0], /empty/],
    [
      "with too many tags",
      deposit(1, { tags: Array.from({ length: 33 }, (_, n) => `${n}`) }),
      ["tags"],
      /more than 32/
    ],
    [
      "with half a surrogate",
      { ...deposit(1), aggregateType: "Note", eventType: "Written", payload: { text: "\uD800" } },
      ["payload", "text"],
      /surrogate/
    ],
    ["with metadata that is none", { ...deposit(1), metadata: [canary] }, ["metadata"], /./],
    ["without a type", { ...deposit(1), eventType: undefined }, ["eventType"], /./],
    ["nothing at all", null, [], /./]
  ]
  for (const [is, event, path, reason] of cases)
    test.effect(`${is} is refused with the path of the problem, without quoting any value`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(appendJson([deposit(7), event as EventJson.NewEvent]))
        assert.strictEqual(error._tag, "InvalidInput")
        const found = reasonOf(error)
        assert.strictEqual(found._tag, "InvalidEvent")
        if (found._tag !== "InvalidEvent") return
        assert.deepStrictEqual(found.path, path)
        assert.match(found.reason, reason)
        assert.notInclude(JSON.stringify(error), canary)
        assert.deepStrictEqual(yield* readLog, [])
      }).pipe(asNewTenant)
    )

  test.effect("is refused with an id that its aggregate does not allow or stores in another form", () =>
    Effect.gen(function* () {
      const Numbered = Aggregate.make(
        "Numbered",
        { id: Schema.FiniteFromString, state: Schema.Null, initial: null, events: [Happened] },
        { Happened: () => null }
      )
      const append = (aggregateId: string) =>
        store.use((service) =>
          service.appendJson({
            aggregates: [Numbered],
            events: [{ aggregateType: "Numbered", aggregateId, eventType: "Happened", payload: {} }]
          })
        )
      yield* append("7")
      for (const id of ["seven", "07", " 7", "", "7.0"])
        assert.strictEqual((yield* flipped(append(id)))._tag, "InvalidAggregateId", id)
    }).pipe(asNewTenant)
  )
})

const Happened = Schema.TaggedStruct("Happened", {})
const Registered = Schema.TaggedStruct("Registered", { name: Schema.String, mail: Schema.String })
const Viewed = Schema.TaggedStruct("Viewed", {})
const NamedV1 = Schema.TaggedStruct("Named", { name: Schema.String })
const Named = Schema.TaggedStruct("Named", { name: Schema.String, at: Schema.Int })
const MailChanged = Schema.TaggedStruct("MailChanged", { mail: Schema.String })
const parts = { id: Schema.String, state: Schema.Array(Schema.String), initial: [] } as const

/** The former program, and the present one, in which one event is split, one has a new version, and one is dropped. */
const Before = Aggregate.make("Person", { ...parts, events: [Registered, NamedV1, Viewed] }, (state) => state)
const Person = Aggregate.make(
  "Person",
  {
    ...parts,
    events: [Named, MailChanged],
    tags: ({ _tag }) => [`is:${_tag}`],
    upcasters: [
      Upcaster.from(Registered).into([NamedV1, MailChanged], ({ name, mail }) => [
        NamedV1.make({ name }),
        MailChanged.make({ mail })
      ]),
      Upcaster.from(NamedV1).to(Named, ({ name }) => Named.make({ name, at: 0 })),
      Upcaster.dropped("Viewed")
    ]
  },
  { Named: (state, { name }) => [...state, name], MailChanged: (state, { mail }) => [...state, mail] }
)

const person = (eventType: string, payload: Schema.Json, fields: Partial<EventJson.NewEvent> = {}) => ({
  aggregateType: "Person",
  aggregateId: "1",
  eventType,
  payload,
  eventId: Event.generateId(),
  ...fields
})

const toPerson = (aggregate: Aggregate.Any, events: ReadonlyArray<EventJson.NewEvent>) =>
  store.use((service) => service.appendJson({ aggregates: [aggregate], events }))

describe("JSON of a former version", () => {
  layer(inMemory)((test) => {
    test.effect("is stored unchanged and read as present events: one, several or none", () =>
      Effect.gen(function* () {
        const service = yield* store
        const events = [
          person("Registered", { name: "ada", mail: "ada@x", more: true }),
          person("Viewed", {}),
          person("Named", { name: "bob" }, { schemaVersion: 1 }),
          person("Named", { name: "eve", at: 3 })
        ]
        const { events: places } = yield* toPerson(Person, events)
        assert.deepStrictEqual(
          places.map(({ eventId, version }) => [eventId, version]),
          [
            [events[0]?.eventId, 1],
            [events[2]?.eventId, 2],
            [events[3]?.eventId, 3]
          ]
        )
        const stored = yield* Stream.runCollect(service.readLogJson({}))
        assert.deepStrictEqual(
          stored.map(({ eventType, payload, schemaVersion }) => [eventType, schemaVersion, payload]),
          [
            ["Registered", 1, { _tag: "Registered", name: "ada", mail: "ada@x", more: true }],
            ["Named", 1, { _tag: "Named", name: "bob" }],
            ["Named", 2, { _tag: "Named", name: "eve", at: 3 }]
          ]
        )
        assert.deepStrictEqual(
          stored.map(({ tags }) => tags),
          [["is:MailChanged", "is:Named"], ["is:Named"], ["is:Named"]]
        )
        const read = yield* Stream.runCollect(service.readStream({ aggregate: Person, id: "1" }))
        assert.deepStrictEqual(
          read.map(({ part, payload }) => [part, payload]),
          [
            [undefined, Named.make({ name: "ada", at: 0 })],
            [1, MailChanged.make({ mail: "ada@x" })],
            [undefined, Named.make({ name: "bob", at: 0 })],
            [undefined, Named.make({ name: "eve", at: 3 })]
          ]
        )
      }).pipe(asNewTenant)
    )

    test.effect("can be repeated after its aggregate got a newer version", () =>
      Effect.gen(function* () {
        // A sender without a version uses the newest version of that time.
        const [split, changed] = [
          person(
            "Registered",
            { name: "ada", mail: "ada@x" },
            { schemaVersion: 1, tags: ["is:MailChanged", "is:Named"] }
          ),
          person("Named", { name: "bob" }, { schemaVersion: 1, tags: ["is:Named"] })
        ]
        const first = yield* toPerson(Before, [split, changed])
        assert.deepStrictEqual(yield* toPerson(Person, [split, changed]), { ...first, replayed: true })
        const late = yield* flipped(toPerson(Person, [person("Registered", { name: "x" })]))
        assert.strictEqual(late._tag, "InvalidEvent")
      }).pipe(asNewTenant)
    )

    test.effect("is encoded by an encoder in its present version", () =>
      Effect.gen(function* () {
        const service = yield* store
        yield* toPerson(Person, [person("Registered", { name: "ada", mail: "ada@x" })])
        const encode = EventJson.encoder([Person, Account])
        const typed = yield* Stream.runCollect(service.readLog({ aggregates: [Person] }))
        const [named, mail] = typed.map((envelope) => Result.getOrThrow(encode(envelope)))
        assert.deepInclude(named, {
          eventType: "Named",
          schemaVersion: 2,
          payload: { _tag: "Named", name: "ada", at: 0 }
        })
        assert.deepInclude(mail, { eventType: "MailChanged", schemaVersion: 1, part: 1 })
        assert.deepStrictEqual(
          Schema.decodeUnknownSync(EventJson.StoredEvent)(JSON.parse(JSON.stringify(mail))),
          mail
        )
        const [envelope] = typed
        assert.isDefined(envelope)
        const unknown = EventJson.encoder([Course])({ ...envelope, payload: offered(1) })
        assert.deepInclude(Result.isFailure(unknown) ? unknown.failure.reason : undefined, {
          _tag: "InvalidEvent",
          path: ["aggregateType"]
        })
      }).pipe(asNewTenant)
    )
  })

  it.effect("is handled by inline projections as the events that it is read as", () => {
    const seen: Array<string> = []
    const Seen = Projection.make(
      "seen",
      { aggregates: [Person] },
      { MailChanged: ({ mail }) => Effect.sync(() => seen.push(mail)) }
    )
    return Effect.gen(function* () {
      const service = yield* store
      const events = [
        person("Registered", { name: "ada", mail: "ada@x" }),
        person("Named", { name: "bob", at: 1 }),
        person("MailChanged", { mail: "bob@x" })
      ]
      yield* toPerson(Person, events.slice(0, 2))
      yield* toPerson(Person, events.slice(0, 2))
      assert.deepStrictEqual(seen, ["ada@x"])
      yield* service.importJson(Stream.fromIterable(events), { aggregates: [Person] })
      assert.deepStrictEqual(seen, ["ada@x", "bob@x"])
      yield* toPerson(Person, [person("Registered", { name: "eve", mail: "eve@x" }, { eventId: undefined })])
      assert.deepStrictEqual(seen, ["ada@x", "bob@x", "eve@x"])
    }).pipe(
      asNewTenant,
      Effect.provide(
        InlineProjections.layer({ projections: [Seen] }).pipe(Layer.provide(MemoryStorage.layerWith({})))
      )
    )
  })
})
