import { assert, layer } from "@effect/vitest"
import { Effect, Exit, Fiber, References } from "effect"
import { SqlClient } from "effect/sql"
import * as Event from "../../src/domain/Event.ts"
import * as PgTenant from "../../src/pg/PgTenant.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { TenantRegistry } from "../../src/store/TenantRegistry.ts"
import { acrossTenants, as, failsWith, log, texts, write } from "../../src/testing/isolation/kit.ts"
import { servers } from "../support/Databases.ts"
import { make as makeProxy, type Moment, type TcpProxy } from "../support/TcpProxy.ts"
import { assertClean, layerOn, type Store, TenantDatabase } from "../support/tenantDatabase.ts"

/** A store with one connection, through a proxy. */
const throughProxy = <A, E, R>(run: (proxy: TcpProxy) => Effect.Effect<A, E, R | Store>) =>
  Effect.gen(function* () {
    const database = yield* TenantDatabase
    const proxy = yield* makeProxy(database.app)
    const services = yield* database.store({
      host: "127.0.0.1",
      port: proxy.port,
      maxConnections: 1,
      prepare: false
    })
    return yield* run(proxy).pipe(Effect.provideContext(services))
  }).pipe(Effect.scoped)

const insert = (tenant: Tenant.TenantId, id: string) =>
  SqlClient.SqlClient.use((sql) => sql`insert into public.read_model values (${tenant}, ${id}, 'value')`)

const stored = (tenant: Tenant.TenantId) =>
  TenantDatabase.use(({ outside }) =>
    outside("select id from public.read_model where tenant_id = $1", [tenant])
  )

/** Checks that the connection is clean, and that a transaction for another tenant sees that tenant's rows. */
const assertUsable = Effect.gen(function* () {
  yield* assertClean
  const tenant = yield* Tenant.generate
  const sql = yield* SqlClient.SqlClient
  const rows = yield* PgTenant.transaction(
    Effect.andThen(
      insert(tenant, "usable"),
      sql<{ tenant: string }>`select tenant_id as tenant from public.read_model`
    )
  ).pipe(as(tenant))
  assert.deepStrictEqual(rows, [{ tenant }])
  assert.lengthOf(yield* stored(tenant), 1)
  yield* write("usable").pipe(as(tenant))
  assert.deepStrictEqual(texts(yield* log().pipe(as(tenant))), ["usable"])
  yield* assertClean
})

class Refused {
  readonly _tag = "Refused"
}

/** The points at which a transaction is interrupted: the statement, and true if it may be committed by then. */
const stages: ReadonlyArray<readonly [statement: string, fails: boolean, committed: ReadonlyArray<number>]> =
  [
    ["BEGIN", false, [0]],
    ["begin_tenant", false, [0]],
    ["insert into public.read_model", false, [0]],
    ["COMMIT", false, [0, 1]],
    ["ROLLBACK", true, [0]]
  ]

const moments: ReadonlyArray<Moment> = ["before", "after"]

