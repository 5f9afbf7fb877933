/**
 * Read models survive the failure of their processes: workers are killed under load, the database is killed, and
 * several workers share the tenants. `EVENTSOURCING_PROJECTION_CRASH_ROUNDS` sets the number of killed workers (default:
 * `EVENTSOURCING_CRASH_ROUNDS`, or else 2), `EVENTSOURCING_PROJECTION_TENANTS` the number of tenants that they share
 * (default: 60).
 */
import { PgClient } from "@effect/sql-pg"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Stream } from "effect"
import { uuidV7Unsafe } from "effect/crypto/SecureRandom"
import * as Event from "../../src/domain/Event.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { Account, append, deposited } from "../support/bank.ts"
import { storeOn } from "../support/crashWriter.ts"
import { configOf, type Database, freshDatabase } from "../support/Databases.ts"
import { type PgServer, start } from "../support/PgServer.ts"
import { type Options, startWorker, tables } from "../support/projectionWorker.ts"

const { env } = process
const rounds = Number(env["EVENTSOURCING_PROJECTION_CRASH_ROUNDS"] ?? env["EVENTSOURCING_CRASH_ROUNDS"] ?? 2)
/** Killed workers of a rebuild of all tenants, of which there are two. */
const kills = Math.min(rounds, 5)
/** Killed workers of a long backlog: few enough that some of it is left for the last one. */
const backlogKills = Math.min(3 * rounds, 6)
const sharedTenants = Number(env["EVENTSOURCING_PROJECTION_TENANTS"] ?? 60)

/** Workers poll often and are in a batch most of the time, without overloading the machine. */
const eager = { batchSize: 10, pollInterval: 200, pause: 5 }

const newTenants = (count: number) => Effect.all(Array.from({ length: count }, () => Tenant.generate))

/** Waits until a condition holds, for a bounded time. */
const until = (goal: string, condition: () => boolean, millis = 20_000) =>
  Effect.gen(function* () {
    for (const deadline = Date.now() + millis; !condition(); yield* Effect.sleep(5)) {
      if (Date.now() > deadline) assert.fail(`not within ${millis} ms: ${goal}`)
    }
  })

/** A database with read models, and queries on it. */
const newDatabase = Effect.fnUntraced(function* (server: PgServer) {
  const database = yield* freshDatabase(configOf(server))
  const sql = yield* Layer.build(PgClient.layer({ ...database.owner, maxConnections: 2 })).pipe(
    Effect.flatMap((context) => Effect.provide(PgClient.PgClient, context))
  )
  for (const statement of tables) yield* sql.unsafe(statement)
  return {
    database,
    sql,
    /** Number of handled events, by worker. */
    handledBy: sql<{ worker: string; events: number }>`
      select worker, count(*)::int as events from journal group by worker`,
    /** The stopped projections. */
    parked: sql<{ error: string }>`select error from eventsourcing.projections where parked`
  }
})
type Tested = Effect.Success<ReturnType<typeof newDatabase>>

/** Waits until a number of events was handled; the database may be unavailable meanwhile. */
const untilHandled = (tested: Tested, count: number, millis = 20_000) =>
  Effect.gen(function* () {
    let handled = 0
    for (const deadline = Date.now() + millis; handled < count; yield* Effect.sleep(20)) {
      handled = yield* handledIn(tested)
      if (Date.now() > deadline) assert.fail(`${handled} of ${count} events handled in ${millis} ms`)
    }
  })

/** Number of handled events; 0 while the database is unavailable. Fails when a projection has stopped. */
const handledIn = ({ sql, parked }: Tested) =>
  Effect.gen(function* () {
    const stopped = yield* parked
    assert.deepStrictEqual(Array.from(stopped), [])
    const [row] = yield* sql<{ events: number }>`select coalesce(sum(events), 0)::int as events from sums`
    return row?.events ?? 0
  }).pipe(Effect.orElseSucceed(() => 0))

/** Checks that the tenant's read models are the fold of its log, with every event handled once, in order. */
const checkTenant = Effect.fnUntraced(function* ({ sql }: Tested, tenantId: Tenant.TenantId) {
  const log = yield* EventStore.EventStore.use((store) =>
    Stream.runCollect(store.readLog({ aggregates: [Account] }))
  ).pipe(Tenant.provide(tenantId))
  const journal = yield* sql<{ position: number }>`
    select position::int as position from journal where tenant_id = ${tenantId}::uuid order by n`
  assert.deepStrictEqual(
    journal.map(({ position }) => position),
    log.map((_, index) => index + 1)
  )
  const sums = yield* sql<{ events: number; total: number }>`
    select events, total::int as total from sums where tenant_id = ${tenantId}::uuid`
  const total = log.reduce(
    (sum, { payload }) => (payload._tag === "Deposited" ? sum + payload.amount : sum),
    0
  )
  assert.deepStrictEqual(Array.from(sums), [{ events: log.length, total }])
})

