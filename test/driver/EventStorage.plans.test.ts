/** The cost of each operation depends on the rows that it needs, not on the stored ones: every lookup uses an index. */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { EventStorage } from "../../src/driver/EventStorage.ts"
import {
  access,
  append,
  batch,
  endsWith,
  event,
  events,
  loadStream,
  newTenant,
  newTenants,
  position,
  readLog,
  readOpened,
  readStream,
  request,
  stream,
  version
} from "../../src/testing/driver/eventKit.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import type { TenantId } from "../../src/domain/Tenant.ts"
import { type Database, servers } from "../support/Databases.ts"
import { flipped } from "../../src/testing/failures.ts"

type Store = EventStorage | SqlClient.SqlClient

/** The tenants of the tests. */
interface Tenants {
  readonly big: TenantId
  readonly nth: (nth: number) => TenantId
}

const newOnes = (): Tenants => {
  const nth = newTenants()
  // Before all others in the order of ids.
  return { big: nth(0), nth }
}
const known = event()

const load = (tenant: string, first: string, count: number, streams: string): string => `
  insert into eventsourcing.events (tenant_id, position, aggregate_type, aggregate_id, version, event_id, event_type,
    schema_version, occurred_at, recorded_at, correlation_id, metadata, payload, bytes)
  select t.tenant_id, n, 'Case', s.id, row_number() over (partition by t.tenant_id, s.id order by n),
    gen_random_uuid(), case when n = 30000 then 'Only' when n % 100 = 0 then 'Rare' else 'Happened' end, 1, now(),
    timestamptz '2020-01-01' + n * interval '1 second', 'c', '{}', ('{"text":"' || repeat('x', 100) || '"}')::json, 113
  from ${tenant} t(tenant_id), generate_series(${first}, ${count}) n, lateral (select ${streams} as id) s`

/** A tenant with 60,000 events, 20,000 of them in one stream. */
const loadBig = ({ big }: Tenants): ReadonlyArray<string> => [
  load(`(values ('${big}'::uuid))`, "2", 60_000, "case when n % 3 = 0 then 'hot' else 'case ' || n / 10 end"),
  `select eventsourcing.summarise_blocks('${big}', 1, 60001)`
]

/** The same tenant, and 400 tenants with 100 events each. */
const loadAll = ({ big, nth }: Tenants): ReadonlyArray<string> => [
  ...loadBig({ big, nth }),
  `insert into eventsourcing.tenants (tenant_id)
    select ('${nth(0).slice(0, -4)}' || lpad(n::text, 4, '0'))::uuid from generate_series(1, 400) n`,
  load(
    `(select tenant_id from eventsourcing.tenants where tenant_id between '${nth(1)}' and '${nth(400)}')`,
    "1",
    100,
    "'case ' || n / 10"
  )
]

/** An operation, and the number of index entries that it may read. */
const operations = ({
  big,
  nth
}: Tenants): ReadonlyArray<
  readonly [what: string, atMost: number, Effect.Effect<unknown, unknown, EventStorage>]
