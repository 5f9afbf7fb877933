/** `eventsourcing doctor` on healthy databases, and on sick ones: each sickness is made for real, and found. */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it, layer } from "@effect/vitest"
import { Clock, Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import * as Cli from "../../src/cli/Cli.ts"
import { Examined } from "../../src/cli/commands/doctor.ts"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import type { Finding } from "../../src/pg/PgDoctor.ts"
import * as PgDoctor from "../../src/pg/PgDoctor.ts"
import * as PgServer from "../../src/pg/PgServer.ts"
import { EventStore } from "../../src/store/EventStore.ts"
import * as HashChain from "../../src/store/HashChain.ts"
import { runCommand, urlOf } from "../support/commandLine.ts"
import { type Database, servers } from "../support/Databases.ts"
import { storeWith } from "../support/tenantDatabase.ts"

class Sick extends Context.Service<Sick, Database & { readonly sql: PgClient.PgClient }>()("test/Sick") {}

const decode = Schema.decodeUnknownEffect(Schema.fromJsonString(Examined))

/** The findings of the command on a connection. */
const examine = (options: Cli.Options = {}, env: Readonly<Record<string, string>> = {}) =>
  Effect.gen(function* () {
    const { exitCode, stderr, stdout } = yield* runCommand(Cli.make(options), ["doctor", "--json"], { env })
    assert.strictEqual(stderr, "")
    const { findings } = yield* Effect.orDie(decode(stdout))
    assert.strictEqual(exitCode, findings.some(({ severity }) => severity !== "notice") ? 3 : 0)
    for (const { meaning, problem, repair } of findings)
      for (const text of [meaning, problem, repair]) assert.isAbove(text.length, 10)
    return findings
  })

type Expected = readonly [check: string, severity: PgDoctor.Severity, problem: RegExp, repair: RegExp]

const has = (
  findings: ReadonlyArray<Finding>,
  check: string,
  severity: PgDoctor.Severity,
  problem: RegExp,
  repair: RegExp
): Finding => {
  const found = findings.find(
    (finding) => finding.check === check && finding.severity === severity && problem.test(finding.problem)
  )
  if (found === undefined) return assert.fail(`${check} ${String(problem)} in ${JSON.stringify(findings)}`)
  assert.match(found.repair, repair)
  return found
}

const undone = "undone"

/** Examines a database as statements of the superuser leave it, and undoes them. */
const sick = (statements: string) =>
  Effect.gen(function* () {
    const { sql } = yield* Sick
    let findings: ReadonlyArray<Finding> = []
    yield* sql
      .withTransaction(
        Effect.gen(function* () {
          yield* sql.unsafe(`do $sick$ begin ${statements}; end $sick$`)
          // The store has connections of its own, which see none of it.
          findings = (yield* PgDoctor.examine).filter(({ check }) => check !== "settings")
          return yield* Effect.fail(undone)
        })
      )
      .pipe(
        Effect.provideService(SqlClient.SqlClient, sql),
        Effect.catchIf(
          (error) => error === undone,
          () => Effect.void
        )
      )
    return findings
  })

const sicknesses: Readonly<Record<string, readonly [statements: string, ...Expected]>> = {
  "no schema": [
    "drop schema eventsourcing_rebuild cascade; drop schema eventsourcing cascade",
    "schema",
    "critical",
    /no event store/,
    /eventsourcing migrate/
  ],
  "a schema of a later version": [
    "create or replace function eventsourcing.lowest_program() returns integer language sql immutable as 'select 99'",
    "schema",
    "critical",
    /refuses programs below 99/,
    /npm install/
  ],
  "a file with another text": [
    "update eventsourcing.schema_files set sha256 = '' where path = 'append/append.sql'",
    "schema",
    "warning",
    /append\/append\.sql/,
    /eventsourcing migrate/
  ],
  "a function that somebody has replaced": [
    "create or replace function eventsourcing.lowest_program() returns integer language sql immutable set search_path = pg_catalog, pg_temp as 'select 1 + 0'",
    "schema",
    "critical",
    /function lowest_program differs/,
    /delete from eventsourcing\.schema_files/
  ],
  "an index that is missing": [
    "drop index eventsourcing.dead_letters_age",
    "schema",
    "critical",
    /dead_letters_age is missing/,
    /eventsourcing migrate/
  ],
  "a trigger on events": [
    "create function public.refuse() returns trigger language plpgsql as 'begin return null; end'; create trigger refuse before insert on eventsourcing.events for each row execute function public.refuse()",
    "schema",
    "critical",
    /trigger refuse on eventsourcing\.events/,
    /drop trigger refuse on eventsourcing\.events/
  ],
  "a function of somebody else": [
    "create function eventsourcing.helper() returns int language sql as 'select 1'",
    "schema",
    "warning",
    /function helper/,
    /drop routine eventsourcing\.helper/
  ],
  "row-level security is off": [
    "alter table eventsourcing.events disable row level security",
    "isolation",
    "critical",
    /events/,
    /enable row level security/
  ],
  "a right to delete events": [
    "grant delete on eventsourcing.events to eventsourcing_tenant",
    "isolation",
    "critical",
    /events can be changed or removed by eventsourcing_tenant/,
    /revoke/
  ],
  "a role that may log in": [
    "alter role eventsourcing_tenant login",
    "isolation",
    "critical",
    /able to log in/,
    /nologin/
  ],
  "a program as superuser": [
    "create role doctor_super login superuser; grant eventsourcing_tenant to doctor_super",
    "logins",
    "critical",
    /doctor_super is a superuser and a member of eventsourcing_tenant/,
    /alter role doctor_super nosuperuser/
  ],
  "a login without row-level security": [
    "create role doctor_free login bypassrls",
    "logins",
    "critical",
    /doctor_free is exempt/,
    /alter role doctor_free nobypassrls/
  ],
  "a login with the rights of functions": [
    "create role doctor_group; create role doctor_owner login; grant eventsourcing_all_tenants_owner to doctor_group; grant doctor_group to doctor_owner",
    "logins",
    "critical",
    /doctor_owner is a member of eventsourcing_all_tenants_owner/,
    /revoke eventsourcing_all_tenants_owner from doctor_owner/
  ],
  "a login that begins with a tenant": [
    "create role doctor_bound login; alter role doctor_bound set eventsourcing.tenant_id = '0b7d1c7e-3c0e-4f4b-9d0a-6f3f4c1d2a5e'",
    "logins",
    "critical",
    /doctor_bound presets eventsourcing\.tenant_id/,
    /alter role doctor_bound reset eventsourcing\.tenant_id/
  ],
  "expired keys that nobody removes": [
    `insert into eventsourcing.command_keys values (gen_random_uuid(), 'k', '', 'Order', '1', 1, 1, 1, now() - interval '4 days', now() - interval '3 days')`,
    "growth",
    "warning",
    /command_keys has 1 keys that expired/,
    /remove_expired_keys/
  ],
  "records of accesses for years": [
    `insert into eventsourcing.cross_tenant_accesses (access_id, accessed_at, actor, reason, operation, login) values (gen_random_uuid(), now() - interval '2 years', 'a', 'r', 'o', 'l')`,
    "growth",
    "warning",
    /older than 400 days/,
    /remove_old_accesses/
  ],
  "a table that is not vacuumed": [
    "alter table eventsourcing.projections set (autovacuum_enabled = false)",
    "bloat",
    "warning",
    /autovacuum is off for eventsourcing\.projections/,
    /reset \(autovacuum_enabled\)/
  ]
}

const Opened = Schema.TaggedStruct("Opened", {})
const Order = Aggregate.make(
  "Order",
  { id: Schema.String, state: Schema.Struct({}), initial: {}, events: [Opened] },
  { Opened: (state) => state }
)

const tenant = (nth: number): Tenant.TenantId =>
  Schema.decodeSync(Tenant.TenantId)(`00000000-0000-4000-8000-${String(nth).padStart(12, "0")}`)

/** Work that does not go on: statements on rows of a tenant with one event. */
const stuck: Readonly<Record<string, readonly [statements: (id: string) => string, ...Expected]>> = {
  "a parked projection": [
    (id) =>
      `insert into eventsourcing.projections (tenant_id, projection, version, rebuild, position, head, parked, attempts, failed_position, error, failure_kind, served_at)
         values ('${id}', 'orders', 1, false, 0, 1, true, 3, 1, 'Error', 'handler', now());
       insert into eventsourcing.projection_failures values
         ('${id}', 'orders', 1, false, 1, 'handler', null, 'unknown product', 'Error: unknown product', 3, now() - interval '2 hours', now())`,
    "projections",
    "critical",
    /orders v1 of tenant .* is parked for 2 h/,
    /projections resume orders --of-version 1 --tenant/
  ],
  "a stalled projection": [
    (id) =>
      `insert into eventsourcing.projections (tenant_id, projection, version, rebuild, position, head, served_at)
         values ('${id}', 'invoices', 2, false, 0, 1, now() - interval '3 days')`,
    "projections",
    "critical",
    /invoices v2 of tenant .* is stalled: .* 3 d/,
    /ProjectionRunner/
  ],
  "a parked rebuild": [
    (id) =>
      `insert into eventsourcing.projections (tenant_id, projection, version, rebuild, position, head, parked, attempts, failed_position, error, failure_kind, served_at)
         values ('${id}', 'stock', 1, true, 0, 1, true, 1, 1, 'Error', 'handler', now()),
           ('${id}', 'stock', 1, false, 1, 1, false, 0, null, null, null, now())`,
    "projections",
    "critical",
    /the rebuild of projection stock v1 .* is parked/,
    /rebuild stock --tenant .* --restart/
  ],
  "dead letters": [
    (id) =>
      `insert into eventsourcing.dead_letters values ('${id}', 'orders', 1, false, 1, gen_random_uuid(), 'Error', 5, now())`,
    "deadLetters",
    "warning",
    /has 1 dead letters/,
    /dead-letters --tenant/
  ],
  "an import that nobody carries on": [
    (id) =>
      `update eventsourcing.tenants set status = 'importing', undertaking = '{"token": "t"}', created_at = now() - interval '5 hours' where tenant_id = '${id}'`,
    "lifecycle",
    "warning",
    /the import of tenant/,
    /import --abandon --tenant/
  ],
  "a move that nobody carries on": [
    (id) =>
      `update eventsourcing.tenants set status = 'importing', undertaking = jsonb_build_object('token', 't', 'move',
         jsonb_build_object('id', gen_random_uuid(), 'from', 'a', 'to', 'b', 'until', (extract(epoch from now()) * 1000 - 90000)::bigint)) where tenant_id = '${id}'`,
    "lifecycle",
    "critical",
    /the move of tenant/,
    /move --resume --tenant/
  ],
  "an erasure that did not end": [
    (id) =>
      `update eventsourcing.tenants set status = 'erased', undertaking = jsonb_build_object('token', 't', 'erasedAt', (extract(epoch from now()) * 1000 - 90000)::bigint,
         'actor', 'ada', 'reason', 'contract', 'events', 1, 'lastHash', null, 'purgeFrom', (extract(epoch from now()) * 1000 - 80000)::bigint) where tenant_id = '${id}'`,
    "lifecycle",
    "warning",
    /the rows of tenant .* not all removed/,
    /erase --finish --tenant/
  ]
}

for (const server of servers)
  layer(
    Layer.effect(
      Sick,
      Effect.gen(function* () {
        const database = yield* server.freshDatabase
        const services = yield* Effect.orDie(Layer.build(PgServer.layer(database.owner)))
        return { ...database, sql: Context.get(services, PgClient.PgClient) }
      })
    ),
    { excludeTestServices: true }
  )(`doctor on ${server.name}`, (it) => {
    it.effect("finds nothing on a healthy database, as its owner and as the program", () =>
      Effect.gen(function* () {
        const { app, owner } = yield* Sick
        assert.deepStrictEqual(yield* examine({}, { DATABASE_URL: urlOf(owner) }), [])
        const asProgram = yield* examine({}, { DATABASE_URL: urlOf(app) })
        assert.deepStrictEqual(
          asProgram.map(({ check, severity }) => [check, severity]),
          [
            ["growth", "notice"],
            ["growth", "notice"]
          ]
        )
      })
    )

    for (const [name, [statements, ...expected]] of Object.entries(sicknesses))
      it.effect(`finds ${name}`, () =>
        Effect.map(sick(statements), (findings) => {
          has(findings, ...expected)
        })
      )

    it.effect("finds a client that may hang, and shows no stack for it", () =>
      Effect.gen(function* () {
        const { owner } = yield* Sick
        const findings = yield* examine({
          database: Layer.orDie(PgClient.layer({ ...owner, multiplex: true }))
        })
        has(findings, "settings", "warning", /multiplex/, /multiplex: false/)
        has(findings, "settings", "warning", /statement_timeout is not set/, /PgServer\.layer/)
      })
    )

    it.effect("finds clocks that differ", () =>
      Effect.gen(function* () {
        const { sql } = yield* Sick
        const clock = yield* Clock.Clock
        const findings = yield* PgDoctor.examine.pipe(
          Effect.provideService(SqlClient.SqlClient, sql),
          Effect.provideService(
            Clock.Clock,
            Object.assign(Object.create(clock) as Clock.Clock, {
              currentTimeMillis: Effect.map(clock.currentTimeMillis, (now) => now - 60_000)
            })
          )
        )
        has(findings, "clocks", "warning", /60 s ahead of/, /chrony/)
      })
    )

    it.effect("finds dead rows", () =>
      Effect.gen(function* () {
        const { sql } = yield* Sick
        yield* sql.unsafe("alter table eventsourcing.cross_tenant_accesses set (autovacuum_enabled = false)")
        yield* sql.withTransaction(
          sql.unsafe(`do $$ begin
            insert into eventsourcing.cross_tenant_accesses (access_id, actor, reason, operation, login)
              select gen_random_uuid(), 'a', 'r', 'dead', 'l' from generate_series(1, 10500);
            delete from eventsourcing.cross_tenant_accesses where operation = 'dead';
          end $$`)
        )
        // Statistics follow the commit.
        const findings = yield* PgDoctor.examine.pipe(
          Effect.provideService(SqlClient.SqlClient, sql),
          Effect.repeat({
            until: (found) => found.some(({ problem }) => /dead rows/.test(problem)),
            times: 500
          })
        )
        has(findings, "bloat", "warning", /cross_tenant_accesses has \d+ dead rows/, /vacuum \(analyze\)/)
      })
    )

    it.effect("finds work that does not go on, each with its tenant and time", () =>
      Effect.gen(function* () {
        const { app, owner, sql } = yield* Sick
        const services = yield* storeWith(app)
        yield* Effect.forEach([...Object.keys(stuck), "chain"], (name, nth) =>
          Effect.gen(function* () {
            const store = yield* EventStore
            const open = (id: string) =>
              store.append({ aggregate: Order, id, events: [Opened.make({})], expectedVersion: "noStream" })
            yield* open("1")
            if (name !== "chain") return
            yield* HashChain.start
            yield* open("2")
          }).pipe(Tenant.provide(tenant(nth)))
        ).pipe(Effect.provideContext(services))
        for (const [nth, [statements]] of Object.values(stuck).entries())
          yield* sql.unsafe(`do $sick$ begin ${statements(tenant(nth))}; end $sick$`)
        // More former tenants than a page has, all before the others, and a dry run of a verification.
        yield* sql.unsafe(`do $sick$ begin
          insert into eventsourcing.tenants (tenant_id, status, undertaking)
            select ('00000000-0000-4000-7000-' || lpad(to_hex(n), 12, '0'))::uuid, 'erased', jsonb_build_object('token', 't', 'erasedAt', 1,
              'actor', 'ada', 'reason', 'contract', 'events', 1, 'lastHash', null, 'purgeFrom', 1, 'purged', true)
            from generate_series(1, 1001) n;
          insert into eventsourcing.cross_tenant_accesses
              (access_id, actor, reason, operation, login, parameters, completed_at, outcome)
            values (gen_random_uuid(), 'ada', 'look', 'Actions.verify ${tenant(0)}', 'l', '{"action": "verify", "dryRun": true}',
              now(), '{"status": "succeeded", "changed": false, "counts": {"tenants": 1, "projections": null, "events": 1,
                "deadLetters": null, "subjects": null, "rows": null, "bytes": null}, "details": {}}');
        end $sick$`)
        const findings = yield* examine({}, { DATABASE_URL: urlOf(owner) })
        const finds = ([check, severity, problem, repair]: Expected, text: string) =>
          findings.some(
            (finding) =>
              finding.check === check &&
              finding.severity === severity &&
              problem.test(finding.problem) &&
              repair.test(finding.repair) &&
              finding.problem.includes(text)
          )
        const missing = Object.entries(stuck).flatMap(([name, [, ...expected]], nth) =>
          finds(expected, tenant(nth)) ? [] : [name]
        )
        if (!finds(["chains", "warning", /never verified/, /verify --all/], "")) missing.push("chains")
        assert.deepStrictEqual(missing, [])
        const parked = has(findings, "projections", "critical", /orders v1/, /resume/)
        assert.isNotNull(parked.since)
      }).pipe(Effect.scoped)
    )
  })

describe("doctor", () => {
  it("knows versions of PostgreSQL that leak rows", () => {
    const leaks = (version: number) => PgDoctor.leaksOf(version).map(({ cve }) => cve)
    assert.deepStrictEqual(leaks(180_004), [])
    assert.deepStrictEqual(leaks(190_000), [])
    assert.deepStrictEqual(leaks(180_001), ["CVE-2026-2006"])
    assert.deepStrictEqual(leaks(170_005), ["CVE-2025-8713", "CVE-2026-2006"])
    assert.deepStrictEqual(leaks(170_000), ["CVE-2024-10976", "CVE-2025-8713", "CVE-2026-2006"])
    assert.deepStrictEqual(leaks(160_012), [])
    assert.deepStrictEqual(leaks(150_002), [
      "CVE-2023-2455",
      "CVE-2024-10976",
      "CVE-2025-8713",
      "CVE-2026-2006"
    ])
    assert.lengthOf(leaks(100_000), 4)
  })
})
