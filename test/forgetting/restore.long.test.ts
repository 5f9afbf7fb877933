/** A real dump from before a person was forgotten is restored into a fresh database: the person is forgotten there before the first
 * read, in a vault in a file and in one in a database. */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schema, Stream } from "effect"
import { SqlClient } from "effect/sql"
import {
  Aggregate,
  EventSourcing,
  EventStorage,
  EventStore,
  Forgetting,
  KeyVault,
  Personal,
  PersonalSubject,
  Repository,
  Tenant
} from "effect-eventsourcing"
import { PgStorage } from "effect-eventsourcing/pg"
import * as fs from "node:fs/promises"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { newTenant } from "../../src/testing/driver/eventKit.ts"
import type { Config } from "../support/Databases.ts"
import { layerFiles } from "../support/nodeFiles.ts"
import { majorOf, run, serversWithPrograms } from "../support/postgresPrograms.ts"
import { keyOf, newRootKey, vaultDatabase, vaultOn, withClient } from "../support/vaultDatabases.ts"

const Registered = Schema.TaggedStruct("Registered", {
  name: Personal.make(Schema.String, Personal.aggregateId)
})
const State = Schema.Struct({ name: Personal.orForgotten(Schema.String) })
const initial: typeof State.Type = { name: "" }
const Customer = Aggregate.make(
  "Customer",
  { id: Schema.String, state: State, initial, events: [Registered] },
  { Registered: (_, { name }) => ({ name }) }
)

const register = (id: string, name: string) =>
  Repository.Repository.use((repository) =>
    repository.execute(Customer, id, () => [Registered.make({ name })])
  )

const nameOf = (id: string) =>
  Effect.map(
    Repository.Repository.use((repository) => repository.load(Customer, id)),
    ({ state }) => state.name
  )

const log = EventStore.EventStore.use((store) =>
  Stream.runCollect(store.readLogJson({})).pipe(
    Effect.map((events) =>
      events.map(({ position, eventType, aggregateId }) => [position, eventType, aggregateId])
    )
  )
)

/** Rows with ciphertext, of the database itself. */
const stored = (config: Config) =>
  withClient(
    config,
    SqlClient.SqlClient.use(
      (sql) => sql<{ type: string }>`select event_type as type from eventsourcing.events order by position`
    )
  )

