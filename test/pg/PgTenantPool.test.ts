import { PgClient } from "@effect/sql-pg"
import { assert, describe, layer } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Logger, References, Schedule, Stream } from "effect"
import { SqlClient } from "effect/sql"
import * as EventStore from "../../src/store/EventStore.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import * as PgTenant from "../../src/pg/PgTenant.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { TenantRegistry } from "../../src/store/TenantRegistry.ts"
import {
  acrossTenants,
  as,
  everythingIn,
  failsWith,
  log,
  texts,
  write
} from "../../src/testing/isolation/kit.ts"
import * as TenantIsolationSuite from "../../src/testing/TenantIsolationSuite.ts"
import { servers } from "../support/Databases.ts"
import { layerOn, type Store, TenantDatabase } from "../support/tenantDatabase.ts"
import { flipped } from "../../src/testing/failures.ts"

/** Leftovers of user code on a connection, by mistake. `$tenant` is a tenant's id. */
interface Leftover {
  readonly statements: ReadonlyArray<string>
  /**
   * Operations that do not notice: the program's own statements in a transaction fail, or a read shows the
   * tenant's log as it was.
   */
  readonly closed?: ReadonlyArray<string>
  /** Also tried on connections that fibers share. */
  readonly shared?: boolean
}

const leftovers: Readonly<Record<string, Leftover>> = {
  nothing: { statements: [], shared: true },
  "an open transaction": { statements: ["begin"], shared: true },
  "an open transaction that has written": {
    statements: ["begin", "insert into public.scratch values ('lost')"]
  },
  "an open transaction with a savepoint": { statements: ["begin", "savepoint a"] },
  "an open transaction that reads an old snapshot": {
    statements: ["begin isolation level repeatable read", "select count(*) from public.scratch"],
    closed: ["read an append of another connection"]
  },
  "a read-only transaction": { statements: ["begin read only"], closed: ["transaction"] },
  "an aborted transaction": { statements: ["begin", "select 1/0"], shared: true },
  "a tenant for the session": { statements: ["set eventsourcing.tenant_id to '$tenant'"], shared: true },
  "an invalid tenant for the session": { statements: ["set eventsourcing.tenant_id to 'not a tenant'"] },
  "a tenant and a role for the session": {
    statements: ["set eventsourcing.tenant_id to '$tenant'", "set role eventsourcing_tenant"]
  },
  "a tenant in an open transaction": {
    statements: ["begin", "select eventsourcing.begin_tenant('$tenant')"]
  },
  "the role of tenants": { statements: ["set role eventsourcing_tenant"] },
  "the role across tenants": { statements: ["set role eventsourcing_all_tenants"], shared: true },
  "the role across tenants in an open transaction": {
    statements: ["begin", "set local role eventsourcing_all_tenants"]
  },
  "row security off": { statements: ["set row_security to off"] },
  "another isolation level": { statements: ["set default_transaction_isolation to serializable"] },
  "read-only transactions by default": {
    statements: ["set default_transaction_read_only to on"],
    closed: ["transaction"]
  },
  "another search path": { statements: ["set search_path to pg_temp"] }
}

type Operation = (
  mine: Tenant.TenantId,
  theirs: Tenant.TenantId
) => Effect.Effect<void, unknown, Store | TenantDatabase>

const committed = (statement: string, parameters: ReadonlyArray<unknown>) =>
  TenantDatabase.use(({ outside }) => outside(statement, parameters))

