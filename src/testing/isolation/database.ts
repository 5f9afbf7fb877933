/**
 * Cases on the PostgreSQL database behind a store, with raw SQL on the client of the store: row-level security, and state
 * that raw SQL leaves behind.
 */
import { assert } from "@effect/vitest"
import { Effect, Option, References, Result } from "effect"
import { SqlClient, type SqlConnection, SqlError } from "effect/sql"
import { sqlState } from "../../pg/sqlErrors.ts"
import * as PgTenant from "../../pg/PgTenant.ts"
import * as Tenant from "../../domain/Tenant.ts"
import { hostile } from "./input.ts"
import { as, type Case, log, observe, type Services, test, texts, withNeighbour, write } from "./kit.ts"
import { mismatches } from "../failures.ts"

/** The SQLSTATE of a refused statement; undefined if it succeeds. */
const refusal = (statement: string) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) =>
    Effect.map(Effect.result(sql.withTransaction(sql.unsafe(statement))), (result) =>
      Result.isFailure(result) && SqlError.isSqlError(result.failure) ? sqlState(result.failure) : undefined
    )
  )

/** Runs raw SQL as the role of tenants, in a transaction that is bound to a tenant or to none. */
const asTenantRole = <A, E, R>(tenant: Tenant.TenantId | undefined, body: Effect.Effect<A, E, R>) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) =>
    sql.withTransaction(
      Effect.andThen(
        sql`select set_config('role', 'eventsourcing_tenant', true),
          set_config('eventsourcing.tenant_id', ${tenant ?? ""}, true)`,
        body
      )
    )
  )

/** Runs statements on a clean connection and returns it to the pool as they leave it. */
const leave = (...statements: ReadonlyArray<string>) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) =>
    Effect.scoped(
      Effect.flatMap(sql.reserve, (connection: SqlConnection.Connection) =>
        Effect.forEach(
          ["rollback", "reset all", ...statements],
          (statement) => connection.executeUnprepared(statement, [], undefined),
          { discard: true }
        )
      )
    )
  )

const insertFor = (tenant: Tenant.TenantId) =>
  `insert into eventsourcing.events (tenant_id, position, aggregate_type, aggregate_id, version, event_id, event_type,
    schema_version, occurred_at, recorded_at, correlation_id, metadata, payload, bytes)
  values ('${tenant}', 1000, 'x', 'x', 1, '${tenant}', 'x', 1, now(), now(), 'x', '{}', '{}', 0)`

