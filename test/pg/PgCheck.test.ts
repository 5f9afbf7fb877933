import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Effect, Exit, Layer, Logger, References } from "effect"
import { SqlClient } from "effect/sql"
import * as PgCheck from "../../src/pg/PgCheck.ts"
import * as PgEventStorage from "../../src/pg/PgEventStorage.ts"
import * as PgMigrator from "../../src/pg/PgMigrator.ts"
import { everythingIn, failsWith } from "../../src/testing/TenantIsolationKit.ts"
import { type Config, servers } from "../support/Databases.ts"
import { layerOn, TenantDatabase } from "../support/tenantDatabase.ts"

/** What an operator may do to a database, and what is to be said about it. */
interface Impairment {
  readonly statements: ReadonlyArray<string>
  readonly problems: ReadonlyArray<RegExp>
}

const bare = "tenant_id = nullif(current_setting('eventsourcing.tenant_id', true), '')::uuid"

/** The same on the store's tables and on those of the user. */
const onTable = (table: string): Readonly<Record<string, Impairment>> => ({
  [`row-level security of ${table} off`]: {
    statements: [`alter table ${table} disable row level security`],
    problems: [RegExp(`^row-level security of ${table} is off$`)]
  },
  [`${table} not forced`]: {
    statements: [`alter table ${table} no force row level security`],
    problems: [RegExp(`^row-level security of ${table} is not forced on its owner$`)]
  },
  [`the restrictive policy of ${table} dropped`]: {
    statements: [`drop policy tenant_isolation on ${table}`],
    problems: [RegExp(`^policy tenant_isolation of ${table} is missing or changed$`)]
  },
  [`both policies of ${table} dropped`]: {
    statements: [`drop policy tenant_isolation on ${table}`, `drop policy tenant_access on ${table}`],
    problems: [
      RegExp(`^policy tenant_access of ${table} is`),
      RegExp(`^policy tenant_isolation of ${table} is`)
    ]
  },
  [`a policy of ${table} altered`]: {
    statements: [`alter policy tenant_isolation on ${table} using (true)`],
    problems: [RegExp(`^policy tenant_isolation of ${table} is missing or changed$`)]
  },
  [`the check of a policy of ${table} altered`]: {
    statements: [`alter policy tenant_isolation on ${table} with check (true)`],
    problems: [RegExp(`^policy tenant_isolation of ${table} is missing or changed$`)]
  },
  [`a policy of ${table} for somebody else`]: {
    statements: [`alter policy tenant_isolation on ${table} to eventsourcing_all_tenants`],
    problems: [RegExp(`^policy tenant_isolation of ${table} is missing or changed$`)]
  },
  [`a policy of ${table} for reading alone`]: {
    statements: [
      `drop policy tenant_isolation on ${table}`,
      `create policy tenant_isolation on ${table} as restrictive for select to eventsourcing_tenant using (${bare})`
    ],
    problems: [RegExp(`^policy tenant_isolation of ${table} is missing or changed$`)]
  },
  [`a policy of ${table} with another function of that name`]: {
    statements: [
      "create function public.current_setting(text, boolean) returns text language sql as 'select null::text'",
      `drop policy tenant_isolation on ${table}`,
      `create policy tenant_isolation on ${table} as restrictive to eventsourcing_tenant
        using (${bare.replace("current_setting", "public.current_setting")}) with check (${bare})`
    ],
    problems: [RegExp(`^policy tenant_isolation of ${table} is missing or changed$`)]
  },
  [`a permissive policy of ${table} for public`]: {
    statements: [`create policy convenient on ${table} using (true)`],
    problems: [RegExp(`^policy convenient of ${table} lets more rows through$`)]
  },
  [`a permissive policy of ${table} for tenants and others`]: {
    statements: [
      `create policy convenient on ${table} for select to eventsourcing_tenant, eventsourcing_all_tenants using (true)`
    ],
    problems: [RegExp(`^policy convenient of ${table} lets more rows through$`)]
  },
  [`${table} owned by the role of tenants`]: {
    statements: [`alter table ${table} owner to eventsourcing_tenant`],
    problems: [RegExp(`^role eventsourcing_tenant owns table ${table}$`)]
  },
  [`${table} truncatable`]: {
    statements: [`grant truncate on ${table} to eventsourcing_tenant`],
    problems: [RegExp(`^${table} may be truncated by eventsourcing_tenant$`)]
  },
  [`a child of ${table}`]: {
    statements: [`create table public.child () inherits (${table})`],
    problems: [
      /^row-level security of public.child is off$/,
      /^row-level security of public.child is not forced/,
      /^policy tenant_isolation of public.child is/
    ]
  },
  [`a view of a superuser on ${table}`]: {
    statements: [
      `create view public.everything as select * from ${table}`,
      "grant select on public.everything to public"
    ],
    problems: [RegExp(`^view public.everything shows all rows of ${table}, whoever asks$`)]
  },
  [`a materialized view of ${table}`]: {
    statements: [
      `create materialized view public.everything as select * from ${table}`,
      "grant select on public.everything to eventsourcing_tenant"
    ],
    problems: [RegExp(`^view public.everything shows all rows of ${table}, whoever asks$`)]
  }
})

const roles: Record<string, Impairment> = {}
for (const role of ["eventsourcing_tenant", "eventsourcing_all_tenants"]) {
  for (const [attribute, said] of [
    ["superuser", "a superuser"],
    ["bypassrls", "exempt from row-level security"],
    ["login", "able to log in"]
  ] as const) {
    roles[`${role} ${attribute}`] = {
      statements: [`alter role ${role} ${attribute}`],
      problems: [RegExp(`^role ${role} is ${said}$`)]
    }
  }
  roles[`${role} a member of another role`] = {
    statements: [`grant pg_read_all_data to ${role}`],
    problems: [RegExp(`^role ${role} is a member of pg_read_all_data$`)]
  }
}

