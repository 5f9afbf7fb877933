import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Layer, Schedule } from "effect"
import { SqlClient } from "effect/sql"
import * as PgCheck from "../../src/pg/PgCheck.ts"
import * as PgTenant from "../../src/pg/PgTenant.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import { lowestSchema, schemaNumber } from "../../src/pg/schemaNumber.ts"
import { everythingIn, failsWith } from "../../src/testing/isolation/kit.ts"
import { type Config, servers } from "../support/Databases.ts"
import { logged } from "../support/logs.ts"
import * as lateServer from "../support/lateServer.ts"
import { impairments } from "../support/impairments.ts"
import { layerOn, TenantDatabase } from "../support/tenantDatabase.ts"

const undone = "undone"

/** Runs as the superuser, in a transaction that is undone. */
const tentatively = <A, E>(body: Effect.Effect<A, E, SqlClient.SqlClient>) =>
  Effect.gen(function* () {
    const { owner } = yield* TenantDatabase
    const services = yield* Layer.build(PgClient.layer({ ...owner, maxConnections: 1 }))
    yield* SqlClient.SqlClient.use((sql) =>
      sql.withTransaction(Effect.andThen(body, Effect.fail(undone)))
    ).pipe(
      Effect.catchIf(
        (error) => error === undone,
        () => Effect.void
      ),
      Effect.provideContext(services)
    )
  }).pipe(Effect.scoped)

const problems = Effect.map(Effect.result(PgCheck.isolation), (result) =>
  result._tag === "Success"
    ? []
    : result.failure._tag === "IsolationImpaired"
      ? result.failure.problems
      : assert.fail(result.failure.message)
)

