/** The laws of personal data, and counterexamples to them. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import * as Event from "../../src/domain/Event.ts"
import * as Personal from "../../src/domain/Personal.ts"
import * as Upcaster from "../../src/domain/Upcaster.ts"
import * as Arbitraries from "../../src/testing/Arbitraries.ts"
import * as Laws from "../../src/testing/Laws.ts"
import { flipped } from "../../src/testing/failures.ts"

const personName = Personal.make(Schema.NonEmptyString, "id")
const id = Schema.String.check(Schema.isPattern(/^[a-z]{1,9}$/))

const RegisteredV1 = Schema.TaggedStruct("Registered", {
  id,
  name: Personal.make(Schema.String.check(Schema.isPattern(/^[a-z]+ [a-z]+$/)), "id"),
  friends: Schema.Array(Schema.Struct({ id, name: personName }))
})
const Registered = Schema.TaggedStruct("Registered", {
  id,
  person: Schema.Struct({ first: personName, last: personName }),
  friends: Schema.Array(Schema.Struct({ id, name: personName }))
})
const Befriended = Schema.TaggedStruct("Befriended", { id, name: personName, since: Schema.Int })

const State = Schema.Struct({
  name: Personal.orForgotten(Schema.String),
  friends: Schema.Array(Personal.orForgotten(Schema.String))
})
type State = typeof State.Type

const parts = {
  id: Schema.NonEmptyString,
  state: State,
  initial: { name: "", friends: [] },
  events: [Registered, Befriended],
  // A rename, a move into an object, and a split.
  upcasters: [
    Upcaster.from(RegisteredV1).to(Registered, ({ name, ...others }) => ({
      ...others,
      person: {
        first: Personal.map(name, (text) => text.split(" ")[0] ?? ""),
        last: Personal.map(name, (text) => text.split(" ")[1] ?? "")
      }
    }))
  ],
  tags: { Befriended: ({ id: friend }: typeof Befriended.Type) => [`friend:${friend}`] }
} as const

const handlers = {
  Registered: (_: State, { friends, person }: typeof Registered.Type): State => ({
    name: person.first,
    friends: friends.map(({ name }) => name)
  }),
  Befriended: ({ friends, ...state }: State, { name }: typeof Befriended.Type): State => ({
    ...state,
    friends: [...friends, name]
  })
}

const Person = Aggregate.make("Person", parts, handlers)

const befriend =
  (name: string) =>
  ({ friends }: State): ReadonlyArray<typeof Befriended.Type> =>
    friends.includes(name) ? [] : [Befriended.make({ id: "friend", name, since: 1 })]

const decisions = { befriend: Arbitraries.decision(Schema.NonEmptyString, befriend) }
const options = { seed: 1 }

/** The message of a broken law. */
const broken = (law: Effect.Effect<void, Laws.LawBroken>): Effect.Effect<string> =>
  Effect.map(
    flipped(law).pipe(Effect.catch(() => Effect.die(new Error("the law holds")))),
    ({ message }) => message
  )

Laws.aggregate(Person, { decisions, idempotent: ["befriend"], seed: 1 })

describe("a law of personal data is broken", () => {
  it.effect("by a fold that throws at forgotten data", () =>
    Effect.gen(function* () {
      const throwing = Aggregate.make("Person", parts, {
        ...handlers,
        Befriended: (state, event) => {
          if (Personal.isForgotten(event.name)) throw new Error("who is that?")
          return handlers.Befriended(state, event)
        }
      })
      const message = yield* broken(Laws.forgettingIsTotal(throwing, { decisions, ...options }))
      assert.include(message, "Person breaks the law forgettingIsTotal")
      assert.include(message, "who is that?")
    })
  )

  it.effect("by a state that has no place for forgotten data", () =>
    Effect.gen(function* () {
      const stubborn = Aggregate.make(
        "Person",
        {
          ...parts,
          // The type does not say so, but its schema does.
          state: State.check(Schema.makeFilter(({ friends }: State) => !friends.some(Personal.isForgotten)))
        },
        handlers
      )
      const message = yield* broken(Laws.forgettingIsTotal(stubborn, { decisions, ...options }))
      assert.include(message, "does not survive storage")
    })
  )

  it.effect("by a decision that throws at forgotten data", () =>
    Effect.gen(function* () {
      const careless = Arbitraries.decision(Schema.NonEmptyString, (name) => (state: State) => {
        if (state.friends.some(Personal.isForgotten)) throw new Error("who is that?")
        return befriend(name)(state)
      })
      const message = yield* broken(Laws.forgettingIsTotal(Person, { decisions: { careless }, ...options }))
      assert.include(message, "deciding careless")
    })
  )

  it.effect("by a step that takes personal data out of its marks", () =>
    Effect.gen(function* () {
      const Greeted = Schema.TaggedStruct("Greeted", { id, name: personName, greeting: Schema.String })
      const GreetedV1 = Schema.TaggedStruct("Greeted", { id, name: personName })
      const leaking = Aggregate.make(
        "Person",
        {
          ...parts,
          events: [...parts.events, Greeted],
          upcasters: [
            Upcaster.from(GreetedV1).to(Greeted, (event) => ({
              ...event,
              greeting: `Dear ${Personal.getOrElse(event.name, () => "you")}`
            })),
            ...parts.upcasters
          ]
        },
        { ...handlers, Greeted: (state) => state }
      )
      const message = yield* broken(Laws.forgettingCommutesWithUpcasting(leaking, options))
      assert.include(message, "and then upcasting gives other events")
      assert.include(message, "Dear you")
    })
  )

  it.effect("by a step whose target does not take forgotten data", () =>
    Effect.gen(function* () {
      const Noted = Schema.TaggedStruct("Noted", { id, text: Schema.String })
      const NotedV1 = Schema.TaggedStruct("Noted", { id, text: personName })
      const unmarked = Aggregate.make(
        "Person",
        {
          ...parts,
          events: [...parts.events, Noted],
          upcasters: [
            Upcaster.from(NotedV1).to(Noted, (event) => event as typeof Noted.Type),
            ...parts.upcasters
          ]
        },
        { ...handlers, Noted: (state) => state }
      )
      const message = yield* broken(Laws.forgettingCommutesWithUpcasting(unmarked, options))
      assert.include(message, "version 1 of Noted cannot be read when its personal data is forgotten")
    })
  )

  it.effect("by tags that depend on personal data, and by a decision that puts it beside the payload", () =>
    Effect.gen(function* () {
      const tagged = Aggregate.make(
        "Person",
        {
          ...parts,
          tags: { Befriended: ({ name }) => (typeof name === "string" ? [`name:${name.length}`] : []) }
        },
        handlers
      )
      const message = yield* broken(Laws.personalDataStaysInPayloads(tagged, options))
      assert.include(message, "depend on its personal data, but tags cannot be forgotten")
      for (const part of ["actor", "tags", "metadata"]) {
        const given = (name: string) =>
          part === "actor"
            ? { actor: name }
            : part === "tags"
              ? { tags: [`by ${name}`] }
              : { metadata: { name } }
        const leaking = Arbitraries.decision(
          Schema.NonEmptyString.check(Schema.isMinLength(8)),
          (name) => () => [Event.make(Befriended.make({ id: "friend", name, since: 1 }), given(name))]
        )
        assert.include(
          yield* broken(Laws.personalDataStaysInPayloads(Person, { decisions: { leaking }, ...options })),
          `is also in its ${part}, which cannot be forgotten`
        )
      }
    })
  )
})
