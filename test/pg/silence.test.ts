/** A connection on which packets vanish: waiting callers are answered, and no others wait. */
import { assert, layer } from "@effect/vitest"
import { PgClient } from "@effect/sql-pg"
import { Duration, Effect, Fiber, Layer, References, Stream } from "effect"
import { SqlClient } from "effect/sql"
import * as Event from "../../src/domain/Event.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { EventStorage } from "../../src/driver/EventStorage.ts"
import * as PgTenant from "../../src/pg/PgTenant.ts"
import * as PgCheck from "../../src/pg/PgCheck.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import * as PgMigrator from "../../src/pg/PgMigrator.ts"
import * as Projection from "../../src/projection/Projection.ts"
import * as ProjectionRunner from "../../src/projection/ProjectionRunner.ts"
import { as, log, Note, texts, write } from "../../src/testing/isolation/kit.ts"
import { servers } from "../support/Databases.ts"
import { make as makeProxy, type TcpProxy, timeToInterrupt } from "../support/TcpProxy.ts"
import { layerOn, type Store, TenantDatabase } from "../support/tenantDatabase.ts"

/** A store whose connections go through a proxy, with a short deadline for silence, which also a busy machine keeps. */
const throughProxy = <A, E, R>(
  run: (proxy: TcpProxy) => Effect.Effect<A, E, R | Store>,
  silence: Duration.Input = "1 second"
) =>
  Effect.gen(function* () {
    const database = yield* TenantDatabase
    const proxy = yield* makeProxy(database.app)
    const services = yield* database.store({
      host: "127.0.0.1",
      port: proxy.port,
      maxConnections: 4,
      prepare: false
    })
    return yield* run(proxy).pipe(Effect.provideContext(services))
  }).pipe(
    Effect.scoped,
    Effect.provideService(PgTenant.Silence, Duration.fromInputUnsafe(silence)),
    Effect.timeout("50 seconds")
  )

