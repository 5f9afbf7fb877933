/** The number of rounds of a batch. Outcomes do not depend on it: see `EventStorageSuite`. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import type { AppendRequest } from "../../src/driver/EventStorage.ts"
import * as appendBatch from "../../src/pg/appendBatch.ts"
import { event, events, newTenant, request, stream } from "../../src/testing/driver/eventKit.ts"
import { everySqlBackend } from "../support/backends.ts"

/** Runs a batch. Returns its rounds, and the kinds of its refusals. */
const run = (...requests: ReadonlyArray<AppendRequest>) =>
  SqlClient.SqlClient.use((sql) => {
    const batch = appendBatch.encode(requests, { provision: true, wait: true })
    return Effect.map(
      sql.unsafe<{ refusals: ReadonlyArray<{ kind: string }> | null }>(
        appendBatch.selectSql,
        batch.parameters
      ),
      ([row]) => ({
        rounds: (batch.entries.at(-1)?.round ?? 0) + 1,
        refused: (row?.refusals ?? []).map(({ kind }) => kind)
      })
    )
  })

describe.each(everySqlBackend)("a batch on $name", ({ layer }) => {
  it.layer(layer)((test) => {
    test.effect("appends of one stream take one round, as long as none is refused", () =>
      Effect.gen(function* () {
        const tenant = newTenant()
        const inOneGo = { rounds: 1, refused: [] }
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
          { rounds: 1, refused: ["versionConflict"] }
        )
      })
    )

    test.effect(
      "an append with the same event id as another, or with a condition, takes a further round",
      () =>
        Effect.gen(function* () {
          const tenant = newTenant()
          const shared = event()
          const condition = { query: [{ eventTypes: ["Happened"], tags: [] }], after: 1000 }
          assert.strictEqual(
            (yield* run(request(tenant, stream("a", [shared])), request(tenant, stream("b", [shared]))))
              .rounds,
            2
          )
          assert.strictEqual(
            (yield* run(request(tenant, stream("a", events(1))), {
              ...request(tenant, stream("b", events(1))),
              conditions: [condition]
            })).rounds,
            2
          )
        })
    )
  })
})
