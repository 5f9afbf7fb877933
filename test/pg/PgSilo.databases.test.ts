/** The databases behind the store: an unavailable one, a limit on open ones, hints, and migrations. */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Deferred, Duration, Effect, Fiber, Layer, Option, Schedule, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { EventStorage } from "../../src/driver/EventStorage.ts"
import { ProjectionStorage } from "../../src/driver/ProjectionStorage.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as PgSilo from "../../src/pg/PgSilo.ts"
import * as PgTenant from "../../src/pg/PgTenant.ts"
import * as ProjectionRunner from "../../src/projection/ProjectionRunner.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as TenantDirectory from "../../src/routed/TenantDirectory.ts"
import { access, Projected } from "../../src/testing/driver/projectionKit.ts"
import { failsWith } from "../../src/testing/isolation/kit.ts"
import { servers } from "../support/Databases.ts"
import { append, orders, placed, rowsOf } from "../support/projected.ts"
import { databases, wireTo } from "../support/silo.ts"
import { acrossTenants, ids, insert, setup, silent } from "../support/siloTenants.ts"

/**
 * Runs an effect with a clock that runs faster by a factor, so that waits between attempts are short. The databases
 * are not faster, so timeouts have to be longer.
 */
const hurried =
  (times: number) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Clock.clockWith((clock) => {
      const start = clock.currentTimeNanosUnsafe()
      const nanos = () => start + (clock.currentTimeNanosUnsafe() - start) * BigInt(times)
      const millis = () => Number(nanos() / 1_000_000n)
      const fast: Clock.Clock = {
        currentTimeMillisUnsafe: millis,
        currentTimeMillis: Effect.sync(millis),
        currentTimeNanosUnsafe: nanos,
        currentTimeNanos: Effect.sync(nanos),
        monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe() * BigInt(times),
        monotonicTimeNanos: Effect.sync(() => clock.monotonicTimeNanosUnsafe() * BigInt(times)),
        sleep: (duration) => clock.sleep(Duration.millis(Duration.toMillis(duration) / times))
      }
      return Effect.provideService(effect, Clock.Clock, fast)
    })

