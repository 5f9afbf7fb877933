/** Isolation cases of the administration of tenants, for mutation tests and for every driver. */
import { assert } from "@effect/vitest"
import { Effect, Exit } from "effect"
import { uuidV4Unsafe } from "effect/crypto/SecureRandom"
import { AdministrationStorage } from "../../src/driver/AdministrationStorage.ts"
import { EventStorage } from "../../src/driver/EventStorage.ts"
import { SnapshotStorage } from "../../src/driver/SnapshotStorage.ts"
import type { TenantId } from "../../src/domain/Tenant.ts"
import {
  as,
  type Case,
  observe,
  type Services,
  test,
  withNeighbour
} from "../../src/testing/isolation/kit.ts"
import {
  administered,
  change,
  newToken,
  purge,
  rawEvents,
  record
} from "../../src/testing/driver/administrationKit.ts"
import {
  append,
  attempt,
  events,
  newTenant,
  plain,
  request,
  stream
} from "../../src/testing/driver/eventKit.ts"
import { SqlClient } from "effect/sql"
import { type Store, TenantDatabase } from "./tenantDatabase.ts"
import { save, snapshot } from "../../src/testing/driver/snapshotKit.ts"

type Needs = Services | AdministrationStorage | SnapshotStorage

const letter = {
  projection: "p",
  version: 1,
  position: 1,
  eventId: uuidV4Unsafe(),
  error: "no",
  attempts: 1,
  failedAt: 1_700_000_000_000
}

/** A tenant with rows of every kind, that an import has written. */
const imported = Effect.fnUntraced(function* (count: number) {
  const [tenantId, source, token] = [newTenant(), newTenant(), newToken()]
  const storage = yield* AdministrationStorage
  yield* append(source, stream("shared-1", events(count, { tags: ["t"] })))
  const at = { ...(yield* administered(tenantId)), token }
  yield* storage.changeState({ ...at, change: "beginImport" })
  const rows = yield* rawEvents(source)
  // in two writes, so that the second continues stored streams
  yield* storage.writeEvents({ ...at, events: rows.slice(0, 1) })
  yield* storage.writeEvents({ ...at, events: rows.slice(1) })
  yield* storage.writeCommandKeys({
    ...at,
    keys: [
      {
        key: "k",
        fingerprint: "f".repeat(64),
        aggregateType: "Case",
        aggregateId: "shared-1",
        version: count,
        position: count,
        events: 1,
        recordedAt: 1_700_000_000_000,
        expiresInMillis: 3_600_000
      }
    ]
  })
  const letters = Array.from({ length: count }, (_, index) => [
    { ...letter, position: index + 1, discarded: undefined },
    { ...letter, position: index + 1, discarded: { at: 1_700_000_000_001, reason: "old" } }
  ]).flat()
  yield* storage.writeDeadLetters({ ...at, letters })
  const progress = [
    {
      projection: "p",
      version: 1,
      position: count,
      parked: false,
      attempts: 0,
      failedPosition: undefined,
      error: undefined
    }
  ]
  yield* storage.writeProgress({ ...at, progress })
  return { at, token, rows }
})

/** Everything that the administration of a tenant shows, without times that pass. */
const shown = Effect.fnUntraced(function* (tenantId: TenantId) {
  const storage = yield* AdministrationStorage
  const at = yield* administered(tenantId)
  const keys = yield* storage.readCommandKeys({ ...at, after: undefined, limit: 100 })
  return {
    record: yield* record(tenantId),
    events: yield* rawEvents(tenantId),
    keys: keys.rows.map(({ expiresInMillis: _passes, ...key }) => key),
    letters: (yield* storage.readDeadLetters({ ...at, after: 0, limit: 100 })).rows,
    progress: yield* storage.readProgress(at)
  }
})

