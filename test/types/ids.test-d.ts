import { Effect, Schema, Stream } from "effect"
import {
  Aggregate,
  Decisions,
  Event,
  type EventStore,
  InMemoryProjection,
  type Repository,
  type Tenant
} from "effect-eventsourcing"
import { DecisionScenario, ProjectionKit } from "effect-eventsourcing/testing"
import { describe, expectTypeOf, test } from "vitest"
import { Account, opened } from "../support/bank.ts"

const DoorId = Schema.String.pipe(Schema.brand("DoorId"))
const Opened = Schema.TaggedStruct("Opened", {})
const Door = Aggregate.make(
  "Door",
  { id: DoorId, state: Schema.Null, initial: null, events: [Opened] },
  { Opened: (state) => state }
)

declare const store: EventStore.EventStore["Service"]
declare const repository: Repository.Repository["Service"]
declare const tenantId: Tenant.TenantId
declare const id: typeof DoorId.Type
const text = String(id)

const door = { aggregate: Door, expectedVersion: "any" } as const
const open = Opened.make({})
const named = Event.make(open, { eventId: Event.generateId() })

describe("a plain string is not a branded id", () => {
  test("in the store", () => {
    void store.append({ ...door, id, events: [open] })
    // @ts-expect-error a plain string
    void store.append({ ...door, id: text, events: [open] })
    void store.appendAll([{ ...door, id, events: [open] }])
    // @ts-expect-error a plain string
    void store.appendAll([{ ...door, id: text, events: [open] }])
    void store.importEvents(Stream.make({ aggregate: Door, id, events: [named] }))
    // @ts-expect-error a plain string
    void store.importEvents(Stream.make({ aggregate: Door, id: text, events: [named] }))
    void store.importEvents(
      // @ts-expect-error a plain string for one of two aggregates
      Stream.make(
        { aggregate: Account, id: text, events: [Event.make(opened(), {})] },
        { aggregate: Door, id: text, events: [named] }
      )
    )
    void store.readStream({ aggregate: Door, id })
    // @ts-expect-error a plain string
    void store.readStream({ aggregate: Door, id: text })
    void store.version({ aggregate: Door, id })
    // @ts-expect-error a plain string
    void store.version({ aggregate: Door, id: text })
    void store.exists({ aggregate: Door, id })
    // @ts-expect-error a plain string
    void store.exists({ aggregate: Door, id: text })
    void store.fold({ aggregate: Door, id })
    // @ts-expect-error a plain string
    void store.fold({ aggregate: Door, id: text })
    void store.encode({ aggregate: Door, id, events: [open] })
    // @ts-expect-error a plain string
    void store.encode({ aggregate: Door, id: text, events: [open] })
    void store.endsWith({ aggregate: Door, id, version: 1, eventId: Event.generateId() })
    // @ts-expect-error a plain string
    void store.endsWith({ aggregate: Door, id: text, version: 1, eventId: Event.generateId() })
  })

  test("in the repository", () => {
    void repository.load(Door, id)
    // @ts-expect-error a plain string
    void repository.load(Door, text)
    void repository.loadOrInitial(Door, id)
    // @ts-expect-error a plain string
    void repository.loadOrInitial(Door, text)
    void repository.exists(Door, id)
    // @ts-expect-error a plain string
    void repository.exists(Door, text)
    void repository.execute(Door, id, () => [open])
    // @ts-expect-error a plain string
    void repository.execute(Door, text, () => [open])
    void repository.save(Door, id, { events: [open], expectedVersion: 0 })
    // @ts-expect-error a plain string
    void repository.save(Door, text, { events: [open], expectedVersion: 0 })
  })

  test("in decisions and their tests", () => {
    Decisions.to(Door, id, open)
    // @ts-expect-error a plain string
    Decisions.to(Door, text, open)
    DecisionScenario.given(Door, id, open)
    // @ts-expect-error a plain string
    DecisionScenario.given(Door, text, open)
    ProjectionKit.given(tenantId, Door, id, open)
    // @ts-expect-error a plain string
    ProjectionKit.given(tenantId, Door, text, open)
  })
})

