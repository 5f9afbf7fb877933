/** Isolation cases of the administration of tenants that need the owner of a database, for mutation tests. */
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { uuidV4Unsafe } from "effect/crypto/SecureRandom"
import { AdministrationStorage } from "../../src/driver/AdministrationStorage.ts"
import type { TenantId } from "../../src/domain/Tenant.ts"
import { type Case, test } from "../../src/testing/isolation/kit.ts"
import { lifecycleCases } from "../../src/testing/TenantIsolationSuite.ts"
import {
  administered,
  begun,
  change,
  newToken,
  purge,
  rawEvents
} from "../../src/testing/driver/administrationKit.ts"
import { append, events, newTenant, stream } from "../../src/testing/driver/eventKit.ts"
import { SqlClient } from "effect/sql"
import { type Store, TenantDatabase } from "./tenantDatabase.ts"

/** A tenant whose log is imported, with dead letters and a projection at a position. */
const withWork = Effect.fnUntraced(function* (count: number, letters: number, handled: number) {
  const [tenantId, source] = [newTenant(), newTenant()]
  yield* append(source, stream("one", events(count)))
  const token = yield* begun(tenantId, yield* rawEvents(source))
  const storage = yield* AdministrationStorage
  const at = { ...(yield* administered(tenantId)), token }
  const projection = { projection: "p", version: 1 }
  yield* storage.writeDeadLetters({
    ...at,
    letters: Array.from({ length: letters }, (_, index) => ({
      ...projection,
      position: index + 1,
      eventId: uuidV4Unsafe(),
      error: "no",
      attempts: 1,
      failedAt: 1_700_000_000_000,
      discarded: undefined
    }))
  })
  const failure = { attempts: 0, failedPosition: undefined, error: undefined }
  yield* storage.writeProgress({
    ...at,
    progress: [{ ...projection, ...failure, position: handled, parked: false }]
  })
  return tenantId
})

export const administrationCases: typeof lifecycleCases = [
  ...lifecycleCases,
  test("1: an operator's list of tenants, and the work of one, have the rows of each tenant alone", () =>
    Effect.gen(function* () {
      const storage = yield* AdministrationStorage
      const [mine, theirs] = [yield* withWork(2, 1, 1), yield* withWork(7, 3, 0)]
      const values = { id: 0, head: 2, lastAppend: undefined, deadLetters: 1, distance: 1 }
      for (const order of ["id", "head", "lastAppend", "deadLetters", "distance"] as const) {
        const { accessId } = yield* administered(mine)
        const { rows } = yield* storage.overviews({
          accessId,
          order,
          statuses: undefined,
          prefix: mine,
          after: undefined,
          limit: 9
        })
        const [row] = rows
        assert.lengthOf(rows, 1)
        assert.deepInclude(row, {
          tenantId: mine,
          status: "importing",
          value: values[order] ?? row?.lastAppendAt ?? 0,
          position: 2,
          lastDay: 2,
          deadLetters: 1,
          slowest: { projection: "p", version: 1, distance: 1 }
        })
      }
      const positions = (tenantId: TenantId) =>
        Effect.flatMap(administered(tenantId), (at) =>
          Effect.map(storage.work(at), (rows) => rows.map(({ position }) => position))
        )
      assert.deepStrictEqual(yield* positions(mine), [1])
      assert.deepStrictEqual(yield* positions(theirs), [0])
    }))
]

const table = "public.carried"

/** Makes the table of an application whose rows are carried, once: declaring it again would switch its row-level security on. */
export const carriedTable = `
  do $$
  begin
    if to_regclass('${table}') is null then
      create table ${table} (tenant_id uuid not null, id text not null, note numeric, primary key (tenant_id, id));
      perform eventsourcing.declare_table('${table}', 'carried');
    end if;
  end
  $$`

/** Those that need the owner of a database. */
export const administrationSqlCases: ReadonlyArray<Case<Store | TenantDatabase>> = [
  test("42: carried tables and placements of a tenant are exported, imported and purged alone", () =>
    Effect.gen(function* () {
      const { outside } = yield* TenantDatabase
      const storage = yield* AdministrationStorage
      const sql = yield* SqlClient.SqlClient
      yield* outside(carriedTable)
      const [mine, theirs, third, token] = [newTenant(), newTenant(), newTenant(), newToken()]
      for (const [index, tenantId] of [mine, theirs].entries()) {
        yield* append(tenantId, stream("one", events(1)))
        for (let id = 0; id <= index + 1; id++)
          yield* outside(`insert into ${table} values ($1, $2, 12345678901234567890.5)`, [tenantId, `${id}`])
        const { accessId } = yield* administered(tenantId)
        yield* sql`select eventsourcing.place_tenant(${accessId}::uuid, ${tenantId}::uuid, 'here')`
      }
      const rows = Effect.fnUntraced(function* (tenantId: TenantId) {
        const at = yield* administered(tenantId)
        const first = yield* storage.readTable({ ...at, table, after: undefined, limit: 1 })
        const rest = yield* storage.readTable({ ...at, table, after: first.rows[0] ?? "{}", limit: 10 })
        return [...first.rows, ...rest.rows]
      })
      const kept = yield* rows(theirs)
      assert.lengthOf(kept, 3)
      const given = yield* rows(mine)
      assert.deepStrictEqual(
        given,
        ["0", "1"].map((id) => `{"tenant_id":"${mine}","id":"${id}","note":12345678901234567890.5}`)
      )
      const at = { ...(yield* administered(third)), token }
      yield* storage.changeState({ ...at, change: "beginImport" })
      const found = (tenantId: TenantId) =>
        Effect.flatMap(administered(tenantId), (named) =>
          Effect.map(storage.tables(named), (all) => all.find((one) => one.table === table))
        )
      const declared = { table, handling: "carried", reason: undefined } as const
      assert.deepStrictEqual(yield* found(third), { ...declared, hasRows: false })
      assert.deepStrictEqual(yield* found(mine), { ...declared, hasRows: true })
      for (const replace of [false, false, true])
        yield* storage.writeTable({ ...at, table, rows: given, replace })
      assert.deepStrictEqual(
        yield* rows(third),
        given.map((row) => row.replace(mine, third))
      )
      assert.deepStrictEqual(yield* rows(theirs), kept)
      assert.deepStrictEqual(yield* rows(mine), given)
      const erasure = newToken()
      yield* change(mine, { change: "erase", token: erasure, purgeInMillis: 0 })
      yield* purge(mine, erasure, 1)
      assert.deepStrictEqual(yield* rows(mine), [])
      assert.deepStrictEqual(yield* rows(theirs), kept)
      for (const [tenantId, placement] of [
        [mine, null],
        [theirs, "here"]
      ] as const)
        assert.deepStrictEqual(
          yield* sql`select eventsourcing.tenant_placement(${tenantId}::uuid) as placement`,
          [{ placement }]
        )
      yield* purge(third, token, 100)
      assert.deepStrictEqual(yield* rows(theirs), kept)
    }))
]
