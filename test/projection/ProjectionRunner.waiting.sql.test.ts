/** Failures of the database, in handlers and in statements of the library. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Layer, Schedule, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { EventStorage } from "../../src/driver/EventStorage.ts"
import { ProjectionStorage } from "../../src/driver/ProjectionStorage.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as PgTenant from "../../src/pg/PgTenant.ts"
import * as ProjectionManager from "../../src/projection/ProjectionManager.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import {
  append,
  beside,
  drain,
  equalsFold,
  isLive,
  orders,
  placed,
  progressOf,
  tables,
  tenants
} from "../support/projected.ts"
import { backendsWith, Owner } from "../support/readModels.ts"
import { flipped } from "../../src/testing/failures.ts"

const ddl = [
  ...tables,
  "create table prices (tenant_id uuid)",
  `create function trouble(code text) returns void language plpgsql
    as $$ begin raise exception 'the trouble with canary' using errcode = code, detail = 'Key (name)=(canary)'; end $$`,
  "create function helps() returns integer language sql as 'select 1'"
]

const Ref = { name: "orders", version: 1 }

/** A handler that calls a database function, which fails with a SQLSTATE while it is broken. */
const raising = (codes: ReadonlyArray<string>, trouble: { now: boolean }) => (n: number) =>
  SqlClient.SqlClient.use((sql) => (trouble.now ? sql`select trouble(${codes[n - 1] ?? ""})` : sql`select 1`))

const waiting = ["53100", "40P01"]

const notFitting = ["42883", "26000"]

/** A tenant for each code, with an event that names it. */
const tenantsFor = (codes: ReadonlyArray<string>) =>
  Effect.forEach(codes, (code, index) =>
    Effect.gen(function* () {
      const [tenant = Tenant.untenanted] = yield* tenants(1)
      yield* append(tenant, "a", placed(index + 1))
      yield* append(tenant, "b", placed(index + 1))
      return { code, tenant }
    })
  )

const later = Schedule.spaced("20 millis").pipe(Schedule.upTo({ times: 200 }))

/** Works until a condition holds. */
const drainUntil = <A, E, R>(check: Effect.Effect<A, E, R>) =>
  Effect.andThen(drain, check).pipe(Effect.catchDefect(Effect.fail), Effect.retry(later))

