import { Schema } from "effect"
import { Aggregate, type Event, Personal } from "effect-eventsourcing"
import { describe, expectTypeOf, test } from "vitest"

const Opened = Schema.TaggedStruct("Opened", { owner: Schema.String })
const Moved = Schema.TaggedStruct("Moved", { to: Schema.Union([Schema.String, Schema.Int]) })
class Closed extends Schema.TaggedClass<Closed>()("Closed", { at: Schema.DateTimeUtc }) {}

const State = Schema.Struct({
  status: Schema.Literals(["new", "open", "closed"]),
  owner: Schema.NullOr(Schema.String)
})
const options = {
  state: State,
  initial: { status: "new", owner: null },
  events: [Opened, Moved, Closed]
} as const

const ByTag = Aggregate.make("Door", options, {
  Opened: (state, { owner }) => ({ ...state, status: "open", owner }),
  Moved: (state) => state,
  Closed: (state, { at }) => (at.epochMilliseconds > 0 ? { status: "closed", owner: state.owner } : state)
})

const AsOne = Aggregate.make("Door", options, (state, event) => {
  switch (event._tag) {
    case "Opened":
      return { status: "open", owner: event.owner }
    case "Moved":
      return state
    case "Closed":
      return { ...state, status: "closed" }
  }
})

describe("an aggregate", () => {
  test("infers its name, state, events and id, without a cast", () => {
    type Events = typeof Opened.Type | typeof Moved.Type | Closed
    expectTypeOf(ByTag).toEqualTypeOf<Aggregate.Aggregate<"Door", typeof State.Type, Events, string>>()
    expectTypeOf(AsOne).toEqualTypeOf(ByTag)
    expectTypeOf<Aggregate.StateOf<typeof ByTag>>().toEqualTypeOf<typeof State.Type>()
    expectTypeOf<Aggregate.EventOf<typeof ByTag>>().toEqualTypeOf<Events>()
    expectTypeOf<Aggregate.IdOf<typeof ByTag>>().toEqualTypeOf<string>()
    expectTypeOf(ByTag.fold([])).toEqualTypeOf<typeof State.Type>()
  })

  test("gives each handler its own event", () => {
    Aggregate.make("Door", options, {
      Opened: (state, event) => {
        expectTypeOf(state).toEqualTypeOf<typeof State.Type>()
        expectTypeOf(event).toEqualTypeOf<typeof Opened.Type>()
        return state
      },
      Moved: (state, event) => {
        expectTypeOf(event.to).toEqualTypeOf<string | number>()
        return state
      },
      Closed: (state, event) => {
        expectTypeOf(event).toEqualTypeOf<Closed>()
        return state
      }
    })
  })

  test("infers the literals of unions as states", () => {
    const Union = Schema.Union([
      Schema.TaggedStruct("Idle", {}),
      Schema.TaggedStruct("Busy", { since: Schema.Int, kind: Schema.Literals(["a", "b"]) })
    ])
    Aggregate.make(
      "Machine",
      { state: Union, initial: { _tag: "Idle" }, events: [Opened, Closed] },
      { Opened: () => ({ _tag: "Busy", since: 1, kind: "a" }), Closed: () => ({ _tag: "Idle" }) }
    )
    Aggregate.make(
      "Flag",
      { state: Schema.Boolean, initial: false, events: [Opened] },
      { Opened: () => true }
    )
    Aggregate.make(
      "Level",
      { state: Schema.Literals([0, 1, 2]), initial: 0, events: [Opened] },
      { Opened: (level) => (level === 0 ? 1 : 2) }
    )
  })

  test("infers the id from its schema", () => {
    const Id = Schema.String.pipe(Schema.brand("DoorId"))
    const Branded = Aggregate.make("Door", { ...options, id: Id }, (state) => state)
    expectTypeOf<Aggregate.IdOf<typeof Branded>>().toEqualTypeOf<typeof Id.Type>()
    const Numbered = Aggregate.make("Door", { ...options, id: Schema.FiniteFromString }, (state) => state)
    expectTypeOf<Aggregate.IdOf<typeof Numbered>>().toEqualTypeOf<number>()
    // @ts-expect-error An id must encode to a string.
    Aggregate.make("Door", { ...options, id: Schema.Int }, (state: typeof State.Type) => state)
  })

  test("is assignable to Aggregate.Any", () => {
    expectTypeOf(ByTag).toExtend<Aggregate.Any>()
    const Numbered = Aggregate.make("Door", { ...options, id: Schema.FiniteFromString, events: [] }, {})
    expectTypeOf(Numbered).toExtend<Aggregate.Any>()
  })
})

