import { assert, describe, it } from "@effect/vitest"
import { DateTime, Effect, Exit, Layer, Schema, Stream } from "effect"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import * as Event from "../../src/domain/Event.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import {
  append,
  asNewTenant,
  changedDriver,
  deposits,
  inMemory,
  Note,
  note,
  onDriver,
  opened,
  written
} from "../support/bank.ts"
import { flipped } from "../../src/testing/failures.ts"

interface Tree {
  readonly child: Tree | null
}
const Tree: Schema.Codec<Tree> = Schema.Struct({ child: Schema.NullOr(Schema.suspend(() => Tree)) })
const Grown = Schema.TaggedStruct("Grown", { tree: Tree })
const Forest = Aggregate.make(
  "Forest",
  { id: Schema.String, state: Schema.Null, initial: null, events: [Grown] },
  (s) => s
)

const tree = (levels: number): Tree => {
  let root: Tree = { child: null }
  for (let level = 1; level < levels; level++) root = { child: root }
  return root
}
const nested = (levels: number): Schema.JsonObject => {
  let root: Schema.JsonObject = {}
  for (let level = 1; level < levels; level++) root = { child: root }
  return root
}
const grow = (levels: number) =>
  EventStore.EventStore.use((store) =>
    store.append({
      aggregate: Forest,
      id: "1",
      expectedVersion: "any",
      // Not with Grown.make, which overflows the stack itself.
      events: [{ _tag: "Grown", tree: tree(levels) }]
    })
  )
const withMetadata = (metadata: Schema.JsonObject) => append("1", [Event.make(opened(), { metadata })])

/** A store whose driver fails the test if it is asked to append. */
const untouched = (options: EventStore.Options = {}) =>
  onDriver(
    changedDriver(() => ({ append: () => Effect.die(new Error("was asked to append")) })),
    options
  )

const json = (text: string): Schema.JsonObject => JSON.parse(text) as Schema.JsonObject

const takes = (name: string, limits: EventStore.Options["limits"], effect: ReturnType<typeof append>) =>
  it.effect(`accepts ${name}`, () =>
    Effect.asVoid(effect).pipe(asNewTenant, Effect.provide(inMemory({ limits })))
  )

const refuses = <A, E extends { readonly _tag: string }, R>(
  name: string,
  expected: Readonly<Record<string, unknown>>,
  effect: Effect.Effect<A, E, R | EventStore.EventStore>,
  limits?: EventStore.Options["limits"]
) =>
  it.effect(
    `refuses ${name}`,
    () =>
      Effect.map(flipped(effect), (error) => {
        const shown = Object.fromEntries(
          Object.keys(expected).map((key) => [key, error[key as keyof typeof error]])
        )
        assert.deepStrictEqual(shown, expected)
        // The text of the error can be stored.
        assert.notMatch(JSON.stringify(error), /\\u0000|\\ud[89ab]/i)
      }).pipe(asNewTenant, Effect.provide(untouched({ limits }))) as Effect.Effect<void>
  )

const limit = (name: string, maximum: number) => ({ _tag: "LimitExceeded", limit: name, maximum })
const invalid = (path: ReadonlyArray<string | number>, reason: string) => ({
  _tag: "InvalidEvent",
  path,
  reason
})

