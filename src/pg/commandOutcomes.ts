/** Looks up the outcomes of commands: those that come together, or wait, in one statement. */
import { PgTypes } from "@effect/sql-pg"
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import type { TenantId } from "../domain/Tenant.ts"
import type { CommandRow, EventStorage } from "../driver/EventStorage.ts"
import { array } from "./appendBatch.ts"
import * as groupLoads from "./groupLoads.ts"
import { decodedRows } from "./statement.ts"

/** A key of a tenant. */
interface Request {
  readonly tenantId: TenantId
  readonly key: string
}

type Columns = readonly [
  request: number,
  fingerprint: string,
  aggregateType: string,
  aggregateId: string,
  version: number,
  position: number,
  events: number
]

const commandOutcomesSql =
  'select request, fingerprint, aggregate_type, aggregate_id, version, "position", events ' +
  "from eventsourcing.command_outcomes($1::pg_catalog.text[], $2::pg_catalog.text[])"

const commandRow = ([
  ,
  fingerprint,
  aggregateType,
  aggregateId,
  version,
  position,
  events
]: Columns): CommandRow => ({ fingerprint, aggregateType, aggregateId, version, position, events })

/** `EventStorage.commandOutcome` on a client. */
export const make = (
  sql: SqlClient.SqlClient,
  options: groupLoads.Options
): EventStorage["Service"]["commandOutcome"] =>
  groupLoads.lookUps(
    sql,
    "read the outcome of a command",
    (requests: ReadonlyArray<Request>) =>
      Effect.map(
        decodedRows<Columns>(sql, commandOutcomesSql, [
          array(
            requests.map(({ tenantId }) => tenantId),
            PgTypes.OID.text
          ),
          array(
            requests.map(({ key }) => key),
            PgTypes.OID.text
          )
        ]),
        // Only requests with an outcome have a row.
        (rows) => {
          const outcomes: Array<CommandRow | undefined> = requests.map(() => undefined)
          for (const row of rows) outcomes[row[0] - 1] = commandRow(row)
          return outcomes
        }
      ),
    (outcomes, index) => outcomes[index],
    { ...options, gathers: true }
  )