export const administrationCases: ReadonlyArray<Case<Needs>> = [
  test("42: an import writes, and shows, rows of its own tenant only", () =>
    Effect.gen(function* () {
      for (const [one, other] of [
        [3, 5],
        [5, 3]
      ] as const) {
        const first = yield* imported(one)
        const before = yield* shown(first.at.tenantId)
        assert.lengthOf(before.events, one)
        assert.lengthOf(before.keys, 1)
        assert.lengthOf(before.letters, 2 * one)
        assert.lengthOf(before.progress, 1)
        const second = yield* imported(other)
        assert.deepStrictEqual(yield* shown(first.at.tenantId), before)
        const storage = yield* AdministrationStorage
        // an event that continues only another tenant's stream of the same name
        const apart = { ...(yield* administered(newTenant())), token: newToken() }
        yield* storage.changeState({ ...apart, change: "beginImport" })
        const continuing = first.rows.slice(1, 2).map((row) => Object.assign({}, row, { position: 1 }))
        const written = yield* Effect.exit(storage.writeEvents({ ...apart, events: continuing }))
        assert.isTrue(Exit.isFailure(written))
        yield* storage.writeDeadLetters({ ...second.at, letters: [] })
        yield* storage.changeState({
          ...second.at,
          change: "finishImport",
          head: other,
          chainedFrom: undefined,
          status: "active"
        })
        assert.deepStrictEqual(yield* shown(first.at.tenantId), before)
        const { letters, ...rest } = yield* shown(second.at.tenantId)
        assert.deepStrictEqual([letters, rest.record?.position], [[], other])
        yield* purge(first.at.tenantId, first.token, 2)
        assert.deepStrictEqual(yield* shown(second.at.tenantId), { letters, ...rest })
        assert.isUndefined(yield* record(first.at.tenantId))
      }
    })),

  test("42: fence, decision, hold and erasure of a tenant change no other", () =>
    withNeighbour(
      Effect.fnUntraced(function* (mine, theirs) {
        const storage = yield* AdministrationStorage
        const key = { aggregateType: "Case", aggregateId: "kept" }
        for (const tenantId of [mine, theirs]) {
          yield* append(tenantId, stream("kept", events(1)))
          yield* save({ tenantId, ...key }, snapshot(1))
        }
        const waiting = newTenant()
        yield* append(waiting, stream("one", events(2)))
        yield* change(waiting, { change: "erase", token: newToken(), purgeInMillis: 3_600_000 })
        const before = yield* shown(mine)
        const seen = yield* observe.pipe(as(mine))
        const token = newToken()
        const head = (yield* record(theirs))?.position ?? 0
        const fence = { change: "fence", token, expiresInMillis: 60_000, waitMillis: 1000 } as const
        assert.containSubset(yield* change(theirs, fence), { state: { status: "moving", head } })
        yield* change(theirs, { change: "reopen", token })
        yield* change(theirs, { ...fence, expiresInMillis: 0 })
        const { movedTo, tenantStatus } = yield* EventStorage
        assert.strictEqual(yield* tenantStatus(mine), "active")
        assert.strictEqual(yield* tenantStatus(theirs), "active")
        assert.strictEqual((yield* record(theirs))?.state.status, "active")
        assert.strictEqual((yield* record(waiting))?.state.status, "erased")
        const at = yield* administered(theirs)
        yield* storage.setHold({ ...at, reason: "lawsuit" })
        assert.deepStrictEqual(yield* shown(mine), before)
        yield* storage.setHold({ ...at, reason: undefined })
        yield* change(theirs, fence)
        yield* change(theirs, { change: "decide", token, head, to: "b" })
        assert.strictEqual(yield* movedTo(theirs), "b")
        assert.isUndefined(yield* movedTo(mine))
        const erasure = newToken()
        yield* change(theirs, { change: "erase", token: erasure, purgeInMillis: 0 })
        assert.deepStrictEqual(yield* shown(mine), before)
        assert.deepStrictEqual(yield* observe.pipe(as(mine)), seen)
        yield* purge(theirs, erasure, 2)
        assert.deepStrictEqual(yield* shown(mine), before)
        assert.deepStrictEqual(yield* observe.pipe(as(mine)), seen)
        assert.containSubset(yield* record(waiting), {
          position: 2,
          state: { status: "erased", purging: false, purged: false }
        })
        assert.containSubset(yield* record(theirs), {
          position: 0,
          state: { status: "erased", events: head }
        })
        const outcomes = yield* Effect.forEach([mine, theirs], (tenantId) =>
          Effect.map(attempt(request(tenantId, stream("after", events(1)))), plain)
        )
        assert.deepStrictEqual(
          outcomes.map(({ _tag }) => _tag),
          ["Appended", "TenantErased"]
        )
      })
    )),

  test("42: the quota of a tenant is set for it alone, and counts its own events", () =>
    withNeighbour(
      Effect.fnUntraced(function* (mine, theirs) {
        const storage = yield* AdministrationStorage
        const { position: head = 0 } = (yield* record(mine)) ?? {}
        const quota = { rate: { events: head, windowMillis: 3_600_000 } }
        yield* storage.setQuota({ ...(yield* administered(mine)), quota })
        assert.containSubset(yield* record(mine), { quota })
        assert.isUndefined((yield* record(theirs))?.quota)
        assert.isTrue(
          Exit.isFailure(
            yield* Effect.exit(storage.setQuota({ ...(yield* administered(newTenant())), quota }))
          )
        )
        const outcomes = yield* Effect.forEach([mine, theirs], (tenantId) =>
          Effect.map(attempt(request(tenantId, stream("after", events(1)))), plain)
        )
        assert.deepStrictEqual(
          outcomes.map(({ _tag }) => _tag),
          ["QuotaExceeded", "Appended"]
        )
      })
    ))
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
