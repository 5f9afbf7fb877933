/** The cost of cleaning the session in a tenant-bound transaction. */
import { ManagedRuntime } from "effect"
import { SqlClient } from "effect/sql"
import * as PgTenant from "../../src/pg/PgTenant.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { type Contender, interleave } from "../internal/measure.ts"
import { fibers, newTenants } from "../internal/ours.ts"
import { table } from "../internal/report.ts"
import { client, type Database, execute } from "../internal/server.ts"
import { atLeast, type Case, ratioOf } from "./Case.ts"

const cleaning = "PgTenant.transaction"
const leaving = "the same without the cleaning of the session"

const transactions = (name: string, database: Database): Contender => {
  const runtime = ManagedRuntime.make(client(database.app))
  const [tenantId = Tenant.untenanted] = newTenants(1)
  const transaction = SqlClient.SqlClient.use((sql) => PgTenant.transaction(sql`select 1`)).pipe(
    Tenant.provide(tenantId)
  )
  return {
    name,
    run: (seconds) => runtime.runPromise(fibers(1, seconds, () => transaction)),
    close: () => runtime.dispose()
  }
}

const bound: Case = {
  name: "bound transaction",
  run: async ({ server, rounds, seconds }) => {
    const [database, other] = [await server.newDatabase(), await server.newDatabase()]
    await execute(
      other.owner,
      "create or replace function eventsourcing.clean_session(p_ending boolean) returns void language plpgsql as 'begin end'"
    )
    const measured = await interleave([transactions(cleaning, database), transactions(leaving, other)], {
      // The difference is small, so it needs many short rounds.
      rounds: rounds * 5,
      seconds: seconds / 2
    })
    for (const { close } of [database, other]) await close()
    const result = table("A bound transaction with one SELECT, alone", "1/s", measured, leaving)
    return {
      tables: [result],
      targets: [
        atLeast(
          "a bound transaction",
          0.97,
          "one without the cleaning",
          ratioOf(result, cleaning, (name) => name === leaving)
        )
      ]
    }
  }
}

export const transactionCases: ReadonlyArray<Case> = [bound]