const operations: Readonly<Record<string, Operation>> = {
  append: Effect.fnUntraced(function* (mine) {
    const { events } = yield* write("appended").pipe(as(mine))
    const rows = yield* committed("select from eventsourcing.events where tenant_id = $1 and event_id = $2", [
      mine,
      events[0]?.eventId
    ])
    assert.lengthOf(rows, 1)
  }),
  read: Effect.fnUntraced(function* (mine) {
    assert.deepStrictEqual(texts(yield* log().pipe(as(mine))), [mine])
  }),
  "read an append of another connection": Effect.fnUntraced(function* (mine) {
    const { store } = yield* TenantDatabase
    assert.deepStrictEqual(texts(yield* log().pipe(as(mine))), [mine])
    yield* Effect.flatMap(store(), (other) =>
      write("elsewhere").pipe(as(mine), Effect.provideContext(other))
    ).pipe(Effect.scoped)
    assert.deepStrictEqual(texts(yield* log().pipe(as(mine))), [mine, "elsewhere"])
  }),
  transaction: Effect.fnUntraced(function* (mine) {
    const sql = yield* SqlClient.SqlClient
    const seen = yield* PgTenant.transaction(
      Effect.andThen(
        sql`insert into public.read_model values (${mine}, 'new', 'value')`,
        sql<{ tenant: string }>`select distinct tenant_id as tenant from public.read_model`
      )
    ).pipe(as(mine))
    assert.deepStrictEqual(seen, [{ tenant: mine }])
    const rows = yield* committed("select from public.read_model where tenant_id = $1 and id = 'new'", [mine])
    assert.lengthOf(rows, 1)
  }),
  provision: Effect.fnUntraced(function* () {
    const tenant = yield* Tenant.generate
    assert.strictEqual(yield* TenantRegistry.use(({ provision }) => provision(tenant)), "active")
    assert.lengthOf(yield* committed("select from eventsourcing.tenants where tenant_id = $1", [tenant]), 1)
  }),
  suspend: Effect.fnUntraced(function* (mine) {
    yield* TenantRegistry.use(({ suspend }) => suspend(mine)).pipe(acrossTenants)
    const rows = yield* committed("select status from eventsourcing.tenants where tenant_id = $1", [mine])
    assert.deepStrictEqual(rows, [{ status: "suspended" }])
    const audit = yield* committed(
      "select from eventsourcing.cross_tenant_accesses where operation like '%' || $1",
      [mine]
    )
    assert.lengthOf(audit, 1)
  }),
  "list tenants": Effect.fnUntraced(function* (mine, theirs) {
    const heads = yield* EventStore.EventStore.use((store) => Stream.runCollect(store.tenants)).pipe(
      acrossTenants
    )
    assert.includeMembers(
      heads.map(({ tenantId }) => tenantId),
      [mine, theirs]
    )
  })
}

/** Runs statements on the only connection of the pool, and returns it to the pool as they leave it. */
const leave = (statements: ReadonlyArray<string>) =>
  SqlClient.SqlClient.use((sql) =>
    Effect.scoped(
      Effect.flatMap(sql.reserve, (connection) =>
        Effect.forEach(
          ["rollback", "reset role", "reset all", ...statements],
          (statement) => Effect.ignore(connection.executeUnprepared(statement, [], undefined)),
          { discard: true }
        )
      )
    )
  )

const silent = Effect.provideService(References.CurrentLoggers, new Set())

