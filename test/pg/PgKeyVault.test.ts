/** A key vault in a database: apart from the events, shared by processes, lost, and opened with another root key. */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Exit, Layer, type Scope } from "effect"
import { SqlClient } from "effect/sql"
import { EventStorage, Forgetting, KeyVault, StoreError, Tenant } from "effect-eventsourcing"
import { PgKeyVault, PgStorage, PgTenant } from "effect-eventsourcing/pg"
import { KeyVaultSuite } from "effect-eventsourcing/testing"
import * as Fs from "node:fs"
import { includes } from "../../src/pg/installList.ts"
import { vaultFiles } from "../../src/pg/sqlFiles.ts"
import { event, newTenant } from "../../src/testing/driver/eventKit.ts"
import { flipped } from "../../src/testing/failures.ts"
import { type Database, servers } from "../support/Databases.ts"
import { forget, isShared, keyFor } from "../support/sharedVault.ts"
import {
  emptyDatabase,
  keyOf,
  newRootKey,
  vaultBackends,
  vaultDatabase,
  vaultOn,
  withClient
} from "../support/vaultDatabases.ts"

for (const { layer, name } of vaultBackends) KeyVaultSuite.suite({ name: `in a database: ${name}`, layer })

const open = (...given: Parameters<typeof vaultOn>) =>
  Effect.map(Layer.build(vaultOn(...given)), (context) => Context.get(context, KeyVault.KeyVault))

const failure = (error: unknown) => {
  assert.instanceOf(error, StoreError.StorageUnavailable)
  assert.instanceOf(error.reason, StoreError.KeyVaultFailed)
  return error.reason
}

describe("the files of the key vault", () => {
  it("are those in its list, hold one object each, and are applied once", () => {
    const folder = new URL("../../migrations/vault/", import.meta.url)
    const found = Fs.readdirSync(folder).filter((file) => file !== "install.sql")
    const listed = includes(Fs.readFileSync(new URL("install.sql", folder), "utf8"))
    assert.deepStrictEqual(listed.toSorted(), found.toSorted())
    assert.deepStrictEqual(
      vaultFiles.map(({ path }) => path),
      listed.map((path) => `vault/${path}`)
    )
    for (const { path, sql } of vaultFiles) {
      const made = [
        ...sql.matchAll(/^create (?:or replace function|table if not exists) eventsourcing_vault\.(\w+)/gm)
      ].map(([, name]) => name)
      if (made.length > 0) assert.deepStrictEqual(made, [/(\w+)\.sql$/.exec(path)?.[1]])
    }
  })
})