const grants: Record<string, Impairment> = {}
for (const privilege of ["update", "update (payload)", "delete"]) {
  for (const grantee of ["eventsourcing_tenant", "eventsourcing_all_tenants", "public"]) {
    grants[`${privilege} on events for ${grantee}`] = {
      statements: [`grant ${privilege} on eventsourcing.events to ${grantee}`],
      problems: [RegExp(`^events can be changed or removed by ${grantee}$`)]
    }
  }
}

const impairments: Readonly<Record<string, Impairment>> = {
  ...onTable("eventsourcing.events"),
  ...onTable("eventsourcing.tenants"),
  ...onTable("public.read_model"),
  "the audit trail without row-level security": {
    statements: ["alter table eventsourcing.cross_tenant_accesses disable row level security"],
    problems: [/^row-level security of eventsourcing.cross_tenant_accesses is off$/]
  },
  "a partition that is open": {
    statements: [
      "create table public.parted (tenant_id uuid not null, id text, primary key (tenant_id, id)) partition by hash (tenant_id)",
      "create table public.leaf partition of public.parted for values with (modulus 1, remainder 0)",
      "select eventsourcing.protect_tenant_table('public.parted')",
      "grant select on public.leaf to eventsourcing_tenant"
    ],
    problems: [/^row-level security of public.leaf is off$/]
  },
  "a table that was never protected": {
    statements: [
      "create table public.forgotten (tenant_id uuid not null)",
      "grant select on public.forgotten to eventsourcing_tenant"
    ],
    problems: [
      /^row-level security of public.forgotten is off$/,
      /^policy tenant_isolation of public.forgotten is missing/
    ]
  },
  ...roles,
  "tenants able to look across": {
    statements: ["grant eventsourcing_all_tenants to eventsourcing_tenant"],
    problems: [/^role eventsourcing_tenant is a member of eventsourcing_all_tenants$/]
  },
  ...grants,
  "a function with the rights of its caller": {
    statements: ["alter function eventsourcing.log_position(uuid) security invoker"],
    problems: [/^function eventsourcing.log_position\(uuid\) runs with the rights of its caller$/]
  },
  "a function of a superuser": {
    statements: ["alter function eventsourcing.log_position(uuid) owner to current_user"],
    problems: [/^function eventsourcing.log_position\(uuid\) is owned by/]
  },
  "a function of a tenant that sees all of them": {
    statements: ["alter function eventsourcing.log_position(uuid) owner to eventsourcing_all_tenants"],
    problems: [/^function eventsourcing.log_position\(uuid\) is owned by eventsourcing_all_tenants$/]
  },
  "a function with the search path of its caller": {
    statements: ["alter function eventsourcing.log_position(uuid) reset search_path"],
    problems: [/^function eventsourcing.log_position\(uuid\) has no fixed search path$/]
  },
  "tenants able to read all logs": {
    statements: [
      "grant execute on function eventsourcing.read_all_logs(uuid, uuid, bigint, integer, bigint) to eventsourcing_tenant"
    ],
    problems: [/^function eventsourcing.read_all_logs.* may be called by eventsourcing_tenant$/]
  }
}

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

    it.effect("is not fooled by rights and tables that do no harm", () =>
      tentatively(
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          for (const statement of [
            "create table public.other (tenant_id uuid)",
            "grant all on public.other to public",
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
      it.effect(`31, 33: says what is wrong and what to do: ${name}`, () =>
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

  const start = (config: Config, options: PgEventStorage.Options = {}) =>
    Layer.build(PgEventStorage.layerWith(options)).pipe(
      Effect.provide(PgClient.layer(config), { local: true }),
      Effect.scoped
    )

  layer(layerOn(server), { excludeTestServices: true })(`the store on ${server.name}`, (it) => {
    it.effect("31: does not start on a database whose isolation is impaired, or says so", () =>
      Effect.gen(function* () {
        const { app, outside } = yield* TenantDatabase
        yield* outside("alter table eventsourcing.events disable row level security")
        const { message, problems: found } = yield* start(app).pipe(failsWith("IsolationImpaired"))
        assert.lengthOf(found, 1)
        assert.include(message, "row-level security of eventsourcing.events is off")
        assert.include(message, "alter table eventsourcing.events enable row level security")
        const logged: Array<unknown> = []
        yield* start(app, { onImpairedIsolation: "warn" }).pipe(
          Effect.provideService(
            References.CurrentLoggers,
            new Set([Logger.make(({ logLevel, message: said }) => logged.push(logLevel, said))])
          )
        )
        assert.deepStrictEqual(logged, ["Warn", [message]])
        for (const { remedy } of found) yield* outside(remedy)
        yield* start(app)
      })
    )

    it.effect("does not start on a database with other migrations, and says what to do", () =>
      Effect.gen(function* () {
        const { app, outside } = yield* TenantDatabase
        const latest = yield* PgMigrator.latest
        const at = (version: number) =>
          outside(
            `create or replace function eventsourcing.schema_version() returns integer language sql immutable as 'select ${version}'`
          )
        yield* at(latest - 1)
        const behind = yield* start(app).pipe(failsWith("SchemaOutdated"))
        assert.deepStrictEqual([behind.applied, behind.latest], [latest - 1, latest])
        assert.include(behind.message, "run PgMigrator.layer")
        yield* at(latest + 1)
        const ahead = yield* start(app).pipe(failsWith("SchemaOutdated"))
        assert.include(ahead.message, "upgrade the library")
        yield* at(latest)
        yield* start(app)
        yield* outside(
          "revoke usage on schema eventsourcing from eventsourcing_tenant, eventsourcing_all_tenants"
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