for (const server of servers) {
  layer(layerOn(server), { excludeTestServices: true })(`the check of isolation on ${server.name}`, (it) => {
    it.effect("31: finds nothing wrong with a migrated database, also as the application", () =>
      TenantDatabase.use(({ app, owner }) =>
        Effect.forEach([app, owner], (config) =>
          Effect.map(Effect.provide(problems, PgClient.layer(config), { local: true }), (found) =>
            assert.deepStrictEqual(found, [])
          )
        )
      )
    )

    for (const routine of ["protect_tenant_table", "register_read_model"])
      it.effect(`31, 39: a table with a key without the tenant is refused by ${routine}`, () =>
        tentatively(
          Effect.gen(function* () {
            const sql = yield* SqlClient.SqlClient
            yield* sql.unsafe("create table public.whole (tenant_id uuid, id text primary key)")
            const part = (keys: string) =>
              `create table public.part (tenant_id uuid not null, id text, whole text, ${keys})`
            for (const [keys, problem] of [
              ["primary key (id)", "key public.part_pkey of public.part leaves out the tenant"],
              [
                "primary key (tenant_id, id), foreign key (whole) references public.whole (id) on delete cascade",
                "foreign key part_whole_fkey of public.part refers to public.whole without the tenant"
              ]
            ] as const) {
              yield* sql.unsafe(part(keys))
              const refused = sql.withTransaction(
                sql.unsafe(`select eventsourcing.${routine}('public.part')`)
              )
              assert.include(everythingIn(yield* Effect.flip(refused)), problem)
              yield* sql.unsafe("drop table public.part")
            }
            yield* sql.unsafe(part("primary key (tenant_id, id)"))
            yield* sql.unsafe(`select eventsourcing.${routine}('public.part')`)
          })
        )
      )

    it.effect("accepts rights and tables that do no harm", () =>
      tentatively(
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          for (const statement of [
            "create table public.other (tenant_id uuid)",
            "create table public.countries (code text primary key)",
            "grant all on public.countries to public",
            "create view public.own with (security_invoker) as select * from public.read_model",
            "grant select on public.own to eventsourcing_tenant",
            "create policy reports on public.read_model for select to eventsourcing_all_tenants using (true)",
            "create policy narrower on public.read_model as restrictive using (id <> 'hidden')",
            "grant references, trigger on public.read_model to eventsourcing_tenant"
          ]) {
            yield* sql.unsafe(statement)
          }
          assert.deepStrictEqual(yield* problems, [])
        })
      )
    )

    for (const [name, impairment] of Object.entries(impairments)) {
      it.effect(`31, 33, 39: names the problem and its remedy: ${name}`, () =>
        tentatively(
          Effect.gen(function* () {
            const sql = yield* SqlClient.SqlClient
            for (const statement of impairment.statements) yield* sql.unsafe(statement)
            const found = yield* problems
            for (const expected of impairment.problems) {
              assert.isTrue(
                found.some(({ problem }) => expected.test(problem)),
                `${String(expected)} in ${everythingIn(found)}`
              )
            }
            for (const { remedy } of found) yield* sql.unsafe(remedy)
            assert.deepStrictEqual(yield* problems, [])
          })
        )
      )
    }
  })

  const start = (config: Config, options: PgStorage.Options = {}) =>
    Layer.build(PgStorage.layerWith(options)).pipe(
      Effect.provide(PgClient.layer(config), { local: true }),
      Effect.scoped
    )

  layer(layerOn(server), { excludeTestServices: true })(`the store on ${server.name}`, (it) => {
    it.effect("31: refuses a database whose isolation is impaired, or logs a warning", () =>
      Effect.gen(function* () {
        const { app, outside } = yield* TenantDatabase
        yield* outside("alter table eventsourcing.events disable row level security")
        const { message, problems: found } = yield* start(app).pipe(failsWith("IsolationImpaired"))
        assert.lengthOf(found, 1)
        assert.include(message, "row-level security of eventsourcing.events is off")
        assert.include(message, "alter table eventsourcing.events enable row level security")
        assert.deepStrictEqual(yield* logged(start(app, { onImpairedIsolation: "warn" })), [
          "Warn",
          [message]
        ])
        for (const { remedy } of found) yield* outside(remedy)
        yield* start(app)
      })
    )

    it.effect("asks again while the server is absent or still starting", () =>
      Effect.gen(function* () {
        const { app } = yield* TenantDatabase
        const late = yield* lateServer.make(app)
        const checks: ReadonlyArray<Effect.Effect<void, unknown, SqlClient.SqlClient>> = [
          PgCheck.schema,
          PgCheck.isolation
        ]
        const client = yield* Layer.build(
          Layer.fresh(PgClient.layer({ ...app, host: "127.0.0.1", port: late.port }))
        )
        for (const check of checks) {
          yield* late.become("absent")
          const checking = yield* Effect.forkChild(Effect.provideContext(check, client), {
            startImmediately: true
          })
          // the first attempt is refused within a millisecond
          yield* Effect.sleep("50 millis")
          const before = late.turnedAway()
          yield* late.become("starting")
          yield* Effect.suspend(() =>
            late.turnedAway() > before ? Effect.void : Effect.fail("not yet")
          ).pipe(Effect.retry(Schedule.spaced("5 millis")), Effect.raceFirst(Fiber.join(checking)))
          assert.isAbove(late.turnedAway(), before)
          yield* late.become("serving")
          yield* Fiber.join(checking)
        }
      }).pipe(Effect.scoped, Effect.timeout("20 seconds"))
    )

    it.effect("has time for the check of isolation, also with a short deadline for silence", () =>
      Effect.gen(function* () {
        const { app } = yield* TenantDatabase
        yield* PgCheck.isolation.pipe(
          Effect.provide(PgClient.layer({ ...app, maxConnections: 1 }), { local: true }),
          Effect.provideService(PgTenant.Silence, Duration.millis(1))
        )
      })
    )

    it.effect("starts on a newer schema only if that allows it, and otherwise names the remedy", () =>
      Effect.gen(function* () {
        const { app, outside } = yield* TenantDatabase
        const at = (name: "schema_version" | "lowest_program", number: number) =>
          outside(
            `create or replace function eventsourcing.${name}() returns integer language sql immutable
              set search_path = pg_catalog, pg_temp as 'select ${number}'`
          )
        yield* at("schema_version", lowestSchema - 1)
        const behind = yield* start(app).pipe(failsWith("SchemaOutdated"))
        assert.deepStrictEqual([behind.applied, behind.latest], [lowestSchema - 1, schemaNumber])
        assert.include(behind.message, "run PgMigrator.layer")
        // expanded first: programs of the previous version continue
        yield* at("schema_version", schemaNumber + 1)
        yield* start(app)
        yield* at("lowest_program", schemaNumber + 1)
        const ahead = yield* start(app).pipe(failsWith("SchemaOutdated"))
        assert.include(ahead.message, "upgrade the library")
        yield* at("schema_version", schemaNumber)
        yield* at("lowest_program", schemaNumber)
        yield* start(app)
        yield* outside(
          `revoke usage on schema eventsourcing
            from eventsourcing_tenant, eventsourcing_runner, eventsourcing_all_tenants, eventsourcing_administrator`
        )
        assert.strictEqual((yield* start(app).pipe(failsWith("SchemaOutdated"))).applied, 0)
        yield* outside("drop schema eventsourcing cascade")
        const none = yield* start(app).pipe(failsWith("SchemaOutdated"))
        assert.strictEqual(none.applied, 0)
        assert.include(none.message, "the database has no event store")
      })
    )

    it.effect("does not start without a database, with a typed error", () =>
      Effect.gen(function* () {
        const { app } = yield* TenantDatabase
        const exit = yield* start({ ...app, port: 1, url: undefined, connectTimeout: 300 }).pipe(
          Effect.timeout("10 seconds"),
          Effect.exit
        )
        assert.isTrue(Exit.isFailure(exit))
        assert.match(everythingIn(exit), /StorageUnavailable|SqlError/)
      })
    )
  })
}