for (const server of servers) {
  // At once, because they wait for deadlines most of the time.
  const options = { concurrent: true, excludeTestServices: true }
  layer(layerOn(server), options)(`a silent connection on ${server.name}`, (it) => {
    for (const moment of ["before", "after"] as const) {
      it.effect(
        `${moment} an append is stored makes it repeat on another one, and the events are stored once`,
        () =>
          throughProxy(
            Effect.fnUntraced(function* (proxy) {
              const tenant = yield* Tenant.generate
              const eventId = Event.generateId()
              yield* write("first").pipe(as(tenant))
              const { held } = proxy.hold("eventsourcing.append_", moment)
              const appended = yield* write("once", { eventId, expected: 1 }).pipe(as(tenant))
              yield* held
              assert.strictEqual(appended.replayed, moment === "after")
              assert.deepStrictEqual(texts(yield* log().pipe(as(tenant))), ["first", "once"])
            })
          )
      )
    }

    it.effect("40: delays neither a caller with a deadline nor the appends of other tenants", () =>
      throughProxy(
        Effect.fnUntraced(function* (proxy) {
          const [tenant, other] = [yield* Tenant.generate, yield* Tenant.generate]
          const { held } = proxy.hold("eventsourcing.append_", "before")
          assert.isBelow(yield* timeToInterrupt(write("lost").pipe(as(tenant)), held), 1_500)
          yield* write("goes on").pipe(as(other))
          assert.deepStrictEqual(texts(yield* log().pipe(as(other))), ["goes on"])
        }),
        "2 seconds"
      )
    )

    it.effect("40: frees both places of group commit", () =>
      throughProxy(
        Effect.fnUntraced(function* (proxy) {
          const lost: Array<Fiber.Fiber<unknown, unknown>> = []
          for (let n = 0; n < 2; n++) {
            const { held } = proxy.hold("eventsourcing.append_", "before")
            lost.push(yield* Effect.forkChild(write(`${n}`).pipe(as(yield* Tenant.generate))))
            yield* held
          }
          const other = yield* Tenant.generate
          yield* write("goes on").pipe(as(other))
          for (const fiber of lost) yield* Fiber.join(fiber)
          assert.deepStrictEqual(texts(yield* log().pipe(as(other))), ["goes on"])
        })
      )
    )

    it.effect("is closed by a load, which uses another one", () =>
      throughProxy(
        Effect.fnUntraced(function* (proxy) {
          const tenant = yield* Tenant.generate
          yield* write("there").pipe(as(tenant))
          const { held } = proxy.hold("eventsourcing.read_log", "before")
          assert.deepStrictEqual(texts(yield* log().pipe(as(tenant))), ["there"])
          yield* held
        })
      )
    )

    for (const statement of ["LISTEN", "select 1"]) {
      it.effect(`for notifications, at ${statement}, is closed, and another one listens`, () =>
        throughProxy(
          Effect.fnUntraced(function* (proxy) {
            const { outside } = yield* TenantDatabase
            const { changes } = yield* EventStorage
            const { held } = proxy.hold(statement, "before")
            let heard = 0
            const listening = yield* changes.pipe(
              Stream.runForEach(() => Effect.sync(() => heard++)),
              Effect.forkChild
            )
            yield* held
            const notified = Effect.gen(function* () {
              const before = heard
              yield* outside("select pg_notify('eventsourcing', '')")
              yield* Effect.sleep("20 millis")
              return heard > before
            })
            yield* Effect.repeat(notified, { until: (done) => done })
            yield* Fiber.interrupt(listening)
          })
        )
      )
    }

    it.effect("for notifications does not prevent the store from closing", () =>
      Effect.gen(function* () {
        const began = yield* throughProxy(
          Effect.fnUntraced(function* (proxy) {
            const { changes } = yield* EventStorage
            const { held } = proxy.hold("LISTEN", "before")
            yield* Effect.forkChild(Stream.runDrain(changes))
            yield* held
            return Date.now()
          }),
          "1 minute"
        )
        assert.isBelow(Date.now() - began, 10_000)
      })
    )

    it.effect("40: of a projection worker does not stop it, and every event is handled once", () =>
      Effect.forEach(
        [
          ["begin_projection", "before"],
          ["advance_projection", "after"],
          ["COMMIT", "after"]
        ] as const,
        ([statement, moment], at) =>
          throughProxy(
            Effect.fnUntraced(function* (proxy) {
              const { outside } = yield* TenantDatabase
              const tenant = yield* Tenant.generate
              yield* write("first").pipe(as(tenant))
              const { held } = proxy.hold(statement, moment)
              const projection = Projection.make(
                // without its name, which the proxy would find in other statements
                `notes ${at}`,
                { version: 1, aggregates: [Note] },
                {
                  Noted: (_event, { position, tenantId }) =>
                    SqlClient.SqlClient.use(
                      (sql) =>
                        sql`insert into public.read_model values (${tenantId}, ${`${at} ${position}`}, 'handled')`
                    )
                }
              )
              yield* Layer.build(
                ProjectionRunner.layer({
                  projections: [projection],
                  concurrency: 1,
                  pollInterval: "10 millis",
                  sweepInterval: "100 millis"
                }).pipe(Layer.provide(PgStorage.layerWith({ announce: false })))
              )
              yield* held
              yield* write("second", { expected: 1 }).pipe(as(tenant))
              const handled = outside<{ id: string }>(
                "select id from public.read_model where tenant_id = $1 and starts_with(id, $2)",
                [tenant, `${at} `]
              )
              yield* handled.pipe(
                Effect.tap(Effect.sleep("10 millis")),
                Effect.repeat({ until: (rows) => rows.length === 2 })
              )
            })
          ),
        { concurrency: "unbounded", discard: true }
      ).pipe(Effect.provideService(References.MinimumLogLevel, "None"))
    )

    it.effect("during the check of the schema or the migrator makes them fail instead of hang", () =>
      Effect.gen(function* () {
        const { owner } = yield* TenantDatabase
        const proxy = yield* makeProxy(owner)
        const client = Layer.fresh(
          PgClient.layer({ ...owner, host: "127.0.0.1", port: proxy.port, prepare: false })
        )
        const check = proxy.hold("lowest_program", "before")
        // repeated on another connection
        yield* Effect.provide(PgCheck.schema, client)
        yield* check.held
        const migrator = proxy.hold("to_regclass", "before")
        const error = yield* PgMigrator.runWith({ silence: "700 millis" }).pipe(
          Effect.flip,
          Effect.provide(client)
        )
        yield* migrator.held
        assert.include(error.message, "did not answer for 700 ms")
        assert.include(error.message, "run the migrations again")
      }).pipe(
        Effect.scoped,
        Effect.provideService(PgTenant.Silence, Duration.millis(700)),
        Effect.timeout("50 seconds")
      )
    )
  })
}
