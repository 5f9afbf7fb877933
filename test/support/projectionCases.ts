/**
 * Isolation cases of the SQL functions of projections: work for one tenant must not depend on, or change,
 * data of another tenant under the same names. Together they fail if one predicate on the tenant is missing.
 */
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { uuidV7Unsafe } from "effect/crypto/SecureRandom"
import { randomUUID } from "node:crypto"
import * as PgTenant from "../../src/pg/PgTenant.ts"
import { type Case, test } from "../../src/testing/isolation/kit.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { flipped } from "../../src/testing/failures.ts"

type Sql = Case<SqlClient.SqlClient>

/** Runs in a transaction of the tenant. */
const within = <A extends object>(tenant: Tenant.TenantId, ...statements: ReadonlyArray<string>) =>
  SqlClient.SqlClient.use((sql) =>
    Effect.map(
      Effect.forEach(statements, (statement) => sql.unsafe<A>(statement)),
      (results) => results.flat()
    )
  ).pipe(PgTenant.transaction, Tenant.provide(tenant))

/** A statement on a connection without a bound tenant, as the driver runs them. */
const call = <A extends object>(statement: string) =>
  SqlClient.SqlClient.use((sql) => sql.unsafe<A>(statement))

/** The given number of events from a position on. */
const events = (tenant: Tenant.TenantId, from: number, to: number) =>
  `insert into eventsourcing.events (tenant_id, position, aggregate_type, aggregate_id, version, event_id, event_type,
      schema_version, occurred_at, recorded_at, correlation_id, metadata, payload, bytes)
    select '${tenant}', n, 'Case', 'one', n, gen_random_uuid(), 'Happened', 1, now(), now(), 'x', '{}', '{}', 0
    from generate_series(${from}, ${to}) n`

const tables = [
  "eventsourcing.projections",
  "eventsourcing.dead_letters",
  "eventsourcing.discarded_dead_letters",
  "public.read_model",
  "eventsourcing_rebuild.read_model"
]

/** All rows of a tenant but its log, read without the functions under test. */
const stateOf = (tenant: Tenant.TenantId) =>
  within<{ row: string }>(
    tenant,
    ...tables.map(
      (table) =>
        `select '${table} ' || t::text as row from ${table} t where tenant_id = '${tenant}' order by 1`
    )
  )

/** A live projection and a rebuild, both stopped by a failure, with dead letters and rows in the read model and its twin. */
const seed = (tenant: Tenant.TenantId, projection: string) =>
  within(
    tenant,
    `insert into eventsourcing.projections
      (tenant_id, projection, version, rebuild, position, head, parked, attempts, failed_position, error)
      select '${tenant}', '${projection}', 1, r, 1, 1, true, 1, 2, '${tenant}' from unnest(array[false, true]) r`,
    `insert into eventsourcing.dead_letters
      (tenant_id, projection, version, rebuild, position, event_id, error, attempts, failed_at)
      select '${tenant}', '${projection}', 1, r, p, gen_random_uuid(), '${tenant}', 1, now()
      from unnest(array[false, true]) r, unnest(array[1, 2]) p`,
    `insert into public.read_model values ('${tenant}', 'both', 'live'), ('${tenant}', 'gone', 'live')`,
    `insert into eventsourcing_rebuild.read_model
      values ('${tenant}', 'both', 'rebuilt ${tenant}'), ('${tenant}', 'new', 'rebuilt ${tenant}')`
  )

interface Given {
  readonly mine: Tenant.TenantId
  readonly theirs: Tenant.TenantId
  /** The length of my log. */
  readonly count: number
  readonly projection: string
  /** The arguments of most functions. */
  readonly key: string
}

/** Two tenants with logs of different length, each in the role of the other as well. */
const withLogs = <E, R>(run: (given: Given) => Effect.Effect<void, E, R>) =>
  Effect.forEach(
    [false, true],
    Effect.fnUntraced(function* (reversed) {
      const both = [
        { tenant: yield* Tenant.generate, count: 5 },
        { tenant: yield* Tenant.generate, count: 2 }
      ] as const
      for (const { count, tenant } of both) {
        yield* within(
          tenant,
          `insert into eventsourcing.tenants (tenant_id) values ('${tenant}')`,
          events(tenant, 1, count)
        )
      }
      const [mine, theirs] = reversed ? [both[1], both[0]] : both
      const projection = randomUUID()
      const key = `'${mine.tenant}', '${projection}', 1`
      yield* run({ mine: mine.tenant, theirs: theirs.tenant, count: mine.count, projection, key })
    }),
    { discard: true }
  )

