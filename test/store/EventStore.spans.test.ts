import { assert, describe, it } from "@effect/vitest"
import { Effect, Option, Tracer } from "effect"
import * as EventStore from "../../src/store/EventStore.ts"
import { Account, append, asNewTenant, changedDriver, deposited, onDriver, opened } from "../support/bank.ts"

/** The name of the span in which the driver is called; undefined if there is none. */
const seen: Array<string | undefined> = []

const watched = onDriver(
  changedDriver(({ append: ask }) => ({
    append: (requests) =>
      Effect.currentSpan.pipe(
        Effect.option,
        Effect.map((span) => seen.push(Option.getOrUndefined(span)?.name)),
        Effect.andThen(ask(requests))
      )
  }))
)

const traced = <A, E, R>(effect: Effect.Effect<A, E, R>) => {
  const spans: Array<Tracer.NativeSpan> = []
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    }
  })
  return effect.pipe(Effect.withSpan("program"), Effect.withTracer(tracer), Effect.as(spans))
}

const both = Effect.gen(function* () {
  seen.length = 0
  yield* append("1", [opened()])
  yield* Effect.ignore(append("1", [deposited(1)], "noStream"))
  yield* EventStore.EventStore.use((store) =>
    store.appendAll([{ aggregate: Account, id: "1", expectedVersion: "any", events: [deposited(1)] }])
  )
})

describe("appends", () => {
  it.effect("have spans of their own with a tracer, and call the driver inside them", () =>
    Effect.gen(function* () {
      const spans = yield* traced(both)
      const names = ["append Account", "append Account", "append Account"]
      assert.deepStrictEqual(
        spans.map(({ name }) => name),
        ["program", ...names]
      )
      assert.deepStrictEqual(seen, names)
      const ended = spans.slice(1).map(({ parent, status }) => ({
        parent: Option.getOrUndefined(parent)?.spanId,
        exit: status._tag === "Ended" ? status.exit._tag : undefined
      }))
      const parent = spans[0]?.spanId
      assert.deepStrictEqual(ended, [
        { parent, exit: "Success" },
        { parent, exit: "Failure" },
        { parent, exit: "Success" }
      ])
    }).pipe(asNewTenant, Effect.provide(watched))
  )

  it.effect("run in the span of their caller without a tracer", () =>
    Effect.gen(function* () {
      yield* both
      assert.deepStrictEqual(seen, [undefined, undefined, undefined])
      yield* Effect.withSpan(both, "program")
      assert.deepStrictEqual(seen, ["program", "program", "program"])
    }).pipe(asNewTenant, Effect.provide(watched))
  )
})