describe.each(serversWithPrograms)("a dump of before, on $name", (server) => {
  const { bin, freshDatabase } = server
  const vaults = {
    "a file": Effect.gen(function* () {
      const folder = yield* Effect.acquireRelease(
        Effect.promise(() => fs.mkdtemp(Path.join(tmpdir(), "vault-"))),
        (path) => Effect.promise(() => fs.rm(path, { recursive: true }))
      )
      const key = keyOf(newRootKey())
      return KeyVault.layerFile({ path: Path.join(folder, "keys"), key, createIfMissing: true }).pipe(
        Layer.provide(layerFiles())
      ) as Layer.Layer<KeyVault.KeyVault, unknown>
    }),
    "a database": Effect.map(vaultDatabase(server), ({ app }) => vaultOn(app, newRootKey(), true))
  }
  for (const [place, newVault] of Object.entries(vaults))
    it.live(`brings nobody back: the store forgets again by the vault in ${place}`, (context) =>
      Effect.gen(function* () {
        const { app, owner } = yield* freshDatabase
        const major = yield* withClient(
          owner,
          SqlClient.SqlClient.use(
            (sql) => sql<{ major: number }>`
            select current_setting('server_version_num')::integer / 10000 as major`
          )
        ).pipe(Effect.map(([row]) => row?.major ?? 0))
        const dump = Path.join(bin, "pg_dump")
        const installed = yield* Effect.promise(() => majorOf(dump))
        if (installed < major) {
          const problem = `NOT RUN: pg_dump ${installed === 0 ? "is not installed" : installed}, the server is ${major}`
          console.warn(problem)
          context.skip(problem)
        }
        const tenantId = newTenant()
        const vault = yield* newVault
        /** A process on a database, with caches of its own. */
        const on =
          (config: Config) =>
          <A, E, R>(effect: Effect.Effect<A, E, R>) =>
            effect.pipe(
              Tenant.provideAdministration({ actor: "dpo", reason: "test" }),
              Tenant.provide(tenantId),
              Effect.provide(
                Layer.fresh(EventSourcing.layer).pipe(
                  Layer.provideMerge(Layer.fresh(Forgetting.layer)),
                  Layer.provide(Layer.fresh(vault)),
                  Layer.provideMerge(Layer.fresh(PgStorage.layer)),
                  Layer.provide(PgClient.layer({ ...config, maxConnections: 3 }))
                ),
                { local: true }
              )
            )
        yield* Effect.andThen(register("ada", "Ada Lovelace"), register("bob", "Bob")).pipe(on(app))

        const folder = yield* Effect.acquireRelease(
          Effect.promise(() => fs.mkdtemp(Path.join(tmpdir(), "dump-"))),
          (path) => Effect.promise(() => fs.rm(path, { recursive: true }))
        )
        const file = Path.join(folder, "dump")
        const dumped = yield* Effect.promise(() => run(dump, owner, "-Fc", "-f", file))
        assert.strictEqual(dumped.code, 0, dumped.output)

        const row = yield* Forgetting.Forgetting.use((forgetting) =>
          forgetting.forget("ada", { reason: "asked by letter" })
        ).pipe(on(app))
        assert.deepStrictEqual(yield* nameOf("ada").pipe(on(app)), Personal.forgotten)

        const restored = `${String(owner.database)}_restored`
        yield* Effect.acquireRelease(
          withClient(
            owner,
            SqlClient.SqlClient.use((sql) => sql`create database ${sql(restored)} template template0`)
          ),
          () =>
            Effect.orDie(
              withClient(
                owner,
                SqlClient.SqlClient.use((sql) => sql`drop database ${sql(restored)} with (force)`)
              )
            )
        )
        const back = yield* Effect.promise(() =>
          run(Path.join(bin, "pg_restore"), { ...owner, database: restored }, "-d", restored, file)
        )
        assert.strictEqual(back.code, 0, back.output)
        const before = yield* stored({ ...owner, database: restored })
        assert.deepStrictEqual(
          before.map(({ type }) => type),
          ["Registered", "Registered"]
        )

        // The first read of a new process.
        const there = { ...app, database: restored }
        assert.deepStrictEqual(yield* nameOf("ada").pipe(on(there)), Personal.forgotten)
        assert.strictEqual(yield* nameOf("bob").pipe(on(there)), "Bob")
        // Once, also if another process opens it.
        assert.deepStrictEqual(yield* nameOf("ada").pipe(on(there)), Personal.forgotten)
        assert.deepStrictEqual(yield* log.pipe(on(there)), [
          [1, "Registered", "ada"],
          [2, "Registered", "bob"],
          [3, "SubjectForgotten", "ada"]
        ])
        // It is the same forgetting as that of the vault and of the lost database, by the same person and for the same reason.
        const [event] = yield* EventStore.EventStore.use((store) =>
          Stream.runCollect(store.readStream({ aggregate: PersonalSubject.PersonalSubject, id: "ada" }))
        ).pipe(on(there))
        assert.containSubset(event, {
          eventId: row.forgotten?.forgetting,
          actor: "dpo",
          metadata: { reason: "asked by letter" },
          payload: { _tag: "SubjectForgotten", subject: "ada" }
        })
        assert.strictEqual(event?.occurredAt.epochMilliseconds, row.forgotten?.forgottenAt)
        const { forgotten, subjects } = yield* EventStorage.EventStorage.use((storage) =>
          storage.forgottenSubjects({ tenantId, after: 0 })
        ).pipe(on(there))
        assert.strictEqual(forgotten, 1)
        assert.deepStrictEqual(
          subjects.map(({ forgetting }) => forgetting),
          [row.forgotten?.forgetting]
        )
      }).pipe(Effect.scoped)
    )
})
