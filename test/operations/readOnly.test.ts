/** The looks of operators on PGlite, with the whole database before and after each look. */
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { sqlBackends } from "../support/backends.ts"
import { newTenant } from "../../src/testing/driver/eventKit.ts"
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

for (const backend of sqlBackends.filter(({ name }) => name === "PGlite"))
  layer(backend.layer, { excludeTestServices: true })("a look at a database", (it) => {
    it.effect("changes nothing but the record of itself", () =>
      Effect.gen(function* () {
        const projected = yield* newProjection()
        const tenant = newTenant()
        yield* fill(tenant, "secret")
        yield* troubled(tenant, "secret", projected)
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

    it.effect("calls a projection stalled that has work and has recorded nothing for a minute", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const projected = yield* newProjection()
        const tenant = newTenant()
        yield* fill(tenant, "secret")
        yield* troubled(tenant, "secret", projected)
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