describe("the limits of the store", () => {
  const eventBytes = JSON.stringify(opened("ä🎉")).length + 3 + '{"a":1}'.length
  const event = (metadata: Schema.JsonObject) => append("1", [Event.make(opened("ä🎉"), { metadata })])
  takes("an event of just so many bytes of UTF-8", { eventBytes }, event({ a: 1 }))
  refuses("an event of one byte more", limit("eventBytes", eventBytes), event({ a: 11 }), { eventBytes })
  refuses("an event of more than 1 MiB", limit("eventBytes", 1 << 20), note("x".repeat(1 << 20)))

  const appendBytes = 3 * (JSON.stringify(opened()).length + "{}".length)
  const three = [opened(), opened(), opened()]
  takes("an append of just so many bytes", { appendBytes }, append("1", three))
  refuses("an append of more", limit("appendBytes", appendBytes), append("1", [...three, opened()]), {
    appendBytes
  })
  takes("an append of just so many events", { appendEvents: 3 }, append("1", three))
  refuses("an append of more events", limit("appendEvents", 3), append("1", [...three, opened()]), {
    appendEvents: 3
  })
  refuses(
    "more than 10,000 events in one append",
    limit("appendEvents", 10_000),
    append("1", deposits(10_001))
  )
  refuses(
    "more events in all streams together",
    limit("appendEvents", 3),
    EventStore.EventStore.use((store) =>
      store.appendAll([
        { aggregate: Note, id: "1", expectedVersion: "any", events: [written(1), written(2)] },
        { aggregate: Note, id: "2", expectedVersion: "any", events: [written(1), written(2)] }
      ])
    ),
    { appendEvents: 3 }
  )

  takes("an id of 255 characters", {}, append("i".repeat(255), [opened()]))
  refuses("an id of 256 characters", limit("idLength", 255), append("i".repeat(256), [opened()]))
  refuses(
    "an actor of 256 characters",
    limit("idLength", 255),
    append("1", [Event.make(opened(), { actor: "a".repeat(256) })])
  )
  it.effect("hold for the ids of reads as well", () =>
    Effect.gen(function* () {
      const store = yield* EventStore.EventStore
      const key = { aggregate: Note, id: "i".repeat(256) }
      for (const effect of [store.version(key), store.exists(key), Stream.runDrain(store.readStream(key))]) {
        assert.deepInclude(yield* flipped(Effect.asVoid(effect)), limit("idLength", 255) as object)
      }
    }).pipe(asNewTenant, Effect.provide(untouched()))
  )

  // The payload is the first level.
  takes("a payload of 64 levels", {}, Effect.as(grow(63), undefined as never))
  for (const levels of [64, 100, 5000, 100_000]) {
    refuses(`a tree of ${levels} levels in a payload`, limit("depth", 64), grow(levels))
  }
  takes("metadata of 64 levels", {}, withMetadata(nested(64)))
  for (const levels of [65, 100_000]) {
    refuses(`metadata of ${levels} levels`, limit("depth", 64), withMetadata(nested(levels)))
  }
  const endless: Record<string, Schema.Json> = {}
  endless["self"] = endless
  refuses("metadata without an end", limit("depth", 64), withMetadata(endless))
  takes("what a set limit of 5 levels takes", { depth: 5 }, withMetadata(nested(5)))
  refuses("what it does not take", limit("depth", 5), withMetadata(nested(6)), { depth: 5 })

  it.effect("must be positive integers within the range of drivers", () =>
    Effect.gen(function* () {
      for (const name of ["eventBytes", "appendBytes", "appendEvents", "depth"]) {
        for (const wrong of [0, -1, 1.5, Number.NaN, Infinity, 2 ** 31]) {
          const build = Layer.build(inMemory({ limits: { [name]: wrong } }))
          const exit = yield* Effect.exit(Effect.scoped(build))
          assert.isTrue(Exit.hasDies(exit), `${name}: ${wrong}`)
        }
      }
    })
  )
})

