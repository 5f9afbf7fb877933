/** Personal data is planted everywhere that a program may put it, and looked for in all that others can see: nowhere. */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Config, Data, Effect, Exit, Layer, Redacted, Schedule, Schema } from "effect"
import { SqlClient } from "effect/sql"
import {
  Aggregate,
  EventSourcing,
  EventStore,
  Forgetting,
  KeyVault,
  Personal,
  Projection,
  ProjectionManager,
  ProjectionRunner,
  Reaction,
  Repository,
  SnapshotPolicy,
  Tenant
} from "effect-eventsourcing"
import { PgEmbedded, PgStorage } from "effect-eventsourcing/pg"
import { Canary } from "effect-eventsourcing/testing"
import { createHash } from "node:crypto"
import * as fs from "node:fs/promises"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { canonicalJson } from "../../src/internal/canonicalJson.ts"
import { newTenant } from "../../src/testing/driver/eventKit.ts"
import { servers } from "../support/Databases.ts"
import { layerFiles } from "../support/nodeFiles.ts"
import { newRootKey } from "../support/vaultDatabases.ts"

const Name = Schema.String.check(Schema.isMaxLength(100))
const Guest = Schema.Struct({ guestId: Schema.String, name: Personal.make(Name, "guestId") })
const Registered = Schema.TaggedStruct("Registered", {
  name: Personal.make(Name, Personal.aggregateId),
  guests: Schema.Array(Guest)
})
const Greeted = Schema.TaggedStruct("Greeted", { text: Personal.make(Schema.String, Personal.aggregateId) })

const State = Schema.Struct({ name: Personal.orForgotten(Schema.String), greetings: Schema.Int })
const initial: typeof State.Type = { name: "", greetings: 0 }

const Customer = Aggregate.make(
  "Customer",
  { id: Schema.String, state: State, initial, events: [Registered, Greeted] },
  {
    Registered: (state, { name }) => ({ ...state, name }),
    Greeted: (state) => ({ ...state, greetings: state.greetings + 1 })
  }
)

/** The same events under a schema that does not fit them. */
const Misread = Aggregate.make(
  "Customer",
  {
    id: Schema.String,
    state: Schema.Int,
    initial: 0,
    events: [
      Schema.TaggedStruct("Registered", {
        name: Personal.make(Schema.Literals(["a", "b"]), Personal.aggregateId),
        guests: Schema.Array(Guest)
      }),
      Greeted
    ]
  },
  { Registered: (count) => count, Greeted: (count) => count }
)

const textOf = (value: string | Personal.Forgotten): string => Personal.getOrElse(value, () => "forgotten")

class CannotHandle extends Data.TaggedError("CannotHandle")<{ readonly message: string }> {}

/** Fails, and shows what it was given. */
const Failing = Projection.make(
  "failing",
  { aggregates: [Customer], onFailure: "deadLetter", retry: Schedule.recurs(1), forgotten: "keepsNone" },
  {
    Registered: ({ guests, name }) =>
      Effect.fail(
        new CannotHandle({
          message: `cannot handle ${textOf(name)} and ${guests.map((one) => textOf(one.name)).join()}`
        })
      )
  }
)

const Greeting = Reaction.make(
  "greeting",
  { aggregates: [Customer] },
  {
    Registered: ({ name }, { aggregateId }) =>
      Repository.Repository.use((repository) =>
        repository.execute(Customer, aggregateId, () => [Greeted.make({ text: `Hello ${textOf(name)}` })])
      )
  }
)

const services = ProjectionRunner.layer({ projections: [Failing, Greeting] }).pipe(
  Layer.provideMerge(
    Repository.layerWith({ snapshots: { policy: SnapshotPolicy.every(1), taken: "atOnce" } })
  ),
  Layer.provideMerge(EventSourcing.layer),
  Layer.provideMerge(Forgetting.layer)
)

const ada = Canary.make()
const bob = Canary.make()
const content = { name: ada.in("name") }

const register = Repository.Repository.use((repository) =>
  repository.execute(
    Customer,
    "1",
    ({ name }) =>
      name === ""
        ? [
            Registered.make({
              name: ada.in("name"),
              guests: [{ guestId: "2", name: bob.in("guest") }]
            })
          ]
        : [],
    { command: { key: "register 1", content } }
  )
)

