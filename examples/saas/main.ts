/**
 * Orders of many shops, over HTTP. On the embedded database, or on the PostgreSQL of `DATABASE_URL`:
 *
 *     npx tsx examples/saas/main.ts
 *
 * `PORT` is 8787 if it is not set, and 0 means any. `TENANTS` is a list of tenants to register at the start.
 */
import type { PgClient } from "@effect/sql-pg"
import { Cause, Console, Effect, Exit, type Layer, Redacted, Schema } from "effect"
import { Tenant, TenantRegistry } from "effect-eventsourcing"
import { Inspector } from "effect-eventsourcing/inspector"
import { PgEmbedded, PgServer } from "effect-eventsourcing/pg"
import type { SqlClient, SqlError } from "effect/sql"
import * as App from "./App.ts"
import * as Server from "./Server.ts"
import * as Tokens from "./Tokens.ts"

const environment = process.env

const databaseUrl = environment["DATABASE_URL"]
const database: Layer.Layer<
  PgClient.PgClient | SqlClient.SqlClient,
  PgEmbedded.PgEmbeddedError | SqlError.SqlError
> = databaseUrl === undefined ? PgEmbedded.layer : PgServer.layer({ url: Redacted.make(databaseUrl) })

class UsageError extends Schema.TaggedError<UsageError>()("UsageError", { message: Schema.String }) {}

const port = Effect.gen(function* () {
  const text = environment["PORT"] ?? "8787"
  const number = Number(text)
  return /^\d{1,5}$/.test(text) && number < 65_536
    ? number
    : yield* new UsageError({ message: `PORT is "${text}", and must be a number from 0 to 65535.` })
})

/** The tenants of `TENANTS`; with the development key, its two shops. */
const tenants = Effect.gen(function* () {
  const texts = (environment["TENANTS"] ?? "").split(",").flatMap((text) => text.trim() || [])
  const stated = yield* Schema.decodeEffect(Schema.Array(Tenant.TenantId))(texts).pipe(
    Effect.mapError(
      () => new UsageError({ message: "TENANTS must be a list of UUIDs, separated by commas." })
    )
  )
  return Tokens.isConfigured(environment)
    ? stated
    : [...stated, ...Tokens.shops.map(({ tenantId }) => tenantId)]
})

/** Lines to paste into a terminal, with a token of each of the two shops. */
const curlLines = (url: string) =>
  Effect.forEach(Tokens.shops, ({ name, product, tenantId }) =>
    Effect.map(Tokens.sign(tenantId, "ada"), (token) => {
      const body = JSON.stringify({ lines: [{ product, quantity: 2, price: 1990 }] })
      return `
# ${name}: place an order, list the orders with it, and see who did what
AUTH="Authorization: Bearer ${token}"
curl -s -X PUT ${url}/orders/${crypto.randomUUID()} -H "$AUTH" -H "Content-Type: application/json" -d '${body}'
curl -s "${url}/orders?position=1" -H "$AUTH"
curl -s ${url}/audit -H "$AUTH"`
    })
  )

const printCalls = Effect.fnUntraced(function* (url: string, session: Inspector.Session | undefined) {
  yield* Console.log(`Listening on ${url}: try it on ${url}/docs, or with curl`)
  if (session !== undefined)
    yield* Console.log(`Inspector, for one browser: ${url}/inspector/#token=${session.token}`)
  if (!Tokens.isConfigured(environment)) {
    yield* Console.log("(with a development key: refused when NODE_ENV is production)")
    for (const lines of yield* curlLines(url)) yield* Console.log(lines)
  }
  yield* Console.log("\nPress Ctrl-C to stop")
})

const program = Effect.gen(function* () {
  const registered = yield* tenants
  const resolver = yield* Tokens.resolverFrom(environment)
  // With the development key alone: in production give operators a credential of your own.
  const session = Tokens.isConfigured(environment)
    ? undefined
    : yield* Inspector.session({
        path: "/inspector",
        access: { actor: "operator", tenants: "all", payloads: "masked", may: "act" }
      })
  const service = App.layer({
    port: yield* port,
    database,
    resolver,
    ...(session === undefined ? {} : { session, tokens: yield* Tokens.ofShops })
  })
  return yield* Effect.gen(function* () {
    const registry = yield* TenantRegistry.TenantRegistry
    yield* Effect.forEach(registered, registry.provision, { discard: true })
    yield* printCalls((yield* Server.Server).url, session)
    return yield* Effect.never
  }).pipe(Effect.provide(service))
}).pipe(
  Effect.scoped,
  Effect.catch((error) => Effect.andThen(Console.error(error.message), Effect.fail(error)))
)

const fiber = Effect.runFork(program)
const stop = () => fiber.interruptUnsafe()
process.once("SIGINT", stop)
process.once("SIGTERM", stop)
fiber.addObserver((exit) => {
  const stopped = Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)
  if (Exit.isFailure(exit) && Cause.hasDies(exit.cause)) console.error(Cause.pretty(exit.cause))
  process.exitCode = stopped ? 0 : 1
})
