/** A transaction on a connection on which packets vanish: its caller is answered, and its place in the pool is freed. */
import { assert, layer } from "@effect/vitest"
import { Deferred, Duration, Effect, Fiber, Layer } from "effect"
import { SqlClient } from "effect/sql"
import * as Event from "../../src/domain/Event.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as PgTenant from "../../src/pg/PgTenant.ts"
import { as, failsWith, log, texts, write } from "../../src/testing/isolation/kit.ts"
import { servers } from "../support/Databases.ts"
import { make as makeProxy, type Moment, type TcpProxy, timeToInterrupt } from "../support/TcpProxy.ts"
import { assertClean, layerOn, type Store, TenantDatabase } from "../support/tenantDatabase.ts"

/** A store with few connections, through a proxy. */
const throughProxy = <A, E, R>(
  maxConnections: number,
  silence: Duration.Input,
  run: (proxy: TcpProxy) => Effect.Effect<A, E, R | Store>
) =>
  Effect.gen(function* () {
    const database = yield* TenantDatabase
    const proxy = yield* makeProxy(database.app)
    const services = yield* database.store({
      host: "127.0.0.1",
      port: proxy.port,
      maxConnections,
      prepare: false
    })
    return yield* run(proxy).pipe(Effect.provideContext(services))
  }).pipe(
    Effect.scoped,
    Effect.provideService(PgTenant.Silence, Duration.fromInputUnsafe(silence)),
    Effect.timeout("50 seconds")
  )

/** On a busy machine a statement may take longer than the short deadline. */
const patiently = Effect.provideService(PgTenant.Silence, Duration.seconds(30))

class Refused {
  readonly _tag = "Refused"
}

const insert = (tenant: Tenant.TenantId) =>
  SqlClient.SqlClient.use((sql) => sql`insert into public.read_model values (${tenant}, 'row', 'value')`)

/** An insert in a transaction that reaches the statement. */
const body = (statement: string, tenant: Tenant.TenantId) =>
  Effect.andThen(insert(tenant), statement === "ROLLBACK" ? Effect.fail(new Refused()) : Effect.void)

const stored = (tenant: Tenant.TenantId) =>
  TenantDatabase.use(({ outside }) =>
    Effect.map(
      outside("select id from public.read_model where tenant_id = $1", [tenant]),
      (rows) => rows.length
    )
  )

/** The statement that vanishes, the error of the transaction, and the rows that are then stored. */
const stages: ReadonlyArray<
  readonly [statement: string, moment: Moment, error: "StorageUnavailable" | "OutcomeUnknown", stored: number]
> = [
  ["BEGIN", "before", "StorageUnavailable", 0],
  ["begin_tenant", "before", "StorageUnavailable", 0],
  ["insert into public.read_model", "after", "StorageUnavailable", 0],
  ["ROLLBACK", "before", "StorageUnavailable", 0],
  ["COMMIT", "before", "OutcomeUnknown", 0],
  ["COMMIT", "after", "OutcomeUnknown", 1]
]

