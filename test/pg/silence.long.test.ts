/**
 * Stopped backends of the server (`kill -STOP`): their connections are open, TCP acknowledges, and no answer comes.
 * They keep their locks.
 */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Fiber, References, type Scope } from "effect"
import { SqlClient } from "effect/sql"
import * as Event from "../../src/domain/Event.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as PgTenant from "../../src/pg/PgTenant.ts"
import * as Health from "../../src/store/Health.ts"
import { as, failsWith, log, texts, write } from "../../src/testing/isolation/kit.ts"
import { type Config, servers } from "../support/Databases.ts"
import { layerOn, type Store, TenantDatabase } from "../support/tenantDatabase.ts"

const silence = Duration.seconds(1)

/** The sessions of the program. */
const backends = Effect.gen(function* () {
  const { app, outside } = yield* TenantDatabase
  const rows = yield* outside<{ pid: number }>(
    "select pid from pg_stat_activity where datname = current_database() and usename = $1",
    [app.username]
  )
  return rows.map(({ pid }) => pid)
})

const signal = (pids: ReadonlyArray<number>, name: "SIGSTOP" | "SIGCONT") =>
  Effect.sync(() => {
    for (const pid of pids) process.kill(pid, name)
  })

/** Stops the program's sessions until the scope closes. */
const stopped = Effect.acquireRelease(
  Effect.tap(backends, (pids) => {
    assert.isNotEmpty(pids)
    return signal(pids, "SIGSTOP")
  }),
  (pids) => signal(pids, "SIGCONT")
)

const timed = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const began = Date.now()
    const value = yield* effect
    return { value, millis: Date.now() - began }
  })

const own = SqlClient.SqlClient.use((sql) => sql`select 1`)

// The processes of a server in DATABASE_URL may be elsewhere.
for (const server of servers.filter(({ name }) => name !== "DATABASE_URL")) {
  describe(`stopped backends of ${server.name}`, () => {
    const test = <A, E>(
      name: string,
      config: Partial<Config>,
      body: Effect.Effect<A, E, Store | TenantDatabase | Scope.Scope>,
      within = silence
    ) =>
      it.live(
        name,
        () =>
          Effect.gen(function* () {
            const { store } = yield* TenantDatabase
            const { millis } = yield* timed(
              Effect.scoped(
                Effect.flatMap(store(config), (services) => Effect.provideContext(body, services))
              )
            )
            // Closing the store and the client is bounded, too.
            assert.isBelow(millis, 40_000)
          }).pipe(
            Effect.scoped,
            Effect.provide(layerOn(server)),
            Effect.provideService(PgTenant.Silence, within),
            Effect.provideService(References.MinimumLogLevel, "None")
          ),
        60_000
      )

    for (const multiplex of [false, true]) {
      const config = { maxConnections: 2, multiplex }
      const mode = multiplex ? "with shared connections, " : ""

      test(
        `${mode}an append, a load and a transaction continue on other connections`,
        config,
        Effect.gen(function* () {
          const tenant = yield* Tenant.generate
          const eventId = Event.generateId()
          yield* Effect.all([write("first").pipe(as(tenant)), log().pipe(as(yield* Tenant.generate))], {
            concurrency: "unbounded"
          })
          yield* stopped
          const { millis } = yield* timed(write("second", { eventId, expected: 1 }).pipe(as(tenant)))
          assert.isBelow(millis, 4_000)
          assert.deepStrictEqual(texts(yield* log().pipe(as(tenant))), ["first", "second"])
          yield* PgTenant.transaction(write("third")).pipe(as(tenant), Effect.retry({ times: 2 }))
          assert.deepStrictEqual(texts(yield* log().pipe(as(tenant))), ["first", "second", "third"])
        }).pipe(Effect.scoped)
      )

      test(
        `${mode}a transaction that holds the tenant's lock ends for its caller, and delays only its own tenant`,
        config,
        Effect.gen(function* () {
          const [tenant, other] = [yield* Tenant.generate, yield* Tenant.generate]
          yield* write("first").pipe(as(tenant))
          yield* Effect.gen(function* () {
            const [inside, go] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
            const open = yield* write("lost").pipe(
              Effect.andThen(Deferred.succeed(inside, undefined)),
              Effect.andThen(Deferred.await(go)),
              Effect.andThen(own),
              PgTenant.transaction,
              as(tenant),
              failsWith("StorageUnavailable"),
              Effect.forkChild
            )
            yield* Deferred.await(inside)
            yield* stopped
            yield* Deferred.succeed(go, undefined)
            const { millis } = yield* timed(Fiber.join(open))
            assert.isBelow(millis, 3_000)
            yield* write("goes on").pipe(as(other))
            // The stopped backend has the lock; the append is answered as well.
            const waiting = yield* timed(Effect.exit(write("waits").pipe(as(tenant))))
            assert.isBelow(waiting.millis, 5_000)
          }).pipe(Effect.scoped)
          // The backend finds its connection closed, and rolls back.
          yield* write("last").pipe(as(tenant), Effect.retry({ times: 5 }))
          const found = texts(yield* log().pipe(as(tenant)))
          assert.notInclude(found, "lost")
          assert.includeMembers(found.slice(), ["first", "last"])
        })
      )
    }

    test(
      "a transaction that has appended and idles delays its tenant's appends for at most 20 seconds",
      { maxConnections: 4 },
      Effect.gen(function* () {
        const tenant = yield* Tenant.generate
        const inside = yield* Deferred.make<void>()
        const open = yield* write("open").pipe(
          Effect.andThen(Deferred.succeed(inside, undefined)),
          Effect.andThen(Effect.never),
          PgTenant.transaction,
          as(tenant),
          Effect.forkChild
        )
        yield* Deferred.await(inside)
        const { millis } = yield* timed(write("waits").pipe(as(tenant), failsWith("TimedOut")))
        assert.isBelow(millis, 25_000)
        yield* Fiber.interrupt(open)
        yield* write("goes on").pipe(as(tenant))
      }),
      Duration.minutes(1)
    )

    test(
      "the program is not ready while it is live",
      { maxConnections: 1 },
      Effect.gen(function* () {
        yield* Health.ready
        yield* Effect.sleep("20 millis")
        yield* stopped
        assert.strictEqual((yield* Effect.flip(Health.ready)).reason, "storage")
        yield* Health.live
        // An interrupted statement has 5 seconds to end; then its connection is replaced.
        yield* Effect.sleep("6 seconds")
        yield* Effect.retry(Health.ready, { times: 5 })
      }).pipe(
        Effect.scoped,
        Effect.provide(Health.layerWith({ timeout: "500 millis", timeToLive: "10 millis" }))
      )
    )

    test(
      "with shared connections only the program's own statements may wait, not those of the store",
      { maxConnections: 2, multiplex: true },
      Effect.gen(function* () {
        const tenant = yield* Tenant.generate
        yield* write("first").pipe(as(tenant))
        yield* own
        yield* stopped
        const waiting = yield* Effect.forkDetach(Effect.exit(own))
        yield* Effect.sleep("100 millis")
        for (const text of ["second", "third"]) {
          const { millis } = yield* timed(
            write(text).pipe(as(tenant), Effect.retry({ times: 3, while: ({ _tag }) => _tag !== "Conflict" }))
          )
          assert.isBelow(millis, 10_000)
        }
        assert.strictEqual(waiting.pollUnsafe(), undefined)
      }).pipe(Effect.scoped)
    )
  })
}