/** The cases. */
export const database: ReadonlyArray<Case<Services | SqlClient.SqlClient>> = [
  test("35: the next user of a session does not find what a tenant's SQL left on it", () =>
    withNeighbour(
      Effect.fnUntraced(function* (mine, theirs) {
        const sql = yield* SqlClient.SqlClient
        const leaving = Effect.forEach(
          [
            "create temp table if not exists staging as select 'secret' as v",
            "prepare mine as select 'secret'",
            "select set_config('isolation.secret', 'secret', false)",
            "select pg_advisory_lock(4711)"
          ],
          (statement) => sql.unsafe(statement).unprepared,
          { discard: true }
        )
        for (const left of [leaving, Effect.andThen(leaving, Effect.fail("no"))]) {
          yield* Effect.exit(PgTenant.transaction(left).pipe(as(mine)))
          const [found] = yield* PgTenant.transaction(sql`
            select to_regclass('pg_temp.staging')::text as staging,
              (select count(*)::int4 from pg_prepared_statements where from_sql) as prepared,
              nullif(current_setting('isolation.secret', true), '') as secret,
              (select count(*)::int4 from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) as locks`).pipe(
            as(theirs)
          )
          assert.deepStrictEqual(found, { staging: null, prepared: 0, secret: null, locks: 0 })
        }
      })
    )),

  test("2: without a tenant the database shows no rows and accepts none", () =>
    withNeighbour(
      Effect.fnUntraced(function* (mine) {
        const sql = yield* SqlClient.SqlClient
        for (const table of ["tenants", "events"]) {
          const rows = yield* asTenantRole(undefined, sql.unsafe(`select * from eventsourcing.${table}`))
          assert.deepStrictEqual(rows, [], table)
        }
        assert.strictEqual(yield* asTenantRole(undefined, refusal(insertFor(mine))), "42501")
      })
    )),

  test("1: with a tenant the database shows and accepts the rows of that tenant only", () =>
    withNeighbour(
      Effect.fnUntraced(function* (mine, theirs) {
        const sql = yield* SqlClient.SqlClient
        const seen = yield* asTenantRole(
          mine,
          sql<{ tenant: string; events: number }>`
            select tenant_id as tenant, count(*)::integer as events from eventsourcing.events group by tenant_id`
        )
        assert.deepStrictEqual(seen, [{ tenant: mine, events: (yield* log().pipe(as(mine))).length }])
        const known = yield* asTenantRole(
          mine,
          sql<{ tenant: string }>`select tenant_id as tenant from eventsourcing.tenants`
        )
        assert.deepStrictEqual(known, [{ tenant: mine }])
        assert.strictEqual(yield* asTenantRole(mine, refusal(insertFor(theirs))), "42501")
        for (const statement of [
          "update eventsourcing.events set payload = '{}'",
          "delete from eventsourcing.events",
          "truncate eventsourcing.events",
          "update eventsourcing.tenants set status = 'suspended'"
        ]) {
          assert.strictEqual(yield* asTenantRole(mine, refusal(statement)), "42501", statement)
        }
      })
    )),

  test("4: the database refuses an invalid tenant id", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      for (const text of ["", "*", "%", "' or true --", "0190c5a0"]) {
        const result = yield* Effect.result(sql`select eventsourcing.log_head(${text}::text::uuid, null)`)
        assert.isTrue(Result.isFailure(result) && sqlState(result.failure) === "22P02", text)
      }
      const result = yield* Effect.result(sql`select eventsourcing.log_head(null, null)`)
      assert.isTrue(Result.isFailure(result) && sqlState(result.failure) === "ES002")
    })),

  test("5: a transaction opened by the program serves one tenant", () =>
    withNeighbour(
      Effect.fnUntraced(function* (mine, theirs) {
        const sql = yield* SqlClient.SqlClient
        const before = yield* Effect.all([observe.pipe(as(mine)), observe.pipe(as(theirs))])
        const inSavepoint = sql.withTransaction(write("in a savepoint"))
        for (const second of [
          Effect.asVoid(write("second")),
          Effect.asVoid(log()),
          Effect.asVoid(inSavepoint)
        ]) {
          const error = yield* sql
            .withTransaction(Effect.andThen(write("first").pipe(as(mine)), second.pipe(as(theirs))))
            .pipe(mismatches)
          assert.strictEqual(error.tenantId, theirs)
        }
        assert.deepStrictEqual(yield* Effect.all([observe.pipe(as(mine)), observe.pipe(as(theirs))]), before)
      })
    )),

  test("7: state that raw SQL leaves on a connection affects nobody else", () =>
    withNeighbour(
      Effect.fnUntraced(function* (mine, theirs) {
        const written: Array<string> = []
        for (const [index, left] of [
          [`set eventsourcing.tenant_id to '${theirs}'`],
          ["begin"],
          ["begin", `select eventsourcing.bind_tenant('${theirs}')`],
          [`set eventsourcing.tenant_id to '${theirs}'`, "begin", "savepoint a"]
        ].entries()) {
          yield* leave(...left)
          yield* write(`after ${index}`, { stream: "clean" }).pipe(as(mine))
          written.push(`after ${index}`)
          yield* leave(...left)
          const own = texts(yield* log().pipe(as(mine)))
          assert.deepStrictEqual(own.slice(-written.length), written)
          assert.isTrue(own.slice(0, -written.length).every((text) => String(text).startsWith(mine)))
        }
        yield* leave()
      })
    ).pipe(Effect.provideService(References.CurrentLoggers, new Set()))),

  test("19: a forged announcement changes nothing, and tells a tenant nothing about another", () =>
    withNeighbour(
      Effect.fnUntraced(function* (mine, theirs) {
        const sql = yield* SqlClient.SqlClient
        const before = yield* Effect.all([observe.pipe(as(mine)), observe.pipe(as(theirs))])
        for (const payload of ["", theirs, `{"tenant_id":"${theirs}","head":99}`, "'; drop table pwned"])
          yield* sql`select pg_notify('eventsourcing', ${payload})`
        const announced = asTenantRole(
          mine,
          sql`select unnest(eventsourcing.announce(array[${theirs}]::uuid[])) as tenant`
        )
        const result = yield* Effect.result(announced)
        assert.isTrue(
          Result.isFailure(result) &&
            SqlError.isSqlError(result.failure) &&
            sqlState(result.failure) === "ES001"
        )
        assert.deepStrictEqual(yield* Effect.all([observe.pipe(as(mine)), observe.pipe(as(theirs))]), before)
      })
    )),

  test("22: no text has created a table", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const tenant = yield* Tenant.generate
      for (const text of hostile) yield* write(text, { stream: text, actor: text }).pipe(as(tenant))
      const [found] = yield* sql<{ pwned: string | null }>`select to_regclass('pwned')::text as pwned`
      assert.deepStrictEqual(Option.fromNullishOr(found?.pwned), Option.none())
    })),

  test("28: recorded times never go back, even if the clock of the database does", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const tenant = yield* Tenant.generate
      yield* write("now").pipe(as(tenant))
      const future = insertFor(tenant)
        .replace("1000", "2")
        .replace("now(), now()", "now(), date_trunc('milliseconds', now() + interval '1 hour')")
      yield* asTenantRole(tenant, sql.unsafe(future))
      yield* write("an hour earlier").pipe(as(tenant))
      const recorded = (yield* log().pipe(as(tenant))).map(({ recordedAt }) => recordedAt.epochMilliseconds)
      assert.lengthOf(recorded, 3)
      assert.isBelow(recorded[0] ?? Infinity, recorded[1] ?? 0)
      assert.strictEqual(recorded[2], recorded[1])
    }))
]