describe("does not compile", () => {
  const two = { ...options, events: [Opened, Closed] } as const

  test("a fold without a handler", () => {
    // @ts-expect-error Property 'Closed' is missing.
    Aggregate.make("Door", two, { Opened: (state: typeof State.Type) => state })
  })

  test("a handler for a tag that no event has", () => {
    Aggregate.make("Door", two, {
      Opened: (state) => state,
      Closed: (state) => state,
      // @ts-expect-error No event has that tag.
      Vanished: (state: typeof State.Type) => state
    })
  })

  test("a handler that returns an invalid state", () => {
    Aggregate.make("Door", two, {
      // @ts-expect-error Type '"ajar"' is not assignable to type '"new" | "open" | "closed"'.
      Opened: (state) => ({ ...state, status: "ajar" }),
      Closed: (state) => state
    })
    Aggregate.make("Door", two, {
      // @ts-expect-error Property 'owner' is missing.
      Opened: () => ({ status: "open" }),
      Closed: (state) => state
    })
    // @ts-expect-error The same in one function.
    Aggregate.make("Door", two, (state) => ({ ...state, status: "ajar" }))
  })

  test("a handler for the event of another handler", () => {
    Aggregate.make("Door", two, {
      Opened: (state) => state,
      // @ts-expect-error The handler takes the event of closing.
      Closed: (state, event: typeof Opened.Type) => ({ ...state, owner: event.owner })
    })
  })

  test("an invalid initial state", () => {
    // @ts-expect-error Type '"ajar"' is not assignable.
    Aggregate.make("Door", { ...two, initial: { status: "ajar", owner: null } }, (state) => state)
  })

  test("an event without a tag", () => {
    // @ts-expect-error Property '_tag' is missing.
    Aggregate.make("Door", { ...two, events: [Schema.Struct({ owner: Schema.String })] }, (state) => state)
    expectTypeOf<Schema.Struct<{ readonly a: Schema.String }>>().not.toExtend<Event.EventSchema>()
  })

  test("a fold over events of another aggregate", () => {
    // @ts-expect-error Not an event of the door.
    ByTag.fold([{ _tag: "Vanished" }])
    ByTag.fold([
      { _tag: "Opened", owner: "Ada" },
      { _tag: "Moved", to: "left" }
    ])
  })
})

test("personal data may be forgotten, and everybody handles that", () => {
  const Registered = Schema.TaggedStruct("Registered", {
    name: Personal.make(Schema.String, Personal.aggregateId)
  })
  const customer = {
    state: Schema.Struct({ name: Schema.String }),
    initial: { name: "" },
    events: [Registered]
  }
  // @ts-expect-error the name may be forgotten
  Aggregate.make("Customer", customer, { Registered: (_state, { name }) => ({ name }) })
  Aggregate.make("Customer", customer, {
    Registered: (_state, { name }) => ({ name: Personal.getOrElse(name, () => "") })
  })
  Aggregate.make(
    "Customer",
    { ...customer, state: Schema.Struct({ name: Personal.orForgotten(Schema.String) }) },
    {
      Registered: (_state, { name }) => {
        expectTypeOf(name).toEqualTypeOf<string | Personal.Forgotten>()
        return { name }
      }
    }
  )
})