for (const server of servers) {
  describe.each([{ multiplex: false }, { multiplex: true }])(`on ${server.name} %o`, (config) => {
    layer(layerOn(server), { excludeTestServices: true })("a connection that is passed on", (it) => {
      for (const [name, { closed = [], shared = false, statements }] of Object.entries(leftovers)) {
        if (config.multiplex && !shared) continue
        it.effect(`7: with ${name}: later work is correct, committed, and of its own tenant`, () =>
          Effect.gen(function* () {
            const database = yield* TenantDatabase
            const services = yield* database.store({ ...config, maxConnections: 1 })
            const failures: Array<string> = []
            for (const own of statements.some((text) => text.includes("$tenant")) ? [true, false] : [true]) {
              for (const [operation, run] of Object.entries(operations)) {
                const [mine, theirs] = [yield* Tenant.generate, yield* Tenant.generate]
                yield* Effect.gen(function* () {
                  for (const tenant of [mine, theirs]) {
                    yield* write(tenant).pipe(as(tenant))
                    yield* database.outside("insert into public.read_model values ($1, 'old', 'value')", [
                      tenant
                    ])
                  }
                  yield* leave(
                    statements.map((statement) => statement.replace("$tenant", own ? mine : theirs))
                  )
                  const exit = yield* Effect.exit(run(mine, theirs))
                  if (Exit.isFailure(exit) !== closed.includes(operation)) {
                    failures.push(`${operation} ${own}: ${String(exit)}`)
                  }
                  yield* leave([])
                }).pipe(Effect.provideContext(services), silent)
              }
            }
            assert.deepStrictEqual(failures, [])
            assert.deepStrictEqual(yield* database.outside("select * from public.scratch"), [])
          })
        )
      }

      it.effect("7: logs once that it had leftovers, and names no tenant", () =>
        Effect.gen(function* () {
          const database = yield* TenantDatabase
          const tenant = yield* Tenant.generate
          const logged: Array<unknown> = []
          const logger = Logger.make(({ logLevel, message }) => logged.push(logLevel, message))
          yield* Effect.gen(function* () {
            yield* leave([`set eventsourcing.tenant_id to '${tenant}'`])
            yield* log().pipe(as(yield* Tenant.generate))
            yield* log().pipe(as(yield* Tenant.generate))
          }).pipe(
            Effect.provideContext(yield* database.store({ ...config, maxConnections: 1 })),
            Effect.provideService(References.CurrentLoggers, new Set([logger]))
          )
          assert.strictEqual(logged[0], "Warn")
          assert.lengthOf(logged, 2)
          assert.notInclude(everythingIn(logged), tenant)
        })
      )
    })
  })

  layer(layerOn(server), { excludeTestServices: true })(`transactions on ${server.name}`, (it) => {
    it.effect("27: appends are complete and without gaps at every default isolation level", () =>
      Effect.gen(function* () {
        const database = yield* TenantDatabase
        for (const level of ["repeatable read", "serializable", "read committed"]) {
          yield* database.outside(
            `alter database ${database.name} set default_transaction_isolation to '${level}'`
          )
          const tenant = yield* Tenant.generate
          const services = yield* database.store({ maxConnections: 8 })
          yield* Effect.forEach(Array.from({ length: 32 }), (_, n) => write(`${n}`), {
            concurrency: "unbounded"
          }).pipe(as(tenant), Effect.provideContext(services))
          const positions = (yield* log().pipe(as(tenant), Effect.provideContext(services))).map(
            ({ position }) => position
          )
          assert.deepStrictEqual(
            positions,
            Array.from({ length: 32 }, (_, n) => n + 1)
          )
        }
      })
    )

    it.effect("34: a suspension waits for the append before it, and the append after it is refused", () =>
      Effect.gen(function* () {
        const { outside, store } = yield* TenantDatabase
        const tenant = yield* Tenant.generate
        yield* Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const registry = yield* TenantRegistry
          const [appended, goOn] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
          yield* registry.provision(tenant)
          const first = yield* Effect.forkChild(
            sql.withTransaction(
              write("first").pipe(
                Effect.andThen(Deferred.succeed(appended, undefined)),
                Effect.andThen(Deferred.await(goOn))
              )
            )
          )
          yield* Deferred.await(appended)
          const waiting = (count: number) =>
            outside(
              "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
            ).pipe(
              Effect.repeat({ until: (rows) => rows.length >= count, schedule: Schedule.spaced("5 millis") })
            )
          const suspension = yield* Effect.forkChild(registry.suspend(tenant).pipe(acrossTenants))
          yield* Effect.timeoutOption(waiting(1), "5 seconds")
          const behind = yield* Effect.forkChild(write("behind").pipe(failsWith("TenantSuspended")))
          yield* Effect.timeoutOption(waiting(2), "5 seconds")
          const early = [suspension.pollUnsafe(), behind.pollUnsafe()]
          yield* Deferred.succeed(goOn, undefined)
          assert.deepStrictEqual(early, [undefined, undefined])
          yield* Fiber.join(first)
          assert.strictEqual(yield* Fiber.join(suspension), "active")
          yield* Fiber.join(behind)
          assert.deepStrictEqual(texts(yield* log()), ["first"])
        }).pipe(as(tenant), Effect.provideContext(yield* store()))
      })
    )

    it.effect(
      "8: a store that was built in a transaction of one tenant serves another tenant outside of it",
      () =>
        Effect.gen(function* () {
          const { app } = yield* TenantDatabase
          const [first, second] = [yield* Tenant.generate, yield* Tenant.generate]
          const client = yield* Layer.build(PgClient.layer(app))
          const storage = PgTenant.transaction(
            Layer.build(Layer.fresh(TenantIsolationSuite.layer(PgStorage.layer)))
          )
          const services = yield* storage.pipe(as(first), Effect.provideContext(client))
          yield* Effect.gen(function* () {
            for (const tenant of [second, first]) {
              yield* write(tenant).pipe(as(tenant))
              assert.deepStrictEqual(texts(yield* log().pipe(as(tenant))), [tenant])
            }
          }).pipe(Effect.provideContext(services))
        })
    )

    it.effect("an append in a transaction with an old snapshot fails with a retryable error", () =>
      Effect.gen(function* () {
        const database = yield* TenantDatabase
        const tenant = yield* Tenant.generate
        const elsewhere = yield* database.store()
        yield* Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          yield* write("before")
          const error = yield* sql
            .withTransaction(
              Effect.gen(function* () {
                yield* log()
                yield* write("meanwhile").pipe(Effect.provideContext(elsewhere))
                return yield* write("too late").pipe(failsWith("StorageUnavailable"), flipped)
              })
            )
            .pipe(
              Effect.provideService(SqlClient.BeginTransaction, "BEGIN ISOLATION LEVEL REPEATABLE READ"),
              flipped
            )
          assert.isTrue("retryable" in error && error.retryable)
          assert.deepStrictEqual(texts(yield* log()), ["before", "meanwhile"])
        }).pipe(as(tenant), Effect.provideContext(yield* database.store()))
      })
    )
  })
}
