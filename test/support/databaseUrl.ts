import { Redacted } from "effect"
import type { Config } from "./Databases.ts"

/** The URL of a database, for separate programs. */
export const urlOf = (config: Config): string => {
  const url = new URL(config.url === undefined ? "postgres://localhost" : Redacted.value(config.url))
  if (config.host !== undefined) url.hostname = config.host
  if (config.port !== undefined) url.port = String(config.port)
  if (config.username !== undefined) url.username = config.username
  if (Redacted.isRedacted(config.password)) url.password = Redacted.value(config.password)
  if (config.database !== undefined) url.pathname = config.database
  return url.href
}