/** A change for one tenant changes only that tenant's rows. */
const alone = <E, R>(name: string, run: (given: Given) => Effect.Effect<void, E, R>, changes = true) =>
  test(`projections in SQL: ${name}`, () =>
    withLogs(
      Effect.fnUntraced(function* (given: Given) {
        const { mine, projection, theirs } = given
        yield* seed(mine, projection)
        yield* seed(theirs, projection)
        const [before, own] = [yield* stateOf(theirs), yield* stateOf(mine)]
        yield* run(given)
        assert.deepStrictEqual(yield* stateOf(theirs), before)
        const after = yield* stateOf(mine)
        if (changes) assert.notDeepEqual(after, own)
        else assert.deepStrictEqual(after, own)
      })
    ))

const headOf = (tenant: Tenant.TenantId, projection: string, rebuild = false) =>
  Effect.map(
    within<{ head: number }>(
      tenant,
      `select head::int from eventsourcing.projections
        where tenant_id = '${tenant}' and projection = '${projection}' and rebuild = ${rebuild}`
    ),
    (rows) => rows.map(({ head }) => head)
  )

/** The cases. They need only a migrated database with the registered read model `public.read_model`. */
export const projectionCases: ReadonlyArray<Sql> = [
  alone(
    "a checkpoint moves",
    Effect.fnUntraced(function* ({ count, key, mine, projection }) {
      const found = yield* call(`select eventsourcing.advance_projection(${key}, false, 2) as head`)
      assert.deepStrictEqual(found, [{ head: count }])
      assert.deepStrictEqual(yield* headOf(mine, projection), [count])
    })
  ),
  alone("a failure is recorded", ({ key }) =>
    Effect.asVoid(
      call(
        `select eventsourcing.fail_projection(${key}, false, 3, 7, 'broken', 'handler', 0, true, null, null, null, null)`
      )
    )
  ),
  alone(
    "the causes of a tenant are its own, and a hundred of them are kept",
    Effect.fnUntraced(function* ({ key, mine, projection, theirs }) {
      const keep = (tenant: Tenant.TenantId, rebuild: boolean, from: number, to: number) =>
        call(`select eventsourcing.keep_failure_cause('${tenant}', '${projection}', 1, ${rebuild}, n, 'handler', null,
          '${tenant}', '') from generate_series(${from}, ${to}) n`)
      const access = uuidV7Unsafe()
      yield* call(`select eventsourcing.record_cross_tenant_access('${access}', 'test', 'test', 'test')`)
      const kept = Effect.forEach([mine, theirs], (tenant) =>
        Effect.map(
          call<{ n: number; live: number; found: boolean }>(
            `select count(*)::int as n, count(*) filter (where not rebuild)::int as live, bool_and(message = '${tenant}') as found
            from eventsourcing.list_projection_failures('${access}', '${tenant}', '${projection}', 1)`
          ),
          ([row]) => row
        )
      )
      for (const tenant of [mine, theirs]) yield* keep(tenant, false, 1, 60)
      yield* keep(mine, true, 1, 60)
      yield* call(
        `select eventsourcing.fail_projection(${key}, false, 61, 7, 'x', 'handler', 0, true, null, null, '${mine}', '')`
      )
      assert.deepStrictEqual(yield* kept, [
        { n: 121, live: 61, found: true },
        { n: 60, live: 60, found: true }
      ])
      yield* keep(mine, false, 62, 140)
      assert.deepStrictEqual(yield* kept, [
        { n: 160, live: 100, found: true },
        { n: 60, live: 60, found: true }
      ])
    })
  ),
  alone("an event is put aside", ({ key }) =>
    Effect.asVoid(
      call(`select eventsourcing.add_dead_letter(${key}, false, 3, gen_random_uuid(), 'broken', 1)`)
    )
  ),
  alone(
    "dead letters are listed",
    Effect.fnUntraced(function* ({ key, mine }) {
      const found = yield* call(
        `select "position", error from eventsourcing.list_dead_letters(${key}, 0, 100)`
      )
      assert.deepStrictEqual(found, [
        { position: 1, error: mine },
        { position: 2, error: mine }
      ])
    }),
    false
  ),
  ...["null", "'a reason'"].map((reason) =>
    alone(
      `a dead letter is removed: ${reason}`,
      Effect.fnUntraced(function* ({ key }) {
        for (const removed of [true, false]) {
          const found = yield* call(
            `select eventsourcing.remove_dead_letter(${key}, 1, ${reason}) as removed`
          )
          assert.deepStrictEqual(found, [{ removed }])
        }
      })
    )
  ),
  alone(
    "progress is read",
    Effect.fnUntraced(function* ({ count, key, mine }) {
      const found = yield* call(
        `select head, error, oldest_unprocessed is null as idle from eventsourcing.projection_status(${key})`
      )
      const row = { head: count, error: mine, idle: false }
      assert.deepStrictEqual(found, [row, row])
    }),
    false
  ),
  alone(
    "a parked projection is resumed",
    Effect.fnUntraced(function* ({ key }) {
      for (const resumed of [true, false]) {
        const found = yield* call(`select eventsourcing.resume_projection(${key}) as resumed`)
        assert.deepStrictEqual(found, [{ resumed }])
      }
    })
  ),
  alone(
    "a projection is paused, also before its first event",
    Effect.fnUntraced(function* ({ count, key, mine, projection }) {
      const paused = (of: string) =>
        call<{ paused: boolean }>(`select eventsourcing.pause_projection(${of}, 'paused') as paused`)
      // it is parked until it is resumed already
      assert.deepStrictEqual(yield* paused(key), [{ paused: false }])
      const other = `${projection} 2`
      for (const expected of [true, false])
        assert.deepStrictEqual(yield* paused(`'${mine}', '${other}', 1`), [{ paused: expected }])
      assert.deepStrictEqual(yield* headOf(mine, other), [count])
      // nobody is registered by a pause
      assert.deepStrictEqual(yield* paused(`'${randomUUID()}', '${projection}', 1`), [{ paused: false }])
    })
  ),
  alone(
    "a rebuild starts",
    Effect.fnUntraced(function* ({ count, key, mine, projection }) {
      yield* call(`select eventsourcing.start_rebuild(${key})`)
      assert.deepStrictEqual(yield* headOf(mine, projection, true), [count])
    })
  ),
  alone("a rebuild is told which twins it fills", ({ key }) =>
    Effect.asVoid(call(`select eventsourcing.bind_rebuild(${key}, 'others')`))
  ),
  alone(
    "a rebuild is cancelled",
    Effect.fnUntraced(function* ({ key, mine, projection }) {
      for (const cancelled of [true, false]) {
        const found = yield* call(`select eventsourcing.cancel_rebuild(${key}) as cancelled`)
        assert.deepStrictEqual(found, [{ cancelled }])
      }
      assert.deepStrictEqual(yield* headOf(mine, projection, true), [])
    })
  ),
  alone("the twins are emptied", ({ mine }) =>
    Effect.asVoid(within(mine, `select eventsourcing.clear_rebuild('${mine}', array['read_model'])`))
  ),
  alone(
    "the live read model is locked",
    Effect.fnUntraced(function* ({ key }) {
      const found = yield* call(`select eventsourcing.lock_live_projection(${key}) as "position"`)
      assert.deepStrictEqual(found, [{ position: 1 }])
    }),
    false
  ),
  alone(
    "a rebuild ends",
    Effect.fnUntraced(function* ({ count, key, mine, projection }) {
      yield* call(`select eventsourcing.finish_rebuild(${key}, 2)`)
      assert.deepStrictEqual(yield* headOf(mine, projection), [count])
    })
  ),
  alone(
    "the rebuilt rows replace the live ones",
    Effect.fnUntraced(function* ({ key, mine }) {
      yield* within(mine, `select eventsourcing.switch_rebuild(${key}, array['read_model'], 2)`)
      const found = yield* within(
        mine,
        `select id, value from public.read_model where tenant_id = '${mine}' order by id`
      )
      const value = `rebuilt ${mine}`
      assert.deepStrictEqual(found, [
        { id: "both", value },
        { id: "new", value }
      ])
    })
  ),
  test("projections in SQL: an announcement concerns only the announced tenants", () =>
    withLogs(
      Effect.fnUntraced(function* ({ count, mine, projection, theirs }) {
        yield* call(`select eventsourcing.register_projection('${projection}', 1, '{}')`)
        const announce = Effect.map(
          call(`select eventsourcing.announce(array['${mine}']::uuid[])::text[] as held`),
          (rows) => assert.deepStrictEqual(rows, [{ held: [] }])
        )
        yield* announce
        assert.deepStrictEqual(yield* headOf(theirs, projection), [])
        yield* within(
          theirs,
          `insert into eventsourcing.projections (tenant_id, projection, version, rebuild)
            values ('${theirs}', '${projection}', 1, false)`
        )
        yield* within(mine, events(mine, count + 1, count + 1))
        yield* announce
        assert.deepStrictEqual(yield* headOf(mine, projection), [count + 1])
        assert.deepStrictEqual(yield* headOf(theirs, projection), [0])
      })
    )),
  test("projections in SQL: a rebuild of all tenants has the head and the position of each", () =>
    withLogs(
      Effect.fnUntraced(function* ({ count, mine, projection, theirs }) {
        const access = uuidV7Unsafe()
        yield* call(`select eventsourcing.record_cross_tenant_access('${access}', 'test', 'test', 'test')`)
        const key = `'${access}', '${projection}', 1`
        yield* call(`select eventsourcing.register_projection('${projection}', 1, '{}')`)
        yield* call(`select eventsourcing.announce(array['${mine}', '${theirs}']::uuid[])`)
        yield* call(`select eventsourcing.begin_shared_rebuild(${key}, false)`)
        assert.deepStrictEqual(yield* headOf(mine, projection, true), [count])
        assert.deepStrictEqual(yield* headOf(theirs, projection, true), [7 - count])
        const moved = (tenant: Tenant.TenantId, rebuild: boolean, position: number) =>
          within(
            tenant,
            `update eventsourcing.projections set position = ${position} where tenant_id = '${tenant}'
              and projection = '${projection}' and rebuild = ${rebuild}`
          )
        yield* moved(mine, false, count)
        yield* moved(theirs, true, 7 - count)
        const lag = Effect.map(
          call<{ lag: number }>(`select eventsourcing.shared_rebuild_lag(${key})::int as lag`),
          ([row]) => row?.lag
        )
        assert.strictEqual(yield* lag, count)
        yield* moved(mine, true, count)
        assert.strictEqual(yield* lag, 0)
        yield* call(`select eventsourcing.finish_shared_rebuild(${key})`)
        for (const [tenant, position] of [
          [mine, count],
          [theirs, 7 - count]
        ] as const) {
          const found = yield* within<{ position: number }>(
            tenant,
            `select position::int from eventsourcing.projections
              where tenant_id = '${tenant}' and projection = '${projection}'`
          )
          assert.deepStrictEqual(found, [{ position }])
        }
      })
    )),
  test("projections in SQL: a tenant's transaction announces only its own tenant", () =>
    withLogs(
      Effect.fnUntraced(function* ({ mine, theirs }) {
        yield* within(mine, `select eventsourcing.announce(array['${mine}']::uuid[])`)
        for (const tenants of [`array['${theirs}']`, `array['${mine}', '${theirs}']`, "null", "'{}'"]) {
          const error = yield* flipped(within(mine, `select eventsourcing.announce(${tenants}::uuid[])`))
          assert.include(String("reason" in error ? error.reason.cause : error), "bound to another tenant")
        }
      })
    )),
  test("projections in SQL: a projection from now on starts at the end of each log", () =>
    withLogs(
      Effect.fnUntraced(function* ({ count, mine, projection, theirs }) {
        yield* call(`select eventsourcing.register_projection('${projection}', 1, '{}', true)`)
        assert.deepStrictEqual(yield* headOf(mine, projection), [count])
        assert.deepStrictEqual(yield* headOf(theirs, projection), [7 - count])
      })
    )),
  test("projections in SQL: the backlog counts every tenant once", () =>
    withLogs(
      Effect.fnUntraced(function* ({ mine, projection, theirs }) {
        yield* call(`select eventsourcing.register_projection('${projection}', 1, '{}')`)
        yield* call(`select eventsourcing.announce(array['${mine}', '${theirs}']::uuid[])`)
        const found = yield* call(
          `select pending, parked from eventsourcing.projection_backlog(array['${projection}'], array[1])`
        )
        assert.deepStrictEqual(found, [{ pending: 7, parked: 0 }])
      })
    )),
  test("projections in SQL: an expired key is removed, and not another tenant's key of the same name", () =>
    withLogs(
      Effect.fnUntraced(function* ({ mine, projection, theirs }) {
        for (const [tenant, expiry] of [
          [mine, "- interval '1 second'"],
          [theirs, "+ interval '1 hour'"]
        ] as const)
          yield* within(
            tenant,
            `insert into eventsourcing.command_keys
              values ('${tenant}', '${projection}', 'f', 'a', 'b', 1, 1, 1, now(), now() ${expiry})`
          )
        yield* call("select eventsourcing.remove_expired_keys(1000)")
        const kept = (tenant: Tenant.TenantId) =>
          within(
            tenant,
            `select key from eventsourcing.command_keys where tenant_id = '${tenant}' and key = '${projection}'`
          )
        assert.isEmpty(yield* kept(mine))
        assert.lengthOf(yield* kept(theirs), 1)
      })
    ))
]
