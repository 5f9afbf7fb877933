/** The plans of imports are kept: those that a connection made while the log was short must do for a long one. */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { AdministrationStorage } from "../../src/driver/AdministrationStorage.ts"
import type { EventRow } from "../../src/driver/EventStorage.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import { newTenant } from "../../src/testing/driver/eventKit.ts"
import { type Database, servers } from "../support/Databases.ts"

const streams = 100
const eventsPerBatch = 1000

const row = (index: number): EventRow => ({
  position: index + 1,
  aggregateType: "Case",
  aggregateId: `case ${index % streams}`,
  version: Math.floor(index / streams) + 1,
  eventId: newTenant(),
  eventType: "Happened",
  schemaVersion: 1,
  occurredAt: 1_700_000_000_000,
  recordedAt: 1_700_000_000_000,
  actor: null,
  correlationId: "c",
  causationId: null,
  metadata: "{}",
  payload: "{}",
  tags: [],
  hash: null,
  traceparent: null
})

const clientOf = (config: Database["app"]) => Layer.fresh(PgClient.layer({ ...config, maxConnections: 1 }))

describe.each(servers)("an import on $name", ({ freshDatabase }) => {
  it.live("reads as few index entries for each batch of a long log as of a short one", () =>
    Effect.gen(function* () {
      const database = yield* freshDatabase
      const owner = Context.get(yield* Layer.build(clientOf(database.owner)), PgClient.PgClient)
      yield* owner`alter table eventsourcing.events set (autovacuum_enabled = off)`
      const store = yield* Layer.build(
        Layer.fresh(
          PgStorage.layerWith({ announce: false }).pipe(
            Layer.provideMerge(clientOf(database.owner)),
            Layer.orDie
          )
        )
      )
      const storage = Context.get(store, AdministrationStorage)
      const sql = Context.get(store, PgClient.PgClient)
      /** The entries of the index of positions, and of that of streams, that were read so far. */
      const read = Effect.gen(function* () {
        yield* sql`select pg_stat_force_next_flush()`
        const [found] = yield* owner<{ entries: number }>`select sum(idx_tup_read)::integer as entries
          from pg_stat_user_indexes where schemaname = 'eventsourcing' and relname = 'events'`
        return found?.entries ?? assert.fail("no statistics")
      })
      const accessId = yield* storage.recordAccess({ actor: "ada", reason: "test", operation: "import" })
      const at = { accessId, tenantId: newTenant(), token: newTenant() }
      yield* storage.changeState({ ...at, change: "beginImport" })
      const entries: Array<number> = []
      for (let batch = 0; batch < 10; batch++) {
        const before = yield* read
        const events = Array.from({ length: eventsPerBatch }, (_, n) => row(batch * eventsPerBatch + n))
        assert.strictEqual(yield* storage.writeEvents({ ...at, events }), (batch + 1) * eventsPerBatch)
        entries.push((yield* read) - before)
      }
      // one look-up for each stream, the last event, and the blocks that are summarised
      for (const some of entries.slice(1)) assert.isBelow(some, 3 * eventsPerBatch, entries.join(", "))
    }).pipe(Effect.scoped)
  )
})
