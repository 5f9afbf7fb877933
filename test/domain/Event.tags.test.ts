import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema, Stream } from "effect"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import * as Event from "../../src/domain/Event.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import { asNewTenant, inMemory } from "../support/bank.ts"
import { flipped } from "../../src/testing/failures.ts"

const Enrolled = Schema.TaggedStruct("Enrolled", { course: Schema.String, student: Schema.String })
const Renamed = Schema.TaggedStruct("Renamed", { name: Schema.String })

const parts = {
  id: Schema.String,
  state: Schema.Int,
  initial: 0,
  events: [Enrolled, Renamed]
} as const

const enrolled = (course: string, student = "s1") => Enrolled.make({ course, student })

/** Functions by event type; a renamed event has no tags. */
const Enrolment = Aggregate.make(
  "Enrolment",
  {
    ...parts,
    tags: {
      Enrolled: ({ course, student }, id) => [`student:${student}`, `course:${course}`, `enrolment:${id}`]
    }
  },
  (count) => count + 1
)

const append = (
  aggregate: Aggregate.Aggregate<string, number, typeof Enrolled.Type | typeof Renamed.Type, string>,
  events: ReadonlyArray<Event.Appendable<typeof Enrolled.Type | typeof Renamed.Type>>
) =>
  EventStore.EventStore.use((store) => store.append({ aggregate, id: "e1", events, expectedVersion: "any" }))

/** The tags of all events, as returned by the append and as stored. */
const tagsOf = (...given: Parameters<typeof append>) =>
  Effect.gen(function* () {
    const { events } = yield* append(...given)
    const store = yield* EventStore.EventStore
    const stored = yield* Stream.runCollect(store.readStream({ aggregate: given[0], id: "e1" }))
    assert.deepStrictEqual(
      events.map(({ tags }) => tags),
      stored.map(({ tags }) => tags)
    )
    return stored.map(({ tags }) => tags)
  }).pipe(asNewTenant)

const tagged = (tags: (event: Event.Tagged) => ReadonlyArray<string>) =>
  Aggregate.make("Tagged", { ...parts, tags }, (count) => count)

const refused = (tags: ReadonlyArray<string>) =>
  flipped(
    asNewTenant(
      append(
        tagged(() => tags),
        [enrolled("c1")]
      )
    )
  )

it.layer(inMemory())("the tags of an event", (it) => {
  it.effect("are derived from its payload and the id of its aggregate, by one function per event type", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* tagsOf(Enrolment, [enrolled("c1"), Renamed.make({ name: "n" })]), [
        ["course:c1", "enrolment:e1", "student:s1"],
        []
      ])
    })
  )

  it.effect("are derived by one function over all events", () =>
    Effect.gen(function* () {
      const All = tagged(({ _tag }) => [_tag])
      assert.deepStrictEqual(yield* tagsOf(All, [enrolled("c1"), Renamed.make({ name: "n" })]), [
        ["Enrolled"],
        ["Renamed"]
      ])
    })
  )

  it.effect("include those given with the event, sorted and without duplicates", () =>
    Effect.gen(function* () {
      const Plain = Aggregate.make("Plain", parts, (count) => count)
      const tags = ["z", "course:c1", "a", "z"]
      assert.deepStrictEqual(yield* tagsOf(Enrolment, [Event.make(enrolled("c1"), { tags })]), [
        ["a", "course:c1", "enrolment:e1", "student:s1", "z"]
      ])
      assert.deepStrictEqual(yield* tagsOf(Plain, [Event.make(enrolled("c1"), { tags }), enrolled("c1")]), [
        ["a", "course:c1", "z"],
        []
      ])
    })
  )

  it.effect("are at most 32, without duplicates", () =>
    Effect.gen(function* () {
      const tags = Array.from({ length: 32 }, (_, n) => `t${n}`)
      const [stored] = yield* tagsOf(
        tagged(() => [...tags, ...tags]),
        [enrolled("c1")]
      )
      assert.strictEqual(stored?.length, 32)
      const error = yield* refused([...tags, "one more"])
      assert.deepInclude(error, { _tag: "InvalidEvent", eventType: "Enrolled", path: ["tags"] })
      assert.include(error.message, "33, more than 32")
    })
  )

  it.effect.each([
    ["is empty", ""],
    ["more than 255", "t".repeat(256)],
    ["U+0000", "a\0"],
    ["surrogate", "\ud800"]
  ] as const)("can be stored: nothing that %s", ([reason, tag]) =>
    Effect.gen(function* () {
      const error = yield* refused(["fine", tag])
      assert.deepInclude(error, { _tag: "InvalidEvent", aggregateType: "Tagged", path: ["tags", 1] })
      assert.include(error.message, reason)
    })
  )

  it.effect("are derived by a function whose error refuses the append", () =>
    Effect.gen(function* () {
      const Failing = tagged(() => {
        throw new Error("secret")
      })
      const error = yield* flipped(asNewTenant(append(Failing, [enrolled("c1")])))
      assert.deepInclude(error, { _tag: "InvalidEvent", path: ["tags"] })
      assert.notInclude(error.message, "secret")
    })
  )
})

describe("an aggregate without tags", () => {
  it("has no function for them", () => {
    assert.isFalse("tagsOf" in Aggregate.make("Plain", parts, (count) => count))
  })
})
