/**
 * The store behind PgBouncer, which lends a connection per transaction: the real one, if it is installed (in the
 * path, or named by PGBOUNCER).
 */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Fiber, Layer, Redacted, type Scope, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { spawn, spawnSync } from "node:child_process"
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises"
import { createServer, connect } from "node:net"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { EventStorage } from "../../src/driver/EventStorage.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as PgCheck from "../../src/pg/PgCheck.ts"
import * as PgServer from "../../src/pg/PgServer.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import * as PgTenant from "../../src/pg/PgTenant.ts"
import * as TenantIsolationSuite from "../../src/testing/TenantIsolationSuite.ts"
import { as, failsWith, log, texts, write } from "../../src/testing/isolation/kit.ts"
import { type Config, servers } from "../support/Databases.ts"
import { layerOn, TenantDatabase } from "../support/tenantDatabase.ts"

const program = process.env["PGBOUNCER"] ?? "pgbouncer"
const installed = spawnSync(program, ["--version"]).status === 0

const freePort = Effect.promise(
  () =>
    new Promise<number>((resolve, reject) => {
      const probe = createServer().listen(0, "127.0.0.1", () => {
        const address = probe.address()
        probe.close(() =>
          typeof address === "object" && address !== null
            ? resolve(address.port)
            : reject(new Error("no port"))
        )
      })
    })
)

/** Fails until a session listens. */
const listening = (port: number) =>
  Effect.callback<void, Error>((resume) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.destroy()
      resume(Effect.void)
    })
    socket.on("error", (error) => resume(Effect.fail(error)))
  })

/** PgBouncer in front of a database until the scope closes. Returns the settings for a client. */
const pooler = (app: Config, poolSize: number): Effect.Effect<Config, never, Scope.Scope> =>
  Effect.gen(function* () {
    const port = yield* freePort
    const directory = yield* Effect.acquireRelease(
      Effect.promise(() => mkdtemp(Path.join(tmpdir(), "pgbouncer-"))),
      (path) => Effect.promise(() => rm(path, { recursive: true }))
    )
    const file = Path.join(directory, "pgbouncer.ini")
    const password = Redacted.isRedacted(app.password) ? Redacted.value(app.password) : ""
    const server = `host=${app.host} port=${app.port} dbname=${app.database} user=${app.username} password=${password}`
    yield* Effect.promise(async () => {
      await chmod(directory, 0o755)
      await writeFile(
        file,
        `[databases]\n${app.database} = ${server}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = ${port}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\ndefault_pool_size = ${poolSize}\n`
      )
    })
    yield* Effect.acquireRelease(
      Effect.sync(() =>
        // It refuses to run as root.
        spawn(program, [file], { stdio: "ignore", ...(process.getuid?.() === 0 ? { uid: 65534 } : {}) })
      ),
      (child) => Effect.sync(() => child.kill("SIGKILL"))
    )
    yield* Effect.eventually(Effect.tapError(listening(port), () => Effect.sleep("20 millis")))
    return { ...app, host: "127.0.0.1", port, password: Redacted.make("any") }
  })

const on = (config: PgServer.Options, options: PgStorage.Options = {}) =>
  TenantIsolationSuite.layer(
    PgStorage.layerWith(options).pipe(Layer.provideMerge(PgServer.layer(config)), Layer.orDie)
  )

/** The problems that the check finds, each by one of its words. */
const found = (words: ReadonlyArray<string>) =>
  PgCheck.settings.pipe(
    Effect.as([]),
    Effect.catchTag("SettingsIncomplete", ({ problems }) =>
      Effect.succeed(problems.map(({ problem }) => words.find((word) => problem.includes(word)) ?? problem))
    )
  )

if (!installed) {
  console.warn(
    "\n!!! The tests behind PgBouncer are SKIPPED: it is not installed (apt-get install pgbouncer, or set PGBOUNCER)\n"
  )
}

