/** Flags that every command has: output, connection, operator. */
import { Config, Context, Effect, Option, Redacted } from "effect"
import { Flag, GlobalFlag } from "effect/cli"
import type { CrossTenantAccess } from "../domain/Tenant.ts"

const flag = <A>(given: Flag.Flag<A>, description: string): Flag.Flag<A> =>
  Flag.withDescription(given, description)

const optionalText = (name: string, metavar: string, description: string) =>
  Flag.optional(flag(Flag.withMetavar(Flag.String(name), metavar), description))

/** A flag without a value. */
export const toggle = (name: string, description: string): Flag.Flag<boolean> =>
  flag(Flag.withDefault(Flag.withoutNegation(Flag.Boolean(name)), false), description)

/** True for JSON instead of tables. */
export const Json: GlobalFlag.Setting<"json", boolean> = GlobalFlag.Setting("json")({
  flag: toggle("json", "Print JSON documents, with the next steps as commands")
})

/** The place of the database. */
interface Connection {
  readonly url: Option.Option<Redacted.Redacted>
  readonly host: Option.Option<string>
  readonly port: Option.Option<number>
  readonly user: Option.Option<string>
  readonly database: Option.Option<string>
  readonly ssl: boolean
  readonly pooled: boolean
}

const Url = GlobalFlag.Setting("url")({
  flag: Flag.optional(
    flag(
      Flag.withMetavar(Flag.Redacted("url"), "url"),
      "URL of the database; others on this machine can see it: prefer DATABASE_URL"
    )
  )
})
const Host = GlobalFlag.Setting("host")({
  flag: optionalText("host", "host", "Host of the database, instead of a URL; the password is in PGPASSWORD")
})
const Port = GlobalFlag.Setting("port")({
  flag: Flag.optional(flag(Flag.Int("port"), "Port of the database (5432)"))
})
const User = GlobalFlag.Setting("user")({
  flag: optionalText("user", "login", "Login of the database (PGUSER)")
})
const Database = GlobalFlag.Setting("database")({
  flag: optionalText("database", "name", "Name of the database (PGDATABASE)")
})
const Ssl = GlobalFlag.Setting("ssl")({ flag: toggle("ssl", "Connect with TLS") })
const Pooled = GlobalFlag.Setting("pooled")({
  flag: toggle(
    "pooled",
    "The database is behind a pooler that lends a connection per transaction (PgBouncer)"
  )
})
const Actor = GlobalFlag.Setting("actor")({
  flag: optionalText("actor", "name", "The person who acts, for the record (the login of this machine)")
})
const Reason = GlobalFlag.Setting("reason")({
  flag: optionalText("reason", "text", "The reason, for the record, such as a ticket; acts need one")
})

/** The flags of every command. */
export const globalFlags = [Json, Url, Host, Port, User, Database, Ssl, Pooled, Actor, Reason] as const

/** The services of these flags, which each command has. */
export type Settings = Context.Service.Identifier<(typeof globalFlags)[number]>

/** The flags of the connection. */
export const connection: Effect.Effect<Connection, never, Settings> = Effect.gen(function* () {
  return {
    url: yield* Url,
    host: yield* Host,
    port: yield* Port,
    user: yield* User,
    database: yield* Database,
    ssl: yield* Ssl,
    pooled: yield* Pooled
  }
})

const variable = (name: string): Effect.Effect<string | undefined> =>
  Config.String(name).pipe(
    Effect.option,
    Effect.map((found) => Option.getOrUndefined(Option.filter(found, (value) => value !== "")))
  )

/** The operator of a look. */
export const operator = (command: string): Effect.Effect<CrossTenantAccess, never, Settings> =>
  Effect.gen(function* () {
    const stated = Option.getOrUndefined(yield* Actor)
    const reason = Option.getOrUndefined(yield* Reason)
    const login =
      stated ?? (yield* variable("USER")) ?? (yield* variable("LOGNAME")) ?? (yield* variable("USERNAME"))
    return { actor: login ?? "command line", reason: reason ?? `eventsourcing ${command}` }
  })

/** The stated reason. */
export const statedReason: Effect.Effect<string | undefined, never, Settings> = Effect.map(
  Reason,
  Option.getOrUndefined
)

/** An environment variable; undefined if it is not set or empty. */
export { variable }