describe.each(servers)("a key vault in a database of $name", (server) => {
  const live = (name: string, body: () => Effect.Effect<void, unknown, Scope.Scope>) =>
    it.live(name, () => Effect.scoped(body()))

  const rows = (database: Database) =>
    withClient(
      database.owner,
      SqlClient.SqlClient.use(
        (sql) => sql`
          select (select jsonb_agg(v) from eventsourcing_vault.vault v) as vault,
            (select jsonb_agg(k order by k.key_id) from eventsourcing_vault.data_keys k) as keys,
            (select jsonb_agg(w order by w.key_id) from eventsourcing_vault.wrapping_keys w) as wrapping`
      )
    )

  live("is shared by processes: one makes a key, all use it, and none has it once it is destroyed", () =>
    Effect.gen(function* () {
      const { app } = yield* vaultDatabase(server)
      const key = newRootKey()
      const vaults = yield* Effect.all([open(app, key, true), open(app, key, true), open(app, key, true)], {
        concurrency: "unbounded"
      })
      yield* isShared(vaults)
    })
  )

  live("is apart from the events, and under rights of its own", () =>
    Effect.gen(function* () {
      const events = yield* server.freshDatabase
      const refused = failure(yield* flipped(open(events.owner, newRootKey(), true)))
      assert.strictEqual(refused.code, "NotApart")
      const error = yield* Effect.flip(withClient(events.owner, PgKeyVault.migrate))
      assert.match(String(error), /has events, and a key vault must be apart.*database of its own/)

      const vault = yield* vaultDatabase(server)
      yield* open(vault.app, newRootKey(), true)
      const tables = (schema: string, role: string) =>
        SqlClient.SqlClient.use(
          (sql) => sql<{ name: string; rights: ReadonlyArray<string> }>`
            select c.relname::text as name, array(
              select r from unnest(array['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) r
              where has_table_privilege(${role}, c.oid, r)) as rights
            from pg_class c where c.relnamespace = ${schema}::regnamespace and c.relkind in ('r', 'p')
            order by c.relname`
        )
      const onEvents = yield* withClient(events.owner, tables("eventsourcing", "eventsourcing_vault"))
      assert.isAbove(onEvents.length, 10)
      assert.deepStrictEqual(
        onEvents.filter(({ rights }) => rights.length > 0),
        []
      )
      for (const role of ["eventsourcing_tenant", "eventsourcing_administrator", "eventsourcing_runner"]) {
        const onVault = yield* withClient(vault.owner, tables("eventsourcing_vault", role))
        assert.deepStrictEqual(
          onVault.filter(({ rights }) => rights.length > 0),
          []
        )
      }
      assert.deepStrictEqual(
        yield* withClient(vault.owner, tables("eventsourcing_vault", "eventsourcing_vault")),
        [
          // of rows of keys and fences, it may change some columns only
          { name: "data_keys", rights: ["SELECT", "INSERT"] },
          { name: "fences", rights: ["SELECT", "INSERT"] },
          { name: "schema_files", rights: [] },
          { name: "tenants", rights: ["SELECT", "INSERT", "UPDATE"] },
          { name: "vault", rights: ["SELECT", "INSERT"] },
          { name: "wrapping_keys", rights: ["SELECT", "INSERT", "DELETE"] }
        ]
      )
    })
  )

  live("is an error if it is lost, not migrated, or of another root key, and nothing is written", () =>
    Effect.gen(function* () {
      const [key, tenant] = [newRootKey(), newTenant()]
      const empty = yield* emptyDatabase(server)
      const unmigrated = failure(yield* flipped(open(empty.owner, key, true)))
      assert.include(unmigrated.remedy, "PgKeyVault.migrate")
      assert.isFalse(unmigrated.retryable)

      const database = yield* vaultDatabase(server)
      assert.strictEqual(failure(yield* flipped(open(database.app, key))).code, "NoVault")
      const vault = yield* open(database.app, key, true)
      const ada = yield* keyFor(vault, tenant, "ada")
      const before = yield* rows(database)
      assert.include(JSON.stringify(before), "root_check")
      assert.strictEqual(failure(yield* flipped(open(database.app, newRootKey(), true))).code, "WrongRootKey")
      const malformed = yield* flipped(open(database.app, "a password", true))
      assert.include(failure(malformed).message, "openssl rand -base64 32")
      assert.deepStrictEqual(yield* rows(database), before)

      // An empty one in its place: a process that runs sees no key, and makes none under the lost wrapping key.
      yield* withClient(
        database.owner,
        SqlClient.SqlClient.use((sql) => sql`alter schema eventsourcing_vault rename to lost`)
      )
      const lost = failure(yield* flipped(keyFor(vault, tenant, "ada")))
      assert.strictEqual(lost.code, "3F000")
      assert.isTrue(Exit.isFailure(yield* Effect.exit(open(database.app, key, true))))
      yield* withClient(
        database.owner,
        SqlClient.SqlClient.use((sql) => sql`alter schema lost rename to eventsourcing_vault`)
      )
      assert.deepStrictEqual(yield* keyFor(yield* open(database.app, key), tenant, "ada"), ada)
      assert.deepStrictEqual(yield* rows(database), before)
    })
  )

  live("has files that are applied once, a comment on each object, and no vault until one is created", () =>
    Effect.gen(function* () {
      const { owner } = yield* vaultDatabase(server)
      yield* withClient(
        owner,
        Effect.gen(function* () {
          assert.deepStrictEqual(yield* PgKeyVault.migrate, [])
          const sql = yield* SqlClient.SqlClient
          const bare = yield* sql`
            select p.proname::text as name from pg_proc p
            where p.pronamespace = 'eventsourcing_vault'::regnamespace and obj_description(p.oid, 'pg_proc') is null
            union all
            select c.relname::text from pg_class c
            where c.relnamespace = 'eventsourcing_vault'::regnamespace and c.relkind = 'r'
              and obj_description(c.oid, 'pg_class') is null`
          assert.deepStrictEqual(bare, [])
          const layer = PgKeyVault.layer({ key: keyOf(newRootKey()) })
          const reason = failure(yield* flipped(Layer.build(layer)))
          assert.strictEqual(reason.code, "NoVault")
          assert.include(reason.remedy, "restore it from its backup")
          assert.deepStrictEqual(yield* sql`select from eventsourcing_vault.vault`, [])
        })
      )
    })
  )

  live("has no byte of a destroyed key, and none of a former wrapping, in its rows", () =>
    Effect.gen(function* () {
      const database = yield* vaultDatabase(server)
      const tenant = newTenant()
      const vault = yield* open(database.app, newRootKey(), true)
      yield* keyFor(vault, tenant, "ada")
      yield* keyFor(vault, tenant, "bob")
      const wrappedIn = (found: unknown) =>
        [...JSON.stringify(found).matchAll(/"wrapped":"\\\\x(\w+)"/g)].map(([, hex]) => hex)
      const before = wrappedIn(yield* rows(database))
      assert.lengthOf(before, 3)
      yield* forget(vault, tenant, "ada")
      yield* vault.rotateTenant({ tenantId: tenant })
      const after = wrappedIn(yield* rows(database))
      assert.lengthOf(after, 2)
      assert.deepStrictEqual(
        before.filter((hex) => after.includes(hex)),
        []
      )
    })
  )

  live("is unavailable while its database does not answer, and nobody is taken for forgotten", () =>
    Effect.gen(function* () {
      const { app, owner } = yield* vaultDatabase(server)
      const tenantId = newTenant()
      const vault = yield* open(app, newRootKey(), true)
      const ada = yield* keyFor(vault, tenantId, "ada")
      assert(typeof ada === "object")
      yield* withClient(
        owner,
        SqlClient.SqlClient.use((sql) =>
          sql.withTransaction(
            Effect.gen(function* () {
              yield* sql`lock table eventsourcing_vault.data_keys in access exclusive mode`
              const attempts: ReadonlyArray<Effect.Effect<unknown, StoreError.StorageUnavailable>> = [
                vault.currentKeys({ tenantId, subjects: ["ada"] }),
                vault.keysOf({ tenantId, keyIds: [ada.keyId] }),
                vault.tenantKey({ tenantId, purpose: "index" })
              ]
              for (const attempt of attempts) {
                const silent = Effect.provideService(attempt, PgTenant.Silence, Duration.millis(150))
                const reason = failure(yield* flipped(silent))
                assert.isTrue(reason.retryable)
                assert.include(reason.remedy, "its database did not answer")
              }
            })
          )
        )
      )
      assert.deepStrictEqual(yield* keyFor(vault, tenantId, "ada"), ada)
      assert.deepStrictEqual(yield* vault.fences({ tenantId }), [])
    })
  )

  live("keeps what one process has cached from use in another: forgotten there, at once", () =>
    Effect.gen(function* () {
      const [events, vault] = [yield* server.freshDatabase, yield* vaultDatabase(server)]
      const [key, tenantId] = [newRootKey(), newTenant()]
      const start = Effect.map(
        Layer.build(
          Layer.fresh(Forgetting.layer).pipe(
            Layer.provide(vaultOn(vault.app, key, true)),
            Layer.provide(Layer.fresh(PgStorage.layer)),
            Layer.provide(PgClient.layer({ ...events.app, maxConnections: 3 }))
          )
        ),
        (context) => ({
          events: Context.get(context, EventStorage.EventStorage),
          forgetting: Context.get(context, Forgetting.Forgetting)
        })
      )
      const [one, other] = [yield* start, yield* start]
      const append = (process: typeof one) =>
        process.events.append({
          tenantId,
          streams: [
            {
              aggregateType: "Customer",
              aggregateId: "1",
              expectedVersion: "any",
              events: [
                event({
                  payload: '{"name":"Ada Lovelace"}',
                  personal: [{ path: ["name"], subject: "ada" }]
                })
              ]
            }
          ]
        })
      const read = (process: typeof one) =>
        Effect.map(
          process.events.loadStream({
            tenantId,
            aggregateType: "Customer",
            aggregateId: "1",
            fromVersion: 1,
            toVersion: 100,
            limit: 100
          }),
          (page) => page.rows.map(({ payload }) => payload)
        )
      yield* append(one)
      yield* append(other)
      for (const process of [one, other])
        assert.deepStrictEqual(yield* read(process), Array(2).fill('{"name":"Ada Lovelace"}'))
      yield* one.forgetting
        .forget("ada", { reason: "asked" })
        .pipe(Tenant.provideAdministration({ actor: "dpo", reason: "test" }), Tenant.provide(tenantId))
      assert.deepStrictEqual(yield* read(other), Array(2).fill('{"name":{"$forgotten":true}}'))
      assert.instanceOf(yield* flipped(append(other)), StoreError.InvalidEvent)
    })
  )
})
