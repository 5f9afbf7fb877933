/** Confirms on PostgreSQL that streams end with given events: a single one at once, waiting ones together in one statement. */
import { PgTypes } from "@effect/sql-pg"
import { Effect, Exit, type Fiber } from "effect"
import type { SqlClient, SqlError } from "effect/sql"
import type { EventStorage, StreamEndRequest } from "../driver/EventStorage.ts"
import type { ReadError } from "../driver/StoreError.ts"
import { array } from "./appendBatch.ts"
import * as groupLoads from "./groupLoads.ts"
import { failFor } from "./openTransaction.ts"
import { statement } from "./statement.ts"

const operation = "confirm a state"

const streamsEndWithSql =
  "select eventsourcing.streams_end_with($1::pg_catalog.text[], $2::pg_catalog.text[], $3::pg_catalog.text[], $4::integer[], $5::pg_catalog.uuid[], $6::integer[])"

const parameters = (requests: ReadonlyArray<StreamEndRequest>): ReadonlyArray<unknown> => {
  const texts = (of: (request: StreamEndRequest) => string) => array(requests.map(of), PgTypes.OID.text)
  return [
    texts(({ tenantId }) => tenantId),
    texts(({ aggregateType }) => aggregateType),
    texts(({ aggregateId }) => aggregateId),
    array(
      requests.map(({ version }) => version),
      PgTypes.OID.int4
    ),
    array(
      requests.map(({ eventId }) => eventId),
      PgTypes.OID.uuid
    ),
    array(
      requests.every(({ forgotten }) => forgotten === undefined)
        ? []
        : requests.map(({ forgotten }) => forgotten ?? null),
      PgTypes.OID.int4
    )
  ]
}

/** `EventStorage.streamEndsWith` on a client. */
export const make = (
  sql: SqlClient.SqlClient,
  limits: groupLoads.Limits | undefined,
  fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
): EventStorage["Service"]["streamEndsWith"] => {
  const run = (
    requests: ReadonlyArray<StreamEndRequest>
  ): Effect.Effect<ReadonlyArray<boolean>, SqlError.SqlError> =>
    Effect.map(
      statement(
        sql,
        (connection) =>
          // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the decoded column of the function
          connection.executeValues(streamsEndWithSql, parameters(requests)) as Effect.Effect<
            ReadonlyArray<readonly [ReadonlyArray<boolean>]>,
            SqlError.SqlError
          >
      ),
      ([row]) => row?.[0] ?? []
    )

  const runOne = (request: StreamEndRequest): Effect.Effect<boolean, ReadError> =>
    run([request]).pipe(
      Effect.map(([ends]) => ends === true),
      Effect.catch((error) => failFor(sql, operation, request.tenantId, error))
    )

  const runAll = groupLoads.inHalves(operation, run, runOne, (ends, requests) =>
    requests.map((_, index) => Exit.succeed(ends[index] === true))
  )

  const grouped = limits === undefined ? runOne : groupLoads.make(runOne, runAll, fork, limits)

  return groupLoads.unlessInTransaction(sql, grouped, runOne)
}