describe("a text that cannot be stored", () => {
  const nul = "contains the character U+0000, which cannot be stored"
  const half = "contains half of a surrogate pair, which cannot be stored"
  for (const [name, text, reason] of [
    ["U+0000", "a\0b", nul],
    ["a high surrogate alone", "a\ud83d", half],
    ["a low surrogate alone", "\udf89a", half],
    ["a pair in the wrong order", "\udf89\ud83d", half]
  ] as const) {
    refuses(
      `${name} in a payload`,
      invalid(["payload", "text", "a", 1, "b"], reason),
      note({ a: ["", { b: text }] })
    )
    refuses(
      `${name} in a key of a payload`,
      invalid(["payload", "text", "a", "?"], `the key ${reason}`),
      note({ a: { [text]: 1 } })
    )
    refuses(`${name} in metadata`, invalid(["metadata", "a"], reason), withMetadata({ a: text }))
    refuses(
      `${name} in a key of metadata`,
      invalid(["metadata", "?"], `the key ${reason}`),
      withMetadata({ [text]: 1 })
    )
    refuses(
      `${name} in an actor`,
      invalid(["actor"], reason),
      append("1", [Event.make(opened(), { actor: text })])
    )
    refuses(`${name} in an id`, { _tag: "InvalidAggregateId", reason }, append(text, [opened()]))
    refuses(
      `${name} in an event id`,
      invalid(["eventId"], "is not a UUID in its lower-case, hyphenated form"),
      append("1", [Event.make(opened(), { eventId: text as Event.EventId })])
    )
  }
  refuses("an empty id", { _tag: "InvalidAggregateId", reason: "is empty" }, append("", [opened()]))
  refuses(
    "an empty actor",
    invalid(["actor"], "is empty"),
    append("1", [Event.make(opened(), { actor: "" })])
  )
})

describe("a value that JSON would alter", () => {
  refuses(
    "-0 in a payload",
    invalid(["payload", "text", 0], "is -0, which JSON does not tell from 0"),
    note([-0])
  )
  refuses("NaN where any JSON goes", invalid(["payload", "text"], "Expected JSON value"), note(Number.NaN))
  for (const value of [Number.NaN, Infinity, -Infinity]) {
    refuses(
      `${value} in metadata`,
      invalid(["metadata", "a"], `is ${value}, which JSON cannot carry`),
      withMetadata({ a: value })
    )
  }
  refuses(
    "-0 in metadata",
    invalid(["metadata", "a"], "is -0, which JSON does not tell from 0"),
    withMetadata({ a: -0 })
  )
  for (const [name, value] of [
    ["a Date", new Date(0)],
    ["a Map", new Map()],
    [
      "an instance",
      new (class Thing {
        readonly a = 1
      })()
    ],
    ["an object with a prototype", Object.create({ inherited: 1 })]
  ] as const) {
    const reason = "is not a plain object, which JSON cannot carry"
    refuses(
      `${name} in metadata`,
      invalid(["metadata", "a"], reason),
      withMetadata({ a: value as Schema.Json })
    )
  }
  for (const value of [1n, () => 1, Symbol("s"), undefined]) {
    const reason = `is a ${typeof value}, which JSON cannot carry`
    refuses(
      `a ${typeof value} in metadata`,
      invalid(["metadata", "a", 0], reason),
      withMetadata({ a: [value] as unknown as Schema.Json })
    )
  }
  const proto = "is a key that would change the prototype of an object"
  refuses(
    "the key __proto__ in a payload",
    invalid(["payload", "text", "__proto__"], proto),
    note(json(`{"__proto__": {"admin": true}}`))
  )
  refuses(
    "the key __proto__ in metadata",
    invalid(["metadata", "a", "__proto__"], proto),
    withMetadata(json(`{"a": {"__proto__": 1}}`))
  )
  refuses(
    "the key __proto__ at the root of metadata",
    invalid(["metadata", "__proto__"], proto),
    withMetadata(json(`{"__proto__": {"admin": true}}`))
  )
  const time = "is not a time in whole milliseconds of the years 1 to 9999"
  for (const text of ["0000-12-31T23:59:59.999Z", "-000001-01-01T00:00:00Z", "+010000-01-01T00:00:00Z"]) {
    const occurredAt = DateTime.makeUnsafe(text)
    refuses(
      `an event that occurred at ${text}`,
      invalid(["occurredAt"], time),
      append("1", [Event.make(opened(), { occurredAt })])
    )
  }
})
