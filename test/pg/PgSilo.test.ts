/** Tenants in separate databases, beside others that share one. */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schedule, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { EventStorage } from "../../src/driver/EventStorage.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as InlineProjections from "../../src/projection/InlineProjections.ts"
import * as PgSilo from "../../src/pg/PgSilo.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import * as PgTenant from "../../src/pg/PgTenant.ts"
import * as Projection from "../../src/projection/Projection.ts"
import * as ProjectionRunner from "../../src/projection/ProjectionRunner.ts"
import type { TenantId } from "../../src/domain/Tenant.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as TenantRegistry from "../../src/store/TenantRegistry.ts"
import { failsWith } from "../../src/testing/isolation/kit.ts"
import { servers } from "../support/Databases.ts"
import { append, Order, orders, placed, rowsOf } from "../support/projected.ts"
import { admit, databases } from "../support/silo.ts"
import { acrossTenants, ids, insert, moved, names, setup, silent } from "../support/siloTenants.ts"
import { flipped, mismatches, reasonOf } from "../../src/testing/failures.ts"

for (const server of servers) {
  describe(`silos on ${server.name}`, () => {
    it.live("1: each tenant is only in its own database, with the same ids and an unchanged program", () =>
      Effect.gen(function* () {
        const { a, b, inPool, place, store, tenants } = yield* setup(server)
        yield* Effect.gen(function* () {
          for (const tenant of tenants) yield* append(tenant, "1", placed(1))
          yield* append(a, "1", placed(2))
          for (const tenant of tenants)
            yield* PgTenant.transaction(insert(tenant, "x")).pipe(Tenant.provide(tenant))
          assert.deepStrictEqual(yield* ids.pipe(Tenant.provide(a)), [
            [a, "1"],
            [a, "1"]
          ])
          const listed = yield* EventStore.EventStore.use(({ tenants: all }) => Stream.runCollect(all)).pipe(
            acrossTenants
          )
          assert.deepStrictEqual(
            listed.map(({ position, tenantId }) => [tenantId, position]),
            [inPool, a, b].toSorted().map((tenant) => [tenant, tenant === a ? 2 : 1])
          )
        }).pipe(Effect.provide(store()))
        for (const [placement, tenant] of [
          ["pool", inPool],
          ["silo-a", a],
          ["silo-b", b]
        ] as const) {
          for (const table of ["eventsourcing.events", "eventsourcing.tenants", "public.orders"]) {
            const rows = yield* place(placement).outside<{ id: string }>(
              `select distinct tenant_id::text as id from ${table}`
            )
            assert.deepStrictEqual(rows, [{ id: tenant }], `${placement} ${table}`)
          }
          // Each database has a record of the access across tenants.
          const accesses = yield* place(placement).outside("select from eventsourcing.cross_tenant_accesses")
          assert.lengthOf(accesses, 1)
        }
      }).pipe(Effect.scoped)
    )

    it.live("a directory that swaps two tenants is refused: nothing is read, written or registered", () =>
      Effect.gen(function* () {
        const { a, b, entries, place, store } = yield* setup(server)
        yield* Effect.gen(function* () {
          yield* append(b, "1", placed(1))
          yield* append(a, "1", placed(1))
          entries.set(a, "silo-b").set(b, "silo-a")
          yield* moved(a)
          yield* append(a, "1", placed(2)).pipe(failsWith("UnknownTenant"))
          const read = yield* ids.pipe(Tenant.provide(a), failsWith("StorageUnavailable"))
          assert.deepInclude(read, { code: "UnknownTenant", retryable: false })
          const own = yield* PgTenant.transaction(insert(a, "y")).pipe(
            Tenant.provide(a),
            failsWith("StorageUnavailable")
          )
          assert.deepInclude(own, { code: "UnknownTenant", retryable: false })
          const raw = yield* insert(a, "y").pipe(Tenant.provide(a), flipped)
          assert.strictEqual(raw._tag, "SqlError")
          const registry = yield* TenantRegistry.TenantRegistry
          assert.isUndefined(yield* registry.status.pipe(Tenant.provide(a)))
          // Also directly in the database.
          yield* registry.provision(a).pipe(failsWith("StorageUnavailable"))
          yield* registry.suspend(a).pipe(acrossTenants, failsWith("UnknownTenant"))
          entries.set(a, "silo-a")
          yield* moved(a)
          assert.lengthOf(yield* ids.pipe(Tenant.provide(a)), 1)
        }).pipe(Effect.provide(store()))
        for (const table of ["eventsourcing.events", "eventsourcing.tenants", "public.orders"]) {
          const rows = yield* place("silo-b").outside(`select from ${table} where tenant_id = $1`, [a])
          assert.lengthOf(rows, 0, table)
        }
      }).pipe(Effect.scoped, silent)
    )

    it.live("a pool that has excluded a silo's tenant refuses it, if the directory sends it there", () =>
      Effect.gen(function* () {
        const { a, b, entries, inPool, place, store } = yield* setup(server)
        const asOwner = Effect.provide(PgClient.layer({ ...place("pool").owner, maxConnections: 1 }), {
          local: true
        })
        yield* PgSilo.exclude(a).pipe(asOwner)
        yield* Effect.gen(function* () {
          const registry = yield* TenantRegistry.TenantRegistry
          yield* append(a, "1", placed(1))
          yield* append(inPool, "1", placed(1))
          yield* append(b, "1", placed(1))
          entries.set(a, "pool").set(b, "pool")
          yield* moved(a)
          yield* moved(b)
          yield* append(a, "1", placed(2)).pipe(failsWith("UnknownTenant"))
          const read = yield* ids.pipe(Tenant.provide(a), failsWith("StorageUnavailable"))
          assert.deepInclude(read, { code: "UnknownTenant", retryable: false })
          const own = yield* PgTenant.transaction(insert(a, "y")).pipe(
            Tenant.provide(a),
            failsWith("StorageUnavailable")
          )
          assert.deepInclude(own, { code: "UnknownTenant", retryable: false })
          assert.strictEqual((yield* insert(a, "y").pipe(Tenant.provide(a), flipped))._tag, "SqlError")
          assert.isUndefined(yield* registry.status.pipe(Tenant.provide(a)))
          yield* registry.provision(a).pipe(failsWith("StorageUnavailable"))
          yield* registry.resume(a).pipe(acrossTenants, failsWith("UnknownTenant"))
          assert.strictEqual(yield* registry.status.pipe(Tenant.provide(inPool)), "active")

          // In a process that has served it, the database refuses appends at once.
          assert.lengthOf(yield* ids.pipe(Tenant.provide(b)), 0)
          yield* PgSilo.exclude(b).pipe(asOwner)
          yield* append(b, "1", placed(2)).pipe(failsWith("UnknownTenant"))

          // It is unchanged in its silo, and listed once.
          entries.set(a, "silo-a").set(b, "silo-b")
          yield* moved(a)
          yield* moved(b)
          assert.lengthOf(yield* ids.pipe(Tenant.provide(a)), 1)
          const listed = yield* EventStore.EventStore.use(({ tenants }) => Stream.runCollect(tenants)).pipe(
            acrossTenants
          )
          assert.deepStrictEqual(
            listed.map(({ position, status, tenantId }) => [tenantId, position, status]),
            [a, b, inPool].toSorted().map((tenant) => [tenant, 1, "active"])
          )
        }).pipe(Effect.provide(store()))
        const rows = yield* place("pool").outside<{ id: string }>(
          "select distinct tenant_id::text as id from eventsourcing.events"
        )
        assert.deepStrictEqual(rows, [{ id: inPool }])
        // A program on the pool alone is refused as well, until the pool takes the tenant back.
        yield* Effect.gen(function* () {
          const registry = yield* TenantRegistry.TenantRegistry
          yield* append(a, "1", placed(3)).pipe(failsWith("UnknownTenant"))
          yield* registry.provision(a).pipe(failsWith("StorageUnavailable"))
          assert.isUndefined(yield* registry.status.pipe(Tenant.provide(a)))
          yield* PgSilo.admit(a).pipe(asOwner)
          yield* append(a, "1", placed(3))
          assert.strictEqual(yield* registry.status.pipe(Tenant.provide(a)), "active")
        }).pipe(
          Effect.provide(
            Layer.mergeAll(EventStore.layer, TenantRegistry.layer).pipe(
              Layer.provideMerge(PgStorage.layer),
              Layer.provideMerge(PgClient.layer(place("pool").app))
            )
          )
        )
        const silo = Effect.provide(PgClient.layer({ ...place("silo-a").owner, maxConnections: 1 }), {
          local: true
        })
        yield* PgSilo.exclude(inPool).pipe(silo, failsWith("StorageUnavailable"))
      }).pipe(Effect.scoped, silent)
    )

    it.live("the database of a silo accepts only tenants that its owner has admitted", () =>
      Effect.gen(function* () {
        const { a, b, place } = yield* setup(server)
        const app = PgClient.layer({ ...place("silo-a").app, maxConnections: 1 })
        yield* Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const provision = (tenantId: TenantId) =>
            sql`select eventsourcing.provision_tenant(${tenantId}::uuid)`
          for (const refused of [
            provision(b),
            sql`select eventsourcing.admit_tenant(${b}::uuid)`,
            sql`select eventsourcing.name_database('silo-a', false)`,
            sql`insert into eventsourcing.tenants (tenant_id) values (${b}::uuid)`
          ]) {
            assert.strictEqual((yield* flipped(refused)).reason._tag, "AuthorizationError")
          }
        }).pipe(Effect.provide(app))
        const rows = yield* place("silo-a").outside("select tenant_id::text as id from eventsourcing.tenants")
        assert.deepStrictEqual(rows, [{ id: a }])
      }).pipe(Effect.scoped)
    )

    it.live("a wrong database, or a silo that is open to other tenants, is not used", () =>
      Effect.gen(function* () {
        const { a, b, inPool, known, place, store } = yield* setup(server)
        const mixedUp = (placement: string) => {
          const other = { "silo-a": "silo-b", "silo-b": "silo-a" }[placement] ?? placement
          return databases(known)(other)
        }
        yield* Effect.gen(function* () {
          yield* append(inPool, "1", placed(1))
          for (const tenant of [a, b]) {
            const error = yield* ids.pipe(Tenant.provide(tenant), failsWith("StorageUnavailable"))
            assert.deepInclude(error, { code: "PlacementMismatch", retryable: false })
          }
        }).pipe(Effect.provide(store(mixedUp)))
        yield* place("silo-a").outside(
          "grant insert (tenant_id) on eventsourcing.tenants to eventsourcing_tenant"
        )
        const unnamed = yield* server.freshDatabase
        const impaired = (placement: string) => {
          const found = databases(known)(placement)
          return found && placement === "silo-b" ? { ...found, client: PgClient.layer(unnamed.app) } : found
        }
        yield* Effect.gen(function* () {
          for (const tenant of [a, b]) {
            const error = yield* ids.pipe(Tenant.provide(tenant), failsWith("StorageUnavailable"))
            assert.strictEqual(error.code, "PlacementMismatch")
          }
        }).pipe(Effect.provide(store(impaired)))
      }).pipe(Effect.scoped, silent)
    )

    it.live(
      "2, 5: a statement goes to its tenant's database, to none without a tenant, and stays in its transaction",
      () =>
        Effect.gen(function* () {
          const { a, inPool, known, store } = yield* setup(server)
          yield* Effect.gen(function* () {
            const sql = yield* SqlClient.SqlClient
            const where = Effect.map(
              sql<{ name: string }>`select current_database()::text as name`,
              ([row]) => row?.name
            )
            const nameOf = (placement: string) => known.get(placement)?.name
            assert.strictEqual(yield* where.pipe(Tenant.provide(a)), nameOf("silo-a"))
            assert.strictEqual(yield* where.pipe(Tenant.provide(inPool)), nameOf("pool"))
            const none = yield* flipped(where)
            assert.strictEqual(none.reason._tag, "AuthorizationError")
            assert.strictEqual((yield* flipped(sql.withTransaction(where))).reason._tag, "AuthorizationError")
            const silo = yield* PgSilo.PgSilo
            assert.strictEqual(yield* silo.on("silo-b")(where), nameOf("silo-b"))
            // Work for a tenant of another database is refused in the chosen one.
            assert.isTrue(
              (yield* Effect.exit(silo.on("silo-b")(where.pipe(Tenant.provide(a)))))._tag === "Failure"
            )
            yield* silo
              .on("silo-b")(PgTenant.transaction(where).pipe(Tenant.provide(a)))
              .pipe(mismatches)
            // In a transaction of one tenant all work for another is refused.
            const inTransaction = <A, E extends { readonly _tag: string }, R>(
              other: Effect.Effect<A, E, R>
            ) =>
              PgTenant.transaction(other).pipe(
                Tenant.provide(a),
                mismatches,
                Effect.map(({ tenantId }) => assert.strictEqual(tenantId, inPool))
              )
            yield* inTransaction(append(inPool, "1", placed(1)))
            yield* sql.withTransaction(append(inPool, "1", placed(1))).pipe(Tenant.provide(a), mismatches)
            yield* inTransaction(ids.pipe(Tenant.provide(inPool)))
            yield* inTransaction(PgTenant.transaction(where).pipe(Tenant.provide(inPool)))
            // Events and the tenant's own rows are written together, or not at all.
            const both = Effect.andThen(append(a, "both", placed(1)), insert(a, "both"))
            yield* PgTenant.transaction(Effect.andThen(both, Effect.fail("undo"))).pipe(
              Tenant.provide(a),
              flipped
            )
            assert.deepStrictEqual(yield* ids.pipe(Tenant.provide(a)), [])
            assert.deepStrictEqual(yield* rowsOf(a), [])
            yield* PgTenant.transaction(both).pipe(Tenant.provide(a))
            assert.lengthOf(yield* ids.pipe(Tenant.provide(a)), 1)
            assert.lengthOf(yield* rowsOf(a), 1)
          }).pipe(Effect.provide(store()))
        }).pipe(Effect.scoped)
    )

    it.live("callbacks after a commit run outside of the transaction, and not after a rollback", () =>
      Effect.gen(function* () {
        const { a, store } = yield* setup(server)
        yield* Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const seen: Array<number> = []
          const look = sql.afterCommit(
            Effect.orDie(rowsOf(a)).pipe(Effect.map((rows) => void seen.push(rows.length)))
          )
          const write = PgTenant.transaction(Effect.andThen(look, insert(a, "1"))).pipe(Tenant.provide(a))
          yield* write
          assert.deepStrictEqual(seen, [1])
          yield* flipped(write)
          assert.deepStrictEqual(seen, [1])
        }).pipe(Effect.provide(store()))
      }).pipe(Effect.scoped)
    )

    it.live("a batch of several tenants is appended in each database, with its outcomes in order", () =>
      Effect.gen(function* () {
        const { a, b, inPool, store } = yield* setup(server)
        const unknown = yield* Tenant.generate
        yield* Effect.gen(function* () {
          const storage = yield* EventStorage
          const event = {
            eventType: "Noted",
            schemaVersion: 1,
            occurredAt: 0,
            actor: null,
            correlationId: "c",
            causationId: null,
            metadata: "{}",
            payload: "{}",
            tags: []
          }
          const tenants = [b, unknown, inPool, b, a]
          const outcomes = yield* Effect.forEach(
            tenants,
            (tenantId, index) =>
              Effect.match(
                storage.append({
                  tenantId,
                  streams: [
                    {
                      aggregateType: "Order",
                      aggregateId: "1",
                      expectedVersion: "any",
                      events: [{ ...event, eventId: `00000000-0000-4000-8000-00000000000${index}` }]
                    }
                  ]
                }),
                { onSuccess: ({ positions }) => positions, onFailure: (error) => reasonOf(error)._tag }
              ),
            { concurrency: "unbounded" }
          )
          assert.deepStrictEqual(outcomes, [[1], "UnknownTenant", [1], [2], [1]])
        }).pipe(Effect.provide(store()))
      }).pipe(Effect.scoped)
    )

    it.live(
      "handlers, also inline, write to their tenant's database in the transaction of its progress",
      () =>
        Effect.gen(function* () {
          const { a, place, store, tenants } = yield* setup(server)
          let failures = 1
          const summary = orders({
            retry: Schedule.recurs(3),
            before: (_, position) => (position === 2 && failures-- > 0 ? Effect.fail("once") : Effect.void)
          })
          yield* Effect.gen(function* () {
            const runner = yield* ProjectionRunner.ProjectionRunner
            for (const tenant of tenants) yield* append(tenant, "1", placed(1))
            for (const tenant of tenants) yield* append(tenant, "2", placed(2))
            yield* Effect.repeat(runner.drain, {
              until: () => failures < 0,
              schedule: Schedule.spaced("10 millis")
            })
            yield* runner.drain
            for (const tenant of tenants) assert.lengthOf(yield* rowsOf(tenant), 2)
          }).pipe(
            Effect.provide(
              ProjectionRunner.layer({ projections: [summary], concurrency: 0 }).pipe(
                Layer.provideMerge(store())
              )
            )
          )
          for (const [index, placement] of names.entries()) {
            const id = tenants[index] ?? assert.fail(placement)
            const rows = yield* place(placement).outside<{ id: string }>(
              "select distinct tenant_id::text as id from orders"
            )
            assert.deepStrictEqual(rows, [{ id }])
            const progress = yield* place(placement).outside<{ id: string }>(
              "select tenant_id::text as id from eventsourcing.projections where position = 2"
            )
            assert.deepStrictEqual(progress, [{ id }])
          }
          const Marks = Projection.make(
            "marks",
            { aggregates: [Order] },
            { Placed: (_event, { aggregateId, tenantId }) => insert(tenantId, `inline ${aggregateId}`) }
          )
          yield* Effect.gen(function* () {
            yield* append(a, "3", placed(3))
            assert.include(
              (yield* rowsOf(a)).map(({ order_id }) => order_id),
              "inline 3"
            )
          }).pipe(
            Effect.provide(
              InlineProjections.layer({ projections: [Marks] }).pipe(Layer.provideMerge(store()))
            )
          )
        }).pipe(Effect.scoped, silent)
    )

    it.live("a moved tenant is followed into its new database, and its old rows are not used", () =>
      Effect.gen(function* () {
        const { a, entries, inPool, place, store } = yield* setup(server)
        yield* Effect.gen(function* () {
          yield* append(inPool, "old", placed(1))
          yield* append(inPool, "old 2", placed(1))
          // Moved by hand without its events: the new log starts with another event.
          yield* admit(place("silo-a"), inPool)
          entries.set(inPool, "silo-a")
          yield* append(inPool, "old 3", placed(1))
          yield* moved(inPool)
          yield* append(inPool, "new", placed(1))
          assert.deepStrictEqual(yield* ids.pipe(Tenant.provide(inPool)), [[inPool, "new"]])
          const all = yield* EventStore.EventStore.use(({ readAllLogsJson }) =>
            Stream.runCollect(readAllLogsJson())
          ).pipe(acrossTenants)
          assert.deepStrictEqual(
            all.map(({ aggregateId }) => aggregateId),
            ["new"]
          )
          const listed = yield* EventStore.EventStore.use(({ tenants }) => Stream.runCollect(tenants)).pipe(
            acrossTenants
          )
          assert.deepInclude(
            listed.map((head) => ({ ...head, createdAt: 0 })),
            {
              tenantId: inPool,
              status: "active" as const,
              position: 1,
              createdAt: 0
            }
          )
          assert.include(
            listed.map(({ tenantId }) => tenantId),
            a
          )
          const handled: Array<string> = []
          const seen = Projection.make(
            "seen",
            { aggregates: [Order] },
            { Placed: (_event, { aggregateId }) => Effect.sync(() => handled.push(aggregateId)) }
          )
          yield* ProjectionRunner.ProjectionRunner.use(({ drain }) => drain).pipe(
            Effect.provide(ProjectionRunner.layer({ projections: [seen], concurrency: 0 }))
          )
          assert.deepStrictEqual(handled, ["new"])
        }).pipe(Effect.provide(store()))
      }).pipe(Effect.scoped, silent)
    )
  })
}