> => {
  const accessed = <A, E>(run: (accessId: string) => Effect.Effect<A, E, EventStorage>) =>
    Effect.flatMap(access, run)
  const time = {
    recordedFrom: Date.parse("2020-01-01T08:00:00Z"),
    recordedBefore: Date.parse("2020-01-01T09:00:00Z")
  }
  const behind = (type: string) => ({ query: [{ eventTypes: [type], tags: [] }], after: 59_900 })
  const [neverBehind, happenedBehind] = [behind("Never"), behind("Happened")]
  const backwards = { direction: "backwards", limit: 10 } as const
  const rare = { eventTypes: ["Rare"], aggregateTypes: ["Case"] }
  const manyAppends = Array.from({ length: 20 }, (_, index) =>
    request(nth(100 + (index % 10)), stream("new", events(2)), stream("case 5", events(1), "streamExists"))
  )
  return [
    ["the version of a long stream", 3, version(big, "hot")],
    ["the version of a stream that does not exist", 3, version(big, "none")],
    ["the position of a long log", 3, position(big)],
    ["the position of an unknown tenant", 3, position(newTenant())],
    ["a page within a long stream", 15, readStream(big, "hot", { fromVersion: 9_000, limit: 10 })],
    ["the same backwards", 15, readStream(big, "hot", { toVersion: 9_000, ...backwards })],
    ["the end of a long stream", 15, readStream(big, "hot", backwards)],
    [
      "what is folded of a long stream",
      15,
      loadStream(big, "hot", { fromVersion: 9_000, toVersion: 20_000, limit: 10 })
    ],
    [
      "what is folded of many streams at once",
      500,
      Effect.forEach(
        Array.from({ length: 20 }, (_, index) => index),
        (index) =>
          index % 2 === 0
            ? loadStream(big, "hot", { fromVersion: 9_000 + index, toVersion: 20_000, limit: 10 })
            : loadStream(nth(100 + index), "case 5", { fromVersion: 1, toVersion: 20_000, limit: 10 }),
        { concurrency: "unbounded" }
      )
    ],
    [
      "the end of a long stream that a state is compared with",
      5,
      endsWith(big, "hot", 20_000, known.eventId)
    ],
    [
      "the ends of many streams at once",
      60,
      Effect.forEach(
        Array.from({ length: 20 }, (_, index) => index),
        (index) => endsWith(index % 2 === 0 ? big : nth(100 + index), "case 5", 10, known.eventId),
        { concurrency: "unbounded" }
      )
    ],
    ["a page within a long log", 15, readLog(big, { fromPosition: 30_000, limit: 10 })],
    // A thousand events, and the head of the log.
    [
      "a part of a long log that is opened",
      1_010,
      readOpened(big, { fromPosition: 30_001, toPosition: 31_000, ...rare })
    ],
    // First the positions, then the events.
    ["the same backwards", 30, readLog(big, { toPosition: 30_000, ...backwards })],
    ["the end of a long log", 30, readLog(big, backwards)],
    [
      "a page of a long log that matches a query",
      30,
      readLog(big, { query: [{ eventTypes: ["Happened"], tags: [] }], limit: 10 })
    ],
    // Two binary searches of 16 steps.
    ["a page of a time", 60, readLog(big, { ...time, limit: 10 })],
    ["the rare types of a short log", 120, readLog(nth(200), rare)],
    ["a new stream in a long log", 10, append(big, stream("new", events(2), 0))],
    ["the next events of a long stream", 10, append(big, stream("hot", events(2), "streamExists"))],
    ["a conflict on a long stream", 10, flipped(append(big, stream("hot", events(2), 1)))],
    [
      // The 100 events behind its position, and the append.
      "a condition by types alone that is met",
      115,
      batch({ ...request(big, stream("conditional", events(1))), conditions: [neverBehind] })
    ],
    [
      // Up to the first such event, which is looked at again for the item that it matches.
      "a condition by types alone that fails",
      115,
      batch({ ...request(big, stream("conditional", events(1))), conditions: [happenedBehind] })
    ],
    [
      // The rows of 58 full blocks, and the events beside them.
      "a condition on a type that a long log does not have",
      1_500,
      batch({
        ...request(big, stream("conditional", events(1))),
        conditions: [{ query: [{ eventTypes: ["Never"], tags: [] }], after: 0 }]
      })
    ],
    [
      "the only event of a type in a long log",
      2_000,
      readLog(big, { query: [{ eventTypes: ["Only"], tags: [] }], ...backwards })
    ],
    ["an append again", 10, append(big, stream("first", [known], 0))],
    ["a batch of 20 appends of 10 tenants", 200, batch(...manyAppends)],
    [
      "a page of all logs",
      20,
      accessed((accessId) =>
        EventStorage.use((storage) =>
          storage.readAllLogs({ accessId, after: { tenantId: nth(200), position: 95 }, limit: 10 })
        )
      )
    ],
    [
      "a page of the tenants with their heads",
      30,
      accessed((accessId) =>
        EventStorage.use((storage) => storage.listTenants({ accessId, after: nth(200), limit: 10 }))
      )
    ],
    [
      // Its 100 events, two binary searches of 7 steps, and a look for the next day.
      "the usage of a tenant on a day",
      150,
      accessed((accessId) =>
        EventStorage.use((storage) =>
          storage.usage({
            accessId,
            // In UTC, independent of the time zone of the server.
            recordedFrom: Date.parse("2019-12-31"),
            recordedBefore: Date.parse("2020-01-03"),
            after: { tenantId: nth(199), day: Date.parse("2020-01-02") },
            limit: 1
          })
        )
      )
    ],
    [
      // The head of each log.
      "the usage of a time in which nothing was recorded",
      450,
      accessed((accessId) =>
        EventStorage.use((storage) =>
          storage.usage({
            accessId,
            recordedFrom: Date.parse("9000-01-01"),
            recordedBefore: Date.parse("9000-01-02"),
            after: undefined,
            limit: 10
          })
        )
      )
    ]
  ]
}

