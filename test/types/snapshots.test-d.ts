import { Effect, Layer, Schema } from "effect"
import { Aggregate, MemoryStorage, Repository, SnapshotPolicy } from "effect-eventsourcing"
import type { EventStore, SnapshotStorage, StoreError, Tenant } from "effect-eventsourcing"
import { describe, expectTypeOf, test } from "vitest"
import type { Types } from "effect"

const Counted = Schema.TaggedStruct("Counted", {})
const Counter = Aggregate.make("Counter", { state: Schema.Int, initial: 0, events: [Counted] }, (n) => n + 1)

const snapshots: Repository.SnapshotOptions = {
  policy: SnapshotPolicy.every(100),
  aggregates: [[Counter, SnapshotPolicy.never]]
}

describe("a repository", () => {
  test("requires a storage for snapshots exactly if it has a policy for them", () => {
    expectTypeOf<Layer.Services<typeof Repository.layer>>().toEqualTypeOf<EventStore.EventStore>()
    const plain = Repository.layerWith({ commandTimeToLive: "1 hour" })
    expectTypeOf<Layer.Services<typeof plain>>().toEqualTypeOf<EventStore.EventStore>()
    const without = Repository.layerWith({ snapshots: undefined })
    expectTypeOf<Layer.Services<typeof without>>().toEqualTypeOf<EventStore.EventStore>()
    const kept = Repository.layerWith({ snapshots })
    expectTypeOf<Layer.Services<typeof kept>>().toEqualTypeOf<
      EventStore.EventStore | SnapshotStorage.SnapshotStorage
    >()
    const provided = Layer.provide(kept, MemoryStorage.layer)
    expectTypeOf<Layer.Services<typeof provided>>().toEqualTypeOf<EventStore.EventStore>()
    // Options that may have snapshots are not options without them.
    const given: Repository.OptionsWithSnapshots = { snapshots }
    // @ts-expect-error not an `Options`
    const widened: Repository.Options = given
    expectTypeOf(widened).toEqualTypeOf<Repository.Options>()
  })

  test("accepts JSON as the content of a command, and may fail with CommandKeyConflict", () => {
    const run = (content: Schema.Json) =>
      Repository.Repository.use(({ execute }) =>
        execute(Counter, "1", () => [Counted.make({})], { command: { key: "k", content } })
      )
    expectTypeOf<
      Extract<Types.ReasonOf<Effect.Error<ReturnType<typeof run>>>, StoreError.CommandKeyConflict>
    >().toEqualTypeOf<StoreError.CommandKeyConflict>()
    expectTypeOf<Effect.Services<ReturnType<typeof run>>>().toEqualTypeOf<
      Repository.Repository | Tenant.CurrentTenant
    >()
    // @ts-expect-error a Date is not JSON
    void (() => run({ at: new Date() }))
  })
})
