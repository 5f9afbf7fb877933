import { assert, describe, layer } from "@effect/vitest"
import { DateTime, Effect, Schema, Stream } from "effect"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import * as Event from "../../src/domain/Event.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import { backends } from "../support/backends.ts"
import { append, asNewTenant, deposits, Note, onDriver, opened, written } from "../support/bank.ts"
import { flipped } from "../../src/testing/failures.ts"

const json = (text: string): unknown => JSON.parse(text)

describe.each(backends)("the event store on $name", (backend) => {
  layer(onDriver(backend.layer), { excludeTestServices: true })((it) => {
    it.effect("returns every accepted value unchanged", () =>
      Effect.gen(function* () {
        const values: ReadonlyArray<unknown> = [
          null,
          true,
          0,
          0.1,
          -1e-7,
          5e-324,
          1.7976931348623157e308,
          2 ** 53 - 1,
          -(2 ** 53),
          2 ** 53 + 2,
          2 ** 60,
          1e21,
          "",
          " ",
          "\u0001\u001f\u007f\u0080\u2028\uffff\ufffd",
          "🎉",
          "e\u0301",
          "é",
          "\\u0000",
          "\\ud800",
          `'"\``,
          "$1",
          "NaN",
          "\u202etxt",
          [],
          {},
          [[]],
          [null],
          { "": "" },
          { "a.b": { "": [1] } },
          json(`{"constructor": {"prototype": {"admin": true}}}`),
          { toString: "x", valueOf: 1, hasOwnProperty: null, prototype: {} },
          { b: 1, a: 2, 10: 3, 9: 4 }
        ]
        const store = yield* EventStore.EventStore
        const events = values.map(written)
        yield* store.append({ aggregate: Note, id: "values", expectedVersion: 0, events })
        const read = yield* store.readStream({ aggregate: Note, id: "values" }).pipe(Stream.runCollect)
        assert.deepStrictEqual(
          read.map(({ payload }) => payload.text),
          values
        )
        assert.deepStrictEqual(
          read.map(({ payload }) => JSON.stringify(payload.text)),
          values.map((value) => JSON.stringify(value))
        )
        assert.isUndefined(({} as Record<string, unknown>)["admin"])
      }).pipe(asNewTenant)
    )

    it.effect("keeps NaN and infinities if the schema encodes them", () =>
      Effect.gen(function* () {
        // @effect-diagnostics-next-line schemaNumber:off
        const Measured = Schema.TaggedStruct("Measured", { value: Schema.Number, exact: Schema.BigInt })
        const Probe = Aggregate.make(
          "Probe",
          { state: Schema.Null, initial: null, events: [Measured] },
          (s) => s
        )
        const id = "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b"
        const events = [Number.NaN, Infinity, -Infinity].map((value) =>
          Measured.make({ value, exact: 2n ** 53n + 1n })
        )
        const store = yield* EventStore.EventStore
        yield* store.append({ aggregate: Probe, id, expectedVersion: 0, events })
        const read = yield* store.readStream({ aggregate: Probe, id }).pipe(Stream.runCollect)
        assert.deepStrictEqual(
          read.map(({ payload }) => payload),
          events
        )
      }).pipe(asNewTenant)
    )

    it.effect("distinguishes ids that look alike, and accepts the longest", () =>
      Effect.gen(function* () {
        const ids = [
          "a",
          "A",
          "a ",
          " a",
          "á",
          "a\u0301",
          "%",
          "_",
          "*",
          "'; drop table eventsourcing.events; --",
          "\n",
          "€".repeat(255)
        ]
        for (const [index, id] of ids.entries()) {
          assert.deepInclude(yield* append(id, deposits(index + 1)), { version: index + 1 })
        }
        const store = yield* EventStore.EventStore
        const name = "€".repeat(255)
        const Long = Aggregate.make(
          name,
          { id: Schema.String, state: Schema.Null, initial: null, events: [Schema.TaggedStruct(name, {})] },
          (s) => s
        )
        const event = Event.make({ _tag: name }, { actor: name })
        const { events } = yield* store.append({
          aggregate: Long,
          id: name,
          expectedVersion: 0,
          events: [event]
        })
        const read = yield* store.readStream({ aggregate: Long, id: name }).pipe(Stream.runCollect)
        assert.deepStrictEqual(read, events)
      }).pipe(asNewTenant)
    )

    it.effect("stores and returns the largest event, and the first and the last time", () =>
      Effect.gen(function* () {
        const text = "🎉".repeat((1 << 18) - 20)
        const times = [
          "0001-01-01T00:00:00.000Z",
          "0099-12-31T23:59:59.999Z",
          "1969-12-31T23:59:59.999Z",
          "9999-12-31T23:59:59.999Z"
        ]
        const { events } = yield* append(
          "1",
          times.map((time) => Event.make(opened(text), { occurredAt: DateTime.makeUnsafe(time) }))
        )
        const store = yield* EventStore.EventStore
        const read = yield* store.readLogJson({}).pipe(Stream.runCollect)
        assert.deepStrictEqual<ReadonlyArray<unknown>>(read, events)
        assert.deepStrictEqual(
          read.map(({ occurredAt }) => DateTime.formatIso(occurredAt)),
          times
        )
      }).pipe(asNewTenant)
    )

    it.effect("continues to work after a refusal", () =>
      Effect.gen(function* () {
        yield* flipped(append("1", [opened(), opened("\0")]))
        yield* flipped(append("\ud800", [opened()]))
        assert.deepInclude(yield* append("1", [opened()]), { version: 1, position: 1 })
      }).pipe(asNewTenant)
    )
  })
})
