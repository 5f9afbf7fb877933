/** The section "Limits of row-level security" of docs/tenants-and-layers.md, item by item. */
import { assert, layer } from "@effect/vitest"
import { Effect, Result } from "effect"
import { SqlClient, SqlError } from "effect/sql"
import { readFileSync } from "node:fs"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as PgTenant from "../../src/pg/PgTenant.ts"
import { sqlState } from "../../src/pg/sqlErrors.ts"
import { as, log, write } from "../../src/testing/isolation/kit.ts"
import { servers } from "../support/Databases.ts"
import { layerOn, TenantDatabase } from "../support/tenantDatabase.ts"

const page = readFileSync(new URL("../../docs/tenants-and-layers.md", import.meta.url), "utf8")
const section = (page.split("## Limits of row-level security\n")[1] ?? "").split("\n## ")[0] ?? ""
const text = section.replaceAll(/\s+/g, " ")

const sql = SqlClient.SqlClient

/** The SQLSTATE of a statement in a savepoint; undefined if it is not refused. */
const stateOf = (statement: string) =>
  sql.use((client) =>
    Effect.map(Effect.result(client.withTransaction(client.unsafe(statement))), (result) =>
      Result.isFailure(result) && SqlError.isSqlError(result.failure) ? sqlState(result.failure) : undefined
    )
  )

const copy = (tenant: string, position: number) => `
  insert into eventsourcing.events (tenant_id, position, aggregate_type, aggregate_id, version, event_id, event_type,
    schema_version, occurred_at, recorded_at, correlation_id, metadata, payload, bytes)
  select '${tenant}', ${position}, aggregate_type, aggregate_id, ${position}, gen_random_uuid(), event_type, schema_version,
    occurred_at, recorded_at, correlation_id, metadata, payload, bytes
  from eventsourcing.events limit 1`

const tenants = "select distinct tenant_id::text as tenant from eventsourcing.events order by 1"

/** An item of the section, and its proof in a transaction of one tenant beside another one. */
const items: ReadonlyArray<
  readonly [
    said: string,
    proof: (
      mine: Tenant.TenantId,
      theirs: Tenant.TenantId
    ) => Effect.Effect<void, unknown, SqlClient.SqlClient | TenantDatabase>
  ]
> = [
  [
    "Row-level security protects against a statement that forgets the tenant",
    Effect.fnUntraced(function* (mine, theirs) {
      const client = yield* sql
      assert.deepStrictEqual(yield* client.unsafe(tenants), [{ tenant: mine }])
      assert.strictEqual(yield* stateOf(copy(theirs, 2)), "42501")
    })
  ],
  [
    "bind another tenant (`set_config('eventsourcing.tenant_id', …)`)",
    Effect.fnUntraced(function* (_mine, theirs) {
      const client = yield* sql
      yield* client`select set_config('eventsourcing.tenant_id', ${theirs}, true)`
      assert.deepStrictEqual(yield* client.unsafe(tenants), [{ tenant: theirs }])
    })
  ],
  [
    "return to the login role (`reset role`)",
    Effect.fnUntraced(function* () {
      const client = yield* sql
      yield* client`reset role`
      assert.deepStrictEqual(yield* client`select current_user = session_user as login`, [{ login: true }])
    })
  ],
  [
    "change the start of its tenant's hash chain: an append locks the tenant's row, so the role may update a part of it, but not the status",
    Effect.fnUntraced(function* (mine, theirs) {
      const client = yield* sql
      const start = (tenant: string) =>
        client`update eventsourcing.tenants set chained_from = 1 where tenant_id = ${tenant} returning chained_from::int`
      assert.lengthOf(yield* start(mine), 1)
      assert.lengthOf(yield* start(theirs), 0)
      assert.strictEqual(yield* stateOf("update eventsourcing.tenants set status = 'suspended'"), "42501")
    })
  ],
  [
    "add rows to the log of its tenant that no append checked",
    Effect.fnUntraced(function* (mine) {
      assert.isUndefined(yield* stateOf(copy(mine, 2)))
    })
  ],
  [
    "hold the lock on that row, so that all appends of its tenant wait until the transaction ends",
    Effect.fnUntraced(function* (mine, theirs) {
      const client = yield* sql
      const { outside } = yield* TenantDatabase
      yield* client`select from eventsourcing.tenants for update`
      const free = yield* outside(
        "select tenant_id::text as tenant from eventsourcing.tenants where tenant_id in ($1, $2) for update skip locked",
        [mine, theirs]
      )
      assert.deepStrictEqual(free, [{ tenant: theirs }])
    })
  ],
  [
    "As the role of a tenant it cannot change or remove an event that is stored.",
    Effect.fnUntraced(function* () {
      for (const statement of [
        "update eventsourcing.events set payload = '{}'",
        "update eventsourcing.events set position = 9 where position = 1",
        "delete from eventsourcing.events",
        "truncate eventsourcing.events",
        "alter table eventsourcing.events disable row level security",
        "drop table eventsourcing.events"
      ])
        assert.strictEqual(yield* stateOf(statement), "42501", statement)
    })
  ]
]

for (const server of servers) {
  layer(layerOn(server), { excludeTestServices: true })(
    `the limits of row-level security on ${server.name}`,
    (it) => {
      it.effect("are all that the page lists", () =>
        Effect.sync(() => {
          const listed = section.split("\n").filter((line) => line.startsWith("- "))
          const said = items.filter(([part]) => text.includes(`- ${part}`) || part.startsWith("return to"))
          assert.lengthOf(said, listed.length + 1)
        })
      )

      for (const [said, proof] of items) {
        it.effect(said, () =>
          Effect.gen(function* () {
            assert.include(text, said)
            const { store } = yield* TenantDatabase
            const [mine, theirs] = [yield* Tenant.generate, yield* Tenant.generate]
            yield* Effect.gen(function* () {
              yield* write("mine").pipe(as(mine))
              yield* write("theirs").pipe(as(theirs))
              const undone = PgTenant.transaction(Effect.andThen(proof(mine, theirs), Effect.fail("undone")))
              assert.strictEqual(yield* Effect.flip(undone.pipe(as(mine))), "undone")
              assert.lengthOf(yield* log().pipe(as(mine)), 1)
            }).pipe(Effect.provideContext(yield* store()))
          }).pipe(Effect.scoped)
        )
      }
    }
  )
}
