/** The databases behind the store: one that is away, a limit of open ones, hints, and migrations. */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Option, Schedule, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { EventStorage } from "../../src/EventStorage.ts"
import * as EventStore from "../../src/EventStore.ts"
import * as PgSilo from "../../src/pg/PgSilo.ts"
import * as PgTenant from "../../src/pg/PgTenant.ts"
import * as ProjectionRunner from "../../src/ProjectionRunner.ts"
import * as Tenant from "../../src/Tenant.ts"
import * as TenantDirectory from "../../src/TenantDirectory.ts"
import { failsWith } from "../../src/testing/TenantIsolationKit.ts"
import { servers } from "../support/Databases.ts"
import { append, orders, placed, rowsOf } from "../support/projected.ts"
import { databases, wireTo } from "../support/silo.ts"
import { acrossTenants, insert, setup, silent } from "../support/siloTenants.ts"

for (const server of servers) {
  describe(`databases of silos on ${server.name}`, () => {
    it.live(
      "a database that is away is away for its tenants alone, and is back when it is",
      () =>
        Effect.gen(function* () {
          const { a, b, inPool, known, place, store, tenants } = yield* setup(server)
          const wire = yield* wireTo(place("silo-a"))
          const database = (placement: string) => {
            const found = databases(known)(placement)
            const { app } = place("silo-a")
            return found && placement === "silo-a"
              ? { ...found, client: PgClient.layer({ ...app, host: "127.0.0.1", port: wire.port }) }
              : found
          }
          const summary = orders()
          yield* Effect.gen(function* () {
            for (const tenant of tenants) yield* append(tenant, "1", placed(1))
            yield* wire.cut
            const error = yield* append(a, "2", placed(1)).pipe(failsWith("StorageUnavailable"))
            assert.isTrue(error.retryable)
            for (const tenant of [inPool, b]) yield* append(tenant, "2", placed(1))
            // A list across tenants is never without some of them.
            yield* EventStore.EventStore.use(({ tenants: all }) => Stream.runCollect(all)).pipe(
              acrossTenants,
              failsWith("StorageUnavailable")
            )
            // Projections of the others go on; also if they are started now.
            yield* Effect.gen(function* () {
              const until = <A, E, R>(effect: Effect.Effect<ReadonlyArray<A>, E, R>, length: number) =>
                Effect.repeat(effect, {
                  until: (rows) => rows.length === length,
                  schedule: Schedule.spaced("20 millis")
                }).pipe(Effect.timeout("20 seconds"))
              for (const tenant of [inPool, b]) yield* until(rowsOf(tenant), 2)
              yield* wire.mend
              yield* until(Effect.retry(rowsOf(a), { schedule: Schedule.spaced("100 millis") }), 1)
              yield* append(a, "2", placed(1))
              yield* until(rowsOf(a), 2)
            }).pipe(
              Effect.provide(ProjectionRunner.layer({ projections: [summary], pollInterval: "50 millis" }), {
                local: true
              })
            )
          }).pipe(Effect.provide(store(database)))
        }).pipe(Effect.scoped, silent),
      60_000
    )

    it.live(
      "13: with a limit of one open database, all tenants are served, and a transaction is not broken",
      () =>
        Effect.gen(function* () {
          const { a, store, tenants } = yield* setup(server, { maxOpen: 1 })
          yield* Effect.gen(function* () {
            for (const _ of [1, 2]) for (const tenant of tenants) yield* append(tenant, "1", placed(1))
            const [began, end] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
            const transaction = yield* Effect.forkChild(
              PgTenant.transaction(
                Effect.all([
                  insert(a, "x"),
                  Deferred.succeed(began, undefined),
                  Deferred.await(end),
                  insert(a, "y")
                ])
              ).pipe(Tenant.provide(a))
            )
            yield* Deferred.await(began)
            const others = yield* Effect.forkChild(
              Effect.forEach(tenants, (tenant) => append(tenant, "2", placed(1)), {
                concurrency: "unbounded"
              }),
              { startImmediately: true }
            )
            const { open } = yield* PgSilo.PgSilo
            assert.deepStrictEqual(yield* open, ["silo-a"])
            yield* Deferred.succeed(end, undefined)
            yield* Fiber.join(transaction)
            yield* Fiber.join(others)
            assert.lengthOf(yield* rowsOf(a), 2)
            const heads = yield* EventStore.EventStore.use(({ tenants: all }) => Stream.runCollect(all)).pipe(
              acrossTenants
            )
            assert.deepStrictEqual(
              heads.map(({ position }) => position),
              [3, 3, 3]
            )
          }).pipe(Effect.provide(store()))
        }).pipe(Effect.scoped)
    )

    it.live("hints of all open databases are heard, also of one that is opened later", () =>
      Effect.gen(function* () {
        const { a, b, known, store } = yield* setup(server)
        yield* Effect.gen(function* () {
          const storage = yield* EventStorage
          yield* append(a, "1", placed(1))
          const heard = yield* Effect.forkChild(
            storage.changes.pipe(Stream.take(3), Stream.runDrain, Effect.timeoutOption("10 seconds")),
            { startImmediately: true }
          )
          yield* append(b, "1", placed(1))
          // Another process.
          yield* Effect.repeat(append(b, "2", placed(1)), {
            until: () => heard.pollUnsafe() !== undefined,
            schedule: Schedule.spaced("50 millis")
          }).pipe(Effect.provide(Layer.fresh(store(databases(known))), { local: true }))
          assert.isTrue(Option.isSome(yield* Fiber.join(heard)))
        }).pipe(Effect.provide(store()))
      }).pipe(Effect.scoped)
    )

    it.live(
      "all databases are migrated and named, and one that is away does not keep the others from it",
      () =>
        Effect.gen(function* () {
          const [one, two] = [yield* server.freshDatabase, yield* server.freshDatabase]
          const database = (placement: string) => {
            if (placement === "one") return { client: PgClient.layer(one.owner), dedicated: true }
            if (placement === "two") return { client: PgClient.layer(two.owner) }
            return { client: PgClient.layer({ ...one.owner, host: "127.0.0.1", port: 1 }) }
          }
          const migrated = yield* PgSilo.migrateAll({ database }).pipe(
            Effect.provide(
              TenantDirectory.layerWith({ placements: ["one", "away", "two"], placementOf: () => "one" })
            )
          )
          const tags: Array<readonly [string, string]> = []
          for (const { placement, result } of migrated)
            tags.push([placement, (yield* Effect.exit(result))._tag])
          assert.deepStrictEqual(tags, [
            ["one", "Success"],
            ["away", "Failure"],
            ["two", "Success"]
          ])
          for (const [{ owner }, expected] of [
            [one, { placement: "one", here: true, dedicated: true, closed: true }],
            [two, { placement: "two", here: true, dedicated: false, closed: false }]
          ] as const) {
            const rows = yield* SqlClient.SqlClient.use(
              (sql) => sql`select * from eventsourcing.list_placements()`
            ).pipe(Effect.provide(PgClient.layer(owner), { local: true }))
            assert.deepStrictEqual(rows, [expected])
          }
        }).pipe(Effect.scoped)
    )
  })
}