for (const server of servers) {
  layer(layerOn(server), { excludeTestServices: true })(`a fiber interrupted on ${server.name}`, (it) => {
    for (const [statement, fails, committed] of stages) {
      for (const moment of moments) {
        it.effect(`6: ${moment} ${statement} leaves a clean connection`, () =>
          throughProxy(
            Effect.fnUntraced(function* (proxy) {
              const tenant = yield* Tenant.generate
              const { held, release } = proxy.hold(statement, moment)
              const fiber = yield* Effect.forkChild(
                PgTenant.transaction(
                  Effect.andThen(insert(tenant, "row"), fails ? Effect.fail(new Refused()) : Effect.void)
                ).pipe(as(tenant))
              )
              yield* held
              const interruption = yield* Effect.forkChild(Fiber.interrupt(fiber))
              // long enough for the client to ask the server to cancel
              yield* Effect.sleep("25 millis")
              yield* release
              yield* Fiber.join(interruption)
              assert.isTrue(Exit.isFailure(yield* Fiber.await(fiber)))
              assert.include(committed, (yield* stored(tenant)).length)
              yield* assertUsable
            })
          )
        )
      }
    }

    it.effect("6: in a running query leaves a clean connection", () =>
      throughProxy(
        Effect.fnUntraced(function* (proxy) {
          const tenant = yield* Tenant.generate
          const sql = yield* SqlClient.SqlClient
          const { held, release } = proxy.hold("insert into public.read_model", "after")
          const fiber = yield* Effect.forkChild(
            PgTenant.transaction(Effect.andThen(insert(tenant, "row"), sql`select pg_sleep(20)`)).pipe(
              as(tenant)
            )
          )
          yield* held
          yield* release
          yield* Effect.sleep("20 millis")
          yield* Fiber.interrupt(fiber)
          assert.deepStrictEqual(yield* stored(tenant), [])
          yield* assertUsable
        })
      )
    )

    for (const moment of moments) {
      it.effect(`6: ${moment} an append that is a transaction of its own leaves a clean connection`, () =>
        throughProxy(
          Effect.fnUntraced(function* (proxy) {
            const tenant = yield* Tenant.generate
            const { held, release } = proxy.hold("eventsourcing.append_", moment)
            const fiber = yield* Effect.forkChild(write("interrupted").pipe(as(tenant)))
            yield* held
            const interruption = yield* Effect.forkChild(Fiber.interrupt(fiber))
            yield* Effect.sleep("25 millis")
            // The caller is answered before the statement ends.
            yield* Fiber.join(interruption)
            yield* release
            yield* Effect.sleep("50 millis")
            yield* assertUsable
            assert.isAtMost((yield* log().pipe(as(tenant))).length, 1)
          })
        )
      )
    }

    it.effect("6: while it waits for a connection occupies none", () =>
      throughProxy(
        Effect.fnUntraced(function* (proxy) {
          const [first, second] = [yield* Tenant.generate, yield* Tenant.generate]
          const { held, release } = proxy.hold("COMMIT", "before")
          const running = yield* Effect.forkChild(PgTenant.transaction(insert(first, "row")).pipe(as(first)))
          yield* held
          const waiting = yield* Effect.forkChild(
            PgTenant.transaction(insert(second, "row")).pipe(as(second))
          )
          const appending = yield* Effect.forkChild(write("waits").pipe(as(second)))
          yield* Effect.sleep("10 millis")
          yield* Fiber.interrupt(waiting)
          // an append in progress may be awaited, and is then stored or not
          const interruption = yield* Effect.forkChild(Fiber.interrupt(appending))
          yield* release
          yield* Fiber.join(running)
          yield* Fiber.join(interruption)
          assert.deepStrictEqual([yield* stored(first), yield* stored(second)], [[{ id: "row" }], []])
          yield* assertUsable
          assert.isAtMost((yield* log().pipe(as(second))).length, 1)
        })
      )
    )
  })

  layer(layerOn(server), { excludeTestServices: true })(`a connection lost on ${server.name}`, (it) => {
    for (const [statement, fails, committed] of stages) {
      for (const moment of moments) {
        it.effect(`${moment} ${statement} is a typed error`, () =>
          throughProxy(
            Effect.fnUntraced(function* (proxy) {
              const tenant = yield* Tenant.generate
              const { done } = proxy.cut(statement, moment)
              const transaction = PgTenant.transaction(
                Effect.andThen(insert(tenant, "row"), fails ? Effect.fail(new Refused()) : Effect.void)
              ).pipe(as(tenant))
              if (statement === "COMMIT") yield* failsWith("OutcomeUnknown")(transaction)
              else assert.isTrue((yield* failsWith("StorageUnavailable")(transaction)).retryable)
              yield* done
              assert.include(committed, (yield* stored(tenant)).length)
              yield* assertUsable
            })
          )
        )
      }
    }

    it.effect("by pg_terminate_backend in a transaction is a typed error", () =>
      throughProxy(
        Effect.fnUntraced(function* () {
          const tenant = yield* Tenant.generate
          const { app, outside } = yield* TenantDatabase
          const terminate = outside(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and usename = $1",
            [app.username]
          )
          const error = yield* PgTenant.transaction(Effect.andThen(terminate, insert(tenant, "row"))).pipe(
            as(tenant),
            failsWith("StorageUnavailable")
          )
          assert.isTrue(error.retryable)
          assert.deepStrictEqual(yield* stored(tenant), [])
          yield* assertUsable
        })
      )
    )

    for (const moment of moments) {
      it.effect(
        `29: ${moment} an append is stored, the append is retried and returns the first outcome`,
        () =>
          throughProxy(
            Effect.fnUntraced(function* (proxy) {
              const tenant = yield* Tenant.generate
              const eventId = Event.generateId()
              yield* write("before").pipe(as(tenant))
              const { done } = proxy.cut("eventsourcing.append_", moment)
              const appended = yield* write("once", { eventId, expected: 1 }).pipe(as(tenant))
              yield* done
              assert.deepStrictEqual(
                [appended.replayed, appended.version, appended.position],
                [moment === "after", 2, 2]
              )
              assert.deepStrictEqual(texts(appended.events), ["once"])
              assert.deepStrictEqual(texts(yield* log().pipe(as(tenant))), ["before", "once"])
              yield* assertUsable
            })
          )
      )

      it.effect(`29: ${moment} a statement across tenants is done, it is retried and recorded once`, () =>
        throughProxy(
          Effect.fnUntraced(function* (proxy) {
            const tenant = yield* Tenant.generate
            const registry = yield* TenantRegistry
            const { outside } = yield* TenantDatabase
            for (const statement of ["provision_tenant", "record_operation", "set_tenant_status"]) {
              const { done } = proxy.cut(statement, moment)
              yield* registry.provision(tenant)
              yield* registry.suspend(tenant).pipe(acrossTenants)
              yield* done
            }
            assert.strictEqual(yield* registry.status.pipe(as(tenant)), "suspended")
            const audit = yield* outside(
              "select from eventsourcing.cross_tenant_accesses where operation like '%' || $1",
              [tenant]
            )
            assert.lengthOf(audit, 3)
            yield* assertUsable
          })
        )
      )
    }

    it.effect("29: again and again during appends loses and repeats no event", () =>
      Effect.gen(function* () {
        const { app, outside, store } = yield* TenantDatabase
        const tenants = [yield* Tenant.generate, yield* Tenant.generate]
        const services = yield* store({ maxConnections: 4 })
        const terminator = yield* outside(
          "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and usename = $1",
          [app.username]
        ).pipe(Effect.andThen(Effect.sleep("20 millis")), Effect.repeat({ times: 15 }), Effect.forkChild)
        const acknowledged = yield* Effect.forEach(
          Array.from({ length: 80 }),
          (_, n) =>
            // the store retries by itself, but not for ever
            write(`${n}`, { stream: `${n % 3}`, eventId: Event.generateId() }).pipe(
              Effect.retry({
                while: (error) =>
                  error._tag === "OutcomeUnknown" || (error._tag === "StorageUnavailable" && error.retryable)
              }),
              as(tenants[n % 2] ?? assert.fail())
            ),
          { concurrency: 8 }
        ).pipe(Effect.provideContext(services), Effect.provideService(References.CurrentLoggers, new Set()))
        yield* Fiber.interrupt(terminator)
        for (const tenant of tenants) {
          const events = yield* log().pipe(as(tenant), Effect.provideContext(services))
          assert.deepStrictEqual(
            events.map(({ position }) => position),
            events.map((_, index) => index + 1)
          )
          const own = acknowledged.filter(({ events: [event] }) => event?.tenantId === tenant)
          assert.sameMembers(
            events.map(({ eventId }) => eventId),
            own.map(({ events: [event] }) => event?.eventId ?? assert.fail())
          )
        }
      })
    )
  })
}
