/** Compares the clocks of the program and of the server. */
import { Clock, Effect } from "effect"
import type { SqlClient, SqlError } from "effect/sql"
import { type Finding, finder } from "./finding.ts"

/** Clocks may differ by this many milliseconds. */
const allowed = 2_000

const find = finder(
  "clocks",
  "accesses of operators may be refused, and leases of moves and delays of erasures are shorter or longer than they seem"
)

export const clocks = (sql: SqlClient.SqlClient): Effect.Effect<ReadonlyArray<Finding>, SqlError.SqlError> =>
  Effect.gen(function* () {
    // a connection, so that the time of connecting does not count
    yield* sql`select 1`
    const before = yield* Clock.currentTimeMillis
    const [row] = yield* sql<{ millis: number }>`
      select pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) * 1000 as millis`.withoutTransform
    const after = yield* Clock.currentTimeMillis
    const server = row?.millis ?? before
    const skew = server < before ? server - before : server > after ? server - after : 0
    return Math.abs(skew) <= allowed
      ? []
      : [
          find(
            "warning",
            `the clock of the server is ${Math.round(Math.abs(skew) / 100) / 10} s ${skew > 0 ? "ahead of" : "behind"} that of this program`,
            "synchronise both clocks (chronyd or systemd-timesyncd), and look at chronyc tracking"
          )
        ]
  })
