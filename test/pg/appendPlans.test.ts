/** The plans of appends are kept: those that a connection made while the tables had few rows must do for large tables. */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { EventStorage } from "../../src/driver/EventStorage.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import {
  append,
  batch,
  event,
  events,
  newTenant,
  request,
  stream,
  version
} from "../../src/testing/driver/eventKit.ts"
import { type Database, servers } from "../support/Databases.ts"

const clientOf = (config: Database["app"]) => Layer.fresh(PgClient.layer({ ...config, maxConnections: 1 }))

/** The index entries that were read of events and keys, with the last work of the store's only connection. */
const entriesRead = (store: Context.Context<SqlClient.SqlClient>, owner: SqlClient.SqlClient) =>
  SqlClient.SqlClient.use((sql) => sql`select pg_stat_force_next_flush()`).pipe(
    Effect.provideContext(store),
    Effect.andThen(
      owner<{ entries: number }>`select sum(idx_tup_read)::integer as entries from pg_stat_user_indexes
        where schemaname = 'eventsourcing' and relname in ('events', 'command_keys')`
    ),
    Effect.map(([row]) => row?.entries ?? assert.fail("no statistics"))
  )

describe.each(servers)("appends on $name", ({ freshDatabase }) => {
  it.live("read few index entries, planned while the tables had few rows", () =>
    Effect.gen(function* () {
      const database = yield* freshDatabase
      const owner = Context.get(yield* Layer.build(clientOf(database.owner)), PgClient.PgClient)
      for (const table of ["events", "command_keys"])
        yield* owner.unsafe(`alter table eventsourcing.${table} set (autovacuum_enabled = off)`)
      const tenantId = newTenant()
      let next = 0
      const keyed = () => {
        const key = `key ${next++}`
        const command = { key, fingerprint: "0".repeat(64), expiresInMillis: 60_000 }
        return { ...request(tenantId, stream(key, events(1), 0)), command }
      }
      const insertEvents = (from: number, to: number) =>
        owner.unsafe(`insert into eventsourcing.events (tenant_id, position, aggregate_type, aggregate_id, version,
            event_id, event_type, schema_version, occurred_at, recorded_at, correlation_id, metadata, payload, bytes)
          select '${tenantId}', n, 'Case', '${newTenant()}' || n % 10, n, gen_random_uuid(), 'Happened', 1, now(), now(), 'c',
            '{}', '{}', 4
          from generate_series(${from}, ${to}) n`)
      const ten = Array.from({ length: 10 }, (_, n) => `known ${n}`)
      let tenAt = 0
      const knowingVersions = Effect.gen(function* () {
        const storage = yield* EventStorage
        const { eventId, position: after } = yield* storage.head({ tenantId })
        const query = [{ eventTypes: undefined, tags: [] }]
        const knownVersions = ten.map(() => tenAt)
        tenAt++
        return yield* storage.append({
          ...request(tenantId, ...ten.map((id) => stream(id, events(1)))),
          conditions: [{ query, after, afterEventId: eventId ?? undefined }],
          knownVersions
        })
      })
      const first = event()
      const operations: ReadonlyArray<
        readonly [string, number, Effect.Effect<unknown, unknown, EventStorage>]
      > = [
        ["an event", 4, Effect.suspend(() => append(tenantId, stream("one", events(1))))],
        ["two events", 4, Effect.suspend(() => append(tenantId, stream("two", events(2))))],
        ["twenty commands with a key", 45, Effect.suspend(() => batch(...Array.from({ length: 20 }, keyed)))],
        ["events of ten streams whose versions are known", 4, knowingVersions],
        ["the version of a stream", 2, version(tenantId, "one")],
        ["an event again", 10, append(tenantId, stream("first", [first], 0))],
        [
          "the outcome of a command",
          2,
          EventStorage.use((storage) => storage.commandOutcome({ tenantId, key: "key 0" }))
        ]
      ]
      const start = Layer.build(Layer.fresh(PgStorage.layer.pipe(Layer.provideMerge(clientOf(database.app)))))
      const early = yield* start
      yield* append(tenantId, stream("first", [first], 0)).pipe(Effect.provideContext(early))
      yield* batch(keyed()).pipe(Effect.provideContext(early))
      // The index of streams has two pages then, and the others one.
      yield* insertEvents(3, 150)
      yield* owner`analyze eventsourcing.command_keys`
      const store = yield* start
      for (const [, , run] of operations) yield* Effect.provideContext(run, store)
      yield* insertEvents(1001, 3000)
      yield* owner.unsafe(`insert into eventsourcing.command_keys
        select '${tenantId}', 'other ' || n, '', 'Case', 'other', 1, 1, 1, now(), now() + n * interval '1 minute'
        from generate_series(-1, 2000) n`)
      yield* owner`select pg_stat_force_next_flush()`
      for (const [title, atMost, run] of operations) {
        const before = yield* entriesRead(store, owner)
        yield* Effect.provideContext(run, store)
        assert.isAtMost((yield* entriesRead(store, owner)) - before, atMost, title)
      }
    })
  )
})