for (const server of servers) {
  describe(`databases of silos on ${server.name}`, () => {
    it.live(
      "an unavailable database affects only its own tenants, and is used again when it is available",
      () =>
        Effect.gen(function* () {
          const connectTimeout = "5 minutes"
          const { a, b, inPool, known, place, store, tenants } = yield* setup(server, {
            acquireTimeout: connectTimeout
          })
          const wire = yield* wireTo(place("silo-a"))
          const database = (placement: string) => {
            const found = databases(known)(placement)
            const { app } = place(placement)
            const at = placement === "silo-a" ? { host: "127.0.0.1", port: wire.port } : {}
            return found && { ...found, client: PgClient.layer({ ...app, connectTimeout, ...at }) }
          }
          const summary = orders()
          yield* Effect.gen(function* () {
            for (const tenant of tenants) yield* append(tenant, "1", placed(1))
            yield* wire.cut
            // The append in progress at the cut may or may not be stored; the next one finds no connection.
            const cut = yield* Effect.flip(append(a, "2", placed(1)))
            assert.include(["OutcomeUnknown", "StorageUnavailable"], cut._tag)
            const error = yield* append(a, "2", placed(1)).pipe(failsWith("StorageUnavailable"))
            assert.isTrue(error.retryable)
            for (const tenant of [inPool, b]) yield* append(tenant, "2", placed(1))
            // A list across tenants never omits some of them.
            yield* EventStore.EventStore.use(({ tenants: all }) => Stream.runCollect(all)).pipe(
              acrossTenants,
              failsWith("StorageUnavailable")
            )
            // Projections of the others continue, also if they are started now.
            yield* Effect.gen(function* () {
              const until = <A, E, R>(effect: Effect.Effect<ReadonlyArray<A>, E, R>, length: number) =>
                Effect.repeat(effect, {
                  until: (rows) => rows.length === length,
                  schedule: Schedule.spaced("20 millis")
                }).pipe(Effect.timeout("10 minutes"))
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
          }).pipe(Effect.provide(store(database)), hurried(20))
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

    it.live("the first appends of a tenant in a pool keep the order in which they begin", () =>
      Effect.gen(function* () {
        const { inPool, store } = yield* setup(server)
        const given = Array.from({ length: 20 }, (_, index) => String(index))
        const stored = yield* Effect.gen(function* () {
          yield* Effect.forEach(given, (id) => append(inPool, id, placed(1)), { concurrency: "unbounded" })
          return yield* ids.pipe(Tenant.provide(inPool))
        }).pipe(Effect.provide(store()))
        assert.deepStrictEqual(
          stored,
          given.map((id) => [inPool, id])
        )
      }).pipe(Effect.scoped)
    )

    it.live("a program that starts later continues projections across tenants in all databases", () =>
      Effect.gen(function* () {
        const { store, tenants } = yield* setup(server)
        yield* Effect.forEach(tenants, (tenant) => append(tenant, "1", placed(1))).pipe(
          Effect.provide(store())
        )
        yield* Effect.gen(function* () {
          const storage = yield* ProjectionStorage
          const projected = new Projected(1, true, yield* access)
          const { projection, version } = projected
          yield* storage.register([{ projection, version, startAt: "beginning", tables: [] }])
          for (const tenant of tenants) {
            yield* projected.on(tenant, (claim) => storage.advance(claim, claim.head))
            assert.deepInclude((yield* projected.progress(tenant)).live, { position: 1, head: 1 })
          }
        }).pipe(Effect.provide(store()))
      }).pipe(Effect.scoped)
    )

    it.live("tenants can be admitted to a database and the database named concurrently", () =>
      Effect.gen(function* () {
        const { a, place } = yield* setup(server)
        const silo = place("silo-a")
        const [one, two, three] = yield* Effect.all([Tenant.generate, Tenant.generate, Tenant.generate])
        const waiting = silo.outside(
          "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        )
        const asOwner = Effect.provide(PgClient.layer({ ...silo.owner, maxConnections: 1 }), { local: true })
        const named = PgSilo.name("silo-a", { dedicated: true })
        for (const [first, second] of [
          [PgSilo.admit(one), PgSilo.admit(two)],
          [named, PgSilo.admit(three)],
          [PgSilo.admit(one), named],
          [named, named]
        ] as const) {
          const end = yield* Deferred.make<void>()
          const began = yield* Deferred.make<void>()
          const open = yield* SqlClient.SqlClient.use((sql) =>
            sql.withTransaction(
              first.pipe(
                Effect.andThen(Deferred.succeed(began, undefined)),
                Effect.andThen(Deferred.await(end))
              )
            )
          ).pipe(asOwner, Effect.forkChild)
          yield* Effect.raceFirst(Deferred.await(began), Fiber.join(open))
          const other = yield* second.pipe(asOwner, Effect.forkChild)
          yield* Effect.repeat(waiting, {
            until: (rows) => rows.length > 0 || other.pollUnsafe() !== undefined,
            schedule: Schedule.spaced("10 millis")
          })
          yield* Deferred.succeed(end, undefined)
          yield* Fiber.join(open)
          yield* Fiber.join(other)
        }
        const admitted = yield* silo.outside<{ id: string }>(
          "select tenant_id::text as id from eventsourcing.tenants"
        )
        assert.deepStrictEqual(admitted.map(({ id }) => id).toSorted(), [a, one, two, three].toSorted())
        assert.deepStrictEqual(yield* silo.outside("select closed from eventsourcing.list_placements()"), [
          { closed: true }
        ])
      }).pipe(Effect.scoped)
    )

    it.live("hints of all open databases arrive, also of one that is opened later", () =>
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
          // Stands for another process.
          yield* Effect.repeat(append(b, "2", placed(1)), {
            until: () => heard.pollUnsafe() !== undefined,
            schedule: Schedule.spaced("50 millis")
          }).pipe(Effect.provide(Layer.fresh(store(databases(known))), { local: true }))
          assert.isTrue(Option.isSome(yield* Fiber.join(heard)))
        }).pipe(Effect.provide(store()))
      }).pipe(Effect.scoped)
    )

    it.live("all databases are migrated and named, also if one of them is unavailable", () =>
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
