/**
 * Projections on one PostgreSQL server: `npx tsx bench/projections.ts`, about a minute and a half.
 *
 * First, four processes share the events of 1,000 tenants while they are appended: the events of each process, the rate, and
 * events that were repeated, missed or out of order. Then the cost of idle tenants: the CPU time
 * of one runner and of the server (from /proc, on Linux only), with 100 and with 10,000 idle tenants.
 *
 * Flags: --tenants 1000 --events 20 --processes 4 --idle-tenants 10000 --idle-seconds 20
 */
import { PgClient } from "@effect/sql-pg"
import { Console, Effect, Layer } from "effect"
import { parseArgs } from "node:util"
import * as Tenant from "../src/domain/Tenant.ts"
import { append, deposited } from "../test/support/bank.ts"
import { storeOn } from "../test/support/crashWriter.ts"
import { configOf, freshDatabase } from "../test/support/Databases.ts"
import { type PgServer, start } from "../test/support/PgServer.ts"
import { startWorker, tables } from "../test/support/projectionWorker.ts"
import { serverTime, timesOf } from "./internal/cpu.ts"

const { values } = parseArgs({
  options: {
    tenants: { type: "string", default: "1000" },
    events: { type: "string", default: "20" },
    processes: { type: "string", default: "4" },
    "idle-tenants": { type: "string", default: "10000" },
    "idle-seconds": { type: "string", default: "20" }
  }
})
const tenants = Number(values.tenants)
const eventsPerTenant = Number(values.events)
const processes = Number(values.processes)
const idleTenants = Number(values["idle-tenants"])
const idleSeconds = Number(values["idle-seconds"])

const seconds = (since: number): number => (performance.now() - since) / 1000

const newDatabase = Effect.fnUntraced(function* (server: PgServer) {
  const database = yield* freshDatabase(configOf(server))
  const sql = yield* Layer.build(PgClient.layer({ ...database.owner, maxConnections: 1 })).pipe(
    Effect.flatMap((context) => Effect.provide(PgClient.PgClient, context))
  )
  for (const statement of tables) yield* sql.unsafe(statement)
  return { database, sql }
})

const waitFor = <E, R>(condition: Effect.Effect<boolean, E, R>): Effect.Effect<void, E, R> =>
  Effect.gen(function* () {
    while (!(yield* condition)) yield* Effect.sleep(50)
  })

const untilHandled = (sql: PgClient.PgClient, count: number) =>
  waitFor(
    Effect.map(
      sql<{ events: number }>`select coalesce(sum(events), 0)::int as events from sums`,
      ([row]) => row?.events === count
    )
  )

/** Appends to all tenants, in turn. */
const appendTo = (all: ReadonlyArray<Tenant.TenantId>, events: number) =>
  Effect.forEach(
    all,
    (tenant) =>
      append(
        "one",
        Array.from({ length: events }, (_, index) => deposited(index))
      ).pipe(Tenant.provide(tenant)),
    { concurrency: 64, discard: true }
  )

const newTenants = (count: number) => Effect.all(Array.from({ length: count }, () => Tenant.generate))

const demonstration = Effect.fnUntraced(function* (server: PgServer) {
  const { database, sql } = yield* newDatabase(server)
  const workers = yield* Effect.forEach(
    Array.from({ length: processes }, (_, index) => `process ${index + 1}`),
    (name) => startWorker(server, database, { name })
  )
  for (const worker of workers) yield* waitFor(Effect.sync(worker.isReady))
  const all = yield* newTenants(tenants)
  const total = tenants * eventsPerTenant
  yield* Console.log(`${processes} processes, ${tenants} tenants, ${eventsPerTenant} events each`)
  const began = performance.now()
  yield* Effect.gen(function* () {
    for (let left = eventsPerTenant; left > 0; left -= 5) yield* appendTo(all, Math.min(5, left))
  }).pipe(Effect.provide(storeOn(database.app, 4)))
  const appended = seconds(began)
  yield* untilHandled(sql, total)
  const handled = seconds(began)
  const shares = yield* sql<{ worker: string; events: number; tenants: number }>`
    select worker, count(*)::int as events, count(distinct tenant_id)::int as tenants
    from journal group by worker order by worker`
  for (const { worker, events, tenants: served } of shares) {
    yield* Console.log(`  ${worker}: ${events} events of ${served} tenants (${percent(events / total)})`)
  }
  const [found] = yield* sql<{ duplicates: number; gaps: number; disorder: number }>`
    with noted as (
      select tenant_id, position, n, lag(position, 1, 0::bigint) over (partition by tenant_id order by n) as before
      from journal
    )
    select (count(*) - count(distinct (tenant_id, position)))::int as duplicates,
      (${total}::int - count(distinct (tenant_id, position)))::int as gaps,
      (count(*) filter (where position <> before + 1))::int as disorder
    from noted`
  yield* Console.log(
    `  appended in ${appended.toFixed(1)} s, handled in ${handled.toFixed(1)} s: ${Math.round(total / handled)} events/s\n` +
      `  duplicates ${found?.duplicates}, gaps ${found?.gaps}, out of order ${found?.disorder}`
  )
}, Effect.scoped)

const percent = (share: number): string => `${(share * 100).toFixed(2)} %`

const idle = Effect.fnUntraced(function* (server: PgServer, count: number) {
  const { database, sql } = yield* newDatabase(server)
  yield* newTenants(count).pipe(
    Effect.flatMap((all) => appendTo(all, 1)),
    Effect.provide(storeOn(database.app, 4))
  )
  const worker = yield* startWorker(server, database, { name: "idle", concurrency: 4 })
  yield* untilHandled(sql, count)
  yield* sql`vacuum analyze`
  yield* sql`checkpoint`
  yield* Effect.sleep("3 seconds")
  const measure = Effect.gen(function* () {
    const [row] = yield* sql<{ transactions: number }>`
      select (xact_commit + xact_rollback)::int as transactions from pg_stat_database where datname = ${database.name}`
    return {
      runner: (yield* Effect.promise(() => timesOf(worker.pid)))?.own ?? Number.NaN,
      server: yield* Effect.promise(() => serverTime(server)),
      transactions: row?.transactions ?? Number.NaN
    }
  })
  const before = yield* measure
  yield* Effect.sleep(idleSeconds * 1000)
  const after = yield* measure
  const share = (key: keyof typeof before) => (after[key] - before[key]) / idleSeconds
  const began = performance.now()
  yield* sql`select eventsourcing.announce(null)`
  yield* Console.log(
    `${count} idle tenants, ${idleSeconds} s: runner ${percent(share("runner"))} and server ${percent(share("server"))} ` +
      `of a core, ${share("transactions").toFixed(1)} transactions/s; a sweep takes ${Math.round(seconds(began) * 1000)} ms`
  )
}, Effect.scoped)

const program = Effect.gen(function* () {
  const server = yield* Effect.acquireRelease(
    Effect.promise(() => start()),
    ({ stop }) => Effect.promise(stop)
  )
  yield* demonstration(server)
  if (process.platform !== "linux")
    return yield* Console.log("The cost of being idle is measured on Linux only.")
  for (const count of [100, idleTenants]) yield* idle(server, count)
}).pipe(Effect.scoped)

await Effect.runPromise(program)
