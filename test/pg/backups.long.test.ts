/**
 * docs/backups.md with the real pg_dump: on each server that is not newer than the one in the path, and on the server that is
 * installed beside one.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { SqlClient } from "effect/sql"
import { randomUUID } from "node:crypto"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import * as EventStore from "../../src/store/EventStore.ts"
import * as PgCheck from "../../src/pg/PgCheck.ts"
import * as PgMigrator from "../../src/pg/PgMigrator.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { Account, deposited } from "../support/bank.ts"
import type { Config } from "../support/Databases.ts"
import { majorOf, run, serversWithPrograms } from "../support/postgresPrograms.ts"

const on = <A, E>(config: Config, effect: Effect.Effect<A, E, SqlClient.SqlClient>) =>
  Effect.provide(effect, PgClient.layer({ ...config, maxConnections: 2 }), { local: true })

const statements = (...texts: ReadonlyArray<string>) =>
  SqlClient.SqlClient.use((sql) => Effect.forEach(texts, (text) => sql.unsafe(text), { discard: true }))

const counts = SqlClient.SqlClient.use(
  (sql) => sql<{ events: number; tenants: number }>`
    select count(*)::int as events, count(distinct tenant_id)::int as tenants from eventsourcing.events`
)

describe.each(serversWithPrograms)("a backup on $name", ({ bin, freshDatabase: database }) => {
  const [dump, restore] = [Path.join(bin, "pg_dump"), Path.join(bin, "pg_restore")]
  it.live("has every tenant's rows and is restored unchanged, and wrong ways fail as documented", (context) =>
    Effect.gen(function* () {
      const { app, owner } = yield* database
      const [row] = yield* on(
        owner,
        SqlClient.SqlClient.use((sql) => sql<{ version: string }>`show server_version`)
      )
      const major = Number.parseInt(Object.values(row ?? {})[0] ?? "0", 10)
      const installed = yield* Effect.promise(() => majorOf(dump))
      if (installed < major) {
        const problem = `NOT RUN: pg_dump ${installed === 0 ? "is not installed" : installed}, the server is ${major}`
        console.warn(problem)
        context.skip(problem)
      }
      const id = randomUUID().slice(0, 8)
      const [backup, plain, restored] = [`backup_${id}`, `plain_${id}`, `${owner.database}_restored`]
      const directory = yield* Effect.acquireRelease(
        Effect.promise(() => mkdtemp(Path.join(tmpdir(), "eventsourcing-"))),
        (path) => Effect.promise(() => rm(path, { recursive: true }))
      )
      yield* Effect.acquireRelease(
        on(
          owner,
          statements(
            `create role ${backup} login bypassrls password 'x'`,
            `grant pg_read_all_data to ${backup}`,
            // owns the tables without being exempt from row-level security, as an owner that is no superuser
            `create role ${plain} login password 'x'`,
            `alter table eventsourcing.events owner to ${plain}`,
            `grant usage on schema eventsourcing to ${plain}`,
            `create database ${restored} template template0`
          )
        ),
        () =>
          Effect.orDie(
            on(
              owner,
              statements(
                `drop database if exists ${restored} with (force)`,
                `alter table eventsourcing.events owner to current_user`,
                `drop owned by ${plain}, ${backup}`,
                `drop role ${backup}`,
                `drop role ${plain}`
              )
            )
          )
      )
      for (let n = 0; n < 3; n++) {
        yield* EventStore.EventStore.use((store) =>
          store.append({
            aggregate: Account,
            id: "1",
            expectedVersion: "any",
            events: [deposited(n), deposited(n)]
          })
        ).pipe(
          Tenant.provide(yield* Tenant.generate),
          Effect.provide(
            EventStore.layer.pipe(Layer.provide(PgStorage.layer), Layer.provide(PgClient.layer(app))),
            { local: true }
          )
        )
      }
      const as = (username: string): Config => ({ ...owner, username, password: Redacted.make("x") })
      const file = Path.join(directory, "store.dump")
      const events = ["--table=eventsourcing.events", "--data-only"]

      const failed = yield* Effect.promise(() => run(dump, as(plain), ...events))
      assert.notStrictEqual(failed.code, 0)
      assert.include(failed.output, "row-level security")
      const empty = yield* Effect.promise(() => run(dump, as(plain), ...events, "--enable-row-security"))
      assert.strictEqual(empty.code, 0, empty.output)
      assert.notInclude(empty.output, "Deposited")

      const dumped = yield* Effect.promise(() => run(dump, as(backup), "--format=custom", `--file=${file}`))
      assert.strictEqual(dumped.code, 0, dumped.output)
      const target = { ...owner, database: restored }
      const back = yield* Effect.promise(() =>
        run(restore, target, `--dbname=${restored}`, "--exit-on-error", "--clean", "--if-exists", file)
      )
      assert.strictEqual(back.code, 0, back.output)
      assert.deepStrictEqual(yield* on(target, counts), [{ events: 6, tenants: 3 }])
      assert.deepStrictEqual(yield* on(target, PgMigrator.run), [])
      yield* on(target, statements("alter table eventsourcing.events owner to current_user"))
      yield* on({ ...app, database: restored }, PgCheck.isolation)
    }).pipe(Effect.scoped)
  )
})
