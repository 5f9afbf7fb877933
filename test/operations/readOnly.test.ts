/** The looks of operators on PGlite, with the whole database before and after each look. */
import { assert, layer } from "@effect/vitest"
import { Effect, Exit, Schedule, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { everySqlBackend } from "../support/backends.ts"
import { newTenant } from "../../src/testing/driver/eventKit.ts"
import { acting, last } from "../../src/testing/operations/actingKit.ts"
import type * as Tenant from "../../src/domain/Tenant.ts"
import { EventStorage } from "../../src/driver/EventStorage.ts"
import type * as Actions from "../../src/operations/Actions.ts"
import type * as Acts from "../../src/operations/Acts.ts"
import { newProjection } from "../../src/testing/driver/projectionKit.ts"
import {
  at,
  atAll,
  depositsOf,
  fill,
  looksAt,
  operating,
  troubled
} from "../../src/testing/operations/kit.ts"

/** All rows of all tables but the record of accesses, and that record. */
const wholeDatabase = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const tables = yield* sql<{ readonly name: string }>`
    select c.oid::regclass::text as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'S') and n.nspname in ('eventsourcing', 'eventsourcing_rebuild', 'public') order by 1`
  const rows = new Map<string, ReadonlyArray<string>>()
  for (const { name } of tables) {
    const found = yield* sql.unsafe<{ readonly row: string }>(
      `select t::text as row from ${name} t order by t::text collate "C"`
    )
    rows.set(
      name,
      found.map(({ row }) => row)
    )
  }
  const record = "eventsourcing.cross_tenant_accesses"
  const accesses = rows.get(record) ?? []
  rows.delete(record)
  return { rows: Object.fromEntries(rows), accesses: new Set(accesses) }
})

/** Waits until the last appends of a tenant are announced to projections, which the driver does in the background. */
const announced = (tenantId: Tenant.TenantId) =>
  SqlClient.SqlClient.use(
    (sql) => sql`
      select from eventsourcing.projections p where p.tenant_id = ${tenantId}::uuid
      group by p.tenant_id
      having min(p.head) = (select max(e.position) from eventsourcing.events e where e.tenant_id = p.tenant_id)`
  ).pipe(Effect.repeat({ until: (rows) => rows.length > 0, schedule: Schedule.spaced("5 millis") }))