for (const server of servers) {
  // At once, because they wait for deadlines most of the time.
  layer(layerOn(server), { concurrent: true, excludeTestServices: true })(
    `a silent transaction on ${server.name}`,
    (it) => {
      for (const [statement, moment, error, rows] of stages) {
        it.effect(`${moment} ${statement} ends, and returns its connection`, () =>
          throughProxy(
            1,
            "1 second",
            Effect.fnUntraced(function* (proxy) {
              const tenant = yield* Tenant.generate
              const { held } = proxy.hold(statement, moment)
              yield* PgTenant.transaction(body(statement, tenant)).pipe(as(tenant), failsWith(error))
              yield* held
              assert.strictEqual(yield* stored(tenant), rows)
              // the pool has one connection
              const next = yield* Tenant.generate
              yield* PgTenant.transaction(insert(next)).pipe(as(next), patiently)
              yield* assertClean
            })
          )
        )
      }

      it.effect("does not delay a caller with a deadline, at any statement", () =>
        Effect.forEach(
          ["BEGIN", "begin_tenant", "insert into public.read_model", "COMMIT", "ROLLBACK"],
          (statement) =>
            throughProxy(
              2,
              "2 seconds",
              Effect.fnUntraced(function* (proxy) {
                const tenant = yield* Tenant.generate
                const { held } = proxy.hold(statement, "before")
                const transaction = PgTenant.transaction(body(statement, tenant)).pipe(as(tenant))
                assert.isBelow(yield* timeToInterrupt(transaction, held), 1_500)
                const next = yield* Tenant.generate
                yield* PgTenant.transaction(insert(next)).pipe(as(next), patiently)
              })
            ),
          { concurrency: "unbounded", discard: true }
        )
      )

      for (const moment of ["before", "after"] as const) {
        it.effect(
          `${moment} its COMMIT is done, with events, is known to be ${moment === "after" ? "" : "not "}stored`,
          () =>
            throughProxy(
              2,
              "1 second",
              Effect.fnUntraced(function* (proxy) {
                const tenant = yield* Tenant.generate
                yield* write("first").pipe(as(tenant))
                const { held } = proxy.hold("COMMIT", moment)
                const transaction = PgTenant.transaction(
                  Effect.andThen(
                    Effect.exit(
                      PgTenant.transaction(Effect.andThen(write("undone"), Effect.fail(new Refused())))
                    ),
                    write("once")
                  )
                ).pipe(as(tenant))
                if (moment === "after") yield* transaction
                else yield* failsWith("StorageUnavailable")(transaction)
                yield* held
                const expected = moment === "after" ? ["first", "once"] : ["first"]
                assert.deepStrictEqual(texts(yield* log().pipe(as(tenant))), expected)
              })
            )
        )
      }

      it.effect("whose events cannot be looked up either fails with OutcomeUnknown and their ids", () =>
        throughProxy(
          2,
          "1 second",
          Effect.fnUntraced(function* (proxy) {
            const tenant = yield* Tenant.generate
            const eventId = Event.generateId()
            const { held } = proxy.hold("COMMIT", "after")
            const fiber = yield* Effect.forkChild(
              PgTenant.transaction(write("perhaps", { eventId })).pipe(
                as(tenant),
                failsWith("OutcomeUnknown")
              )
            )
            yield* held
            const asking = proxy.hold("begin_tenant", "before")
            const { eventIds } = yield* Fiber.join(fiber)
            yield* asking.held
            assert.deepStrictEqual(eventIds, [eventId])
            const again = yield* write("perhaps", { eventId }).pipe(as(tenant))
            assert.isTrue(again.replayed)
          })
        )
      )

      it.effect("that waits for a connection is answered", () =>
        throughProxy(
          1,
          "1 second",
          Effect.fnUntraced(function* () {
            const [first, second] = [yield* Tenant.generate, yield* Tenant.generate]
            const [inside, leave] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
            const open = yield* insert(first).pipe(
              Effect.andThen(Deferred.succeed(inside, undefined)),
              Effect.andThen(Deferred.await(leave)),
              PgTenant.transaction,
              as(first),
              Effect.forkChild
            )
            yield* Deferred.await(inside)
            yield* PgTenant.transaction(insert(second)).pipe(as(second), failsWith("TimedOut"))
            yield* Deferred.succeed(leave, undefined)
            // An open idle transaction is not silent.
            yield* Fiber.join(open)
          })
        )
      )

      it.effect("that has appended delays the appends of its tenant for a bounded time", () =>
        Effect.gen(function* () {
          const { store } = yield* TenantDatabase
          const lockTimeout = SqlClient.SqlClient.use((sql) =>
            Effect.map(
              sql<{ lock: string }>`select current_setting('lock_timeout') as lock`,
              ([row]) => row?.lock
            )
          )
          const tenant = yield* Tenant.generate
          const usual = yield* store({ startupParameters: {} })
          assert.strictEqual(
            yield* PgTenant.transaction(lockTimeout).pipe(as(tenant), Effect.provideContext(usual)),
            "10s"
          )
          assert.strictEqual(yield* Effect.provideContext(lockTimeout, usual), "0")
          yield* Effect.gen(function* () {
            assert.strictEqual(yield* PgTenant.transaction(lockTimeout).pipe(as(tenant)), "200ms")
            const [inside, leave] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
            const open = yield* write("open").pipe(
              Effect.andThen(Deferred.succeed(inside, undefined)),
              Effect.andThen(Deferred.await(leave)),
              PgTenant.transaction,
              as(tenant),
              Effect.forkChild
            )
            yield* Deferred.await(inside)
            yield* write("waits").pipe(as(tenant), failsWith("TimedOut"))
            yield* PgTenant.transaction(write("waits")).pipe(as(tenant), failsWith("TimedOut"))
            yield* Deferred.succeed(leave, undefined)
            yield* Fiber.join(open)
            assert.deepStrictEqual(texts(yield* log().pipe(as(tenant))), ["open"])
          }).pipe(
            Effect.provide(Layer.effectContext(store({ startupParameters: { lock_timeout: "200ms" } })))
          )
        }).pipe(Effect.scoped, Effect.timeout("50 seconds"))
      )
    }
  )
}