/** A program that also ends in errors. */
const program = Effect.gen(function* () {
  const store = yield* EventStore.EventStore
  const repository = yield* Repository.Repository
  const projections = yield* ProjectionManager.ProjectionManager
  yield* register
  yield* register
  const failures = yield* Effect.forEach(
    [
      // the same key with another content
      repository.execute(Customer, "1", () => [], {
        command: { key: "register 1", content: { name: bob.in("other") } }
      }),
      // a value that the schema refuses
      repository.execute(Customer, "1", () => [
        Registered.make({ name: ada.in("long").repeat(5), guests: [] }, { disableChecks: true })
      ]),
      // a person without an id
      repository.execute(Customer, "1", () => [
        Registered.make({ name: "", guests: [{ guestId: "", name: bob.in("nobody") }] })
      ]),
      // a conflict
      store.append({
        aggregate: Customer,
        id: "1",
        expectedVersion: 77,
        events: [Greeted.make({ text: ada.in("conflict") })]
      }),
      // events that cannot be decoded
      repository.load(Misread, "1", { fresh: true })
    ] as ReadonlyArray<Effect.Effect<unknown, unknown, Tenant.CurrentTenant>>,
    (attempt) => Effect.exit(attempt)
  )
  assert.isTrue(failures.every(Exit.isFailure), JSON.stringify(failures))
  const position = yield* store.position
  yield* projections.awaitPosition(Failing, position)
  yield* projections.awaitPosition(Greeting, position)
  // the state from its snapshot, and the greeting
  const loaded = yield* repository.load(Customer, "1", { fresh: true })
  assert.strictEqual(loaded.state.name, ada.in("name"))
  assert.isAtLeast(loaded.state.greetings, 1)
  return failures
})

/** All rows of all tables, as text. */
const dump = SqlClient.SqlClient.use((sql) =>
  Effect.gen(function* () {
    const tables = yield* sql<{ table: string }>`
      select format('%I.%I', n.nspname, c.relname) as table from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where c.relkind in ('r', 'm') and n.nspname not in ('pg_catalog', 'information_schema') and n.nspname not like 'pg_toast%'`
    return Object.fromEntries(
      yield* Effect.forEach(tables, ({ table }) =>
        Effect.map(sql.unsafe<{ row: string }>(`select to_jsonb(t)::text as row from ${table} t`), (rows) => [
          table,
          rows.map(({ row }) => row)
        ])
      )
    ) as Record<string, ReadonlyArray<string>>
  })
)

const databases = [
  {
    name: "PGlite",
    make: Effect.succeed({ client: Layer.fresh(Layer.orDie(PgEmbedded.layer)), owner: undefined })
  },
  ...servers.map(({ freshDatabase, name }) => ({
    name,
    make: Effect.map(freshDatabase, ({ app, owner }) => ({
      client: Layer.orDie(PgClient.layer({ ...app, maxConnections: 4 })),
      owner: PgClient.layer({ ...owner, maxConnections: 1 })
    }))
  }))
]

describe.each(databases)("personal data on $name", ({ make }) => {
  it.live("is in no table, log line, span, metric, error and file", () =>
    Effect.gen(function* () {
      const folder = yield* Effect.acquireRelease(
        Effect.promise(() => fs.mkdtemp(Path.join(tmpdir(), "canary-"))),
        (path) => Effect.promise(() => fs.rm(path, { recursive: true }))
      )
      const path = Path.join(folder, "keys")
      const { client, owner } = yield* make
      const key = Config.succeed(Redacted.make(newRootKey()))
      const vault = KeyVault.layerFile({ path, key, createIfMissing: true }).pipe(Layer.provide(layerFiles()))
      const heard = yield* Canary.overhear(
        Effect.gen(function* () {
          const failures = yield* program.pipe(Tenant.provide(newTenant()))
          const tables = yield* owner === undefined ? dump : Effect.provide(dump, owner, { local: true })
          return { failures, tables }
        }).pipe(
          Effect.provide(
            services.pipe(
              Layer.provide(vault),
              Layer.provide(Layer.fresh(PgStorage.layer)),
              Layer.provideMerge(client)
            ),
            { local: true }
          )
        )
      )
      assert.isTrue(Exit.isSuccess(heard.exit), JSON.stringify(heard.exit))
      const tables: Record<string, ReadonlyArray<string>> = Exit.isSuccess(heard.exit)
        ? heard.exit.value.tables
        : {}
      for (const table of ["events", "snapshots", "dead_letters", "command_keys", "projection_failures"])
        assert.isAbove(tables[`eventsourcing.${table}`]?.length ?? 0, 0, table)
      assert.isAbove(heard.spans.length, 10)
      const file = yield* Effect.promise(() => fs.readFile(path, "utf8"))
      assert.include(file, "DataKey")
      // A hash without a key tells a value to anybody who can guess it.
      const guessed = [content.name, JSON.stringify(content), canonicalJson(["Customer", "1", content])].map(
        (text) => Canary.of(createHash("sha256").update(text).digest("hex"))
      )
      Canary.assertAbsent([ada, bob, ...guessed], { heard, file })
    }).pipe(Effect.scoped)
  )
})
