/**
 * Notes of three tenants: two share a database, the third has its own. The program does not notice.
 *
 *     npx tsx examples/silo.ts
 *
 * The databases are two PostgreSQLs inside this process. With POOL_URL and ACME_URL they are those servers; their users must
 * own the databases, because the program applies the migrations.
 */
import { Console, Effect, Layer, Redacted, Schema, Stream } from "effect"
import {
  Aggregate,
  EventStore,
  Projection,
  ProjectionRunner,
  Repository,
  Tenant,
  TenantDirectory
} from "effect-eventsourcing"
import { PgEmbedded, PgServer, PgSilo, PgTenant } from "effect-eventsourcing/pg"
import { SqlClient } from "effect/sql"

// Notes

const Noted = Schema.TaggedStruct("Noted", { text: Schema.NonEmptyString })
const Note = Aggregate.make(
  "Note",
  { id: Schema.String, state: Schema.Array(Schema.String), initial: [], events: [Noted] },
  { Noted: (texts, { text }) => [...texts, text] }
)

const table = [
  `create table if not exists note_texts (
    tenant_id uuid not null, note_id text not null, text text not null, primary key (tenant_id, note_id))`,
  "select eventsourcing.register_read_model('note_texts')"
]

const NoteTexts = Projection.make(
  "note-texts",
  { aggregates: [Note], tables: ["note_texts"] },
  {
    Noted: ({ text }, { tenantId, aggregateId }) =>
      SqlClient.SqlClient.use(
        (sql) => sql`insert into note_texts (tenant_id, note_id, text)
          values (${tenantId}::uuid, ${aggregateId}, ${text}) on conflict (tenant_id, note_id) do update set text = ${text}`
      )
  }
)

// Program: the same as with one database.

const write = (id: string, text: string) =>
  Repository.Repository.use((repository) => repository.execute(Note, id, () => [Noted.make({ text })]))

const texts = PgTenant.transaction(
  SqlClient.SqlClient.use(
    (sql) => sql<{ text: string; database: string }>`
    select text, (select placement from eventsourcing.list_placements() where here) as database from note_texts`
  )
)

const ada = Tenant.TenantId.make("0190c5a0-0000-7000-8000-0000000000ad")
const bob = Tenant.TenantId.make("0190c5a0-0000-7000-8000-000000000b0b")
const acme = Tenant.TenantId.make("0190c5a0-0000-7000-8000-00000000ac0e")

const program = Effect.gen(function* () {
  // All of them use the same id.
  for (const [tenant, text] of [
    [ada, "Ada's"],
    [bob, "Bob's"],
    [acme, "Acme's"]
  ] as const)
    yield* write("1", text).pipe(Tenant.provide(tenant))
  yield* ProjectionRunner.ProjectionRunner.use(({ drain }) => drain)
  for (const tenant of [ada, bob, acme]) {
    for (const { database, text } of yield* texts.pipe(Tenant.provide(tenant)))
      yield* Console.log(`${text} notes are in the database "${database}"`)
  }
  const store = yield* EventStore.EventStore
  const tenants = yield* Stream.runCollect(store.tenants).pipe(
    Tenant.provideAll({ actor: "examples/silo.ts", reason: "count the tenants" })
  )
  yield* Console.log(`${tenants.length} tenants in all`)
})

// Databases. The program connects as their owner here; a service would connect as a user with the group roles only.

/** The placement of each tenant. `PgTenantDirectory` keeps it in a table. */
const Directory = TenantDirectory.layerWith({
  placements: ["pool", "acme"],
  placementOf: (tenantId) => (tenantId === acme ? "acme" : "pool")
})

/** A client that stays open, because an embedded database in memory ends with its client. */
const connect = (url: string | undefined) =>
  Effect.map(
    Layer.build(
      url === undefined
        ? Layer.orDie(PgEmbedded.layerWith({}))
        : Layer.orDie(PgServer.layer({ url: Redacted.make(url) }))
    ),
    (services) => Layer.succeedContext(services)
  )

const main = Effect.gen(function* () {
  const pool = { client: yield* connect(process.env["POOL_URL"]) }
  const silo = { client: yield* connect(process.env["ACME_URL"]), dedicated: true }
  const database = (placement: string) => (placement === "acme" ? silo : pool)

  for (const { result } of yield* PgSilo.migrateAll({ database })) yield* result
  for (const { client } of [pool, silo]) {
    yield* SqlClient.SqlClient.use((sql) =>
      Effect.forEach(table, (statement) => sql.unsafe(statement), { discard: true })
    ).pipe(Effect.provide(client, { local: true }))
  }
  // The silo accepts only tenants that its owner has admitted.
  yield* PgSilo.admit(acme).pipe(Effect.provide(silo.client, { local: true }))

  const Store = Repository.layer.pipe(
    Layer.provideMerge(ProjectionRunner.layer({ projections: [NoteTexts] })),
    Layer.provideMerge(EventStore.layer),
    Layer.provideMerge(PgSilo.layer({ database }))
  )
  yield* program.pipe(Effect.provide(Store))
})

Effect.runPromise(main.pipe(Effect.provide(Directory), Effect.scoped))
