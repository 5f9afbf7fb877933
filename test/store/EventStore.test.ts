import { assert, describe, layer } from "@effect/vitest"
import { Cause, DateTime, Effect, Option, Stream } from "effect"
import * as Event from "../../src/domain/Event.ts"
import * as EventContext from "../../src/domain/EventContext.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { backends } from "../support/backends.ts"
import {
  Account,
  append,
  asNewTenant,
  Closed,
  deposited,
  deposits,
  Note,
  onDriver,
  opened,
  written
} from "../support/bank.ts"
import { flipped, reasonOf } from "../../src/testing/failures.ts"

const readBack = (id: string) =>
  EventStore.EventStore.use((store) => store.readStream({ aggregate: Account, id }).pipe(Stream.runCollect))
const head = EventStore.EventStore.use((store) => store.position)

describe.each(backends)("the event store on $name", (backend) => {
  layer(onDriver(backend.layer), { excludeTestServices: true })((it) => {
    it.effect("returns the events of an append as they are read later, with any fields", () =>
      Effect.gen(function* () {
        const closed = new Closed({
          at: DateTime.makeUnsafe("2026-02-03T04:05:06.007Z"),
          balance: 2n ** 64n + 1n,
          reason: Option.some('moved to \u{1f30d}, "quoted", \\ and \u2028')
        })
        const bare = new Closed({ at: DateTime.makeUnsafe(-1), balance: -1n, reason: Option.none() })
        const options = { metadata: { nested: { list: [1, "2", null, true] } }, actor: "ada" }
        const appended = yield* append(
          "1",
          [opened(), Event.make(deposited(3), options), closed, bare],
          0
        ).pipe(EventContext.provide({ causationId: "cause", metadata: { from: "context" } }))
        assert.deepInclude(appended, { version: 4, position: 4, replayed: false })
        const read = yield* readBack("1")
        assert.deepStrictEqual(read, appended.events)
        assert.deepStrictEqual(
          read.map(({ payload }) => payload),
          [opened(), deposited(3), closed, bare]
        )
        assert.isTrue(read[2]?.payload instanceof Closed)
        assert.deepStrictEqual(
          read.map(({ version, position, eventType }) => [version, position, eventType]),
          [
            [1, 1, "Opened"],
            [2, 2, "Deposited"],
            [3, 3, "Closed"],
            [4, 4, "Closed"]
          ]
        )
      }).pipe(asNewTenant)
    )

    it.effect("numbers the events of a stream and of the log without gaps", () =>
      Effect.gen(function* () {
        yield* append("1", deposits(2))
        const other = yield* append("2", deposits(3))
        const again = yield* append("1", deposits(1))
        assert.deepInclude(other, { version: 3, position: 5 })
        assert.deepInclude(again, { version: 3, position: 6 })
        assert.strictEqual(yield* head, 6)
      }).pipe(asNewTenant)
    )

    it.effect("appends only at the expected version", () =>
      Effect.gen(function* () {
        const outcome = (expected: EventStore.StreamEventsOf<typeof Account>["expectedVersion"], id = "1") =>
          append(id, [deposited(1)], expected).pipe(
            Effect.map(({ version }) => version),
            Effect.catchReason("Conflict", "VersionConflict", (conflict) => {
              assert.deepInclude(conflict, { aggregateType: "Account", aggregateId: id, expected })
              return Effect.succeed(`conflict at ${conflict.actual}`)
            })
          )
        assert.strictEqual(yield* outcome("streamExists"), "conflict at 0")
        assert.strictEqual(yield* outcome(1), "conflict at 0")
        assert.strictEqual(yield* outcome("noStream"), 1)
        assert.strictEqual(yield* outcome("noStream"), "conflict at 1")
        assert.strictEqual(yield* outcome("streamExists"), 2)
        assert.strictEqual(yield* outcome(1), "conflict at 2")
        assert.strictEqual(yield* outcome(2), 3)
        assert.strictEqual(yield* outcome("any"), 4)
        for (const impossible of [-1, -2, 4.5, Number.NaN, Infinity, -Infinity, 2 ** 31, 2 ** 32 + 4]) {
          assert.strictEqual(yield* outcome(impossible), "conflict at 4")
        }
        assert.strictEqual(yield* outcome(0, "2"), 1)
        assert.strictEqual(yield* head, 5)
      }).pipe(asNewTenant)
    )

    it.effect("with no events, checks the expected version and writes nothing", () =>
      Effect.gen(function* () {
        const nothing = { version: 0, position: 0, events: [], replayed: false }
        assert.deepStrictEqual(yield* append("1", [], "noStream"), nothing)
        assert.deepStrictEqual(yield* append("1", [], "any"), nothing)
        yield* append("1", deposits(2))
        yield* append("2", deposits(3))
        assert.deepInclude(yield* append("1", [], 2), { version: 2, position: 5 })
        for (const expected of ["noStream", 1, 3] as const) {
          const error = yield* flipped(append("1", [], expected))
          assert.deepInclude(error, { _tag: "VersionConflict", expected, actual: 2 })
        }
        const store = yield* EventStore.EventStore
        assert.deepStrictEqual(yield* store.appendAll([]), [])
        assert.strictEqual(yield* head, 5)
      }).pipe(asNewTenant)
    )

    it.effect("appends to several streams, with a result for each", () =>
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        yield* append("3", deposits(2))
        const [first, nothing, notes, existing] = yield* store.appendAll([
          { aggregate: Account, id: "1", expectedVersion: "noStream", events: [opened(), deposited(1)] },
          { aggregate: Account, id: "2", expectedVersion: 0, events: [] },
          { aggregate: Note, id: "1", expectedVersion: "noStream", events: [written({ a: [1] })] },
          { aggregate: Account, id: "3", expectedVersion: 2, events: [deposited(3)] }
        ])
        assert.deepInclude(first, { version: 2, position: 4 })
        assert.deepInclude(nothing, { version: 0, position: 6, events: [] })
        assert.deepInclude(notes, { version: 1, position: 5 })
        assert.deepInclude(existing, { version: 3, position: 6 })
        const log = yield* store
          .readLog({ aggregates: [Account, Note], fromPosition: 3 })
          .pipe(Stream.runCollect)
        assert.deepStrictEqual(log, [...first.events, ...notes.events, ...existing.events])
      }).pipe(asNewTenant)
    )

    it.effect("appends to all streams or to none", () =>
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        const both = (second: number, events: ReadonlyArray<(typeof Account.events)[number]["Type"]>) =>
          store.appendAll([
            { aggregate: Account, id: "1", expectedVersion: "any", events: [opened()] },
            { aggregate: Account, id: "2", expectedVersion: second, events }
          ])
        for (const events of [[opened()], []]) {
          const error = yield* flipped(both(1, events))
          assert.deepInclude(error, { _tag: "VersionConflict", aggregateId: "2", expected: 1, actual: 0 })
        }
        assert.strictEqual(yield* head, 0)
        yield* both(0, [opened()])
        assert.strictEqual(yield* head, 2)
      }).pipe(asNewTenant)
    )

    it.effect(
      "returns the first outcome again for the same events, with any expected version and context",
      () =>
        Effect.gen(function* () {
          const [one, two] = [Event.generateId(), Event.generateId()]
          const events = (later: Event.EventOptions) => [
            Event.make(opened(), { eventId: one, metadata: { a: 1, b: { c: 2, d: 3 } }, ...later }),
            Event.make(deposited(1), { eventId: two })
          ]
          yield* append("0", deposits(2))
          const first = yield* append("1", events({ actor: "ada" }), 0)
          yield* append("1", deposits(3))
          for (const expected of [0, 2, "any", "noStream", 77] as const) {
            const again = yield* append(
              "1",
              events({
                metadata: { b: { d: 3, c: 2 }, a: 1 },
                actor: "grace",
                occurredAt: DateTime.makeUnsafe("2001-01-01T00:00:00Z")
              }),
              expected
            ).pipe(EventContext.provide({ correlationId: "other" }))
            assert.deepStrictEqual(again, { ...first, replayed: true })
          }
          const reversed = yield* append("1", events({ metadata: { a: 1, b: { c: 2, d: 3 } } }).toReversed())
          assert.deepStrictEqual(reversed, { ...first, replayed: true })
          assert.strictEqual(yield* head, 7)
        }).pipe(asNewTenant)
    )

    it.effect("returns the first outcome again for several streams", () =>
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        const ids = [Event.generateId(), Event.generateId(), Event.generateId()]
        const again = store.appendAll([
          {
            aggregate: Note,
            id: "1",
            expectedVersion: "any",
            events: [Event.make(written("n"), { eventId: ids[0] })]
          },
          { aggregate: Note, id: "2", expectedVersion: "any", events: [] },
          {
            aggregate: Account,
            id: "1",
            expectedVersion: 0,
            events: [Event.make(opened(), { eventId: ids[1] }), Event.make(deposited(1), { eventId: ids[2] })]
          }
        ])
        const first = yield* again
        yield* append("1", deposits(1))
        const second = yield* again
        assert.deepStrictEqual(second, [
          { ...first[0], replayed: true },
          { ...first[1], replayed: true },
          { ...first[2], replayed: true }
        ])
        assert.strictEqual(yield* head, 4)
      }).pipe(asNewTenant)
    )

    it.effect("refuses an event id that was used for anything else, and writes nothing", () =>
      Effect.gen(function* () {
        const [eventId, metadata] = [Event.generateId(), { a: 1 }]
        yield* append("1", [Event.make(deposited(1), { eventId, metadata })])
        const refused = [
          append("1", [Event.make(deposited(2), { eventId, metadata })]),
          append("1", [Event.make(opened(), { eventId, metadata })]),
          append("1", [Event.make(deposited(1), { eventId })]),
          append("1", [Event.make(deposited(1), { eventId, metadata: { a: 1, b: 2 } })]),
          append("2", [Event.make(deposited(1), { eventId, metadata })]),
          append("1", [Event.make(deposited(1), { eventId, metadata }), deposited(9)]),
          append("1", [deposited(9), Event.make(deposited(1), { eventId, metadata })], 77)
        ]
        for (const effect of refused) {
          assert.deepInclude(yield* flipped(effect), { _tag: "EventIdConflict", eventId })
        }
        assert.strictEqual(yield* head, 1)
        // In another tenant the id is unused.
        const other = yield* asNewTenant(append("2", [Event.make(opened(), { eventId })]))
        assert.deepInclude(other, { position: 1, replayed: false })
      }).pipe(asNewTenant)
    )

    it.effect("accepts a stream several times in one append, except without events", () =>
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        const once = { aggregate: Account, id: "1", expectedVersion: "any", events: [opened()] } as const
        const [first, second] = yield* store.appendAll([once, { ...once, expectedVersion: 1 }])
        assert.deepStrictEqual([first.version, second.version], [1, 2])
        const error = yield* flipped(store.appendAll([once, { ...once, events: [] }]))
        assert.strictEqual(error._tag, "InvalidAggregateId")
        assert.include(error.message, "occurs twice")
      }).pipe(asNewTenant)
    )

    it.effect("refuses an event id that occurs twice in one append", () =>
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        const once = { aggregate: Account, id: "1", expectedVersion: "any", events: [opened()] } as const
        const event = Event.make(opened(), { eventId: Event.generateId() })
        const twice = { _tag: "InvalidEvent", eventType: "Opened", path: ["eventId"] } as const
        assert.deepInclude(yield* flipped(append("1", [event, event])), twice)
        const streams = store.appendAll([
          { ...once, events: [event] },
          { ...once, id: "2", events: [event] }
        ])
        assert.deepInclude(yield* flipped(streams), twice)
        assert.strictEqual(yield* head, 0)
        // The same id with another aggregate type is another stream.
        yield* store.appendAll([once, { aggregate: Note, id: "1", expectedVersion: 0, events: [written(1)] }])
      }).pipe(asNewTenant)
    )

    it.effect(
      "appends events that were encoded before as their writers stated them, whoever appends them",
      () =>
        Effect.gen(function* () {
          const store = yield* EventStore.EventStore
          const account = { aggregate: Account, id: "1" }
          const by = (actor: string, amounts: ReadonlyArray<number>) =>
            store
              .encode({ ...account, events: amounts.map(deposited) })
              .pipe(EventContext.provide({ actor, metadata: { of: actor } }))
          const [ada, bob] = [yield* by("ada", [1, 2]), yield* by("bob", [3])]
          const { events } = yield* store
            .append({ ...account, expectedVersion: 0, events: [...ada, ...bob, deposited(4)] })
            .pipe(EventContext.provide({ actor: "clerk", causationId: "all" }))
          const first = [0, 2, 3].map((index) => events[index]?.eventId)
          assert.deepStrictEqual(
            events.map(({ actor, causationId, correlationId, metadata, payload }) => [
              payload,
              actor,
              causationId ?? "none",
              first.findIndex((eventId) => eventId === correlationId),
              metadata
            ]),
            [
              [deposited(1), "ada", "none", 0, { of: "ada" }],
              [deposited(2), "ada", "none", 0, { of: "ada" }],
              [deposited(3), "bob", "none", 1, { of: "bob" }],
              [deposited(4), "clerk", "all", 2, {}]
            ]
          )
          assert.deepStrictEqual(yield* Stream.runCollect(store.readStream(account)), events)
          // For another stream they are other events, with the ids that they have.
          const other = { ...account, id: "2" }
          const elsewhere = yield* store.encode({ ...other, events: [deposited(5)] })
          const { events: moved } = yield* store
            .append({ ...account, expectedVersion: "any", events: elsewhere })
            .pipe(EventContext.provide({ actor: "clerk" }))
          assert.deepStrictEqual(
            moved.map(({ actor, eventId }) => ({ actor, eventId })),
            elsewhere.map(({ options }) => ({
              actor: "clerk",
              eventId: options.eventId ?? Event.generateId()
            }))
          )
          const refused = yield* flipped(
            store.encode({ ...account, events: [Event.make(deposited(1), { tags: [""] })] })
          )
          assert.deepInclude(reasonOf(refused), { _tag: "InvalidEvent", path: ["tags", 0] })
        }).pipe(asNewTenant)
    )

    it.effect("refuses an event of another aggregate that a cast let through", () =>
      Effect.gen(function* () {
        const foreign = {
          ...opened(),
          _tag: "Reopened"
        } as unknown as (typeof Account.events)[number]["Type"]
        const malformed = { _tag: "Deposited", amount: "canary" } as unknown as typeof foreign
        assert.deepInclude(yield* flipped(append("1", [opened(), foreign])), {
          _tag: "InvalidEvent",
          aggregateType: "Account",
          eventType: "Reopened",
          path: ["payload", "_tag"],
          reason: "is not an event of Account"
        })
        const error = yield* flipped(append("1", [opened(), malformed]))
        assert.deepInclude(error, {
          _tag: "InvalidEvent",
          eventType: "Deposited",
          path: ["payload", "amount"]
        })
        assert.notInclude(JSON.stringify(error) + error.message, "canary")
        assert.strictEqual(yield* head, 0)
      }).pipe(asNewTenant)
    )

    it.effect("tells if a stream of the tenant ends with an event", () =>
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        const { events } = yield* append("1", [opened(), deposited(1)])
        const [first, last] = events
        if (first === undefined || last === undefined) return assert.fail()
        const ends = ({ eventId }: { readonly eventId: Event.EventId }, version: number) =>
          store.endsWith({ aggregate: Account, id: "1", version, eventId })
        assert.isTrue(yield* ends(last, 2))
        for (const other of [first, { eventId: Event.generateId() }]) assert.isFalse(yield* ends(other, 2))
        for (const version of [1, 3, 0, -1, 2 ** 31, Infinity]) assert.isFalse(yield* ends(last, version))
        const elsewhere = yield* Tenant.generate
        assert.isFalse(yield* Tenant.provide(elsewhere)(ends(last, 2)))
        assert.match(String(Cause.squash(yield* Effect.flip(Effect.sandbox(ends(last, 1.5))))), /an integer/)
      }).pipe(asNewTenant)
    )

    it.effect("keeps two tenants with the same ids apart, in both directions", () =>
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        const [a, b] = [yield* Tenant.generate, yield* Tenant.generate]
        yield* append("1", [opened("A"), deposited(1)]).pipe(Tenant.provide(a))
        assert.isFalse(yield* store.exists({ aggregate: Account, id: "1" }).pipe(Tenant.provide(b)))
        yield* append("1", [opened("B")], 0).pipe(Tenant.provide(b))
        const seen = (tenantId: Tenant.TenantId) =>
          Effect.all({
            owner: Effect.map(readBack("1"), ([first]) => first?.payload),
            version: store.version({ aggregate: Account, id: "1" }),
            tenant: Effect.map(readBack("1"), (events) => new Set(events.map((event) => event.tenantId)))
          }).pipe(Tenant.provide(tenantId))
        assert.deepStrictEqual(yield* seen(a), { owner: opened("A"), version: 2, tenant: new Set([a]) })
        assert.deepStrictEqual(yield* seen(b), { owner: opened("B"), version: 1, tenant: new Set([b]) })
      })
    )
  })
})
