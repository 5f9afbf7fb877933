/** Attacks on the audit trail of accesses across tenants, by a login that may read across tenants. */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Effect, Redacted, Result } from "effect"
import { SqlClient, SqlError } from "effect/sql"
import { randomUUID } from "node:crypto"
import { sqlState } from "../../src/pg/sqlErrors.ts"
import { servers } from "../support/Databases.ts"
import { layerOn, TenantDatabase } from "../support/tenantDatabase.ts"

/** A UUID of version 7 with a time of its own. */
const idAt = (time: number): string =>
  `${time
    .toString(16)
    .padStart(12, "0")
    .replace(/^(.{8})/, "$1-")}-7000-8000-${randomUUID().slice(-12)}`

const hour = 3_600_000

/** The SQLSTATE with which a statement is refused; undefined if it is not. */
const refusal = (statement: string) =>
  SqlClient.SqlClient.use((sql) => Effect.result(sql.withTransaction(sql.unsafe(statement)))).pipe(
    Effect.map((result) =>
      Result.isFailure(result) && SqlError.isSqlError(result.failure) ? sqlState(result.failure) : undefined
    )
  )

const record = (id: string, actor = "mallory") =>
  `select eventsourcing.record_cross_tenant_access('${id}', '${actor}', 'why', 'look')`

/** All functions that want the id of an access, with the id in place of `$id`. */
const uses = [
  "select * from eventsourcing.list_tenants($id, null, 9)",
  "select * from eventsourcing.list_cross_tenant_accesses($id, null, 9)",
  "select eventsourcing.require_cross_tenant_access($id)",
  "select eventsourcing.begin_across_tenants(gen_random_uuid(), $id)"
]

for (const server of servers) {
  layer(layerOn(server), { excludeTestServices: true })(`access ids on ${server.name}`, (it) => {
    it.effect("cannot be written, changed or removed past the functions", () =>
      Effect.gen(function* () {
        const { app } = yield* TenantDatabase
        yield* Effect.gen(function* () {
          for (const role of ["eventsourcing_all_tenants", "none"]) {
            for (const statement of [
              `insert into eventsourcing.cross_tenant_accesses (access_id, actor, reason, operation, login)
                values ('${idAt(Date.now())}', 'a', 'b', 'c', 'd')`,
              "update eventsourcing.cross_tenant_accesses set accessed_at = now() - interval '1 year'",
              "delete from eventsourcing.cross_tenant_accesses",
              "truncate eventsourcing.cross_tenant_accesses",
              "select * from eventsourcing.cross_tenant_accesses",
              "set local role eventsourcing_all_tenants_owner",
              "alter function eventsourcing.require_cross_tenant_access(uuid) owner to eventsourcing_all_tenants"
            ]) {
              const tried = `do $do$ begin set local role ${role}; execute $try$ ${statement} $try$; end $do$`
              assert.strictEqual(yield* refusal(tried), "42501", `${role}: ${statement}`)
            }
          }
          assert.strictEqual(yield* refusal("select eventsourcing.remove_old_accesses(1)"), "22023")
        }).pipe(Effect.provide(PgClient.layer({ ...app, maxConnections: 1 }), { local: true }))
      })
    )

    it.effect("must be of the time of the database: none is invented or back-dated", () =>
      Effect.gen(function* () {
        const { app, outside } = yield* TenantDatabase
        const invented = [
          randomUUID(),
          idAt(Date.now() - 25 * hour),
          idAt(Date.now() - 2 * hour),
          idAt(Date.now() + 2 * hour),
          "00000000-0000-0000-0000-000000000000",
          "ffffffff-ffff-7fff-bfff-ffffffffffff"
        ]
        yield* Effect.gen(function* () {
          for (const id of invented) assert.strictEqual(yield* refusal(record(id)), "ES004", id)
          // nothing was recorded, so none of them opens anything; nor does one of this time that nobody recorded
          for (const id of [...invented, idAt(Date.now())]) {
            for (const use of uses)
              assert.strictEqual(yield* refusal(use.replace("$id", `'${id}'`)), "ES004", use)
          }
          const id = idAt(Date.now())
          for (const [text, code] of [
            [`select eventsourcing.record_cross_tenant_access('${id}', '', 'why', 'look')`, "23514"],
            [`select eventsourcing.record_cross_tenant_access('${id}', 'mallory', '', 'look')`, "23514"],
            [`select eventsourcing.record_cross_tenant_access(null, 'mallory', 'why', 'look')`, "23502"]
          ] as const)
            assert.strictEqual(yield* refusal(text), code, text)
        }).pipe(Effect.provide(PgClient.layer({ ...app, maxConnections: 1 }), { local: true }))
        assert.deepStrictEqual(yield* outside("select * from eventsourcing.cross_tenant_accesses"), [])
      })
    )

    it.effect("serve only the login that recorded them", () =>
      Effect.gen(function* () {
        const { app, outside, name } = yield* TenantDatabase
        const login = `mallory_${name.slice(-12)}`
        const password = randomUUID()
        yield* Effect.acquireRelease(
          outside(`create role ${login} login password '${password}' in role eventsourcing_all_tenants`),
          () => Effect.orDie(outside(`drop role ${login}`))
        )
        const asApp = Effect.provide(PgClient.layer({ ...app, maxConnections: 1 }), { local: true })
        const asMallory = Effect.provide(
          PgClient.layer({
            ...app,
            username: login,
            password: Redacted.make(password),
            maxConnections: 1
          }),
          { local: true }
        )
        const id = idAt(Date.now())
        assert.isUndefined(yield* refusal(record(id, "alice")).pipe(asApp))
        yield* Effect.gen(function* () {
          // by itself, and claimed with the words of its owner
          for (const claim of [undefined, record(id, "alice"), record(id)]) {
            if (claim !== undefined) assert.strictEqual(yield* refusal(claim), "ES004", claim)
            for (const use of uses)
              assert.strictEqual(yield* refusal(use.replace("$id", `'${id}'`)), "ES004", use)
          }
          const own = idAt(Date.now())
          assert.isUndefined(yield* refusal(record(own)))
          for (const use of uses.slice(0, 3))
            assert.isUndefined(yield* refusal(use.replace("$id", `'${own}'`)), use)
        }).pipe(asMallory)
        // the owner goes on, also after a lost answer
        assert.isUndefined(yield* refusal(record(id, "alice")).pipe(asApp))
        for (const use of uses.slice(0, 3))
          assert.isUndefined(yield* refusal(use.replace("$id", `'${id}'`)).pipe(asApp), use)
        const trail = yield* outside(
          "select actor, login from eventsourcing.cross_tenant_accesses order by actor"
        )
        assert.deepStrictEqual(trail, [
          { actor: "alice", login: "eventsourcing_app_test" },
          { actor: "mallory", login }
        ])
      }).pipe(Effect.scoped)
    )
  })
}
