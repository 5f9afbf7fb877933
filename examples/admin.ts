/**
 * Administration across tenants: usage for billing, suspension of a tenant that does not pay, and the record of accesses.
 * Each command states its actor and reason, and is recorded.
 *
 *     npx tsx examples/admin.ts     # demonstrates all of it with three shops on an embedded database
 *
 *     export DATABASE_URL=postgres://…    # of a role with `grant eventsourcing_all_tenants to …` and no other grants
 *     npx tsx examples/admin.ts usage 2026-11-01 2026-12-01 --actor ada --reason "bills of November"
 *     npx tsx examples/admin.ts suspend <tenant> --actor ada --reason "bill 17 is overdue"
 *     npx tsx examples/admin.ts resume <tenant> --actor ada --reason "bill 17 was paid"
 *     npx tsx examples/admin.ts audit --actor ada --reason "yearly review"
 */
import { Console, DateTime, Effect, Layer, Redacted, Schema, Stream } from "effect"
import { Aggregate, EventStore, Tenant, TenantRegistry } from "effect-eventsourcing"
import { PgEmbedded, PgServer, PgStorage } from "effect-eventsourcing/pg"
import type { SqlClient } from "effect/sql"
import { parseArgs } from "node:util"

class WrongUse extends Schema.TaggedError<WrongUse>()("WrongUse", { message: Schema.String }) {}

// Commands

/** Usage of a tenant, summed over the days of a range of time. */
interface Bill {
  readonly tenantId: Tenant.TenantId
  readonly events: number
  readonly bytes: number
  readonly newStreams: number
}

/** A bill for each tenant with usage. Days arrive ordered by tenant. */
const bills = (range: TenantRegistry.UsageRange) =>
  Stream.unwrap(TenantRegistry.TenantRegistry.useSync((registry) => registry.usage(range))).pipe(
    Stream.groupAdjacentBy(({ tenantId }) => tenantId),
    Stream.map(([tenantId, days]): Bill =>
      days.reduce(
        (bill, day) => ({
          tenantId,
          events: bill.events + day.events,
          bytes: bill.bytes + day.bytes,
          newStreams: bill.newStreams + day.newStreams
        }),
        { tenantId, events: 0, bytes: 0, newStreams: 0 }
      )
    )
  )

const printUsage = (range: TenantRegistry.UsageRange) =>
  Stream.runForEach(bills(range), ({ bytes, events, newStreams, tenantId }) =>
    Console.log(`${tenantId}: ${events} events, ${bytes} bytes, ${newStreams} new streams`)
  )

const suspend = (tenantId: Tenant.TenantId) =>
  TenantRegistry.TenantRegistry.use((registry) => registry.suspend(tenantId)).pipe(
    Effect.tap((former) => Console.log(`${tenantId}: ${former} -> suspended`))
  )

const resume = (tenantId: Tenant.TenantId) =>
  TenantRegistry.TenantRegistry.use((registry) => registry.resume(tenantId)).pipe(
    Effect.tap((former) => Console.log(`${tenantId}: ${former} -> active`))
  )

/** Newest first: this access comes first. */
const printAccesses = Stream.unwrap(TenantRegistry.TenantRegistry.useSync(({ accesses }) => accesses)).pipe(
  Stream.runForEach(({ accessedAt, actor, operation, reason }) =>
    Console.log(`${DateTime.formatIso(accessedAt)} ${actor}: ${operation} (${reason})`)
  )
)

// Command line

const decodeTime = Schema.decodeUnknownEffect(Schema.DateTimeUtcFromString)
const decodeTenant = Schema.decodeUnknownEffect(Tenant.TenantId)

const command = (words: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const [name, first, second] = words
    switch (name) {
      case "usage":
        return yield* printUsage({
          recordedFrom: yield* decodeTime(first),
          recordedBefore: yield* decodeTime(second)
        })
      case "suspend":
        return yield* suspend(yield* decodeTenant(first))
      case "resume":
        return yield* resume(yield* decodeTenant(first))
      case "audit":
        return yield* printAccesses
      default:
        return yield* new WrongUse({
          message: "usage <from> <before> | suspend <tenant> | resume <tenant> | audit"
        })
    }
  })

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { actor: { type: "string" }, reason: { type: "string" } }
})

const ordered = Effect.gen(function* () {
  const { actor, reason } = values
  if (actor === undefined || reason === undefined)
    return yield* new WrongUse({ message: "--actor and --reason are recorded and have no default" })
  return yield* command(positionals).pipe(Tenant.provideAll({ actor, reason }))
})

// Three shops

const Order = Aggregate.make(
  "Order",
  {
    id: Schema.String,
    state: Schema.Null,
    initial: null,
    events: [Schema.TaggedStruct("OrderPlaced", { total: Schema.Int })]
  },
  { OrderPlaced: () => null }
)

const place = (id: string) =>
  EventStore.EventStore.use((store) =>
    store.append({
      aggregate: Order,
      id,
      expectedVersion: "any",
      events: [{ _tag: "OrderPlaced", total: 2990 }]
    })
  )

const demonstration = Effect.gen(function* () {
  const shops = [yield* Tenant.generate, yield* Tenant.generate, yield* Tenant.generate]
  for (const [index, shop] of shops.entries())
    for (let n = 0; n <= index; n++) yield* place(`${n}`).pipe(Tenant.provide(shop))

  const now = yield* DateTime.now
  yield* Console.log("Usage since yesterday:")
  yield* printUsage({
    recordedFrom: DateTime.subtract(now, { days: 1 }),
    recordedBefore: DateTime.add(now, { days: 1 })
  }).pipe(Tenant.provideAll({ actor: "billing", reason: "bills of this month" }))

  const [shop] = shops
  if (shop === undefined) return
  yield* Console.log("The first shop does not pay:")
  yield* suspend(shop).pipe(Tenant.provideAll({ actor: "ada", reason: "bill 17 is overdue" }))
  const refused = yield* Effect.flip(place("1").pipe(Tenant.provide(shop)))
  yield* Console.log(refused.message)
  yield* resume(shop).pipe(Tenant.provideAll({ actor: "ada", reason: "bill 17 was paid" }))
  const { position } = yield* place("1").pipe(Tenant.provide(shop))
  yield* Console.log(`its next event has position ${position}`)

  yield* Console.log("Accesses across tenants:")
  yield* printAccesses.pipe(Tenant.provideAll({ actor: "auditor", reason: "yearly review" }))
})

const onDatabase = <E>(database: Layer.Layer<SqlClient.SqlClient, E>) =>
  TenantRegistry.layer.pipe(
    Layer.provideMerge(EventStore.layer),
    Layer.provide(PgStorage.layer),
    Layer.provide(database)
  )

const databaseUrl = process.env["DATABASE_URL"]

const main: Effect.Effect<unknown, unknown> =
  databaseUrl === undefined
    ? demonstration.pipe(Effect.provide(onDatabase(PgEmbedded.layer)))
    : ordered.pipe(
        Effect.provide(onDatabase(PgServer.layer({ url: Redacted.make(databaseUrl) }))),
        Effect.catchTag("WrongUse", ({ message }) =>
          Effect.andThen(
            Console.error(message),
            Effect.sync(() => (process.exitCode = 2))
          )
        )
      )

await Effect.runPromise(main)