/**
 * Appends to the tenants, a few events ahead of the workers, until it is done. Unacknowledged appends are
 * repeated. Returns the number of events.
 */
const load = Effect.fnUntraced(function* (
  tested: Tested,
  tenants: ReadonlyArray<Tenant.TenantId>,
  isDone: () => boolean
) {
  let appended = 0
  let handled = 0
  const watch = Effect.gen(function* () {
    while (true) {
      handled = Math.max(handled, yield* handledIn(tested))
      yield* Effect.sleep(50)
    }
  })
  const write = Effect.fnUntraced(function* (tenantId: Tenant.TenantId) {
    for (let batch = 1; !isDone(); batch++) {
      while (appended - handled > 500 && !isDone()) yield* Effect.sleep(10)
      const events = Array.from({ length: 1 + (batch % 5) }, (_, index) =>
        Event.make(deposited(batch + index), { eventId: Event.generateId() })
      )
      yield* append(`account ${batch % 3}`, events).pipe(
        Effect.retry({
          while: (error) =>
            error._tag === "OutcomeUnknown" || (error._tag === "StorageUnavailable" && error.retryable)
        }),
        Tenant.provide(tenantId)
      )
      appended += events.length
    }
  })
  const watching = yield* Effect.forkChild(watch)
  yield* Effect.forEach(tenants, write, { concurrency: "unbounded", discard: true })
  yield* Fiber.interrupt(watching)
  return appended
})

