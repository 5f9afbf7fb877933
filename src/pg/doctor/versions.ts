/** Versions of PostgreSQL with known leaks between tenants. */
import { Effect } from "effect"
import type { SqlClient, SqlError } from "effect/sql"
import { type Finding, finder } from "./finding.ts"

interface Leak {
  readonly cve: string
  readonly problem: string
  /** The first minor version without it, by major version. A later major version never had it. */
  readonly fixed: Readonly<Record<number, number>>
}

/** From the release notes of PostgreSQL (postgresql.org/support/security). */
const leaks: ReadonlyArray<Leak> = [
  {
    cve: "CVE-2023-2455",
    problem: "row-level security keeps the policies of another role after a function is inlined",
    fixed: { 11: 20, 12: 15, 13: 11, 14: 8, 15: 3 }
  },
  {
    cve: "CVE-2024-10976",
    problem: "a plan that is used again under another role may apply the wrong policies to subqueries",
    fixed: { 12: 21, 13: 17, 14: 14, 15: 9, 16: 5, 17: 1 }
  },
  {
    cve: "CVE-2025-8713",
    problem: "statistics of the planner show sampled values of rows that a policy hides",
    fixed: { 13: 22, 14: 19, 15: 14, 16: 10, 17: 6 }
  },
  {
    cve: "CVE-2026-2006",
    problem: "a text with broken multibyte characters can run code as the server's account",
    fixed: { 14: 21, 15: 16, 16: 12, 17: 8, 18: 2 }
  }
]

const oldestOf = ({ fixed }: Leak): number => Math.min(...Object.keys(fixed).map(Number))

/** The leaks of a version, given as `server_version_num`: 170005 is 17.5. */
export const leaksOf = (versionNumber: number): ReadonlyArray<Pick<Leak, "cve" | "problem">> => {
  const major = Math.floor(versionNumber / 10_000)
  const minor = versionNumber % 10_000
  return leaks.filter((leak) => {
    const first = leak.fixed[major]
    // An older major version is no longer mended.
    return first === undefined ? major < oldestOf(leak) : minor < first
  })
}

const find = finder("postgresVersion", "tenants may see values of other tenants, whatever this library does")

/** The leaks of a server. */
const ofVersion = (versionNumber: number, version: string): ReadonlyArray<Finding> =>
  leaksOf(versionNumber).map(({ cve, problem }) =>
    find(
      "critical",
      `PostgreSQL ${version} has ${cve}: ${problem}`,
      "install the newest minor version of PostgreSQL and restart the server (no dump is needed)"
    )
  )

export const versions = (
  sql: SqlClient.SqlClient
): Effect.Effect<ReadonlyArray<Finding>, SqlError.SqlError> =>
  Effect.map(
    sql<{ number: number; version: string }>`
      select pg_catalog.current_setting('server_version_num')::pg_catalog.int4 as number,
        pg_catalog.current_setting('server_version') as version`.withoutTransform,
    ([row]) => (row === undefined ? [] : ofVersion(row.number, row.version))
  )
