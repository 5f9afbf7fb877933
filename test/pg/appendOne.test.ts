/** The fast path of appends declines everything but the common case, whose conditions it checks under the lock of the tenant. */
import { assert, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { randomUUID } from "node:crypto"
import * as PgEmbedded from "../../src/pg/PgEmbedded.ts"
import * as PgMigrator from "../../src/pg/PgMigrator.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import { append, events, newTenant, stream } from "../../src/testing/driver/eventKit.ts"

const services = PgStorage.layerWith({ announce: false }).pipe(
  Layer.provideMerge(PgMigrator.layer),
  Layer.provideMerge(PgEmbedded.layer),
  Layer.orDie
)

/** The position that the fast path gives an event; undefined if it declines. */
const fast = Effect.fnUntraced(function* (tenantId: string, forgotten: number | null) {
  const sql = yield* SqlClient.SqlClient
  // without a tenant of a former statement
  const [row] = yield* sql.withTransaction(
    sql.unsafe<{ position: number | null }>(
      `select (eventsourcing.append_one('${tenantId}', 'Case', 'one', -1, null, '${randomUUID()}', 'Happened', 1,
        now(), null, 'c', null, null, '{}', '{}', null, ${forgotten}))[1] as position`
    )
  )
  return row?.position ?? undefined
})

const stored = Effect.fnUntraced(function* (tenantId: string) {
  const sql = yield* SqlClient.SqlClient
  const rows = yield* sql.unsafe(`select 1 from eventsourcing.events where tenant_id = '${tenantId}'`)
  return rows.length
})

/** The function with a predicate replaced by `true`, while an effect runs. */
const without = <A, E, R>(predicate: string, effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const [row] = yield* sql.unsafe<{ definition: string }>(
      "select pg_get_functiondef(oid) as definition from pg_proc where proname = 'append_one'"
    )
    const { definition } = row ?? assert.fail("no function")
    assert.lengthOf(definition.split(predicate), 2, predicate)
    yield* sql.unsafe(definition.replace(predicate, "true"))
    const result = yield* effect
    yield* sql.unsafe(definition)
    return result
  })

layer(services, { excludeTestServices: true })("the fast path of appends", (it) => {
  for (const [name, change, predicate, forgotten] of [
    ["has a quota of events", `quota = '{"events": 1000}'`, "t.quota is null", null],
    ["has a plan", `quota = '{"plan": "none"}'`, "t.quota is null", null],
    ["is suspended", "status = 'suspended'", "t.status = 'active'", null],
    ["has a hash chain", "chained_from = 1", "t.chained_from is null", null],
    [
      "has forgotten a subject meanwhile",
      "forgotten_subjects = 1",
      "(p_forgotten is null or t.forgotten_subjects = p_forgotten)",
      0
    ]
  ] as const)
    it.effect(`declines for a tenant that ${name}`, () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const tenantId = newTenant()
        yield* append(tenantId, stream("one", events(1)))
        assert.strictEqual(yield* fast(tenantId, forgotten), 2)
        yield* sql.unsafe(`update eventsourcing.tenants set ${change} where tenant_id = '${tenantId}'`)
        assert.isUndefined(yield* fast(tenantId, forgotten))
        assert.strictEqual(yield* stored(tenantId), 2)
        // this condition alone makes it decline
        assert.strictEqual(yield* without(predicate, fast(tenantId, forgotten)), 3)
      })
    )
})