describe.each(backendsWith(ddl))("on $name", (backend) => {
  const services = ProjectionManager.layer.pipe(
    Layer.provideMerge(EventStore.layer),
    Layer.provideMerge(backend.layer)
  )
  layer(services, { excludeTestServices: true })((it) => {
    it.effect("a worker waits for a lock for 10 seconds, also across tenants", () =>
      Effect.gen(function* () {
        const seen: Array<string> = []
        const look = SqlClient.SqlClient.use((sql) =>
          Effect.map(sql<{ bound: string }>`select current_setting('lock_timeout') as bound`, ([row]) =>
            seen.push(row?.bound ?? "")
          )
        )
        const [tenant = Tenant.untenanted] = yield* tenants(1)
        yield* append(tenant, "a", placed(1))
        yield* drainUntil(isLive(tenant, 1)).pipe(beside([orders({ before: () => look })]))
        assert.deepStrictEqual(seen, ["10s"])
        const storage = yield* ProjectionStorage
        const events = yield* EventStorage
        const accessId = yield* events.recordAccess({ actor: "test", reason: "locks", operation: "test" })
        yield* storage.transaction(tenant, look, accessId)
        assert.deepStrictEqual(seen, ["10s", "10s"])
      })
    )

    it.effect(
      "a failure of the database in a handler parks nothing: the event waits, and is handled once",
      () =>
        Effect.gen(function* () {
          const trouble = { now: true }
          const all = yield* tenantsFor(waiting)
          yield* Effect.gen(function* () {
            for (const { code, tenant } of all) {
              const { live } = yield* drainUntil(
                Effect.tap(progressOf(tenant), ({ live: found }) =>
                  Effect.sync(() => assert.strictEqual(found?.failureKind, "storage", code))
                )
              )
              assert.deepInclude(live, { position: 0, parked: false, attempts: 0, failedPosition: 1 }, code)
              assert.match(live?.error ?? "", new RegExp(`^SqlError: \\w+ \\(${code}\\)`))
            }
            // More often than the projection would retry a failure of its handler.
            for (let n = 0; n < 5; n++) yield* Effect.andThen(Effect.sleep("60 millis"), drain)
            for (const { code, tenant } of all)
              assert.deepInclude((yield* progressOf(tenant)).live, { parked: false, attempts: 0 }, code)
            trouble.now = false
            for (const { tenant } of all) yield* drainUntil(isLive(tenant, 2))
          }).pipe(beside([orders({ before: raising(waiting, trouble), onFailure: "deadLetter" })]))
          for (const { tenant } of all) yield* equalsFold(tenant)
        })
    )

    it.effect(
      "a schema that does not fit parks the projection after a time, and a process that starts retries it",
      () =>
        Effect.gen(function* () {
          const trouble = { now: true }
          const all = yield* tenantsFor(notFitting)
          const projection = orders({ before: raising(notFitting, trouble), onFailure: "deadLetter" })
          yield* Effect.gen(function* () {
            yield* drainUntil(
              Effect.forEach(all, ({ code, tenant }) =>
                Effect.map(progressOf(tenant), ({ live }) =>
                  assert.deepInclude(
                    live,
                    { position: 0, parked: true, attempts: 0, failedPosition: 1, failureKind: "schema" },
                    code
                  )
                )
              )
            )
            trouble.now = false
            yield* drain
            for (const { tenant } of all)
              assert.deepInclude((yield* progressOf(tenant)).live, { parked: true })
          }).pipe(beside([projection], { schemaWait: "300 millis" }))
          yield* Effect.gen(function* () {
            for (const { tenant } of all) yield* drainUntil(isLive(tenant, 2))
          }).pipe(beside([projection], { schemaWait: "300 millis" }))
          for (const { tenant } of all) yield* equalsFold(tenant)
        })
    )

    it.effect("a missing function or right makes the event wait, and is reported with a remedy", () =>
      Effect.gen(function* () {
        const owner = yield* Owner
        const [first = Tenant.untenanted, second = Tenant.untenanted] = yield* tenants(2)
        yield* append(first, "a", placed(1))
        yield* append(second, "a", placed(2))
        const before = (n: number) =>
          SqlClient.SqlClient.use((sql) => (n === 1 ? sql`select helps()` : sql`select * from prices`))
        yield* owner`alter function helps() rename to later`
        yield* Effect.gen(function* () {
          for (const [tenant, remedy] of [
            [first, /^SqlError: \w+ \(42883\): create the function, .*migrations/],
            [second, /^SqlError: \w+ \(42501\): as the owner .*grant .* eventsourcing_tenant .*PgCheck/]
          ] as const) {
            yield* drainUntil(
              Effect.map(progressOf(tenant), ({ live }) => assert.match(live?.error ?? "", remedy))
            )
          }
          const manager = yield* ProjectionManager.ProjectionManager
          const reports = yield* Stream.runCollect(manager.failures(Ref))
          const messages = reports.flatMap(({ code, message, tenantId }) =>
            tenantId === first || tenantId === second ? [`${code}: ${message}`] : []
          )
          assert.sameMembers(messages, [
            "42883: function helps() does not exist",
            "42501: permission denied for table prices"
          ])
          yield* owner`alter function later() rename to helps`
          yield* owner`grant select on prices to eventsourcing_tenant`
          for (const tenant of [first, second]) yield* drainUntil(isLive(tenant, 1))
        }).pipe(beside([orders({ before })]), Tenant.provideAll({ actor: "test", reason: "look" }))
      })
    )

    it.effect("an error of the library's own statements is never a failure of the handler", () =>
      Effect.gen(function* () {
        const owner = yield* Owner
        const [tenant = Tenant.untenanted] = yield* tenants(1)
        yield* append(tenant, "a", placed(1))
        const arguments_ = "(uuid, text, integer, boolean, bigint)"
        yield* Effect.gen(function* () {
          yield* owner.unsafe(`alter function eventsourcing.advance_projection${arguments_} rename to hidden`)
          yield* Effect.gen(function* () {
            yield* drainUntil(
              Effect.map(progressOf(tenant), ({ live }) => assert.strictEqual(live?.failureKind, "storage"))
            )
            for (let n = 0; n < 6; n++) yield* Effect.andThen(Effect.sleep("110 millis"), drain)
            assert.deepInclude((yield* progressOf(tenant)).live, { position: 0, parked: false, attempts: 0 })
          }).pipe(
            Effect.ensuring(
              Effect.orDie(
                owner.unsafe(`alter function eventsourcing.hidden${arguments_} rename to advance_projection`)
              )
            )
          )
          yield* drainUntil(isLive(tenant, 1))
        }).pipe(beside([orders({ onFailure: "deadLetter" })], { schemaWait: 0 }))
        yield* equalsFold(tenant)
      })
    )

    it.effect(
      "operators read the cause under a recorded access, without quoted rows; tenants cannot read it",
      () =>
        Effect.gen(function* () {
          const [tenant = Tenant.untenanted] = yield* tenants(1)
          yield* append(tenant, "a", placed(1))
          const fails = SqlClient.SqlClient.use((sql) => sql`select trouble('23505')`)
          const spells = SqlClient.SqlClient.use((sql) => sql`select ${"canary"}::integer`)
          const manager = yield* ProjectionManager.ProjectionManager
          const reports = Effect.map(Stream.runCollect(manager.failures(Ref)), (found) =>
            found.filter(({ tenantId }) => tenantId === tenant)
          ).pipe(Tenant.provideAll({ actor: "test", reason: "look" }))
          let message = ""
          for (const failure of [fails, spells]) {
            yield* Effect.gen(function* () {
              yield* drainUntil(
                Effect.map(progressOf(tenant), ({ live }) =>
                  assert.deepInclude(live, { parked: true, failureKind: "handler" })
                )
              )
              const [report] = yield* reports
              message = `${report?.code}: ${report?.message}`
              assert.match(report?.stack ?? "", /\n\s+at /)
              assert.notInclude(report?.stack ?? "", "Key (name)")
              yield* Tenant.provide(tenant)(manager.resume(Ref))
            }).pipe(beside([orders({ before: () => failure })]))
          }
          assert.strictEqual(message, '22P02: invalid input syntax for type integer: "…"')
          const inTenant = (statement: string) =>
            SqlClient.SqlClient.use((sql) => sql.unsafe(statement)).pipe(
              PgTenant.transaction,
              Tenant.provide(tenant),
              flipped
            )
          for (const statement of [
            "select message from eventsourcing.projection_failures",
            "select * from eventsourcing.projection_failures",
            "update eventsourcing.projection_failures set times = 1 returning stack",
            `select * from eventsourcing.list_projection_failures('${tenant}', '${tenant}', 'orders', 1)`
          ]) {
            assert.include(JSON.stringify(yield* inTenant(statement)), "42501", statement)
          }
          const trail = yield* Owner.use(
            (owner) => owner<{ n: number }>`select count(*)::int as n
          from eventsourcing.cross_tenant_accesses where operation = 'ProjectionManager.failures orders'`
          )
          assert.isAtLeast(trail[0]?.n ?? 0, 2)
        })
    )

    it.effect(
      "all parked tenants of one projection, or of all, are resumed at once under a recorded access",
      () =>
        Effect.gen(function* () {
          const manager = yield* ProjectionManager.ProjectionManager
          const asOperator = Tenant.provideAll({ actor: "test", reason: "mended" })
          yield* asOperator(manager.resumeAll())
          yield* beside([orders()])(drain)
          const all = yield* tenants(3)
          for (const tenant of all) yield* append(tenant, "a", placed(1))
          let broken = true
          const before = () => (broken ? Effect.fail("no") : Effect.void)
          const parked = Effect.forEach(all, (tenant) =>
            Effect.map(progressOf(tenant), ({ live }) => assert.strictEqual(live?.parked, true))
          )
          yield* Effect.gen(function* () {
            yield* drainUntil(parked)
            assert.strictEqual(yield* asOperator(manager.resumeAll({ name: "orders", version: 2 })), 0)
            assert.strictEqual(yield* asOperator(manager.resumeAll(Ref)), 3)
            yield* drainUntil(parked)
            broken = false
            assert.strictEqual(yield* asOperator(manager.resumeAll()), 3)
            for (const tenant of all) yield* drainUntil(isLive(tenant, 1))
          }).pipe(beside([orders({ before })]))
          const trail = yield* Owner.use(
            (owner) => owner<{ operation: string }>`select distinct operation
          from eventsourcing.cross_tenant_accesses where operation like 'ProjectionManager.resumeAll%'`
          )
          assert.sameMembers(
            trail.map(({ operation }) => operation),
            ["ProjectionManager.resumeAll orders", "ProjectionManager.resumeAll of every projection"]
          )
        })
    )
  })
})
