import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import * as Repository from "../../src/store/Repository.ts"
import * as SnapshotPolicy from "../../src/domain/SnapshotPolicy.ts"
import * as Upcaster from "../../src/domain/Upcaster.ts"
import { asNewTenant } from "../support/bank.ts"
import { adds, counted } from "../support/snapshots.ts"
import * as Telemetry from "../../src/telemetry/Telemetry.ts"

const Legacy = Schema.TaggedStruct("Legacy", { cents: Schema.Int })
const AddedV1 = Schema.TaggedStruct("Added", { euros: Schema.Int })
const AddedV2 = Schema.TaggedStruct("Added", { amount: Schema.Int })
const Added = Schema.TaggedStruct("Added", { cents: Schema.Int })
const Fee = Schema.TaggedStruct("Fee", { cents: Schema.Int })
const Seen = Schema.TaggedStruct("Seen", {})

const parts = { id: Schema.String, state: Schema.Int, initial: 0 } as const
const skip = { skip: ["UnknownSchemaVersion", "UnknownEventType"] } as const

/** The program that wrote the events. */
const First = Aggregate.make("Sum", { ...parts, events: [AddedV1, Legacy, Seen] }, (state) => state)

/** A present program with a history. */
const today = (...upcasters: ReadonlyArray<Upcaster.Upcaster<typeof Added.Type | typeof Fee.Type>>) =>
  Aggregate.tolerant(
    Aggregate.make(
      "Sum",
      { ...parts, events: [Added, Fee], upcasters },
      {
        Added: (sum, { cents }) => sum + cents,
        Fee: (sum, { cents }) => sum - cents
      }
    ),
    skip
  )

const added = (cents: number) => Added.make({ cents })
const late = Upcaster.from(Added, { version: 3 })
const told = Upcaster.from(AddedV1)
  .to(AddedV2, ({ euros }) => AddedV2.make({ amount: euros * 100 }))
  .to(Added, ({ amount }) => added(amount))
const toldInPart = Upcaster.from(AddedV2, { version: 2 }).to(Added, ({ amount }) => added(amount))
const one = Upcaster.from(Legacy).into([Added], ({ cents }) => [added(cents)])
const two = Upcaster.from(Legacy).into([Added, Fee], ({ cents }) => [added(cents), Fee.make({ cents: 1 })])
const turned = Upcaster.from(Legacy).into([Fee, Added], ({ cents }) => [added(cents), Fee.make({ cents: 1 })])
const into = Upcaster.from(Legacy).into([AddedV2], ({ cents }) => [AddedV2.make({ amount: cents + 5 })])
const renamed = Upcaster.from(Legacy).to(Fee, ({ cents }) => Fee.make({ cents }))

type Sum = ReturnType<typeof today>

const changes: ReadonlyArray<readonly [what: string, before: Sum, after: Sum]> = [
  ["gained its oldest version", today(late), today(told)],
  ["gained a version that is passed over", today(toldInPart), today(told)],
  ["goes into one more type", today(told, one), today(told, two)],
  ["goes into another version of a type", today(told, one), today(told, into)],
  ["goes on as another type", today(told, one), today(told, renamed)],
  ["is dropped", today(told, one), today(told, Upcaster.dropped("Legacy"))],
  ["is dropped, and was not known before", today(told), today(told, Upcaster.dropped("Seen"))]
]

const program = Repository.layerWith({
  remember: { entries: 0 },
  snapshots: { policy: SnapshotPolicy.every(1), taken: "atOnce" }
}).pipe(Layer.provideMerge(EventStore.layer), Layer.provideMerge(MemoryStorage.layer))

const load = (aggregate: Sum) =>
  Repository.Repository.use(({ loadOrInitial }) => loadOrInitial(aggregate, "1"))

const written = EventStore.EventStore.use((store) =>
  store.append({
    aggregate: First,
    id: "1",
    expectedVersion: 0,
    events: [AddedV1.make({ euros: 5 }), Legacy.make({ cents: 70 }), Seen.make({})]
  })
)

const missed = counted(Telemetry.snapshotMisses, "dependencies", "Sum")

describe("a snapshot", () => {
  for (const [what, before, after] of changes) {
    it.effect(`is no longer used if the history of an event type ${what}`, () =>
      Effect.gen(function* () {
        yield* written
        for (const [kept, next] of [
          [before, after],
          [after, before]
        ] as const) {
          yield* load(kept)
          assert.strictEqual(yield* adds(counted(Telemetry.snapshotHits, undefined, "Sum"), load(kept)), 1)
          assert.strictEqual(yield* adds(missed, load(next)), 1)
          const whole = Effect.provide(load(next), Repository.layer, { local: true })
          assert.deepStrictEqual(yield* load(next), yield* whole)
        }
      }).pipe(asNewTenant, Effect.provide(program))
    )
  }

  it.effect("is still used if the same history is declared in another order", () =>
    Effect.gen(function* () {
      yield* written
      yield* load(today(told, two))
      for (const same of [today(two, told), today(told, turned)])
        assert.strictEqual(yield* adds(counted(Telemetry.snapshotHits, undefined, "Sum"), load(same)), 1)
    }).pipe(asNewTenant, Effect.provide(program))
  )
})
