/** Further data of tenants in separate databases: snapshots, outcomes of commands, hash chains, usage. */
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Effect, Layer, Stream } from "effect"
import * as Decisions from "../../src/store/Decisions.ts"
import * as HashChain from "../../src/store/HashChain.ts"
import * as PgTenant from "../../src/pg/PgTenant.ts"
import * as Repository from "../../src/store/Repository.ts"
import * as SnapshotPolicy from "../../src/domain/SnapshotPolicy.ts"
import { SnapshotStorage } from "../../src/driver/SnapshotStorage.ts"
import type { ReadError } from "../../src/driver/StoreError.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as TenantRegistry from "../../src/store/TenantRegistry.ts"
import { failsWith } from "../../src/testing/isolation/kit.ts"
import { servers } from "../support/Databases.ts"
import { enrol, offer } from "../support/enrolment.ts"
import type { Place } from "../support/silo.ts"
import { acrossTenants, moved, setup, silent } from "../support/siloTenants.ts"
import {
  adds,
  counted,
  enter,
  enterAll,
  entered,
  kept,
  keyOf,
  Ledger,
  load,
  plant,
  snapshotAt,
  stateAfter,
  withRepository
} from "../support/snapshots.ts"
import { flipped, mismatches } from "../../src/testing/failures.ts"
import * as Telemetry from "../../src/telemetry/Telemetry.ts"

const everyVersion = { policy: SnapshotPolicy.every(1) }
const atOnce = { ...everyVersion, taken: "atOnce" } as const

const days = (count: number) => DateTime.makeUnsafe(Date.now() + count * 86_400_000)

/** The tenants with rows in a table of a database. */
const tenantsIn = ({ outside }: Place, table: string) =>
  Effect.map(
    outside<{ id: string }>(`select distinct tenant_id::text as id from eventsourcing.${table} order by 1`),
    (rows) => rows.map(({ id }) => id)
  )