for (const backend of everySqlBackend.filter(({ name }) => name === "PGlite"))
  layer(backend.layer, { excludeTestServices: true })("a look at a database", (it) => {
    it.effect("changes nothing but the record of itself", () =>
      Effect.gen(function* () {
        const projected = yield* newProjection()
        const tenant = newTenant()
        yield* fill(tenant, "secret")
        yield* troubled(tenant, "secret", projected)
        yield* announced(tenant)
        yield* operating([depositsOf(projected)], (operations) =>
          Effect.gen(function* () {
            const unknown = newTenant()
            const { tail: _, ...finite } = looksAt(operations)
            const looks: Record<string, Effect.Effect<unknown, unknown>> = {}
            for (const [name, look] of Object.entries(looksAt(operations))) looks[name] = at(tenant)(look)
            for (const [name, look] of Object.entries(finite)) looks[`${name} of nobody`] = at(unknown)(look)
            looks["tenants"] = operations.tenants({ order: "distance" }).pipe(atAll)
            looks["projectionsOfAll"] = operations.projectionsOfAll.pipe(atAll)
            looks["accesses"] = operations.accesses().pipe(atAll)
            for (const [name, look] of Object.entries(looks)) {
              const before = yield* wholeDatabase
              assert.isAbove(Object.keys(before.rows).length, 15)
              assert.isAbove(before.rows["eventsourcing.events"]?.length ?? 0, 4)
              yield* look
              const after = yield* wholeDatabase
              assert.deepStrictEqual(after.rows, before.rows, name)
              assert.strictEqual(after.accesses.size, before.accesses.size + 1, name)
              for (const access of before.accesses) assert.isTrue(after.accesses.has(access), name)
            }
          })
        )
      })
    )

    it.effect("changes nothing but its record in a dry run of any action", () =>
      Effect.gen(function* () {
        const projected = yield* newProjection()
        const [tenant, erased] = [newTenant(), newTenant()]
        yield* fill(tenant, "secret")
        yield* troubled(tenant, "secret", projected)
        const storage = yield* EventStorage
        yield* storage.startHashChain(tenant)
        yield* fill(erased, "secret")
        yield* announced(tenant)
        yield* announced(erased)
        yield* acting([depositsOf(projected)], (act) =>
          Effect.gen(function* () {
            const archive = yield* act.export().pipe(Stream.runCollect, at(erased))
            yield* last(act.erase({ delayMillis: 60_000 })).pipe(at(erased))
            const { projection, version } = projected
            const of = { projection, version, dryRun: true }
            const dryRun = { dryRun: true }
            const subject = { subject: "person", dryRun: true }
            // Some are refused in the present state, before and after a dry run alike.
            const actions: Record<
              Exclude<Acts.ActionName, "export">,
              Effect.Effect<unknown, Actions.ActionError, Actions.OnTenant | Tenant.AllTenants>
            > = {
              provisionTenant: act.provisionTenant(dryRun),
              suspendTenant: act.suspendTenant(dryRun),
              resumeTenant: act.resumeTenant(dryRun),
              holdTenant: act.holdTenant(dryRun),
              releaseTenant: act.releaseTenant(dryRun),
              setQuota: act.setQuota({ quota: { events: 1 }, dryRun: true }),
              clearQuota: act.clearQuota(dryRun),
              pauseProjections: act.pauseProjections(dryRun),
              pauseProjectionsOfAll: last(act.pauseProjectionsOfAll(dryRun)),
              resumeProjections: act.resumeProjections(dryRun),
              resumeProjectionsOfAll: act.resumeProjectionsOfAll(dryRun),
              rebuild: last(act.rebuild(of)),
              rebuildAll: last(act.rebuildAll(of)),
              cancelRebuild: act.cancelRebuild(of),
              cancelRebuildAll: act.cancelRebuildAll(of),
              retire: act.retire({ projection, version, dryRun: true }),
              retryDeadLetters: last(act.retryDeadLetters(dryRun)),
              discardDeadLetters: last(act.discardDeadLetters(dryRun)),
              verify: last(act.verify(dryRun)),
              verifyAll: last(act.verifyAll(dryRun)),
              import: last(act.import(Stream.fromIterable(archive), { fromOther: true, dryRun: true })),
              abandonImport: act.abandonImport(dryRun),
              move: last(act.move({ to: "two", dryRun: true })),
              resumeMove: last(act.resumeMove(dryRun)),
              abortMove: act.abortMove(dryRun),
              erase: last(act.erase(dryRun)),
              undoErasure: act.undoErasure(dryRun),
              finishErasure: last(act.finishErasure(dryRun)),
              forget: act.forget(subject),
              allowAgain: act.allowAgain(subject),
              holdSubject: act.holdSubject(subject),
              releaseSubject: act.releaseSubject(subject)
            }
            const refused: Array<string> = []
            for (const on of [tenant, erased, newTenant()])
              for (const [name, action] of Object.entries({ ...actions, export: act.measureExport() })) {
                const before = yield* wholeDatabase
                const exit = yield* Effect.exit(action.pipe(at(on), atAll))
                if (Exit.isFailure(exit)) {
                  assert.match(String(exit.cause), /Action(Refused|Failed|Unavailable)/, name)
                  if (on === tenant) refused.push(name)
                }
                const after = yield* wholeDatabase
                assert.deepStrictEqual(after.rows, before.rows, name)
                assert.strictEqual(after.accesses.size, before.accesses.size + 1, name)
                for (const access of before.accesses) assert.isTrue(after.accesses.has(access), name)
              }
            assert.deepStrictEqual(refused, [
              "rebuild",
              "rebuildAll",
              "cancelRebuild",
              "cancelRebuildAll",
              "import",
              "abandonImport",
              "move",
              "resumeMove",
              "abortMove",
              "erase",
              "undoErasure",
              "finishErasure",
              "forget",
              "allowAgain",
              "holdSubject",
              "releaseSubject"
            ])
          })
        )
      })
    )

    it.effect("calls a projection stalled that has work and has recorded nothing for a minute", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const projected = yield* newProjection()
        const tenant = newTenant()
        yield* fill(tenant, "secret")
        yield* troubled(tenant, "secret", projected)
        yield* announced(tenant)
        yield* operating([depositsOf(projected)], (operations) =>
          Effect.gen(function* () {
            const look = operations.projections.pipe(
              at(tenant),
              Effect.map((all) => all.find(({ projection }) => projection === projected.projection)?.state)
            )
            assert.strictEqual(yield* look, "parked")
            const set = (change: string) =>
              sql.unsafe(`update eventsourcing.projections set ${change} where tenant_id = '${tenant}'`)
            yield* set("parked = false, served_at = clock_timestamp() - interval '2 minutes'")
            assert.strictEqual(yield* look, "stalled")
            yield* set("served_at = clock_timestamp() - interval '50 seconds'")
            assert.strictEqual(yield* look, "behind")
            yield* set(
              "served_at = clock_timestamp() - interval '2 minutes', retry_at = clock_timestamp() + interval '1 minute'"
            )
            assert.strictEqual(yield* look, "behind")
          })
        )
      })
    )
  })