const storeOn = (database: Database) =>
  Layer.build(
    Layer.fresh(
      PgStorage.layer.pipe(
        Layer.provideMerge(PgClient.layer({ ...database.app, maxConnections: 1 })),
        Layer.orDie
      )
    )
  )

interface Scans {
  readonly sequential: number
  readonly looked: number
}

/** The counters of the server, including the last work of the store's only connection. */
const scans = Effect.fnUntraced(function* (store: Context.Context<Store>, owner: SqlClient.SqlClient) {
  yield* SqlClient.SqlClient.use((sql) => sql`select pg_stat_force_next_flush()`).pipe(
    Effect.provideContext(store)
  )
  const [row] = yield* owner<Scans>`
    select (select sum(seq_scan) from pg_stat_user_tables where schemaname = 'eventsourcing' and relname = 'events')::integer
        as sequential,
      (select sum(idx_tup_read) from pg_stat_user_indexes where schemaname = 'eventsourcing' and relname = 'events')::integer
        as looked`
  return row ?? assert.fail("no statistics")
})

describe.each(servers)("on $name", ({ freshDatabase }) => {
  it.live.each([
    ["planned when the store was empty", "empty"],
    ["planned for many tenants", "many"],
    ["planned for one tenant alone", "one"],
    ["planned without statistics, where costs speak for sorting", "unknown"]
  ] as const)("every statement goes through an index, %s", ([, planned]) =>
    Effect.gen(function* () {
      const database = yield* freshDatabase
      const owner = Context.get(
        yield* Layer.build(Layer.fresh(PgClient.layer({ ...database.owner, maxConnections: 1 }))),
        PgClient.PgClient
      )
      // Statistics change only when the test says so, and plans with them.
      yield* owner`alter table eventsourcing.events set (autovacuum_enabled = off)`
      const early = yield* storeOn(database)
      const first = newOnes()
      for (const [, , run] of operations(first)) yield* Effect.ignore(Effect.provideContext(run, early))
      const tenants = newOnes()
      yield* Effect.provideContext(append(tenants.big, stream("first", [known], 0)), early)
      if (planned === "one") {
        yield* owner`delete from eventsourcing.events where tenant_id <> ${tenants.big}`
      }
      for (const statement of planned === "one" ? loadBig(tenants) : loadAll(tenants)) {
        yield* owner.unsafe(statement)
      }
      // Otherwise the server counts this work later, within the operations.
      yield* owner`select pg_stat_force_next_flush()`
      if (planned === "unknown") {
        yield* owner`alter database ${owner(String(database.owner.database))} set random_page_cost = 1000`
      } else if (planned !== "empty") yield* owner`vacuum analyze eventsourcing.events`
      const store = planned === "empty" ? early : yield* storeOn(database)
      for (const [what, atMost, run] of operations(tenants)) {
        const before = yield* scans(store, owner)
        yield* Effect.provideContext(run, store)
        const after = yield* scans(store, owner)
        assert.strictEqual(after.sequential, before.sequential, `${what}: sequential scans`)
        assert.isAtMost(after.looked - before.looked, atMost, `${what}: index entries`)
      }
    })
  )
})
