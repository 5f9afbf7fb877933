/** Looks up the outcomes of commands: those that come together, or wait, in one statement. */
import { PgTypes } from "@effect/sql-pg"
import { Effect, Exit, type Fiber } from "effect"
import type { SqlClient, SqlError } from "effect/sql"
import type { TenantId } from "../domain/Tenant.ts"
import type { CommandRow, EventStorage } from "../driver/EventStorage.ts"
import type { ReadError } from "../driver/StoreError.ts"
import { array } from "./appendBatch.ts"
import * as groupLoads from "./groupLoads.ts"
import { failFor } from "./openTransaction.ts"
import { statement } from "./statement.ts"

/** A key of a tenant. */
interface Request {
  readonly tenantId: TenantId
  readonly key: string
}

/** Options of look-ups. */
export interface Options {
  /** Limits of grouped look-ups; undefined to send each alone. */
  readonly limits: groupLoads.Limits | undefined
  /** Runs batches outside of all transactions. */
  readonly fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
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

const operation = "read the outcome of a command"

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
  { fork, limits }: Options
): EventStorage["Service"]["commandOutcome"] => {
  const run = (requests: ReadonlyArray<Request>): Effect.Effect<ReadonlyArray<Columns>, SqlError.SqlError> =>
    statement(
      sql,
      (connection) =>
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the decoded columns of the function
        connection.executeValues(commandOutcomesSql, [
          array(
            requests.map(({ tenantId }) => tenantId),
            PgTypes.OID.text
          ),
          array(
            requests.map(({ key }) => key),
            PgTypes.OID.text
          )
        ]) as Effect.Effect<ReadonlyArray<Columns>, SqlError.SqlError>
    )

  const findOne = (request: Request): Effect.Effect<CommandRow | undefined, ReadError> =>
    run([request]).pipe(
      Effect.map(([row]) => (row === undefined ? undefined : commandRow(row))),
      Effect.catch((error) => failFor(sql, operation, request.tenantId, error))
    )

  const findAll = groupLoads.inHalves(operation, run, findOne, (rows, requests) => {
    const found = new Map(rows.map((row) => [row[0], commandRow(row)]))
    return requests.map((_, index) => Exit.succeed(found.get(index + 1)))
  })

  const find =
    limits === undefined ? findOne : groupLoads.make(findOne, findAll, fork, limits, { gathers: true })

  return groupLoads.unlessInTransaction(sql, find, findOne)
}