for (const server of servers) {
  describe.skipIf(!installed)(`behind PgBouncer, on ${server.name}`, () => {
    const test = <A, E>(name: string, body: (app: Config) => Effect.Effect<A, E, Scope.Scope>) =>
      it.live(
        name,
        () =>
          TenantDatabase.use(({ app, outside }) =>
            Effect.gen(function* () {
              // A pooler refuses startup parameters, so the role has the deadlines.
              for (const [setting, value] of Object.entries(PgServer.deadlines))
                yield* outside(
                  `alter role ${app.username} in database "${app.database}" set ${setting} = '${value}'`
                )
              return yield* body(app)
            })
          ).pipe(Effect.scoped, Effect.provide(layerOn(server))),
        60_000
      )

    test("the check finds prepared statements, listeners without announcements and a pool that is too small", (app) =>
      Effect.gen(function* () {
        const words = ["prepared", "announcements", "may open 10"]
        const small = yield* pooler(app, 3)
        const prepared = PgClient.layer({ ...small, keepAlive: "15 seconds", maxConnections: 10 })
        assert.deepStrictEqual(yield* Effect.provide(found(words), prepared), words)
        const large = yield* pooler(app, 10)
        const pooled = on(
          { ...large, pooled: true },
          { listen: { host: app.host, port: app.port, password: app.password } }
        )
        assert.deepStrictEqual(yield* Effect.provide(Effect.andThen(heard, found(words)), pooled), [])
      }))

    test("appends and transactions of tenants keep their order and their rows", (app) =>
      Effect.gen(function* () {
        const small = yield* pooler(app, 4)
        yield* Effect.gen(function* () {
          const tenants = yield* Effect.forEach(Array.from({ length: 6 }), () => Tenant.generate)
          yield* Effect.forEach(
            tenants,
            (tenant) =>
              Effect.forEach(
                Array.from({ length: 20 }, (_, n) => n),
                (n) =>
                  n % 2 === 0
                    ? write(`${n}`).pipe(as(tenant))
                    : PgTenant.transaction(
                        Effect.andThen(
                          SqlClient.SqlClient.use(
                            (sql) => sql`insert into public.read_model values (${tenant}, ${`${n}`}, 'value')`
                          ),
                          write(`${n}`)
                        )
                      ).pipe(as(tenant)),
                { discard: true }
              ),
            { concurrency: "unbounded", discard: true }
          )
          for (const tenant of tenants) {
            const expected = Array.from({ length: 20 }, (_, n) => `${n}`)
            assert.deepStrictEqual(texts(yield* log().pipe(as(tenant))), expected)
            const rows = yield* PgTenant.transaction(
              SqlClient.SqlClient.use(
                (sql) => sql<{ tenant: string }>`
                select tenant_id::text as tenant from public.read_model`
              )
            ).pipe(as(tenant))
            assert.deepStrictEqual(
              rows,
              Array.from({ length: 10 }, () => ({ tenant }))
            )
          }
        }).pipe(Effect.provide(on({ ...small, maxConnections: 4, pooled: true })))
      }))

    test("announcements arrive only on the server's own address", (app) =>
      Effect.gen(function* () {
        const through = yield* pooler(app, 4)
        const direct = { host: app.host, port: app.port, password: app.password }
        const hears = (options: PgStorage.Options) =>
          heard.pipe(Effect.provide(on({ ...through, maxConnections: 4, pooled: true }, options)))
        assert.isFalse(yield* hears({}))
        assert.isTrue(yield* hears({ listen: direct }))
      }))

    test("a session has no leftovers of a tenant's SQL after a rollback, for anybody who gets it next", (app) =>
      Effect.gen(function* () {
        const small = yield* pooler(app, 2)
        const several = Array.from({ length: 8 }, (_, n) => n)
        yield* Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const leave = (n: number) =>
            Effect.forEach(
              [
                "create temp table staging (v text)",
                "prepare leftover as select 1",
                "set time zone 'Asia/Tokyo'",
                `select pg_advisory_lock(${n})`
              ],
              (text) => sql.unsafe(text)
            )
          // at once, so that each session of the pool is used
          yield* Effect.forEach(
            several,
            Effect.fnUntraced(function* (n) {
              const tenant = yield* Tenant.generate
              const failing = PgTenant.transaction(Effect.andThen(leave(n), Effect.fail("undone"))).pipe(
                as(tenant)
              )
              assert.strictEqual(yield* Effect.flip(failing), "undone")
            }),
            { concurrency: "unbounded" }
          )
          const leftovers = sql.withTransaction(
            sql<{ pid: number; prepared: number; temporary: boolean; zone: boolean; locks: number }>`
              select pg_backend_pid() as pid, pg_my_temp_schema() <> 0 as temporary,
                (select count(*)::int from pg_prepared_statements where from_sql) as prepared,
                current_setting('TimeZone') = 'Asia/Tokyo' as zone,
                (select count(*)::int from pg_locks where pid = pg_backend_pid() and locktype = 'advisory') as locks
              from pg_sleep(0.1)`
          )
          const rows = (yield* Effect.forEach(several, () => leftovers, { concurrency: 4 })).flat()
          assert.strictEqual(new Set(rows.map(({ pid }) => pid)).size, 2)
          for (const { pid, temporary: _, ...left } of rows)
            assert.deepStrictEqual({ pid, ...left }, { pid, prepared: 0, zone: false, locks: 0 })
        }).pipe(Effect.provide(on({ ...small, maxConnections: 4, pooled: true })))
      }))

    test("a pool that is smaller than the client's does not hang for ever", (app) =>
      Effect.gen(function* () {
        const one = yield* pooler(app, 1)
        yield* Effect.gen(function* () {
          const [first, second] = [yield* Tenant.generate, yield* Tenant.generate]
          const [inside, leave] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
          const open = yield* write("first").pipe(
            Effect.andThen(Deferred.succeed(inside, undefined)),
            Effect.andThen(Deferred.await(leave)),
            PgTenant.transaction,
            as(first),
            Effect.forkChild
          )
          yield* Deferred.await(inside)
          yield* PgTenant.transaction(write("waits")).pipe(as(second), failsWith("TimedOut"))
          yield* Deferred.succeed(leave, undefined)
          yield* Fiber.join(open)
        }).pipe(
          Effect.provide(on({ ...one, pooled: true })),
          Effect.provideService(PgTenant.Silence, Duration.seconds(1))
        )
      }))
  })
}

/** True if a notification of another session arrives within a second. */
const heard = Effect.gen(function* () {
  const { changes } = yield* EventStorage
  const sql = yield* SqlClient.SqlClient
  let count = 0
  yield* Effect.forkScoped(Stream.runForEach(changes, () => Effect.sync(() => count++)))
  yield* Effect.sleep("500 millis")
  const before = count
  yield* sql`select pg_notify('eventsourcing', '')`
  yield* Effect.sleep("1 second")
  return count > before
}).pipe(Effect.scoped)