describe("a read model on PostgreSQL", () => {
  let server: PgServer

  beforeAll(async () => {
    // Processes are killed, not the machine, so no write is lost.
    server = await start({ settings: { fsync: "off" } })
  })
  afterAll(() => server.stop())

  const startEager = (database: Database, options: Options) =>
    startWorker(server, database, { ...eager, ...options })

  it.live(
    `30: is the fold of the log after ${rounds} workers were killed under load`,
    () =>
      Effect.gen(function* () {
        const tested = yield* newDatabase(server)
        const tenants = yield* newTenants(6)
        let done = false
        let killed = 0
        yield* Effect.gen(function* () {
          const writing = yield* Effect.forkChild(load(tested, tenants, () => done))
          const survivor = yield* startEager(tested.database, { name: "survivor", concurrency: 1 })
          // They are killed and replaced concurrently.
          const victims = Effect.fnUntraced(function* (name: string) {
            while (killed < rounds) {
              killed++
              const worker = yield* startEager(tested.database, { name: `${name} ${killed}` })
              yield* until("the worker works", worker.isWorking)
              yield* Effect.sleep(Math.random() * 200)
              assert.strictEqual(yield* worker.kill, "SIGKILL")
            }
          }, Effect.scoped)
          yield* Effect.forEach(["first", "second"], victims, { concurrency: 2 })
          done = true
          yield* untilHandled(tested, yield* Fiber.join(writing))
          assert.isTrue(survivor.isAlive())
          for (const tenant of tenants) yield* checkTenant(tested, tenant)
          // Some were killed between the first event of a batch and its commit, which undoes the batch.
          const [row] = yield* tested.sql<{ undone: number }>`
            select (max(n) - count(*))::int as undone from journal`
          assert.isAbove(row?.undone ?? 0, 0)
        }).pipe(Effect.provide(storeOn(tested.database.app, 4)))
      }).pipe(Effect.scoped),
    60_000 + rounds * 5000
  )

  it.live(
    `30: is the fold of a long backlog after ${backlogKills} workers were killed in transactions of many pages`,
    () =>
      Effect.gen(function* () {
        const tested = yield* newDatabase(server)
        const [tenant = Tenant.untenanted] = yield* newTenants(1)
        const count = 12_000
        yield* Effect.gen(function* () {
          for (let n = 0; n < count; n += 2000) {
            const events = Array.from({ length: 2000 }, (_, index) => deposited(n + index))
            yield* append("one", events).pipe(Tenant.provide(tenant))
          }
          const options = { concurrency: 1, batchSize: 50, pollInterval: 200 }
          for (let killed = 0; killed < backlogKills; killed++) {
            yield* Effect.scoped(
              Effect.gen(function* () {
                const worker = yield* startWorker(server, tested.database, { name: `${killed}`, ...options })
                yield* until("the worker works", worker.isWorking)
                yield* Effect.sleep(Math.random() * 1000)
                assert.strictEqual(yield* worker.kill, "SIGKILL")
              })
            )
          }
          yield* startWorker(server, tested.database, { name: "last", ...options })
          yield* untilHandled(tested, count, 60_000)
          yield* checkTenant(tested, tenant)
          // A killed worker had handled more events than a page.
          const [row] = yield* tested.sql<{ undone: number }>`
            select (max(n) - count(*))::int as undone from journal`
          assert.isAbove(row?.undone ?? 0, options.batchSize)
        }).pipe(Effect.provide(storeOn(tested.database.app, 2)))
      }).pipe(Effect.scoped),
    180_000
  )

  it.live(
    "30: continues at once when the worker that had claimed it is killed",
    () =>
      Effect.gen(function* () {
        const tested = yield* newDatabase(server)
        const [tenant = Tenant.untenanted, other = Tenant.untenanted] = yield* newTenants(2)
        const give = (to: Tenant.TenantId) =>
          append("one", [deposited(1), deposited(2)]).pipe(Tenant.provide(to))
        yield* Effect.gen(function* () {
          yield* give(tenant)
          const stuck = yield* startEager(tested.database, { name: "stuck", concurrency: 1, stuck: true })
          yield* until("the tenant is claimed", stuck.isWorking)
          yield* startEager(tested.database, { name: "sound" })
          yield* give(other)
          yield* untilHandled(tested, 2)
          yield* checkTenant(tested, other)
          // The claimed tenant waits for its worker.
          yield* Effect.sleep(500)
          assert.deepStrictEqual(yield* tested.handledBy, [{ worker: "sound", events: 2 }])
          assert.strictEqual(yield* stuck.kill, "SIGKILL")
          yield* untilHandled(tested, 4, 2000)
          yield* checkTenant(tested, tenant)
          assert.deepStrictEqual(yield* tested.handledBy, [{ worker: "sound", events: 4 }])
        }).pipe(Effect.provide(storeOn(tested.database.app, 2)))
      }).pipe(Effect.scoped),
    60_000
  )

  it.live(
    "30: is the fold of the log after crashes of the database under load, and its workers recover by themselves",
    () =>
      Effect.gen(function* () {
        const tested = yield* newDatabase(server)
        const tenants = yield* newTenants(4)
        let done = false
        yield* Effect.gen(function* () {
          const workers = yield* Effect.forEach(["first", "second"], (name) =>
            startEager(tested.database, { name })
          )
          for (const worker of workers) yield* until("the worker works", worker.isReady)
          const writing = yield* Effect.forkChild(load(tested, tenants, () => done))
          const more = Effect.gen(function* () {
            const before = yield* tested.handledBy
            const counted = (name: string) => before.find(({ worker }) => worker === name)?.events ?? 0
            for (const deadline = Date.now() + 20_000; ; yield* Effect.sleep(20)) {
              const now = yield* tested.handledBy
              const grown = now.filter(({ worker, events }) => events >= counted(worker) + 50)
              if (grown.length === workers.length) return
              if (Date.now() > deadline)
                assert.fail(`the workers do not go on: ${JSON.stringify({ before, now })}`)
            }
          }).pipe(Effect.retry({ times: 100 }))
          for (const outage of [0, 500]) {
            yield* more
            yield* Effect.promise(server.kill9)
            yield* Effect.sleep(outage)
            yield* Effect.promise(server.restart)
          }
          yield* more
          done = true
          yield* untilHandled(tested, yield* Fiber.join(writing))
          for (const worker of workers) assert.isTrue(worker.isAlive())
          for (const tenant of tenants) yield* checkTenant(tested, tenant)
        }).pipe(Effect.provide(storeOn(tested.database.app, 4)))
      }).pipe(Effect.scoped),
    90_000
  )

  it.live(
    `is rebuilt for all tenants, with every event once, while ${2 * kills} workers are killed under load`,
    () =>
      Effect.gen(function* () {
        const tested = yield* newDatabase(server)
        const { database, sql } = tested
        const tenants = yield* newTenants(4)
        const across = { across: true, concurrency: 3 }
        let appended = 0
        const give = (tenant: Tenant.TenantId, count: number) =>
          append(
            "one",
            Array.from({ length: count }, () => deposited(1))
          ).pipe(Tenant.provide(tenant), Effect.tap(Effect.sync(() => (appended += count))))
        const row = Effect.map(
          sql<{ events: number; total: number }>`select events, total::int as total from grand`,
          ([found]) => found
        )
        const rebuilding = Effect.map(
          sql<{ rebuilding: boolean }>`
            select rebuilding from eventsourcing.projection_versions where projection = 'grand'`,
          ([found]) => found?.rebuilding === true
        )
        const progress = Effect.map(
          sql<{
            positions: number
          }>`select coalesce(sum(position), 0)::int as positions from eventsourcing.projections`,
          ([found]) => found?.positions
        )
        /** Fails when nothing has changed for a minute. */
        const eventually = (goal: string, holds: Effect.Effect<boolean, unknown>) =>
          Effect.gen(function* () {
            let [seen, deadline] = [yield* progress, Date.now() + 60_000]
            for (; !(yield* holds); yield* Effect.sleep(50)) {
              const now = yield* progress
              if (now !== seen) [seen, deadline] = [now, Date.now() + 60_000]
              if (Date.now() > deadline)
                assert.fail(`${goal}: ${appended} events, ${JSON.stringify(yield* row)}`)
            }
          })
        // An append that was interrupted may be stored as well.
        const isComplete = Effect.gen(function* () {
          const [stored] = yield* sql<{ count: number }>`
            select count(*)::int as count from eventsourcing.events`
          appended = stored?.count ?? 0
          return (yield* row)?.events === appended
        })
        yield* Effect.gen(function* () {
          for (const tenant of tenants) yield* give(tenant, 60)
          yield* Effect.scoped(
            Effect.andThen(
              startEager(database, { name: "before", ...across }),
              eventually("it is filled", isComplete)
            )
          )
          const access = uuidV7Unsafe()
          yield* sql`select eventsourcing.record_cross_tenant_access(${access}, 'test', 'test', 'test')`
          for (const round of [1, 2]) {
            // Only a rebuild makes this right again.
            yield* sql`update grand set total = total - 1000000`
            yield* sql`select eventsourcing.start_shared_rebuild(${access}, 'grand', 1, array['grand'], false)`
            const writing = yield* Effect.forkChild(
              Effect.forever(
                Effect.andThen(
                  Effect.forEach(tenants, (tenant) => give(tenant, 1), { discard: true }),
                  Effect.sleep(50)
                )
              )
            )
            for (let killed = 0; killed < kills; killed++) {
              yield* Effect.scoped(
                Effect.gen(function* () {
                  const worker = yield* startEager(database, { name: `${round} ${killed}`, ...across })
                  yield* until("the worker works", worker.isReady)
                  yield* Effect.sleep(Math.random() * 1500)
                  assert.strictEqual(yield* worker.kill, "SIGKILL")
                })
              )
            }
            const workers = yield* Effect.forEach(["one", "other"], (name) =>
              startEager(database, { name: `${round} ${name}`, ...across })
            )
            yield* eventually(
              "it takes its place",
              Effect.map(rebuilding, (underWay) => !underWay)
            )
            yield* Fiber.interrupt(writing)
            yield* eventually("it is complete", isComplete)
            assert.deepStrictEqual(yield* row, { events: appended, total: appended })
            assert.isEmpty(yield* sql`select from eventsourcing_rebuild.grand`)
            for (const worker of workers) yield* worker.kill
          }
        }).pipe(Effect.provide(storeOn(database.app, 4)))
      }).pipe(Effect.scoped),
    1_200_000
  )

  it.live(
    `is filled in order when 4 processes share ${sharedTenants} tenants, and each does some of the work`,
    () =>
      Effect.gen(function* () {
        const tested = yield* newDatabase(server)
        const tenants = yield* newTenants(sharedTenants)
        const names = ["first", "second", "third", "fourth"]
        yield* Effect.gen(function* () {
          const workers = yield* Effect.forEach(names, (name) => startEager(tested.database, { name }))
          for (const worker of workers) yield* until("the worker is ready", worker.isReady)
          for (let n = 0; n < 20; n += 5) {
            const events = Array.from({ length: 5 }, (_, index) => deposited(n + index))
            yield* Effect.forEach(tenants, (tenant) => append("one", events).pipe(Tenant.provide(tenant)), {
              concurrency: 8
            })
          }
          yield* untilHandled(tested, tenants.length * 20, 20_000 + tenants.length * 100)
          for (const tenant of tenants) yield* checkTenant(tested, tenant)
          const workersOf = yield* tested.handledBy
          assert.sameMembers(
            workersOf.map(({ worker }) => worker),
            names
          )
        }).pipe(Effect.provide(storeOn(tested.database.app, 4)))
      }).pipe(Effect.scoped),
    60_000 + sharedTenants * 200
  )
})