describe("a single event is not a list of events", () => {
  test("in the store", () => {
    // @ts-expect-error one event
    void store.append({ ...door, id, events: open })
    // @ts-expect-error one event, with options
    void store.append({ ...door, id, events: named })
    // @ts-expect-error one event
    void store.appendAll([{ ...door, id, events: open }])
    // @ts-expect-error one event
    void store.importEvents(Stream.make({ aggregate: Door, id, events: named }))
    // @ts-expect-error one event
    Door.fold(open)
  })

  test("in a decision, in any form", () => {
    // @ts-expect-error one event
    void repository.execute(Door, id, () => open)
    // @ts-expect-error one event, with options
    void repository.execute(Door, id, () => named)
    // @ts-expect-error one event, in an effect
    void repository.execute(Door, id, () => Effect.succeed(open))
    const generated = Effect.fnUntraced(function* () {
      return yield* Effect.succeed(open)
    })
    // @ts-expect-error one event, from a generator
    void repository.execute(Door, id, generated)
    // @ts-expect-error one event, on one branch
    void repository.execute(Door, id, (state) => (state === null ? open : []))
    // @ts-expect-error one event
    void repository.save(Door, id, { events: open, expectedVersion: 0 })
    expectTypeOf(open).not.toExtend<Repository.Decision<typeof open, unknown, unknown>>()
  })
})

describe("an event of another aggregate is refused where it is written", () => {
  const placed = { _tag: "Placed", total: 1 } as const

  test("in the store", () => {
    void store.append({
      ...door,
      id,
      events: [
        open,
        // @ts-expect-error no event of doors
        placed
      ]
    })
    void store.appendAll([
      { ...door, id, events: [open] },
      {
        ...door,
        id,
        // @ts-expect-error no event of doors
        events: [placed]
      }
    ])
    const foreign = Event.make(placed, { eventId: Event.generateId() })
    // @ts-expect-error no event of doors
    void store.importEvents(Stream.make({ aggregate: Door, id, events: [foreign] }))
  })

  test("in a decision, in any form", () => {
    // @ts-expect-error no event of doors
    void repository.execute(Door, id, () => [placed])
    // @ts-expect-error no event of doors, beside one
    void repository.execute(Door, id, () => [open, placed])
    // @ts-expect-error no event of doors, with options
    void repository.execute(Door, id, () => [Event.make(placed, {})])
    // @ts-expect-error no event of doors, in an effect
    void repository.execute(Door, id, () => Effect.succeed([placed]))
    // @ts-expect-error no event of doors
    void repository.save(Door, id, { events: [placed], expectedVersion: 0 })
    // @ts-expect-error no event of doors
    Decisions.to(Door, id, placed)
    // @ts-expect-error no event of doors
    Door.fold([placed])
  })
})

describe("a handler for a tag that no event has", () => {
  test("is refused in a projection in memory, even beside others", () => {
    InMemoryProjection.make(
      "doors",
      { aggregates: [Door], initial: () => 0 },
      {
        Opened: (state) => state + 1,
        // @ts-expect-error no event has the tag "Opend"
        Opend: (state: number) => state
      }
    )
    // @ts-expect-error no event has the tag "Opend"
    InMemoryProjection.make("doors", { aggregates: [Door], initial: () => 0 }, { Opend: (n: number) => n })
    InMemoryProjection.make("doors", { aggregates: [Door], initial: () => 0 }, (state, event) =>
      event._tag === "Opened" ? state + 1 : state
    )
  })

  test("is named by the error", () => {
    expectTypeOf<Aggregate.NoOthers<{ readonly Opend: () => null }, "Opened">>().toEqualTypeOf<{
      readonly Opend: Aggregate.NoSuchEvent<'no event has the tag "Opend"'>
    }>()
  })
})