for (const server of servers) {
  describe(`further data in silos on ${server.name}`, () => {
    it.live(
      "9: each tenant's snapshots are only in its own database, taken in the background or at once",
      () =>
        Effect.gen(function* () {
          const { a, b, inPool, place, store, tenants } = yield* setup(server)
          yield* Effect.gen(function* () {
            for (const [index, tenant] of tenants.entries()) {
              yield* enterAll([index]).pipe(Tenant.provide(tenant))
            }
            for (const snapshots of [everyVersion, atOnce]) {
              // The workers belong to the layer, which is built without a tenant, or under an unrelated one.
              yield* Effect.forEach(tenants, (tenant) =>
                Effect.exit(enter(7)).pipe(Tenant.provide(tenant))
              ).pipe(withRepository(snapshots), Tenant.provide(yield* Tenant.generate))
              for (const [index, tenant] of tenants.entries()) {
                const amounts = snapshots === atOnce ? [index, 7, 7] : [index, 7]
                yield* Effect.gen(function* () {
                  assert.strictEqual((yield* kept())?.version, amounts.length)
                  const hits = counted(Telemetry.snapshotHits)
                  const loading = load().pipe(withRepository({ ...atOnce, policy: () => false }))
                  assert.strictEqual(yield* adds(hits, loading), 1)
                  assert.deepStrictEqual((yield* loading).state, stateAfter(amounts))
                }).pipe(Tenant.provide(tenant))
              }
            }
          }).pipe(Effect.provide(store()))
          for (const [placement, tenant] of [
            ["pool", inPool],
            ["silo-a", a],
            ["silo-b", b]
          ] as const)
            assert.deepStrictEqual(yield* tenantsIn(place(placement), "snapshots"), [tenant])
        }).pipe(Effect.scoped)
    )

    it.live(
      "9: a snapshot belongs to the transaction in which it is taken, of one database and one tenant",
      () =>
        Effect.gen(function* () {
          const { a, b, store } = yield* setup(server)
          yield* Effect.gen(function* () {
            yield* enterAll([1]).pipe(Tenant.provide(a))
            yield* enter(2).pipe(
              Effect.tap(Effect.map(kept(), (row) => assert.strictEqual(row?.version, 2))),
              Effect.andThen(Effect.fail("undone")),
              PgTenant.transaction,
              Effect.ignore,
              Tenant.provide(a)
            )
            assert.isUndefined(yield* kept().pipe(Tenant.provide(a)))
            yield* enter(2).pipe(PgTenant.transaction, Tenant.provide(a))
            const key = yield* keyOf().pipe(Tenant.provide(b))
            const theirs = yield* kept().pipe(Tenant.provide(a))
            assert(theirs?.version === 2)
            const storage = yield* SnapshotStorage
            yield* Effect.gen(function* () {
              const attempts: ReadonlyArray<Effect.Effect<unknown, ReadError>> = [
                storage.load(key),
                storage.save({ ...key, ...theirs }),
                storage.remove(key)
              ]
              for (const attempt of attempts) {
                const inTransaction = PgTenant.transaction(Effect.exit(attempt)).pipe(Tenant.provide(a))
                assert.strictEqual((yield* mismatches(inTransaction)).tenantId, b)
              }
            })
          }).pipe(withRepository(atOnce), Effect.provide(store()))
        }).pipe(Effect.scoped)
    )

    it.live(
      "9: a directory that sends a tenant to another one's database finds no snapshot there, and leaves none",
      () =>
        Effect.gen(function* () {
          const { a, b, entries, place, store } = yield* setup(server)
          yield* Effect.gen(function* () {
            yield* enterAll([1]).pipe(Tenant.provide(b))
            yield* enterAll([1]).pipe(Tenant.provide(a))
            const snapshot = yield* snapshotAt(1).pipe(Tenant.provide(a))
            yield* plant(snapshot).pipe(Tenant.provide(a))
            entries.set(a, "silo-b")
            yield* moved(a)
            const key = yield* keyOf().pipe(Tenant.provide(a))
            const storage = yield* SnapshotStorage
            const attempts: ReadonlyArray<Effect.Effect<unknown, ReadError>> = [
              storage.load(key),
              storage.save({ ...key, ...snapshot }),
              storage.remove(key)
            ]
            for (const attempt of attempts) {
              assert.deepInclude(yield* flipped(attempt), {
                _tag: "StorageUnavailable",
                code: "UnknownTenant",
                retryable: false
              })
            }
            assert.deepStrictEqual(yield* tenantsIn(place("silo-b"), "snapshots"), [])
            assert.deepStrictEqual(yield* tenantsIn(place("silo-a"), "snapshots"), [a])
          }).pipe(Effect.provide(store()))
        }).pipe(silent, Effect.scoped)
    )

    it.live("8: decisions, commands, hash chains and usage work on the tenant's own database", () =>
      Effect.gen(function* () {
        const { a, b, inPool, place, store, tenants } = yield* setup(server)
        const services = Layer.mergeAll(Decisions.layer, Repository.layer).pipe(Layer.provideMerge(store()))
        yield* Effect.gen(function* () {
          const { execute } = yield* Repository.Repository
          const registry = yield* TenantRegistry.TenantRegistry
          for (const [index, tenant] of tenants.entries()) {
            yield* Effect.gen(function* () {
              // one seat in each of them
              yield* offer("course", 1)
              yield* enrol("course", "ada")
              assert.strictEqual((yield* enrol("course", "bob").pipe(failsWith("Refused"))).reason, "full")
              yield* HashChain.start
              // the same key, with different content for each
              const command = (amount: number) =>
                execute(Ledger, "1", () => [entered(amount)], { command: { key: "k", content: amount } })
              assert.isFalse((yield* command(index)).replayed)
              assert.isTrue((yield* command(index)).replayed)
              yield* command(index + 1).pipe(failsWith("CommandKeyConflict"))
              yield* enterAll(Array.from({ length: index }, () => 1))
              const { events, head } = yield* HashChain.verify()
              assert.deepStrictEqual([events, head?.position], [index + 1, index + 3])
            }).pipe(Tenant.provide(tenant))
          }
          const used = yield* Stream.runCollect(
            registry.usage({ recordedFrom: days(-2), recordedBefore: days(2) })
          ).pipe(acrossTenants)
          assert.deepStrictEqual(
            tenants.map((tenant) =>
              used.filter(({ tenantId }) => tenantId === tenant).reduce((sum, { events }) => sum + events, 0)
            ),
            [3, 4, 5]
          )
        }).pipe(Effect.provide(services))
        for (const [placement, tenant] of [
          ["pool", inPool],
          ["silo-a", a],
          ["silo-b", b]
        ] as const) {
          for (const table of ["events", "event_tags", "command_keys"])
            assert.deepStrictEqual(yield* tenantsIn(place(placement), table), [tenant], table)
        }
      }).pipe(Effect.scoped)
    )
  })
}
