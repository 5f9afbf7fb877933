/**
 * A customer of one shop is shown what is known of her, is forgotten, and stays forgotten when a backup of the database is restored.
 * The other shop has a customer with the same id, who does not notice.
 *
 *     npx tsx examples/forgetting.ts
 *
 * The database is a PostgreSQL inside this process, in a temporary folder. The keys are in the memory of this process, apart from the
 * database and its backup; docs/peoples-data.md shows vaults that last.
 */
import { Console, Effect, Layer, Schema, Stream } from "effect"
import {
  Aggregate,
  BlindIndex,
  Event,
  EventQuery,
  EventSourcing,
  EventStore,
  Forgetting,
  KeyVault,
  Personal,
  PersonalData,
  Projection,
  ProjectionManager,
  ProjectionRunner,
  Repository,
  Tenant
} from "effect-eventsourcing"
import { PgEmbedded, PgStorage, PgTenant } from "effect-eventsourcing/pg"
import { SqlClient } from "effect/sql"
import { cp, mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"

// Events: a mark says that a field is personal, and whose it is. Ids mean nothing outside of the shop, and stay.

const CustomerRegistered = Schema.TaggedStruct("CustomerRegistered", {
  name: Personal.make(Schema.String, Personal.aggregateId),
  email: Personal.make(Schema.String, Personal.aggregateId)
})
const OrderPlaced = Schema.TaggedStruct("OrderPlaced", {
  customerId: Schema.String,
  product: Schema.String,
  address: Personal.make(Schema.Struct({ street: Schema.String, town: Schema.String }), "customerId")
})

// Folds: they take the data or `Forgotten`, or do not compile.

const Customer = Aggregate.make(
  "Customer",
  {
    id: Schema.String,
    state: Schema.Struct({ name: Personal.orForgotten(Schema.String), isRegistered: Schema.Boolean }),
    initial: { name: "", isRegistered: false },
    events: [CustomerRegistered]
  },
  { CustomerRegistered: (_state, { name }) => ({ name, isRegistered: true }) }
)

const Order = Aggregate.make(
  "Order",
  { id: Schema.String, state: Schema.Boolean, initial: false, events: [OrderPlaced] },
  { OrderPlaced: () => true }
)

// Commands

/** The tag by which a customer is found. Equal addresses have equal tags, from which nobody can tell the address. */
const emailTag = (email: string) =>
  BlindIndex.BlindIndex.use((index) => index.tag("email", email.toLowerCase()))

const register = (id: string, name: string, email: string) =>
  Effect.gen(function* () {
    const repository = yield* Repository.Repository
    const tag = yield* emailTag(email)
    yield* repository.execute(Customer, id, ({ isRegistered }) =>
      isRegistered ? [] : [Event.make(CustomerRegistered.make({ name, email }), { tags: [tag] })]
    )
  })

const order = (id: string, customerId: string, product: string) =>
  Repository.Repository.use((repository) =>
    repository.execute(Order, id, (isPlaced) =>
      isPlaced
        ? []
        : [OrderPlaced.make({ customerId, product, address: { street: "1 Main Street", town: "London" } })]
    )
  )

const findByEmail = (email: string) =>
  Effect.gen(function* () {
    const store = yield* EventStore.EventStore
    const query = EventQuery.of(Customer, { tags: [yield* emailTag(email)] })
    const found = yield* Stream.runCollect(store.readLog({ aggregates: [Customer], query }))
    return found.map(({ aggregateId }) => aggregateId)
  })

// Projection: it must say how it forgets. A rebuild sees `Forgotten` and writes no row.

const tables = [
  `create table if not exists customers (
    tenant_id uuid not null, customer_id text not null, name text not null, primary key (tenant_id, customer_id)
  )`,
  "select eventsourcing.register_read_model('customers')"
]

const Customers = Projection.make(
  "customers",
  {
    aggregates: [Customer],
    tables: ["customers"],
    forgotten: ({ subject }, { tenantId }) =>
      SqlClient.SqlClient.use(
        (sql) => sql`delete from customers where tenant_id = ${tenantId} and customer_id = ${subject}`
      )
  },
  {
    CustomerRegistered: ({ name }, { tenantId, aggregateId }) =>
      Personal.isForgotten(name)
        ? Effect.void
        : SqlClient.SqlClient.use(
            (sql) =>
              sql`insert into customers ${sql.insert({ tenant_id: tenantId, customer_id: aggregateId, name })}`
          )
  }
)

const customers = Effect.gen(function* () {
  const store = yield* EventStore.EventStore
  const projections = yield* ProjectionManager.ProjectionManager
  yield* projections.awaitPosition(Customers, yield* store.position)
  const rows = yield* PgTenant.transaction(
    SqlClient.SqlClient.use((sql) => sql<{ name: string }>`select name from customers order by name`)
  )
  return rows.map(({ name }) => name)
})

// Layers

const folder = await mkdtemp(join(tmpdir(), "forgetting-"))
const database = join(folder, "database")
const backup = join(folder, "backup")

const Migrated = Layer.effectDiscard(
  SqlClient.SqlClient.use((sql) => Effect.forEach(tables, (statement) => sql.unsafe(statement)))
)

const Shops = ProjectionRunner.layer({ projections: [Customers] }).pipe(
  Layer.provideMerge(Layer.merge(EventSourcing.layer, BlindIndex.layer)),
  // Seals and opens personal fields between the services and the storage, with the keys of the vault.
  Layer.provideMerge(Forgetting.layer),
  Layer.provide(PgStorage.layer),
  Layer.provide(Migrated),
  Layer.provideMerge(PgEmbedded.layerWith({ dataDirectory: database }))
)

// Programs

const shops = "6f0f3c1e-1f5e-4d3c-9a55-0c9f1f3b2a10"
const acme = Tenant.fromName(shops, "acme")
const globex = Tenant.fromName(shops, "globex")
const id = "customer-7"

const administer = Tenant.provideAdministration({ actor: "ada's clerk", reason: "request 4711" })

const show = Effect.gen(function* () {
  const known = yield* Stream.runCollect(
    PersonalData.readJson({ aggregates: [Customer, Order], subject: id })
  )
  yield* Console.log(`known of ${id}:`)
  for (const { eventType, path, value } of known)
    yield* Console.log(`  ${eventType} ${path.join(".")}: ${JSON.stringify(value)}`)
  yield* Console.log(`  customers: ${(yield* customers).join(", ") || "none"}`)
})

const showBoth = Effect.gen(function* () {
  yield* Console.log("\nacme")
  yield* show.pipe(Tenant.provide(acme))
  yield* Console.log("globex")
  yield* show.pipe(Tenant.provide(globex))
})

const buying = Effect.gen(function* () {
  yield* register(id, "Ada Lovelace", "Ada@example.org").pipe(Tenant.provide(acme))
  yield* order("order-1", id, "tea").pipe(Tenant.provide(acme))
  yield* register(id, "Grace Hopper", "grace@example.org").pipe(Tenant.provide(globex))
  yield* showBoth
  const found = yield* findByEmail("ada@example.org").pipe(Tenant.provide(acme))
  yield* Console.log(`\nfound by e-mail: ${found.join()}`)
})

const forgetting = Effect.gen(function* () {
  const { forget } = yield* Forgetting.Forgetting
  yield* forget(id, { reason: "request 4711" }).pipe(administer, Tenant.provide(acme))
  yield* Console.log(`\n${id} of acme is forgotten`)
  yield* showBoth
  const refused = yield* order("order-2", id, "coffee").pipe(Tenant.provide(acme), Effect.flip)
  yield* Console.log(`\nanother order: ${refused.message}`)
})

/** After a restore, before anybody looks: forgets again what the backup does not know. */
const restored = Effect.gen(function* () {
  const { catchUp } = yield* Forgetting.Forgetting
  for (const tenantId of [acme, globex]) yield* catchUp.pipe(administer, Tenant.provide(tenantId))
  yield* Console.log("\nthe backup is restored")
  yield* showBoth
})

/** Opens the database, runs a program and closes it, as a process does. */
const inProcess = <A, E>(program: Effect.Effect<A, E, Layer.Success<typeof Shops>>) =>
  Effect.provide(program, Shops, { local: true })

const copy = (from: string, to: string) =>
  Effect.promise(async () => {
    await rm(to, { recursive: true, force: true })
    await cp(from, to, { recursive: true })
  })

const story = Effect.gen(function* () {
  yield* inProcess(buying)
  yield* copy(database, backup)
  yield* inProcess(forgetting)
  yield* copy(backup, database)
  yield* inProcess(restored)
})

// The vault outlives the database that is restored.
await Effect.runPromise(story.pipe(Effect.provide(KeyVault.layerMemory)))
await rm(folder, { recursive: true })
