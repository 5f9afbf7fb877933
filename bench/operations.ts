/**
 * The looks of an operator on one PostgreSQL server: `npx tsx bench/operations.ts`, a minute and a half.
 *
 * Fills a database with generated tenants, events, work of projections and records of verifications, and times each look: the median
 * and the slowest of some runs, in milliseconds.
 *
 * Flags: --tenants 10000 --events 100 --projections 5 --runs 7
 */
import { PgClient } from "@effect/sql-pg"
import { Console, Effect, Layer, Stream } from "effect"
import { parseArgs } from "node:util"
import * as Tenant from "../src/domain/Tenant.ts"
import * as Actions from "../src/operations/Actions.ts"
import * as Operations from "../src/operations/Operations.ts"
import * as PgStorage from "../src/pg/PgStorage.ts"
import { configOf, freshDatabase } from "../test/support/Databases.ts"
import { start } from "../test/support/PgServer.ts"

const { values } = parseArgs({
  options: {
    tenants: { type: "string", default: "10000" },
    events: { type: "string", default: "100" },
    projections: { type: "string", default: "5" },
    runs: { type: "string", default: "7" }
  }
})
const tenants = Number(values.tenants)
const events = Number(values.events)
const projections = Number(values.projections)
const runs = Number(values.runs)

const idOf = (nth: string) => `('00000000-0000-4000-8000-' || lpad(to_hex(${nth}), 12, '0'))::uuid`

/** Tenants whose last event is of now, and which append one every hour. */
const fill = [
  `insert into eventsourcing.tenants (tenant_id) select ${idOf("n")} from generate_series(1, ${tenants}) n`,
  `insert into eventsourcing.events (tenant_id, position, aggregate_type, aggregate_id, version, event_id, event_type, schema_version,
     occurred_at, recorded_at, actor, correlation_id, metadata, payload, bytes)
   select ${idOf("n")}, p, 'Account', '1', p, ${idOf("p")}, 'Deposited', 1, now(), now() - (${events} - p) * interval '1 hour', 'ada',
     'correlation-' || p / 10, '{}', '{"_tag":"Deposited","amount":20}', 40
   from generate_series(1, ${tenants}) n cross join generate_series(1, ${events}) p`,
  `insert into eventsourcing.projections (tenant_id, projection, version, rebuild, position, head)
   select ${idOf("n")}, 'projection ' || p, 1, false, ${events} - n % 10, ${events}
   from generate_series(1, ${tenants}) n cross join generate_series(1, ${projections}) p`,
  `insert into eventsourcing.dead_letters (tenant_id, projection, version, rebuild, position, event_id, error, attempts, failed_at)
   select ${idOf("n")}, 'projection 1', 1, false, p, ${idOf("p")}, 'Error', 3, now()
   from generate_series(1, ${tenants}, 10) n cross join generate_series(1, 3) p`,
  `insert into eventsourcing.cross_tenant_accesses
     (access_id, accessed_at, actor, reason, operation, login, parameters, completed_at, outcome)
   select ('01900000-' || lpad(to_hex(n / 65536), 4, '0') || '-7' || lpad(to_hex(n % 4096), 3, '0') || '-8000-' || lpad(to_hex(n), 12, '0'))::uuid,
     now(), 'ada', 'nightly', 'Actions.verify ' || ${idOf(`n % ${tenants} + 1`)}, 'app', '{"dryRun": false}', now(),
     '{"status": "interrupted"}'
   from generate_series(1, ${tenants * 10}) n`,
  "vacuum analyze"
]

const access = { actor: "bench", reason: "bench" }
const tenant = Tenant.TenantId.make("00000000-0000-4000-8000-000000000001")

const at = <A, E, R>(look: Effect.Effect<A, E, R>) =>
  look.pipe(Tenant.provide(tenant), Tenant.provideAdministration(access))

const measure = Effect.fnUntraced(function* <E, R>(name: string, look: Effect.Effect<unknown, E, R>) {
  const times: Array<number> = []
  for (let run = 0; run < runs; run++) {
    const began = performance.now()
    yield* look
    times.push(performance.now() - began)
  }
  times.sort((one, other) => one - other)
  yield* Console.log(
    `${name}: ${times[Math.floor(runs / 2)]?.toFixed(0)} ms, slowest ${times.at(-1)?.toFixed(0)} ms`
  )
})

const program = Effect.gen(function* () {
  const server = yield* Effect.acquireRelease(
    Effect.promise(() => start()),
    ({ stop }) => Effect.promise(stop)
  )
  const database = yield* freshDatabase(configOf(server))
  const sql = yield* Layer.build(PgClient.layer({ ...database.owner, maxConnections: 1 })).pipe(
    Effect.flatMap((context) => Effect.provide(PgClient.PgClient, context))
  )
  const began = performance.now()
  for (const statement of fill) yield* sql.unsafe(statement)
  yield* Console.log(
    `${tenants} tenants, ${tenants * events} events, filled in ${((performance.now() - began) / 1000).toFixed(0)} s`
  )
  yield* Effect.gen(function* () {
    const operations = yield* Operations.Operations
    for (const order of ["id", "head", "lastAppend", "deadLetters", "distance"] as const)
      yield* measure(
        `tenants by ${order}`,
        operations.tenants({ order, limit: 100 }).pipe(Tenant.provideAll(access))
      )
    yield* measure("log", at(operations.log()))
    yield* measure("log of a type that is rare", at(operations.log({ eventTypes: ["Rare"] })))
    yield* measure("trace", at(operations.trace({ correlationId: "correlation-3" })))
    yield* measure("projections", at(operations.projections))
    yield* measure("dead letters", at(operations.deadLetters))
    yield* measure("stream", at(operations.stream({ aggregateType: "Account", aggregateId: "1" })))
    yield* measure("state", at(operations.state({ aggregateType: "Account", aggregateId: "1" })))
    yield* measure("decision", at(operations.decision({ items: [{ eventTypes: ["Rare"] }] })))
    yield* measure("subjects", at(operations.subjects()))
    yield* measure("chain", at(operations.chain))
    yield* measure("move", at(operations.move))
    yield* measure("projections of all", operations.projectionsOfAll.pipe(Tenant.provideAll(access)))
    yield* measure(
      "accesses of one tenant",
      operations.accesses({ tenantId: tenant, limit: 10 }).pipe(Tenant.provideAll(access))
    )
    const actions = yield* Actions.Actions
    yield* measure(
      "dry run: pause all",
      Stream.runDrain(actions.pauseProjectionsOfAll({ dryRun: true })).pipe(Tenant.provideAll(access))
    )
  }).pipe(
    Effect.provide(
      Layer.mergeAll(Operations.layer(), Actions.layer()).pipe(
        Layer.provide(PgStorage.layer),
        Layer.provide(PgClient.layer(database.app))
      )
    )
  )
})

await Effect.runPromise(Effect.scoped(program))
