/** How much of a batch is done in one go. Outcomes are the same either way: see `EventStorageSuite`. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import type { AppendRequest } from "../../src/driver/EventStorage.ts"
import * as pgAppend from "../../src/pg/appendBatch.ts"
import { event, events, newTenant, request, stream } from "../../src/testing/driver/eventKit.ts"
import { sqlBackends } from "../support/backends.ts"

/** A segment of which everything was appended, and one of which each append has its own result. */
const [allAppended, each] = [1, 5]

/** Runs a batch. Returns its rounds, and the kind of the first result. */
const run = (...requests: ReadonlyArray<AppendRequest>) =>
  SqlClient.SqlClient.use((sql) => {
    const batch = pgAppend.encode(requests, { provision: true, wait: true })
    return Effect.map(
      sql.unsafe<{ results: ReadonlyArray<number> }>(pgAppend.selectSql, batch.parameters),
      ([row]) => ({ segments: batch.lastStreams.length, first: row?.results[0] })
    )
  })

describe.each(sqlBackends)("a batch on $name", ({ layer }) => {
  it.layer(layer)((test) => {
    test.effect("appends of one stream are done in one go, as long as none is refused", () =>
      Effect.gen(function* () {
        const tenant = newTenant()
        const inOneGo = { segments: 1, first: allAppended }
        assert.deepStrictEqual(
          yield* run(
            request(tenant, stream("hot", events(1))),
            request(tenant, stream("hot", events(2))),
            request(tenant, stream("hot", events(1), "streamExists"), stream("other", events(1), "noStream")),
            request(tenant, stream("hot", events(1), 4))
          ),
          inOneGo
        )
        assert.deepStrictEqual(
          yield* run(
            request(tenant, stream("hot", events(2), 5)),
            request(tenant, stream("hot", events(1), 7)),
            request(tenant, stream("hot", events(1)))
          ),
          inOneGo
        )
        assert.deepStrictEqual(
          yield* run(
            request(tenant, stream("hot", events(1), 9)),
            request(tenant, stream("hot", events(1), 9))
          ),
          { segments: 1, first: each }
        )
      })
    )

    test.effect("what shares an event id, or has a condition, waits for a further one", () =>
      Effect.gen(function* () {
        const tenant = newTenant()
        const shared = event()
        const condition = { query: [{ eventTypes: ["Happened"], tags: [] }], after: 1000 }
        assert.strictEqual(
          (yield* run(request(tenant, stream("a", [shared])), request(tenant, stream("b", [shared]))))
            .segments,
          2
        )
        assert.strictEqual(
          (yield* run(request(tenant, stream("a", events(1))), {
            ...request(tenant, stream("b", events(1))),
            condition
          })).segments,
          2
        )
      })
    )
  })
})
