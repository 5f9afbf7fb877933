/** The time that work waits for a lock, as a client's settings state it. */
import type { PgClient } from "@effect/sql-pg"

/** Milliseconds of the units of PostgreSQL's times. */
const units: Readonly<Record<string, number>> = {
  us: 0.001,
  ms: 1,
  s: 1_000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000
}

/** Milliseconds of `lock_timeout` of the client's sessions. If it sets none, 10 seconds, which the store's statements then set. */
export const lockTimeoutOf = ({
  startupParameters
}: Pick<PgClient.PgPoolConfig, "startupParameters">): number => {
  const stated = startupParameters?.["lock_timeout"] ?? ""
  const [, amount, unit = "ms"] = /^\s*([\d.]+)\s*(us|ms|s|min|h|d)?\s*$/.exec(stated) ?? []
  const millis = Number(amount ?? 0) * (units[unit] ?? 0)
  return millis > 0 ? millis : 10_000
}
