/** The client of the database that the flags and the environment name. */
import { Effect, Layer, Option, Redacted } from "effect"
import type { SqlClient } from "effect/sql"
import * as PgServer from "../pg/PgServer.ts"
import { type CliFailure, failureOf, wrongUsage } from "./failures.ts"
import { connection, type Settings, variable } from "./settings.ts"

/** The secrets of the connection, which must not be printed. */
export const secrets: Effect.Effect<ReadonlyArray<string>, never, Settings> = Effect.gen(function* () {
  const { url } = yield* connection
  const urls = [Option.getOrUndefined(Option.map(url, Redacted.value)), yield* variable("DATABASE_URL")]
  const known = urls.filter((text) => text !== undefined)
  return [...known, ...known.flatMap(passwordsOf), (yield* variable("PGPASSWORD")) ?? ""]
})

const passwordsOf = (url: string): ReadonlyArray<string> => {
  const password = /^\w+:\/\/[^:/@]*:([^@]*)@/.exec(url)?.[1]
  if (password === undefined) return []
  try {
    return [password, decodeURIComponent(password)]
  } catch {
    return [password]
  }
}

const isUrl = (url: string): boolean => /^postgres(ql)?:\/\//.test(url) && URL.canParse(url)

const config: Effect.Effect<PgServer.Options, CliFailure, Settings> = Effect.gen(function* () {
  const given = yield* connection
  const common = {
    pooled: given.pooled,
    applicationName: "eventsourcing",
    maxConnections: 4,
    ...(given.ssl ? { ssl: true } : {})
  }
  const stated = Option.getOrUndefined(given.url)
  const host = Option.getOrUndefined(given.host)
  if (stated === undefined && host !== undefined) {
    const username = Option.getOrUndefined(given.user) ?? (yield* variable("PGUSER"))
    const password = yield* variable("PGPASSWORD")
    const database = Option.getOrUndefined(given.database) ?? (yield* variable("PGDATABASE"))
    return {
      ...common,
      host,
      port: Option.getOrElse(given.port, () => 5432),
      ...(username === undefined ? {} : { username }),
      ...(password === undefined ? {} : { password: Redacted.make(password) }),
      ...(database === undefined ? {} : { database })
    }
  }
  const fromEnvironment = yield* variable("DATABASE_URL")
  const url = stated ?? (fromEnvironment === undefined ? undefined : Redacted.make(fromEnvironment))
  if (url === undefined)
    return yield* wrongUsage("No database is given: set DATABASE_URL, or give --url, or --host and --user.")
  if (!isUrl(Redacted.value(url)))
    return yield* wrongUsage("The URL of the database is not one: postgres://login:password@host:5432/name")
  return { ...common, url }
})

/** The client. Its error names no secret. */
export const client: Layer.Layer<SqlClient.SqlClient, CliFailure, Settings> = Layer.effectContext(
  Effect.gen(function* () {
    const options = yield* config
    const known = yield* secrets
    return yield* Layer.build(PgServer.layer(options)).pipe(
      Effect.mapError((error) => failureOf(error, known))
    )
  })
)
