import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import { retryDelay } from "../../src/projection/retryDelay.ts"
import * as Projection from "../../src/projection/Projection.ts"

const Added = Schema.TaggedStruct("Added", { n: Schema.Int })
const Removed = Schema.TaggedStruct("Removed", {})
const Sum = Aggregate.make(
  "Sum",
  { id: Schema.String, state: Schema.Int, initial: 0, events: [Added, Removed] },
  (state) => state
)

const make = (name: string, options: { readonly version?: number; readonly batchSize?: number } = {}) =>
  Projection.make(name, { aggregates: [Sum], ...options }, { Added: () => Effect.void })

describe("a projection", () => {
  it("has its event types, and defaults for its other options", () => {
    const { name, version, kind, startAt, eventTypes, tables, onFailure, batchSize } = make("sums")
    assert.deepStrictEqual(
      { name, version, kind, startAt, eventTypes, tables, onFailure, batchSize },
      {
        name: "sums",
        version: 1,
        kind: "tenant",
        startAt: "beginning",
        eventTypes: ["Added"],
        tables: [],
        onFailure: "park",
        batchSize: 100
      }
    )
    const across = Projection.makeAcrossTenants(
      "all",
      { aggregates: [Sum], version: 3, tables: ["t"], onFailure: "deadLetter", batchSize: 7 },
      { Added: () => Effect.void, Removed: () => Effect.void }
    )
    assert.deepInclude(across, { kind: "acrossTenants", version: 3, onFailure: "deadLetter", batchSize: 7 })
    assert.deepStrictEqual([across.eventTypes, across.tables], [["Added", "Removed"], ["t"]])
  })

  it("has a name of 1 to 255 characters", () => {
    for (const name of ["", "x".repeat(256)]) assert.throws(() => make(name), RangeError)
    for (const name of ["x", "x".repeat(255)]) assert.strictEqual(make(name).name, name)
  })

  it("cannot be made with a handler for a tag that no event of its aggregates has", () => {
    const handle = () => Effect.void
    const misspelt = { Added: handle, Addded: handle }
    const correct: { readonly Added: typeof handle } = misspelt
    assert.throws(
      () => Projection.make("sums", { aggregates: [Sum] }, correct),
      'projection sums has a handler for "Addded", which none of its events is: there are Added, Removed'
    )
  })

  it("has a positive version and batch size", () => {
    for (const value of [0, -1, 1.5, Number.NaN, Infinity]) {
      assert.throws(() => make("sums", { version: value }), RangeError)
      assert.throws(() => make("sums", { batchSize: value }), RangeError)
    }
  })

  it.effect("retries five times by default, at growing intervals", () =>
    Effect.gen(function* () {
      const delays = yield* Effect.forEach([1, 2, 3, 4, 5, 6], (attempt) =>
        retryDelay(Projection.defaultRetry, attempt)
      )
      for (const [index, delay = 0] of delays.slice(0, 5).entries()) {
        // Jittered by a fifth.
        assert.isAtLeast(delay, 100 * 2 ** index * 0.79)
        assert.isAtMost(delay, 100 * 2 ** index * 1.21)
      }
      assert.isUndefined(delays[5])
    })
  )
})
